"""What a configuration says of its stages and models: their names, order, teachers and folders.

A stage of data is ``knowdist`` or ``icldist``; a stage of training is one of them, or ``mixed``,
which learns from both. A model is ``teacher``, ``base`` or the student of a training stage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

from distill.checkpoints import checkpoint_name
from distill.config import ICLDist, KnowDist, Run, ServerTeacherConfig, TeacherConfig, Training
from distill.errors import ConfigError
from distill.prompts.taxonomies import own_tasks
from distill.teachers import identity, load_teacher
from sentibench.remote.records import Teacher

StageName = Literal["knowdist", "icldist"]
STAGES: tuple[StageName, ...] = ("knowdist", "icldist")
ASKABLE = ("hf", "vllm", "openai", "decisions")
"""Backends of teachers that answer any text."""


@dataclass(frozen=True, slots=True)
class StageTeacher:
    """Who answers a stage; demonstrations are answered by ICLDist's.

    Attributes:
        config: Its settings.
        name: Such as ``hf/gemma-3-270m``.
        revision: What tells two versions of it apart.
        store: Folder of its answers, shared by all runs beside this one.
        load: Loads it. Nobody holds it afterwards: the student needs its memory.
    """

    config: TeacherConfig
    name: str
    revision: str
    store: Path
    load: Callable[[], Teacher]


def teachers_of(run: Run, loaded: Teacher | None = None) -> dict[StageName, StageTeacher]:
    """The teacher of each stage that the run has.

    Args:
        run: The configuration.
        loaded: A teacher in place of the configuration's, for tests and notebooks.
    """
    found: dict[StageName, StageTeacher] = {}
    known: dict[str, tuple[str, str]] = {}  # whose files are read once
    for stage in STAGES:
        if getattr(run, stage) is None:
            continue
        config = teacher_config(run, stage)
        said = config.model_dump_json()
        if said not in known:
            known[said] = (loaded.name, loaded.revision) if loaded else identity(config)
        name, revision = known[said]
        slug = "".join(c if c.isalnum() or c in "._-" else "_" for c in f"{name}-{revision}")
        store = run.out / "answers" / slug.rstrip("-")
        load = (lambda: loaded) if loaded else partial(load_teacher, config, run.asking, store)
        found[stage] = StageTeacher(config, name, revision, store, load)
    return found


def teacher_config(run: Run, stage: StageName) -> TeacherConfig:
    """The teacher's settings: the stage's own, or the run's."""
    return getattr(settings_of(run, stage), "teacher", None) or run.teacher


def settings_of(run: Run, stage: StageName) -> KnowDist | ICLDist:
    """The section of a stage."""
    found: KnowDist | ICLDist | None = getattr(run, stage)
    if found is None:
        raise ConfigError(
            f"{stage}: this run has no such stage; add a section {stage} to the configuration"
        )
    return found


def labels_by_teacher(run: Run, stage: StageName) -> bool:
    """Whether the teacher labels the demonstrations of a stage, in a step of its own."""
    found = settings_of(run, stage)
    return isinstance(found, ICLDist) and found.demonstrations == "teacher"


def training_stages(run: Run) -> list[str]:
    """Training stages in their order; one where both are mixed."""
    stages = [stage for stage in STAGES if getattr(run, stage)]
    return ["mixed"] if run.mixed and len(stages) == 2 else list(stages)


def sources_of(run: Run, stage: str) -> list[StageName]:
    """Whose samples a training stage learns from."""
    return list(STAGES) if stage == "mixed" else [cast(StageName, stage)]


def leading(stage: str) -> StageName:
    """The stage whose settings and teacher a training stage has: ICLDist where both are mixed."""
    return "icldist" if stage == "mixed" else cast(StageName, stage)


def training_of(run: Run, stage: str) -> Training:
    """The settings of a training stage."""
    return settings_of(run, leading(stage)).training


def learns_distributions(run: Run, stage: str) -> bool:
    """Whether a stage learns the teacher's distributions over labels, not the likeliest alone."""
    found = run.icldist if leading(stage) == "icldist" else None
    return found is not None and found.training.loss != "hard"


def selects_by_confidence(run: Run, stage: str) -> bool:
    """Whether the samples of a stage of data are selected by the teacher's distributions."""
    difficulty = settings_of(run, cast(StageName, stage)).difficulty
    return difficulty is not None and difficulty.by == "confidence"


def needs_distributions(run: Run, stage: StageName) -> bool:
    """Whether the samples of a stage hold the teacher's distributions over labels."""
    return learns_distributions(run, stage) or selects_by_confidence(run, stage)


def before(run: Run, stage: str) -> str:
    """The model that a training stage goes on from, ``base`` for the first."""
    return ["base", *training_stages(run)][training_stages(run).index(stage)]


def kept_step(run: Run, stage: StageName) -> str:
    """Name of the step whose samples are trained on."""
    return f"{stage}-select" if settings_of(run, stage).difficulty else f"{stage}-filter"


def measured(run: Run) -> list[str]:
    """The models that are evaluated, as the report shows them."""
    teaches = any(teacher_config(run, s) == run.teacher for s in STAGES if getattr(run, s))
    has_model = run.teacher.backend in ASKABLE and run.evaluation.teacher and teaches
    return [*(["teacher"] if has_model else []), "base", *training_stages(run)]


def named_tasks(run: Run) -> set[str]:
    """The tasks that a run measures or teaches, by name."""
    return {*run.evaluation.tasks, *(run.icldist.tasks if run.icldist else ())}


def asked_of_student(run: Run) -> list[str]:
    """Names of the tasks that a student is measured on, and of the own ones that it is taught."""
    taught = run.icldist.tasks if run.icldist else ()
    return [*run.evaluation.tasks, *(name for name in taught if name in own_tasks())]


def tasks_of_agreement(run: Run) -> list[str]:
    """Own tasks that are learned and measured, where the teacher can be asked."""
    if run.icldist is None or run.teacher.backend not in ASKABLE or not run.evaluation.agreement:
        return []
    names = [name for name in run.icldist.tasks if name in run.evaluation.tasks]
    return [name for name in names if name in own_tasks()]


def why_no_agreement(run: Run, task: str) -> str:
    """Why teacher and student are not compared on unlabelled texts; empty where they are."""
    if task in tasks_of_agreement(run):
        return ""
    if not run.evaluation.agreement:
        return "evaluation.agreement is 0"
    if run.teacher.backend not in ASKABLE:
        return f"a teacher of teacher.backend {run.teacher.backend} answers no new texts"
    return f"icldist.tasks and evaluation.tasks do not both name {task}"


def asked_teacher(
    run: Run, model: str, teachers: Mapping[StageName, StageTeacher]
) -> StageTeacher | None:
    """Who is asked where a model is measured by its answers: it is not on this machine."""
    if model != "teacher" or not isinstance(run.teacher, ServerTeacherConfig):
        return None
    return next(found for found in teachers.values() if found.config == run.teacher)


def checkpoint_of(run: Run, model: str) -> str:
    """The checkpoint of a model."""
    if model in training_stages(run):
        return str(run.folder / f"{model}-merge" / "student")
    return cast(str, cast(Any, run.teacher).model) if model == "teacher" else run.student


def trusts(run: Run, model: str) -> bool:
    """Whether code that comes with a model's checkpoint is run."""
    if model != "teacher":
        return run.trust_remote_code
    return getattr(run.teacher, "trust_remote_code", False)


def row_name(run: Run, model: str) -> str:
    """What the leaderboard calls a model of this run."""
    return checkpoint_name(checkpoint_of(run, model))


def taught_by(teachers: Mapping[StageName, StageTeacher], stage: str) -> str:
    """The row of the teacher of a training stage."""
    return teachers[leading(stage)].name.rpartition("/")[2]

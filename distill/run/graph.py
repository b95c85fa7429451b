"""The graph of a run: a function from the configuration to its steps, in order.

    texts -> ask -> filter -> train -> merge -> (again for the second stage) -> evaluate -> report

ICLDist asks twice where the teacher labels the demonstrations. Every step can be done alone; what
it needs is done first.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from distill import prompts
from distill.checkpoints import fingerprint
from distill.config import KnowDist, Run
from distill.files import digest
from distill.filters.judge import RULES_VERSION
from distill.run import data, models
from distill.run.stages import (
    StageName,
    StageTeacher,
    before,
    checkpoint_of,
    kept_step,
    measured,
    settings_of,
    sources_of,
    teachers_of,
    training_of,
    training_stages,
)
from distill.run.steps import Step, Work
from sentibench.data.cards import tasks_folder
from sentibench.data.read import MINI_FOLDER

BEHIND_TRAINING = {"choose": {"tasks", "limit"}}  # settings that change no weight


class _Steps(dict[str, Step]):
    """Steps by name, each after what it depends on."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def add(
        self,
        name: str,
        work: Work,
        settings: Mapping[str, Any],
        after: tuple[str, ...],
        outputs: tuple[str, ...],
        **kind: bool,
    ) -> None:
        needed = tuple(self[other] for other in after)
        self[name] = Step(name, self.folder / name, settings, needed, outputs, work, **kind)


def build_steps(
    run: Run,
    teachers: Mapping[StageName, StageTeacher] | None = None,
    *,
    retry_failed: bool = False,
) -> dict[str, Step]:
    """Make every step of a run. Nothing is done yet, but checkpoints are fingerprinted once.

    Args:
        run: The configuration.
        teachers: Who answers; default the configuration's.
        retry_failed: Ask again what failed before.

    Returns:
        Step by name, in an order in which each comes after what it depends on.

    Raises:
        StoreError: If the recording of a replayed teacher cannot be read.
    """
    teachers = teachers or teachers_of(run)
    student = fingerprint(run.student)
    steps = _Steps(run.folder)
    tests = data.tests_of(run)
    steps.add(
        "texts",
        partial(data.draw, run, tests),
        {
            "texts": [texts.model_dump(mode="json") for texts in run.texts],
            "files": _stamps(run),
            "seed": run.seed,
            "decontaminate": "contaminated" not in run.filters.skip,
        },
        (),
        ("texts.jsonl", "left_out.json"),
    )
    for stage in training_stages(run):
        for source in sources_of(run, stage):
            _add_data_steps(steps, run, source, teachers[source], retry_failed, tests, student)
        _add_training_steps(steps, run, stage, student)
    _add_evaluation(steps, run, student, teachers)
    return dict(steps)


def _add_data_steps(
    steps: _Steps,
    run: Run,
    stage: StageName,
    teacher: StageTeacher,
    retry_failed: bool,
    tests: data.Tests,
    student: str,
) -> None:
    """What makes samples of one stage."""
    found = settings_of(run, stage)
    texts = steps["texts"].folder
    labels: Path | None = None
    known = {"teacher": [teacher.name, teacher.revision], "seed": run.seed}
    if not isinstance(found, KnowDist) and found.demonstrations == "teacher":
        labels = steps.folder / "demonstrations"
        steps.add(
            "demonstrations",
            partial(data.label_demonstrations, run, teacher, retry_failed, texts),
            {
                **known,
                "taxonomies": found.taxonomies,
                "score_choices": found.score_choices,
                "prompts": prompts.fingerprints("demonstrations"),
            },
            ("texts",),
            ("labels.json",),
            asks=True,
        )
    steps.add(
        f"{stage}-ask",
        partial(data.ask_stage, run, stage, teacher, retry_failed, texts, labels),
        {
            **found.model_dump(mode="json", exclude={"training", "teacher", "difficulty"}),
            **known,
            "backend": teacher.config.backend,
            "files": _prompt_files(run, stage),
            "prompts": prompts.fingerprints(_templates_of(run, stage)),
        },
        ("texts", "demonstrations") if labels else ("texts",),
        ("requests.jsonl",),
        asks=True,
    )
    asked = steps[f"{stage}-ask"].folder
    steps.add(
        f"{stage}-filter",
        partial(data.filter_stage, run, stage, teacher, asked, tests),
        {
            "filters": run.filters.model_dump(mode="json"),
            "rules": RULES_VERSION,
            "teacher": known["teacher"],
        },
        (f"{stage}-ask",),
        ("samples.jsonl", "funnel.json"),
    )
    if found.difficulty:
        model = found.difficulty.model
        steps.add(
            f"{stage}-select",
            partial(data.select_hard, run, stage, asked, steps[f"{stage}-filter"].folder),
            {
                "difficulty": found.difficulty.model_dump(mode="json"),
                "model": fingerprint(model) if model else student,
                "max_length": found.training.max_length,
                "seed": run.seed,
            },
            (f"{stage}-filter",),
            ("samples.jsonl", "difficulty.json"),
        )


def _add_training_steps(steps: _Steps, run: Run, stage: str, student: str) -> None:
    """Train the student of the stage before on the stage's samples, and make it a checkpoint."""
    training = training_of(run, stage)
    start = checkpoint_of(run, before(run, stage))
    kept = [kept_step(run, source) for source in sources_of(run, stage)]
    merged = () if before(run, stage) == "base" else (f"{before(run, stage)}-merge",)
    outputs = ("weights", "training.json", *(("candidates",) if training.choose else ()))
    steps.add(
        f"{stage}-train",
        partial(models.train_stage, run, training, start, [steps[name].folder for name in kept]),
        {
            "training": training.model_dump(mode="json", exclude=BEHIND_TRAINING),
            "student": [run.student, student],
            "seed": run.seed,
        },
        (*kept, *merged),
        outputs,
        by_all=True,
    )
    trained = f"{stage}-train"
    if training.choose:
        steps.add(
            f"{stage}-choose",
            partial(models.choose_checkpoint, training.choose, start, steps[trained].folder),
            training.choose.model_dump(mode="json"),
            (trained,),
            ("weights", "development.json"),
        )
        trained = f"{stage}-choose"
    weights = steps[trained].folder / "weights"
    work = partial(models.merge_stage, start, weights)
    steps.add(f"{stage}-merge", work, {}, (trained,), ("student",))


def _add_evaluation(
    steps: _Steps, run: Run, student: str, teachers: Mapping[StageName, StageTeacher]
) -> None:
    """Measure teacher, base and the student of every stage; then the report of it all."""
    known: dict[str, Any] = run.evaluation.model_dump(mode="json", exclude={"teacher"})
    known["task_files"] = digest(tasks_folder())
    for model in measured(run):
        after = (f"{model}-merge",) if model in training_stages(run) else ()
        settings = dict(known)
        if not after:
            same = model == "base"
            settings["checkpoint"] = student if same else fingerprint(checkpoint_of(run, model))
        work = partial(models.evaluate_model, run, model)
        steps.add(f"evaluate-{model}", work, settings, after, ("scores.json",))
    steps.add(
        "report",
        partial(models.report_run, run, teachers, steps),
        {"config": run.model_dump(mode="json")},
        tuple(f"evaluate-{model}" for model in measured(run)),
        ("../results", "../report.html"),
    )


def _stamps(run: Run) -> dict[str, Any]:
    """What tells two states of the texts' files apart: of the user's files size and time."""
    stamps: dict[str, Any] = {}
    if any(source.mini for source in run.texts):
        stamps["mini"] = digest(MINI_FOLDER)
    for source in run.texts:
        path = source.file or source.folder
        if path is None or not path.exists():
            continue
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            stat = file.stat()
            stamps[str(file)] = [stat.st_size, stat.st_mtime_ns]
    return stamps


def _prompt_files(run: Run, stage: StageName) -> dict[str, str]:
    """Hashes of the user's files that prompts are made of."""
    found = settings_of(run, stage)
    paths = [found.templates] if isinstance(found, KnowDist) else found.other_files
    return {str(path): digest(path) for path in paths if path is not None and path.exists()}


def _templates_of(run: Run, stage: StageName) -> prompts.Kind:
    """Which prompt data of the package a stage is made of."""
    found = settings_of(run, stage)
    if not isinstance(found, KnowDist):
        return "icldist"
    return "knowdist_few_shot" if found.few_shot else "knowdist"

"""The work of the steps from samples to scores: weights, checkpoints, lm-eval, the report.

Every function does the work of one step in that step's folder, given last, and returns a summary
for people; it may be killed and called again. What the leaderboard shows of a run it reads from
``results/run.json`` and the result folders beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from distill.config import BestCheckpoint, Run, Training
from distill.files import copy_folder, replace_folder, write_json
from distill.report.card import write_card
from distill.report.comparison import compare
from distill.report.manifest import (
    Manifest,
    ModelFacts,
    Stage,
    StepRecord,
    TeacherFacts,
)
from distill.report.page import write_report
from distill.report.two_runs import EARLIER
from distill.report.wording import LABELS
from distill.run.measuring import own_facts
from distill.run.stages import (
    StageName,
    StageTeacher,
    asked_of_student,
    before,
    checkpoint_of,
    measured,
    row_name,
    taught_by,
    training_stages,
)
from distill.steps import Step
from distill.student.samples import SampleFiles
from distill.texts.cleaning import masked
from sentibench.data.cards import tasks_named
from sentibench.predict.recipe import Recipe, recipe_of, save_recipes

# whose versions can change a number
PACKAGES = ("sentibench", "torch", "transformers", "peft", "lm_eval", "accelerate", "datasets")
PROBES = ("Sentence: A quiet film that stays with you.\nLabel:", "The soup was cold again.")
Summary = dict[str, Any]


def train_stage(
    run: Run, training: Training, checkpoint: str, kept: Sequence[str], folder: Path
) -> Summary:
    """Train on the samples that the steps ``kept`` left."""
    from distill.student.training import train

    files = [run.folder / step / "samples.jsonl" for step in kept]
    given = {"trust_remote_code": run.trust_remote_code}
    return train(checkpoint, SampleFiles(*files), training, folder, seed=run.seed, **given)


def choose_checkpoint(
    run: Run, choice: BestCheckpoint, checkpoint: str, trained: Path, folder: Path
) -> Summary:
    """Choose among the checkpoints of a training, on validation items."""
    from distill.student.evaluation import choose_best

    given = {"trust_remote_code": run.trust_remote_code}
    return choose_best(checkpoint, trained, choice, folder, **given)


def merge_stage(run: Run, stage: str, checkpoint: str, weights: Path, folder: Path) -> Summary:
    """Make weights an ordinary checkpoint, with what it is asked beside it."""
    from distill.student.merging import merge

    given = {"trust_remote_code": run.trust_remote_code}
    gap = merge(checkpoint, weights, folder / "student", PROBES, **given)
    save_recipes(folder / "student", recipes_of(run, stage))
    return {"largest_logit_difference": gap}


def recipes_of(run: Run, stage: str) -> dict[str, Recipe]:
    """What the student of a stage is asked on the tasks on which it is measured, or was taught.

    The files of a student are given away, so what ``cleaning.mask`` names is not in them either.
    """
    shots = trained_shots(run, stage)
    recipes: dict[str, Recipe] = {}
    for task in tasks_named(asked_of_student(run), "evaluation.tasks"):
        recipe = recipe_of(task, shots)
        shown = tuple((masked(text, run.cleaning), label) for text, label in recipe.demonstrations)
        recipes[task.name] = recipe.model_copy(update={"demonstrations": shown})
    return recipes


def trained_shots(run: Run, stage: str) -> tuple[int, ...]:
    """Numbers of demonstrations in the prompts that the student of a stage has seen."""
    through = training_stages(run)[: training_stages(run).index(stage) + 1]
    prompted = run.icldist if {"icldist", "mixed"} & set(through) else None
    return prompted.shots if prompted else ()


def report_run(
    run: Run,
    teachers: Mapping[StageName, StageTeacher],
    steps: Mapping[str, Step],
    folder: Path,
) -> Summary:
    """Write the manifest, from which model cards, page and leaderboard rows are made."""
    stages, models = training_stages(run), measured(run)
    measurements = {model: steps[f"evaluate-{model}"] for model in models}
    results = {model: step.folder / "results" for model, step in measurements.items()}
    teacher = "teacher" if "teacher" in models else None
    manifest = Manifest(
        name=run.name,
        stages=cast("tuple[Stage, ...]", tuple(stages)),
        scores={model: step.summary()["scores"] for model, step in measurements.items()},
        comparison=compare(results, "base", stages, teacher),
        config=run,
        packages={name: version(name) for name in PACKAGES},
        teacher=_teacher_facts(teachers),
        steps={
            name: StepRecord(**{key: record[key] for key in StepRecord.model_fields})
            for name, step in steps.items()
            if name != "report" and (record := step.record())
        },
        models={checkpoint_of(run, m): _model_facts(run, teachers, m) for m in models},
        own_tasks=own_facts(run, results),
    )
    unfinished = folder / "results"
    for model, results_folder in results.items():
        copy_folder(results_folder, unfinished / row_name(run, model))
    write_json(unfinished / "run.json", manifest.model_dump(mode="json"))
    _keep_earlier(run)
    replace_folder(unfinished, run.folder / "results")
    for stage in manifest.stages:
        write_card(steps[f"{stage}-merge"].folder / "student", stage, manifest)
    write_report(run.folder, manifest)
    return {"models": len(models)}


def _keep_earlier(run: Run) -> None:
    """Put results and page of other settings aside, by a fingerprint of these."""
    results, page = run.folder / "results", run.folder / "report.html"
    try:
        config = json.loads((results / "run.json").read_text(encoding="utf-8"))["config"]
    except (OSError, ValueError, LookupError, TypeError):
        return
    config.pop("asking", None)
    if config == run.model_dump(mode="json", exclude={"asking"}):
        return
    text = json.dumps(config, sort_keys=True)
    kept = run.folder / EARLIER / sha256(text.encode()).hexdigest()[:12]
    kept.parent.mkdir(exist_ok=True)
    replace_folder(results, kept)
    if page.exists():
        page.replace(kept / page.name)


def _model_facts(run: Run, teachers: Mapping[StageName, StageTeacher], model: str) -> ModelFacts:
    """What the leaderboard is told of a model; the keys of its ``models.yaml``."""
    name = row_name(run, model)
    if model == "base":
        return ModelFacts(name=name)
    if model == "teacher":
        return ModelFacts(name=name, role="teacher")
    base = row_name(run, before(run, model))
    return ModelFacts(name=name, role="student", base=base, teacher=taught_by(teachers, model))


def _teacher_facts(teachers: Mapping[StageName, StageTeacher]) -> TeacherFacts:
    """Name and revision, or those of both where the stages have teachers of their own."""
    found = {(t.name, t.revision): f" ({LABELS[stage]})" for stage, t in teachers.items()}
    if len(found) == 1:
        found = dict.fromkeys(found, "")
    return TeacherFacts(
        name="; ".join(name + label for (name, _), label in found.items()),
        revision="; ".join(revision + label for (_, revision), label in found.items()),
    )

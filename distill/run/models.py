"""The work of the steps from samples to scores: weights, checkpoints, lm-eval, the report.

Every function does the work of one step in that step's folder, given last, and returns a summary
for people; it may be killed and called again. What the leaderboard shows of a run it reads from
``results/run.json`` and the result folders beside it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from distill.config import BestCheckpoint, ICLDist, Run, Training
from distill.files import copy_folder, replace_folder, write_json
from distill.filters.reading import label_of, read_answer, tuples_of
from distill.prompts.icldist import STOP
from distill.records import Answer, Decoding, Failure, Message, Request
from distill.report.card import write_card
from distill.report.comparison import compare
from distill.report.manifest import Manifest, ModelFacts, Stage, StepRecord, TeacherFacts
from distill.report.page import write_report
from distill.report.two_runs import EARLIER
from distill.report.wording import LABELS
from distill.run.data import ask_all
from distill.run.stages import (
    StageName,
    StageTeacher,
    before,
    checkpoint_of,
    measured,
    row_name,
    taught_by,
    training_stages,
    trusts,
)
from distill.run.steps import Step
from distill.student.samples import read_samples
from sentibench.data.cards import tasks_named
from sentibench.predict.recipe import Recipe, recipe_of, save_recipes

if TYPE_CHECKING:  # it loads lm-eval
    from sentibench.harness.answered import LabelAnswer, Question
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
    samples = [sample for file in files for sample in read_samples(file)]
    given = {"trust_remote_code": run.trust_remote_code}
    return train(checkpoint, samples, training, folder, seed=run.seed, **given)


def choose_checkpoint(
    run: Run, choice: BestCheckpoint, checkpoint: str, trained: Path, folder: Path
) -> Summary:
    """Choose among the checkpoints of a training, on validation items."""
    from distill.student.best_checkpoint import choose_best

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
    """What the student of a stage is asked on the tasks on which it is measured."""
    through = training_stages(run)[: training_stages(run).index(stage) + 1]
    prompted = run.icldist if {"icldist", "mixed"} & set(through) else None
    shots = prompted.shots if prompted else ()
    tasks = tasks_named(run.evaluation.tasks, "evaluation.tasks")
    return {task.name: recipe_of(task, shots) for task in tasks}


def evaluate_model(run: Run, model: str, teacher: StageTeacher | None, folder: Path) -> Summary:
    """Measure ``base``, ``teacher`` or the student of a stage.

    Args:
        run: The configuration.
        model: Which one.
        teacher: Who is asked, where the model is behind a server.
        folder: Of the step.
    """
    from distill.student.evaluation import evaluate

    evaluation = run.evaluation
    results = evaluate(
        checkpoint_of(run, model),
        evaluation.tasks,
        folder / "results",
        limit=evaluation.limit,
        limits=evaluation.limits,
        dtype=evaluation.dtype,
        trust_remote_code=trusts(run, model),
        load=partial(asked_model, run, teacher) if teacher else None,
    )
    scores = {
        name: [row["score,none"], row.get("score_stderr,none")]
        for name, row in results.items()
        if "score,none" in row
    }
    write_json(folder / "scores.json", scores)
    return {"scores": scores}


def asked_model(run: Run, teacher: StageTeacher) -> Any:
    """A model for lm-eval whose answers are the teacher's, by its store and this package's readers.

    Label answers are read as those that a student learns from; tuples by the benchmark's own rules,
    without reasoning. What is no label, or was not answered, counts as a wrong answer.
    """
    from sentibench.harness.answered import AnsweredModel

    settings = run.icldist or ICLDist()

    def outcomes(questions: Sequence[Question]) -> Iterator[tuple[Request, Answer | Failure]]:
        requests = [_request_of(question, settings, run.seed) for question in questions]
        yield from ask_all(requests, teacher, "evaluate teacher", False, run.filters)

    def labels(questions: Sequence[Question]) -> list[LabelAnswer]:
        return [_label_answer(request, outcome) for request, outcome in outcomes(questions)]

    def tuples(questions: Sequence[Question]) -> list[str]:
        return [_tuples_answer(request, outcome) for request, outcome in outcomes(questions)]

    return AnsweredModel(labels, tuples)


def _request_of(question: Question, settings: ICLDist, seed: int) -> Request:
    of_tuples = max(question.max_tokens, settings.response_tokens)
    return Request(
        id=question.id,
        messages=(Message("user", question.prompt),),
        text=question.sentence,
        source=question.task,
        choices=question.labels if settings.score_choices else (),
        decoding=Decoding(settings.label_tokens, stop=STOP, seed=seed)
        if question.labels
        else Decoding(of_tuples, stop=STOP[1:], seed=seed),
        meta={
            "family": question.task,
            "labels": question.labels,
            "elements": question.elements,
            "polarities": question.polarities,
        },
    )


def _label_answer(request: Request, outcome: Answer | Failure) -> LabelAnswer:
    if isinstance(outcome, Failure):
        return None
    if outcome.log_likelihoods:
        return outcome.log_likelihoods
    label = label_of(read_answer(request, outcome).text, request.labels)
    if label is None:
        return None
    return [0.0 if name == label else -math.inf for name in request.labels]


def _tuples_answer(request: Request, outcome: Answer | Failure) -> str:
    if isinstance(outcome, Failure):
        return ""
    text = read_answer(request, outcome).text
    return (request.meta["polarities"] and tuples_of(text, request)) or text


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
    if config == run.model_dump(mode="json"):
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

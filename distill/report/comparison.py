"""How far a student has come from its base to its teacher, with intervals.

Files are read and items resampled by ``sentibench.scoring``, as for the leaderboard: what both show
of the same results is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from distill.report.manifest import (
    SCOPES,
    Calibrated,
    Compared,
    Comparison,
    LeftOut,
    Mean,
    Progress,
    Scope,
    Scoped,
    TaskFacts,
)
from sentibench.data.cards import SEEN, load_tasks
from sentibench.scoring.calibration import Answers, calibrations
from sentibench.scoring.samples import Samples, Unusable, newest_samples, read_samples
from sentibench.scoring.statistics import (
    REPLICATES,
    Estimate,
    Scores,
    estimate,
    gap_closed,
    mean_over_tasks,
    resample,
)

T = TypeVar("T")
Answered = Mapping[int, Samples]
"""Seed of the demonstrations -> what a model answered on a task."""
Found = Mapping[str, dict[str, Answered]]
"""Model -> task -> what it answered."""
TaskScores = Mapping[str, Scores]
"""Task -> score of one model and its replicates, M = 1."""


def compare(
    results: Mapping[str, Path], base: str, students: Sequence[str], teacher: str | None
) -> Comparison:
    """Compare every student with the base, and with the distance from base to teacher.

    The tasks are those that base and all students answered on the same items; whatever is not
    among them is in ``left_out`` with the reason, nothing is averaged over fewer tasks silently.

    Args:
        results: Model -> folder with the results of lm-eval, samples logged.
        base: Key of the student before training.
        students: Keys of the trained ones, in the order of the report.
        teacher: Key of the teacher; None where it was not measured.

    Returns:
        Scores, differences and the gap as fractions, where 1 is a whole gap. The intervals are
        conditional on the tasks that were measured.
    """
    left_out: list[LeftOut] = []
    models = [base, *students, *([] if teacher is None else [teacher])]
    found = {model: _answers(results.get(model), model, left_out) for model in models}
    present = [student for student in students if found[student]]
    tasks = _common_tasks(found, base, present, teacher, left_out)
    scores = _resample(found, tasks)
    n_items = {task: _n_items(found[base][task]) for task in tasks}
    of_teacher: TaskScores = {} if teacher is None else scores[teacher]
    seen = [task for task in tasks if load_tasks()[task].card.name in SEEN]
    # of an own task it is the user who knows whether its texts were learnt from
    ours = [task for task in tasks if load_tasks()[task].source != "own"]
    unseen = [task for task in ours if task not in seen]
    scopes = dict(zip(SCOPES, (tasks, seen, unseen), strict=True))

    def by_scope(figure: Callable[[Sequence[str]], T]) -> dict[Scope, T | None]:
        return {scope: figure(members) if members else None for scope, members in scopes.items()}

    def compared(figure: Callable[[Sequence[str]], T]) -> Compared[T]:
        return Compared(**by_scope(figure), tasks={task: figure([task]) for task in tasks})

    def progress(student: str, members: Sequence[str]) -> Progress:
        n = sum(n_items[task] for task in members)
        return _progress(scores[student], scores[base], of_teacher, members, n)

    return Comparison(
        base=base,
        teacher=teacher,
        replicates=REPLICATES,
        tasks={
            task: TaskFacts(n=n_items[task], seen=task in seen, seeds=tuple(found[base][task]))
            for task in tasks
        },
        means={m: Scoped(**by_scope(partial(_mean, scores[m]))) for m in models if scores[m]},
        lead=compared(partial(_difference, of_teacher, scores[base])),
        students={m: compared(partial(progress, m)) for m in (present if tasks else ())},
        left_out=tuple(left_out),
        calibration=_calibration(found, tasks, [base, *present], teacher),
    )


# Reading


def _answers(folder: Path | None, model: str, left_out: list[LeftOut]) -> dict[str, Answered]:
    """What a folder holds of our tasks; the newest evaluation of each seed."""
    found: dict[str, Answered] = {}
    for task, files in ({} if folder is None else newest_samples(folder)).items():
        try:
            of_seeds = {
                seed: read_samples(file, load_tasks()[task]) for seed, file in files.items()
            }
            if _n_items(of_seeds) < 2:
                raise Unusable("resampling says nothing about one item")
            if len({samples.data_key for samples in of_seeds.values()}) > 1:
                raise Unusable("its demonstration seeds were measured on different items")
            found[task] = of_seeds
        except Unusable as error:
            left_out.append(LeftOut(model=model, task=task, reason=str(error)))
    if not found:
        reason = "no samples of SentiBench tasks"
        left_out.append(LeftOut(model=model, task="", reason=reason))
    return found


def _common_tasks(
    found: Found, base: str, students: Sequence[str], teacher: str | None, left_out: list[LeftOut]
) -> list[str]:
    """Tasks that base and all students answered on the same items.

    A teacher's answers to other items are removed from ``found``.
    """

    def drop(model: str, task: str, reason: str) -> None:
        left_out.append(LeftOut(model=model, task=task, reason=reason))

    tasks: list[str] = []
    for task in load_tasks():
        asked = {model: found[model].get(task) for model in (base, *students)}
        own, is_common = asked[base], len(students) > 0
        if not any(asked.values()):
            continue
        for model, answers in asked.items():
            if answers is None:
                drop(model, task, "not measured, so that nobody is compared on it")
            elif own and (what := _differing(answers, own)):
                drop(model, task, f"other {what}")
            else:
                continue
            is_common = False
        if own and is_common:
            tasks.append(task)
            of_teacher = found[teacher].get(task) if teacher is not None else None
            what = of_teacher and _differing(of_teacher, own)
            if teacher is not None and what:
                drop(teacher, task, f"other {what}")
                del found[teacher][task]
    return tasks


def _differing(answers: Answered, of_base: Answered) -> str:
    """What was measured otherwise than of the base; empty where nothing was."""
    items, items_of_base = (next(iter(of.values())).data_key for of in (answers, of_base))
    if items != items_of_base:
        return f"items than the base's ({_n_items(answers)}, {_n_items(of_base)})"
    return "" if answers.keys() == of_base.keys() else "demonstration seeds than the base's"


def _n_items(answers: Answered) -> int:
    """The number of items; all seeds have the same."""
    return next(iter(answers.values())).n_items


def _calibration(
    found: Found, tasks: Sequence[str], students: Sequence[str], teacher: str | None
) -> Calibrated | None:
    """Measure base, students and the teacher on the tasks whose log-likelihoods are known."""

    def known(model: str) -> dict[str, Sequence[Answers]]:
        asked = {
            task: [samples.answers for samples in found[model][task].values()]
            for task in tasks
            if task in found[model]
        }
        known = {task: [one for one in of_seeds if one] for task, of_seeds in asked.items()}
        return {task: of_seeds for task, of_seeds in known.items() if of_seeds}

    of_models = {model: known(model) for model in students}
    shared = tuple(task for task in tasks if all(task in of for of in of_models.values()))
    if teacher is not None and set(shared) <= known(teacher).keys():
        of_models[teacher] = known(teacher)
    if not shared:
        return None
    measured = calibrations([{task: of[task] for task in shared} for of in of_models.values()])
    means = zip(of_models, (dict(of.mean) for of in measured), strict=True)
    return Calibrated(tasks=shared, models=dict(means))


# Scores, differences and ratios


def _resample(found: Found, tasks: Sequence[str]) -> Mapping[str, TaskScores]:
    """Score all models on each task under the same draws."""
    scores: dict[str, dict[str, Scores]] = {model: {} for model in found}
    for task in tasks:
        models = [model for model in found if task in found[model]]
        answers = [found[model][task].values() for model in models]
        runs = [[samples.statistics["official"] for samples in of] for of in answers]
        of_all = resample(load_tasks()[task].card, runs)
        for place, model in enumerate(models):
            scores[model][task] = of_all.of([place])
    return scores


def _over(scores: TaskScores, members: Sequence[str]) -> Scores | None:
    """Mean over tasks; None where one of them is missing."""
    if not set(members) <= set(scores):
        return None
    return mean_over_tasks([scores[task] for task in members])


def _mean(scores: TaskScores, members: Sequence[str]) -> Mean | None:
    found = _over(scores, members)
    return found and Mean(value=found.values_M[0], stderr=found.draws_BM.std(ddof=1))


def _difference(scores: TaskScores, other: TaskScores, members: Sequence[str]) -> Estimate | None:
    """Mean of the one minus that of the other."""
    a, b = _over(scores, members), _over(other, members)
    if a is None or b is None:
        return None
    return estimate(a.values_M[0] - b.values_M[0], a.draws_BM[:, 0] - b.draws_BM[:, 0])


def _progress(
    student: TaskScores, base: TaskScores, teacher: TaskScores, members: Sequence[str], n_items: int
) -> Progress:
    difference = _difference(student, base, members)
    assert difference is not None
    closed, reason = None, "the teacher was not measured"
    missing = [task for task in members if task not in teacher]
    if not missing:
        three = [_over(scores, members) for scores in (student, base, teacher)]
        values, draws = zip(*((s.values_M[0], s.draws_BM[:, 0]) for s in three if s), strict=True)
        closed, reason = gap_closed(values, np.stack(draws))
    elif len(missing) < len(members):
        reason += f" on {len(missing)} of {len(members)} tasks"
    return Progress(
        n_tasks=len(members),
        n_items=n_items,
        difference=difference,
        gap_closed=closed,
        reason=reason,
    )

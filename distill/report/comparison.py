"""How far a student has come from its base to its teacher, with intervals.

All models are resampled together: one set of bootstrap weights per task, so that every difference
and every ratio is paired item by item. Tasks are not resampled: the intervals are conditional on
the tasks that were measured.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sentibench.data.cards import SEEN, Task, load_tasks
from sentibench.scoring.metrics import label_statistics, macro_f1, tuple_f1

Floats = NDArray[np.float64]

REPLICATES = 1_000
CHUNK = 250  # replicates whose weights are in memory at once: CHUNK x N
SEED = 0
SCOPES = ("all", "seen", "unseen")

_SAMPLES = re.compile(r"samples_(\w+)_(\d{4}-\d\d-\d\dT[\d.:-]+)\.jsonl")


class Unusable(Exception):
    """A sample file that cannot be compared; the message says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What one model answered on one task.

    Attributes:
        task: The task.
        items: N keys (position in the test file, hash of the document, hash of the target), in the
            order of positions, each position once.
        statistics: Shape (N, S), aligned with ``items``: additive statistics as in
            ``sentibench.scoring.metrics``; S is 3K for K labels, 4 for tuples.
    """

    task: Task
    items: tuple[tuple[int, str, str], ...]
    statistics: Floats

    def __post_init__(self) -> None:
        if self.statistics.ndim != 2 or len(self.statistics) != len(self.items):
            raise ValueError(f"{len(self.items)} items, statistics of {self.statistics.shape}")
        positions = [position for position, _, _ in self.items]
        if any(a >= b for a, b in pairwise(positions)):
            raise ValueError("items must be in the order of positions, each once")

    @property
    def metric(self) -> Callable[[Floats], Floats]:
        """From sums of shape (..., S) to scores of shape (...)."""
        return macro_f1 if self.task.card.is_label_task else tuple_f1


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """Scores of one model: per task the value and B replicates."""

    values: dict[str, float]
    draws: dict[str, Floats]

    def mean(self, tasks: Sequence[str]) -> tuple[float, Floats]:
        """Mean over tasks, and its B replicates."""
        value = sum(self.values[task] for task in tasks) / len(tasks)
        return value, np.mean([self.draws[task] for task in tasks], axis=0)


def compare(
    results: Mapping[str, Path], base: str, students: Sequence[str], teacher: str | None
) -> dict[str, Any]:
    """Compare every student with the base, and with the distance from base to teacher.

    The tasks are those that base and all students answered on the same items; whatever is not
    among them is in ``left_out`` with the reason, nothing is averaged over fewer tasks silently.

    Args:
        results: Model -> folder with the results of lm-eval, samples logged.
        base: Key of the student before training.
        students: Keys of the trained ones, in the order of the report.
        teacher: Key of the teacher; None where it was not measured.

    Returns:
        JSON values; scores, differences and the gap are fractions, where 1 is a whole gap:

        * ``base``, ``teacher``, ``replicates``, ``seed``
        * ``tasks``: task -> ``n`` (items), ``seen``
        * ``means``: model -> ``all``, ``seen``, ``unseen`` -> ``value``, ``stderr``, or None where
          no such task was measured
        * ``lead``: the same scopes and ``tasks`` -> teacher - base as ``value``, ``low``, ``high``
        * ``students``: student -> the same scopes and ``tasks`` -> ``n_tasks``, ``n_items``,
          ``difference`` and ``gap_closed`` (each ``value``, ``low``, ``high``) and ``reason``, why
          ``gap_closed`` is None
        * ``left_out``: ``model``, ``task`` (empty: all), ``reason``

    Source: percentile intervals of the bootstrap over items, Efron and Tibshirani 1993, section
    13.3. A ratio is only taken where the teacher is better than the base in all replicates: else
    its distribution has no bounds.
    """
    left_out: list[dict[str, str]] = []
    wanted = [base, *students, *([] if teacher is None else [teacher])]
    found = {model: _answers(results.get(model), model, left_out) for model in wanted}
    present = [student for student in students if found[student]]
    tasks = _common_tasks(found, base, present, teacher, left_out)
    measured = _resample(found, tasks)
    scopes = _scopes(tasks)
    models = [model for model in wanted if measured[model].values] if tasks else []
    lead = {} if teacher is None else _lead(measured[base], measured[teacher], scopes, tasks)
    return {
        "base": base,
        "teacher": teacher,
        "replicates": REPLICATES,
        "seed": SEED,
        "tasks": {
            task: {"n": len(answers.items), "seen": answers.task.card.name in SEEN}
            for task, answers in tasks.items()
        },
        "means": {
            model: {scope: _mean(measured[model], members) for scope, members in scopes.items()}
            for model in models
        },
        "lead": lead,
        "students": {
            student: _student(measured, base, student, teacher, scopes, tasks)
            for student in (present if tasks else [])
        },
        "left_out": left_out,
    }


# Reading


def _answers(folder: Path | None, model: str, left_out: list[dict[str, str]]) -> dict[str, Answers]:
    """What a folder holds of our tasks; the newest evaluation of each."""
    found: dict[str, Answers] = {}
    for task, path in () if folder is None else _newest(folder):
        try:
            found[task] = read_answers(path, load_tasks()[task])
        except Unusable as error:
            left_out.append({"model": model, "task": task, "reason": str(error)})
    if not found:
        left_out.append({"model": model, "task": "", "reason": "no samples of SentiBench tasks"})
    return found


def _newest(folder: Path) -> Iterator[tuple[str, Path]]:
    """The newest sample file of each task that belongs to a finished evaluation, by task."""
    newest: dict[str, tuple[str, Path]] = {}
    for path in sorted(folder.rglob("samples_*.jsonl")):
        match = _SAMPLES.fullmatch(path.name)
        if match is None or match[1] not in load_tasks():
            continue
        task, stamp = match[1], match[2]
        if not path.with_name(f"results_{stamp}.json").is_file():
            continue  # cut off: lm-eval writes the results first
        newest[task] = max(newest.get(task, ("", path)), (stamp, path))
    yield from ((task, path) for task, (_, path) in sorted(newest.items()))


def read_answers(path: Path, task: Task) -> Answers:
    """Read a ``samples_<task>_<date>.jsonl`` of lm-eval.

    Args:
        path: One JSON object per line; a document stands there once per filter, joined here by its
            position and never by line.
        task: The task.

    Raises:
        Unusable: If it cannot be read, is empty, or holds what no run of the task can have.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        rows = [cast("dict[str, Any]", json.loads(line)) for line in lines if line.strip()]
        read = sorted(
            (_read_row(row, task) for row in rows if row.get("filter", "none") == "none"),
            key=lambda pair: pair[0],
        )
    except OSError as error:
        raise Unusable(f"cannot be read: {error.strerror}") from None
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        # without the error's text, which may quote a dataset
        raise Unusable(f"samples not in the format of the task ({type(error).__name__})") from None
    positions = [position for (position, _, _), _ in read]
    if len(set(positions)) < len(positions):
        raise Unusable("an item stands twice in the samples")
    if len(read) < 2:
        raise Unusable(f"resampling says nothing about {len(read)} item(s)")
    return Answers(task, tuple(key for key, _ in read), np.stack([row for _, row in read]))


def _read_row(row: Mapping[str, Any], task: Task) -> tuple[tuple[int, str, str], Floats]:
    """Key and statistics of one item."""
    score = row["score"]
    if task.card.is_label_task:
        gold, predicted, n_labels = map(int, score)
        if n_labels != len(task.card.labels) or not 0 <= gold < n_labels > predicted >= -1:
            raise ValueError("no label of the task")
        statistics = label_statistics(gold, None if predicted < 0 else predicted, n_labels)
    else:
        statistics = np.array(score, dtype=np.float64)
        if statistics.shape != (4,) or not np.isfinite(statistics).all() or (statistics < 0).any():
            raise ValueError("not four counts")
        if (statistics[[0, 2]] > statistics[[1, 3]] + 1e-9).any():
            raise ValueError("more hits than tuples")
    return (int(row["doc"]["index"]), str(row["doc_hash"]), str(row["target_hash"])), statistics


def _common_tasks(
    found: Mapping[str, dict[str, Answers]],
    base: str,
    students: Sequence[str],
    teacher: str | None,
    left_out: list[dict[str, str]],
) -> dict[str, Answers]:
    """Tasks that base and all students answered on the same items, with the base's answers.

    A teacher's answers to other items are removed from ``found``.
    """

    def drop(model: str, task: str, reason: str) -> None:
        left_out.append({"model": model, "task": task, "reason": reason})

    tasks: dict[str, Answers] = {}
    for task in load_tasks():
        asked = [found[model].get(task) for model in (base, *students)]
        if not any(asked):
            continue
        own, reasons = found[base].get(task), 0
        for model, answers in zip((base, *students), asked, strict=True):
            reason = "" if answers else "not measured, so that nobody is compared on it"
            if answers and own and answers.items != own.items:
                reason = f"other items than the base's ({len(answers.items)}, {len(own.items)})"
            if reason:
                drop(model, task, reason)
                reasons += 1
        if own and students and not reasons:
            tasks[task] = own
            of_teacher = None if teacher is None else found[teacher].get(task)
            if teacher is not None and of_teacher and of_teacher.items != own.items:
                drop(teacher, task, "other items than the base's")
                del found[teacher][task]
    return tasks


# Resampling


def _resample(
    found: Mapping[str, Mapping[str, Answers]], tasks: Mapping[str, Answers]
) -> dict[str, _Measured]:
    """Score all models on each task under the same weights."""
    measured = {model: _Measured({}, {}) for model in found}
    for number, task in enumerate(load_tasks()):
        if task not in tasks:
            continue
        models = [model for model in found if task in found[model]]
        stacked_MNS = np.stack([found[model][task].statistics for model in models])
        metric = tasks[task].metric
        draws_BM = replicate_scores(stacked_MNS, metric, REPLICATES, (SEED, number))
        values_M = metric(stacked_MNS.sum(axis=1))
        for place, model in enumerate(models):
            measured[model].values[task] = float(values_M[place])
            measured[model].draws[task] = draws_BM[:, place]
    return measured


def replicate_scores(
    statistics: Floats,
    metric: Callable[[Floats], Floats],
    replicates: int,
    seed: int | tuple[int, ...],
) -> Floats:
    """Draw items with replacement, the same for all models, and score each draw.

    Args:
        statistics: Shape (M models, N items, S); item n is the same for all models.
        metric: Maps sums of shape (..., S) to (...).
        replicates: B.
        seed: Of the draws, which depend on nothing but it, B and N.

    Returns:
        Shape (B, M).
    """
    n_models, n_items, _ = statistics.shape
    random = np.random.default_rng(seed)
    parts: list[Floats] = []
    for start in range(0, replicates, CHUNK):
        n_draws = min(CHUNK, replicates - start)
        weights_BN = random.multinomial(n_items, np.full(n_items, 1 / n_items), size=n_draws)
        sums_BMS: Floats = np.tensordot(weights_BN.astype(np.float64), statistics, axes=(1, 1))
        parts.append(metric(sums_BMS))
    scores_BM = np.concatenate(parts)
    assert scores_BM.shape == (replicates, n_models)
    return scores_BM


# Differences and ratios


def _scopes(tasks: Mapping[str, Answers]) -> dict[str, list[str]]:
    seen = [task for task, answers in tasks.items() if answers.task.card.name in SEEN]
    unseen = [task for task in tasks if task not in seen]
    return dict(zip(SCOPES, (list(tasks), seen, unseen), strict=True))


def _interval(value: float, draws_B: Floats) -> dict[str, float]:
    low, high = np.quantile(draws_B, (0.025, 0.975))
    return {"value": float(value), "low": float(low), "high": float(high)}


def _mean(measured: _Measured, members: Sequence[str]) -> dict[str, float] | None:
    """Mean and its standard error; None without tasks or where one of them is missing."""
    if not members or not set(members) <= set(measured.values):
        return None
    value, draws_B = measured.mean(members)
    return {"value": value, "stderr": float(draws_B.std(ddof=1))}


def _by_scope(
    scopes: Mapping[str, Sequence[str]],
    tasks: Mapping[str, Answers],
    make: Callable[[Sequence[str]], Any],
) -> dict[str, Any]:
    """Something per scope that has tasks, and per task."""
    found = {scope: make(members) if members else None for scope, members in scopes.items()}
    return {**found, "tasks": {task: make([task]) for task in tasks}}


def _lead(
    base: _Measured,
    teacher: _Measured,
    scopes: Mapping[str, Sequence[str]],
    tasks: Mapping[str, Answers],
) -> dict[str, Any]:
    def make(members: Sequence[str]) -> dict[str, float] | None:
        if not set(members) <= set(teacher.values):
            return None
        (goal, goal_B), (start, start_B) = teacher.mean(members), base.mean(members)
        return _interval(goal - start, goal_B - start_B)

    return _by_scope(scopes, tasks, make)


def _student(
    measured: Mapping[str, _Measured],
    base: str,
    student: str,
    teacher: str | None,
    scopes: Mapping[str, Sequence[str]],
    tasks: Mapping[str, Answers],
) -> dict[str, Any]:
    def make(members: Sequence[str]) -> dict[str, Any]:
        (value, value_B), (start, start_B) = (measured[m].mean(members) for m in (student, base))
        goal = None if teacher is None else measured[teacher]
        missing = [task for task in members if goal is None or task not in goal.values]
        if goal is None or len(missing) == len(members):
            closed, reason = None, "the teacher was not measured"
        elif missing:
            closed = None
            reason = f"the teacher was not measured on {len(missing)} of {len(members)} tasks"
        else:
            end, end_B = goal.mean(members)
            closed, reason = gap_closed((value, start, end), np.stack([value_B, start_B, end_B]))
        return {
            "n_tasks": len(members),
            "n_items": sum(len(tasks[task].items) for task in members),
            "difference": _interval(value - start, value_B - start_B),
            "gap_closed": closed,
            "reason": reason,
        }

    return _by_scope(scopes, tasks, make)


def gap_closed(
    scores: tuple[float, float, float], draws: Floats
) -> tuple[dict[str, float] | None, str]:
    """Share of the way from base to teacher that a student has gone.

    Args:
        scores: Of student, base and teacher, fractions.
        draws: Shape (3, B): paired replicates of the same.

    Returns:
        (student - base) / (teacher - base) as ``value``, ``low`` and ``high``, which may lie
        outside of [0, 1], and an empty text; or None and the reason, where the ratio means nothing
        because the teacher may not be better than the base.
    """
    student, base, teacher = scores
    student_B, base_B, teacher_B = draws
    lead = _interval(teacher - base, teacher_B - base_B)
    shown = "{value:+.1f} points (95% interval {low:+.1f} to {high:+.1f})".format(
        **{key: 100 * value for key, value in lead.items()}
    ).replace("-", "−")
    if lead["high"] < 0:
        return None, f"the teacher is worse than the base: {shown}"
    behind = int(np.count_nonzero(teacher_B <= base_B))
    if behind or teacher <= base:  # at the latest where the interval touches 0
        return None, (
            f"teacher minus base is {shown}, and not above 0 in {behind} of {len(base_B):,} "
            "resamplings, where a share of that way means nothing"
        )
    closed = _interval(
        (student - base) / (teacher - base), (student_B - base_B) / (teacher_B - base_B)
    )
    assert all(map(math.isfinite, closed.values()))
    return closed, ""

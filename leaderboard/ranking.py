"""Entries -> scores, order and comparisons: how sure the order is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import cycle, pairwise
from typing import Literal

import numpy as np

from leaderboard.board import (
    Cell,
    Comparison,
    GapClosed,
    Rank,
    TaskTest,
    averages_of,
    tasks_of,
)
from leaderboard.runs.entries import Entry
from sentibench.data.cards import Task, load_tasks
from sentibench.scoring import statistics
from sentibench.scoring.metrics import score_function
from sentibench.scoring.samples import METRICS
from sentibench.scoring.statistics import REPLICATES, Floats, Scores

MAX_COMPARED = 120  # all pairs up to here, neighbours beyond
MAX_TESTED = 40  # task by task up to here
EXCHANGES = 2_000  # of the permutation test
Kind = Literal["McNemar", "sign-flip", "bootstrap"]


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """The order under one metric.

    Attributes:
        entries: M ranked entries, best first.
        ranks: Their places, in the same order.
        cells: Per entry's key and column or task name.
        overall: Their overall scores, in the same order.
        tasks: The same of each task; empty on boards whose tasks are not compared.
    """

    entries: tuple[Entry, ...]
    ranks: tuple[Rank, ...]
    cells: Mapping[str, Mapping[str, Cell]]
    overall: Scores
    tasks: Mapping[str, Scores]

    def rank_of(self, entry: Entry) -> Rank:
        """The place of an entry."""
        return self.ranks[self.entries.index(entry)]


def rank_entries(
    entries: Sequence[Entry], tasks: Sequence[Task], replicates: int = REPLICATES
) -> dict[str, Ranking]:
    """Order the ranked entries by the mean of their scores.

    Args:
        entries: Ranked entries, in any order; without one there is no order.
        tasks: Which are ranked by; every entry has all of them.
        replicates: B, of the bootstrap over items.

    Returns:
        A ranking per metric.
    """
    if not entries:
        return {}
    scores = _scores(entries, [task.name for task in tasks], replicates)
    # popped: the draws of a hundred rows take 100 MB and more
    return {metric: _rank(entries, scores.pop(metric), tasks) for metric in METRICS}


def cells_of(
    entry: Entry, tasks: Sequence[Task], replicates: int = REPLICATES
) -> dict[str, dict[str, Cell]]:
    """Per metric the scores of an entry that is not ranked.

    A column has a mean where all its tasks were run on all items; it is never one over fewer.
    """
    # seeds over different items cannot be averaged per item
    names = [t for t, runs in entry.runs.items() if len({r.samples.n_items for r in runs}) == 1]
    n_items = {task: entry.n_items(task) for task in names}
    whole = {task for task in names if entry.is_whole(task)}
    found: dict[str, dict[str, Cell]] = {}
    for metric, scores in _scores([entry], names, replicates).items():
        _add_means(scores, n_items, whole, tasks)
        found[metric] = {name: _cells(of, n_items[name])[0] for name, of in scores.items()}
    return found


def _add_means(
    scores: dict[str, Scores], n_items: dict[str, int], whole: Set[str], tasks: Sequence[Task]
) -> None:
    """Add the columns whose tasks are all there to the scores of tasks."""
    for column in averages_of(tasks[0].source):
        members = tasks_of(column, tasks)
        if members and set(members) <= whole:
            scores[column] = statistics.mean_over_tasks([scores[task] for task in members])
            n_items[column] = sum(n_items[task] for task in members)


def _scores(
    entries: Sequence[Entry], tasks: Sequence[str], replicates: int
) -> dict[str, dict[str, Scores]]:
    """Metric -> task -> scores of entries that answered the same items."""
    scores: dict[str, dict[str, Scores]] = {metric: {} for metric in METRICS}
    for task in tasks:
        card = entries[0].runs[task][0].task.card
        distinct = METRICS[:1] if card.is_label_task else METRICS  # labels have one metric
        runs = [entry.statistics(task, metric) for metric in distinct for entry in entries]
        drawn = statistics.resample(card, runs, replicates)  # both metrics with the same draws
        parts = [drawn] if card.is_label_task else drawn.split(2)
        for metric, part in zip(METRICS, cycle(parts), strict=False):
            scores[metric][task] = part
    return scores


def _rank(
    entries: Sequence[Entry], of_tasks: Mapping[str, Scores], tasks: Sequence[Task]
) -> Ranking:
    scores, n_items = dict(of_tasks), {task: entries[0].n_items(task) for task in of_tasks}
    _add_means(scores, n_items, scores.keys(), tasks)
    values_M = scores["overall"].values_M
    order = sorted(range(len(entries)), key=lambda i: (-values_M[i], entries[i].key))
    overall = scores["overall"].of(order)
    cells = {name: _cells(of, n_items[name]) for name, of in scores.items()}
    return Ranking(
        entries=tuple(entries[i] for i in order),
        ranks=_ranks(overall.draws_BM),
        cells={entries[i].key: {name: of[i] for name, of in cells.items()} for i in order},
        overall=overall,
        tasks={task: scores[task].of(order) for task in of_tasks} if _is_tested(entries) else {},
    )


def _cells(scores: Scores, n_items: int) -> list[Cell]:
    """The scores of M models in one column."""
    ends_2M = statistics.intervals(scores.draws_BM)
    return [
        Cell(float(value), float(low), float(high), n_items, scores.spread(place))
        for place, (value, low, high) in enumerate(zip(scores.values_M, *ends_2M, strict=True))
    ]


def _is_tested(entries: Sequence[Entry]) -> bool:
    return len(entries) <= MAX_TESTED


def _ranks(overall_BM: Floats) -> tuple[Rank, ...]:
    """Places of M entries, best first, by the replicates of their overall score."""
    n_entries = overall_BM.shape[1]

    def p_between(a: int, b: int) -> float:
        return statistics.p_value(overall_BM[:, a] - overall_BM[:, b])

    groups = statistics.tie_groups(n_entries, p_between)
    above = [None, *statistics.holm([p_between(a, b) for a, b in pairwise(range(n_entries))])]
    ends = zip(statistics.rank_intervals(overall_BM), groups, above, strict=True)
    return tuple(Rank(i, low, high, g, p) for i, ((low, high), g, p) in enumerate(ends, start=1))


def gap_closed(ranking: Ranking, entry: Entry, base_name: str) -> GapClosed | None:
    """Share of the distance from base to teacher that a student has covered, in overall score.

    Args:
        ranking: Ranked entries, among them the declared base and teacher.
        entry: The student.
        base_name: Name of the model that the student's line began with.

    Returns:
        None where one of the three is not ranked, or no row of base or teacher alone has the
        seeds of the student, or ``statistics.gap_closed`` gives none.
    """
    base, teacher = (_place_of(ranking, name, entry) for name in (base_name, entry.info.teacher))
    if base is None or teacher is None or entry not in ranking.entries:
        return None
    places = (ranking.entries.index(entry), base, teacher)
    student, start, goal = (float(ranking.overall.values_M[place]) for place in places)
    draws_3B = np.stack([ranking.overall.draws_BM[:, place] for place in places])
    found, _ = statistics.gap_closed((student, start, goal), draws_3B)
    n_items = ranking.cells[entry.key]["overall"].n or 0
    return None if found is None else GapClosed(found.value, found.low, found.high, n_items)


def _place_of(ranking: Ranking, name: str, like: Entry) -> int | None:
    """Place of the one row of a model that was run like another: its seeds, else its arguments."""
    found = [
        i
        for i, other in enumerate(ranking.entries)
        if name and other.info.name == name and other.asked_by == like.asked_by
    ]

    def narrowed(places: list[int], what: Callable[[Entry], object]) -> list[int]:
        same = [i for i in places if what(ranking.entries[i]) == what(like)]
        return same if len(places) > 1 else places

    found = narrowed(found, lambda entry: {run.seed for run in entry.all_runs})
    found = narrowed(found, lambda entry: entry.arguments)
    return found[0] if len(found) == 1 else None


def compare(ranking: Ranking, metric: str) -> list[Comparison]:
    """Compare ranked entries: every pair or, of many, neighbours.

    Returns:
        Per pair the difference of the overall scores with its interval and p-value and, of boards
        with up to 40 rows, a test of each task.
    """
    entries, values_M = ranking.entries, ranking.overall.values_M
    # a model's draws side by side: a pair is compared in half the time
    overall_MB: Floats = np.ascontiguousarray(np.transpose(ranking.overall.draws_BM))
    reach = len(entries) if len(entries) <= MAX_COMPARED else 10
    flips = _sign_flips(ranking, metric) if ranking.tasks else {}
    comparisons: list[Comparison] = []
    for i, entry in enumerate(entries):
        drawn_OB = overall_MB[i] - overall_MB[i + 1 : i + 1 + reach]
        low_O, high_O = statistics.intervals(np.transpose(drawn_OB))
        for n, drawn_B in enumerate(drawn_OB):
            j = i + 1 + n
            comparisons.append(
                Comparison(
                    metric=metric,
                    a=entry.key,
                    b=entries[j].key,
                    difference=float(values_M[i] - values_M[j]),
                    low=float(low_O[n]),
                    high=float(high_O[n]),
                    p=statistics.p_value(drawn_B),
                    detectable=statistics.detectable_difference(drawn_B),
                    tests=_tests_of_tasks(ranking, i, j, flips),
                )
            )
    return comparisons


def _tests_of_tasks(
    ranking: Ranking, i: int, j: int, flips: Mapping[tuple[str, int, int], float]
) -> dict[str, TaskTest]:
    """Test two entries task by task.

    Where both have one seed: McNemar's test of label tasks, whose items are right or wrong, and the
    sign-flip test of the F1 difference of tuples. A mean over seeds has no answers that could
    change places: there the draws of the bootstrap decide.
    """
    tests: dict[str, tuple[Kind, float]] = {}
    a, b = ranking.entries[i], ranking.entries[j]
    for task, scores in ranking.tasks.items():
        (first, *more), (other, *others) = a.runs[task], b.runs[task]
        if more or others:
            drawn_B = scores.draws_BM[:, i] - scores.draws_BM[:, j]
            tests[task] = "bootstrap", statistics.p_value(drawn_B)
        elif first.task.card.is_label_task:
            tests[task] = "McNemar", statistics.mcnemar(first.samples.right, other.samples.right)
        else:
            tests[task] = "sign-flip", flips[task, i, j]
    adjusted = statistics.holm([p for _, p in tests.values()])
    return {
        task: TaskTest(kind, p, of_family)
        for (task, (kind, p)), of_family in zip(tests.items(), adjusted, strict=True)
    }


def _sign_flips(ranking: Ranking, metric: str) -> dict[tuple[str, int, int], float]:
    """p-values of the extraction tasks: (task, place, later place) -> p, of single runs."""
    found: dict[tuple[str, int, int], float] = {}
    for task in ranking.tasks:
        card = load_tasks()[task].card
        places = [i for i, entry in enumerate(ranking.entries) if len(entry.runs[task]) == 1]
        own = {i: ranking.entries[i].statistics(task, metric)[0] for i in places}
        for n, i in enumerate([] if card.is_label_task else places[:-1]):
            others = np.stack([own[j] for j in places[n + 1 :]])
            seed = statistics.task_seed(card)
            p_values = statistics.sign_flip(own[i], others, score_function(card), EXCHANGES, seed)
            found |= {(task, i, j): p for j, p in zip(places[n + 1 :], p_values, strict=True)}
    return found

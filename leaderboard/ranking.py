"""Entries -> scores, order and comparisons: how sure the order is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from leaderboard.board import (
    COLUMNS,
    SPLITS,
    Cell,
    Comparison,
    GapClosed,
    Rank,
    TaskTest,
    tasks_of,
)
from leaderboard.entries import Entry
from sentibench.data.cards import Source, Task, load_cards
from sentibench.scoring import statistics
from sentibench.scoring.metrics import score_function
from sentibench.scoring.samples import METRICS
from sentibench.scoring.statistics import REPLICATES, Floats, Scores

MAX_COMPARED = 120  # all pairs up to here, neighbours beyond
MAX_TESTED = 40  # task by task up to here
EXCHANGES = 2_000  # of the permutation test
Kind = Literal["McNemar", "sign-flip"]


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """The order under one metric.

    Attributes:
        entries: M ranked entries, best first.
        ranks: Their places, in the same order.
        cells: Per entry's key and column or task name.
        overall: Their overall scores, in the same order.
    """

    entries: tuple[Entry, ...]
    ranks: tuple[Rank, ...]
    cells: Mapping[str, Mapping[str, Cell]]
    overall: Scores

    def rank_of(self, entry: Entry) -> Rank:
        """The place of an entry."""
        return self.ranks[self.entries.index(entry)]


def rank_entries(
    entries: Sequence[Entry], source: Source, replicates: int = REPLICATES
) -> dict[str, Ranking]:
    """Order the ranked entries by the mean of their twelve scores.

    Args:
        entries: Ranked entries, in any order; without one there is no order.
        source: Real or mini.
        replicates: B, of the bootstrap over items.

    Returns:
        A ranking per metric.
    """
    if not entries:
        return {}
    tasks = [Task(card, source).name for card in load_cards().values()]
    scores = _scores(entries, tasks, replicates)
    return {metric: _rank(entries, of_metric, source) for metric, of_metric in scores.items()}


def cells_of(entry: Entry) -> dict[str, dict[str, Cell]]:
    """Per metric the scores of an entry that is not ranked; it has no averages."""
    # seeds over different items cannot be averaged per item
    tasks = [t for t, runs in entry.runs.items() if len({r.samples.n_items for r in runs}) == 1]
    scores = _scores([entry], tasks, REPLICATES)
    return {
        metric: {task: _cell(of_task, 0, entry.n_items(task)) for task, of_task in of.items()}
        for metric, of in scores.items()
    }


def _scores(
    entries: Sequence[Entry], tasks: Sequence[str], replicates: int
) -> dict[str, dict[str, Scores]]:
    """Metric -> task -> scores of entries that answered the same items."""
    scores: dict[str, dict[str, Scores]] = {metric: {} for metric in METRICS}
    for task in tasks:
        card = entries[0].runs[task][0].task.card
        for metric, of_metric in scores.items():
            if card.is_label_task and metric != "official":  # labels have one metric
                of_metric[task] = scores["official"][task]
            else:
                stacked = np.stack([entry.statistics(task, metric) for entry in entries])
                of_metric[task] = statistics.resample(card, stacked, replicates)
    return scores


def _rank(entries: Sequence[Entry], of_tasks: Mapping[str, Scores], source: Source) -> Ranking:
    scores, n_items = dict(of_tasks), {task: entries[0].n_items(task) for task in of_tasks}
    for column in (*COLUMNS, *SPLITS):
        members = tasks_of(column, source)
        scores[column] = statistics.mean_over_tasks([scores[task] for task in members])
        n_items[column] = sum(n_items[task] for task in members)
    values_M = scores["overall"].values_M
    order = sorted(range(len(entries)), key=lambda i: (-values_M[i], entries[i].key))
    overall = Scores(values_M[order], scores["overall"].draws_BM[:, order])
    return Ranking(
        entries=tuple(entries[i] for i in order),
        ranks=_ranks(overall.draws_BM),
        cells={
            entries[i].key: {name: _cell(of, i, n_items[name]) for name, of in scores.items()}
            for i in order
        },
        overall=overall,
    )


def _cell(scores: Scores, place: int, n_items: int) -> Cell:
    found = statistics.estimate(scores.values_M[place], scores.draws_BM[:, place])
    return Cell(found.value, found.low, found.high, n_items)


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
        None where one of the three is not ranked or ``statistics.gap_closed`` gives none.
    """
    position = {other.info.name: i for i, other in enumerate(ranking.entries)}
    base, teacher = position.get(base_name), position.get(entry.info.teacher)
    if base is None or teacher is None or entry not in ranking.entries:
        return None
    places = (ranking.entries.index(entry), base, teacher)
    student, start, goal = (float(ranking.overall.values_M[place]) for place in places)
    draws_3B = np.stack([ranking.overall.draws_BM[:, place] for place in places])
    found, _ = statistics.gap_closed((student, start, goal), draws_3B)
    n_items = ranking.cells[entry.key]["overall"].n or 0
    return None if found is None else GapClosed(found.value, found.low, found.high, n_items)


def compare(ranking: Ranking, metric: str) -> list[Comparison]:
    """Compare ranked entries: every pair or, of many, neighbours.

    Returns:
        Per pair the difference of the overall scores with its interval and p-value and, of boards
        with up to 40 rows, a test of each task.
    """
    entries, values_M = ranking.entries, ranking.overall.values_M
    tested = len(entries) <= MAX_TESTED
    # a model's draws side by side: a pair is compared in half the time
    overall_MB: Floats = np.ascontiguousarray(np.transpose(ranking.overall.draws_BM))
    reach = len(entries) if len(entries) <= MAX_COMPARED else 10
    comparisons: list[Comparison] = []
    for i, entry in enumerate(entries):
        others = entries[i + 1 : i + 1 + reach]
        tests = [dict[str, TaskTest]() for _ in others]
        if tested:
            tests = _tests_of_tasks(entry, others, metric)
        for j, (other, of_tasks) in enumerate(zip(others, tests, strict=True), start=i + 1):
            drawn_B = overall_MB[i] - overall_MB[j]
            found = statistics.estimate(values_M[i] - values_M[j], drawn_B)
            ends, p = (found.value, found.low, found.high), statistics.p_value(drawn_B)
            least = statistics.detectable_difference(drawn_B)
            comparisons.append(Comparison(metric, entry.key, other.key, *ends, p, least, of_tasks))
    return comparisons


def _tests_of_tasks(
    entry: Entry, others: Sequence[Entry], metric: str
) -> list[dict[str, TaskTest]]:
    """Test one entry against others, task by task.

    McNemar's test where an item is right or wrong: label tasks run with one seed. Elsewhere, for
    F1 of tuples and for means over seeds, the sign-flip test of the F1 difference.
    """
    found: list[dict[str, tuple[Kind, float]]] = [{} for _ in others]
    for number, (task, runs) in enumerate(entry.runs.items() if others else ()):
        card, theirs = runs[0].task.card, [other.runs[task] for other in others]
        once = [card.is_label_task and len(runs) == len(other) == 1 for other in theirs]
        flipped = [
            other.statistics(task, metric)
            for other, is_once in zip(others, once, strict=True)
            if not is_once
        ]
        p_values = iter(
            statistics.sign_flip(
                entry.statistics(task, metric),
                np.stack(flipped),
                score_function(card),
                EXCHANGES,
                seed=number,
            )
            if flipped
            else ()
        )
        for tests, other, is_once in zip(found, theirs, once, strict=True):
            if is_once:
                tests[task] = (
                    "McNemar",
                    statistics.mcnemar(runs[0].samples.right, other[0].samples.right),
                )
            else:
                tests[task] = "sign-flip", next(p_values)
    return [_adjusted(tests) for tests in found]


def _adjusted(tests: Mapping[str, tuple[Kind, float]]) -> dict[str, TaskTest]:
    adjusted = statistics.holm([p for _, p in tests.values()])
    return {
        task: TaskTest(kind, p, of_family)
        for (task, (kind, p)), of_family in zip(tests.items(), adjusted, strict=True)
    }

"""Runs -> rows: what is ranked, what is only shown and why, and how sure the order is."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from leaderboard.models import ModelInfo
from leaderboard.results import Protocol, TaskRun
from sentibench.data.cards import CATEGORIES, SEEN, Card, Source, load_cards
from sentibench.prompts.demonstrations import PAPER_SEEDS
from sentibench.scoring import statistics
from sentibench.scoring.metrics import Floats, score_function
from sentibench.scoring.statistics import (
    REPLICATES,
    Scores,
    estimate,
    holm,
    mcnemar,
    mean_over_tasks,
    p_value,
    rank_intervals,
    resample,
    sign_flip,
    tie_groups,
)

TASK_VERSION = "1.0"
PROTOCOL = Protocol()
COLUMNS = ("overall", *CATEGORIES)
SPLITS = ("seen", "unseen")
UNRANKED_REPLICATES = 2_000
MAX_COMPARED = 120  # all pairs up to here, neighbours beyond
MAX_TESTED = 40  # task by task up to here
PAIR_REPLICATES = 2_000  # of larger boards, and of the permutation test


@dataclass(frozen=True, slots=True)
class Cell:
    """One score and its 95% interval, fractions in [0, 1], over n items."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One model under one protocol.

    Attributes:
        key: Unique, stable and safe as an HTML id.
        info: Declared facts.
        runs: Per task name, the newest run of each seed, seeds ascending.
        history: Runs that a newer one replaced.
        reasons: Why it is not ranked; empty if it is.
    """

    key: str
    info: ModelInfo
    runs: Mapping[str, tuple[TaskRun, ...]]
    history: tuple[TaskRun, ...]
    reasons: tuple[str, ...]

    def statistics(self, task: str, metric: str) -> Floats:
        """Additive statistics of a task, shape (N, S): averaged per item over the seeds."""
        return np.mean([run.samples.statistics[metric] for run in self.runs[task]], axis=0)


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """The order under one metric; sequences run over the ranked rows, best first.

    Attributes:
        rows: M ranked rows.
        ranks: Interval of the rank of each.
        groups: Tie groups, from 1.
        p_above: Holm-adjusted p-value of the difference to the row above; None for the first.
        cells: Per row key and column or task name.
        overall_BM: Replicates of the overall score.
    """

    rows: tuple[Row, ...]
    ranks: tuple[tuple[int, int], ...]
    groups: tuple[int, ...]
    p_above: tuple[float | None, ...]
    cells: Mapping[str, Mapping[str, Cell]]
    overall_BM: Floats


def task_name(card: Card, source: Source) -> str:
    """Return the task of a dataset in the real or in the mini benchmark."""
    return f"sentibench_{'mini_' if source == 'mini' else ''}{card.name}"


def tasks_of(column: str, source: Source) -> list[str]:
    """Return the tasks whose mean a column shows."""
    cards = load_cards().values()
    return [
        task_name(card, source)
        for card in cards
        if column in ("overall", card.category, "seen" if card.name in SEEN else "unseen")
    ]


def collect_rows(
    runs: Sequence[TaskRun], models: Mapping[str, ModelInfo], source: Source
) -> list[Row]:
    """Group runs to rows: newest per model, protocol, task and seed; older ones are history.

    A limited run never replaces a full one: it is a row of its own. Runs of one model from
    different folders are one row if models.yaml gives them one name.
    """
    groups: dict[tuple[str, str, bool], list[TaskRun]] = defaultdict(list)
    of_source = [run for run in runs if run.task.source == source]
    known = _known_models(of_source, models)
    for run in of_source:
        protocol = json.dumps([asdict(run.protocol), _variant(run)], sort_keys=True, default=str)
        groups[known[run.model].name, protocol, not run.samples.is_whole].append(run)
    newest = {key: _newest(group) for key, group in sorted(groups.items())}
    reference = _reference_keys([kept for kept, _ in newest.values()])
    return [_row(key, *newest[key], known, reference, source) for key in newest]


VARIANT = ("revision", "peft", "delta", "dtype", "load_in_4bit", "load_in_8bit", "quantization")


def _variant(run: TaskRun) -> Mapping[str, str]:
    """Model arguments that make another model of the same name."""
    arguments = run.facts.model_args
    return {name: str(arguments[name]) for name in VARIANT if arguments.get(name)}


def _known_models(
    runs: Sequence[TaskRun], models: Mapping[str, ModelInfo]
) -> Mapping[str, ModelInfo]:
    """Facts by lm-eval's model name; a last part alone names a model only if it is unique."""
    names = sorted({run.model for run in runs})
    shorts = Counter(map(short_name, names))
    known: dict[str, ModelInfo] = {}
    for name in names:
        short = short_name(name)
        unique = shorts[short] == 1
        shown = short if unique else "/".join(name.rstrip("/").split("/")[-2:])
        declared = models.get(name) or (models.get(short) if unique else None)
        known[name] = declared or ModelInfo(name=shown)
    return known


def _newest(
    group: Sequence[TaskRun],
) -> tuple[Mapping[str, tuple[TaskRun, ...]], tuple[TaskRun, ...]]:
    """The newest run of each task and seed, by task, and the older ones."""
    newest: dict[tuple[str, int], TaskRun] = {}
    history: list[TaskRun] = []
    for run in sorted(group, key=lambda run: run.date):
        slot = run.task.name, run.seed
        if slot in newest:
            history.append(newest[slot])
        newest[slot] = run
    by_task: dict[str, list[TaskRun]] = defaultdict(list)
    for (task, _), run in sorted(newest.items()):
        by_task[task].append(run)
    return {task: tuple(runs) for task, runs in by_task.items()}, tuple(history)


def short_name(model: str) -> str:
    """Return the last part of a hub name or path."""
    return model.rstrip("/").rpartition("/")[2] or model


def _reference_keys(
    rows: Sequence[Mapping[str, Sequence[TaskRun]]],
) -> Mapping[tuple[str, ...], str | None]:
    """Data and prompt hash that most rows share, one vote per row; None where votes are equal."""
    votes: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for row in rows:
        for run in (run for runs in row.values() for run in runs):
            if run.samples.is_whole and run.protocol == PROTOCOL:
                votes["prompt", run.task.name, str(run.seed)][run.samples.prompt_key] += 1
        for task, runs in row.items():
            if runs[0].samples.is_whole and runs[0].protocol == PROTOCOL:
                votes["data", task][runs[0].samples.data_key] += 1
    reference: dict[tuple[str, ...], str | None] = {}
    for key, counter in votes.items():
        (first, n_first), *others = counter.most_common()
        reference[key] = None if others and others[0][1] == n_first else first
    return reference


def _row(
    key: tuple[str, str, bool],
    kept: Mapping[str, tuple[TaskRun, ...]],
    history: tuple[TaskRun, ...],
    known: Mapping[str, ModelInfo],
    reference: Mapping[tuple[str, ...], str | None],
    source: Source,
) -> Row:
    first = next(iter(kept.values()))[0]
    info = known[first.model]
    if info.parameters is None:
        info = replace(info, parameters=first.facts.parameters)
    digest = hashlib.sha256("\0".join(map(str, key)).encode("utf-8", "surrogatepass")).hexdigest()
    reasons = _reasons(kept, reference, source)
    return Row(f"m{digest[:10]}", info, kept, history, tuple(dict.fromkeys(reasons)))


def _reasons(
    runs: Mapping[str, Sequence[TaskRun]],
    reference: Mapping[tuple[str, ...], str | None],
    source: Source,
) -> list[str]:
    """Say why a row cannot be ranked."""
    reasons: list[str] = []
    everything = [run for of_task in runs.values() for run in of_task]
    for run in everything:
        if not run.samples.is_whole:
            reasons.append("limited run: not all items")
        given = asdict(run.protocol)
        for name, value in asdict(PROTOCOL).items():
            if given[name] != value:
                got = json.dumps(given[name], default=str)
                reasons.append(f"other protocol: {name} is {got}, not {json.dumps(value)}")
        if run.facts.version != TASK_VERSION:
            reasons.append(f"task version {run.facts.version}, not {TASK_VERSION}")
        if run.samples.is_whole and run.protocol == PROTOCOL:
            if run.samples.data_key != reference["data", run.task.name]:
                reasons.append(f"other data: {run.task.name}")
            if run.samples.prompt_key != reference["prompt", run.task.name, str(run.seed)]:
                reasons.append(f"other prompts: {run.task.name}, seed {run.seed}")
        if run.seed not in PAPER_SEEDS:
            reasons.append(f"seed {run.seed}, not one of the paper's 42, 52 and 62")
    seeds = {tuple(run.seed for run in of_task) for of_task in runs.values()}
    if len(seeds) > 1:
        reasons.append("seeds differ between tasks")
    cards = load_cards().values()
    missing = [card.name for card in cards if task_name(card, source) not in runs]
    if missing:
        reasons.append(f"{12 - len(missing)}/12 tasks; missing: {', '.join(missing)}")
    return reasons


def rank_rows(
    rows: Sequence[Row],
    metric: str,
    source: Source,
    replicates: int = REPLICATES,
    drawn: dict[str, Scores] | None = None,
) -> Ranking:
    """Order the ranked rows by the mean of their twelve scores.

    Args:
        rows: Ranked rows, in any order.
        metric: ``official`` or ``strict``.
        source: Real or mini.
        replicates: B, of the bootstrap over items.
        drawn: Scores of the label tasks, which are the same for both metrics: filled by the first
            call, used by the next.
    """
    drawn = {} if drawn is None else drawn
    scores: dict[str, Scores] = {}
    n_items: dict[str, int] = {}
    for card in load_cards().values():
        task = task_name(card, source)
        stacked = np.stack([row.statistics(task, metric) for row in rows])
        scores[task] = drawn.get(task) or resample(card, stacked, replicates)
        if card.is_label_task:
            drawn[task] = scores[task]
        n_items[task] = stacked.shape[1]
    for column in (*COLUMNS, *SPLITS):
        members = tasks_of(column, source)
        scores[column] = mean_over_tasks([scores[task] for task in members])
        n_items[column] = sum(n_items[task] for task in members)

    overall = scores["overall"]
    order = sorted(range(len(rows)), key=lambda i: (-overall.values_M[i], rows[i].key))
    overall_BM = overall.draws_BM[:, order]
    adjacent = [p_value(overall_BM[:, i - 1] - overall_BM[:, i]) for i in range(1, len(order))]
    return Ranking(
        rows=tuple(rows[i] for i in order),
        ranks=tuple(rank_intervals(overall_BM)),
        groups=tuple(
            tie_groups(len(order), lambda a, b: p_value(overall_BM[:, a] - overall_BM[:, b]))
        ),
        p_above=(None, *holm(adjacent)),
        cells={
            rows[i].key: {name: _cell(of, i, n_items[name]) for name, of in scores.items()}
            for i in order
        },
        overall_BM=overall_BM,
    )


def _cell(scores: Scores, place: int, n_items: int) -> Cell:
    found = estimate(scores.values_M[place], scores.draws_BM[:, place])
    return Cell(found.value, found.low, found.high, n_items)


def cells_of(row: Row, metric: str) -> Mapping[str, Cell]:
    """Scores of a row that is not ranked; it has no averages."""
    cells: dict[str, Cell] = {}
    for task, runs in row.runs.items():
        if len({run.samples.n_items for run in runs}) > 1:
            continue  # seeds over different items cannot be averaged per item
        rows = row.statistics(task, metric)
        scores = resample(runs[0].task.card, rows[None], UNRANKED_REPLICATES)
        cells[task] = _cell(scores, 0, len(rows))
    return cells


def gap_closed(ranking: Ranking, row: Row, base_name: str) -> Cell | None:
    """Share of the distance from base to teacher that a student has covered, in overall score.

    Args:
        ranking: Ranked rows, among them the declared base and teacher.
        row: The student.
        base_name: Name of the model that the student's line began with.

    Returns:
        (student - base) / (teacher - base) with its 95% interval; None where one of the three is
        not ranked or ``statistics.gap_closed`` gives none.
    """
    position = {other.info.name: i for i, other in enumerate(ranking.rows)}
    base, teacher = position.get(base_name), position.get(row.info.teacher)
    if base is None or teacher is None or row not in ranking.rows:
        return None
    places = (ranking.rows.index(row), base, teacher)
    cells = [ranking.cells[ranking.rows[place].key]["overall"] for place in places]
    student, start, goal = (cell.value for cell in cells)
    draws_3B = np.stack([ranking.overall_BM[:, place] for place in places])
    found, _ = statistics.gap_closed((student, start, goal), draws_3B)
    return None if found is None else Cell(found.value, found.low, found.high, cells[0].n)


def compare(ranking: Ranking, metric: str) -> list[dict[str, Any]]:
    """Compare ranked rows: every pair or, of many rows, neighbours.

    Returns:
        Per pair the difference of the overall scores with its interval and p-value and, of boards
        with up to 40 rows, a test of each task with its p-value, also adjusted over the tasks.
    """
    rows = ranking.rows
    tested = len(rows) <= MAX_TESTED
    overall_BM = ranking.overall_BM if tested else ranking.overall_BM[:PAIR_REPLICATES]
    reach = len(rows) if len(rows) <= MAX_COMPARED else 10
    comparisons: list[dict[str, Any]] = []
    for i, row in enumerate(rows):
        others = rows[i + 1 : i + 1 + reach]
        tests: list[dict[str, Any]] = [{} for _ in others]
        if tested:
            tests = _tests_of_tasks(row, others, metric)
        for j, (other, of_tasks) in enumerate(zip(others, tests, strict=True), start=i + 1):
            difference = overall_BM[:, i] - overall_BM[:, j]
            ours, theirs = (ranking.cells[r.key]["overall"].value for r in (row, other))
            found = estimate(ours - theirs, difference)
            comparisons.append(
                {
                    "a": row.key,
                    "b": other.key,
                    "difference": found.value,
                    "low": found.low,
                    "high": found.high,
                    "p": p_value(difference),
                    "tests": of_tasks,
                }
            )
    return comparisons


def _tests_of_tasks(row: Row, others: Sequence[Row], metric: str) -> list[dict[str, Any]]:
    """Test one row against others, task by task.

    McNemar's test where an item is right or wrong: label tasks run with one seed. Elsewhere, for
    F1 of tuples and for means over seeds, the sign-flip test of the F1 difference.
    """
    found: list[dict[str, dict[str, Any]]] = [{} for _ in others]
    for number, (task, runs) in enumerate(row.runs.items() if others else ()):
        card = runs[0].task.card
        flipped = [o for o in others if not (card.is_label_task and _once(row, o, task))]
        stacked = [other.statistics(task, metric) for other in flipped]
        p_values = iter(
            sign_flip(
                row.statistics(task, metric),
                np.stack(stacked),
                score_function(card),
                PAIR_REPLICATES,
                seed=number,
            )
            if flipped
            else ()
        )
        for tests, other in zip(found, others, strict=True):
            if other in flipped:
                tests[task] = {"test": "sign-flip", "p": next(p_values)}
            else:
                p = mcnemar(runs[0].samples.right, other.runs[task][0].samples.right)
                tests[task] = {"test": "McNemar", "p": p}
    for tests in found:
        adjusted = holm([test["p"] for test in tests.values()])
        for test, p in zip(tests.values(), adjusted, strict=True):
            test["adjusted"] = p
    return found


def _once(row: Row, other: Row, task: str) -> bool:
    return len(row.runs[task]) == len(other.runs[task]) == 1

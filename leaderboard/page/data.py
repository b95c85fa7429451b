"""What the page's script gets of the board, in few bytes, and what decides shades and scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from leaderboard.board import Board, Row
from leaderboard.page.calibration import mean_of
from leaderboard.page.view import ends_of, p_text, rank_text, tie_letters
from sentibench.pages.calibration import METRICS
from sentibench.pages.drawing import Axis
from sentibench.pages.forest import axis_of
from sentibench.pages.text import short

SHADES = 5  # steps from the lowest to the highest place in a column


def tenths(fraction: float | None) -> int | None:
    """A score as the page shows it, in tenths of a point: so no two programs round apart."""
    return None if fraction is None else round(10 * float(f"{100 * fraction:.1f}"))


@dataclass(frozen=True, slots=True)
class Standing:
    """Of a score: its place in the column from below (equal ones share it), and its shade.

    Attributes:
        shade: 1 to SHADES by the place among the ranked rows; 0 for others.
    """

    place: int
    shade: int


def standings(board: Board, metric: str, column: str) -> dict[str, Standing]:
    """Row key -> standing in one column."""
    values = {r.key: v for r in board.rows if (v := r.value(metric, column)) is not None}
    places = {value: place for place, value in enumerate(sorted(set(values.values())), start=1)}
    ranked = sorted(
        {tenths(values[r.key]) or 0 for r in board.rows if r.ranked and r.key in values}
    )
    steps = max(len(ranked) - 1, 1)
    shades = {t: 1 + (SHADES - 1) * n // steps for n, t in enumerate(ranked)}
    is_ranked = {row.key: row.ranked and len(ranked) > 1 for row in board.rows}
    return {
        key: Standing(places[value], shades[tenths(value) or 0] if is_ranked[key] else 0)
        for key, value in values.items()
    }


def axes_of(board: Board, metric: str) -> dict[str, Axis]:
    """The scale of the table's plot for each average."""
    return {
        column: axis_of([e for row in board.rows if (e := ends_of(row, metric, column))], 5)
        for column in board.averages
    }


def script_rows(board: Board, scores: Sequence[str]) -> list[dict[str, Any]]:
    """Per row what sorting, the switch of the metric and comparisons need.

    A score is [tenths, lower end, upper end, items, place in the column, shade, spread over the
    seeds in hundredths of a point, the whole fraction for differences]; the ends and the spread are
    null where they are unknown.
    """
    found = {
        (metric, column): standings(board, metric, column)
        for metric in board.metrics
        for column in scores
    }
    letters = {metric: tie_letters(board, metric) for metric in board.metrics}

    def numbers(row: Row, metric: str, column: str) -> list[float | None] | int:
        cell = row.cell(metric, column)
        if cell is None:
            return 0
        standing = found[metric, column][row.key]
        ends = (tenths(cell.value), tenths(cell.low), tenths(cell.high))
        spread = None if cell.spread is None else round(10000 * cell.spread)
        return [*ends, cell.n, standing.place, standing.shade, spread, cell.value]

    def place(row: Row, metric: str) -> list[Any] | int:
        if not row.rank:
            return 0
        of = row.rank[metric]
        letter = letters[metric].get(row.key, "")
        return [of.position, rank_text(row, metric), letter, p_text(of.p_above)]

    return [
        {
            "key": row.key,
            "name": short(row.name, 80),
            "group": row.group,
            "scores": {m: [numbers(row, m, column) for column in scores] for m in board.metrics},
            "rank": {m: place(row, m) for m in board.metrics},
            "facts": {
                "size": row.parameters,
                "seeds": len(row.seeds) or None,
                "invalid": row.invalid_rate,
                "speed": row.items_per_second,
                "memory": row.peak_memory_bytes,
                "licence": short(row.licence, 80) or None,
                "trained": short(", ".join(row.trained_on[:80]), 80) or None,
                **{name: of and of.value for name in METRICS for of in [mean_of(row, name)]},
            },
        }
        for row in board.rows
    ]


def script_comparisons(board: Board) -> list[list[Any]]:
    """Pairs as [metric, row, row, difference, low, high, p, detectable, tests].

    Metrics and rows by their position, differences in tenths of a point, tests as
    {position of the dataset: [name, p, adjusted p]}.
    """
    rows = {row.key: i for i, row in enumerate(board.rows)}
    tasks = {task.name: i for i, task in enumerate(board.tasks)}
    metrics = {metric: i for i, metric in enumerate(board.metrics)}
    return [
        [
            metrics[pair.metric],
            rows[pair.a],
            rows[pair.b],
            *(tenths(x) for x in (pair.difference, pair.low, pair.high)),
            round(pair.p, 5),
            tenths(pair.detectable),
            {
                tasks[name]: [test.test, round(test.p, 5), round(test.adjusted, 5)]
                for name, test in pair.tests.items()
                if name in tasks
            },
        ]
        for pair in board.comparisons
        if pair.a in rows and pair.b in rows
    ]

"""Texts of the page: what a cell, a rank or a number looks like, and which rows are best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from leaderboard.board import Board, Comparison, Row
from sentibench.pages.size_plot import Model, SizePlot, size_plot
from sentibench.pages.text import NONE, percent, short

SIZES = (
    ("s", "under 500 M", 0.0, 5e8),
    ("m", "500 M to 2 B", 5e8, 2e9),
    ("l", "2 B to 10 B", 2e9, 1e10),
    ("xl", "10 B and more", 1e10, math.inf),
)


def parameters(count: float | None) -> str:
    """A number of weights in three digits."""
    if count is None:
        return NONE
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            digits = ".3g" if count < 999.5 * size else ".0f"
            return f"{count / size:{digits}} {unit}"
    return str(count)


def size_bin(count: float | None) -> str:
    """The filter's name for a number of weights."""
    if count is None:
        return "unknown"
    return next(name for name, _, low, high in SIZES if low <= count < high)


def p_text(p: float | None) -> str:
    """A p-value."""
    if p is None:
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def link(url: str) -> str:
    """Return the address if it is one of the web, else an empty text."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return url if parts.scheme in ("http", "https") and parts.netloc else ""


@dataclass(frozen=True, slots=True)
class CellText:
    """Texts of a table cell; ``data`` holds all of them for the script, empty for no value."""

    data: str = ""
    value: str = ""
    interval: str = ""
    title: str = ""


def cell_text(row: Row, metric: str, column: str) -> CellText:
    """Texts of a score cell."""
    found = row.cell(metric, column)
    if found is None:
        return CellText()
    known = found.low is not None and found.high is not None
    interval = f"{percent(found.low)}–{percent(found.high)}" if known else ""
    title = f"95% interval {interval}" if known else "no interval known"
    return CellText(
        data=f"{percent(found.value)}|{interval}|{found.n or ''}|{found.value:.6f}",
        value=percent(found.value),
        interval=interval,
        title=title + (f", n = {found.n}" if found.n else ""),
    )


@dataclass(frozen=True, slots=True)
class RankText(CellText):
    """The same of a rank, with the tie group; 0 for none."""

    group: int = 0


def rank_text(row: Row, metric: str) -> RankText:
    """Texts of a rank."""
    if not row.rank:
        return RankText()
    found = row.rank[metric]
    text = f"{found.low}" if found.low == found.high else f"{found.low}–{found.high}"
    place, p_above = f"position {found.position}", p_text(found.p_above)
    return RankText(
        data=f"{text}|{found.group}|{p_above}|{found.position}",
        value=text,
        title=f"{place}, tie group {found.group}, p against the row above: {p_above}",
        group=found.group,
    )


def best_cells(board: Board, columns: Sequence[str]) -> set[tuple[str, str, str]]:
    """(row key, metric, column) of the highest shown score among the ranked rows."""
    best: set[tuple[str, str, str]] = set()
    for metric in board.metrics:
        for column in columns:
            shown = {
                row.key: float(percent(value))
                for row in board.rows
                if row.ranked and (value := row.value(metric, column)) is not None
            }
            best |= {(k, metric, column) for k, v in shown.items() if v == max(shown.values())}
    return best


def pair_matrix(board: Board, metric: str) -> dict[tuple[str, str], Comparison]:
    """Comparisons by (row, column) key, each stored once and shown in both directions."""
    cells: dict[tuple[str, str], Comparison] = {}
    for pair in board.comparisons:
        if pair.metric == metric:
            cells[pair.a, pair.b] = pair
            cells[pair.b, pair.a] = replace(
                pair, difference=-pair.difference, low=-pair.high, high=-pair.low
            )
    return cells


def plot_of(board: Board, metric: str) -> SizePlot | None:
    """Size against overall score; None if no row has both."""
    return size_plot(
        [
            Model(
                key=row.key,
                label=short(row.name, 24),
                parameters=row.parameters,
                score=value,
                is_ranked=row.ranked,
                is_measured=row.kind == "measured",
                base=_base_of(row, board.rows),
            )
            for row in board.rows
            if row.parameters and (value := row.value(metric, "overall")) is not None
        ]
    )


def _base_of(row: Row, rows: Sequence[Row]) -> str | None:
    """Key of the row with the name of the declared base, of the same kind first."""
    found = [other for other in rows if row.base and other.name == row.base and other is not row]
    same = [other for other in found if other.kind == row.kind]
    return next((other.key for other in same or found), None)

"""Coordinates of a plot of intervals in several panels, one line per model, for a template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sentibench.pages.drawing import Axis

LABELS, PANELS, GAP, RIGHT = 186, 716, 28, 16  # widths; title and note want the whole
NARROW = 150  # panels of a page of 390 pixels
TOP, LINE, BOTTOM = 52, 18, 40  # heights

Ends = tuple[float, float | None, float | None]
"""A value with its interval; without ends where none is known."""


@dataclass(frozen=True, slots=True)
class ForestMark:
    """A value at ``x``; ``low`` and ``high`` are None where no interval is known."""

    x: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class ForestLine:
    """A model: its label, the height of its line, a mark or None per panel."""

    label: str
    y: float
    marks: tuple[ForestMark | None, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """The left and right end of a panel and its ticks, (x, text)."""

    title: str
    left: float
    right: float
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class Forest:
    """The whole drawing; ``top`` and ``bottom`` are the ends of the panels."""

    width: float
    height: float
    top: float
    bottom: float
    panels: tuple[Panel, ...]
    lines: tuple[ForestLine, ...]


def axis_of(values: Sequence[Ends], wanted: int = 4) -> Axis:
    """A scale in percent that holds every value and every interval.

    Args:
        values: Fractions; without one the scale goes from 0 to 100.
        wanted: About how many steps.
    """
    ends = [100 * end for value in values for end in value if end is not None]
    return Axis.around(min(ends), max(ends), wanted) if ends else Axis.around(0, 100, wanted)


def forest(
    titles: Sequence[str],
    rows: Sequence[tuple[str, Sequence[Ends | None]]],
    panels: float = PANELS,
) -> Forest:
    """Place the marks.

    Args:
        titles: Of P panels, which share the width.
        rows: (label, a value in [0, 1] with its interval per panel or None).
        panels: Width of all panels.
    """
    axes = [axis_of([ends for _, of in rows if (ends := of[p])]) for p in range(len(titles))]
    panel = (panels + GAP) / len(titles) - GAP
    lefts = [LABELS + p * (panel + GAP) for p in range(len(titles))]
    inner = panel - 8  # marks at the ends of a scale stay inside

    def place(p: int, percent: float) -> float:
        return round(lefts[p] + 4 + inner * axes[p].at(percent) / 100, 1)

    def mark(p: int, ends: Ends | None) -> ForestMark | None:
        if ends is None:
            return None
        x, low, high = (None if end is None else place(p, 100 * end) for end in ends)
        return None if x is None else ForestMark(x, low, high)

    bottom = TOP + LINE * len(rows)
    return Forest(
        width=lefts[-1] + panel + RIGHT,
        height=bottom + BOTTOM,
        top=TOP,
        bottom=bottom,
        panels=tuple(
            Panel(
                title,
                lefts[p],
                lefts[p] + panel,
                tuple((place(p, t), axes[p].tick_text(t)) for t in axes[p].ticks),
            )
            for p, title in enumerate(titles)
        ),
        lines=tuple(
            ForestLine(label, TOP + LINE * (i + 0.5), tuple(mark(p, e) for p, e in enumerate(of)))
            for i, (label, of) in enumerate(rows)
        ),
    )

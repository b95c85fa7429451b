"""Coordinates of everything that is drawn, for templates.

They are percentages of the drawing's width or height, so that texts keep their size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sentibench.pages.text import percent
from sentibench.scoring.statistics import Estimate

MAX_DOTS, MAX_CORNERS = 600, 300  # of a curve


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear scale with round ticks.

    Attributes:
        low: The value at 0%.
        high: The value at 100%, above ``low``.
        ticks: Values between them.
    """

    low: float
    high: float
    ticks: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"axis from {self.low} to {self.high}")

    @classmethod
    def around(cls, low: float, high: float, wanted: int = 7) -> Axis:
        """An axis from a round number below to one above."""
        if high - low <= 1e-9 * max(abs(low), abs(high)):
            low, high = low - (abs(low) / 10 or 1), high + (abs(high) / 10 or 1)
        rough = (high - low) / wanted
        power = 10.0 ** math.floor(math.log10(rough))
        step = power * next(m for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        digits = max(0, 1 - math.floor(math.log10(step)))
        ticks = tuple(round(n * step, digits) for n in range(first, last + 1))
        return cls(ticks[0], ticks[-1], ticks)

    def at(self, value: float) -> float:
        """Place of a value in percent, cut at both ends."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(1.0, max(0.0, share)), 2)

    def tick_text(self, value: float) -> str:
        """A tick with as many decimals as all of them need."""
        step = self.ticks[1] - self.ticks[0]
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        return f"{value:.{digits}f}".replace("-", "−")


# Intervals


def span(interval: Estimate, signed: bool = False, digits: int = 1) -> str:
    """``+2.1 (+0.4 to +3.9)``: value, low and high in percent."""
    ends = (interval.value, interval.low, interval.high)
    return "{} ({} to {})".format(*(percent(n, signed, digits) for n in ends))


@dataclass(frozen=True, slots=True)
class Mark:
    """An interval of one series: places in percent, ``y`` in pixels.

    Attributes:
        series: Position of the series among all.
        sure: Whether the interval leaves out 0.
    """

    series: int
    x: float
    low: float
    high: float
    y: int
    text: str
    sure: bool


@dataclass(frozen=True, slots=True)
class Tick:
    """A value written at an axis."""

    x: float
    text: str
    zero: bool


@dataclass(frozen=True, slots=True)
class Plot:
    """Rows with one mark per series.

    Attributes:
        rows: (kind, title, marks); rows without a mark are left out.
        cut: Whether an interval goes beyond the axis.
    """

    rows: tuple[tuple[str, str, tuple[Mark, ...]], ...]
    ticks: tuple[Tick, ...]
    cut: bool


def interval_plot(
    rows: Sequence[tuple[str, str, Sequence[Estimate | None]]], axis: Axis, signed: bool
) -> Plot:
    """Draw intervals.

    Args:
        rows: (kind, title, one interval per series or None).
        axis: In percent or points.
        signed: Whether the numbers carry a sign.
    """
    drawn: list[tuple[str, str, tuple[Mark, ...]]] = []
    for kind, title, intervals in rows:
        known = [(series, found) for series, found in enumerate(intervals) if found]
        marks = tuple(
            Mark(
                series,
                *(axis.at(100 * n) for n in (found.value, found.low, found.high)),
                y=12 + 20 * place,
                text=span(found, signed),
                sure=not found.low <= 0 <= found.high,
            )
            for place, (series, found) in enumerate(known)
        )
        if marks:
            drawn.append((kind, title, marks))
    ends = [100 * n for *_, row in rows for found in row if found for n in (found.low, found.high)]
    return Plot(
        tuple(drawn),
        tuple(Tick(axis.at(tick), axis.tick_text(tick), tick == 0) for tick in axis.ticks),
        any(not axis.low <= end <= axis.high for end in ends),
    )


# Curves


@dataclass(frozen=True, slots=True)
class Curve:
    """A value over steps: all steps faint, their moving mean as a line.

    Attributes:
        n: Steps.
        window: Steps in a mean.
        every: One step in so many has a dot.
        dots: Places in percent.
        line: Corners of a polyline in a box of 1000 by 1000.
        x_ticks: (place in percent, text).
        y_ticks: The same, from above.
        first: The first mean.
        last: The last mean.
    """

    n: int
    window: int
    every: int
    dots: tuple[tuple[float, float], ...]
    line: str
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    first: float
    last: float


def curve(points: Sequence[tuple[float, float]]) -> Curve:
    """Draw values over steps.

    Args:
        points: At least two (step, value), in the order of steps.
    """
    steps, values = zip(*points, strict=True)
    window = max(1, len(points) // 20) | 1
    smooth = moving_mean(values, window)
    x, y = Axis.around(min(0, steps[0]), steps[-1]), Axis.around(min(values), max(values), 5)
    x = Axis(x.low, steps[-1], tuple(t for t in x.ticks if t <= steps[-1] and t % 1 == 0))
    every = math.ceil(len(points) / MAX_DOTS)
    corners = sorted(
        {*range(0, len(points), math.ceil(len(points) / MAX_CORNERS)), len(points) - 1}
    )
    return Curve(
        n=len(points),
        window=window,
        every=every,
        dots=tuple((x.at(step), round(100 - y.at(value), 2)) for step, value in points[::every]),
        line=" ".join(
            f"{10 * x.at(steps[i]):.1f},{1000 - 10 * y.at(smooth[i]):.1f}" for i in corners
        ),
        x_ticks=tuple((x.at(t), f"{t:,.0f}") for t in x.ticks),
        y_ticks=tuple((round(100 - y.at(t), 2), y.tick_text(t)) for t in y.ticks),
        first=smooth[0],
        last=smooth[-1],
    )


def moving_mean(values: Sequence[float], window: int) -> list[float]:
    """Mean over the window around each value, cut at both ends.

    Args:
        values: N numbers.
        window: Values in it, odd.

    Returns:
        N numbers.
    """
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    half = window // 2
    ends = [(max(0, i - half), min(len(values), i + half + 1)) for i in range(len(values))]
    return [(sums[b] - sums[a]) / (b - a) for a, b in ends]


# Bars


@dataclass(frozen=True, slots=True)
class Bar:
    """A piece of a falling bar: what it counts, and where it lies in percent of the whole."""

    kind: str
    title: str
    n: int
    share: str
    start: float
    width: float


def falling_bars(whole: int, drops: Mapping[str, int], kept: int) -> list[Bar]:
    """Draw what is asked, what is lost for each reason, and what is kept.

    Args:
        whole: Asked, above 0.
        drops: Reason -> how many were lost, in their order; those without any have no bar.
        kept: What is left.
    """

    def bar(kind: str, title: str, n: int, start: int) -> Bar:
        begin = round(100 * max(0, min(start, whole)) / whole, 2)
        wide = round(max(0.4 if n else 0.0, 100 * min(n, whole) / whole), 2)  # never invisible
        return Bar(kind, title, n, f"{100 * n / whole:.1f}%", begin, wide)

    bars, left = [bar("asked", "asked", whole, 0)], whole
    for reason, n in drops.items():
        if n:
            left -= n
            bars.append(bar("drop", reason, n, left))
    return [*bars, bar("kept", "kept", kept, 0)]

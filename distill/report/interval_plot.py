"""Coordinates of a drawing with intervals, for the template of the page.

They are percentages of the drawing's width or height, so that texts keep their size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from distill.report.manifest_values import span, triple


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


def interval_plot(
    rows: Sequence[tuple[str, str, Sequence[Any]]], axis: Axis, signed: bool, reference: float
) -> dict[str, Any]:
    """Rows with one mark per series.

    Args:
        rows: (kind, title, one interval per series; None tasks it out), as fractions.
        axis: In percent or points.
        signed: Whether the numbers carry a sign.
        reference: The value that an interval has to exclude to be shown as sure, a fraction.
    """
    drawn: list[dict[str, Any]] = []
    is_cut = False
    for kind, title, intervals in rows:
        marks: list[dict[str, Any]] = []
        for series, interval in enumerate(intervals):
            numbers = triple(interval)
            if numbers is None:
                continue
            value, low, high = (100 * n for n in numbers)
            is_cut |= low < axis.low or high > axis.high
            marks.append(
                {
                    "series": series,
                    "x": axis.at(value),
                    "low": axis.at(low),
                    "high": axis.at(high),
                    "y": 12 + 20 * len(marks),
                    "text": span(interval, signed),
                    "sure": not low <= 100 * reference <= high,
                }
            )
        if marks:
            drawn.append({"kind": kind, "title": title, "marks": marks, "height": 20 * len(marks)})
    ticks = [{"x": axis.at(t), "text": axis.tick_text(t), "zero": t == 0} for t in axis.ticks]
    return {"rows": drawn, "ticks": ticks, "cut": is_cut}

"""What the page shows of the calibration of a row: means, reliability diagrams."""

from __future__ import annotations

from dataclasses import dataclass

from leaderboard.board import Board, Row
from sentibench.pages.calibration import number
from sentibench.pages.text import NONE, counted
from sentibench.scoring.calibration import Bin
from sentibench.scoring.statistics import Estimate

NOT_SAVED, NOT_GIVEN = "not saved", "none given"
UNKNOWN = (NOT_SAVED, NOT_GIVEN)


def mean_of(row: Row, metric: str) -> Estimate | None:
    """Mean over the label tasks of a row; None if it has none."""
    return row.calibration.get(metric, {}).get("overall")


def mean_text(row: Row, metric: str) -> str:
    """What the cell of a row says."""
    found = mean_of(row, metric)
    if found is not None:
        return number(metric, found.value)
    if row.kind != "measured" or not row.confusion:
        return NONE
    return NOT_SAVED if row.protocol else NOT_GIVEN  # a method that gives labels alone


def part_text(board: Board, row: Row) -> str:
    """``5/8`` where a mean is not over all label tasks of the board; else empty."""
    n_known, n_all = len(row.reliability), sum(bool(task.labels) for task in board.tasks)
    return f"{n_known}/{n_all}" if 0 < n_known < n_all else ""


@dataclass(frozen=True, slots=True)
class Diagram:
    """Confidence against the share that is right; both axes go from 0 to 100.

    The area of a dot is as large as its share of the items.

    Attributes:
        n_items: That were answered.
        lines: Per seed (x, y, radius) from low confidence to high.
        text: The same for those who do not see it.
    """

    title: str
    n_items: int
    lines: tuple[tuple[tuple[float, float, float], ...], ...]
    text: str


def diagrams(board: Board, row: Row) -> list[Diagram]:
    """One per label task whose log-likelihoods are known."""
    found: list[Diagram] = []
    for task in board.tasks:
        seeds = row.reliability.get(task.name, ())
        if not seeds:
            continue
        n_items = sum(b.n for b in seeds[0])
        said = ", ".join(
            f"{100 * b.accuracy:.0f} at {100 * b.confidence:.0f} ({counted(b.n, 'item')})"
            for b in seeds[0]
        )
        found.append(
            Diagram(
                task.title,
                n_items,
                tuple(tuple(_dot(b, n_items) for b in bins) for bins in seeds),
                f"percent right at percent of confidence: {said}",
            )
        )
    return found


def _dot(of: Bin, n_items: int) -> tuple[float, float, float]:
    x, y = 100 * of.confidence, 100 * of.accuracy
    return round(x, 1), round(y, 1), round(max(1.0, 7 * (of.n / n_items) ** 0.5), 1)

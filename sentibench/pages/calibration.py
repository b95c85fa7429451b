"""How the measures of calibration are called and written."""

from __future__ import annotations

from sentibench.pages.text import NONE, percent
from sentibench.scoring.calibration import BINS, PER_DOT, REPLICATES
from sentibench.scoring.statistics import Estimate

METRICS = {
    "ece": (
        "ECE",
        "%, lower is better",
        "Expected calibration error: between confidence and share right",
    ),
    "brier": (
        "Brier",
        "0 to 2, lower is better",
        "Brier score: squared distance to the right label, summed over labels",
    ),
    "nll": ("NLL", "nats, lower is better", "Negative log-likelihood of the right label"),
    "coverage_at_5": (
        "Coverage",
        "%, higher is better",
        "Items that can be answered with at most 5% of these answers wrong",
    ),
}
"""Name -> title, unit and which way is better, what it says."""
GROUPS = f"up to {BINS} groups of equally many items; equal probabilities are in the same group"
DOTS = (
    f"up to {BINS} groups of equally many items, about {PER_DOT} or more in each. A larger dot is "
    "more items"
)
INTERVALS = (
    f"The intervals are from {REPLICATES:,} draws of the items, the same for all models. Chance "
    "makes ECE larger, most of all with few items. The interval of ECE is corrected for this, so "
    "it is wider below the value than above, unless it ends at 0."
)
IN_PERCENT = ("ece", "coverage_at_5")


def number(metric: str, value: float) -> str:
    """A value as the page shows it: percent, or three decimals."""
    return percent(value) if metric in IN_PERCENT else f"{value:.3f}"


def ends(metric: str, found: Estimate | None) -> str:
    """Its interval in brackets; empty without a value."""
    if found is None:
        return ""
    return f"[{number(metric, found.low)}, {number(metric, found.high)}]"


def quoted(metric: str, found: Estimate | None) -> str:
    """Value and interval."""
    return NONE if found is None else f"{number(metric, found.value)} {ends(metric, found)}"

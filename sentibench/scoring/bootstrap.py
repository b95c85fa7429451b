"""Error bars: the bootstrap over items."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

REPLICATES = 10_000
CHUNK = 1_000  # replicates held in memory at once: CHUNK x distinct rows


def bootstrap_stderr(
    statistics: NDArray[np.float64],
    metric: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    replicates: int = REPLICATES,
    seed: int = 0,
) -> float:
    """Standard error of a metric under resampling of items with replacement.

    Equal rows are drawn together: the counts of the R distinct rows in a replicate are one
    multinomial draw, so the cost is replicates x R whatever the number of items, and the result
    does not depend on their order.

    Args:
        statistics: Shape (N, S): per item, numbers that add up over items.
        metric: Maps summed statistics of shape (B, S) to shape (B,).
        replicates: B in total, at least 2.
        seed: Of the random draws.

    Returns:
        Standard deviation over the replicates (ddof 1), in the unit of the metric; NaN for fewer
        than two items, where resampling says nothing.

    Raises:
        ValueError: If ``statistics`` is not two-dimensional.

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 6.
    """
    if statistics.ndim != 2:
        raise ValueError(f"statistics must have shape (N, S); got {statistics.shape}")
    n_items = len(statistics)
    if n_items < 2:
        return float("nan")
    rows_RS, counts_R = np.unique(statistics, axis=0, return_counts=True)  # sorted
    random = np.random.default_rng(seed)
    values: list[NDArray[np.float64]] = []
    for start in range(0, replicates, CHUNK):
        n_draws = min(CHUNK, replicates - start)
        drawn_BR = random.multinomial(n_items, counts_R / n_items, size=n_draws)
        values.append(metric(drawn_BR @ rows_RS))
    return float(np.concatenate(values).std(ddof=1))

"""Error bars and comparisons: one set of bootstrap weights per task, shared by all models.

A replicate of a metric is a function of W @ S, with W the weights (B replicates x N items) and S
the additive statistics of a model. Sharing W makes every difference and every ratio paired by
construction. All intervals are conditional on the tasks: items are resampled, tasks are not.

Source of percentile intervals and standard errors: Efron and Tibshirani 1993, An Introduction to
the Bootstrap, section 13.3 and chapter 6.
"""

# pyright: basic
# numpy's types of reshaped arrays and scipy's are incomplete: their unknowns end in this module.

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentibench.data.cards import Card, load_cards
from sentibench.scoring.metrics import score_function

Floats = NDArray[np.float64]

REPLICATES = 10_000
CHUNK = 500  # replicates in memory at once: CHUNK x N weights
EXACT = 2**24  # whole numbers below have all their digits in float32
STDERR_CHUNK = 1_000  # the same, of CHUNK x distinct rows


# One model


def bootstrap_stderr(
    statistics: Floats,
    metric: Callable[[Floats], Floats],
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
    """
    if statistics.ndim != 2:
        raise ValueError(f"statistics must have shape (N, S); got {statistics.shape}")
    n_items = len(statistics)
    if n_items < 2:
        return float("nan")
    rows_RS, counts_R = np.unique(statistics, axis=0, return_counts=True)  # sorted
    random = np.random.default_rng(seed)
    values: list[Floats] = []
    for start in range(0, replicates, STDERR_CHUNK):
        n_draws = min(STDERR_CHUNK, replicates - start)
        drawn_BR = random.multinomial(n_items, counts_R / n_items, size=n_draws)
        values.append(metric(drawn_BR @ rows_RS))
    return float(np.concatenate(values).std(ddof=1))


def wilson(rate: float, n: int) -> tuple[float, float]:
    """95% interval of a rate over n items (Wilson 1927): has width at 0 and 1 too."""
    z = 1.959963984540054
    middle = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return float(max(0.0, middle - half)), float(min(1.0, middle + half))


# Models on the same items


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Scores of M models, of one task or the mean over several; fractions.

    Attributes:
        values_M: As measured; the mean over the seeds of a model.
        draws_BM: B replicates, paired: row b is the same draw of items for all models and seeds.
        seeds_M: The scores of each model's seeds, in their order; empty where they have no mean.
    """

    values_M: Floats
    draws_BM: Floats
    seeds_M: tuple[Floats, ...]

    def __post_init__(self) -> None:
        shapes = self.draws_BM.shape[1:], (len(self.seeds_M),)
        if any(shape != self.values_M.shape for shape in shapes):
            raise ValueError(f"values {self.values_M.shape}, draws and seeds {shapes}")

    def spread(self, place: int) -> float | None:
        """Standard deviation of the scores of a model's seeds (ddof 1); None for one seed."""
        of_seeds = self.seeds_M[place]
        return float(of_seeds.std(ddof=1)) if len(of_seeds) > 1 else None

    def split(self, n_parts: int) -> list[Scores]:
        """The first M/n models, the next, and so on; they share the memory."""
        values, draws = np.split(self.values_M, n_parts), np.split(self.draws_BM, n_parts, axis=1)
        n_models = len(self.values_M) // n_parts
        seeds = [self.seeds_M[n * n_models : (n + 1) * n_models] for n in range(n_parts)]
        return list(map(Scores, values, draws, seeds))

    def of(self, places: Sequence[int]) -> Scores:
        """The scores of some of the models, in this order."""
        chosen = list(places)
        seeds = tuple(self.seeds_M[place] for place in chosen)
        return Scores(self.values_M[chosen], self.draws_BM[:, chosen], seeds)


def task_seed(card: Card) -> int:
    """The seed of a dataset's weights: its place in the benchmark; of an own task from its name.

    So the draws of a task depend on no other task and no model, and every page shows the same.
    """
    places = list(load_cards())
    if card.name in places:
        return places.index(card.name)
    return int.from_bytes(hashlib.sha256(card.name.encode()).digest()[:6], "big")


def resample(
    card: Card, runs_M: Sequence[Sequence[Floats]], replicates: int = REPLICATES
) -> Scores:
    """Score M models on one task, and score them again under B draws of its items.

    A model's score is the mean of its seeds' scores. It is never a score of counts that were added
    up over seeds: two seeds that lean to opposite labels would look better together than each is.

    Args:
        card: The dataset: it names the metric and the seed of the draws.
        runs_M: Per model the additive statistics of its seeds, each of shape (N, S); item n is the
            same for all seeds and models.
        replicates: B.
    """
    metric = score_function(card)
    statistics_RNS = np.stack([of_seed for of_model in runs_M for of_seed in of_model])
    values_R = metric(statistics_RNS.sum(axis=1))
    draws_BR = replicate_scores(statistics_RNS, metric, replicates, task_seed(card))
    counts_M = np.array([len(of_model) for of_model in runs_M])
    starts_M = np.cumsum(counts_M) - counts_M
    if len(draws_BR.T) > len(runs_M):
        draws_BR = np.add.reduceat(draws_BR, starts_M, axis=1) / counts_M
    seeds_M = tuple(np.split(values_R, starts_M[1:]))
    return Scores(np.array([of_seeds.mean() for of_seeds in seeds_M]), draws_BR, seeds_M)


def mean_over_tasks(tasks: Sequence[Scores]) -> Scores:
    """Unweighted mean of the scores of the same models on several tasks."""
    return Scores(
        np.mean([task.values_M for task in tasks], axis=0),
        np.mean([task.draws_BM for task in tasks], axis=0),
        tuple(map(_mean_of_seeds, zip(*(task.seeds_M for task in tasks), strict=True))),
    )


def _mean_of_seeds(of_tasks: Sequence[Floats]) -> Floats:
    """Means over tasks seed by seed; empty where the tasks have different numbers of seeds."""
    same = len({len(of_task) for of_task in of_tasks}) == 1
    return np.mean(of_tasks, axis=0) if same else np.array([])


def replicate_scores(
    statistics: Floats, metric: Callable[[Floats], Floats], replicates: int, seed: int
) -> Floats:
    """Bootstrap one task for all models at once.

    Args:
        statistics: Shape (M models, N items, S), the same items in the same order.
        metric: Maps summed statistics (..., S) to (...).
        replicates: B.
        seed: Of the weights; one per task.

    Returns:
        Shape (B, M).
    """
    n_models, n_items, width = statistics.shape
    flat_NX = np.ascontiguousarray(statistics.transpose(1, 0, 2)).reshape(n_items, -1)
    if statistics.max(initial=0) * n_items < EXACT and (flat_NX == np.rint(flat_NX)).all():
        flat_NX = flat_NX.astype(np.float32)  # half the time, and sums of counts stay exact
    random = np.random.default_rng(seed)
    parts: list[Floats] = []
    for start in range(0, replicates, CHUNK):
        n_draws = min(CHUNK, replicates - start)
        drawn = random.integers(0, n_items, size=(n_draws, n_items))
        drawn += np.arange(n_draws)[:, None] * n_items
        weights_BN = np.bincount(drawn.ravel(), minlength=n_draws * n_items)
        weights_BN = weights_BN.reshape(n_draws, n_items).astype(flat_NX.dtype)
        sums_BX = (weights_BN @ flat_NX).astype(np.float64)
        parts.append(metric(sums_BX.reshape(n_draws, n_models, width)))
    return np.concatenate(parts)


def intervals(replicates_BM: Floats, level: float = 0.95) -> Floats:
    """Percentile intervals of M bootstrap distributions: lower and upper ends, shape (2, M)."""
    tail = (1 - level) / 2
    return np.quantile(replicates_BM, (tail, 1 - tail), axis=0)


def interval(replicates_B: Floats, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of one bootstrap distribution."""
    low, high = intervals(replicates_B, level)
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with the ends of its 95% interval."""

    value: float
    low: float
    high: float


def estimate(value: float, replicates_B: Floats) -> Estimate:
    """A value with the percentile interval of its replicates."""
    return Estimate(float(value), *interval(replicates_B))


def gap_closed(scores: tuple[float, float, float], draws_3B: Floats) -> tuple[Estimate | None, str]:
    """Share of the way from base to teacher that a student has gone.

    Args:
        scores: Of student, base and teacher, fractions.
        draws_3B: Paired replicates of the same.

    Returns:
        (student - base) / (teacher - base), which may lie outside of [0, 1], and an empty text; or
        None and the reason, if the teacher is not better than the base in every replicate: then
        the ratio can be of any size.
    """
    student, base, teacher = scores
    student_B, base_B, teacher_B = draws_3B
    lead = estimate(teacher - base, teacher_B - base_B)
    shown = (
        f"{100 * lead.value:+.1f} points "
        f"(95% interval {100 * lead.low:+.1f} to {100 * lead.high:+.1f})"
    ).replace("-", "−")
    if lead.high < 0:
        return None, f"the teacher is worse than the base: {shown}"
    behind = int(np.count_nonzero(teacher_B <= base_B))
    if behind or teacher <= base:  # at the latest where the interval touches 0
        return None, (
            f"teacher minus base is {shown}; it is not above 0 in {behind:,} of {len(base_B):,} "
            "replicates, so no share of it can be given"
        )
    share = (student - base) / (teacher - base)
    return estimate(share, (student_B - base_B) / (teacher_B - base_B)), ""


def p_value(differences_B: Floats) -> float:
    """Two-sided bootstrap p-value of a difference: twice the smaller tail beyond 0.

    The observed sample counts as one more replicate, so it is never 0.
    """
    n = len(differences_B)
    below = (np.count_nonzero(differences_B <= 0) + 1) / (n + 1)
    above = (np.count_nonzero(differences_B >= 0) + 1) / (n + 1)
    return float(min(1.0, 2 * min(below, above)))


def detectable_difference(differences_B: Floats, power: float = 0.8) -> float:
    """The smallest true difference that a two-sided test at 5% finds with this power.

    The standard error is that of the replicates: the items and the answers decide what they can
    show. Source: Bloom 1995, Minimum Detectable Effects, Evaluation Review 19(5).

    Args:
        differences_B: Paired replicates of the difference of two scores.
        power: Share of repetitions in which it is found.

    Returns:
        In the unit of the scores; 0 for two models that never differ.
    """
    from scipy import special

    return float(differences_B.std(ddof=1) * (special.ndtri(0.975) + special.ndtri(power)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values of a family (Holm 1979): control of the family-wise error."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    worst = 0.0
    for rank, position in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[position]))
        adjusted[position] = worst
    return adjusted.tolist()


def mcnemar(right_a: NDArray[np.bool_], right_b: NDArray[np.bool_]) -> float:
    """Exact McNemar test of paired right and wrong answers (McNemar 1947).

    Args:
        right_a: Shape (N,).
        right_b: Shape (N,), the same items.

    Returns:
        Two-sided p-value; 1 if the models never differ.
    """
    only_a = int(np.count_nonzero(right_a & ~right_b))
    only_b = int(np.count_nonzero(right_b & ~right_a))
    if only_a + only_b == 0:
        return 1.0
    from scipy import special  # takes longer to import than a task takes to score

    # both tails of a symmetric binomial; scipy's binomtest gives the same at 300 times the cost
    tail = special.bdtr(min(only_a, only_b), only_a + only_b, 0.5)
    return min(1.0, 2 * float(tail))


def sign_flip(
    statistics: Floats,
    others: Floats,
    metric: Callable[[Floats], Floats],
    replicates: int,
    seed: int,
) -> list[float]:
    """Paired permutation test of one model against others, for scores that are no mean.

    Under the hypothesis of no difference the two answers to an item may change places. Source:
    Noreen 1989, Computer-Intensive Methods for Testing Hypotheses, section 2.7.

    Args:
        statistics: Shape (N, S), additive statistics of the model.
        others: Shape (M, N, S), those of the others on the same items.
        metric: Maps summed statistics (..., S) to (...).
        replicates: Random exchanges; the same for all others.
        seed: Of the exchanges.

    Returns:
        M two-sided p-values; the observed order counts as one more replicate.
    """
    n_others, n_items, width = others.shape
    swapped_RN = np.random.default_rng(seed).integers(0, 2, size=(replicates, n_items))
    change_NX = np.ascontiguousarray((others - statistics).transpose(1, 0, 2))
    moved_RX = swapped_RN.astype(np.float64) @ change_NX.reshape(n_items, -1)
    moved_RMS = moved_RX.reshape(replicates, n_others, width)
    own_S, other_MS = statistics.sum(axis=0), others.sum(axis=1)
    observed_M = np.abs(metric(own_S) - metric(other_MS))
    drawn_RM = np.abs(metric(own_S + moved_RMS) - metric(other_MS - moved_RMS))
    beyond_M = np.count_nonzero(drawn_RM >= observed_M - 1e-12, axis=0)
    return ((beyond_M + 1) / (replicates + 1)).tolist()


def rank_intervals(replicates_BM: Floats, level: float = 0.95) -> list[tuple[int, int]]:
    """Interval of each model's rank over the replicates; equal scores share the better rank."""
    from scipy import stats

    ranks_BM = stats.rankdata(-replicates_BM, axis=1, method="min")
    tail = (1 - level) / 2
    low = np.quantile(ranks_BM, tail, axis=0, method="lower")
    high = np.quantile(ranks_BM, 1 - tail, axis=0, method="higher")
    return [(int(a), int(b)) for a, b in zip(low, high, strict=True)]


def tie_groups(n_rows: int, p_between: Callable[[int, int], float]) -> list[int]:
    """Group neighbours that cannot be told apart from the best of their group.

    Args:
        n_rows: Rows, best first.
        p_between: p-value of the difference between two positions.

    Returns:
        Number of the group of each position, from 1.
    """
    groups: list[int] = []
    leader = 0
    for position in range(n_rows):
        if position and p_between(leader, position) < 0.05:
            leader = position
        groups.append(1 if not position else groups[-1] + (leader == position))
    return groups

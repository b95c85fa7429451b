"""Whether probabilities are what they say: calibration, and what abstaining would gain.

Everything is computed from the log-likelihoods of the labels, which every evaluation saves.

Sources:
    ECE with bins of equal mass: Nguyen and O'Connor 2015, section 3; Nixon et al. 2019.
    Brier score: Brier 1950, the sum over labels, in [0, 2].
    Temperature: Guo et al. 2017, On Calibration of Modern Neural Networks, section 4.2; its
        targets after Platt 1999, Probabilistic Outputs for Support Vector Machines.
    Coverage at a risk: Geifman and El-Yaniv 2017, section 2.
"""

# pyright: basic
# scipy's types are incomplete: their unknowns end in this module.

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentibench.data.cards import load_tasks
from sentibench.scoring.statistics import Estimate, interval, task_seed

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

BINS = 10
PER_DOT = 20  # items of a dot in a diagram; the share that is right of fewer is mostly chance
RISK = 0.05  # share of wrong answers among those that are given
FLOOR = 1e-12  # of a probability: no single item makes the log-likelihood endless
REPLICATES = 1_000
CHUNK = 100  # replicates in memory at once: CHUNK x N weights
TEMPERATURES = (0.02, 50.0)
NORMAL_95 = 1.96  # standard errors from the middle of a 95% interval to its ends


def probabilities(log_likelihoods_NK: Floats, temperature: float = 1.0) -> Floats:
    """Distribution over the labels of a task.

    Args:
        log_likelihoods_NK: Of K labels, in nats. A row with NaN or infinity, or with minus infinity
            alone, says nothing.
        temperature: Above 0; log-likelihoods are divided by it. It moves no label.

    Returns:
        Shape (N, K), rows sum to 1; even where nothing was said.
    """
    said_N = is_answer(log_likelihoods_NK)
    logits_NK = np.where(said_N[:, None], log_likelihoods_NK, 0.0)
    logits_NK = (logits_NK - logits_NK.max(axis=1, keepdims=True)) / temperature
    weights_NK = np.exp(logits_NK)
    return weights_NK / weights_NK.sum(axis=1, keepdims=True)


def is_answer(log_likelihoods_NK: Floats) -> NDArray[np.bool_]:
    """Whether a row says anything; shape (N,). See ``probabilities``."""
    return np.isfinite(log_likelihoods_NK.max(axis=1))  # NaN if one of the row is


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Distributions of one model on N items of one label task.

    Attributes:
        probabilities_NK: Rows sum to 1.
        gold_N: Position of the gold label.
        right_N: Whether the likeliest label, the first of equal ones, is gold.
    """

    probabilities_NK: Floats
    gold_N: Integers
    right_N: NDArray[np.bool_]

    @classmethod
    def of(cls, log_likelihoods_NK: Floats, gold_N: Integers, temperature: float = 1.0) -> Answers:
        """From log-likelihoods; a row that says nothing is wrong."""
        right_N = (log_likelihoods_NK.argmax(axis=1) == gold_N) & is_answer(log_likelihoods_NK)
        return cls(probabilities(log_likelihoods_NK, temperature), gold_N, right_N)

    def in_order(self) -> Answers:
        """The same, sorted: no result depends on the order in which items were given."""
        columns = (self.right_N, self.gold_N, *self.probabilities_NK.T)
        order_N = np.lexsort(columns)
        return Answers(self.probabilities_NK[order_N], self.gold_N[order_N], self.right_N[order_N])

    @property
    def confidence_N(self) -> Floats:
        """Probability of the likeliest label, in [1/K, 1]."""
        return self.probabilities_NK.max(axis=1)

    @property
    def brier_N(self) -> Floats:
        """Squared distance to the gold label, in [0, 2]."""
        one_hot_NK = np.eye(self.probabilities_NK.shape[1])[self.gold_N]
        return ((self.probabilities_NK - one_hot_NK) ** 2).sum(axis=1)

    @property
    def nll_N(self) -> Floats:
        """Negative log-probability of the gold label in nats, at most 27.6."""
        gold_p_N = self.probabilities_NK[np.arange(len(self.gold_N)), self.gold_N]
        return -np.log(np.maximum(gold_p_N, FLOOR))


# From weights of items to a value: weights are 1 for the items themselves, and the number of times
# that an item was drawn in a replicate.
Weights = Floats
Metric = Callable[[Answers], Callable[[Weights], Floats]]


def _mean_of(values_N: Floats) -> Callable[[Weights], Floats]:
    return lambda weights_BN: weights_BN @ values_N / weights_BN.sum(axis=1)


def _brier(answers: Answers) -> Callable[[Weights], Floats]:
    return _mean_of(answers.brier_N)


def _nll(answers: Answers) -> Callable[[Weights], Floats]:
    return _mean_of(answers.nll_N)


def bin_of(confidence_N: Floats, n_bins: int = BINS) -> Integers:
    """Bin of each item: at most ``n_bins`` of equal mass; items of equal confidence are in one."""
    edges = np.quantile(confidence_N, np.arange(1, n_bins) / n_bins, method="higher")
    return np.searchsorted(np.unique(edges), confidence_N, side="right")


def _gaps(answers: Answers) -> Callable[[Weights], Floats]:
    """Confidence minus accuracy of each bin, times its share; (B, BINS), bins of all items."""
    in_bin_NX = np.eye(BINS)[bin_of(answers.confidence_N)]
    excess_NX = in_bin_NX * (answers.confidence_N - answers.right_N)[:, None]
    return lambda weights_BN: weights_BN @ excess_NX / weights_BN.sum(axis=1, keepdims=True)


def _ece(answers: Answers) -> Callable[[Weights], Floats]:
    gaps = _gaps(answers)
    return lambda weights_BN: np.abs(gaps(weights_BN)).sum(axis=1)


def _coverage(answers: Answers) -> Callable[[Weights], Floats]:
    """Largest share of items that a threshold answers with at most 5% of them wrong."""
    # what is left for the other labels parts items whose confidence is 1 in its 16 digits
    rest_N = np.sort(answers.probabilities_NK, axis=1)[:, :-1].sum(axis=1)
    order_N = np.argsort(rest_N, kind="stable")
    # no threshold parts equal ones
    ends = np.flatnonzero(np.append(np.diff(rest_N[order_N]) != 0, True))
    excess_N = (~answers.right_N)[order_N] - RISK  # wrong answers beyond the allowed share

    def metric(weights_BN: Weights) -> Floats:
        drawn_BN = weights_BN[:, order_N]
        is_allowed_BE = (drawn_BN * excess_N).cumsum(axis=1)[:, ends] <= 1e-9
        last_B = is_allowed_BE.shape[1] - 1 - is_allowed_BE[:, ::-1].argmax(axis=1)
        answered_B = drawn_BN.cumsum(axis=1)[np.arange(len(last_B)), ends[last_B]]
        return np.where(is_allowed_BE.any(axis=1), answered_B, 0.0) / drawn_BN.sum(axis=1)

    return metric


METRICS: Mapping[str, Metric] = {
    "ece": _ece,
    "brier": _brier,
    "nll": _nll,
    "coverage_at_5": _coverage,
}
"""Name -> metric. The first three are better the lower they are."""


def value(name: str, answers: Answers) -> float:
    """A metric of the items as they are."""
    return float(METRICS[name](answers.in_order())(np.ones((1, len(answers.gold_N))))[0])


def draws(n_items: int, n: int = REPLICATES, seed: int = 0) -> Iterator[Weights]:
    """How often each item is drawn in n draws of all items with replacement.

    Yields:
        Parts of shape (up to CHUNK, n_items); rows sum to ``n_items``.
    """
    random = np.random.default_rng(seed)
    for start in range(0, n, CHUNK):
        n_draws = min(CHUNK, n - start)
        drawn = random.integers(0, n_items, size=(n_draws, n_items))
        drawn += np.arange(n_draws)[:, None] * n_items
        counts = np.bincount(drawn.ravel(), minlength=n_draws * n_items)
        yield counts.reshape(n_draws, n_items).astype(np.float64)


def stderr(name: str, answers: Answers) -> float:
    """Bootstrap standard error of a metric; NaN for fewer than two items.

    That of ECE is the distance to the further end of its interval, over 1.96. The spread of its
    replicates leaves out what chance adds: a calibrated model would lie many of them above 0.
    """
    n_items, ordered = len(answers.gold_N), answers.in_order()
    if n_items < 2:
        return float("nan")
    if name == "ece":
        found = drawn(name, ordered).estimate
        return max(found.value - found.low, found.high - found.value) / NORMAL_95
    return float(np.concatenate(list(map(METRICS[name](ordered), draws(n_items)))).std(ddof=1))


# Intervals


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A metric, and what it is under B draws of the items.

    Attributes:
        value: Of the items as they are.
        ends_2B: For the lower and the upper end of an interval; equal for all metrics but ECE.
    """

    value: float
    ends_2B: Floats

    @classmethod
    def mean(cls, several: Sequence[Drawn]) -> Drawn:
        """Unweighted mean over tasks or seeds."""
        ends_2B = np.mean([drawn.ends_2B for drawn in several], axis=0)
        return cls(float(np.mean([drawn.value for drawn in several])), ends_2B)

    @property
    def estimate(self) -> Estimate:
        """The value with its 95% interval."""
        low, high = _interval(self.ends_2B)
        return Estimate(self.value, max(0.0, low), high)

    def minus(self, other: Drawn) -> Estimate:
        """The difference to another model under the same draws."""
        low, high = _interval(self.ends_2B - other.ends_2B[::-1])
        return Estimate(self.value - other.value, low, high)


def _interval(ends_2B: Floats) -> tuple[float, float]:
    return interval(ends_2B[0])[0], interval(ends_2B[1])[1]


def _ends(name: str, answers: Answers) -> Callable[[Weights], Floats]:
    """A metric under draws, for the lower and the upper end of an interval; shape (2, B).

    ECE adds up sizes of gaps, so noise raises it, and a draw of the items adds noise once more: its
    plain replicates lie above the truth. By the triangle inequality it is at most the sum of all
    changes of the gaps above the truth. Because it is convex, it is below the truth at most by the
    change along the signs of the true gaps, for which those of the measured gaps stand here.
    """
    if name != "ece":
        metric = METRICS[name](answers)
        return lambda weights_BN: np.stack([metric(weights_BN)] * 2)
    gaps = _gaps(answers)
    gaps_1X = gaps(np.ones((1, len(answers.gold_N))))
    ece = np.abs(gaps_1X).sum()

    def ends(weights_BN: Weights) -> Floats:
        change_BX = gaps(weights_BN) - gaps_1X
        along_B = (change_BX * np.sign(gaps_1X)).sum(axis=1)
        return np.stack([ece - np.abs(change_BX).sum(axis=1), ece + along_B])

    return ends


def drawn(name: str, answers: Answers, n: int = REPLICATES, seed: int = 0) -> Drawn:
    """A metric under n draws of the items, for an interval.

    The draws depend on the number of items and the seed alone, so those of two models on the same
    items in the same order are paired.
    """
    ends = _ends(name, answers)
    parts = [ends(weights_BN) for weights_BN in draws(len(answers.gold_N), n, seed)]
    return Drawn(value(name, answers), np.concatenate(parts, axis=1))


# Several models


@dataclass(frozen=True, slots=True)
class Calibration:
    """Metric -> value with its 95% interval, of one model.

    Attributes:
        mean: Unweighted mean over the label tasks whose log-likelihoods are known; empty if none.
        tasks: The same of each of these tasks.
    """

    mean: Mapping[str, Estimate]
    tasks: Mapping[str, Mapping[str, Estimate]]


Runs = Mapping[str, Sequence[Answers]]
"""Label task -> the answers of each seed of a model, all to the same items."""


def calibrations(models: Sequence[Runs], n: int = REPLICATES) -> list[Calibration]:
    """Measure models under shared draws: N items of a task are drawn alike for all of them.

    A model's value on a task is the mean of its seeds' values.
    """
    found: list[dict[str, dict[str, Drawn]]] = [{} for _ in models]
    for task in dict.fromkeys(task for of_model in models for task in of_model):
        places_by_size: dict[int, list[int]] = defaultdict(list)
        for place, of_model in enumerate(models):
            if task in of_model:
                places_by_size[len(of_model[task][0].gold_N)].append(place)
        for places in places_by_size.values():
            runs = [models[place][task] for place in places]
            seed = task_seed(load_tasks()[task].card)
            for place, of_model in zip(places, _measured(runs, n, seed), strict=True):
                found[place][task] = of_model
    return [_calibration(of_tasks) for of_tasks in found]


def _measured(models: Sequence[Sequence[Answers]], n: int, seed: int) -> list[dict[str, Drawn]]:
    """Metrics of models on the same items; the draws are made once."""
    asked = [(name, seeds) for seeds in models for name in METRICS]
    ends = [[_ends(name, answers) for answers in seeds] for name, seeds in asked]
    parts = [
        [np.mean([of(weights_BN) for of in seeds], axis=0) for seeds in ends]
        for weights_BN in draws(len(models[0][0].gold_N), n, seed)
    ]
    values = [float(np.mean([value(name, a) for a in seeds])) for name, seeds in asked]
    found = map(Drawn, values, np.concatenate(parts, axis=2))
    return [{name: next(found) for name in METRICS} for _ in models]


def _calibration(tasks: Mapping[str, Mapping[str, Drawn]]) -> Calibration:
    means = {name: Drawn.mean([of[name] for of in tasks.values()]) for name in METRICS if tasks}
    return Calibration(
        {name: mean.estimate for name, mean in means.items()},
        {task: {name: of[name].estimate for name in METRICS} for task, of in tasks.items()},
    )


@dataclass(frozen=True, slots=True)
class Bin:
    """Items of like confidence: how many, their mean confidence, the share that is right."""

    n: int
    confidence: float
    accuracy: float


def reliability(answers: Answers) -> list[Bin]:
    """The bins of a reliability diagram, from low confidence to high; empty ones left out.

    Those of ECE; of fewer than BINS x PER_DOT items there are fewer.
    """
    n_bins = min(BINS, max(1, len(answers.gold_N) // PER_DOT))
    bins_N = bin_of(answers.confidence_N, n_bins)
    return [
        Bin(
            int((bins_N == number).sum()),
            float(answers.confidence_N[bins_N == number].mean()),
            float(answers.right_N[bins_N == number].mean()),
        )
        for number in np.unique(bins_N)
    ]


def fit_temperature(log_likelihoods_NK: Floats, gold_N: Integers) -> float:
    """The temperature under which the gold labels are likeliest; in [0.02, 50].

    The target is not 1 for gold but 1 - 1 / (N + 2), the rest evenly for the others (after Platt
    1999): few items that are all right do not say that none is ever wrong.

    Args:
        log_likelihoods_NK: Of items that are not tested on; each row says something, see
            ``is_answer``. Minus infinity counts as ``FLOOR``.
        gold_N: Their gold labels.
    """
    from scipy import optimize, special

    n_items, n_labels = log_likelihoods_NK.shape
    rest = 1 / (n_items + 2)
    target_NK = np.full((n_items, n_labels), rest / (n_labels - 1))
    target_NK[np.arange(n_items), gold_N] = 1 - rest
    logits_NK = log_likelihoods_NK - log_likelihoods_NK.max(axis=1, keepdims=True)
    logits_NK = np.where(np.isneginf(logits_NK), np.log(FLOOR), logits_NK)

    def loss(log_temperature: float) -> float:
        log_p_NK = special.log_softmax(logits_NK / np.exp(log_temperature), axis=1)
        return float(-(target_NK * log_p_NK).sum() / n_items)

    bounds = tuple(np.log(TEMPERATURES))
    found: Any = optimize.minimize_scalar(loss, bounds=bounds, method="bounded")
    return float(np.exp(found.x))

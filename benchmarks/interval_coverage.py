"""How often the leaderboard's 95% intervals cover the truth, by simulation.

python benchmarks/interval_coverage.py [TRIALS]. Draws test sets from a population whose score is
known and counts the intervals that cover it: accuracy, macro-F1 of three and of six classes (one
of them rare), F1 of tuples, the paired difference of two models' macro-F1, and the mean of three
seeds that lean to different labels. Then, how often two models are told apart whose true difference
is the one that their items should show in 80 of 100 repetitions. Last, calibration: two labels,
a model whose log-odds are the truth, and ones whose log-odds are 1.3 and 2 times that. The first
row has the percentiles of ECE itself under draws, which are not used.
"""

import sys

import numpy as np

from sentibench.scoring import calibration
from sentibench.scoring.metrics import label_matrix, label_statistics, macro_f1, tuple_f1
from sentibench.scoring.statistics import (
    detectable_difference,
    interval,
    p_value,
    replicate_scores,
)

REPLICATES = 1_000
PLAIN = ", percentiles"


def label_population(shares: list[float], skill: float, random: np.random.Generator) -> np.ndarray:
    """Statistics of 100,000 items; wrong answers spread evenly over the other labels."""
    k = len(shares)
    rows = np.array([[label_statistics(g, p, k) for p in range(k)] for g in range(k)])
    gold = random.choice(k, size=100_000, p=shares)
    wrong = (gold + random.integers(1, k, size=len(gold))) % k
    return rows[gold, np.where(random.random(len(gold)) < skill, gold, wrong)]


def tuple_population(skill: float, random: np.random.Generator) -> np.ndarray:
    """Statistics of 100,000 items with none to three gold tuples each."""
    gold = random.integers(0, 4, size=100_000)
    hits = random.binomial(gold, skill)
    predicted = hits + random.binomial(2, 1 - skill, size=len(gold))
    return np.stack([hits, predicted, hits, gold], axis=1).astype(float)


def seed_population(random: np.random.Generator) -> np.ndarray:
    """Statistics of 100,000 items with two labels for three seeds that lean to different ones."""
    gold, hard = random.integers(0, 2, size=100_000), random.random(100_000)
    leans = [np.where(gold == 1, lean, -lean) for lean in (-0.25, 0.0, 0.25)]
    wrong = [random.random(len(gold)) < np.clip(0.6 * hard + lean, 0, 1) for lean in leans]
    return np.stack([label_matrix(gold, np.where(of, 1 - gold, gold), 2) for of in wrong])


def coverage(population, metric, n_items: int, trials: int, random) -> float:
    """Share of trials whose interval covers the truth: a score, a difference, or a mean."""
    models = population if population.ndim == 3 else population[None]
    signs = {1: [1], 2: [1, -1], 3: [1 / 3] * 3}[len(models)]
    truth = metric(models.sum(axis=1)) @ signs
    covered = 0
    for trial in range(trials):
        drawn = models[:, random.integers(0, models.shape[1], size=n_items)]
        draws_BM = replicate_scores(drawn, metric, REPLICATES, seed=trial)
        low, high = interval(draws_BM @ signs)
        covered += low <= truth <= high
    return covered / trials


def power(n_items: int, gap: float, trials: int, random) -> tuple[float, float, float]:
    """True difference of two models, what their items should show (mean), how often they do."""
    gold, hard = random.integers(0, 2, size=100_000), random.random(100_000)
    right = [hard < 0.8, 0.7 * hard + 0.3 * random.random(len(gold)) < gap]
    models = np.stack([label_matrix(gold, np.where(of, gold, 1 - gold), 2) for of in right])
    first, second = macro_f1(models.sum(axis=1))
    found, least = 0, 0.0
    for trial in range(trials):
        seen = models[:, random.integers(0, len(gold), size=n_items)]
        draws_B = replicate_scores(seen, macro_f1, REPLICATES, seed=trial) @ [1, -1]
        found += p_value(draws_B) < 0.05
        least += detectable_difference(draws_B) / trials
    return float(first - second), least, found / trials


def probabilities(n_items: int, too_sure: float, random) -> calibration.Answers:
    """Answers to items with two labels; the model is right where ``too_sure`` is 1."""
    odds = random.normal(scale=2.8, size=n_items)
    gold = (random.random(n_items) < 1 / (1 + np.exp(odds))).astype(int)
    said = too_sure * np.stack([odds, np.zeros(n_items)], axis=1)
    return calibration.Answers.of(said, gold)


def calibration_coverage(row: str, n_items: int, too_sure: float, trials: int) -> float:
    """Share of trials whose interval covers the metric of endlessly many items."""
    name, random = row.removesuffix(PLAIN), np.random.default_rng(n_items)
    whole = probabilities(400_000, too_sure, random)
    truth = 0.0 if (name, too_sure) == ("ece", 1) else calibration.value(name, whole)
    covered = 0
    for trial in range(trials):
        seen = probabilities(n_items, too_sure, random)
        if row == name:
            found = calibration.drawn(name, seen, seed=trial).estimate
            low, high = found.low, found.high
        else:
            metric, draws = calibration.METRICS[name](seen), calibration.draws(n_items, seed=trial)
            low, high = interval(np.concatenate(list(map(metric, draws))))
        covered += low <= truth <= high
    return covered / trials


def main() -> None:
    """Print one line per kind of score and size of test set."""
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    random = np.random.default_rng(0)
    right = (random.random(100_000) < 0.8).astype(float)
    accuracy = np.stack([right, np.ones_like(right)], axis=1)
    three = label_population([0.4, 0.35, 0.25], 0.75, random)
    rare = [0.35, 0.3, 0.15, 0.12, 0.06, 0.02]
    six = label_population(rare, 0.6, random)
    two = np.stack([six, label_population(rare, 0.65, random)])
    for name, population, metric in (
        ("accuracy 0.8", accuracy, lambda sums: sums[..., 0] / sums[..., 1]),
        ("macro-F1, three classes", three, macro_f1),
        ("macro-F1, six classes, one of 2%", six, macro_f1),
        ("F1 of tuples", tuple_population(0.6, random), tuple_f1),
        ("difference of macro-F1, six classes", two, macro_f1),
        ("mean macro-F1 of three seeds", seed_population(random), macro_f1),
    ):
        shares = [coverage(population, metric, n, trials, random) for n in (150, 400, 1_000)]
        print(f"{name:38} " + "  ".join(f"{share:.3f}" for share in shares), flush=True)
    print("items, true difference, difference that they should show, share of trials that show it")
    for n_items, gap in ((300, 0.672), (1_000, 0.689)):
        true, least, found = power(n_items, gap, trials, random)
        print(f"{n_items:5d}  {true:.4f}  {least:.4f}  {found:.3f}", flush=True)
    sizes = (100, 500, 2_000)
    print(f"{'items':38} " + "  ".join(f"{n:5d}" for n in sizes))
    for row in ("ece" + PLAIN, *calibration.METRICS):
        for too_sure in (1, 1.3, 2):
            shares = [calibration_coverage(row, n, too_sure, trials) for n in sizes]
            line = "  ".join(f"{share:.3f}" for share in shares)
            print(f"{f'{row}, log-odds times {too_sure}':38} {line}", flush=True)


if __name__ == "__main__":
    print(f"{'items':38} " + "  ".join(f"{n:5d}" for n in (150, 400, 1_000)))
    main()

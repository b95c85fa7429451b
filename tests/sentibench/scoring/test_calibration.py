"""Calibration against other people's code and against loops that say the definition."""

import math

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss

from sentibench.scoring import calibration
from sentibench.scoring.calibration import Answers


def drawn(n: int, k: int, seed: int = 0, *, temperature: float = 1.0):
    """Log-likelihoods whose softmax at a temperature is the truth about gold."""
    random = np.random.default_rng(seed)
    logits = random.normal(scale=2, size=(n, k))
    truth = calibration.probabilities(logits)
    gold = (truth.cumsum(axis=1) < random.random((n, 1))).sum(axis=1)
    return logits * temperature - 20, gold


def answers(n: int = 400, k: int = 3, seed: int = 0, **given) -> Answers:
    return Answers.of(*drawn(n, k, seed, **given))


@pytest.mark.parametrize("k", [2, 3, 6])
def test_brier_and_nll_are_those_of_scikit_learn(k: int) -> None:
    found = answers(k=k)
    gold, p = found.gold_N, found.probabilities_NK
    assert calibration.value("nll", found) == pytest.approx(log_loss(gold, p, labels=range(k)))
    scaled = brier_score_loss(gold, p, labels=list(range(k)), scale_by_half=False)
    assert calibration.value("brier", found) == pytest.approx(scaled)


def test_ece_is_its_definition() -> None:
    found = answers(n=205)
    pairs = sorted(zip(found.confidence_N, found.right_N, strict=True))
    starts = [math.ceil(b * 204 / 10) for b in range(11)]
    bins = [pairs[a:b] for a, b in zip(starts, [*starts[1:10], 205], strict=False)]
    assert sum(map(len, bins)) == 205
    assert max(map(len, bins)) - min(map(len, bins)) <= 1
    gaps = [abs(sum(c for c, _ in b) - sum(r for _, r in b)) for b in bins]
    assert calibration.value("ece", found) == pytest.approx(sum(gaps) / 205)
    diagram = calibration.reliability(found)
    assert [b.n for b in diagram] == list(map(len, bins))
    again = sum(b.n * abs(b.confidence - b.accuracy) for b in diagram) / 205
    assert again == pytest.approx(sum(gaps) / 205)


def test_coverage_is_the_best_of_all_thresholds() -> None:
    found = answers(n=300, k=2, temperature=0.7)
    confidence = np.round(found.confidence_N, 2)  # with ties
    p = np.stack([confidence, 1 - confidence], axis=1)
    tied = Answers(p, np.where(found.right_N, 0, 1), found.right_N)
    best = 0.0
    for threshold in np.unique(confidence):
        given = confidence >= threshold
        if (~tied.right_N[given]).mean() <= 0.05:
            best = max(best, float(given.mean()))
    assert 0 < best < 1
    assert calibration.value("coverage_at_5", tied) == pytest.approx(best)


def test_a_model_that_is_always_right_answers_all_and_one_that_never_is_answers_nothing() -> None:
    p = np.array([[0.9, 0.1]] * 20)
    right = Answers(p, np.zeros(20, dtype=np.int64), np.ones(20, dtype=bool))
    wrong = Answers(p, np.ones(20, dtype=np.int64), np.zeros(20, dtype=bool))
    assert calibration.value("coverage_at_5", right) == 1
    assert calibration.value("coverage_at_5", wrong) == 0


def test_a_row_that_says_nothing_is_even_and_wrong() -> None:
    rows = np.array([[np.nan, -1.0], [-np.inf, -np.inf], [np.inf, -1.0], [-np.inf, -3.0]])
    found = Answers.of(rows, np.array([0, 0, 0, 1]))
    assert found.probabilities_NK.tolist() == [*[[0.5, 0.5]] * 3, [0, 1]]
    assert found.right_N.tolist() == [False, False, False, True]
    certainly_wrong = Answers.of(rows[3:], np.array([0]))
    assert certainly_wrong.nll_N.tolist() == [pytest.approx(-math.log(1e-12))]


@pytest.mark.parametrize("name", ["brier", "nll", "coverage_at_5"])
def test_the_standard_error_is_the_spread_over_new_items(name: str) -> None:
    told = calibration.stderr(name, answers(n=500, seed=1))
    values = [calibration.value(name, answers(n=500, seed=seed)) for seed in range(2, 202)]
    assert told == pytest.approx(np.std(values), rel=0.35)


@pytest.mark.parametrize(("n", "temperature"), [(24, 1.0), (500, 1.0), (500, 0.3)])
def test_the_standard_error_of_ece_reaches_both_ends_of_its_interval(
    n: int, temperature: float
) -> None:
    found = answers(n=n, temperature=temperature).in_order()
    interval = calibration.drawn("ece", found).estimate
    reach = 1.96 * calibration.stderr("ece", found)
    assert interval.value - reach <= interval.low + 1e-9
    assert interval.value + reach >= interval.high - 1e-9
    assert min(interval.value - interval.low, interval.high - interval.value) <= reach
    if temperature == 1.0:  # calibrated: 0 is within reach
        assert interval.value - reach <= 1e-9


@pytest.mark.parametrize("name", calibration.METRICS)
def test_a_replicate_is_the_metric_of_the_drawn_items(name: str) -> None:
    found = answers(n=60)
    ends = calibration.drawn(name, found, n=1, seed=3).ends_2B[:, 0]
    places = np.sort(np.random.default_rng(3).integers(0, 60, size=60))
    counts = np.bincount(places, minlength=60).astype(float)
    weighted = calibration.METRICS[name](found)(counts[None])
    if name == "ece":
        bins = [calibration.bin_of(found.confidence_N) == b for b in range(calibration.BINS)]
        excess = found.confidence_N - found.right_N
        before, after = ([(excess * w)[b].sum() / 60 for b in bins] for w in (1, counts))
        assert weighted[0] == pytest.approx(sum(map(abs, after)))
        value = calibration.value(name, found)
        pairs = list(zip(before, after, strict=True))
        low = value - sum(abs(b - a) for a, b in pairs)
        high = value + sum((b - a) * math.copysign(1, a) for a, b in pairs)
        assert ends.tolist() == pytest.approx([low, high])
    else:
        picked = Answers(
            found.probabilities_NK[places], found.gold_N[places], found.right_N[places]
        )
        value = calibration.value(name, picked)
        assert [weighted[0], *ends] == pytest.approx([value] * 3)


@pytest.mark.parametrize(("n", "too_sure"), [(100, 1.0), (500, 1.0), (100, 2.0), (500, 2.0)])
def test_the_interval_of_ece_covers_the_truth_and_holds_the_value(n: int, too_sure: float) -> None:
    whole = calibration.value("ece", answers(n=100_000, temperature=too_sure))
    truth = whole if too_sure > 1 else 0.0
    found = [
        calibration.drawn("ece", answers(n=n, seed=seed, temperature=too_sure), n=300).estimate
        for seed in range(1, 101)
    ]
    assert sum(one.low <= truth <= one.high for one in found) >= 90
    assert all(0 <= one.low <= one.value <= one.high for one in found)


def test_the_mean_over_tasks_and_a_difference_cover_the_truth_too() -> None:
    """Eight calibrated tasks: noise raises each, so a plain mean of replicates never covers 0."""
    covered, zero = 0, 0
    for trial in range(40):
        tasks = [
            calibration.drawn("ece", answers(n=150, seed=8 * trial + task), n=300, seed=task)
            for task in range(8)
        ]
        mean = calibration.Drawn.mean(tasks)
        covered += mean.estimate.low == 0
        difference = tasks[0].minus(tasks[1])
        zero += difference.low <= 0 <= difference.high
    assert covered >= 36
    assert zero >= 36


def test_no_result_depends_on_the_order_of_the_items() -> None:
    found = answers()
    shuffled = np.random.default_rng(1).permutation(400)
    other = Answers(
        found.probabilities_NK[shuffled], found.gold_N[shuffled], found.right_N[shuffled]
    )
    for name in calibration.METRICS:
        assert calibration.value(name, other) == calibration.value(name, found)
        assert calibration.stderr(name, other) == calibration.stderr(name, found)


def test_coverage_ranks_items_whose_confidence_is_1_in_all_its_digits() -> None:
    """At margins of 40 to 200 nats a float64 says 1: the temperature must not decide the order."""
    random = np.random.default_rng(1)
    margin = random.uniform(40, 200, 500)
    gold = (random.random(500) > np.where(margin > 120, 0.99, 0.7)).astype(int)
    rows = np.stack([np.zeros(500), -margin], axis=1)
    found = [calibration.value("coverage_at_5", Answers.of(rows, gold, t)) for t in (1, 20)]
    assert found[0] == found[1] > 0.3


def test_one_item_has_no_standard_error() -> None:
    assert math.isnan(calibration.stderr("ece", answers(n=1)))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_is_found_and_helps(temperature: float) -> None:
    rows, gold = drawn(20_000, 3, temperature=temperature)
    fitted = calibration.fit_temperature(rows, gold)
    assert fitted == pytest.approx(temperature, rel=0.05)
    before, after = Answers.of(rows, gold), Answers.of(rows, gold, fitted)
    assert calibration.value("nll", after) <= calibration.value("nll", before) + 1e-9
    assert (before.right_N == after.right_N).all()
    assert calibration.value("ece", after) < 0.02


def test_few_items_that_are_all_right_do_not_make_a_model_certain() -> None:
    """By hand: of N right answers with log-odds m the best temperature is m / log(N + 1)."""
    rows = np.tile(np.log([0.9, 0.1]), (20, 1))
    fitted = calibration.fit_temperature(rows, np.zeros(20, dtype=np.int64))
    assert fitted == pytest.approx(math.log(9) / math.log(21), rel=1e-3)
    sure = rows * 50  # margins of 110 nats
    fitted = calibration.fit_temperature(sure, np.zeros(20, dtype=np.int64))
    assert fitted == pytest.approx(50 * math.log(9) / math.log(21), rel=1e-3)
    impossible = np.array([[0.0, -np.inf]] * 20)  # counts as 1e-12
    fitted = calibration.fit_temperature(impossible, np.zeros(20, dtype=np.int64))
    assert fitted == pytest.approx(-math.log(1e-12) / math.log(21), rel=1e-3)


def test_a_temperature_from_few_items_does_little_harm() -> None:
    """An honest model that is right in 95%: 20 items are often all right."""
    random = np.random.default_rng(0)

    def items(n: int):
        p = random.beta(19, 1, size=n).clip(0.5, 0.9999)
        return np.log(np.stack([p, 1 - p], axis=1)), (random.random(n) > p).astype(np.int64)

    tested = items(20_000)
    honest = calibration.value("nll", Answers.of(*tested))
    fitted = [calibration.fit_temperature(*items(20)) for _ in range(100)]
    assert min(fitted) > 0.7
    after = [calibration.value("nll", Answers.of(*tested, one)) for one in fitted]
    assert np.mean(after) < honest + 0.05

"""Error bars and comparisons against independent code and against figures by hand."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from sentibench.scoring.metrics import macro_f1, tuple_f1
from sentibench.scoring.statistics import (
    bootstrap_stderr,
    holm,
    interval,
    mcnemar,
    p_value,
    rank_intervals,
    replicate_scores,
    sign_flip,
    tie_groups,
    wilson,
)


def test_bootstrap_does_not_depend_on_item_order() -> None:
    rows = np.random.default_rng(0).random((300, 4)).round(2)
    rows[:, (1, 3)] = 1
    shuffled = np.random.default_rng(1).permutation(rows)
    assert bootstrap_stderr(rows, tuple_f1) == bootstrap_stderr(shuffled, tuple_f1)


def test_bootstrap_of_a_mean_agrees_with_the_closed_form() -> None:
    hits = np.random.default_rng(2).random(400) < 0.7
    rows = np.stack([hits, np.ones(400)], axis=1).astype(float)
    stderr = bootstrap_stderr(rows, lambda sums: sums[:, 0] / sums[:, 1])
    assert stderr == pytest.approx(hits.std() / 20, rel=0.05)


def test_replicates_have_the_standard_error_of_scipys_bootstrap() -> None:
    random = np.random.default_rng(0)
    gold = random.integers(0, 2, 300)
    predicted = np.where(random.random(300) < 0.75, gold, 1 - gold)
    rows = np.stack(
        [
            np.eye(6)[g] + np.eye(6)[2 + p] + (g == p) * np.eye(6)[4 + g]
            for g, p in zip(gold, predicted, strict=True)
        ]
    )
    ours = replicate_scores(rows[None], macro_f1, 4_000, seed=1)[:, 0]

    def score(indices, axis=-1):
        return macro_f1(rows[indices].sum(axis=-2))

    theirs = scipy_stats.bootstrap(
        (np.arange(300),), score, n_resamples=4_000, method="percentile", rng=2, vectorized=True
    )
    low, high = interval(ours)
    assert low == pytest.approx(theirs.confidence_interval.low, abs=0.006)
    assert high == pytest.approx(theirs.confidence_interval.high, abs=0.006)


def test_differences_are_paired() -> None:
    rows = np.random.default_rng(0).random((1, 200, 2))
    rows[..., 1] = 1
    same = np.concatenate([rows, rows])
    draws = replicate_scores(same, lambda sums: sums[..., 0] / sums[..., 1], 300, seed=3)
    assert (draws[:, 0] == draws[:, 1]).all()
    assert p_value(draws[:, 0] - draws[:, 1]) == 1.0


@pytest.mark.slow
def test_95_percent_intervals_cover_the_truth_in_about_95_percent() -> None:
    random = np.random.default_rng(11)
    covered = 0
    for trial in range(300):
        rows = np.stack([random.random(150) < 0.8, np.ones(150)], axis=1).astype(float)
        draws = replicate_scores(rows[None], lambda s: s[..., 0] / s[..., 1], 400, seed=trial)
        low, high = interval(draws[:, 0])
        covered += low <= 0.8 <= high
    assert 0.90 <= covered / 300 <= 0.98


def test_wilson_agrees_with_scipy() -> None:
    for hits, n in ((0, 24), (3, 24), (500, 1000), (24, 24)):
        expected = scipy_stats.binomtest(hits, n).proportion_ci(method="wilson")
        assert wilson(hits / n, n) == pytest.approx([expected.low, expected.high])


def test_mcnemar_agrees_with_the_exact_binomial_by_hand() -> None:
    a = np.array([True] * 9 + [False] * 1 + [True] * 5)
    b = np.array([False] * 9 + [True] * 1 + [True] * 5)
    # by hand: 10 discordant items, 9 to 1: 2 * (C(10,0) + C(10,1)) / 2^10
    assert mcnemar(a, b) == pytest.approx(2 * 11 / 1024)
    assert mcnemar(a, a) == 1.0
    five = np.array([True] * 5 + [False] * 5)
    assert mcnemar(five, ~five) == 1.0  # as many each way: the two tails overlap


def test_sign_flip_agrees_with_scipys_permutation_test() -> None:
    random = np.random.default_rng(4)
    a, b = random.integers(0, 3, (2, 60, 4)).astype(float)
    a[:, [1, 3]] = b[:, [1, 3]] = 3  # predicted and gold tuples
    b[:, [0, 2]] = np.maximum(b[:, [0, 2]] - (random.random((60, 2)) < 0.15), 0)

    def difference(x, y, axis=-1):  # each is the index of the items in `both`
        both = np.concatenate([a, b])
        return tuple_f1(both[x].sum(axis=-2)) - tuple_f1(both[y].sum(axis=-2))

    theirs = scipy_stats.permutation_test(
        (np.arange(60), np.arange(60, 120)),
        difference,
        permutation_type="samples",
        n_resamples=8_000,
        vectorized=True,
        rng=1,
    )
    ours, equal = sign_flip(a, np.stack([b, a]), tuple_f1, 8_000, seed=0)
    assert 0.001 < theirs.pvalue < 0.5
    assert ours == pytest.approx(theirs.pvalue, abs=0.015)
    assert equal == 1.0


def test_holm_multiplies_by_what_is_left_and_never_falls() -> None:
    # by hand: 0.01 * 3, max(0.02 * 2, .03), max(0.03 * 1, .04)
    assert holm([0.02, 0.01, 0.03]) == pytest.approx([0.04, 0.03, 0.04])


def test_ranks_of_certain_and_equal_models_are_known() -> None:
    draws = np.array([[0.9, 0.5, 0.5]] * 50)
    assert rank_intervals(draws) == [(1, 1), (2, 2), (2, 2)]
    assert tie_groups(3, lambda a, b: 1.0 if {a, b} == {1, 2} else 0.001) == [1, 2, 2]

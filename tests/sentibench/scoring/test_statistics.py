"""Error bars and comparisons against independent code and against figures by hand."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from sentibench.data.cards import load_cards
from sentibench.scoring.metrics import macro_f1, tuple_f1
from sentibench.scoring.statistics import (
    Estimate,
    Scores,
    bootstrap_stderr,
    estimate,
    gap_closed,
    holm,
    interval,
    mcnemar,
    mean_over_tasks,
    p_value,
    rank_intervals,
    replicate_scores,
    resample,
    sign_flip,
    task_seed,
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


def test_the_interval_of_ranks_leaves_out_the_rarest_at_each_end() -> None:
    """By hand: of 100 ranks in order, those at 2.475 and 96.525, each rounded outwards."""
    for n_lost, expected in ((2, [(1, 1), (2, 2)]), (3, [(1, 2), (1, 2)]), (97, [(1, 2), (1, 2)])):
        draws = np.array([[0.4, 0.5]] * n_lost + [[0.6, 0.5]] * (100 - n_lost))
        assert rank_intervals(draws) == expected
    draws = np.array([[0.4, 0.5]] * 30 + [[0.6, 0.5]] * 70)
    assert rank_intervals(draws, level=0.3) == [(1, 1), (2, 2)]
    assert rank_intervals(draws, level=0.5) == [(1, 2), (1, 2)]


def test_the_interval_of_ranks_agrees_with_counting() -> None:
    draws = np.random.default_rng(9).integers(0, 12, size=(400, 7)) / 12 + np.arange(7) / 20
    for model, found in enumerate(rank_intervals(draws)):
        ranks = sorted(1 + sum(other > row[model] for other in row) for row in draws.tolist())
        assert found == (ranks[9], ranks[390])  # 0.025 and 0.975 of 399, rounded outwards
        assert found[0] < found[1]


@pytest.mark.parametrize(
    ("p_values", "groups"),  # of (leader, position); others are not asked for
    [
        ({}, []),
        ({(0, 1): 0.05}, [1, 1]),  # 0.05 does not tell apart
        ({(0, 1): 0.0499}, [1, 2]),
        ({(0, 1): 0.2, (0, 2): 0.01, (2, 3): 0.3, (2, 4): 0.04}, [1, 1, 2, 2, 3]),
        ({(0, 1): 0.9, (0, 2): 0.9, (0, 3): 0.9}, [1, 1, 1, 1]),
        ({(0, 1): 0.0, (1, 2): 0.0}, [1, 2, 3]),
    ],
)
def test_a_group_holds_those_that_cannot_be_told_from_its_best(p_values, groups) -> None:
    assert tie_groups(len(groups), lambda a, b: p_values[a, b]) == groups
    assert tie_groups(1, lambda a, b: p_values[a, b]) == [1]


def test_an_interval_is_between_percentiles() -> None:
    values = np.arange(101.0)
    assert interval(values) == pytest.approx((2.5, 97.5))
    assert interval(values, level=0.5) == pytest.approx((25, 75))
    assert estimate(49, values) == Estimate(49.0, *interval(values))


@pytest.mark.parametrize(
    ("differences", "expected"),  # by hand: the observed sample counts on both sides
    [
        ([1] * 97 + [-1] * 3, 2 * 4 / 101),
        ([-1] * 97 + [1] * 3, 2 * 4 / 101),
        ([1] * 99, 2 * 1 / 100),
        ([1] * 90 + [0] * 9, 2 * 10 / 100),
        ([-1] * 90 + [0] * 9, 2 * 10 / 100),
        ([0] * 9, 1),
        ([1, -1], 1),
    ],
)
def test_a_p_value_is_twice_the_smaller_tail(differences: list[int], expected: float) -> None:
    assert p_value(np.array(differences)) == pytest.approx(expected)


def test_holm_never_goes_beyond_one_and_keeps_the_places() -> None:
    assert holm([]) == []
    assert holm([0.3]) == pytest.approx([0.3])
    assert holm([0.9, 0.6]) == pytest.approx([1, 1])
    # by hand: 0.01 * 4; then 0.01 * 3, not below; 0.2 * 2; 0.9
    assert holm([0.9, 0.01, 0.2, 0.01]) == pytest.approx([0.9, 0.04, 0.4, 0.04])


def share(sums):
    return sums[..., 0] / sums[..., 1]


def answers(*right: int) -> np.ndarray:
    return np.array([[hit, 1.0] for hit in right])


def test_sign_flip_by_hand() -> None:
    """Three items that all differ: of the eight exchanges two leave the difference as large."""
    better, worse = answers(1, 1, 1), answers(0, 0, 0)
    p_of_worse, p_of_same = sign_flip(better, np.stack([worse, better]), share, 8_000, seed=0)
    assert p_of_worse == pytest.approx(2 / 8, abs=0.02)
    assert p_of_same == 1
    # half of the items gained, half lost: no difference is as large as any
    assert sign_flip(answers(1, 0), answers(0, 1)[None], share, 50, seed=0) == [1]
    many, none = answers(*[1] * 60), answers(*[0] * 60)
    assert sign_flip(many, none[None], share, 99, seed=0) == [1 / 100]  # the observed order
    assert sign_flip(none, many[None], share, 99, seed=0) == [1 / 100]


def test_a_standard_error_is_that_of_so_many_draws_of_all_items() -> None:
    seen = []

    def metric(sums):
        seen.append(sums.shape)
        assert (sums[:, 1] == 7).all()  # as many items as there are
        return np.arange(len(sums)) % 2

    found = bootstrap_stderr(answers(1, 1, 0, 1, 0, 0, 1), metric, replicates=2_500)
    assert seen == [(1000, 2), (1000, 2), (500, 2)]
    assert found == pytest.approx(np.sqrt(0.25 * 2500 / 2499))  # as many ones as zeros
    assert bootstrap_stderr(answers(1, 0), metric=lambda sums: sums[:, 0] * 0) == 0


def test_a_standard_error_needs_two_items_and_a_table() -> None:
    assert np.isnan(bootstrap_stderr(answers(1), share))
    assert bootstrap_stderr(answers(1, 0), share) == pytest.approx(np.sqrt(1 / 8), rel=0.05)
    rows = answers(1, 0, 1)
    assert bootstrap_stderr(rows, share) == bootstrap_stderr(rows, share, seed=0)  # in any run
    assert bootstrap_stderr(rows, share) != bootstrap_stderr(rows, share, seed=1)
    with pytest.raises(ValueError, match=r"shape \(N, S\); got \(3,\)"):
        bootstrap_stderr(np.zeros(3), share)


def test_replicates_draw_as_many_items_as_there_are_and_every_one_alike() -> None:
    n_items = 5
    one_hot = np.concatenate([np.eye(n_items), np.ones((n_items, 1))], axis=1)
    weights = []

    def metric(sums):
        weights.append(sums[:, 0])
        return sums[..., -1]

    draws = replicate_scores(np.stack([one_hot, one_hot]), metric, 1203, seed=1)
    assert (draws == n_items).all()
    assert draws.shape == (1203, 2)
    drawn = np.concatenate(weights)[:, :n_items]
    assert drawn.mean(axis=0) == pytest.approx(np.ones(n_items), abs=0.1)  # four deviations
    assert drawn.var(axis=0) == pytest.approx(np.full(n_items, 0.8), abs=0.15)  # (n - 1) / n
    assert len(np.unique(drawn, axis=0)) > 100
    again = replicate_scores(one_hot[None], lambda sums: sums[..., 0], 1203, seed=1)
    assert again[:, 0].tolist() == drawn[:, 0].tolist()
    other = replicate_scores(one_hot[None], lambda sums: sums[..., 0], 1203, seed=2)
    assert other[:, 0].tolist() != drawn[:, 0].tolist()


def test_models_are_scored_as_measured_and_redrawn_with_the_seed_of_the_task() -> None:
    card = load_cards()["sst2"]
    random = np.random.default_rng(3)
    gold = random.integers(0, 2, 40)
    predicted = [gold, np.where(random.random(40) < 0.7, gold, 1 - gold)]
    rows = np.stack(
        [
            np.eye(6)[gold] + np.eye(6)[2 + p] + (p == gold)[:, None] * np.eye(6)[4 + gold]
            for p in predicted
        ]
    )
    assert [task_seed(card) for card in load_cards().values()] == list(range(12))
    scores = resample(card, [[of_model] for of_model in rows], replicates=300)
    assert scores.values_M == pytest.approx(macro_f1(rows.sum(axis=1)))
    assert scores.values_M[0] == 1 > scores.values_M[1]
    expected = replicate_scores(rows, macro_f1, 300, seed=task_seed(card))
    assert scores.draws_BM.tolist() == expected.tolist()
    mean = mean_over_tasks([scores, Scores(np.zeros(2), np.zeros((300, 2)), (np.zeros(1),) * 2)])
    assert mean.values_M == pytest.approx(scores.values_M / 2)
    assert mean.draws_BM == pytest.approx(scores.draws_BM / 2)
    with pytest.raises(ValueError, match=r"values \(3,\), draws and seeds \(\(2,\), \(2,\)\)"):
        Scores(np.zeros(3), scores.draws_BM, scores.seeds_M)


def test_the_share_of_the_gap_closed_by_hand() -> None:
    student, base, teacher = np.full(101, 0.7), np.full(101, 0.6), np.linspace(0.7, 0.9, 101)
    found, why = gap_closed((0.7, 0.6, 0.8), np.stack([student, base, teacher]))
    assert why == ""
    # the shares fall from 0.1 / 0.1 to 0.1 / 0.3
    low, high = 0.1 / (0.1 + 0.2 * 0.975), 0.1 / (0.1 + 0.2 * 0.025)
    assert (found.value, found.low, found.high) == pytest.approx((0.5, low, high), rel=1e-3)
    found, _ = gap_closed((0.5, 0.6, 0.8), np.stack([student - 0.2, base, teacher]))
    assert found.value == pytest.approx(-0.5)  # behind the base


@pytest.mark.parametrize(
    ("teacher", "draws", "why"),
    [
        (
            0.5,
            [0.46, 0.5, 0.54],
            "the teacher is worse than the base: −10.0 points (95% interval −13.8 to −6.2)",
        ),
        (
            0.65,
            [0.6, 0.64, 0.68],  # once as good
            "teacher minus base is +5.0 points (95% interval +0.2 to +7.8); it is not above 0 in 1 "
            "of 3 replicates, so no share of it can be given",
        ),
        (
            0.55,
            [0.6, 0.6, 0.6],
            "teacher minus base is −5.0 points (95% interval +0.0 to +0.0); it is not above 0 in 3 "
            "of 3 replicates, so no share of it can be given",
        ),
        (
            0.6,
            [0.65, 0.65, 0.65],
            "teacher minus base is +0.0 points (95% interval +5.0 to +5.0); it is not above 0 in 0 "
            "of 3 replicates, so no share of it can be given",
        ),
    ],
)
def test_there_is_no_share_of_a_gap_that_may_not_be_one(teacher, draws, why: str) -> None:
    shape = np.stack([np.full(3, 0.62), np.full(3, 0.6), np.array(draws)])
    found, reason = gap_closed((0.62, 0.6, teacher), shape)
    assert (found, reason) == (None, why)

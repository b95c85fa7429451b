"""Difficulty selection: the scores by hand, the kept share, independence of order."""

import random

import numpy as np
import pytest

from distill.selection.difficulty import (
    keep_probability,
    select_at_random,
    select_hard_samples,
    token_difficulty,
)

EVEN = [0.2] * 5
STEPS = [0.5, 0.3, 0.1, 0.06, 0.04]  # the nucleus of 0.95 has four tokens (0.96)
EDGE = [0.5, 0.45, 0.05]  # the nucleus is reached exactly by two tokens
PEAK = [0.96, 0.03, 0.01]  # one token is the nucleus


@pytest.mark.parametrize(
    ("rows", "targets", "expected"),  # source: by hand
    [
        ([STEPS], [0], 0.0),
        ([STEPS], [1], 1 / 4),
        ([STEPS], [2], 2 / 4),
        ([STEPS], [3], 3 / 4),
        ([STEPS], [4], 1.0),
        ([STEPS[::-1]], [4], 0.0),
        ([STEPS[::-1]], [2], 2 / 4),
        ([STEPS, STEPS, STEPS], [0, 1, 4], (1 / 4 + 1) / 2),
        ([STEPS, STEPS], [0, 0], 0.0),
        ([EDGE], [1], 1 / 2),
        ([EDGE], [2], 1.0),
        ([PEAK], [0], 0.0),
        ([PEAK], [1], 1.0),
        ([EVEN], [3], 0.0),  # tokens of equal probability share the best rank
        ([[0.4, 0.3, 0.3]], [2], 1 / 3),
        ([[1.0, 0.0]], [1], 1.0),
    ],
)
def test_difficulty_is_the_mean_of_rank_over_nucleus_without_rank_0(
    rows: list[list[float]], targets: list[int], expected: float
) -> None:
    with np.errstate(divide="ignore"):
        log_p_TV = np.log(np.array(rows))
    for dtype in (np.float64, np.float32):
        got = token_difficulty(log_p_TV.astype(dtype), np.array(targets))
        assert got == pytest.approx(expected)


def test_a_wider_nucleus_makes_the_same_token_easier() -> None:
    log_p_TV = np.log(np.array([STEPS]))
    assert token_difficulty(log_p_TV, np.array([1]), nucleus=0.8) == 1 / 2
    assert token_difficulty(log_p_TV, np.array([1]), nucleus=0.5) == 1.0
    assert token_difficulty(log_p_TV, np.array([4]), nucleus=1.0) == 4 / 5


def test_an_empty_response_has_difficulty_0() -> None:
    assert token_difficulty(np.zeros((0, 5)), np.zeros(0, int)) == 0.0


def test_difficulty_agrees_with_a_plain_reading_of_the_paper() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        logits_TV = rng.normal(scale=3, size=(7, 50))
        p_TV = np.exp(logits_TV) / np.exp(logits_TV).sum(axis=1, keepdims=True)
        target_T = rng.integers(50, size=7)
        scores = []
        for p_V, token in zip(p_TV.tolist(), target_T.tolist(), strict=True):
            ranked = sorted(range(50), key=lambda v: -p_V[v])
            nucleus: list[int] = []
            while sum(p_V[v] for v in nucleus) < 0.95:
                nucleus.append(ranked[len(nucleus)])
            x = ranked.index(token)
            if x > 0:
                scores.append(x / len(nucleus) if token in nucleus else 1)
        expected = sum(scores) / len(scores) if scores else 0
        assert token_difficulty(np.log(p_TV), target_T) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("log_p_TV", "target_T", "nucleus", "message"),
    [
        (np.log([STEPS]), [0, 1], 0.95, "shapes"),
        (np.log(STEPS), [0], 0.95, "shapes"),
        (np.log([STEPS]), [5], 0.95, "target_T"),
        (np.log([STEPS]), [-1], 0.95, "target_T"),
        (np.array([[3.0, 1.0]]), [0], 0.95, "row sums"),
        (np.array([STEPS]), [0], 0.95, "row sums"),
        (np.log([[0.6, 0.39]]), [0], 0.95, "row sums to 0.99"),
        (np.array([[np.nan, 0.0]]), [0], 0.95, "row sums"),
    ],
)
def test_anything_but_log_probabilities_of_the_targets_is_refused(
    log_p_TV: np.ndarray, target_T: list[int], nucleus: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        token_difficulty(log_p_TV, np.array(target_T), nucleus)


@pytest.mark.parametrize(
    ("x", "ratio", "expected"),  # source: by hand
    [(0.5, 0.5, 0.5), (0.5, 0.25, 0.125), (0.9, 0.1, 0.9**9), (0, 0.5, 0), (1, 0.1, 1), (0, 1, 1)],
)
def test_keep_probability_is_a_power_of_the_rank(x: float, ratio: float, expected: float) -> None:
    assert keep_probability(x, ratio) == pytest.approx(expected)


@pytest.mark.parametrize("ratio", [0.05, 0.1, 0.3, 0.5, 1.0])
def test_over_uniform_ranks_the_kept_share_is_the_ratio(ratio: float) -> None:
    ranks = (np.arange(100_000) + 0.5) / 100_000
    probabilities = keep_probability(ranks, ratio)
    assert probabilities.mean() == pytest.approx(ratio, rel=1e-4)
    assert np.all(np.diff(probabilities) >= 0)
    difficulties = {f"key{n}": float(n) for n in range(20_000)}
    kept = select_hard_samples(difficulties, dict.fromkeys(difficulties, "all"), ratio, seed=0)
    assert len(kept) / 20_000 == pytest.approx(ratio, abs=0.01)


@pytest.mark.parametrize(
    ("n", "expected"),  # by hand: F(x) = x * x for a third, x = (i + 1/2) / n
    [(1, [1 / 4]), (2, [1 / 16, 9 / 16]), (3, [1 / 36, 1 / 4, 25 / 36])],
)
def test_a_sample_of_n_is_kept_by_the_middle_of_its_nth(n: int, expected: list[float]) -> None:
    difficulties = {f"{group}/{i}": float(i) for group in range(4000) for i in range(n)}
    kept = select_hard_samples(
        difficulties, {key: key.split("/")[0] for key in difficulties}, 1 / 3, seed=0
    )
    shares = [sum(key.endswith(f"/{i}") for key in kept) / 4000 for i in range(n)]
    assert shares == pytest.approx(expected, abs=0.03)  # four deviations or more


def test_a_selection_is_the_same_in_every_version() -> None:
    half = "half a character \ud83d"
    keys = [*"abcdefgh", half]
    kept = select_hard_samples(dict.fromkeys(keys, 0.5), dict.fromkeys(keys, "all"), 0.5, seed=4)
    assert kept == ("e", "f", "h", half)  # as recorded: a run that is gone on with draws it again


def sample(n: int) -> tuple[dict[str, float], dict[str, str]]:
    rng = random.Random(0)
    keys = [f"{rng.getrandbits(64):016x}" for _ in range(n)]
    return {k: round(rng.random(), 1) for k in keys}, {k: rng.choice("abc") for k in keys}


def test_selection_depends_on_keys_and_seed_and_not_on_the_order() -> None:
    difficulties, groups = sample(2000)
    kept = select_hard_samples(difficulties, groups, 0.3, seed=1)
    assert list(kept) == sorted(set(kept))
    items = list(difficulties.items())
    for seed in range(3):
        random.Random(seed).shuffle(items)
        assert select_hard_samples(dict(items), groups, 0.3, seed=1) == kept
    assert select_hard_samples(difficulties, groups, 0.3, seed=2) != kept
    assert set(select_hard_samples(difficulties, groups, 0.2, seed=1)) < set(kept)


def test_a_random_share_depends_on_keys_and_seed_and_not_on_the_order() -> None:
    keys = list(sample(4000)[0])
    kept = select_at_random(keys, 0.3, seed=1)
    assert len(kept) == pytest.approx(1200, abs=120)  # four deviations
    assert select_at_random(keys[::-1], 0.3, seed=1) == kept == tuple(sorted(kept))
    assert select_at_random(keys, 0.3, seed=2) != kept
    assert set(select_at_random(keys, 0.2, seed=1)) < set(kept)
    assert set(select_at_random(keys, 1.0, seed=1)) == set(keys)


def test_one_sample_more_leaves_the_fate_of_nearly_all_others_as_it_was() -> None:
    difficulties, groups = sample(2000)
    before = set(select_hard_samples(difficulties, groups, 0.3, seed=1))
    after = set(
        select_hard_samples({**difficulties, "new": 0.05}, {**groups, "new": "a"}, 0.3, seed=1)
    )
    assert len((before ^ after) - {"new"}) < 10


def test_ranks_are_within_groups_and_the_hard_ones_are_kept() -> None:
    difficulties = {
        f"{group}{n}": n * scale for group, scale in (("a", 1), ("b", 1000)) for n in range(500)
    }
    kept = select_hard_samples(difficulties, {key: key[0] for key in difficulties}, 0.2, seed=0)
    for group in "ab":
        own = [int(key[1:]) for key in kept if key[0] == group]
        assert len(own) == pytest.approx(100, abs=25)
        assert sum(own) / len(own) > 350  # a uniform draw: 250; expected: 500 * 5 / 6 = 417


def test_among_equal_difficulties_all_have_the_same_chance() -> None:
    keys = [f"key{n}" for n in range(500)]
    difficulties, groups = dict.fromkeys(keys, 0.0), dict.fromkeys(keys, "all")
    times = np.zeros(500)
    for seed in range(100):
        times += np.isin(keys, select_hard_samples(difficulties, groups, 0.3, seed))
    assert times.mean() == pytest.approx(30, abs=1)
    assert times.min() > 10  # binomial, 100 times 0.3: five deviations are 23
    assert times.max() < 53


def test_ratio_1_keeps_all_and_nothing_is_chosen_of_nothing() -> None:
    difficulties, groups = sample(50)
    assert select_hard_samples(difficulties, groups, 1.0, seed=0) == tuple(sorted(difficulties))
    assert select_hard_samples({}, {}, 0.5, seed=0) == ()


@pytest.mark.parametrize(
    ("difficulties", "groups"), [({"a": 0.5}, {}), ({"a": float("nan")}, {"a": "g"})]
)
def test_a_sample_without_group_or_difficulty_is_refused(
    difficulties: dict[str, float], groups: dict[str, str]
) -> None:
    with pytest.raises(ValueError, match="request a"):
        select_hard_samples(difficulties, groups, 0.5, seed=0)

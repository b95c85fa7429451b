"""What the draws of a task depend on, and how an unreadable label is written."""

import numpy as np
import pytest

from sentibench.data.cards import load_cards
from sentibench.scoring.metrics import label_matrix, label_row, macro_f1, predicted_label
from sentibench.scoring.statistics import (
    REPLICATES,
    detectable_difference,
    mean_over_tasks,
    p_value,
    resample,
)

CARDS = load_cards()


def models(n_models: int, n_items: int) -> list[list[np.ndarray]]:
    """Statistics of models that are right on 70% of the items, one seed each."""
    random = np.random.default_rng(7)
    gold = random.integers(0, 2, n_items)
    wrong = random.random((n_models, n_items)) < 0.3
    return [
        [np.array([label_row((g, abs(g - w), 2)) for g, w in zip(gold, of, strict=True)])]
        for of in wrong
    ]


def test_the_draws_of_a_task_depend_on_no_other_model() -> None:
    statistics = models(3, 40)
    together = resample(CARDS["sst2"], statistics, 300)
    alone = resample(CARDS["sst2"], statistics[1:2], 300)
    assert (together.draws_BM[:, 1] == alone.draws_BM[:, 0]).all()
    assert together.values_M[1] == alone.values_M[0] == macro_f1(statistics[1][0].sum(axis=0))


def test_tasks_are_drawn_apart_from_each_other() -> None:
    statistics = models(1, 40)
    one, other = (resample(CARDS[name], statistics, 300) for name in ("sst2", "imdb"))
    assert other.values_M == one.values_M
    assert abs(np.corrcoef(one.draws_BM[:, 0], other.draws_BM[:, 0])[0, 1]) < 0.25


def test_fewer_replicates_are_the_first_of_more() -> None:
    statistics = models(2, 40)
    many, few = (resample(CARDS["sst2"], statistics, n).draws_BM for n in (1_100, 700))
    assert many.shape == (1_100, 2)
    assert (many[:700] == few).all()
    assert REPLICATES == 10_000  # what the documentation says


def test_a_score_and_each_draw_of_it_is_the_mean_of_the_seeds() -> None:
    (one,), (two,), (other,) = models(3, 40)
    together = resample(CARDS["sst2"], [[one, two], [other]], 300)
    alone = [resample(CARDS["sst2"], [[of_seed]], 300) for of_seed in (one, two, other)]
    of_seeds = [float(scores.values_M[0]) for scores in alone]
    assert together.values_M == pytest.approx([np.mean(of_seeds[:2]), of_seeds[2]])
    assert [of.tolist() for of in together.seeds_M] == [of_seeds[:2], of_seeds[2:]]
    draws = np.concatenate([scores.draws_BM for scores in alone], axis=1)
    assert together.draws_BM[:, 0] == pytest.approx(draws[:, :2].mean(axis=1))
    assert together.draws_BM[:, 1].tolist() == draws[:, 2].tolist()  # the same items are drawn
    assert together.spread(0) == pytest.approx(np.std(of_seeds[:2], ddof=1))
    assert together.spread(1) is None
    mean = mean_over_tasks([together, together])
    assert mean.spread(0) == pytest.approx(together.spread(0))
    uneven = mean_over_tasks([together, resample(CARDS["imdb"], [[one], [other]], 300)])
    assert uneven.spread(0) is None


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_intervals_over_items_cover_the_score_of_all_items(n_seeds: int) -> None:
    """The true score is that of a large population; each repetition sees 150 items of it."""
    random = np.random.default_rng([1, n_seeds])
    n_all, n_seen = 20_000, 150
    gold = random.integers(0, 2, n_all)
    # seeds share what is hard about an item, and lean to labels of their own
    hard = random.random(n_all)
    seeds = []
    for lean in np.linspace(-0.25, 0.25, n_seeds):
        p_wrong = np.clip(0.6 * hard + np.where(gold == 1, lean, -lean), 0, 1)
        wrong = random.random(n_all) < p_wrong
        seeds.append(label_matrix(gold, np.where(wrong, 1 - gold, gold), 2))
    true = np.mean([macro_f1(of_seed.sum(axis=0)) for of_seed in seeds])
    covered = 0
    for _ in range(200):
        seen = random.integers(0, n_all, n_seen)
        scores = resample(CARDS["sst2"], [[of_seed[seen] for of_seed in seeds]], 400)
        low, high = np.quantile(scores.draws_BM[:, 0], (0.025, 0.975))
        covered += bool(low <= true <= high)
    # 95% of 200 is 190; by the binomial distribution fewer than 178 in 1 of 2,000 programs
    assert 178 <= covered <= 199


def test_a_difference_as_large_as_what_items_show_is_found_in_80_of_100_repetitions() -> None:
    """Two models of a population; each repetition sees other items of it."""
    random = np.random.default_rng(5)
    n_all, n_seen, repetitions = 50_000, 300, 400
    gold, hard = random.integers(0, 2, n_all), random.random(n_all)
    better = hard < 0.80
    worse = 0.7 * hard + 0.3 * random.random(n_all) < 0.6735
    models = [label_matrix(gold, np.where(of, gold, 1 - gold), 2) for of in (better, worse)]
    first, second = (float(macro_f1(rows.sum(axis=0))) for rows in models)
    found, least = 0, []
    for _ in range(repetitions):
        seen = random.integers(0, n_all, n_seen)
        draws = resample(CARDS["sst2"], [[rows[seen]] for rows in models], 400).draws_BM
        found += p_value(draws[:, 0] - draws[:, 1]) < 0.05
        least.append(detectable_difference(draws[:, 0] - draws[:, 1]))
    assert first - second == pytest.approx(np.mean(least), rel=0.05)  # a difference of that size
    assert 0.73 < found / repetitions < 0.87
    assert detectable_difference(np.zeros(10)) == 0


@pytest.mark.parametrize(
    ("item", "label", "row"),
    [
        ((1, -1, 3), None, [0, 1, 0, 0, 0, 0, 0, 0, 0]),
        ((1, 0, 3), 0, [0, 1, 0, 1, 0, 0, 0, 0, 0]),
        ((1, 1, 3), 1, [0, 1, 0, 0, 1, 0, 0, 1, 0]),
        ((0, -1, 2), None, [1, 0, 0, 0, 0, 0]),
    ],
)
def test_an_unreadable_label_is_minus_one_in_an_item_and_wrong_for_every_label(
    item: tuple[int, int, int], label: int | None, row: list[int]
) -> None:
    assert predicted_label(item) == label
    assert label_row(item).tolist() == row

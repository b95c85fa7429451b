"""What the draws of a task depend on, and how an unreadable label is written."""

import numpy as np
import pytest

from sentibench.data.cards import load_cards
from sentibench.scoring.metrics import label_row, macro_f1, predicted_label
from sentibench.scoring.statistics import REPLICATES, resample

CARDS = load_cards()


def models(n_models: int, n_items: int) -> np.ndarray:
    """Statistics of models that are right on 70% of the items."""
    random = np.random.default_rng(7)
    gold = random.integers(0, 2, n_items)
    wrong = random.random((n_models, n_items)) < 0.3
    return np.array(
        [[label_row((g, abs(g - w), 2)) for g, w in zip(gold, of, strict=True)] for of in wrong]
    )


def test_the_draws_of_a_task_depend_on_no_other_model() -> None:
    statistics = models(3, 40)
    together = resample(CARDS["sst2"], statistics, 300)
    alone = resample(CARDS["sst2"], statistics[1:2], 300)
    assert (together.draws_BM[:, 1] == alone.draws_BM[:, 0]).all()
    assert together.values_M[1] == alone.values_M[0] == macro_f1(statistics[1].sum(axis=0))


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

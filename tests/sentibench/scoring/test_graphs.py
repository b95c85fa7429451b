"""Sentiment graphs: where text is found in a sentence, and how opinions are matched. By hand."""

import pytest

from sentibench.data.records import Example, OpinionSpans, SentimentTuple, Span
from sentibench.scoring.graphs import match_graphs, score_graphs

CARS = "cart of a car"  # tokens at 0 to 4, 5 to 7, 8 to 9, 10 to 13


def quad(
    opinion: str, aspect: str = "NULL", holder: str = "NULL", polarity: str = "positive"
) -> tuple[str, str, str, str]:
    return holder, aspect, opinion, polarity


def third(share: float) -> float:
    """Two of three elements agree, the third by this share."""
    return (1 + 1 + share) / 3


@pytest.mark.parametrize(
    ("sentence", "predicted", "gold", "of_predicted", "of_gold"),
    [
        # an occurrence of whole tokens goes before an earlier one that is a part of a token
        (CARS, [quad("car")], [quad("a car")], 1, third(1 / 2)),
        ("cart card car", [quad("car")], [quad("card car")], 1, third(1 / 2)),
        ("a cart", [quad("a")], [quad("a cart")], 1, third(1 / 2)),
        ("art a art a", [quad("a")], [quad("a art")], 1, third(1 / 2)),  # of two, the first
        ("a  b", [quad("b")], [quad("b")], 1, 1),  # an empty token stands between two blanks
        ("a b a c", [quad("a c")], [quad("a b")], 0, 0),  # pieces are cut at AND alone
        # where there is none, all tokens that the first occurrence touches
        (CARS, [quad("art")], [quad("cart")], 1, 1),
        (CARS, [quad("t o")], [quad("cart of")], 1, 1),
        (CARS, [quad(" of ")], [quad("of")], 1, 1),
        ("cart art", [quad("ar")], [quad("cart")], 1, 1),
        (CARS, [quad("cart AND car")], [quad("cart")], third(1 / 2), 1),
        (CARS, [quad("cart AND  AND bus")], [quad("cart")], 1, 1),
        (CARS, [quad("bus")], [quad("bus")], 0, 0),  # an expression that is nowhere
        # a holder or a target that is nowhere is an absent one
        (CARS, [quad("car", "bus", "bus")], [quad("car")], 1, 1),
        (CARS, [quad("car", "cart")], [quad("car")], 0, 0),
        (CARS, [quad("car", holder="cart")], [quad("car")], 0, 0),
        (CARS, [quad("car", "cart of")], [quad("car", "cart")], third(1 / 2), 1),
        (CARS, [quad("car", holder="cart of")], [quad("car", holder="cart")], third(1 / 2), 1),
        (CARS, [quad("car", polarity="negative")], [quad("car")], 0, 0),
        # one to one, and of all matchings the one with the largest sum
        (CARS, [quad("a car"), quad("car")], [quad("car")], 1, 1),
        (CARS, [None, quad("car"), None], [quad("car")], 1, 1),
        (
            "a b c",
            [quad("a b"), quad("a")],
            [quad("a b"), quad("b c")],
            1 + third(1 / 2),
            2 * third(1 / 2),
        ),
        (CARS, [], [quad("car")], 0, 0),
        (CARS, [quad("car")], [], 0, 0),
    ],
)
def test_strict_matching_is_one_to_one_over_whole_tokens(
    sentence: str, predicted: list, gold: list, of_predicted: float, of_gold: float
) -> None:
    assert match_graphs(sentence, predicted, gold) == pytest.approx((of_predicted, of_gold))


def example(*spans: OpinionSpans | None, polarity: str = "positive") -> Example:
    opinions = tuple(SentimentTuple(polarity, spans=found) for found in spans)
    return Example(0, CARS, answer="", opinions=opinions)


def expression(*spans: Span) -> OpinionSpans:
    return OpinionSpans(holder=(), aspect=(), opinion=spans)


@pytest.mark.parametrize(
    ("predicted", "expected"),  # the gold expression is "a car"
    [
        ([quad("a car")], (1, 1, 1, 1)),
        ([quad("a car", polarity="POSITIVE")], (1, 1, 1, 1)),
        ([(None, 3, "a car", "positive")], (1, 1, 1, 1)),  # what is no text is NULL
        ([("NULL", "NULL", ["a car"], "positive")], (0, 1, 0, 1)),
        ([quad("car")], (third(1 / 2), 1, 1, 1)),  # "car" of "cart": from there to the end
        ([quad("ar")], (0, 1, 0, 1)),  # no token begins there
        ([quad("a")], (0, 1, 0, 1)),  # the first "a" stands in "cart"
        ([quad("a carAND of")], (third(2 / 3), 1, 1, 1)),
        ([quad("a car", "bus", "bus")], (1, 1, 1, 1)),
        ([quad("a car", "cart")], (0, 1, 0, 1)),
        ([quad("a car", holder="cart")], (0, 1, 0, 1)),
        ([quad("a car"), quad("of a")], (1 + third(1 / 2), 2, 1, 1)),
        ([quad("of a"), quad("a car", polarity="negative")], (third(1 / 2), 2, 1, 1)),
        ([], (0, 0, 0, 1)),
    ],
)
def test_official_graphs_are_found_by_the_first_occurrence(
    predicted: list, expected: tuple[float, ...]
) -> None:
    for polarity in ("positive", "Positive"):
        found = score_graphs(example(expression((8, 13)), polarity=polarity), predicted)
        assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("spans", "predicted", "expected"),
    [
        (expression((8, 12)), quad("a car"), (1, 1, 1, 1)),  # no token ends there: to the end
        (expression((9, 13)), quad("a car"), (0, 1, 0, 1)),  # no token begins there
        (expression((1, 4), (8, 13)), quad("a car"), (1, 1, 1, 1)),
        (expression((0, 4), (8, 9)), quad("cart of"), (third(1 / 2), 1, third(1 / 2), 1)),
        (OpinionSpans((), ((0, 7),), ((8, 13),)), quad("a car", "of"), (1, 1, third(1 / 2), 1)),
        (
            OpinionSpans(((0, 7),), (), ((8, 13),)),
            quad("a car", "NULL", "of"),
            (1, 1, third(1 / 2), 1),
        ),
        (OpinionSpans((), ((0, 7),), ((8, 13),)), quad("a car", "cart ANDof"), (1, 1, 1, 1)),
        (None, quad("a car"), (0, 1, 0, 0)),
    ],
)
def test_gold_spans_cover_whole_tokens(
    spans: OpinionSpans | None, predicted: tuple[str, ...], expected: tuple[float, ...]
) -> None:
    assert score_graphs(example(spans), [predicted]) == pytest.approx(expected)

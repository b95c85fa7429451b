"""Scores: worked cases, the recorded figures of the authors' scorer, and laws."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score

from sentibench.data.cards import load_cards, task_named
from sentibench.data.read import load_split
from sentibench.data.records import Example, OpinionSpans, SentimentTuple
from sentibench.scoring import metrics

EXTRACTION = ("atsa_rest16", "acsa_rest16", "asqp_rest16", "opener")
LABEL = tuple(name for name, card in load_cards().items() if card.is_label_task)


def pairs(*written: tuple[str, str]) -> Example:
    opinions = tuple(SentimentTuple(polarity, aspect=term) for term, polarity in written)
    return Example(0, "The soup and the bread were fine - mostly.", answer="", opinions=opinions)


GOLD = pairs(("soup", "positive"), ("bread", "negative"))

# by hand, from section 3 of the protocol; statistics are (hits, predicted, hits of gold, gold)
ATSA_OFFICIAL = [
    ("[('soup', 'positive'), ('bread', 'negative')]", (2, 2, 2, 2)),
    ("[('soup', 'positive'), ('soup', 'positive')]", (2, 2, 1, 2)),
    ("('soup', 'positive')", (1, 1, 1, 2)),
    ("['soup, positive', 'bread | negative']", (0, 1, 0, 2)),  # first part a string: one pair
    ("['soup, positive', 'bread|negative', 'soup-positive']", (3, 3, 2, 2)),
    ("[[('soup', 'positive')], [('bread', 'negative')]]", (1, 1, 1, 2)),  # last element only
    ("[[('soup', 'positive')], 3]", (0, 0, 0, 2)),
    ("[[('soup', 'positive')], 'ab']", (0, 2, 0, 2)),  # iterated, like any last element
    ("[('salad', 'positive')]", (0, 1, 0, 2)),  # not in the sentence
    ("[('soup', 'POSITIVE')]", (0, 1, 0, 2)),
    ("[('soup', 'conflict')]", (0, 1, 0, 2)),
    ("[(), ('soup', 'positive')]", (1, 1, 1, 2)),
    ("[(' soup ', 'positive')]", (1, 1, 1, 2)),
    ("[('soup ', 'positive'), ('bread', 'x', 'y')]", (0, 2, 0, 2)),  # nothing is converted
    ("[('soup', 'positive'), ('bread', 'x', 'y')]", (1, 2, 1, 2)),
    ("[('soup', 'positive')", (0, 0, 0, 2)),  # no repair for ATSA
    ("```python\n[('soup', 'positive')]\n```", (1, 1, 1, 2)),
    ("Label: [('soup', 'positive')]", (1, 1, 1, 2)),
    ("{'soup': 'positive'}", (0, 0, 0, 2)),
    ("", (0, 0, 0, 2)),
]


@pytest.mark.parametrize(("answer", "expected"), ATSA_OFFICIAL)
def test_official_reads_atsa_as_specified(answer: str, expected: tuple[int, ...]) -> None:
    assert metrics.official_statistics(load_cards()["atsa_rest16"], GOLD, answer) == expected


def test_repeated_gold_counts_each_time() -> None:
    card = load_cards()["atsa_rest16"]
    gold = pairs(("soup", "positive"), ("soup", "positive"), ("bread", "negative"))
    answer = "[('soup', 'positive')]"
    assert metrics.official_statistics(card, gold, answer) == (1, 1, 2, 3)
    assert metrics.strict_statistics(card, gold, answer)[0] == (1, 1, 1, 3)


# by hand
ATSA_STRICT = [
    ("[('soup', 'positive'), ('bread', 'negative')]", (2, 2, 2, 2), False),
    ("[('soup', 'positive'), ('soup', 'positive')]", (1, 2, 1, 2), False),
    ("[['soup', 'positive']]", (1, 1, 1, 2), False),
    ("('soup', 'positive')", (1, 1, 1, 2), False),
    ("[('soup',), 3]", (0, 2, 0, 2), False),
    ("[]", (0, 1, 0, 2), False),
    ("[('soup', 'positive')", (0, 1, 0, 2), True),
    ("good", (0, 1, 0, 2), True),
]


@pytest.mark.parametrize(("answer", "expected", "invalid"), ATSA_STRICT)
def test_strict_matches_one_to_one(answer: str, expected: tuple[int, ...], invalid: bool) -> None:
    card = load_cards()["atsa_rest16"]
    assert metrics.strict_statistics(card, GOLD, answer) == (expected, invalid)


def test_strict_counts_a_right_empty_answer_and_never_an_unreadable_one() -> None:
    card, empty = load_cards()["atsa_rest16"], pairs()
    assert metrics.strict_statistics(card, empty, "[]") == ((1, 1, 1, 1), False)
    assert metrics.strict_statistics(card, empty, "[('soup', 'positive')]")[0] == (0, 1, 0, 1)
    assert metrics.strict_statistics(card, empty, "none")[0] == (0, 1, 0, 1)


ACSA_REPAIR = [
    ("[('food quality', 'positive'), ('service gen", 1),
    ("[('a', 'b'), ('c', 'd'), ('e', 'f'), ('g', 'h'), ('i", 3),  # at most three
    ("[('a', 'b'), ('a', 'b'), ('i", 1),  # distinct
    ("('a', 'b'", 0),
]


@pytest.mark.parametrize(("answer", "n_predicted"), ACSA_REPAIR)
def test_official_repairs_a_cut_off_acsa_answer(answer: str, n_predicted: int) -> None:
    statistics = metrics.official_statistics(load_cards()["acsa_rest16"], pairs(), answer)
    assert statistics[1] == n_predicted


def graph_example() -> Example:
    spans = OpinionSpans(holder=(), aspect=((4, 9),), opinion=((14, 24), (29, 33)))
    opinion = SentimentTuple(
        "positive", aspect="hotel", opinion="very clean AND nice", holder="NULL", spans=spans
    )
    return Example(0, "The hotel was very clean and nice", answer="", opinions=(opinion,))


# by hand: shares of the predicted tuple's and of the gold tuple's tokens, averaged over 3 elements
GRAPHS = [
    ("[('NULL', 'hotel', 'very clean AND nice', 'positive')]", 1.0, 1.0),
    ("[('NULL', 'hotel', 'clean', 'positive')]", 1.0, (1 + 1 + 1 / 3) / 3),
    ("[('NULL', 'The hotel', 'very clean AND nice', 'positive')]", (1 + 1 / 2 + 1) / 3, 1.0),
    ("[('NULL', 'hotel', 'very clean AND nice', 'negative')]", 0.0, 0.0),
    ("[('The', 'hotel', 'very clean AND nice', 'positive')]", 0.0, 0.0),
    ("[('NULL', 'NULL', 'nice', 'positive')]", 0.0, 0.0),
]


@pytest.mark.parametrize(("answer", "of_predicted", "of_gold"), GRAPHS)
def test_graph_f1_weighs_hits_by_overlap(answer: str, of_predicted: float, of_gold: float) -> None:
    card, example = load_cards()["opener"], graph_example()
    official = metrics.official_statistics(card, example, answer)
    strict, invalid = metrics.strict_statistics(card, example, answer)
    assert official == pytest.approx((of_predicted, 1, of_gold, 1))
    assert strict == pytest.approx((of_predicted, 1, of_gold, 1))
    assert not invalid


def test_official_graph_f1_weighs_by_the_best_overlap_whatever_its_polarity() -> None:
    """By hand: the positive gold covers half of the guess, the negative one all of it."""

    def gold(polarity: str, opinion: str, end: int) -> SentimentTuple:
        spans = OpinionSpans(holder=(), aspect=(), opinion=((0, end),))
        return SentimentTuple(polarity, aspect="NULL", opinion=opinion, holder="NULL", spans=spans)

    opinions = (gold("positive", "good", 4), gold("negative", "good but", 8))
    example = Example(0, "good but odd", answer="", opinions=opinions)
    answer = "[('NULL', 'NULL', 'good but', 'positive')]"
    official = metrics.official_statistics(load_cards()["opener"], example, answer)
    assert official == pytest.approx((1, 1, 1, 2))
    strict, _ = metrics.strict_statistics(load_cards()["opener"], example, answer)
    assert strict == pytest.approx(((1 + 1 + 1 / 2) / 3, 1, 1, 2))


def test_official_graph_f1_punishes_the_all_null_tuple_and_strict_does_not() -> None:
    card, none = load_cards()["opener"], Example(0, "We left on Monday .", answer="")
    answer = "[('NULL', 'NULL', 'NULL', 'NULL')]"
    assert metrics.official_statistics(card, none, answer) == (0, 1, 0, 0)
    assert metrics.strict_statistics(card, none, answer) == ((1, 1, 1, 1), False)


@pytest.mark.parametrize("name", EXTRACTION)
def test_strict_gives_exactly_one_for_mini_gold(name: str) -> None:
    task = task_named(f"sentibench_mini_{name}", "test")
    examples = load_split(task, "test").examples
    rows = [metrics.strict_statistics(task.card, e, e.answer) for e in examples]
    assert float(metrics.tuple_f1(np.array([row for row, _ in rows]).sum(axis=0))) == 1.0
    assert not any(invalid for _, invalid in rows)


@pytest.mark.realdata
@pytest.mark.parametrize("name", EXTRACTION)
def test_scorers_agree_with_the_recorded_figures(
    name: str, real_data: Path, real_home: Path
) -> None:
    short = {"opener": "ssa"}.get(name, name.split("_")[0])
    recorded = json.loads(
        (real_data.parents[1] / "oracle" / f"{short}_seed1.json").read_text(encoding="utf-8")
    )
    task = task_named(name, "test")
    examples = load_split(task, "test").examples
    given = [prediction["prediction"] for prediction in recorded["predictions"]]
    for answers, key in (
        (given, "official"),
        ([e.answer for e in examples], "official_gold_as_prediction"),
    ):
        rows = [
            metrics.official_statistics(task.card, e, a)
            for e, a in zip(examples, answers, strict=True)
        ]
        got = metrics.precision_recall_f1(np.array(rows).sum(axis=0))
        expected = [recorded[key][measure] for measure in ("precision", "recall", "f1")]
        assert [float(value) for value in got] == pytest.approx(expected, abs=1e-9)
    strict = [metrics.strict_statistics(task.card, e, e.answer)[0] for e in examples]
    assert float(metrics.tuple_f1(np.array(strict).sum(axis=0))) == 1.0


def test_scores_of_labels_by_hand_for_one_run_and_for_several_at_once() -> None:
    """Gold a, a, b of three labels; predicted a, b and nothing that is a label."""
    items = [(0, 0), (0, 1), (1, None)]
    sums = sum(metrics.label_statistics(gold, predicted, 3) for gold, predicted in items)
    right = sum(metrics.label_statistics(gold, gold, 3) for gold, _ in items)
    precision, recall, f1 = metrics.class_scores(np.stack([sums, right]))
    assert precision.tolist() == [[1, 0, 0], [1, 1, 0]]
    assert recall.tolist() == [[1 / 2, 0, 0], [1, 1, 0]]
    assert f1 == pytest.approx(np.array([[2 / 3, 0, 0], [1, 1, 0]]))
    assert metrics.macro_f1(np.stack([sums, right])) == pytest.approx([2 / 9, 2 / 3])
    assert metrics.accuracy(np.stack([sums, right])) == pytest.approx([1 / 3, 1])
    assert metrics.accuracy(np.array([[right], [sums]])) == pytest.approx(np.array([[1], [1 / 3]]))
    assert float(metrics.accuracy(sums)) == pytest.approx(1 / 3)


def test_scores_of_tuples_by_hand_for_one_run_and_for_several_at_once() -> None:
    sums = np.array([[1, 2, 1, 4], [3, 3, 3, 3], [0, 0, 0, 5], [0, 2, 0, 0], [2, 2, 1, 2]])
    precision, recall, f1 = metrics.precision_recall_f1(sums.astype(float))
    assert precision.tolist() == [1 / 2, 1, 1, 0, 1]  # 1 where nothing is predicted
    assert recall.tolist() == [1 / 4, 1, 0, 0, 1 / 2]
    assert f1 == pytest.approx([1 / 3, 1, 0, 0, 2 / 3])
    assert metrics.tuple_f1(sums.astype(float)) == pytest.approx(f1)
    assert float(metrics.tuple_f1(np.array([1.0, 2, 1, 4]))) == pytest.approx(1 / 3)


def food(polarity: str) -> SentimentTuple:
    return SentimentTuple(polarity, category="food quality")


# by hand: gold as in the file, statistics of the official and of the strict scorer
ACSA = [
    (("positive", "positive"), "[('food quality', 'positive')]", (1, 1, 1, 1), (1, 1, 1, 1)),
    (("positive", "negative"), "[('food  quality', 'positive')]", (0, 1, 0, 2), (1, 1, 1, 2)),
    (("positive",), "[('food quality', 'positive'), 3]", (1, 2, 1, 1), (1, 2, 1, 1)),
    (("positive",), "[('food quality', 3)]", (0, 1, 0, 1), (0, 1, 0, 1)),
    (("positive",), "[]", (0, 0, 0, 1), (0, 1, 0, 1)),
    ((), "[]", (0, 0, 0, 0), (1, 1, 1, 1)),
    ((), "[('a', 'b'), ('c', 'd')]", (0, 2, 0, 0), (0, 2, 0, 1)),
    ((), "unreadable", (0, 0, 0, 0), (0, 1, 0, 1)),
    (("positive", "negative"), "unreadable", (0, 0, 0, 2), (0, 1, 0, 2)),
    (("positive", "negative"), "[]", (0, 0, 0, 2), (0, 1, 0, 2)),
]


@pytest.mark.parametrize(("polarities", "answer", "official", "strict"), ACSA)
def test_both_scorers_of_acsa_by_hand(polarities, answer: str, official, strict) -> None:
    card, opinions = load_cards()["acsa_rest16"], tuple(map(food, polarities))
    example = Example(0, "Fine food.", answer="", opinions=opinions)
    assert metrics.official_statistics(card, example, answer) == official
    assert metrics.strict_statistics(card, example, answer) == (strict, answer == "unreadable")


def test_gold_is_written_in_its_order_and_once_but_for_terms_that_stand_twice() -> None:
    opinions = (food("positive"), food("negative"), food("positive"))
    example = Example(0, "Fine food.", answer="", opinions=opinions)
    once = [("food quality", "positive"), ("food quality", "negative")]
    assert metrics.gold_tuples(load_cards()["acsa_rest16"], example) == once
    twice = pairs(("soup", "positive"), ("bread", "negative"), ("soup", "positive"))
    assert metrics.gold_tuples(load_cards()["atsa_rest16"], twice) == [
        ("soup", "positive"),
        ("bread", "negative"),
        ("soup", "positive"),
    ]


def test_macro_f1_agrees_with_scikit_learn_over_the_full_label_list() -> None:
    random = np.random.default_rng(5)
    for n_labels in (2, 3, 4):
        gold = random.integers(0, n_labels - 1, 200)  # the last label never occurs in gold
        predicted = random.integers(0, n_labels, 200)
        sums = sum(
            metrics.label_statistics(int(g), int(p), n_labels)
            for g, p in zip(gold, predicted, strict=True)
        )
        expected = f1_score(
            gold, predicted, labels=list(range(n_labels)), average="macro", zero_division=0
        )
        assert float(metrics.macro_f1(np.asarray(sums))) == pytest.approx(expected)


def test_an_unreadable_label_is_wrong_for_every_label() -> None:
    sums = metrics.label_statistics(0, None, 2) + metrics.label_statistics(1, 1, 2)
    assert float(metrics.macro_f1(sums)) == pytest.approx(0.5)


def test_scoring_is_linear_in_the_number_of_tuples() -> None:
    """A list scan needs 4e8 comparisons here, minutes; benchmarks/scoring.py measures it."""
    card = load_cards()["acsa_rest16"]
    answer = repr([(f"food {i}", "positive") for i in range(20_000)])
    opinions = tuple(SentimentTuple("positive", category=f"food {i}") for i in range(0, 40_000, 2))
    example = Example(0, "Many dishes.", answer=answer, opinions=opinions)
    assert metrics.official_statistics(card, example, answer) == (10_000, 20_000, 10_000, 20_000)

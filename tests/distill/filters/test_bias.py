"""A liking of the teacher for a word is taken out, and nothing else."""

import math
from dataclasses import replace

import numpy as np
import pytest

from distill.filters.bias import FEWEST, without_bias
from sentibench.remote.records import Answer, Failure, Message, Request
from sentibench.scoring.calibration import probabilities

WORDS = ("good", "bad")


def asked(number: int, words: tuple[str, ...] = WORDS) -> Request:
    return Request(f"r{number:03d}", (Message("user", "p"),), "t", "s", choices=words)


def scored(p_good: float, liking: float = 0.0) -> Answer:
    """What a teacher says that adds ``liking`` nats to the first word, whatever the text."""
    scores = (math.log(p_good) + liking - 7, math.log(1 - p_good) - 7)
    return Answer(WORDS[scores.index(max(scores))], "choice", log_likelihoods=scores)


TRUE = [0.9, 0.8, 0.7, 0.6, 0.4, 0.3, 0.2, 0.1] * 5


def test_a_constant_liking_is_taken_out() -> None:
    pairs = [(asked(n), scored(p, liking=1.5)) for n, p in enumerate(TRUE)]
    plain = [answer.text for _, answer in pairs]
    assert plain.count("good") > 25
    found = without_bias(pairs)
    corrected, moved = found.pairs, found.moved
    labels = [answer.text for _, answer in corrected]
    truth = [WORDS[0] if p > 0.5 else WORDS[1] for p in TRUE]
    n_wrong = [sum(map(str.__ne__, said, truth)) for said in (plain, labels)]
    assert n_wrong[0] >= 10
    assert n_wrong[1] <= 5  # of 40; a mean of probabilities is not exactly the liking
    assert moved == {"good / bad": (sum(a != b for a, b in zip(plain, labels, strict=True)), 40)}
    again = without_bias([(asked(n), scored(p)) for n, p in enumerate(TRUE)]).pairs
    assert [answer.text for _, answer in again] == truth  # where there is none, none is found


def test_the_distribution_is_divided_by_its_mean() -> None:
    pairs = [(asked(n), scored(p)) for n, p in enumerate([0.9, 0.6] * 10)]
    (_, first), *_ = without_bias(pairs).pairs
    weights = np.exp(first.log_likelihoods)
    assert weights[0] / weights.sum() == pytest.approx((0.9 / 0.75) / (0.9 / 0.75 + 0.1 / 0.25))


def test_sets_of_words_are_apart_and_small_ones_are_left_alone() -> None:
    other = ("happy", "sad")
    few = [
        (asked(100 + n, other), Answer("sad", "choice", log_likelihoods=(-2.0, -1.0)))
        for n in range(FEWEST - 1)
    ]
    text, failed = (asked(900, ()), Answer("prose", "stop")), (asked(901), Failure("timeout", "x"))
    pairs = [*((asked(n), scored(p, 3)) for n, p in enumerate(TRUE)), *few, text, failed]
    found = without_bias(pairs)
    corrected = found.pairs
    assert list(found.moved) == ["good / bad"]
    assert list(found.as_they_were.values()) == [FEWEST - 1]
    assert corrected[len(TRUE) :] == pairs[len(TRUE) :]
    assert [request for request, _ in corrected] == [request for request, _ in pairs]


@pytest.mark.parametrize("never", [-40.0, -800.0, -math.inf])
def test_a_word_that_is_never_chosen_becomes_no_label(never: float) -> None:
    words = ("good", "bad", "neutral")
    given = [(math.log(p), math.log(1 - p), never) for p in TRUE]
    pairs = [
        (asked(n, words), Answer(words[int(p < 0.5)], "choice", log_likelihoods=scores))
        for n, (p, scores) in enumerate(zip(TRUE, given, strict=True))
    ]
    for (_, before), (_, after) in zip(pairs, without_bias(pairs).pairs, strict=True):
        assert isinstance(after, Answer)
        assert after.text == before.text
        p_K = probabilities(np.array([after.log_likelihoods]))[0]
        assert np.isfinite(p_K).all()
        assert p_K[2] < 1e-6


def test_what_says_nothing_and_other_tasks_stay() -> None:
    nothing = Answer("good", "choice", log_likelihoods=(math.nan, -1.0))
    of_other = replace(asked(901), meta={"family": "other"})
    pairs = [(asked(n), scored(p, 3)) for n, p in enumerate(TRUE)]
    apart = [(asked(900), nothing), (of_other, scored(0.6, 3))]
    found = without_bias([*pairs, *apart])
    assert found.pairs[len(TRUE) :] == apart
    assert found.pairs[: len(TRUE)] == list(without_bias(pairs).pairs)
    assert sorted(found.as_they_were.values()) == [1, 1]

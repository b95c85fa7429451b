"""A liking of the teacher for a word is taken out, and nothing else."""

import math

import numpy as np
import pytest

from distill.filters.bias import FEWEST, without_bias
from sentibench.remote.records import Answer, Failure, Message, Request

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
    corrected, moved = without_bias(pairs)
    labels = [answer.text for _, answer in corrected]
    truth = [WORDS[0] if p > 0.5 else WORDS[1] for p in TRUE]
    n_wrong = [sum(map(str.__ne__, said, truth)) for said in (plain, labels)]
    assert n_wrong[0] >= 10
    assert n_wrong[1] <= 5  # of 40; a mean of probabilities is not exactly the liking
    assert moved == {"good/bad": (sum(a != b for a, b in zip(plain, labels, strict=True)), 40)}
    again, _ = without_bias([(asked(n), scored(p)) for n, p in enumerate(TRUE)])
    assert [answer.text for _, answer in again] == truth  # where there is none, none is found


def test_the_distribution_is_divided_by_its_mean() -> None:
    pairs = [(asked(n), scored(p)) for n, p in enumerate([0.9, 0.6] * 10)]
    (_, first), *_ = without_bias(pairs)[0]
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
    corrected, moved = without_bias(pairs)
    assert list(moved) == ["good/bad"]
    assert corrected[len(TRUE) :] == pairs[len(TRUE) :]
    assert [request for request, _ in corrected] == [request for request, _ in pairs]

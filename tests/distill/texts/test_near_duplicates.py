"""Near-duplicates: exact threshold, found with the stated probability, near-linear in time."""

import random
import time
from hashlib import sha256

import numpy as np
import pytest
from whole_lists import exact_duplicates

import distill.texts.near_duplicates as near_duplicates_module
from distill.texts.near_duplicates import NGRAM_WORDS, bands_of, near_duplicates


def words(*numbers: int) -> str:
    return " ".join(f"w{number}" for number in numbers)


@pytest.mark.parametrize(
    ("a", "b", "threshold", "are_same"),
    [
        # Source: by hand; ten and twelve words have 6 and 8 runs of five words, 6 in common.
        (words(*range(10)), words(*range(12)), 6 / 8, True),
        (words(*range(10)), words(*range(12)), 6 / 8 + 0.01, False),
        # One word changed in the middle of twenty: 16 runs each, 11 in common, 11 / 21.
        (words(*range(20)), words(*range(10), 99, *range(11, 20)), 11 / 21, True),
        (words(*range(20)), words(*range(10), 99, *range(11, 20)), 0.55, False),
        ("The soup, the soup!", "the SOUP the soup", 1.0, True),
        ("soup", "soup", 1.0, True),
        ("soup", "soups", 0.01, False),
        ("good soup", "soup good", 0.01, False),
        ("😀", "😀", 0.01, False),
        ("", "", 0.01, False),
    ],
)
def test_two_texts_are_the_same_from_the_threshold_on(
    a: str, b: str, threshold: float, are_same: bool
) -> None:
    assert NGRAM_WORDS == 5
    # Candidates are found with certainty only where texts are equal, so a pair is tried often.
    found = []
    for seed in range(60):
        copies = [text.replace("w", f"x{seed}y") for text in (a, b)]
        found.append(near_duplicates({"1": copies[0], "2": copies[1]}, threshold))
    assert set(map(str, found)) <= {"{}", "{'2': '1'}"}
    assert any(found) == are_same


def test_the_smaller_id_stays_in_every_order() -> None:
    texts = {"b": words(*range(30)), "a": words(*range(30)), "c": words(*range(31))}
    for ids in ("abc", "cba", "bca"):
        found = near_duplicates({id_: texts[id_] for id_ in ids}, 0.8)
        assert found == {"b": "a", "c": "a"}


def test_a_text_is_compared_with_kept_ones_only() -> None:
    # Three of a row: the first and the third are less alike than either is to the second.
    texts = {"1": words(*range(40)), "2": words(*range(4, 44)), "3": words(*range(8, 48))}
    assert near_duplicates(texts, 32 / 40) == {"2": "1"}


def test_of_several_similar_kept_texts_the_one_of_the_smallest_id_is_named() -> None:
    texts: dict[str, str] = {}
    for row in range(20):
        for number, start in enumerate((0, 8, 4)):  # the third is like the first and the second
            text = words(*range(start, start + 114))  # similarity 106 / 114, so a sure candidate
            texts[f"{row:02d}{number}"] = text.replace("w", f"x{row}y")
    found = near_duplicates(texts, 0.9)
    assert found == {f"{row:02d}2": f"{row:02d}0" for row in range(20)}


@pytest.mark.parametrize(
    ("n_words", "n_changed_at_end", "at_least"),
    [(104, 0, 1.0), (104, 5, 0.99), (104, 11, 0.88)],  # similarity 1, 0.90, 0.80
)
def test_pairs_above_the_threshold_are_found_as_often_as_stated(
    n_words: int, n_changed_at_end: int, at_least: float
) -> None:
    rng = random.Random(1)
    texts: dict[str, str] = {}
    for pair in range(300):
        text = [str(rng.random()) for _ in range(n_words)]
        other = text[: n_words - n_changed_at_end]
        other += [str(rng.random()) for _ in range(n_changed_at_end)]
        texts |= {f"{pair}a": " ".join(text), f"{pair}b": " ".join(other)}
    found = near_duplicates(texts, 0.79)
    assert all(found[id_] == id_.replace("b", "a") for id_ in found)
    assert len(found) >= at_least * 300


def test_texts_with_the_same_stock_phrases_are_kept() -> None:
    rng = random.Random(2)
    stock = "In this review the writer expresses a feeling that can be described as follows:"
    texts = {str(n): f"{stock} {words(*rng.choices(range(999), k=14))}" for n in range(300)}
    assert near_duplicates(texts, 0.8) == {}


def test_texts_that_are_not_alike_are_hardly_ever_compared(monkeypatch) -> None:
    """By hand: 56 runs in common of 144, similarity 0.39: one pair of 100 is a candidate."""
    compared = []
    real = near_duplicates_module._jaccard
    monkeypatch.setattr(
        near_duplicates_module, "_jaccard", lambda a, b: compared.append(1) or real(a, b)
    )
    rng = random.Random(4)
    common = words(*range(60))
    texts = {f"{n:02d}": f"{common} {words(*rng.sample(range(999), 40))}" for n in range(40)}
    assert near_duplicates(texts, 0.8) == {}
    assert len(compared) < 40  # of 780 pairs
    assert near_duplicates({**texts, "a": texts["07"], "b": texts["39"]}, 0.8) == {
        "a": "07",
        "b": "39",
    }


def test_connected_groups_by_themselves_give_what_all_texts_at_once_give() -> None:
    """Chains of texts, each a little different from an earlier one, and texts like no other."""
    rng = random.Random(6)
    texts = [words(*rng.choices(range(999), k=60)) for _ in range(50)]
    for _ in range(250):
        changed = rng.choice(texts).split()
        changed[rng.randrange(60)] = "new"
        texts.append(" ".join(changed))
    texts += texts[:5]
    ids = [f"{n:03d}" for n in range(len(texts))]
    bands_NB = np.array([np.frombuffer(bands_of(text), np.uint64) for text in texts])
    at_once = near_duplicates_module._similar(bands_NB, texts, 0.8)
    assert len(at_once) > 100
    found = near_duplicates(dict(zip(ids, texts, strict=True)), 0.8)
    assert found == {ids[row]: ids[twin] for row, twin in at_once.items()}


@pytest.mark.slow
def test_ten_thousand_texts_take_seconds_even_where_all_are_alike() -> None:
    # Measured: 12 s on two busy cores; comparing all pairs would take a quarter of an hour.
    rng = random.Random(3)
    stock = words(*range(60))
    texts = {str(n): f"{stock} {words(*rng.choices(range(999), k=20))}" for n in range(10_000)}
    start = time.perf_counter()
    assert near_duplicates(texts, 0.8) == {}
    assert time.perf_counter() - start < 120


def test_no_texts_have_no_duplicates() -> None:
    assert near_duplicates({}, 0.8) == exact_duplicates({}) == {}


@pytest.mark.parametrize(
    ("a", "b", "are_same"),
    [
        ("good soup", "good soup", True),
        ("good soup", " good\n soup ", True),
        ("", " ", True),
        ("😀", "😀", True),
        ("good soup", "Good soup", False),
        ("good soup", "good soup.", False),
    ],
)
def test_exact_duplicates_differ_in_blanks_only(a: str, b: str, are_same: bool) -> None:
    assert exact_duplicates({"2": a, "1": b}) == ({"2": "1"} if are_same else {})


def test_the_bands_of_a_text_are_those_that_rensa_has_given_since_0_5() -> None:
    assert sha256(bands_of(words(*range(40)))).hexdigest()[:16] == "831ef8f9c8b08b76"

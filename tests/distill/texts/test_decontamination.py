"""Overlap with test sets: what counts as the same text, and the known overlaps of the real data."""

import hashlib
import random
import sys
from pathlib import Path

import numpy as np
import pytest

from distill.texts.decontamination import NGRAM_WORDS, Contamination, load_tests
from distill.texts.ngrams import (
    BASE,
    SIGNS_OF_MARKUP,
    fingerprints,
    nfkc,
    text_fingerprints,
    words_of,
)
from sentibench.data.cards import load_tasks
from sentibench.data.read import load_split
from sentibench.errors import DataError, InputError

THIRTEEN = "the old ferry left the pier at dawn with nine goats and monks"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The SOUP was good!", "the soup was good"),
        ("so-called “best” soup…", "so called best soup"),
        ("soup  \t\n good", "soup good"),
        ("soup\\ngood", "soup good"),
        ("soup<br /><br />good", "soup good"),
        ("soup &amp; tea &lt;3", "soup tea 3"),
        ("@maria_k the soup http://t.co/x1 was good", "the soup was good"),
        ("the soup http", "the soup"),
        ("see www.soup.example now", "see now"),
        ("it does n't work , it 's bad", "it does n t work it s bad"),
        ("It doesn't work, it's bad", "it does n t work it s bad"),
        ("it doesn’t work", "it does n t work"),
        ("-LRB- a soup -RRB-", "a soup"),
        ("ﬁne soup №1", "fine soup no1"),
        ("Straße", "strasse"),
        ("cafe\u0301 soup", "café soup"),
        ("so\u00adup go\u200bod\ufeff", "soup good"),
        ("#best_soup", "best soup"),
        ("soup 😀 good", "soup good"),
        ("\u200fمرحبا بكم!", "مرحبا بكم"),
        ("i <3 soup and > tea", "i 3 soup and tea"),
        ("😀 ... !", ""),
        ("", ""),
    ],
)
def test_words_are_those_that_two_copies_of_a_text_share(text: str, words: str) -> None:
    assert words_of(text) == words.split()


HOSTILE = (
    *(
        "<",
        ">",
        "＜",
        "＞",
        "﹤",
        "</b",
        "<a ",
        "&",
        "&lt;",
        "&#10;",
        "＆lt;",
        ":",
        ": ",
        "：",
        "︓ ",
    ),
    *(
        "\n",
        "\n\n",
        "\r\n",
        " ",
        "\u00a0",
        "\u2028",
        "\u200b",
        "\u00ad",
        "\ufeff",
        "\u0301",
        "\u0338",
    ),
    *(
        "www.",
        "ＷＷＷ．",
        "www․",
        "http",
        "https://",
        "ｈttp：//",
        "ſ",
        "/",
        ".",
        "…",
        "@",
        "＠",
        "@user",
    ),
    *("\\", "n", "\\n", "'", "’", "＇", "n't", "-lrb-", "-RRB", "b-", "-", "_", "ﬁ", "ß", "İ", "Σ"),
    *("x", "soup", "é", "😀", "مرحبا", "7", "½", "\ud800", "≮", "x" * 499),
)
"""Whatever the words of a text depend on, and what becomes one of these in lower case or NFKC."""


@pytest.mark.parametrize("seed", range(8))
def test_a_text_has_the_same_hashes_paragraph_by_paragraph_and_as_a_whole(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(1_000):
        text = "".join(rng.choices(HOSTILE, k=rng.randint(1, 12)))
        whole = fingerprints(words_of(text), 1)
        assert np.array_equal(text_fingerprints(text, 1), whole), ascii(text)


@pytest.mark.parametrize(
    "text",
    ["www.: x", "ＷＷＷ．: x", "＜a\n\nb> x", "﹤a: b> x", "＜b\n\n>", "<a: b> x", "&lt;a: b> x"],
)
def test_links_and_markup_around_a_colon_or_a_blank_line_are_no_words(text: str) -> None:
    assert np.array_equal(text_fingerprints(text, 1), fingerprints(words_of(text), 1))
    assert set(words_of(text)) <= {"x"}


def test_all_characters_that_are_read_as_the_beginning_of_markup_are_known() -> None:
    read_as = [c for c in map(chr, range(sys.maxunicode + 1)) if "<" in nfkc(c).casefold()]
    assert sorted([*read_as, "&"]) == sorted(SIGNS_OF_MARKUP)


def test_the_normal_form_of_long_runs_without_blanks_is_the_usual_one() -> None:
    assert nfkc("ﬁ" * 1200) == "fi" * 1200
    assert nfkc("e\u0301 " * 700) == "é " * 700


@pytest.mark.parametrize(
    ("n_words", "n", "expected"),
    [(0, 3, 0), (1, 3, 1), (2, 3, 1), (3, 3, 1), (4, 3, 2), (10, 3, 8), (5, 1, 5)],
)
def test_a_text_has_a_hash_per_run_and_a_short_one_a_single_hash(
    n_words: int, n: int, expected: int
) -> None:
    grams = fingerprints([f"word{number}" for number in range(n_words)], n)
    assert grams.shape == (expected,)
    assert grams.dtype == np.uint64
    assert len(set(grams.tolist())) == expected


def test_hashes_tell_words_their_order_and_their_number_apart() -> None:
    texts = ["a b c", "c b a", "a c b", "ab c", "a bc", "a b", "a b c c", "a b d", "a", "a a", ""]
    hashes = [tuple(fingerprints(text.split(), 4).tolist()) for text in texts]
    assert len(set(hashes)) == len(texts)
    assert fingerprints(list("abcd"), 3)[1] == fingerprints(list("bcd"), 3)[0]
    assert fingerprints(["a", "b"], 2)[0] == fingerprints(["a", "b"], 3)[0]


def test_a_hash_is_the_polynomial_of_the_hashes_of_its_words() -> None:
    def word_hash(word: str) -> int:
        return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")

    a, b, c = map(word_hash, "abc")
    expected = [((first * int(BASE) + second) % 2**64) ^ 2 for first, second in ((a, b), (b, c))]
    assert fingerprints(["a", "b", "c"], 2).tolist() == expected


@pytest.mark.parametrize(
    ("text", "overlaps"),
    [
        (THIRTEEN, True),
        (f"Once, {THIRTEEN.upper()}!!! and so on", True),
        (THIRTEEN.replace(" ", " @user "), True),
        (THIRTEEN.replace(" ", "<br />"), True),
        (THIRTEEN.rsplit(" ", 1)[0], False),  # twelve of its words
        (THIRTEEN.split(" ", 1)[1] + " too", False),
        (THIRTEEN.replace("goats", "sheep"), False),
        (" ".join(reversed(THIRTEEN.split())), False),
        ("Lovely soup, thanks", True),
        ("lovely SOUP thanks @anna https://soup.example 😀", True),
        ("lovely soup", False),
        ("lovely soup thanks again", False),
        ("😀", False),
        ("!", False),
        ("", False),
        ("x" * 100_000, False),
    ],
)
def test_a_text_overlaps_by_thirteen_words_or_as_a_whole(text: str, overlaps: bool) -> None:
    tests = Contamination.of_texts({"long": [f"Then {THIRTEEN} aboard."], "short": ["soup"]})
    assert len(THIRTEEN.split()) == NGRAM_WORDS == 13
    short = Contamination.of_texts({"tweets": ["Lovely soup, thanks!", "😀", "..."]})
    found = tests.overlaps(text) + short.overlaps(text)
    assert found == ((("long",) if "ferry" in text.lower() else ("tweets",)) if overlaps else ())


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_the_number_of_words_in_a_run_can_be_chosen(n: int) -> None:
    words = [f"word{number}" for number in range(20)]
    tests = Contamination.of_texts({"ours": [" ".join(words)]}, n)
    assert tests.overlaps(" ".join(["x", *words[3 : 3 + n], "y"])) == ("ours",)
    assert n == 1 or tests.overlaps(" ".join(["x", *words[3 : 2 + n], "y"])) == ()


def test_an_overlap_names_every_test_in_the_order_given() -> None:
    names = [f"test{number:02d}" for number in range(64)]
    texts = {name: [f"text {name}", "shared text", f"odd {n % 2}"] for n, name in enumerate(names)}
    tests = Contamination.of_texts(texts)
    assert tests.overlaps("Shared text.") == tuple(names)
    assert tests.overlaps("text test63") == ("test63",)
    assert tests.overlaps("text test00") == ("test00",)
    assert tests.overlaps("odd 1") == tuple(names[1::2])
    assert all(name in tests.overlaps(text) for name, own in texts.items() for text in own)
    assert np.all(np.diff(tests.hashes_H.astype(object)) > 0)
    assert len(tests.hashes_H) == 64 + 1 + 2


def test_a_text_that_is_made_of_two_tests_overlaps_with_both() -> None:
    tests = Contamination.of_texts({"a": ["red soup today"], "b": ["cold tea again"]}, 2)
    assert tests.overlaps("Cold tea, red soup!") == ("a", "b")
    assert tests.overlaps("red tea, cold soup") == ()


@pytest.mark.parametrize(
    "tests", [{}, {"ours": []}, {str(n): ["text"] for n in range(65)}], ids=["none", "empty", "65"]
)
def test_tests_without_texts_or_too_many_tests_are_refused(tests: dict[str, list[str]]) -> None:
    with pytest.raises(InputError, match=r"texts: .*, expected "):
        Contamination.of_texts(tests)


def test_a_test_of_nothing_but_emoji_overlaps_with_nothing() -> None:
    tests = Contamination.of_texts({"ours": ["😀", "..."]})
    assert tests.overlaps("😀") == tests.overlaps("soup") == ()


def test_the_real_tests_are_asked_for_unless_others_are_named() -> None:
    with pytest.raises(DataError):  # no data here
        load_tests()


def test_the_small_sets_can_stand_for_the_tests() -> None:
    tests = load_tests("mini")
    assert len(tests) == 12
    grams = Contamination.of_texts(tests)
    for name, texts in tests.items():
        assert len(texts) >= 24
        assert all(name in grams.overlaps(text) for text in texts)
        train = load_split(load_tasks()[name], "train").examples
        assert [e.index for e in train if grams.overlaps(e.sentence)] == []


# Counted with this code; "verbatim" is also stated in the cards (imdb.yaml, opener.yaml).
KNOWN = {
    "imdb": {"verbatim": 1, "own test": 1, "any test": 1},
    "yelp2": {"verbatim": 0, "own test": 0, "any test": 0},
    "sst2": {"verbatim": 0, "own test": 0, "any test": 2},
    "twitter17": {"verbatim": 0, "own test": 0, "any test": 0},
    "irony18": {"verbatim": 0, "own test": 1, "any test": 2},
    "emotion20": {"verbatim": 0, "own test": 1, "any test": 2},
    "pstance": {"verbatim": 0, "own test": 1, "any test": 1},
    "mint": {"verbatim": 0, "own test": 2, "any test": 4},
    "atsa_rest16": {"verbatim": 1, "own test": 9, "any test": 10},
    "acsa_rest16": {"verbatim": 1, "own test": 9, "any test": 10},
    "asqp_rest16": {"verbatim": 1, "own test": 6, "any test": 6},
    "opener": {"verbatim": 17, "own test": 19, "any test": 24},
}


@pytest.mark.realdata
def test_the_known_overlaps_of_the_real_train_sets_are_found(real_home: Path) -> None:
    tests = load_tests("real")
    grams = Contamination.of_texts(tests)
    assert len(grams.hashes_H) > 400_000
    found = {}
    for card in KNOWN:
        name = f"sentibench_{card}"
        texts = [example.sentence for example in load_split(load_tasks()[name], "train").examples]
        verbatim = {text for text in texts if text in set(tests[name])}
        assert all(name in grams.overlaps(text) for text in verbatim)
        overlaps = [grams.overlaps(text) for text in texts]
        found[card] = {
            "verbatim": len(verbatim),
            "own test": sum(name in tests for tests in overlaps),
            "any test": sum(map(bool, overlaps)),
        }
    assert found == KNOWN


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["sentibench_imdb", "sentibench_opener"])
def test_hashes_find_what_a_comparison_of_words_finds(real_home: Path, name: str) -> None:
    def runs(text: str) -> set[tuple[str, ...]]:
        words = tuple(words_of(text))
        n = min(len(words), NGRAM_WORDS)
        return {words[i : i + n] for i in range(len(words) - n + 1)} if words else set()

    tests = load_tests("real")[name]
    grams = Contamination.of_texts({name: tests})
    known = set().union(*map(runs, tests))
    assert len(known) == len(grams.hashes_H)
    texts = [e.sentence for e in load_split(load_tasks()[name], "train").examples]
    assert [bool(grams.overlaps(t)) for t in texts] == [
        not known.isdisjoint(runs(t)) for t in texts
    ]

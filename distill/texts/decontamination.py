"""Which texts are in a test set: runs of words shared with the SentiBench test texts.

IMDb, Yelp and Twitter are test sets and usual sources of user texts at once. Of the tests only
hashes are kept, never the text.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from distill.texts.ngrams import Hashes, fingerprints, text_fingerprints, words_of
from sentibench.data.cards import Source, load_tasks
from sentibench.data.read import load_split
from sentibench.errors import InputError

NGRAM_WORDS = 13
"""The run of words that counts as an overlap (Source: Brown et al. 2020, arXiv 2005.14165, app. C).

A test text of fewer words overlaps with a text that is, normalised, the same as a whole.
"""

MAX_TESTS = 64  # one bit each
FIRST_BITS = 24
SHIFT = np.uint64(64 - FIRST_BITS)


@dataclass(frozen=True, slots=True, eq=False)
class Contamination:
    """The hashes of all test texts.

    Attributes:
        names: Of the tests, at most 64.
        ngram_words: Length of a run, in words.
        hashes_H: H hashes, ascending, each once.
        tests_H: Per hash the tests that have it, one bit each in the order of ``names``.
        begins: Whether a hash begins with these bits: most runs of a text are in no test, which
            one look here tells and a search in ``hashes_H`` takes 20 for.
    """

    names: tuple[str, ...]
    ngram_words: int
    hashes_H: Hashes
    tests_H: Hashes
    begins: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        begins = np.zeros(1 << FIRST_BITS, bool)
        begins[self.hashes_H >> SHIFT] = True
        object.__setattr__(self, "begins", begins)

    @classmethod
    def of_texts(
        cls, tests: Mapping[str, Iterable[str]], ngram_words: int = NGRAM_WORDS
    ) -> Contamination:
        """Hash the texts of each test.

        Args:
            tests: Test name -> its texts.
            ngram_words: Length of a run, in words.

        Raises:
            InputError: If a test has no texts, or there are no tests, or more than 64.
        """
        if not 1 <= len(tests) <= MAX_TESTS:
            raise InputError(
                f"texts: got {len(tests)} test sets to compare with, expected 1 to {MAX_TESTS}; "
                "name other tasks in evaluation.tasks and icldist.tasks"
            )
        hashes: list[Hashes] = []
        bits: list[Hashes] = []
        for number, (name, texts) in enumerate(tests.items()):
            grams = [fingerprints(words_of(text), ngram_words) for text in texts]
            if not grams:
                raise InputError(
                    f"texts: the test set {name!r} has no texts, expected at least 1; add texts "
                    "to it, or remove its task"
                )
            hashes.append(np.unique(np.concatenate(grams)))
            bits.append(np.full(len(hashes[-1]), 1 << number, np.uint64))
        all_hashes, all_bits = np.concatenate(hashes), np.concatenate(bits)
        order = np.argsort(all_hashes, kind="stable")
        hashes_H, starts = np.unique(all_hashes[order], return_index=True)
        if len(starts):
            all_bits = np.bitwise_or.reduceat(all_bits[order], starts)
        return cls(tuple(tests), ngram_words, hashes_H, all_bits)

    def overlaps(self, text: str) -> tuple[str, ...]:
        """Return the names of the tests that share a run of words, or a short text, with a text."""
        grams = text_fingerprints(text, self.ngram_words)
        grams = grams[self.begins[grams >> SHIFT]]
        if not len(grams):
            return ()
        at = np.minimum(np.searchsorted(self.hashes_H, grams), len(self.hashes_H) - 1)
        found = 0
        for tests in self.tests_H[at[self.hashes_H[at] == grams]].tolist():
            found |= tests
        return tuple(name for number, name in enumerate(self.names) if found >> number & 1)


def load_tests(source: Source = "real", own: Collection[str] = ()) -> dict[str, tuple[str, ...]]:
    """Load the texts of the test splits of a source, and of some own tasks, by task name.

    Raises:
        DataError: If a file is missing and cannot be fetched.
    """
    return {
        name: tuple(example.sentence for example in load_split(task, "test").examples)
        for name, task in load_tasks().items()
        if (name in own if task.source == "own" else task.source == source)
    }

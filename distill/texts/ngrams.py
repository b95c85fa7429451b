"""A text as words, and runs of words as 64-bit hashes: what overlap and repetition are counted in.

Axis letters: W words of a text, G runs of n words in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from hashlib import blake2b
from html import unescape
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

BASE = np.uint64(0x9E3779B97F4A7C15)
"""Odd, so that multiplying by it modulo 2^64 loses nothing (the golden ratio, from splitmix64)."""

INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe0e\ufe0f\ufeff]")
NOISE = re.compile(
    r"</?[a-z][^<>]{0,200}>"  # <br />: IMDb has it, cleaned copies do not
    r"|\b(?:https?://|www\.)\S+|\bhttps?\b"  # a link, or "http" in place of one (MINT)
    r"|@\w+"  # a handle, or the mask @user
    r"|\\n"  # a line break stored as two characters (Yelp)
    r"|-[lr][rscr]b-"  # -LRB-: a bracket in SST2
)
SIGNS_OF_NOISE = ("<", "http", "www.", "@", "\\n", "b-")
"""One of them is in every match of ``NOISE``, and finding them costs a tenth of it."""
SIGNS_OF_MARKUP = ("<", "＜", "﹤", "&")
"""One of them begins every tag: as it is, in another width, or as ``&lt;``."""
PIECE = re.compile(r"\S{1,500}")
NEGATION = re.compile(r"(?<=\w)n['’]t\b")
WORD = re.compile(r"[^\W_]+")


def words_of(text: str) -> list[str]:
    """Return the words of a text in the form in which two copies of it agree.

    Lower case, NFKC, without punctuation, markup, links, handles and invisible characters; the
    datasets mask links and handles differently, so they are taken out rather than replaced.
    "doesn't" and the "does n't" of a tokenised text give the same words. Emoji are no words. A
    script without blanks gives one word per run of letters, so a text in it is matched whole.
    """
    text = unescape(text)
    text = (text if text.isascii() else nfkc(INVISIBLE.sub("", text))).casefold()
    if any(sign in text for sign in SIGNS_OF_NOISE):
        text = NOISE.sub(" ", text)
    if "'" in text or "’" in text:
        text = NEGATION.sub(" n't", text)
    return WORD.findall(text)


def nfkc(text: str) -> str:
    """Put a text in the Unicode normal form NFKC, word by word.

    Python's own ``normalize`` is quadratic in the number of accents on one letter.
    """
    return text if text.isascii() else PIECE.sub(lambda piece: normalize("NFKC", piece[0]), text)


def fingerprints(words: Sequence[str], n: int) -> Hashes:
    """Hash every run of n words.

    Args:
        words: W words.
        n: Words per run, at least 1.

    Returns:
        W - n + 1 hashes in text order; of a shorter text one hash of the whole; of no words none.
        Runs of different lengths do not collide on purpose: the length is part of the hash.
    """
    return _runs(_word_hashes(words), n)


@lru_cache(maxsize=64)
def text_fingerprints(text: str, n: int) -> Hashes:
    """Hash every run of n words of a text; see :func:`fingerprints`. Not to be changed.

    A text is looked at for several reasons in a row, and prompts have much in common.
    """
    return _runs(_hashes_of_text(text), n)


@lru_cache(maxsize=64)
def _hashes_of_text(text: str) -> Hashes:
    """Hash the words of a text by its lines, since prompts have many of these in common."""
    # markup may reach from one line into the next; everything else ends at white space
    if any(sign in text for sign in SIGNS_OF_MARKUP):
        return _word_hashes(words_of(text))
    triples = (line.partition(": ") for line in text.split("\n"))
    parts = (part for head, colon, rest in triples for part in (head + colon, rest))
    return np.concatenate([_hashes_of_part(part) for part in parts])


@lru_cache(maxsize=1 << 12)
def _hashes_of_part(part: str) -> Hashes:
    return _word_hashes(words_of(part))


def _word_hashes(words: Sequence[str]) -> Hashes:
    return np.fromiter(map(_word_hash, words), np.uint64, len(words))


def _runs(hashes_W: Hashes, n: int) -> Hashes:
    """Hashes of runs: each a polynomial whose coefficients are the hashes of its words."""
    size = min(n, len(hashes_W))
    if not size:
        return np.empty(0, np.uint64)
    return np.correlate(hashes_W, powers(size), "valid") ^ np.uint64(size)


@cache
def powers(size: int) -> Hashes:
    """Powers of ``BASE`` modulo 2^64, the highest first."""
    return np.array([pow(int(BASE), n, 1 << 64) for n in reversed(range(size))], np.uint64)


@lru_cache(maxsize=1 << 18)
def _word_hash(word: str) -> int:
    digest = blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")

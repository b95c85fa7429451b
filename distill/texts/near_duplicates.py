"""Which texts say the same as another one: MinHash over runs of five words, checked exactly.

Candidates come from banded MinHash signatures, which rensa computes (near-linear in the number of
texts). Each is then compared by its exact Jaccard similarity, so nothing below the threshold is
ever reported.
With 16 bands of 8 values, a pair of similarity 0.8 becomes a candidate with probability 0.95, one
of 0.9 with 0.9999; identical ones always.
Source: Broder 1997, On the resemblance and containment of documents.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from typing import Any, cast

import numpy as np
import rensa

from distill.texts.ngrams import Hashes, powers, text_fingerprints, words_of
from distill.workers import shared

NGRAM_WORDS = 5
BANDS = 16
ROWS = 8
BUCKET_SIZE = 16
"""Kept texts that a later text is compared with, per band: more share only stock phrases."""

DIGEST_BYTES = 16
SEED = 42
RMinHash: Any = cast(Any, rensa).RMinHash  # rensa publishes no types


def near_duplicates(texts: Mapping[str, str], threshold: float) -> dict[str, str]:
    """Find the texts that are nearly the same as a kept one.

    A text is compared with the kept texts of smaller id, so the result depends on the ids and not
    on the order of the mapping. A text of fewer than five words is a duplicate of the same text
    only; one without words (emoji) of none.

    Args:
        texts: id -> text.
        threshold: Jaccard similarity of two sets of runs of five words, in (0, 1].

    Returns:
        id of a duplicate -> id of the kept text, the smallest that is similar.
    """
    ids = sorted(texts)
    bands = shared(lambda rows: [bands_of(texts[ids[row]]) for row in rows], len(ids))
    found = similar_rows(bands, lambda row: texts[ids[row]], threshold)
    return {ids[row]: ids[twin] for row, twin in found.items()}


def similar_rows(
    bands: Iterable[bytes], text_of: Callable[[int], str], threshold: float
) -> dict[int, int]:
    """Find the texts that are nearly the same as an earlier, kept one.

    Args:
        bands: Of each text, by :func:`bands_of`.
        text_of: Gives a text by its row; asked for those that share a band alone.
        threshold: See :func:`near_duplicates`.

    Returns:
        Row of a duplicate -> row of the kept text, the first that is similar.
    """
    joined = b"".join(bands)
    bands_NB = np.ndarray((len(joined) // (8 * BANDS), BANDS), np.uint64, joined)
    shared_NB = np.zeros(bands_NB.shape, bool)
    for band in range(BANDS):
        _, inverse, counts = np.unique(bands_NB[:, band], return_inverse=True, return_counts=True)
        shared_NB[:, band] = counts[inverse] > 1

    duplicates: dict[int, int] = {}
    kept: dict[int, Hashes] = {}
    buckets: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for row in np.flatnonzero(shared_NB.any(axis=1)).tolist():
        grams = _grams(text_of(row))
        cells = [(int(band), int(bands_NB[row, band])) for band in np.flatnonzero(shared_NB[row])]
        candidates = sorted({other for cell in cells for other in buckets[cell]})
        twin = next((c for c in candidates if _jaccard(grams, kept[c]) >= threshold), None)
        if twin is not None:
            duplicates[row] = twin
            continue
        kept[row] = grams
        for cell in cells:
            if len(buckets[cell]) < BUCKET_SIZE:
                buckets[cell].append(row)
    return duplicates


def same_rows(digests: Iterable[bytes]) -> dict[int, int]:
    """Row of a text -> the first row with the same digest, where that is an earlier one."""
    first: dict[bytes, int] = {}
    rows = ((row, first.setdefault(digest, row)) for row, digest in enumerate(digests))
    return {row: kept for row, kept in rows if kept != row}


def plain_digest(text: str) -> bytes:
    """What two texts share that are the same but for whitespace: 128 bits of a hash."""
    plain = " ".join(text.split()).encode("utf-8", "surrogatepass")
    return blake2b(plain, digest_size=DIGEST_BYTES).digest()


def _grams(text: str) -> Hashes:
    return np.unique(text_fingerprints(text, NGRAM_WORDS))


def _jaccard(a: Hashes, b: Hashes) -> float:
    """Similarity of two sets; two empty ones have none in common."""
    common = np.intersect1d(a, b, assume_unique=True).size
    return common / max(len(a) + len(b) - common, 1)


def bands_of(text: str) -> bytes:
    """Hash a text to one value of eight bytes per band; texts that share one may be similar."""
    words = words_of(text)
    n_runs = max(1, len(words) - NGRAM_WORDS + 1)
    signature = RMinHash(num_perm=BANDS * ROWS, seed=SEED)
    signature.update([" ".join(words[n : n + NGRAM_WORDS]) for n in range(n_runs)])
    values = np.fromiter(signature.digest(), np.uint64, BANDS * ROWS)
    return np.dot(np.ndarray((BANDS, ROWS), np.uint64, values), powers(ROWS)).tobytes()

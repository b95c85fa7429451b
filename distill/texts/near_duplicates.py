"""Which texts say the same as another one: MinHash over runs of five words, checked exactly.

Candidates come from banded MinHash signatures (near-linear in the number of texts), and each is
then compared by its exact Jaccard similarity, so nothing below the threshold is ever reported.
With 16 bands of 8 values, a pair of similarity 0.8 becomes a candidate with probability 0.95, one
of 0.9 with 0.9999; identical ones always.
Source: Broder 1997, On the resemblance and containment of documents.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from distill.texts.ngrams import BASE, Hashes, text_fingerprints

NGRAM_WORDS = 5
BANDS = 16
ROWS = 8
BUCKET_SIZE = 16
"""Kept texts that a later text is compared with, per band: more share only stock phrases."""

CHUNK = 4096  # hashes; 4 MiB at a time
# Raw words of the generator: its stream is the same in all versions of numpy.
MULTIPLIERS = np.random.PCG64(0).random_raw(BANDS * ROWS).astype(np.uint64) | np.uint64(1)
MIX = np.uint64(32)


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
    bands_NB = np.zeros((len(ids), BANDS), np.uint64)
    for row, id_ in enumerate(ids):
        bands_NB[row] = _bands(_grams(texts[id_]))
    shared_NB = np.zeros(bands_NB.shape, bool)
    for band in range(BANDS):
        _, inverse, counts = np.unique(bands_NB[:, band], return_inverse=True, return_counts=True)
        shared_NB[:, band] = counts[inverse] > 1

    duplicates: dict[str, str] = {}
    kept: dict[str, Hashes] = {}
    buckets: defaultdict[tuple[int, int], list[str]] = defaultdict(list)
    for row in np.flatnonzero(shared_NB.any(axis=1)):
        id_ = ids[row]
        grams = _grams(texts[id_])
        cells = [(int(band), int(bands_NB[row, band])) for band in np.flatnonzero(shared_NB[row])]
        candidates = sorted({other for cell in cells for other in buckets[cell]})
        twin = next((c for c in candidates if _jaccard(grams, kept[c]) >= threshold), None)
        if twin is not None:
            duplicates[id_] = twin
            continue
        kept[id_] = grams
        for cell in cells:
            if len(buckets[cell]) < BUCKET_SIZE:
                buckets[cell].append(id_)
    return duplicates


def exact_duplicates(texts: Mapping[str, str]) -> dict[str, str]:
    """Find the texts that are the same as one of smaller id, whitespace aside.

    Returns:
        id of a duplicate -> the smallest id with the same text.
    """
    first: dict[str, str] = {}
    duplicates: dict[str, str] = {}
    for id_ in sorted(texts):
        kept = first.setdefault(" ".join(texts[id_].split()), id_)
        if kept != id_:
            duplicates[id_] = kept
    return duplicates


def _grams(text: str) -> Hashes:
    return np.unique(text_fingerprints(text, NGRAM_WORDS))


def _jaccard(a: Hashes, b: Hashes) -> float:
    """Similarity of two sets; two empty ones have none in common."""
    common = np.intersect1d(a, b, assume_unique=True).size
    return common / max(len(a) + len(b) - common, 1)


def _bands(grams: Hashes) -> NDArray[np.uint64]:
    """Hash a set of runs to one value per band."""
    signature = np.full(BANDS * ROWS, np.iinfo(np.uint64).max, np.uint64)
    for start in range(0, len(grams), CHUNK):
        mixed = grams[start : start + CHUNK, None] * MULTIPLIERS
        signature = np.minimum(signature, (mixed ^ (mixed >> MIX)).min(axis=0))
    bands = np.zeros(BANDS, np.uint64)
    for row in range(ROWS):
        bands = bands * BASE + signature[row::ROWS]
    return bands

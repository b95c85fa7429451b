"""Which texts say the same as another one: MinHash over runs of five words, checked exactly.

Candidates come from banded MinHash signatures, which rensa computes (near-linear in the number of
texts). Each is then compared by its exact Jaccard similarity, so nothing below the threshold is
ever reported.
With 16 bands of 8 values, a pair of similarity 0.8 becomes a candidate with probability 0.95, one
of 0.9 with 0.9999; identical ones always.
Texts that no chain of common bands connects do not matter to each other: each band is looked at by
itself, and each connected group.
Source: Broder 1997, On the resemblance and containment of documents.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, cast

import numpy as np
import rensa
from numpy.typing import NDArray
from scipy.sparse import coo_array, csgraph

from distill.texts.ngrams import Hashes, powers, text_fingerprints, words_of
from distill.workers import Share, by_processes, shared

NGRAM_WORDS = 5
BANDS = 16
ROWS = 8
BUCKET_SIZE = 16
"""Kept texts that a later text is compared with, per band: more share only stock phrases."""

DIGEST_BYTES = 16
SEED = 42
Rows = NDArray[np.int64]
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
    bands_NB: Hashes = np.ndarray((len(ids), BANDS), np.uint64, b"".join(bands))
    found = similar_rows(bands_NB, np.arange(len(ids)), lambda row: texts[ids[row]], threshold)
    return {ids[row]: ids[original] for row, original in found.items()}


def similar_rows(
    bands_MB: Hashes,
    places_N: Rows,
    text_of: Callable[[int], str],
    threshold: float,
    share: Share = by_processes,
) -> dict[int, int]:
    """Find the texts that are nearly the same as an earlier, kept one.

    Args:
        bands_MB: The bands of texts; they may stay on the disk.
        places_N: Of each row the place of its bands.
        text_of: Gives a text by its row; asked for those that share a band alone.
        threshold: See :func:`near_duplicates`.
        share: Who compares them.

    Returns:
        Row of a duplicate -> row of the kept text, the first that is similar.
    """

    def column(bands: range) -> list[Hashes]:
        return [bands_MB[places_N, band] for band in bands]

    links = list(share(column, lambda columns: list(map(_links, columns)), BANDS, 1))
    groups = _connected(np.concatenate(links), len(places_N))

    def read(numbers: range) -> list[tuple[Hashes, list[str]]]:
        some = [groups[number] for number in numbers]
        return [(bands_MB[places_N[rows]], list(map(text_of, rows.tolist()))) for rows in some]

    def work(given: Sequence[tuple[Hashes, Sequence[str]]]) -> list[dict[int, int]]:
        return [_similar(bands_RB, texts, threshold) for bands_RB, texts in given]

    found: dict[int, int] = {}
    for rows, repeated in zip(groups, share(read, work, len(groups)), strict=True):
        found |= {int(rows[row]): int(rows[original]) for row, original in repeated.items()}
    return dict(sorted(found.items()))


def _links(column_N: Hashes) -> Rows:
    """Rows of the same value, each with the next: L links of two rows."""
    order_N = np.argsort(column_N, kind="stable")
    values_N = column_N[order_N]
    same = np.flatnonzero(values_N[1:] == values_N[:-1])
    return np.stack((order_N[same], order_N[same + 1]), axis=1)


def _connected(links_L2: Rows, n: int) -> list[Rows]:
    """Groups of rows that links connect, each in order; a row without a link is in none."""
    if not len(links_L2):
        return []
    once = np.ones(len(links_L2), np.int8)
    graph = cast(Any, coo_array)((once, (links_L2[:, 0], links_L2[:, 1])), (n, n))
    label_N: Rows = cast(Any, csgraph).connected_components(graph, directed=False)[1]
    rows: Rows = np.unique(links_L2)
    rows = rows[np.argsort(label_N[rows], kind="stable")]
    return np.split(rows, np.flatnonzero(np.diff(label_N[rows])) + 1)


def _similar(bands_RB: Hashes, texts: Sequence[str], threshold: float) -> dict[int, int]:
    """Decide in order which of R texts stay; see :func:`similar_rows`."""
    duplicates: dict[int, int] = {}
    kept: dict[int, Hashes] = {}
    buckets: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for row, text in enumerate(texts):
        grams = _grams(text)
        cells = [(band, int(bands_RB[row, band])) for band in range(BANDS)]
        candidates = sorted({other for cell in cells for other in buckets[cell]})
        original = next((c for c in candidates if _jaccard(grams, kept[c]) >= threshold), None)
        if original is not None:
            duplicates[row] = original
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

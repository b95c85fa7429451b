"""Our near-duplicates beside rensa's own search: seconds of one processor, and recall.

python benchmarks/near_duplicates.py N. There are N synthetic texts, and a changed copy of every
twentieth whose similarity is at least 0.8. Both have rensa's signatures in 16 bands of 8 values.
Recall is the share of these copies that are found: ours after the exact comparison, rensa's as
candidates, so that an exact comparison would still have to follow.
"""

# pyright: basic, reportMissingImports=false, reportPrivateUsage=false

import random
import sys
import time

from rensa import RMinHash, RMinHashLSH
from scale import Language

from distill import workers
from distill.texts.near_duplicates import (
    BANDS,
    NGRAM_WORDS,
    ROWS,
    _grams,
    _jaccard,
    near_duplicates,
)
from distill.texts.ngrams import words_of

THRESHOLD = 0.8
CHANGED = 0.012  # words of a copy


def texts_with_copies(n: int) -> tuple[dict[str, str], list[str]]:
    """Texts by id, and the ids of the copies, each behind its original."""
    rng = random.Random(7)
    language = Language(rng)
    lengths = (min(400, max(20, round(rng.lognormvariate(4.1, 0.7)))) for _ in range(n))
    texts = {f"a{number:07d}": language.text(length) for number, length in enumerate(lengths)}
    copies: list[str] = []
    for id_ in rng.sample(sorted(texts), n // 20):
        words = texts[id_].split()
        changed = [language.draw(1)[0] if rng.random() < CHANGED else word for word in words]
        text = " ".join(changed)
        if _jaccard(_grams(text), _grams(texts[id_])) >= THRESHOLD:
            copies.append(f"b{id_[1:]}")
            texts[copies[-1]] = text
    return texts, copies


def rensa_candidates(texts: dict[str, str]) -> set[str]:
    """Ids of the texts that an earlier one may be similar to."""
    lsh = RMinHashLSH(threshold=THRESHOLD, num_perm=BANDS * ROWS, num_bands=BANDS)
    found: set[str] = set()
    for number, id_ in enumerate(sorted(texts)):
        words, signature = words_of(texts[id_]), RMinHash(num_perm=BANDS * ROWS, seed=42)
        n_runs = max(1, len(words) - NGRAM_WORDS + 1)
        signature.update([" ".join(words[n : n + NGRAM_WORDS]) for n in range(n_runs)])
        if lsh.query(signature):
            found.add(id_)
        lsh.insert(number, signature)
    return found


def main(n: str) -> None:
    """Print a line for each, twice in turn."""
    workers.FEWEST = sys.maxsize  # one process
    texts, copies = texts_with_copies(int(n))
    print(f"{len(texts):,} texts, {len(copies):,} copies")
    contestants = {
        "ours": lambda: near_duplicates(texts, THRESHOLD),
        "rensa": lambda: rensa_candidates(texts),
    }
    for name, find in [*contestants.items()] * 2:
        start = time.process_time()
        found = find()
        recall = sum(copy in found for copy in copies) / len(copies)
        print(f"{name:6} {time.process_time() - start:7.1f} s, recall {recall:.4f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])

"""Official scoring of N tuples in one answer: ours against the list scan, and the bootstrap.

python benchmarks/scoring.py [N]. Prints seconds and ratios; both run on the same input, in turn.
"""

import sys
import time

import numpy as np

from sentibench.data.cards import load_cards
from sentibench.data.records import Example, SentimentTuple
from sentibench.scoring import metrics
from sentibench.scoring.parse import parse_official
from sentibench.scoring.statistics import bootstrap_stderr


def list_scan(card, example: Example, answer: str) -> tuple[float, ...]:
    """The comparison as a scan of lists: quadratic in the number of tuples."""
    predicted = parse_official(card, answer)
    gold = metrics.gold_tuples(card, example)
    hits_predicted = sum(element in gold for element in predicted)
    hits_gold = sum(element in predicted for element in gold)
    return hits_predicted, len(predicted), hits_gold, len(gold)


def timed(function, *args):
    start = time.perf_counter()
    return function(*args), time.perf_counter() - start


def main(n_tuples: int = 20_000) -> None:
    card = load_cards()["acsa_rest16"]
    answer = repr([(f"food {i}", "positive") for i in range(n_tuples)])
    opinions = tuple(
        SentimentTuple("positive", category=f"food {i}") for i in range(0, 2 * n_tuples, 2)
    )
    example = Example(0, "Many dishes.", answer=answer, opinions=opinions)
    ours, ours_s = timed(metrics.official_statistics, card, example, answer)
    scan, scan_s = timed(list_scan, card, example, answer)
    assert ours == scan
    print(
        f"{n_tuples} tuples: ours {ours_s:.2f} s, list scan {scan_s:.1f} s, {scan_s / ours_s:.0f}x"
    )

    items = np.random.default_rng(0).integers(0, 4, (2000, 4)).astype(float)
    _, vectorised_s = timed(bootstrap_stderr, items, metrics.tuple_f1)
    random = np.random.default_rng(0)

    def resample_one_by_one() -> float:
        values = [
            float(metrics.tuple_f1(items[random.integers(0, 2000, 2000)].sum(axis=0)))
            for _ in range(1_000)
        ]
        return float(np.std(values))

    _, loop_s = timed(resample_one_by_one)
    print(
        f"bootstrap of 2,000 items: 10,000 replicates {vectorised_s:.2f} s, "
        f"a loop over 1,000 {loop_s:.2f} s, {10 * loop_s / vectorised_s:.1f}x per replicate"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

"""What each change saves that makes `sentibench-hf` faster on the CPU: without it, and with it.

    python benchmarks/cpu_savings.py WHAT CHECKPOINT [DTYPE [TASK [ITEMS [ROUNDS]]]]

WHAT is one of these:

packed   weights are prepacked (fast/packed.py)
blocks   attention in blocks of queries (fast/attention.py)
head     the head reads the labels of several batches at a time (fast/model.py)

Both ways are in one process and answer in turn. Prints the medians over the rounds, their ratio,
the answers that are equal and, for tasks of labels, the largest difference of a log-likelihood.
"""

import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from contestants import load, requests_of

from sentibench.fast import model as fast

WITHOUT: dict[str, tuple[str, Any]] = {  # what takes its place in fast/model.py
    "packed": ("pack", lambda model: None),
    "blocks": ("attend_in_blocks", lambda model: None),
    "head": ("HEAD_BATCHES", 1),
}


@contextmanager
def way(what: str, name: str) -> Iterator[None]:
    """Within, fast/model.py is without WHAT, or with it."""
    attribute, instead = WITHOUT[what]
    before = getattr(fast, attribute)
    if name == "without":
        setattr(fast, attribute, instead)
    try:
        yield
    finally:
        setattr(fast, attribute, before)


def answers(model: fast.SentiBenchLM, requests: list[Any]) -> tuple[float, list[Any]]:
    """Seconds, and what was answered to each request."""
    start = time.perf_counter()
    found = getattr(model, requests[0].request_type)(requests, disable_tqdm=True)
    return time.perf_counter() - start, found


def main(
    what: str,
    checkpoint: str,
    dtype: str = "float32",
    task: str = "sentibench_sst2",
    items: str = "32",
    rounds: str = "3",
) -> None:
    """Print the medians and how much the answers agree."""
    requests, models = requests_of(task, int(items)), dict[str, fast.SentiBenchLM]()
    for name in ("with", "without"):
        with way(what, name):
            models[name] = load("sentibench-hf", checkpoint, dtype)
    seconds: dict[str, list[float]] = {name: [] for name in models}
    found: dict[str, list[Any]] = {}
    for n in range(int(rounds)):
        for name in sorted(models, reverse=bool(n % 2)):
            with way(what, name):
                second, found[name] = answers(models[name], requests)
            seconds[name].append(second)
    medians = {name: statistics.median(of_name) for name, of_name in seconds.items()}
    said = f"{medians['without']:.2f} s without, {medians['with']:.2f} s with, "
    said += f"{medians['without'] / medians['with']:.2f} times as fast"
    if requests[0].request_type == "loglikelihood":
        scores = {name: [score for score, _ in of_name] for name, of_name in found.items()}
        pairs = list(zip(scores["without"], scores["with"], strict=True))
        said += f"; largest difference of a log-likelihood {max(abs(a - b) for a, b in pairs):.2g}"
        n = len(requests) // int(items)
        found = {
            name: [
                max(range(n), key=of_name[i : i + n].__getitem__) for i in range(0, len(pairs), n)
            ]
            for name, of_name in scores.items()
        }
    same = sum(a == b for a, b in zip(found["without"], found["with"], strict=True))
    print(f"{what}, {checkpoint}, {task}, {dtype}: {said}; {same} of {items} answers are equal")


if __name__ == "__main__":
    main(*sys.argv[1:])

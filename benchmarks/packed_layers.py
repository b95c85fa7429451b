"""What it saves that `sentibench-hf` prepacks weights when it loads a model (fast/packed.py).

    python benchmarks/packed_layers.py CHECKPOINT [DTYPE [TASK [ITEMS [ROUNDS]]]]

Both models are in one process and answer in turn. Prints the medians over the rounds, their ratio,
the answers that are equal and, for tasks of labels, the largest difference of a log-likelihood.
"""

import statistics
import sys
import time
from typing import Any

from contestants import load, requests_of

from sentibench.fast import model as fast


def load_both(checkpoint: str, dtype: str) -> dict[str, fast.SentiBenchLM]:
    """The model with its weights as torch has them, and prepacked."""
    packed, pack = load("sentibench-hf", checkpoint, dtype), fast.pack
    fast.pack = lambda model: None
    try:
        return {"plain": load("sentibench-hf", checkpoint, dtype), "packed": packed}
    finally:
        fast.pack = pack


def answers(model: fast.SentiBenchLM, requests: list[Any]) -> tuple[float, list[Any]]:
    """Seconds, and what was answered to each request."""
    start = time.perf_counter()
    found = getattr(model, requests[0].request_type)(requests, disable_tqdm=True)
    return time.perf_counter() - start, found


def main(
    checkpoint: str,
    dtype: str = "float32",
    task: str = "sentibench_sst2",
    items: str = "32",
    rounds: str = "3",
) -> None:
    """Print the medians and how much the answers agree."""
    models, requests = load_both(checkpoint, dtype), requests_of(task, int(items))
    seconds: dict[str, list[float]] = {name: [] for name in models}
    found: dict[str, list[Any]] = {}
    for n in range(int(rounds)):
        for name in sorted(models, reverse=bool(n % 2)):
            second, found[name] = answers(models[name], requests)
            seconds[name].append(second)
    medians = {name: statistics.median(of_name) for name, of_name in seconds.items()}
    said = f"{medians['plain']:.2f} s plain, {medians['packed']:.2f} s packed, "
    said += f"{medians['plain'] / medians['packed']:.2f} times as fast"
    if requests[0].request_type == "loglikelihood":
        scores = {name: [score for score, _ in of_name] for name, of_name in found.items()}
        pairs = list(zip(scores["plain"], scores["packed"], strict=True))
        said += f"; largest difference of a log-likelihood {max(abs(a - b) for a, b in pairs):.2g}"
        n = len(requests) // int(items)
        found = {
            name: [
                max(range(n), key=of_name[i : i + n].__getitem__) for i in range(0, len(pairs), n)
            ]
            for name, of_name in scores.items()
        }
    same = sum(a == b for a, b in zip(found["plain"], found["packed"], strict=True))
    print(f"{checkpoint}, {task}, {dtype}: {said}; {same} of {items} answers are equal", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""How the cost of sentibench-hf grows with items, shots, labels and length of the texts.

python benchmarks/cost_growth.py CHECKPOINT [PREFIX [ITEMS]]. PREFIX sentibench_ for the real data,
sentibench_mini_ for the package's own texts. Every row answers once to warm up and three times for
its median.
"""

import statistics
import sys
import time

from contestants import load, requests_of


def row(model, task: str, n_items: int, shots: int) -> str:
    """One line of the table."""
    requests = requests_of(task, n_items, shots)
    prompts = dict.fromkeys(request.args[0] for request in requests)
    n_tokens = sum(len(ids) for ids in model.tokenizer(list(prompts))["input_ids"])
    n_choices = len(requests) // len(prompts)
    model.loglikelihood(requests[: 2 * n_choices], disable_tqdm=True)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        model.loglikelihood(requests, disable_tqdm=True)
        seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds)
    return (
        f"| {task} | {len(prompts)} | {shots} | {n_choices} | {n_tokens / len(prompts):.0f} "
        f"| {median / len(prompts):.3f} | {n_tokens / median:.0f} |"
    )


def main(checkpoint: str, prefix: str = "sentibench_", n_items: str = "16") -> None:
    model = load("sentibench-hf", checkpoint, "float32")
    n = int(n_items)
    print("| task | items | shots | labels | tokens per item | s per item | prompt tokens/s |")
    print("|---|---|---|---|---|---|---|")
    for task, items, shots in (
        *(("sst2", factor * n, 4) for factor in (1, 2, 4)),
        *(("sst2", n, shots) for shots in (0, 2, 8, 16)),
        ("twitter17", n, 4),
        ("emotion20", n, 4),
        ("yelp2", n // 2, 4),
        ("imdb", n // 4, 4),
    ):
        print(row(model, prefix + task, items, shots), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

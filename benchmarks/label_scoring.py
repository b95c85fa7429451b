"""Label tasks: prompt tokens per second of --model hf and sentibench-hf, in turn, same items.

python benchmarks/label_scoring.py CHECKPOINT [TASK [ITEMS [ROUNDS]]]. Prints the medians over the
rounds, their ratio, the agreement of predictions, the largest difference of a log-likelihood, and
the share of this machine's measured matrix-product rate that the forward passes reach.
"""

import statistics
import sys
import time

import torch
from lm_eval.api.registry import get_model
from lm_eval.tasks import TaskManager

from sentibench.cards import tasks_folder

MODELS = {"hf": {"batch_size": 4}, "sentibench-hf": {}}


def product_rate(dtype: torch.dtype) -> float:
    """Floating point operations per second of a large matrix product."""
    a, b = torch.randn(1024, 2048, dtype=dtype), torch.randn(2048, 2048, dtype=dtype)
    rates = []
    for _ in range(10):
        start = time.perf_counter()
        a @ b
        rates.append(2 * 1024 * 2048 * 2048 / (time.perf_counter() - start))
    return max(rates)


def requests_of(task: str, n_items: int) -> list:
    """The requests that lm-eval makes of a task."""
    manager = TaskManager(include_path=str(tasks_folder()), include_defaults=False)
    made = manager.load_task_or_group(task)[task]
    made.build_all_requests(limit=n_items, rank=0, world_size=1)
    return made.instances


def main(checkpoint: str, task: str, n_items: int, rounds: int) -> None:
    requests = requests_of(task, n_items)
    given = {"pretrained": checkpoint, "dtype": "float32", "device": "cpu"}
    models = {name: get_model(name)(**given, **more) for name, more in MODELS.items()}
    prompts = dict.fromkeys(request.args[0] for request in requests)
    ours = models["sentibench-hf"]
    n_tokens = sum(len(ours.tok_encode(prompt)) for prompt in prompts)
    seconds = {name: [] for name in models}
    answers = {}
    for _ in range(rounds):
        for name, model in models.items():
            start = time.perf_counter()
            answers[name] = model.loglikelihood(requests, disable_tqdm=True)
            seconds[name].append(time.perf_counter() - start)
    n_labels = len(requests) // len(prompts)
    picks = {}
    for name, pairs in answers.items():
        scores = torch.tensor([score for score, _ in pairs]).view(-1, n_labels)
        picks[name] = scores.argmax(1)
    rate = product_rate(torch.float32)
    body = sum(p.numel() for n, p in ours.model.named_parameters() if "embed" not in n)
    print(f"{task}, {len(prompts)} items, {n_tokens} prompt tokens, {rounds} rounds")
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    for name, median in medians.items():
        print(f"{name:14} {n_tokens / median:7.0f} prompt tokens/s")
    computed = ours.tokens_computed / rounds
    share = 2 * body * computed / medians["sentibench-hf"] / rate
    print(f"ratio {medians['hf'] / medians['sentibench-hf']:.2f}")
    print(f"tokens computed {computed:.0f} ({computed / n_tokens:.2f} of the prompts')")
    print(f"matrix-product rate {rate / 1e9:.0f} GFLOP/s, reached {share:.2f}")
    same = (picks["hf"] == picks["sentibench-hf"]).float().mean()
    gap = max(
        abs(x - y) for (x, _), (y, _) in zip(answers["hf"], answers["sentibench-hf"], strict=True)
    )
    print(f"same predictions {same:.3f}, largest log-likelihood difference {gap:.1e}")


if __name__ == "__main__":
    checkpoint, *rest = sys.argv[1:]
    defaults = ["sentibench_sst2", "48", "3"]
    task, n_items, rounds = [*rest, *defaults[len(rest) :]]
    main(checkpoint, task, int(n_items), int(rounds))

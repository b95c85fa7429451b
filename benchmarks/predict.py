"""Classifier against lm-eval on the same prompts: answers, and texts per second as a ratio.

python benchmarks/predict.py CHECKPOINT [TASK [TEXTS [ROUNDS]]]. Without demonstrations, so that
both ask the same; lm-eval runs once with its own ``hf`` and once with ``sentibench-hf``. Seconds
are those of the answers alone, after loading and one round to warm up; the best round counts.
"""

import sys
import time
from collections.abc import Callable

from contestants import load, requests_of

from sentibench import Classifier
from sentibench.data.cards import task_named
from sentibench.data.read import load_split


def main(checkpoint: str, name: str = "mini_sst2", n: str = "24", rounds: str = "5") -> None:
    task = task_named(name, "TASK")
    texts = [example.sentence for example in load_split(task, "test").examples[: int(n)]]
    classifier = Classifier(checkpoint, task.name, shots=0)
    requests = requests_of(task.name, len(texts), shots=0)
    method = "loglikelihood" if task.card.is_label_task else "generate_until"
    contestants: dict[str, Callable[[], object]] = {"Classifier": lambda: classifier(texts)}
    for kind in ("sentibench-hf", "hf"):
        ask = getattr(load(kind, checkpoint, "float32"), method)
        contestants[f"lm-eval {kind}"] = lambda ask=ask: ask(requests, disable_tqdm=True)
    best = {contestant: _best_s(work, int(rounds)) for contestant, work in contestants.items()}
    print("| | texts per second | against Classifier |\n|---|--:|--:|")
    for contestant, seconds in best.items():
        ratio = best["Classifier"] / seconds
        print(f"| {contestant} | {len(texts) / seconds:.1f} | {ratio:.2f} |")


def _best_s(work: Callable[[], object], rounds: int) -> float:
    """Seconds of the fastest round; the first one is not counted."""
    found: list[float] = []
    for _ in range(1 + rounds):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found[1:])


if __name__ == "__main__":
    main(*sys.argv[1:])

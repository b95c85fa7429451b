"""Local models in turn on the same items: the authors' procedure, lm-eval's hf, sentibench-hf.

python benchmarks/local_models.py CHECKPOINT [TASK [ITEMS [ROUNDS [DTYPE [NAMES]]]]], by default
sentibench_sst2 64 3 float32 authors,hf,sentibench-hf; a name may carry a dtype of its own, as in
sentibench-hf:bfloat16. Every contestant answers in its own process (contestants.py). Prints medians
over the rounds, the ratios of ours to the others, peak memory above the loaded model, the agreement
of predictions, the largest difference of a log-likelihood, and the share of this machine's measured
matrix-product rate that our forward passes reach.
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path

OURS = "sentibench-hf"


def run(name: str, arguments: list[str]) -> dict | None:
    """One contestant's figures, or None where it did not live to tell them."""
    program = Path(__file__).with_name("contestants.py")
    name, _, dtype = name.partition(":")
    checkpoint, task, n_items, usual = arguments
    command = [sys.executable, program, name, checkpoint, task, n_items, dtype or usual]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{name}: ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
        return None
    return json.loads(done.stdout.splitlines()[-1])


def main(checkpoint: str, task: str, n_items: str, n_rounds: str, dtype: str, names: str) -> None:
    asked = names.split(",")
    runs: dict[str, list[dict]] = {name: [] for name in asked}
    for _ in range(int(n_rounds)):
        for name in asked:
            runs[name] += filter(None, [run(name, [checkpoint, task, n_items, dtype])])
    runs = {name: figures for name, figures in runs.items() if figures}
    medians = {n: statistics.median(r["seconds"] for r in figures) for n, figures in runs.items()}
    first = next(iter(runs.values()))[0]
    print(
        f"{Path(checkpoint).name} {dtype} {task}: {first['items']} items, "
        f"{first['prompt_tokens']} prompt tokens, {n_rounds} rounds"
    )
    for name, seconds in medians.items():
        peak = statistics.median(r["peak"] for r in runs[name]) / 2**20
        print(
            f"{name:22} {seconds:8.2f} s {first['prompt_tokens'] / seconds:7.0f} prompt tokens/s "
            f"{first['items'] / seconds:6.2f} items/s  peak above the model {peak:6.0f} MiB"
        )
    if OURS not in runs:
        return
    ours = runs[OURS][0]
    for name, seconds in medians.items():
        if name == OURS:
            continue
        theirs = runs[name][0]
        pairs = list(zip(ours["predictions"], theirs["predictions"], strict=True))
        same = sum(str(a).strip() == str(b).strip() for a, b in pairs)
        is_ours = name.startswith(OURS)  # in another dtype: the faster of the two
        times = medians[OURS] / seconds if is_ours else seconds / medians[OURS]
        line = f"{name} : {OURS}" if is_ours else f"{OURS} : {name}"
        line += f" {times:.2f} times as fast, "
        line += f"same predictions {same} of {len(pairs)}"
        if ours["log_likelihoods"] and name != "authors":
            both = zip(ours["log_likelihoods"], theirs["log_likelihoods"], strict=True)
            line += f", log-likelihoods within {max(abs(a - b) for a, b in both):.1e}"
        print(line)
    rate = max(r["product_rate"] for r in runs[OURS])
    reached = 2 * ours["body_parameters"] * ours["tokens_computed"] / medians[OURS] / rate
    share = ours["tokens_computed"] / first["prompt_tokens"]
    print(
        f"tokens computed, as a share of the prompts': {share:.2f}; matrix-product rate "
        f"{rate / 1e9:.0f} GFLOP/s, reached {reached:.2f} (embeddings, head and last MLP not "
        "counted)"
    )


if __name__ == "__main__":
    given = sys.argv[1:]
    rest = ["sentibench_sst2", "64", "3", "float32", f"authors,hf,{OURS}"]
    main(*given, *rest[len(given) - 1 :])

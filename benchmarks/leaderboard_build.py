"""Time, memory and page size of a leaderboard build over SYNTHETIC results.

python benchmarks/leaderboard_build.py [MODELS [FOLDER]]. Writes result folders of invented models
whose answers are drawn at random (every name says synthetic), builds the page, prints figures.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from sentibench.data.cards import Card, Source, Task, load_cards

PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def write_results(
    folder: Path,
    model: str,
    skill: float,
    *,
    seed: int = 0,
    source: Source = "real",
    shots: int = 4,
    demo_seed: int = 42,
    limit: int | None = None,
    date: float = 1_790_000_000.0,
    cards: tuple[str, ...] = (),
) -> Path:
    """Write one model's results as lm-eval 0.4.13 does; answers are right by skill."""
    random = np.random.default_rng(seed)
    home = folder / model.replace("/", "__")
    home.mkdir(parents=True, exist_ok=True)
    stamp = f"2026-09-21T10-00-{int(date) % 100:02d}.{demo_seed}{shots}{limit or 0}"
    configs, counts, n_shot, versions, results = {}, {}, {}, {}, {}
    for card in load_cards().values():
        if cards and card.name not in cards:
            continue
        task = Task(card, source).name
        n_total = card.splits["test"].rows if source == "real" else 24
        n_items = min(limit or n_total, n_total)
        rows = [_row(card, task, i, skill, random) for i in range(n_items)]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (home / f"samples_{task}_{stamp}.jsonl").write_text(lines, encoding="utf-8")
        configs[task] = {"num_fewshot": shots, "metadata": {"demo_seed": demo_seed}}
        counts[task] = {"original": n_total, "effective": n_items}
        n_shot[task], versions[task], results[task] = shots, 1.0, {}
    summary = {
        "results": results,
        "configs": configs,
        "versions": versions,
        "n-shot": n_shot,
        "n-samples": counts,
        "config": {
            "model": "hf",
            "model_args": {"pretrained": model, "hf_token": "synthetic-secret"},
            "model_num_parameters": 10**9,
            "model_dtype": "torch.bfloat16",
            "limit": limit,
            "batch_size": 4,
            "gen_kwargs": None,
        },
        "date": date,
        "lm_eval_version": "0.4.13",
        "model_name": model,
        "chat_template_sha": None,
        "fewshot_as_multiturn": None,
        "system_instruction": None,
    }
    path = home / f"results_{stamp}.json"
    path.write_text(json.dumps(summary), encoding="utf-8")
    return path


def _row(card: Card, task: str, index: int, skill: float, random: np.random.Generator) -> dict:
    gold = index % max(len(card.labels), 1)
    right = bool(random.random() < skill)
    row = {
        "doc_id": index,
        "filter": "none",
        "doc_hash": f"{task}-{index}",
        "target_hash": f"gold-{index}",
        "prompt_hash": f"prompt-{task}-{index}",
        "invalid_rate": 0.0,
        "doc": {"index": index, "task": task, "sentence": f"synthetic text {index} of {task}"},
        # as long as the five texts of a prompt, once per choice: what a reader has to get through
        "arguments": ["synthetic " * (card.splits["test"].bytes // card.splits["test"].rows // 2)]
        * max(len(card.labels), 1),
    }
    if card.is_label_task:
        predicted = gold if right else (gold + 1) % len(card.labels)
        row["doc"]["label"] = card.labels[gold]
        return row | {"score": [gold, predicted, len(card.labels)], "resps": [[]]}
    n_gold = index % 3
    hits = n_gold if right else max(n_gold - 1, 0)
    row["doc"]["answer"] = repr([("synthetic", "positive")] * n_gold)
    official = [hits, n_gold, hits, n_gold]
    strict = official if n_gold else [float(right), 1, float(right), 1]
    return row | {"official_f1": official, "strict_f1": strict, "resps": [["[]"]]}


def main(n_models: int = 100, folder: str | None = None) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(folder or temporary)
        start = time.perf_counter()
        for number in range(n_models):
            skill = 0.3 + 0.6 * number / max(n_models - 1, 1)
            write_results(root / "results", f"synthetic-{number:03d}", skill, seed=number)
        print(f"wrote {n_models} synthetic models in {time.perf_counter() - start:.1f} s")
        for flags in (["--no-text"], []) if n_models <= 20 else (["--no-text"],):
            start = time.perf_counter()
            command = [sys.executable, "-m", "leaderboard", "build", str(root / "results")]
            command += ["--out", str(root / "site"), *flags]
            # a child starts with its parent's peak, so a small process measures
            measured = [sys.executable, "-c", PEAK, *command]
            peak_mb = int(subprocess.run(measured, check=True, stdout=-1).stdout) / 1e3
            seconds = time.perf_counter() - start
            size_mb = (root / "site" / "index.html").stat().st_size / 1e6
            print(
                f"build {' '.join(flags) or 'with texts'}: {seconds:.1f} s, peak memory "
                f"{peak_mb:.0f} MB, page {size_mb:.2f} MB"
            )


if __name__ == "__main__":
    main(*(int(a) if a.isdecimal() else a for a in sys.argv[1:]))

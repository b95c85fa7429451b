"""Time, memory and page size of a leaderboard build over SYNTHETIC results.

python benchmarks/leaderboard_build.py [MODELS [SEEDS]]. Writes result folders of invented models
whose answers are drawn at random (every name says synthetic), builds the page, prints figures.
"""

import json
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import numpy as np

from sentibench.data.cards import Card, Source, Task, load_tasks, tasks_of_source
from sentibench.data.pins import prompt_sha256
from sentibench.data.read import load_split, split_file
from sentibench.data.records import Example, SentimentTuple
from sentibench.harness.documents import document_of
from sentibench.harness.task import render_prompts
from sentibench.prompts.demonstrations import PAPER_SEEDS
from sentibench.scoring.metrics import label_matrix, score_function
from sentibench.scoring.raw_answers import tuple_statistics
from sentibench.scoring.samples import METRICS, read_samples

PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
BUILD = """
import json, sys
from sentibench.data.cards import Pins, Task
pins = json.load(open(sys.argv[1]))
Task.pins = property(
    lambda task: Pins(pins[task.name], dict.fromkeys((42, 52, 62), pins[task.name + " prompts"]))
)
from leaderboard.__main__ import main
if __name__ == "__main__":
    sys.exit(main(sys.argv[2:]))
"""
"""Invented items are those of no card; this builds a board as if they were."""


def write_results(
    folder: Path,
    model: str,
    skill: float,
    *,
    seed: int = 0,
    source: Source = "real",
    shots: int | None = None,
    demo_seed: int = 42,
    limit: int | None = None,
    date: float = 1_790_000_000.0,
    cards: tuple[str, ...] = (),
) -> Path:
    """Write one model's results as lm-eval 0.4.13 does; answers are right by skill.

    Mini results hold the items and prompts of the package, own ones those of their cards; real
    ones invented items. Without a number of shots they have those of the cards.
    """
    random = np.random.default_rng(seed)
    home = folder / model.replace("/", "__")
    home.mkdir(parents=True, exist_ok=True)
    asked_for = f"{demo_seed}{4 if shots is None else shots}{limit or 0}"
    stamp = f"2026-09-21T10-00-{int(date) % 100:02d}.{asked_for}"
    configs, counts, n_shot, versions, results = {}, {}, {}, {}, {}
    for asked in tasks_of_source(source):
        card, task = asked.card, asked.name
        if cards and card.name not in cards:
            continue
        n_shots = card.shots if shots is None else shots
        n_total = split_file(asked, "test").rows
        n_items = min(limit or n_total, n_total)
        rows = _rows(asked, n_items, n_shots, demo_seed, skill, random)
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (home / f"samples_{task}_{stamp}.jsonl").write_text(lines, encoding="utf-8")
        configs[task] = {"num_fewshot": n_shots, "metadata": {"demo_seed": demo_seed}}
        if source == "own":
            configs[task]["dataset_path"] = "own"
        counts[task] = {"original": n_total, "effective": n_items}
        n_shot[task], versions[task], results[task] = n_shots, 1.0, scores_of(card, rows)
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


@cache
def _asked(task: Task, shots: int, seed: int) -> list[tuple[dict, str]]:
    """Documents and prompts of texts that are at hand."""
    examples = load_split(task, "test").examples
    prompts = render_prompts(task, seed=seed, shots=shots, limit=None)
    asked = [(document_of(task, e), p["prompt"]) for e, p in zip(examples, prompts, strict=True)]
    return json.loads(json.dumps(asked))


def _invented(task: Task, n_items: int) -> list[tuple[dict, str]]:
    """Documents and prompts as long as those of the real task."""
    card, asked = task.card, []
    # as long as the five texts of a prompt
    prompt = "synthetic " * (card.splits["test"].bytes // card.splits["test"].rows // 2)
    for i in range(n_items):
        elements = dict.fromkeys(card.elements, f"text {i}") | {"polarity": "positive"}
        label = card.labels[i % len(card.labels)] if card.labels else None
        opinions = () if label else (SentimentTuple(**elements),) * (i % 3)
        written = repr([opinion.written(card.elements) for opinion in opinions])
        sentence = f"synthetic text {i} of {task.name}"
        example = Example(i, sentence, label or written, label, None, opinions)
        asked.append((document_of(Task(card, "mini"), example), f"{prompt}{i}"))
    return asked


def _rows(
    task: Task, n_items: int, shots: int, seed: int, skill: float, random: np.random.Generator
) -> list[dict]:
    is_real = task.source == "real"
    asked = _invented(task, n_items) if is_real else _asked(task, shots, seed)
    return [_row(task, *item, bool(random.random() < skill)) for item in asked[:n_items]]


def _row(task: Task, document: dict, prompt: str, right: bool) -> dict:
    card, n_choices = task.card, max(len(task.card.labels), 1)
    row = {
        "doc_id": document["index"],
        "filter": "none",
        "doc_hash": "",
        "target_hash": "",
        "prompt_hash": prompt_sha256(prompt),
        "invalid_rate": 0.0,
        "doc": document,
        "arguments": {f"gen_args_{i}": {"arg_0": prompt, "arg_1": ""} for i in range(n_choices)},
    }
    if card.is_label_task:
        gold = document["gold"]
        predicted = gold if right else (gold + 1) % len(card.labels)
        margin = 0.2 + document["index"] * 37 % 997 / 250  # nats
        choices = [[[str(-margin * (i != predicted)), "False"]] for i in range(len(card.labels))]
        return row | {"score": [gold, predicted, len(card.labels)], "resps": choices}
    answer = document["answer"] if right else repr([("wrong",) * len(card.elements)])
    row["resps"] = [[answer]]
    found, _ = tuple_statistics(task, row)
    return row | {f"{metric}_f1": found.get(metric, found["strict"]) for metric in METRICS}


def scores_of(card: Card, rows: list[dict]) -> dict:
    """What lm-eval writes of them into the results file, as far as the board compares it."""
    if card.is_label_task:
        gold, predicted, k = np.array([row["score"] for row in rows]).T
        statistics = label_matrix(gold, predicted, k[0])
    else:
        statistics = np.array([row["official_f1"] for row in rows])
    score = float(score_function(card)(statistics.sum(axis=0)))
    invalid = float(np.mean([row["invalid_rate"] for row in rows]))
    return {"score,none": score, "invalid_rate,none": invalid}


def write_pins(results: Path, path: Path) -> None:
    """The hashes of the items and prompts of the first results, as if the cards held them."""
    pins = {}
    for file in sorted(next(results.iterdir()).glob("samples_*.jsonl")):
        name = file.stem.removeprefix("samples_").rpartition("_")[0]
        samples = read_samples(file, load_tasks()[name])
        pins |= {name: samples.data_key, f"{name} prompts": samples.prompt_key}
    path.write_text(json.dumps(pins), encoding="utf-8")


def main(n_models: int = 100, n_seeds: int = 1) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        start = time.perf_counter()
        for number in range(n_models):
            skill = 0.3 + 0.6 * number / max(n_models - 1, 1)
            for demo_seed in PAPER_SEEDS[:n_seeds]:
                given = {"seed": number * 100 + demo_seed, "demo_seed": demo_seed}
                write_results(root / "results", f"synthetic-{number:03d}", skill, **given)
        seconds = time.perf_counter() - start
        print(f"wrote {n_models} synthetic models with {n_seeds} seeds in {seconds:.1f} s")
        for flags in (["--no-text"], []) if n_models <= 20 else (["--no-text"],):
            write_pins(root / "results", root / "pins.json")
            start = time.perf_counter()
            command = [sys.executable, "-c", BUILD, str(root / "pins.json"), "build"]
            command += [str(root / "results"), "--out", str(root / "site"), *flags]
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
    main(*map(int, sys.argv[1:]))

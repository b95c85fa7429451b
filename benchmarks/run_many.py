"""How much `sentibench run-many` saves against a shell loop of `sentibench run`.

python benchmarks/run_many.py CHECKPOINT FOLDER [--models 12] [--seeds 42 52 62] [--limit 4]
    [--workers 2] [--kills 3] [--dtype float32]

The models are links to one checkpoint under other names, so each is loaded as another one. Both
ways measure sentibench_mini with every model and seed. The second is killed a few times and called
again; its time includes that. At the end the scores of both are compared.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

RUN = [sys.executable, "-m", "sentibench"]
TASKS = "sentibench_mini"


def shell_loop(models: list[Path], seeds: list[int], limit: int, dtype: str, out: Path) -> float:
    """Seconds of one `sentibench run` after the other."""
    start = time.monotonic()
    for model in models:
        for seed in seeds:
            command = [*RUN, "run", "--model", "sentibench-hf", "--tasks", TASKS]
            command += ["--model_args", f"pretrained={model},dtype={dtype}", "--log_samples"]
            command += ["--limit", str(limit), "--metadata", json.dumps({"demo_seed": seed})]
            command += ["--output_path", str(out / model.name / str(seed))]
            subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - start


def run_many(plan: Path, kills: int) -> float:
    """Seconds of `sentibench run-many`, killed at random moments and called again."""
    start, draws = time.monotonic(), random.Random(0)
    for _ in range(kills):
        process = subprocess.Popen([*RUN, "run-many", str(plan)], stderr=subprocess.DEVNULL)
        try:
            process.wait(draws.uniform(20, 60))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            time.sleep(1)  # its workers end with it
    subprocess.run([*RUN, "run-many", str(plan)], check=True, stderr=subprocess.DEVNULL)
    return time.monotonic() - start


def scores(out: Path) -> dict[tuple[str, str, str], float]:
    """(model, seed, task) -> score."""
    found: dict[tuple[str, str, str], float] = {}
    for path in out.rglob("results_*.json"):
        model, seed, *_ = path.relative_to(out).parts
        for task, row in json.loads(path.read_text())["results"].items():
            if task in json.loads(path.read_text())["configs"]:
                found[model, seed, task] = row["score,none"]
    return found


def main() -> None:
    """Print the seconds of both, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", type=int, default=12)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 52, 62])
    parser.add_argument("--limit", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    shutil.rmtree(options.folder, ignore_errors=True)
    options.folder.mkdir(parents=True)
    models = [options.folder / f"model-{n}" for n in range(options.models)]
    for model in models:
        model.symlink_to(options.checkpoint.absolute())
    plan = options.folder / "models.yaml"
    given = [{"args": {"pretrained": str(model), "dtype": options.dtype}} for model in models]
    content = {"models": given, "tasks": [TASKS], "seeds": options.seeds, "limit": options.limit}
    content |= {"workers": options.workers, "out": str(options.folder / "many")}
    plan.write_text(yaml.safe_dump(content))
    many = run_many(plan, options.kills)
    of_loop = options.limit, options.dtype, options.folder / "loop"
    loop = shell_loop(models, options.seeds, *of_loop)
    found, expected = scores(options.folder / "many"), scores(options.folder / "loop")
    assert found.keys() == expected.keys(), set(expected) ^ set(found)
    gap = max(abs(found[key] - expected[key]) for key in expected)
    units = len(expected)
    print(f"{units} units; shell loop {loop:.0f} s, run-many {many:.0f} s ({options.kills} kills)")
    print(f"run-many is {loop / many:.2f} times as fast; largest difference of a score {gap:.2g}")


if __name__ == "__main__":
    main()

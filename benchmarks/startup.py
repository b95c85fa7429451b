"""Where the time goes from `lm_eval` to the first forward pass.

python benchmarks/startup.py CHECKPOINT [ROUNDS]. Runs the steps of an evaluation of the mini tasks
in a fresh process, once with lm-eval's default task manager and once with ours alone
(`sentibench run`, `sentibench.harness.task_manager`), and prints the medians in seconds.
"""

import itertools
import json
import statistics
import subprocess
import sys
import time

STEPS = ("imports", "task manager", "tasks and prompts", "model", "first forward pass")


def steps(manager: str, checkpoint: str, started: float) -> None:
    """Do the steps and print the seconds of each."""
    stamps = [started]
    import torch
    from lm_eval import simple_evaluate  # noqa: F401 (its imports are part of the time)
    from lm_eval.api.registry import get_model
    from lm_eval.tasks import TaskManager

    from sentibench.data.cards import load_tasks
    from sentibench.harness import task_manager

    get_model("hf"), get_model("sentibench-hf")
    stamps.append(time.time())
    tasks = TaskManager() if manager == "default" else task_manager()
    stamps.append(time.time())
    names = [task.name for task in load_tasks().values() if task.source == "mini"]
    for name, task in tasks.load(names)["tasks"].items():
        task.build_all_requests(limit=4, rank=0, world_size=1)
        assert task.instances, name
    stamps.append(time.time())
    model = get_model("sentibench-hf")(pretrained=checkpoint, dtype="float32", device="cpu")
    stamps.append(time.time())
    with torch.inference_mode():
        model.model(torch.tensor([[1]]))
    stamps.append(time.time())
    print(json.dumps([b - a for a, b in itertools.pairwise(stamps)]))


def main(checkpoint: str, n_rounds: str = "3") -> None:
    taken: dict[str, list[list[float]]] = {"default": [], "ours": []}
    for _ in range(int(n_rounds)):
        for manager, rows in taken.items():
            command = [sys.executable, __file__, "--steps", manager, checkpoint, str(time.time())]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
    columns = {
        manager: [statistics.median(column) for column in zip(*rows, strict=True)]
        for manager, rows in taken.items()
    }
    print(f"{'seconds':20} {'default':>8} {'ours':>8}")
    for step, default, ours in zip(STEPS, columns["default"], columns["ours"], strict=True):
        print(f"{step:20} {default:8.2f} {ours:8.2f}")
    print(f"{'all':20} {sum(columns['default']):8.2f} {sum(columns['ours']):8.2f}")


if __name__ == "__main__":
    if sys.argv[1] == "--steps":
        steps(sys.argv[2], sys.argv[3], float(sys.argv[4]))
    else:
        main(*sys.argv[1:])

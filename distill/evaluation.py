"""lm-eval on a checkpoint, into a result folder that the leaderboard reads."""

# pyright: basic
# lm-eval carries no types that would hold: its unknowns end in this module.

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from distill.errors import InputError
from sentibench.harness import task_manager


def evaluate(
    checkpoint: str,
    tasks: tuple[str, ...],
    out: Path,
    *,
    limit: int | None = None,
    dtype: str = "float32",
    adapter: Path | None = None,
    split: str = "test",
) -> dict[str, Any]:
    """Run lm-eval with the fast model and save what ``lm_eval --log_samples`` saves.

    Args:
        checkpoint: A folder that lm-eval's ``hf`` loads.
        tasks: Names as after ``--tasks``.
        out: Result folder; one that holds results already is not evaluated again.
        limit: First items of each task.
        dtype: Of the weights.
        adapter: A folder with LoRA weights for the checkpoint.
        split: ``val`` where settings are chosen.

    Returns:
        lm-eval's ``results``: task or group -> metric -> value.

    Raises:
        InputError: If a task is unknown or the results could not be saved.
    """
    done = saved_results(out)
    if done is not None:
        return done
    import torch
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker

    manager = task_manager(**({} if split == "test" else {"split": split}))
    unknown = [name for name in tasks if name not in manager.all_tasks]
    if unknown:
        raise InputError(f"evaluation.tasks: unknown {', '.join(unknown)}; see sentibench list")
    tracker = EvaluationTracker(output_path=str(out))
    arguments = {"pretrained": checkpoint, "dtype": dtype, "softmax_dtype": "float32"}
    arguments |= {"peft": str(adapter)} if adapter else {}
    results: Any = cast(Any, simple_evaluate)(
        model="sentibench-hf",
        model_args=arguments,
        tasks=list(tasks),
        task_manager=manager,
        limit=limit,
        device="cuda" if torch.cuda.is_available() else "cpu",
        log_samples=True,
        evaluation_tracker=tracker,
    )
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    for name in results["configs"]:
        tracker.save_results_samples(task_name=name, samples=samples[name])
    found = saved_results(out)
    if found is None:
        raise InputError(f"evaluation of {checkpoint}: results could not be saved in {out}")
    return found


def saved_results(out: Path) -> dict[str, Any] | None:
    """The newest results in a folder, or None."""
    files = sorted(out.rglob("results_*.json"))
    for path in reversed(files):
        try:
            return json.loads(path.read_text(encoding="utf-8"))["results"]
        except (OSError, ValueError, KeyError):
            continue
    return None

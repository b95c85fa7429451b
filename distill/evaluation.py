"""lm-eval on a checkpoint, into a result folder that the leaderboard reads."""

# pyright: basic
# lm-eval carries no types that would hold: its unknowns end in this module.

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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
    limits: Mapping[str, int] | None = None,
    dtype: str = "float32",
    adapter: Path | None = None,
    split: str = "test",
) -> dict[str, Any]:
    """Run lm-eval with the fast model and save what ``lm_eval --log_samples`` saves.

    Args:
        checkpoint: A folder that lm-eval's ``hf`` loads.
        tasks: Names as after ``--tasks``.
        out: Result folder; what it holds already is not evaluated again.
        limit: First items of each task.
        limits: Task -> first items, where they are not ``limit``; lm-eval has one limit for a run,
            so there is a run per limit, in a folder of its own.
        dtype: Of the weights.
        adapter: A folder with LoRA weights for the checkpoint.
        split: ``val`` where settings are chosen.

    Returns:
        lm-eval's ``results``: task or group -> metric -> value.

    Raises:
        InputError: If a task is unknown or the results could not be saved.
    """
    arguments = {"pretrained": checkpoint, "dtype": dtype, "softmax_dtype": "float32"}
    arguments |= {"peft": str(adapter)} if adapter else {}
    metadata = {} if split == "test" else {"split": split}
    if not limits:
        return _evaluate(arguments, list(tasks), out, limit, metadata)
    found: dict[str, Any] = {}
    for first, names in _by_limit(tasks, limit, limits).items():
        found |= _evaluate(arguments, names, out / f"first-{first or 'all'}", first, metadata)
    return found


def _by_limit(
    tasks: tuple[str, ...], limit: int | None, limits: Mapping[str, int]
) -> dict[int | None, list[str]]:
    """Limit -> tasks, groups taken apart."""
    manager = task_manager()
    _check_names(manager, tasks)
    leaves = list(manager.load(list(tasks))["tasks"])
    foreign = [name for name in limits if name not in leaves]
    if foreign:
        raise InputError(f"evaluation.limits: {foreign[0]} is none of the tasks that are evaluated")
    found: dict[int | None, list[str]] = {}
    for name in leaves:
        found.setdefault(limits.get(name, limit), []).append(name)
    return found


def _check_names(manager: Any, tasks: Sequence[str]) -> None:
    unknown = [name for name in tasks if name not in manager.all_tasks]
    if unknown:
        raise InputError(f"evaluation.tasks: unknown {', '.join(unknown)}; see sentibench list")


def _evaluate(
    arguments: dict[str, str],
    tasks: list[str],
    out: Path,
    limit: int | None,
    metadata: dict[str, Any],
) -> dict[str, Any]:
    """One run of lm-eval."""
    done = saved_results(out)
    if done is not None:
        return done
    import torch
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker

    manager = task_manager(**metadata)
    _check_names(manager, tasks)
    tracker = EvaluationTracker(output_path=str(out))
    results: Any = cast(Any, simple_evaluate)(
        model="sentibench-hf",
        model_args=arguments,
        tasks=tasks,
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
        raise InputError(
            f"evaluation of {arguments['pretrained']}: results could not be saved in {out}"
        )
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

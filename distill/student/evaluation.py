"""lm-eval on a checkpoint, into a result folder that the leaderboard reads; the best of several."""

# pyright: basic
# The model carries no types that would hold: its unknowns end in this module.

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from distill.checkpoints import checkpoint_name, loading
from distill.config import BestCheckpoint
from distill.files import copy_folder, write_json
from sentibench.errors import InputError
from sentibench.harness import expand_names, task_manager
from sentibench.progress import progress
from sentibench.prompts.demonstrations import DEFAULT_SEED
from sentibench.scoring.samples import samples_beside


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
    seed: int = DEFAULT_SEED,
    trust_remote_code: bool = False,
    load: Callable[[], Any] | None = None,
) -> dict[str, Any]:
    """Run lm-eval with the fast model and save what ``lm_eval --log_samples`` saves.

    Every task is saved by itself in ``out / task``, so that a killed evaluation goes on with the
    task that it was at; the model is loaded once.

    Args:
        checkpoint: A folder that lm-eval's ``hf`` loads.
        tasks: Names as after ``--tasks``.
        out: Result folder; what it holds already is not evaluated again.
        limit: First items of each task.
        limits: Task -> first items, where they are not ``limit``.
        dtype: Of the weights.
        adapter: A folder with LoRA weights for the checkpoint.
        split: ``val`` where settings are chosen.
        seed: Of the demonstrations.
        trust_remote_code: Whether code that comes with the checkpoint is run.
        load: Gives another model to lm-eval, of which ``checkpoint`` is the name.

    Returns:
        lm-eval's ``results``: task -> metric -> value.

    Raises:
        InputError: If a task is unknown, the checkpoint cannot be loaded, or the results could not
            be saved.
    """
    from sentibench.fast.model import load_model
    from sentibench.harness.evaluation import FAST, evaluate_and_save

    limits = limits or {}
    metadata: dict[str, Any] = {} if split == "test" else {"split": split}
    metadata |= {} if seed == DEFAULT_SEED else {"demo_seed": seed}
    manager = task_manager(**metadata)
    chosen = tasks_of(manager, tasks, limits)
    arguments: dict[str, Any]
    arguments = {"pretrained": checkpoint, "dtype": dtype, "softmax_dtype": "float32"}
    arguments |= {"peft": str(adapter)} if adapter else {}
    arguments |= {"trust_remote_code": True} if trust_remote_code else {}
    arguments = {"model": checkpoint} if load else arguments
    model: Any = None
    found: dict[str, Any] = {}
    what = f"evaluate {checkpoint_name(checkpoint)}"
    what += "" if seed == DEFAULT_SEED else f", demonstration seed {seed}"
    with progress(what, "task", len(chosen)) as bar:
        for name in chosen:
            done = saved_results(out / name)
            if done is None:
                if model is None:
                    with loading("evaluation", checkpoint):
                        model = load() if load else load_model(**arguments)
                most = limits.get(name, limit)
                kind = "answers" if load else FAST
                evaluate_and_save(model, kind, arguments, {name: out / name}, manager, limit=most)
                done = saved_results(out / name)
            if done is None:
                raise InputError(
                    f"evaluation of {checkpoint}: {out / name}: the results could not be saved; "
                    "check the free space and whether you may write there, then run again"
                )
            found |= done
            bar.update()
    return found


def tasks_of(manager: Any, tasks: tuple[str, ...], limits: Mapping[str, int]) -> list[str]:
    """The tasks of the harness's task manager, groups taken apart; unknown ones are refused."""
    known = expand_names(manager, tasks, "evaluation.tasks")
    for name in limits:
        if name not in known:
            raise InputError(
                f"evaluation.limits: {name} is not evaluated; remove it, or add it to "
                "evaluation.tasks"
            )
    return known


def tasks_by_seed(
    manager: Any, tasks: Iterable[str], seeds: Mapping[str, tuple[int, ...]]
) -> dict[int, tuple[str, ...]]:
    """Demonstration seed -> the tasks that are measured with it.

    Args:
        manager: A task manager of lm-eval.
        tasks: What is evaluated, groups taken apart.
        seeds: Task or group -> its seeds.

    Raises:
        InputError: If seeds are given for what is not evaluated.
    """
    of_task: dict[str, tuple[int, ...]] = dict.fromkeys(tasks, (DEFAULT_SEED,))
    for name, chosen in seeds.items():
        for task in expand_names(manager, (name,), "evaluation.seeds"):
            if task not in of_task:
                raise InputError(
                    f"evaluation.seeds: {task} is not evaluated; remove {name}, or add it to "
                    "evaluation.tasks"
                )
            of_task[task] = chosen
    all_seeds = sorted({seed for chosen in of_task.values() for seed in chosen})
    return {seed: tuple(t for t, chosen in of_task.items() if seed in chosen) for seed in all_seeds}


def choose_best(
    checkpoint: str,
    trained: Path,
    choice: BestCheckpoint,
    folder: Path,
    *,
    trust_remote_code: bool = False,
) -> dict[str, Any]:
    """Copy the weights with the highest mean score to ``folder / "weights"``.

    The later of equals wins. What was measured before a kill is not measured again.

    Args:
        checkpoint: What was trained.
        trained: The training's folder, with ``candidates`` and ``weights``.
        choice: The tasks, their validation items.
        folder: For results, ``development.json`` and the chosen weights.
        trust_remote_code: Whether code that comes with the checkpoint is run.

    Returns:
        The scores of every candidate and which was chosen.

    Raises:
        InputError: If the results lack a score.
    """
    scores: dict[str, float] = {}
    candidates = [*sorted((trained / "candidates").glob("step-*")), trained / "weights"]
    for weights in candidates:
        is_adapter = (weights / "adapter_config.json").is_file()
        results = evaluate(
            checkpoint if is_adapter else str(weights),
            choice.tasks,
            folder / "results" / weights.name,
            limit=choice.limit,
            adapter=weights if is_adapter else None,
            split="val",
            trust_remote_code=trust_remote_code,
        )
        missing = [name for name in choice.tasks if "score,none" not in results.get(name, {})]
        if missing:
            raise InputError(
                f"training.choose: lm-eval gave no score of {', '.join(missing)} for {weights}; "
                "name other tasks in training.choose.tasks"
            )
        scores[weights.name] = fmean(results[name]["score,none"] for name in choice.tasks)
    best = max(candidates, key=lambda weights: (scores[weights.name], weights.name))
    copy_folder(best, folder / "weights")
    write_json(folder / "development.json", {"scores": scores, "chosen": best.name})
    return {"chosen": best.name, "scores": scores}


def saved_results(out: Path) -> dict[str, Any] | None:
    """The newest whole results in a folder, or None.

    lm-eval writes results before samples and is silent where it cannot write: only results with a
    sample for every item count.
    """
    for path in sorted(out.rglob("results_*.json"), reverse=True):
        try:
            saved = json.loads(path.read_text(encoding="utf-8"))
            for name in saved["configs"]:
                samples = samples_beside(path, name)
                with samples.open(encoding="utf-8") as lines:
                    n_whole = sum(line.endswith("\n") for line in lines)
                if n_whole < saved["n-samples"][name]["effective"]:
                    raise ValueError(f"{samples}: cut off")
            return saved["results"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None

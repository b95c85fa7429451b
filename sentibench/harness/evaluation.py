"""lm-eval's evaluation of a model that is loaded already, saved as its own command saves it."""

# pyright: basic
# lm-eval carries no types that would hold: its unknowns end in this module.

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

from sentibench.versions import parts_of, require

with parts_of("lm-eval"):
    from lm_eval import evaluator, simple_evaluate
    from lm_eval.loggers import EvaluationTracker

    require(EvaluationTracker, "__init__(output_path)", "save_results_aggregated(samples)")
    require(EvaluationTracker, "save_results_samples(samples)")
    require(evaluator, "add_env_info(storage)", "get_git_commit_hash")

FAST = "sentibench-hf"
BY_TASK = (  # what results say of each task
    *("results", "group_subtasks", "configs", "versions"),
    *("n-shot", "higher_is_better", "n-samples"),
)
_ask_environment: Any = evaluator.add_env_info


def evaluate_and_save(
    model: Any,
    kind: str,
    arguments: Mapping[str, Any],
    folders: Mapping[str, Path],
    manager: Any,
    *,
    limit: int | None = None,
) -> None:
    """Evaluate tasks in one call, and write each one's results into a folder of its own.

    They are what ``lm_eval --model sentibench-hf --log_samples`` writes for one task. The seconds
    of the call are shared out by items. lm-eval reports a failed save as a warning: whether the
    files are there, the caller looks.

    Args:
        model: Of lm-eval.
        kind: What the results call its kind, as after ``--model``.
        arguments: What it was loaded with, as after ``--model_args``.
        folders: Name of a task -> its result folder.
        manager: A task manager that knows them.
        limit: First items only of each.
    """
    tracker: Any = EvaluationTracker()
    start = time.perf_counter()
    # prompts without a chat template are the protocol, so that is nothing to warn of
    logging.getLogger(evaluator.__name__).addFilter(_is_no_advice)
    with patch.multiple(evaluator, get_git_commit_hash=commit_here, add_env_info=_add_environment):
        results: Any = cast(Any, simple_evaluate)(
            model=model,
            model_args=dict(arguments),
            tasks=list(folders),
            task_manager=manager,
            limit=limit,
            log_samples=True,
            fewshot_as_multiturn=False,  # as on lm-eval's command line, without a chat template
            evaluation_tracker=tracker,
        )
    # what lm-eval would write had it loaded the model itself
    tracker.general_config_tracker.model_source = results["config"]["model"] = kind
    seconds, samples = time.perf_counter() - start, results.pop("samples")
    n_items = sum(map(len, samples.values()))
    for task, folder in folders.items():
        tracker.output_path = folder
        share = seconds * len(samples[task]) / n_items
        tracker.general_config_tracker.start_time = time.perf_counter() - share
        own = {part: {task: results[part][task]} for part in BY_TASK if task in results[part]}
        tracker.save_results_aggregated(results | own, {task: samples[task]})
        tracker.save_results_samples(task, samples[task])


def load_any(
    kind: str, arguments: Mapping[str, Any], batch_size: int | str, device: str = "cuda:0"
) -> Any:
    """Load a model as ``lm_eval --model KIND --model_args ...`` does.

    Args:
        kind: A name that lm-eval knows, or one of ours.
        arguments: As after ``--model_args``.
        batch_size: As after ``--batch_size``.
        device: As after ``--device``, whose default it has: the CPU where there is no such one.
    """
    hook: Any = import_module("_sentibench_autoload")
    with parts_of("lm-eval"):
        for name in hook.TARGETS:
            hook.amend(import_module(name))
        registry: Any = import_module("lm_eval.api.registry")
        more = {"batch_size": batch_size, "max_batch_size": None, "device": device}
    return registry.get_model(kind).create_from_arg_obj(dict(arguments), more)


def _add_environment(storage: dict[str, Any]) -> None:
    """What lm-eval says of machine and packages: a dozen programs are asked, so once a process."""
    storage.update(_environment())


@cache
def _environment() -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    _ask_environment(found)
    return found


def _is_no_advice(record: logging.LogRecord) -> bool:
    return "chat template is not applied" not in " ".join(record.getMessage().split())


def commit_here() -> str | None:
    """The commit of the working directory, which lm-eval writes into results; None without one.

    lm-eval asks git too, but lets it print "fatal" where there is no repository.
    """
    try:
        asked = subprocess.run(["git", "describe", "--always"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return asked.stdout.decode().strip()

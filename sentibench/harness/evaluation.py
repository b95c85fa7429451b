"""lm-eval's evaluation of a model that is loaded already, saved as its own command saves it."""

# pyright: basic
# lm-eval carries no types that would hold: its unknowns end in this module.

from __future__ import annotations

import logging
import subprocess
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
_ask_environment: Any = evaluator.add_env_info


def evaluate_and_save(
    model: Any,
    kind: str,
    arguments: Mapping[str, Any],
    task: str,
    manager: Any,
    out: Path,
    *,
    limit: int | None = None,
) -> None:
    """Evaluate one task and write what ``lm_eval --model sentibench-hf --log_samples`` writes.

    lm-eval reports a failed save as a warning: whether the files are there, the caller looks.

    Args:
        model: Of lm-eval.
        kind: What the results call its kind, as after ``--model``.
        arguments: What it was loaded with, as after ``--model_args``.
        task: Its name.
        manager: A task manager that knows it.
        out: Result folder.
        limit: First items only.
    """
    tracker: Any = EvaluationTracker(output_path=str(out))
    # prompts without a chat template are the protocol, so that is nothing to warn of
    logging.getLogger(evaluator.__name__).addFilter(_is_no_advice)
    with patch.multiple(evaluator, get_git_commit_hash=commit_here, add_env_info=_add_environment):
        results: Any = cast(Any, simple_evaluate)(
            model=model,
            model_args=dict(arguments),
            tasks=[task],
            task_manager=manager,
            limit=limit,
            log_samples=True,
            fewshot_as_multiturn=False,  # as on lm-eval's command line, without a chat template
            evaluation_tracker=tracker,
        )
    # what lm-eval would write had it loaded the model itself
    tracker.general_config_tracker.model_source = results["config"]["model"] = kind
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    for name in results["configs"]:
        tracker.save_results_samples(task_name=name, samples=samples[name])


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

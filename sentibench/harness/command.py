"""lm-eval's own command: its tasks, mistakes shown as one line, a start without foreign tasks."""

# pyright: basic
# lm-eval publishes no complete types: its unknowns end in this module.

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from sentibench.data.cards import GROUPS, TAG, load_tasks, tasks_folder
from sentibench.errors import InputError
from sentibench.versions import parts_of, require

with parts_of("lm-eval"):
    from lm_eval.tasks import TaskManager

    require(TaskManager, "__init__(include_path)", "__init__(include_defaults)")


def refuse_unwritable_results(output_path: str) -> None:
    """Fail before a long run whose results lm-eval could not save.

    Args:
        output_path: As after ``--output_path``.

    Raises:
        InputError: If the folder cannot be written.
    """
    path = Path(output_path)
    existing = next(p for p in (path, *path.absolute().parents) if p.exists())
    is_old_file = path.suffix in (".json", ".jsonl") and existing == path
    if not is_old_file and not (existing.is_dir() and os.access(existing, os.W_OK)):
        raise InputError(
            f"--output_path {path}: results could not be saved; {existing} is no folder "
            "that can be written; choose another folder"
        )


def asks_for_ours_only(arguments: Sequence[str]) -> bool:
    """Whether every task that a command line of lm_eval names is one of this package."""
    parser = ArgumentParser(add_help=False)
    parser.add_argument("--tasks", "-t", nargs="*", action="extend", default=[])
    parser.add_argument("--config", "-C", nargs="?", const="")
    asked, _ = parser.parse_known_args(arguments)
    names = {name for word in asked.tasks for name in word.split(",") if name}
    if asked.config is not None:
        return False
    return bool(names) and names <= {*load_tasks(), *GROUPS, TAG}


def run_command_line() -> None:
    """Run lm_eval's own command line on ``sys.argv``, with or without the start-up hook.

    Where only our tasks are asked for, lm-eval does not read its own 14,000 task files.

    Raises:
        InputError: If lm-eval knows no task of a name that it was given.
        MissingPartError: If lm-eval lacks something that is amended.
    """
    hook: Any = import_module("_sentibench_autoload")
    n_before = len(hook.replaced)
    try:
        with parts_of("lm-eval"):
            from lm_eval.__main__ import cli_evaluate

            for module, amend in hook.TARGETS.items():
                amend(import_module(module))
        if asks_for_ours_only(sys.argv):
            hook.replace(TaskManager, "__init__", _without_foreign_tasks)
        cli_evaluate()
    except ValueError as error:
        if not str(error).startswith("Tasks not found"):
            raise
        raise InputError(f"run --tasks: {error}; ours: sentibench list") from None
    finally:
        while len(hook.replaced) > n_before:
            setattr(*hook.replaced.pop())


def _without_foreign_tasks(
    manage: Callable[..., None], self: Any, *, include_path: Any = None, **given: Any
) -> None:
    paths = include_path if isinstance(include_path, list) else [include_path]
    folders = [str(tasks_folder()), *(path for path in paths if path)]
    manage(self, **given | {"include_path": folders, "include_defaults": False})

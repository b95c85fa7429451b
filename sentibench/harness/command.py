"""lm-eval's own command: its tasks, mistakes shown as one line, a start without foreign tasks."""

# pyright: basic
# lm-eval publishes no complete types: its unknowns end in this module.

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from sentibench.data.cards import GROUPS, TAG, load_tasks, tasks_folder
from sentibench.errors import InputError, SentiBenchError


def _is_lm_eval(program: str) -> bool:
    """Whether this process is lm-eval's command line, and not a program that imports it."""
    path = Path(program)
    return path.stem in ("lm_eval", "lm-eval") or path.parts[-2:] == ("lm_eval", "__main__.py")


def refuse_unwritable_results(argv: Sequence[str]) -> None:
    """Fail before a long run whose results lm-eval could not save.

    lm-eval reports a failed save as a warning, after the evaluation.

    Args:
        argv: The command line; looked at for ``--output_path`` only, and only if it is lm-eval's.

    Raises:
        InputError: If the folder cannot be written.
    """
    if not _is_lm_eval(argv[0]):
        return
    for position, argument in enumerate(argv):
        name, _, value = argument.partition("=")
        if name in ("--output_path", "-o"):
            path = Path(value or next(iter(argv[position + 1 :]), "."))
            existing = next(p for p in (path, *path.absolute().parents) if p.exists())
            is_old_file = path.suffix in (".json", ".jsonl") and existing == path
            if not is_old_file and not (existing.is_dir() and os.access(existing, os.W_OK)):
                raise InputError(
                    f"--output_path {path}: results could not be saved; {existing} is no folder "
                    "that can be written; choose another folder"
                )


def show_mistakes_as_lines() -> None:
    """In lm-eval's command, end with one line and exit code 2 where the input is wrong.

    It shows every exception with its traceback. Programs that import us keep theirs.
    """
    report_others: Callable[..., Any] = sys.excepthook

    def report(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        if not issubclass(kind, SentiBenchError):
            report_others(kind, error, trace)
            return
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2)

    if _is_lm_eval(sys.argv[0]) and report_others.__module__ != __name__:
        sys.excepthook = report


def plain_index() -> Mapping[str, Any]:
    """Return lm-eval's entries by name, as plain ``lm_eval`` indexes them. Takes seconds."""
    return cast(Any, TaskManager())._index


def load_task_file(path: Path) -> dict[str, Any]:
    """Load a task file with what it includes and the functions it names; raises as lm-eval does."""
    return load_yaml(path, resolve_func=True)


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
    """
    import _sentibench_autoload
    from lm_eval.__main__ import cli_evaluate

    manager = cast(Any, TaskManager)
    plain = manager.__init__
    _sentibench_autoload.amend(manager)
    if asks_for_ours_only(sys.argv):
        manager.__init__ = _without_foreign_tasks(manager.__init__)
    try:
        cli_evaluate()
    except ValueError as error:
        if not str(error).startswith("Tasks not found"):
            raise
        raise InputError(f"run --tasks: {error}; ours: sentibench list") from None
    finally:
        manager.__init__ = plain


def _without_foreign_tasks(manage: Callable[..., None]) -> Callable[..., None]:
    def manage_ours(self: TaskManager, *, include_path: Any = None, **given: Any) -> None:
        paths = include_path if isinstance(include_path, list) else [include_path]
        folders = [str(tasks_folder()), *(path for path in paths if path)]
        manage(self, **given | {"include_path": folders, "include_defaults": False})

    return manage_ours

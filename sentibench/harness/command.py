"""lm-eval's own command: its tasks, mistakes shown as one line, a start without foreign tasks."""

# pyright: basic
# lm-eval publishes no complete types: its unknowns end in this module.

from __future__ import annotations

import re
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

from sentibench.data.cards import GROUPS, TAG, load_tasks, robust_names
from sentibench.errors import InputError, SentiBenchError, unknown_name
from sentibench.versions import parts_of


def refuse_unwritable_results(output_path: str) -> None:
    """Fail before a long run whose results lm-eval could not save.

    A folder is made for a moment where lm-eval would make one: what the permissions say is not
    enough, since root may write everywhere by them.

    Args:
        output_path: As after ``--output_path``.

    Raises:
        InputError: If the folder cannot be written.
    """
    path = Path(output_path).absolute()
    try:
        folder = path.parent if path.suffix == ".json" else path
        existing = next(p for p in (folder, *folder.parents) if p.exists())
        with TemporaryDirectory(dir=existing) as new, TemporaryFile(dir=new):
            pass
    except (OSError, ValueError) as error:
        raise InputError(
            f"--output_path {output_path}: results could not be saved; got "
            f"{getattr(error, 'strerror', None) or error}; choose another folder"
        ) from None


def mistake_in(error: Exception) -> str | None:
    """What lm-eval's command says instead of a traceback, where the mistake is in what is ours.

    Args:
        error: In which the command ended.

    Returns:
        The line: the text of an error of our own, or which of our names was perhaps meant by one
        that lm-eval does not know. None for all other errors.
    """
    if isinstance(error, SentiBenchError):
        return str(error)
    asked = re.match(r"Attempted to load model '(sentibench[^']*)'", str(error))
    if asked:
        return str(unknown_name("--model", asked[1], import_module("_sentibench_autoload").MODELS))
    head, _, names = str(error).partition(": ")
    if head != "Tasks not found":
        return None
    try:
        known = (*GROUPS, TAG, *load_tasks(), *robust_names())
    except SentiBenchError as broken:  # an own card
        return str(broken)
    for name in names.split(", "):
        if name.endswith(".yaml") and not Path(name).exists():
            return (
                f"--tasks: no such file {name}; expected the name of a task, or the path of its "
                "card; check the path"
            )
        like_ours = "sentibench" in name or get_close_matches(name, known, cutoff=0.8)
        if like_ours and name not in known:  # known: lm-eval was not amended
            return str(unknown_name("--tasks", name, known, prefix="sentibench_"))
    return None


def asks_for_ours_only(arguments: Sequence[str]) -> bool:
    """Whether every task that a command line of lm_eval names is one of this package."""
    parser = ArgumentParser(add_help=False)
    parser.add_argument("--tasks", "-t", nargs="*", action="extend", default=[])
    parser.add_argument("--config", "-C", nargs="?", const="")
    asked, _ = parser.parse_known_args(arguments)
    names = {name for word in asked.tasks for name in word.split(",") if name}
    if asked.config is not None:
        return False
    return bool(names) and names <= {*load_tasks(), *GROUPS, TAG, *robust_names()}


def run_command_line() -> None:
    """Run lm_eval's own command line on ``sys.argv``, with or without the start-up hook.

    Where only our tasks are asked for, lm-eval does not read its own 14,000 task files.

    Raises:
        InputError: If lm-eval knows no task of a name that it was given.
        MissingPartError: If lm-eval lacks something that is amended.
    """
    hook: Any = import_module("_sentibench_autoload")
    try:
        with parts_of("lm-eval"):
            from lm_eval.__main__ import cli_evaluate

            for name in hook.TARGETS:
                hook.amend(import_module(name))
        hook.foreign_tasks = not asks_for_ours_only(sys.argv)
        cli_evaluate()
    except ValueError as error:
        if not str(error).startswith("Tasks not found"):
            raise
        raise InputError(f"run --tasks: {error}; ours: sentibench list") from None
    finally:
        hook.foreign_tasks = True

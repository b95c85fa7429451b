"""What the command lines share: a mistake of the user is one line on stderr, and exit code 2."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import re
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from sentibench.errors import InputError, SentiBenchError, nearest

OPTION = re.compile(r"--[a-z][\w-]*")
# Read by the libraries when they are imported, in our child processes too. Warnings stay.
QUIET = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "LMEVAL_LOG_LEVEL": "WARNING"}


class Parser(argparse.ArgumentParser):
    """Raises what argparse prints."""

    def error(self, message: str) -> NoReturn:
        """Say in one line what is wrong with the arguments."""
        raise InputError(f"{self.prog}: {message}; see {self.prog} --help")

    def parse_known_args(self, *args: Any, **kwargs: Any) -> tuple[Any, list[str]]:
        """Say which option was perhaps meant by one that the command does not have."""
        options, rest = super().parse_known_args(*args, **kwargs)
        for word in rest:
            if word.startswith("-"):
                option, known = word.partition("=")[0], OPTION.findall(self.format_usage())
                near = f"; {nearest(option, known)}" if known else ""
                self.error(f"unknown option {option}{near}")
        return options, rest

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Say which of the admitted values was perhaps meant; argparse only lists them."""
        if action.choices is not None and value not in action.choices:
            known = nearest(str(value), map(str, action.choices))
            raise argparse.ArgumentError(action, f"unknown name {value!r}; {known}")


def exit_code(work: Callable[[], int | None]) -> int:
    """Do the work of a command and print what the user did wrong.

    Where stderr is no terminal, bars and notes of libraries are left out, unless the environment
    asks for them.

    Args:
        work: Gives the exit code; None is 0. Where a part of it is kept when it is interrupted,
            it raises a KeyboardInterrupt that says so.

    Returns:
        What ``work`` gives; 2 after a mistake of the user, 130 after an interrupt.
    """
    if not sys.stderr.isatty():
        for variable, value in QUIET.items():
            os.environ.setdefault(variable, value)
        # peft imports it always; it misses a kernel that weights of 4 bits alone would use
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        status = work() or 0
        sys.stdout.flush()
        return status
    except SentiBenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        print(": ".join(["stopped", *map(str, interrupt.args)]), file=sys.stderr)
        return 130
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        # Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:  # the reader of our output has seen enough
            return 0
        print(
            f"error: standard output: {error.strerror}; nothing more was written", file=sys.stderr
        )
        return 2

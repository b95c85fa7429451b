"""The errors a user can cause. Everything else is a bug and keeps its traceback.

Libraries raise, only ``__main__`` prints. A message is one line that names where, what, got and
expected, then the remedy.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


class SentiBenchError(Exception):
    """Base class of all mistakes that are reported without a traceback."""


class InputError(SentiBenchError):
    """An argument, a name or an input file of the user is wrong."""


class DataError(SentiBenchError):
    """A dataset file is missing, damaged or not in the expected format."""


class FetchError(DataError):
    """A dataset file could not be brought from its source."""


class StoreError(SentiBenchError):
    """The store of answers is damaged, in use, full, or of another teacher."""


class StoreInUseError(StoreError):
    """Another process holds the store."""


class TeacherError(SentiBenchError):
    """Who is asked, a teacher or a server, cannot be reached or answers nothing but errors."""


def refuse_missing(path: Path, expected: str, where: str = "") -> None:
    """Refuse a path at which there is nothing.

    Args:
        path: Of a file or folder that the user named.
        expected: What should be there, and how it is made where a command makes it.
        where: The option or setting that was given the path, with a colon behind it.

    Raises:
        InputError: If nothing is there; with a name beside it that is nearly the same.
    """
    if path.exists():
        return
    folder = path.parent
    beside = {other.stem: other for other in folder.iterdir()} if folder.is_dir() else {}
    near = [str(beside[stem]) for stem in get_close_matches(path.stem, beside, n=1)]
    seen = "" if path.is_absolute() else f" in {Path.cwd()}"
    remedy = f"did you mean {near[0]!r}?" if near else "check the path"
    raise InputError(f"{where}{path}: no such file or folder{seen}; expected {expected}; {remedy}")


def unknown_name(where: str, name: str, known: Iterable[str], prefix: str = "") -> InputError:
    """Build the error for a name that is not in a closed list.

    Args:
        where: The command or argument that was given the name.
        name: What was given.
        known: All accepted names, in the order in which they are shown.
        prefix: What the accepted names begin with and a user may leave out.

    Returns:
        The error, with the nearest accepted name first.
    """
    return InputError(f"{where}: unknown name {name!r}; {nearest(name, known, prefix)}")


def nearest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """The end of such a message: what was perhaps meant, and all accepted names."""
    candidates = list(known)
    by_end = {candidate.removeprefix(prefix): candidate for candidate in candidates}
    near = get_close_matches(name.removeprefix(prefix), by_end, n=1)
    hint = f"did you mean {by_end[near[0]]!r}? " if near else ""
    return f"{hint}known: {', '.join(candidates)}"

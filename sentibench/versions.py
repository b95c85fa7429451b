"""The versions of lm-eval and transformers that were tested, and the error if a part is missing.

What is used of them beyond their documentation is listed in docs/decisions.md.
"""

from __future__ import annotations

import inspect
from collections.abc import Generator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version

from sentibench.errors import SentiBenchError

try:
    __version__ = version("sentibench")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
TESTED = {"lm-eval": "0.4.13", "transformers": "5.24.0"}


def tested_versions() -> str:
    """The tested versions as a message shows them."""
    return " and ".join(f"{name} {number}" for name, number in TESTED.items())


class MissingPartError(SentiBenchError):
    """A library lacks something that is used of it."""


@contextmanager
def parts_of(library: str) -> Generator[None]:
    """Within, an import or a name that fails ends in an error that names the versions.

    Args:
        library: As pip calls it; a key of ``TESTED``.

    Raises:
        MissingPartError: If something is missing, or the library itself.
    """
    try:
        yield
    except (ImportError, AttributeError) as error:
        module = getattr(error, "name", None) or ""
        if isinstance(error, ModuleNotFoundError) and "." not in module:
            why = f"{module} is not installed: pip install 'sentibench[hf]'"
        else:
            why = f"a part is missing in {_installed(library)}: {error}"
        raise MissingPartError(f"{why}; tested with {tested_versions()}") from error


def require(owner: object, *names: str) -> None:
    """Look whether an owner has what is used of it; to be called within ``parts_of``.

    Args:
        owner: The class, an object of it, or a module.
        names: Attributes; ``method(argument)`` for an argument of one.

    Raises:
        AttributeError: If one is missing.
    """
    for name in names:
        method, _, argument = name.rstrip(")").partition("(")
        found = hasattr(owner, method)
        if found and argument:
            found = argument in inspect.signature(getattr(owner, method)).parameters
        if not found:
            kind = owner if isinstance(owner, type) else type(owner)
            where = f"{kind.__module__}.{kind.__qualname__}"
            where = owner.__name__ if inspect.ismodule(owner) else where
            raise AttributeError(f"{where}.{name}")


def _installed(library: str) -> str:
    try:
        return f"{library} {version(library)}"
    except PackageNotFoundError:
        return library

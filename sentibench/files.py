"""Files that are complete or not there; reading from a position of a file."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def beside(path: Path) -> Generator[Path]:
    """Name a file beside another, which it replaces at the end; it is removed after a failure.

    Args:
        path: The file that there will be.

    Yields:
        Where to write it.
    """
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_beside(path: Path, content: str | bytes) -> None:
    """Write a file beside and rename it into place; text in UTF-8."""
    with beside(path) as unfinished:
        unfinished.write_bytes(content.encode() if isinstance(content, str) else content)


def read_at(file: IO[bytes], n_bytes: int, start: int) -> bytes:
    """Read from a place of a file; processes that share it do not disturb each other.

    Windows has no ``pread``, and no processes that are forked off either.
    """
    if hasattr(os, "pread"):
        return os.pread(file.fileno(), n_bytes, start)
    file.seek(start)
    return file.read(n_bytes)

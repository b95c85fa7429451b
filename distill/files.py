"""Files and folders of a run: written as a whole, known by a hash, read line by line."""

from __future__ import annotations

import json
import os
import shutil
from abc import abstractmethod
from array import array
from collections.abc import Callable, Iterable, Sequence
from errno import ENOSPC
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import Any, Generic, TypeVar, overload

from sentibench.files import beside, read_at, write_beside

Item = TypeVar("Item")


def digest(path: Path) -> str:
    """sha256 of a file, or of the names and hashes of all files below a folder."""
    known = sha256()
    if path.is_dir():
        for below in sorted(p for p in path.rglob("*") if p.is_file()):
            known.update(f"{below.relative_to(path).as_posix()}\0{digest(below)}\0".encode())
        return known.hexdigest()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            known.update(block)
    return known.hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write a value for people and programs."""
    write_beside(path, json.dumps(value, indent=2) + "\n")


def write_lines(path: Path, rows: Iterable[Any]) -> None:
    """Write JSON lines, one after the other."""
    with beside(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")


def copy_folder(source: Path, path: Path) -> None:
    """Copy a folder beside and rename it into place; hidden while it is unfinished."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(source, unfinished)
    replace_folder(unfinished, path)


def replace_folder(unfinished: Path, path: Path) -> None:
    """Rename a folder into place, whatever a killed process left there."""
    shutil.rmtree(path, ignore_errors=True)
    unfinished.rename(path)


class OnDemand(Sequence[Item], Generic[Item]):
    """A sequence of more items than fit into memory: each is made when it is asked for."""

    @abstractmethod
    def one(self, number: int) -> Item:
        """The item of a number from 0 on."""

    @overload
    def __getitem__(self, at: int) -> Item: ...
    @overload
    def __getitem__(self, at: slice) -> list[Item]: ...
    def __getitem__(self, at: int | slice) -> Item | list[Item]:
        if isinstance(at, slice):
            return list(map(self.one, range(len(self))[at]))
        return self.one(range(len(self))[at])


class Lines(OnDemand[Item]):
    """The lines of a file as a sequence that stays on the disk; only their places are held.

    A process that is forked off may read it too: nobody moves a common place in the file.

    Args:
        path: A file whose lines all end; None for a new one in the folder for
            temporary files (TMPDIR), which is removed at the end.
        read: Makes an item of a line.
    """

    def __init__(self, path: Path | None, read: Callable[[bytes], Item]) -> None:
        self._read = read
        self._file = path.open("rb") if path else TemporaryFile(buffering=0)  # noqa: SIM115
        self._starts = array("q", [0])
        for line in self._file:
            self._starts.append(self._starts[-1] + len(line))

    def append(self, line: bytes) -> None:
        """Write one more line, behind the last.

        Raises:
            OSError: If it cannot be written as a whole.
        """
        if self._file.write(line) < len(line):
            raise OSError(ENOSPC, os.strerror(ENOSPC), gettempdir())
        self._starts.append(self._starts[-1] + len(line))

    def close(self) -> None:
        """Let go of the file: Windows removes none that is open."""
        self._file.close()

    def line(self, number: int) -> bytes:
        """A line as it was written."""
        start, end = self._starts[number], self._starts[number + 1]
        return read_at(self._file, end - start, start)

    def one(self, number: int) -> Item:
        """The item of a line."""
        return self._read(self.line(number))

    def __len__(self) -> int:
        return len(self._starts) - 1

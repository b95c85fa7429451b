"""Files and folders of a run: written as a whole, known by a hash."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

from sentibench.files import write_beside


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
    """Write JSON lines."""
    write_beside(path, "".join(json.dumps(row) + "\n" for row in rows))


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

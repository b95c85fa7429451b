"""What is present and intact: the data files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from sentibench.data.cards import Task, load_tasks
from sentibench.data.fetch import data_home
from sentibench.data.instructions import load_instruction
from sentibench.data.read import load_split, split_file
from sentibench.errors import SentiBenchError


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: A task, group or dataset.
        detail: What was found, in words.
        ok: Whether it is as it should be.
    """

    subject: str
    detail: str
    ok: bool


def check_data() -> Iterator[Finding]:
    """Look at every file of the 12 + 12 datasets and of own ones: hash, format, rows, changes."""
    for task in load_tasks().values():
        for split in ("train", "test") if task.source == "mini" else task.card.splits:
            yield _check_file(task, split)


def _check_file(task: Task, split: str) -> Finding:
    subject = f"{task.name}/{split}"
    try:
        if task.source == "real":
            path = data_home() / "datasets" / task.card.folder / f"{split}.json"
            if not os.path.isfile(path):  # noqa: PTH113 (Path.is_file may raise)
                return Finding(subject, f"missing: {path}; run: sentibench fetch", False)
            load_instruction(task.card, data_home())
        loaded = load_split(task, split)
    except SentiBenchError as error:
        return Finding(subject, str(error), False)
    n_items, n_rows = len(loaded.examples), split_file(task, split).rows
    changes = [f"{reason}: {n}" for reason, n in loaded.changes.items()]
    detail = "; ".join([f"{n_items} of {n_rows} rows read", *changes])
    return Finding(subject, detail, n_items == n_rows)

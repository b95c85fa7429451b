"""What is present, intact and visible: data files, task files, groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentibench.cards import CATEGORIES, GROUPS, TAG, load_leaves
from sentibench.errors import SentiBenchError
from sentibench.instructions import load_instruction
from sentibench.read import load_split, split_file


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


def tasks_folder() -> Path:
    """Return the folder with the task files: of the source tree, else of the wheel."""
    package = Path(__file__).parent
    beside = package.parent / "tasks_yaml"
    return beside if (beside / "sentibench.yaml").is_file() else package / "tasks_yaml"


def check_data() -> Iterator[Finding]:
    """Look at every file of the 12 + 12 datasets: hash, format, rows, counted changes."""
    from sentibench.fetch import data_home

    for leaf in load_leaves().values():
        names = leaf.card.splits if leaf.source == "real" else ("train", "test")
        for split in names:
            subject = f"{leaf.name}/{split}"
            try:
                if leaf.source == "real":
                    path = data_home() / "datasets" / leaf.card.folder / f"{split}.json"
                    if not path.is_file():
                        yield Finding(subject, f"missing: {path}; run: sentibench fetch", False)
                        continue
                    load_instruction(leaf.card, data_home())
                loaded = load_split(leaf, split)
            except SentiBenchError as error:
                yield Finding(subject, str(error), False)
                continue
            rows, expected = len(loaded.examples), split_file(leaf, split).rows
            changes = "; ".join(f"{reason}: {n}" for reason, n in loaded.changes.items())
            detail = f"{rows} items, 0 dropped" + (f"; {changes}" if changes else "")
            yield Finding(subject, detail, rows == expected)


def check_tasks() -> Iterator[Finding]:
    """Ask lm-eval, as plain ``lm_eval`` would, for every group, the tag and every task."""
    from lm_eval.tasks import TaskManager  # the boundary is crossed only when asked to

    manager: Any = TaskManager()
    folder = tasks_folder()
    indexed = {
        **dict.fromkeys(manager.all_groups, "group"),
        **dict.fromkeys(manager.all_tags, "tag"),
        **dict.fromkeys(manager.all_subtasks, "task"),
    }
    wanted = {
        **dict.fromkeys(GROUPS, "group"),
        TAG: "tag",
        **dict.fromkeys(load_leaves(), "task"),
    }
    for name, kind in wanted.items():
        if indexed.get(name) != kind:
            remedy = f"is its file in {folder} whole, and is SENTIBENCH_NO_AUTOLOAD unset?"
            yield Finding(name, f"lm-eval does not know this {kind}; {remedy}", False)
            continue
        problem = _member_problem(manager, name) if kind != "task" else None
        yield Finding(name, problem or f"lm-eval knows this {kind}", problem is None)


def _member_problem(manager: Any, name: str) -> str | None:
    """Say what is wrong with the members of a group or of the tag."""
    entry = manager._index[name]
    listed = set(entry.tags if name == TAG else entry.cfg["task"])
    leaves = load_leaves().values()
    if name == "sentibench":
        expected = {f"sentibench_{category}" for category in CATEGORIES}
    elif name == "sentibench_mini":
        expected = {leaf.name for leaf in leaves if leaf.source == "mini"}
    else:
        real = [leaf for leaf in leaves if leaf.source == "real"]
        expected = {leaf.name for leaf in real if name in (TAG, f"sentibench_{leaf.card.category}")}
    if listed == expected:
        return None
    return f"members differ; got {sorted(listed ^ expected)} too many or too few"

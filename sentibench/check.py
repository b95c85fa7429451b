"""What is present, intact and visible: data files, task files, groups."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sentibench.cards import CATEGORIES, GROUPS, TAG, Leaf, leaves_named, load_leaves, tasks_folder
from sentibench.errors import SentiBenchError
from sentibench.fetch import data_home
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


def check_data() -> Iterator[Finding]:
    """Look at every file of the 12 + 12 datasets: hash, format, rows, counted changes."""
    for leaf in load_leaves().values():
        for split in leaf.card.splits if leaf.source == "real" else ("train", "test"):
            yield _check_file(leaf, split)


def _check_file(leaf: Leaf, split: str) -> Finding:
    subject = f"{leaf.name}/{split}"
    try:
        if leaf.source == "real":
            path = data_home() / "datasets" / leaf.card.folder / f"{split}.json"
            if not os.path.isfile(path):  # noqa: PTH113 (Path.is_file may raise)
                return Finding(subject, f"missing: {path}; run: sentibench fetch", False)
            load_instruction(leaf.card, data_home())
        loaded = load_split(leaf, split)
    except SentiBenchError as error:
        return Finding(subject, str(error), False)
    n_items, n_rows = len(loaded.examples), split_file(leaf, split).rows
    changes = [f"{reason}: {n}" for reason, n in loaded.changes.items()]
    detail = "; ".join([f"{n_items} of {n_rows} rows read", *changes])
    return Finding(subject, detail, n_items == n_rows)


def check_tasks() -> Iterator[Finding]:
    """Ask lm-eval, as plain ``lm_eval`` would, for every group, the tag and every task."""
    from sentibench import lm_eval_command  # seconds of imports, needed here only

    yield from check_index(lm_eval_command.plain_index())


def check_index(index: Mapping[str, Any]) -> Iterator[Finding]:
    """Look at our entries in lm-eval's index, and into the files behind them.

    Args:
        index: lm-eval's entries by name.
    """
    for name in (*GROUPS, TAG):
        problem = _group_problem(index.get(name), name)
        yield Finding(name, problem or "lm-eval knows it, members are right", problem is None)
    for name, leaf in load_leaves().items():
        problem = _leaf_problem(index.get(name), leaf)
        yield Finding(name, problem or "lm-eval knows it, its file is right", problem is None)


def _unknown(kind: str) -> str:
    return (
        f"lm-eval does not know this {kind}; is its file in {tasks_folder()} whole, and is "
        "SENTIBENCH_NO_AUTOLOAD unset?"
    )


def _group_problem(entry: Any, name: str) -> str | None:
    if entry is None:
        return _unknown("tag" if name == TAG else "group")
    listed = set(entry.tags if name == TAG else entry.cfg.get("task", ()))
    if name == "sentibench":
        expected = {f"sentibench_{category}" for category in CATEGORIES}
    else:
        expected = {leaf.name for leaf in leaves_named([name], "check")}
    if listed == expected:
        return None
    return f"members differ from the cards: {', '.join(sorted(listed ^ expected))}"


def _leaf_problem(entry: Any, leaf: Leaf) -> str | None:
    if entry is None or entry.yaml_path is None:
        return _unknown("task")
    from sentibench import lm_eval_command

    try:
        config = lm_eval_command.load_task_file(entry.yaml_path)
    except Exception as error:  # whatever a broken file raises is the finding
        return f"{entry.yaml_path}: cannot be loaded: {error}"
    label = leaf.card.is_label_task
    expected = {
        "dataset_path": leaf.source,
        "dataset_name": leaf.card.name,
        "output_type": "multiple_choice" if label else "generate_until",
        "num_fewshot": 4,
        "test_split": "test",
        "fewshot_split": "test",
        "doc_to_text": "Sentence: {{sentence}}\nLabel:",
        "doc_to_target": "label" if label else "answer",
    }
    for key, value in expected.items():
        if config.get(key) != value:
            return f"{entry.yaml_path}: {key}: got {config.get(key)!r}, expected {value!r}"
    names = {metric["metric"] for metric in config.get("metric_list", ())}
    lacking = {"score", "score_stderr", "invalid_rate"} - names
    if lacking or not callable(config.get("process_results")):
        return f"{entry.yaml_path}: metric_list or process_results: lacking {sorted(lacking)}"
    return None

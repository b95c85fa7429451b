"""What is there of the benchmark, and what lm-eval sees of it: data, hook, groups, task files."""

# pyright: basic
# lm-eval publishes no complete types: its unknowns end in this module.

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from sentibench.data.cards import (
    CATEGORIES,
    GROUPS,
    TAG,
    Task,
    load_tasks,
    tasks_folder,
    tasks_named,
)
from sentibench.data.fetch import data_home
from sentibench.data.instructions import load_instruction
from sentibench.data.own_items import remade
from sentibench.data.read import demonstration_pool, load_split, split_file
from sentibench.errors import SentiBenchError
from sentibench.prompts.few_shot import own_pins
from sentibench.versions import MissingPartError, parts_of, require, tested_versions


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


def check_data(names: Sequence[str] = ()) -> Iterator[Finding]:
    """Look at every file of the datasets: hash, format, rows, changes.

    Args:
        names: Of tasks or groups; none stands for all tasks, which are 12 + 12 and own ones.
    """
    for task in _chosen(names):
        for split in ("train", "test") if task.source == "mini" else task.card.splits:
            yield _check_file(task, split)


def _check_file(task: Task, split: str) -> Finding:
    subject = f"{task.name}/{split}"
    try:
        if task.source == "real":
            path = data_home() / "datasets" / task.card.folder / f"{split}.json"
            if not os.path.isfile(path):  # noqa: PTH113 (Path.is_file may raise)
                return Finding(
                    subject, f"missing: {path}; run: sentibench fetch {task.card.name}", False
                )
            load_instruction(task.card, data_home())
        loaded = load_split(task, split)
    except SentiBenchError as error:
        return Finding(subject, str(error), False)
    n_items, n_rows = len(loaded.examples), split_file(task, split).rows
    if task.source == "own" and split == "test":
        pins = own_pins(task.card, demonstration_pool(task), loaded.examples)
        if pins != task.pins:
            detail = f"{task.card.path}: pins: got hashes of other prompts than the card makes"
            return Finding(subject, f"{detail}; write it with: {remade(task.card)}", False)
    changes = [f"{reason}: {n}" for reason, n in loaded.changes.items()]
    detail = "; ".join([f"{n_items} of {n_rows} rows read", *changes])
    return Finding(subject, detail, n_items == n_rows)


def check_tasks(names: Sequence[str] = ()) -> Iterator[Finding]:
    """Ask lm-eval, as plain ``lm_eval`` would, for tasks, groups and the tag.

    Args:
        names: As for :func:`check_data`; none stands for all tasks and groups.
    """
    yield from check_hook(import_module("_sentibench_autoload"))
    try:
        with parts_of("lm-eval"):
            from lm_eval.tasks import TaskManager

            require(TaskManager, "task_index")
        yield from check_index(TaskManager().task_index, names)  # takes seconds
    except MissingPartError as error:
        yield Finding("lm-eval", str(error), False)


def check_hook(hook: Any) -> Iterator[Finding]:
    """Look whether the start-up hook could amend what it amends of lm-eval, and else why not.

    Args:
        hook: Its module.
    """
    for name in hook.TARGETS:
        subject = f"start-up hook, {name}"
        try:
            import_module(name)
            why = hook.problems.get(name)
        except ImportError as error:
            why = str(error)
        if hook.Finder not in sys.meta_path:
            why = "did not run at the start of Python; is SENTIBENCH_NO_AUTOLOAD unset?"
        elif why:
            why = f"plain lm_eval was not amended: {why}; tested with {tested_versions()}"
        yield Finding(subject, why or "amended", not why)


def check_index(index: Mapping[str, Any], names: Sequence[str] = ()) -> Iterator[Finding]:
    """Look at our entries in lm-eval's index, and into the files behind them.

    Args:
        index: lm-eval's entries by name.
        names: As for :func:`check_tasks`.
    """
    groups = [name for name in (*GROUPS, TAG) if not names or name in names]
    problems = {name: _group_problem(index.get(name), name) for name in groups}
    problems |= {task.name: _task_problem(index.get(task.name), task) for task in _chosen(names)}
    for name, problem in problems.items():
        yield Finding(name, problem or "lm-eval knows it, and it is right", problem is None)


def _chosen(names: Sequence[str]) -> Iterable[Task]:
    return tasks_named(names, "check") if names else load_tasks().values()


def load_task_file(path: Path) -> dict[str, Any]:
    """Load a task file with what it includes and the functions it names; raises as lm-eval does."""
    with parts_of("lm-eval"):
        from lm_eval.tasks._yaml_loader import load_yaml
    return load_yaml(path, resolve_func=True)


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
        expected = {task.name for task in tasks_named([name], "check")}
    if listed == expected:
        return None
    return f"members differ from the cards: {', '.join(sorted(listed ^ expected))}"


def _task_problem(entry: Any, task: Task) -> str | None:
    if entry is None or entry.yaml_path is None:
        return _unknown("task")
    try:
        config = load_task_file(entry.yaml_path)
        if task.source == "own":
            config = import_module("sentibench.harness.task").own_config(task, {})
    except Exception as error:  # whatever a broken file raises is the finding
        return f"{entry.yaml_path}: cannot be loaded: {error}"
    label = task.card.is_label_task
    expected = {
        "dataset_path": task.source,
        "dataset_name": task.card.name,
        "output_type": "multiple_choice" if label else "generate_until",
        "num_fewshot": task.card.shots,
        "test_split": "test",
        "fewshot_split": "test",
        "doc_to_text": "Sentence: {{sentence}}\nLabel:",
        "doc_to_target": "label" if label and task.source != "own" else "answer",
    }
    for key, value in expected.items():
        if config.get(key) != value:
            return f"{entry.yaml_path}: {key}: got {config.get(key)!r}, expected {value!r}"
    names = {metric["metric"] for metric in config.get("metric_list", ())}
    lacking = {"score", "score_stderr", "invalid_rate"} - names
    if lacking or not callable(config.get("process_results")):
        return f"{entry.yaml_path}: metric_list or process_results: lacking {sorted(lacking)}"
    return None

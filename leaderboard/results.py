"""lm-eval result folders -> runs. Broken files are listed, never fatal.

Read are ``results_<date>.json`` and the ``samples_<task>_<date>.jsonl`` beside them, as lm-eval
0.4.9 to 0.4.13 write them. Scores and intervals are computed from the sample files: lm-eval has no
standard error for custom metrics, and its task hashes depend on the order of ranks.
"""

# pyright: basic
# JSON of other programs and scipy carry no types: their unknowns end in this module.

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from sys import intern
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sentibench.data.cards import Task, load_tasks
from sentibench.data.read import split_file
from sentibench.scoring.metrics import label_statistics

Floats = NDArray[np.float64]
METRICS = ("official", "strict")


class Unreadable(Exception):
    """A result file that cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that was left out, or a line of it."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One answered item, for the sample browser."""

    index: int
    sentence: str
    gold: str
    answer: str


@dataclass(frozen=True, slots=True, eq=False)
class TaskRun:
    """One evaluation of one model on one task.

    Attributes:
        task: The task.
        model: Model name as lm-eval saw it.
        seed: Demonstration seed.
        protocol: What makes runs incomparable besides seed and limit: shots, chat template, system
            instruction, changed generation settings.
        date: When the run began, seconds since 1970.
        n_items: Items that were evaluated, N.
        n_total: Items of the test set.
        indices: Shape (N,): positions in the test file, ascending.
        statistics: Per metric, additive statistics of shape (N, S); see
            ``sentibench.scoring.metrics``.
        invalid: Shape (N,): 1 where the answer was unreadable.
        data_key: Hash over what was asked for, whatever the order of ranks.
        prompt_key: Hash over the prompts.
        facts: Versions and settings, for the badges.
        samples: The answers.
    """

    task: Task
    model: str
    seed: int
    protocol: Mapping[str, Any]
    date: float
    n_items: int
    n_total: int
    indices: NDArray[np.int64]
    statistics: Mapping[str, Floats]
    invalid: Floats
    data_key: str
    prompt_key: str
    facts: Mapping[str, Any]
    samples: tuple[Sample, ...]

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each whole answer is right, shape (N,): the label, or exactly the gold tuples."""
        rows = self.statistics["strict"]
        if self.task.card.is_label_task:
            return rows[:, -len(self.task.card.labels) :].sum(axis=1) > 0
        return (rows[:, 0] == rows[:, 1]) & (rows[:, 1] == rows[:, 3])


def load_results(folder: Path, *, with_samples: bool = True) -> tuple[list[TaskRun], list[Problem]]:
    """Read every result file below a folder.

    Args:
        folder: What ``lm_eval --output_path`` was given, for any number of models.
        with_samples: Keep texts and answers; without them a hundred models fit in little memory.

    Returns:
        All runs of our tasks, and the files that could not be used with the reason. Both sorted.
    """
    runs: list[TaskRun] = []
    problems: list[Problem] = []
    for path in sorted(folder.rglob("*.json")):
        if path.name == "run.json":  # a distillation run's manifest: models.py reads it
            continue
        name = path.relative_to(folder).as_posix()
        try:
            summary = _read_summary(path)
        except Unreadable as error:
            problems.append(Problem(name, str(error)))
            continue
        for task in sorted(_tasks_of(summary)):
            try:
                runs.append(_read_task(path, summary, task, with_samples))
            except Unreadable as error:
                problems.append(Problem(f"{name}: {task}", str(error)))
    problems += _unclaimed_samples(folder)
    return runs, problems


def _unclaimed_samples(folder: Path) -> list[Problem]:
    """Sample files without a results file: an evaluation that was cut off."""
    return [
        Problem(path.relative_to(folder).as_posix(), "no results file of this run: cut off?")
        for path in sorted(folder.rglob("samples_*.jsonl"))
        if not path.with_name(f"results_{path.stem.rpartition('_')[2]}.json").is_file()
    ]


def _kind(error: Exception) -> str:
    """Name an error without its text: that may quote datasets or folders."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return type(error).__name__


def _read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"broken JSON ({_kind(error)})") from None


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Unreadable(f"cannot be read: {_kind(error)}") from None


def _read_summary(path: Path) -> Mapping[str, Any]:
    summary = _read_json(_read_text(path))
    required = ("results", "configs", "config", "date", "n-samples")
    if not isinstance(summary, dict) or not all(key in summary for key in required):
        raise Unreadable(f"no results file of lm-eval: expected the keys {', '.join(required)}")
    if not all(isinstance(summary[key], dict) for key in ("results", "configs", "config")):
        raise Unreadable("no results file of lm-eval: results, configs and config must be objects")
    if not any(_tasks_of(summary)):
        raise Unreadable("no task of SentiBench in it")
    return cast(Mapping[str, Any], summary)


def _tasks_of(summary: Mapping[str, Any]) -> Iterator[str]:
    """Names of our tasks; lm-eval 0.5 puts the group in front of a member's name."""
    for name in cast(Mapping[str, Any], summary["configs"]):
        if name.rpartition("::")[2] in load_tasks() and re.fullmatch(r"[\w:]+", name):
            yield name


def _read_task(path: Path, summary: Mapping[str, Any], task: str, with_samples: bool) -> TaskRun:
    known = load_tasks()[task.rpartition("::")[2]]
    stamp = path.stem.rpartition("_")[2]
    file = path.with_name(f"samples_{task}_{stamp}.jsonl")
    if not file.is_file():
        raise Unreadable(f"no {file.name} beside it: run lm_eval with --log_samples")
    try:
        rows = _read_rows(_read_text(file))
        return _task_run(known, summary, task, rows, with_samples)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise Unreadable(f"{file.name}: not in the format of our tasks ({_kind(error)})") from None


def _read_rows(text: str) -> list[Mapping[str, Any]]:
    """Rows by item: with several filters a document stands there several times."""
    by_index: dict[int, Mapping[str, Any]] = {}
    for line in text.split("\n"):
        if line.strip():
            row = _read_json(line)
            if row.get("filter", "none") == "none":
                by_index[int(row["doc"]["index"])] = row
    if not by_index:
        raise Unreadable("the sample file has no row")
    return [by_index[index] for index in sorted(by_index)]


def _task_run(
    task: Task,
    summary: Mapping[str, Any],
    name: str,
    rows: list[Mapping[str, Any]],
    with_samples: bool,
) -> TaskRun:
    config, settings = summary["configs"][name], summary["config"]
    label = task.card.is_label_task
    n_total = split_file(task, "test").rows
    indices = np.array([int(row["doc"]["index"]) for row in rows])
    invalid = np.array([float(row.get("invalid_rate", 0.0)) for row in rows])
    date, parameters = float(summary["date"]), settings.get("model_num_parameters")
    _require(indices.min() >= 0 and indices.max() < n_total, "an item outside of the test set")
    _require(bool(((invalid == 0) | (invalid == 1)).all()), "invalid_rate is neither 0 nor 1")
    _require(0 < date < 1e11, "the date is no time")
    split = config["metadata"].get("split", "test")
    _require(split == "test", f"measured on the split {split!r}, not on the test set")
    samples = [_sample(task, row) for row in rows] if with_samples else []
    return TaskRun(
        task=task,
        model=str(summary.get("model_name") or settings.get("model") or "unknown"),
        seed=int(config["metadata"].get("demo_seed", 42)),
        protocol={
            "shots": int(summary.get("n-shot", {}).get(name, config.get("num_fewshot", -1))),
            "chat_template": bool(summary.get("chat_template_sha")),
            "multiturn": bool(summary.get("fewshot_as_multiturn")),
            "system_instruction": summary.get("system_instruction") or "",
            "gen_kwargs": settings.get("gen_kwargs") or {},
        },
        date=date,
        n_items=len(rows),
        n_total=n_total,
        indices=indices,
        statistics=_label_rows(task, rows) if label else _tuple_rows(rows),
        invalid=invalid,
        data_key=_key(rows, "doc_hash", "target_hash"),
        prompt_key=_key(rows, "prompt_hash"),
        facts={
            "version": str(summary.get("versions", {}).get(name, "")),
            "lm_eval": str(summary.get("lm_eval_version", "before 0.4.9")),
            "dtype": str(settings.get("model_dtype", "")),
            "limit": settings.get("limit"),
            "batch_size": settings.get("batch_size"),
            "model_type": str(settings.get("model", "")),
            "model_args": _arguments(settings.get("model_args") or {}),
            "parameters": parameters
            if isinstance(parameters, int) and 0 < parameters < 10**15
            else None,
        },
        samples=tuple(samples),
    )


def _arguments(given: Any) -> dict[str, Any]:
    """Model arguments by name; lm-eval writes a mapping or one text."""
    if isinstance(given, Mapping):
        return dict(sorted(given.items()))
    pairs = (part.partition("=") for part in str(given).split(","))
    return {name: value for name, _, value in pairs}


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise Unreadable(f"scores that no run of ours can have: {otherwise}")


def _label_rows(task: Task, rows: list[Mapping[str, Any]]) -> Mapping[str, Floats]:
    labels = task.card.labels
    n_labels = len(labels)
    for row in rows:
        gold, predicted, k = row["score"]
        _require(k == n_labels and gold in range(k), "a gold label outside of the task's")
        _require(predicted in range(-1, k), "a predicted label outside of the task's")
        _require(row["doc"]["label"] == labels[gold], "gold is not the label of the document")
    matrix = np.stack(
        [
            label_statistics(gold, None if predicted < 0 else predicted, n_labels)
            for gold, predicted, _ in (row["score"] for row in rows)
        ]
    )
    return dict.fromkeys(METRICS, matrix)


def _tuple_rows(rows: list[Mapping[str, Any]]) -> Mapping[str, Floats]:
    statistics: dict[str, Floats] = {}
    for metric in METRICS:
        matrix = np.array([row[f"{metric}_f1"] for row in rows], dtype=np.float64)
        _require(matrix.shape == (len(rows), 4), "not four statistics per item")
        _require(bool(np.isfinite(matrix).all() and (matrix >= 0).all()), "a negative count or NaN")
        within = matrix[:, [0, 2]] <= matrix[:, [1, 3]] + 1e-9
        _require(bool(within.all()), "more hits than tuples")
        statistics[metric] = matrix
    return statistics


def _sample(task: Task, row: Mapping[str, Any]) -> Sample:
    document = row["doc"]
    if task.card.is_label_task:
        predicted = row["score"][1]
        answer = "" if predicted < 0 else task.card.labels[predicted]
    else:
        answer = str(row["resps"][0][0])
    gold = document["label" if task.card.is_label_task else "answer"]
    # interned: every model was asked about the same texts
    return Sample(int(document["index"]), intern(document["sentence"]), intern(gold), answer)


def _key(rows: list[Mapping[str, Any]], *hashes: str) -> str:
    """Hash over items in their own order: lm-eval's depends on the order of ranks."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(":".join((str(row["doc"]["index"]), *(row[h] for h in hashes))).encode())
    return digest.hexdigest()[:16]

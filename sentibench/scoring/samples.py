"""The one reader of ``samples_<task>_<date>.jsonl``, as lm-eval writes it with ``--log_samples``.

Everything in such a file may be wrong or hostile. A file that no run of ours can have written is
unusable as a whole, with the reason; the reason never quotes it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from sys import intern
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sentibench.data.cards import Task, load_tasks
from sentibench.data.read import split_file
from sentibench.errors import DataError
from sentibench.scoring.metrics import Floats, label_row, predicted_label

METRICS = ("official", "strict")
Rows = Mapping[int, Mapping[str, Any]]


class Unusable(DataError):
    """A result file that cannot be used; the message says why, without the name of a folder."""


@dataclass(frozen=True, slots=True, eq=False)
class SampleText:
    """One answered item as text."""

    index: int
    sentence: str
    gold: str
    answer: str
    prompt: str


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """What one model answered on one task, N items in the order of the test file, each once.

    Attributes:
        task: The task.
        indices: Shape (N,): positions in the test file.
        statistics: Per metric, additive statistics of shape (N, S); see
            ``sentibench.scoring.metrics``: S is 3K for K labels, 4 for tuples.
        invalid: Shape (N,): 1 where the answer was unreadable, else 0.
        data_key: Hash over position, document and target of every item: equal where the same items
            were asked, whatever the order of ranks.
        prompt_key: Hash over positions and prompts.
        texts: Of the items, where they were asked for.
    """

    task: Task
    indices: NDArray[np.int64]
    statistics: Mapping[str, Floats]
    invalid: Floats
    data_key: str
    prompt_key: str
    texts: tuple[SampleText, ...]

    @property
    def n_items(self) -> int:
        """N."""
        return len(self.indices)

    @property
    def is_whole(self) -> bool:
        """Whether the model was asked about every item of the test set."""
        return self.n_items == split_file(self.task, "test").rows

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each whole answer is right, shape (N,): the label, or exactly the gold tuples."""
        rows = self.statistics["strict"]
        if self.task.card.is_label_task:
            return rows[:, -len(self.task.card.labels) :].sum(axis=1) > 0
        return (rows[:, 0] == rows[:, 1]) & (rows[:, 1] == rows[:, 3])


# Names of tasks and files


def task_of(name: str) -> Task | None:
    """The task behind a name of lm-eval; 0.5 puts the group in front: ``group::task``."""
    return load_tasks().get(name.rpartition("::")[2]) if re.fullmatch(r"[\w:]+", name) else None


def samples_beside(results: Path, task: str) -> Path:
    """Where lm-eval puts the samples of a ``results_<date>.json``; the task as it names it."""
    return results.with_name(f"samples_{task}_{_date_of(results)}.jsonl")


def results_beside(samples: Path) -> Path:
    """The results file of a sample file. lm-eval writes it first: without it a run was cut off."""
    return samples.with_name(f"results_{_date_of(samples)}.json")


def _date_of(path: Path) -> str:
    return path.stem.rpartition("_")[2]


def newest_samples(folder: Path) -> dict[str, Path]:
    """The newest sample file of each of our tasks that belongs to a finished evaluation.

    Returns:
        Task name, without a group, -> file; sorted by name.
    """
    newest: dict[str, tuple[str, Path]] = {}
    for path in sorted(folder.rglob("samples_*.jsonl")):
        task = task_of(path.stem.removeprefix("samples_").rpartition("_")[0])
        if task is not None and results_beside(path).is_file():
            found = newest.get(task.name, ("", path))
            newest[task.name] = max(found, (_date_of(path), path))
    return {task: path for task, (_, path) in sorted(newest.items())}


# Reading


def read_samples(path: Path, task: Task, *, with_texts: bool = False) -> Samples:
    """Read a sample file.

    Args:
        path: One JSON object per line and filter; only lines of the filter "none" count. They are
            joined by the item's position and never by line.
        task: The task.
        with_texts: Keep texts and answers.

    Raises:
        Unusable: If it cannot be read, has no item or one twice, or holds what no run of the task
            can have.
    """
    try:
        with path.open(encoding="utf-8", newline="\n") as lines:
            return _samples(task, _rows(lines, with_texts), with_texts)
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(f"cannot be read: {kind_of(error)}") from None
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise Unusable(f"{path.name}: not in the format of our tasks ({kind_of(error)})") from None


def kind_of(error: Exception) -> str:
    """Name an error without its text: that may quote datasets or folders."""
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__


def load_json(text: str) -> Any:
    """Read JSON of another program.

    Raises:
        Unusable: If it is none.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unusable(f"broken JSON ({kind_of(error)})") from None


def require(condition: bool, otherwise: str) -> None:
    """Refuse what no run of ours can have written.

    Raises:
        Unusable: If the condition is false.
    """
    if not condition:
        raise Unusable(f"scores that no run of ours can have: {otherwise}")


def _rows(lines: Iterable[str], with_texts: bool) -> Rows:
    """Rows by position in the test file, in its order."""
    found: dict[int, Mapping[str, Any]] = {}
    for row in (load_json(line) for line in lines if line.strip()):
        if row.get("filter", "none") == "none":
            position = int(row["doc"]["index"])
            if position in found:
                raise Unusable("an item stands twice in the samples")
            prompt = _prompt_of(row.pop("arguments", None))  # most of the file
            row["prompt"] = intern(prompt) if with_texts else ""
            found[position] = row
    return dict(sorted(found.items()))


def _prompt_of(arguments: Any) -> str:
    """The prompt among the logged arguments; empty where they were not logged.

    lm-eval writes ``{"gen_args_0": {"arg_0": prompt, ...}, ...}``, one entry per choice.
    """
    try:
        first: Any = next(iter(arguments.values()))
        return str(first["arg_0"])
    except (AttributeError, LookupError, TypeError, StopIteration):
        return ""


def _samples(task: Task, rows: Rows, with_texts: bool) -> Samples:
    if not rows:
        raise Unusable("the sample file has no row")
    indices = np.array(list(rows))
    invalid = np.array([float(row.get("invalid_rate", 0.0)) for row in rows.values()])
    n_total = split_file(task, "test").rows
    require(indices[0] >= 0 and indices[-1] < n_total, "an item outside of the test set")
    require(bool(((invalid == 0) | (invalid == 1)).all()), "invalid_rate is neither 0 nor 1")
    of_labels = _label_matrix(task, rows) if task.card.is_label_task else None
    return Samples(
        task=task,
        indices=indices,
        statistics={
            metric: _tuple_matrix([row[f"{metric}_f1"] for row in rows.values()])
            if of_labels is None
            else of_labels
            for metric in METRICS
        },
        invalid=invalid,
        data_key=_hash(rows, "doc_hash", "target_hash"),
        prompt_key=_hash(rows, "prompt_hash"),
        texts=tuple(_text(i, row, task) for i, row in rows.items()) if with_texts else (),
    )


def _label_matrix(task: Task, rows: Rows) -> Floats:
    labels = task.card.labels
    for row in rows.values():
        gold, predicted, k = cast("list[int]", row["score"])
        require(k == len(labels) and gold in range(k), "a gold label outside of the task's")
        require(predicted in range(-1, k), "a predicted label outside of the task's")
        require(row["doc"]["label"] == labels[gold], "gold is not the label of the document")
    return np.stack([label_row(row["score"]) for row in rows.values()])


def _tuple_matrix(statistics: Sequence[Any]) -> Floats:
    matrix = np.array(statistics, dtype=np.float64)
    require(matrix.shape == (len(statistics), 4), "not four statistics per item")
    require(bool(np.isfinite(matrix).all() and (matrix >= 0).all()), "a negative count or NaN")
    within = matrix[:, [0, 2]] <= matrix[:, [1, 3]] + 1e-9
    require(bool(within.all()), "more hits than tuples")
    return matrix


def _text(index: int, row: Mapping[str, Any], task: Task) -> SampleText:
    document = row["doc"]
    if task.card.is_label_task:
        predicted = predicted_label(row["score"])
        gold, answer = document["label"], "" if predicted is None else task.card.labels[predicted]
    else:
        gold, answer = document["answer"], str(row["resps"][0][0])
    # interned: every model was asked about the same texts
    return SampleText(index, intern(document["sentence"]), intern(gold), answer, row["prompt"])


def _hash(rows: Rows, *names: str) -> str:
    """Hash over items in their own order: lm-eval's depends on the order of ranks."""
    texts = (":".join((str(index), *(row[n] for n in names))) for index, row in rows.items())
    return hashlib.sha256("".join(texts).encode()).hexdigest()[:16]

"""The one reader of ``samples_<task>_<date>.jsonl``, as lm-eval writes it with ``--log_samples``.

Everything in such a file may be wrong or hostile. A file that no run of ours can have written is
unusable as a whole, with the reason; the reason never quotes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from stat import S_ISREG
from sys import intern
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from sentibench.data.cards import Task, load_tasks
from sentibench.data.pins import document_line, key_of, prompt_sha256
from sentibench.data.read import split_file
from sentibench.errors import DataError
from sentibench.prompts.demonstrations import DEFAULT_SEED
from sentibench.scoring.calibration import Answers
from sentibench.scoring.metrics import Floats, label_matrix, predicted_label
from sentibench.scoring.raw_answers import (
    chosen_label,
    generated_text,
    log_likelihoods,
    tuple_statistics,
    written_opinions,
)

METRICS: tuple[str, ...] = ("official", "strict")
MAX_SAMPLES_BYTES = 4 * 2**30
MAX_LINE = 64 * 2**20
MAX_COUNT = 1e6  # tuples in an answer
MAX_LOG_LIKELIHOOD = 1e-3  # nats; a probability is at most 1, and its logarithm is rounded
BAD_CONTENT = (
    *(LookupError, TypeError, ValueError, AttributeError),
    *(ArithmeticError, RecursionError, MemoryError),
)
"""What reading a value of an unexpected type or size raises."""


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
        data_key: Hash over position, text and gold of every item: equal where the same items were
            asked, whatever the order of ranks. See ``sentibench.data.pins``.
        prompt_key: Hash over the prompts.
        log_likelihoods: Of the labels in nats, shape (N, K); None where they were not saved, and of
            extraction tasks.
        unverified: What could not be compared with anything: ``answers`` and ``prompts`` where they
            were not saved, ``official`` scores that want a dataset which is not here.
        texts: Of the items, where they were asked for.
    """

    task: Task
    indices: NDArray[np.int64]
    statistics: Mapping[str, Floats]
    invalid: Floats
    data_key: str
    prompt_key: str
    texts: tuple[SampleText, ...]
    log_likelihoods: Floats | None = None
    unverified: frozenset[str] = frozenset()

    @property
    def n_items(self) -> int:
        """N."""
        return len(self.indices)

    @property
    def split_size(self) -> int:
        """Items of the test set."""
        return split_file(self.task, "test").rows

    @property
    def is_whole(self) -> bool:
        """Whether the model was asked about every item of the test set."""
        return self.n_items == self.split_size

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each whole answer is right, shape (N,): the label, or exactly the gold tuples."""
        rows = self.statistics["strict"]
        if self.task.card.is_label_task:
            return rows[:, -len(self.task.card.labels) :].sum(axis=1) > 0
        return (rows[:, 0] == rows[:, 1]) & (rows[:, 1] == rows[:, 3])

    @property
    def answers(self) -> Answers | None:
        """The distributions over the labels; None where no log-likelihoods are known.

        Where every answer is certain (one label, and minus infinity for the others), labels were
        written and not scored: that says nothing of probabilities.
        """
        if self.log_likelihoods is None or not (np.isfinite(self.log_likelihoods).sum(1) > 1).any():
            return None
        n_labels = len(self.task.card.labels)
        gold_N = self.statistics["official"][:, :n_labels].argmax(axis=1)
        return Answers.of(self.log_likelihoods, gold_N)


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


def newest_samples(folder: Path) -> dict[str, dict[int, Path]]:
    """The newest sample file of each of our tasks and seeds that belongs to a finished evaluation.

    Returns:
        Task name, without a group, -> seed of its demonstrations -> file; both sorted.
    """
    newest: dict[tuple[str, int], tuple[str, Path]] = {}
    for path in sorted(folder.rglob("samples_*.jsonl")):
        name = path.stem.removeprefix("samples_").rpartition("_")[0]
        task, results = task_of(name), results_beside(path)
        if task is not None and results.is_file():
            key = task.name, _demo_seed(results, name)
            newest[key] = max(newest.get(key, ("", path)), (_date_of(path), path))
    found: dict[str, dict[int, Path]] = {}
    for (task_name, seed), (_, path) in sorted(newest.items()):
        found.setdefault(task_name, {})[seed] = path
    return found


def _demo_seed(results: Path, name: str) -> int:
    """The seed of a task's demonstrations; the default where the file does not say it."""
    try:
        seed = from_json(results.read_bytes())["configs"][name]["metadata"]["demo_seed"]
    except (OSError, *BAD_CONTENT):
        return DEFAULT_SEED
    return seed if isinstance(seed, int) else DEFAULT_SEED


# Reading


def read_samples(path: Path, task: Task, *, with_texts: bool = False) -> Samples:
    """Read a sample file.

    Args:
        path: One JSON object per line and filter; only lines of the filter "none" count. They are
            joined by the item's position and never by line.
        task: The task.
        with_texts: Keep texts and answers.

    Raises:
        Unusable: If it cannot be read, has no item or one twice, holds what no run of the task can
            have, or statistics that its own answers do not have.
    """
    try:
        with open_bounded(path, MAX_SAMPLES_BYTES) as lines:
            return _samples(task, list(_items(lines, task, with_texts)))
    except OSError as error:
        raise Unusable(f"cannot be read: {kind_of(error)}") from None
    except BAD_CONTENT as error:
        raise Unusable(f"{path.name}: not in the format of our tasks ({kind_of(error)})") from None


def open_bounded(path: Path, max_bytes: int) -> BinaryIO:
    """Open a regular file of at most so many bytes.

    Raises:
        Unusable: If it is a device, a pipe or a folder, or larger.
        OSError: If it cannot be opened.
    """
    found = path.stat()
    if not S_ISREG(found.st_mode):
        raise Unusable("no regular file")
    if found.st_size > max_bytes:
        raise Unusable(f"got {found.st_size:,} bytes, expected at most {max_bytes:,}")
    return path.open("rb")


def kind_of(error: Exception) -> str:
    """Name an error without its text: that may quote datasets or folders."""
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__


def load_json(text: bytes) -> Any:
    """Read JSON of another program.

    Raises:
        Unusable: If it is none.
    """
    try:
        return from_json(text)  # three times as fast, and refuses more than 200 levels
    except ValueError:
        pass  # half of a pair of UTF-16, which models write, is a mistake to it
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


class _Item(NamedTuple):
    """What is kept of a line."""

    position: int
    statistics: Mapping[str, Sequence[float]]
    invalid: float
    document: str  # as items_key wants it
    prompt_hash: str
    text: SampleText | None
    unverified: tuple[str, ...]
    log_likelihoods: tuple[float, ...] | None


def _items(lines: BinaryIO, task: Task, with_texts: bool) -> Iterator[_Item]:
    """The items of a file, in the order of its lines."""
    n_lines, n_read, n_total = 0, 0, split_file(task, "test").rows
    while line := lines.readline(MAX_LINE + 1):
        n_lines += 1
        if len(line) > MAX_LINE:
            raise Unusable(f"a line of more than {MAX_LINE:,} bytes")
        if not line.strip():
            continue
        try:
            row = load_json(line)
        except Unusable as error:
            raise Unusable(f"line {n_lines} of the samples: {error}") from None
        if row.get("filter", "none") == "none":
            n_read += 1
            if n_read > n_total:  # before a file that never ends fills the memory
                raise Unusable(f"more than the {n_total:,} items of the test set")
            yield _item(row, task, with_texts)


def _item(row: Mapping[str, Any], task: Task, with_texts: bool) -> _Item:
    document, prompt, prompt_hash = row["doc"], _prompt_of(row), row["prompt_hash"]
    index, sentence = int(document["index"]), str(document["sentence"])
    require(index >= 0, "an item outside of the test set")
    if prompt:
        right_hash = prompt_hash == prompt_sha256(prompt)
        require(right_hash, "a prompt that has not the hash beside it")
    unverified = () if prompt else ("prompts",)
    said_labels = None
    if task.card.is_label_task:
        said_labels = log_likelihoods(row, len(task.card.labels))
        above = any(one > MAX_LOG_LIKELIHOOD for one in said_labels or ())
        require(not above, "a log-likelihood above 0")
        found, gold = _label_statistics(task, row, said_labels), str(document["label"])
        opinions = ()
    else:
        found, gold = _tuple_statistics(task, row), str(document["answer"])
        opinions = written_opinions(task, row)
    statistics, invalid, unknown = found
    said = float(row.get("invalid_rate", 0.0))
    require(said in (0, 1), "invalid_rate is neither 0 nor 1")
    require(invalid is None or said == invalid, "invalid_rate is not that of the saved answer")
    line = document_line(index, sentence, gold, opinions)
    text = None
    if with_texts:
        # interned: every model was asked about the same texts
        kept = intern(sentence), intern(gold), _answer_of(task, row), intern(prompt)
        text = SampleText(index, *kept)
    unknown = (*unverified, *unknown)
    return _Item(index, statistics, said, line, str(prompt_hash), text, unknown, said_labels)


def _answer_of(task: Task, row: Mapping[str, Any]) -> str:
    if not task.card.is_label_task:
        return generated_text(row) or ""
    predicted = predicted_label(row["score"])
    return "" if predicted is None else task.card.labels[predicted]


def _prompt_of(row: Mapping[str, Any]) -> str:
    """The prompt among the logged arguments; empty where they were not logged.

    lm-eval writes ``{"gen_args_0": {"arg_0": prompt, ...}, ...}``, one entry per choice.
    """
    arguments: Any = row.get("arguments")
    if not arguments:
        return ""
    prompt, *others = [of_choice["arg_0"] for of_choice in arguments.values()]
    require(all(other == prompt for other in others), "an item with several prompts")
    return str(prompt)


Statistics = Mapping[str, Sequence[float]]
Found = tuple[Statistics, bool | None, tuple[str, ...]]
"""Statistics, whether the answer was unreadable (None: unknown), and what was not verified."""


def _label_statistics(
    task: Task, row: Mapping[str, Any], said_labels: tuple[float, ...] | None
) -> Found:
    labels = task.card.labels
    gold, predicted, k = cast("list[int]", row["score"])
    require(k == len(labels) and gold in range(k), "a gold label outside of the task's")
    require(predicted in range(-1, k), "a predicted label outside of the task's")
    require(row["doc"]["label"] == labels[gold], "gold is not the label of the document")
    chosen = None if said_labels is None else chosen_label(said_labels)
    require(chosen in (None, predicted), "a label that is not the likeliest of the saved answers")
    unverified = ("answers",) if chosen is None else ()
    return {"label": (gold, predicted)}, predicted == -1, unverified


def _tuple_statistics(task: Task, row: Mapping[str, Any]) -> Found:
    saved = {metric: tuple(map(float, row[f"{metric}_f1"])) for metric in METRICS}
    for of_metric in saved.values():
        require(len(of_metric) == 4, "not four statistics per item")
        found, predicted, recalled, gold = of_metric
        require(all(0 <= x < MAX_COUNT for x in of_metric), "a negative or an endless count")
        within = found <= predicted + 1e-9 and recalled <= gold + 1e-9
        require(within, "more hits than tuples")
    of_answer = tuple_statistics(task, row)
    if of_answer is None:
        return saved, None, ("answers",)
    computed, invalid = of_answer
    for metric, values in computed.items():
        same = all(abs(a - b) < 1e-6 for a, b in zip(values, saved[metric], strict=True))
        require(same, f"{metric} statistics that the saved answer does not have")
    return saved, invalid, tuple(metric for metric in METRICS if metric not in computed)


def _samples(task: Task, items: list[_Item]) -> Samples:
    if not items:
        raise Unusable("the sample file has no row")
    items.sort(key=lambda item: item.position)
    indices = np.array([item.position for item in items])
    if (np.diff(indices) == 0).any():
        raise Unusable("an item occurs twice in the samples")
    n_total = split_file(task, "test").rows
    require(int(indices[-1]) < n_total, "an item outside of the test set")
    if task.card.is_label_task:
        pairs = np.array([item.statistics["label"] for item in items], dtype=int)
        rows = label_matrix(pairs[:, 0], pairs[:, 1], len(task.card.labels))
        statistics = dict.fromkeys(METRICS, rows)
    else:
        statistics = {m: np.array([item.statistics[m] for item in items]) for m in METRICS}
    said = [item.log_likelihoods for item in items]
    return Samples(
        task=task,
        indices=indices,
        statistics=statistics,
        invalid=np.array([item.invalid for item in items]),
        data_key=key_of(item.document for item in items),
        prompt_key=key_of(item.prompt_hash for item in items),
        texts=tuple(item.text for item in items if item.text),
        log_likelihoods=None if None in said else np.array(said),
        unverified=frozenset(chain.from_iterable(item.unverified for item in items)),
    )

"""Predictions of a method that is no language model -> the files that the leaderboard reads.

They have the form of lm-eval's, so that one reader checks both: every score is computed again from
the predicted labels, which are the answers. What a method was asked is the text itself: no prompts
stand in them.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from sentibench.data.cards import TASK_VERSION, Task
from sentibench.data.read import load_split
from sentibench.data.records import Example
from sentibench.errors import InputError
from sentibench.files import write_beside
from sentibench.scoring import metrics
from sentibench.scoring.parse import parse_label
from sentibench.scoring.predictions import Given, answered_items
from sentibench.scoring.raw_answers import chosen_label
from sentibench.scoring.samples import samples_beside

BACKEND = "not-a-language-model"
"""Stands where lm-eval writes what follows ``--model``: the leaderboard knows such rows by it."""
MAX_LINE = 200
MAX_SECONDS = 1e9
MAX_BYTES = 2**50


def is_plain_line(text: Any) -> bool:
    """Whether a name or a method can be shown: a line with a letter or digit, no part of a path."""
    return (
        isinstance(text, str)
        and len(text) <= MAX_LINE
        and text.isprintable()
        and text == text.strip()
        and bool(re.search(r"[^\W_]", text))
        and not re.search(r"[/\\]", text)
    )


@dataclass(frozen=True, slots=True)
class Peer:
    """A method that is no language model.

    Attributes:
        name: Of its row.
        method: What it is, for readers who compare it with language models.
        seconds: What answering one task took, loading included; None if unknown.
        peak_memory_bytes: Largest memory of that; None if unknown.

    Raises:
        InputError: If a text is no plain line, or a number is none that could be.
    """

    name: str
    method: str
    seconds: float | None = None
    peak_memory_bytes: int | None = None

    def __post_init__(self) -> None:
        for option, text in (("--name", self.name), ("--not-a-language-model", self.method)):
            if not is_plain_line(text):
                raise InputError(
                    f"score {option}: got {json.dumps(text)[:80]}, expected one line of up to "
                    f"{MAX_LINE} characters without slashes"
                )
        numbers = (("--seconds", self.seconds, MAX_SECONDS),)
        numbers += (("--peak-memory-bytes", self.peak_memory_bytes, MAX_BYTES),)
        for option, number, end in numbers:
            if number is not None and not 0 < number < end:  # NaN is neither
                raise InputError(
                    f"score {option}: got {number}, expected a number above 0 and below {end:,.0f}"
                )


def write_results(
    folder: Path,
    task: Task,
    predictions: Sequence[Given],
    peer: Peer,
    date: float | None = None,
    limit: int | None = None,
) -> Path:
    """Write results and samples of the test split of a label task below a folder.

    Args:
        folder: What the leaderboard will be given; a folder of the method's name is made in it.
        task: A task with labels.
        predictions: N answers in the order of the items.
        peer: Whose they are.
        date: Seconds since 1970; now if None.
        limit: Only so many of the first items were answered; all if None.

    Returns:
        The results file.

    Raises:
        InputError: If the task has no labels, an answer is another than the first of the likeliest
            labels, or the folder cannot be written.
    """
    if not task.card.is_label_task:
        raise InputError(
            f"score --results: {task.name} asks for lists of opinions, expected a task with labels"
        )
    pairs = zip(answered_items(task, "test", predictions, limit), predictions, strict=True)
    rows = [_row(task, example, given) for example, given in pairs]
    date = time.time() if date is None else date
    stamp = datetime.fromtimestamp(date, timezone.utc).strftime("%Y-%m-%dT%H-%M-%S.%f")
    home = folder / re.sub(r"[^\w-]+", "_", peer.name)
    path = home / f"results_{stamp}.json"
    samples = "".join(json.dumps(row) + "\n" for row in rows)
    try:
        home.mkdir(parents=True, exist_ok=True)
        write_beside(samples_beside(path, task.name), samples)
        write_beside(path, json.dumps(_summary(task, rows, peer, date, limit), indent=1) + "\n")
    except OSError as error:
        raise InputError(f"score --results: {home} cannot be written: {error.strerror}") from None
    return path


def _row(task: Task, example: Example, given: Given) -> dict[str, Any]:
    """An item as lm-eval's ``--log_samples`` writes it, as far as it is read."""
    labels = task.card.labels
    said = parse_label(given.text, task.card.classes).label
    predicted = -1 if said is None else labels.index(said)
    row: dict[str, Any] = {
        "doc_id": example.index,
        "filter": "none",
        "doc": {"index": example.index, "sentence": example.sentence, "label": example.label},
        "prompt_hash": "",
        "arguments": {},
    }
    if given.probabilities is not None:
        found = [given.probabilities[label] for label in labels]
        logs = [math.log(p) if p > 0 else -math.inf for p in found]
        likeliest = chosen_label(logs)
        if predicted != likeliest:
            raise InputError(
                f"score --results: item {example.index}: got the prediction {said}, expected "
                f"{labels[likeliest]}, the first of labels with one probability; leave prediction "
                "out where probabilities are given"
            )
        row["resps"] = [[[str(one), "False"]] for one in logs]
    gold = labels.index(str(example.label))
    return row | {"score": [gold, predicted, len(labels)], "invalid_rate": float(predicted < 0)}


def _summary(
    task: Task, rows: Sequence[dict[str, Any]], peer: Peer, date: float, limit: int | None
) -> dict[str, Any]:
    """A results file of one task."""
    statistics = np.stack([metrics.label_row(row["score"]) for row in rows])
    results = {
        "score,none": float(metrics.macro_f1(statistics.sum(axis=0))),
        "invalid_rate,none": float(np.mean([row["invalid_rate"] for row in rows])),
    }
    split_size = len(load_split(task, "test").examples)
    config: dict[str, Any] = {"metadata": {}, "num_fewshot": 0}
    if task.source == "own":
        config["dataset_path"] = "own"
    return {
        "results": {task.name: results},
        "configs": {task.name: config},
        "versions": {task.name: TASK_VERSION},
        "n-shot": {task.name: 0},
        "n-samples": {task.name: {"original": split_size, "effective": len(rows)}},
        "config": {
            "model": BACKEND,
            "model_args": {"method": peer.method},
            "limit": None if limit is None else float(limit),
            "peak_memory_bytes": peer.peak_memory_bytes,
        },
        "date": date,
        "model_name": peer.name,
        "total_evaluation_time_seconds": peer.seconds,
    }

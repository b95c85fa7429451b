"""Predictions in a file -> scores, with the code that scores a run in lm-eval."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from sentibench.data.cards import Card, Task
from sentibench.data.read import load_split
from sentibench.data.records import Example
from sentibench.errors import InputError, refuse_missing
from sentibench.scoring import metrics
from sentibench.scoring.parse import parse_label
from sentibench.scoring.statistics import bootstrap_stderr


def read_predictions(path: Path, n_items: int) -> list[str]:
    """Read lines ``{"index": i, "prediction": "text"}``.

    Args:
        path: JSON lines, UTF-8.
        n_items: Items of the split; each must be predicted exactly once.

    Returns:
        The N texts in the order of the items.

    Raises:
        InputError: If the file cannot be read, a line is no such object, or an index is missing,
            repeated or foreign. The message names the line.
    """
    refuse_missing(path, 'JSON lines {"index": 0, "prediction": "text"}')
    try:
        lines = path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: got {error.reason}, expected UTF-8 text") from None
    numbered = [(f"{path}:{n}", line) for n, line in enumerate(lines, start=1) if line.strip()]
    return in_item_order(
        [(where, *_read_line(line, where)) for where, line in numbered],
        n_items,
        end=f"{path}:{len(lines)}",
    )


def in_item_order(predictions: Sequence[tuple[str, int, str]], n_items: int, end: str) -> list[str]:
    """Put predictions into the order of the items.

    Args:
        predictions: (where it was given, index, text).
        n_items: Items of the split; each must be predicted exactly once.
        end: Where the predictions end, for the error about missing ones.

    Raises:
        InputError: If an index is missing, repeated or foreign.
    """
    found: dict[int, tuple[str, str]] = {}
    for where, index, text in predictions:
        if not 0 <= index < n_items:
            raise InputError(
                f"{where}: foreign index; got {index}, expected 0 to {n_items - 1}; "
                "indices count the items of the split from 0"
            )
        if index in found:
            raise InputError(
                f"{where}: index {index} was already given in {found[index][0]}; "
                "expected each item once; remove one of the two"
            )
        found[index] = where, text
    missing = [index for index in range(n_items) if index not in found]
    if missing:
        raise InputError(
            f"{end}: the file ends without {len(missing)} of {n_items} items "
            f"(first missing: {', '.join(map(str, missing[:5]))}); add a line for each, with an "
            "empty prediction where the model gave none"
        )
    return [found[index][1] for index in range(n_items)]


def _read_line(line: str, where: str) -> tuple[int, str]:
    try:
        match json.loads(line):
            case {"index": int(index), "prediction": str(text)} if not isinstance(index, bool):
                return index, text
            case _:
                problem = f"got {line[:80]}"
    except (ValueError, RecursionError) as error:
        problem = f"broken JSON ({getattr(error, 'msg', type(error).__name__)})"
    raise InputError(f'{where}: {problem}, expected {{"index": 0, "prediction": "text"}}')


def score_predictions(task: Task, split: str, predictions: list[str]) -> dict[str, Any]:
    """Score one answer per item of a split.

    Args:
        task: The task.
        split: ``test``, ``train`` or ``val``.
        predictions: N answer texts in file order. An extraction answer is taken whole; cut a raw
            generation with ``parse.answer_text`` first.

    Returns:
        ``task``, ``split``, ``n``, ``score``, ``score_stderr`` and ``invalid_rate``; for label
        tasks ``acc``, ``macro_f1`` and ``per_class``; for extraction tasks ``official`` and
        ``strict``, each with ``precision``, ``recall`` and ``f1``. Fractions in [0, 1].

    Raises:
        ValueError: If the number of predictions is not that of the items.
    """
    card, examples = task.card, load_split(task, split).examples
    if len(predictions) != len(examples):
        raise ValueError(f"{len(predictions)} predictions for {len(examples)} items")
    measure = _score_labels if card.is_label_task else _score_tuples
    head = {"task": task.name, "split": split, "n": len(examples)}
    return head | measure(card, examples, predictions)


def _score_labels(
    card: Card, examples: tuple[Example, ...], predictions: list[str]
) -> dict[str, Any]:
    labels = card.labels
    guesses = [parse_label(text, card.classes).label for text in predictions]
    positions = [None if guess is None else labels.index(guess) for guess in guesses]
    gold = [labels.index(cast(str, example.label)) for example in examples]
    pairs = zip(gold, positions, strict=True)
    rows = np.stack([metrics.label_statistics(*pair, len(labels)) for pair in pairs])
    sums = rows.sum(axis=0)
    value = float(metrics.macro_f1(sums))
    per_class = zip(labels, *metrics.class_scores(sums), strict=True)
    return {
        "acc": float(metrics.accuracy(sums)),
        "macro_f1": value,
        "per_class": {label: _named(scores) for label, *scores in per_class},
        "invalid_rate": guesses.count(None) / len(guesses),
        "score": value,
        "score_stderr": bootstrap_stderr(rows, metrics.macro_f1),
    }


def _named(scores: Iterable[metrics.Floats]) -> dict[str, float]:
    return dict(zip(("precision", "recall", "f1"), map(float, scores), strict=True))


def _score_tuples(
    card: Card, examples: tuple[Example, ...], predictions: list[str]
) -> dict[str, Any]:
    items = list(zip(examples, predictions, strict=True))
    official = np.array([metrics.official_statistics(card, *item) for item in items])
    strict, invalid = zip(*(metrics.strict_statistics(card, *item) for item in items), strict=True)
    values: dict[str, Any] = {
        "official": _named(metrics.precision_recall_f1(official.sum(axis=0))),
        "strict": _named(metrics.precision_recall_f1(np.array(strict).sum(axis=0))),
    }
    return values | {
        "invalid_rate": sum(invalid) / len(invalid),
        "score": values["official"]["f1"],
        "score_stderr": bootstrap_stderr(official, metrics.tuple_f1),
    }

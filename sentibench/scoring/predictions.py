"""Predictions in a file -> scores, with the code that scores a run in lm-eval."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from sentibench.data.cards import Card, Label, Task
from sentibench.data.read import load_split
from sentibench.data.records import Example
from sentibench.errors import InputError, refuse_missing
from sentibench.scoring import calibration, metrics
from sentibench.scoring.parse import parse_label
from sentibench.scoring.statistics import bootstrap_stderr

T = TypeVar("T")
MAX_EXCESS = 0.005  # of each probability: people round to two digits


class Given(NamedTuple):
    """What a model answered to one item; probabilities of all labels, where it gave them."""

    text: str
    probabilities: Mapping[str, float] | None = None


def read_predictions(path: Path, n_items: int, classes: Sequence[Label] = ()) -> list[Given]:
    """Read lines ``{"index": i, "prediction": "text"}``, each perhaps with ``probabilities``.

    Args:
        path: JSON lines, UTF-8.
        n_items: Items of the split; each must be predicted exactly once.
        classes: Of a label task. ``"probabilities": {"positive": 0.7, "negative": 0.3}`` has all
            labels; then ``prediction`` may be left out, and is the likeliest.

    Returns:
        The N answers in the order of the items.

    Raises:
        InputError: If the file cannot be read, a line is no such object or gives a name twice, an
            index is missing, repeated or foreign, a prediction is not the likeliest label, or some
            lines have probabilities and some not. The message names the line.
    """
    refuse_missing(path, f"JSON lines {_forms(classes)}")
    try:
        lines = path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: got {error.reason}, expected UTF-8 text") from None
    numbered = [(f"{path}:{n}", line) for n, line in enumerate(lines, start=1) if line.strip()]
    read = [(where, *_read_line(line, where, classes)) for where, line in numbered]
    bare = [where for where, _, given in read if given.probabilities is None]
    if 0 < len(bare) < len(read):
        raise InputError(
            f"{bare[0]}: no probabilities, although other lines have them; give them on all lines "
            "or on none"
        )
    return in_item_order(read, n_items, end=f"{path}:{len(lines)}")


def in_item_order(predictions: Sequence[tuple[str, int, T]], n_items: int, end: str) -> list[T]:
    """Put predictions into the order of the items.

    Args:
        predictions: (where it was given, index, answer).
        n_items: Items of the split; each must be predicted exactly once.
        end: Where the predictions end, for the error about missing ones.

    Raises:
        InputError: If an index is missing, repeated or foreign.
    """
    found: dict[int, tuple[str, T]] = {}
    for where, index, answer in predictions:
        if not 0 <= index < n_items:
            raise InputError(
                f"{where}: got the index {index}, expected 0 to {n_items - 1}; "
                "indices count the items of the split from 0"
            )
        if index in found:
            raise InputError(
                f"{where}: index {index} was already given in {found[index][0]}; "
                "expected each item once; remove one of the two"
            )
        found[index] = where, answer
    missing = [index for index in range(n_items) if index not in found]
    if missing:
        raise InputError(
            f"{end}: the file ends without {len(missing)} of {n_items} items "
            f"(first missing: {', '.join(map(str, missing[:5]))}); add a line for each, with an "
            "empty prediction where the model gave none"
        )
    return [found[index][1] for index in range(n_items)]


def _forms(classes: Sequence[Label]) -> str:
    """What a line may be."""
    text = '{"index": 0, "prediction": "text"}'
    if not classes:
        return text
    even = {label.name: round(1 / len(classes), 2) for label in classes}
    return f"{text} or {_shown({'index': 0, 'probabilities': even})}"


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _no_name_twice(where: str, pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise InputError(
                f"{where}: got {_shown(name)[:80]} twice in one object, expected each name once; "
                "remove one of the two"
            )
        found[name] = value
    return found


def _read_line(line: str, where: str, classes: Sequence[Label]) -> tuple[int, Given]:
    problem = f"got {line[:80]}"
    try:
        match json.loads(line, object_pairs_hook=partial(_no_name_twice, where)):
            case {"index": int(index), **rest} if not isinstance(index, bool):
                text, raw = rest.get("prediction"), rest.get("probabilities")
                if raw is not None:
                    found = _distribution(raw, where, [label.name for label in classes])
                    likeliest = max(found, key=found.__getitem__)
                    text = likeliest if text is None else text
                    if isinstance(text, str):
                        said = parse_label(text, classes).label or likeliest
                        if found[said] == found[likeliest]:
                            return index, Given(text, found)
                        raise InputError(
                            f"{where}: got the prediction {said}, expected the likeliest label, "
                            f"{likeliest}; leave prediction out, or probabilities on all lines"
                        )
                elif isinstance(text, str):
                    return index, Given(text)
            case _:
                pass
    except (ValueError, RecursionError) as error:
        problem = f"broken JSON ({getattr(error, 'msg', type(error).__name__)})"
    raise InputError(f"{where}: {problem}, expected {_forms(classes)}")


def _distribution(raw: Any, where: str, labels: Sequence[str]) -> dict[str, float]:
    """Probabilities in the order of the labels; the first of equal ones is the likeliest."""
    if not labels:
        raise InputError(f"{where}: probabilities: the task has no labels; leave them out")
    expected = f"expected a number from 0 to 1 for each of {', '.join(labels)}"
    if not isinstance(raw, dict) or set(cast("dict[str, Any]", raw)) != set(labels):
        raise InputError(f"{where}: probabilities: got {_shown(raw)[:80]}, {expected}")
    found = {label: cast("dict[str, Any]", raw)[label] for label in labels}
    for label, p in found.items():
        if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0 <= p <= 1:
            raise InputError(f"{where}: probabilities: {label}: got {_shown(p)[:80]}, {expected}")
    if abs((total := sum(found.values())) - 1) > MAX_EXCESS * len(labels) + 1e-9:
        raise InputError(f"{where}: probabilities: got a sum of {total:.4f}, expected 1")
    return found


def answered_items(
    task: Task, split: str, predictions: Sequence[str | Given], limit: int | None = None
) -> tuple[Example, ...]:
    """The items that predictions are for: all of a split, or the first ``limit``.

    Raises:
        ValueError: If the number of predictions is not that of the items.
    """
    examples = load_split(task, split).examples[:limit]
    if len(predictions) != len(examples):
        raise ValueError(f"{len(predictions)} predictions for {len(examples)} items")
    return examples


def score_predictions(
    task: Task, split: str, predictions: Sequence[str | Given], limit: int | None = None
) -> dict[str, Any]:
    """Score one answer per item of a split, or of its beginning.

    Args:
        task: The task.
        split: ``test``, ``train`` or ``val``.
        predictions: N answers in file order. An extraction answer is taken whole; cut a raw
            generation with ``parse.answer_text`` first.
        limit: Only so many of the first items were answered; all if None.

    Returns:
        ``task``, ``split``, ``n``, ``score``, ``score_stderr`` and ``invalid_rate``; for label
        tasks ``acc``, ``macro_f1`` and ``per_class``, and where the predictions have probabilities
        ``ece``, ``brier``, ``nll`` and ``coverage_at_5`` with their standard errors; for extraction
        tasks ``official`` and ``strict``, each with ``precision``, ``recall`` and ``f1``. Fractions
        in [0, 1], but ``brier`` in [0, 2] and ``nll`` in nats.

    Raises:
        ValueError: If the number of predictions is not that of the items.
    """
    card, examples = task.card, answered_items(task, split, predictions, limit)
    measure = _score_labels if card.is_label_task else _score_tuples
    head = {"task": task.name, "split": split, "n": len(examples)}
    given = [Given(one) if isinstance(one, str) else one for one in predictions]
    return head | measure(card, examples, given)


def _score_labels(
    card: Card, examples: tuple[Example, ...], predictions: Sequence[Given]
) -> dict[str, Any]:
    labels = card.labels
    guesses = [parse_label(given.text, card.classes).label for given in predictions]
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
    } | _calibration(predictions, np.array(gold))


def _calibration(predictions: Sequence[Given], gold_N: NDArray[np.int64]) -> dict[str, float]:
    """The metrics of probabilities; nothing where there are none."""
    said = [list(given.probabilities.values()) for given in predictions if given.probabilities]
    if not said:
        return {}
    with np.errstate(divide="ignore"):
        answers = calibration.Answers.of(np.log(said), gold_N)
    return {
        name + suffix: measure(name, answers)
        for name in calibration.METRICS
        for suffix, measure in (("", calibration.value), ("_stderr", calibration.stderr))
    }


def _named(scores: Iterable[metrics.Floats]) -> dict[str, float]:
    return dict(zip(("precision", "recall", "f1"), map(float, scores), strict=True))


def _score_tuples(
    card: Card, examples: tuple[Example, ...], predictions: Sequence[Given]
) -> dict[str, Any]:
    items = list(zip(examples, (given.text for given in predictions), strict=True))
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

"""Statistics of a saved item, computed again from the answer that was saved with it.

A sample file holds both: what the model answered, and the statistics that lm-eval collected. The
second is what a score is made from, and anybody can edit a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import inf, isnan
from typing import Any, cast

from sentibench.data.cards import Task
from sentibench.data.read import load_split_at_hand
from sentibench.data.records import Example, SentimentTuple
from sentibench.scoring import metrics
from sentibench.scoring.parse import answer_text

Item = Mapping[str, Any]
"""One line of a sample file."""


def log_likelihoods(item: Item, n_labels: int) -> tuple[float, ...] | None:
    """The saved log-likelihoods of the labels in nats; None where they were not saved.

    Raises:
        ValueError: If it is not one for each label.
    """
    # lm-eval writes [[["-0.7", "False"]], ...]: per choice its answers, each with its greediness
    saved = item.get("resps", ())
    if not any(saved):
        return None
    found = tuple(float(answers[0][0]) for answers in saved)
    if len(found) != n_labels:
        raise ValueError(f"{len(found)} answers, {n_labels} labels")
    return found


def chosen_label(found: Sequence[float]) -> int:
    """The first of the likeliest labels; -1 if one is NaN or all are minus infinity."""
    return -1 if any(map(isnan, found)) or max(found) == -inf else found.index(max(found))


def generated_text(item: Item) -> str | None:
    """The saved generation; None where it was not saved."""
    answers = item.get("resps", ())
    return str(answers[0][0]) if answers and answers[0] else None


def written_opinions(task: Task, item: Item) -> tuple[tuple[str, ...], ...]:
    """The gold opinions of a saved document, elements in the order of the task."""
    elements, opinions = task.card.elements, item["doc"].get("opinions", ())
    return tuple(tuple(str(opinion[element]) for element in elements) for opinion in opinions)


def tuple_statistics(
    task: Task, item: Item
) -> tuple[dict[str, metrics.TupleStatistics], bool] | None:
    """Score the saved generation of an extraction item again.

    The gold is the document's, which has to be that of the dataset. Official sentiment-graph F1
    wants the positions of the gold opinions too: these are taken from the dataset where this
    machine has it, and that metric is left out where it has not.

    Returns:
        Metric -> statistics, and whether the answer was unreadable; None where the generation was
        not saved.
    """
    generated = generated_text(item)
    if generated is None:
        return None
    position, sentence = int(item["doc"]["index"]), str(item["doc"]["sentence"])
    opinions = written_opinions(task, item)
    return _scored(task, position, sentence, opinions, answer_text(generated))


@lru_cache(maxsize=50_000)  # models agree on many answers
def _scored(
    task: Task, position: int, sentence: str, opinions: tuple[tuple[str, ...], ...], answer: str
) -> tuple[dict[str, metrics.TupleStatistics], bool]:
    example = _example(task, position, sentence, opinions)
    found: dict[str, metrics.TupleStatistics] = {}
    if task.card.metric != "graph_f1" or all(opinion.spans for opinion in example.opinions):
        found["official"] = metrics.official_statistics(task.card, example, answer)
    found["strict"], invalid = metrics.strict_statistics(task.card, example, answer)
    return found, invalid


def _example(
    task: Task, position: int, sentence: str, opinions: Sequence[tuple[str, ...]]
) -> Example:
    """The gold item: of the dataset, or as the document says where that is not at hand."""
    split = load_split_at_hand(task, "test")
    if split is not None:
        own = split.examples[position]
        written = [opinion.written(task.card.elements) for opinion in own.opinions]
        if (own.sentence, written) == (sentence, list(opinions)):
            return own
    named = (dict(zip(task.card.elements, parts, strict=True)) for parts in opinions)
    tuples = tuple(SentimentTuple(**cast("Any", parts)) for parts in named)
    return Example(position, sentence, answer="", opinions=tuples)

"""The scores. Every one is a function of per-item statistics that add up.

A statistic is a vector per item; a metric is computed from the sum over items. So one code scores a
run, a class, or ten thousand bootstrap replicates (``statistics.bootstrap_stderr``).

Label tasks (K labels): one-hot gold, one-hot prediction, one-hot hit; 3K numbers.
Extraction tasks: weight of hits among predictions, predictions, weight of hits among gold, gold.

Source of the ``official`` metrics: Zhang et al. 2025, arXiv 2503.03225, the scorer in the
scripts at the pinned commit; of sentiment-graph F1: Barnes et al. 2022, SemEval-2022 Task 10.
``strict`` is ours: gold given back scores 1 on every task.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentibench.data.cards import Card
from sentibench.data.records import Example
from sentibench.scoring.graphs import match_graphs, score_graphs
from sentibench.scoring.parse import normalise, parse_official, parse_strict

Floats = NDArray[np.float64]
TupleStatistics = tuple[float, float, float, float]
"""Weight of hits among predictions, predictions, weight of hits among gold, gold."""
LabelItem = Sequence[int]
"""Gold, predicted, K: an item of a label task as lm-eval carries and saves it."""


def score_function(card: Card) -> Callable[[Floats], Floats]:
    """The function from summed statistics, shape (..., S), to the score of a dataset, (...)."""
    return macro_f1 if card.is_label_task else tuple_f1


# Label tasks


def predicted_label(item: LabelItem) -> int | None:
    """Position of the predicted label; None for an unreadable answer, which is -1 in an item."""
    _, predicted, _ = item
    return None if predicted == -1 else predicted


def label_row(item: LabelItem) -> Floats:
    """``label_statistics`` of an item."""
    gold, _, n_labels = item
    return label_statistics(gold, predicted_label(item), n_labels)


def label_statistics(gold: int, predicted: int | None, n_labels: int) -> Floats:
    """Encode one item of a label task.

    Args:
        gold: Position of the gold label, in [0, n_labels).
        predicted: Position of the predicted label; None for an unreadable answer, which is wrong
            for every label.
        n_labels: K.

    Returns:
        3K zeros and ones: gold, predicted, hit.
    """
    statistics = np.zeros(3 * n_labels)
    statistics[gold] = 1
    if predicted is not None:
        statistics[n_labels + predicted] = 1
        statistics[2 * n_labels + gold] = float(predicted == gold)
    return statistics


def label_matrix(
    gold_N: NDArray[np.int64], predicted_N: NDArray[np.int64], n_labels: int
) -> Floats:
    """``label_statistics`` of N items at once; a predicted position of -1 is an unreadable answer.

    Returns:
        Shape (N, 3K).
    """
    items_N = np.arange(len(gold_N))
    matrix = np.zeros((len(gold_N), 3 * n_labels))
    matrix[items_N, gold_N] = 1
    read_N = predicted_N >= 0
    matrix[items_N[read_N], n_labels + predicted_N[read_N]] = 1
    hit_N = predicted_N == gold_N
    matrix[items_N[hit_N], 2 * n_labels + gold_N[hit_N]] = 1
    return matrix


def confusion(items_NX: Floats) -> list[list[int]]:
    """Count the answers to the items of each label.

    Args:
        items_NX: ``label_statistics`` of N items, X = 3K.

    Returns:
        K rows, one per gold label, of K + 1 counts: per predicted label, and unreadable answers.
    """
    gold_NK, predicted_NK, _ = np.split(items_NX, 3, axis=1)
    k = gold_NK.shape[1]
    matrix = np.zeros((k, k + 1), dtype=int)
    columns_N = predicted_NK.argmax(axis=1)
    columns_N[predicted_NK.sum(axis=1) == 0] = k
    np.add.at(matrix, (gold_NK.argmax(axis=1), columns_N), 1)
    return matrix.tolist()


def class_scores(sums: Floats) -> tuple[Floats, Floats, Floats]:
    """Precision, recall and F1 per label.

    Args:
        sums: ``label_statistics`` summed over items, shape (..., 3K).

    Returns:
        Three arrays of shape (..., K) in [0, 1]; 0 where a label was never predicted or is not in
        gold.
    """
    gold, predicted, hits = np.split(sums, 3, axis=-1)
    return _ratio(hits, predicted), _ratio(hits, gold), _ratio(2 * hits, gold + predicted)


def macro_f1(sums: Floats) -> Floats:
    """Unweighted mean of F1 over the full label list of the task.

    Args:
        sums: ``label_statistics`` summed over items, shape (..., 3K). A label absent from gold and
            predictions counts as 0, so that scores of different runs have one meaning.

    Returns:
        Shape (...), in [0, 1].
    """
    return class_scores(sums)[2].mean(axis=-1)


def accuracy(sums: Floats) -> Floats:
    """Share of right answers, from the same sums as ``macro_f1``."""
    gold, _, hits = np.split(sums, 3, axis=-1)
    return _ratio(hits.sum(axis=-1), gold.sum(axis=-1))


# Extraction tasks


def precision_recall_f1(sums: Floats) -> tuple[Floats, Floats, Floats]:
    """Micro precision, recall and F1 of tuples.

    Args:
        sums: ``TupleStatistics`` summed over items, shape (..., 4).

    Returns:
        Three arrays of shape (...), in [0, 1]. Precision is 1 when nothing at all is predicted, as
        in the authors' scorer; recall is 0 when there is nothing to find.
    """
    hits_predicted, predicted, hits_gold, gold = np.moveaxis(sums, -1, 0)
    precision = _ratio(hits_predicted, predicted, empty=1.0)
    recall = _ratio(hits_gold, gold)
    return precision, recall, _ratio(2 * precision * recall, precision + recall)


def tuple_f1(sums: Floats) -> Floats:
    """Micro F1 of tuples; see ``precision_recall_f1``."""
    return precision_recall_f1(sums)[2]


def _ratio(numerator: Floats, denominator: Floats, empty: float = 0.0) -> Floats:
    filled = np.full(np.broadcast(numerator, denominator).shape, empty)
    return np.divide(numerator, denominator, out=filled, where=denominator != 0)


def official_statistics(card: Card, example: Example, answer: str) -> TupleStatistics:
    """Score one extraction answer as the authors' scorer does.

    Args:
        card: An extraction dataset.
        example: The gold item.
        answer: The answer text (``parse.answer_text`` cuts it out of a generation).

    Returns:
        The statistics of the item. Repeated predictions and repeated gold tuples count each time.
    """
    predicted = parse_official(card, answer)
    if card.metric == "graph_f1":
        return score_graphs(example, predicted)
    gold = gold_tuples(card, example)
    gold_set, predicted_set = set(gold), {p for p in predicted if _is_text_tuple(p)}
    return (
        float(sum(_is_text_tuple(p) and p in gold_set for p in predicted)),
        float(len(predicted)),
        float(sum(g in predicted_set for g in gold)),
        float(len(gold)),
    )


def _is_text_tuple(element: Any) -> bool:
    """Whether an element as read can equal a gold tuple; others may not even be hashable."""
    return isinstance(element, tuple) and all(isinstance(part, str) for part in element)  # pyright: ignore[reportUnknownVariableType]


def gold_tuples(card: Card, example: Example) -> list[tuple[str, ...]]:
    """The gold list of an item as the prompt writes it.

    De-duplicated in order for ACSA, ASQP and SSA; for ATSA each (span, polarity) once, so a term
    that stands twice counts twice.
    """
    written = [opinion.written(card.elements) for opinion in example.opinions]
    return written if card.format == "atsa" else list(dict.fromkeys(written))


def strict_statistics(card: Card, example: Example, answer: str) -> tuple[TupleStatistics, bool]:
    """Score one extraction answer by the strict metric.

    One-to-one multiset matching. "No opinion" is an answer like others: an empty list against an
    empty gold list is one hit, and one miss against any other. An unreadable answer is one wrong
    prediction.

    Returns:
        The statistics of the item, and whether the answer was unreadable.
    """
    prediction = parse_strict(len(card.elements), answer)
    gold = [tuple(map(normalise, parts)) for parts in gold_tuples(card, example)]
    predicted = list(prediction.tuples)
    if prediction.problem is not None:
        return (0.0, 1.0, 0.0, float(max(len(gold), 1))), True
    if not gold or not predicted:
        hit = float(not gold and not predicted)
        return (hit, float(max(len(predicted), 1)), hit, float(max(len(gold), 1))), False
    if card.metric == "graph_f1":
        hits_predicted, hits_gold = match_graphs(example.sentence, predicted, gold)
    else:
        readable = Counter(p for p in predicted if p is not None)
        hits_predicted = hits_gold = float((readable & Counter(gold)).total())
    return (hits_predicted, float(len(predicted)), hits_gold, float(len(gold))), False

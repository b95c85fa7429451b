"""Results as lm-eval asks for them: statistics of each document, then one number per task."""

# pyright: basic
# A document's unknowns end in this module.

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sentibench.data.cards import load_tasks
from sentibench.data.read import load_split
from sentibench.harness.documents import Document
from sentibench.scoring import calibration, metrics
from sentibench.scoring.parse import answer_text
from sentibench.scoring.raw_answers import chosen_label
from sentibench.scoring.statistics import bootstrap_stderr


def label_results(doc: Document, results: Sequence[tuple[float, bool]]) -> dict[str, Any]:
    """Score one document of a label task.

    Args:
        doc: See ``document_of``.
        results: Log-likelihood in nats and greediness of each choice, in the order of ``choices``.

    Returns:
        ``acc`` and ``invalid_rate`` (0 or 1) and, for the metrics over all documents,
        (gold, predicted, K), or (gold, K log-likelihoods) for those of calibration. The
        first of equally likely labels wins, as in the authors' argmax. A model that gives NaN, or
        minus infinity to every label, has predicted nothing: -1, wrong for every label.
    """
    log_likelihoods = [float(log_likelihood) for log_likelihood, _ in results]
    predicted = chosen_label(log_likelihoods)
    item = (doc["gold"], predicted, len(doc["choices"]))
    said = (doc["gold"], *log_likelihoods)
    values: dict[str, Any] = dict.fromkeys(("macro_f1", "score"), item)
    values |= dict.fromkeys(calibration.METRICS, said)
    values |= {f"{name}_stderr": of_item for name, of_item in values.items()}
    return {"acc": float(predicted == doc["gold"]), "invalid_rate": float(predicted == -1)} | values


def extraction_results(doc: Document, results: Sequence[str]) -> dict[str, Any]:
    """Score one document of an extraction task.

    Args:
        doc: See ``document_of``.
        results: The generated text.

    Returns:
        The four additive statistics (``metrics.TupleStatistics``) of both metrics, under every name
        that is computed from them, and ``invalid_rate`` (0 or 1).
    """
    task = load_tasks()[doc["task"]]
    example = load_split(task, doc.get("split", "test")).examples[doc["index"]]
    answer = answer_text(results[0])
    official = metrics.official_statistics(task.card, example, answer)
    strict, invalid = metrics.strict_statistics(task.card, example, answer)
    values: dict[str, Any] = dict.fromkeys(("score", "score_stderr"), official)
    for name, statistics in (("official", official), ("strict", strict)):
        for measure in ("precision", "recall", "f1", "f1_stderr"):
            values[f"{name}_{measure}"] = statistics
    return values | {"invalid_rate": float(invalid)}


LabelItems = Sequence[tuple[int, int, int]]
TupleItems = Sequence[metrics.TupleStatistics]


def _label_matrix(items: LabelItems) -> metrics.Floats:
    return np.stack([metrics.label_row(item) for item in items])


def macro_f1(items: LabelItems) -> float:
    """Aggregate the items of ``label_results`` to macro-F1."""
    return float(metrics.macro_f1(_label_matrix(items).sum(axis=0)))


def macro_f1_stderr(items: LabelItems) -> float:
    """Bootstrap standard error of ``macro_f1``."""
    return bootstrap_stderr(_label_matrix(items), metrics.macro_f1)


SaidItems = Sequence[Sequence[float]]
"""Gold and the log-likelihoods of K labels of each item."""


def _answers(items: SaidItems) -> calibration.Answers:
    said = np.array(items, dtype=np.float64)
    return calibration.Answers.of(said[:, 1:], said[:, 0].astype(np.int64))


def _aggregations(name: str) -> tuple[Callable[[SaidItems], float], Callable[[SaidItems], float]]:
    """A metric of calibration and its standard error, as functions of the items."""

    def value(items: SaidItems) -> float:
        return calibration.value(name, _answers(items))

    def stderr(items: SaidItems) -> float:
        return calibration.stderr(name, _answers(items))

    return value, stderr


ece, ece_stderr = _aggregations("ece")
brier, brier_stderr = _aggregations("brier")
nll, nll_stderr = _aggregations("nll")
coverage_at_5, coverage_at_5_stderr = _aggregations("coverage_at_5")


def precision(items: TupleItems) -> float:
    """Aggregate the items of ``extraction_results`` to precision."""
    return _precision_recall_f1(items)[0]


def recall(items: TupleItems) -> float:
    """Aggregate the items of ``extraction_results`` to recall."""
    return _precision_recall_f1(items)[1]


def f1(items: TupleItems) -> float:
    """Aggregate the items of ``extraction_results`` to F1."""
    return _precision_recall_f1(items)[2]


def f1_stderr(items: TupleItems) -> float:
    """Bootstrap standard error of ``f1``."""
    return bootstrap_stderr(np.array(items, dtype=np.float64), metrics.tuple_f1)


def _precision_recall_f1(items: TupleItems) -> tuple[float, float, float]:
    # fsum-like order independence: rank gathering permutes items
    sums = np.sort(np.array(items, dtype=np.float64), axis=0).sum(axis=0)
    first, second, third = metrics.precision_recall_f1(sums)
    return float(first), float(second), float(third)

"""The scores as an ``evaluate.Metric`` class that works offline.

``evaluate.load`` fetches code from a hub at run time; an imported class does not.
"""

# pyright: basic
# The libraries used here publish no complete types: their unknowns end in this module.

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from sentibench.data.cards import task_named
from sentibench.data.read import load_split
from sentibench.scoring.predictions import in_item_order, score_predictions


class SentiBenchMetric(evaluate.Metric):
    """Scores predictions on the test set of one task.

    Predictions are answer texts. References are the positions of their items in the test file.

    Example:
        >>> metric = SentiBenchMetric("mini_sst2")
        >>> metric.compute(predictions=texts, references=range(len(texts)))["score"]
    """

    def __init__(self, config_name: str, **kwargs: Any) -> None:
        self.task = task_named(config_name, "SentiBenchMetric")
        super().__init__(config_name=self.task.name, **kwargs)

    def _info(self) -> evaluate.MetricInfo:
        card = self.task.card
        return evaluate.MetricInfo(
            description=f"SentiBench {card.title}: {card.metric}; see sentibench.scoring.metrics",
            citation=card.citation,
            inputs_description="predictions: answer texts; references: positions in the test file",
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("int32")}
            ),
        )

    def _compute(self, predictions: list[str], references: list[int]) -> dict[str, Any]:
        """Score the test split; each item must be referred to once."""
        pairs = enumerate(zip(references, predictions, strict=True))
        given = [(f"predictions[{n}]", *pair) for n, pair in pairs]
        n_items = len(load_split(self.task, "test").examples)
        return score_predictions(self.task, "test", in_item_order(given, n_items, "predictions"))

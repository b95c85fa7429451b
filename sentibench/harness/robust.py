"""How much an answer depends on the prompt: one item asked in several ways.

Each of the first items of a label task is asked under wordings of our own, with the labels listed
in another order, and with the demonstrations in another order.
"""

# pyright: basic
# The libraries used here publish no complete types: their unknowns end in this module.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import datasets
import numpy as np

from sentibench.data.cards import Task
from sentibench.data.read import load_split
from sentibench.data.records import Example
from sentibench.errors import InputError
from sentibench.harness.documents import Document, document_of
from sentibench.harness.results import label_results
from sentibench.harness.task import DemonstrationSampler, LabelTask
from sentibench.scoring import metrics
from sentibench.scoring.statistics import bootstrap_stderr

ITEMS = 100
"""The first items of a test set, each asked once per variant."""


class Variant(NamedTuple):
    """A way of asking: number of the wording, and what stands in the reverse order."""

    wording: int
    labels_reversed: bool = False
    demonstrations_reversed: bool = False


VARIANTS = (
    Variant(0),
    Variant(1),
    Variant(2),
    Variant(0, labels_reversed=True),
    Variant(0, demonstrations_reversed=True),
)


def instruction(task: Task, wording: str, example: Example, variant: Variant) -> str:
    """A wording with its labels, as "negative, neutral or positive", and its target filled in."""
    labels = task.card.labels[::-1] if variant.labels_reversed else task.card.labels
    listed = f"{', '.join(labels[:-1])} or {labels[-1]}"
    return wording.replace("LABELS", listed).replace("TARGET", example.target or "")


class RobustTask(LabelTask):
    """A label task whose documents are the first items, each in all variants.

    The task file lists the wordings.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        settings = dict(config)
        self.wordings: Sequence[str] = settings.pop("wordings")
        super().__init__(settings)
        self.sampler = _Sampler(self.definition, self.demo_seed, self.split)

    def build_all_requests(self, *, limit: int | None = None, **kwargs: Any) -> Any:
        """Build the requests of this rank; see the base class."""
        if limit is not None and limit < len(VARIANTS):  # else it fails when the model has run
            raise InputError(
                f"--limit: got {limit}, expected at least {len(VARIANTS)} for {self.config.task}: "
                f"its prompts are {len(VARIANTS)} variants of each item"
            )
        if (shots := int(self.config.num_fewshot or 0)) < 2:  # two variants would be one prompt
            raise InputError(
                f"--num_fewshot: got {shots}, expected at least 2 for {self.config.task}: one of "
                "its variants shows the demonstrations in reverse"
            )
        return super().build_all_requests(limit=limit, **kwargs)

    def download(self, *_: Any, **__: Any) -> None:
        """Build the documents: the variants of an item stand together."""
        task = self.definition
        documents = [
            document_of(task, example, self.split)
            | {"variant": number}
            | {"instruction": instruction(task, self.wordings[variant.wording], example, variant)}
            for example in load_split(task, self.split).examples[:ITEMS]
            for number, variant in enumerate(VARIANTS)
        ]
        self.dataset = {"test": datasets.Dataset.from_list(documents)}


class _Sampler(DemonstrationSampler):
    def sample(self, n: int, eval_doc: Document | None = None, **_: Any) -> Sequence[Document]:
        shown = super().sample(n, eval_doc)
        assert eval_doc is not None
        is_reversed = VARIANTS[eval_doc["variant"]].demonstrations_reversed
        return shown[::-1] if is_reversed else shown


# Results

Items = Sequence[tuple[int, int, int, int, int]]
"""Position in the test set, variant, gold, predicted (-1: unreadable), K; one per prompt."""
OVER_ALL = (
    *("score", "score_stderr", "score_low", "score_high", "score_sd"),
    *("agreement", "agreement_stderr"),
)
"""The metrics that need all prompts."""


def robust_results(doc: Document, results: Sequence[tuple[float, bool]]) -> dict[str, Any]:
    """Score one prompt: ``invalid_rate`` (0 or 1), and an item of every other metric."""
    found = label_results(doc, results)
    item = (doc["index"], doc["variant"], *found["score"])
    return dict.fromkeys(OVER_ALL, item) | {"invalid_rate": found["invalid_rate"]}


def _asked(items: Items) -> tuple[metrics.Floats, metrics.Floats]:
    """Of the N items that were asked in all V variants, in their order.

    Returns:
        Statistics for macro-F1, shape (N, V, 3K), and predictions, shape (N, V).

    Raises:
        InputError: If there is none.
    """
    by_index: dict[int, dict[int, tuple[int, int, int]]] = {}
    for index, variant, *item in items:
        by_index.setdefault(index, {})[variant] = (item[0], item[1], item[2])
    whole = [of for _, of in sorted(by_index.items()) if len(of) == len(VARIANTS)]
    if not whole:
        raise InputError(
            f"--samples: got no item in all of its {len(VARIANTS)} variants, expected prompts "
            f"{len(VARIANTS)} n to {len(VARIANTS)} n + {len(VARIANTS) - 1} for an item n"
        )
    rows = [[metrics.label_row(of[v]) for v in range(len(VARIANTS))] for of in whole]
    return np.array(rows), np.array([[of[v][1] for v in range(len(VARIANTS))] for of in whole])


def _scores(items: Items) -> metrics.Floats:
    """Macro-F1 of each variant."""
    return metrics.macro_f1(_asked(items)[0].sum(axis=0))


def score(items: Items) -> float:
    """Mean over the variants of macro-F1."""
    return float(_scores(items).mean())


def score_low(items: Items) -> float:
    """The lowest macro-F1 of a variant."""
    return float(_scores(items).min())


def score_high(items: Items) -> float:
    """The highest macro-F1 of a variant."""
    return float(_scores(items).max())


def score_sd(items: Items) -> float:
    """Standard deviation of macro-F1 over the variants (ddof 1)."""
    return float(_scores(items).std(ddof=1))


def score_stderr(items: Items) -> float:
    """Bootstrap standard error of ``score``; an item is drawn with all its variants."""
    rows_NVS, _ = _asked(items)

    def mean_f1(sums_BX: metrics.Floats) -> metrics.Floats:
        return metrics.macro_f1(sums_BX.reshape(-1, *rows_NVS.shape[1:])).mean(axis=-1)

    return bootstrap_stderr(rows_NVS.reshape(len(rows_NVS), -1), mean_f1)


def _agreement(items: Items) -> metrics.Floats:
    """Share of the pairs of variants with the same label, per item; unreadable agrees with none."""
    _, predicted_NV = _asked(items)
    pairs = list(combinations(range(predicted_NV.shape[1]), 2))
    equal = [
        (predicted_NV[:, a] == predicted_NV[:, b]) & (predicted_NV[:, a] >= 0) for a, b in pairs
    ]
    return np.mean(equal, axis=0)


def agreement(items: Items) -> float:
    """Share of all pairs of variants of an item that were answered with the same label."""
    return float(_agreement(items).mean())


def agreement_stderr(items: Items) -> float:
    """Bootstrap standard error of ``agreement``."""
    shares_N = _agreement(items)

    def mean(sums_B1: metrics.Floats) -> metrics.Floats:
        return sums_B1[:, 0] / len(shares_N)

    return bootstrap_stderr(shares_N[:, None], mean)

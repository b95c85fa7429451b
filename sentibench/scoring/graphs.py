"""Sentiment graphs: opinions as sets of tokens, and how much two of them share.

Source: Barnes et al. 2022, SemEval-2022 Task 10 (sentiment-graph F1), as the authors' scorer
applies it (Zhang et al. 2025, arXiv 2503.03225, scripts at the pinned commit); ``match_graphs`` is
the strict variant and ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, cast

import numpy as np

from sentibench.data.records import ABSENT, Example, Span

Tokens = frozenset[int]
"""Positions of tokens in a sentence that is split at single blanks."""

DUMMY: Tokens = frozenset((-1,))
"""What an absent holder or target covers, so that two absent ones agree."""


@dataclass(frozen=True, slots=True)
class Graph:
    """A structured opinion. An expression that covers no token matches nothing.

    Attributes:
        elements: What holder, target and expression cover.
        polarity: In the case in which it is compared.
    """

    elements: tuple[Tokens, Tokens, Tokens]
    polarity: str

    def overlaps(self, other: Graph) -> bool:
        """Whether holder, target and expression each share a token with those of ``other``."""
        return all(own & its for own, its in zip(self.elements, other.elements, strict=True))

    def share_in(self, other: Graph) -> float:
        """Share of the own tokens that ``other`` covers, in [0, 1]: mean over the elements."""
        pairs = zip(self.elements, other.elements, strict=True)
        return sum(len(own & its) / len(own) for own, its in pairs) / 3


def _graph(polarity: str, holder: Tokens, aspect: Tokens, opinion: Tokens) -> Graph:
    return Graph((holder or DUMMY, aspect or DUMMY, opinion), polarity)


@lru_cache(maxsize=1024)
def _token_spans(sentence: str) -> tuple[Span, ...]:
    spans: list[Span] = []
    start = 0
    for token in sentence.split(" "):
        spans.append((start, start + len(token)))
        start += len(token) + 1
    return tuple(spans)


def _covered(sentence: str, spans: Iterable[Span]) -> Tokens:
    """Tokens from the one that begins at a span's start to the one that ends at its end.

    If no token ends there, to the end of the sentence; if none begins there, nothing.
    """
    tokens = _token_spans(sentence)
    covered: set[int] = set()
    for start, end in spans:
        first = next((i for i, token in enumerate(tokens) if token[0] == start), None)
        if first is None:
            continue
        ends = (i for i, token in enumerate(tokens) if i >= first and token[1] == end)
        covered.update(range(first, next(ends, len(tokens) - 1) + 1))
    return frozenset(covered)


def _gold_graphs(example: Example) -> list[Graph]:
    locate = partial(_covered, example.sentence)
    return [
        _graph(
            opinion.polarity.capitalize(), *map(locate, (spans.holder, spans.aspect, spans.opinion))
        )
        for opinion in example.opinions
        if (spans := opinion.spans) is not None
    ]


def _guess(sentence: str, parts: Sequence[Any]) -> Graph:
    def locate(pieces: Iterable[str]) -> Tokens:
        found = ((sentence.find(piece), piece) for piece in pieces)
        return _covered(sentence, [(at, at + len(piece)) for at, piece in found if at >= 0])

    holder, aspect, opinion, polarity = (p if isinstance(p, str) else ABSENT for p in parts)
    aspects, opinions = (map(str.strip, part.split("AND")) for part in (aspect, opinion))
    return _graph(polarity.capitalize(), *map(locate, ([holder], aspects, opinions)))


def score_graphs(
    example: Example, predicted: Sequence[Sequence[Any]]
) -> tuple[float, float, float, float]:
    """Score one item by the official sentiment-graph F1.

    Args:
        example: The gold item; its opinions carry spans.
        predicted: Tuples of (holder, target, expression, polarity) as read from the answer; a part
            that is no string counts as NULL.

    Returns:
        Weight of hits among predictions, number of predictions, weight of hits among gold, number
        of gold opinions.
    """
    gold = _gold_graphs(example)
    guesses = [_guess(example.sentence, parts) for parts in predicted]
    return (
        sum(_official_weight(guess, gold) for guess in guesses),
        float(len(guesses)),
        sum(_official_weight(graph, guesses) for graph in gold),
        float(len(gold)),
    )


def _official_weight(graph: Graph, others: Sequence[Graph]) -> float:
    """0 without a match in polarity, else the best share over all that overlap, any polarity."""
    overlapping = [other for other in others if graph.overlaps(other)]
    if not any(other.polarity == graph.polarity for other in overlapping):
        return 0.0
    return max(graph.share_in(other) for other in overlapping)


def match_graphs(
    sentence: str,
    predicted: Sequence[tuple[str, ...] | None],
    gold: Sequence[tuple[str, ...]],
) -> tuple[float, float]:
    """Match predicted to gold opinions one-to-one, by the strict metric.

    Both sides are located by one rule: per piece between " AND ", the first occurrence that begins
    and ends with a token, else the tokens that the first occurrence touches. Only opinions of equal
    polarity that overlap in all three elements may be matched; the matching with the largest
    total share (mean of both directions) counts.

    Args:
        sentence: The sentence, tokens separated by single blanks.
        predicted: P tuples of (holder, target, expression, polarity); None for a wrong element.
        gold: G tuples of the same form.

    Returns:
        Summed share of the matched predictions in [0, P], of the matched gold opinions in [0, G].
    """
    guesses = [_strict_graph(sentence, parts) for parts in predicted if parts is not None]
    targets = [_strict_graph(sentence, parts) for parts in gold]
    shares = np.zeros((2, len(guesses), len(targets)))
    for i, guess in enumerate(guesses):
        for j, target in enumerate(targets):
            if guess.polarity == target.polarity and guess.overlaps(target):
                shares[:, i, j] = guess.share_in(target), target.share_in(guess)
    # scipy takes longer to import than a task takes to score, and one metric needs it
    from scipy.optimize import (
        linear_sum_assignment,  # pyright: ignore[reportUnknownVariableType]
    )

    rows, columns = cast(tuple[Any, Any], linear_sum_assignment(shares.sum(axis=0), maximize=True))
    of_predicted, of_gold = shares[:, rows, columns].sum(axis=1)
    return float(of_predicted), float(of_gold)


def _strict_graph(sentence: str, parts: tuple[str, ...]) -> Graph:
    *elements, polarity = parts
    return _graph(polarity, *(_locate_strictly(sentence, text) for text in elements))


def _locate_strictly(sentence: str, text: str) -> Tokens:
    if text == ABSENT:
        return frozenset()
    tokens = _token_spans(sentence)
    starts, ends = {start for start, _ in tokens}, {end for _, end in tokens}
    covered: set[int] = set()
    for piece in filter(None, text.split(" AND ")):
        found = [at for at in range(len(sentence)) if sentence.startswith(piece, at)]
        whole = [at for at in found if at in starts and at + len(piece) in ends]
        for at in (whole or found)[:1]:
            end = at + len(piece)
            covered.update(i for i, token in enumerate(tokens) if token[0] < end and token[1] > at)
    return frozenset(covered)

"""A teacher's liking for some words, taken out of its distributions over labels.

A model may find one word likelier than another whatever the text says. For each set of words, the
mean of its distributions over all texts tells how much; dividing by it leaves what the text says:

    corrected p(word | text) = p(word | text) / mean p(word), divided by the sum over the words

No label is needed, only texts whose classes are about equally frequent. Source: Zhou et al. 2024,
Batch Calibration, section 3; the idea of a prior to divide by: Zhao et al. 2021, section 4.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from distill.files import OnDemand
from sentibench.remote.records import Answer, Failure, Request
from sentibench.scoring import calibration

FEWEST = 20  # answers of a set of words; the mean of fewer says little
SMALLEST = 0.1  # of an even share: a word that is never chosen is not made the likeliest
Pair = tuple[Request, Answer | Failure]
Pairs = Sequence[Pair]


@dataclass(frozen=True, slots=True)
class Corrected:
    """Answers, and what the correction did to them.

    Attributes:
        pairs: In the order in which they were given.
        moved: Per set of words how many labels became others, of how many.
        as_they_were: Scored answers that were not corrected, per reason.
    """

    pairs: Pairs
    moved: Mapping[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    as_they_were: Mapping[str, int] = field(default_factory=dict[str, int])


class _Mended(OnDemand[Pair]):
    """Pairs of which some answers have other scores, and so perhaps another label."""

    def __init__(
        self, pairs: Pairs, scored: Mapping[int, tuple[tuple[str, ...], NDArray[np.float64]]]
    ) -> None:
        self._pairs, self._scored = pairs, scored

    def one(self, number: int) -> Pair:
        """As it was, or with the corrected scores."""
        request, answer = self._pairs[number]
        if number not in self._scored or isinstance(answer, Failure):
            return request, answer
        words, scores_K = self._scored[number]
        scores = tuple(map(float, scores_K))
        return request, replace(answer, text=words[int(scores_K.argmax())], log_likelihoods=scores)

    def __len__(self) -> int:
        return len(self._pairs)


def without_bias(pairs: Pairs) -> Corrected:
    """Correct the answers that scored labels of user texts; all others stay."""
    places: dict[tuple[str, ...], list[int]] = defaultdict(list)
    said: dict[tuple[str, ...], list[tuple[float, ...]]] = defaultdict(list)
    labels: dict[tuple[str, ...], list[str]] = defaultdict(list)
    stays: dict[str, int] = defaultdict(int)
    for place, (request, answer) in enumerate(pairs):
        if not isinstance(answer, Answer) or not answer.log_likelihoods:
            continue
        if request.meta.get("family") == "other":  # nobody says that its classes are even
            stays["of tasks of another kind"] += 1
        elif not calibration.is_answer(np.array([answer.log_likelihoods]))[0]:
            stays["without a number"] += 1
        else:
            places[request.choices].append(place)
            said[request.choices].append(answer.log_likelihoods)
            labels[request.choices].append(answer.text)
    moved: dict[str, tuple[int, int]] = {}
    scored: dict[int, tuple[tuple[str, ...], NDArray[np.float64]]] = {}
    for words, of_set in sorted(places.items()):
        if len(of_set) < FEWEST:
            stays[f"under words that fewer than {FEWEST} answers have"] += len(of_set)
            continue
        scores_NK: NDArray[np.float64] = _scores(np.array(said.pop(words)))
        scored |= {
            place: (words, scores_K) for place, scores_K in zip(of_set, scores_NK, strict=True)
        }
        best = (words[int(scores_K.argmax())] for scores_K in scores_NK)
        n_moved = sum(new != label for new, label in zip(best, labels[words], strict=True))
        moved[" / ".join(words)] = n_moved, len(of_set)
    return Corrected(_Mended(pairs, scored) if scored else pairs, moved, dict(stays))


def _scores(log_likelihoods_NK: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms of p / mean p, but for a term that all words of a row share."""
    p_NK = calibration.probabilities(log_likelihoods_NK)
    prior_K = np.maximum(p_NK.mean(axis=0), SMALLEST / p_NK.shape[1])
    return np.log(np.maximum(p_NK, calibration.FLOOR)) - np.log(prior_K)

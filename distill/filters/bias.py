"""A teacher's liking for some words, taken out of its distributions over labels.

A model may find one word likelier than another whatever the text says. For each set of words, the
mean of its distributions over all texts tells how much; dividing by it leaves what the text says:

    corrected p(word | text) = p(word | text) / mean p(word), divided by the sum over the words

No label is needed, only texts whose classes are about equally frequent. Source: Zhou et al. 2024,
Batch Calibration, section 3; the idea of a prior to divide by: Zhao et al. 2021, section 4.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sentibench.remote.records import Answer, Failure, Request
from sentibench.scoring import calibration

FEWEST = 20  # answers of a set of words; the mean of fewer says little
Pairs = list[tuple[Request, Answer | Failure]]


def without_bias(
    pairs: Sequence[tuple[Request, Answer | Failure]],
) -> tuple[Pairs, dict[str, tuple[int, int]]]:
    """Correct the answers that scored labels; all others stay.

    Returns:
        The pairs in their order, and per set of words how many labels became others, of how many.
    """
    places: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, (request, answer) in enumerate(pairs):
        if isinstance(answer, Answer) and answer.log_likelihoods:
            places[request.choices].append(place)
    corrected, moved = list(pairs), dict[str, tuple[int, int]]()
    for words, of_set in sorted(places.items()):
        answers = [answer for _, answer in (pairs[n] for n in of_set) if isinstance(answer, Answer)]
        p_NK = calibration.probabilities(np.array([answer.log_likelihoods for answer in answers]))
        if len(answers) < FEWEST:
            continue
        scores_NK = np.log(np.maximum(p_NK, calibration.FLOOR)) - np.log(p_NK.mean(axis=0))
        n_moved = 0
        for place, answer, scores_K in zip(of_set, answers, scores_NK, strict=True):
            label = words[int(scores_K.argmax())]
            n_moved += label != answer.text
            scores = tuple(map(float, scores_K))
            corrected[place] = (
                pairs[place][0],
                replace(answer, text=label, log_likelihoods=scores),
            )
        moved["/".join(words)] = (n_moved, len(answers))
    return corrected, moved

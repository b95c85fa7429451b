"""Which samples are worth training on: how far a small model is from the teacher's tokens.

Source: CompEffDist, Xie et al. 2025, arXiv 2510.24425, difficulty-based data filtering.
Axis letters: T response tokens, V vocabulary.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from hashlib import sha256

import numpy as np
from numpy.typing import ArrayLike, NDArray

NUCLEUS = 0.95
TOLERANCE = 1e-6
"""Of a probability: 32-bit logarithms must not decide whether 0.95 has been reached."""


def token_difficulty(
    log_p_TV: NDArray[np.floating], target_T: NDArray[np.integer], nucleus: float = NUCLEUS
) -> float:
    """How hard the teacher's response is for a model.

    A token at rank x (from 0; tokens of equal probability share the best rank) of a smallest
    nucleus of n tokens scores x/n inside the nucleus and 1 outside. Tokens at rank 0 are left out.

    Args:
        log_p_TV: Natural logarithms of the model's probabilities, before each response token.
        target_T: The teacher's tokens.
        nucleus: Cumulative probability, in (0, 1].

    Returns:
        Mean score of the remaining tokens, in (0, 1]; 0 if there are none.

    Raises:
        ValueError: If the shapes do not fit, a token is not in the vocabulary, or a row is no
            distribution (logits, for example).
    """
    if log_p_TV.ndim != 2 or target_T.shape != log_p_TV.shape[:1]:
        raise ValueError(f"shapes: got {log_p_TV.shape}, {target_T.shape}; expected (T, V), (T,)")
    if target_T.size and not 0 <= target_T.min() <= target_T.max() < log_p_TV.shape[1]:
        raise ValueError(f"target_T: expected tokens below {log_p_TV.shape[1]}; got {target_T}")
    scores = [
        _rank_score(np.exp(log_p_V.astype(np.float64)), int(token), nucleus)
        for log_p_V, token in zip(log_p_TV, target_T, strict=True)
    ]
    hard = [score for score in scores if score > 0]
    return float(np.mean(hard)) if hard else 0.0


def _rank_score(p_V: NDArray[np.float64], token: int, nucleus: float) -> float:
    if not abs(p_V.sum() - 1) < 1e-3:  # also refuses NaN
        raise ValueError(f"log_p_TV: a row sums to {p_V.sum()}, expected log-probabilities")
    rank = int(np.count_nonzero(p_V > p_V[token]))
    if rank == 0:
        return 0.0
    if p_V[p_V > p_V[token]].sum() >= nucleus - TOLERANCE:
        return 1.0
    cumulative = np.cumsum(np.sort(p_V)[::-1])
    size = int(np.count_nonzero(cumulative < nucleus - TOLERANCE)) + 1
    return rank / size


def keep_probability(relative_rank: ArrayLike, ratio: float) -> NDArray[np.float64]:
    """F(x) = x^(1/r - 1): harder samples are kept more often, and the mean over x is r.

    Args:
        relative_rank: x in [0, 1], from the easiest to the hardest sample of a group.
        ratio: r in (0, 1], the fraction to keep.

    Returns:
        Probabilities in [0, 1], in the shape of ``relative_rank``.
    """
    return np.asarray(relative_rank, np.float64) ** (1 / ratio - 1)


def select_hard_samples(
    difficulties: Mapping[str, float], groups: Mapping[str, str], ratio: float, seed: int
) -> tuple[str, ...]:
    """Select the samples to train on.

    The relative rank is (i + 1/2) / N for the i-th of N samples of a group, from the easiest: the
    mean of F is then nearest to the ratio (the paper does not say which of the ways to count it
    means). Equal difficulties are ranked by a hash of key and seed. Whether a sample is kept
    depends on its rank and a random number of its own, never on the order of the mappings.

    Args:
        difficulties: Request key -> difficulty.
        groups: Request key -> prompt group; ranks are within a group.
        ratio: The fraction to keep, in (0, 1].
        seed: Of the random numbers.

    Returns:
        The keys that are kept, ascending.

    Raises:
        ValueError: If a key has no group, or a difficulty is NaN.
    """
    members: defaultdict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for key, difficulty in difficulties.items():
        if key not in groups or np.isnan(difficulty):
            raise ValueError(f"request {key}: expected a group and a difficulty; got {difficulty}")
        members[groups[key]].append((difficulty, _uniform(f"rank {seed} {key}"), key))
    kept: list[str] = []
    for group in members.values():
        ranks = (np.arange(len(group)) + 0.5) / len(group)
        probabilities = keep_probability(ranks, ratio)
        for probability, (_, _, key) in zip(probabilities, sorted(group), strict=True):
            if _uniform(f"keep {seed} {key}") < probability:
                kept.append(key)
    return tuple(sorted(kept))


def select_at_random(keys: Iterable[str], ratio: float, seed: int) -> tuple[str, ...]:
    """The keys that are kept, ascending: each with the same probability.

    Args:
        keys: Of requests, in any order.
        ratio: The fraction to keep, in (0, 1].
        seed: Of the random numbers.
    """
    return tuple(sorted(key for key in keys if _uniform(f"keep {seed} {key}") < ratio))


def _uniform(text: str) -> float:
    """Number in [0, 1) that depends on the text alone."""
    digest = sha256(text.encode("utf-8", "surrogatepass")).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53  # all that a float can tell apart

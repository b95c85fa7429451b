"""Which training examples are in the prompt of which test item."""

from __future__ import annotations

import random
import re
from functools import lru_cache

from sentibench.errors import InputError

DEFAULT_SEED = 42
PAPER_SEEDS = (42, 52, 62)


@lru_cache(maxsize=256)
def draw_demonstrations(
    seed: int, n_train: int, n_test: int, shots: int
) -> tuple[tuple[int, ...], ...]:
    """Draw the demonstrations of every test item, as the authors' scripts do.

    They seed Python's generator once and sample without replacement for test item 0, 1, 2, ... in
    file order. Drawing for all items and looking one up makes the result independent of which
    items are evaluated, in what order and in how many processes.

    Args:
        seed: 42, 52 and 62 in the paper.
        n_train: Training examples to draw from.
        n_test: Test items of the dataset (not of a limited run).
        shots: Demonstrations per item, K.

    Returns:
        ``n_test`` tuples of K positions in the training file, in the order of the prompt.

    Raises:
        InputError: If K is negative or larger than the training set.

    Source: Zhang et al. 2025, arXiv 2503.03225, scripts at the pinned commit.
    """
    if not 0 <= shots <= n_train:
        raise InputError(
            f"shots: cannot draw demonstrations; got {shots}, expected 0 to {n_train} "
            "(the size of the training set); choose a smaller --num_fewshot or --shots"
        )
    generator = random.Random(seed)
    return tuple(tuple(generator.sample(range(n_train), shots)) for _ in range(n_test))


def parse_seed(value: object, where: str) -> int:
    """Read a demonstration seed from the command line or from lm-eval's metadata.

    Raises:
        InputError: If it is no integer.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,18}\s*", value):
        return int(value)
    paper = ", ".join(map(str, PAPER_SEEDS))
    raise InputError(
        f"{where}: got {str(value)[:40]!r}, expected a whole number; the paper's seeds are {paper}"
    )

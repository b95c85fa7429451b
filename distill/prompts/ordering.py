"""The texts of a run in seeded orders, by their numbers: the texts themselves stay on the disk."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from distill.texts.sources import Text


class Ordering:
    """What prompts are drawn by: of a million texts it holds ids, sources and labels alone.

    Args:
        texts: All texts of the run, read once here and then by their numbers.
    """

    def __init__(self, texts: Sequence[Text]) -> None:
        self.texts = texts
        known: dict[str, str] = {}  # a source or a label is held once
        facts = [(t.id, known.setdefault(t.source, t.source), t.label) for t in texts]
        self.sources = [source for _, source, _ in facts]
        self.labels = [known.setdefault(label, label) if label else label for *_, label in facts]
        ids = [id_ for id_, *_ in facts]
        self.by_id = sorted(range(len(ids)), key=ids.__getitem__)

    def shuffled(self, seed: str, fits: Callable[[int], bool] | None = None) -> list[int]:
        """Numbers of the texts, or of those that fit, in a seeded order of their own."""
        numbers = [n for n in self.by_id if fits(n)] if fits else list(self.by_id)
        random.Random(seed).shuffle(numbers)
        return numbers

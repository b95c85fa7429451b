"""What every model is asked, as hashes: the items of a test set and their prompts.

The cards hold these hashes (``pins``), so that a result can be compared with the benchmark itself
and not with other results. ``docs/pin_cards.py`` writes them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import chain

from sentibench.data.cards import Task
from sentibench.data.records import Example

SEPARATOR = "\x1f"


def key_of(lines: Iterable[str]) -> str:
    """Hash lines, in their order: the first 32 hexadecimal digits of sha256."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()[:32]


def document_line(
    index: int, sentence: str, gold: str, opinions: Iterable[Sequence[str]] = ()
) -> str:
    """One item as it is hashed.

    Args:
        index: Position in the test file.
        sentence: The text.
        gold: The label, or the tuples as a prompt writes them.
        opinions: Elements of each gold tuple; none for label tasks.
    """
    # no text of the datasets holds this separator
    return SEPARATOR.join((str(index), sentence, gold, *chain.from_iterable(opinions)))


def items_key(task: Task, examples: Iterable[Example]) -> str:
    """Hash the items of a test set."""
    elements = task.card.elements
    return key_of(
        document_line(
            example.index,
            example.sentence,
            example.label or example.answer,
            [opinion.written(elements) for opinion in example.opinions],
        )
        for example in examples
    )


def prompt_sha256(prompt: str) -> str:
    """Hash one prompt as lm-eval does in its sample files."""
    return hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()


def prompts_key(prompts: Iterable[str]) -> str:
    """Hash the prompts of a test set, in its order."""
    return key_of(map(prompt_sha256, prompts))

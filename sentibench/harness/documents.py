"""The documents of a task: what the templates in tasks_yaml/ see of an example."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from sentibench.data.cards import Card, Task
from sentibench.data.fetch import data_home
from sentibench.data.instructions import load_instruction
from sentibench.data.records import Example

Document = dict[str, Any]


def document_of(task: Task, example: Example, split: str = "test") -> Document:
    """Render an example as the document that the templates see.

    Returns:
        ``index``, ``task``, ``sentence`` and ``instruction``; for label tasks ``label``,
        ``choices`` (the scoring words) and ``gold`` (position of the label), with ``target`` where
        the dataset has one; for extraction tasks ``answer`` (as the prompt writes it) and
        ``opinions``; ``split`` where that is not the test split.
    """
    card = task.card
    document: Document = {
        "index": example.index,
        "task": task.name,
        "sentence": example.sentence,
        "instruction": _instruction(task, example),
    }
    if split != "test":
        document["split"] = split
    if example.target is not None:
        document["target"] = example.target
    if example.label is not None:
        document["label"] = example.label
        if task.source == "own":
            document["answer"] = example.answer
        document["choices"] = list(card.scoring_words)
        document["gold"] = card.labels.index(example.label)
    else:
        document["answer"] = example.answer
        document["opinions"] = [
            dict(zip(card.elements, opinion.written(card.elements), strict=True))
            for opinion in example.opinions
        ]
    return document


def _instruction(task: Task, example: Example) -> str:
    if task.source == "mini":
        return ""  # our own wording stands in the task files
    wording = task.card.instruction or _raw_instruction(task.card, data_home())
    return wording.replace("%s", example.target or "")


@lru_cache
def _raw_instruction(card: Card, home: Path) -> str:
    return load_instruction(card, home)

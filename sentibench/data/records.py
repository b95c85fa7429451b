"""What is measured: one gold item, one opinion in it, one understood answer."""

from __future__ import annotations

from dataclasses import dataclass

ABSENT = "NULL"
"""How the authors write an element that a sentence does not name."""

Span = tuple[int, int]
"""First character and the one behind the last, in the sentence."""


@dataclass(frozen=True, slots=True)
class OpinionSpans:
    """Where a structured opinion stands; a discontinuous element has several spans.

    Attributes:
        holder: Empty where the sentence names none.
        aspect: Empty where the sentence names none.
        opinion: At least one.
    """

    holder: tuple[Span, ...]
    aspect: tuple[Span, ...]
    opinion: tuple[Span, ...]

    def __post_init__(self) -> None:
        if not self.opinion:
            raise ValueError("an opinion needs a span of its expression")


@dataclass(frozen=True, slots=True)
class SentimentTuple:
    """One opinion. An element that the task does not annotate is None, an absent one ``NULL``."""

    polarity: str
    aspect: str | None = None
    category: str | None = None
    opinion: str | None = None
    holder: str | None = None
    spans: OpinionSpans | None = None

    def __post_init__(self) -> None:
        if not self.polarity:
            raise ValueError("an opinion needs a polarity")

    def written(self, elements: tuple[str, ...]) -> tuple[str, ...]:
        """Return the parts in the order in which a task writes them."""
        return tuple(getattr(self, element) for element in elements)


@dataclass(frozen=True, slots=True)
class Example:
    """One gold item.

    Attributes:
        index: Position in the upstream file, from 0.
        sentence: The text, unchanged.
        answer: The gold answer as the prompt writes it: a label, or the ``repr`` of a list.
        label: The gold label of a label task, else None.
        target: The person a stance is about, where the task has one.
        opinions: Every annotated opinion of an extraction item, in file order.
    """

    index: int
    sentence: str
    answer: str
    label: str | None = None
    target: str | None = None
    opinions: tuple[SentimentTuple, ...] = ()

    def __post_init__(self) -> None:
        if not self.sentence.strip():
            raise ValueError(f"item {self.index}: the sentence is empty")


@dataclass(frozen=True, slots=True)
class Prediction:
    """A model's answer and what was understood of it.

    Attributes:
        raw: The text of the model.
        label: The label of a label task; None if unreadable.
        tuples: The opinions of an extraction task, one-to-one with the list in the answer. An
            element of the list that is no opinion of the task is None: wrong, but counted.
        problem: Why the answer is unreadable; None if it was understood.
    """

    raw: str
    label: str | None = None
    tuples: tuple[tuple[str, ...] | None, ...] = ()
    problem: str | None = None

"""What the model does for a batch: texts of its own task, and questions that clients word."""

# pyright: basic
# The model carries no types that would hold: its unknowns end in this module.

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from sentibench.predict.classifier import Classifier, Extracted, Labelled, softmax
from sentibench.prompts.few_shot import TARGET_DELIMITER


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt and the K options that may follow it, 2 at least."""

    prompt: str
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scored:
    """The answer to a question.

    Attributes:
        probabilities: Of the K options; they sum to 1. NaN where the model gave no number.
        n_tokens: Of the prompt.
    """

    probabilities: tuple[float, ...]
    n_tokens: int

    @property
    def best(self) -> int:
        """Which option is likeliest; of equals the first, as in lm-eval."""
        return self.probabilities.index(max(self.probabilities))

    @property
    def confidence(self) -> float:
        """From 0, all options alike, to 1, one option has everything."""
        even = 1 / len(self.probabilities)
        return max(0.0, (max(self.probabilities) - even) / (1 - even))


Item = str | Question
Answer = Labelled | Extracted | Scored


class Answerer:
    """Answers batches of texts and questions with one model.

    Args:
        classifier: For the texts; its model answers the questions, without a temperature.
    """

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier

    def __call__(self, items: Sequence[Item]) -> list[Answer]:
        """Answer N items, in their order."""
        texts = [item for item in items if isinstance(item, str)]
        questions = [item for item in items if isinstance(item, Question)]
        labelled = iter(self.classifier(texts) if texts else [])
        scored = iter(self._score(questions) if questions else [])
        return [next(labelled if isinstance(item, str) else scored) for item in items]

    def _score(self, questions: Sequence[Question]) -> list[Scored]:
        model = self.classifier.model
        pairs = [(q.prompt, TARGET_DELIMITER + option) for q in questions for option in q.options]
        scores = iter(model.log_likelihoods(pairs))
        return [
            Scored(
                softmax(list(itertools.islice(scores, len(question.options)))),
                len(model.tok_encode(question.prompt)),
            )
            for question in questions
        ]

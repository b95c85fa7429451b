"""What the model does for a batch: texts of its own task, and questions that clients word."""

# pyright: basic
# The model carries no types that would hold: its unknowns end in this module.

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sentibench.data.card_form import written_label
from sentibench.data.cards import load_tasks
from sentibench.predict.classifier import Classifier, Extracted, Labelled, softmax
from sentibench.predict.recipe import Recipe
from sentibench.prompts.few_shot import TARGET_DELIMITER


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt and the K options that may follow it, 1 at least."""

    prompt: str
    options: tuple[str, ...]

    def __len__(self) -> int:
        """Characters that the model may have to read: options of several tokens are rows each."""
        return sum(len(self.prompt) + len(option) for option in self.options)


@dataclass(frozen=True, slots=True)
class Scored:
    """The answer to a question.

    Attributes:
        probabilities: Of the K options; they sum to 1. NaN where the model gave no number.
        n_tokens: Of the prompt, as many as the model has room for.
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
        if len(self.probabilities) == 1:
            return 1.0
        even = 1 / len(self.probabilities)
        return max(0.0, (max(self.probabilities) - even) / (1 - even))


Item = str | Question
Answer = Labelled | Extracted | Scored


def _always() -> bool:
    return True


class Unwanted(Exception):
    """Nobody waits for the answers any more."""


class Answerer:
    """Answers batches of texts and questions with one model.

    Args:
        classifier: For the texts; its model answers the questions, without a temperature.
    """

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self._words = scoring_words(classifier.recipe)
        self._is_wanted = _always
        classifier.model.model.register_forward_pre_hook(self._go_on)

    def __call__(self, items: Sequence[Item], is_wanted: Callable[[], bool]) -> list[Answer]:
        """Answer N items, in their order.

        Args:
            items: Texts and questions.
            is_wanted: Looked at before every pass of the model.

        Raises:
            Unwanted: If they are not.
        """
        texts = [item for item in items if isinstance(item, str)]
        questions = [item for item in items if isinstance(item, Question)]
        self._is_wanted = is_wanted
        try:
            labelled = iter(self.classifier(texts) if texts else [])
            scored = iter(self._score(questions) if questions else [])
        finally:
            self._is_wanted = _always
        return [next(labelled if isinstance(item, str) else scored) for item in items]

    def _go_on(self, *_: Any) -> None:
        if not self._is_wanted():
            raise Unwanted

    def _score(self, questions: Sequence[Question]) -> list[Scored]:
        model = self.classifier.model
        pairs = [
            (question.prompt, TARGET_DELIMITER + word)
            for question in questions
            for word in self._scored(question.options)
        ]
        scores = iter(model.log_likelihoods(pairs))
        n_tokens = model.n_tokens([question.prompt for question in questions])
        return [
            Scored(softmax(list(itertools.islice(scores, len(question.options)))), n)
            for question, n in zip(questions, n_tokens, strict=True)
        ]

    def _scored(self, options: Sequence[str]) -> list[str]:
        words = self._words.get(frozenset(options), {})
        return [words.get(option, option) for option in options]


def scoring_words(recipe: Recipe) -> Mapping[frozenset[str], Mapping[str, str]]:
    """What is scored for the labels of each label task, which prompts show as keys.

    For ``non-irony`` that is ``non``. Clients ask for labels as prompts show them, and get the
    scores of the benchmark.

    Args:
        recipe: Of the student's own task, which goes before others of the same labels.
    """
    cards = [task.card for task in load_tasks().values()]
    known = [dict(zip(card.written, card.scoring_words, strict=True)) for card in cards]
    named = zip(recipe.labels, recipe.scoring_words, strict=True)
    known.append({written_label(name, word): word for name, word in named})
    return {frozenset(words): words for words in known}

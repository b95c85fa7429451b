"""The three shapes of requests, and of their answers.

Sources of /v1/systemone: the documentation of vLLM 0.32 and Fireworks; of /v1/decisions: the types
of openai-python of October 2026. Both are asked for choices only here.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError, model_validator

from sentibench.predict.classifier import Extracted, Labelled
from sentibench.prompts.few_shot import DEMONSTRATION_DELIMITER, render_few_shot
from sentibench.serve.answering import Item, Question, Scored
from sentibench.serve.refusals import Refused

MOST_TEXTS = 256  # of a request; questions too
MOST_CHARACTERS = 32_768  # of a text, a state or instructions
MOST_OPTIONS = 255  # of a question, as the APIs have it
MOST_PAIRS = 2_048  # of a question and an option, in a request
PROMPT_END = "\nLabel:"  # of a prompt of the benchmark

Text = Annotated[str, Field(max_length=MOST_CHARACTERS)]
Option = Annotated[str, Field(min_length=1, max_length=200)]
Answered = Sequence[tuple[Question, Scored]]


class _Request(BaseModel, ABC):
    # clients of the two APIs send keys that have no meaning here, such as safety_identifier
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    model: str | None = None

    @abstractmethod
    def items(self) -> Sequence[Item]:
        """What is asked."""


class Classify(_Request):
    """Texts for the student's own task: ``text``, or ``texts``."""

    model_config = ConfigDict(extra="forbid")

    text: Text | None = None
    texts: Annotated[list[Text], Field(min_length=1, max_length=MOST_TEXTS)] | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Classify:
        if (self.text is None) == (self.texts is None):
            raise ValueError("expected either text or texts")
        return self

    def items(self) -> list[str]:
        """The texts."""
        return self.texts if self.texts is not None else [self.text or ""]


class _CriteriaQuestion(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)

    type: Literal["choice"]
    instructions: Text
    criteria: Annotated[dict[Option, Text | None], Field(min_length=2, max_length=MOST_OPTIONS)]


class SystemOne(_Request):
    """A state, and questions about it by name."""

    state: Any
    questions: Annotated[dict[str, _CriteriaQuestion], Field(min_length=1, max_length=MOST_TEXTS)]

    def items(self) -> list[Question]:
        """The questions, worded."""
        state = _text_of(self.state)
        return [
            Question(prompt_of(asked.instructions, state, asked.criteria), tuple(asked.criteria))
            for asked in self.questions.values()
        ]

    def answers(self, answered: Answered) -> dict[str, Any]:
        """The answers by name."""
        return {
            name: {
                "type": "choice",
                "choice": question.options[scored.best],
                "probabilities": dict(zip(question.options, scored.probabilities, strict=True)),
                "confidence": scored.confidence,
            }
            for name, (question, scored) in zip(self.questions, answered, strict=True)
        }

    @staticmethod
    def usage(n_tokens: int) -> dict[str, Any]:
        """Tokens that were read."""
        return {"input_tokens": n_tokens, "output_tokens": 0, "total_tokens": n_tokens}


class _Choice(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)

    value: StrictBool | Option
    description: Text | None = None

    @property
    def word(self) -> str:
        return self.value if isinstance(self.value, str) else str(self.value).lower()


class _ChoicesQuestion(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)

    type: Literal["choice"]
    name: str | None = None
    instructions: Text
    choices: Annotated[list[_Choice], Field(min_length=2, max_length=MOST_OPTIONS)]

    @model_validator(mode="after")
    def _choices_differ(self) -> _ChoicesQuestion:
        if len({choice.word for choice in self.choices}) < len(self.choices):
            raise ValueError("choices: expected values that differ")
        return self


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)

    type: Literal["input_text"]
    text: Text


class _Message(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)

    role: Literal["user"]
    content: Text | list[_Part]


class Decisions(_Request):
    """An input, and a list of questions about it."""

    input: Text | Annotated[list[_Message], Field(min_length=1)]
    questions: Annotated[list[_ChoicesQuestion], Field(min_length=1, max_length=MOST_TEXTS)]

    def items(self) -> list[Question]:
        """The questions, worded."""
        messages = [] if isinstance(self.input, str) else self.input
        parts = [
            part
            for message in messages
            for part in (
                [message.content]
                if isinstance(message.content, str)
                else [part.text for part in message.content]
            )
        ]
        state = self.input if isinstance(self.input, str) else "\n".join(parts)
        described = [{c.word: c.description for c in asked.choices} for asked in self.questions]
        return [
            Question(prompt_of(asked.instructions, state, options), tuple(options))
            for asked, options in zip(self.questions, described, strict=True)
        ]

    def answers(self, answered: Answered) -> list[dict[str, Any]]:
        """The answers in the order of the questions."""
        found: list[dict[str, Any]] = []
        for asked, (_, scored) in zip(self.questions, answered, strict=True):
            values = [choice.value for choice in asked.choices]
            pairs = zip(values, scored.probabilities, strict=True)
            found.append(
                {
                    "type": "choice",
                    "name": asked.name,
                    "choice": values[scored.best],
                    "probabilities": [{"value": v, "probability": p} for v, p in pairs],
                    "confidence": scored.confidence,
                }
            )
        return found

    @staticmethod
    def usage(n_tokens: int) -> dict[str, Any]:
        """Tokens that were read, as OpenAI's client wants them."""
        return {
            **SystemOne.usage(n_tokens),
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        }


Shape = TypeVar("Shape", bound=_Request)


def prompt_of(instructions: str, state: str, options: dict[str, str | None]) -> str:
    """Word a question in the form of the benchmark.

    Args:
        instructions: Stand first; empty for none.
        state: The text that is asked about. Where it ends as a prompt of the benchmark does, it is
            taken as it is: whoever has demonstrations puts them there.
        options: With their descriptions, which stand behind the instructions, a line each.
    """
    described = [f"{option}: {text}" for option, text in options.items() if text]
    instructions = "\n".join(line for line in (instructions, *described) if line)
    if not state.endswith(PROMPT_END):
        return render_few_shot(instructions, (), state)
    return instructions + DEMONSTRATION_DELIMITER + state if instructions else state


def read(shape: type[Shape], body: bytes, name: str) -> Shape:
    """Read a request.

    Args:
        shape: What it should be.
        body: JSON.
        name: The model that is served.

    Raises:
        Refused: If it is something else, too much, or asks for another model.
    """
    try:
        request = shape.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))[:100]
        what = " ".join(first["msg"].removeprefix("Value error, ").split())[:300]
        kind = "invalid_json" if first["type"] == "json_invalid" else "invalid_request"
        raise Refused(400, kind, f"{where}: {what}" if where else what, where or None) from None
    if request.model not in (None, name):
        raise Refused(404, "unknown_model", f"model: this server has {name!r} alone", "model")
    items = request.items()
    n_pairs = sum(len(item.options) for item in items if isinstance(item, Question))
    if n_pairs > MOST_PAIRS:
        raise Refused(
            413,
            "too_large",
            f"questions: got {n_pairs} options in all, expected at most {MOST_PAIRS}",
            "questions",
        )
    return request


def labelled(answer: Labelled | Extracted) -> dict[str, Any]:
    """An answer of the student's own task; null where there is no number."""
    if isinstance(answer, Extracted):
        return {"tuples": list(answer.tuples), "readable": answer.readable}
    return {
        "label": answer.label,
        "probability": _number(answer.probability),
        "probabilities": {name: _number(p) for name, p in answer.probabilities.items()},
    }


def _number(p: float) -> float | None:
    return None if math.isnan(p) else p


def _text_of(state: Any) -> str:
    text = state if isinstance(state, str) else json.dumps(state, ensure_ascii=False)
    if len(text) > MOST_CHARACTERS:
        raise Refused(
            413,
            "too_large",
            f"state: got {len(text):,} characters, expected at most {MOST_CHARACTERS:,}",
            "state",
        )
    return text

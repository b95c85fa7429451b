"""The three shapes of requests, and of their answers.

Sources of /v1/systemone: the documentation and the request model of vLLM 0.32, and Fireworks; of
/v1/decisions: the types of openai-python of October 2026. Both are asked for choices only here.
What changes nothing here is named and not looked at. Any other key is refused: its client would
get the answer to another question.
"""

from __future__ import annotations

import itertools
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
    model_validator,
)
from pydantic_core import from_json

from sentibench.predict.classifier import Extracted, Labelled
from sentibench.prompts.few_shot import render_few_shot
from sentibench.serve.answering import Item, Question, Scored
from sentibench.serve.refusals import Refused, refuse_no_text, refused_form

MOST_TEXTS = 256  # of a request; questions too
MOST_CHARACTERS = 32_768  # of a text, a state or instructions
MOST_NAME_CHARACTERS = 200  # of an option
MOST_OPTIONS = 255  # of a question, as the APIs have it
MOST_PROMPT_CHARACTERS = 1 << 20  # of a request; a prompt counts once for each option


def _worded(text: str) -> str:
    if not text.strip():
        raise ValueError("got only blanks, expected text")
    return text


Text = Annotated[str, Field(max_length=MOST_CHARACTERS)]
Option = Annotated[str, Field(max_length=MOST_NAME_CHARACTERS), AfterValidator(_worded)]
Answered = Sequence[tuple[Question, Scored]]
Described = Sequence[tuple[str, str]]  # options and what they mean, empty for no words


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class _Request(_Part, ABC):
    model: str | None = None

    @abstractmethod
    def items(self) -> Sequence[Item]:
        """What is asked."""


class _Decision(_Request):
    # of no meaning where nothing is cached, drawn or reported
    safety_identifier: Any = None
    cache_salt: Any = None
    request_id: Any = None
    priority: Any = None
    seed: Any = None


class Classify(_Request):
    """Texts for the student's own task: ``text``, or ``texts``."""

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


class _CriteriaQuestion(_Part):
    type: Literal["choice"]
    instructions: Any = ""
    criteria: Annotated[dict[Option, Any], Field(min_length=1, max_length=MOST_OPTIONS)]


class SystemOne(_Decision):
    """A state, and questions about it by name."""

    state: Any
    instructions: Any = ""
    questions: Annotated[dict[str, _CriteriaQuestion], Field(min_length=1, max_length=MOST_TEXTS)]

    def items(self) -> list[Question]:
        """The questions, worded; what comes before them all is in each."""
        ahead = _text_of(self.instructions, "instructions")

        def worded(name: str, asked: _CriteriaQuestion) -> tuple[Iterable[str], Described]:
            where = f"questions.{name[:80]}"
            means = [(option, _text_of(one, where)) for option, one in asked.criteria.items()]
            return (ahead, _text_of(asked.instructions, where)), means

        state = _text_of(self.state, "state")
        return _questions(state, itertools.starmap(worded, self.questions.items()), "state")

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


class _Choice(_Part):
    value: StrictBool | Option
    description: Text | None = None

    @property
    def word(self) -> str:
        return self.value if isinstance(self.value, str) else str(self.value).lower()


class _ChoicesQuestion(_Part):
    type: Literal["choice"]
    name: str | None = None
    instructions: Text
    choices: Annotated[list[_Choice], Field(min_length=2, max_length=MOST_OPTIONS)]

    @model_validator(mode="after")
    def _choices_differ(self) -> _ChoicesQuestion:
        # a truth value is another one than the text of its name
        if len({(type(one.value), one.value) for one in self.choices}) < len(self.choices):
            raise ValueError("choices: expected values that differ")
        return self


class _TextPart(_Part):
    type: Literal["input_text"]
    text: Text


class _Message(_Part):
    type: Literal["message"] = "message"
    role: Literal["user"]
    content: Text | list[_TextPart]


class Decisions(_Decision):
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
        return _questions(
            self.input if isinstance(self.input, str) else "\n".join(parts),
            (
                ([asked.instructions], [(one.word, one.description or "") for one in asked.choices])
                for asked in self.questions
            ),
            "input",
        )

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


def prompt_of(instructions: Iterable[str], state: str, options: Described) -> str:
    """Word a question in the form of the benchmark.

    Args:
        instructions: Stand first; they may hold demonstrations.
        state: The text that is asked about.
        options: With their descriptions, which follow the instructions, a line each.
    """
    described = [f"{option}: {text}" for option, text in options if text]
    return render_few_shot("\n".join(filter(None, [*instructions, *described])), (), state)


def _questions(
    state: str, asked: Iterable[tuple[Iterable[str], Described]], where: str
) -> list[Question]:
    """Word questions about one state, as long as they are few enough to be answered.

    Raises:
        Refused: If the state is empty or too long, or the prompts are too long.
    """
    if not state.strip():
        raise Refused(400, "invalid_request", f"{where}: expected text, got none", where)
    _refuse_long(state, where)
    found: list[Question] = []
    n_characters = 0
    for instructions, options in asked:
        prompt = prompt_of(instructions, state, options)
        found.append(Question(prompt, tuple(option for option, _ in options)))
        n_characters += len(found[-1])
        if n_characters > MOST_PROMPT_CHARACTERS:
            raise Refused(
                413,
                "too_large",
                f"questions: the first {len(found)} have prompts of {n_characters:,} characters, "
                f"each counted once for every option; expected at most {MOST_PROMPT_CHARACTERS:,}; "
                "send fewer questions at a time",
                "questions",
            )
    return found


def read(shape: type[Shape], body: bytes, name: str) -> tuple[Shape, Sequence[Item]]:
    """Read a request, and what it asks.

    Args:
        shape: What it should be.
        body: JSON.
        name: The model that is served.

    Raises:
        Refused: If it is something else, too much, or asks for another model.
    """
    try:
        given = from_json(body, allow_inf_nan=False)  # NaN is no JSON
    except ValueError as error:
        raise Refused(400, "invalid_json", f"the body: expected JSON; {error}") from None
    if shape is Decisions and isinstance(given, dict):  # what is not text has no shape there
        refuse_no_text(cast("dict[str, Any]", given).get("input"), "input")
    try:
        request = shape.model_validate_json(body)
    except ValidationError as error:
        raise refused_form(error, given, lambda place: _keys(shape, place)) from None
    if request.model not in (None, name):
        raise Refused(
            404,
            "unknown_model",
            f"model: expected {name!r}, the only model of this server",
            "model",
        )
    return request, request.items()


def _keys(shape: type[_Request], place: Sequence[str]) -> Iterable[str]:
    """The known keys of the object in which the key at a place of a request is."""
    return _PARTS.get((shape, place[0], len(place)), shape).model_fields


_PARTS: dict[tuple[type[_Request], str, int], type[_Part]] = {
    (SystemOne, "questions", 3): _CriteriaQuestion,
    (Decisions, "questions", 3): _ChoicesQuestion,
    (Decisions, "questions", 5): _Choice,
    (Decisions, "input", 3): _Message,
    (Decisions, "input", 5): _TextPart,
}


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


def _text_of(value: Any, where: str) -> str:
    """Text as it is, anything else as JSON; nothing for null."""
    if value is None:
        return ""
    refuse_no_text(value, where)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    _refuse_long(text, where)
    return text


def _refuse_long(text: str, where: str) -> None:
    if len(text) > MOST_CHARACTERS:
        raise Refused(
            413,
            "too_large",
            f"{where}: got {len(text):,} characters, expected at most {MOST_CHARACTERS:,}",
            where,
        )

"""The ways to ask a server for the probabilities of labels, and to read what it answers.

``systemone`` is ``POST /v1/systemone`` (vLLM, llama.cpp, LiteLLM and others), ``decisions`` is
``POST /v1/decisions`` (OpenAI, SGLang and others), ``chat`` is the first token's log-probabilities
of ``POST /v1/chat/completions``. With the first two the server words the prompt.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any, Literal, cast, get_args

DialectName = Literal["systemone", "decisions", "chat"]
DIALECTS: tuple[DialectName, ...] = get_args(DialectName)
NAME = "label"  # of the one question of a request
FLOOR = 1e-6  # for 0: servers round, and no score survives the logarithm of 0
TOP_TOKENS = 20  # as many as OpenAI gives
QUESTION = "Which label does the text have?"  # where a prompt has no instruction


class Unusable(Exception):
    """An answer that gives no distribution over the options; says why."""


class Refused(Exception):
    """The server declined to answer the question."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about one text.

    Attributes:
        instructions: What is wanted, with the demonstrations, if any.
        state: The text.
        labels: K label words.
        letters: Whether the options are A, B, C ... and the labels their descriptions.
    """

    instructions: str
    state: str
    labels: tuple[str, ...]
    letters: bool

    @property
    def options(self) -> tuple[str, ...]:
        """K names of the options."""
        return tuple(ascii_uppercase[: len(self.labels)]) if self.letters else self.labels


@dataclass(frozen=True, slots=True)
class Dialect:
    """A form of questions and answers.

    Attributes:
        path: Behind the base URL.
        asked: Makes the keys of the request beside ``model``.
        read: Takes the parsed reply, returns K probabilities in the order of the options. Each is
            in [0, 1]; their sum is the server's. Raises ``Unusable`` or ``Refused``.
    """

    path: str
    asked: Callable[[Question], dict[str, Any]]
    read: Callable[[Any, Question], list[float]]


def question_of(prompt: str, text: str, labels: Sequence[str], letters: bool) -> Question:
    """Take a prompt of a label task apart.

    Args:
        prompt: Instruction, demonstrations, and the text that is asked about at its end.
        text: That text.
        labels: 2 to 26 words.
        letters: See ``Question``.
    """
    head, found, _ = prompt.rpartition(f"Sentence: {text}\nLabel:")
    state = text if found else prompt
    words = tuple(label.strip() for label in labels)
    return Question(head.strip() or QUESTION, state, words, letters)


def chat_prompt(question: Question) -> str:
    """The prompt of the ``chat`` dialect: of the benchmark, or with letters for the labels."""
    instructions, asks = question.instructions, f"Sentence: {question.state}\nLabel:"
    if not question.letters:
        return f"{instructions}\n\n{asks}"
    letter_of = dict(zip(question.labels, question.options, strict=True))

    def to_letter(match: re.Match[str]) -> str:
        return match[1] + letter_of.get(match[2], match[2])

    shown = re.sub(r"^(Label: )(.+)$", to_letter, instructions, flags=re.MULTILINE)
    options = "\n".join(f"{letter}: {label}" for label, letter in letter_of.items())
    return f"{shown}\n\nAnswer with the letter of the label.\n{options}\n\n{asks}"


def _ask_systemone(question: Question) -> dict[str, Any]:
    described = question.labels if question.letters else [None] * len(question.labels)
    criteria = dict(zip(question.options, described, strict=True))
    asked = {"type": "choice", "instructions": question.instructions, "criteria": criteria}
    return {"state": question.state, "questions": {NAME: asked}}


def _ask_decisions(question: Question) -> dict[str, Any]:
    choices = [
        {"value": option, "description": label} if question.letters else {"value": option}
        for option, label in zip(question.options, question.labels, strict=True)
    ]
    asked = {"type": "choice", "name": NAME, "instructions": question.instructions}
    return {"input": question.state, "questions": [{**asked, "choices": choices}]}


def _ask_chat(question: Question) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": chat_prompt(question)}],
        "logprobs": True,
        "top_logprobs": TOP_TOKENS,
        "temperature": 0,
    }


def _read_systemone(reply: Any, question: Question) -> list[float]:
    answer = as_mapping(as_mapping(as_mapping(reply).get("answers")).get(NAME))
    _refuse_others(answer)
    return _checked(as_mapping(answer.get("probabilities")), question.options)


def _read_decisions(reply: Any, question: Question) -> list[float]:
    answers = [as_mapping(one) for one in as_sequence(as_mapping(reply).get("answers"))]
    answer = as_mapping(next((one for one in answers if one.get("name") == NAME), None))
    _refuse_others(answer)
    listed = [as_mapping(one) for one in as_sequence(answer.get("probabilities"))]
    # a truth value is another option than the text of its name
    texts = [one for one in listed if isinstance(one.get("value"), str)]
    found = {one["value"]: one.get("probability") for one in texts}
    if len(found) < len(listed):
        raise Unusable(f"options: got {[one.get('value') for one in listed]}, expected each once")
    return _checked(found, question.options)


def _read_chat(reply: Any, question: Question) -> list[float]:
    """Sum the probabilities of the tokens that begin one label and no other.

    A label without such a token gets the probability of the last listed token, which is the most
    that it can have.
    """
    choice = as_mapping(next(iter(as_sequence(as_mapping(reply).get("choices"))), None))
    content = as_sequence(as_mapping(choice.get("logprobs")).get("content"))
    if not content:
        refused = as_mapping(choice.get("message")).get("refusal")
        if refused or choice.get("finish_reason") == "content_filter":
            raise Refused
        raise Unusable("no log-probabilities in the answer; does the server give logprobs?")
    listed = [as_mapping(one) for one in as_sequence(as_mapping(content[0]).get("top_logprobs"))]
    tokens = [(str(one.get("token", "")), _probability_of(one.get("logprob"))) for one in listed]
    found = dict.fromkeys(question.options, 0.0)
    for token, probability in tokens:
        word = re.sub(r"^\W+|\W+$", "", token).lower()
        begun = [option for option in found if word and option.lower().startswith(word)]
        if len(begun) == 1:
            found[begun[0]] += probability
    if not any(found.values()):
        raise Unusable(
            f"none of {', '.join(found)} begins the answer; likely are "
            f"{[token for token, _ in tokens[:5]]}"
        )
    last = min(probability for _, probability in tokens)
    return _checked({o: min(p or last, 1.0) for o, p in found.items()}, question.options)


def _probability_of(logprob: Any) -> float:
    if isinstance(logprob, bool) or not isinstance(logprob, (int, float)) or not logprob <= 1e-3:
        raise Unusable(f"log-probability of a token: got {logprob!r}, expected at most 0")
    return math.exp(logprob)


def _refuse_others(answer: Mapping[str, Any]) -> None:
    """Refuse what is no answer to a question of type choice."""
    kind = answer.get("type", "choice" if answer else None)
    if kind == "refusal":
        raise Refused
    if kind != "choice":
        raise Unusable(f"type of the answer: got {kind!r}, expected 'choice'")


def _checked(found: Mapping[str, Any], options: Sequence[str]) -> list[float]:
    """The probabilities of the options, in their order.

    Raises:
        Unusable: If one is missing, is unknown, or is no number in [0, 1]; or if all are 0.
    """
    if set(found) != set(options):
        raise Unusable(f"options: got {list(found)}, expected {list(options)}")
    values = [found[option] for option in options]
    for option, value in zip(options, values, strict=True):
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not 0 <= value <= 1:  # NaN too
            raise Unusable(f"probability of {option!r}: got {value!r}, expected 0 to 1")
    if not any(values):
        raise Unusable("all probabilities are 0")
    return [float(value) for value in values]


def as_mapping(value: Any) -> Mapping[str, Any]:
    """A JSON object; an empty one for anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def as_sequence(value: Any) -> Sequence[Any]:
    """A JSON array; an empty one for anything else."""
    return cast("list[Any]", value) if isinstance(value, list) else []


FORMS: dict[DialectName, Dialect] = {
    "systemone": Dialect("systemone", _ask_systemone, _read_systemone),
    "decisions": Dialect("decisions", _ask_decisions, _read_decisions),
    "chat": Dialect("chat/completions", _ask_chat, _read_chat),
}

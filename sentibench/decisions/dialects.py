"""The ways to ask a server for the probabilities of labels, and to read what it answers.

``systemone`` is ``POST /v1/systemone`` (vLLM, SGLang, llama.cpp, LiteLLM and others). ``decisions``
is ``POST /v1/decisions`` as OpenAI and LiteLLM have it, ``sglang`` the same path as SGLang has it.
``chat`` is the first token's log-probabilities of ``POST /v1/chat/completions``. With the first
three the server words the prompt.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any, Literal, TypeVar, cast, get_args

DialectName = Literal["systemone", "decisions", "sglang", "chat"]
DIALECTS: tuple[DialectName, ...] = get_args(DialectName)
VERSION = 2  # of wording and reading; raised where either changes: old answers do not count
NAME = "label"  # of the one question of a request
FLOOR = 1e-6  # for 0: servers round, and no score survives the logarithm of 0
BELOW = 0.999  # times the least that is given: the most that can be said of what is not given
ABOVE_ONE = 1e-3  # of a probability: the arithmetic of a server
OFF_ONE = 0.01  # of a sum: more is no rounding
TOP_TOKENS = 20  # as many as OpenAI gives
LEAST_LETTERS = 3  # of the beginning of a label; fewer begin other words too: "I", "a", "no"
WRITTEN_BY_US = frozenset(
    (
        *("model", "state", "input", "questions", "messages", "prompt", "stream", "n"),
        *("logprobs", "top_logprobs", "max_tokens", "max_completion_tokens"),
    )
)
"""Keys of a request that are no extra keys: with another value it would ask something else."""
QUESTION = "Which label does the text have?"  # where a prompt has no instruction


Body = TypeVar("Body", bound=Mapping[str, Any] | None)


class Unusable(Exception):
    """An answer that gives no distribution over the options; says why."""


class Refused(Exception):
    """The server declined to answer the question."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about one text.

    Attributes:
        head: What stands before the text: the instruction and the demonstrations; may be empty.
        asks: What stands behind that; ``head + asks`` is the prompt.
        state: The text; the whole prompt where that does not end with the text.
        labels: K label words.
        letters: Whether the options are A, B, C ... and the labels their descriptions. The
            demonstrations in ``head`` have the letters then.
    """

    head: str
    asks: str
    state: str
    labels: tuple[str, ...]
    letters: bool

    @property
    def instructions(self) -> str:
        """What is wanted, with the demonstrations."""
        return self.head.strip() or QUESTION

    @property
    def options(self) -> tuple[str, ...]:
        """K names of the options."""
        return _letters_of(self.labels) if self.letters else self.labels


@dataclass(frozen=True, slots=True)
class Distribution:
    """What a server says of the options.

    Attributes:
        probabilities: K of them in the order of the options, each in [0, 1]; their sum is the
            server's.
        n_bounds: How many of these are upper bounds, as the server did not list the option.
    """

    probabilities: list[float]
    n_bounds: int = 0


@dataclass(frozen=True, slots=True)
class Dialect:
    """A form of questions and answers.

    Attributes:
        path: Behind the base URL.
        asked: Makes the keys of the request beside ``model``.
        read: Takes the parsed reply. Raises ``Unusable`` or ``Refused``.
    """

    path: str
    asked: Callable[[Question], dict[str, Any]]
    read: Callable[[Any, Question], Distribution]


def without_ours(body: Body) -> Body:
    """Return further keys of requests as they are.

    Raises:
        ValueError: If one is a key that we write.
    """
    for key in WRITTEN_BY_US.intersection(body or ()):
        raise ValueError(
            f"got {key!r}, which cannot be set here: this program writes that key; remove it"
        )
    return body


def question_of(prompt: str, text: str, labels: Sequence[str], letters: bool) -> Question:
    """Take a prompt of a label task apart.

    Args:
        prompt: Instruction, demonstrations, and the text that is asked about at its end.
        text: That text.
        labels: 2 to 26 words.
        letters: See ``Question``.
    """
    words = tuple(label.strip() for label in labels)
    asks = f"Sentence: {text}\nLabel:"
    is_apart = prompt.endswith(asks)
    head = prompt.removesuffix(asks) if is_apart else ""
    if letters:
        letter_of = dict(zip(words, _letters_of(words), strict=True))

        def to_letter(match: re.Match[str]) -> str:
            return match[1] + letter_of.get(match[2], match[2])

        head = re.sub(r"^(Label: )(.+)$", to_letter, head, flags=re.MULTILINE)
    return Question(head, *((asks, text) if is_apart else (prompt, prompt)), words, letters)


def chat_prompt(question: Question) -> str:
    """The prompt of the ``chat`` dialect: as it was given, or with letters for the labels."""
    if not question.letters:
        return question.head + question.asks
    options = "\n".join(map("{}: {}".format, question.options, question.labels))
    parts = (question.head.strip(), f"Answer with the letter of the label.\n{options}")
    return "\n\n".join([part for part in parts if part] + [question.asks])


def _letters_of(labels: Sequence[str]) -> tuple[str, ...]:
    return tuple(ascii_uppercase[: len(labels)])


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


def _ask_sglang(question: Question) -> dict[str, Any]:
    """Source: DecisionRequest in python/sglang/srt/entrypoints/openai of sgl-project/sglang."""
    options = [
        {"name": option, "description": label} if question.letters else {"name": option}
        for option, label in zip(question.options, question.labels, strict=True)
    ]
    asked = {"id": NAME, "type": "choice", "question": question.instructions, "options": options}
    return {"input": question.state, "questions": [asked]}


def _ask_chat(question: Question) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": chat_prompt(question)}],
        "logprobs": True,
        "top_logprobs": TOP_TOKENS,
        "temperature": 0,
    }


def _read_by_name(reply: Any, question: Question) -> Distribution:
    """The answers of ``systemone`` and ``sglang``: a map, and in it a map of the options."""
    answer = as_mapping(as_mapping(as_mapping(reply).get("answers")).get(NAME))
    _refuse_others(answer)
    return _checked(as_mapping(answer.get("probabilities")), question.options)


def _read_decisions(reply: Any, question: Question) -> Distribution:
    answers = [as_mapping(one) for one in as_sequence(as_mapping(reply).get("answers"))]
    answer = as_mapping(next((one for one in answers if one.get("name") == NAME), None))
    if len(answers) == 1 and answers[0].get("name") is None:  # one question, one answer
        (answer,) = answers
    _refuse_others(answer)
    listed = [as_mapping(one) for one in as_sequence(answer.get("probabilities"))]
    # a truth value is another option than the text of its name
    texts = [one for one in listed if isinstance(one.get("value"), str)]
    found = {one["value"]: one.get("probability") for one in texts}
    if len(found) < len(listed):
        raise Unusable(f"options: got {[one.get('value') for one in listed]}, expected each once")
    return _checked(found, question.options)


def _read_chat(reply: Any, question: Question) -> Distribution:
    """Sum the probabilities of the tokens that are one option, or begin it and no other.

    An option without such a token gets a bound: a little less than the last listed token has.
    """
    choice = as_mapping(next(iter(as_sequence(as_mapping(reply).get("choices"))), None))
    content = as_sequence(as_mapping(choice.get("logprobs")).get("content"))
    if not content:
        refused = as_mapping(choice.get("message")).get("refusal")
        if refused or choice.get("finish_reason") == "content_filter":
            raise Refused
        raise Unusable("the answer has no log-probabilities; does the server give logprobs?")
    listed = [as_mapping(one) for one in as_sequence(as_mapping(content[0]).get("top_logprobs"))]
    tokens = [(str(one.get("token", "")), _probability_of(one.get("logprob"))) for one in listed]
    found = dict.fromkeys(question.options, 0.0)
    for token, probability in tokens:
        option = _option_of(token, question)
        if option is not None:
            found[option] += probability
    if not any(found.values()):
        raise Unusable(
            f"the answer begins with none of {', '.join(found)}; its likeliest tokens are "
            f"{[token for token, _ in tokens[:5]]}"
        )
    most = BELOW * min(probability for _, probability in tokens)
    summed = {option: min(p or most, 1.0) for option, p in found.items()}
    of_all = _checked(summed, question.options).probabilities
    return Distribution(of_all, sum(not p for p in found.values()))


def _option_of(token: str, question: Question) -> str | None:
    """The option that a token is or begins; None if there is none, or it could be two.

    A letter has to be the token itself, as "a" is a word. Of a label, case and marks around it do
    not count.
    """
    if question.letters:
        return token.strip() if token.strip() in question.options else None
    word = re.sub(r"^\W+|\W+$", "", token).lower()
    lowered = {label.lower(): label for label in question.options}
    if word in lowered:
        return lowered[word]
    begun = [label for low, label in lowered.items() if low.startswith(word)]
    return begun[0] if len(word) >= LEAST_LETTERS and len(begun) == 1 else None


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


def _checked(found: Mapping[str, Any], options: Sequence[str]) -> Distribution:
    """The probabilities of the options, in their order.

    An option that was left out has 0 where the others have everything.

    Raises:
        Unusable: If another one is missing, one is unknown, or is no number in [0, 1]; or if all
            are 0.
    """
    for option, value in found.items():
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not 0 <= value <= 1 + ABOVE_ONE:  # NaN too
            raise Unusable(f"probability of {option!r}: got {value!r}, expected 0 to 1")
    missing = set(options) - set(found)
    if set(found) - set(options) or (missing and abs(sum(found.values()) - 1) > OFF_ONE):
        raise Unusable(f"options: got {list(found)}, expected {list(options)}")
    if not any(found.values()):
        raise Unusable("all probabilities are 0; expected one above 0")
    return Distribution([min(float(found.get(option, 0)), 1.0) for option in options])


def as_mapping(value: Any) -> Mapping[str, Any]:
    """A JSON object; an empty one for anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def as_sequence(value: Any) -> Sequence[Any]:
    """A JSON array; an empty one for anything else."""
    return cast("list[Any]", value) if isinstance(value, list) else []


FORMS: dict[DialectName, Dialect] = {
    "systemone": Dialect("systemone", _ask_systemone, _read_by_name),
    "decisions": Dialect("decisions", _ask_decisions, _read_decisions),
    "sglang": Dialect("decisions", _ask_sglang, _read_by_name),
    "chat": Dialect("chat/completions", _ask_chat, _read_chat),
}

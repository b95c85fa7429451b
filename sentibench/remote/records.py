"""What is asked, what was answered, what went wrong.

A request is known by a hash of everything that can change its answer (teacher, revision, rendered
messages, choices, decoding), so an answer is found again whatever else of the project changed, and
rows are joined by key, never by position.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal, Protocol

Role = Literal["system", "user", "assistant"]
Finish = Literal["stop", "length", "choice"]
UNREACHED = "unreachable"  # no teacher has seen the request
# Failures that say nothing of a request: it is asked again, so they are not written down.
UNKNOWN = ("not recorded", "no gold label", UNREACHED)


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a prompt; a base model gets the contents, joined by blank lines."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Decoding:
    """How the teacher writes.

    Attributes:
        max_new_tokens: At least 1.
        temperature: 0 is greedy.
        top_p: In (0, 1].
        stop: The answer ends before the first of these strings. A chat model is not told of them,
            since one may stand in its reasoning: its answer is cut when it is read.
        seed: Of the sampling, where the backend has one.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or self.temperature < 0 or not 0 < self.top_p <= 1:
            raise ValueError(f"impossible decoding: {self}")

    def as_json(self) -> dict[str, Any]:
        """What ``asdict`` gives, which is slow where there are a million."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Request:
    """One question to the teacher.

    Attributes:
        id: Name within its stage, ``knowdist/analysing/emotion/000017``.
        messages: The rendered prompt.
        choices: Label words. A teacher that sees likelihoods answers with the likeliest of them;
            any other writes freely. Without them, labels may stand in ``meta``.
        decoding: How the answer is written.
        text: The user text that the prompt is about.
        source: Where the text came from.
        meta: What tables and filters need: family, perspective, axes, gold label.
    """

    id: str
    messages: tuple[Message, ...]
    text: str
    source: str
    choices: tuple[str, ...] = ()
    decoding: Decoding = field(default_factory=Decoding)
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        if not self.messages or not self.messages[-1].content.strip():
            raise ValueError(f"request {self.id}: the prompt is empty")

    @property
    def labels(self) -> tuple[str, ...]:
        """The words one of which is the answer, scored or written; none where it is free."""
        return self.choices or tuple(self.meta.get("labels") or ())

    @property
    def elements(self) -> tuple[str, ...]:
        """The parts of a tuple, where the answer is a list of these; else none."""
        return tuple(self.meta.get("elements") or ())

    @property
    def prompt(self) -> str:
        """The contents, joined by blank lines: what a base model and the student are shown."""
        return "\n\n".join(message.content for message in self.messages)

    @property
    def turns(self) -> list[dict[str, str]]:
        """The messages as chat templates, servers and files have them."""
        return [{"role": one.role, "content": one.content} for one in self.messages]

    def key(self, teacher: str, revision: str) -> str:
        """Hash of what can change the answer; 64 hexadecimal digits."""
        known = {
            "teacher": teacher,
            "revision": revision,
            "messages": self.turns,
            "choices": self.choices,
            "decoding": self.decoding.as_json(),
        }
        line = json.dumps(known, sort_keys=True, ensure_ascii=False)
        return sha256(line.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Answer:
    """What the teacher wrote.

    Attributes:
        text: As the teacher wrote it, without the stop string; may be empty, and may hold
            reasoning, which is taken off when the answer is read.
        finish: ``stop`` at its end or at a stop string, ``length`` where it was cut off,
            ``choice`` where label words were scored.
        prompt_tokens: As counted by the teacher; 0 if it does not say.
        completion_tokens: As counted by the teacher; 0 if it does not say.
        log_likelihoods: Of the choices, natural logarithm, in their order.
        n_bounds: How many of the log-likelihoods are upper bounds, as the server lists the
            likeliest tokens alone.
        reasoning: What a server gave apart from the text; nobody learns from it.
    """

    text: str
    finish: Finish
    prompt_tokens: int = 0
    completion_tokens: int = 0
    log_likelihoods: tuple[float, ...] = ()
    n_bounds: int = 0
    reasoning: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request has no answer.

    Attributes:
        reason: One of a few words that a table counts: ``unreachable``, ``connection``,
            ``timeout``, ``rate limit``, ``server``, ``refused``, ``malformed``, ``not recorded``.
        detail: One line for the user, without secrets.
        attempts: How often it was tried.
    """

    reason: str
    detail: str
    attempts: int = 1


class Teacher(Protocol):
    """A model that answers requests.

    Attributes:
        name: What the store is of: ``hf/gemma-3-270m``.
        revision: What tells two versions of it apart; a hash of local weights, a date, a tag.
    """

    name: str
    revision: str

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Answer | Failure]]:
        """Yield an answer or a failure for every request, in the order of finishing.

        What is yielded is written down at once: a kill loses what is in flight, nothing else.
        """
        ...

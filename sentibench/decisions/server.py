"""A server that is asked for the probabilities of labels; what is no label question is a chat."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Protocol

from sentibench.decisions.dialects import (
    BELOW,
    DIALECTS,
    FLOOR,
    FORMS,
    VERSION,
    DialectName,
    Question,
    Refused,
    Unusable,
    as_mapping,
    question_of,
)
from sentibench.remote.chat import UNUSABLE, ChatServer, ServerSettings
from sentibench.remote.exchange import Trouble, clean, said
from sentibench.remote.records import Answer, Request


class DecisionsSettings(ServerSettings, Protocol):
    """What the server is, and how it is asked."""

    @property
    def revision(self) -> str: ...  # noqa: D102
    @property
    def dialect(self) -> DialectName: ...  # noqa: D102
    @property
    def letters(self) -> bool: ...  # noqa: D102
    @property
    def label_body(self) -> Mapping[str, Any] | None: ...  # noqa: D102


def identity(settings: DecisionsSettings) -> tuple[str, str]:
    """Name and revision, by which a store knows the answers.

    What can change an answer and is not in the request is in the revision: with another dialect
    the same model is another one, and so it is where we word or read otherwise. The address is
    not: a teacher may move, and its answers are merged from several machines.
    """
    how = settings.dialect + ("/letters" if settings.letters else "")
    if settings.extra_body or settings.label_body is not None:
        told = json.dumps([settings.extra_body, settings.label_body], sort_keys=True)
        how += f"/{sha256(told.encode()).hexdigest()[:8]}"
    return f"decisions/{settings.model}", f"{settings.revision}/{how}/{VERSION}"


class DecisionsServer(ChatServer):
    """Answers requests with ``choices`` by their log-likelihoods, others by writing.

    The log-likelihoods are the logarithms of the server's probabilities as they came, which need
    not sum to one.

    Args:
        settings: Address, model, dialect and limits.
        others: Of ``ChatServer``.
    """

    def __init__(self, settings: DecisionsSettings, **others: Any) -> None:
        super().__init__(settings, identity(settings), **others)
        self._dialect: DialectName = settings.dialect
        self._letters, self._label_body = settings.letters, settings.label_body

    def _question(self, request: Request) -> Question:
        return question_of(request.prompt, request.text, request.choices, self._letters)

    def _path(self, request: Request) -> str:
        return FORMS[self._dialect].path if request.choices else super()._path(request)

    def _payload(self, request: Request, limit_name: str) -> dict[str, Any]:
        if not request.choices:
            return super()._payload(request, limit_name)
        payload: dict[str, Any] = {"model": self._settings.model}
        payload |= FORMS[self._dialect].asked(self._question(request))
        if self._dialect == "chat":
            payload[limit_name] = 1
        return self._told(payload, self._label_body)

    def _parse(self, body: bytes, key: str, request: Request) -> Answer:
        if not request.choices:
            return super()._parse(body, key, request)
        try:
            reply: Any = json.loads(body)
        except (ValueError, RecursionError):
            raise Trouble("malformed", f"the reply is not JSON: {said(body, key)}") from None
        try:
            found = FORMS[self._dialect].read(reply, self._question(request))
        except Unusable as why:
            raise Trouble(UNUSABLE, clean(str(why), key)) from None
        except Refused:
            raise Trouble("refused", "the server declined to answer") from None
        usage = as_mapping(reply.get("usage"))
        n_prompt = usage.get("input_tokens", usage.get("prompt_tokens"))
        values = found.probabilities
        least = min(FLOOR, *(BELOW * p for p in values if p))  # for 0, below all others
        return Answer(
            request.choices[values.index(max(values))],
            "choice",
            n_prompt if isinstance(n_prompt, int) else 0,
            log_likelihoods=tuple(math.log(p or least) for p in values),
            n_bounds=found.n_bounds,
        )

    def _settings_of_address(self, request: Request) -> str:
        known = super()._settings_of_address(request)
        if not request.choices:
            return f"{known}; a server may lack chat, which only the label tasks do without"
        return f"{known}, or {self._prefix}dialect (others: {self._other_dialects})"

    def _mend(self, request: Request) -> str:
        if not request.choices:
            return super()._mend(request)
        return f"set {self._prefix}dialect to another one ({self._other_dialects})"

    @property
    def _other_dialects(self) -> str:
        return ", ".join(name for name in DIALECTS if name != self._dialect)

    def _remedy(self, words: str, request: Request) -> str:
        """Labels of several tokens are refused by servers that read one token of an option.

        vLLM and SGLang read letters of their own. Where one of these is refused, ours would be too.
        """
        named = any(re.search(rf"\b{re.escape(c.strip())}\b", words) for c in request.choices)
        if named and not self._letters and re.search(r"\btokens?\b", words):
            return f"; set {self._prefix}letters to true: options are A, B, C then"
        return super()._remedy(words, request)

"""A model behind HTTP: any server that speaks OpenAI's /v1, asked by several threads at once.

What may pass (lost connections, 429, 5xx, broken answers) is tried again; what concerns one
request is its failure; what concerns all of them (key, model, address) ends the run. The key is
read when it is needed, and no error, failure or log line carries it.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from queue import SimpleQueue
from random import uniform
from threading import Event, Thread
from typing import Any, Literal, Protocol

from sentibench.errors import TeacherError
from sentibench.remote.exchange import (
    Pace,
    Reply,
    ServerSession,
    Trouble,
    clean,
    goes_unencrypted,
    post,
    read_key,
    said,
    texts_of,
)
from sentibench.remote.records import UNREACHED, Answer, Failure, Request

BACKOFF_S = 1.0  # doubled after every attempt; up to a half is taken off by chance
MAX_BACKOFF_S = 60.0
MAX_HELD_S = 900.0  # of one request, as the server asks to wait; it costs no attempt
UNREACHABLE_S = 4.0  # of attempts to reach a server that nobody answers at
BYTES_PER_TOKEN = 4  # of a prompt, as long as the server has not counted
UNUSABLE = "unusable"  # an answer that would be the same another time
RATE_LIMIT = "rate limit"
FINAL = ("refused", UNUSABLE)  # what is not tried again

log = logging.getLogger(__name__)


class ServerSettings(Protocol):
    """Address, model and limits; see ``OpenAITeacherConfig`` of the distillation."""

    @property
    def model(self) -> str: ...  # noqa: D102
    @property
    def base_url(self) -> str: ...  # noqa: D102
    @property
    def api_key_env(self) -> str: ...  # noqa: D102
    @property
    def concurrency(self) -> int: ...  # noqa: D102
    @property
    def timeout_s(self) -> float: ...  # noqa: D102
    @property
    def max_attempts(self) -> int: ...  # noqa: D102
    @property
    def requests_per_minute(self) -> float | None: ...  # noqa: D102
    @property
    def tokens_per_minute(self) -> float | None: ...  # noqa: D102
    @property
    def extra_body(self) -> Mapping[str, Any]: ...  # noqa: D102


def warn_if_unencrypted(settings: ServerSettings, key: str, prefix: str) -> bool:
    """Log that a key can be read on its way to a server; returns whether it can."""
    is_open = bool(key) and goes_unencrypted(settings.base_url)
    if is_open:
        log.warning(
            "%sbase_url: the key in %s is sent to %s without encryption; use https, or name a "
            "variable without a key in %sapi_key_env",
            *(prefix, settings.api_key_env, settings.base_url, prefix),
        )
    return is_open


class ChatServer:
    """A model that a server offers under ``/chat/completions`` or ``/completions``.

    It sees no likelihoods: a request with ``choices`` is answered by free writing.

    Attributes:
        has_answered: Whether it has ever answered: what it refuses is no sign of a wrong setting
            then. Whoever has answers of an earlier call says so here.

    Args:
        settings: Address, model and limits.
        identity: Name and revision, by which a store knows it.
        style: Whether prompts are sent as chats or as texts to be continued.
        response_format: Sent with requests for a label; see ``OpenAITeacherConfig``.
        prefix: What stands before the names of the settings where the user gives them.
        again: What the user does once the server is mended.
        give_up_after: So many failed requests in a row end the run; once there was an answer,
            those that the server refuses do not count.
        clock: Seconds that only grow.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        settings: ServerSettings,
        identity: tuple[str, str],
        *,
        style: Literal["chat", "completions"] = "chat",
        response_format: Literal["label"] | Mapping[str, Any] | None = None,
        prefix: str = "teacher.",
        again: str = "run again with --retry-failed",
        give_up_after: int = 20,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.name, self.revision = identity
        self._settings, self._give_up_after = settings, give_up_after
        self._style, self._response_format = style, response_format
        self._prefix, self._again = prefix, again
        self._clock, self._sleep = clock, sleep
        self._requests = Pace(settings.requests_per_minute, clock, sleep)
        self._tokens = Pace(settings.tokens_per_minute, clock, sleep)
        self._limit_name = "max_tokens"
        self.has_answered = self._is_warned = False

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Answer | Failure]]:
        """Yield answers and failures as they finish; see ``Teacher``.

        Closing the iterator drops what waits; what is in flight is not waited for.

        Raises:
            TeacherError: If key, model or address are wrong, nobody answers at the address, or
                nothing but errors comes back.
        """
        key = read_key(self._settings.api_key_env, self._prefix)
        if not self._is_warned:
            self._is_warned = warn_if_unencrypted(self._settings, key, self._prefix)
        todo: SimpleQueue[Request | None] = SimpleQueue()
        done: SimpleQueue[tuple[Request, Answer | Failure | BaseException]] = SimpleQueue()
        stopped = Event()
        # Daemons, not a ThreadPoolExecutor, whose threads the interpreter waits for when it ends:
        # Ctrl-C would last as long as the slowest answer.
        threads = [
            Thread(target=self._work, args=(key, todo, done, stopped), daemon=True)
            for _ in range(min(self._settings.concurrency, len(requests)))
        ]
        waiting, n_open, n_failed = iter(requests), 0, 0
        n_unreached, was_reached = 0, False  # in a row; in this call
        are_rejected = True  # all failures in a row, by a status that says the request is wrong
        try:
            for thread in threads:
                thread.start()
            for request in islice(waiting, 2 * len(threads)):  # no thread waits for the caller
                todo.put(request)
                n_open += 1
            while n_open:
                request, outcome = done.get()
                if isinstance(outcome, BaseException):
                    raise outcome
                n_open -= 1
                for following in islice(waiting, 1):
                    todo.put(following)
                    n_open += 1
                yield request, outcome
                if isinstance(outcome, Answer):
                    n_failed, n_unreached, was_reached, self.has_answered = 0, 0, True, True
                    are_rejected = True
                    continue
                are_rejected &= outcome.reason == "refused" and outcome.detail.startswith("HTTP ")
                n_unreached = n_unreached + 1 if outcome.reason == UNREACHED else 0
                if n_unreached > was_reached:  # a server that answered may drop one connection
                    raise TeacherError(
                        f"{self._prefix}base_url: {self._url(request)} cannot be reached; got "
                        f"{outcome.detail}; all answers so far are kept; start the server or "
                        "correct the address, then run again"
                    )
                n_failed += not (self.has_answered and outcome.reason in FINAL)
                if n_failed == self._give_up_after:
                    mend = self._mend(request) if are_rejected else "repair the server"
                    raise TeacherError(
                        f"{self._whole}: {self._url(request)} gives only errors; "
                        f"got {n_failed} failures in a row, the last: {outcome.reason}, "
                        f"{outcome.detail}; all answers so far are kept; {mend}, then "
                        f"{self._again}"
                    )
        finally:
            stopped.set()
            for _ in threads:
                todo.put(None)

    def _work(
        self,
        key: str,
        todo: SimpleQueue[Request | None],
        done: SimpleQueue[tuple[Request, Answer | Failure | BaseException]],
        stopped: Event,
    ) -> None:
        # one per thread: sessions are not made to be shared
        with ServerSession(self._settings.base_url, key) as session:
            while (request := todo.get()) is not None and not stopped.is_set():
                try:
                    done.put((request, self._ask(session, key, request, stopped)))
                except BaseException as error:  # the caller's thread raises it; it may be a bug
                    done.put((request, error))

    def _ask(
        self, session: ServerSession, key: str, request: Request, stopped: Event
    ) -> Answer | Failure:
        """Try until there is an answer, a refusal, or no attempt left.

        A server that is asked too much and says when to come back is well: all threads wait, and
        no attempt is lost, until the waits of a request add up to ``MAX_HELD_S``.
        """
        n_sent, n_tried, held_s, began_s = 0, 0, 0.0, self._clock()
        while True:
            n_sent += 1
            try:
                return self._attempt(session, key, request)
            except Trouble as trouble:
                failure = Failure(trouble.reason, trouble.detail, n_sent)
                told_s = trouble.wait_s
            is_held = failure.reason == RATE_LIMIT and told_s is not None
            n_tried += not is_held
            n_left = self._settings.max_attempts - n_tried
            if failure.reason in FINAL or n_left == 0 or held_s >= MAX_HELD_S:
                return failure
            wait_s = min(MAX_BACKOFF_S, BACKOFF_S * 2 ** (n_tried - 1)) * uniform(0.5, 1)
            if told_s is not None:  # a bit later, lest all threads come back at once
                wait_s = told_s + uniform(0, 1)
            if is_held:
                self._requests.hold(wait_s)
                held_s += max(wait_s, 1.0)  # some servers say 0
            if failure.reason == UNREACHED and self._clock() + wait_s > began_s + UNREACHABLE_S:
                return failure
            log.info(
                "%s: %s, %s; again in %.0f s", request.id, failure.reason, failure.detail, wait_s
            )
            self._sleep(wait_s)
            if stopped.is_set():
                return failure

    def _attempt(self, session: ServerSession, key: str, request: Request) -> Answer:
        prompt = sum(len(m.content.encode("utf-8", "surrogatepass")) for m in request.messages)
        reserved = prompt / BYTES_PER_TOKEN + request.decoding.max_new_tokens
        self._requests.take(1)
        self._tokens.take(reserved)
        used = 0
        try:
            answer = self._exchange(session, key, request)
            used = answer.prompt_tokens + answer.completion_tokens or reserved
            return answer
        finally:
            self._tokens.correct(used - reserved)

    def _exchange(self, session: ServerSession, key: str, request: Request) -> Answer:
        limit_name = self._limit_name
        payload = self._payload(request, limit_name)
        url = self._url(request)
        reply = post(session, url, payload, self._settings.timeout_s, self._clock)
        if reply.status == 200:
            return self._parse(reply.body, key, request)
        newer = "max_completion_tokens"  # the only name that newer models know
        if reply.status == 400 and limit_name != newer and newer.encode() in reply.body:
            self._limit_name = newer
            return self._exchange(session, key, request)
        raise self._error(reply, key, request)

    @property
    def _whole(self) -> str:
        """What the user's settings are called together."""
        return self._prefix.rstrip(". ")

    def _path(self, request: Request) -> str:
        """Where a request goes."""
        return "chat/completions" if self._style == "chat" else "completions"

    def _settings_of_address(self, request: Request) -> str:
        """What may be wrong where an address or a model is not there."""
        return f"{self._prefix}model and {self._prefix}base_url, which usually ends with /v1"

    def _mend(self, request: Request) -> str:
        """What to do where the server finds every request wrong."""
        return "repair the server"

    def _url(self, request: Request) -> str:
        return f"{self._settings.base_url.rstrip('/')}/{self._path(request)}"

    def _payload(self, request: Request, limit_name: str) -> dict[str, Any]:
        decoding = request.decoding
        payload: dict[str, Any] = {
            "model": self._settings.model,
            limit_name: decoding.max_new_tokens,
            "temperature": decoding.temperature,
            "top_p": decoding.top_p,
            "seed": decoding.seed,
        }
        if self._response_format and request.labels:
            payload["response_format"] = self._format(request.labels)
        if self._style == "completions":
            if decoding.stop:  # some servers refuse an empty list
                payload["stop"] = list(decoding.stop)
            payload["prompt"] = request.prompt
        else:
            payload["messages"] = request.turns
        return self._told(payload)

    def _told(
        self, payload: dict[str, Any], body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """A request with further keys, the user's or others, without those that are null."""
        body = self._settings.extra_body if body is None else body
        payload |= body
        left_out = {key for key, value in body.items() if value is None}
        return {key: value for key, value in payload.items() if key not in left_out}

    def _format(self, labels: Sequence[str]) -> Any:
        """The form of an answer that has to be a label."""
        if self._response_format != "label":
            return self._response_format
        schema = {
            "type": "object",
            "properties": {
                "label": {"type": "string", "enum": [label.strip() for label in labels]}
            },
            "required": ["label"],
            "additionalProperties": False,
        }
        named = {"name": "label", "strict": True, "schema": schema}
        return {"type": "json_schema", "json_schema": named}

    def _parse(self, body: bytes, key: str, request: Request) -> Answer:
        stops = request.decoding.stop
        is_chat = self._style == "chat"
        try:
            reply: Any = json.loads(body)
            choice: Any = reply["choices"][0]
            message: Any = choice["message"] if is_chat else choice
            content: Any = message["content" if is_chat else "text"]
            finish: Any = choice.get("finish_reason")
            apart: Any = message.get("reasoning_content") or message.get("reasoning")
            usage: Any = reply.get("usage") or {}
            n_prompt, n_written = usage.get("prompt_tokens"), usage.get("completion_tokens")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise Trouble("malformed", f"the reply is no completion: {said(body, key)}") from None
        text, reasoning = texts_of(content)
        reasoning = apart if isinstance(apart, str) else reasoning
        if content is None and (reasoning or finish == "length"):
            text = ""  # all tokens went into the reasoning, shown or not
        is_absent = content is None and text is None
        if is_absent or finish == "content_filter":  # which has cut the text somewhere
            raise Trouble("refused", f"the answer has no text: {clean(json.dumps(choice), key)}")
        if text is None:
            raise Trouble("malformed", f"the content is not text: {said(body, key)}")
        ends = [] if is_chat else [text.index(stop) for stop in stops if stop and stop in text]
        return Answer(
            text[: min(ends)] if ends else text,
            "length" if finish == "length" and not ends else "stop",
            n_prompt if isinstance(n_prompt, int) else 0,
            n_written if isinstance(n_written, int) else 0,
            reasoning=reasoning,
        )

    def _error(self, reply: Reply, key: str, request: Request) -> TeacherError | Trouble:
        """What a status other than 200 means."""
        prefix, url = self._prefix, self._url(request)
        status, words = reply.status, said(reply.body, key)
        got = f"got HTTP {status}" + (f": {words}" if words else "")
        variable, model = self._settings.api_key_env, repr(self._settings.model)
        if status == 401:  # without the server's words: some quote a part of the key
            what = f"refuses the key in {variable}" if key else f"wants a key, {variable} has none"
            wrong = f"{prefix}api_key_env: {url} {what}; got HTTP 401; set {variable} to your key"
        elif status == 403:
            wrong = (
                f"{self._whole}: {url} does not let the key in {variable} use {model}; {got}; "
                "take another key or model"
            )
        elif status in (404, 405, 501) or status < 400:
            wrong = (
                f"{self._whole}: {url} does not exist, or has no model {model}; {got}; check "
                + self._settings_of_address(request)
            )
        elif status == 402 or b"insufficient_quota" in reply.body:
            wrong = (
                f"{self._whole}: the account at {url} has no credit left; {got}; add credit, or "
                "take another key"
            )
        else:
            passing = {429: RATE_LIMIT, 408: "timeout", 409: "server", 425: "server"}
            reason = passing.get(status, "server" if status >= 500 else "refused")
            detail = got.removeprefix("got ") + (
                self._remedy(words, request) if reason == "refused" else ""
            )
            return Trouble(reason, detail, reply.wait_s)
        return TeacherError(wrong)

    def _remedy(self, words: str, request: Request) -> str:
        """What to set where a server does not know or does not want a setting that it names."""
        for name in ("temperature", "seed", "top_p", "stop"):
            if re.search(rf"\b{name}\b", words) and name not in self._settings.extra_body:
                return f"; set {self._prefix}extra_body.{name} to null, which leaves it out"
        for name in ("response_format", *self._settings.extra_body):
            if re.search(rf"\b{re.escape(name)}\b", words):
                where = name if name == "response_format" else f"extra_body.{name}"
                return f"; change or remove {self._prefix}{where}"
        return ""

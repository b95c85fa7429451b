"""The HTTP teacher against a real local server that misbehaves as told; every text is invented."""

import json
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests

from distill.config import OpenAITeacherConfig
from distill.teachers import identity
from distill.teachers.openai import OpenAITeacher
from sentibench.errors import TeacherError
from sentibench.remote import chat, exchange
from sentibench.remote.exchange import Pace, Reply
from sentibench.remote.records import Answer, Decoding, Failure, Message, Request, Teacher

KEY = "sk-Geheim/12+34=56_x"
PATIENCE_S = 20  # after which a hanging server lets go, so that a test fails and does not hang


class Server(ThreadingHTTPServer):
    """Does what ``script`` says, one entry per request, then what ``always`` says."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Callable[[Handler], None]] = []
        self.always: Callable[[Handler], None] = answering
        self.seen: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.running = self.most_running = self.connections = 0
        self.lock, self.closing = threading.Lock(), threading.Event()
        self.dripped_out = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, *_: Any) -> None:
        """A client that went away is no news."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]
    payload: dict[str, Any]

    def setup(self) -> None:
        super().setup()
        with self.server.lock:
            self.server.connections += 1

    def do_POST(self) -> None:
        server = self.server
        self.payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.seen.append(self.payload)
            server.headers.append(dict(self.headers))
            server.paths.append(self.path)
            server.running += 1
            server.most_running = max(server.most_running, server.running)
            behave = server.script.pop(0) if server.script else server.always
        try:
            behave(self)
        finally:
            with server.lock:
                server.running -= 1

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        with self.server.lock:  # before the client can know of it and ask again
            self.server.running -= 1
        try:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
        finally:
            with self.server.lock:
                self.server.running += 1

    def prompt(self) -> str:
        return self.payload.get("prompt") or self.payload["messages"][-1]["content"]

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr."""


def completion(text: Any, finish: str = "stop", **message: Any) -> bytes:
    choice = {"message": {"content": text, **message}, "text": text, "finish_reason": finish}
    usage = {"prompt_tokens": 11, "completion_tokens": 7}
    return json.dumps({"choices": [choice], "usage": usage}).encode()


def answering(handler: Handler) -> None:
    handler.reply(200, completion(f"answer to {handler.prompt()}"))


def sends(status: int, body: bytes | str = b"", **headers: str) -> Callable[[Handler], None]:
    content = body.encode() if isinstance(body, str) else body
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: handler.reply(status, content, named)


def error(status: int, message: str, **headers: str) -> Callable[[Handler], None]:
    return sends(status, json.dumps({"error": {"message": message}}), **headers)


def stalls(handler: Handler) -> None:
    handler.server.closing.wait(PATIENCE_S)
    handler.close_connection = True


def hangs_up(handler: Handler) -> None:
    handler.close_connection = True


def drips(handler: Handler) -> None:
    """A right answer, but after a blank every 20 ms: no silence is ever long."""
    body = completion("too late")
    handler.send_response(200)
    handler.send_header("Content-Length", str(200 + len(body)))
    handler.end_headers()
    for _ in range(200):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        if handler.server.closing.wait(0.02):
            return
    handler.wfile.write(body)
    handler.server.dripped_out.set()


def starts_and_stalls(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    handler.wfile.write(b"{")
    stalls(handler)


def truncates(handler: Handler) -> None:
    """The whole JSON comes, but less than the Content-Length that was announced."""
    handler.reply(200, completion("truncated"), {"Content-Length": "9999"})
    handler.close_connection = True


def breaks_a_chunk(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b'ff\r\n{"choices": [')
    handler.close_connection = True


def sends_chunks(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for byte in b"\n\n" + completion(f"answer to {handler.prompt()}"):
        handler.wfile.write(b"1\r\n%c\r\n" % byte)
    handler.wfile.write(b"0\r\n\r\n")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    thread.join()
    server.server_close()


def request(prompt: str = "a text", decoding: Decoding | None = None, id: str = "") -> Request:
    messages = (Message("system", "Be brief."), Message("user", prompt))
    return Request(id or prompt, messages, prompt, "invented", decoding=decoding or Decoding())


def made(base_url: str, model: str = "m", **given: Any) -> OpenAITeacher:
    apart = {k: given.pop(k) for k in ("give_up_after", "clock", "sleep") if k in given}
    known = {"backend": "openai", "model": model, "base_url": base_url, **given}
    return OpenAITeacher(OpenAITeacherConfig.model_validate(known), **apart)


def teacher(server: Server, naps: list[float] | None = None, **given: Any) -> OpenAITeacher:
    sleep = (naps if naps is not None else list[float]()).append
    return made(server.url, **{"sleep": sleep, "timeout_s": 10, **given})


def only(teacher: OpenAITeacher, asked: Request | None = None) -> Answer | Failure:
    [(_, outcome)] = teacher.answer([asked or request()])
    return outcome


def failure(teacher: OpenAITeacher, asked: Request | None = None) -> Failure:
    outcome = only(teacher, asked)
    assert isinstance(outcome, Failure)
    return outcome


# What is sent and what is understood


def test_a_chat_request_carries_messages_decoding_and_key(server: Server) -> None:
    asked = request("Good?", Decoding(32, 0.5, 0.9, ("\n", "Text:"), seed=3))
    outcome = only(teacher(server), asked)
    assert outcome == Answer("answer to Good?", "stop", 11, 7)
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Good?"}]
    assert server.seen == [
        {
            "model": "m",
            "messages": turns,
            "max_tokens": 32,
            "temperature": 0.5,
            "top_p": 0.9,
            "seed": 3,
        }  # no stop: reasoning has lines too
    ]
    assert server.paths == ["/v1/chat/completions"]
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_a_completions_request_joins_the_contents_by_blank_lines(server: Server) -> None:
    asked = teacher(server, style="completions")
    assert only(asked) == Answer("answer to Be brief.\n\na text", "stop", 11, 7)
    assert server.paths == ["/v1/completions"]
    assert "messages" not in server.seen[0]
    assert "stop" not in server.seen[0]


def test_name_and_revision_are_those_given() -> None:
    asked: Teacher = made("http://host/v1", "org/m", revision="2025-01")
    assert (asked.name, asked.revision) == ("openai/org/m", "2025-01")


@pytest.mark.parametrize("text", ["", "  \n", "Ünï \U0001f600 \ud83d 语"])
def test_prompt_and_answer_keep_every_character(server: Server, text: str) -> None:
    server.always = sends(200, completion(text))
    assert only(teacher(server), request(f"{text}?")) == Answer(text, "stop", 11, 7)
    assert server.seen[0]["messages"][1]["content"] == f"{text}?"


@pytest.mark.parametrize(
    ("text", "finish", "stop", "expected"),
    [
        ("fine", "stop", (), ("fine", "stop")),
        ("fine", "length", (), ("fine", "length")),
        ("fine", "tool_calls", (), ("fine", "stop")),
        ("a\nb Text: c", "stop", ("Text:", "\n"), ("a", "stop")),  # the first in the text
        ("a\nb", "length", ("\n",), ("a", "stop")),  # it had ended before it was cut off
        ("a\nb", "stop", ("",), ("a\nb", "stop")),
        ("\na", "stop", ("\n",), ("", "stop")),
    ],
)
def test_an_answer_ends_before_the_first_stop_string(
    server: Server, text: str, finish: str, stop: tuple[str, ...], expected: tuple[str, str]
) -> None:
    server.always = sends(200, completion(text, finish))
    asked = request(decoding=Decoding(stop=stop))
    outcome = only(teacher(server, style="completions"), asked)
    assert isinstance(outcome, Answer)
    assert (outcome.text, outcome.finish) == expected
    assert server.seen[-1].get("stop", []) == list(stop)
    assert only(teacher(server), asked) == Answer(
        text, "length" if finish == "length" else "stop", 11, 7
    )


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": "many"}, {"prompt_tokens": None}])
def test_missing_token_counts_are_zero(server: Server, usage: Any) -> None:
    body = {"choices": [{"message": {"content": "fine"}}], "usage": usage}
    server.always = sends(200, json.dumps(body))
    assert only(teacher(server)) == Answer("fine", "stop")


def test_label_words_are_answered_by_free_writing(server: Server) -> None:
    asked = Request("id", (Message("user", "Good?"),), "t", "s", choices=("positive", "negative"))
    assert only(teacher(server), asked) == Answer("answer to Good?", "stop", 11, 7)


def test_chunked_replies_and_blank_lines_before_them_are_read(server: Server) -> None:
    server.always = sends_chunks
    assert only(teacher(server)) == Answer("answer to a text", "stop", 11, 7)


def test_a_model_that_wants_max_completion_tokens_is_asked_so_from_then_on(server: Server) -> None:
    message = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    server.script = [error(400, message)]
    naps: list[float] = []
    outcomes = list(teacher(server, naps, concurrency=1).answer([request("a"), request("b")]))
    assert all(isinstance(outcome, Answer) for _, outcome in outcomes)
    names = [[name for name in payload if name.startswith("max_")] for payload in server.seen]
    assert names == [["max_tokens"], ["max_completion_tokens"], ["max_completion_tokens"]]
    assert naps == []


def test_a_model_that_wants_neither_limit_is_not_asked_forever(server: Server) -> None:
    server.always = error(400, "max_completion_tokens is too large")
    assert failure(teacher(server)).reason == "refused"
    assert len(server.seen) == 2


# Reasoning, parts, and what a server wants or refuses

TEXT_PART = {"type": "text", "text": "so"}


@pytest.mark.parametrize(
    ("content", "message", "finish", "expected"),
    [
        ("<think>so</think>good", {}, "stop", ("<think>so</think>good", "")),  # as it was written
        ("good", {"reasoning_content": "so"}, "stop", ("good", "so")),
        ("good", {"reasoning": "so"}, "stop", ("good", "so")),
        (None, {"reasoning_content": "so"}, "length", ("", "so")),
        (None, {"reasoning": "so"}, "stop", ("", "so")),
        (None, {}, "length", ("", "")),
        (
            [{"type": "text", "text": "go"}, {"type": "text", "text": "od"}],
            {},
            "stop",
            ("good", ""),
        ),
        (
            [{"type": "thinking", "thinking": [TEXT_PART]}, {"type": "text", "text": "good"}],
            {},
            "stop",
            ("good", "so"),
        ),
        ([{"type": "reasoning", "text": "so"}], {}, "length", ("", "so")),
    ],
)
def test_text_and_reasoning_of_a_reply_are_kept_apart(
    server: Server, content: Any, message: Any, finish: str, expected: tuple[str, str]
) -> None:
    server.always = sends(200, completion(content, finish, **message))
    outcome = only(teacher(server))
    assert outcome == Answer(expected[0], finish, 11, 7, reasoning=expected[1])  # type: ignore[arg-type]


LABELLED = Request("id", (Message("user", "Good?"),), "t", "s", choices=("very good", " bad"))


def test_a_label_can_be_asked_for_as_json(server: Server) -> None:
    asked = teacher(server, response_format="label")
    only(asked, LABELLED)
    only(asked)
    schema = {
        "type": "object",
        "properties": {"label": {"type": "string", "enum": ["very good", "bad"]}},
        "required": ["label"],
        "additionalProperties": False,
    }
    named = {"name": "label", "strict": True, "schema": schema}
    assert server.seen[0]["response_format"] == {"type": "json_schema", "json_schema": named}
    assert "response_format" not in server.seen[1]
    only(teacher(server, response_format={"type": "json_object"}), LABELLED)
    assert server.seen[2]["response_format"] == {"type": "json_object"}


def test_an_extra_body_adds_replaces_and_leaves_out(server: Server) -> None:
    body = {"chat_template_kwargs": {"enable_thinking": False}, "top_p": 0.5}
    only(teacher(server, extra_body={**body, "temperature": None, "seed": None}))
    assert server.seen[0].items() >= body.items()
    assert not {"temperature", "seed"} & server.seen[0].keys()


def test_answers_asked_for_in_another_way_are_of_another_revision() -> None:
    def revision(**given: Any) -> str:
        return made("http://host/v1", revision="r", **given).revision

    bodies: list[Any] = [{"seed": None}, {"reasoning_effort": "low"}, {"reasoning_effort": "high"}]
    found = [revision(extra_body=body) for body in bodies]
    found += [revision(response_format="label"), revision(response_format={"type": "json_object"})]
    assert len({*found, "r"}) == 6
    assert revision() == "r"  # answers of before are found again
    assert revision(extra_body={"seed": None}) == found[0]
    config = OpenAITeacherConfig(
        backend="openai", model="m", base_url="http://h/v1", response_format="label"
    )
    assert identity(config)[1] == found[3].removeprefix("r")


@pytest.mark.parametrize("key", ["messages", "model", "max_tokens", "stream", "response_format"])
def test_an_extra_body_does_not_write_what_other_settings_write(key: str) -> None:
    with pytest.raises(ValueError, match=f"got '{key}', which cannot be set here; "):
        made("http://host/v1", extra_body={key: 1})


@pytest.mark.parametrize(
    ("message", "given", "remedy"),
    [
        (
            "'temperature' does not support 0",
            {},
            "set teacher.extra_body.temperature to null, which leaves it out",
        ),
        ("Unknown parameter: seed", {}, "set teacher.extra_body.seed to null, which leaves it out"),
        ("no response_format here", {"response_format": "label"}, "remove teacher.response_format"),
        ("min_p is unknown", {"extra_body": {"min_p": 1}}, "remove teacher.extra_body.min_p"),
        ("too long", {}, "too long"),
    ],
)
def test_a_refused_setting_is_told_with_its_remedy(
    server: Server, message: str, given: dict[str, Any], remedy: str
) -> None:
    server.always = error(400, message)
    found = failure(teacher(server, **given))
    assert found.reason == "refused"
    assert found.detail.startswith(f"HTTP 400: {message}")
    assert found.detail.endswith(remedy)


# Retries


def test_two_server_errors_are_overcome_with_growing_waits(server: Server) -> None:
    server.script = [sends(500), sends(503)]
    naps: list[float] = []
    assert isinstance(only(teacher(server, naps)), Answer)
    assert len(server.seen) == 3
    assert 0.5 <= naps[0] <= 1 <= naps[1] <= 2


def test_waits_are_limited(server: Server) -> None:
    server.always = sends(500)
    naps: list[float] = []
    assert failure(teacher(server, naps, max_attempts=12)).attempts == 12
    assert len(naps) == 11
    assert max(naps) <= 60


FUTURE, PAST = formatdate(4e9, usegmt=True), formatdate(1e9, usegmt=True)


@pytest.mark.parametrize(
    ("retry_after", "least", "most"),
    [
        ("7", 7, 8),
        ("2.5", 2.5, 3.5),
        ("0", 0, 1),
        ("86400", 300, 301),
        ("inf", 300, 301),
        (FUTURE, 300, 301),
        (PAST, 0, 1),
        ("soon", 0.5, 1),  # unreadable: the usual backoff
        ("nan", 0, 1),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured(
    server: Server, status: int, retry_after: str, least: float, most: float
) -> None:
    server.script = [sends(status, Retry_After=retry_after)]
    naps: list[float] = []
    asked = teacher(server, naps, clock=lambda: sum(naps))
    assert isinstance(only(asked), Answer)
    assert len(naps) == 1
    assert least <= naps[0] <= most


def test_waiting_as_long_as_the_server_asks_costs_no_attempt(server: Server) -> None:
    n_asked: Counter[str] = Counter()

    def too_much_at_first(handler: Handler) -> None:
        n_asked[handler.prompt()] += 1
        n = n_asked[handler.prompt()]
        (sends(429, Retry_After="0") if n < 10 else answering)(handler)

    server.always = too_much_at_first
    requests = [request(str(i)) for i in range(12)]
    outcomes = list(teacher(server, max_attempts=2).answer(requests))
    assert all(isinstance(outcome, Answer) for _, outcome in outcomes)
    assert set(n_asked.values()) == {10}


def test_a_server_that_always_asks_to_wait_is_given_up(server: Server) -> None:
    server.always = sends(429, Retry_After="300")
    naps: list[float] = []
    found = failure(teacher(server, naps, max_attempts=2, clock=lambda: sum(naps)))
    assert (found.reason, found.attempts) == ("rate limit", 4)
    assert 900 <= sum(naps) <= 904  # by hand: three waits of 300 s, up to 1 s later each


@pytest.mark.parametrize(
    ("base_url", "is_warned"),
    [
        ("http://model.example/v1", True),
        ("http://192.168.1.7:8000/v1", True),
        ("https://model.example/v1", False),
        ("http://localhost:8000/v1", False),
        ("http://127.0.0.1:9/v1", False),
        ("http://[::1]:9/v1", False),
    ],
)
def test_a_key_that_would_go_unencrypted_to_another_machine_is_warned_of_once(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    base_url: str,
    is_warned: bool,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(chat, "post", lambda *_: Reply(200, None, completion("fine")))
    asked = made(base_url)
    for _ in range(2):
        assert isinstance(only(asked), Answer)
    assert caplog.text.count("the key in OPENAI_API_KEY is sent to") == is_warned
    assert KEY not in caplog.text


def test_all_threads_wait_where_the_server_asks_one_to() -> None:
    now, naps = [0.0], list[float]()
    pace = Pace(None, lambda: now[0], naps.append)
    pace.take(1)
    pace.hold(5)
    pace.hold(2)  # a shorter wait does not end the longer one
    now[0] = 1.0
    pace.take(1)
    pace.take(1)
    assert naps == [4, 4]


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (sends(500), "server"),
        (sends(502, "<html>Bad gateway</html>"), "server"),
        (sends(409), "server"),
        (sends(408), "timeout"),
        (error(429, "slow down"), "rate limit"),
        (hangs_up, "connection"),
        (truncates, "malformed"),
        (breaks_a_chunk, "malformed"),
        (sends(200, b"\xff\xfe not JSON"), "malformed"),
        (sends(200, ""), "malformed"),
        (sends(200, "[" * 100_000), "malformed"),
        (sends(200, "[]"), "malformed"),
        (sends(200, "null"), "malformed"),
        (sends(200, '{"choices": []}'), "malformed"),
        (sends(200, '{"choices": ["text"]}'), "malformed"),
        (sends(200, '{"choices": [{"message": null}]}'), "malformed"),
        (sends(200, '{"choices": [{"message": {}}]}'), "malformed"),
        (sends(200, completion(17)), "malformed"),
        (sends(200, completion([{"type": "image_url", "image_url": "a"}])), "malformed"),
        (sends(200, completion([{"type": "text", "text": None}])), "malformed"),
        (sends(200, completion(["text"])), "malformed"),
        (error(200, "overloaded"), "malformed"),
    ],
)
def test_what_may_pass_is_tried_again_and_then_a_failure(
    server: Server, behaviour: Callable[[Handler], None], reason: str
) -> None:
    server.script = [behaviour]
    assert isinstance(only(teacher(server)), Answer)
    server.always = behaviour
    server.seen.clear()
    found = failure(teacher(server, max_attempts=3))
    assert (found.reason, found.attempts, len(server.seen)) == (reason, 3, 3)
    assert found.detail.isprintable()
    assert 0 < len(found.detail) < 400


@pytest.mark.parametrize("behaviour", [stalls, drips, starts_and_stalls])
def test_a_server_that_stalls_or_drips_is_a_timeout(
    server: Server, behaviour: Callable[[Handler], None]
) -> None:
    server.always = behaviour
    found = failure(teacher(server, timeout_s=0.2, max_attempts=2))
    assert found == Failure("timeout", "no complete answer within 0.2 s", 2)
    assert not server.dripped_out.is_set()


def test_an_endless_reply_is_cut(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "MAX_BODY_BYTES", 1 << 20)
    server.always = sends(200, b" " * (3 << 20))
    found = failure(teacher(server, max_attempts=1))
    assert found == Failure("malformed", "the reply is longer than 1 MiB", 1)


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/v1", "http://no.such.host.invalid/v1"])
@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_dead_server_is_reported_within_ten_seconds(
    address: str, concurrency: int, monkeypatch: pytest.MonkeyPatch
) -> None:

    def unknown(*_: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    if "invalid" in address:  # the name server says so, which is not asked here
        monkeypatch.setattr(socket, "getaddrinfo", unknown)
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    absent = made(address, sleep=sleep, clock=lambda: now[0], concurrency=concurrency)
    words = f"teacher.base_url: {address}/chat/completions cannot be reached; got .*; start the"
    with pytest.raises(TeacherError, match=words) as caught:
        list(absent.answer([request(str(i)) for i in range(50)]))
    assert "\n" not in str(caught.value)
    # the threads' naps are added up here, and a next request may have begun meanwhile
    assert 0 < now[0] < 10 * concurrency


def test_a_server_that_answered_may_be_lost_for_one_request(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = iter([False, True, False, True, True])
    real = chat.post

    def post(*given: Any) -> Any:
        if next(lost):
            raise exchange.Trouble("unreachable", "refused")
        return real(*given)

    monkeypatch.setattr(chat, "post", post)
    asked = teacher(server, concurrency=1, max_attempts=1)
    found: list[Answer | Failure] = []
    with pytest.raises(TeacherError, match=r"cannot be reached; .* all answers so far are kept"):
        found.extend(outcome for _, outcome in asked.answer([request(str(i)) for i in range(9)]))
    assert [type(outcome) for outcome in found] == [Answer, Failure, Answer, Failure, Failure]


@pytest.mark.parametrize("status", [400, 413, 422, 451])
def test_a_refused_request_is_not_tried_again(server: Server, status: int) -> None:
    server.script = [error(status, "prompt\ntoo\x1b[31m long")]
    naps: list[float] = []
    asked = teacher(server, naps)
    assert failure(asked) == Failure("refused", f"HTTP {status}: prompt too [31m long", 1)
    assert naps == []
    assert isinstance(only(asked), Answer)


@pytest.mark.parametrize(
    "body",
    [
        completion(None, refusal="I will not."),
        completion(None, "tool_calls"),
        completion("cut some", "content_filter"),
    ],
)
def test_an_answer_without_text_is_refused(server: Server, body: bytes) -> None:
    server.always = sends(200, body)
    assert failure(teacher(server)).reason == "refused"
    assert len(server.seen) == 1


# What ends the run


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (error(401, "no"), "refuses the key in OPENAI_API_KEY; got HTTP 401"),
        (error(402, "pay"), "the account .* has no credit left"),
        (
            error(403, "your country"),
            "does not let the key in OPENAI_API_KEY use 'm'; got .* your country",
        ),
        (error(404, "no such model"), "has no model 'm'; got HTTP 404: no such model; check"),
        (sends(405), "does not exist"),
        (sends(302, Location="http://127.0.0.1:9/"), "does not exist"),
        (sends(429, '{"error": {"code": "insufficient_quota"}}'), "no credit left"),
    ],
)
def test_a_wrong_key_model_or_address_ends_the_run_at_once(
    server: Server, behaviour: Callable[[Handler], None], words: str
) -> None:
    server.always = behaviour
    with pytest.raises(TeacherError, match=words) as caught:
        list(teacher(server, concurrency=1).answer([request(str(i)) for i in range(50)]))
    assert "\n" not in str(caught.value)
    assert len(server.seen) <= 2  # the second may have been begun meanwhile


def test_a_server_that_answers_nothing_but_errors_ends_the_run(server: Server) -> None:
    server.always = sends(500, "out of memory")
    asked = teacher(server, give_up_after=5, max_attempts=2)
    found: list[Answer | Failure] = []
    words = "gives only errors; got 5 failures in a row, the last: server, HTTP 500: out of memory"
    with pytest.raises(TeacherError, match=words):
        found.extend(outcome for _, outcome in asked.answer([request(str(i)) for i in range(99)]))
    assert [type(outcome) for outcome in found] == [Failure] * 5


def test_one_answer_is_a_sign_of_life(server: Server) -> None:
    server.script = [sends(400), sends(400), answering]
    server.always = sends(400)
    asked = teacher(server, give_up_after=3, concurrency=1)
    outcomes = [outcome for _, outcome in asked.answer([request(str(i)) for i in range(30)])]
    assert sum(isinstance(outcome, Failure) for outcome in outcomes) == 29


def test_a_server_that_dies_after_its_first_answer_ends_the_run(server: Server) -> None:
    server.script = [answering]
    server.always = sends(503)
    asked = teacher(server, give_up_after=4, max_attempts=1, concurrency=1)
    found: list[Answer | Failure] = []
    with pytest.raises(TeacherError, match="got 4 failures in a row"):
        found.extend(outcome for _, outcome in asked.answer([request(str(i)) for i in range(30)]))
    assert [type(outcome) for outcome in found] == [Answer, *[Failure] * 4]


@pytest.mark.parametrize("suffix", ["", "/", "//"])
def test_slashes_of_the_address_are_kept_right(server: Server, suffix: str) -> None:
    assert isinstance(only(made(server.url + suffix)), Answer)
    assert server.paths == ["/v1/chat/completions"]


def test_a_bug_in_a_thread_reaches_the_caller(server: Server) -> None:
    def sleep(seconds: float) -> None:
        raise ZeroDivisionError

    server.always = sends(500)
    with pytest.raises(ZeroDivisionError):
        only(teacher(server, sleep=sleep))


# The key

ECHOES: dict[str, Callable[[str], Callable[[Handler], None]]] = {
    "message of a 400": lambda key: error(400, f"wrong: Bearer {key}"),
    "message of a 401": lambda key: error(401, f"wrong: {key}"),
    "message of a 403": lambda key: error(403, f"wrong: {key}"),
    "message of a 404": lambda key: error(404, f"wrong: {key}"),
    "message of a 429": lambda key: error(429, f"wrong: {key}"),
    "text of a 500": lambda key: sends(500, f"<pre>Authorization: Bearer {key}</pre>"),
    "at the cut": lambda key: sends(500, "x" * 290 + key),
    "in other case": lambda key: sends(500, key.upper()),
    "percent encoded": lambda key: sends(500, f"?key={quote(key, safe='')}"),
    "JSON escaped": lambda key: sends(500, json.dumps({"detail": key}).replace("/", r"\/")),
    "masked": lambda key: error(500, f"Incorrect API key: {key[:8]}****{key[-4:]}"),
    "masked in a 401": lambda key: error(401, f"Incorrect API key: {key[:8]}****{key[-4:]}"),
    "200 with an error": lambda key: error(200, f"wrong: {key}"),
    "a refusal": lambda key: sends(200, completion(None, refusal=f"not to {key}")),
    "no text": lambda key: sends(200, completion([key])),
    "a bad chunk": lambda key: lambda handler: broken_chunk(handler, key),
    "a bad status line": lambda key: lambda handler: raw(handler, f"{key} {key}\r\n\r\n"),
}


def broken_chunk(handler: Handler, text: str) -> None:
    raw(handler, f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{text}\r\n")


def raw(handler: Handler, text: str) -> None:
    handler.wfile.write(text.encode())
    handler.close_connection = True


# Half a key is known by its prefix alone.
KEYS = [(echo, KEY) for echo in ECHOES]
KEYS += [(echo, "geheim-ohne-Vorsilbe/+=") for echo in ECHOES if echo != "masked"]


@pytest.mark.parametrize(("echo", "key"), KEYS)
def test_the_key_is_in_no_failure_error_log_or_object(
    server: Server,
    echo: str,
    key: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    caplog.set_level(logging.DEBUG)
    server.always = ECHOES[echo](key)
    asked = teacher(server, max_attempts=2)
    try:
        shown = repr(only(asked))
    except TeacherError as error:
        shown = "".join(traceback.format_exception(error))
    assert server.headers[0]["Authorization"] == f"Bearer {key}"
    shown += caplog.text + repr(asked) + repr(vars(asked))
    for secret in (key, key[5:], quote(key, safe=""), key[:8], key[-4:]):
        assert secret.lower() not in shown.lower()


def test_the_key_is_read_when_it_is_needed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = teacher(server, api_key_env="OTHER_KEY")
    monkeypatch.setenv("OTHER_KEY", " later\n")
    only(asked)
    assert server.headers[0]["Authorization"] == "Bearer later"


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "Schlüssel", "a\\b", 'a"b'])
def test_a_key_that_cannot_be_one_is_refused_unseen(
    server: Server, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(TeacherError, match="OPENAI_API_KEY is no key") as caught:
        only(teacher(server))
    assert key not in str(caught.value)
    assert server.seen == []


@pytest.mark.parametrize("key", ["", None])
def test_a_local_server_needs_no_key(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str | None
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.delenv("OPENAI_API_KEY")
    if key is not None:
        monkeypatch.setenv("OPENAI_API_KEY", key)
    assert isinstance(only(teacher(server)), Answer)
    assert "Authorization" not in server.headers[0]
    server.always = error(401, "who?")
    with pytest.raises(TeacherError, match="wants a key, OPENAI_API_KEY has none"):
        only(teacher(server))


def test_a_password_file_does_not_replace_the_key(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    only(teacher(server))
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_requests_have_the_headers_of_a_plain_post_and_the_cookies_of_the_server(
    server: Server,
) -> None:
    server.script = [sends(200, completion("x"), Set_Cookie="place=7; Path=/")]
    asked = teacher(server, concurrency=1)
    assert len(list(asked.answer([request("a"), request("b")]))) == 2
    payload = asked._payload(request("b"), "max_tokens")
    signed = {"Authorization": f"Bearer {KEY}", "Cookie": "place=7"}
    requests.post(f"{server.url}/chat/completions", json=payload, headers=signed, timeout=9)
    _, second, plain = server.headers
    assert second == plain
    assert "Cookie" not in server.headers[0]


def test_a_cookie_that_changes_goes_to_all_addresses_of_a_server_anew(server: Server) -> None:
    server.script = [sends(200, b"{}", Set_Cookie=f"place={n}; Path=/") for n in range(4)]
    with exchange.ServerSession(server.url, KEY) as session:
        for path in ("one", "two", "two", "one"):
            exchange.post(session, f"{server.url}/{path}", {}, 5, time.monotonic)
    sent = [one.get("Cookie") for one in server.headers]
    assert sent == [None, "place=0", "place=1", "place=2"]


def test_a_server_that_lets_nobody_in_is_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "CONNECT_TIMEOUT_S", 0.2)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        url = f"http://127.0.0.1:{port}/v1"
        with exchange.ServerSession(url, KEY) as session, pytest.raises(exchange.Trouble) as told:
            exchange.post(session, url, {}, 5, time.monotonic)
        for one in waiting:
            one.close()
    assert told.value.reason == "unreachable"


def test_a_lacking_file_of_certificates_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/file.pem")
    url = "https://127.0.0.1:1/v1"
    with exchange.ServerSession(url, KEY) as session, pytest.raises(exchange.Trouble) as told:
        exchange.post(session, url, {}, 5, time.monotonic)
    assert told.value.reason == "connection"
    assert "/no/such/file.pem" in told.value.detail


@pytest.mark.parametrize("is_excepted", [False, True])
def test_the_proxy_of_the_environment_is_used_unless_the_server_is_excepted(
    server: Server, monkeypatch: pytest.MonkeyPatch, is_excepted: bool
) -> None:
    monkeypatch.setenv("http_proxy", server.url.removesuffix("/v1"))
    monkeypatch.setenv("no_proxy", "nowhere.invalid" if is_excepted else "")
    monkeypatch.setenv("NO_PROXY", "nowhere.invalid" if is_excepted else "")
    asked = made("http://nowhere.invalid/v1", max_attempts=1, sleep=lambda _: None)
    if is_excepted:
        with pytest.raises(TeacherError, match=r"nowhere\.invalid.* cannot be reached"):
            only(asked)
        assert not server.paths
    else:
        assert isinstance(only(asked), Answer)
        assert server.paths == ["http://nowhere.invalid/v1/chat/completions"]


# Many at once


def test_the_concurrency_is_reached_and_never_exceeded(server: Server) -> None:
    barrier = threading.Barrier(4, timeout=PATIENCE_S)

    def together(handler: Handler) -> None:
        barrier.wait()  # nobody is answered before four have come
        answering(handler)

    server.always = together
    asked = teacher(server, concurrency=4, max_attempts=1)
    outcomes = [outcome for _, outcome in asked.answer([request(str(i)) for i in range(40)])]
    assert [type(outcome) for outcome in outcomes] == [Answer] * 40
    assert server.most_running == 4
    assert server.connections == 4  # one for each thread, kept open


def test_answers_come_as_they_finish_and_belong_to_their_request(server: Server) -> None:
    asked = [request(str(i)) for i in range(12)]
    order = [str(i) for i in range(12)]
    random.Random(5).shuffle(order)
    turn = threading.Condition()
    left, arrived = list(order), set[str]()

    def in_order(handler: Handler) -> None:
        with turn:
            arrived.add(handler.prompt())
            turn.notify_all()
            mine = lambda: len(arrived) == 12 and left[0] == handler.prompt()  # noqa: E731
            assert turn.wait_for(mine, PATIENCE_S)
        answering(handler)

    server.always = in_order
    finished: list[str] = []
    for one, outcome in teacher(server, concurrency=12, max_attempts=1).answer(asked):
        assert outcome == Answer(f"answer to {one.text}", "stop", 11, 7)
        finished.append(one.text)
        with turn:
            left.remove(one.text)
            turn.notify_all()
    assert finished == order
    assert order != [one.text for one in asked]


def test_twins_get_an_answer_each(server: Server) -> None:
    asked = [request("same", id="a"), request("same", id="b")]
    found = {one.id: outcome for one, outcome in teacher(server).answer(asked)}
    assert found == dict.fromkeys("ab", Answer("answer to same", "stop", 11, 7))


def test_no_requests_give_no_answers(server: Server) -> None:
    assert list(teacher(server).answer([])) == []


class Drawn(Sequence[Request]):
    """Many requests, of which none exists before it is drawn."""

    def __init__(self) -> None:
        self.n_drawn = 0

    def __len__(self) -> int:
        return 10_000

    def __getitem__(self, index: Any) -> Any:
        if index >= len(self):
            raise IndexError
        self.n_drawn = max(self.n_drawn, index + 1)
        return request(str(index))


@pytest.mark.parametrize("ending", [GeneratorExit, KeyboardInterrupt, ValueError])
def test_only_a_few_requests_are_held_and_an_early_end_drops_them(
    server: Server, ending: type[BaseException]
) -> None:
    before = set(threading.enumerate())
    gate = threading.Event()

    def first_then_wait(handler: Handler) -> None:
        if handler.prompt() != "0":
            gate.wait(PATIENCE_S)
        answering(handler)

    server.always = first_then_wait
    drawn = Drawn()
    answers: Any = teacher(server, concurrency=3).answer(drawn)
    assert next(answers)[0].text == "0"
    with pytest.raises(ending):
        answers.throw(ending)
    gate.set()
    for thread in set(threading.enumerate()) - before:
        if "_work" in thread.name:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
    assert drawn.n_drawn <= 7
    assert len(server.seen) <= 4  # what was in flight, at most


def test_an_early_end_stops_the_retries(server: Server) -> None:
    asleep, wake = threading.Event(), threading.Event()

    def sleep(seconds: float) -> None:
        asleep.set()
        wake.wait(PATIENCE_S)

    server.script = [sends(500)]
    before = set(threading.enumerate())
    answers: Any = teacher(server, sleep=sleep, concurrency=2).answer([request("a"), request("b")])
    next(answers)
    assert asleep.wait(PATIENCE_S)
    answers.close()
    workers = [t for t in set(threading.enumerate()) - before if "_work" in t.name]
    wake.set()
    for thread in workers:
        thread.join(PATIENCE_S)
    assert len(server.seen) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_does_not_wait_for_the_server(server: Server) -> None:
    code = (
        "import sys; from distill.teachers.openai import OpenAITeacher\n"
        "from sentibench.remote.records import Message, Request\n"
        "asked = [Request('a', (Message('user', 'a'),), 'a', 's')]\n"
        "from distill.config import OpenAITeacherConfig\n"
        "given = {'backend': 'openai', 'model': 'm', 'base_url': sys.argv[1], 'timeout_s': 9999}\n"
        "list(OpenAITeacher(OpenAITeacherConfig(**given)).answer(asked))\n"
    )
    arrived = threading.Event()

    def arrives(handler: Handler) -> None:
        arrived.set()
        handler.server.closing.wait()

    server.always = arrives
    process = subprocess.Popen(
        [sys.executable, "-c", code, server.url],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        stderr=subprocess.PIPE,
        text=True,
        # a shell starts what is in its background with the signal ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert arrived.wait(60)
        process.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in process.communicate(timeout=300)[1]
    finally:
        process.kill()


# Rate limits


@pytest.mark.parametrize("concurrency", [1, 4])
def test_requests_per_minute_are_spread_evenly(server: Server, concurrency: int) -> None:
    naps: list[float] = []
    asked = teacher(
        server, naps, concurrency=concurrency, requests_per_minute=30, clock=lambda: 100.0
    )
    list(asked.answer([request(str(i)) for i in range(5)]))
    # by hand: the clock stands still, so the turns are 0, 2, 4, 6 and 8 s away
    assert sorted(naps) == pytest.approx([2, 4, 6, 8])


def test_time_that_passes_by_itself_is_not_slept(server: Server) -> None:
    now, naps = [0.0], list[float]()

    def slow(handler: Handler) -> None:
        now[0] += 1.5
        answering(handler)

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        now[0] += seconds

    server.always = slow
    asked = teacher(
        server, sleep=sleep, concurrency=1, requests_per_minute=30, clock=lambda: now[0]
    )
    list(asked.answer([request(str(i)) for i in range(4)]))
    assert naps == pytest.approx([0.5] * 3)  # by hand: 2 s each, of which the server takes 1.5


def test_nothing_is_saved_up_while_nothing_is_asked(server: Server) -> None:
    now, naps = [0.0], list[float]()
    asked = teacher(server, naps, concurrency=1, requests_per_minute=30, clock=lambda: now[0])
    now[0] = 3600
    list(asked.answer([request(str(i)) for i in range(3)]))
    assert naps == pytest.approx([2, 4])


def test_attempts_count_as_requests(server: Server) -> None:
    server.script = [sends(500, Retry_After="1000")]
    naps: list[float] = []
    only(teacher(server, naps, requests_per_minute=6, clock=lambda: 0.0))
    assert len(naps) == 2
    assert naps[1] == pytest.approx(10)


def test_tokens_per_minute_go_by_what_the_server_counted(server: Server) -> None:
    naps: list[float] = []
    asked = teacher(server, naps, concurrency=1, tokens_per_minute=60, clock=lambda: 0.0)
    list(asked.answer([request(str(i)) for i in range(3)]))
    assert naps == pytest.approx([18, 36])  # by hand: 11 + 7 tokens, one each second


def test_tokens_per_minute_go_by_an_estimate_if_the_server_does_not_count(server: Server) -> None:
    server.always = sends(200, '{"choices": [{"message": {"content": "fine"}}]}')
    naps: list[float] = []
    asked = teacher(server, naps, concurrency=1, tokens_per_minute=60, clock=lambda: 0.0)
    decoding = Decoding(max_new_tokens=20)
    list(asked.answer([request("1234567", decoding), request("b", decoding)]))
    assert naps == pytest.approx([24])  # by hand: (9 + 7) / 4 of the prompt and 20 of the answer


@pytest.mark.parametrize("name", ["concurrency", "max_attempts"])
def test_impossible_numbers_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        made("http://host/v1", **{name: 0})

"""A local server of all dialects, which answers and misbehaves as it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import log
from typing import Any

KEY = "sk-Geheim/12+34=56_x"
Reply = tuple[int, Any] | tuple[int, Any, dict[str, str]] | None
Asked = dict[str, Any]


def likely(text: str, options: list[str]) -> dict[str, float]:
    """Probabilities that depend on the text alone: the option at ``len(text)`` gets 0.6."""
    rest = 0.4 / (len(options) - 1)
    favourite = options[len(text) % len(options)]
    return {option: 0.6 if option == favourite else rest for option in options}


def text_of(asked: Asked) -> str:
    """The text that a request in any dialect is about."""
    if "messages" in asked:
        prompt = asked["messages"][-1]["content"]
        return prompt.rpartition("Sentence: ")[2].removesuffix("\nLabel:")
    return asked["state"] if "state" in asked else asked["input"]


class DecisionsServer(ThreadingHTTPServer):
    """Does what ``behave`` says, and answers where that returns None."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behave: Callable[[str, Asked], Reply | Exception] = lambda _path, _asked: None
        self.probabilities: Callable[[str, list[str]], Any] = likely
        self.seen: list[tuple[str, Asked]] = []
        self.headers: list[dict[str, str]] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, *_: Any) -> None:
        """A client that went away is no news."""

    def reply(self, path: str, asked: Asked) -> Any:
        """A right answer in the dialect of the path."""
        if path == "/v1/systemone":
            (name, question), *_ = asked["questions"].items()
            found = self.probabilities(asked["state"], list(question["criteria"]))
            answer = {"type": "choice", "choice": max(found, key=found.get), "confidence": 0.5}
            answers = {name: {**answer, "probabilities": found}}
            return {"model": "m", "answers": answers, "usage": {"input_tokens": 9}}
        if path == "/v1/decisions":
            (question,) = asked["questions"]
            if "options" in question:  # SGLang's form
                found = self.probabilities(asked["input"], [o["name"] for o in question["options"]])
                answer = {"type": "choice", "choice": max(found, key=found.get)}
                answers = {question["id"]: {**answer, "probabilities": found, "label_mass": 0.5}}
                return {"model": "m", "answers": answers, "usage": {"prompt_tokens": 9}}
            options = [choice["value"] for choice in question["choices"]]
            found = self.probabilities(asked["input"], options)
            listed = [{"value": o, "probability": p} for o, p in found.items()]
            answer = {
                "type": "choice",
                "name": question["name"],
                "choice": max(found, key=found.get),
            }
            answers = [{**answer, "confidence": 0.6, "probabilities": listed}]
            return {"model": "m", "answers": answers, "usage": {"input_tokens": 9}}
        choice: dict[str, Any] = {"finish_reason": "stop", "message": {"content": "[]"}}
        if asked.get("logprobs"):
            found = self.probabilities(text_of(asked), ["positive", "negative"])
            # as servers say it of what cannot be: a number, not minus infinity
            logs = {o: log(p) if p else -9999.0 for o, p in found.items()}
            tokens = [{"token": f" {o[:3]}", "logprob": value} for o, value in logs.items()]
            choice["logprobs"] = {"content": [{"token": "x", "top_logprobs": tokens}]}
        return {"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 1}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: DecisionsServer  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.seen.append((self.path, asked))
            self.server.headers.append(dict(self.headers))
            told = self.server.behave(self.path, asked)
        if isinstance(told, Exception):  # the connection is lost
            self.close_connection = True
            return
        status, reply, *more = told or (200, self.server.reply(self.path, asked))
        body = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(more[0] if more else {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr."""


@contextmanager
def running() -> Iterator[DecisionsServer]:
    """A server that runs until the block ends."""
    server = DecisionsServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

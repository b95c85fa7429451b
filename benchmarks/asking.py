"""What it costs to ask a server: requests per second, and our processor time per request.

    python benchmarks/asking.py [N [CONCURRENCY [ROUNDS]]]

A server in a process of its own answers every request at once with the same completion. In turn we
ask it N requests through ``ask`` and a new store, as a distillation does, and N times with
``requests`` alone, in as many threads. Processor time is that of the asking process, the server's
is not in it.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from requests import Session

from distill.config import OpenAITeacherConfig
from distill.teachers.openai import OpenAITeacher
from sentibench.remote.asking import ask_waiting
from sentibench.remote.records import Message, Request
from sentibench.remote.store import Store

WORDS = 150  # of a prompt
COMPLETION = json.dumps(
    {
        "choices": [
            {"message": {"role": "assistant", "content": "word " * 80}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 300, "completion_tokens": 80},
    }
).encode()
HEADERS = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(COMPLETION)}"
REPLY = f"{HEADERS}\r\n\r\n".encode() + COMPLETION


class Instant(asyncio.Protocol):
    """Reads a request up to the length that it gives, and replies."""

    def __init__(self) -> None:
        self.got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Reply once the request is whole; a client waits for the reply before the next one."""
        self.got += data
        head, blank, body = self.got.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
        if blank and len(body) >= int(length or 0):
            self.got = b""
            self.transport.write(REPLY)


def serve(told: Connection) -> None:
    """Answer until the process is ended; tells its port first."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Instant, "127.0.0.1", 0)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def synthetic_requests(n: int) -> list[Request]:
    """Prompts of equal length, each another one."""
    text = "word " * WORDS
    return [
        Request(f"r/{i:07}", (Message("user", f"{i} {text}"),), text, "bench") for i in range(n)
    ]


def through_the_store(requests: list[Request], url: str, concurrency: int) -> None:
    """As a step of a distillation asks."""
    config = OpenAITeacherConfig(
        backend="openai", model="instant", base_url=url, concurrency=concurrency
    )
    teacher = OpenAITeacher(config)
    with (
        tempfile.TemporaryDirectory() as folder,
        Store.open(Path(folder) / "store", teacher.name, teacher.revision) as store,
    ):
        unknown = ask_waiting(requests, lambda: teacher, store)
        assert len(store) == len(requests), unknown


def with_requests_alone(requests: list[Request], url: str, concurrency: int) -> None:
    """Post and read the JSON, nothing else."""
    todo: SimpleQueue[Request | None] = SimpleQueue()

    def work() -> None:
        with Session() as session:
            while request := todo.get():
                payload = {"model": "instant", "messages": request.turns}
                reply = session.post(f"{url}/chat/completions", json=payload, timeout=60)
                assert reply.json()["choices"]

    for one in [*requests, *[None] * concurrency]:
        todo.put(one)
    threads = [Thread(target=work) for _ in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main(n: int = 20_000, concurrency: int = 8, rounds: int = 3) -> None:
    """Print one line for each round and way."""
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{here.recv()}/v1"
    requests = synthetic_requests(n)
    ways: tuple[Callable[[list[Request], str, int], None], ...]
    ways = (through_the_store, with_requests_alone)
    for _ in range(rounds):
        for way in ways:
            seconds, processor = time.perf_counter(), time.process_time()
            way(requests, url, concurrency)
            seconds, processor = time.perf_counter() - seconds, time.process_time() - processor
            print(
                f"{way.__name__:20} {n / seconds:7,.0f} requests/s, "
                f"{1e3 * processor / n:.3f} ms of our processor per request",
                flush=True,
            )
    server.terminate()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

"""A student with a recipe and a temperature, and a real server for it, in a thread."""

import http.client
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("uvicorn")

import uvicorn

from sentibench import Classifier
from sentibench.data.cards import load_tasks
from sentibench.predict.recipe import recipe_of, save_recipes
from sentibench.predict.temperatures import Fitted, save
from sentibench.serve.app import About, build
from sentibench.serve.server import batching

TASK = "sentibench_mini_emotion20"


class Client:
    """One connection to a server."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def send(self, path: str, body: object, kind: str = "application/json", **headers: str) -> None:
        """A POST whose answer may be read later; bytes are sent as they are."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.connection.request("POST", path, content, {"Content-Type": kind, **headers})

    def ask(self, path: str, body: object = None, kind: str = "application/json", **headers: str):
        """Status and parsed answer of a POST."""
        self.send(path, body, kind, **headers)
        reply = self.connection.getresponse()
        self.headers = reply.headers
        return reply.status, json.loads(reply.read())

    def get(self, path: str) -> tuple[int, str]:
        self.connection.request("GET", path)
        reply = self.connection.getresponse()
        return reply.status, reply.read().decode()


@contextmanager
def served(app, **settings: int) -> Iterator[int]:
    """The port of a running server."""
    config = uvicorn.Config(app, port=0, log_level="error", lifespan="off", **settings)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def student(checkpoint: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("serve") / "student"
    shutil.copytree(checkpoint, folder)
    save_recipes(folder, {TASK: recipe_of(load_tasks()[TASK])})
    fitted = Fitted(temperature=2.5, n_items=20, nll=(1.0, 0.9), ece=(0.2, 0.1))
    save(folder, TASK, fitted)
    return folder


@pytest.fixture(scope="session")
def port(student: Path) -> Iterator[int]:
    classifier = Classifier(student)
    about = About("student", TASK, classifier.recipe.labels)
    with (
        batching(classifier, max_queue=64, max_batch=16) as (batcher, measures),
        served(build(about, batcher, measures)) as port,
    ):
        yield port


@pytest.fixture
def client(port: int) -> Client:
    return Client(port)


@pytest.fixture
def client_at() -> type[Client]:
    return Client


@pytest.fixture
def run_app() -> Callable:
    return served


@pytest.fixture
def connect(port: int) -> Callable[[], Client]:
    return lambda: Client(port)


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server as a process of its own, and its address."""
    command = [sys.executable, "-m", "sentibench", "serve", *arguments, "--port", "0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as server:
        try:
            address = server.stdout.readline().strip()
            assert address, server.stderr.read()
            yield server, address.removeprefix("http://")
        finally:
            server.kill()


@pytest.fixture
def process() -> Callable:
    return running

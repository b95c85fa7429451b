"""Asking by the workers of a Ray cluster of two nodes on this machine: nothing lost, nothing twice.

Run as a script, this file is a driver: a folder, the server's address and the settings of asking.
"""

import hashlib
import json
import os
import pickle
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr
from store_contents import answers, failures

from distill.config import Asking, HfTeacher, OpenAITeacherConfig
from distill.teachers import identity, load_teacher
from distill.teachers.on_ray import LIVES, RayTeacher, Worker, _batches, _share
from sentibench.command_line import exit_code
from sentibench.errors import TeacherError
from sentibench.remote.asking import ask
from sentibench.remote.records import Answer, Failure, Message, Request
from sentibench.remote.shards import FOLDER
from sentibench.remote.store import Store

ROOT = Path(__file__).parents[3]
INSTALL = "ray is not installed: pip install 'sentibench[ray]'"
PATIENCE_S = 120
CONCURRENCY = 4  # of all workers together
REQUESTS = [
    Request(f"r/{n}", (Message("user", f"What of {n}?\ud83d"),), f"t{n}", "here", meta={"n": n})
    for n in range(180)
]
REFUSED = "What of 7?"


class Server(ThreadingHTTPServer):
    """Answers after a while by what depends on the prompt alone, and refuses one prompt."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: Counter[str] = Counter()
        self.keys: set[str] = set()
        self.running = self.most_running = 0
        self.pause_s, self.lock = 0.05, threading.Lock()
        self.held_below = 0  # requests at once: until there are so many, nobody gets an answer
        self.are_enough = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, *_: Any) -> None:
        """A client that was killed is no news."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = asked["messages"][-1]["content"]
        server = self.server
        with server.lock:
            server.seen[prompt] += 1
            server.keys.add(self.headers.get("Authorization", ""))
            server.running += 1
            server.most_running = max(server.most_running, server.running)
        if server.most_running >= server.held_below:
            server.are_enough.set()
        server.are_enough.wait(50)  # less than the timeout of a request
        time.sleep(server.pause_s)
        said = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()
        choice = {"message": {"content": f"It is {said}."}, "finish_reason": "stop"}
        is_refused = prompt.startswith(REFUSED)
        reply: Any = {"error": {"message": "not this one"}} if is_refused else {"choices": [choice]}
        body = json.dumps(reply).encode()
        with server.lock:
            server.running -= 1
        self.send_response(400 if is_refused else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr."""


def teacher_of(url: str) -> OpenAITeacherConfig:
    given = {"concurrency": CONCURRENCY, "timeout_s": 60.0}
    return OpenAITeacherConfig(backend="openai", model="m", base_url=url, **given)


def drive(folder: Path, url: str, asking: Asking) -> list[tuple[Request, Answer | Failure]]:
    config = teacher_of(url)
    with Store.open(folder, *identity(config)) as store:
        return ask(REQUESTS, lambda: load_teacher(config, asking, folder), store)


def begin(folder: Path, url: str, asking: Asking, **environment: str) -> subprocess.Popen[str]:
    paths = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    return subprocess.Popen(
        [sys.executable, __file__, str(folder), url, asking.model_dump_json()],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(driver: subprocess.Popen[str]) -> None:
    _, said = driver.communicate(timeout=2 * PATIENCE_S)
    assert driver.returncode == 0, said[-4000:]
    assert "Traceback" not in said


def records(folder: Path) -> dict[str, list[bytes]]:
    """The lines of a store, whose order is that of the answers' coming."""
    names = ("answers.jsonl", "failures.jsonl")
    return {name: sorted((folder / name).read_bytes().splitlines()) for name in names}


def wait_for(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {what}"
        time.sleep(0.02)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one core each, on this machine; that each has a GPU is said, not so."""
    pytest.importorskip("ray", reason=INSTALL)
    from distill.teachers.cluster import load_ray

    load_ray()
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "num_gpus": 1, "object_store_memory": 80 << 20}
    two = Cluster(initialize_head=True, head_node_args={"include_dashboard": False, **node})
    two.add_node(**node)
    yield two
    two.shutdown()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[bytes]]:
    """What one process writes down."""
    folder = tmp_path_factory.mktemp("alone")
    with Server() as running:
        running.pause_s = 0.0
        threading.Thread(target=running.serve_forever, daemon=True).start()
        drive(folder, running.url, Asking())
        running.shutdown()
    found = records(folder)
    assert {name: len(lines) for name, lines in found.items()} == {
        "answers.jsonl": len(REQUESTS) - 1,
        "failures.jsonl": 1,
    }
    return found


@pytest.mark.slow
def test_two_nodes_write_the_records_of_one_process(
    cluster: Any, server: Server, alone: dict[str, list[bytes]], tmp_path: Path
) -> None:
    asking = Asking(engine="ray", address=cluster.address, workers=(2, 2), batch=20, gpus=1)
    server.held_below = CONCURRENCY // 2 + 1  # more than one worker asks
    finish(begin(tmp_path, server.url, asking, OPENAI_API_KEY="sk-of-the-driver"))
    assert records(tmp_path) == alone
    assert set(server.seen.values()) == {1}
    assert len(server.seen) == len(REQUESTS)
    assert server.keys == {"Bearer sk-of-the-driver"}  # which no machine of the cluster has
    assert server.held_below <= server.most_running <= CONCURRENCY
    assert not (tmp_path / FOLDER).exists()


@pytest.mark.slow
def test_after_any_kill_the_next_call_asks_only_what_is_missing(
    cluster: Any, server: Server, alone: dict[str, list[bytes]], tmp_path: Path
) -> None:
    moments = random.Random(time.time_ns())
    asking = Asking(engine="ray", address=cluster.address, workers=(2, 2), batch=20)
    server.pause_s = 0.1

    def after(n_seen: int) -> None:
        wait_for(lambda: server.seen.total() >= n_seen, f"{n_seen} requests")
        time.sleep(moments.uniform(0, 0.3))

    def pids() -> list[int]:
        return [int(path.read_text()) for path in (tmp_path / FOLDER).glob("*/store.pid")]

    driver = begin(tmp_path, server.url, asking)
    after(20)
    os.kill(moments.choice(pids()), signal.SIGKILL)
    after(60)
    raylet = next(iter(cluster.worker_nodes)).all_processes["raylet"][0].process
    raylet.send_signal(signal.SIGKILL)
    raylet.wait()
    after(100)
    driver.kill()
    driver.communicate()
    assert driver.returncode == -signal.SIGKILL
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids()), "workers end")
    asked = Counter(server.seen)
    folders = [tmp_path, *(tmp_path / FOLDER).glob("*")]
    stored: set[str] = set()
    for folder in folders:
        with Store.read(folder) as store:
            stored |= {key for key, _ in answers(store)} | {key for key, _ in failures(store)}
    assert 0 < len(stored) < len(REQUESTS)

    of_environment = asking.model_copy(update={"address": None})
    finish(begin(tmp_path, server.url, of_environment, RAY_ADDRESS=cluster.address))
    whose = identity(teacher_of(server.url))
    missing = {r.prompt for r in REQUESTS if r.key(*whose) not in stored}
    assert server.seen - asked == Counter(missing)
    # twice: what was in flight when a worker, a node or the driver was killed
    assert server.seen.total() - len(REQUESTS) <= 3 * CONCURRENCY
    assert records(tmp_path) == alone
    assert not (tmp_path / FOLDER).exists()


@pytest.mark.slow
def test_what_is_wrong_with_a_machine_is_one_clear_error_before_anything_is_asked(
    cluster: Any, server: Server, tmp_path: Path
) -> None:
    served = teacher_of(server.url)
    missing = HfTeacher(backend="hf", model=str(tmp_path / "nowhere"))
    asking = Asking(engine="ray", address=cluster.address, patience_s=2)
    cases: list[tuple[str, Any, Asking, str]] = [
        ("model", missing, asking, r"machine [\d.]+: teacher.model: .*nowhere"),
        ("folder", served, asking, r"machine [\d.]+: .*shards: workers cannot write there; got"),
        ("room", served, asking.model_copy(update={"gpus": 3}), "no machine .* 3 free GPUs"),
    ]
    for name, config, of_case, expected in cases:
        with Store.open(tmp_path / name, *identity(config)) as store:
            if name == "folder":
                (tmp_path / name / FOLDER).touch()  # root may write everywhere else
            with pytest.raises(TeacherError, match=expected):
                ask(REQUESTS[:4], partial(RayTeacher, config, of_case, store.folder), store)
    assert server.seen.total() == 0


def test_a_cluster_that_is_not_there_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason=INSTALL)
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    asking = Asking(engine="ray", address=f"127.0.0.1:{port}")
    driver = begin(tmp_path, "http://127.0.0.1:9/v1", asking)
    _, said = driver.communicate(timeout=PATIENCE_S)
    assert driver.returncode == 2
    (line,) = said.splitlines()
    assert line.startswith("error: asking.address: no Ray cluster at ")
    assert "start it, or remove the address" in line


def test_a_server_that_is_no_cluster_is_told_apart(server: Server) -> None:
    pytest.importorskip("ray", reason=INSTALL)
    from distill.teachers import cluster

    class Here:
        """The part of Ray that says under which address this machine is reached."""

        class util:
            get_node_ip_address = staticmethod(lambda: "127.0.0.1")

    address = f"localhost:{server.server_port}"
    with pytest.raises(TeacherError, match=r"RAY_ADDRESS: no Ray cluster at 127.0.0.1:\d+; got"):
        cluster._refuse_unreachable(Here, "RAY_ADDRESS", address)
    with pytest.raises(TeacherError, match="got 'ray://head:10001'; expected HOST:PORT"):
        cluster._refuse_unreachable(Here, "RAY_ADDRESS", "ray://head:10001")


@pytest.mark.slow
def test_another_version_of_ray_is_one_clear_error(cluster: Any, monkeypatch) -> None:
    ray = pytest.importorskip("ray", reason=INSTALL)
    from distill.teachers.cluster import connected

    installed = ray.__version__
    monkeypatch.setattr(ray, "__version__", "2.9.0")
    expected = rf"another version of Ray .*; got .*Ray: {installed} .*expected Ray 2.9.0 and"
    asking = Asking(engine="ray", address=cluster.address)
    with pytest.raises(TeacherError, match=expected), connected(asking):
        raise AssertionError("connected")


def test_without_ray_the_error_says_what_to_install(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(TeacherError, match=r"pip install 'sentibench\[ray\]'"):
        load_teacher(teacher_of("http://127.0.0.1:9/v1"), Asking(engine="ray"), tmp_path)


# What a machine says of itself, in this process


def test_a_machine_that_is_gone_is_left_out_and_any_other_trouble_is_said() -> None:
    known = pytest.importorskip("ray", reason=INSTALL).exceptions
    from distill.teachers.cluster import _refuse_wrong

    def said(outcome: Any) -> bool:
        def get(_answer: None, timeout: float) -> str:
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        return _refuse_wrong(SimpleNamespace(exceptions=known, get=get), "m", None, 1.0, "late")

    assert said("")
    assert not said(known.TaskUnschedulableError("the node is dead"))
    assert not said(known.WorkerCrashedError())
    for outcome, message in (
        ("no model", "asking.engine: machine m: no model"),
        (known.GetTimeoutError("late"), "^late$"),
        (known.RaySystemError("No module named 'distill'"), "m cannot run a worker; .*'distill'"),
    ):
        with pytest.raises(TeacherError, match=message):
            said(outcome)


def test_a_machine_says_what_it_lacks(tiny_student: Path, tmp_path: Path) -> None:
    from distill.teachers.cluster import wrong_with_machine

    ours = version("sentibench")
    config = HfTeacher(backend="hf", model=str(tiny_student))
    known = identity(config)
    given = (config, known, tmp_path)
    assert "got no store.json there" in wrong_with_machine(*given, ours)
    Store.open(tmp_path, *known).close()
    assert wrong_with_machine(*given, ours) == ""
    assert wrong_with_machine(*given, "0.0.1").startswith("another version of sentibench; got")
    other = wrong_with_machine(config, (known[0], "other"), tmp_path, ours)
    assert other.startswith("teacher.model: its files there differ from those here; got hf/tiny ")


# A worker, in this process


def worker(monkeypatch, store: Path, url: str, life: str = "w1", **given: Any) -> Worker:
    """A worker, as Ray would begin it."""
    context = SimpleNamespace(get_actor_id=lambda: life)
    here = SimpleNamespace(get_node_ip_address=lambda: "10.0.0.7")
    ray = SimpleNamespace(get_runtime_context=lambda: context, util=here)
    monkeypatch.setitem(sys.modules, "ray", ray)
    config = teacher_of(url)
    opened = {"secret": SecretStr(""), "has_answered": False} | given
    return Worker(config=config, identity=identity(config), store=store, **opened)


def outcomes(made: Worker, requests: list[Request]) -> list[tuple[int, Any]]:
    pytest.importorskip("pyarrow")
    (batch,) = _batches(requests, len(requests))
    rows = made(batch).to_pylist()
    return [(row["number"], row["wrong"] or pickle.loads(row["outcome"])) for row in rows]


def test_a_restarted_worker_asks_what_its_shard_lacks(
    server: Server, tmp_path: Path, monkeypatch
) -> None:
    first = worker(monkeypatch, tmp_path, server.url)
    known = dict(outcomes(first, REQUESTS[5:9]))  # 7 is refused, which is known too
    assert [type(known[n]) for n in range(4)] == [Answer, Answer, Failure, Answer]
    first._shard.close()  # type: ignore[union-attr]
    found = outcomes(worker(monkeypatch, tmp_path, server.url), REQUESTS[4:10])
    assert found[:4] == [(number + 1, known[number]) for number in range(4)]
    assert sorted(number for number, _ in found) == list(range(6))
    assert set(server.seen.values()) == {1}


def test_what_concerns_all_requests_comes_behind_what_was_answered(
    server: Server, tmp_path: Path, monkeypatch
) -> None:
    made = worker(monkeypatch, tmp_path, server.url)
    outcomes(made, REQUESTS[:2])
    server.shutdown()
    server.server_close()
    *known, (_, wrong) = outcomes(made, REQUESTS[:8])
    assert [type(outcome) for _, outcome in known[:2]] == [Answer, Answer]
    assert "cannot be reached" in wrong


def test_a_worker_that_dies_again_and_again_gives_up(tmp_path: Path, monkeypatch) -> None:
    for _ in range(LIVES):
        made = worker(monkeypatch, tmp_path, "http://127.0.0.1:9/v1")
        assert made._wrong == ""
        made._shard.close()  # type: ignore[union-attr]
    [(_, wrong)] = outcomes(worker(monkeypatch, tmp_path, "http://127.0.0.1:9/v1"), REQUESTS[:3])
    assert wrong.startswith(f"asking.engine: machine 10.0.0.7: a worker stopped {LIVES} times")


def test_a_worker_that_cannot_write_says_where(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / FOLDER).touch()
    [(_, wrong)] = outcomes(worker(monkeypatch, tmp_path, "http://127.0.0.1:9/v1"), REQUESTS[:3])
    assert wrong.startswith(f"asking.engine: machine 10.0.0.7: {tmp_path / FOLDER}")


def test_a_cluster_that_does_not_start_here_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray", reason=INSTALL)
    from distill.teachers.cluster import connected

    def init(*_: Any, **__: Any) -> None:
        raise Exception("The current node timed out during startup.")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "init", init)
    expected = "no Ray cluster could be started on this machine; got The current node timed out"
    with pytest.raises(TeacherError, match=expected), connected(Asking(engine="ray")):
        raise AssertionError("connected")


def test_the_limits_of_a_server_are_shared_by_the_workers() -> None:
    config = teacher_of("http://127.0.0.1:9/v1").model_copy(
        update={"concurrency": 10, "requests_per_minute": 300.0}
    )
    one = _share(config, 4)
    assert isinstance(one, OpenAITeacherConfig)
    assert (one.concurrency, one.requests_per_minute, one.tokens_per_minute) == (2, 75, None)


if __name__ == "__main__":
    settings = Asking.model_validate_json(sys.argv[3])
    sys.exit(exit_code(lambda: drive(Path(sys.argv[1]), sys.argv[2], settings) and 0))

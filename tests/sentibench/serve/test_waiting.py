"""What waits is bounded, and nobody's work is done for a client that left."""

import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("uvicorn")

from sentibench import Classifier
from sentibench.predict.classifier import Labelled
from sentibench.serve import batching
from sentibench.serve.answering import Answerer, Question, Unwanted
from sentibench.serve.app import LEFT, About, build
from sentibench.serve.batching import Batcher
from sentibench.serve.measures import Measures
from sentibench.serve.refusals import Refused


class Held:
    """A model that notes what it is asked, and waits until it is let go or is not wanted."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.began, self.let_go, self.stopped = (threading.Event() for _ in range(3))

    def __call__(self, items, is_wanted):
        self.asked += items
        self.began.set()
        while not self.let_go.wait(0.01):
            if not is_wanted():
                self.stopped.set()
                raise Unwanted
        return [Labelled("a", 1.0, {"a": 1.0}) for _ in items]


def until(is_so: Callable[[], bool]) -> None:
    """Wait for a state that comes by itself, or fail."""
    for _ in range(1200):
        if is_so():
            return
        time.sleep(0.05)
    pytest.fail("it did not come")


@pytest.fixture
def held():
    model = Held()
    batcher = Batcher(model, max_queue=100, max_batch=8)
    yield model, batcher
    model.let_go.set()
    batcher.close()


def test_a_cancelled_request_leaves_the_queue_and_is_never_asked(held) -> None:
    model, batcher = held
    first = batcher.ask(["a"])
    assert model.began.wait(60)
    gone, kept = batcher.ask(["b", "c"]), batcher.ask(["d"])
    assert batcher.n_waiting == 3
    assert gone.cancel()
    assert batcher.n_waiting == 1
    model.let_go.set()
    assert len(first.result(60)) == len(kept.result(60)) == 1
    assert model.asked == ["a", "d"]


def test_a_batch_waits_for_the_clients_of_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentibench.serve.batching.PATIENCE", 1e9)
    sizes: list[int] = []
    model = Held()
    batcher = Batcher(model, max_queue=100, max_batch=8, on_batch=sizes.append)
    first = batcher.ask(["a"])
    assert model.began.wait(60)
    together = [batcher.ask([text]) for text in "bc"]
    model.let_go.set()
    assert [len(one.result(60)) for one in (first, *together)] == [1, 1, 1]
    early = batcher.ask(["d"])
    time.sleep(0.2)  # the first of two does not begin alone
    late = batcher.ask(["e"])
    assert len(early.result(60)) == len(late.result(60)) == 1
    alone = batcher.ask(["f"])
    batcher.close()  # nobody else will come
    assert len(alone.result(60)) == 1
    assert sizes == [1, 2, 2, 1]


def test_the_model_stops_where_nobody_waits_any_more(held) -> None:
    model, batcher = held
    first = batcher.ask(["a"])
    assert model.began.wait(60)
    assert first.cancel()
    assert model.stopped.wait(60)
    model.let_go.set()
    assert len(batcher.ask(["b"]).result(60)) == 1
    assert model.asked == ["a", "b"]


def test_a_client_that_left_leaves_the_others_of_its_batch_alone(held) -> None:
    model, batcher = held
    batcher.ask(["a"])
    assert model.began.wait(60)
    model.began.clear()
    gone, kept = batcher.ask(["b"]), batcher.ask(["c"])
    model.let_go.set()
    assert model.began.wait(60)
    gone.cancel()
    assert len(kept.result(60)) == 1


def test_a_queue_is_full_by_its_characters_too(held, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "MOST_WAITING_CHARACTERS", 20)
    model, batcher = held
    batcher.ask(["in work"])
    assert model.began.wait(60)
    # of two options, so its four characters count twice, and each option's one
    waiting: list[Future] = [batcher.ask([Question("1234", ("a", "b"))]) for _ in range(2)]
    with pytest.raises(Refused, match="2 texts or questions, of 20 characters, wait"):
        batcher.ask(["x"])
    waiting[0].cancel()
    batcher.ask(["1234567890"])


def test_a_passing_model_stops_within_a_batch(student: Path) -> None:
    answer = Answerer(Classifier(student, batch_tokens=1))
    passes = iter([True, True])
    with pytest.raises(Unwanted):
        answer(["one", "two", "three"], lambda: next(passes, False))
    assert next(passes, None) is None
    # and is as before for whoever comes next
    assert len(answer(["one", "two"], lambda: True)) == 2


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/decisions"])
def test_clients_that_close_their_connections_are_not_answered(
    held, run_app: Callable, client_at: Callable, path: str
) -> None:
    model, batcher = held
    measures = Measures()
    measures.watch_queue(lambda: batcher.n_waiting)
    question = {"type": "choice", "instructions": "Say."}
    question |= {"choices": [{"value": "a"}, {"value": "b"}]}
    body = {"/v1/classify": {"text": "x"}, "/v1/decisions": {"input": "x", "questions": [question]}}
    with run_app(build(About("m", "t", ("a",)), batcher, measures)) as port:
        first = batcher.ask(["in work"])
        assert model.began.wait(60)
        clients = [client_at(port) for _ in range(20)]
        for client in clients:
            client.send(path, body[path])
        watching = client_at(port)

        def count(pattern: str) -> float:
            found = re.search(rf"^{pattern} (\S+)$", watching.get("/metrics")[1], re.M)
            return float(found[1]) if found else 0

        counted = re.escape(f'sentibench_requests_total{{path="{path}",status="{LEFT}"}}')
        until(lambda: count("sentibench_queue_items") == 20)
        for client in clients:
            client.connection.close()
        until(lambda: count("sentibench_queue_items") == 0)
        until(lambda: count(counted) == 20)
        model.let_go.set()
        assert len(first.result(60)) == 1
        assert len(batcher.ask(["last"]).result(60)) == 1
    assert model.asked == ["in work", "last"]


def test_a_body_that_does_not_come_is_not_waited_for(
    held, run_app: Callable, client_at: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentibench.serve.app.BODY_TIMEOUT_S", 0.1)
    with run_app(build(About("m", "t", ("a",)), held[1], Measures())) as port:
        client = client_at(port)
        status, found = client.ask("/v1/classify", b"{", **{"Content-Length": "100"})
        assert (status, found["error"]["type"]) == (408, "too_slow")


def test_what_is_in_work_when_the_grace_ends_is_refused_and_stopped(
    held, run_app: Callable, client_at: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    model, batcher = held
    app = build(About("m", "t", ("a",)), batcher, Measures())
    with run_app(app, timeout_graceful_shutdown=1) as port:
        client = client_at(port)
        client.send("/v1/classify", {"text": "x"})
        assert model.began.wait(60)
    assert client.connection.getresponse().status == 503
    assert model.stopped.wait(60)
    assert "Traceback" not in caplog.text


def test_what_waits_is_answered_before_the_batcher_is_closed(held) -> None:
    model, batcher = held
    asked = [batcher.ask(["a"]), batcher.ask(["b"])]
    model.let_go.set()
    batcher.close()
    assert [len(one.result(0)) for one in asked] == [1, 1]
    assert not batcher.is_alive


def test_the_queue_is_closed_with_the_server(student: Path) -> None:
    from sentibench.serve.server import batching as queue

    with queue(Classifier(student), max_queue=2, max_batch=2) as (batcher, _):
        assert batcher.is_alive
    assert not batcher.is_alive
    with pytest.raises(Refused, match="the server is shutting down"):
        batcher.ask(["a"])

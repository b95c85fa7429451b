"""``sentibench serve`` as a process: its address, its warning, its end."""

import http.client
import json
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("uvicorn")

from sentibench.__main__ import main
from sentibench.errors import InputError
from sentibench.serve.server import _bound


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_signal_ends_the_server_and_nothing_was_logged(
    student: Path, process: Callable, number: int
) -> None:
    with process(str(student)) as (server, address):
        assert address.startswith("127.0.0.1:")
        connection = http.client.HTTPConnection(address)
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/classify", '{"text": "private words"}', headers)
        assert connection.getresponse().status == 200
        server.send_signal(number)
        _, said = server.communicate(timeout=300)
        assert server.returncode == 0
    assert "temperature 2.500" in said
    assert "warning" not in said
    assert "private" not in said
    assert "Traceback" not in said


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_second_signal_ends_the_work_too(student: Path, process: Callable) -> None:
    with process(str(student), "--batch-tokens", "1") as (server, address):
        connection = http.client.HTTPConnection(address)
        headers = {"Content-Type": "application/json"}
        texts = json.dumps({"texts": [f"{number} " + "word " * 700 for number in range(256)]})
        connection.request("POST", "/v1/classify", texts, headers)
        watching = http.client.HTTPConnection(address)
        while True:  # until it is in work
            watching.request("GET", "/metrics")
            if b"sentibench_batch_items_count 1.0" in watching.getresponse().read():
                break
        server.send_signal(signal.SIGINT)
        while watching.sock:  # until the first one is heard: idle connections are closed
            try:
                watching.request("GET", "/health")
                watching.getresponse().read()
            except (OSError, http.client.HTTPException):
                break
        server.send_signal(signal.SIGINT)
        _, said = server.communicate(timeout=300)
        assert server.returncode == 0
        assert "Traceback" not in said
        assert connection.getresponse().status == 503


def test_names_of_other_sites_are_not_answered_and_the_model_has_its_folders_name(
    student: Path, process: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(student)
    with process(".") as (_, address):
        port = address.rpartition(":")[2]
        for name, status in (
            ("evil.example", 400),
            (f"evil.example:{port}", 400),
            (f"localhost:{port}", 200),
            (address, 200),
        ):
            connection = http.client.HTTPConnection(address)
            connection.request("GET", "/v1/models", headers={"Host": name})
            reply = connection.getresponse()
            assert reply.status == status
        (model,) = json.load(reply)["data"]
        assert model["id"] == student.name


def test_a_socket_is_had_by_one_server_alone() -> None:
    """Before either has loaded its model."""
    with _bound("127.0.0.1", 0) as first, pytest.raises(InputError, match="already in use"):
        _bound("127.0.0.1", first.getsockname()[1])


def test_an_address_that_others_reach_is_warned_of(student: Path, process: Callable) -> None:
    with process(str(student), "--host", "0.0.0.0", "--max-batch", "4") as (server, address):
        assert address.startswith("0.0.0.0:")
        server.terminate()
        assert "warning: --host 0.0.0.0: other machines" in server.communicate(timeout=300)[1]


def test_mistakes_are_one_line_before_the_model_is_loaded(
    student: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = str(other.getsockname()[1])
        for arguments, expected in (
            (["--port", taken], f"--port {taken}: Address already in use"),
            (["--port", "70000"], "--port: got 70000, expected 0 to 65535"),
            (["--host", "no.such.host.invalid"], "--host no.such.host.invalid"),
            (["--host", "a" * 64 + ".invalid"], "no name of a machine"),
            (["--max-queue", "0"], "--max-queue: got 0, expected at least 1"),
            (["--max-batch", "0"], "--max-batch: got 0, expected at least 1"),
            (["--port", "0", "--task", "sst2"], "this student was not made for it"),
        ):
            assert main(["serve", str(student), *arguments]) == 2
            said = capsys.readouterr().err
            assert expected in said
            assert len(said.splitlines()) == 1


def test_a_missing_extra_is_named(
    student: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sentibench.__main__.find_spec", lambda name: None)
    assert main(["serve", str(student)]) == 2
    assert "pip install 'sentibench[serve]'" in capsys.readouterr().err

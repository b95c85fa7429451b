"""``sentibench serve`` as a process: its address, its warning, its end."""

import http.client
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("uvicorn")

from sentibench.__main__ import main


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
            (["--max-queue", "0"], "--max-queue: got 0, expected a number from 1"),
            (["--max-batch", "0"], "--max-batch: got 0, expected a number from 1"),
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

"""Fetching: a real local server, real folders, real processes; every text here is invented."""

import hashlib
import json
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from sentibench.data import fetch, instructions
from sentibench.data.cards import Card, SplitFile, load_cards
from sentibench.data.fetch import data_home, ensure_dataset, fetch_dataset
from sentibench.data.instructions import (
    load_instruction,
    load_instructions,
    read_instructions_json,
    read_script_prompts,
)
from sentibench.errors import DataError, FetchError

FOLDER = "sc/invented"
INSTRUCTION = "Name the colour of %s, in one word."
# Several chunks of 64 KiB, no two of them alike, so a wrong splice changes the hash.
TRAIN = b"".join(hashlib.sha256(b"%d" % i).digest() for i in range(9000))
TEST = b"[]\n"
FILES = {f"datasets/{FOLDER}/train.json": TRAIN, f"datasets/{FOLDER}/test.json": TEST}
TRAIN_PATH, TEST_PATH = FILES
SCRIPTS = {
    "icl_multifaced.py": f"if True:\n    prompts = {{{FOLDER!r}: {INSTRUCTION!r}}}\n".encode(),
    "fsa.py": b"class A:\n    def f(self):\n        self.prompts = {'absa/x': 'Find it.'}\n",
}
JSON = json.dumps({FOLDER: INSTRUCTION, "absa/x": "Find it."}).encode()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def invented_card() -> Card:
    return replace(
        load_cards()["sst2"],
        folder=FOLDER,
        instruction_sha256=sha256(INSTRUCTION.encode()),
        splits=MappingProxyType(
            {
                "train": SplitFile(rows=1, bytes=len(TRAIN), sha256=sha256(TRAIN)),
                "test": SplitFile(rows=0, bytes=len(TEST), sha256=sha256(TEST)),
            }
        ),
    )


def write_tree(root: Path, files: dict[str, bytes]) -> Path:
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


def tree(root: Path) -> dict[str, bytes]:
    """All files below a folder, but the lock."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def part_of(home: Path, path: str) -> Path:
    target = home / path
    return target.with_name(f".{target.name}.{sha256(FILES[path])[:8]}.part")


@dataclass
class Server:
    """What the handler serves, what it was asked, and what it does wrong next per path."""

    files: dict[str, bytes]
    url: str = ""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    agents: list[str | None] = field(default_factory=list)
    authorization: list[str | None] = field(default_factory=list)
    faults: dict[str, list[str]] = field(default_factory=dict)
    ranges: bool = True
    delay_s: float = 0.0
    go_on: threading.Event = field(default_factory=threading.Event)

    def ranges_asked(self, path: str) -> list[str | None]:
        return [asked for name, asked in self.asked if name == path]


def handler_of(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def empty(self, status: int, **headers: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0].lstrip("/")
            asked = self.headers.get("Range")
            server.asked.append((path, asked))
            server.agents.append(self.headers.get("User-Agent"))
            server.authorization.append(self.headers.get("Authorization"))
            time.sleep(server.delay_s)
            faults = server.faults.get(path, [])
            fault, _, argument = (faults.pop(0) if faults else "").partition(":")
            content = server.files.get(path)
            if fault == "status":
                return self.empty(int(argument))
            if fault == "retry-after":
                return self.empty(429, Retry_After=argument)
            if content is None:
                return self.empty(404)
            if fault == "corrupt":
                content = content[:-1] + bytes([content[-1] ^ 1])
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.ranges else 0
            if start and start >= len(content):
                return self.empty(416)
            self.send_response(206 if start else 200)
            if start:
                shown = start + 1 if fault == "other-range" else start
                self.send_header(
                    "Content-Range", f"bytes {shown}-{len(content) - 1}/{len(content)}"
                )
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            if fault in ("drop", "stall"):
                self.wfile.write(content[start : int(argument)])
                self.wfile.flush()
                if fault == "stall":
                    server.go_on.wait(30)
                self.close_connection = True
                return None
            self.wfile.write(content[start:])
            return None

    return Handler


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server(files={**FILES, "instructions.json": JSON})
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(state))
    http.daemon_threads = True
    state.url = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield state
    state.go_on.set()
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def card() -> Card:
    return invented_card()


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between tries, which are noted and not made."""
    pauses: list[float] = []
    monkeypatch.setattr(fetch, "sleep", pauses.append)
    return pauses


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slept: list[float]) -> Path:
    home = tmp_path / "home"
    monkeypatch.setenv("SENTIBENCH_HOME", str(home))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("SENTIBENCH_MIRROR", raising=False)
    monkeypatch.setattr(instructions, "SCRIPTS", {k: sha256(v) for k, v in SCRIPTS.items()})
    monkeypatch.setattr(fetch, "UPSTREAM", f"http://127.0.0.1:{closed_port()}/upstream")
    return home


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def refused(card: Card, *expected: str) -> str:
    """Fetch, and return the one-line error that holds all the expected texts."""
    with pytest.raises(FetchError) as error:
        fetch_dataset(card)
    message = str(error.value)
    assert "\n" not in message
    assert [text for text in expected if text not in message] == [], message
    return message


# Where the files come from


MIRRORS: dict[str, Callable[[Path, Server], str]] = {
    "a folder": lambda folder, server: str(folder),
    "a file URL": lambda folder, server: folder.as_uri(),
    "a file URL of localhost": lambda folder, server: f"file://localhost{folder.as_posix()}",
    "an http URL": lambda folder, server: server.url,
    "an http URL with a slash at its end": lambda folder, server: f"{server.url}/",
}


@pytest.mark.parametrize("kind", MIRRORS)
def test_fetch_brings_every_file_from_a_mirror(
    kind: str, card: Card, server: Server, home: Path, tmp_path: Path, monkeypatch: Any, capfd: Any
) -> None:
    folder = write_tree(tmp_path / "a mirror", {**FILES, "instructions.json": JSON})
    monkeypatch.setenv("SENTIBENCH_MIRROR", MIRRORS[kind](folder, server))
    report = fetch_dataset(card)
    assert set(report.fetched) == {*FILES, "instructions.json"}
    assert report.present == ()
    assert report.bytes == len(TRAIN) + len(TEST) + len(JSON)
    assert tree(home) == {**FILES, "instructions.json": JSON}
    assert load_instruction(card, home) == INSTRUCTION
    assert capfd.readouterr().err == ""  # no bar without a terminal


def test_fetch_brings_the_scripts_when_the_mirror_has_no_json(
    card: Card, server: Server, home: Path, monkeypatch: Any
) -> None:
    server.files = {**FILES, **SCRIPTS}
    monkeypatch.setenv("SENTIBENCH_MIRROR", server.url)
    assert set(fetch_dataset(card).fetched) == {*FILES, *SCRIPTS}
    assert tree(home) == {**FILES, **SCRIPTS}
    assert load_instructions(home) == {FOLDER: INSTRUCTION, "absa/x": "Find it."}


def test_fetch_without_a_mirror_asks_upstream_for_the_scripts_only(
    card: Card, server: Server, home: Path, monkeypatch: Any
) -> None:
    server.files |= SCRIPTS
    monkeypatch.setattr(fetch, "UPSTREAM", server.url)
    fetch_dataset(card)
    assert sorted(path for path, _ in server.asked) == sorted([*FILES, *SCRIPTS])
    assert tree(home) == {**FILES, **SCRIPTS}


def test_fetch_leaves_right_files_alone_without_lock_or_source(
    card: Card, home: Path, monkeypatch: Any
) -> None:
    write_tree(home, {**FILES, **SCRIPTS})
    monkeypatch.setenv("SENTIBENCH_MIRROR", "/no/such/folder")
    report = fetch_dataset(card)
    assert (report.fetched, report.bytes) == ((), 0)
    assert set(report.present) == {*FILES, *SCRIPTS}
    assert not (home / ".lock").exists()


def test_fetch_brings_only_what_is_missing(
    card: Card, server: Server, home: Path, monkeypatch: Any
) -> None:
    write_tree(home, {TRAIN_PATH: TRAIN, "fsa.py": SCRIPTS["fsa.py"]})
    server.files = {**FILES, **SCRIPTS}
    monkeypatch.setenv("SENTIBENCH_MIRROR", server.url)
    report = fetch_dataset(card)
    assert set(report.fetched) == {TEST_PATH, "icl_multifaced.py"}
    assert set(report.present) == {TRAIN_PATH, "fsa.py"}


def test_fetch_with_force_brings_what_is_right_as_well(
    card: Card, server: Server, home: Path, monkeypatch: Any
) -> None:
    write_tree(home, {**FILES, "instructions.json": JSON})
    monkeypatch.setenv("SENTIBENCH_MIRROR", server.url)
    assert set(fetch_dataset(card, force=True).fetched) == {*FILES, "instructions.json"}


def test_ensure_fetches_what_is_missing_and_then_asks_nobody(
    card: Card, server: Server, home: Path, monkeypatch: Any, capfd: Any
) -> None:
    monkeypatch.setenv("SENTIBENCH_MIRROR", server.url)
    ensure_dataset(card)
    assert tree(home) == {**FILES, "instructions.json": JSON}
    asked = len(server.asked)
    monkeypatch.setattr(fetch, "fetch_dataset", lambda card: pytest.fail("fetched again"))
    ensure_dataset(card)
    assert len(server.asked) == asked
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("missing", [*FILES, "instructions.json"])
def test_ensure_notices_each_missing_file(
    missing: str, card: Card, server: Server, home: Path, monkeypatch: Any
) -> None:
    write_tree(home, {**FILES, "instructions.json": JSON})
    (home / missing).unlink()
    monkeypatch.setenv("SENTIBENCH_MIRROR", server.url)
    ensure_dataset(card)
    assert [path for path, _ in server.asked] == [missing]


def test_data_home_defaults_to_the_cache_folder_of_the_platform(monkeypatch: Any) -> None:
    for value in (None, ""):
        if value is None:
            monkeypatch.delenv("SENTIBENCH_HOME")
        else:
            monkeypatch.setenv("SENTIBENCH_HOME", value)
        assert data_home() == fetch.platformdirs.user_cache_path("sentibench")


def test_data_home_expands_the_users_folder(monkeypatch: Any) -> None:
    monkeypatch.setenv("SENTIBENCH_HOME", "~/x")
    assert data_home() == Path.home() / "x"


# Resuming and trying again


def test_fetch_continues_a_part_file_with_a_range(
    card: Card, server: Server, home: Path, monkeypatch: Any
) -> None:
    write_tree(home, {part_of(home, TRAIN_PATH).relative_to(home).as_posix(): TRAIN[:100_000]})
    monkeypatch.setenv("SENTIBENCH_MIRROR", server.url)
    fetch_dataset(card)
    assert server.ranges_asked(TRAIN_PATH) == ["bytes=100000-"]
    assert tree(home) == {**FILES, "instructions.json": JSON}


PARTS = {
    "ignores ranges": (False, [], TRAIN[:100_000], ["bytes=100000-"]),
    "sends another range": (True, ["other-range"], TRAIN[:100_000], ["bytes=100000-", None]),
    "has a damaged part": (True, [], b"x" * 100_000, ["bytes=100000-", None]),
    "has a part that is complete": (True, [], TRAIN, []),
    "has a part that is complete but wrong": (True, [], b"x" * len(TRAIN), [None]),
    "has a part that is too long": (True, [], TRAIN + b"x", [None]),
    "has an empty part": (True, [], b"", [None]),
    "refuses the range": (True, ["status:416"], TRAIN[:9], ["bytes=9-", None]),
}


@pytest.mark.parametrize("case", PARTS)
def test_fetch_gets_the_right_bytes_when_it_or_the_server(
    case: str, card: Card, server: Server, home: Path, monkeypatch: Any
) -> None:
    server.ranges, server.faults[TRAIN_PATH], part, asked = PARTS[case]
    write_tree(home, {part_of(home, TRAIN_PATH).relative_to(home).as_posix(): part})
    monkeypatch.setenv("SENTIBENCH_MIRROR", server.url)
    fetch_dataset(card)
    assert server.ranges_asked(TRAIN_PATH) == asked
    assert tree(home) == {**FILES, "instructions.json": JSON}


def test_fetch_continues_after_a_dropped_connection(
    card: Card, server: Server, home: Path, monkeypatch: Any, slept: list[float]
) -> None:
    server.faults[TRAIN_PATH] = ["drop:200000"]
    monkeypatch.setenv("SENTIBENCH_MIRROR", server.url)
    fetch_dataset(card)
    first, second = server.ranges_asked(TRAIN_PATH)
    assert first is None
    assert second is not None
    continued_at = int(second.removeprefix("bytes=").rstrip("-"))
    assert 100_000 < continued_at <= 200_000
    assert slept == [0.5]
    assert tree(home) == {**FILES, "instructions.json": JSON}


TRIES = {
    # faults, pauses in seconds; by hand: 0.5 doubled, Retry-After if longer, never above 30
    "busy once": (["status:503"], [0.5]),
    "busy three times": (["status:503", "status:500", "status:429"], [0.5, 1.0, 2.0]),
    "asks for seven seconds": (["retry-after:7"], [7.0]),
    "asks for an hour": (["retry-after:3600"], [30.0]),
    "asks for less than the backoff": (["retry-after:0"], [0.5]),
    "asks for a date": (["retry-after:Wed, 21 Oct 2099 07:28:00 GMT"], [0.5]),
    "drops at once": (["drop:0"], [0.5]),
}


@pytest.mark.parametrize("case", TRIES)
def test_fetch_tries_again_when_the_server_is(
    case: str, card: Card, server: Server, home: Path, monkeypatch: Any, slept: list[float]
) -> None:
    faults, pauses = TRIES[case]
    server.faults[TEST_PATH] = list(faults)
    monkeypatch.setenv("SENTIBENCH_MIRROR", server.url)
    fetch_dataset(card)
    assert slept == pauses
    assert tree(home) == {**FILES, "instructions.json": JSON}


def test_fetch_gives_up_after_four_tries(
    card: Card, server: Server, home: Path, monkeypatch: Any, slept: list[float]
) -> None:
    server.faults[TEST_PATH] = ["status:503"] * 9
    monkeypatch.setenv("SENTIBENCH_MIRROR", server.url)
    refused(card, TEST_PATH, "HTTP 503", "4 tries", "SENTIBENCH_MIRROR")
    assert len(server.ranges_asked(TEST_PATH)) == 4
    assert slept == [0.5, 1.0, 2.0]
    assert TEST_PATH not in tree(home)


@pytest.mark.parametrize("status", [404, 410, 401, 403])
def test_fetch_takes_a_refusal_as_final(
    status: int, card: Card, server: Server, home: Path, monkeypatch: Any, slept: list[float]
) -> None:
    server.faults[TRAIN_PATH] = [f"status:{status}"]
    monkeypatch.setenv("SENTIBENCH_MIRROR", server.url)
    refused(card, f"{server.url}/{TRAIN_PATH}", "SENTIBENCH_MIRROR")
    assert server.ranges_asked(TRAIN_PATH) == [None]
    assert slept == []
    assert TRAIN_PATH not in tree(home)


def test_fetch_asks_for_a_damaged_file_once_more_in_full(
    card: Card, server: Server, home: Path, monkeypatch: Any
) -> None:
    server.faults[TRAIN_PATH] = ["corrupt"]
    monkeypatch.setenv("SENTIBENCH_MIRROR", server.url)
    fetch_dataset(card)
    assert server.ranges_asked(TRAIN_PATH) == [None, None]
    assert tree(home) == {**FILES, "instructions.json": JSON}


# What is refused, and that nothing half written stays


WRONG = {
    "the same size": (bytes([TRAIN[0] ^ 1]) + TRAIN[1:], sha256(TRAIN)),
    "too short": (TRAIN[:-1], f"got {len(TRAIN) - 1} bytes, expected {len(TRAIN)}"),
    "too long": (TRAIN + b"x", f"got {len(TRAIN) + 1} bytes, expected {len(TRAIN)}"),
    "empty": (b"", f"got 0 bytes, expected {len(TRAIN)}"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("kind", ["a folder", "an http URL"])
def test_fetch_refuses_a_mirror_whose_file_is(
    case: str, kind: str, card: Card, server: Server, home: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    content, expected = WRONG[case]
    server.files[TRAIN_PATH] = content
    folder = write_tree(tmp_path / "mirror", server.files)
    monkeypatch.setenv("SENTIBENCH_MIRROR", MIRRORS[kind](folder, server))
    refused(card, TRAIN_PATH, "differs from the pinned commit", "got", "expected", expected)
    assert tree(home) == {"instructions.json": JSON}


@pytest.mark.parametrize("kind", ["a folder", "an http URL"])
def test_fetch_stops_reading_a_file_that_does_not_end(
    kind: str, card: Card, server: Server, tmp_path: Path, monkeypatch: Any
) -> None:
    server.files[TEST_PATH] = TEST + bytes(20 * fetch.CHUNK_BYTES)
    folder = write_tree(tmp_path / "mirror", server.files)
    monkeypatch.setenv("SENTIBENCH_MIRROR", MIRRORS[kind](folder, server))
    refused(card, TEST_PATH, f"got {fetch.CHUNK_BYTES} bytes, expected {len(TEST)}")


def test_fetch_never_continues_instructions_that_have_no_hash_of_their_own(
    card: Card, server: Server, home: Path, monkeypatch: Any
) -> None:
    stale = f".instructions.json.{card.instruction_sha256[:8]}.part"
    write_tree(home, {stale: b'{"sc/other": "x", '})
    monkeypatch.setenv("SENTIBENCH_MIRROR", server.url)
    fetch_dataset(card)
    assert server.ranges_asked("instructions.json") == [None]
    assert tree(home) == {**FILES, "instructions.json": JSON}


def test_fetch_never_shows_an_unchecked_file_under_its_name(
    card: Card, server: Server, home: Path, monkeypatch: Any
) -> None:
    """A reader looks while the check runs."""
    server.files[TRAIN_PATH] = TRAIN[::-1]
    monkeypatch.setenv("SENTIBENCH_MIRROR", server.url)
    seen: list[bool] = []
    problem = fetch._File.problem

    def watched(self: Any, path: Path) -> str | None:
        if path.suffix == ".part":
            seen.append((home / self.path).exists())
        return problem(self, path)

    monkeypatch.setattr(fetch._File, "problem", watched)
    refused(card, TRAIN_PATH)
    assert len(seen) == 3  # instructions.json, and the damaged file twice
    assert not any(seen)


@pytest.mark.parametrize("there", [b"[1]", b"", TEST[::-1]])
def test_fetch_replaces_a_damaged_file_and_says_so(
    there: bytes, card: Card, server: Server, home: Path, monkeypatch: Any, capfd: Any
) -> None:
    write_tree(home, {**FILES, TEST_PATH: there, "instructions.json": JSON})
    monkeypatch.setenv("SENTIBENCH_MIRROR", server.url)
    report = fetch_dataset(card)
    assert report.fetched == (TEST_PATH,)
    assert tree(home) == {**FILES, "instructions.json": JSON}
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert f"{home / TEST_PATH}: replaced; got" in said


def test_fetch_keeps_a_damaged_file_when_the_mirror_is_no_better(
    card: Card, server: Server, home: Path, monkeypatch: Any
) -> None:
    write_tree(home, {**FILES, TEST_PATH: b"[1]", "instructions.json": JSON})
    server.files[TEST_PATH] = b"[2]"
    monkeypatch.setenv("SENTIBENCH_MIRROR", server.url)
    refused(card, TEST_PATH)
    assert tree(home) == {**FILES, TEST_PATH: b"[1]", "instructions.json": JSON}


BAD_JSON = {
    "another wording": (json.dumps({FOLDER: "Name it."}).encode(), "differs from upstream commit"),
    "no entry for it": (b'{"sc/other": "x"}', f"no instruction for {FOLDER}"),
    "not JSON": (b"<html>", "JSONDecodeError"),
}


@pytest.mark.parametrize("case", BAD_JSON)
def test_fetch_refuses_instructions_with(
    case: str, card: Card, server: Server, home: Path, monkeypatch: Any
) -> None:
    server.files["instructions.json"], expected = BAD_JSON[case]
    monkeypatch.setenv("SENTIBENCH_MIRROR", server.url)
    refused(card, "instructions.json", expected, "SENTIBENCH_MIRROR")
    assert tree(home) == {}


def test_fetch_replaces_damaged_instructions(
    card: Card, server: Server, home: Path, monkeypatch: Any, capfd: Any
) -> None:
    write_tree(home, {**FILES, "instructions.json": b"{}"})
    monkeypatch.setenv("SENTIBENCH_MIRROR", server.url)
    assert fetch_dataset(card).fetched == ("instructions.json",)
    assert "instructions.json: replaced" in capfd.readouterr().err


def test_fetch_sets_damaged_instructions_aside_when_only_scripts_can_be_had(
    card: Card, server: Server, home: Path, monkeypatch: Any, capfd: Any
) -> None:
    write_tree(home, {**FILES, "instructions.json": b"{}"})
    server.files = {**FILES, **SCRIPTS}
    monkeypatch.setenv("SENTIBENCH_MIRROR", server.url)
    assert set(fetch_dataset(card).fetched) == set(SCRIPTS)
    assert load_instruction(card, home) == INSTRUCTION
    assert (home / "instructions.json.wrong").read_bytes() == b"{}"
    assert "renamed to instructions.json.wrong" in capfd.readouterr().err


def test_fetch_refuses_scripts_that_are_not_the_pinned_ones(
    card: Card, server: Server, home: Path, monkeypatch: Any
) -> None:
    server.files = {**FILES, **SCRIPTS, "fsa.py": SCRIPTS["fsa.py"] + b"#"}
    monkeypatch.setenv("SENTIBENCH_MIRROR", server.url)
    refused(card, "fsa.py", sha256(SCRIPTS["fsa.py"]), sha256(SCRIPTS["fsa.py"] + b"#"))
    assert tree(home) == {"icl_multifaced.py": SCRIPTS["icl_multifaced.py"]}


def test_fetch_names_the_file_that_a_mirror_folder_lacks(
    card: Card, tmp_path: Path, monkeypatch: Any
) -> None:
    folder = write_tree(tmp_path / "mirror", {TRAIN_PATH: TRAIN, "instructions.json": JSON})
    monkeypatch.setenv("SENTIBENCH_MIRROR", str(folder))
    refused(card, f"{folder}/{TEST_PATH}", "no such file", "SENTIBENCH_MIRROR")


def test_fetch_names_both_kinds_of_instructions_when_a_mirror_has_none(
    card: Card, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("SENTIBENCH_MIRROR", str(write_tree(tmp_path / "mirror", FILES)))
    refused(card, "icl_multifaced.py", "fsa.py", "instructions.json")


def test_fetch_says_that_the_mirror_folder_does_not_exist(card: Card, monkeypatch: Any) -> None:
    monkeypatch.setenv("SENTIBENCH_MIRROR", "/no/such/folder")
    refused(card, "SENTIBENCH_MIRROR: no such folder; got /no/such/folder")


@pytest.mark.parametrize("url", ["s3://bucket/x", "ftp://host/x", "file://host/x", "http://"])
def test_fetch_refuses_a_mirror_url_that_it_cannot_use(
    url: str, card: Card, monkeypatch: Any
) -> None:
    monkeypatch.setenv("SENTIBENCH_MIRROR", url)
    refused(card, "SENTIBENCH_MIRROR", url.partition(":")[0], "expected file:///")


@pytest.mark.parametrize("where", ["home", "home/datasets", f"home/{TRAIN_PATH}/x"])
def test_fetch_says_that_the_cache_cannot_be_written(
    where: str, card: Card, server: Server, tmp_path: Path, monkeypatch: Any
) -> None:
    blocker = write_tree(tmp_path, {where: b"not mine"}) / where
    monkeypatch.setenv("SENTIBENCH_MIRROR", server.url)
    refused(card, "SENTIBENCH_HOME", str(tmp_path / "home"), "folder that can be written")
    assert blocker.read_bytes() == b"not mine"
    assert not [path for path in tree(tmp_path) if path.endswith(TEST_PATH)]


def test_fetch_says_that_a_parent_of_the_cache_is_a_file(
    card: Card, server: Server, tmp_path: Path, monkeypatch: Any
) -> None:
    write_tree(tmp_path, {"file": b""})
    monkeypatch.setenv("SENTIBENCH_HOME", str(tmp_path / "file" / "home"))
    monkeypatch.setenv("SENTIBENCH_MIRROR", server.url)
    refused(card, "SENTIBENCH_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(FetchError, match="SENTIBENCH_HOME"):
        ensure_dataset(card)


def test_fetch_names_three_ways_out_without_network_and_mirror(
    card: Card, home: Path, capfd: Any, slept: list[float]
) -> None:
    refused(
        card,
        *("ConnectionError", "set SENTIBENCH_MIRROR to a folder or URL", f"into {home}"),
        *("copy datasets/ and instructions.json (or icl_multifaced.py and fsa.py)",),
        *(fetch.UPSTREAM_COMMIT, "sentibench_mini"),
    )
    assert slept == [0.5, 1.0, 2.0]
    assert capfd.readouterr() == ("", "")
    assert tree(home) == {}


SECRETS = {
    "a user and a password": "http://ada:s3cret@127.0.0.1:{port}",
    "a token": "http://s3cret@127.0.0.1:{port}",
    "a query": "http://127.0.0.1:{port}/?token=s3cret",
    "a password with a slash": "http://ada:s3cret/x@127.0.0.1:{port}",
    "a password with digits and a slash": "http://ada:1/s3cret@127.0.0.1:{port}",
    "another scheme": "s3://ada:s3cret@bucket/x",
    "a host in a file URL": "file://ada:s3cret@host/x",
    "no scheme": "ada:s3cret@host/x",
    "no scheme but slashes": "//ada:s3cret@host/x",
    "one slash": "http:/ada:s3cret@host/x",
    "a password without a scheme and with a slash": "ada:1/s3cret@host/x",
    "a broken host": "http://ada:s3cret@[::1/x",
    "a host that is none": "http://ada:s3cret@a..b/",
}


@pytest.mark.parametrize("case", SECRETS)
def test_fetch_hides_the_credentials_of_a_mirror_with(
    case: str, card: Card, monkeypatch: Any, capfd: Any, caplog: Any
) -> None:
    monkeypatch.setenv("SENTIBENCH_MIRROR", SECRETS[case].format(port=closed_port()))
    with pytest.raises(FetchError) as error:
        fetch_dataset(card)
    shown = f"{error.getrepr(style='native')}"
    assert "FetchError" in shown
    assert "s3cret" not in shown + str(capfd.readouterr()) + caplog.text


def test_fetch_hides_credentials_when_a_file_is_refused(
    card: Card, server: Server, monkeypatch: Any
) -> None:
    server.files[TRAIN_PATH] = b"x"
    monkeypatch.setenv("SENTIBENCH_MIRROR", server.url.replace("//", "//ada:s3cret@"))
    message = refused(card, f"{server.url}/{TRAIN_PATH}", "differs from the pinned commit")
    assert "s3cret" not in message


def test_fetch_sends_the_credentials_of_a_mirror(
    card: Card, server: Server, monkeypatch: Any
) -> None:
    monkeypatch.setenv("SENTIBENCH_MIRROR", server.url.replace("//", "//ada:s3cret@"))
    fetch_dataset(card)
    assert set(server.authorization) == {"Basic YWRhOnMzY3JldA=="}  # base64 of ada:s3cret
    assert all(str(agent).startswith("sentibench/") for agent in server.agents)


# Several processes

CHILD = """
import pickle, sys, time
from pathlib import Path
from types import MappingProxyType
from dataclasses import replace
from sentibench.data.fetch import fetch_dataset

card, splits = pickle.loads(Path(sys.argv[1]).read_bytes())
card = replace(card, splits=MappingProxyType(splits))
Path(sys.argv[2]).touch()
while len(sys.argv) > 3 and not Path(sys.argv[3]).exists():
    time.sleep(0.01)
fetch_dataset(card)
"""


def start_child(tmp_path: Path, card: Card, name: str, go: Path | None = None) -> Any:
    pickled = tmp_path / "card"
    plain: dict[str, SplitFile] = dict(card.splits)
    pickled.write_bytes(pickle.dumps((replace(card, splits=plain), plain)))
    command = [sys.executable, "-c", CHILD, str(pickled), str(tmp_path / name)]
    return subprocess.Popen([*command, *([str(go)] if go else [])], stderr=subprocess.PIPE)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"waited 30 s for {what}"
        time.sleep(0.01)


def test_fetch_by_two_processes_at_once_brings_each_file_once(
    card: Card, server: Server, home: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("SENTIBENCH_MIRROR", server.url)
    server.delay_s = 0.5  # so that the second asks while the first is busy; over 1 s in all
    go = tmp_path / "go"
    children = [start_child(tmp_path, card, f"ready{i}", go) for i in range(2)]
    wait_until(lambda: all((tmp_path / f"ready{i}").exists() for i in range(2)), "two processes")
    go.touch()
    errors = [child.communicate(timeout=60)[1].decode() for child in children]
    assert [child.returncode for child in children] == [0, 0], errors
    assert sorted(path for path, _ in server.asked) == sorted([*FILES, "instructions.json"])
    assert tree(home) == {**FILES, "instructions.json": JSON}
    assert sum("waiting for another process" in error for error in errors) == 1


def test_fetch_goes_on_after_a_kill(
    card: Card, server: Server, home: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("SENTIBENCH_MIRROR", server.url)
    server.faults[TRAIN_PATH] = ["stall:200000"]
    part = part_of(home, TRAIN_PATH)
    child = start_child(tmp_path, card, "ready")
    wait_until(lambda: part.exists() and part.stat().st_size >= 3 * fetch.CHUNK_BYTES, "a part")
    os.kill(child.pid, signal.SIGKILL)
    child.communicate(timeout=30)
    server.go_on.set()
    left = part.stat().st_size
    assert child.returncode == -signal.SIGKILL
    assert TRAIN_PATH not in tree(home)
    assert set(fetch_dataset(card).fetched) == set(FILES)
    assert server.ranges_asked(TRAIN_PATH) == [None, f"bytes={left}-"]
    assert tree(home) == {**FILES, "instructions.json": JSON}


# Instructions


SOURCES = {
    "a name": "prompts = {'a': 'b'}",
    "an attribute": "class A:\n def f(self):\n  self.prompts = {'a': 'b'}",
    "a name with a type": "prompts: dict[str, str] = {'a': 'b'}",
    "an attribute with a type": "self.prompts: dict = {'a': 'b'}",
    "two targets": "x = prompts = {'a': 'b'}",
    "joined literals": "prompts = {'a': ('' 'b')}",
    "the same entry twice": "prompts = {'a': 'b'}\nprompts = {'a': 'b'}",
    "other uses of the name": "prompts = ['x']\nprompts: list\nd['prompts'] = {}\n"
    "self.prompts = {'a': 'b'}\nother = {'c': 'd'}\nprompts.append('')",
    "an invalid escape": "x = '\\d'\nprompts = {'a': 'b'}",
}


@pytest.mark.parametrize("case", SOURCES)
def test_read_script_prompts_finds_the_dict_assigned_to(case: str, recwarn: Any) -> None:
    assert read_script_prompts(SOURCES[case]) == {"a": "b"}
    assert list(recwarn) == []


def test_read_script_prompts_executes_nothing(tmp_path: Path) -> None:
    made = tmp_path / "made"
    write = f"__import__('pathlib').Path({str(made)!r}).touch()"
    assert read_script_prompts(f"{write}\nprompts = {{'a': 'b'}}") == {"a": "b"}
    for value in (write, f"str({write})", f"[{write}]"):
        with pytest.raises(ValueError, match="malformed node"):
            read_script_prompts(f"prompts = {{'a': {value}}}")
    assert not made.exists()


BAD_CONTENTS = {
    "a list": b"[]",
    "a number": b'{"a": 1}',
    "a null": b"null",
    "not JSON": b"{'a': 'b'}",
    "not UTF-8": b'{"a": "\xff"}',
    "deep nesting": b"[" * 200_000,
    "a huge number": b"9" * 5000,
    "nothing": b"",
}


@pytest.mark.parametrize("case", BAD_CONTENTS)
def test_load_instructions_refuses_json_that_is(case: str, home: Path) -> None:
    write_tree(home, {"instructions.json": BAD_CONTENTS[case]})
    where = re.escape(str(home / "instructions.json"))
    with pytest.raises(DataError, match=rf"^{where}: [^\n]+; got [^\n]+, expected [^\n]+; run "):
        load_instructions(home)


def test_read_instructions_json_takes_a_byte_order_mark() -> None:
    assert read_instructions_json(b'\xef\xbb\xbf{"a": "b"}') == {"a": "b"}


def test_load_instructions_prefers_the_json(home: Path) -> None:
    write_tree(home, {**SCRIPTS, "instructions.json": b'{"a": "b"}'})
    assert load_instructions(home) == {"a": "b"}


@pytest.mark.parametrize("there", [[], ["fsa.py"], ["icl_multifaced.py"]])
def test_load_instructions_needs_both_scripts(there: list[str], home: Path) -> None:
    write_tree(home, {name: SCRIPTS[name] for name in there})
    with pytest.raises(DataError, match=r"no instructions; got no instructions\.json and no"):
        load_instructions(home)


def test_load_instructions_does_not_read_a_script_with_another_hash(home: Path) -> None:
    write_tree(home, {**SCRIPTS, "fsa.py": SCRIPTS["fsa.py"] + b"\n"})
    with pytest.raises(DataError, match=r"fsa\.py: differs .* got sha256 \w{64}, expected \w{64}"):
        load_instructions(home)


BAD_INSTRUCTIONS = {
    "another wording": ({FOLDER: "x"}, r"differs .* got sha256 \w{64}, expected \w{64}"),
    "a surrogate": ({FOLDER: "\ud800"}, r"differs .* got sha256 \w{64}, expected \w{64}"),
    "no entry": ({"sc/y": "x"}, "no instruction for sc/invented; got sc/y, expected sc/invented"),
}


@pytest.mark.parametrize("case", BAD_INSTRUCTIONS)
def test_load_instruction_refuses(case: str, card: Card, home: Path) -> None:
    strings, expected = BAD_INSTRUCTIONS[case]
    write_tree(home, {"instructions.json": json.dumps(strings).encode()})
    with pytest.raises(DataError, match=expected):
        load_instruction(card, home)


# The real files


@pytest.mark.realdata
def test_fetch_brings_all_twelve_real_datasets(
    real_data: Path, home: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("SENTIBENCH_MIRROR", str(real_data))
    cards = load_cards().values()
    reports = [fetch_dataset(card) for card in cards]
    data = [path for report in reports for path in report.fetched if path.startswith("datasets/")]
    assert len(cards) == 12
    assert len(data) == len(set(data)) == 34
    strings = load_instructions(home)
    assert all(load_instruction(card, home) == strings[card.folder] for card in cards)
    assert len(strings) == 12
    assert all(fetch_dataset(card).fetched == () for card in cards)
    assert not list(home.rglob("*.part"))

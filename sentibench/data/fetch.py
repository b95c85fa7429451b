"""Bring dataset files from the pinned upstream commit, or from a mirror of it, into the cache.

The cache is laid out like the root of the upstream repository, so copying its files there by hand
works as well. A file gets its name only after its hash was checked.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os.path import isfile  # unlike Path.is_file never raises
from pathlib import Path
from time import sleep
from typing import Any, BinaryIO
from urllib.parse import SplitResult, urlsplit
from urllib.request import url2pathname

import platformdirs
import requests
from filelock import FileLock, Timeout
from tqdm import tqdm

from sentibench import __version__
from sentibench.data import instructions
from sentibench.data.cards import UPSTREAM_COMMIT, Card
from sentibench.errors import DataError, FetchError

UPSTREAM = f"https://raw.githubusercontent.com/HITSZ-HLT/Sentiment-Distillation/{UPSTREAM_COMMIT}"

TRIES = 4
BACKOFF_S = 0.5  # doubled after every try
MAX_WAIT_S = 30.0  # also the longest Retry-After that is honoured
TIMEOUT_S = (10.0, 60.0)  # to connect, and between two pieces
CHUNK_BYTES = 1 << 16
UNKNOWN_SIZE_LIMIT_BYTES = 16 << 20  # for the instruction files, of which no size is pinned


@dataclass(frozen=True, slots=True)
class FetchReport:
    """What one call did; paths are relative to the cache, ``bytes`` is the size of ``fetched``."""

    fetched: tuple[str, ...]
    present: tuple[str, ...]
    bytes: int


class _Missing(Exception):
    """The source has no such file."""


class _Passing(Exception):
    """A failure that another try may not meet."""

    def __init__(self, what: str, wait_s: float = 0.0) -> None:
        super().__init__(what)
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class _File:
    """A file to have. With ``card`` it is ``instructions.json``, checked by that card's string."""

    path: str
    sha256: str
    size: int | None = None
    card: Card | None = None

    def problem(self, path: Path) -> str | None:
        """Say how what lies at ``path`` differs from what is pinned, or None."""
        if not path.is_file():
            return "missing"
        if self.card is not None:
            try:
                strings = instructions.read_instructions_json(path.read_bytes(), self.path)
                instructions.check_instruction(self.card, strings, self.path)
            except DataError as exc:  # without its place and its remedy
                return str(exc).partition(": ")[2].rpartition("; ")[0]
            return None
        size = path.stat().st_size
        if self.size is not None and size != self.size:
            return f"got {size} bytes, expected {self.size}"
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
        got = digest.hexdigest()
        return None if got == self.sha256 else f"got sha256 {got}, expected {self.sha256}"


@dataclass(frozen=True, slots=True)
class _Folder:
    """A mirror on a disk."""

    name: str  # for messages: without credentials
    remedy: str
    is_mirror: bool
    folder: Path

    def open(self, path: str, start: int) -> tuple[int, Iterator[bytes]]:
        """Return where the bytes begin (``start``, or 0 if it cannot continue) and the bytes."""
        try:
            file = (self.folder / path).open("rb")
        except (FileNotFoundError, NotADirectoryError):
            raise _Missing from None
        except OSError as exc:
            raise _refusal(self, path, f"got {exc.strerror}, expected a file") from exc
        return start, self._chunks(file, path, start)

    def _chunks(self, file: BinaryIO, path: str, start: int) -> Iterator[bytes]:
        try:
            with file:
                file.seek(start)
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk
        except OSError as exc:
            raise _refusal(self, path, f"got {exc.strerror}, expected a file") from exc


@dataclass(frozen=True, slots=True)
class _Web:
    """The upstream repository or a mirror behind HTTP.

    No error carries the text of a requests exception: it may quote the URL with its password.
    """

    name: str
    remedy: str
    is_mirror: bool
    base: SplitResult
    session: requests.Session

    def open(self, path: str, start: int) -> tuple[int, Iterator[bytes]]:
        """Return where the bytes begin (``start``, or 0 if it cannot continue) and the bytes."""
        url = self.base._replace(path=f"{self.base.path.rstrip('/')}/{path}", fragment="").geturl()
        # A compressed answer could not be continued at a byte of the file.
        headers = {"Accept-Encoding": "identity", "User-Agent": f"sentibench/{__version__}"}
        if start:
            headers["Range"] = f"bytes={start}-"
        try:
            reply = self.session.get(url, headers=headers, stream=True, timeout=TIMEOUT_S)
        except (requests.ConnectionError, requests.Timeout) as exc:
            raise _Passing(type(exc).__name__) from None
        except (requests.RequestException, ValueError) as exc:
            raise _refusal(self, path, f"got {type(exc).__name__}, expected a file") from None
        status = reply.status_code
        if status == 200:
            return 0, self._chunks(reply)
        if status == 206 and reply.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            return start, self._chunks(reply)
        reply.close()
        if start and status in (206, 416):  # not the piece that was asked for
            return self.open(path, 0)
        if status in (404, 410):
            raise _Missing
        if status == 429 or status >= 500:
            wait = reply.headers.get("Retry-After", "")  # seconds; a date is left to the backoff
            raise _Passing(f"HTTP {status}", float(wait) if wait.isdecimal() else 0.0)
        raise _refusal(self, path, f"got HTTP {status}, expected a file")

    def _chunks(self, reply: requests.Response) -> Iterator[bytes]:
        try:
            yield from reply.iter_content(CHUNK_BYTES)
        except requests.RequestException as exc:
            raise _Passing(type(exc).__name__) from None
        finally:
            reply.close()


def _refusal(source: _Folder | _Web, path: str, problem: str) -> FetchError:
    return FetchError(f"{source.name}/{path}: cannot be fetched; {problem}; {source.remedy}")


def data_home() -> Path:
    """Return the cache folder: ``SENTIBENCH_HOME``, else the platform's cache folder."""
    home = os.environ.get("SENTIBENCH_HOME", "")
    if not home:
        return platformdirs.user_cache_path("sentibench")
    return Path(os.path.expanduser(home)).absolute()  # noqa: PTH111 (Path.expanduser may raise)


def ensure_dataset(card: Card) -> None:
    """Fetch a dataset if a file of it is missing; contents are not looked at.

    Raises:
        FetchError: If something is missing and cannot be brought.
    """
    home = data_home()
    if not all(isfile(home / path) for path in _paths(card, home)):  # noqa: PTH113
        fetch_dataset(card)


def fetch_dataset(card: Card, *, force: bool = False, progress: bool = True) -> FetchReport:
    """Bring the files of one dataset and its instruction; replace those that are damaged.

    Args:
        card: The dataset.
        force: Fetch also what is present and right.
        progress: Show a bar on stderr, if that is a terminal.

    Returns:
        The files that were fetched and those that were there.

    Raises:
        FetchError: If a file cannot be brought, or differs from the pinned commit. No file is
            left half written under its name.
    """
    home = data_home()
    fetched: dict[str, int] = {}
    try:
        # Looked at before the lock too: a complete cache may be one that cannot be written.
        if _lacking(card, home, force):
            with _locked(home), requests.Session() as session:
                if lacking := _lacking(card, home, force):
                    fetched = _fetch(lacking, _source(home, session), home, force, progress)
    except OSError as exc:
        raise FetchError(
            f"SENTIBENCH_HOME: cannot be used; got {exc.strerror or exc} ({exc.filename or home}), "
            "expected a folder that can be written; set SENTIBENCH_HOME to such a folder"
        ) from exc
    present = tuple(path for path in _paths(card, home) if path not in fetched)
    return FetchReport(tuple(fetched), present, sum(fetched.values()))


def _data_files(card: Card) -> list[_File]:
    return [
        _File(f"datasets/{card.folder}/{split}.json", file.sha256, file.bytes)
        for split, file in card.splits.items()
    ]


def _paths(card: Card, home: Path) -> list[str]:
    name = instructions.INSTRUCTIONS_JSON
    source = [name] if isfile(home / name) else list(instructions.SCRIPTS)  # noqa: PTH113
    return [file.path for file in _data_files(card)] + source


def _lacking(card: Card, home: Path, force: bool) -> list[_File]:
    """Files that are missing or wrong; ``instructions.json`` also stands for the scripts."""
    lacking = [file for file in _data_files(card) if force or file.problem(home / file.path)]
    instruction = _File(instructions.INSTRUCTIONS_JSON, card.instruction_sha256, card=card)
    try:
        instructions.load_instruction(card, home)
    except DataError:
        return [instruction, *lacking]
    return [instruction, *lacking] if force else lacking


def _fetch(
    lacking: list[_File], source: _Folder | _Web, home: Path, force: bool, progress: bool
) -> dict[str, int]:
    """Bring files; returns the size of each in bytes."""
    fetched: dict[str, int] = {}
    scripts = [_File(name, sha256) for name, sha256 in instructions.SCRIPTS.items()]
    with tqdm(
        total=sum(file.size or 0 for file in lacking),
        unit="B",
        unit_scale=True,
        disable=None if progress else True,  # None: silent without a terminal
    ) as bar:
        queue = list(lacking)
        while queue:
            file = queue.pop(0)
            try:
                if file.card is not None and not source.is_mirror:
                    raise _Missing
                fetched[file.path] = _bring(source, file, home, bar)
            except _Missing:
                if file.card is None:
                    expected = f"datasets/ and {_instruction_names()} of upstream commit"
                    problem = f"got no such file, expected {expected} {UPSTREAM_COMMIT}"
                    raise _refusal(source, file.path, problem) from None
                queue = [s for s in scripts if force or s.problem(home / s.path)] + queue
    instruction = lacking[0]
    if instruction.card is not None and instruction.path not in fetched:
        problem = instruction.problem(home / instruction.path)
        if problem not in (None, "missing"):  # it would hide the scripts that came
            (home / instruction.path).replace(home / f"{instruction.path}.wrong")
            _say(f"{home / instruction.path}: renamed to {instruction.path}.wrong; {problem}")
        instructions.load_instruction(instruction.card, home)
    return fetched


def _bring(source: _Folder | _Web, file: _File, home: Path, bar: Any) -> int:
    """Fetch to a temporary name, check, and only then rename; returns the size in bytes."""
    target = home / file.path
    part = target.with_name(f".{target.name}.{file.sha256[:8]}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    if file.card is not None:
        part.unlink(missing_ok=True)  # no hash of the whole file: nothing to continue safely
    problem = None
    for _ in range(2):
        _fill(source, file, part, bar)
        size = part.stat().st_size
        problem = file.problem(part)
        if problem is None:
            before = file.problem(target)
            part.replace(target)
            if before not in (None, "missing"):
                _say(f"{target}: replaced; {before}")
            return size
        bar.update(-size)
        part.unlink()
    problem = f"the file there differs from the pinned commit {UPSTREAM_COMMIT}; {problem}"
    raise _refusal(source, file.path, problem)


def _fill(source: _Folder | _Web, file: _File, part: Path, bar: Any) -> None:
    """Bring the rest of ``part``, in several tries."""
    shown = 0
    for attempt in range(1, TRIES + 1):
        try:
            for size in _append(source, file, part):
                bar.total += 0 if file.size else size - shown
                bar.update(size - shown)
                shown = size
            return
        except _Passing as exc:
            if attempt == TRIES:
                problem = f"got {exc} in {TRIES} tries, expected the file"
                raise _refusal(source, file.path, problem) from None
            sleep(min(max(BACKOFF_S * 2 ** (attempt - 1), exc.wait_s), MAX_WAIT_S))


def _append(source: _Folder | _Web, file: _File, part: Path) -> Iterator[int]:
    """One try; yields the size of ``part`` so far, in bytes."""
    size = part.stat().st_size if part.exists() else 0
    if size and size == file.size:  # killed between the last byte and the check
        yield size
        return
    size, chunks = source.open(file.path, 0 if size > (file.size or size) else size)
    with part.open("ab" if size else "wb") as out:
        for chunk in chunks:
            out.write(chunk)
            out.flush()  # what arrived before a kill -9 is there for the next run
            size += len(chunk)
            yield size
            if size > (file.size or UNKNOWN_SIZE_LIMIT_BYTES):
                return  # the check will refuse it


@contextmanager
def _locked(home: Path) -> Generator[None]:
    """Keep other processes out; the system drops the lock of a process that is killed."""
    home.mkdir(parents=True, exist_ok=True)
    lock: Any = FileLock(home / ".lock")  # Any: its methods are not completely typed
    try:
        lock.acquire(timeout=1)
    except Timeout:
        _say(f"{home}: waiting for another process that fetches")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _source(home: Path, session: requests.Session) -> _Folder | _Web:
    mirror = os.environ.get("SENTIBENCH_MIRROR", "").strip()
    text = mirror or UPSTREAM
    try:
        url = urlsplit(text)
        _ = url.port  # a wrong port, or a "/" in a password, shows only here
    except ValueError:
        url = SplitResult("unreadable", "", "", "", "")
    remedy = f"check SENTIBENCH_MIRROR against upstream commit {UPSTREAM_COMMIT}, or unset it"
    if url.scheme in ("http", "https") and url.hostname:
        # Up to the last "@": a password with a "/" in it reaches into the path.
        name = re.sub(r"(?s)//.*@", "//", f"{url.scheme}://{url.netloc}{url.path.rstrip('/')}")
        ways = (
            "set SENTIBENCH_MIRROR to a folder or URL laid out like the upstream repository, or "
            f"copy datasets/ and {_instruction_names()} of upstream commit {UPSTREAM_COMMIT} into "
            f"{home}, or run the task group sentibench_mini, which needs no data"
        )
        return _Web(name, remedy if mirror else ways, bool(mirror), url, session)
    if url.scheme == "file" and url.netloc in ("", "localhost"):
        folder = Path(url2pathname(url.path))
    elif "://" in mirror or url.scheme == "file":
        raise FetchError(
            f"SENTIBENCH_MIRROR: unusable URL; got one of scheme {url.scheme}, expected "
            f"file:///folder, http://host/path or https://host/path; {remedy}"
        )
    else:
        folder = Path(os.path.expanduser(mirror))  # noqa: PTH111
    # `user:password@host/...` without a scheme also ends up here.
    name = re.sub(r"(?s)^.*:.*@", "", str(folder))
    if not folder.is_dir():
        raise FetchError(
            f"SENTIBENCH_MIRROR: no such folder; got {name}, expected a folder, a file:// or an "
            f"http(s):// URL laid out like the upstream repository; {remedy}"
        )
    return _Folder(name, remedy, True, folder)


def _instruction_names() -> str:
    return f"{instructions.INSTRUCTIONS_JSON} (or {' and '.join(instructions.SCRIPTS)})"


def _say(text: str) -> None:
    tqdm.write(f"sentibench: {text}", file=sys.stderr)

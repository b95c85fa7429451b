"""Download dataset files from the pinned upstream commit, or from a mirror of it, into the cache.

The cache is laid out like the root of the upstream repository, so copying its files there by hand
works as well. A file gets its name only after its hash was checked.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from os.path import isfile  # unlike Path.is_file never raises
from pathlib import Path
from time import sleep
from typing import Any
from urllib.parse import SplitResult, urlsplit
from urllib.request import url2pathname

import platformdirs
import requests
from filelock import FileLock, Timeout
from requests.exceptions import ChunkedEncodingError, ContentDecodingError
from tqdm import tqdm

from sentibench.data import instructions
from sentibench.data.cards import UPSTREAM_COMMIT, Card, hash_problem
from sentibench.errors import DataError, FetchError
from sentibench.versions import __version__

UPSTREAM = f"https://raw.githubusercontent.com/HITSZ-HLT/Sentiment-Distillation/{UPSTREAM_COMMIT}"

PAUSES_S = (0.5, 1.0, 2.0)  # between the tries
MAX_WAIT_S = 30.0  # the longest Retry-After that is honoured
TIMEOUT_S = (10.0, 60.0)  # to connect, and between two pieces
CHUNK_BYTES = 1 << 16
UNKNOWN_SIZE_LIMIT_BYTES = 16 << 20  # for the instruction files, of which no size is pinned
# the last two: in the middle of a file
_PASSING = (requests.ConnectionError, requests.Timeout, ChunkedEncodingError, ContentDecodingError)


@dataclass(frozen=True, slots=True)
class FetchReport:
    """What one call did; paths are relative to the cache, ``bytes`` is the size of ``fetched``."""

    fetched: tuple[str, ...]
    present: tuple[str, ...]
    bytes: int


class _Refused(Exception):
    """The source does not give a file; the text names the file and says why."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: cannot be fetched; {problem}")


class _Missing(_Refused):
    """The source has no such file."""

    def __init__(self, path: str) -> None:
        expected = f"datasets/ and {_instruction_names()} of upstream commit {UPSTREAM_COMMIT}"
        super().__init__(path, f"got no such file, expected {expected}")


class _Passing(Exception):
    """A failure that another try may not meet."""

    def __init__(self, what: str, wait_s: float = 0.0) -> None:
        super().__init__(what)
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class _File:
    """A file to have.

    Attributes:
        path: Below the root of the upstream repository.
        sha256: Of the file, or of the one string in it that counts.
        check: Says how a content differs from what is pinned; None if it does not.
        size: In bytes, where it is pinned.
    """

    path: str
    sha256: str
    check: Callable[[bytes], str | None]
    size: int | None = None

    def problem(self, path: Path) -> str | None:
        """Say how what lies at ``path`` differs from what is pinned, or None."""
        return self.check(path.read_bytes()) if path.is_file() else "missing"

    def part(self, home: Path) -> Path:
        """Where the file lies until it is whole and checked."""
        target = home / self.path
        return target.with_name(f".{target.name}.{self.sha256[:8]}.part")


Pieces = Iterator[tuple[int, bytes]]
"""Where in the file a piece begins, and the piece."""


@dataclass(frozen=True, slots=True)
class _Source:
    """Where files come from.

    Attributes:
        name: For messages: without credentials.
        remedy: The end of a message.
        pieces: From a path and the byte to begin at. The first piece begins there or at 0.
    """

    name: str
    remedy: str
    pieces: Callable[[str, int], Pieces]


def _pieces_of_file(folder: Path, path: str, _: int) -> Pieces:
    """Read from a mirror on a disk, always from the beginning."""
    try:
        with (folder / path).open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield file.tell() - len(chunk), chunk
    except (FileNotFoundError, NotADirectoryError):
        raise _Missing(path) from None
    except OSError as exc:
        raise _Refused(path, f"got {exc.strerror}, expected a file") from None


def _pieces_of_url(session: requests.Session, base: SplitResult, path: str, start: int) -> Pieces:
    """Read from the upstream repository or a mirror behind HTTP.

    No error carries the text of a requests exception: it may quote the URL with its password.
    """
    url = base._replace(path=f"{base.path.rstrip('/')}/{path}", fragment="").geturl()
    # A compressed answer could not be continued at a byte of the file.
    headers = {"Accept-Encoding": "identity", "User-Agent": f"sentibench/{__version__}"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        with session.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as reply:
            status = reply.status_code
            goes_on = reply.headers.get("Content-Range", "").startswith(f"bytes {start}-")
            if status == 200 or (status == 206 and goes_on):
                at = 0 if status == 200 else start
                for chunk in reply.iter_content(CHUNK_BYTES):
                    yield at, chunk
                    at += len(chunk)
                return
    except _PASSING as exc:
        raise _Passing(type(exc).__name__) from None
    except (requests.RequestException, ValueError) as exc:
        raise _Refused(path, f"got {type(exc).__name__}, expected a file") from None
    if start and status in (206, 416):  # not the piece that was asked for
        yield from _pieces_of_url(session, base, path, 0)
    elif status in (404, 410):
        raise _Missing(path)
    elif status == 429 or status >= 500:
        wait = reply.headers.get("Retry-After", "")  # seconds; a date is left to the pauses
        raise _Passing(f"HTTP {status}", float(wait) if wait.isdecimal() else 0.0)
    else:
        raise _Refused(path, f"got HTTP {status}, expected a file")


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


def fetch_dataset(card: Card, *, force: bool = False) -> FetchReport:
    """Download the files of one dataset and its instruction; replace those that are damaged.

    Args:
        card: The dataset.
        force: Fetch also what is present and right.

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
            with _lock(home), requests.Session() as session:
                if lacking := _lacking(card, home, force):
                    fetched = _fetch(lacking, card, _source(home, session), home, force)
    except OSError as exc:
        raise FetchError(
            f"SENTIBENCH_HOME: cannot be used; got {exc.strerror or exc} ({exc.filename or home}), "
            "expected a folder that can be written; set SENTIBENCH_HOME to such a folder"
        ) from exc
    present = tuple(path for path in _paths(card, home) if path not in fetched)
    return FetchReport(tuple(fetched), present, sum(fetched.values()))


def _paths(card: Card, home: Path) -> list[str]:
    name = instructions.INSTRUCTIONS_JSON
    source = [name] if isfile(home / name) else list(instructions.SCRIPTS)  # noqa: PTH113
    return [f"datasets/{card.folder}/{split}.json" for split in card.splits] + source


def _lacking(card: Card, home: Path, force: bool) -> list[_File]:
    """Files that are missing or wrong; ``instructions.json`` also stands for the scripts."""
    paths = zip(_paths(card, home), card.splits.values(), strict=False)
    data = [_File(path, file.sha256, file.problem, file.bytes) for path, file in paths]
    lacking = [file for file in data if force or file.problem(home / file.path)]
    with suppress(DataError):
        instructions.load_instruction(card, home)
        if not force:
            return lacking
    check = partial(instructions.json_problem, card)
    return [_File(instructions.INSTRUCTIONS_JSON, card.instruction_sha256, check), *lacking]


def _fetch(
    lacking: list[_File], card: Card, source: _Source, home: Path, force: bool
) -> dict[str, int]:
    """Download files; returns the size of each in bytes."""
    fetched: dict[str, int] = {}
    try:
        for file in lacking:
            if file.path == instructions.INSTRUCTIONS_JSON:
                fetched |= _fetch_instruction(file, card, source, home, force)
            else:
                fetched[file.path] = _bring(source, file, home)
    except _Refused as exc:
        raise FetchError(f"{source.name}/{exc}; {source.remedy}") from None
    return fetched


def _fetch_instruction(
    file: _File, card: Card, source: _Source, home: Path, force: bool
) -> dict[str, int]:
    """Download ``instructions.json`` or, from upstream and where a mirror has none, the scripts."""
    file.part(home).unlink(missing_ok=True)  # no hash of the whole file: no safe way to go on
    try:
        if source.name != UPSTREAM:
            return {file.path: _bring(source, file, home)}
    except _Missing:
        pass
    hashes = instructions.SCRIPTS.items()
    scripts = [_File(name, sha256, partial(hash_problem, sha256=sha256)) for name, sha256 in hashes]
    lacking = [script for script in scripts if force or script.problem(home / script.path)]
    fetched = {script.path: _bring(source, script, home) for script in lacking}
    problem = file.problem(home / file.path)
    if problem not in (None, "missing"):  # it would hide the scripts that came
        (home / file.path).replace(home / f"{file.path}.wrong")
        _say(f"{home / file.path}: renamed to {file.path}.wrong; {problem}")
    instructions.load_instruction(card, home)
    return fetched


def _bring(source: _Source, file: _File, home: Path) -> int:
    """Fetch to a temporary name, check, and only then rename; returns the size in bytes."""
    target, part = home / file.path, file.part(home)
    target.parent.mkdir(parents=True, exist_ok=True)
    problem = None
    for _ in range(2):
        _fill(source, file, part)
        problem = file.problem(part)
        if problem is None:
            before = file.problem(target)
            part.replace(target)
            if before not in (None, "missing"):
                _say(f"{target}: replaced; {before}")
            return target.stat().st_size
        part.unlink()
    differs = f"the file there differs from the pinned commit {UPSTREAM_COMMIT}"
    raise _Refused(file.path, f"{differs}; {problem}")


def _fill(source: _Source, file: _File, part: Path) -> None:
    """Download the rest of ``part``, in several tries."""
    for pause_s in (*PAUSES_S, None):
        try:
            return _append(source, file, part)
        except _Passing as exc:
            if pause_s is None:
                tries = len(PAUSES_S) + 1
                problem = f"got {exc} in {tries} tries, expected the file"
                raise _Refused(file.path, problem) from None
            sleep(min(max(pause_s, exc.wait_s), MAX_WAIT_S))


def _append(source: _Source, file: _File, part: Path) -> None:
    """One try."""
    size = part.stat().st_size if part.exists() else 0
    if size and size == file.size:  # killed between the last byte and the check
        return
    limit = file.size or UNKNOWN_SIZE_LIMIT_BYTES
    pieces = source.pieces(file.path, size if size <= limit else 0)
    first = next(pieces, (0, b""))  # before there is a part: the source may refuse
    # disable=None: silent without a terminal
    looks: Any = {"unit": "B", "unit_scale": True, "leave": False, "disable": None}
    bar = tqdm(desc=file.path, total=file.size, initial=first[0], **looks)
    with bar, part.open("ab") as out:
        for at, chunk in chain([first], pieces):
            out.truncate(at)
            out.write(chunk)
            out.flush()  # what arrived before a kill -9 is there for the next run
            bar.update(len(chunk))
            if at + len(chunk) > limit:
                return  # the check will refuse it


def _lock(home: Path) -> AbstractContextManager[object]:
    """Keep other processes out; the system drops the lock of a process that is killed."""
    home.mkdir(parents=True, exist_ok=True)
    lock: Any = FileLock(home / ".lock")  # Any: its methods are not completely typed
    try:
        return lock.acquire(timeout=1)
    except Timeout:
        _say(f"{home}: waiting for another process that downloads")
        return lock.acquire()


def _source(home: Path, session: requests.Session) -> _Source:
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
            "three ways: (1) set SENTIBENCH_MIRROR to a folder or URL laid out like the upstream "
            f"repository; (2) copy datasets/ and {_instruction_names()} of upstream commit "
            f"{UPSTREAM_COMMIT} into {home}; (3) run sentibench_mini, which needs no data"
        )
        return _Source(name, remedy if mirror else ways, partial(_pieces_of_url, session, url))
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
    return _Source(name, remedy, partial(_pieces_of_file, folder))


def _instruction_names() -> str:
    return f"{instructions.INSTRUCTIONS_JSON} (or {' and '.join(instructions.SCRIPTS)})"


def _say(text: str) -> None:
    tqdm.write(f"sentibench: {text}", file=sys.stderr)

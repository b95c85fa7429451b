"""What a teacher answered: one folder per teacher, appended to, resumable at any moment.

``answers.jsonl`` holds one line per answered request, ``failures.jsonl`` one per failed attempt,
``store.json`` says of which teacher they are. A line is written by one call to an appending
descriptor, so a kill loses the record in flight and nothing else. Failures are never answers.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Container, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from errno import EDQUOT, EFBIG, ENOSPC
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar, overload

from filelock import FileLock, Timeout

from sentibench.errors import StoreError, StoreInUseError
from sentibench.files import read_at
from sentibench.remote.records import Answer, Failure, Request

FORMAT = 1
SYNC_SECONDS = 1.0
BLOCK = 1 << 13  # bytes, more than most lines have
DECODER = json.JSONDecoder()
BEGINNING = b'{"key": "'  # of a line
ID = '", "id": "'
REQUEST = ', "request": {'  # what follows an outcome
KEY = re.compile(rb'\{"key": "([0-9a-f]{64})", "id": "')

Outcome = TypeVar("Outcome", Answer, Failure)


class Some(Sequence[Request]):
    """Some of many requests, which may stay on the disk until they are asked."""

    def __init__(self, requests: Sequence[Request], numbers: Sequence[int]) -> None:
        self._requests, self._numbers = requests, numbers

    @overload
    def __getitem__(self, at: int) -> Request: ...
    @overload
    def __getitem__(self, at: slice) -> Some: ...
    def __getitem__(self, at: int | slice) -> Request | Some:
        if isinstance(at, slice):
            return Some(self._requests, self._numbers[at])
        return self._requests[self._numbers[at]]

    def __len__(self) -> int:
        return len(self._numbers)


class Store(AbstractContextManager["Store"]):
    """The answers and failures of one teacher, used from one thread.

    Attributes:
        folder: Where the files are.
        teacher: Whose answers these are.
        revision: Of the teacher.
        repaired: Bytes of torn last lines that opening cut off; 0 after :meth:`read`.
    """

    def __init__(
        self, folder: Path, teacher: str, revision: str, stack: ExitStack, *, append: bool
    ) -> None:
        """Use :meth:`open` or :meth:`read` instead, which see to the lock and ``store.json``."""
        self.folder, self.teacher, self.revision = folder, teacher, revision
        answers, failures = folder / "answers.jsonl", folder / "failures.jsonl"
        self._answers = _Log(answers, "answer", _answer, stack, append=append)
        self._failures = _Log(failures, "failure", _failure, stack, append=append, newest=True)
        self.repaired = self._answers.repaired + self._failures.repaired
        self._closing = stack.pop_all()

    @classmethod
    def open(cls, folder: Path, teacher: str, revision: str, *, patience_s: float = 0.0) -> Store:
        """Open for adding; a new folder is made, a torn last line is cut off.

        Args:
            folder: Where the files are.
            teacher: Whose answers these are.
            revision: Of the teacher.
            patience_s: Seconds to wait for another process that holds the store.

        Raises:
            StoreInUseError: If another process holds the store.
            StoreError: If it is of another teacher or revision, a line in the middle is damaged,
                or the disk is full.
        """
        with ExitStack() as stack:
            with disk_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
                _lock(folder, stack, patience_s)
                if not any((folder / name).exists() for name in ("store.json", "answers.jsonl")):
                    known = {"format": FORMAT, "teacher": teacher, "revision": revision}
                    beside = folder / "store.new"
                    beside.write_text(json.dumps(known) + "\n", encoding="utf-8")
                    beside.replace(folder / "store.json")
            _expect(folder, teacher, revision)
            return cls(folder, teacher, revision, stack, append=True)

    @classmethod
    def read(cls, folder: Path, absent: tuple[str, str] | None = None) -> Store:
        """Open for reading what is complete by now, without a lock; nothing is changed.

        Args:
            folder: Where the files are.
            absent: Teacher and revision of an empty store that stands for one that is not there.

        Raises:
            StoreError: If there is no store or a line in the middle is damaged.
        """
        if absent is None or (folder / "store.json").is_file():
            absent = _identity(folder)
        with ExitStack() as stack:
            return cls(folder, *absent, stack, append=False)

    def close(self) -> None:
        """Write everything to the disk and let the store go; again is allowed."""
        self._closing.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    def __contains__(self, key: object) -> bool:
        return key in self._answers.offsets

    def __len__(self) -> int:
        return len(self._answers.offsets)

    def get(self, key: str) -> Answer | None:
        """Return the first answer; None if there is none."""
        return self._answers.get(key)

    def failure(self, key: str) -> Failure | None:
        """Return the last failure of a request that was never answered; else None."""
        return None if key in self else self._failures.get(key)

    def add(self, request: Request, answer: Answer) -> None:
        """Write an answer down at once; of a request that has one, the first is kept.

        Raises:
            StoreError: If the disk is full or another program wrote into the file.
        """
        self._write(self._answers, request, {"answer": _fields(answer)})

    def fail(self, request: Request, failure: Failure) -> None:
        """Write a failure down at once, unless the request has been answered.

        Raises:
            StoreError: If the disk is full or another program wrote into the file.
        """
        self._write(self._failures, request, {"failure": _fields(failure)})

    def key_of(self, request: Request) -> str:
        """The key of a request to this teacher."""
        return request.key(self.teacher, self.revision)

    def _write(self, log: _Log[Any], request: Request, outcome: dict[str, Any]) -> None:
        key = self.key_of(request)
        if key not in self:
            log.append(key, _line(key, request, outcome))

    def waiting(self, requests: Sequence[Request], retry_failed: bool = False) -> Some:
        """Return the requests that are still to be asked, in order, the first of equal ones only.

        Those that failed before come last.

        Args:
            requests: Any number; those with equal keys are asked once.
            retry_failed: Whether a request that failed is asked again.
        """
        fresh, failed, seen = list[int](), list[int](), set[bytes]()
        for number, request in enumerate(requests):
            key = self.key_of(request)
            if key in self or (known := bytes.fromhex(key)) in seen:
                continue
            seen.add(known)
            (failed if key in self._failures.offsets else fresh).append(number)
        return Some(requests, [*fresh, *(failed if retry_failed else ())])

    def take(self, others: Sequence[Store]) -> None:
        """Copy the answers of other stores of this teacher, then the failures without one."""
        for other in others:
            self._answers.take(other._answers, self)
        for other in others:
            self._failures.take(other._failures, self)

    def sync(self) -> None:
        """Write everything to the disk."""
        self._answers.sync()
        self._failures.sync()


def merge(folders: Sequence[Path], out: Path) -> tuple[int, int]:
    """Merge the shards of one teacher; the first answer to a request is kept.

    Args:
        folders: At least one store.
        out: A folder that does not exist yet. It is written beside and renamed.

    Returns:
        Answers in the merged store, and answers left out, as an earlier folder answered the same
        request.

    Raises:
        StoreError: If there is no folder, ``out`` exists, or teachers or revisions differ.
    """
    if not folders:
        raise StoreError(f"{out}: nothing to merge; got 0 folders, expected at least 1")
    if out.exists():
        raise StoreError(f"{out}: exists already, expected a new folder; name another one")
    teacher, revision = _identity(folders[0])
    for folder in folders[1:]:
        _expect(folder, teacher, revision)
    beside = out.with_name(f"{out.name}.{os.getpid()}.part")
    try:
        with ExitStack() as stack:
            shards = [stack.enter_context(Store.read(folder)) for folder in folders]
            merged = stack.enter_context(Store.open(beside, teacher, revision))
            merged.take(shards)
            added, n_answers = len(merged), sum(map(len, shards))
        with disk_errors(out):
            beside.rename(out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return added, n_answers - added


class _Log(Generic[Outcome]):
    """One file of lines, and where the line of each key begins; the lines stay on the disk."""

    def __init__(
        self,
        path: Path,
        name: str,
        build: Callable[[dict[str, Any]], Outcome],
        stack: ExitStack,
        *,
        append: bool,
        newest: bool = False,
    ) -> None:
        self.path, self._build, self._newest = path, build, newest
        self._name, self._begins = name, f', "{name}": {{'
        self.offsets: dict[str, int] = {}
        self.repaired = self._end = 0
        self._synced = time.monotonic()
        self._writer = None
        with disk_errors(path):
            if append:
                self._writer = stack.enter_context(path.open("ab", buffering=0))
                stack.callback(self.sync)
            elif not path.exists():
                return
            with path.open("rb") as file:
                torn = self._index(file)
            if self._writer is not None and torn:
                os.ftruncate(self._writer.fileno(), self._end)
                self.repaired = torn
            # another file object, whose buffer never held what was cut off
            self._reader = stack.enter_context(path.open("rb"))

    def _index(self, file: BinaryIO) -> int:
        """Note every line; return the length of a torn last one."""
        for number, line in enumerate(file, 1):
            try:
                self._note(_key_of_line(line) or self._parse(line)[0])
            except (ValueError, KeyError, TypeError) as error:
                # What another process is writing has no newline yet: never look behind that.
                is_last = not line.endswith(b"\n") or not file.read(1)
                if is_last and isinstance(error, ValueError):
                    return len(line)
                raise self._damaged(f"line {number}", line) from None
            self._end += len(line)
        return 0

    def _parse(self, line: bytes) -> tuple[str, Outcome]:
        if not line.endswith(b"\n"):
            raise ValueError("no newline")
        row = json.loads(line)
        return str(row["key"]), self._build(row[self._name])

    def _parse_outcome(self, line: bytes) -> tuple[str, Outcome]:
        """Parse a line without its request, which is most of it and which nothing needs.

        A line that does not look as all do is parsed whole. One that is torn may go on as another
        one: then it has two beginnings, as quotes in a string are escaped.
        """
        key, text = _key_of_line(line), line.decode("utf-8", "surrogatepass")
        if not key or line.count(BEGINNING) > 1:
            return self._parse(line)
        _, end = DECODER.raw_decode(text, text.index(ID) + len(ID) - 1)
        if not text.startswith(self._begins, end):
            return self._parse(line)
        fields, end = DECODER.raw_decode(text, end + len(self._begins) - 1)
        return (key, self._build(fields)) if text.startswith(REQUEST, end) else self._parse(line)

    def _damaged(self, place: str, line: bytes) -> StoreError:
        return StoreError(
            f"{self.path} {place}: damaged; got {line[:40]!r}, expected a record; "
            "remove that line and run again: its request is asked again"
        )

    def _note(self, key: str) -> None:
        if self._newest or key not in self.offsets:
            self.offsets[key] = self._end

    def line(self, key: str) -> bytes:
        """The line of a known key, as it was written; forked processes may ask too."""
        found, at = b"", self.offsets[key]
        while b"\n" not in found:
            block = read_at(self._reader, BLOCK, at + len(found))
            if not block:
                return found
            found += block
        return found[: found.index(b"\n") + 1]

    def get(self, key: str, *, whole: bool = False) -> Outcome | None:
        """The record of a key, read from the disk.

        Args:
            key: Of the request.
            whole: Whether damage in the request that stands behind the outcome is reported too.
        """
        if key not in self.offsets:
            return None
        line = self.line(key)
        try:
            found, outcome = self._parse(line) if whole else self._parse_outcome(line)
        except (ValueError, KeyError, TypeError):
            number = self._line_number(self.offsets[key])
            raise self._damaged(f"line {number}", line) from None
        if found != key:
            raise StoreError(
                f"{self.path}: changed while open; got {found}, expected {key}; stop the other "
                "program that writes there, and run again"
            )
        return outcome

    def append(self, key: str, line: bytes) -> None:
        """Write one line, whole or not at all."""
        if self._writer is None or self._writer.closed:
            raise StoreError(f"{self.path}: not open for adding; expected Store.open")
        descriptor = self._writer.fileno()
        size = os.fstat(descriptor).st_size
        if size != self._end:
            raise StoreError(
                f"{self.path}: changed while open; got {size} bytes, expected {self._end}; "
                "stop the other program that writes there, and run again"
            )
        with disk_errors(self.path):
            try:
                if os.write(descriptor, line) < len(line):
                    raise OSError(ENOSPC, os.strerror(ENOSPC))
            except BaseException:
                os.ftruncate(descriptor, self._end)
                raise
        self._note(key)
        self._end += len(line)
        if time.monotonic() - self._synced >= SYNC_SECONDS:
            self.sync()

    def take(self, other: _Log[Outcome], answered: Container[str]) -> None:
        """Copy the lines of what was not answered so far, without those that are here.

        Every line is read, here and there: a damaged one is no answer that displaces a good one.
        """
        for key in other.offsets:
            other.get(key, whole=True)
            self.get(key, whole=True)
            line = other.line(key)
            if key not in answered and not (key in self.offsets and self.line(key) == line):
                self.append(key, line)

    def _line_number(self, offset: int) -> int:
        """The number of the line that begins at an offset; the first is 1."""
        n_before = 0
        with self.path.open("rb") as file:
            while offset > 0 and (block := file.read(min(BLOCK, offset))):
                n_before += block.count(b"\n")
                offset -= len(block)
        return n_before + 1

    def sync(self) -> None:
        """Bring what was written to the disk, which a power cut asks for and a kill does not."""
        if self._writer is not None:
            with disk_errors(self.path):
                os.fsync(self._writer.fileno())
            self._synced = time.monotonic()


def _fields(outcome: Answer | Failure) -> dict[str, Any]:
    """What ``asdict`` gives, which is slow where there are a million."""
    return {name: getattr(outcome, name) for name in outcome.__slots__}


def _answer(fields: dict[str, Any]) -> Answer:
    log_likelihoods = tuple(fields.pop("log_likelihoods"))
    return Answer(**fields, log_likelihoods=log_likelihoods)


def _failure(fields: dict[str, Any]) -> Failure:
    return Failure(**fields)


def _line(key: str, request: Request, outcome: dict[str, Any]) -> bytes:
    asked = {  # not the text: it is in a message, and would make a line half as long again
        "messages": request.turns,
        "choices": request.choices,
        "decoding": request.decoding.as_json(),
        "source": request.source,
        "meta": dict(request.meta),
    }
    row = {"key": key, "id": request.id, **outcome, "request": asked}
    # Not escaped to ASCII: JSON reads two escaped surrogates back as one character.
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def _key_of_line(line: bytes) -> str:
    """The key of a line that begins and ends as all do; empty for any other.

    To read all of a line takes ten times as long. What is wrong inside is seen when it is read.
    """
    found = KEY.match(line)
    return found[1].decode() if found and line.endswith(b"}}\n") else ""


@contextmanager
def disk_errors(path: Path) -> Generator[None]:
    """Say in one line that a file cannot be read or written."""
    try:
        yield
    except OSError as error:
        what, remedy = "cannot be used", "check the path and whether you may write there"
        if error.errno in (ENOSPC, EDQUOT, EFBIG):
            what = "disk full"
            remedy = "all answers so far are kept; free some space and run again"
        raise StoreError(f"{path}: {what}; got {error.strerror or error}; {remedy}") from None


def _lock(folder: Path, stack: ExitStack, patience_s: float) -> None:
    """Hold the folder by a lock that the kernel frees when the process dies."""
    lock: Any = FileLock(folder / "store.lock", thread_local=False)
    pid = folder / "store.pid"  # apart, as on some systems nobody can read a locked file
    try:
        lock.acquire(timeout=patience_s)
    except Timeout:
        holder = pid.read_text().strip() if pid.exists() else ""
        raise StoreInUseError(
            f"{folder}: in use; got process {holder or 'unknown'}, expected none; "
            "wait until it ends or stop it"
        ) from None
    stack.callback(lock.release)
    pid.write_text(str(os.getpid()))


def _identity(folder: Path) -> tuple[str, str]:
    path = folder / "store.json"
    if not path.is_file():
        raise StoreError(
            f"{folder}: not a store of answers; got no store.json, expected one; name "
            "another folder"
        )
    try:
        with disk_errors(path):
            known = json.loads(path.read_bytes())
        if known["format"] != FORMAT:
            raise StoreError(
                f"{path}: other format; got {known['format']!r}, expected {FORMAT}; use the "
                "version of sentibench that wrote it"
            )
        return str(known["teacher"]), str(known["revision"])
    except (ValueError, KeyError, TypeError):
        expected = '{"format": 1, "teacher": ..., "revision": ...}'
        raise StoreError(f"{path}: damaged; expected {expected}; write it again") from None


def _expect(folder: Path, teacher: str, revision: str) -> None:
    known = zip(("teacher", "revision"), _identity(folder), (teacher, revision), strict=True)
    for name, got, expected in known:
        if got != expected:
            raise StoreError(
                f"{folder}: the answers there are of another {name}; got {got!r}, expected "
                f"{expected!r}; name another folder for this one"
            )

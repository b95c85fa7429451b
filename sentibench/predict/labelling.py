"""A file of texts in, the same file with answers out: streaming, and resumable.

The input is read three times, never held: once to find every mistake in it before a model is
loaded, once to answer its texts, once to write them beside their answers. Each answer is kept, when
it comes, in a file beside the output, so a killed run goes on where it was.
"""

from __future__ import annotations

import io
import json
import math
import re
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any, TextIO, cast

from filelock import FileLock, Timeout
from tqdm import tqdm

from sentibench.data.tables import Row, Stream, plain_text, stream_lines, stream_table
from sentibench.errors import InputError, nearest, refuse_missing
from sentibench.files import write_beside
from sentibench.predict.classifier import Classifier, Extracted, Labelled, stamps
from sentibench.predict.recipe import Recipe
from sentibench.predict.tables import (
    PARQUET,
    check_ending,
    parquet_schema,
    rehearse_parquet,
    write_table,
    write_text,
)

STDIN = "-"
CHUNK = {"labels": 2_048, "elements": 256}  # texts that are sorted by length together
KEPT = re.compile(rb"\[(\d+), \{.*\}\]\n")  # a row's number and its answer
HEARTBEAT_S = 30  # between lines of progress where nobody watches

Columns = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Source:
    """Where texts come from, and how it is read.

    Attributes:
        place: A file, a folder that ``datasets`` saved, or ``-`` for standard input.
        column: Of the text.
        delimiter: Of CSV; None to find it.
        encoding: Of text files; None to find it.
    """

    place: str
    column: str = "text"
    delimiter: str | None = None
    encoding: str | None = None

    @property
    def name(self) -> str:
        """For messages."""
        return "standard input" if self.is_standard_input else self.place

    @property
    def is_standard_input(self) -> bool:
        """Whether it can be read only once."""
        return self.place == STDIN

    def open(self) -> Stream:
        """The rows from the beginning; standard input can be read only once."""
        if self.is_standard_input:
            return stream_lines("standard input", _standard_input())
        return stream_table(self.place, delimiter=self.delimiter, encoding=self.encoding)

    def text(self, row: Row) -> str:
        """The text of a row; numbers as people write them, nothing as an empty text."""
        if self.column not in row.values:
            raise InputError(
                f"{row.where}: no column {self.column!r}; {nearest(self.column, row.values)}; give "
                "the column of the texts with --text"
            )
        value = row.values[self.column]
        if isinstance(value, (dict, list)):
            got = type(cast(Any, value)).__name__
            raise InputError(f"{row.where}: column {self.column!r}: got a {got}, expected text")
        return value if isinstance(value, str) else "" if value is None else plain_text(value)

    def stamp(self) -> list[Any]:
        """What tells two states of it apart."""
        return [self.place, self.column, self.delimiter, self.encoding, stamps(Path(self.place))]


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found in a source.

    Attributes:
        form: In words.
        columns: In their order.
        n_rows: Rows.
        schema: Of a Parquet file with the answers; None where none is written.
    """

    form: str
    columns: tuple[str, ...]
    n_rows: int
    schema: Any = None


def survey(source: Source, added: Columns, out: Path | None = None) -> Survey:
    """Read a source and look for all that would stop the work later.

    Args:
        source: A file or folder.
        added: The columns that will be added, each with an example of its values.
        out: What will be written; None for standard output.

    Raises:
        InputError: With the row, the column and the remedy.
    """
    stream, columns, n_rows = source.open(), dict[str, None](), 0
    for row in stream.rows:
        source.text(row)
        columns |= dict.fromkeys(row.values)
        n_rows += 1
    if not n_rows:
        raise InputError(f"{source.place}: got no rows, expected texts")
    _refuse_twice(source, columns, added)
    schema = None
    if out is not None and out.suffix.lower() == PARQUET:
        rows = ((row.where, {**row.values, **added}) for row in source.open().rows)
        schema = parquet_schema(rows)
        rows = ({**row.values, **added} for row in source.open().rows)
        rehearse_parquet(source.place, rows, [*columns, *added], schema)
    return Survey(stream.form, tuple(columns), n_rows, schema)


def _refuse_twice(source: Source, columns: Iterable[str], added: Columns) -> None:
    twice = [column for column in columns if column in added]
    if twice:
        raise InputError(
            f"{source.name}: already has a column {twice[0]!r}, which the answers need; "
            "rename the new columns, for example with --prefix predicted_"
        )


def added_columns(recipe: Recipe, prefix: str = "") -> dict[str, Any]:
    """The columns of the answers, each with an example of its values."""
    if recipe.elements:
        example: Labelled | Extracted = Extracted((dict.fromkeys(recipe.elements, ""),), True, "")
    else:
        example = Labelled(recipe.labels[0], 1.0, dict.fromkeys(recipe.labels, 0.5))
    return _columns(example, prefix)


def _columns(answer: Labelled | Extracted, prefix: str) -> dict[str, Any]:
    if isinstance(answer, Extracted):
        found: dict[str, Any] = {"tuples": list(answer.tuples), "readable": answer.readable}
    else:
        numbers = {f"p_{label}": p for label, p in answer.probabilities.items()}
        numbers = {"probability": answer.probability, **numbers}
        found = {n: None if math.isnan(p) else p for n, p in numbers.items()}
        found = {"label": answer.label, **found}
    return {prefix + name: value for name, value in found.items()}


def refuse_output(source: Source, out: Path | None) -> None:
    """Refuse, before any work, what is not there or could not be written.

    Raises:
        InputError: If there is no such source; if the output exists, its folder does not, or its
            ending is not known.
    """
    if not source.is_standard_input:
        refuse_missing(Path(source.place), "a table of texts, or - for standard input")
    if out is None:
        return
    check_ending(out)
    if out.exists():
        raise InputError(f"--out {out}: exists already; remove it, or give another name")
    if not out.parent.is_dir():
        raise InputError(f"--out {out}: no folder {out.parent}; make it first")


def label_to_stdout(classifier: Classifier, source: Source, found: Survey, prefix: str) -> None:
    """Write rows with their answers to standard output, in the form of the input or JSON lines."""
    with _bar(found.n_rows) as bar:
        answers = _answers(classifier, source, source.open().rows, prefix, bar)
        joined = _joined(source.open().rows, answers)
        columns = [*found.columns, *added_columns(classifier.recipe, prefix)]
        write_text(sys.stdout, Path(source.place).suffix.lower(), joined, columns)


def label_standard_input(
    classifier: Classifier, source: Source, out: Path | None, prefix: str
) -> None:
    """Label what can be read only once: nothing is resumed, and a mistake is found when it comes.

    Args:
        classifier: Who answers.
        source: Standard input.
        out: The new file; None for JSON lines on standard output.
        prefix: Before the names of the added columns.
    """
    added = added_columns(classifier.recipe, prefix)
    with _bar(None) as bar:
        rows = _held_rows(classifier, source, added, prefix, bar)
        first = next(rows, None)
        if first is None:
            raise InputError("standard input: got no rows, expected texts")
        whole = chain([first], rows)
        if out is None:
            write_text(sys.stdout, "", whole, ())
            return
        write_table(out, whole, list(first), added)


def _held_rows(
    classifier: Classifier, source: Source, added: Columns, prefix: str, bar: Any
) -> Iterator[dict[str, Any]]:
    rows = source.open().rows
    while chunk := list(islice(rows, _chunk(classifier.recipe))):
        for row in chunk:
            _refuse_twice(source, row.values, added)
        answers = _answers(classifier, source, iter(chunk), prefix, bar)
        yield from _joined(iter(chunk), answers)


def label_file(
    classifier: Classifier, source: Source, out: Path, found: Survey, prefix: str
) -> int:
    """Write a file with the answers beside its rows; goes on where a killed call was.

    Args:
        classifier: Who answers.
        source: A file or folder.
        out: The new file.
        found: What ``survey`` found in the source.
        prefix: Before the names of the added columns.

    Returns:
        The number of rows that were answered already.

    Raises:
        InputError: If the answers beside were begun with other settings, another call writes them
            now, or the disk is full; what was answered is kept.
    """
    kept = out.with_name(out.name + ".answers")
    lock: Any = FileLock(kept.with_name(kept.name + ".lock"))
    try:
        with lock.acquire(timeout=0):
            try:
                return _label_file(classifier, source, out, kept, found, prefix)
            finally:
                Path(lock.lock_file).unlink(missing_ok=True)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"all answers so far are kept in {kept}; run again") from None
    except Timeout:
        raise InputError(
            f"--out {out}: another process is writing it; wait until it ends, or give another name"
        ) from None
    except OSError as error:
        raise InputError(
            f"{error.filename or kept}: {error.strerror}; all answers so far are kept in {kept}; "
            "correct this and run again"
        ) from None


def _label_file(
    classifier: Classifier, source: Source, out: Path, kept: Path, found: Survey, prefix: str
) -> int:
    settings: dict[str, Any] = {**classifier.settings, "input": source.stamp(), "--prefix": prefix}
    size = _chunk(classifier.recipe)
    start, known = _continue(kept, settings, size, out)
    n_done = start + len(known)
    rows = islice(source.open().rows, start, None)
    # a line is written at once, so a killed call loses no more than one of them
    with kept.open("a", encoding="utf-8", buffering=1) as file, _bar(found.n_rows, n_done) as bar:
        for texts in _chunks(classifier, source, rows):
            keep = _keeper(file, start, known, prefix, bar)
            classifier(texts, keep, known)
            start, known = start + len(texts), set[int]()
    with kept.open(encoding="utf-8") as file:
        next(file)
        joined = _joined(source.open().rows, _kept_answers(file, size))
        added = added_columns(classifier.recipe, prefix)
        write_table(out, joined, [*found.columns, *added], added, found.schema)
    kept.unlink()
    return n_done


def _keeper(
    file: TextIO, start: int, known: Container[int], prefix: str, bar: Any
) -> Callable[[list[int], Labelled | Extracted], None]:
    """What writes the answers of a chunk that begins with row ``start``, but those known before."""

    def keep(numbers: list[int], answer: Labelled | Extracted) -> None:
        columns = _columns(answer, prefix)
        for n in numbers:
            if n not in known:
                file.write(json.dumps([start + n, columns]) + "\n")
                bar.update()

    return keep


def _kept_answers(lines: Iterable[str], chunk: int) -> Iterator[dict[str, Any]]:
    """The kept answers in the order of their rows; those of one chunk are in memory."""
    pairs: Iterator[list[Any]] = map(json.loads, lines)
    for _, found in groupby(pairs, lambda pair: pair[0] // chunk):
        yield from (answer for _, answer in sorted(found, key=itemgetter(0)))


def _continue(
    kept: Path, settings: Mapping[str, Any], chunk: int, out: Path
) -> tuple[int, set[int]]:
    """Begin a file of answers, or go on with that of a killed call.

    Returns:
        The first row of the chunk to go on with, and which of its texts have answers.
    """
    head = json.dumps(settings) + "\n"
    if not kept.exists():
        write_beside(kept, head)
        return 0, set()
    start, known = 0, set[int]()
    with kept.open("rb") as file:
        begun = file.readline().decode("utf-8", "replace")
        if begun != head:
            raise InputError(
                f"{kept}: an earlier call began it with {_difference(begun, settings)}; use "
                f"those settings, or another --out than {out}, or remove that file to start again"
            )
        end = file.tell()
        while line := KEPT.fullmatch(file.readline()):  # not so where a line was cut
            if len(known) == chunk:
                start, known = start + chunk, set[int]()
            known.add(int(line[1]) - start)
            end = file.tell()
    with kept.open("r+b") as file:
        file.truncate(end)
    return start, known


def _difference(begun: str, settings: Mapping[str, Any]) -> str:
    """Which settings differ, in words."""
    try:
        before = cast("dict[str, Any]", dict(json.loads(begun)))
    except (ValueError, TypeError, RecursionError):
        return "settings that cannot be read"
    here = json.loads(json.dumps(settings))
    names = [n for n in {**here, **before} if here.get(n) != before.get(n)]
    return f"another {', '.join(names)}"


def _answers(
    classifier: Classifier, source: Source, rows: Iterator[Row], prefix: str, bar: Any
) -> Iterator[dict[str, Any]]:
    """The added columns of rows."""
    for texts in _chunks(classifier, source, rows):
        answers = classifier(texts, lambda numbers, _: bar.update(len(numbers)))
        yield from (_columns(answer, prefix) for answer in answers)


def _chunks(classifier: Classifier, source: Source, rows: Iterator[Row]) -> Iterator[list[str]]:
    while texts := [source.text(row) for row in islice(rows, _chunk(classifier.recipe))]:
        yield texts


def _chunk(recipe: Recipe) -> int:
    return CHUNK["elements" if recipe.elements else "labels"]


def _joined(rows: Iterator[Row], answers: Iterable[Columns]) -> Iterator[dict[str, Any]]:
    pairs = zip(rows, answers, strict=True)
    return ({**row.values, **answer} for row, answer in pairs)


def _bar(total: int | None, n_done: int = 0) -> Any:
    wait_s = 0.1 if sys.stderr.isatty() else HEARTBEAT_S
    bar: Callable[..., Any] = tqdm
    return bar(total=total, initial=n_done, unit="text", mininterval=wait_s, desc="predict")


def _standard_input() -> Iterator[str]:
    lines = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8", newline="\n")
    try:
        yield from lines
    except UnicodeDecodeError as error:
        raise InputError(f"standard input: not UTF-8 ({error.reason}); convert it first") from None

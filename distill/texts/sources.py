"""User texts: from the benchmark's training splits, from files, from `datasets` folders.

Sampling is by source and seeded; the draw of one source does not depend on the others. Texts that
share a long passage with a test set never reach a teacher.
"""

from __future__ import annotations

import csv
import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from distill.config import Texts
from distill.errors import InputError
from distill.texts.decontamination import Contamination
from sentibench.data.cards import load_tasks
from sentibench.data.read import load_split

LOOKED_AT = 500  # texts of a source that are compared before it is drawn from
MOST_OVERLAP = 0.5
SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Text:
    """One user text.

    Attributes:
        id: Source and position in it, ``imdb/000017``.
        text: As a person wrote it; never empty.
        source: Name of the source.
        label: Gold label, where the source has one.
    """

    id: str
    text: str
    source: str
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Draw:
    """The texts of a run and what was left out, counted by source and reason."""

    texts: tuple[Text, ...]
    left_out: Counter[tuple[str, str]]


def draw_texts(sources: Sequence[Texts], seed: int, tests: Contamination | None) -> Draw:
    """Draw from every source, in its own seeded order.

    Args:
        sources: At least one.
        seed: Of the order in which a source is drawn.
        tests: What must not be trained on; None leaves that unchecked.

    Raises:
        InputError: If a source cannot be read, or nothing of it is left.
    """
    texts: list[Text] = []
    left_out: Counter[tuple[str, str]] = Counter()
    seen: set[str] = set()
    for source in sources:
        rows = list(read_texts(source))
        random.Random(f"{seed}/{source.source}").shuffle(rows)
        taken = 0
        _refuse_a_test_set(source, rows, tests)
        for text in rows:
            if source.count is not None and taken == source.count:
                break
            reason = _unfit(text, seen, tests)
            if reason:
                left_out[source.source, reason] += 1
                continue
            seen.add(text.text)
            texts.append(text)
            taken += 1
        if not taken:
            reasons = [f"{n} {r}" for (name, r), n in left_out.items() if name == source.source]
            why = f"left out: {', '.join(reasons)}" if reasons else "the source is empty"
            raise InputError(f"texts.{source.source}: no text is left; {why}")
    return Draw(tuple(texts), left_out)


def _refuse_a_test_set(source: Texts, rows: Sequence[Text], tests: Contamination | None) -> None:
    """A source that is mostly test items is a mistake, not a source to be cleaned."""
    looked_at = rows[:LOOKED_AT]
    if tests is None or not looked_at:
        return
    share = sum(bool(tests.overlaps(text.text)) for text in looked_at) / len(looked_at)
    if share > MOST_OVERLAP:
        raise InputError(
            f"texts.{source.source}: {share:.0%} of the texts are items of SentiBench's test sets; "
            "expected training texts; give another split or file"
        )


def _unfit(text: Text, seen: set[str], tests: Contamination | None) -> str:
    if not text.text.strip():
        return "empty"
    if SURROGATE.search(text.text):  # half a character, as in a text that was cut
        return "not encodable"
    if text.text in seen:
        return "duplicate"
    return "contaminated" if tests is not None and tests.overlaps(text.text) else ""


def read_texts(source: Texts) -> Iterator[Text]:
    """Read a source from its beginning to its end.

    Raises:
        InputError: With the file, the row and what was expected.
    """
    if source.dataset:
        prefix = "sentibench_mini_" if source.mini else "sentibench_"
        task = load_tasks()[prefix + source.dataset]
        for example in load_split(task, "train").examples:
            identity = f"{source.source}/{example.index:06d}"
            yield Text(identity, example.sentence, source.source, example.label)
        return
    place = source.file or source.folder
    row: dict[str, Any] = {}
    has_labels = source.label_column is None
    for number, row in enumerate(_rows(source)):
        has_labels = has_labels or source.label_column in row
        where = f"{place} row {number}"
        if source.column not in row:
            got = ", ".join(map(str, row)) or "none"
            raise InputError(f"{where}: no column {source.column!r}; got {got}")
        text, label = row[source.column], None
        if not isinstance(text, str):
            got = type(text).__name__
            raise InputError(f"{where} column {source.column!r}: expected text; got {got}")
        if source.label_column and row.get(source.label_column) is not None:
            label = str(row[source.label_column])
            label = source.labels.get(label, label)
        yield Text(f"{source.source}/{number:06d}", text, source.source, label)
    if row and not has_labels:
        got = ", ".join(map(str, row))
        raise InputError(f"{place}: no row has the label_column {source.label_column!r}; got {got}")


def _rows(source: Texts) -> Iterator[dict[str, Any]]:
    path = cast(Path, source.file or source.folder)
    try:
        if source.folder:
            yield from _table(source)
            return
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix == ".csv":
                yield from csv.DictReader(file)
            elif path.suffix in (".jsonl", ".ndjson"):
                yield from (_object(path, n, line) for n, line in enumerate(file) if line.strip())
            elif path.suffix == ".txt":
                yield from ({source.column: line.rstrip("\r\n")} for line in file)
            else:
                raise InputError(f"{path}: unknown ending; expected .jsonl, .csv or .txt")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read; {error}") from None


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} line {number + 1}: no JSON; {error}") from None
    if not isinstance(row, dict):
        raise InputError(f"{path} line {number + 1}: expected an object; got {line[:40]!r}")
    return cast("dict[str, Any]", row)


def _table(source: Texts) -> Iterator[dict[str, Any]]:
    import datasets

    loaded = cast(Any, datasets).load_from_disk(str(source.folder))
    if isinstance(loaded, datasets.DatasetDict):
        splits = cast("dict[str, Any]", loaded)
        name = source.split or "train"
        if name not in splits:
            raise InputError(f"{source.folder}: no split {name!r}; got {', '.join(splits)}")
        loaded = splits[name]
    yield from loaded

"""User texts: from the benchmark's training splits, from files, from `datasets` folders.

Sampling is by source and seeded; the draw of one source does not depend on the others. Texts that
share a long passage with a test set never reach a teacher.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from distill.config import Cleaning, Texts
from distill.texts.cleaning import clean, has_words, masked
from distill.texts.decontamination import Contamination
from sentibench.data.cards import load_tasks
from sentibench.data.read import load_split
from sentibench.data.tables import Row, Table, folded, plain_text, read_table
from sentibench.errors import InputError

LOOKED_AT = 500  # texts of a source that are compared before it is drawn from
MOST_OVERLAP = 0.5
EXAMPLES, EXCERPT_CHARACTERS = 3, 80  # per reason, and of one
CLEANING = Cleaning()
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
    """The texts of a run, and what became of the others.

    Attributes:
        texts: As they were cleaned.
        left_out: Texts and rows by source and reason.
        changed: Drawn texts that were cleaned, by source and kind of change.
        examples: Reason or kind of change -> at most three excerpts.
    """

    texts: tuple[Text, ...]
    left_out: Counter[tuple[str, str]]
    changed: Counter[tuple[str, str]]
    examples: Mapping[str, Sequence[str]]


def draw_texts(
    sources: Sequence[Texts],
    seed: int,
    tests: Contamination | None,
    cleaning: Cleaning = CLEANING,
) -> Draw:
    """Draw from every source, in its own seeded order.

    Args:
        sources: At least one.
        seed: Of the order in which a source is drawn.
        tests: What must not be trained on; None leaves that unchecked.
        cleaning: What is done to the texts first.

    Raises:
        InputError: If a source cannot be read, or nothing of it is left.
    """
    texts: list[Text] = []
    left_out: Counter[tuple[str, str]] = Counter()
    changed: Counter[tuple[str, str]] = Counter()
    examples: defaultdict[str, list[str]] = defaultdict(list)
    seen: dict[str, str] = {}

    def show(what: str, text: str) -> None:
        if len(examples[what]) < EXAMPLES:
            examples[what].append(" ".join(text[:EXCERPT_CHARACTERS].split()))

    for source in sources:
        rows = list(read_texts(source, left_out))
        random.Random(f"{seed}/{source.source}").shuffle(rows)
        taken = 0
        _refuse_a_test_set(source, rows, tests)
        for text in rows:
            if source.count is not None and taken == source.count:
                break
            cleaned, changes = clean(text.text, cleaning)
            # as it was before: what is masked might hide that it is a test's
            contaminated = tests is not None and bool(tests.overlaps(text.text))
            reason = _unfit(text.text, cleaned, seen, contaminated, cleaning)
            if reason:
                left_out[source.source, reason] += 1
                show(reason, cleaned if cleaned else masked(text.text, cleaning))
                continue
            for change, example in changes.items():
                changed[source.source, change] += 1
                show(change, example)
            seen[_same(cleaned, cleaning)] = cleaned
            texts.append(replace(text, text=cleaned))
            taken += 1
        if not taken:
            reasons = [f"{n} {r}" for (name, r), n in left_out.items() if name == source.source]
            why = f"left out: {', '.join(reasons)}" if reasons else "the source is empty"
            raise InputError(f"texts.{source.source}: no text is left; {why}")
    return Draw(tuple(texts), left_out, changed, examples)


def _refuse_a_test_set(source: Texts, rows: Sequence[Text], tests: Contamination | None) -> None:
    """A source that is mostly test items is a mistake, not a source to be cleaned."""
    looked_at = rows[:LOOKED_AT]
    if tests is None or not looked_at:
        return
    found = [names for text in looked_at if (names := tests.overlaps(text.text))]
    share = len(found) / len(looked_at)
    if share > MOST_OVERLAP:
        raise InputError(
            f"texts.{source.source}: {share:.0%} of the texts are items of test sets "
            f"({', '.join(sorted(set(chain(*found))))}); expected training texts; give another "
            "split or file"
        )


def _unfit(
    text: str, cleaned: str, seen: Mapping[str, str], contaminated: bool, cleaning: Cleaning
) -> str:
    if not text.strip():
        return "empty"
    if SURROGATE.search(text):  # half a character, as in a text that was cut
        return "not encodable"
    if "no words" not in cleaning.skip and not has_words(cleaned):
        return "no words"
    if not cleaned:
        return "empty"
    twin = seen.get(_same(cleaned, cleaning))
    if twin is not None:
        return "duplicate" if twin == cleaned else "equal but for case"
    return "contaminated" if contaminated else ""


def _same(text: str, cleaning: Cleaning) -> str:
    """What two texts share of which one is left out."""
    return text if "case" in cleaning.skip else folded(text)


def read_texts(source: Texts, dropped: Counter[tuple[str, str]] | None = None) -> Iterator[Text]:
    """Read a source from its beginning to its end.

    Args:
        source: The source.
        dropped: Counts rows that are left out, by source and reason.

    Raises:
        InputError: With the file, the row and what was expected.
    """
    dropped = Counter() if dropped is None else dropped
    name = source.source  # of every row; finding it looks at the disk where files are a pattern
    if source.dataset:
        prefix = "sentibench_mini_" if source.mini else "sentibench_"
        task = load_tasks()[prefix + source.dataset]
        for example in load_split(task, "train").examples:
            identity = f"{name}/{example.index:06d}"
            yield Text(identity, example.sentence, name, example.label)
        return
    tables = [_table(source, place) for place in _places(source)]
    for table in tables:
        for reason, n in table.dropped.items():
            dropped[name, reason] += n
    rows, labelled = [row for table in tables for row in table.rows], 0
    for number, row in enumerate(rows):
        text = row.values.get(source.column)
        if source.column not in row.values:
            got = ", ".join(map(str, row.values)) or "none"
            raise InputError(f"{row.where}: no column {source.column!r}; got {got}")
        if not isinstance(text, str):
            got = type(text).__name__
            raise InputError(f"{row.where}: column {source.column!r}: expected text; got {got}")
        label = row.values.get(source.label_column) if source.label_column else None
        labelled += label is not None
        if label is not None:
            label = plain_text(label)
            if not label and source.on_bad_rows == "drop":
                dropped[name, "no label"] += 1
                continue
            if not label:
                raise InputError(
                    f"{row.where}: column {source.label_column!r} is empty; expected a label; "
                    "leave such rows out with on_bad_rows: drop"
                )
            label = source.labels.get(label, label)
        yield Text(f"{name}/{number:06d}", text, name, label)
    if source.label_column and rows and not labelled:
        got = ", ".join(map(str, rows[0].values))
        raise InputError(
            f"{source.place}: no row has the label_column {source.label_column!r}; got {got}"
        )


def _places(source: Texts) -> list[str]:
    """The files of a source, or what else is read as a table."""
    if source.hub:
        return [source.place]
    if not source.files:
        raise InputError(
            f"texts.{source.source}: no file is named like {source.place} in {Path.cwd()}; "
            "expected a pattern such as shards/*.jsonl.gz"
        )
    return list(map(str, source.files))


def _table(source: Texts, place: str) -> Table:
    """The rows of a file or folder; a text file has one column."""
    table = read_table(
        place,
        delimiter=source.delimiter,
        encoding=source.encoding,
        split=source.split or "train",
        on_bad_rows=source.on_bad_rows,
    )
    if table.form.startswith("text") and source.column != "text":
        rows = (Row(row.where, {source.column: row.values["text"]}) for row in table.rows)
        return replace(table, rows=tuple(rows))
    return table

"""User texts: from the benchmark's training splits, from files, from `datasets` folders.

Sampling is by source and seeded; the draw of one source does not depend on the others. Texts that
share a long passage with a test set never reach a teacher.
"""

from __future__ import annotations

import marshal
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from distill.config import Cleaning, Texts
from distill.files import Lines
from distill.texts.cleaning import clean, has_words, masked
from distill.texts.decontamination import Contamination
from distill.workers import Share, by_processes
from sentibench.data.cards import load_tasks
from sentibench.data.read import load_split
from sentibench.data.tables import Row, Stream, folded, plain_text, stream_table
from sentibench.errors import InputError

LOOKED_AT = 500  # texts of a source that are compared before it is drawn from
MOST_OVERLAP = 0.5
EXAMPLES, EXCERPT_CHARACTERS = 3, 80  # per reason, and of one
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


@dataclass(slots=True)
class Draw:
    """The texts of a run, and what became of the others.

    Attributes:
        texts: As they were cleaned; none where they were passed on one by one.
        n_texts: How many they are.
        left_out: Texts and rows by source and reason.
        changed: Drawn texts that were cleaned, by source and kind of change.
        examples: Reason or kind of change -> at most three excerpts.
        looked_at: Texts that were cleaned, and those that there are, by source.
    """

    texts: tuple[Text, ...] = ()
    n_texts: int = 0
    left_out: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    changed: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    examples: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    looked_at: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])

    def show(self, what: str, text: str) -> None:
        """Remember an excerpt, if there are few of the kind."""
        if len(self.examples[what]) < EXAMPLES:
            self.examples[what].append(" ".join(text[:EXCERPT_CHARACTERS].split()))


def each_text(
    sources: Sequence[Texts],
    seed: int,
    tests: Contamination | None,
    cleaning: Cleaning,
    draw: Draw,
    most: int | None = None,
    share: Share = by_processes,
) -> Iterator[Text]:
    """Draw from every source, in its own seeded order, one text after the other.

    Args:
        sources: At least one.
        seed: Of the order in which a source is drawn.
        tests: What must not be trained on; None leaves that unchecked.
        cleaning: What is done to the texts first.
        draw: Counts what becomes of them.
        most: Texts of each source that are looked at; None for all.
        share: Who cleans and compares them.

    Raises:
        InputError: If a source cannot be read, or nothing of it is left.
    """
    seen: dict[bytes, bytes] = {}  # digests of texts, folded and as they are
    for source in sources:
        rows = Lines[Text](None, lambda content: Text(*marshal.loads(content)))
        for text in read_texts(source, draw.left_out):
            rows.append(marshal.dumps((text.id, text.text, text.source, text.label)))
        order = list(range(len(rows)))
        random.Random(f"{seed}/{source.source}").shuffle(order)
        _refuse_a_test_set(source, [rows[n] for n in order[:LOOKED_AT]], tests)
        order, taken = order[:most], 0

        def read(
            places: range, rows: Lines[Text] = rows, order: Sequence[int] = order
        ) -> list[Text]:
            return [rows[order[place]] for place in places]

        def prepare(texts: Sequence[Text]) -> list[_Prepared]:
            return [_prepared(text, tests, cleaning) for text in texts]

        for place, one in enumerate(share(read, prepare, len(order))):
            if source.count is not None and taken == source.count:
                draw.looked_at[source.source] = place, len(rows)
                break
            earlier = seen.get(one.same) if not one.unfit else None
            reason = one.unfit
            if earlier is not None:
                reason = "duplicate" if earlier == one.digest else "equal but for case"
            reason = reason or ("contaminated" if one.contaminated else "")
            if reason:
                draw.left_out[source.source, reason] += 1
                draw.show(reason, one.excerpt)
                continue
            for change, example in one.changes.items():
                draw.changed[source.source, change] += 1
                draw.show(change, example)
            seen[one.same] = one.digest
            draw.n_texts += 1
            taken += 1
            yield one.text
        else:
            draw.looked_at[source.source] = len(order), len(rows)
        if not taken:
            reasons = [
                f"{n} {r}" for (name, r), n in draw.left_out.items() if name == source.source
            ]
            why = f"left out: {', '.join(reasons)}" if reasons else "the source is empty"
            raise InputError(
                f"texts.{source.source}: no text is left; {why}; expected at least one; give "
                "other texts, or see cleaning.skip and filters.skip"
            )


class _Prepared(NamedTuple):
    """A text that was looked at by itself; the others decide whether it is new."""

    text: Text
    unfit: str
    contaminated: bool
    excerpt: str
    changes: Mapping[str, str]
    same: bytes
    digest: bytes


def _prepared(text: Text, tests: Contamination | None, cleaning: Cleaning) -> _Prepared:
    cleaned, changes = clean(text.text, cleaning)
    # as it was before: what is masked might hide that it is a test's
    contaminated = tests is not None and bool(tests.overlaps(text.text))
    return _Prepared(
        replace(text, text=cleaned),
        _unfit(text.text, cleaned, cleaning),
        contaminated,
        (cleaned if cleaned else masked(text.text, cleaning))[:EXCERPT_CHARACTERS],
        changes,
        digest_of(cleaned if "case" in cleaning.skip else folded(cleaned)),
        digest_of(cleaned),
    )


def digest_of(text: str) -> bytes:
    """16 bytes that stand for a text among millions."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


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


def _unfit(text: str, cleaned: str, cleaning: Cleaning) -> str:
    if not text.strip():
        return "empty"
    if SURROGATE.search(text):  # half a character, as in a text that was cut
        return "not encodable"
    if "no words" not in cleaning.skip and not has_words(cleaned):
        return "no words"
    return "" if cleaned else "empty"


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
    streams = [_stream(source, place) for place in _places(source)]
    columns, labelled = "", 0
    for number, row in enumerate(row for stream in streams for row in stream.rows):
        columns = columns or ", ".join(map(str, row.values))
        text = row.values.get(source.column)
        if source.column not in row.values:
            got = ", ".join(map(str, row.values)) or "none"
            raise InputError(
                f"{row.where}: no column {source.column!r}; got {got}; set column to the column "
                "of the texts"
            )
        if not isinstance(text, str):
            got = type(text).__name__
            raise InputError(
                f"{row.where}: column {source.column!r}: expected text; got {got}; set column to "
                "the column of the texts, or write the value as text"
            )
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
    for stream in streams:
        for reason, n in stream.dropped.items():
            dropped[name, reason] += n
    if source.label_column and columns and not labelled:
        raise InputError(
            f"{source.place}: no row has the label_column {source.label_column!r}; got {columns}; "
            "set label_column to one of these"
        )


def _places(source: Texts) -> list[str]:
    """The files of a source, or what else is read as a table."""
    if source.hub:
        return [source.place]
    if not source.files:
        raise InputError(
            f"texts.{source.source}: no file matches {source.place} in {Path.cwd()}; expected at "
            "least one; check the folder and the pattern, such as shards/*.jsonl.gz"
        )
    return list(map(str, source.files))


def _stream(source: Texts, place: str) -> Stream:
    """The rows of a file or folder; a text file has one column."""
    stream = stream_table(
        place,
        delimiter=source.delimiter,
        encoding=source.encoding,
        split=source.split or "train",
        revision=source.revision,
        on_bad_rows=source.on_bad_rows,
    )
    if stream.form.startswith("text") and source.column != "text":
        rows = (Row(row.where, {source.column: row.values["text"]}) for row in stream.rows)
        return replace(stream, rows=rows)
    return stream

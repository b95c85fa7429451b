"""Rows of people's tables -> examples. Nothing is dropped; what is wrong names file and row."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from sentibench.data.cards import OWN_FOLDER, Card
from sentibench.data.records import ABSENT, Example, SentimentTuple
from sentibench.data.tables import Row, Table, plain_text, read_table
from sentibench.errors import InputError, nearest


def read_own_table(card: Card, path: Path) -> Table:
    """Read a table of an own task in the way that its card says."""
    return read_table(path, delimiter=card.delimiter, encoding=card.encoding)


def remade(card: Card) -> str:
    """How to make a card of the same tables again: a command, and what it does not repeat."""
    folder = card.path.parent if card.path else Path(OWN_FOLDER)
    given = ["sentibench", "task", "new", card.name, "--force"]
    for split, file in card.splits.items():
        given += [f"--{split}", os.path.relpath(folder / file.file)]
    for part, column in card.columns.items():
        if part in card.elements:
            given += ["--column", f"{part}={column}"]
        else:
            given += [f"--{part}", column]
    labels = [f"{label.name}={label.word}" for label in card.classes] or card.polarities
    if not any("," in label or label.count("=") > bool(card.classes) for label in labels):
        given += ["--labels", ",".join(labels)]
    given += ["--elements", ",".join(card.elements)] if card.elements else []
    given += ["--delimiter", card.delimiter] if card.delimiter else []
    given += ["--encoding", card.encoding] if card.encoding else []
    if folder.absolute() != Path(OWN_FOLDER).absolute():
        given += ["--out", os.path.relpath(folder)]
    return f"{shlex.join(given)} (add the other options that you gave, such as --instruction)"


def examples_of(card: Card, rows: Iterable[Row]) -> list[Example]:
    """Read the rows of one split.

    Args:
        card: It says which columns hold what, and which labels or polarities there are.
        rows: In their order. Where each row is one opinion, rows of one text are one item.

    Raises:
        InputError: If a column is missing, or a text, label or opinion is not as the card says.
    """
    rows = list(rows)
    if card.is_label_task:
        labels = {plain_text(name).casefold(): name for name in card.labels}
        return [_label_example(card, labels, index, row) for index, row in enumerate(rows)]
    texts: dict[str, list[Row]] = {}
    for row in rows:
        texts.setdefault(_text(card, row), []).append(row)
    if "tuples" in card.columns:
        grouped = [(_text(card, row), _listed(card, row)) for row in rows]
    else:
        grouped = [(text, _of_rows(card, of)) for text, of in texts.items()]
    return [_tuple_example(card, index, *item) for index, item in enumerate(grouped)]


def _label_example(card: Card, labels: Mapping[str, str], index: int, row: Row) -> Example:
    value = plain_text(_value(card, row, "label"))
    if value.casefold() not in labels:
        known = nearest(value, card.labels) if value else f"known: {', '.join(card.labels)}"
        raise InputError(
            f"{row.where}: got the label {value!r}, which the task {card.name!r} does not have; "
            f"{known}; correct the row, or add the label to --labels"
        )
    label = labels[value.casefold()]
    target = plain_text(_value(card, row, "target")) if "target" in card.columns else None
    written = card.written[card.labels.index(label)]
    return Example(index, _text(card, row), answer=written, label=label, target=target or None)


def _text(card: Card, row: Row) -> str:
    value = _value(card, row, "text")
    if not isinstance(value, str) or not value.strip():
        got = "nothing" if value is None or value == "" else repr(value)[:60]
        raise InputError(
            f"{row.where}: got {got} in the column {card.columns['text']!r}, expected a text"
        )
    return value


def _value(card: Card, row: Row, part: str) -> Any:
    column = card.columns[part]
    if column not in row.values:
        raise InputError(
            f"{row.where}: no column {column!r} ({part}); {nearest(column, row.values)}"
        )
    value = row.values[column]
    if part != "text" and value is None:
        return ""
    if part not in ("text", "tuples") and isinstance(value, (dict, list)):
        raise InputError(
            f"{row.where}: got a {type(cast('Any', value)).__name__} in the column {column!r} "
            f"({part}), expected a word or a few; a column of lists of opinions is named with "
            "--tuples, beside --elements"
        )
    _refuse_halves(row.where, value)
    return value


def _refuse_halves(where: str, value: Any) -> None:
    """Refuse half a character: JSON can hold it, no model can be asked about it."""
    try:
        str(value).encode()
    except UnicodeEncodeError:
        raise InputError(
            f"{where}: got half a character (a surrogate) in {str(value)[:60]!r}, expected text; "
            "write it again as UTF-8"
        ) from None


Opinion = Mapping[str, Any]


def _of_rows(card: Card, rows: Iterable[Row]) -> list[SentimentTuple]:
    """The opinions of one text, one a row; a row without a polarity has none."""
    found: list[SentimentTuple] = []
    for row in rows:
        values = {part: plain_text(_value(card, row, part)) for part in card.elements}
        if any(values.values()):
            found.append(_opinion(card, values, row.where))
    return found


def _listed(card: Card, row: Row) -> list[SentimentTuple]:
    """The opinions of one row: a list of objects or of lists, as such or as JSON text."""
    value: Any = _value(card, row, "tuples")
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else []
        except (ValueError, RecursionError):
            raise _no_tuples(card, row, value) from None
    if not isinstance(value, list):
        raise _no_tuples(card, row, value)
    found: list[SentimentTuple] = []
    for one in cast("list[Any]", value):
        if isinstance(one, list) and len(cast("list[Any]", one)) == len(card.elements):
            one = dict(zip(card.elements, cast("list[Any]", one), strict=True))
        if not isinstance(one, dict) or set(cast("dict[str, Any]", one)) - set(card.elements):
            raise _no_tuples(card, row, one)
        given = cast("dict[str, Any]", one)
        parts = {part: given.get(part) for part in card.elements}
        values = {p: "" if value is None else plain_text(value) for p, value in parts.items()}
        found.append(_opinion(card, values, row.where))
    return found


def _no_tuples(card: Card, row: Row, got: Any) -> InputError:
    keys = ", ".join(f'"{part}": ...' for part in card.elements)
    return InputError(
        f"{row.where}: got {str(got)[:80]!r} in the column {card.columns['tuples']!r}, expected a "
        f"list of objects {{{keys}}}"
    )


def _opinion(card: Card, values: Mapping[str, str], where: str) -> SentimentTuple:
    _refuse_halves(where, " ".join(values.values()))
    polarity = values["polarity"]
    by_case = {name.casefold(): name for name in card.polarities}
    if polarity.casefold() not in by_case:
        raise InputError(
            f"{where}: got the polarity {polarity!r}, which the task {card.name!r} does not have; "
            f"{nearest(polarity, card.polarities)}; correct the row, or add it to --labels"
        )
    parts = {part: value or ABSENT for part, value in values.items() if part != "polarity"}
    known: Any = parts  # no spans among them
    return SentimentTuple(by_case[polarity.casefold()], **known)


def _tuple_example(card: Card, index: int, text: str, opinions: list[SentimentTuple]) -> Example:
    unique = list(dict.fromkeys(opinions))
    answer = repr([opinion.written(card.elements) for opinion in unique])
    return Example(index, text, answer=answer, opinions=tuple(unique))

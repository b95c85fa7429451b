"""Tables that are written: CSV, TSV, JSON lines and Parquet, row by row."""

# pyright: basic
# pyarrow publishes no complete types: its unknowns end in this module.

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, TextIO

from sentibench.errors import InputError

ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
PARQUET_ROWS = 1_000  # of a group

Row = Mapping[str, Any]


def check_ending(out: Path) -> None:
    """Refuse a file that could not be written.

    Raises:
        InputError: If its ending is not known.
    """
    if out.suffix.lower() not in ENDINGS:
        known = ", ".join(ENDINGS)
        raise InputError(f"--out {out}: got the ending {out.suffix!r}, expected one of {known}")


def write_table(out: Path, rows: Iterable[Row], columns: Sequence[str], added: Row) -> None:
    """Write a file, beside and renamed into place.

    Args:
        out: By its ending.
        rows: Column -> value.
        columns: In the order of the table; a row may lack some.
        added: The columns that are not of the input, each with an example of its values.

    Raises:
        InputError: If the rows do not fit into such a file; nothing is left of it then.
    """
    unfinished, ending = out.with_name(out.name + ".unfinished"), out.suffix.lower()
    try:
        if ending == ".parquet":
            _write_parquet(unfinished, rows, columns, added)
        else:
            # a half character is written as JSON writes it
            with unfinished.open(
                "w", encoding="utf-8", errors="backslashreplace", newline=""
            ) as file:
                write_text(file, ending, rows, columns)
        unfinished.replace(out)
    finally:
        unfinished.unlink(missing_ok=True)


def write_text(file: TextIO, ending: str, rows: Iterable[Row], columns: Sequence[str]) -> None:
    """Write CSV, TSV or JSON lines, each row when it comes; see ``write_table``."""
    if ending in (".csv", ".tsv"):
        writer = csv.writer(file, "excel-tab" if ending == ".tsv" else "excel", lineterminator="\n")
        writer.writerow(columns)
        for row in _checked(rows, columns):
            writer.writerow([_cell(row.get(column)) for column in columns])
        return
    for row in rows:
        file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")


def _checked(rows: Iterable[Row], columns: Sequence[str]) -> Iterator[Row]:
    """The rows, none of which may hold what the columns do not: it would be lost."""
    for row in rows:
        if foreign := row.keys() - columns:
            raise InputError(
                f"--out: a later row has a column {min(foreign)!r}; expected those of the first "
                "row; write .jsonl"
            )
        yield row


def _cell(value: Any) -> Any:
    """A value as a field of CSV: nothing for None, lists, objects, true as JSON."""
    if isinstance(value, (list, dict, bool)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value


def _write_parquet(out: Path, rows: Iterable[Row], columns: Sequence[str], added: Row) -> None:
    import pyarrow
    from pyarrow import parquet

    checked = _checked(rows, columns)
    whole = ({column: row.get(column) for column in columns} for row in checked)
    blocks = iter(lambda: list(islice(whole, PARQUET_ROWS)), [])
    first = next(blocks)
    try:
        kept = [{c: v for c, v in row.items() if c not in added} for row in first]
        example = pyarrow.Table.from_pylist([dict(added)])
        schema = pyarrow.schema([*pyarrow.Table.from_pylist(kept).schema, *example.schema])
        with parquet.ParquetWriter(out, schema) as writer:
            for block in chain([first], blocks):
                writer.write_table(pyarrow.Table.from_pylist(block, schema=schema))
    except (pyarrow.ArrowException, UnicodeEncodeError, OverflowError) as error:
        why = str(error).splitlines()[0][:200]
        raise InputError(
            f"--out: Parquet cannot hold the values of a column ({why}); expected values of one "
            "type; write .jsonl"
        ) from None

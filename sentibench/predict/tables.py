"""Tables that are written: CSV, TSV, JSON lines and Parquet, row by row."""

# pyright: basic
# pyarrow publishes no complete types: its unknowns end in this module.

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, TextIO

from sentibench.errors import InputError
from sentibench.files import beside

PARQUET = ".parquet"
ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", PARQUET)
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


def write_table(
    out: Path, rows: Iterable[Row], columns: Sequence[str], added: Row, schema: Any = None
) -> None:
    """Write a file, beside and renamed into place.

    Args:
        out: By its ending.
        rows: Column -> value.
        columns: In the order of the table; a row may lack some.
        added: The columns that are not of the input, each with an example of its values.
        schema: Of a Parquet file, by ``parquet_schema``; None to take that of the first rows.

    Raises:
        InputError: If the rows do not fit into such a file; nothing is left of it then.
    """
    ending = out.suffix.lower()
    with beside(out) as unfinished:
        if ending == PARQUET:
            if schema is None:
                rows = iter(rows)
                first = list(islice(rows, PARQUET_ROWS))
                schema = parquet_schema(("--out", row) for row in [added, *first])
                rows = chain(first, rows)
            _write_parquet(unfinished, "--out", rows, columns, schema)
            return
        # a half character is written as JSON writes it
        with unfinished.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            write_text(file, ending, rows, columns)


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


# Parquet


def parquet_schema(rows: Iterable[tuple[str, Row]]) -> Any:
    """The type of each column, wide enough for all of its values.

    Args:
        rows: Where each row stands, and its values.

    Raises:
        InputError: If the values of a column have no type in common.
    """
    import pyarrow

    schema, rows = pyarrow.schema([]), iter(rows)
    while block := list(islice(rows, PARQUET_ROWS)):
        try:
            schema = _widened(schema, [row for _, row in block])
        except _not_held():
            for where, row in block:
                for column, value in row.items():
                    try:
                        schema = _widened(schema, [{column: value}])
                    except _not_held() as error:
                        raise InputError(
                            f"{where}: column {column!r}: Parquet cannot hold {str(value)[:40]!a} "
                            f"({_first_line(error)}); expected values of one type; write .jsonl"
                        ) from None
    return schema


def rehearse_parquet(where: str, rows: Iterable[Row], columns: Sequence[str], schema: Any) -> None:
    """Write rows to nowhere.

    Raises:
        InputError: If they cannot be written.
    """
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123, it is no file
        _write_parquet(nowhere, where, rows, columns, schema)


def _write_parquet(
    out: Any, where: str, rows: Iterable[Row], columns: Sequence[str], schema: Any
) -> None:
    import pyarrow
    from pyarrow import parquet

    whole = ({c: row.get(c) for c in columns} for row in _checked(rows, columns))
    ordered = pyarrow.schema([schema.field(column) for column in columns])
    try:
        with parquet.ParquetWriter(out, ordered) as writer:
            while block := list(islice(whole, PARQUET_ROWS)):
                if (
                    _widened(ordered, block) != ordered
                ):  # pyarrow writes 1.5 as 1 into whole numbers
                    raise InputError(
                        f"{where}: later rows have values of other types than the first "
                        f"{PARQUET_ROWS:,} rows; expected values of one type; write .jsonl"
                    )
                writer.write_table(pyarrow.Table.from_pylist(block, schema=ordered))
    except _not_held() as error:
        raise InputError(
            f"{where}: Parquet cannot hold the values of a column ({_first_line(error)}); "
            "expected values of one type; write .jsonl"
        ) from None


def _widened(schema: Any, rows: Sequence[Row]) -> Any:
    """A schema that holds these rows too."""
    import pyarrow

    columns = dict.fromkeys(chain.from_iterable(rows))
    whole = pyarrow.Table.from_pylist([{c: row.get(c) for c in columns} for row in rows])
    return pyarrow.unify_schemas([schema, whole.schema], promote_options="permissive")


def _not_held() -> tuple[type[Exception], ...]:
    """What pyarrow raises for values that it cannot hold."""
    import pyarrow

    return (pyarrow.ArrowException, UnicodeEncodeError, OverflowError)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200]

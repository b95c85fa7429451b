"""Tables of people's own texts: CSV of any dialect, TSV, JSON, JSON lines, Parquet, `datasets`.

Read strictly. A row that is not as its header says is a mistake with file, row and remedy: an
unquoted comma cuts a text and invents a label, an open quote swallows the rows behind it.
"""

# pyright: basic
# pyarrow and datasets publish no complete types: their unknowns end in this module.

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Literal

from sentibench.errors import InputError, unknown_name

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
ENDINGS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".txt")
LONGEST_FIELD = 10_000_000  # characters
SAMPLE = 65_536  # characters on which the delimiter is decided
HUB = "hub:"  # before the name of a dataset of the Hugging Face hub
HUB_TIMEOUT_S = 5.0

OnBadRows = Literal["stop", "drop"]


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        where: File and line or row, for messages.
        values: Column -> value: text of text files, any type of the others.
    """

    where: str
    values: Mapping[str, Any]


def plain_text(value: Any) -> str:
    """A label or another short value as people write it: 5.0 as ``5``, True as ``true``."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value).strip()
    if re.fullmatch(r"-?\d+\.0+", text):
        return text.partition(".")[0]
    return text.lower() if text.lower() in ("true", "false") else text


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it was read.

    Attributes:
        form: How the file is written, in words: ``CSV, semicolon, utf-8``.
        rows: In their order.
        dropped: Rows that were left out, by reason.
    """

    form: str
    rows: tuple[Row, ...]
    dropped: Mapping[str, int]


def read_table(
    place: str | Path,
    *,
    delimiter: str | None = None,
    encoding: str | None = None,
    split: str = "train",
    on_bad_rows: OnBadRows = "stop",
) -> Table:
    """Read a table.

    Args:
        place: A file, by its ending; a folder that ``datasets`` saved; or a dataset of the Hugging
            Face hub, ``hub:OWNER/NAME`` or ``hub:OWNER/NAME:CONFIGURATION``.
        delimiter: Of CSV; None to find it.
        encoding: Of text files; None to find it.
        split: Of a folder or a dataset of the hub that holds several.
        on_bad_rows: Whether a row that differs from its header stops the reading, or is left out
            and counted.

    Raises:
        InputError: With the file, the row, what was expected and the remedy.
    """
    if str(place).startswith(HUB):
        return _read_hub(str(place).removeprefix(HUB), split)
    path = Path(place)
    ending = path.suffix.lower()
    if path.is_dir():
        return _read_folder(path, split)
    if ending not in ENDINGS:
        known = ", ".join(ENDINGS)
        raise InputError(f"{path}: got the ending {path.suffix!r}, expected one of {known}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if ending == ".parquet":
        return _read_parquet(path, content)
    text, encoding = _decoded(path, content, encoding)
    if ending in (".csv", ".tsv"):
        delimiter = delimiter or ("\t" if ending == ".tsv" else _delimiter(text))
        return _read_csv(path, text, delimiter, encoding, on_bad_rows)
    if ending == ".txt":
        lines = enumerate(text.splitlines(), start=1)
        rows = tuple(Row(f"{path}:{n}", {"text": line}) for n, line in lines)
        return Table(f"text, {encoding}", rows, {})
    return _read_json(path, text, encoding, on_bad_rows)


# Text files


def _decoded(path: Path, content: bytes, encoding: str | None) -> tuple[str, str]:
    """The text of a file and its encoding: the given one, UTF-8, or the likeliest."""
    try:
        return content.decode(encoding or "utf-8-sig"), encoding or "utf-8"
    except LookupError:
        raise InputError(f"{path}: unknown encoding {encoding!r}") from None
    except UnicodeDecodeError as error:
        if encoding:
            raise InputError(
                f"{path}: byte {error.start} is not in the encoding {encoding}; give another one, "
                "or none to have it found"
            ) from None
    from chardet import detect

    found = str(detect(content)["encoding"] or "").lower()
    try:
        return content.decode(found).removeprefix("\ufeff"), found
    except (LookupError, UnicodeDecodeError):
        raise InputError(
            f"{path}: its encoding cannot be found; give it as encoding, for example latin-1"
        ) from None


def _delimiter(text: str) -> str:
    """The delimiter of the header that gives most rows as many fields as it has."""
    sample = text[:SAMPLE]

    def fits(delimiter: str) -> tuple[int, int]:
        rows = list(csv.reader(StringIO(sample, newline=""), delimiter=delimiter))
        n_fields = len(rows[0]) if rows else 0
        return (sum(len(row) == n_fields for row in rows) if n_fields > 1 else 0), n_fields

    return max(DELIMITERS, key=fits)


def _read_csv(
    path: Path, text: str, delimiter: str, encoding: str, on_bad_rows: OnBadRows
) -> Table:
    if len(delimiter) != 1:
        raise InputError(f"{path}: got the delimiter {delimiter!r}, expected one character")
    csv.field_size_limit(LONGEST_FIELD)
    form = f"CSV, {DELIMITERS.get(delimiter, repr(delimiter))}, {encoding}"
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    rows: list[Row] = []
    dropped: Counter[str] = Counter()
    line = 1
    try:
        for fields in reader:
            where, line = f"{path}:{line}", reader.line_num + 1
            if not any(field.strip() for field in fields):
                continue
            if not header:
                header = _header(path, fields)
            elif len(fields) == len(header):
                rows.append(Row(where, dict(zip(header, fields, strict=True))))
            elif on_bad_rows == "drop":
                dropped["other fields than the header"] += 1
            else:
                raise InputError(
                    f"{where}: got {len(fields)} fields, expected {len(header)} as in the header "
                    f"({', '.join(header)}); put texts with a {form.split(', ')[1]} in quotes, or "
                    "leave such rows out with on_bad_rows: drop"
                )
    except csv.Error as error:
        raise InputError(
            f"{path}:{line}: the row that begins here is no CSV: {error}; a quote may be open, "
            'and one inside a text is written twice: ""'
        ) from None
    if not header:
        raise InputError(f"{path}: got an empty file, expected a header and rows")
    return Table(form, tuple(rows), dropped)


def _header(path: Path, fields: Sequence[str]) -> list[str]:
    names = [field.strip() for field in fields]
    twice = [name for name, n in Counter(names).items() if n > 1 or not name]
    if twice:
        raise InputError(
            f"{path}:1: the header has {twice[0]!r} twice or empty; expected a name for each column"
        )
    return names


def _read_json(path: Path, text: str, encoding: str, on_bad_rows: OnBadRows) -> Table:
    found: list[tuple[str, Any]] = []
    dropped: Counter[str] = Counter()
    try:
        if path.suffix.lower() == ".json":
            values = json.loads(text)
            if not isinstance(values, list):
                raise InputError(
                    f"{path}: got a {type(values).__name__}, expected a list of objects"
                )
            found = [(f"{path}: item {n}", value) for n, value in enumerate(values)]
        else:
            for n, line in enumerate(text.split("\n"), start=1):
                if line.strip():
                    found.append((f"{path}:{n}", json.loads(line)))
    except (ValueError, RecursionError) as error:
        line = f":{len(found) + 1}" if path.suffix.lower() != ".json" else ""
        raise InputError(f"{path}{line}: broken JSON ({error})") from None
    rows: list[Row] = []
    for where, value in found:
        if isinstance(value, dict):
            rows.append(Row(where, value))
        elif on_bad_rows == "drop":
            dropped["no object"] += 1
        else:
            raise InputError(f"{where}: got a {type(value).__name__}, expected an object")
    return Table(f"JSON, {encoding}", tuple(rows), dropped)


# Files of libraries


def _read_parquet(path: Path, content: bytes) -> Table:
    from pyarrow import ArrowException, BufferReader, parquet

    try:
        table = parquet.read_table(BufferReader(content))
        values = table.to_pylist()
    except ArrowException as error:
        raise InputError(f"{path}: no Parquet file: {str(error).splitlines()[0]}") from None
    if b"huggingface" in (table.schema.metadata or {}):  # written by datasets, classes as numbers
        from datasets import Features

        return _named_classes(
            "Parquet", str(path), Features.from_arrow_schema(table.schema), values
        )
    return Table("Parquet", _numbered(str(path), values), {})


def _read_folder(path: Path, split: str) -> Table:
    """A folder that ``datasets`` saved; class numbers become class names."""
    import datasets

    try:
        loaded: Any = datasets.load_from_disk(str(path))
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0][:200]
        raise InputError(f"{path}: datasets did not save this folder: {reason}") from None
    if isinstance(loaded, dict):
        if split not in loaded:
            raise unknown_name(f"{path}: split", split, list(map(str, loaded)))
        loaded = loaded[split]
    return _named_classes("datasets", str(path), loaded.features, loaded)


def _read_hub(name: str, split: str) -> Table:
    """A dataset of the hub, or of its cache where HF_HUB_OFFLINE is set."""
    from datasets import config, load_dataset
    from datasets.exceptions import DatasetsError
    from requests import RequestException, head

    where, (name, _, subset) = f"{HUB}{name}", name.partition(":")
    try:
        if not config.HF_HUB_OFFLINE:  # the library itself would try for half a minute
            head(config.HF_ENDPOINT, timeout=HUB_TIMEOUT_S)
        loaded: Any = load_dataset(name, subset or None, split=split)
    except RequestException:
        raise InputError(
            f"{where}: {config.HF_ENDPOINT} cannot be reached; set HF_HUB_OFFLINE=1 to "
            "take what was downloaded before, or give a file or a folder"
        ) from None
    except (OSError, ValueError, DatasetsError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{where}: cannot be loaded: {reason}") from None
    return _named_classes("datasets", where, loaded.features, loaded)


def _named_classes(
    form: str, where: str, features: Mapping[str, Any], found: Iterable[Mapping[str, Any]]
) -> Table:
    """The rows of a dataset, with the names of classes in place of their numbers."""
    import datasets

    names: dict[str, Sequence[str]] = {
        column: feature.names
        for column, feature in features.items()
        if isinstance(feature, datasets.ClassLabel)
    }
    rows = ({**row, **{c: _name(row[c], of) for c, of in names.items()}} for row in found)
    return Table(form, _numbered(where, rows), {})


def _name(number: int | None, names: Sequence[str]) -> str | None:
    """The name of a class; datasets writes -1 where there is none."""
    return None if number is None or number < 0 else names[number]


def _numbered(where: str, values: Iterable[Mapping[str, Any]]) -> tuple[Row, ...]:
    return tuple(Row(f"{where}: row {n}", value) for n, value in enumerate(values))

"""Tables of people's own texts: CSV of any dialect, TSV, JSON, JSON lines, Parquet, `datasets`.

Text files may be compressed by gzip or zstd.

Read strictly. A row that is not as its header says is a mistake with file, row and remedy: an
unquoted comma cuts a text and invents a label, an open quote swallows the rows behind it.
"""

# pyright: basic
# pyarrow and datasets publish no complete types: their unknowns end in this module.

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Literal

from sentibench.errors import InputError, refuse_missing, unknown_name

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
ENDINGS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".txt")
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}  # behind the ending of a text file
LONGEST_FIELD = 10_000_000  # characters
SAMPLE = 65_536  # characters on which the delimiter is decided
HUB = "hub:"  # before the name of a dataset of the Hugging Face hub
HUB_TIMEOUT_S = 5.0
BLOCK = 1 << 20  # bytes that are read at once
PARQUET_ROWS = 1_000  # that are read at once

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
    """A label or another short value as people write it: 5.0 as ``5``, missing as empty."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or value != value:  # NaN, as pandas writes what is missing
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value).strip()
    if re.fullmatch(r"-?\d+\.0+", text):
        return text.partition(".")[0]
    return text.lower() if text.lower() in ("true", "false") else text


def folded(text: str) -> str:
    """A text without its case and its whitespace: what two texts share that are the same one."""
    return " ".join(text.casefold().split())


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


@dataclass(frozen=True, slots=True)
class Stream:
    """A table that is read row by row; see ``Table``. ``dropped`` counts while rows are taken."""

    form: str
    rows: Iterator[Row]
    dropped: Counter[str]


def read_table(
    place: str | Path,
    *,
    delimiter: str | None = None,
    encoding: str | None = None,
    split: str = "train",
    on_bad_rows: OnBadRows = "stop",
) -> Table:
    """Read a table as a whole; see ``stream_table``."""
    stream = stream_table(
        place, delimiter=delimiter, encoding=encoding, split=split, on_bad_rows=on_bad_rows
    )
    return Table(stream.form, tuple(stream.rows), stream.dropped)


def stream_table(
    place: str | Path,
    *,
    delimiter: str | None = None,
    encoding: str | None = None,
    split: str = "train",
    revision: str | None = None,
    on_bad_rows: OnBadRows = "stop",
) -> Stream:
    """Open a table, which may be larger than memory unless it is one JSON list.

    Args:
        place: A file, by its ending, with ``.gz`` or ``.zst`` behind it or not; a folder that
            ``datasets`` saved; or a dataset of the Hugging Face hub, ``hub:OWNER/NAME`` or
            ``hub:OWNER/NAME:CONFIGURATION``.
        delimiter: Of CSV; None to find it.
        encoding: Of text files; None to find it.
        split: Of a folder or a dataset of the hub that holds several.
        revision: Branch, tag or commit of a dataset of the hub; None for its newest state.
        on_bad_rows: Whether a row that differs from its header stops the reading, or is left out
            and counted.

    Raises:
        InputError: With the file, the row, what was expected and the remedy; what is wrong with a
            row is raised when that row is taken.
    """
    if str(place).startswith(HUB):
        rows = _read_hub(str(place).removeprefix(HUB), split, revision)
        return Stream("datasets", rows, Counter())
    path = Path(place)
    refuse_missing(path, f"a table ({', '.join(ENDINGS)}), or a folder that datasets saved")
    compression = path.suffix.lower() if path.suffix.lower() in COMPRESSIONS else ""
    ending = (path.with_suffix("") if compression else path).suffix.lower()
    dropped: Counter[str] = Counter()
    if path.is_dir():
        return Stream("datasets", _read_folder(path, split), dropped)
    if ending not in ENDINGS or (compression and ending == ".parquet"):
        raise InputError(
            f"{path}: got the ending {ending + compression!r}, expected one of "
            f"{', '.join(ENDINGS)}, text files also with {' or '.join(COMPRESSIONS)} after it; "
            "convert or rename the file"
        )
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read: {error.strerror}; expected a file that you may read"
        ) from None
    if ending == ".parquet":
        return Stream("Parquet", _read_parquet(path), dropped)
    encoding = _encoding_of(path, encoding)
    if ending in (".csv", ".tsv"):
        if delimiter is None:
            delimiter = "\t" if ending == ".tsv" else _delimiter(path, encoding) or ","
        else:
            _refuse_delimiter(path, encoding, delimiter)
        form = f"CSV, {DELIMITERS.get(delimiter, repr(delimiter))}, {encoding}"
        return Stream(form, _read_csv(path, encoding, delimiter, on_bad_rows, dropped), dropped)
    if ending == ".txt":
        return Stream(f"text, {encoding}", _read_texts(path, _lines(path, encoding)), dropped)
    read = _read_json if ending == ".json" else _read_json_lines
    values = read(path, _lines(path, encoding, "\n"))
    return Stream(f"JSON, {encoding}", _objects(values, on_bad_rows, dropped), dropped)


def stream_lines(where: str, lines: Iterable[str]) -> Stream:
    """Open lines of no file: JSON lines where the first one begins with ``{``, else texts.

    Args:
        where: What messages call them.
        lines: With or without their ends.
    """
    lines, dropped = iter(lines), Counter[str]()
    first = next(lines, "").removeprefix("\ufeff")
    whole = chain([first] if first else [], lines)
    if first.lstrip().startswith("{"):
        rows = _objects(_read_json_lines(where, whole), "stop", dropped)
        return Stream("JSON", rows, dropped)
    return Stream("text", _read_texts(where, whole), dropped)


# Text files


def _open(path: Path) -> BinaryIO:
    """The bytes of a file, decompressed."""
    if compression := COMPRESSIONS.get(path.suffix.lower()):
        import pyarrow

        return pyarrow.input_stream(str(path), compression=compression)
    return path.open("rb")


def _lines(path: Path, encoding: str, newline: str = "") -> Iterator[str]:
    """The lines of a file with their ends, without a byte-order mark."""
    with io.TextIOWrapper(_open(path), encoding=encoding, newline=newline) as file:
        yield file.readline().removeprefix("\ufeff")
        yield from file


def _encoding_of(path: Path, given: str | None) -> str:
    """The encoding of a file: the given one, UTF-8, or the likeliest."""
    try:
        bad_byte = _first_bad_byte(path, given or "utf-8")
    except OSError as error:
        raise InputError(
            f"{path}: damaged, or not compressed as its name says: {error}; save it again"
        ) from None
    except (LookupError, ValueError):
        raise InputError(
            f"{path}: got the encoding {given!r}, expected one that Python knows, such as utf-8, "
            "cp1252 or latin-1; without it the encoding is detected"
        ) from None
    if bad_byte is None:
        return given or "utf-8"
    if given:
        raise InputError(
            f"{path}: byte {bad_byte} is not {given}, expected all of the file in this encoding; "
            "give another one, or none: then it is detected"
        )
    from chardet import detect

    with _open(path) as file:
        for start in range(0, max(0, bad_byte - SAMPLE), BLOCK):  # the difference may come late
            file.read(min(BLOCK, bad_byte - SAMPLE - start))
        content = file.read(2 * SAMPLE)
    found = str(detect(content)["encoding"] or "").lower()
    try:
        if _first_bad_byte(path, found) is None:
            return found
    except (LookupError, ValueError):
        pass
    raise InputError(
        f"{path}: its encoding cannot be detected; give it, for example latin-1, or save the file "
        "as UTF-8"
    )


def _first_bad_byte(path: Path, encoding: str) -> int | None:
    """Where a file cannot be decoded; None where all of it can."""
    if not getattr(codecs.lookup(encoding), "_is_text_encoding", True):  # zip, base64
        raise LookupError(encoding)
    decoder = codecs.getincrementaldecoder(encoding)()
    n_read = 0
    with _open(path) as file:
        while True:
            block = file.read(BLOCK)
            waiting = len(decoder.getstate()[0])
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                return n_read - waiting + error.start
            except UnicodeError:  # UTF-16 without its mark
                return n_read
            n_read += len(block)
            if not block:
                return None


def _delimiter(path: Path, encoding: str) -> str | None:
    """The delimiter of the header that gives most rows as many fields as it has.

    None where there is none: in a table of one column, the header alone may hold such a character.
    """
    with io.TextIOWrapper(_open(path), encoding=encoding, newline="") as file:
        sample = file.read(SAMPLE).removeprefix("\ufeff")

    def fits(delimiter: str) -> tuple[int, int]:
        rows = list(csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter))
        n_fields = len(rows[0]) if rows else 0
        parts_rows = n_fields > 1 and (len(rows) == 1 or max(map(len, rows[1:])) > 1)
        return (sum(len(row) == n_fields for row in rows) if parts_rows else 0), n_fields

    best = max(DELIMITERS, key=fits)
    return best if fits(best)[0] else None


def _refuse_delimiter(path: Path, encoding: str, given: str) -> None:
    """Refuse what is no delimiter, or not that of a header which has another one."""
    if len(given) != 1 or given in '"\r\n':
        raise InputError(
            f"{path}: got the delimiter {given!r}, expected one character, such as ',' (a tab is "
            "$'\\t' in a shell); without it the delimiter is detected"
        )
    header = next(_lines(path, encoding), "")
    found = _delimiter(path, encoding)
    if given not in header and found:
        raise InputError(
            f"{path}:1: got the delimiter {given!r}, which is not in the header "
            f"{header.strip()[:60]!r}; expected {found!r}; without it the delimiter is detected"
        )


def _read_csv(
    path: Path, encoding: str, delimiter: str, on_bad_rows: OnBadRows, dropped: Counter[str]
) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_FIELD)
    reader = csv.reader(_lines(path, encoding), delimiter=delimiter, strict=True)
    header: list[str] = []
    line = 1
    try:
        for fields in reader:
            where, line = f"{path}:{line}", reader.line_num + 1
            is_blank = len(fields) != len(header) and not "".join(fields).strip()
            if not fields or (is_blank and len(fields) == 1):
                continue
            if not header:
                header = _header(path, fields)
            elif len(fields) == len(header):
                yield Row(where, dict(zip(header, fields, strict=True)))
            elif on_bad_rows == "drop":
                dropped["other fields than the header"] += 1
            else:
                name = DELIMITERS.get(delimiter, repr(delimiter))
                raise InputError(
                    f"{where}: got {len(fields)} fields, expected {len(header)} as in the header "
                    f"({', '.join(header)}); put texts with a {name} in quotes, or "
                    "name another delimiter"
                )
    except csv.Error as error:
        raise InputError(
            f"{path}:{line}: the row that begins here cannot be read as CSV: {error}; close its "
            'quotes, and write a quote inside a text twice: ""'
        ) from None
    if not header:
        raise InputError(f"{path}: got an empty file, expected a header and rows")


def _header(path: Path, fields: Sequence[str]) -> list[str]:
    names = [field.strip() for field in fields]
    twice = [name for name, n in Counter(names).items() if n > 1 or not name]
    if twice:
        raise InputError(
            f"{path}:1: the header has "
            f"{repr(twice[0]) + ' twice' if twice[0] else 'an empty name'}; expected "
            "a different name for each column; rename it"
        )
    return names


def _read_texts(where: str | Path, lines: Iterable[str]) -> Iterator[Row]:
    for n, line in enumerate(lines, start=1):
        if line:
            yield Row(f"{where}:{n}", {"text": line.rstrip("\r\n")})


def _read_json_lines(where: str | Path, lines: Iterable[str]) -> Iterator[tuple[str, Any]]:
    for n, line in enumerate(lines, start=1):
        if line.strip():
            yield f"{where}:{n}", _json(f"{where}:{n}", line)


def _read_json(path: Path, lines: Iterable[str]) -> Iterator[tuple[str, Any]]:
    values = _json(str(path), "".join(lines))
    if not isinstance(values, list):
        raise InputError(f"{path}: got a {type(values).__name__}, expected a list of objects")
    yield from ((f"{path}: item {n}", value) for n, value in enumerate(values))


def _json(where: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: broken JSON ({error}); correct it") from None


def _objects(
    values: Iterable[tuple[str, Any]], on_bad_rows: OnBadRows, dropped: Counter[str]
) -> Iterator[Row]:
    for where, value in values:
        if isinstance(value, dict):
            yield Row(where, value)
        elif on_bad_rows == "drop":
            dropped["no object"] += 1
        else:
            raise InputError(f"{where}: got a {type(value).__name__}, expected an object")


# Files of libraries


def _read_parquet(path: Path) -> Iterator[Row]:
    from pyarrow import ArrowException, parquet

    try:
        file = parquet.ParquetFile(path)
        batches = file.iter_batches(batch_size=PARQUET_ROWS)
        rows = (row for batch in batches for row in batch.to_pylist())
        features: Mapping[str, Any] = {}
        if b"huggingface" in (file.schema_arrow.metadata or {}):  # by datasets: classes as numbers
            from datasets import Features

            features = Features.from_arrow_schema(file.schema_arrow)
        yield from _named_classes(str(path), features, rows)
    except ArrowException as error:
        raise InputError(
            f"{path}: cannot be read as Parquet: {str(error).splitlines()[0]}; save it again"
        ) from None


def _read_folder(path: Path, split: str) -> Iterator[Row]:
    """A folder that ``datasets`` saved; class numbers become class names."""
    import datasets

    try:
        loaded: Any = datasets.load_from_disk(str(path))
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0][:200]
        raise InputError(
            f"{path}: expected a folder that `datasets` saved; got: {reason}"
        ) from None
    if isinstance(loaded, dict):
        if split not in loaded:
            raise unknown_name(f"{path}: split", split, list(map(str, loaded)))
        loaded = loaded[split]
    return _named_classes(str(path), loaded.features, loaded)


def _read_hub(name: str, split: str, revision: str | None) -> Iterator[Row]:
    """A dataset of the hub, row by row; from its cache where HF_HUB_OFFLINE is set."""
    from datasets import config, load_dataset
    from datasets.exceptions import DatasetsError
    from requests import RequestException, head

    where, (name, _, subset) = f"{HUB}{name}", name.partition(":")
    try:
        if not config.HF_HUB_OFFLINE:  # the library itself would try for half a minute
            head(config.HF_ENDPOINT, timeout=HUB_TIMEOUT_S)
        streamed = not config.HF_HUB_OFFLINE  # a cache is read from the disk anyway
        given: Any = {"split": split, "revision": revision, "streaming": streamed}
        loaded: Any = load_dataset(name, subset or None, **given)
    except RequestException:
        raise InputError(
            f"{where}: {config.HF_ENDPOINT} cannot be reached; set HF_HUB_OFFLINE=1 to "
            "use an earlier download, or give a file or a folder"
        ) from None
    except (OSError, ValueError, DatasetsError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{where}: cannot be loaded: {reason}; check the name, split and revision"
        ) from None

    def rows() -> Iterator[Row]:
        try:
            yield from _named_classes(where, loaded.features or {}, loaded)
        except (OSError, ValueError, DatasetsError) as error:  # those of requests are OSErrors
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"{where}: breaks off: {reason}; run again, or download it and give its folder"
            ) from None

    return rows()


def _named_classes(
    where: str, features: Mapping[str, Any], found: Iterable[Mapping[str, Any]]
) -> Iterator[Row]:
    """The rows of a dataset, with the names of classes in place of their numbers."""
    names: dict[str, Sequence[str]] = {
        column: feature.names
        for column, feature in features.items()
        if type(feature).__name__ == "ClassLabel"
    }
    rows = ({**row, **{c: _name(row[c], of) for c, of in names.items()}} for row in found)
    return (Row(f"{where}: row {n}", row) for n, row in enumerate(rows))


def _name(number: int | None, names: Sequence[str]) -> str | None:
    """The name of a class; datasets writes -1 where there is none."""
    return None if number is None or number < 0 else names[number]

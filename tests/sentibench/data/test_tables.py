"""Tables of people's own texts, as they are really written."""

import json
from pathlib import Path

import pyarrow
import pytest

from sentibench.data.tables import Table, plain_text, read_table, stream_lines, stream_table
from sentibench.errors import InputError

LONG = "long " * 4_000  # 20,000 characters


def values(table: Table) -> list[dict]:
    return [dict(row.values) for row in table.rows]


@pytest.mark.parametrize(
    ("name", "content", "form", "expected"),
    [
        ("a.csv", b"text,kind\nfine,x\n", "CSV, comma, utf-8", [("fine", "x")]),
        ("a.CSV", b"text;kind\nfine, I say;x\n", "CSV, semicolon, utf-8", [("fine, I say", "x")]),
        ("a.tsv", b"text\tkind\na, b; c\tx\n", "CSV, tab, utf-8", [("a, b; c", "x")]),
        ("a.csv", b"text|kind\na, b|x\nc, d|y\n", "CSV, vertical bar, utf-8", [("a, b", "x")]),
        ("a.csv", b'text,kind\r\n"say ""no"",\nthen go",x\r\n', "CSV, comma", None),
        ("a.csv", "\ufefftext,kind\nfine \U0001f600,x\n".encode(), "CSV, comma, utf-8", None),
        ("a.csv", f"text,kind\n{LONG},x\n".encode(), "CSV, comma, utf-8", [(LONG, "x")]),
        ("a.csv", b"text,kind\n\n  ,  \nfine,x\n\n", "CSV, comma, utf-8", [("  ", "  ")]),
        ("a.csv", b"text,kind\n<b>fine</b>,Two Words\n", "CSV", [("<b>fine</b>", "Two Words")]),
        ("a.TSV", b"text\tkind\nfine\tx\n", "CSV, tab, utf-8", [("fine", "x")]),
        ("a.JSONL", b'{"text": "fine", "kind": "x"}\n', "JSON, utf-8", [("fine", "x")]),
        ("a.json", b'[{"text": "fine", "kind": "x"}]', "JSON, utf-8", [("fine", "x")]),
        ("a.ndjson", b'{"text": "fine", "kind": "x"}\n\n', "JSON, utf-8", [("fine", "x")]),
    ],
)
def test_files_are_read_as_they_are_written(
    name: str, content: bytes, form: str, expected: list | None, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    table = read_table(tmp_path / name)
    assert table.form.startswith(form)
    found = [(row["text"], row["kind"]) for row in values(table)]
    if expected is None:
        assert found[0][0] in ('say "no",\nthen go', "fine \U0001f600")
    else:
        assert found[: len(expected)] == expected


def compressed(content: bytes, ending: str) -> bytes:
    codec = {".gz": "gzip", ".zst": "zstd"}[ending]
    return pyarrow.compress(content, codec=codec, asbytes=True)


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_compressed_text_files_are_read_like_others(ending: str, tmp_path: Path) -> None:
    end = "Un café très agréable à côté de l'église;x\n" * 5
    late = "text;kind\n" + "fine;x\n" * 200_000 + end
    for name, content in (
        ("a.csv", b"text,kind\nfine,x\n"),
        ("a.jsonl", b'{"text": "fine", "kind": "x"}\n'),
        ("b.csv", late.encode("latin-1")),
    ):
        (tmp_path / name).write_bytes(content)
        (tmp_path / f"{name}{ending}").write_bytes(compressed(content, ending))
        plain, read = read_table(tmp_path / name), read_table(tmp_path / f"{name}{ending}")
        assert values(read) == values(plain)
        assert read.form == plain.form
    assert read.rows[-1].values["text"].startswith("Un café très agréable")


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_a_damaged_compressed_file_is_one_error(ending: str, tmp_path: Path) -> None:
    whole = compressed(b"text,kind\n" + b"fine,x\n" * 50_000, ending)
    for damaged in (whole[:-5], whole[: len(whole) // 2], b"no", b"text,kind\nfine,x\n", b""):
        (tmp_path / f"a.csv{ending}").write_bytes(damaged)
        with pytest.raises(InputError, match=r"damaged, or not compressed|got an empty file"):
            read_table(tmp_path / f"a.csv{ending}")
    (tmp_path / f"a.parquet{ending}").write_bytes(whole)
    with pytest.raises(InputError, match=rf"got the ending '\.parquet\{ending}', expected one of"):
        read_table(tmp_path / f"a.parquet{ending}")


def test_another_encoding_is_found_stated_or_given(tmp_path: Path) -> None:
    text = "text,kind\nUn café très agréable, à côté de l'église,x\n".replace("able, ", "able ")
    (tmp_path / "a.csv").write_bytes((text * 5).encode("latin-1"))
    table = read_table(tmp_path / "a.csv")
    assert values(table)[0]["text"].startswith("Un café très agréable à côté")
    assert not table.form.endswith("utf-8")
    given = read_table(tmp_path / "a.csv", encoding="latin-1")
    assert given.form == "CSV, comma, latin-1"
    assert values(given) == values(table)
    with pytest.raises(InputError, match="is not ascii"):
        read_table(tmp_path / "a.csv", encoding="ascii")
    for unknown in ("klingon", "zip", "base64", "undefined", "a\0b"):
        with pytest.raises(InputError, match=r"expected one that Python knows|is not undefined"):
            read_table(tmp_path / "a.csv", encoding=unknown)
    with pytest.raises(InputError, match="is not utf-16"):
        read_table(tmp_path / "a.csv", encoding="utf-16")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "got an empty file, expected a header and rows"),
        ("a.csv", "a,a\n1,2\n", "a.csv:1: the header has 'a' twice; expected"),
        ("a.csv", "a,\n1,2\n", "a.csv:1: the header has an empty name; expected"),
        ("a.csv", 'a,b\n"1\n\n2",3\n4,5,6\n', "a.csv:5: got 3 fields, expected 2"),
        (
            "a.csv",
            'a,b\n1,"2\n3,4\n5,6\n',
            "a.csv:2: the row that begins here cannot be read as CSV",
        ),
        (
            "a.csv",
            'a,b\n1,"2\n3,"4"\n5,6\n',
            "a.csv:2: the row that begins here cannot be read as CSV",
        ),
        ("a.json", "{}", "a.json: got a dict, expected a list of objects"),
        ("a.json", "[1]", "a.json: item 0: got a int, expected an object"),
        ("a.jsonl", '{"a": 1}\n{"a"', "a.jsonl:2: broken JSON"),
        ("a.parquet", "no", "a.parquet: cannot be read as Parquet"),
        ("a.xls", "no", "got the ending '.xls', expected one of .csv, .tsv"),
    ],
)
def test_a_mistake_names_file_and_row(
    name: str, content: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_table(tmp_path / name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_rows_are_left_out_and_counted_where_that_is_wished(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n1,2,3\n4\n", encoding="utf-8")
    table = read_table(tmp_path / "a.csv", on_bad_rows="drop")
    assert values(table) == [{"a": "1", "b": "2"}]
    assert table.dropped == {"other fields than the header": 2}
    assert table.rows[0].where == f"{tmp_path / 'a.csv'}:2"
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n7\n', encoding="utf-8")
    assert read_table(tmp_path / "a.jsonl", on_bad_rows="drop").dropped == {"no object": 1}


def test_parquet_and_delimiters_are_read(tmp_path: Path) -> None:
    from pyarrow import Table as Columns
    from pyarrow import parquet

    parquet.write_table(Columns.from_pylist([{"text": "fine", "y": 1}]), tmp_path / "a.parquet")
    assert values(read_table(tmp_path / "a.parquet")) == [{"text": "fine", "y": 1}]
    (tmp_path / "a.csv").write_text("text:kind\nfine:x\n", encoding="utf-8")
    assert values(read_table(tmp_path / "a.csv", delimiter=":")) == [{"text": "fine", "kind": "x"}]
    with pytest.raises(InputError, match="expected one character"):
        read_table(tmp_path / "a.csv", delimiter="::")


def test_classes_in_parquet_files_of_datasets_are_their_names(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features(
        text=datasets.Value("string"), y=datasets.ClassLabel(names=["bad", "good"])
    )
    rows = [{"text": "a", "y": 1}, {"text": "b", "y": None}]
    data = datasets.Dataset.from_list(rows, features=features)
    data.to_parquet(str(tmp_path / "a.parquet"))
    table = read_table(tmp_path / "a.parquet")
    assert values(table) == [{"text": "a", "y": "good"}, {"text": "b", "y": None}]
    assert table.form == "Parquet"


@pytest.mark.parametrize("is_offline", [False, True])
def test_a_dataset_of_the_hub_is_streamed_with_its_class_names(is_offline, monkeypatch) -> None:
    import datasets

    asked = []

    def load(*given, **more):
        asked.append((*given, more))
        features = datasets.Features(y=datasets.ClassLabel(names=["bad", "good"]))
        found = datasets.Dataset.from_list([{"y": 0}, {"y": 1}], features=features)
        return found.to_iterable_dataset() if more["streaming"] else found

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr("requests.head", lambda *_, timeout: asked.append(timeout))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", is_offline)
    stream = stream_table("hub:owner/name:small", split="dev", revision="v1")
    rows = list(stream.rows)
    assert [row.values for row in rows] == [{"y": "bad"}, {"y": "good"}]
    assert rows[0].where == "hub:owner/name:small: row 0"
    given = {"split": "dev", "revision": "v1", "streaming": not is_offline}
    assert asked[-1] == ("owner/name", "small", given)
    assert asked[:-1] == ([] if is_offline else [5.0])


def test_a_dataset_of_the_hub_that_breaks_off_is_one_error(monkeypatch) -> None:
    import datasets

    def rows():
        yield {"text": "first"}
        raise OSError("connection\nlost")

    made = datasets.IterableDataset.from_generator(rows)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: made)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    stream = stream_table("hub:a/b")
    assert next(stream.rows).values == {"text": "first"}
    with pytest.raises(InputError, match="hub:a/b: breaks off: connection lost; run again"):
        next(stream.rows)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ValueError("Unknown split\n'dev'"),
            "hub:a/b: cannot be loaded: Unknown split 'dev'; check the name, split and revision",
        ),
        (
            FileNotFoundError("gone"),
            "hub:a/b: cannot be loaded: gone; check the name, split and revision",
        ),
    ],
)
def test_a_dataset_that_the_hub_does_not_give_is_one_error(error, message, monkeypatch) -> None:
    import datasets

    def load(*_, **__):
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError) as caught:
        read_table("hub:a/b")
    assert str(caught.value) == message


def test_a_hub_that_cannot_be_reached_is_said_at_once(monkeypatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"hub:a/b: http://127\.0\.0\.1:9 cannot be reached; set"):
        read_table("hub:a/b")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "5"),
        (5.0, "5"),
        ("5.0", "5"),
        ("5.5", "5.5"),
        (-1.0, "-1"),
        (True, "true"),
        ("TRUE", "true"),
        (" x ", "x"),
        ("True story", "True story"),
        (json.loads("1e3"), "1000"),
        (None, ""),
        (json.loads("NaN"), ""),
    ],
)
def test_labels_are_written_as_people_write_them(value: object, text: str) -> None:
    assert plain_text(value) == text


def test_a_stream_takes_a_row_when_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n3\n", encoding="utf-8")
    stream = stream_table(tmp_path / "a.csv")
    assert next(stream.rows).values == {"a": "1", "b": "2"}
    with pytest.raises(InputError, match=r"a\.csv:3: got 1 fields, expected 2"):
        next(stream.rows)


def test_an_encoding_that_shows_late_is_found_too(tmp_path: Path) -> None:
    plain = "a plain line of a long file,x\n" * 40_000  # more than a megabyte
    late = "un café très agréable à côté de l'église,y\n" * 5
    (tmp_path / "a.csv").write_bytes(f"text,kind\n{plain}{late}".encode("latin-1"))
    assert read_table(tmp_path / "a.csv").rows[-1].values["text"].startswith("un café très")
    with pytest.raises(InputError, match=f"byte {len(plain) + 10 + 6} is not utf-8"):
        read_table(tmp_path / "a.csv", encoding="utf-8")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            ["fine\n", "\n", "two words\r\n"],
            [{"text": "fine"}, {"text": ""}, {"text": "two words"}],
        ),
        (['\ufeff{"a": 1}\n', "\n", '{"a": 2}'], [{"a": 1}, {"a": 2}]),
        ([], []),
    ],
)
def test_lines_are_json_or_texts_as_the_first_one_says(lines: list, expected: list) -> None:
    assert [row.values for row in stream_lines("here", lines).rows] == expected
    with pytest.raises(InputError, match="here:2: broken JSON"):
        list(stream_lines("here", ["{}", "no"]).rows)


def test_rows_of_empty_fields_are_rows_and_blank_lines_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text\n"good"\n""\n\n"bad"\n\n')
    assert [row["text"] for row in values(read_table(tmp_path / "a.csv"))] == ["good", "", "bad"]
    (tmp_path / "b.csv").write_text("text,kind\nx,y\n,\n  \n")
    assert values(read_table(tmp_path / "b.csv"))[1:] == [{"text": "", "kind": ""}]


@pytest.mark.parametrize(
    ("name", "content", "given"),
    [
        ("a.csv", "review (good, bad)\nnice one\n", ";"),
        ("a.tsv", "review, all\nnice one\n", "\t"),
        ("a.csv", "text\nnice; one\n", ","),
    ],
)
def test_a_table_of_one_column_may_have_any_character_in_its_header(
    name: str, content: str, given: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    header, value = content.splitlines()
    assert values(read_table(tmp_path / name, delimiter=given)) == [{header: value}]

"""Files of texts in every form, streamed, resumed, and refused in one line."""

import csv
import errno
import io
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from filelock import FileLock
from pyarrow import Table, parquet

from sentibench.__main__ import main
from sentibench.errors import InputError
from sentibench.predict import classifier, labelling
from sentibench.predict.classifier import Extracted, Labelled, stamps
from sentibench.predict.labelling import Source, added_columns, label_file, survey
from sentibench.predict.recipe import Recipe, save_recipes
from sentibench.predict.tables import write_table

LABELS = Recipe(
    labels=("very good", "bad"),
    scoring_words=("good", "bad"),
    instruction="",
    shots=0,
    demonstrations=(),
)
TUPLES = Recipe(elements=("aspect", "polarity"), instruction="", shots=0, demonstrations=())
TEXTS = ["fine", "a bad day", "", 'say "no",\nthen go', "so good \U0001f600", "7"]


class Fake:
    """Labels by a word, the last text of a chunk first; stops after a number of answers."""

    def __init__(self, recipe: Recipe = LABELS, stops_after: int | None = None, **settings) -> None:
        self.recipe, self.stops_after, self.settings = recipe, stops_after, settings
        self.asked: list[list[str]] = []
        self.n_told = 0

    def __call__(self, texts: Sequence[str], on_answer=None, known=()) -> list[Any]:
        answers = self.answers(texts)
        self.asked.append([text for n, text in enumerate(texts) if n not in known])
        for n in reversed(range(len(texts))):
            if self.n_told == self.stops_after:
                raise KeyboardInterrupt
            self.n_told += 1
            if on_answer:
                on_answer([n], answers[n])
        return answers

    def answers(self, texts: Sequence[str]) -> list[Any]:
        if self.recipe.elements:
            return [Extracted(({"aspect": t, "polarity": "x"},), bool(t), t) for t in texts]
        p = [0.25 if "bad" in text else 0.75 for text in texts]
        pairs = zip(texts, p, strict=True)
        return [
            Labelled(
                "bad" if "bad" in t else "very good", max(x, 1 - x), {"very good": x, "bad": 1 - x}
            )
            for t, x in pairs
        ]


def csv_of(folder: Path, texts: Sequence[str] = TEXTS, name: str = "in.csv") -> Source:
    with (folder / name).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=";").writerows([("id", "review"), *enumerate(texts)])
    return Source(str(folder / name), "review")


def label(source: Source, out: Path, fake: Fake, prefix: str = "") -> int:
    found = survey(source, added_columns(fake.recipe, prefix), out)
    return label_file(fake, source, out, found, prefix)  # type: ignore[arg-type]


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return parquet.read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("given", [".csv", ".jsonl", ".parquet"])
def test_rows_keep_their_columns_and_get_their_answers(
    given: str, ending: str, tmp_path: Path
) -> None:
    source = csv_of(tmp_path)
    rows = [{"id": str(n), "review": text} for n, text in enumerate(TEXTS)]
    if given == ".jsonl":
        source = Source(str(tmp_path / "in.jsonl"), "review")
        (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    if given == ".parquet":
        source = Source(str(tmp_path / "in.parquet"), "review")
        parquet.write_table(Table.from_pylist(rows), tmp_path / "in.parquet")
    out = tmp_path / f"out{ending}"
    assert label(source, out, Fake()) == 0
    found = read(out)
    assert list(found[0]) == ["id", "review", "label", "probability", "p_very good", "p_bad"]
    assert [(row["id"], row["review"]) for row in found] == [(r["id"], r["review"]) for r in rows]
    assert [row["label"] for row in found] == ["very good", "bad", *["very good"] * 4]
    assert [float(row["p_bad"]) for row in found] == [0.25, 0.75, *[0.25] * 4]
    assert sorted(p.name for p in tmp_path.iterdir() if "out" in p.name) == [out.name]


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_tuples_are_lists_or_json_where_a_cell_is_text(ending: str, tmp_path: Path) -> None:
    out = tmp_path / f"out{ending}"
    label(csv_of(tmp_path, ["soup", ""]), out, Fake(TUPLES))
    first, second = read(out)
    tuples = json.loads(first["tuples"]) if ending == ".csv" else first["tuples"]
    assert tuples == [{"aspect": "soup", "polarity": "x"}]
    assert (first["readable"], second["readable"]) in [(True, False), ("true", "false")]


def test_a_label_that_is_not_sure_enough_is_empty(tmp_path: Path) -> None:
    class Unsure(Fake):
        def answers(self, texts):
            return [Labelled(None, float("nan"), dict.fromkeys(LABELS.labels, float("nan")))] * len(
                texts
            )

    for ending, nothing in ((".csv", ""), (".jsonl", None), (".parquet", None)):
        out = tmp_path / f"out{ending}"
        label(csv_of(tmp_path), out, Unsure())
        assert {row["label"] for row in read(out)} == {nothing}
        assert {row["probability"] for row in read(out)} == {nothing}


@pytest.mark.parametrize("stops_after", [0, 1, 4, 10, 18])
@pytest.mark.parametrize("half", ["", "[", '[11, {"label": "ba', "\0\0\0\n", '{"label": "bad"}\n'])
def test_a_stopped_call_goes_on_where_it_was(
    stops_after: int, half: str, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setitem(labelling.CHUNK, "labels", 4)
    texts = [f"text {n}{' bad' * (n % 3 == 0)}" for n in range(19)]
    source = csv_of(tmp_path, texts)
    label(source, tmp_path / "calm.csv", calm := Fake())
    assert list(chain(*calm.asked)) == texts
    out, kept = tmp_path / "out.csv", tmp_path / "out.csv.answers"
    with pytest.raises(KeyboardInterrupt, match="all answers so far are kept in "):
        label(source, out, Fake(stops_after=stops_after))
    assert not out.exists()
    with kept.open("a", encoding="utf-8") as file:  # killed while writing
        file.write(half)
    again = Fake()
    assert label(source, out, again) == stops_after
    n_whole, n_begun = divmod(stops_after, 4)
    first = texts[4 * n_whole : 4 * n_whole + 4]
    assert list(chain(*again.asked)) == first[: len(first) - n_begun] + texts[4 * n_whole + 4 :]
    assert out.read_bytes() == (tmp_path / "calm.csv").read_bytes()
    assert not kept.exists()


def test_answers_of_other_settings_are_not_continued(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(labelling.CHUNK, "labels", 4)
    source, out = csv_of(tmp_path), tmp_path / "out.csv"
    with pytest.raises(KeyboardInterrupt):
        label(source, out, Fake(stops_after=1, checkpoint="a", shots=4))
    before = (tmp_path / "out.csv.answers").read_bytes()
    for fake, prefix, name in [
        (Fake(checkpoint="b", shots=4), "", "another checkpoint"),
        (Fake(checkpoint="a", shots=0), "", "another shots"),
        (Fake(checkpoint="a", shots=4), "my_", "another --prefix"),
    ]:
        with pytest.raises(
            InputError, match=f"began it with {name}; .*remove that file to start again"
        ):
            label(source, out, fake, prefix)
        assert fake.asked == []
    csv_of(tmp_path, [*TEXTS, "more"])
    with pytest.raises(InputError, match="began it with another input"):
        label(source, out, Fake(checkpoint="a", shots=4))
    assert (tmp_path / "out.csv.answers").read_bytes() == before
    (tmp_path / "out.csv.answers").write_text("what is this\n", encoding="utf-8")
    with pytest.raises(InputError, match="began it with settings that cannot be read"):
        label(source, out, Fake())


def test_rows_are_taken_a_chunk_at_a_time(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(labelling.CHUNK, "labels", 4)
    taken: list[int] = []

    class Counting(Source):
        def text(self, row) -> str:
            taken.append(1)
            return super().text(row)

    class Watching(Fake):
        def answers(self, texts):
            assert len(taken) == 20 + 4 * (1 + len(self.asked))  # the survey saw all of them
            return super().answers(texts)

    source = Counting(csv_of(tmp_path, ["x"] * 20).place, "review")
    label(source, tmp_path / "out.csv", fake := Watching())
    assert list(map(len, fake.asked)) == [4] * 5


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.csv", "", "got an empty file, expected a header and rows"),
        ("in.csv", "id,review\n", "got no rows, expected texts"),
        ("in.jsonl", "", "got no rows, expected texts"),
        ("in.csv", "id,text\n1,x\n", "no column 'review'; known: id, text; give the column"),
        ("in.csv", "id,review\n1,x\n2,y,z\n", "in.csv:3: got 3 fields, expected 2"),
        ("in.csv", "review,label\nx,y\n", "already has a column 'label', .*--prefix"),
        (
            "in.jsonl",
            '{"review": "x"}\n{"review": ["x"]}',
            "in.jsonl:2: column 'review': got a list",
        ),
        ("in.jsonl", '{"review": "x"}\n{"id": 1}', "in.jsonl:2: no column 'review'; known: id"),
        ("in.xlsx", "x", "got the ending '.xlsx', expected one of"),
    ],
)
def test_a_mistake_in_the_file_is_found_before_anything_is_answered(
    name: str, content: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    fake = Fake()
    with pytest.raises(InputError, match=message) as caught:
        label(Source(str(tmp_path / name), "review"), tmp_path / "out.csv", fake)
    assert "\n" not in str(caught.value)
    assert fake.asked == []
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_numbers_nothing_and_half_characters_are_texts_too(tmp_path: Path) -> None:
    values = ["7", "null", '"\\ud800 bad"', "2.0", "true"]
    lines = "".join(f'{{"text": {value}}}\n' for value in values)
    (tmp_path / "in.jsonl").write_text(lines, encoding="utf-8")
    label(Source(str(tmp_path / "in.jsonl")), tmp_path / "out.jsonl", fake := Fake())
    assert fake.asked == [["7", "", "\ud800 bad", "2", "true"]]
    assert [row["text"] for row in read(tmp_path / "out.jsonl")] == [
        7,
        None,
        "\ud800 bad",
        2.0,
        True,
    ]


def test_columns_that_only_some_rows_have_are_kept(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\n{"text": "b", "n": [1]}\n', encoding="utf-8")
    label(Source(str(tmp_path / "in.jsonl")), tmp_path / "out.csv", Fake())
    assert [(row["text"], row["n"]) for row in read(tmp_path / "out.csv")] == [
        ("a", ""),
        ("b", "[1]"),
    ]


def test_dates_and_decimals_stay_as_they_are_in_csv(tmp_path: Path) -> None:
    row = {"text": "a", "day": date(2026, 1, 2), "price": Decimal("1.50")}
    parquet.write_table(Table.from_pylist([row]), tmp_path / "in.parquet")
    label(Source(str(tmp_path / "in.parquet")), tmp_path / "out.csv", Fake())
    (found,) = read(tmp_path / "out.csv")
    assert (found["day"], found["price"]) == ("2026-01-02", "1.50")


@pytest.mark.parametrize("n_between", [0, 1_100])  # in one group of rows, and in two
@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("1", '"b"', "in.jsonl:{n}: column 'x': Parquet cannot hold 'b' .*; write .jsonl"),
        ("true", "1.5", "in.jsonl:{n}: column 'x': Parquet cannot hold '1.5'"),
        ("[1]", '["a"]', "in.jsonl:{n}: column 'x': Parquet cannot hold"),
        ('{"a": 1}', '{"a": "b"}', "in.jsonl:{n}: column 'x': Parquet cannot hold"),
        ("1", "1" + "0" * 30, "in.jsonl:{n}: column 'x': Parquet cannot hold"),
        ('"a"', '"\\ud800"', "in.jsonl:{n}: column 'x': Parquet cannot hold .*ud800"),
        (str(2**60 + 1), "1.5", "Parquet cannot hold"),
        ("{}", "{}", "in.jsonl: Parquet cannot hold the values of a column"),
    ],
)
def test_what_parquet_cannot_hold_is_found_before_anything_is_answered(
    first: str, second: str, message: str, n_between: int, tmp_path: Path
) -> None:
    between = '{"text": "t"}\n' * n_between
    lines = f'{{"text": "t", "x": {first}}}\n{between}{{"text": "t", "x": {second}}}\n'
    (tmp_path / "in.jsonl").write_text(lines, encoding="utf-8")
    fake = Fake()
    with pytest.raises(InputError, match=message.format(n=n_between + 2)) as caught:
        label(Source(str(tmp_path / "in.jsonl")), tmp_path / "out.parquet", fake)
    assert "\n" not in str(caught.value)
    assert fake.asked == []
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]
    label(Source(str(tmp_path / "in.jsonl")), tmp_path / "out.jsonl", fake)


@pytest.mark.parametrize(
    ("first", "second"), [(1, 1.5), (None, "a"), ({"a": 1}, {"b": "c"}), ([], ["a"])]
)
def test_parquet_keeps_values_whose_type_shows_late(
    first: Any, second: Any, tmp_path: Path
) -> None:
    rows = [{"text": "t", "x": first}, *[{"text": "t"}] * 1_100, {"text": "t", "x": second}]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "in.jsonl").write_text(lines, encoding="utf-8")
    label(Source(str(tmp_path / "in.jsonl")), tmp_path / "out.parquet", Fake())
    found = read(tmp_path / "out.parquet")
    for row, value in ((found[0], first), (found[-1], second)):
        kept = row["x"]
        assert kept == value or {k: v for k, v in kept.items() if v is not None} == value


def test_later_rows_of_another_type_are_no_loss_where_nothing_is_read_before(
    tmp_path: Path,
) -> None:
    rows = [{"x": 1}] * 1_000 + [{"x": 1.5}]
    with pytest.raises(InputError, match="--out: later rows have values of other types"):
        write_table(tmp_path / "out.parquet", rows, ["x", "label"], {"label": "a"})
    assert list(tmp_path.iterdir()) == []


# The command, with a model


def command(checkpoint: Path, *arguments: object) -> int:
    return main(["predict", str(checkpoint), *map(str, arguments)])


def test_the_command_labels_a_file_and_says_what_it_uses(checkpoint, tmp_path, capsys) -> None:
    source = csv_of(tmp_path, ["fine", "not fine"])
    arguments = (source.place, "--text", "review", "--task", "mini_sst2")
    assert command(checkpoint, *arguments, "--out", tmp_path / "out.jsonl") == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "task sentibench_mini_sst2, 4 shots: the task's number" in shown.err
    assert "CSV, semicolon, utf-8, 2 rows" in shown.err
    assert command(checkpoint, *arguments) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    for row, other in zip(rows, read(tmp_path / "out.jsonl"), strict=True):
        assert [str(value) for value in other.values()] == list(row.values())
    assert command(checkpoint, *arguments, "--out", tmp_path / "out.jsonl") == 2
    assert "out.jsonl: exists already" in capsys.readouterr().err


def test_the_command_takes_the_task_from_the_checkpoint(checkpoint, tmp_path, capsys) -> None:
    student = tmp_path / "student"
    student.symlink_to(checkpoint)
    (folder := tmp_path / "copy").mkdir()
    for path in checkpoint.iterdir():
        (folder / path.name).symlink_to(path)
    save_recipes(folder, {"reviews": LABELS.model_copy(update={"trained_shots": (0, 1)})})
    assert command(folder, csv_of(tmp_path, ["fine"]).place, "--text", "review") == 0
    shown = capsys.readouterr()
    assert "task reviews, 0 shots: trained with 0, 1" in shown.err
    assert shown.out.startswith("id,review,label,probability,p_very good,p_bad\n0,fine,")


SHORT = {"until": ["\n"], "max_gen_toks": 24}
KILLED = f"""
import os, signal, sys
from sentibench.__main__ import main
from sentibench.predict import classifier, labelling

columns, left = labelling._columns, [int(sys.argv[1])]

def columns_or_the_end(*given):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return columns(*given)

labelling._columns = columns_or_the_end
labelling.CHUNK.update(labels=25, elements=16)
classifier.ROUND, classifier.generation_settings = 4, lambda: {SHORT!r}
main(sys.argv[2:])
"""


@pytest.mark.parametrize("task", ["mini_sst2", "mini_atsa_rest16"])
def test_a_killed_process_goes_on_and_writes_the_same_bytes(
    task: str, checkpoint, tmp_path, monkeypatch
) -> None:
    words = ["a", "fine", "bad", "day", "with", "warm", "soup", "and", "slow", "rain"]
    texts = [f"{' '.join(words[: 2 + n % 7])} {n}" for n in range(60)]
    place = csv_of(tmp_path, texts).place
    fixed = ("--text", "review", "--task", task, "--batch-tokens", 120, "--shots", 0)
    out, kept = tmp_path / "out.csv", tmp_path / "out.csv.answers"
    arguments = [str(a) for a in ("predict", checkpoint, place, *fixed, "--out", out)]
    n_kept = [0]
    for moment in (8, 34):  # in the first chunk, and later
        program = [sys.executable, "-c", KILLED, str(moment), *arguments]
        assert subprocess.run(program).returncode == -signal.SIGKILL
        assert not out.exists()
        n_kept.append(kept.read_bytes().count(b"\n") - 1)
        with kept.open("ab") as file:
            file.write(kept.read_bytes().splitlines()[-1][:40])  # a line that was cut
    assert n_kept[0] < n_kept[1] < n_kept[2] < len(texts)
    monkeypatch.setattr(labelling, "CHUNK", {"labels": 25, "elements": 16})
    monkeypatch.setattr(classifier, "ROUND", 4)
    monkeypatch.setattr(classifier, "generation_settings", lambda: SHORT)
    assert main(arguments) == 0
    assert command(checkpoint, place, *fixed, "--out", tmp_path / "calm.csv") == 0
    assert out.read_bytes() == (tmp_path / "calm.csv").read_bytes()


@pytest.mark.parametrize(
    ("given", "column"), [("fine\nnot fine\n", "text"), ('{"review": "fine"}\n' * 2, "review")]
)
def test_the_command_reads_standard_input(
    given: str, column: str, checkpoint, tmp_path, capsys, monkeypatch
) -> None:
    def standard_input() -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.encode())))

    arguments = ("-", "--text", column, "--task", "mini_sst2")
    standard_input()
    assert command(checkpoint, *arguments) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert list(rows[0]) == [column, "label", "probability", "p_negative", "p_positive"]
    assert len(rows) == 2
    standard_input()
    assert command(checkpoint, *arguments, "--out", tmp_path / "out.parquet") == 0
    assert read(tmp_path / "out.parquet") == rows


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["in.csv", "--task", "mini_sst2"], "no column 'text'; known: id, review"),
        (["in.csv", "--text", "review"], "which task? the checkpoint has no sentibench.json"),
        (["in.csv", "--task", "mini_sst3"], "unknown name 'mini_sst3'; did you mean"),
        (["no.csv", "--task", "mini_sst2"], "no.csv: no such file"),
        (["in.csv", "--task", "mini_sst2", "--out", "out.xlsx"], "got the ending '.xlsx'"),
        (["in.csv", "--task", "mini_sst2", "--out", "no/out.csv"], "no folder no"),
        (["in.csv", "--task", "mini_sst2", "--threshold", "x"], "argument --threshold"),
        (["-", "--task", "mini_sst2"], "standard input: got no rows"),
        (["in.csv", "--task", "mini_sst2", "--text", "review", "--dtype", "flot32"], "'float32'?"),
    ],
)
def test_the_command_refuses_in_one_line(
    arguments: list[str], message: str, checkpoint, tmp_path, capsys, monkeypatch
) -> None:
    csv_of(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert command(checkpoint, *arguments) == 2
    shown = capsys.readouterr()
    assert message in shown.err.splitlines()[-1]
    assert shown.err.splitlines()[-1].startswith("error: ")
    assert shown.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_two_calls_do_not_write_one_file(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    source = csv_of(tmp_path)
    lock, refused = (
        FileLock(f"{out}.answers.lock"),
        pytest.raises(InputError, match="another process"),
    )
    with lock, refused:
        label(source, out, Fake())
    label(csv_of(tmp_path), out, Fake())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "out.csv"]


def test_a_full_disk_names_the_file_and_keeps_the_answers(tmp_path: Path, monkeypatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    out = tmp_path / "out.csv"
    monkeypatch.setattr(labelling, "write_table", full)
    source = csv_of(tmp_path)
    with pytest.raises(InputError, match=r"out.csv.answers: No space left .* are kept in .*again"):
        label(source, out, Fake())
    monkeypatch.undo()
    again = Fake()
    assert label(source, out, again) == len(TEXTS)
    assert list(chain.from_iterable(again.asked)) == []


def test_a_card_that_is_written_meanwhile_is_no_other_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    before = stamps(tmp_path)
    (tmp_path / "README.md").write_text("of the run")
    assert stamps(tmp_path) == before
    (tmp_path / "model.safetensors").write_text("x")
    assert stamps(tmp_path) != before

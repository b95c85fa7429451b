"""User texts, wherever they lie."""

import json
from pathlib import Path

import pytest
from whole_lists import draw_texts

from distill.config import Texts
from distill.texts.decontamination import Contamination
from distill.texts.sources import read_texts
from sentibench.errors import InputError

WORDS = "one two three four five six seven eight nine ten eleven twelve thirteen"


def source(path: Path, **more) -> Texts:
    return Texts(file=path, name="mine", **more)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"text": "good", "stars": 5}\n\n{"text": "bad\\n", "stars": 1}\n'),
        ("a.csv", 'stars,text\n5,good\n1,"bad\n"\n'),
    ],
)
def test_tables_give_texts_and_labels(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8-sig")
    given = {"label_column": "stars", "labels": {"5": "positive"}}
    found = list(read_texts(source(tmp_path / name, **given)))
    assert [(t.id, t.text, t.label) for t in found] == [
        ("mine/000000", "good", "positive"),
        ("mine/000001", "bad\n", "1"),
    ]


def test_a_text_file_gives_its_lines(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\ntwo", encoding="utf-8")
    assert [t.text for t in read_texts(source(tmp_path / "a.txt"))] == ["one", "", "two"]


def test_a_datasets_folder_gives_its_split(tmp_path: Path) -> None:
    import datasets

    rows = datasets.Dataset.from_list([{"review": "fine"}])
    datasets.DatasetDict({"train": rows}).save_to_disk(str(tmp_path / "d"))
    texts = Texts(folder=tmp_path / "d", column="review")
    assert [t.text for t in read_texts(texts)] == ["fine"]
    with pytest.raises(InputError, match="split: unknown name 'dev'; known: train"):
        list(read_texts(Texts(folder=tmp_path / "d", split="dev")))


MISTAKES = [
    ("a.jsonl", '{"txt": "x"}\n', "a.jsonl:1: no column 'text'; got txt"),
    ("a.jsonl", '{"text": "x"}\n{"text": 3}\n', "jsonl:2: column 'text': expected text; got int"),
    ("a.jsonl", "{\n", "a.jsonl:1: broken JSON"),
    ("a.jsonl", "[1]\n", "a.jsonl:1: got a list, expected an object"),
    ("a.parquet", "x", "cannot be read as Parquet"),
    ("a.doc", "x", "got the ending '.doc', expected one of .csv, .tsv, .json"),
    ("a.csv", "text,stars\nfine, really,5\n", "a.csv:2: got 3 fields, expected 2"),
    ("a.csv", "text,stars\nfine\n", "a.csv:2: got 1 fields, expected 2"),
    (
        "a.csv",
        'text,stars\n"fine,5\nbad,1\n',
        "a.csv:2: the row that begins here cannot be read as CSV",
    ),
]


@pytest.mark.parametrize(("name", "content", "message"), MISTAKES)
def test_a_damaged_source_is_named(name, content, message, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message.replace("[", r"\[")):
        list(read_texts(source(tmp_path / name)))


def test_a_missing_label_column_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,stars\nfine,5\n", encoding="utf-8")
    texts = Texts(file=tmp_path / "a.csv", label_column="star")
    with pytest.raises(InputError, match="no row has the label_column 'star'; got text, stars"):
        list(read_texts(texts))
    stars = Texts(file=tmp_path / "a.csv", label_column="stars", labels={"5": "positive"})
    assert [text.label for text in read_texts(stars)] == ["positive"]
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n{"text": "y", "star": 5}\n')
    texts = Texts(file=tmp_path / "a.jsonl", label_column="star")
    assert [text.label for text in read_texts(texts)] == [None, "5"]


def test_rows_that_are_not_as_their_header_says_can_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,stars\nfine,5\nwell, no,1\nso so,\n", encoding="utf-8")
    given = {"label_column": "stars", "labels": {5: "positive"}}
    with pytest.raises(InputError, match=r"a\.csv:3: got 3 fields"):
        draw_texts([source(tmp_path / "a.csv", **given)], 1, None)
    draw = draw_texts([source(tmp_path / "a.csv", on_bad_rows="drop", **given)], 1, None)
    assert [(text.text, text.label) for text in draw.texts] == [("fine", "positive")]
    assert draw.left_out == {
        ("mine", "other fields than the header"): 1,
        ("mine", "no label"): 1,
    }
    (tmp_path / "b.csv").write_text("text,stars\nfine,5\nso so,\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"b\.csv:3: column 'stars' is empty"):
        list(read_texts(source(tmp_path / "b.csv", **given)))


def test_labels_are_understood_as_yaml_and_tables_write_them(tmp_path: Path) -> None:
    rows = [{"text": "a", "y": 5.0}, {"text": "b", "y": True}, {"text": "c", "y": "FALSE"}]
    (tmp_path / "a.JSONL").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    given = {"label_column": "y", "labels": {5: "five", True: "yes", "false": "no"}}
    assert [t.label for t in read_texts(source(tmp_path / "a.JSONL", **given))] == [
        *("five", "yes", "no")
    ]


def test_class_numbers_of_datasets_are_their_names(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features(
        text=datasets.Value("string"), y=datasets.ClassLabel(names=["bad", "good"])
    )
    rows = [{"text": "a", "y": 1}, {"text": "b", "y": -1}]
    datasets.Dataset.from_list(rows, features=features).save_to_disk(str(tmp_path / "d"))
    texts = Texts(folder=tmp_path / "d", label_column="y")
    assert [text.label for text in read_texts(texts)] == ["good", None]


def test_a_dataset_of_the_hub_is_a_source(monkeypatch) -> None:
    import datasets

    asked = []

    def load(*given, **more):
        asked.append((given, more))
        return datasets.Dataset.from_list([{"review": "fine"}])

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    texts = Texts(hub="owner/name:small", column="review", split="dev", revision="v2")
    assert [(t.id, t.text) for t in read_texts(texts)] == [("name/000000", "fine")]
    expected = {"split": "dev", "revision": "v2", "streaming": False}  # offline: from the cache
    assert asked == [(("owner/name", "small"), expected)]


def test_a_pattern_names_several_files(tmp_path: Path, monkeypatch) -> None:
    shards = tmp_path / "shards"
    (shards / "deep").mkdir(parents=True)
    for n, name in enumerate(("b.jsonl", "a.jsonl", "deep/c.jsonl")):
        (shards / name).write_text(json.dumps({"text": f"text {n}"}) + "\n")
    (shards / "other.txt").write_text("not this one\n")
    monkeypatch.chdir(tmp_path)
    for pattern, expected in (
        ("shards/*.jsonl", ["text 1", "text 0"]),
        ("shards/**/*.jsonl", ["text 1", "text 0", "text 2"]),
        (str(shards / "[a]*.jsonl"), ["text 1"]),
    ):
        source = Texts(file=Path(pattern))
        assert source.source == "shards"
        texts = list(read_texts(source))
        assert [text.text for text in texts] == expected
        assert len({text.id for text in texts}) == len(texts)
    with pytest.raises(InputError, match=r"no file matches shards/\*\.csv in .*expected at"):
        list(read_texts(Texts(file=Path("shards/*.csv"))))
    (shards / "x[1].jsonl").write_text('{"text": "brackets"}\n')  # a name, not a pattern
    named = Texts(file=Path("shards/x[1].jsonl"))
    assert (named.source, [t.text for t in read_texts(named)]) == ("x[1]", ["brackets"])
    assert Texts(file=Path("my.reviews.csv.gz")).source == "my.reviews"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.txt: no such file or folder; expected a table"):
        list(read_texts(source(tmp_path / "nothing.txt")))


def test_what_must_not_be_learnt_is_left_out_and_counted(tmp_path: Path) -> None:
    lines = [f"{WORDS} again", "twice", "twice", "   ", "clean"]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": t}) + "\n" for t in lines), encoding="utf-8")
    tests = Contamination.of_texts({"exam": [f"so: {WORDS}!"]})
    draw = draw_texts([source(path)], 1, tests)
    assert sorted(t.text for t in draw.texts) == ["clean", "twice"]
    assert draw.left_out == {
        ("mine", "contaminated"): 1,
        ("mine", "duplicate"): 1,
        ("mine", "empty"): 1,
    }


def test_a_source_without_a_fit_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(" \n\t\n", encoding="utf-8")
    with pytest.raises(InputError, match="no text is left; left out: 2 empty"):
        draw_texts([source(tmp_path / "a.txt")], 1, None)
    (tmp_path / "b.txt").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="no text is left; the source is empty"):
        draw_texts([source(tmp_path / "b.txt")], 1, None)


def test_a_source_that_is_mostly_test_items_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"{WORDS}\n{WORDS} again\nclean", encoding="utf-8")
    tests = Contamination.of_texts({"exam": [WORDS]})
    with pytest.raises(
        InputError, match=r"texts\.mine: 67% of the texts are items of test sets \(exam\)"
    ):
        draw_texts([source(tmp_path / "a.txt")], 1, tests)
    assert len(draw_texts([source(tmp_path / "a.txt")], 1, None).texts) == 3


def test_the_draw_of_a_source_does_not_depend_on_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(f"day {n}" for n in range(50)), encoding="utf-8")
    mini = Texts(dataset="sst2", mini=True, count=5)
    alone = draw_texts([mini], 7, None).texts
    both = draw_texts([source(tmp_path / "a.txt", count=9), mini], 7, None).texts
    assert both[9:] == alone
    assert draw_texts([mini], 8, None).texts != alone
    assert {t.label for t in alone} <= {"positive", "negative"}


def test_half_a_character_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "cut.jsonl"
    path.write_text('{"text": "so happy \\ud83d"}\n{"text": "so happy \\ud83d\\ude00"}\n')
    draw = draw_texts([Texts(file=path)], 1, None)
    assert [text.text for text in draw.texts] == ["so happy 😀"]
    assert draw.left_out == {("cut", "not encodable"): 1}

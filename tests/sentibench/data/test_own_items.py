"""Rows of people's tables: what is read of them, and what is refused with its row."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from sentibench.data.cards import Card, Label, SplitFile
from sentibench.data.own_items import examples_of
from sentibench.data.records import SentimentTuple
from sentibench.data.tables import Row
from sentibench.errors import InputError

FILES = MappingProxyType({"test": SplitFile(1, 1, "", "t.csv")})
FACTS: dict[str, Any] = {
    "name": "mine",
    "title": "Mine",
    "category": "own",
    "kind": "any",
    "format": "table",
    "folder": "",
    "metric": "macro_f1",
    "splits": FILES,
    "pins": {},
    "path": Path("mine.yaml"),
}
PARTS = ("aspect", "polarity")


def label_card(*names: str, columns: Mapping[str, str] | None = None) -> Card:
    classes = tuple(Label(name, name) for name in names)
    return Card(**FACTS, classes=classes, columns=columns or {"text": "text", "label": "label"})


def aspect_card(columns: Mapping[str, str], *polarities: str) -> Card:
    columns = {"text": "text", **columns}
    return Card(**FACTS, elements=PARTS, polarities=polarities or ("good", "bad"), columns=columns)


def rows(*values: Mapping[str, Any]) -> list[Row]:
    return [Row(f"t.csv:{n}", value) for n, value in enumerate(values, start=2)]


@pytest.mark.parametrize(
    ("labels", "written", "read"),
    [
        (("Bug Report", "praise"), "bug report ", "Bug Report"),
        (("0", "1"), 0, "0"),
        (("0", "1"), False, None),
        (("5", "4"), "5.0", "5"),
        (("5", "4"), 5.0, "5"),
        (("-1", "1"), -1, "-1"),
        (("true", "false"), True, "true"),
        (("true", "false"), "FALSE", "false"),
        (("True", "False"), "true", "True"),
        (("Straße", "Weg"), "STRASSE", "Straße"),
        (("a, b", "c=d"), "c=d", "c=d"),
    ],
)
def test_labels_are_read_as_people_write_them(labels, written, read) -> None:
    given = rows({"text": "Any.", "label": written})
    if read is None:
        with pytest.raises(InputError, match="got the label 'false', which the task 'mine'"):
            examples_of(label_card(*labels), given)
    else:
        (example,) = examples_of(label_card(*labels), given)
        assert (example.label, example.answer, example.index) == (read, read, 0)


BAD_ROWS = {
    "unknown label": ({"text": "Any.", "label": "baad"}, "got the label 'baad', which .* did you"),
    "empty label": ({"text": "Any.", "label": " "}, "got the label '', which .* known: good, bad;"),
    "null label": ({"text": "Any.", "label": None}, "got the label ''"),
    "list label": ({"text": "Any.", "label": ["good"]}, r"got a list in the column 'label'"),
    "no column": ({"text": "Any.", "lable": "bad"}, r"no column 'label' \(label\); did you mean"),
    "no text": ({"text": " ", "label": "bad"}, "got ' ' in the column 'text', expected a text"),
    "null text": ({"text": None, "label": "bad"}, "got nothing in the column 'text'"),
    "half": ({"text": "a\ud800", "label": "bad"}, "got half a character .* in 'a.*d800', expected"),
    "half a label": ({"text": "a", "label": "\ud800"}, "got half a character"),
    "number text": ({"text": 5, "label": "bad"}, "got 5 in the column 'text', expected a text"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_bad_row_is_one_line_with_its_place(case: str) -> None:
    row, expected = BAD_ROWS[case]
    with pytest.raises(InputError, match=f"^t.csv:3: {expected}") as caught:
        examples_of(label_card("good", "bad"), rows({"text": "Fine.", "label": "good"}, row))
    assert len(str(caught.value).splitlines()) == 1


def test_a_target_is_read_where_the_card_has_one() -> None:
    card = label_card("pro", "con", columns={"text": "t", "label": "l", "target": "who"})
    given = rows({"t": "Yes!", "l": "pro", "who": "Ann"}, {"t": "No!", "l": "con", "who": None})
    assert [example.target for example in examples_of(card, given)] == ["Ann", None]


def test_opinions_in_rows_are_grouped_by_text_and_each_is_there_once() -> None:
    card = aspect_card({"aspect": "what", "polarity": "how"})
    read = examples_of(
        card,
        rows(
            {"text": "Tea good, cake bad.", "what": "Tea", "how": "GOOD"},
            {"text": "Nothing.", "what": "", "how": None},
            {"text": "Tea good, cake bad.", "what": "cake", "how": "bad"},
            {"text": "Tea good, cake bad.", "what": "Tea", "how": "good"},
            {"text": "Great!", "what": "", "how": "good"},
        ),
    )
    assert [example.answer for example in read] == [
        "[('Tea', 'good'), ('cake', 'bad')]",
        "[]",
        "[('NULL', 'good')]",
    ]
    assert read[2].opinions == (SentimentTuple("good", aspect="NULL"),)
    assert [example.index for example in read] == [0, 1, 2]


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ([{"aspect": "tea", "polarity": "good"}], "[('tea', 'good')]"),
        ([["tea", "Good"], ["cake", "bad"]], "[('tea', 'good'), ('cake', 'bad')]"),
        ('[{"aspect": "tea", "polarity": "bad"}]', "[('tea', 'bad')]"),
        ('[["tea", "bad"]]', "[('tea', 'bad')]"),
        ([{"aspect": None, "polarity": "bad"}], "[('NULL', 'bad')]"),
        ([{"polarity": "bad"}], "[('NULL', 'bad')]"),
        ([], "[]"),
        ("", "[]"),
        (None, "[]"),
    ],
)
def test_opinions_in_a_list_are_read_as_objects_lists_or_json(written, answer: str) -> None:
    card = aspect_card({"tuples": "opinions"})
    given = rows(*[{"text": "Tea.", "opinions": written}] * 2)
    assert [example.answer for example in examples_of(card, given)] == [answer, answer]


def test_a_polarity_may_be_zero() -> None:
    card = aspect_card({"tuples": "opinions"}, "-1", "0", "1")
    given = rows({"text": "Tea.", "opinions": [{"aspect": "Tea", "polarity": 0}]})
    assert examples_of(card, given)[0].answer == "[('Tea', '0')]"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("no list", "got 'no list' in the column 'opinions', expected a list of objects"),
        ("__import__('os')", "expected a list of objects"),
        ("[" * 100_000, "expected a list of objects"),
        ({"aspect": "tea"}, "expected a list of objects"),
        ([{"aspct": "tea", "polarity": "bad"}], "got \"{'aspct': 'tea'"),
        ([["tea"]], "expected a list of objects"),
        ('[["te\\ud800a", "bad"]]', "got half a character"),
        ([{"aspect": "tea"}], "got the polarity '', which the task 'mine' does not have"),
        ([{"aspect": "tea", "polarity": "gut"}], "got the polarity 'gut', .* known: good, bad"),
    ],
)
def test_bad_opinions_are_one_line_with_their_row(written, expected: str) -> None:
    card = aspect_card({"tuples": "opinions"})
    with pytest.raises(InputError, match=f"^t.csv:2: .*{expected}") as caught:
        examples_of(card, rows({"text": "Tea.", "opinions": written}))
    assert len(str(caught.value)) < 300

"""The texts that ship in docs/own_data: what the documentation says of them."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from whole_lists import exact_duplicates

from distill.texts.near_duplicates import near_duplicates
from sentibench.data.tables import read_table

FOLDER = Path(__file__).parents[2] / "docs" / "own_data"
REVIEWS = {
    "reviews.csv": {"complaint": 112, "praise": 98, "question": 70},
    "held_out.csv": {"complaint": 48, "praise": 42, "question": 30},
}
OPINIONS = {"aspects.jsonl": 110, "aspects_held_out.jsonl": 50}


def rows_of(name: str) -> list[dict[str, Any]]:
    table = read_table(FOLDER / name)
    assert not table.dropped
    return [dict(row.values) for row in table.rows]


ALL_REVIEWS = [row for name in REVIEWS for row in rows_of(name)]
ALL_ITEMS = [row for name in OPINIONS for row in rows_of(name)]


@pytest.mark.parametrize("name", REVIEWS)
def test_reviews_have_these_labels(name: str) -> None:
    rows = rows_of(name)
    assert Counter(row["kind"] for row in rows) == REVIEWS[name]
    assert all(list(row) == ["id", "review", "kind"] for row in rows)


@pytest.mark.parametrize("name", REVIEWS)
def test_reviews_have_what_makes_a_csv_hard_to_read(name: str) -> None:
    content = (FOLDER / name).read_bytes()
    assert b"\r" not in content
    texts = [row["review"] for row in rows_of(name)]
    for part in ('"', ",", "\n"):
        assert sum(part in text for text in texts) >= 3, part
    assert any(ord(character) > 0xFFFF for text in texts for character in text)  # emoji


def test_the_examples_are_two_reviews_of_each_label_that_are_not_held_out() -> None:
    examples = rows_of("examples.csv")
    assert Counter(row["kind"] for row in examples) == dict.fromkeys(REVIEWS["reviews.csv"], 2)
    assert all(row in rows_of("reviews.csv") for row in examples)


def test_reviews_have_5_to_60_words_and_are_numbered() -> None:
    lengths = [len(row["review"].split()) for row in ALL_REVIEWS]
    assert min(lengths) >= 5
    assert 50 < max(lengths) <= 60
    assert [row["id"] for row in ALL_REVIEWS] == [str(n) for n in range(1, 401)]


@pytest.mark.parametrize(("rows", "text"), [(ALL_REVIEWS, "review"), (ALL_ITEMS, "text")])
def test_no_text_is_nearly_another_one(rows: list[dict[str, Any]], text: str) -> None:
    texts = {f"{int(row['id']):03}": row[text] for row in rows}
    assert len(texts) == len(rows)
    assert exact_duplicates({id_: text.casefold() for id_, text in texts.items()}) == {}
    assert near_duplicates(texts, 0.5) == {}


@pytest.mark.parametrize("name", OPINIONS)
def test_opinions_are_of_words_in_the_text(name: str) -> None:
    rows = rows_of(name)
    assert len(rows) == OPINIONS[name]
    for row in rows:
        assert list(row) == ["id", "text", "opinions"]
        aspects = [opinion["aspect"] for opinion in row["opinions"]]
        assert len(aspects) == len(set(aspects)) <= 3, row
        for aspect in aspects:
            assert re.search(rf"\b{re.escape(aspect)}\b", row["text"]), row
    assert 3 <= sum(not row["opinions"] for row in rows) <= 10
    polarities = Counter(o["polarity"] for row in rows for o in row["opinions"])
    assert set(polarities) == {"positive", "negative", "neutral"}
    assert min(polarities.values()) >= 7


def test_items_of_both_files_are_numbered_through() -> None:
    assert [row["id"] for row in ALL_ITEMS] == list(range(1, 161))


def test_the_licence_names_every_file_of_texts() -> None:
    words = (FOLDER / "LICENSE").read_text(encoding="utf-8")
    assert words.startswith("CC0 1.0 Universal")
    assert [name for name in (*REVIEWS, *OPINIONS, "words.ini") if name not in words] == []

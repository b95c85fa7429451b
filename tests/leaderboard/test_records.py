"""The records of the board: as text, rounded, and as read from an older board."""

import json
import math
from dataclasses import replace

import pytest
from small_entries import MINI, run, runs

from leaderboard.board import Board, Cell, Rank, rounded, to_json
from leaderboard.build import build_board
from leaderboard.previous import positions, read_previous
from leaderboard.runs.entries import collect_entries
from leaderboard.runs.models import Declared


@pytest.fixture(scope="module")
def board() -> Board:
    given = [*runs("good", 0.9), *runs("poor", 0.1), run("short")]
    return build_board(collect_entries(given, Declared(), MINI), [], MINI, 100)


def test_leaderboard_json_is_sorted_readable_and_never_holds_what_is_no_json(board: Board) -> None:
    text = to_json(replace(board, title="Café"))
    content = json.loads(text)
    assert list(content) == sorted(content)
    assert list(content["rows"][0]) == sorted(content["rows"][0])
    assert text.startswith('{\n "categories": [\n  {\n')
    assert '\n "title": "Café",\n' in text
    assert text.endswith("\n}\n")
    wrong = replace(board.rows[0], scores={"official": {"overall": Cell(math.nan)}})
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(replace(board, rows=(wrong,)))


def test_floats_have_nine_digits_wherever_they_stand() -> None:
    third = 1 / 3
    assert rounded(third) == 0.333333333
    assert rounded(123456789.123) == 123456789.0
    assert rounded({"a": [third, (third, 7)], "b": "0.3333333333"}) == {
        "a": (0.333333333, (0.333333333, 7)),
        "b": "0.3333333333",
    }
    assert rounded(Cell(third, None, third, 3)) == Cell(0.333333333, None, 0.333333333, 3)
    assert rounded(Cell) is Cell


def test_positions_are_those_of_the_rows_that_have_a_place(board: Board) -> None:
    first, second = (Rank(n, n, n, 1, None) for n in (1, 2))
    places = {"b": {"official": second}, "a": {"official": first}, "c": None}
    rows = {name: replace(board.rows[0], rank=rank) for name, rank in places.items()}
    assert positions(rows) == {"a": 1, "b": 2}


def test_an_older_board_is_read_and_anything_else_is_none(board: Board, tmp_path) -> None:
    path = tmp_path / "leaderboard.json"
    assert read_previous(path) is None
    path.write_text(to_json(board), encoding="utf-8")
    previous = read_previous(path)
    assert previous is not None
    assert previous.source == "mini"
    good, poor = (row.key for row in board.rows[:2])
    for rows in (previous.rows, board.rows):
        assert positions({row.key: row for row in rows}) == {good: 1, poor: 2}
    for damage in ("{", "[]", '{"schema": 2, "source": "mini", "rows": []}', '{"schema": 1}'):
        path.write_text(damage, encoding="utf-8")
        assert read_previous(path) is None


def test_a_row_is_shown_where_it_belongs_and_gives_its_scores(board: Board) -> None:
    scores = {"official": {"overall": Cell(0.5, 0.4, 0.6, 9), "sst2": None}}
    measured = replace(board.rows[0], ranked=False, scores=scores)
    assert [measured.group, replace(measured, ranked=True).group] == ["unranked", "ranked"]
    assert replace(measured, kind="reported", ranked=True).group == "reported"
    assert measured.cell("official", "overall") == Cell(0.5, 0.4, 0.6, 9)
    assert measured.value("official", "overall") == 0.5
    assert measured.cell("official", "sst2") is measured.value("official", "sst2") is None
    assert measured.value("official", "imdb") is None


def test_columns_have_titles_in_the_order_of_the_page(board: Board) -> None:
    titles = board.titles
    groups = [group.name for group in board.categories]
    assert list(titles) == ["overall", *groups, *(task.name for task in board.tasks)]
    assert titles["overall"] == "Overall"
    assert titles[groups[0]] == board.categories[0].title
    assert titles["sentibench_mini_sst2"] == board.tasks[2].title == "SST2"

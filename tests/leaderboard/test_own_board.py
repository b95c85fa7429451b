"""Own tasks on the leaderboard: a group of their own, and a page of it."""

import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_entries import MINI
from test_page_in_browser import set_width, start_browser

from leaderboard.__main__ import main
from leaderboard.board import Board
from leaderboard.build import build_board
from leaderboard.page.view import columns_of
from leaderboard.runs.entries import collect_entries
from leaderboard.runs.models import Declared
from leaderboard.runs.results import load_results
from sentibench.data.cards import forget_own_tasks, tasks_of_source
from sentibench.new_task import NewTask, write_card

WRITER = Path(__file__).parents[2] / "benchmarks" / "leaderboard_build.py"
WORDS = {"good": "praise", "bad": "complaint", "where": "question"}
N = 30
NOBODY = "base 'nobody' has no row; measure it too, or take it out of models.yaml or run.json"


def table(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def opinions_of(word: str, n: int) -> list[dict[str, Any]]:
    opinion = [{"aspect": "soup", "polarity": "positive"}]
    return [{"text": f"The soup is {word}, says {i}.", "opinions": opinion} for i in range(n)]


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A label task without demonstrations, tuples with four, and a task without results."""
    folder = tmp_path / "cards"
    folder.mkdir()
    monkeypatch.setenv("SENTIBENCH_TASKS", str(folder))
    monkeypatch.chdir(tmp_path)
    kinds = list(WORDS.items())
    reviews = [
        {"text": f"It is {kinds[i % 3][0]}, says {i}.", "label": kinds[i % 3][1]} for i in range(N)
    ]
    labelled, columns = {"test": table(tmp_path / "reviews.jsonl", reviews)}, {"text": "text"}
    opinions = {
        "test": table(tmp_path / "test.jsonl", opinions_of("warm", N)),
        "train": table(tmp_path / "train.jsonl", opinions_of("hot", 6)),
    }
    for asked in (
        NewTask("reviews", labelled, columns | {"label": "label"}),
        NewTask("aspects", opinions, columns | {"tuples": "opinions"},
                elements=("aspect", "polarity")),
        NewTask("later", labelled, columns | {"label": "label"}),
    ):  # fmt: skip
        list(write_card(asked, folder))
    yield folder
    forget_own_tasks()


def write(folder: Path, model: str, skill: float, **options: Any) -> Path:
    return runpy.run_path(str(WRITER))["write_results"](folder, model, skill, **options)


def own(folder: Path, model: str, skill: float, **options: Any) -> Path:
    options = {"source": "own", "cards": ("reviews", "aspects")} | options
    return write(folder, model, skill, **options)


def board_of(folder: Path) -> Board:
    """The board of the own tasks."""
    runs, problems = load_results(folder)
    measured = {run.task.name for run in runs}
    tasks = [task for task in tasks_of_source("own") if task.name in measured]
    return build_board(collect_entries(runs, Declared(), tasks), problems, tasks, 200)


def built(*arguments: str | Path) -> int:
    return main(["build", *map(str, arguments), "--replicates", "200"])


def test_own_tasks_are_ranked_among_themselves_each_with_the_shots_of_its_card(
    cards: Path, tmp_path: Path
) -> None:
    for number, skill in enumerate((0.3, 1.0, 0.6)):
        own(tmp_path / "results", f"m{skill}", skill, seed=number)
    board = board_of(tmp_path / "results")
    assert [(row.name, row.ranked, row.reasons) for row in board.rows] == [
        ("m1.0", True, ()), ("m0.6", True, ()), ("m0.3", True, ()),
    ]  # fmt: skip
    assert [task.name for task in board.tasks] == ["aspects", "reviews"]  # not the one to come
    assert [(group.name, group.tasks) for group in board.categories] == [
        ("own", ("aspects", "reviews"))
    ]
    assert list(board.titles) == ["overall", "aspects", "reviews"]
    middle = board.rows[1].scores["official"]
    assert list(middle) == ["overall", "aspects", "reviews"]
    overall, one, other = [cell for cell in middle.values() if cell is not None]
    assert overall.value == pytest.approx((one.value + other.value) / 2)
    assert (overall.n, one.n) == (2 * N, N)
    assert board.rows[0].protocol["shots"] == "0, 4"
    pairs = [(pair.a, pair.b) for pair in board.comparisons if pair.metric == "official"]
    assert len(pairs) == 3
    tests = {task: test.test for task, test in board.comparisons[0].tests.items()}
    assert tests == {"aspects": "sign-flip", "reviews": "McNemar"}
    assert board.rows[0].command.startswith("sentibench run --model hf ")
    assert "--tasks aspects,reviews --batch_size" in board.rows[0].command


def test_a_single_task_has_one_column_of_scores(cards: Path, tmp_path: Path) -> None:
    own(tmp_path / "results", "m", 0.6, cards=("reviews",))
    board = board_of(tmp_path / "results")
    shown = [(c.name, c.title) for c in columns_of(board) if c.is_score]
    assert shown == [("overall", "reviews")]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"cards": ("reviews",)}, "1/2 tasks; missing: aspects"),
        ({"shots": 2, "cards": ("aspects",)}, "other protocol: shots is 2, not 4"),
        ({"limit": 5}, "limited run: not all items"),
        ({"demo_seed": 7}, "seed 7, not one of the paper's 42, 52 and 62"),
    ],
)
def test_an_own_row_without_all_of_it_has_a_reason(
    cards: Path, tmp_path: Path, options: dict[str, Any], reason: str
) -> None:
    own(tmp_path / "results", "whole", 0.5)
    own(tmp_path / "results", "part", 0.9, **options)
    whole, part = board_of(tmp_path / "results").rows
    assert (whole.name, whole.ranked, part.ranked) == ("whole", True, False)
    assert reason in part.reasons


def test_other_items_than_those_of_the_card_have_no_rank(cards: Path, tmp_path: Path) -> None:
    own(tmp_path / "results", "m", 0.5)
    card = cards / "reviews.yaml"
    text = card.read_text(encoding="utf-8")
    assert board_of(tmp_path / "results").rows[0].ranked
    pins = "pins:\n  own:\n    items: other\n    prompts: {}\n"
    card.write_text(re.sub(r"pins:.*", pins, text, flags=re.S), "utf-8")
    forget_own_tasks()
    (row,) = board_of(tmp_path / "results").rows
    assert "other data: reviews" in row.reasons


def test_a_page_of_own_tasks_lies_beside_the_benchmark_s_which_stays_as_it_was(
    cards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(2):
        write(tmp_path / "mini", f"m{number}", 0.4 * number + 0.3, source="mini", seed=number)
        write(tmp_path / "both", f"m{number}", 0.4 * number + 0.3, source="mini", seed=number)
        own(tmp_path / "both" / "own", f"m{number}", 0.9 - 0.4 * number, seed=number)
    before, after = tmp_path / "before", tmp_path / "after"
    assert built(tmp_path / "mini", "--out", before) == 0
    capsys.readouterr()
    assert built(tmp_path / "both", "--out", after) == 0
    assert re.findall(r"(\d rows .*): .*?(after.*)", capsys.readouterr().err) == [
        ("2 rows (2 ranked), 0 files left out", "after/index.html"),
        ("2 rows (2 ranked), 0 files left out", "after/your-tasks/index.html"),
    ]
    names = {file.name for file in before.iterdir()}
    assert {file.name for file in (after / "your-tasks").iterdir()} == names
    assert {file.name for file in after.iterdir()} == {*names, "your-tasks"}
    link = '<a href="your-tasks/index.html">Your tasks</a>\n'
    for name in names:
        text = (after / name).read_text(encoding="utf-8")
        assert (text.count(link) == 1) == (name == "index.html")
        assert text.replace(link, "") == (before / name).read_text(encoding="utf-8")
    mine = json.loads((after / "your-tasks" / "leaderboard.json").read_text(encoding="utf-8"))
    assert (mine["source"], [row["name"] for row in mine["rows"]]) == ("own", ["m0", "m1"])
    page = (after / "your-tasks" / "index.html").read_text(encoding="utf-8")
    assert '<a href="../index.html">SentiBench</a>' in page
    assert "--tasks aspects,reviews --batch_size 4" in page


def test_own_results_alone_are_the_page(
    cards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own(tmp_path / "results", "m", 0.5)
    assert built(tmp_path / "results", "--out", tmp_path / "site") == 0
    assert not (tmp_path / "site" / "your-tasks").exists()
    page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "<h1>Your tasks, never comparable with SentiBench</h1>" in page
    head = page[page.index("<header") : page.index("</header>")]
    assert "arxiv.org" not in page
    assert "index.html" not in head
    assert "2 datasets, scores from 0 to 100" in head
    for foreign in ("Seen", "Basic", "Cite", "mean of its own four"):
        assert f">{foreign}" not in page[page.index("<body") : page.index("<script type=")]
    assert main(["check", str(tmp_path / "results"), "--replicates", "200"]) == 0
    assert "1 row, no findings" in capsys.readouterr().out


def test_the_source_chooses_one_page(
    cards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, site = tmp_path / "results", tmp_path / "site"
    write(results, "m", 0.5, source="mini")
    own(results / "own", "m", 0.5)
    for source, title in (("own", "Your tasks, "), ("mini", "SentiBench mini: ")):
        assert built(results, "--out", site, "--source", source) == 0
        assert f"<h1>{title}" in (site / "index.html").read_text(encoding="utf-8")
        assert f"only {source} results are shown" in capsys.readouterr().err
        assert not (site / "your-tasks").exists()
    assert built(results, "--out", site) == 0
    assert (site / "your-tasks").exists()
    assert "are shown" not in capsys.readouterr().err
    assert built(results, "--out", site, "--source", "mini") == 0
    assert "your-tasks: the page of an older build; own tasks are not" in capsys.readouterr().err
    assert built(results, "--out", site, "--source", "real") == 2
    assert "--source real: no such results" in capsys.readouterr().err


def test_a_folder_of_others_is_never_written_into(
    cards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, site = tmp_path / "results", tmp_path / "site"
    write(results, "m", 0.5, source="mini")
    (site / "your-tasks").mkdir(parents=True)
    (site / "your-tasks" / "notes.txt").write_text("mine", encoding="utf-8")
    own(results / "own", "m", 0.5)
    # the folder alone makes the site one of others
    assert built(results, "--out", site) == 2
    assert "got a folder with other files" in capsys.readouterr().err
    assert [file.name for file in site.rglob("*")] == ["your-tasks", "notes.txt"]
    (site / "your-tasks").rename(tmp_path / "kept")
    assert built(results, "--out", site, "--source", "mini") == 0
    before = (site / "index.html").read_bytes()
    (tmp_path / "kept").rename(site / "your-tasks")
    capsys.readouterr()
    assert built(results, "--out", site) == 2
    assert "your-tasks: got a folder with other files" in capsys.readouterr().err
    assert (site / "index.html").read_bytes() == before


def test_check_looks_at_both_groups_and_compares_with_a_board_of_either(
    cards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, site = tmp_path / "results", tmp_path / "site"
    write(results, "m", 0.5, source="mini")
    own(results / "own", "m", 0.5)
    (results / "models.yaml").write_text("m: {base: nobody}\n", encoding="utf-8")
    own(results / "own", "half", 0.5, cards=("reviews",))
    assert built(results, "--out", site) == 0
    capsys.readouterr()
    assert main(["check", str(results), "--replicates", "200"]) == 2
    assert capsys.readouterr().out.splitlines() == [
        f"m: {NOBODY}",
        f"your tasks: m: {NOBODY}",
        "your tasks: half: 1/2 tasks; missing: aspects",
    ]
    (results / "models.yaml").unlink()
    own(results / "own", "m", 0.9, date=1_790_000_050.0)
    command = ["check", str(results), "--replicates", "200", "--allow-unranked", "--previous"]
    assert main([*command, str(site / "leaderboard.json")]) == 0
    capsys.readouterr()
    assert main([*command, str(site / "your-tasks" / "leaderboard.json")]) == 2
    assert "m: other scores: Overall" in capsys.readouterr().out
    mine = [str(site / "your-tasks" / "leaderboard.json"), "--source", "mini"]
    assert main([*command, *mine]) == 2
    assert "got a board of 'own' results, expected 'mini'" in capsys.readouterr().err


def test_results_whose_cards_are_unknown_are_listed_with_the_way_to_them(
    cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "results"
    path = own(results, "alone", 0.5)
    both = json.loads(write(results, "both", 0.5, source="mini").read_text(encoding="utf-8"))
    hostile = {f"\u202e{n}" * 100: {"dataset_path": "own"} for n in range(7)}
    both["configs"] |= hostile | {"of_others": {"dataset_path": "glue"}, "broken": 3}
    (results / "both").joinpath("results_2026.json").write_text(json.dumps(both), "utf-8")
    monkeypatch.delenv("SENTIBENCH_TASKS")
    runs, problems = load_results(results)
    reasons = {problem.file: problem.reason for problem in problems}
    assert reasons[path.relative_to(results).as_posix()] == (
        "no card of aspects, reviews; expected it in ./sentibench_tasks; or "
        "name the card's folder in SENTIBENCH_TASKS"
    )
    of_hostile = reasons["both/results_2026.json"]
    assert of_hostile.startswith("no card of \ufffd0")
    assert ", ...; " in of_hostile
    assert len(of_hostile) < 500
    assert not {"of_others", "broken"} & set(re.findall(r"\w+", of_hostile))
    assert len(runs) == len(MINI)


def test_the_time_of_a_run_of_both_groups_is_that_of_neither(cards: Path, tmp_path: Path) -> None:
    path = own(tmp_path / "results", "m", 0.5)
    summary = json.loads(path.read_text(encoding="utf-8")) | {"total_evaluation_time_seconds": 60}
    for configs, expected in (({}, 60), ({"sentibench_sst2": {}}, None)):
        summary["configs"] |= configs
        path.write_text(json.dumps(summary), encoding="utf-8")
        assert {run.facts.seconds for run in load_results(tmp_path / "results")[0]} == {expected}


def test_the_page_of_own_tasks_works_in_a_browser(cards: Path, tmp_path: Path) -> None:
    for number in range(3):
        own(tmp_path / "results", f"m{number}", 0.2 + 0.3 * number, seed=number)
    assert built(tmp_path / "results", "--out", tmp_path / "site") == 0
    browser = start_browser(tmp_path / "profile")
    try:
        for width in (1280, 390):
            set_width(browser, width)
            browser.get((tmp_path / "site" / "index.html").as_uri())
            wide = "return document.documentElement.scrollWidth - innerWidth"
            assert browser.execute_script(wide) <= 0
            figures = browser.execute_script(
                "return [...document.querySelectorAll('svg.forest')].filter((e) => "
                "e.checkVisibility()).map((e) => [e.id, e.getBoundingClientRect().right, "
                "e.querySelector('text').getBoundingClientRect().height])"
            )
            assert [name for name, *_ in figures] == [
                "forest-official" if width == 1280 else "narrow-official"
            ]
            assert all(right <= width and height > 9 for _, right, height in figures)
            for view in ("datasets", "about", "averages"):
                browser.execute_script(f"document.querySelector('[value={view}]').click()")
            shown = browser.execute_script(
                "return [...document.querySelectorAll('tr.heads th')]"
                ".filter((e) => e.offsetParent).map((e) => e.dataset.col)"
            )
            assert shown == ["name", "rank", "overall", None, "size", "seeds"]
        errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        assert errors == []
    finally:
        browser.quit()

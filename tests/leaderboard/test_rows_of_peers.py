"""Rows of what is no language model: a class of their own on the board and on its page."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from small_board import make_board, make_row, ranks
from test_board import mini, view_of

from leaderboard.build import ranked_by
from leaderboard.exports import to_markdown
from leaderboard.items import hardest_items
from leaderboard.page import view
from leaderboard.page.calibration import mean_text
from leaderboard.page.render import render_page
from leaderboard.runs.entries import NO_MODEL, collect_entries
from leaderboard.runs.models import Declared
from leaderboard.runs.results import load_results
from sentibench.data.cards import tasks_of_source
from sentibench.data.read import load_split
from sentibench.peers.results import BACKEND, Peer, write_results
from sentibench.scoring.predictions import Given

MINI = tasks_of_source("mini")
LABELS = tuple(task for task in MINI if task.card.is_label_task)
TITLE = "Not a language model: ranked by the datasets with labels"


def peer(folder: Path, name: str, n_wrong: int, tasks=LABELS, *, sure: bool = True) -> None:
    """Results of a method that errs on the first items."""
    given = Peer(name, f"{name} by hand", seconds=2.0, peak_memory_bytes=10**9)
    for task in tasks:
        labels, answers = task.card.labels, list[Given]()
        for i, example in enumerate(load_split(task, "test").examples):
            gold = labels.index(example.label)
            said = labels[(gold + (i < n_wrong)) % len(labels)]
            shares = {n: 0.6 if n == said else 0.4 / (len(labels) - 1) for n in labels}
            answers.append(Given(said, shares if sure else None))
        write_results(folder, task, answers, given, date=1e9 + MINI.index(task))


def test_peers_are_ranked_among_themselves_and_say_what_they_are(tmp_path: Path) -> None:
    for model, skill in (("good", 0.8), ("poor", 0.4)):
        mini(tmp_path, model, skill, seed=len(model))
    peer(tmp_path, "probe", 2)
    peer(tmp_path, "majority", 9)
    peer(tmp_path, "lexicon", 1, LABELS[:2], sure=False)
    board = view_of(tmp_path)
    assert board.report == ()
    rows = {row.name: row for row in board.rows}
    assert list(rows) == ["good", "poor", "probe", "majority", "lexicon"]
    assert [row.ranked for row in rows.values()] == [True, True, False, False, False]
    assert [row.group for row in rows.values()] == ["ranked", "ranked", *["nobody"] * 3]
    places = {m: row.rank and row.rank["official"].position for m, row in rows.items()}
    assert places == {"good": 1, "poor": 2, "probe": 1, "majority": 2, "lexicon": None}
    probe = rows["probe"]
    assert probe.reasons[0] == f"{NO_MODEL}: probe by hand"
    assert probe.reasons[1].startswith("label tasks alone, 8/12 tasks")
    assert len(probe.reasons) == 2
    assert (probe.protocol, probe.seeds) == ({}, ())
    assert {badge.name for badge in probe.badges} == {"task version", "data", "newest run"}
    assert probe.items_per_second == pytest.approx(24 * 8 / 16)
    assert probe.peak_memory_bytes == 10**9
    assert probe.value("official", "overall") is None
    assert probe.value("official", "basic") > rows["majority"].value("official", "basic")
    assert probe.calibration["ece"]["overall"].value > 0
    assert mean_text(rows["lexicon"], "ece") == "none given"
    keys = {name: row.key for name, row in rows.items()}
    pairs = {frozenset((c.a, c.b)) for c in board.comparisons}
    assert pairs == {
        frozenset((keys["good"], keys["poor"])),
        frozenset((keys["probe"], keys["majority"])),
    }
    assert (board.n_models, board.versions["lm-eval"]) == (2, ("0.4.13",))
    lines = probe.command.splitlines()
    assert len(lines) == 8
    assert (
        f"sentibench score {LABELS[0].name} PREDICTIONS.jsonl --results results --name=probe "
        "'--not-a-language-model=probe by hand'"
    ) in lines


def test_the_page_and_its_tables_show_peers_apart(tmp_path: Path) -> None:
    mini(tmp_path, "good", 0.8)
    peer(tmp_path, "probe", 2)
    board = view_of(tmp_path)
    page = render_page(board, {})
    assert page.count(TITLE) == 1
    assert '<tbody class="nobody">' in page
    assert ">probe by hand; label tasks alone" in page  # below its name; the group says the rest
    assert "Ranked separately: not a language model: probe by hand" in page
    assert "<dt>Not a language model</dt>" in page
    assert "The server writes the prompt" not in page
    assert "Demonstrations in the prompt" in page  # of the model
    probe = next(row for row in board.rows if row.name == "probe")
    assert view.protocol_facts(probe) == []
    lines = to_markdown(board).splitlines()
    (line,) = [line for line in lines if "| probe (ranked separately" in line]
    assert "not a language model" in line


def test_a_page_without_peers_does_not_speak_of_them(tmp_path: Path) -> None:
    mini(tmp_path, "good", 0.8)
    page = render_page(view_of(tmp_path), {})
    assert "language model:" not in page
    assert "<dt>Not a language model</dt>" not in page


def test_the_headline_and_ties_of_language_models_do_not_know_peers() -> None:
    board = make_board(hostile=False)
    row = make_row(
        *("a", "Probe", 0.99), rank=ranks(1, 1, 1, 1, None), wording="nobody", reasons=(NO_MODEL,)
    )
    found = replace(board, rows=(*board.rows[:4], row, *board.rows[4:]))
    assert view.headline(found, "official") == view.headline(board, "official")
    assert view.tie_letters(found, "official") == view.tie_letters(board, "official")
    assert view.plot_of_intervals(found, "official") == view.plot_of_intervals(board, "official")


def test_a_board_without_label_tasks_ranks_peers_by_all() -> None:
    extraction = [task for task in MINI if not task.card.is_label_task]
    assert ranked_by("nobody", MINI) == list(LABELS)
    assert ranked_by("nobody", extraction) == extraction
    assert ranked_by("benchmark", MINI) == list(MINI)


def test_items_are_hard_for_language_models_whatever_a_peer_says(tmp_path: Path) -> None:
    for number in range(2):
        mini(tmp_path, f"m{number}", 0.3, cards=("sst2",), seed=number)

    def hardest() -> list[int]:
        entries = collect_entries(load_results(tmp_path)[0], Declared(), MINI)
        return [item.index for item in hardest_items(entries, MINI)]

    before = hardest()
    assert before
    peer(tmp_path, "probe", 0, [task for task in LABELS if task.card.name == "sst2"])
    assert hardest() == before


HOSTILE = [None, "", "two\nlines", "a/path", "x" * 201, 7, ["probe"], {"method": "probe"}]


@pytest.mark.parametrize("method", HOSTILE, ids=str)
def test_what_a_peer_is_has_to_be_a_plain_line(tmp_path: Path, method: object) -> None:
    peer(tmp_path, "probe", 0, LABELS[:1])
    (path,) = tmp_path.glob("probe/results_*.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    content["config"]["model_args"] = {"method": method}
    path.write_text(json.dumps(content), encoding="utf-8")
    runs, problems = load_results(tmp_path)
    assert runs == []
    (problem,) = problems
    assert problem.reason.startswith("not a language model, but without a description")


def test_arguments_of_a_peer_as_one_text_are_refused(tmp_path: Path) -> None:
    peer(tmp_path, "probe", 0, LABELS[:1])
    (path,) = tmp_path.glob("probe/results_*.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    content["config"]["model_args"] = "method=probe"
    path.write_text(json.dumps(content), encoding="utf-8")
    assert load_results(tmp_path)[0] == []


def test_settings_of_a_peer_make_no_other_row_and_no_claim(tmp_path: Path) -> None:
    peer(tmp_path, "probe", 0)
    for number, path in enumerate(sorted(tmp_path.glob("probe/results_*.json"))):
        content = json.loads(path.read_text(encoding="utf-8"))
        (task,) = content["configs"]
        content["configs"][task]["metadata"] = {"demo_seed": number}
        content |= {"chat_template_sha": "x", "system_instruction": str(number)}
        content["config"] |= {"gen_kwargs": {"temperature": number}, "model_dtype": str(number)}
        path.write_text(json.dumps(content), encoding="utf-8")
    (row,) = view_of(tmp_path).rows
    assert (row.group, row.n_tasks, row.protocol) == ("nobody", 8, {})
    assert row.rank is not None


def test_predictions_that_call_themselves_a_language_model_are_not_ranked(tmp_path: Path) -> None:
    mini(tmp_path, "good", 0.8)
    peer(tmp_path, "probe", 0)
    for path in tmp_path.glob("probe/results_*.json"):
        text = path.read_text(encoding="utf-8")
        assert BACKEND in text
        path.write_text(text.replace(BACKEND, "hf"), encoding="utf-8")
    row = next(row for row in view_of(tmp_path).rows if row.name == "probe")
    assert (row.ranked, row.rank, row.group) == (False, None, "unranked")
    assert any(reason.startswith("prompts were not saved") for reason in row.reasons)


def test_scores_of_a_peer_have_to_be_those_of_its_answers(tmp_path: Path) -> None:
    peer(tmp_path, "probe", 3, LABELS[:1])
    (path,) = tmp_path.glob("probe/results_*.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    content["results"][LABELS[0].name]["score,none"] = 1.0
    path.write_text(json.dumps(content), encoding="utf-8")
    runs, (problem,) = load_results(tmp_path)
    assert runs == []
    assert problem.reason.startswith("it says score 1.000000, its samples give")

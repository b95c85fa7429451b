"""Calibration on the board and on its page; rows whose prompt is worded by a server."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from small_board import LABEL_TASKS, calibrated, make_board, make_row, ranks
from test_board import mini, view_of
from test_page import parsed

from leaderboard.__main__ import main
from leaderboard.board import to_json
from leaderboard.calibration import calibrations_of, reliability_of
from leaderboard.exports import to_csv, to_markdown
from leaderboard.page import view
from leaderboard.page.calibration import diagrams, mean_text
from leaderboard.page.render import render_page
from leaderboard.previous import changes, read_previous
from leaderboard.runs.entries import SERVER_WORDS
from leaderboard.runs.results import load_results
from sentibench.data.cards import tasks_of_source
from sentibench.scoring import calibration
from sentibench.scoring.calibration import Answers
from sentibench.scoring.statistics import task_seed


def changed_settings(folder: Path, name: str, **settings) -> None:
    for path in (folder / name).glob("results_*.json"):
        content = json.loads(path.read_text())
        content["config"] |= settings
        path.write_text(json.dumps(content))


def test_the_mean_over_tasks_has_the_interval_of_the_mean_of_their_replicates(
    tmp_path: Path,
) -> None:
    mini(tmp_path, "m", 0.6)
    mini(tmp_path, "n", 0.6, cards=("sst2", "opener"), seed=3)
    board, (runs, _) = view_of(tmp_path), load_results(tmp_path)
    rows = {row.name: row for row in board.rows}
    answers = {
        run.task: run.samples.answers for run in runs if run.model == "m" and run.samples.answers
    }
    assert len(answers) == 8
    for name in calibration.METRICS:
        found = rows["m"].calibration[name]
        values = [calibration.value(name, a) for a in answers.values()]
        assert found["overall"].value == pytest.approx(np.mean(values), rel=1e-8)
        drawn = [
            calibration.drawn(name, a, seed=task_seed(task.card)).ends_2B
            for task, a in answers.items()
        ]
        low_B, high_B = np.mean(drawn, axis=0)
        ends = [max(0, np.quantile(low_B, 0.025)), np.quantile(high_B, 0.975)]
        assert [found["overall"].low, found["overall"].high] == pytest.approx(ends, rel=1e-8)
        assert found["sentibench_mini_sst2"].value == pytest.approx(
            calibration.value(name, next(a for t, a in answers.items() if t.card.name == "sst2"))
        )
        part = rows["n"].calibration[name]
        assert part.keys() == {"overall", "sentibench_mini_sst2"}
        assert part["overall"] == part["sentibench_mini_sst2"]
    (bins,) = rows["m"].reliability["sentibench_mini_sst2"]
    assert [b.n for b in bins] == [8 * 3]  # too few for two dots


def test_a_row_of_several_seeds_has_the_mean_of_their_values_and_a_line_for_each() -> None:
    random = np.random.default_rng(1)
    gold = random.integers(0, 2, 80)
    seeds = [Answers.of(random.normal(size=(80, 2)), gold) for _ in range(2)]
    task = "sentibench_mini_sst2"
    both, first, second = calibration.calibrations(
        [{task: s} for s in (seeds, *([s] for s in seeds))]
    )
    for name in calibration.METRICS:
        assert both.mean[name].value == pytest.approx(
            (first.mean[name].value + second.mean[name].value) / 2
        )


@pytest.mark.parametrize(("sizes", "is_kept"), [((80, 80), True), ((80, 60), False)])
def test_a_task_whose_seeds_were_asked_other_items_is_left_out(sizes, is_kept: bool) -> None:
    random, task = np.random.default_rng(1), "sentibench_mini_sst2"
    runs = [
        SimpleNamespace(
            samples=SimpleNamespace(
                answers=Answers.of(random.normal(size=(n, 2)), np.zeros(n, int))
            )
        )
        for n in sizes
    ]
    entry: Any = SimpleNamespace(runs={task: runs})
    (found,) = calibrations_of([entry])
    assert [task in of for of in found.values()] == [True] * 4 * is_kept
    assert [len(seeds) for seeds in reliability_of(entry).values()] == [2] * is_kept


def test_log_likelihoods_that_were_not_saved_are_said_to_be(tmp_path: Path) -> None:
    mini(tmp_path, "m", 0.6)
    for path in (tmp_path / "m").glob("samples_*"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        lines = [json.dumps({k: v for k, v in row.items() if k != "resps"}) for row in rows]
        path.write_text("\n".join(lines))
    board = view_of(tmp_path)
    (row,) = board.rows
    assert (row.calibration, row.reliability) == ({}, {})
    assert mean_text(row, "ece") == "not saved"
    assert "the log-likelihoods of the labels were not saved" in render_page(board, {})
    assert "Calibration" not in {column.group for column in view.columns_of(board)}


def test_the_page_shows_means_with_intervals_and_a_diagram_per_dataset() -> None:
    board = make_board(hostile=False)
    columns = {c.name: c for c in view.columns_of(board) if c.group == "Calibration"}
    assert columns.keys() == calibration.METRICS.keys()
    page = render_page(board, {})
    assert '">4.2<small>[3.1, 5.5] </small></td>' in page
    for cell in ("9.2<small>[8.1, 10.5]", "0.462<small>[0.451, 0.475]", "42.1<small>[41.0, 43.4]"):
        assert f'">{cell} 5/8</small></td>' in page
    for title in ("ECE <small>%, lower", "NLL <small>nats, lower", "Coverage <small>%, higher"):
        assert page.count(f"{title} is better</small>") == 3  # the table, the cards of two rows
    assert "Columns of calibration have neither" in page
    svgs = [
        a for tag, a in parsed(page).tags if tag == "figure" and a.get("class") == "reliability"
    ]
    assert len(svgs) == len(LABEL_TASKS) + 5
    teacher = board.rows[0]
    first, *others = diagrams(board, teacher)
    assert (first.title, len(others), len(first.lines)) == ("IMDb", 7, 2)
    assert (first.n_items, first.lines[0][0]) == (1000, (50.0, 45.0, 2.2))
    assert first.text.endswith("85 at 90 (100 items), 90 at 95 (100 items)")
    assert "IMDb, 1,000 items</figcaption>" in page
    assert '<circle cx="50.0" cy="55.0" r="2.2"/>' in page
    assert "M50.0,55.0L55.0,50.0" in page  # upwards is less


def test_exports_hold_the_means() -> None:
    board = make_board(hostile=False)
    first, *_ = csv.DictReader(io.StringIO(to_csv(board)))
    assert [first[f"brier{end}"] for end in ("", "_low", "_high")] == ["0.4120", "0.4010", "0.4250"]
    lines = to_markdown(board).splitlines()
    table = lines[lines.index("") + 1 :]
    assert table[0].count("|") == 7
    assert table[2].startswith("| Gemstone 9B | all | 4.2 [3.1, 5.5] | 0.412 [0.401, 0.425] |")
    assert table[3].split(" | ")[1] == "5/8"
    assert len(table) == 2 + 2


def test_rows_whose_prompt_a_server_words_are_ranked_among_themselves(tmp_path: Path) -> None:
    for model, skill in (("good", 0.8), ("poor", 0.4), ("cloud", 0.95), ("cloudlet", 0.6)):
        mini(tmp_path, model, skill, seed=len(model))
    mini(tmp_path, "part", 0.9, cards=("imdb",))
    arguments = {"model": "sentibench-decisions", "model_args": {"dialect": "systemone"}}
    for model in ("cloud", "cloudlet", "part"):
        changed_settings(tmp_path, model, **arguments)
    board = view_of(tmp_path)
    rows = {row.name: row for row in board.rows}
    assert [row.name for row in board.rows] == ["good", "poor", "cloud", "cloudlet", "part"]
    assert [rows[m].ranked for m in rows] == [True, True, False, False, False]
    assert [rows[m].group for m in rows] == ["ranked", "ranked", "server", "server", "server"]
    places = {m: row.rank and row.rank["official"].position for m, row in rows.items()}
    assert places == {"good": 1, "poor": 2, "cloud": 1, "cloudlet": 2, "part": None}
    assert rows["cloud"].reasons == (f"{SERVER_WORDS}: dialect systemone",)
    assert len(rows["part"].reasons) == 2
    pairs = {frozenset((c.a, c.b)) for c in board.comparisons}
    keys = {model: row.key for model, row in rows.items()}
    assert pairs == {
        frozenset((keys["good"], keys["poor"])),
        frozenset((keys["cloud"], keys["cloudlet"])),
    }


def test_models_that_only_decide_are_ranked_among_themselves_by_the_label_tasks(
    tmp_path: Path,
) -> None:
    labels = tuple(task.card.name for task in tasks_of_source("mini") if task.card.is_label_task)
    for model, skill in (("good", 0.5), ("decider", 0.9), ("lesser", 0.6)):
        given = {} if model == "good" else {"cards": labels}
        mini(tmp_path, model, skill, seed=len(model), **given)
        changed_settings(
            tmp_path, model, model="sentibench-decisions", model_args={"dialect": "decisions"}
        )
    mini(tmp_path, "local", 0.9, cards=labels)  # the benchmark's prompts: eight tasks are too few
    board = view_of(tmp_path)
    rows = {row.name: row for row in board.rows}
    assert list(rows) == ["good", "decider", "lesser", "local"]
    assert {m: row.group for m, row in rows.items()} == {
        "good": "server",
        "decider": "labels",
        "lesser": "labels",
        "local": "unranked",
    }
    places = {m: row.rank and row.rank["official"].position for m, row in rows.items()}
    assert places == {"good": 1, "decider": 1, "lesser": 2, "local": None}
    decider = rows["decider"]
    for column in ("overall", "finegrained", "unseen"):  # a mean over fewer tasks is another one
        assert decider.value("official", column) is None
    means = [rows[m].value("official", "basic") for m in ("decider", "lesser")]
    means += [rows[m].value("official", "multifaceted") for m in ("decider", "lesser")]
    (found,) = [c for c in board.comparisons if c.metric == "official"]
    assert (found.a, found.b) == (decider.key, rows["lesser"].key)
    assert found.difference == pytest.approx((means[0] - means[1] + means[2] - means[3]) / 2)
    assert len(found.tests) == 8
    page = render_page(board, {})
    assert "ranked by the datasets with labels" in page
    assert "label tasks alone, 8/12 tasks" in page


def test_the_page_says_the_dialect_and_rows_of_different_dialects_are_no_line(
    tmp_path: Path,
) -> None:
    for model, skill in (("base", 0.4), ("student", 0.8), ("letters", 0.7)):
        mini(tmp_path / "results", model, skill, seed=len(model))
        given = {"dialect": "chat" if model == "base" else "sglang", "base_url": "http://secret/v1"}
        if model == "letters":
            given["letters"] = "True"
        changed_settings(
            tmp_path / "results", model, model="sentibench-decisions", model_args=given
        )
    lines = "student: {base: base}\nletters: {base: student}\n"
    (tmp_path / "results" / "models.yaml").write_text(lines, encoding="utf-8")
    board = view_of(tmp_path / "results")
    rows = {row.name: row for row in board.rows}
    assert rows["base"].reasons == (f"{SERVER_WORDS}: dialect chat",)
    assert rows["letters"].reasons == (f"{SERVER_WORDS}: dialect sglang, letters",)
    assert rows["student"].arguments["dialect"] == "sglang"
    assert [link.n_tasks for link in rows["student"].lineage] == [0, 0]
    assert [link.n_tasks for link in rows["letters"].lineage] == [0, 0, 0]
    page = render_page(board, {})
    for words in ("dialect chat", "dialect=sglang", "letters=true"):
        assert words in page
    assert "secret" not in page


def test_a_rank_apart_is_no_finding_and_is_compared_with_its_like_alone(tmp_path: Path) -> None:
    for model, skill in (("good", 0.8), ("poor", 0.4), ("cloud", 0.95)):
        mini(tmp_path / "results", model, skill, seed=len(model))
    changed_settings(tmp_path / "results", "cloud", model="sentibench-decisions")
    assert main(["check", str(tmp_path / "results"), "--replicates", "100"]) == 0
    board = view_of(tmp_path / "results")
    (tmp_path / "old.json").write_text(to_json(board), encoding="utf-8")
    previous = read_previous(tmp_path / "old.json")
    assert previous is not None
    behind = [
        replace(r, rank=ranks(9, 9, 9, 1, None)) if r.name == "cloud" else r for r in board.rows
    ]
    assert changes(previous, replace(board, rows=tuple(behind)))[0] == []


def test_the_headline_ties_and_plot_are_of_rows_under_the_papers_protocol() -> None:
    board = make_board(hostile=False)
    server = {"wording": "server", "reasons": (SERVER_WORDS,)}
    rows = (
        *board.rows[:4],
        make_row("a", "Cloud", 0.9, rank=ranks(1, 1, 2, 2, None), **server, **calibrated()),
        *board.rows[4:],
    )
    found = replace(board, rows=rows)
    assert view.headline(found, "official") == view.headline(board, "official")
    assert view.tie_letters(found, "official") == view.tie_letters(board, "official")
    assert view.plot_of_intervals(found, "official") == view.plot_of_intervals(board, "official")
    page = render_page(found, {})
    assert "The server writes the prompt: ranked among themselves" in page
    assert "Ranked separately: the server writes the prompt." in page

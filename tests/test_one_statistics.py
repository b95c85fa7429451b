"""The run's report and the leaderboard show the same figures of the same results."""

import runpy
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest

from distill.report.comparison import compare
from leaderboard.board import Comparison, rounded
from leaderboard.build import build_board
from leaderboard.runs.entries import collect_entries
from leaderboard.runs.models import Declared, ModelInfo
from leaderboard.runs.results import load_results
from sentibench.data.cards import tasks_of_source

MINI = tasks_of_source("mini")
WRITER = Path(__file__).parents[1] / "benchmarks" / "leaderboard_build.py"
MODELS = ("base", "knowdist", "icldist", "teacher")
INFOS = {
    "base": ModelInfo("base"),
    "knowdist": ModelInfo("knowdist", base="base", teacher="teacher"),
    "icldist": ModelInfo("icldist", base="knowdist", teacher="teacher"),
    "teacher": ModelInfo("teacher"),
}


def both_pages(folder: Path, skills: tuple[float, ...]) -> tuple[Any, Any]:
    """What the report and what the leaderboard makes of one results folder."""
    write_results = runpy.run_path(str(WRITER))["write_results"]
    for number, (model, skill) in enumerate(zip(MODELS, skills, strict=True)):
        write_results(folder / model, model, skill, seed=number, source="mini")
    # the report names the newest results of each model, the leaderboard reads all below a folder
    of_models = {model: folder / model for model in MODELS}
    report = compare(of_models, "base", ["knowdist", "icldist"], "teacher")
    runs, problems = load_results(folder)
    assert problems == []
    return report, build_board(collect_entries(runs, Declared(INFOS), MINI), problems, MINI)


def difference(board: Any, a: str, b: str) -> tuple[float, float, float]:
    """Overall score of one row minus that of another."""
    keys = {row.name: row.key for row in board.rows}
    pairs: list[Comparison] = [c for c in board.comparisons if c.metric == "official"]
    for pair in pairs:
        if (pair.a, pair.b) == (keys[a], keys[b]):
            return pair.difference, pair.low, pair.high
        if (pair.a, pair.b) == (keys[b], keys[a]):
            return -pair.difference, -pair.high, -pair.low
    raise AssertionError(f"no pair {a}, {b}")


def test_report_and_leaderboard_show_the_same_to_the_last_digit(tmp_path: Path) -> None:
    report, board = both_pages(tmp_path, (0.35, 0.55, 0.7, 0.95))
    rows = {row.name: row for row in board.rows}
    assert all(row.ranked for row in rows.values())
    for model in MODELS:
        overall = rows[model].cell("official", "overall")
        assert rounded(float(report.means[model].all.value)) == overall.value
    for student in ("knowdist", "icldist"):
        cells = report.students[student].all
        assert astuple(rounded(cells.difference)) == difference(board, student, "base")
        gap = rows[student].gap["official"]
        assert astuple(rounded(cells.gap_closed)) == (gap.value, gap.low, gap.high)
        assert 0 < gap.low < gap.value < gap.high < 1
    assert astuple(rounded(report.lead.all)) == difference(board, "teacher", "base")


@pytest.mark.parametrize("teacher", [0.62, 0.4])
def test_report_and_leaderboard_hide_the_same_share(tmp_path: Path, teacher: float) -> None:
    report, board = both_pages(tmp_path, (0.55, 0.6, 0.65, teacher))
    rows = {row.name: row for row in board.rows}
    for student in ("knowdist", "icldist"):
        assert report.students[student].all.gap_closed is None
        assert rows[student].gap["official"] is None

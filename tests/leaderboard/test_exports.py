"""The board as tables for READMEs and papers."""

import re
from dataclasses import replace

from small_board import make_board, ranks

from leaderboard.exports import to_latex, to_markdown


def test_markdown_quotes_every_score_with_its_interval() -> None:
    lines = to_markdown(make_board(hostile=False)).splitlines()
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    assert cells[:4] == ["1", "Gemstone 9B", "71.2 [69.3, 72.9]", "86.2 [84.3, 87.9]"]
    assert len(cells) == 2 + 16
    assert all(re.fullmatch(r"\d+\.\d \[\d+\.\d, \d+\.\d\]", cell) for cell in cells[2:])
    reported = next(line for line in lines if "Llama" in line)
    assert "| 72.8 |" in reported
    assert "[" not in reported
    missing = next(line for line in lines if "Quartz" in line)
    assert missing.count("|  |") + missing.count("|  ") >= 4  # no overall score, three datasets


def test_latex_has_averages_and_datasets_with_intervals() -> None:
    latex = to_latex(make_board(hostile=False))
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 2
    averages, datasets = latex.split("% datasets")
    best = r"1 & Gemstone 9B & \textbf{71.2} {\small [69.3, 72.9]} & "
    assert best in averages
    assert r"2--3 & Gemstone 270M + KnowDist + ICLDist & 58.8 {\small [56.9, 60.5]} & " in averages
    assert datasets.count(r"{\tiny [") == 12 * 5 + 9
    assert r"& Llama-3 70B & 72.8 & " in averages
    rows = [line for line in latex.splitlines() if line.endswith(r"\\")]
    assert {line.count(" & ") for line in rows} == {5, 13}
    assert not any(line.startswith("[") for line in rows)  # LaTeX would take it for a length


def test_a_dagger_marks_rows_that_cannot_be_told_apart_from_the_best() -> None:
    board = make_board(hostile=False)
    assert r"$^\dagger$" not in to_latex(board)
    first, second, *others = board.rows
    tied = replace(second, rank=ranks(2, 1, 2, 1, 0.3))
    latex = to_latex(replace(board, rows=(first, tied, *others)))
    assert latex.count(r"$^\dagger$") == 2  # in both tables

"""The board as tables for READMEs and papers."""

import re
from dataclasses import replace
from unicodedata import category

import pytest
from small_board import make_board, ranks

from leaderboard.exports import to_csv, to_hardest, to_latex, to_markdown
from leaderboard.items import HardItem
from sentibench.scoring.samples import SampleText


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
    assert missing.count("| – ") == 1 + 5  # rank; overall, fine-grained, three datasets


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


@pytest.mark.parametrize(
    "text",
    [
        "@user",
        "a @org/team, b",
        "someone@evil.com",
        "mailto:someone@evil.com",
        "www.evil.com",
        "WWW.evil.com",
        "https://evil.com/x",
        "HTTP://evil.com",
        "ftp://evil.com",
        "[x](https://evil.com)",
        "<https://evil.com>",
        "\\@user \\https://www.evil.com",
        "#12 and owner/name#3",
    ],
)
def test_no_text_of_the_markdown_becomes_a_link_or_a_mention(text: str) -> None:
    board = make_board(hostile=False)
    first, *others = board.rows
    bad = replace(others[-1], name="bad", reasons=(text,), kind="measured")
    tasks = (replace(board.tasks[0], title=text), *board.tasks[1:])
    table = to_markdown(replace(board, rows=(replace(first, name=text), *others, bad), tasks=tasks))
    # what makes them links stands between a comment: GitHub looks into texts, behind all escapes
    assert not re.search(r"@\w|\w://|www\.|#\d", table, re.IGNORECASE)
    markdown_it = pytest.importorskip("markdown_it")
    cells = markdown_it.MarkdownIt("gfm-like", {"linkify": False, "html": True}).parse(table)
    inline = [part for c in cells for part in c.children or [] if part.type != "text"]
    assert {part.type for part in inline} <= {"html_inline", "text_special"}
    assert {p.content for p in inline if p.type == "html_inline"} <= {"<!-- -->"}
    shown = [
        "".join(part.content for part in c.children if part.type != "html_inline")
        for c in cells
        if c.children
    ]
    assert shown.count(text) == 3  # a title, and a name in two tables
    assert f"bad (not ranked: {text})" in shown


def test_no_export_holds_what_cannot_be_seen() -> None:
    text = "a\0b\x1bc\u202ed\u200be\u2028f\ud800g\ufffe"
    board = make_board()
    rows = tuple(replace(row, name=text, reasons=(text,)) for row in board.rows)
    board = replace(board, rows=rows)
    item = HardItem("sst2", 1, 2, SampleText(1, text, text, text, text))
    latex = to_latex(board)
    assert "a?b?c?d?e?f?g?" in latex  # pdflatex stops at U+FFFD
    assert "a\ufffdb\ufffdc\ufffdd\ufffde" in to_markdown(board)
    for export in (to_csv(board), to_markdown(board), latex, to_hardest([item])):
        kinds = {category(c) for c in export if c != "\n"}
        assert kinds.isdisjoint({"Cc", "Cf", "Cs", "Zl", "Zp"})

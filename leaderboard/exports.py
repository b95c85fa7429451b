"""The board as files beside the page: CSV, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from leaderboard.board import Board, Cell
from leaderboard.items import HardItem
from leaderboard.page import calibration
from leaderboard.page.view import quote, rank_text
from sentibench.pages.calibration import METRICS, quoted
from sentibench.pages.text import NONE, visible

LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        **{c: "\\" + c for c in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\n": " ",
        "\r": " ",
        "–": "--",
        "\ufffd": "?",  # LaTeX stops at it
    }
)
MARKUP = re.compile(r"[\\`*_{}\[\]()<>#+!|~&-]")
# GitHub looks for these in texts whose escapes and entities are gone already
LINKS = re.compile(r"@|(?<=www)(?=\.)|(?=://)|#(?=\d)", re.IGNORECASE)


def _csv(lines: Iterable[Sequence[Any]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(lines)
    return out.getvalue()


def to_csv(board: Board) -> str:
    """Every row and metric, one line each; scores and their ends times 100, calibration as it is.

    Calibration is the mean over the label tasks of a row, the same under each metric.
    """
    head = ["model", "kind", "metric", "position", "rank_low", "rank_high", "tie_group"]
    head += ["parameters", "reasons"]
    head += [f"{name}{end}" for name in board.titles for end in ("", "_low", "_high")]
    head += [f"{name}{end}" for name in METRICS for end in ("", "_low", "_high")]
    lines: list[list[Any]] = [head]
    for row in board.rows:
        for metric in board.metrics:
            place = row.rank[metric] if row.rank else None
            line: list[Any] = [_safe(row.name), row.kind, metric]
            line += [place.position, place.low, place.high, place.group] if place else [""] * 4
            line += [row.parameters or "", _safe("; ".join(row.reasons))]
            for name in board.titles:
                cell = row.cell(metric, name)
                ends = (cell.value, cell.low, cell.high) if cell else (None,) * 3
                line += ["" if end is None else f"{100 * end:.2f}" for end in ends]
            for name in METRICS:
                found = calibration.mean_of(row, name)
                ends = (found.value, found.low, found.high) if found else (None,) * 3
                line += ["" if end is None else f"{end:.4f}" for end in ends]
            lines.append(line)
    return _csv(lines)


def to_hardest(items: Sequence[HardItem]) -> str:
    """CSV of the items that no model got right; without texts if those were not read."""
    with_texts = any(item.text for item in items)
    lines = [["task", "index", "runs", *(["gold", "sentence"] if with_texts else [])]]
    for item in items:
        texts = [item.text.gold, item.text.sentence] if item.text else ["", ""]
        shown = map(_safe, texts if with_texts else [])
        lines.append([item.task, str(item.index), str(item.runs), *shown])
    return _csv(lines)


def _one_line(text: str) -> str:
    return " ".join(visible(text).split())


def _safe(text: str) -> str:
    """Keep spreadsheets from taking a name for a formula."""
    line = _one_line(text)
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line


def _markdown(text: str) -> str:
    """Escape a name: no markup of it may work in a README, and nothing becomes a link."""
    return LINKS.sub(r"\g<0><!-- -->", MARKUP.sub(r"\\\g<0>", _one_line(text)))


def to_markdown(board: Board, metric: str = "official") -> str:
    """Tables for a README: rank, averages and tasks of each model with intervals; calibration."""
    titles = board.titles
    lines = [
        "| rank | model | " + " | ".join(map(_markdown, titles.values())) + " |",
        "|---" * (len(titles) + 2) + "|",
    ]
    for row in board.rows:
        name, reason = _markdown(row.name), row.reasons[0] if row.reasons else ""
        what = "ranked separately" if row.rank else "not ranked"
        note = "" if row.ranked else f" ({what}: {_markdown(reason)})"
        cells = [quote(row.cell(metric, column)) for column in titles]
        lines.append(f"| {rank_text(row, metric)} | {name}{note} | {' | '.join(cells)} |")
    return "\n".join([*lines, *_calibration_table(board)]) + "\n"


def _calibration_table(board: Board) -> list[str]:
    """A second table, of the rows whose log-likelihoods were saved; without any it is empty."""
    lines = [
        f"| {_markdown(row.name)} | {calibration.part_text(board, row) or 'all'} | "
        + " | ".join(quoted(name, calibration.mean_of(row, name)) for name in METRICS)
        + " |"
        for row in board.rows
        if row.calibration
    ]
    titles = "ECE (%) | Brier | NLL (nats) | coverage at 5% error (%)"
    head = ["", f"| model | label datasets | {titles} |", "|---" * 6 + "|"]
    return [*head, *lines] if lines else []


def to_latex(board: Board, metric: str = "official") -> str:
    r"""Two booktabs tables, averages and datasets, with intervals; best value per column bold.

    Rows that cannot be told apart from the best are marked by a dagger. The datasets' intervals
    stand in a smaller type: twelve columns are wide.
    """
    datasets = [task.name for task in board.tasks]
    averages = [name for name in board.titles if name not in datasets]
    return (
        "% needs \\usepackage{booktabs}\n% averages, with 95% intervals\n"
        + _latex_table(board, metric, averages, "small")
        + "\n% datasets, with 95% intervals\n"
        + _latex_table(board, metric, datasets, "tiny")
        + "% dagger: cannot be told apart from the best row\n"
    )


def _latex_table(board: Board, metric: str, columns: Sequence[str], size: str) -> str:
    ranked = [row for row in board.rows if row.ranked]
    best = {c: max((row.value(metric, c) or 0.0 for row in ranked), default=0) for c in columns}
    lines = [
        "\\begin{tabular}{ll" + "r" * len(columns) + "}",
        "\\toprule",
        f"Rank & Model & {' & '.join(board.titles[c].translate(LATEX) for c in columns)} \\\\",
    ]
    for _, rows in groupby(board.rows, key=lambda row: row.group):
        lines.append("\\midrule")
        for row in rows:
            tied = row.ranked and row.rank and row.rank[metric].group == 1 and row is not ranked[0]
            name = _one_line(row.name).translate(LATEX) + ("$^\\dagger$" if tied else "")
            cells = [_latex(row.cell(metric, c), row.ranked, best[c], size) for c in columns]
            rank = rank_text(row, metric).translate(LATEX)
            lines.append(f"{rank} & {name} & {' & '.join(cells)} \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n"


def _latex(cell: Cell | None, ranked: bool, best: float, size: str) -> str:
    if cell is None:
        return NONE.translate(LATEX)
    value, _, ends = quote(cell).partition(" ")
    value = f"\\textbf{{{value}}}" if ranked and cell.value == best else value
    return f"{value} {{\\{size} {ends}}}" if ends else value

"""The board as files beside the page: CSV, Markdown and LaTeX."""

# pyright: basic
# The board is JSON.

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from leaderboard.board import COLUMNS

Board = Mapping[str, Any]
LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        **{c: "\\" + c for c in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\n": " ",
        "\r": " ",
    }
)


def names_of(board: Board) -> list[tuple[str, str]]:
    """Return (name, title) of the score columns in the order of the page."""
    titles = {"overall": "Overall"} | {c["name"]: c["title"] for c in board["categories"]}
    return [(c, titles[c]) for c in COLUMNS] + [(t["name"], t["title"]) for t in board["tasks"]]


def rank_text(row: Mapping[str, Any], metric: str) -> str:
    """Return "2" or, where the data leave it open, "1-3"; empty for rows without rank."""
    if not row["rank"]:
        return ""
    low, high = row["rank"][metric]["low"], row["rank"][metric]["high"]
    return str(low) if low == high else f"{low}-{high}"


def _value(row: Mapping[str, Any], metric: str, name: str) -> float | None:
    cell = row["scores"][metric].get(name)
    return None if cell is None else 100 * cell["value"]


def to_csv(board: Board) -> str:
    """Every row and metric, one line each; scores and interval ends times 100."""
    columns = names_of(board)
    head = ["model", "kind", "metric", "position", "rank_low", "rank_high", "tie_group"]
    head += ["parameters", "reasons"]
    for name, _ in columns:
        head += [name, f"{name}_low", f"{name}_high"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(head)
    for row in board["rows"]:
        for metric in board["metrics"]:
            rank = row["rank"][metric] if row["rank"] else {}
            cells: list[Any] = [
                _safe(row["name"]),
                row["kind"],
                metric,
                *(rank.get(part, "") for part in ("position", "low", "high", "group")),
                row["parameters"] or "",
                _safe("; ".join(row["reasons"])),
            ]
            for name, _ in columns:
                cell = row["scores"][metric].get(name) or {}
                cells += [_number(cell.get(part)) for part in ("value", "low", "high")]
            writer.writerow(cells)
    return out.getvalue()


def to_hardest(items: Sequence[Mapping[str, Any]]) -> str:
    """CSV of the items that no model got right; without texts if those were not read."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
    with_texts = any("sentence" in item for item in items)
    names = ["task", "index", "runs", *(["gold", "sentence"] if with_texts else [])]
    writer.writerow(names)
    for item in items:
        writer.writerow([_safe(str(item.get(name, ""))) for name in names])
    return out.getvalue()


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _markdown(text: str) -> str:
    """Escape a name: no markup of it may work in a README."""
    return re.sub(r"([\\`*_{}\[\]()<>#+!|~&-])", r"\\\1", _one_line(text))


def _safe(text: str) -> str:
    """Keep spreadsheets from taking a name for a formula."""
    line = _one_line(text)
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line


def _number(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}"


def to_markdown(board: Board, metric: str = "official") -> str:
    """A table for a README: rank interval, model, averages and tasks."""
    columns = names_of(board)
    lines = [
        "| rank | model | " + " | ".join(title for _, title in columns) + " |",
        "|---" * (len(columns) + 2) + "|",
    ]
    for row in board["rows"]:
        name = _markdown(row["name"])
        reason = row["reasons"][0] if row["reasons"] else ""
        note = "" if row["ranked"] else f" (not ranked: {_markdown(reason)})"
        cells = ["" if (v := _value(row, metric, n)) is None else f"{v:.1f}" for n, _ in columns]
        lines.append(f"| {rank_text(row, metric)} | {name}{note} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def to_latex(board: Board, metric: str = "official") -> str:
    r"""A booktabs table; best value per column bold, rows tied with the best marked by a dagger."""
    columns = names_of(board)
    ranked = [row for row in board["rows"] if row["ranked"]]
    best = {
        name: max((_value(row, metric, name) or 0.0 for row in ranked), default=None)
        for name, _ in columns
    }
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{tabular}{ll" + "r" * len(columns) + "}",
        "\\toprule",
        "Rank & Model & " + " & ".join(t.translate(LATEX) for _, t in columns) + " \\\\",
        "\\midrule",
    ]
    previous = None
    for row in board["rows"]:
        kind = (row["ranked"], row["kind"])
        if previous is not None and kind != previous:
            lines.append("\\midrule")
        previous = kind
        tied = row["ranked"] and row["rank"][metric]["group"] == 1 and row is not ranked[0]
        name = _one_line(row["name"]).translate(LATEX) + ("$^\\dagger$" if tied else "")
        cells = [_latex_cell(row, metric, name_, best[name_]) for name_, _ in columns]
        rank = rank_text(row, metric).replace("-", "--")
        lines.append(f"{rank} & {name} & {' & '.join(cells)} \\\\")
    lines += ["\\bottomrule", "\\end{tabular}", "% dagger: not separable from the best row"]
    return "\n".join(lines) + "\n"


def _latex_cell(row: Mapping[str, Any], metric: str, name: str, best: float | None) -> str:
    value = _value(row, metric, name)
    if value is None:
        return "--"
    return f"\\textbf{{{value:.1f}}}" if row["ranked"] and value == best else f"{value:.1f}"


def rank_flips(old: Board, new: Board, metric: str = "official") -> Sequence[str]:
    """Pairs of models that changed places since an older board."""

    def order(board: Board) -> dict[str, int]:
        return {r["name"]: r["rank"][metric]["position"] for r in board["rows"] if r["rank"]}

    before, after = order(old), order(new)
    gone = [f"{name} had a rank and has none now" for name in before if name not in after]
    shared = sorted(set(before) & set(after), key=lambda name: before[name])
    return gone + [
        f"{a} was before {b}, is now behind"
        for i, a in enumerate(shared)
        for b in shared[i + 1 :]
        if after[a] > after[b]
    ]

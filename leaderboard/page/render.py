"""The content of leaderboard.json -> one self-contained page.

Every name and text in it may be hostile. Three things keep it text: Jinja2 escapes all of it, the
JSON for the script cannot end its element, and the policy in the page runs nothing but the one
script and the one style sheet whose hashes it names.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

HERE = Path(__file__).parent
NONE = "–"
SIZES = (
    ("s", "under 500 M", 0.0, 5e8),
    ("m", "500 M to 2 B", 5e8, 2e9),
    ("l", "2 B to 10 B", 2e9, 1e10),
    ("xl", "10 B and more", 1e10, math.inf),
)
KINDS = (
    ("ranked", "Ranked"),
    ("unranked", "Measured, not ranked"),
    ("reported", "Reported, not measured here"),
)
# what would end a script element, is no line end in JSON but one in old JavaScript, or is no text
UNSAFE = re.compile("[<>&\u2028\u2029\ud800-\udfff]")
SURROGATES = re.compile("[\ud800-\udfff]")


def render_page(board: Mapping[str, Any], samples: Mapping[str, Any] | None) -> str:
    """Render the whole page.

    Args:
        board: What leaderboard.json holds; scores are fractions in [0, 1].
        samples: Texts and answers per task; None tasks every dataset text out.

    Returns:
        HTML that needs no other file and asks the network for nothing. The same input gives the
        same text.
    """
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters: dict[str, Any] = environment.filters
    filters |= {"percent": _percent, "parameters": _parameters, "short": _short}
    filters |= {"p": _p_text, "link": _link}
    css, script = _static("page.css"), _static("page.js")
    rows = list(board["rows"])
    columns = ["overall", *(c["name"] for c in board["categories"])]
    columns += [task for c in board["categories"] for task in c["tasks"]]
    page = environment.get_template("page.html.j2").render(
        board=board,
        rows=rows,
        by_key={row["key"]: row for row in rows},
        groups=[
            (kind, title, members)
            for kind, title in KINDS
            if (members := [row for row in rows if _kind(row) == kind])
        ],
        tasks={task["name"]: task for task in board["tasks"]},
        columns=columns,
        best=_best(board, columns),
        plots={metric: _plot(rows, metric) for metric in board["metrics"]},
        matrices={metric: _matrix(board, metric) for metric in board["metrics"]},
        chains=[row for row in rows if row["lineage"]],
        families=sorted({row["family"] for row in rows if row["family"]}),
        roles=sorted({row["role"] for row in rows if row["role"]}),
        sizes=SIZES,
        size_bin=_size_bin,
        cell=_cell,
        rank=_rank,
        css=Markup(css),
        script=Markup(script),
        policy=_policy(css, script),
        board_json=_json(_script_data(board)),
        sample_tasks=[task for task in board["tasks"] if task["name"] in (samples or {})],
        sample_json={name: _json(value) for name, value in sorted((samples or {}).items())},
    )
    return SURROGATES.sub("\ufffd", page)


def _static(name: str) -> str:
    """Read a style sheet or script; a page with one that ends its own element is never made."""
    text = (HERE / "static" / name).read_text(encoding="utf-8")
    if re.search("</(script|style)|<!--", text, re.IGNORECASE):
        raise ValueError(f"{name}: would end the element that it stands in")
    return text


def _policy(css: str, script: str) -> str:
    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")

    return (
        f"default-src 'none'; style-src 'sha256-{digest(css)}'; "
        f"script-src 'sha256-{digest(script)}'; img-src data:; base-uri 'none'; form-action 'none'"
    )


def _json(value: Any) -> Markup:
    """JSON that is safe inside a script element."""
    text = json.dumps(
        value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
    )
    return Markup(UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text))


def _script_data(board: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "rows": [
            {
                "key": row["key"],
                "name": _short(row["name"], 80),
                "confusion": row["confusion"],
                "per_class": row["per_class"],
            }
            for row in board["rows"]
        ],
        "tasks": [{"name": task["name"], "labels": task["labels"]} for task in board["tasks"]],
        "comparisons": board["comparisons"],
    }


# Texts


def _percent(fraction: float | None, signed: bool = False) -> str:
    if fraction is None:
        return NONE
    return f"{100 * fraction:+.1f}".replace("-", "−") if signed else f"{100 * fraction:.1f}"


def _parameters(count: float | None) -> str:
    if count is None:
        return NONE
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return (
                f"{count / size:.3g} {unit}"
                if count < 999.5 * size
                else f"{count / size:.0f} {unit}"
            )
    return str(count)


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _p_text(p: float | None) -> str:
    if p is None:
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _link(url: str) -> str:
    """Return the address if it is one of the web, else an empty text."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return url if parts.scheme in ("http", "https") and parts.netloc else ""


# Rows and cells


def _kind(row: Mapping[str, Any]) -> str:
    if row["kind"] == "reported":
        return "reported"
    return "ranked" if row["ranked"] else "unranked"


def _size_bin(count: float | None) -> str:
    if count is None:
        return "unknown"
    return next(name for name, _, low, high in SIZES if low <= count < high)


def _value(row: Mapping[str, Any], metric: str, column: str) -> float | None:
    """Score of a row, a fraction; None if it has none."""
    found = _found(row, metric, column)
    return None if found is None else found["value"]


def _found(row: Mapping[str, Any], metric: str, column: str) -> dict[str, Any] | None:
    scores: dict[str, dict[str, Any] | None] = row["scores"].get(metric) or {}
    return scores.get(column)


def _cell(row: Mapping[str, Any], metric: str, column: str) -> dict[str, str]:
    """Texts of a score cell; ``data`` holds all of them for the script, "" for no score."""
    found = _found(row, metric, column)
    value = _value(row, metric, column)
    if found is None or value is None:
        return {"data": "", "value": "", "interval": "", "title": ""}
    low, high, n = found.get("low"), found.get("high"), found.get("n")
    interval = "" if low is None or high is None else f"{_percent(low)}–{_percent(high)}"
    return {
        "data": f"{_percent(value)}|{interval}|{'' if n is None else n}|{value:.6f}",
        "value": _percent(value),
        "interval": interval,
        "title": (f"95% interval {interval}" if interval else "no interval known")
        + ("" if n is None else f", n = {n}"),
    }


def _rank(row: Mapping[str, Any], metric: str) -> dict[str, Any] | None:
    ranks: dict[str, dict[str, Any]] = row["rank"] or {}
    found = ranks.get(metric)
    if found is None:
        return None
    low, high = found["low"], found["high"]
    text = f"{low}" if low == high else f"{low}–{high}"
    p_above = _p_text(found["p_above"])
    return {
        "data": f"{text}|{found['group']}|{p_above}|{found['position']}",
        "text": text,
        "group": found["group"],
        "title": f"position {found['position']}, tie group {found['group']}, "
        f"p against the row above: {p_above}",
    }


def _best(board: Mapping[str, Any], columns: Sequence[str]) -> set[tuple[str, str, str]]:
    """(row key, metric, column) of the highest shown score among the ranked rows."""
    best: set[tuple[str, str, str]] = set()
    for metric in board["metrics"]:
        for column in columns:
            shown = {
                row["key"]: float(_percent(value))
                for row in board["rows"]
                if row["ranked"] and (value := _value(row, metric, column)) is not None
            }
            best |= {(k, metric, column) for k, v in shown.items() if v == max(shown.values())}
    return best


def _matrix(board: Mapping[str, Any], metric: str) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Paired comparisons by (row, column) key, each stored once and shown in both directions."""
    cells: dict[tuple[str, str], Mapping[str, Any]] = {}
    for found in board["comparisons"]:
        if found["metric"] != metric:
            continue
        cells[found["a"], found["b"]] = found
        cells[found["b"], found["a"]] = {
            "difference": -found["difference"],
            "low": -found["high"],
            "high": -found["low"],
            "p": found["p"],
        }
    return cells


def _named(rows: Sequence[Mapping[str, Any]], row: Mapping[str, Any], field: str) -> Any:
    """Row whose name is the declared base or teacher of another one, of the same kind first."""
    others: list[Any] = (
        [r for r in rows if r["name"] == row[field] and r is not row] if row[field] else []
    )
    same = [r for r in others if r["kind"] == row["kind"]]
    return next(iter(same or others), None)


# The plot

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 52, 24, 16, 46
WIDE = 20 / 12  # how much larger a narrow page sets the labels, in units of the plot


def _plot(rows: Sequence[Mapping[str, Any]], metric: str) -> dict[str, Any] | None:
    """Coordinates of size against overall score; None if no row has both."""
    data = [
        (row, float(row["parameters"]), value)
        for row in rows
        if row["parameters"] and (value := _value(row, metric, "overall")) is not None
    ]
    if not data:
        return None
    x_low = math.floor(min(math.log10(x) for _, x, _ in data) * 2 - 0.1) / 2
    x_high = math.ceil(max(math.log10(x) for _, x, _ in data) * 2 + 0.1) / 2
    y_low = math.floor(min(y for *_, y in data) * 10 - 0.2) / 10
    y_high = math.ceil(max(y for *_, y in data) * 10 + 0.2) / 10
    y_low, y_high = max(0.0, y_low), min(1.0, y_high)

    def x_of(count: float) -> float:
        share = (math.log10(count) - x_low) / (x_high - x_low)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y_of(score: float) -> float:
        share = (score - y_low) / ((y_high - y_low) or 1)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)

    points = [_point(row, x_of(x), y_of(y)) for row, x, y in data]
    frontier = _frontier([(x, y, row) for row, x, y in data if row["ranked"]])
    at = {point["key"]: point for point in points}
    corners = [(at[row["key"]]["x"], at[row["key"]]["y"]) for row in frontier]
    steps = [(x, y) for (_, y), (x, _) in pairwise(corners)]
    path = (
        [
            point
            for pair in zip(corners, [*steps, (WIDTH - RIGHT, corners[-1][1])], strict=True)
            for point in pair
        ]
        if corners
        else []
    )
    for point in points:
        point["frontier"] = any(row["key"] == point["key"] for row in frontier)
    _place_labels(points, path)
    x_ticks = [m * 10**e for e in range(int(x_low) - 1, int(x_high) + 1) for m in (1, 3)]
    return {
        "points": points,
        "path": " ".join(f"{x},{y}" for x, y in path),
        "arrows": _arrows(rows, at),
        "x_ticks": [(x_of(t), _parameters(t)) for t in x_ticks if x_low <= math.log10(t) <= x_high],
        "y_ticks": [
            (y_of(t / 10), 10 * t) for t in range(round(10 * y_low), round(10 * y_high) + 1)
        ],
        "size": (WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM),
    }


def _point(row: Mapping[str, Any], x: float, y: float) -> dict[str, Any]:
    return {
        "key": row["key"],
        "row": row,
        "x": x,
        "y": y,
        "kind": row["kind"],
        "shape": row["role"] if row["role"] in ("teacher", "student", "baseline") else "other",
        "label": _short(row["name"], 24),
    }


def _frontier(data: Sequence[tuple[float, float, Any]]) -> list[Any]:
    """Ranked rows that no smaller (or equally large) row beats, smallest first."""
    best = -1.0
    kept: list[Any] = []
    for _, score, row in sorted(data, key=lambda item: (item[0], -item[1], item[2]["key"])):
        if score > best:
            kept.append(row)
            best = score
    return kept


def _arrows(
    rows: Sequence[Mapping[str, Any]], at: Mapping[str, Mapping[str, Any]]
) -> list[tuple[float, float, float, float]]:
    """Lines from base to student that stop short of both marks."""
    arrows: list[tuple[float, float, float, float]] = []
    for row in rows:
        base = _named(rows, row, "base")
        if base is None or base["key"] not in at or row["key"] not in at:
            continue
        a, b = at[base["key"]], at[row["key"]]
        length = math.hypot(b["x"] - a["x"], b["y"] - a["y"])
        if length < 20:
            continue
        dx, dy = (b["x"] - a["x"]) / length, (b["y"] - a["y"]) / length
        line = (a["x"] + 7 * dx, a["y"] + 7 * dy, b["x"] - 9 * dx, b["y"] - 9 * dy)
        arrows.append((round(line[0], 1), round(line[1], 1), round(line[2], 1), round(line[3], 1)))
    return arrows


def _place_labels(points: Sequence[dict[str, Any]], path: Sequence[tuple[float, float]]) -> None:
    """Put each label where it covers no mark, line or other label, or leave it to the tooltip.

    A narrow page sets labels larger: those without room there are ``only_wide``.
    """
    taken = [(p["x"] - 6, p["y"] - 6, p["x"] + 6, p["y"] + 6) for p in points]
    for (x0, y0), (x1, y1) in pairwise(path):
        taken.append((min(x0, x1), min(y0, y1) - 3, max(x0, x1) + 3, max(y0, y1) + 3))
    marks = taken[: len(points)]
    taken_on_narrow = taken[len(points) :]
    for point in sorted(points, key=lambda p: (not p["frontier"], p["kind"], -p["row"]["ranked"])):
        wide, x, y = 6.9 * len(point["label"]), point["x"], point["y"]
        point["anchor"] = ""
        for anchor, left, middle in (
            ("start", x + 10, y),
            ("end", x - 10 - wide, y),
            ("middle", x - wide / 2, y - 14),
            ("middle", x - wide / 2, y + 14),
        ):
            box = (left, middle - 7, left + wide, middle + 7)
            if _has_room(box, taken):
                taken.append(box)
                near = {"start": left, "end": left + wide, "middle": x}[anchor]
                larger = WIDE * wide
                left = near - {"start": 0, "end": larger, "middle": larger / 2}[anchor]
                box = (left, middle + 4 - 11 * WIDE, left + larger, middle + 4 + 3 * WIDE)
                others = [mark for p, mark in zip(points, marks, strict=True) if p is not point]
                fits = _has_room(box, [*others, *taken_on_narrow])
                taken_on_narrow += [box] if fits else []
                point |= {
                    "anchor": anchor,
                    "label_x": round(near, 1),
                    "label_y": round(middle + 4, 1),
                    "only_wide": not fits,
                }
                break


Box = tuple[float, float, float, float]


def _has_room(box: Box, taken: Sequence[Box]) -> bool:
    inside = box[0] > LEFT and box[2] < WIDTH - 2 and box[1] > 0
    return inside and not any(_overlap(box, other) for other in taken)


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]

"""A run as one page: scores, intervals, loss curves, filters, coverage, steps.

Whatever comes out of a file may be hostile: all of it is escaped by the template, numbers are
checked before they become coordinates, and the page's policy lets nothing be loaded or run. A
piece that is not there, or not in its form, is left out with a line that says so.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from distill.funnel import REASONS
from distill.steps import write_beside
from sentibench.cards import load_leaves

HERE = Path(__file__).parent
NONE = "–"
STAGES = ("knowdist", "icldist", "mixed")
LABELS = {
    "teacher": "Teacher",
    "base": "Base",
    "knowdist": "KnowDist",
    "icldist": "ICLDist",
    "mixed": "Mixed",
    "all": "Mean of all",
    "seen": "Mean of seen",
    "unseen": "Mean of unseen",
}
LARGEST = 1e15
MAX_DOTS, MAX_CORNERS = 600, 300  # of a loss curve
MAX_EXAMPLES, EXAMPLE_CHARACTERS = 2, 90
MAX_VALUES = 10  # of an axis, before the rest is folded
SURROGATES = re.compile("[\ud800-\udfff]")


def write_report(run_folder: Path, manifest: Mapping[str, Any]) -> Path:
    """Write ``report.html`` into a run's folder.

    Args:
        run_folder: Holds ``<stage>-filter/funnel.json`` and ``<stage>-train/log.jsonl``.
        manifest: As ``run.json`` has it, with ``name``, ``stages``, ``scores`` and ``comparison``
            (``gap.compare``); any of them may be missing.

    Returns:
        The page, which needs no other file and no script. The same input gives the same text.
    """
    stages = stages_of(manifest)
    config = mapping(manifest.get("config"))
    page = template("report.html.jinja", autoescape=True).render(
        name=short(manifest.get("name") or config.get("name") or "unnamed run", 80),
        lineage=_lineage(manifest, stages),
        teacher={key: dig(manifest, "teacher", key) or "" for key in ("name", "revision")},
        evaluation=_evaluation(config),
        scores=_scores(manifest, stages),
        differences=_differences(mapping(manifest.get("comparison"))),
        gaps=_gaps(mapping(manifest.get("comparison"))),
        curves=[_curve(run_folder, stage, manifest) for stage in stages],
        funnels=[_funnel(run_folder, source) for source in _sources(manifest, stages)],
        texts=_texts(manifest),
        coverage=_coverage(manifest),
        steps=_steps(manifest),
        packages=sorted(mapping(manifest.get("packages")).items()),
        models=[(path, mapping(f)) for path, f in mapping(manifest.get("models")).items()],
        config=_as_yaml(config),
        label=label,
        short=short,
    )
    path = run_folder / "report.html"
    write_beside(path, SURROGATES.sub("\ufffd", page))
    return path


def template(name: str, **escaping: Any) -> Template:
    """A template of the package, in which every variable must be given.

    Args:
        name: Of a file in ``templates/``.
        escaping: ``autoescape`` for HTML, ``finalize`` for other languages.
    """
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **escaping,
    )
    return environment.get_template(name)


# Values of unknown form


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is a mapping with texts as keys, else an empty one."""
    if not isinstance(value, Mapping):
        return {}
    found = cast("Mapping[Any, Any]", value)
    return {key: below for key, below in found.items() if isinstance(key, str)}


def items(value: Any) -> Sequence[Any]:
    """The value if it is a list, else an empty one."""
    return cast("Sequence[Any]", value) if isinstance(value, (list, tuple)) else ()


def number(value: Any) -> float | None:
    """The value if it is a number that can be drawn, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) < LARGEST else None  # NaN is not below it


def count(value: Any) -> int:
    """The value if it is a whole number from 0, else 0."""
    found = number(value)
    return int(found) if found is not None and found >= 0 else 0


def stages_of(manifest: Mapping[str, Any]) -> list[str]:
    """The training stages of a run, in their order; other names are none of ours."""
    return [stage for stage in items(manifest.get("stages")) if stage in STAGES]


def dig(value: Any, *keys: str) -> Any:
    """What lies below keys in nested mappings; None where one is missing."""
    for key in keys:
        value = mapping(value).get(key)
    return value


# Texts


def short(value: Any, length: int = 60) -> str:
    """The beginning of a text, on one line."""
    text = " ".join(str(value)[: 4 * length].split())
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def label(model: str) -> str:
    """How a model or a mean is called; foreign keys as they are."""
    return LABELS.get(model, short(model, 40))


def task_title(task: str) -> str:
    """How a task is called."""
    leaf = load_leaves().get(task)
    if leaf is None:
        return short(task, 40)
    return f"{leaf.card.title} (mini)" if leaf.source == "mini" else leaf.card.title


def percent(fraction: float, signed: bool = False, digits: int = 1) -> str:
    """A fraction times 100; with a sign, and a minus that is one."""
    text = f"{100 * fraction:{'+' if signed else ''}.{digits}f}"
    if float(text) == 0:
        text = text.replace("-", "+") if signed else text.lstrip("-")
    return text.replace("-", "−")


def span(interval: Any, signed: bool = False, digits: int = 1) -> str:
    """``+2.1 (+0.4 to +3.9)`` of value, low and high; empty if one is missing."""
    numbers = triple(interval)
    if numbers is None:
        return ""
    value, low, high = (percent(n, signed, digits) for n in numbers)
    return f"{value} ({low} to {high})"


def triple(interval: Any) -> tuple[float, float, float] | None:
    """Value, low and high of an interval."""
    found = [number(dig(interval, key)) for key in ("value", "low", "high")]
    value, low, high = found
    return None if value is None or low is None or high is None else (value, low, high)


def duration(seconds: Any) -> str:
    """Seconds for people."""
    found = number(seconds)
    if found is None or found < 0:
        return NONE
    if found < 60:
        return f"{found:.1f} s"
    minutes, rest = divmod(round(found), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def plain(value: Any) -> str:
    """A value of a summary for people."""
    found = number(value)
    if found is None:
        return "yes" if value is True else "no" if value is False else short(value, 60)
    return f"{int(found):,}" if found == int(found) and abs(found) < 1e15 else f"{found:.4g}"


def _as_yaml(config: Mapping[str, Any]) -> str:
    readable = json.loads(json.dumps(config, default=str))
    return yaml.safe_dump(readable, sort_keys=False, allow_unicode=True) if readable else ""


# Coordinates: percentages of the drawing's width or height, so that texts keep their size


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear scale with round ticks.

    Attributes:
        low: The value at 0%.
        high: The value at 100%, above ``low``.
        ticks: Values between them.
    """

    low: float
    high: float
    ticks: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"axis from {self.low} to {self.high}")

    @classmethod
    def around(cls, low: float, high: float, wanted: int = 7) -> Axis:
        """An axis from a round number below to one above."""
        if high - low <= 1e-9 * max(abs(low), abs(high)):
            low, high = low - (abs(low) / 10 or 1), high + (abs(high) / 10 or 1)
        rough = (high - low) / wanted
        power = 10.0 ** math.floor(math.log10(rough))
        step = power * next(m for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        digits = max(0, 1 - math.floor(math.log10(step)))
        ticks = tuple(round(n * step, digits) for n in range(first, last + 1))
        return cls(ticks[0], ticks[-1], ticks)

    def at(self, value: float) -> float:
        """Place of a value in percent, cut at both ends."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(1.0, max(0.0, share)), 2)

    def tick_text(self, value: float) -> str:
        """A tick with as many decimals as all of them need."""
        step = self.ticks[1] - self.ticks[0]
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        return f"{value:.{digits}f}".replace("-", "−")


def _interval_plot(
    rows: Sequence[tuple[str, str, Sequence[Any]]], axis: Axis, signed: bool, reference: float
) -> dict[str, Any]:
    """Rows with one mark per series.

    Args:
        rows: (kind, title, one interval per series; None leaves it out), as fractions.
        axis: In percent or points.
        signed: Whether the numbers carry a sign.
        reference: The value that an interval has to exclude to be shown as sure, a fraction.
    """
    drawn: list[dict[str, Any]] = []
    is_cut = False
    for kind, title, intervals in rows:
        marks: list[dict[str, Any]] = []
        for series, interval in enumerate(intervals):
            numbers = triple(interval)
            if numbers is None:
                continue
            value, low, high = (100 * n for n in numbers)
            is_cut |= low < axis.low or high > axis.high
            marks.append(
                {
                    "series": series,
                    "x": axis.at(value),
                    "low": axis.at(low),
                    "high": axis.at(high),
                    "y": 12 + 20 * len(marks),
                    "text": span(interval, signed),
                    "sure": not low <= 100 * reference <= high,
                }
            )
        if marks:
            drawn.append({"kind": kind, "title": title, "marks": marks, "height": 20 * len(marks)})
    ticks = [{"x": axis.at(t), "text": axis.tick_text(t), "zero": t == 0} for t in axis.ticks]
    return {"rows": drawn, "ticks": ticks, "cut": is_cut}


# Sections


def _lineage(manifest: Mapping[str, Any], stages: Sequence[str]) -> list[dict[str, Any]]:
    """Base and stages with the mean of all tasks and its change."""
    names = model_names(manifest)
    links: list[dict[str, Any]] = []
    before: float | None = None
    for model in ("base", *stages):
        mean = number(dig(manifest, "comparison", "means", model, "all", "value"))
        change = "" if mean is None or before is None else percent(mean - before, signed=True)
        links.append(
            {
                "label": label(model),
                "name": short(names.get(model, ""), 60),
                "mean": "" if mean is None else percent(mean),
                "change": change,
            }
        )
        before = mean
    return links


def model_names(manifest: Mapping[str, Any]) -> dict[str, str]:
    """What a model of the run is called, by key."""
    config = mapping(manifest.get("config"))
    run = manifest.get("name") or config.get("name")
    names = {stage: f"{run}-{stage}" for stage in stages_of(manifest)}
    for model, name in (
        ("base", config.get("student")),
        ("teacher", dig(manifest, "teacher", "name")),
    ):
        if isinstance(name, str) and name:
            names[model] = name.replace("\\", "/").rstrip("/").rpartition("/")[2] or name
    return names


def _evaluation(config: Mapping[str, Any]) -> list[str]:
    """What a reader has to know about the scores of this run."""
    notes: list[str] = []
    limit = number(dig(config, "evaluation", "limit"))
    if limit is not None:
        notes.append(f"Only the first {limit:.0f} items of each task were evaluated.")
    if any("_mini" in str(task) for task in items(dig(config, "evaluation", "tasks"))):
        notes.append("The mini tasks are the package's small stand-ins, not the benchmark.")
    return notes


def ordered_scores(
    manifest: Mapping[str, Any],
) -> tuple[list[str], list[tuple[str, dict[str, tuple[float, float | None]]]]]:
    """Scores in the order in which they are shown.

    Returns:
        Models (teacher, base, stages, others) and rows: task or group, and per model score and
        standard error (None where it is unknown), fractions. Tasks of the benchmark come first, in
        its order.
    """
    given = mapping(manifest.get("scores"))
    first = [m for m in ("teacher", "base", *stages_of(manifest)) if m in given]
    models = [*dict.fromkeys(first), *sorted(set(given) - set(first))]
    cells: dict[str, dict[str, tuple[float, float | None]]] = {}
    for model in models:
        for task, pair in mapping(given[model]).items():
            numbers = [number(value) for value in (*items(pair), None, None)[:2]]
            if numbers[0] is not None:
                cells.setdefault(task, {})[model] = (numbers[0], numbers[1])
    order = list(load_leaves())
    known = [task for task in order if task in cells]
    return models, [(task, cells[task]) for task in [*known, *sorted(set(cells) - set(known))]]


def _scores(manifest: Mapping[str, Any], stages: Sequence[str]) -> dict[str, Any]:
    models, found = ordered_scores(manifest)
    names, means = model_names(manifest), dig(manifest, "comparison", "means")
    rows: list[dict[str, Any]] = []
    for scope in ("all", "seen", "unseen"):
        cells = [_cell(*(dig(means, m, scope, key) for key in ("value", "stderr"))) for m in models]
        if any(cells):
            rows.append({"kind": "mean", "title": label(scope), "task": "", "cells": cells})
    for task, by_model in found:
        if task not in load_leaves() and rows and rows[0]["kind"] == "mean":
            continue  # lm-eval's own means of groups say the same
        cells = [_cell(*by_model[m]) if m in by_model else None for m in models]
        kind = "task" if task in load_leaves() else "mean"
        rows.append({"kind": kind, "title": task_title(task), "task": task, "cells": cells})
    missing = [label(m) for m in ("teacher", "base", *stages) if m not in models]
    return {
        "models": [{"label": label(m), "name": short(names.get(m, ""), 40)} for m in models],
        "rows": rows,
        "missing": missing,
    }


def _cell(value: Any, stderr: Any) -> dict[str, str] | None:
    score, error = number(value), number(stderr)
    if score is None:
        return None
    return {"value": percent(score), "stderr": "" if error is None else f"± {percent(error)}"}


def _differences(comparison: Mapping[str, Any]) -> dict[str, Any] | None:
    """Differences to the base, drawn; None without any."""
    students = mapping(comparison.get("students"))
    rows: list[tuple[str, str, Sequence[Any]]] = []
    for scope in ("all", "seen", "unseen"):
        found = [dig(cells, scope, "difference") for cells in students.values()]
        rows.append(("mean", label(scope), found))
    for task in mapping(comparison.get("tasks")):
        found = [dig(cells, "tasks", task, "difference") for cells in students.values()]
        rows.append(("task", task_title(task), found))
    ends = [100 * n for *_, row in rows for i in row for n in triple(i) or ()]
    if not ends:
        return None
    plot = _interval_plot(rows, Axis.around(min(0, *ends), max(0, *ends)), True, 0.0)
    return {
        **plot,
        "series": [label(student) for student in students],
        "replicates": f"{count(comparison.get('replicates')):,}",
        "left_out": left_out(comparison),
    }


def left_out(comparison: Mapping[str, Any]) -> list[str]:
    """What is not in the comparison, one line each."""
    return [
        f"{label(str(dig(row, 'model')))}, "
        f"{task_title(str(dig(row, 'task') or 'all tasks'))}: {short(dig(row, 'reason'), 160)}"
        for row in items(comparison.get("left_out"))
    ]


def _gaps(comparison: Mapping[str, Any]) -> dict[str, Any] | None:
    """Gap closed per mean, drawn, and per task; None without any student."""
    students = mapping(comparison.get("students"))
    if not students:
        return None
    scopes = ("all", "seen", "unseen")
    rows = [
        ("mean", label(scope), [dig(c, scope, "gap_closed") for c in students.values()])
        for scope in scopes
    ]
    triples = [triple(interval) for *_, row in rows for interval in row]
    ends = [100 * n for numbers in triples for n in numbers or ()]
    low, high = max(-100.0, min((0, *ends))), min(200.0, max((100, *ends)))
    reasons: dict[str, list[str]] = {}
    for name, cells in students.items():
        for scope in scopes:
            reason = dig(cells, scope, "reason")
            if triple(dig(cells, scope, "gap_closed")) is None and reason:
                reasons.setdefault(short(reason, 200), []).append(f"{label(name)}, {label(scope)}")
    tasks = [
        (
            task_title(task),
            [
                span(dig(cells, "tasks", task, "gap_closed"), digits=0)
                or short(dig(cells, "tasks", task, "reason") or NONE, 160)
                for cells in students.values()
            ],
        )
        for task in mapping(comparison.get("tasks"))
    ]
    return {
        **_interval_plot(rows, Axis.around(low, high), False, 0.0),
        "series": [label(student) for student in students],
        "reasons": [
            (reason, "any of them" if len(reasons) == 1 and not any(triples) else "; ".join(of))
            for reason, of in reasons.items()
        ],
        "tasks": tasks,
        "lead": span(dig(comparison, "lead", "all"), signed=True),
    }


def _sources(manifest: Mapping[str, Any], stages: Sequence[str]) -> list[str]:
    """The stages whose answers were filtered; a mixed run has both."""
    return ["knowdist", "icldist"] if "mixed" in stages else list(stages)


def read_log(path: Path) -> tuple[list[tuple[float, float]], int]:
    """Read the steps of a training.

    Returns:
        (step, loss in nats per token) in the order of steps, the last line of each step, and how
        many lines are no finite loss.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return [], 0
    found: dict[float, float] = {}
    broken = 0
    for line in lines:
        try:
            row: Any = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        step, loss = number(dig(row, "step")), number(dig(row, "loss_nats_per_token"))
        if step is None or loss is None:
            broken += bool(line.strip())
        else:
            found[step] = loss
    return sorted(found.items()), broken


def moving_mean(values: Sequence[float], window: int) -> list[float]:
    """Mean over the window around each value, cut at both ends.

    Args:
        values: N numbers.
        window: Values in it, odd.

    Returns:
        N numbers.
    """
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    half = window // 2
    ends = [(max(0, i - half), min(len(values), i + half + 1)) for i in range(len(values))]
    return [(sums[b] - sums[a]) / (b - a) for a, b in ends]


def _curve(run_folder: Path, stage: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The loss of a stage: all steps faint, their moving mean as a line."""
    points, broken = read_log(run_folder / f"{stage}-train" / "log.jsonl")
    summary = mapping(dig(manifest, "steps", f"{stage}-train", "summary"))
    view: dict[str, Any] = {"stage": stage, "title": label(stage), "broken": broken, "dots": []}
    if len(points) < 2:
        return view
    steps, losses = zip(*points, strict=True)
    window = max(1, len(points) // 20) | 1
    smooth = moving_mean(losses, window)
    x, y = Axis.around(min(0, steps[0]), steps[-1]), Axis.around(min(losses), max(losses), 5)
    x = Axis(x.low, steps[-1], tuple(t for t in x.ticks if t <= steps[-1] and t % 1 == 0))
    every = math.ceil(len(points) / MAX_DOTS)
    corners = sorted(
        {*range(0, len(points), math.ceil(len(points) / MAX_CORNERS)), -1 % len(points)}
    )
    return view | {
        "n": len(points),
        "window": window,
        "every": every,
        "dots": [(x.at(s), round(100 - y.at(v), 2)) for s, v in points[::every]],
        "line": " ".join(
            f"{10 * x.at(steps[i]):.1f},{1000 - 10 * y.at(smooth[i]):.1f}" for i in corners
        ),
        "x_ticks": [(x.at(t), f"{t:,.0f}") for t in x.ticks],
        "y_ticks": [(round(100 - y.at(t), 2), y.tick_text(t)) for t in y.ticks],
        "first": f"{smooth[0]:.3f}",
        "last": f"{smooth[-1]:.3f}",
        "facts": [
            (key.replace("_", " "), plain(summary[key]))
            for key in ("samples", "supervised_tokens", "left_out_too_long", "lost_demonstrations")
            if key in summary
        ],
    }


def _funnel(run_folder: Path, source: str) -> dict[str, Any]:
    """What became of the requests of a stage, as a falling bar."""
    view: dict[str, Any] = {"stage": source, "title": label(source), "rows": []}
    try:
        path = run_folder / f"{source}-filter" / "funnel.json"
        found = mapping(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return view
    table = [mapping(row) for row in items(found.get("table"))]
    total = next((row for row in reversed(table) if row.get("family") == "all"), mapping(None))
    asked = count(total.get("asked"))
    if not asked:
        return view
    left = asked
    rows = [_bar("asked", "asked", asked, 0, asked, asked)]
    drops = [(r, count(total.get(r))) for r in ("failed", *REASONS)]
    for reason, n in drops:
        if n:
            left -= n
            row = _bar("drop", "no answer" if reason == "failed" else reason, n, left, n, asked)
            rows.append({**row, "examples": list(_examples(found, reason))})
    kept = count(total.get("kept"))
    rows.append(_bar("kept", "kept", kept, 0, kept, asked))
    unchecked = [short(r, 40) for r in items(found.get("not_checked"))]
    return view | {
        "rows": rows,
        "none": [r for r, n in drops if not n and r != "failed" and r not in unchecked],
        "not_checked": unchecked,
        "counts": [
            (what, [(short(k, 60), count(n)) for k, n in mapping(found.get(key)).items()])
            for what, key in (
                ("Requests without an answer", "failures"),
                ("Kept answers that were changed", "changed"),
                ("Overlaps with test sets", "overlaps"),
            )
            if mapping(found.get(key))
        ],
        "columns": ["asked", "failed", *(r for r, n in drops if n and r != "failed"), "kept"],
        "table": [
            {**row, "family": short(row.get("family"), 30), "source": short(row.get("source"), 30)}
            for row in table
        ],
    }


def _bar(kind: str, title: str, n: int, start: int, length: int, whole: int) -> dict[str, Any]:
    """A piece of the falling bar; a count above zero is never invisible."""
    return {
        "kind": kind,
        "title": title,
        "n": f"{n:,}",
        "share": f"{100 * n / whole:.1f}%",
        "start": round(100 * max(0, min(start, whole)) / whole, 2),
        "width": round(max(0.4 if n else 0.0, 100 * min(length, whole) / whole), 2),
        "examples": [],
    }


def _examples(found: Mapping[str, Any], reason: str) -> Iterator[dict[str, str]]:
    for example in items(dig(found, "examples", reason))[:MAX_EXAMPLES]:
        yield {
            "id": short(dig(example, "id"), 60),
            "detail": short(dig(example, "detail") or "", 60),
            "excerpt": short(dig(example, "excerpt") or "", EXAMPLE_CHARACTERS),
        }


def _texts(manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    """The user texts that were drawn, and those left out before any teacher saw them."""
    summary = mapping(dig(manifest, "steps", "texts", "summary"))
    if "texts" not in summary:
        return None
    return {
        "n": f"{count(summary['texts']):,}",
        "left_out": [
            f"{count(row[2]):,} {short(row[1], 40)} ({short(row[0], 40)})"
            for row in map(items, items(summary.get("left_out")))
            if len(row) == 3
        ],
    }


def _coverage(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Requests per value of each axis of ICLDist, most frequent first."""
    axes: list[dict[str, Any]] = []
    found = mapping(dig(manifest, "steps", "icldist-ask", "summary", "coverage"))
    for axis, values in found.items():
        counts = {key: count(n) for key, n in mapping(values).items()}
        total = sum(counts.values())
        if not total:
            continue
        ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        rows = [
            {
                "value": short(value.replace("/", " / "), 60) or "none",
                "n": f"{n:,}",
                "share": f"{100 * n / total:.0f}%",
                "width": round(100 * n / ordered[0][1], 2),
            }
            for value, n in ordered
        ]
        folded = rows[MAX_VALUES:] if len(rows) > MAX_VALUES + 2 else []
        axes.append(
            {
                "axis": short(axis.replace("_", " "), 40),
                "rows": rows[: len(rows) - len(folded)],
                "folded": folded,
                "n": len(rows),
            }
        )
    return axes


def _steps(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Time, tokens and figures of every step."""
    rows: list[dict[str, Any]] = []
    total = 0.0
    for name, record in mapping(manifest.get("steps")).items():
        summary = mapping(dig(record, "summary"))
        figures = {k: v for k, v in summary.items() if not isinstance(v, (dict, list))}
        tokens = {k: v for k, v in figures.items() if "tokens" in k.split("_")}
        total += number(dig(record, "seconds")) or 0.0
        rows.append(
            {
                "name": short(name, 60),
                "time": duration(dig(record, "seconds")),
                "tokens": [(_figure(k, "tokens"), plain(v)) for k, v in tokens.items()],
                "figures": [(_figure(k), plain(v)) for k, v in figures.items() if k not in tokens],
            }
        )
    return {"rows": rows, "total": duration(total)}


def _figure(key: str, without: str = "") -> str:
    """A key of a summary as words."""
    words = [word for word in key.split("_") if word != without]
    return short(" ".join(words) or "all", 40)

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
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from distill.files import write_beside
from distill.filters.funnel import REASONS
from distill.report.interval_plot import Axis, interval_plot
from distill.report.manifest_values import (
    NONE,
    count,
    dig,
    duration,
    evaluation_notes,
    items,
    label,
    left_out,
    mapping,
    model_names,
    number,
    ordered_scores,
    percent,
    plain,
    short,
    span,
    stages_of,
    task_title,
    triple,
    worse_than_base,
)
from sentibench.data.cards import load_tasks

HERE = Path(__file__).parent
SURROGATES = re.compile("[\ud800-\udfff]")
MAX_DOTS, MAX_CORNERS = 600, 300  # of a loss curve
MAX_EXAMPLES, EXAMPLE_CHARACTERS = 2, 90
MAX_VALUES = 10  # of an axis, before the rest is folded


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
        evaluation=evaluation_notes(manifest),
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


def _as_yaml(config: Mapping[str, Any]) -> str:
    readable = json.loads(json.dumps(config, default=str))
    return yaml.safe_dump(readable, sort_keys=False, allow_unicode=True) if readable else ""


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


def _scores(manifest: Mapping[str, Any], stages: Sequence[str]) -> dict[str, Any]:
    models, found = ordered_scores(manifest)
    names, means = model_names(manifest), dig(manifest, "comparison", "means")
    rows: list[dict[str, Any]] = []
    for scope in ("all", "seen", "unseen"):
        cells = [_cell(*(dig(means, m, scope, key) for key in ("value", "stderr"))) for m in models]
        if any(cells):
            rows.append({"kind": "mean", "title": label(scope), "task": "", "cells": cells})
    for task, by_model in found:
        if task not in load_tasks() and rows and rows[0]["kind"] == "mean":
            continue  # lm-eval's own means of groups say the same
        cells = [_cell(*by_model[m]) if m in by_model else None for m in models]
        kind = "task" if task in load_tasks() else "mean"
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
    plot = interval_plot(rows, Axis.around(min(0, *ends), max(0, *ends)), True, 0.0)
    return {
        **plot,
        "series": [label(student) for student in students],
        "replicates": f"{count(comparison.get('replicates')):,}",
        "left_out": left_out(comparison),
        "worse_than_base": worse_than_base(comparison),
    }


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
        **interval_plot(rows, Axis.around(low, high), False, 0.0),
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
        **_ends(summary, smooth),
        "facts": [
            (key.replace("_", " "), plain(summary[key]))
            for key in ("samples", "supervised_tokens", "left_out_too_long", "lost_demonstrations")
            if key in summary
        ],
    }


def _ends(summary: Mapping[str, Any], smooth: Sequence[float]) -> dict[str, str]:
    """First and last loss: those of the training's summary, which the card shows too."""
    first, last = (number(summary.get(f"{end}_loss_nats_per_token")) for end in ("first", "last"))
    means = " (means of the first and the last tenth)"
    if first is None or last is None:
        first, last, means = smooth[0], smooth[-1], ""
    return {"first": f"{first:.3f}", "last": f"{last:.3f}", "means": means}


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

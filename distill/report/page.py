"""A run as one page: scores, intervals, loss curves, own tasks, filters, coverage, steps.

Names and texts may be hostile: the template escapes all of them, and the page's policy lets nothing
be loaded or run. A file of the run that is not there, or not in its form, is left out with a line
that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, Field, ValidationError

from distill.filters.funnel import Funnel
from distill.report.manifest import (
    Comparison,
    Differing,
    Manifest,
    Mean,
    OwnTask,
    Progress,
    Score,
    Stage,
)
from distill.report.own_tasks import examples, read_asked
from distill.report.wording import (
    Cells,
    all_tasks,
    compared_means,
    compared_tasks,
    evaluation_notes,
    label,
    left_out,
    task_title,
    template,
    worse_than_base,
)
from sentibench.data.cards import load_tasks
from sentibench.files import write_beside
from sentibench.pages import calibration as measures
from sentibench.pages.drawing import Axis, Curve, Plot, curve, falling_bars, interval_plot
from sentibench.pages.text import without_surrogates
from sentibench.scoring.statistics import Estimate


def write_report(run_folder: Path, manifest: Manifest) -> Path:
    """Write ``report.html`` into a run's folder.

    Args:
        run_folder: Holds ``texts/funnel.json``, ``<step>/funnel.json`` and
            ``<stage>-train/log.jsonl``; ``agreement/agreement.json`` for own tasks.
        manifest: Of the run.

    Returns:
        The page, which needs no other file and no script. The same input gives the same text.
    """
    comparison = manifest.comparison
    config = manifest.config.model_dump(mode="json")
    page = template("report.html.jinja").render(
        manifest=manifest,
        names=manifest.names(),
        notes=evaluation_notes(manifest),
        rows=_score_rows(manifest),
        students=comparison.students,
        differences=_differences(comparison),
        of_all=all_tasks(comparison),
        has_seen="seen" in comparison.scopes() or "unseen" in comparison.scopes(),
        worse_than_base=worse_than_base(comparison),
        measures=measures,
        left_out=left_out(comparison),
        gaps=_gaps(comparison),
        without_gap=_without_gap(comparison),
        curves=[(stage, *_curve(run_folder, stage)) for stage in manifest.stages],
        own_tasks=_own_tasks(run_folder / "agreement", manifest),
        funnels=[(name, _funnel(run_folder / step)) for name, step in _asked(manifest).items()],
        is_zero_shot=bool(manifest.config.icldist) and not max(manifest.config.icldist.shots),
        text_examples=_text_examples(run_folder / "texts" / "funnel.json"),
        coverage=_coverage(manifest),
        config=yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
    )
    path = run_folder / "report.html"
    write_beside(path, without_surrogates(page))
    return path


# Scores


def _score_rows(manifest: Manifest) -> list[tuple[str, str, list[Mean | Score | None]]]:
    """Kind, title and one score per model: means first, then tasks."""
    means = [manifest.comparison.means.get(model) for model in manifest.scores]
    scopes = manifest.comparison.scopes()
    by_scope = [(scope, [mean and mean.of(scope) for mean in means]) for scope in scopes]
    rows: list[tuple[str, str, list[Mean | Score | None]]] = [
        ("mean", label(scope), [*cells]) for scope, cells in by_scope if any(cells)
    ]
    has_means = bool(manifest.comparison.means)
    for task, by_model in manifest.score_rows():
        kind = "task" if task in load_tasks() else "mean"
        if kind == "task" or not has_means:  # lm-eval's own means of groups say the same
            rows.append((kind, task_title(task), [by_model.get(m) for m in manifest.scores]))
    return rows


# The comparison

Figure = Callable[[Progress], Estimate | None]
Rows = list[tuple[str, str, list[Estimate | None]]]


def _differences(comparison: Comparison) -> Plot | None:
    """Differences to the base; None without any."""
    cells = [*compared_means(comparison), *compared_tasks(comparison)]
    rows = _rows(cells, comparison, lambda cell: cell.difference)
    ends = _ends(rows)
    if not ends:
        return None
    return interval_plot(rows, Axis.around(min(0, *ends), max(0, *ends)), signed=True)


def _rows(cells: Iterable[Cells], comparison: Comparison, figure: Figure) -> Rows:
    """A figure of each student, None where it has none."""
    return [
        (kind, title, [(m in of and figure(of[m])) or None for m in comparison.students])
        for kind, title, of in cells
    ]


def _gap_cells(comparison: Comparison) -> list[Cells]:
    """On the means; on the task where there is one alone."""
    return compared_means(comparison) or compared_tasks(comparison)


def _gaps(comparison: Comparison) -> Plot:
    """Gap closed per mean."""
    rows = _rows(_gap_cells(comparison), comparison, lambda cell: cell.gap_closed)
    ends = _ends(rows)
    axis = Axis.around(max(-100.0, min((0, *ends))), min(200.0, max((100, *ends))))
    return interval_plot(rows, axis, signed=False)


def _without_gap(comparison: Comparison) -> dict[str, list[str]]:
    """Why no gap is given -> the means of students that it concerns."""
    reasons: dict[str, list[str]] = {}
    for model in comparison.students:
        for _, title, of in _gap_cells(comparison):
            if model in of and not of[model].gap_closed:
                reasons.setdefault(of[model].reason, []).append(f"{label(model)}, {title}")
    return reasons


def _ends(rows: Rows) -> list[float]:
    """All numbers of a plot, in percent."""
    found = [interval for *_, row in rows for interval in row if interval]
    return [100 * number for i in found for number in (i.value, i.low, i.high)]


# Training


class _Logged(BaseModel, strict=True):
    """A step of ``log.jsonl``; no number that cannot be drawn."""

    step: int = Field(ge=0, lt=10**15)
    loss_nats_per_token: float = Field(gt=-1e15, lt=1e15)


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
    for line in filter(str.strip, lines):
        try:
            logged = _Logged.model_validate_json(line)
            found[logged.step] = logged.loss_nats_per_token
        except ValidationError:
            broken += 1
    return sorted(found.items()), broken


def _curve(run_folder: Path, stage: Stage) -> tuple[Curve | None, int]:
    """The loss of a stage, where enough steps were logged, and the lines that are no loss."""
    points, broken = read_log(run_folder / f"{stage}-train" / "log.jsonl")
    return curve(points) if len(points) > 1 else None, broken


# Own tasks


def _own_tasks(
    folder: Path, manifest: Manifest
) -> list[tuple[str, OwnTask, list[tuple[Differing, list[str]]]]]:
    """Task, what was found out on it, and texts of each pair of answers that differ.

    Args:
        folder: Of the step that asked teacher and student; without its file there are no texts.
        manifest: Of the run.
    """
    answers = read_asked(folder).answers
    return [
        (
            task,
            found,
            [(p, examples(answers.get(task, ()), p)) for p in found.agreement.differing],
        )
        for task, found in manifest.own_tasks.items()
    ]


# Requests


class _TextFunnel(BaseModel):
    """What the page shows of the ``funnel.json`` of the texts."""

    examples: dict[str, tuple[str, ...]] = {}


def _text_examples(path: Path) -> dict[str, tuple[str, ...]]:
    """Reason -> excerpts of texts that were left out or cleaned; none without the file."""
    try:
        return _TextFunnel.model_validate_json(path.read_bytes()).examples
    except (OSError, ValidationError):
        return {}


def _asked(manifest: Manifest) -> dict[str, str]:
    """What was asked -> the step that read the answers."""
    found = {source: f"{source}-filter" for source in manifest.sources}
    return found | {name: name for name in ("demonstrations",) if name in manifest.steps}


def _funnel(folder: Path) -> dict[str, Any] | None:
    """None where the file is not there, not in its form or counts nothing."""
    try:
        found = Funnel.model_validate_json((folder / "funnel.json").read_bytes())
    except (OSError, ValidationError):
        return None
    asked, drops = found.total("asked"), found.drops
    if not asked:
        return None
    met = [reason for reason, n in drops.items() if n]
    return {
        **dict(found),
        "unmet": [reason for reason in drops if reason not in (*met, *found.not_checked)],
        "columns": ["asked", "failed", *met, "kept"],
        "bars": falling_bars(
            asked, {"no answer": found.total("failed"), **drops}, found.total("kept")
        ),
    }


def _coverage(manifest: Manifest) -> dict[str, list[tuple[str, int]]]:
    """Axis of ICLDist -> its values with their requests, most frequent first."""
    return {
        axis: sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        for axis, counts in manifest.summary("icldist-ask").coverage.items()
        if any(counts.values())
    }

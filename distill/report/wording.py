"""How page and card call and write what a manifest holds."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from jinja2 import Template

from distill.config import Evaluation
from distill.report.manifest import Comparison, Manifest, Progress
from sentibench.data.cards import load_tasks
from sentibench.pages.drawing import span
from sentibench.pages.environment import template_environment
from sentibench.pages.text import percent, short
from sentibench.prompts.demonstrations import DEFAULT_SEED

LABELS = {
    "teacher": "Teacher",
    "base": "Base",
    "knowdist": "KnowDist",
    "icldist": "ICLDist",
    "mixed": "Mixed",
    "demonstrations": "Labels of demonstrations",
    "all": "Mean of all",
    "seen": "Mean of seen",
    "unseen": "Mean of unseen",
}


def template(name: str, escape: Callable[[Any], str] | None = None) -> Template:
    """A template of the package, and what it may call.

    Args:
        name: Of a file in ``templates/``.
        escape: As of ``template_environment``.
    """
    environment = template_environment(Path(__file__).parent / "templates", escape)
    functions = (label, task_title, plain, words, duration, short, percent, span)
    called = {function.__name__: function for function in functions}
    return environment.get_template(name, globals=called)


def label(model: str) -> str:
    """How a model or a mean is called; foreign keys as they are."""
    return LABELS.get(model, short(model, 40))


def task_title(task: str) -> str:
    """How a task is called."""
    known = load_tasks().get(task)
    if known is None:
        return short(task, 40)
    return f"{known.card.title} (mini)" if known.source == "mini" else known.card.title


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def plain(value: object) -> str:
    """A value of a summary for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and not (math.isfinite(value) and value.is_integer()):
        return f"{value:.4g}"
    return f"{value:,.0f}" if isinstance(value, (int, float)) else short(value, 60)


def words(key: str) -> str:
    """A key as words."""
    return key.replace("_", " ")


def known_limits(evaluation: Evaluation) -> dict[str, int]:
    """Task -> first items, where they are not the limit of all; tasks of ours alone."""
    return {task: n for task, n in evaluation.limits.items() if task in load_tasks()}


def evaluation_notes(manifest: Manifest) -> list[str]:
    """What a reader has to know about the scores of a run."""
    notes = template("notes.txt.jinja", str)
    limits = known_limits(manifest.config.evaluation)
    known = {"limits": limits, "default_seed": DEFAULT_SEED}
    return notes.render(manifest=manifest, **known).splitlines()


Cells = tuple[Literal["mean", "task"], str, dict[str, Progress]]
"""Kind, title, and how far each student has come."""


def compared_means(comparison: Comparison) -> list[Cells]:
    """How far students have come on each mean."""
    students = comparison.students.items()
    return [
        ("mean", label(scope), {model: cell for model, s in students if (cell := s.of(scope))})
        for scope in comparison.scopes()
    ]


def compared_tasks(comparison: Comparison) -> list[Cells]:
    """How far students have come on each task."""
    return [
        ("task", task_title(task), {m: s.tasks[task] for m, s in comparison.students.items()})
        for task in comparison.tasks
    ]


def all_tasks(comparison: Comparison) -> str:
    """What a figure over all tasks is of; a mean over one task is that task."""
    tasks = list(comparison.tasks)
    return "the mean of all tasks" if comparison.scopes() else ", ".join(map(task_title, tasks))


def worse_than_base(comparison: Comparison) -> dict[str, str]:
    """Student -> one sentence, for each that is surely worse than its base on the mean of all."""
    return {
        model: f"{label(model)} is worse than the base: {span(cells.all.difference, signed=True)} "
        f"points on {all_tasks(comparison)}."
        for model, cells in comparison.students.items()
        if cells.all and cells.all.difference.high < 0
    }


def in_short(comparison: Comparison) -> list[str]:
    """What became of each student, one line each."""
    return [
        f"{label(model)}: {span(cells.all.difference, signed=True)} points against the base on "
        f"{all_tasks(comparison)}"
        for model, cells in comparison.students.items()
        if cells.all
    ]


def left_out(comparison: Comparison) -> list[str]:
    """What is not in the comparison, one line each."""
    return [
        f"{label(row.model)}, {task_title(row.task or 'all tasks')}: {short(row.reason, 160)}"
        for row in comparison.left_out
    ]

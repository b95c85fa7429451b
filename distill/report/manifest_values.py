"""What page and card read of a manifest, and how they call and write it.

A manifest is a file, so any value may be missing or of another form: it then reads as nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from sentibench.data.cards import load_tasks

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
    known = load_tasks().get(task)
    if known is None:
        return short(task, 40)
    return f"{known.card.title} (mini)" if known.source == "mini" else known.card.title


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


# Parts of the manifest


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
    order = list(load_tasks())
    known = [task for task in order if task in cells]
    return models, [(task, cells[task]) for task in [*known, *sorted(set(cells) - set(known))]]


def limits_of(config: Mapping[str, Any]) -> dict[str, int]:
    """Task -> first items, where they are not the limit of all; tasks of ours alone."""
    given = mapping(dig(config, "evaluation", "limits"))
    return {task: count(n) for task, n in given.items() if task in load_tasks() and count(n)}


def evaluation_notes(manifest: Mapping[str, Any]) -> list[str]:
    """What a reader has to know about the scores of a run."""
    notes: list[str] = []
    config, tasks = manifest.get("config"), mapping(dig(manifest, "comparison", "tasks"))
    limit, limits = number(dig(config, "evaluation", "limit")), limits_of(mapping(config))
    if limit is not None and tasks and all(count(dig(t, "n")) < limit for t in tasks.values()):
        limit = None  # no task has so many items
    others = ", ".join(f"{n} of {task_title(task)}" for task, n in limits.items())
    if limit is not None:
        but = f" ({others})" if others else ""
        notes.append(f"Only the first {limit:.0f} items of each task were evaluated{but}.")
    elif others:
        notes.append(f"Of some tasks only the first items were evaluated ({others}).")
    if notes:
        notes.append("These scores cannot be compared with those of whole test sets.")
    if any("_mini" in str(task) for task in items(dig(config, "evaluation", "tasks"))):
        notes.append(
            "The mini tasks are the package's small stand-ins for the datasets: their scores say "
            "nothing about SentiBench."
        )
    if dig(config, "evaluation", "dtype") in ("bfloat16", "float16"):
        notes.append(f"Weights were held in {dig(config, 'evaluation', 'dtype')}.")
    return notes


def worse_than_base(comparison: Mapping[str, Any]) -> list[str]:
    """One sentence for each student that is surely worse than its base on the mean of all."""
    found = {
        model: dig(cells, "all", "difference")
        for model, cells in mapping(comparison.get("students")).items()
    }
    return [
        f"{label(model)} is worse than the base: {span(difference, signed=True)} points on the "
        "mean of all tasks."
        for model, difference in found.items()
        if (numbers := triple(difference)) and numbers[2] < 0
    ]


def left_out(comparison: Mapping[str, Any]) -> list[str]:
    """What is not in the comparison, one line each."""
    return [
        f"{label(str(dig(row, 'model')))}, "
        f"{task_title(str(dig(row, 'task') or 'all tasks'))}: {short(dig(row, 'reason'), 160)}"
        for row in items(comparison.get("left_out"))
    ]

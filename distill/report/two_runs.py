"""Two runs side by side: settings that differ, and paired differences of their scores.

Both are read from their results folders. Only items that both models answered are compared, under
the draws that page and leaderboard use.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from distill.report.manifest import Manifest, load_manifest
from distill.report.wording import label, task_title
from sentibench.data.cards import load_tasks
from sentibench.errors import InputError, nearest
from sentibench.pages.drawing import span
from sentibench.pages.text import percent, short
from sentibench.scoring.samples import Samples, Unusable, newest_samples, read_samples
from sentibench.scoring.statistics import Scores, estimate, mean_over_tasks, resample

EARLIER = "earlier"  # folder of a run: results of settings that it had before, by fingerprint
VALUE_LENGTH = 60


@dataclass(frozen=True, slots=True)
class _Run:
    """What is compared of a run.

    Attributes:
        folder: Holds ``run.json`` and the results of each model.
        manifest: Read from it.
    """

    folder: Path
    manifest: Manifest

    def results(self) -> dict[str, Path]:
        """Model -> folder of its results, where that is in the run's."""
        below = {path.name: path for path in self.folder.iterdir() if path.is_dir()}
        found: dict[str, Path] = {}
        for facts in self.manifest.models.values():
            stage = facts.name.rpartition("-")[2] if facts.role == "student" else ""
            model = stage or facts.role or "base"
            if facts.name in below:
                found[model] = below[facts.name]
        return found


def compare_runs(a: Path, b: Path) -> Iterator[str]:
    """Compare two runs.

    Args:
        a: Folder of a run, or of results with a ``run.json``; earlier results of a run are in
            its folder ``earlier``.
        b: The same, of the run whose scores stand in front of the minus.

    Yields:
        Lines for people: settings, then scores in percent and differences with 95% intervals.

    Raises:
        InputError: If one is no run with results, or no model of both answered the same items.
    """
    runs = [_load(a), _load(b)]
    table = [line for models in _pairs(*runs) for line in _table(*models)]
    if not any(line.count("[") for line in table):
        raise InputError(
            f"{a} and {b}: no two models of them answered the same items; measure both with the "
            "same evaluation.tasks"
        )
    yield f"A {runs[0].folder}"
    yield f"B {runs[1].folder}"
    yield ""
    yield "Settings that differ"
    yield from _settings(*(run.manifest for run in runs))
    yield ""
    yield "Scores in percent, and B - A in points with its 95% interval (paired by item)"
    yield from table


def _load(place: Path) -> _Run:
    for folder in (place, place / "results"):
        if (folder / "run.json").is_file():
            return _Run(folder, load_manifest(folder / "run.json"))
    is_earlier = place.parent.name == EARLIER
    known = sorted(path.name for path in place.parent.glob("*"))
    others = f"; {nearest(place.name, known)}" if is_earlier else ""
    raise InputError(
        f"{place}: no results of a run; expected run.json or results/run.json in it, as "
        f"`python -m distill run` writes them{others}"
    )


# Settings


def _settings(a: Manifest, b: Manifest) -> Iterator[str]:
    of_a, of_b = (_flat(run.config.model_dump(mode="json")) for run in (a, b))
    differ = [key for key in sorted({*of_a, *of_b}) if of_a.get(key) != of_b.get(key)]
    for key in differ:
        old, new = (short(of.get(key, "not given"), VALUE_LENGTH) for of in (of_a, of_b))
        yield f"  {key:36} {old} -> {new}"
    if not differ:
        yield "  none"


def _flat(value: Any, place: str = "") -> dict[str, str]:
    """Dotted key -> JSON of what is no section."""
    if not isinstance(value, dict):
        return {place: json.dumps(value, ensure_ascii=False)}
    found: dict[str, str] = {}
    for key, below in cast("dict[str, Any]", value).items():
        found |= _flat(below, f"{place}.{key}".lstrip("."))
    return found


# Scores


def _pairs(a: _Run, b: _Run) -> Iterator[tuple[str, Path | None, Path | None]]:
    """Models that stand for the same in both runs: by name, and the last students."""
    of_a, of_b = a.results(), b.results()
    for model in dict.fromkeys([*a.manifest.scores, *b.manifest.scores]):
        if model in of_a and model in of_b:
            yield label(model), of_a[model], of_b[model]
    last_a, last_b = a.manifest.stages[-1], b.manifest.stages[-1]
    if last_a != last_b:
        title = f"{label(last_b)} - {label(last_a)}"
        yield title, of_a.get(last_a), of_b.get(last_b)


def _table(title: str, a: Path | None, b: Path | None) -> Iterator[str]:
    """One line per task that both answered, and one of their mean."""
    found = [{} if folder is None else newest_samples(folder) for folder in (a, b)]
    scores: list[Scores] = []
    n_all = 0
    for task in (task for task in load_tasks() if task in found[0] and task in found[1]):
        try:
            known = load_tasks()[task]
            seeds = sorted(found[0][task].keys() & found[1][task].keys())
            both = [
                [read_samples(of[task][seed], known, with_texts=True) for seed in seeds]
                for of in found
            ]
            n, of_both = _on_shared_items(*both)
        except Unusable as error:
            yield _line(title, task_title(task), f"not compared: {error}")
            continue
        scores.append(of_both)
        n_all += n
        yield _line(title, task_title(task), _figures(n, of_both))
    if len(scores) > 1:
        yield _line(title, f"mean of {len(scores)} tasks", _figures(n_all, mean_over_tasks(scores)))


def _line(title: str, task: str, what: str) -> str:
    return f"  {title:20} {task:24} {what}"


def _figures(n: int, scores: Scores) -> str:
    a, b = scores.values_M
    draws = scores.draws_BM
    difference = estimate(b - a, draws[:, 1] - draws[:, 0])
    return f"{n:7,} items {percent(a):>6} {percent(b):>6}   [{span(difference, signed=True)}]"


def _on_shared_items(a: Sequence[Samples], b: Sequence[Samples]) -> tuple[int, Scores]:
    """Number of the items that both answered under every seed, and the scores of the two on these.

    Args:
        a: What the one answered, under each demonstration seed that both have.
        b: The same of the other.

    Raises:
        Unusable: If there are fewer than two.
    """
    places = [
        {(t.index, t.sentence, t.gold): place for place, t in enumerate(samples.texts)}
        for samples in (*a, *b)
    ]
    if not places:
        raise Unusable("no demonstration seed that both have; expected one at least")
    shared = [key for key in places[0] if all(key in of for of in places[1:])]
    if len(shared) < 2:
        raise Unusable(f"{len(shared)} items that both answered; expected at least 2")
    rows = [
        samples.statistics["official"][[of[key] for key in shared]]
        for samples, of in zip((*a, *b), places, strict=True)
    ]
    return len(shared), resample(a[0].task.card, [rows[: len(a)], rows[len(a) :]])

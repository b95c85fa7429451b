"""Entries -> calibration of their label tasks, as the board holds it."""

from __future__ import annotations

from collections.abc import Sequence

from leaderboard.runs.entries import Entry
from sentibench.scoring.calibration import METRICS, Answers, Bin, calibrations, reliability
from sentibench.scoring.statistics import Estimate

OVERALL = "overall"


def _answers(entry: Entry) -> dict[str, list[Answers]]:
    """Label task -> answers of its seeds, where all of them saved log-likelihoods.

    Seeds over different items cannot be averaged: such a task is left out.
    """
    found: dict[str, list[Answers]] = {}
    for task, runs in entry.runs.items():
        known = [run.samples.answers for run in runs]
        kept = [answers for answers in known if answers is not None]
        if len(kept) == len(runs) and len({len(answers.gold_N) for answers in kept}) == 1:
            found[task] = kept
    return found


def calibrations_of(entries: Sequence[Entry]) -> list[dict[str, dict[str, Estimate]]]:
    """Per entry: metric -> ``overall`` or label task -> value with its 95% interval."""
    return [
        {
            name: {OVERALL: mean} | {task: values[name] for task, values in found.tasks.items()}
            for name in METRICS
            if (mean := found.mean.get(name))
        }
        for found in calibrations(list(map(_answers, entries)))
    ]


def reliability_of(entry: Entry) -> dict[str, list[list[Bin]]]:
    """Label task -> per seed the bins of a reliability diagram."""
    return {task: list(map(reliability, seeds)) for task, seeds in _answers(entry).items()}

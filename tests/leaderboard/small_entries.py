"""Runs made in memory: 24 items of the small tasks, answers right by a list of zeros and ones."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from leaderboard.runs.results import Facts, Protocol, TaskRun
from sentibench.data.cards import Task, load_cards, tasks_of_source
from sentibench.scoring.metrics import label_statistics
from sentibench.scoring.samples import Samples

FACTS = Facts("1.0", "0.4.13", "", None, "16", "hf", {}, None)
PROTOCOL = Protocol()
N = 24
MINI = tasks_of_source("mini")


def statistics(card: str, right: Sequence[int]) -> np.ndarray:
    """Additive statistics; an item of an extraction task has two gold tuples."""
    labels = load_cards()[card].labels
    if not labels:
        return np.array([[2 * hit, 2, 2 * hit, 2] for hit in right], float)
    gold = [i % len(labels) for i in range(len(right))]
    predicted = [g if hit else (g + 1) % len(labels) for g, hit in zip(gold, right, strict=True)]
    rows = [label_statistics(*pair, len(labels)) for pair in zip(gold, predicted, strict=True)]
    return np.array(rows)


def run(
    model: str = "m",
    card: str = "sst2",
    right: Sequence[int] = (1,) * N,
    *,
    strict: Sequence[int] | None = None,
    seed: int = 42,
    date: float = 1.0,
    protocol: Protocol = PROTOCOL,
    data: str | None = None,
    prompts: str | None = None,
    source: str = "mini",
    file: str = "",
    **facts,
) -> TaskRun:
    task = Task(load_cards()[card], source)
    official = statistics(card, right)
    strictly = official if strict is None else statistics(card, strict)
    samples = Samples(
        task=task,
        indices=np.arange(len(right)),
        statistics={"official": official, "strict": strictly},
        invalid=np.zeros(len(right)),
        data_key=data or task.pins.items,
        prompt_key=prompts or task.pins.prompts.get(seed, ""),
        texts=(),
    )
    return TaskRun(model, seed, protocol, date, replace(FACTS, **facts), samples, file)


def runs(model: str, skill: float, *, seed: int = 42, **given) -> list[TaskRun]:
    """All twelve tasks; whether an answer is right is drawn by the name of the model."""
    random = np.random.default_rng([seed, *model.encode()])
    return [
        run(model, card, (random.random(N) < skill).astype(int).tolist(), seed=seed, **given)
        for card in load_cards()
    ]

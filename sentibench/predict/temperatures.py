"""A temperature per task, fitted on validation items: ``calibration.json`` beside a checkpoint.

Source: Guo et al. 2017, On Calibration of Modern Neural Networks, section 4.2.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from sentibench.data.cards import Task
from sentibench.data.read import load_split
from sentibench.errors import InputError
from sentibench.files import write_beside
from sentibench.predict.recipe import read_beside
from sentibench.scoring import calibration

Floats = NDArray[np.float64]
FILE = "calibration.json"
Ask = Callable[[list[str], list[str]], Floats]
"""Texts and what each is about -> log-likelihoods of the labels in nats, shape (N, K)."""
FEWEST = 20  # items; fewer would fit their own noise


class Fitted(BaseModel):
    """A temperature, and what it does to the items that it was fitted on.

    Attributes:
        temperature: By which log-likelihoods are divided.
        n_items: Validation items that the model answered.
        nll: Negative log-likelihood of gold in nats, before and after.
        ece: Expected calibration error, before and after.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    temperature: Annotated[float, Field(gt=0)]
    n_items: Annotated[int, Field(ge=1)]
    nll: tuple[float, float]
    ece: tuple[float, float]

    @property
    def is_at_an_end(self) -> bool:
        """Whether a still lower or higher temperature would have fitted better."""
        lowest, highest = calibration.TEMPERATURES
        return not 1.01 * lowest < self.temperature < 0.99 * highest


class _Saved(BaseModel):
    """The file: temperatures by task name."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: Literal[1] = 1
    tasks: dict[str, Fitted]


def why_not(task: Task, limit: int | None = None) -> str:
    """Why no temperature can be fitted on a task's first validation items; empty where one can."""
    if not task.card.is_label_task:
        return "no labels; expected a label task"
    if task.source == "mini":
        return "no validation items, as in all of sentibench_mini; give a task of the benchmark"
    if "val" not in task.card.splits:
        return (
            "no validation items, and test items are not used; give some with sentibench task new "
            "--val FILE"
        )
    n = n_items(task, limit)
    return "" if n >= FEWEST else f"{n} validation items, expected at least {FEWEST}; give more"


def n_items(task: Task, limit: int | None = None) -> int:
    """How many validation items a temperature is fitted on; the task has some."""
    n = task.card.splits["val"].rows
    return n if limit is None else min(n, limit)


def refuse_uncalibrated(task: Task, limit: int | None = None) -> None:
    """Refuse a task of which no temperature can be fitted.

    Raises:
        InputError: With the reason.
    """
    if reason := why_not(task, limit):
        raise InputError(f"calibrate: {task.name}: got {reason}")


def fit(task: Task, ask: Ask, limit: int | None = None) -> Fitted:
    """Fit the temperature of a label task on its validation items.

    Args:
        task: The task.
        ask: The model, asked as it will be asked when it labels texts.
        limit: First items only.

    Raises:
        InputError: See ``refuse_uncalibrated``; and if the model gave no numbers.
    """
    refuse_uncalibrated(task, limit)
    examples = load_split(task, "val").examples[:limit]
    texts = [example.sentence for example in examples]
    said_NK = ask(texts, [example.target or "" for example in examples])
    gold_N = np.array([task.card.labels.index(example.label or "") for example in examples])
    is_said_N = calibration.is_answer(said_NK)
    said_NK, gold_N = said_NK[is_said_N], gold_N[is_said_N]
    if len(gold_N) < FEWEST:
        raise InputError(
            f"calibrate: {task.name}: got numbers for {len(gold_N)} of {len(examples)} validation "
            f"items, expected at least {FEWEST}; the others are NaN; check the weights"
        )
    temperature = calibration.fit_temperature(said_NK, gold_N)
    before, after = (calibration.Answers.of(said_NK, gold_N, t) for t in (1.0, temperature))
    return Fitted(
        temperature=temperature,
        n_items=len(gold_N),
        nll=(calibration.value("nll", before), calibration.value("nll", after)),
        ece=(calibration.value("ece", before), calibration.value("ece", after)),
    )


def save(folder: Path, task: str, fitted: Fitted) -> None:
    """Write the temperature of one task into a checkpoint; those of others stay."""
    lock: Any = FileLock(folder / f".{FILE}.lock")  # Any: its methods are not completely typed
    with lock:
        tasks = {**load(str(folder)), task: fitted}
        write_beside(folder / FILE, _Saved(tasks=tasks).model_dump_json(indent=2) + "\n")


def load(checkpoint: str) -> dict[str, Fitted]:
    """Load the temperatures beside a checkpoint by task name; none where it has no such file.

    Args:
        checkpoint: A folder, or a name of the hub.

    Raises:
        InputError: If there is no such folder, or the file is not what ``save`` writes.
    """
    saved = read_beside(checkpoint, FILE, _Saved, "run sentibench calibrate again, or remove it")
    return {} if saved is None else saved.tasks

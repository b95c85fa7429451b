"""The tables of docs/calibration_results.md from evaluations that `python -m distill run` made.

python docs/tabulate_calibration.py NAME=RESULTS ... -- NAME-OTHER ..., where RESULTS is a folder of
lm-eval with samples. First the mean over the label tasks that all models answered on the same
items, then the differences of pairs with 95% intervals of a paired bootstrap over items, then each
task.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from sentibench.data.cards import Card, load_tasks
from sentibench.pages.drawing import span
from sentibench.scoring.calibration import METRICS, Drawn, drawn
from sentibench.scoring.samples import Samples, newest_samples, read_samples
from sentibench.scoring.statistics import Estimate, resample, task_seed

REPLICATES = 10_000
HEADS = {
    "macro-F1": "macro-F1",
    "ece": "ECE",
    "brier": "Brier",
    "nll": "NLL",
    "coverage_at_5": "coverage at 5%",
}


def main(arguments: list[str]) -> None:
    """Print the tables in Markdown."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    folders = dict(given.split("=", 1) for given in arguments[:at])
    pairs = [tuple(given.split("-", 1)) for given in arguments[at + 1 :]]
    found = {model: read(Path(folder)) for model, folder in folders.items()}
    first = next(iter(found.values()))
    tasks = [
        name
        for name in first
        if len({of[name].data_key if name in of else model for model, of in found.items()}) == 1
    ]
    of_models = {model: {name: figures(of[name]) for name in tasks} for model, of in found.items()}
    items = ", ".join(f"{load_tasks()[name].card.title} {first[name].n_items}" for name in tasks)
    print("Items:", items, end="\n\n")

    table(
        ["model"],
        {
            model: lambda head, of=of: show(head, mean(of, head).estimate)
            for model, of in of_models.items()
        },
    )
    if pairs:
        rows: dict[str, Callable[[str], str]] = {}
        for one, other in pairs:
            rows[f"{one} minus {other}"] = lambda head, one=one, other=other: show(
                head, mean(of_models[one], head).minus(mean(of_models[other], head)), signed=True
            )
        table(["difference"], rows)
    table(
        ["task", "model"],
        {
            f"{load_tasks()[name].card.title} | {model}": lambda head, of=of[name]: show(
                head, of[head].estimate
            )
            for name in tasks
            for model, of in of_models.items()
        },
    )


def read(folder: Path) -> dict[str, Samples]:
    """The label tasks of a folder whose log-likelihoods are known; of their first seed."""
    of_tasks = {
        name: read_samples(next(iter(of_seeds.values())), load_tasks()[name])
        for name, of_seeds in newest_samples(folder).items()
        if load_tasks()[name].card.is_label_task
    }
    return {name: samples for name, samples in of_tasks.items() if samples.answers}


def figures(samples: Samples) -> dict[str, Drawn]:
    """Every measure of one model on one task, with replicates that are paired between models."""
    card, answers = samples.task.card, samples.answers
    assert answers is not None
    return {"macro-F1": macro_f1(card, samples)} | {
        name: drawn(name, answers, REPLICATES, task_seed(card)) for name in METRICS
    }


def macro_f1(card: Card, samples: Samples) -> Drawn:
    scores = resample(card, [[samples.statistics["official"]]], REPLICATES)
    return Drawn(float(scores.values_M[0]), np.stack([scores.draws_BM[:, 0]] * 2))


def mean(of_tasks: Mapping[str, Mapping[str, Drawn]], head: str) -> Drawn:
    """Unweighted mean over tasks."""
    return Drawn.mean([of[head] for of in of_tasks.values()])


def show(head: str, found: Estimate, signed: bool = False) -> str:
    """A value with its 95% interval; all but the log-likelihood and Brier in percent."""
    if head in ("nll", "brier"):
        sign = "+" if signed else ""
        text = "{0:{s}.3f} ({1:{s}.3f} to {2:{s}.3f})"
        return text.format(found.value, found.low, found.high, s=sign)
    return span(found, signed=signed)


def table(first_columns: list[str], rows: Mapping[str, Callable[[str], str]]) -> None:
    print("|", " | ".join([*first_columns, *HEADS.values()]), "|")
    print("|---" * (len(first_columns) + len(HEADS)) + "|")
    for name, cell in rows.items():
        print("|", " | ".join([name, *map(cell, HEADS)]), "|")
    print()


if __name__ == "__main__":
    main(sys.argv[1:])

"""The tables of docs/distillation_results.md from results of lm-eval with samples.

python docs/tabulate_distillation.py ROW=FOLDER ... [-- A-B ...]

FOLDER is a row of `sentibench run-many`, OUT/ROW, with a folder for each seed; or a folder with
results of the default seed, such as RUN/evaluate-MODEL/results. The first table has the scores of
the rows, the mean over the seeds that all of them have; the second the differences A minus B with
95% intervals of a paired bootstrap over items, in bold where the interval leaves out zero. Tasks
that a row lacks are named on stderr and left out.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from sentibench.data.cards import SEEN, load_tasks
from sentibench.pages.drawing import span
from sentibench.pages.text import percent
from sentibench.prompts.demonstrations import DEFAULT_SEED
from sentibench.scoring.samples import Samples, newest_samples, read_samples
from sentibench.scoring.statistics import Scores, estimate, mean_over_tasks, resample

Rows = dict[str, list[Samples]]
"""Row -> what it answered, seed by seed, of one task."""


def seeds_in(folder: Path) -> dict[str, Path]:
    """Seed -> where its results are."""
    found = {path.name: path for path in folder.iterdir() if path.name.isdecimal()}
    return found or {str(DEFAULT_SEED): folder}


def read_rows(folders: Mapping[str, Path]) -> tuple[list[str], dict[str, Rows]]:
    """The seeds that all rows have, and task -> rows, for the tasks that all rows answered."""
    of_rows = {name: seeds_in(folder) for name, folder in folders.items()}
    first, *others = of_rows.values()
    seeds = sorted(set(first).intersection(*others), key=int)
    assert seeds, f"no seed that all of {', '.join(folders)} have"
    files = {name: [newest_samples(of[seed]) for seed in seeds] for name, of in of_rows.items()}
    of_seeds = [of_seed for of_row in files.values() for of_seed in of_row]
    common = set(of_seeds[0]).intersection(*of_seeds)
    if lacking := sorted({task for of in of_seeds for task in of} - common):
        print(f"left out, as not all rows have it: {', '.join(lacking)}", file=sys.stderr)
    found: dict[str, Rows] = {}
    for name, task in load_tasks().items():
        if name in common:
            found[name] = {
                row: [read_samples(of_seed[name], task) for of_seed in of_row]
                for row, of_row in files.items()
            }
            keys = {samples.data_key for row in found[name].values() for samples in row}
            assert len(keys) == 1, f"{name}: the rows answered different items"
    return seeds, found


def scopes_of(tasks: Sequence[str]) -> dict[str, list[str]]:
    """Name of a mean -> its tasks."""
    cards = {task: load_tasks()[task].card for task in tasks}
    scopes = {
        "all": list(tasks),
        "seen": [task for task in tasks if cards[task].name in SEEN],
        "unseen labels": [t for t in tasks if cards[t].is_label_task and cards[t].name not in SEEN],
        "basic": [task for task in tasks if cards[task].category == "basic"],
        "multifaceted": [task for task in tasks if cards[task].category == "multifaceted"],
        "fine-grained": [task for task in tasks if cards[task].category == "finegrained"],
    }
    return {name: members for name, members in scopes.items() if members}


def main(arguments: list[str]) -> None:
    """Print two Markdown tables."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    given = [row.partition("=") for row in arguments[:end]]
    folders, pairs = {name: Path(place) for name, _, place in given}, arguments[end + 1 :]
    names = list(folders)
    seeds, found = read_rows(folders)
    scores: dict[str, Scores] = {}
    for task, rows in found.items():
        runs = [[samples.statistics["official"] for samples in rows[name]] for name in names]
        scores[task] = resample(load_tasks()[task].card, runs)
    scopes = scopes_of(list(scores))
    means = {
        name: mean_over_tasks([scores[task] for task in members])
        for name, members in scopes.items()
    }
    print(f"Seeds of the demonstrations: {', '.join(seeds)}\n")
    print("| task | items |", " | ".join(names), "|")
    print("|---" * (2 + len(names)) + "|")
    for task, rows in found.items():
        card = load_tasks()[task].card
        n_items = rows[names[0]][0].n_items
        cells = [percent(value) for value in scores[task].values_M]
        seen = ", seen" if card.name in SEEN else ""
        print(f"| {card.title}{seen} | {n_items} |", " | ".join(cells), "|")
    for name, mean in means.items():
        errors = mean.draws_BM.std(axis=0, ddof=1)
        pairs_of = zip(mean.values_M, errors, strict=True)
        cells = [f"**{percent(value)}** ± {percent(error)}" for value, error in pairs_of]
        print(f"| mean of {name} | |", " | ".join(cells), "|")
    if pairs:
        print("\n| difference |", " | ".join(scopes), "|")
        print("|---" * (1 + len(scopes)) + "|")
    for pair in pairs:
        a, b = (names.index(name) for name in pair_of(pair, names))
        cells: list[str] = []
        for mean in means.values():
            differs = estimate(
                mean.values_M[a] - mean.values_M[b], mean.draws_BM[:, a] - mean.draws_BM[:, b]
            )
            is_sure = differs.low > 0 or differs.high < 0
            cells.append(
                f"**{span(differs, signed=True)}**" if is_sure else span(differs, signed=True)
            )
        print(f"| {names[a]} minus {names[b]} |", " | ".join(cells), "|")


def pair_of(pair: str, names: Sequence[str]) -> tuple[str, str]:
    """The rows of A-B; their names may have a - themselves."""
    for name in names:
        other = pair.removeprefix(f"{name}-")
        if other in names and other != pair:
            return name, other
    raise SystemExit(f"{pair}: expected A-B, both among {', '.join(names)}")


if __name__ == "__main__":
    main(sys.argv[1:])

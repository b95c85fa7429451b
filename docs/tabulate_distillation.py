"""The tables of docs/distillation_results.md from results of lm-eval with samples.

python docs/tabulate_distillation.py ROW=FOLDER ... [-- A-B ... [-- TASK ...]]

FOLDER holds the results of a row, such as OUT/ROW of `sentibench run-many` or
RUN/evaluate-MODEL/results. The first table has the scores of the rows. The score of a task is the
mean over the seeds that all rows have. The second table has the differences A minus B with 95%
intervals of a paired bootstrap over items, in bold where the interval leaves out zero. The third
one has these differences on each TASK. Tasks that a row lacks are named on stderr and left out.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from sentibench.data.cards import SEEN, load_tasks
from sentibench.pages.drawing import span
from sentibench.pages.text import percent
from sentibench.scoring.samples import Samples, newest_samples, read_samples
from sentibench.scoring.statistics import Scores, estimate, mean_over_tasks, resample

Rows = dict[str, list[Samples]]
"""Row -> what it answered, seed by seed, of one task."""


def read_rows(folders: Mapping[str, Path]) -> tuple[dict[str, list[int]], dict[str, Rows]]:
    """Task -> the seeds that all rows have, and task -> rows, for the tasks that all answered."""
    files = {name: newest_samples(folder) for name, folder in folders.items()}
    seeds: dict[str, list[int]] = {}
    found: dict[str, Rows] = {}
    for name, task in load_tasks().items():
        of_rows = {row: of_row[name] for row, of_row in files.items() if name in of_row}
        if of_rows.keys() != files.keys():
            if of_rows:
                print(f"left out, as not all rows have it: {name}", file=sys.stderr)
            continue
        first, *others = of_rows.values()
        seeds[name] = sorted(set(first).intersection(*others))
        assert seeds[name], f"{name}: no seed that all of {', '.join(folders)} have"
        found[name] = {
            row: [read_samples(of_row[seed], task) for seed in seeds[name]]
            for row, of_row in of_rows.items()
        }
        keys = {samples.data_key for row in found[name].values() for samples in row}
        assert len(keys) == 1, f"{name}: the rows answered different items"
    return seeds, found


def scores_of(found: Mapping[str, Rows], names: Sequence[str]) -> dict[str, Scores]:
    """Task -> scores of the rows in the order of ``names``, with the draws of the bootstrap."""
    return {
        task: resample(
            load_tasks()[task].card,
            [[samples.statistics["official"] for samples in rows[name]] for name in names],
        )
        for task, rows in found.items()
    }


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
    """Print the Markdown tables."""
    parts: list[list[str]] = [[]]
    for argument in arguments:
        if argument == "--":
            parts.append([])
        else:
            parts[-1].append(argument)
    rows_of, pairs, chosen_tasks, *_ = [*parts, [], []]
    given = [row.partition("=") for row in rows_of]
    folders = {name: Path(place) for name, _, place in given}
    names = list(folders)
    seeds, found = read_rows(folders)
    scores = scores_of(found, names)
    scopes = scopes_of(list(scores))
    means = {
        name: mean_over_tasks([scores[task] for task in members])
        for name, members in scopes.items()
    }
    for chosen in sorted(set(map(tuple, seeds.values()))):
        members = [task for task, of_task in seeds.items() if tuple(of_task) == chosen]
        which = ", ".join(load_tasks()[task].card.title for task in members)
        print(f"Seeds {', '.join(map(str, chosen))} of the demonstrations: {which}")
    print()
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
    print_differences(pairs, names, means)
    titles = {load_tasks()[task].card.title: task for task in chosen_tasks}
    single = {title: mean_over_tasks([scores[task]]) for title, task in titles.items()}
    print_differences(pairs, names, single)


def print_differences(
    pairs: Sequence[str], names: Sequence[str], means: Mapping[str, Scores]
) -> None:
    """A table with a row for each pair and a column for each mean."""
    if not pairs or not means:
        return
    print("\n| difference |", " | ".join(means), "|")
    print("|---" * (1 + len(means)) + "|")
    for pair in pairs:
        a, b = (names.index(name) for name in pair_of(pair, names))
        cells: list[str] = []
        for mean in means.values():
            differs = estimate(
                mean.values_M[a] - mean.values_M[b], mean.draws_BM[:, a] - mean.draws_BM[:, b]
            )
            is_sure = differs.low > 0 or differs.high < 0
            said = span(differs, signed=True)
            cells.append(f"**{said}**" if is_sure else said)
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

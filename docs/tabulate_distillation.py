"""The tables of docs/distillation_results.md from results of lm-eval with samples.

python docs/tabulate_distillation.py NAME=RESULTS ..., the first one the base: scores per task, and
differences of the others to it with 95% intervals of a paired bootstrap over items. RESULTS is a
folder such as RUN/evaluate-MODEL/results, or one that benchmarks/distillation/rows.py measured.
"""

import json
import sys
from pathlib import Path

from distill.report.comparison import compare
from distill.report.manifest import SCOPES
from sentibench.data.cards import load_tasks
from sentibench.pages.drawing import span
from sentibench.pages.text import NONE, percent
from sentibench.scoring.samples import newest_samples, results_beside


def scores_in(folder: Path) -> dict[str, float]:
    """Task -> its newest score below a folder."""
    files = {task: results_beside(path) for task, path in newest_samples(folder).items()}
    return {
        task: json.loads(f.read_text())["results"][task]["score,none"] for task, f in files.items()
    }


def main(arguments: list[str]) -> None:
    """Print two Markdown tables."""
    folders = {
        name: Path(place) for name, _, place in (given.partition("=") for given in arguments)
    }
    base, *students = folders
    found = compare(folders, base, students, None)
    for row in found.left_out:
        print("left out:", row)
    scores = {name: scores_in(folder) for name, folder in folders.items()}
    print("| task | items |", " | ".join(folders), "|")
    print("|---" * (2 + len(folders)) + "|")
    for task, facts in found.tasks.items():
        title = load_tasks()[task].card.title + (", seen" if facts.seen else "")
        cells = [f"{100 * scores[name][task]:.1f}" for name in folders]
        print("|", title, "|", facts.n, "|", " | ".join(cells), "|")
    for scope in SCOPES:
        means = [found.means[name].of(scope) for name in folders]
        cells = [f"**{percent(m.value)}** ± {percent(m.stderr)}" if m else NONE for m in means]
        print("| mean of", scope, "| |", " | ".join(cells), "|")
    print()
    print(f"| minus {base} |", " | ".join(SCOPES), "|")
    print("|---" * (1 + len(SCOPES)) + "|")
    for name in students:
        progress = [found.students[name].of(scope) for scope in SCOPES]
        spans = [span(p.difference, signed=True) if p else NONE for p in progress]
        cells = ["**{}** {}".format(*text.split(" ", 1)) if " " in text else text for text in spans]
        print("|", name, "|", " | ".join(cells), "|")


if __name__ == "__main__":
    main(sys.argv[1:])

"""The tables of docs/distillation_results.md from evaluations that `python -m distill run` made.

python docs/tabulate_distillation.py NAME=RUN/evaluate-MODEL ..., the first one the base: scores per
task, and differences of the others to it with 95% intervals of a paired bootstrap over items.
"""

import json
import sys
from pathlib import Path

from distill.report.comparison import compare
from distill.report.manifest import SCOPES
from sentibench.data.cards import load_tasks
from sentibench.pages.drawing import span
from sentibench.pages.text import NONE, percent


def main(arguments: list[str]) -> None:
    """Print two Markdown tables."""
    steps = {name: Path(step) for name, _, step in (given.partition("=") for given in arguments)}
    base, *students = steps
    found = compare({name: step / "results" for name, step in steps.items()}, base, students, None)
    for row in found.left_out:
        print("left out:", row)
    scores = {name: json.loads((step / "scores.json").read_text()) for name, step in steps.items()}
    print("| task | items |", " | ".join(steps), "|")
    print("|---" * (2 + len(steps)) + "|")
    for task, facts in found.tasks.items():
        title = load_tasks()[task].card.title + (", seen" if facts.seen else "")
        cells = [f"{100 * scores[name][task][0]:.1f}" for name in steps]
        print("|", title, "|", facts.n, "|", " | ".join(cells), "|")
    for scope in SCOPES:
        means = [found.means[name].of(scope) for name in steps]
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

"""The tables of docs/distillation_results.md from evaluations that `python -m distill run` made.

python docs/tabulate_distillation.py NAME=RUN/evaluate-MODEL ..., the first one the base: scores per
task, and differences of the others to it with 95% intervals of a paired bootstrap over items.
"""

import json
import sys
from pathlib import Path

from distill.report.comparison import SCOPES, compare
from sentibench.data.cards import load_tasks


def main(arguments: list[str]) -> None:
    """Print two Markdown tables."""
    steps = {name: Path(step) for name, _, step in (given.partition("=") for given in arguments)}
    base, *students = steps
    found = compare({name: step / "results" for name, step in steps.items()}, base, students, None)
    for row in found["left_out"]:
        print("left out:", row)
    scores = {name: json.loads((step / "scores.json").read_text()) for name, step in steps.items()}
    print("| task | items |", " | ".join(steps), "|")
    print("|---" * (2 + len(steps)) + "|")
    for task, facts in found["tasks"].items():
        title = load_tasks()[task].card.title + (", seen" if facts["seen"] else "")
        cells = [f"{100 * scores[name][task][0]:.1f}" for name in steps]
        print("|", title, "|", facts["n"], "|", " | ".join(cells), "|")
    for scope in SCOPES:
        means = [found["means"][name][scope] for name in steps]
        cells = [f"**{100 * m['value']:.1f}** ± {100 * m['stderr']:.1f}" for m in means]
        print("| mean of", scope, "| |", " | ".join(cells), "|")
    print()
    print(f"| minus {base} |", " | ".join(SCOPES), "|")
    print("|---" * (1 + len(SCOPES)) + "|")
    for name in students:
        spans = [found["students"][name][scope]["difference"] for scope in SCOPES]
        cells = [
            f"**{100 * s['value']:+.1f}** ({100 * s['low']:+.1f} to {100 * s['high']:+.1f})"
            for s in spans
        ]
        print("|", name, "|", " | ".join(cells), "|")


if __name__ == "__main__":
    main(sys.argv[1:])

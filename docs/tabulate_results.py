"""lm-eval result folders -> the table of results.md: python docs/tabulate_results.py FOLDER."""

import json
import sys
from pathlib import Path

from sentibench.data.cards import load_tasks


def main(folder: str) -> None:
    newest: dict[str, dict] = {}
    for path in sorted(Path(folder).rglob("results_*.json"), key=lambda path: path.name):
        run = json.loads(path.read_text(encoding="utf-8"))
        newest |= dict.fromkeys(run["configs"], run)
    print("| task | items | score | standard error | invalid | items per second |")
    print("|---|---|---|---|---|---|")
    for name in (name for name in load_tasks() if name in newest):
        run = newest[name]
        row, n_items = run["results"][name], run["n-samples"][name]
        n_run = n_items["effective"]
        rate = n_run / float(run["total_evaluation_time_seconds"])
        cells = (
            f"`{name}`",
            f"{n_run} of {n_items['original']}",
            f"{row['score,none']:.3f}",
            f"{row['score_stderr,none']:.3f}",
            f"{row['invalid_rate,none']:.3f}" if "invalid_rate,none" in row else "",
            f"{rate:.2f}" if len(run["configs"]) == 1 else "",
        )
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main(*sys.argv[1:])

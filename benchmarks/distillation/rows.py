"""The students of docs/distillation_results.md, row by row: trained, then measured task by task.

python benchmarks/distillation/rows.py CONFIG [--rows ROW ...] [--seeds 42 ...] [--workers N]
    [--set key=value ...]

Each row is a run of CONFIG with other settings, under its own name. `distill merge` trains it, and
`sentibench run-many` measures it in OUT/measured/ROW/SEED/TASK. Neither does again what is there,
so the program may be killed and called again. Results are those of lm-eval, with all samples.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from distill.config import Run, load_config
from distill.run.stages import training_stages
from sentibench.errors import InputError
from sentibench.many.plan import Many, units_of
from sentibench.many.run import run_many
from sentibench.prompts.demonstrations import DEFAULT_SEED

FIRST = "two-stage"  # whose KnowDist student other rows go on from
PLAIN = (  # no diversification
    "icldist.label_words=false",
    "icldist.taxonomies=false",
    "icldist.instructions=[full]",
    "icldist.other_tasks=0",
)
ROWS: dict[str, Sequence[str]] = {
    "base": (),
    "two-stage": (),
    "knowdist": ("icldist=null",),
    "icldist": ("knowdist=null",),
    "mixed": ("mixed=true",),
    "two-stage-no-perspectives": ("knowdist.perspectives=[]",),
    "two-stage-no-diversification": PLAIN,
    "icldist-no-diversification": ("knowdist=null", *PLAIN),
    "two-stage-hard": ("icldist.training.loss=hard",),
    "two-stage-soft": ("icldist.training.loss=soft",),
    "two-stage-aspects": ("icldist.tasks=[sentiment, emotion, aspects]",),
    "two-stage-lists": ("icldist.other_tasks=0.2", "icldist.other_lists=true"),
    "two-stage-attributes": ("knowdist.attributes={}",),
    "self-taught": ("teacher.model=STUDENT", "teacher.dtype=float32"),
    "gold": (
        "knowdist=null",
        "teacher={backend: gold}",
        "icldist.demonstrations=gold",
        "icldist.training.loss=hard",
    ),
}

WHOLE = 4_000  # samples of which the learning curve selects
CURVE: dict[str, Sequence[str]] = {
    f"curve-{by}-{n}": (
        "knowdist=null",
        f"icldist.samples={WHOLE}",
        *([f"icldist.difficulty={{keep: {n / WHOLE}, by: {by}}}"] if n < WHOLE else []),
    )
    for by in ("random", "difficulty", "confidence")
    for n in (250, 500, 1_000, 2_000, WHOLE)
    if n < WHOLE or by == "random"  # all of them are no selection
}
"""How much is enough: so many samples, selected in one of three ways."""
ALL = ROWS | CURVE


def settings_of(row: str, run: Run) -> list[str]:
    """What a row overrides in the configuration."""
    return [f"name={row}", *(one.replace("STUDENT", run.student) for one in ALL[row])]


def relatives(row: str) -> list[str]:
    """Rows whose first steps are this row's too."""
    if row in CURVE:
        return [other for other in CURVE if other.rpartition("-")[0] == row.rpartition("-")[0]]
    return [] if "knowdist=null" in ALL[row] else [FIRST]


def train(config: Path, row: str, given: Sequence[str], run: Run) -> str:
    """Do what a row's last student needs; gives its checkpoint."""
    if row == "base":
        return run.student
    settings = [*settings_of(row, run), *given]
    own = run.out / row
    done = next((folder for name in relatives(row) if (folder := run.out / name).is_dir()), None)
    if done and not own.is_dir():
        own_steps = ("icldist-select", "icldist-train", "icldist-merge")
        leave = shutil.ignore_patterns(*(own_steps if row in CURVE else ("icldist-*",)), "run.lock")
        part = own.with_name(own.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(done, part, ignore=leave)
        part.rename(own)
    command = [sys.executable, "-m", "distill", "merge", str(config), *settings]
    subprocess.run(command, check=True)
    of_row = load_config(config, settings)
    return str(of_row.folder / f"{training_stages(of_row)[-1]}-merge" / "student")


def measure(run: Run, row: str, checkpoint: str, options: argparse.Namespace) -> None:
    """Evaluate a row's checkpoint on what has not been measured yet.

    Raises:
        InputError: If something could not be measured.
    """
    evaluation = run.evaluation
    many = Many.model_validate(
        {
            "models": [
                {"name": row, "args": {"pretrained": checkpoint, "dtype": evaluation.dtype}}
            ],
            "tasks": evaluation.tasks,
            "seeds": options.seeds,
            "limit": evaluation.limit,
            "limits": evaluation.limits,
            "workers": options.workers,
            "out": run.out / "measured",
        }
    )
    found = run_many(many, units_of(many), replace=True)
    if found.lost:
        raise InputError(f"{row}: {next(iter(found.lost))}")


def main() -> None:
    """Do the rows in the order in which they are given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--rows", nargs="+", choices=ALL, default=list(ROWS), metavar="ROW")
    parser.add_argument("--seeds", nargs="+", type=int, default=[DEFAULT_SEED])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", dest="given")
    options = parser.parse_args()
    run = load_config(options.config, options.given)
    for row in options.rows:
        measure(run, row, train(options.config, row, options.given, run), options)
        print(f"{row}: measured", flush=True)


if __name__ == "__main__":
    main()

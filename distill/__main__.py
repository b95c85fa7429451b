"""``python -m distill``: one command from texts to scores, and each step alone."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from distill.config import load_config, save_config
from distill.distillation import Distillation
from distill.errors import SentiBenchError
from distill.pipeline import StageName
from distill.steps import Step, in_order

KINDS = {
    "generate": "ask the teacher",
    "filter": "keep the answers that are fit to learn from",
    "train": "train the student",
    "merge": "make trained weights an ordinary checkpoint",
    "evaluate": "run lm-eval on teacher, base and students",
    "run": "do everything that is not done",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 if it went well, 2 after a mistake of the user."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except SentiBenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; what was done is kept, call again", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m distill", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in {**KINDS, "status": "show what is done and why the rest is not"}.items():
        command = commands.add_parser(name, help=what, description=what)
        command.add_argument("config", type=Path, metavar="CONFIG.yaml")
        command.add_argument(
            "overrides", nargs="*", metavar="key=value", help="such as icldist.samples=100"
        )
        if name in ("generate", "run"):
            command.add_argument(
                "--retry-failed", action="store_true", help="ask again what failed before"
            )
    return parser


def _run(options: argparse.Namespace) -> int:
    run = load_config(options.config, options.overrides)
    retry = getattr(options, "retry_failed", False)
    distillation = Distillation(run, retry_failed=retry)
    if options.command == "status":
        for step in distillation.all_steps():
            state, why = step.state()
            print(f"{state:6} {step.name:24} {why or _summary(step)}")
        return 0
    run.folder.mkdir(parents=True, exist_ok=True)
    save_config(run, run.folder / "config.yaml")
    for step in in_order(_wanted(distillation, options.command)):
        state, why = step.state()
        if state == "done" and not (retry and step.name.endswith("-ask")):
            print(f"done  {step.name}", file=sys.stderr)
            continue
        print(f"begin {step.name} ({why})", file=sys.stderr)
        step.do()
        print(f"done  {step.name}: {_summary(step)}", file=sys.stderr)
    print(run.folder)
    return 0


def _wanted(distillation: Distillation, command: str) -> list[Step]:
    run = distillation.run
    known: tuple[StageName, ...] = ("knowdist", "icldist")
    sources: list[StageName] = [name for name in known if getattr(run, name)]
    if command == "generate":
        return [distillation.ask(name) for name in sources]
    if command == "filter":
        return [distillation.filter(name) for name in sources]
    if command == "train":
        return [distillation.train(stage) for stage in distillation.stages]
    if command == "merge":
        return [distillation.merge(stage) for stage in distillation.stages]
    if command == "evaluate":
        return [distillation.evaluate(model) for model in distillation.measured]
    return [distillation.report]


def _summary(step: Step) -> str:
    record = step.record() or {}
    summary = record.get("summary", {})
    plain = {k: v for k, v in summary.items() if not isinstance(v, (dict, list))}
    return ", ".join(f"{key} {value}" for key, value in plain.items())


if __name__ == "__main__":
    sys.exit(main())

"""``python -m distill``: one command from texts to scores, and each step alone."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from distill.config import Run, load_config, save_config
from distill.presets import descriptions, own_preset, own_task_named, write_preset
from distill.report.manifest import load_manifest, schema_text
from distill.report.two_runs import EARLIER, compare_runs
from distill.report.wording import in_short
from distill.run.checks import (
    bring_datasets,
    check_labels,
    check_run,
    check_tasks,
    missing_datasets,
)
from distill.run.graph import build_steps
from distill.run.stages import checkpoint_of, sources_of, teachers_of, training_stages
from distill.steps import Step, in_order, states
from sentibench.command_line import Parser, exit_code
from sentibench.errors import InputError, StoreError, refuse_missing
from sentibench.remote.store import disk_errors, merge

LOCK_HELD = "SENTIBENCH_DISTILL_LOCK"  # the folder of a run that a parent process holds
JOIN = "put the teacher's answers of several stores, made on several machines, into a new one"
COMPARE = "show what differs between two runs: settings, and scores on the same items"
SCHEMA = "print the JSON schema of a run's results/run.json"
STUDENT = ".demo/SmolLM2-135M-Instruct"  # of the preset own
TEACHER = "hf:.demo/gemma-3-270m"
INIT = "write a configuration to begin with; without NAME, list them"
RATES = {
    "tokens-per-second": ("N", "of one machine, prompt and answer tokens together: gives the time"),
    "machines": ("M", "that answer side by side, default 1"),
    "usd-per-machine-hour": ("Z", "price of one for an hour: gives the cost, with the time"),
    "usd-per-million-input": ("X", "price of prompt tokens: gives the cost, with the next"),
    "usd-per-million-output": ("Y", "price of answer tokens"),
}
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

    def work() -> int | None:
        options = _options(arguments)
        try:
            return options.work(options)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("finished work is kept; run the command again") from None

    return exit_code(work)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if hasattr(options, "overrides"):  # argparse takes none behind an option
        options.overrides += [word for word in rest if "=" in word and not word.startswith("-")]
        rest = [word for word in rest if word not in options.overrides]
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m distill", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, what: str, work: Callable[..., int | None], *parents: Parser) -> Parser:
        command = commands.add_parser(name, help=what, description=what, parents=parents)
        command.set_defaults(command=name, work=work)
        return command

    join = add("merge-answers", JOIN, _merge_answers)
    join.add_argument("stores", nargs="+", type=Path, metavar="STORE")
    join.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="a new store")
    init = add("init", INIT, _init)
    init.add_argument("preset", nargs="?", metavar="NAME")
    init.add_argument("path", nargs="?", type=Path, metavar="PATH", help="default NAME.yaml")
    init.add_argument("--list", action="store_true", help="list them, write nothing")
    own = init.add_argument_group("of the preset own")
    own.add_argument("--task", metavar="NAME", help="your own task: sentibench task new")
    own.add_argument("--texts", nargs="+", metavar="FILE", help="texts without labels")
    own.add_argument("--text", metavar="COLUMN", help="of the text; default: the task's")
    own.add_argument(
        "--teacher",
        metavar="BACKEND:MODEL",
        help="openai:MODEL@URL, DIALECT:MODEL@URL of a decisions endpoint, hf:FOLDER, vllm:MODEL "
        f"or replay:STORE (default: {TEACHER})",
    )
    own.add_argument(
        "--student",
        metavar="FOLDER",
        help=f"a checkpoint (default: {STUDENT})",
    )
    add("schema", SCHEMA, _schema)
    compare = add("compare", COMPARE, _compare)
    compare.add_argument("runs", nargs=2, type=Path, metavar="RUN", help="a run's folder")
    of_run = Parser(add_help=False)
    of_run.set_defaults(only=None, retry_failed=False)
    of_run.add_argument("config", type=Path, metavar="CONFIG.yaml")
    of_run.add_argument(
        "overrides", nargs="*", metavar="key=value", help="such as icldist.samples=100"
    )
    for name, what in KINDS.items():
        command = add(name, what, _do_all, of_run)
        if name in ("generate", "run"):
            command.add_argument(
                "--retry-failed", action="store_true", help="ask again what failed before"
            )
        if name == "run":
            command.add_argument("--only", metavar="STEP", help="do this step, named as by status")
    plan = add(
        "plan", "show what would be asked and trained, without calling a teacher", _plan, of_run
    )
    for rate, (metavar, meaning) in RATES.items():
        plan.add_argument(f"--{rate}", type=float, metavar=metavar, help=meaning)
    add("status", "show what is done and why the rest is not", _status, of_run)
    return parser


def _schema(_: argparse.Namespace) -> None:
    print(schema_text(), end="")


def _compare(options: argparse.Namespace) -> None:
    from distill.run.plan_text import safe

    for line in compare_runs(*options.runs):
        print(safe(line))


def _merge_answers(options: argparse.Namespace) -> None:
    added, repeated = merge(options.stores, options.out)
    print(f"{options.out}: {added:,} answers; {repeated:,} duplicates left out")


def _init(options: argparse.Namespace) -> None:
    if options.preset is None or options.list:
        for name, what in descriptions().items():
            print(f"{name:28} {what}")
        return
    for name in ("task", "texts", "text", "teacher", "student"):
        if getattr(options, name) is not None and options.preset != "own":
            raise InputError(
                f"init --{name}: got the preset {options.preset}, expected own; edit the file that "
                "init writes, or override it: python -m distill run CONFIG key=value"
            )
    path, text = options.path or Path(f"{options.preset}.yaml"), None
    if options.preset == "own" and options.task and options.texts:
        task = own_task_named(options.task)
        path = options.path or Path(f"{task.name}.yaml")
        student = options.student or STUDENT
        given = options.texts, options.text, options.teacher or TEACHER, student
        text = own_preset(task, *given, name=path.stem)  # two configurations are two runs
        if student == STUDENT and not Path(STUDENT).is_dir():
            raise InputError(
                f"init --student: no folder {STUDENT}; make it with `make demo`, or name another "
                "checkpoint with --student"
            )
    write_preset(options.preset, path, text)
    print(path)


def _configuration(options: argparse.Namespace) -> Run:
    refuse_missing(options.config, "a configuration, as python -m distill init writes it")
    return load_config(options.config, options.overrides)


def _plan(options: argparse.Namespace) -> None:
    from distill.run.plan import Plan
    from distill.run.plan_text import Rates, render

    run = _configuration(options)
    rates = Rates(**{name: getattr(options, name) for name in (r.replace("-", "_") for r in RATES)})
    check_labels(run)
    check_tasks(run)
    bring_datasets(run)
    teachers = teachers_of(run)
    plan = Plan(run, build_steps(run, teachers), teachers)
    for line in render(plan, rates):
        encoding = sys.stdout.encoding or "utf-8"  # a text may hold what a terminal cannot show
        print(line.encode(encoding, "backslashreplace").decode(encoding))
    sys.stdout.flush()
    check_run(run)  # last: a plan may be made where the teacher is not


def _status(options: argparse.Namespace) -> None:
    run = _configuration(options)
    graph = build_steps(run)
    known = states(graph.values())
    for name, (state, why) in known.items():
        print(f"{state:6} {name:24} {why or _summary(graph[name])}")
    for folder in sorted((run.folder / EARLIER).glob("*")):
        print(f"results of earlier settings: {folder}")
    if any(state != "done" for state, _ in known.values()) and (missing := missing_datasets(run)):
        print(missing)


def _do_all(options: argparse.Namespace) -> int:
    run = _configuration(options)
    if options.retry_failed and "WORLD_SIZE" in os.environ:
        raise InputError(
            "--retry-failed: got several processes, expected one; first run `generate "
            "--retry-failed` without a launcher"
        )
    check_labels(run)
    graph = build_steps(run, retry_failed=options.retry_failed)
    if options.only and options.only not in graph:
        raise InputError(f"--only {options.only}: unknown step; known: {', '.join(graph)}")
    wanted = in_order(graph[name] for name in _wanted(run, options.command, graph))
    steps = [graph[options.only]] if options.only else wanted
    try:
        with _begun(run, steps) if _is_first() else nullcontext():
            _do(steps, options)
    except BrokenPipeError:  # of `2>&1 | head`
        return 1  # the work may not be done
    if _is_first():
        print(run.folder)
        if any(step.name == "report" for step in steps):
            _tell_results(run)
    return 0


def _tell_results(run: Run) -> None:
    """What the run found, and what can be done with the student."""
    manifest = load_manifest(run.folder / "results" / "run.json")
    for line in in_short(manifest.comparison):
        _say(line)
    _say(f"page: {run.folder / 'report.html'}")
    student = checkpoint_of(run, training_stages(run)[-1])
    _say(f"next: sentibench predict {student} TABLE --text COLUMN --out labelled.csv")


def _is_first() -> bool:
    """Whether this is the process of a launch that keeps the records, which the others join."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def _begun(run: Run, steps: Sequence[Step]) -> Generator[None]:
    """Hold the run's folder, and refuse before any work what would fail at its end."""
    folder = run.folder
    lock: Any = FileLock(folder / "run.lock")
    with ExitStack() as stack:
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            if os.environ.get(LOCK_HELD) != str(folder):
                try:
                    stack.enter_context(lock.acquire(timeout=0))
                except Timeout:
                    raise StoreError(
                        f"{folder}: another process is working on this run; wait until it ends, or "
                        "give this run another name"
                    ) from None
        if any(state != "done" for state, _ in states(in_order(steps)).values()):
            check_run(run)
        with disk_errors(folder):
            save_config(run, folder / "config.yaml")
        yield


def _do(steps: Sequence[Step], options: argparse.Namespace) -> None:
    for step in steps:
        state, why = step.state()
        again = options.retry_failed and step.asks
        if state == "done" and not again:
            _say(f"done  {step.name}")
            continue
        why = "what failed is asked again" if state == "done" else why
        _say(f"begin {step.name} ({why})".removesuffix(" ()"))
        if _is_first() and "WORLD_SIZE" in os.environ and not step.by_all:
            _do_alone(step, options)
        else:
            step.do(again=again)
        _say(f"done  {step.name}: {_summary(step)}".removesuffix(": "))


def _say(line: str) -> None:
    if _is_first():
        print(line, file=sys.stderr, flush=True)


def _do_alone(step: Step, options: argparse.Namespace) -> None:
    """Do a step in a process that knows nothing of the others of a launch."""
    launch = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_")
    plain = {LOCK_HELD: str(step.folder.parent)} | {
        key: value
        for key, value in os.environ.items()
        if not key.startswith((*launch, "ACCELERATE_", "TORCHELASTIC_"))
    }
    command = [sys.executable, "-m", "distill", "run", str(options.config), *options.overrides]
    done = subprocess.run([*command, "--only", step.name], env=plain, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


def _wanted(run: Run, command: str, graph: Iterable[str]) -> list[str]:
    """The last steps that a command asks for; what they need is done first."""
    stages = training_stages(run)
    sources = [source for stage in stages for source in sources_of(run, stage)]
    named = {
        "generate": [f"{source}-ask" for source in sources],
        "filter": [f"{source}-filter" for source in sources],
        "train": [f"{stage}-train" for stage in stages],
        "merge": [f"{stage}-merge" for stage in stages],
        "evaluate": ["report"],
    }
    return named.get(command, list(graph))


def _summary(step: Step) -> str:
    plain = {
        key: value for key, value in step.summary().items() if not isinstance(value, (dict, list))
    }
    shown = {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in plain.items()}
    return ", ".join(f"{key} {value}" for key, value in shown.items())


if __name__ == "__main__":
    sys.exit(main())

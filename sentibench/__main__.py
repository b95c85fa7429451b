"""The ``sentibench`` command. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sentibench import __version__
from sentibench.command_line import Parser, exit_code
from sentibench.data.cards import (
    OWN_FOLDER,
    OWN_FOLDERS_VARIABLE,
    load_tasks,
    name_own_folders,
    own_folders,
    robust_names,
    task_named,
    tasks_folder,
    tasks_named,
)
from sentibench.errors import InputError, refuse_missing
from sentibench.prompts.demonstrations import DEFAULT_SEED, parse_seed

if TYPE_CHECKING:
    from sentibench.peers.results import Peer

TABLES = ("test", "train", "val", "demonstrations")  # of a task
HARNESS_COMMANDS = ("run", "ls", "validate")

Command = Callable[[argparse.Namespace], "int | None"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0; or 2 after a mistake of the user, shown as one line.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    output: Any = sys.stdout
    if isinstance(output, io.TextIOWrapper):
        # prompts hold more than cp1252 knows, and texts may hold half a character
        output.reconfigure(encoding="utf-8", errors="backslashreplace")
    return exit_code(lambda: _run(arguments))


def _run(arguments: list[str]) -> int | None:
    first = arguments[0] if arguments else ""
    if first != "task":  # which may be about to make such a folder
        name_own_folders()
    is_own_flag = first in ("-h", "--help", "--version")
    if first in HARNESS_COMMANDS or (first.startswith("-") and not is_own_flag):
        sys.argv = ["lm_eval", *arguments]
        from sentibench.harness.command import run_command_line

        return run_command_line()
    options = _build_parser().parse_args(arguments)
    return options.command(options)


def _build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="sentibench",
        description="SentiBench: twelve sentiment datasets in lm-evaluation-harness.",
        epilog="Environment: SENTIBENCH_HOME (data folder), SENTIBENCH_MIRROR (folder or URL to "
        "fetch from), SENTIBENCH_TASKS (folders with tasks of your own), "
        "SENTIBENCH_NO_AUTOLOAD=1 (leave plain lm_eval alone). Example: "
        "sentibench run --model hf --model_args pretrained=MODEL --tasks sentibench",
    )
    parser.add_argument("--version", action="version", version=f"sentibench {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in HARNESS_COMMANDS:  # handled before parsing; named here for --help
        commands.add_parser(name, help=f"lm_eval's own {name}, with our tasks")
    one_task = Parser(add_help=False)
    one_task.add_argument(
        "task", metavar="TASK", help="one task, sentibench_sst2 or sst2 for short"
    )

    def add(command: Command, shown: str, *parents: Parser) -> Parser:
        name = command.__name__[1:].replace("_", "-")
        added = commands.add_parser(name, help=shown, parents=parents)
        added.set_defaults(command=command)
        return added

    many = add(_run_many, "measure many models, resumable by model, task and seed")
    many.add_argument("plan", type=Path, metavar="MODELS.yaml", help="models, tasks, seeds, out")
    many.add_argument("--workers", type=int, metavar="N", help="processes; default: the plan's")
    many.add_argument("--out", type=Path, metavar="FOLDER", help="default: the plan's, or results")
    many.add_argument("--replace", action="store_true", help="replace results of other settings")

    listing = add(_list, "show the tasks")
    listing.add_argument("--markdown", action="store_true", help="as a Markdown table")

    add(_path, "print the folder with the task files")

    fetch = add(_fetch, "download the data files")
    fetch.add_argument("tasks", nargs="*", metavar="TASK", help="tasks or groups; default: all")
    fetch.add_argument("--force", action="store_true", help="download files again that are present")

    check = add(_check, "say what is present, intact and visible")
    check.add_argument("tasks", nargs="*", metavar="TASK", help="tasks or groups; default: all")

    prompts = add(_prompts, "print what lm-eval will send, as JSON lines", one_task)
    prompts.add_argument("--seed", default=DEFAULT_SEED, help="demonstration seed (default: 42)")
    prompts.add_argument("--shots", type=int, metavar="K", help="default: the task's, 4 for ours")
    prompts.add_argument("--limit", type=int, metavar="N", help="first N items only")

    _add_task_command(commands)

    score = add(_score, "score predictions without a model", one_task)
    score.add_argument(
        "predictions",
        type=Path,
        metavar="PREDICTIONS.jsonl",
        help='one line {"index": 0, "prediction": "text"} for each item of the split; for a task '
        'with labels also {"index": 0, "probabilities": {"positive": 0.7, "negative": 0.3}}',
    )
    score.add_argument("--json", action="store_true", help="print one JSON object")
    score.add_argument("--split", default="test", help="train, val or test (default: test)")
    score.add_argument(
        "--limit", type=int, metavar="N", help="the first N items only, as lm_eval --limit has them"
    )
    score.add_argument(
        "--raw",
        action="store_true",
        help="predictions are raw generations: take the first line, up to an invented 'Sentence:', "
        "as lm-eval's tasks do; without it a prediction is the answer as a whole",
    )
    peer = score.add_argument_group("methods that are not language models: a row of a leaderboard")
    peer.add_argument("--results", type=Path, metavar="FOLDER", help="where to write results")
    peer.add_argument("--name", help="name of the row on the leaderboard")
    peer.add_argument(
        "--not-a-language-model",
        dest="method",
        metavar="METHOD",
        help="the method in one line; the leaderboard ranks such rows separately",
    )
    peer.add_argument("--seconds", type=float, metavar="S", help="for loading and answering")
    peer.add_argument("--peak-memory-bytes", type=int, metavar="N", help="in that time")

    predict = add(_predict, "label a file of texts")
    predict.add_argument("checkpoint", metavar="CHECKPOINT", help="a folder, or a name of the hub")
    predict.add_argument(
        "file",
        metavar="FILE",
        help="CSV, TSV, JSON, JSON lines, Parquet, text (one a line), a folder of datasets; - for "
        "standard input: JSON lines where the first line begins with {, else one text a line",
    )
    _add_use(predict)
    predict.add_argument("--text", default="text", metavar="COLUMN", help="default: text")
    predict.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help=".csv, .tsv, .jsonl, .ndjson or .parquet; a killed call goes on where it was. "
        "Default: standard output, in the form of the input where that is CSV, else JSON lines",
    )
    predict.add_argument(
        "--threshold", type=float, default=0.0, metavar="P", help="less likely labels stay empty"
    )
    predict.add_argument(
        "--temperature",
        type=float,
        metavar="T",
        help="divides log-likelihoods; default: that of calibration.json, else 1",
    )
    predict.add_argument("--prefix", default="", help="put before the names of the added columns")
    predict.add_argument("--delimiter", help="delimiter of CSV; default: detected")
    predict.add_argument("--encoding", help="encoding of text files; default: UTF-8, or detected")

    calibrate = add(_calibrate, "fit a temperature on validation items, for honest probabilities")
    calibrate.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a folder")
    calibrate.add_argument("--task", metavar="NAME", help="default: the one of sentibench.json")
    calibrate.add_argument("--limit", type=int, metavar="N", help="first items only")

    serve = add(_serve, "answer over HTTP: labels, and decisions with probabilities")
    serve.add_argument("checkpoint", metavar="CHECKPOINT", help="a folder, or a name of the hub")
    _add_use(serve)
    serve.add_argument(
        "--host", default="127.0.0.1", help="address to listen at (default: this machine alone)"
    )
    serve.add_argument("--port", type=int, default=8000, help="0: any (default: 8000)")
    serve.add_argument(
        "--max-queue", type=int, default=1024, metavar="N", help="texts that wait (default: 1024)"
    )
    serve.add_argument(
        "--max-batch", type=int, default=32, metavar="N", help="texts of a batch (default: 32)"
    )

    export = add(_export, "write a checkpoint as GGUF or ONNX, read it again, score it again")
    export.add_argument("checkpoint", metavar="CHECKPOINT", help="a folder, or a name of the hub")
    export.add_argument(
        "--format",
        required=True,
        choices=("gguf", "onnx"),
        help="GGUF for llama.cpp and ollama (Llama, Gemma 3, Qwen 2 and 3), ONNX for onnxruntime",
    )
    export.add_argument("--quantise", choices=("q8_0", "int8"), help="q8_0: GGUF; int8: ONNX")
    export.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="a new folder")
    export.add_argument("--task", metavar="NAME", help="default: the one of sentibench.json")
    export.add_argument(
        "--check", type=int, default=24, metavar="N", help="test items; 0 for none (default: 24)"
    )

    push = add(_push, "upload a checkpoint to the Hugging Face hub, with its cards")
    push.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a folder")
    push.add_argument("repo", metavar="OWNER/NAME")
    push.add_argument("--dry-run", action="store_true", help="only list the files; works offline")
    push.add_argument("--private", action="store_true", help="hide a new repository from others")
    return parser


def _run_many(options: argparse.Namespace) -> int:
    from sentibench.many.plan import read_plan, units_of
    from sentibench.many.run import run_many

    given = {"workers": options.workers, "out": options.out}
    many = read_plan(options.plan, {k: value for k, value in given.items() if value is not None})
    units = units_of(many)
    found = run_many(many, units, replace=options.replace)
    print(f"{found.n_done} measured, {found.n_before} were there before, of {len(units)}")
    source = " --source mini" if all("_mini" in unit.task for unit in units) else ""
    print(f"next: python -m leaderboard build {many.out}{source} --out site")
    for why, lost in found.lost.items():
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        print(f"error: {lost[0]}{more}: {why}", file=sys.stderr)
    return 2 if found.lost else 0


def _add_task_command(commands: Any) -> None:
    task = commands.add_parser("task", help="your own tasks").add_subparsers(
        required=True, metavar="COMMAND"
    )
    new = task.add_parser(
        "new",
        help="write a card for a table of your own",
        description="Reads tables of your own items, checks them, and writes a card: an ordinary "
        "task of lm-eval. Tables: CSV, TSV, JSON, JSON lines, Parquet, a folder of `datasets`, "
        "hub:OWNER/NAME.",
    )
    new.set_defaults(command=_new)
    new.add_argument("name", metavar="NAME", help="of the task: letters, digits and _")
    new.add_argument("--test", required=True, metavar="TABLE", help="items to measure on")
    new.add_argument("--train", metavar="TABLE", help="items that demonstrations are drawn from")
    new.add_argument("--val", metavar="TABLE", help="items for choices before the test")
    new.add_argument(
        "--demonstrations",
        metavar="TABLE",
        help="a few items that every prompt shows, in their order, instead of draws from --train",
    )
    new.add_argument("--text", default="text", metavar="COLUMN", help="default: text")
    new.add_argument("--label", metavar="COLUMN", help="default: label")
    new.add_argument(
        "--labels",
        default="",
        metavar="NAMES",
        help="complaint,praise or name=word,...: the word is what a model chooses; default: those "
        "in the tables; with --elements: the polarities",
    )
    new.add_argument(
        "--describe",
        action="append",
        default=[],
        metavar="LABEL=TEXT",
        help="what a label means, for the instruction; may be repeated",
    )
    new.add_argument(
        "--elements",
        default="",
        metavar="PARTS",
        help="for opinions instead of labels: aspect,polarity or more of holder, aspect, category, "
        "opinion, polarity; a column each, one opinion a row, rows of one text together",
    )
    new.add_argument("--tuples", metavar="COLUMN", help="one list of opinions a row instead")
    new.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="PART=COLUMN",
        help="where an element is; may be repeated",
    )
    new.add_argument("--target", metavar="COLUMN", help="replaces %%s in the instruction")
    new.add_argument("--instruction", default="", metavar="TEXT", help="default: made from labels")
    new.add_argument("--title", default="", help="in reports; default: the name")
    new.add_argument("--domain", default="", help="what the texts are, in a few words")
    new.add_argument(
        "--shots",
        type=int,
        metavar="K",
        help="items that a prompt shows; default: all of --demonstrations, else 4 with --train, "
        "else 0",
    )
    new.add_argument("--delimiter", help="delimiter of CSV; default: detected")
    new.add_argument("--encoding", help="encoding of text files; default: detected")
    new.add_argument("--out", type=Path, default=Path(OWN_FOLDER), metavar="FOLDER")
    new.add_argument("--force", action="store_true", help="replace a card of this name")


def _new(options: argparse.Namespace) -> None:
    from sentibench.new_task import NewTask, write_card

    elements = _names(options.elements)
    if elements and options.label:
        raise InputError("task new: got --label and --elements, expected one of them")
    if options.tuples and not elements:
        raise InputError(
            "task new: got --tuples without --elements, expected both; for example: "
            "--elements aspect,polarity"
        )
    columns = {"text": options.text, "tuples": options.tuples, "target": options.target}
    columns |= {"label": None if elements else options.label or "label"}
    columns |= _pairs(options.column, "--column PART=COLUMN")
    asked = NewTask(
        name=options.name,
        files={name: table for name in TABLES if (table := getattr(options, name))},
        columns={part: column for part, column in columns.items() if column},
        labels=_names(options.labels),
        descriptions=_pairs(options.describe, "--describe LABEL=TEXT"),
        elements=elements,
        title=options.title,
        instruction=options.instruction,
        domain=options.domain,
        shots=options.shots,
        delimiter=options.delimiter,
        encoding=options.encoding,
    )
    for line in write_card(asked, options.out, replace=options.force):
        print(line)
    run = f"sentibench run --model sentibench-hf --model_args pretrained=MODEL --tasks {asked.name}"
    found = options.out.absolute() in own_folders()
    print(f"next: {run if found else f'{OWN_FOLDERS_VARIABLE}={options.out} {run}'}")


def _names(given: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in given.split(",") if name.strip())


def _pairs(given: Sequence[str], option: str) -> dict[str, str]:
    parts = [one.partition("=") for one in given]
    if wrong := [name for name, separator, _ in parts if not separator]:
        raise InputError(f"task new: got {wrong[0]!r}, expected {option}")
    return {name.strip(): value.strip() for name, _, value in parts}


def _add_use(parser: Parser) -> None:
    """What decides how a checkpoint is asked."""
    parser.add_argument(
        "--task", metavar="NAME", help="default: the one of the checkpoint's sentibench.json"
    )
    parser.add_argument(
        "--shots", type=int, metavar="K", help="demonstrations; default: what it was trained for"
    )
    parser.add_argument("--target", default="", help="what the opinion is about, for P-Stance")
    parser.add_argument(
        "--dtype", default="float32", help="of the weights (default: float32); int8 on the CPU"
    )
    parser.add_argument("--batch-tokens", type=int, metavar="N", help="tokens of a batch")


def _list(options: argparse.Namespace) -> None:
    if options.markdown:
        print(
            "| task | category | dataset | test items | answer | score |\n|---|---|---|---|---|---|"
        )
    tasks = tasks_named(["sentibench"], "list") if options.markdown else load_tasks().values()
    for task in tasks:
        card = task.card
        answer = ", ".join(card.labels) or f"({', '.join(card.elements)})"
        if options.markdown:
            dataset, n_test = f"[{card.title}]({card.url})", card.splits["test"].rows
            cells = (f"`{task.name}`", card.category, dataset, n_test, answer, card.metric)
            print(f"| {' | '.join(map(str, cells))} |")
        else:
            print(f"{task.name:28} {card.category:13} {card.metric:9} {answer}")
    if not options.markdown:
        robust = " and ".join(robust_names()[:2])
        print(f"for lm_eval alone, label tasks in several wordings: {robust}", file=sys.stderr)


def _path(_: argparse.Namespace) -> None:
    print(tasks_folder())


def _fetch(options: argparse.Namespace) -> None:
    from sentibench.data.fetch import data_home, fetch_dataset

    tasks = tasks_named(options.tasks, "fetch")
    for task in tasks:
        if task.source != "real":
            where = "in the package" if task.source == "mini" else "your own"
            print(f"{task.name}: {where}, nothing to fetch", file=sys.stderr)
            continue
        report = fetch_dataset(task.card, force=options.force)
        print(
            f"{task.name}: {len(report.fetched)} files fetched ({report.bytes / 1e6:.1f} MB), "
            f"{len(report.present)} present",
            file=sys.stderr,
        )
    print(f"data folder: {data_home()}", file=sys.stderr)


def _check(options: argparse.Namespace) -> None:
    from sentibench.harness.check import check_data, check_tasks

    names: list[str] = options.tasks
    tasks_named(names, "check")  # an unknown one is refused before anything is read
    print("indexing lm-eval's tasks (some seconds) ...", file=sys.stderr)
    findings = sorted([*check_tasks(names), *check_data(names)], key=lambda finding: not finding.ok)
    for finding in findings:
        print(f"{'ok ' if finding.ok else 'BAD'} {finding.subject}: {finding.detail}")
    n_bad = sum(not finding.ok for finding in findings)
    if n_bad:
        raise InputError(
            f"check: {n_bad} of {len(findings)} findings are bad, expected none; see the lines "
            "marked BAD"
        )
    print(f"all {len(findings)} checks passed")


def _prompts(options: argparse.Namespace) -> None:
    task = task_named(options.task, "prompts")
    seed = parse_seed(options.seed, "prompts --seed")
    _refuse_limit(options.limit, "prompts")
    from sentibench.harness import render_prompts

    shots = task.card.shots if options.shots is None else options.shots
    for row in render_prompts(task, seed=seed, shots=shots, limit=options.limit):
        print(json.dumps(row, ensure_ascii=False))


def _refuse_limit(limit: int | None, command: str) -> None:
    if limit is not None and limit < 1:
        raise InputError(f"{command} --limit: got {limit}, expected at least 1")


def _score(options: argparse.Namespace) -> None:
    from sentibench.data.read import split_file
    from sentibench.scoring.parse import answer_text
    from sentibench.scoring.predictions import read_predictions, score_predictions

    task = task_named(options.task, "score")
    peer = _peer(options)
    _refuse_limit(options.limit, "score")
    # the file first: a wrong name must not wait for a download
    n_items = split_file(task, options.split).rows
    n_items = min(n_items, options.limit or n_items)
    predictions = read_predictions(options.predictions, n_items, task.card.classes)
    if options.raw:
        predictions = [given._replace(text=answer_text(given.text)) for given in predictions]
    scores = score_predictions(task, options.split, predictions, options.limit)
    if peer:
        from sentibench.peers.results import write_results

        written = write_results(options.results, task, predictions, peer, limit=options.limit)
        print(f"results: {written}", file=sys.stderr)
    if options.json:
        print(json.dumps(scores))
        return
    for name, value in _flat(scores):
        print(f"{name:32}", f"{value:.4f}" if isinstance(value, float) else value)


def _peer(options: argparse.Namespace) -> Peer | None:
    """Whose predictions become results; None where only their score is wanted."""
    needed = (options.results, options.name, options.method)
    if all(value is None for value in (*needed, options.seconds, options.peak_memory_bytes)):
        return None
    if None in needed:
        raise InputError(
            "score: expected --results, --name and --not-a-language-model together. For a language "
            "model use lm_eval: its row depends on its prompts, which predictions do not hold"
        )
    if options.split != "test":
        raise InputError(f"score --results: got --split {options.split}, expected the test split")
    from sentibench.peers.results import Peer

    return Peer(options.name, options.method, options.seconds, options.peak_memory_bytes)


def _predict(options: argparse.Namespace) -> None:
    from sentibench.predict import labelling
    from sentibench.predict.recipe import choose_recipe

    source = labelling.Source(options.file, options.text, options.delimiter, options.encoding)
    labelling.refuse_output(source, options.out)
    # all that can be wrong without a model
    _, recipe = choose_recipe(options.checkpoint, options.task)
    added = labelling.added_columns(recipe, options.prefix)
    found = None if source.is_standard_input else labelling.survey(source, added, options.out)
    from sentibench.predict.classifier import Classifier

    classifier = Classifier(
        options.checkpoint,
        options.task,
        shots=options.shots,
        threshold=options.threshold,
        target=options.target,
        temperature=options.temperature,
        dtype=options.dtype,
        batch_tokens=options.batch_tokens,
    )
    if classifier.is_calibrated:
        fitted_with, shots = classifier.recipe.shots, classifier.shots
        asked_with = "" if shots == fitted_with else f"; fitted with {fitted_with} shots"
        print(
            f"temperature {classifier.temperature:.3f}: calibration.json{asked_with}",
            file=sys.stderr,
        )
    print(
        f"task {classifier.task}, {classifier.shots} shots: {classifier.why_shots}", file=sys.stderr
    )
    if found is None:
        labelling.label_standard_input(classifier, source, options.out, options.prefix)
        return
    print(f"{options.file}: {found.form}, {found.n_rows:,} rows", file=sys.stderr)
    if options.out is None:
        labelling.label_to_stdout(classifier, source, found, options.prefix)
        return
    n_done = labelling.label_file(classifier, source, options.out, found, options.prefix)
    if n_done:
        print(f"{n_done:,} rows were answered by an earlier call", file=sys.stderr)
    print(f"written: {options.out}", file=sys.stderr)


def _calibrate(options: argparse.Namespace) -> None:
    from sentibench.predict import temperatures
    from sentibench.predict.recipe import choose_recipe

    refuse_missing(options.checkpoint, "the folder of a checkpoint")
    if not options.checkpoint.is_dir():
        raise InputError(f"{options.checkpoint}: got a file, expected the folder of a checkpoint")
    name, recipe = choose_recipe(str(options.checkpoint), options.task)
    if not options.task and name not in load_tasks():
        raise InputError(
            f"calibrate: no card of the task {name!r} of {options.checkpoint}; expected it in "
            "./sentibench_tasks or in a folder of SENTIBENCH_TASKS. It must have validation items: "
            "sentibench task new --val FILE"
        )
    task = task_named(name, "calibrate")
    temperatures.refuse_uncalibrated(task, options.limit)
    from functools import partial

    from sentibench.predict.classifier import Classifier
    from sentibench.progress import progress

    target = "each item's own" if recipe.needs_target else ""
    classifier = Classifier(options.checkpoint, name, target=target)
    with progress("calibrate", "text", temperatures.n_items(task, options.limit)) as bar:
        ask = partial(classifier.log_likelihoods, on_answer=bar.update)
        fitted = temperatures.fit(task, ask, options.limit)
    temperatures.save(options.checkpoint, name, fitted)
    print(f"{name}: temperature {fitted.temperature:.3f}, from {fitted.n_items} validation items")
    for metric, (before, after) in (("nll", fitted.nll), ("ece", fitted.ece)):
        print(f"  {metric}  {before:.4f} before, {after:.4f} after, on these items")
    if fitted.is_at_an_end:
        print(
            f"calibrate: {name}: no temperature in the range fits well. The model's probabilities "
            "say little about this task",
            file=sys.stderr,
        )
    print(f"written: {options.checkpoint / temperatures.FILE}")


def _serve(options: argparse.Namespace) -> None:
    if missing := [n for n in ("uvicorn", "starlette", "prometheus_client") if not find_spec(n)]:
        raise InputError(f"serve: {missing[0]} is not installed; pip install 'sentibench[serve]'")
    from sentibench.serve.server import serve

    serve(
        options.checkpoint,
        task=options.task,
        shots=options.shots,
        target=options.target,
        dtype=options.dtype,
        batch_tokens=options.batch_tokens,
        host=options.host,
        port=options.port,
        max_queue=options.max_queue,
        max_batch=options.max_batch,
    )


def _export(options: argparse.Namespace) -> None:
    from sentibench.export.checked import export, print_report

    found = export(
        options.checkpoint,
        options.format,
        options.out,
        quantise=options.quantise,
        task=options.task,
        n_checked=options.check,
    )
    print_report(options.out, found)


def _push(options: argparse.Namespace) -> None:
    from sentibench.export.push import push

    where = push(options.checkpoint, options.repo, dry_run=options.dry_run, private=options.private)
    print(f"uploaded: {where}" if where else "dry run: nothing was uploaded", file=sys.stderr)


def _flat(scores: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in scores.items():
        if isinstance(value, dict):
            yield from _flat(cast(dict[str, Any], value), f"{prefix}{name}.")
        else:
            yield prefix + name, value


if __name__ == "__main__":
    sys.exit(main())

"""The command: python -m leaderboard build RESULTS --out SITE, and check RESULTS for CI."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence, Set
from dataclasses import dataclass
from os import cpu_count
from pathlib import Path, PurePosixPath
from typing import cast

from leaderboard.board import Board, schema_text, to_json
from leaderboard.build import build_board
from leaderboard.exports import to_csv, to_hardest, to_latex, to_markdown
from leaderboard.items import build_items, hardest_items
from leaderboard.previous import changes, read_previous
from leaderboard.runs.entries import Entry, collect_entries
from leaderboard.runs.models import Declared, load_declared, short_name
from leaderboard.runs.results import Problem, lies_in, load_results
from sentibench.command_line import Parser, exit_code
from sentibench.data.cards import OURS, Source, Task, tasks_of_source
from sentibench.errors import InputError, refuse_missing
from sentibench.pages.text import counted, visible
from sentibench.scoring.statistics import REPLICATES

OWN_PAGE = "your-tasks"
"""The folder of the page of own tasks, where results of ours are shown too."""
GENERATOR = '<meta name="generator" content="SentiBench leaderboard">'


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0; or 2 after a mistake of the user or a failed check, shown as one line each.
    """
    return exit_code(lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int | None:
    options = _build_parser().parse_args(argv)
    return options.command(options)


def _build_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m leaderboard", description="lm-eval results -> a static page.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    build = commands.add_parser("build", help="write the page and its exports")
    build.add_argument("results", type=Path, metavar="RESULTS_DIR")
    build.add_argument("--out", type=Path, required=True, metavar="SITE_DIR")
    build.add_argument("--no-text", action="store_true", help="publish without dataset text")
    build.set_defaults(command=_build)
    check = commands.add_parser("check", help="look for mistakes in results; for CI")
    check.add_argument("results", type=Path, metavar="RESULTS_DIR")
    check.add_argument(
        "--previous", type=Path, metavar="leaderboard.json", help="say what has changed since"
    )
    check.add_argument(
        "--allow-unranked", action="store_true", help="rows without rank are notes, not findings"
    )
    check.set_defaults(command=_check)
    for command in (build, check):
        command.add_argument("--models", type=Path, help="default: RESULTS_DIR/models.yaml")
        command.add_argument(
            "--source",
            choices=("real", "mini", "own"),
            help="show results of sentibench (real), of sentibench_mini (mini) or of own tasks "
            "alone; default: real, or mini where there is none, and own tasks apart from them",
        )
        command.add_argument(
            "--replicates", type=int, default=REPLICATES, help=f"default: {REPLICATES}"
        )
    schema = commands.add_parser("schema", help="print the JSON schema of leaderboard.json")
    schema.set_defaults(command=_schema)
    return parser


def _schema(_: argparse.Namespace) -> None:
    print(schema_text(), end="")


@dataclass(frozen=True, slots=True)
class _Group:
    """What one page shows.

    Attributes:
        source: Of all its tasks.
        tasks: All of a source of ours; the own ones that have results.
        entries: Of these tasks.
        board: Of these entries.
    """

    source: Source
    tasks: list[Task]
    entries: list[Entry]
    board: Board


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What a results folder holds.

    Attributes:
        groups: One for each page; that of own tasks is the last.
        problems: Files that were left out.
        notes: What a maintainer may want to know but nothing is wrong with.
    """

    groups: list[_Group]
    problems: list[Problem]
    notes: list[str]

    @property
    def entries(self) -> list[Entry]:
        """Of all groups."""
        return [entry for group in self.groups for entry in group.entries]


def _load(options: argparse.Namespace) -> _Loaded:
    folder = cast(Path, options.results)
    refuse_missing(folder, "a folder that lm_eval --output_path wrote")
    if not folder.is_dir():
        raise InputError(f"{folder}: got a file, expected the folder of lm_eval --output_path")
    if options.replicates < 100:
        raise InputError(f"--replicates: got {options.replicates}, expected at least 100")
    if options.models is not None:
        refuse_missing(options.models, "a file of facts on models", "--models ")
    with_texts = not getattr(options, "no_text", True)
    # texts are one object for all models, as long as one process reads them
    processes = 1 if with_texts else min(cpu_count() or 1, 8)
    runs, problems = load_results(folder, with_texts=with_texts, processes=processes)
    models = options.models or folder / "models.yaml"
    if options.models is None and not lies_in(folder, models):
        raise InputError(
            f"{models}: is a link to a file outside of {folder}; name that file with --models"
        )
    declared, unusable = load_declared(folder, models, runs)
    problems = unusable + problems
    if not runs:
        listed = [f"; first of {len(problems)} files: {p.file}: {p.reason}" for p in problems[:1]]
        raise InputError(
            f"{folder}: no results in it that a page can show{''.join(listed)}; "
            "run lm_eval with --tasks sentibench, --output_path and --log_samples"
        )
    sources: set[Source] = {run.task.source for run in runs}
    if options.source and options.source not in sources:
        raise InputError(
            f"--source {options.source}: no such results in {folder}; choose another source"
        )
    shown: list[Source] = [options.source] if options.source else _shown_sources(sources)
    groups: list[_Group] = []
    measured = {run.task.name for run in runs}
    for source in shown:
        # a card without results is no missing task
        tasks = [t for t in tasks_of_source(source) if source != "own" or t.name in measured]
        entries = collect_entries(runs, declared, tasks)
        board = build_board(entries, problems, tasks, options.replicates)
        groups.append(_Group(source, tasks, entries, board))
    loaded = _Loaded(groups, problems, [])
    loaded.notes.extend(_notes(loaded.entries, declared, {run.model for run in runs}))
    if len(sources) > len(shown):
        only = " and ".join(shown)
        loaded.notes.append(f"only {only} results are shown; choose others with --source")
    return loaded


def _shown_sources(found: Set[Source]) -> list[Source]:
    """Of ours the first that has results, and own tasks if there are any."""
    ours: list[Source] = [source for source in OURS if source in found]
    own: list[Source] = ["own"] if "own" in found else []
    return ours[:1] + own


def _notes(entries: Sequence[Entry], declared: Declared, names: Set[str]) -> list[str]:
    """What a maintainer may want to know of rows and declarations."""
    known = names | set(map(short_name, names))
    unknown = [name for name in declared.publisher if name not in known]
    notes = [f"models.yaml: no run has the name {name!r}" for name in unknown]
    notes += [
        f"models.yaml: {name!r} is the end of several models' names; write the whole name"
        for name in declared.ambiguous(names)
    ]
    runs = [run for entry in entries for run in entry.all_runs]
    if n := sum("official" in run.samples.unverified for run in runs):
        notes.append(
            f"in {counted(n, 'run')} the official score of OpeNER was not computed again; "
            "for that, fetch the dataset: sentibench fetch opener"
        )
    for entry in entries:
        if len(entry.folders) > 1 and not _lie_in_one_run(entry.folders, declared):
            notes.append(f"{entry.info.name}: its runs are in {', '.join(entry.folders)}")
        for seed in sorted({run.seed for run in entry.apart}):
            notes.append(f"{entry.info.name}: seed {seed} was not run on all tasks: left out")
    return notes


def _lie_in_one_run(folders: Sequence[str], declared: Declared) -> bool:
    """Whether one folder with a ``run.json`` has them all."""
    return any(
        all(PurePosixPath(folder).is_relative_to(run) for folder in folders)
        for run in declared.manifests
    )


def _build(options: argparse.Namespace) -> None:
    out = cast(Path, options.out)
    if out.absolute().is_relative_to(cast(Path, options.results).absolute()):
        raise InputError(f"--out {out}: is in the results folder; choose a folder outside of it")
    _refuse_foreign(out)
    loaded = _load(options)
    first, *apart = loaded.groups
    beside = ("Your tasks", f"{OWN_PAGE}/index.html") if apart else None
    pages = {out: _files(first, beside, with_texts=not options.no_text)}
    for group in apart:
        _refuse_foreign(out / OWN_PAGE)
        beside = ("SentiBench", "../index.html")
        pages[out / OWN_PAGE] = _files(group, beside, with_texts=not options.no_text)
    try:
        for folder, files in pages.items():
            folder.mkdir(parents=True, exist_ok=True)
            for name, text in files.items():
                part = folder / f".{name}.part"
                part.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
                part.replace(folder / name)
    except OSError as error:
        raise InputError(f"{out}: cannot be written: {error.strerror}") from None
    notes = [*loaded.notes, *(f"left out: {p.file}: {p.reason}" for p in loaded.problems)]
    if not apart and (out / OWN_PAGE / "leaderboard.json").exists():
        notes.append(f"{out / OWN_PAGE}: the page of an older build; own tasks are not shown now")
    for note in notes:
        print(visible(note), file=sys.stderr)
    for group, folder in zip(loaded.groups, pages, strict=True):
        n_ranked = sum(row.rank is not None for row in group.board.rows)
        counts = f"{counted(len(group.entries), 'row')} ({n_ranked} ranked)"
        counts += f", {counted(len(loaded.problems), 'file')} left out"
        print(f"{counts}: {folder / 'index.html'}", file=sys.stderr)


def _files(group: _Group, beside: tuple[str, str] | None, *, with_texts: bool) -> dict[str, str]:
    """Name -> text of a page and its exports."""
    from leaderboard.page.render import render_page, render_plots

    board, items = group.board, build_items(group.entries, group.tasks) if with_texts else None
    return {
        "index.html": render_page(board, items, beside),
        "leaderboard.csv": to_csv(board),
        "leaderboard.md": to_markdown(board),
        "leaderboard.tex": to_latex(board),
        "leaderboard.json": to_json(board),
        "hardest_items.csv": to_hardest(hardest_items(group.entries, group.tasks)),
        **render_plots(board),
    }


def _refuse_foreign(out: Path) -> None:
    """Refuse an output folder that holds something we did not write."""
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: got a file, expected a folder; choose another")
    if not out.is_dir() or not any(out.iterdir()):
        return
    page = out / "index.html"
    marked = page.is_file() and GENERATOR in page.read_text(encoding="utf-8", errors="replace")
    if not marked or read_previous(out / "leaderboard.json") is None:
        raise InputError(
            f"--out {out}: got a folder with other files, expected an empty one or an older page; "
            "nothing was written; choose another folder"
        )


def _check(options: argparse.Namespace) -> int:
    loaded = _load(options)
    findings = [f"{problem.file}: {problem.reason}" for problem in loaded.problems]
    names = {entry.info.name for entry in loaded.entries}
    unranked: list[str] = []
    for group in loaded.groups:
        to_json(group.board)  # what cannot be written is found here too
        where = "your tasks: " if group.source == "own" else ""
        measured = [row for row in group.board.rows if row.kind == "measured"]
        findings += [
            f"{where}{row.name}: {role} {name!r} has no row; measure it too, or take it out of "
            "models.yaml or run.json"
            for row in measured
            for role, name in (("base", row.base), ("teacher", row.teacher))
            if name and name not in names
        ]
        unranked += [
            f"{where}{row.name}: {reason}"
            for row in measured
            if not row.rank
            for reason in row.reasons
        ]
    findings += [] if options.allow_unranked else unranked
    notes = [*(unranked if options.allow_unranked else []), *loaded.notes]
    if options.previous is not None:
        previous = read_previous(options.previous)
        if previous is None:
            raise InputError(
                f"--previous {options.previous}: not a leaderboard.json of this program"
            )
        boards = {group.source: group.board for group in loaded.groups}
        if previous.source not in boards:
            raise InputError(
                f"--previous {options.previous}: got a board of {previous.source!r} "
                f"results, expected {' or '.join(map(repr, boards))}; choose with --source"
            )
        changed, new = changes(previous, boards[previous.source])
        findings, notes = findings + changed, notes + new
    for line in [*(f"note: {note}" for note in notes), *findings]:
        print(visible(line))
    if findings:
        raise InputError(f"check: {counted(len(findings), 'finding')}, expected none; see above")
    print(f"{counted(len(loaded.entries), 'row')}, no findings")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Makes the records of leaderboard.json from the entries: scores, ranks, comparisons."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from typing import Any, get_args

import numpy as np

from leaderboard.board import (
    Ancestor,
    Badge,
    Baseline,
    Board,
    Cell,
    ClassScore,
    ColumnGroup,
    Count,
    GapClosed,
    PastRun,
    Row,
    TaskFacts,
    averages_of,
    rounded,
    tasks_of,
)
from leaderboard.calibration import calibrations_of, reliability_of
from leaderboard.ranking import Ranking, cells_of, compare, gap_closed, rank_entries
from leaderboard.runs.entries import Entry, Wording
from leaderboard.runs.models import load_paper
from leaderboard.runs.results import Problem, TaskRun
from sentibench.data.cards import Card, Category, Task, tasks_of_source
from sentibench.data.read import split_file
from sentibench.prompts.demonstrations import DEFAULT_SEED, PAPER_SEEDS
from sentibench.scoring.metrics import class_scores, confusion, score_function
from sentibench.scoring.statistics import REPLICATES, wilson

TITLE = {
    "real": "SentiBench leaderboard",
    "mini": "SentiBench mini: own small texts, never comparable with SentiBench",
    "own": "Your tasks, never comparable with SentiBench",
}
TITLES: dict[Category, str] = {
    "basic": "Basic",
    "multifaceted": "Multifaceted",
    "finegrained": "Fine-grained",
    "own": "Your tasks",
}
SHOWN_ARGUMENTS = (
    *("pretrained", "model", "revision", "peft", "delta", "tokenizer", "dtype", "softmax_dtype"),
    *("max_length", "truncation", "add_bos_token", "prefix_token_id", "trust_remote_code"),
    *("gguf_file", "subfolder", "load_in_4bit", "load_in_8bit", "quantization", "parallelize"),
    *("bnb_4bit_quant_type", "bnb_4bit_compute_dtype", "use_fast_tokenizer"),
    *("attn_implementation", "enable_thinking", "think_end_token", "max_gen_toks", "backend"),
    *("tensor_parallel_size", "data_parallel_size", "max_model_len", "gpu_memory_utilization"),
    *("dialect", "letters", "accept_lost", "method"),
)
"""Model arguments whose value is shown; others may be private (addresses, keys, folders)."""
HIDDEN = "(not shown)"
BY_LABELS: tuple[Wording, ...] = ("labels", "nobody")
"""Whose rows are ranked by the label tasks alone."""


def build_board(
    entries: Sequence[Entry],
    problems: Iterable[Problem],
    tasks: Sequence[Task],
    replicates: int = REPLICATES,
) -> Board:
    """Make the content of leaderboard.json.

    Args:
        entries: All of the tasks.
        problems: Files that were left out.
        tasks: Of the board, of one source.
        replicates: Of the bootstrap behind ranks and intervals.
    """
    source = tasks[0].source
    rankings = {
        wording: rank_entries(
            [e for e in entries if e.is_ranked and e.wording == wording],
            ranked_by(wording, tasks),
            replicates,
        )
        for wording in get_args(Wording)
    }
    order = [entry for of in rankings.values() if of for entry in of["official"].entries]
    unranked = (entry for entry in entries if not entry.is_ranked)
    order += sorted(unranked, key=lambda entry: (entry.info.name, entry.key))
    calibrated = calibrations_of(order)
    rows = [_measured(entry, rankings[entry.wording], tasks, replicates) for entry in order]
    rows = [
        replace(row, calibration=of, reliability=reliability_of(entry))
        for row, entry, of in zip(rows, order, calibrated, strict=True)
    ]
    rows += _reported() if source == "real" else []
    lineages = _lineages(rows, {entry.key: _conditions(entry) for entry in order}, tasks)
    gaps = {
        entry.key: _gaps(entry, lineages[entry.key], rankings[entry.wording]) for entry in order
    }
    names = _distinct_names(rows)
    all_runs = [run for entry in order for run in entry.all_runs]
    ranked_runs = [run for entry in order if not entry.reasons for run in entry.all_runs]
    counted = ranked_runs or all_runs
    return rounded(
        Board(
            title=TITLE[source],
            source=source,
            categories=tuple(
                ColumnGroup(name, title, members)
                for name, title in TITLES.items()
                if (members := tuple(tasks_of(name, tasks)))
            ),
            tasks=tuple(_task_facts(task, entries) for task in tasks),
            rows=tuple(
                replace(
                    row, name=names[row.key], lineage=lineages[row.key], gap=gaps.get(row.key, {})
                )
                for row in rows
            ),
            comparisons=tuple(
                found
                for of_metrics in rankings.values()
                for metric, of in of_metrics.items()
                for found in compare(of, metric)
            ),
            report=tuple(replace(found, file=_public(found.file)) for found in problems),
            newest=max((_date(run) for run in all_runs), default=""),
            versions={
                "lm-eval": tuple(sorted({run.facts.lm_eval for run in counted} - {""})),
                "task version": tuple(sorted({run.facts.version for run in counted})),
            },
            n_runs=len(all_runs),
            n_models=len({run.model for run in all_runs if run.facts.is_language_model}),
        )
    )


def ranked_by(wording: Wording, tasks: Sequence[Task]) -> list[Task]:
    """The tasks whose mean orders the rows of one wording."""
    labels = [task for task in tasks if task.card.is_label_task]
    return labels if labels and wording in BY_LABELS else list(tasks)


# Tasks


def _task_facts(task: Task, entries: Sequence[Entry]) -> TaskFacts:
    card, is_mini = task.card, task.source == "mini"
    runs = [run for entry in entries for run in entry.runs.get(task.name, ())]
    whole = next((run for run in runs if run.samples.data_key == task.pins.items), None)
    distribution, baselines = _gold_facts(card, whole) if whole else ((), ())
    return TaskFacts(
        name=task.name,
        title=card.title,
        category=card.category,
        task=card.kind,
        metric=card.metric,
        labels=card.labels,
        elements=card.elements,
        n_items=split_file(task, "test").rows if runs else None,
        distribution=distribution,
        baselines=baselines,
        facts=() if is_mini else card.facts,
        url="" if is_mini else card.url,
    )


def _gold_facts(card: Card, run: TaskRun) -> tuple[tuple[Count, ...], tuple[Baseline, ...]]:
    """Class distribution and the scores of answers that do not look at the text."""
    statistics = run.samples.statistics["official"]
    sums = statistics.sum(axis=0)
    if not card.is_label_task:
        n_empty = int(np.count_nonzero(statistics[:, 3] == 0))
        return (
            Count("items with an opinion", run.samples.n_items - n_empty),
            Count("items without", n_empty),
            Count("gold tuples", int(sums[3])),
        ), ()
    k = len(card.labels)
    gold = sums[:k]
    share = gold / gold.sum()
    majority = 2 * share.max() / (share.max() + 1) / k
    uniform = (2 * share / k / (share + 1 / k)).mean()
    return tuple(
        Count(label, int(count)) for label, count in zip(card.labels, gold, strict=True)
    ), (
        Baseline("always the most frequent label", float(majority)),
        Baseline("a label at random", float(uniform)),
    )


# Rows


def _measured(
    entry: Entry, rankings: Mapping[str, Ranking], tasks: Sequence[Task], replicates: int
) -> Row:
    invalid = {
        task: float(np.mean([run.samples.invalid.mean() for run in runs]))
        for task, runs in entry.runs.items()
    }
    ranked = entry.is_ranked
    if (
        ranked and entry.wording not in BY_LABELS
    ):  # whose means are over fewer tasks than the columns'
        cells = {metric: of.cells[entry.key] for metric, of in rankings.items()}
    else:
        cells = cells_of(entry, tasks, replicates)
    files = {run.file: run.facts.seconds for run in entry.all_runs}
    seconds = sum(taken or 0 for taken in files.values()) if all(files.values()) else None
    n_items = sum(run.samples.n_items for run in entry.all_runs)
    peaks = [run.facts.peak_memory_bytes or 0 for run in entry.all_runs]
    columns = (*averages_of(tasks[0].source), *entry.runs)
    matrices, per_class = _label_details(entry)
    return Row(
        **asdict(entry.info),
        key=entry.key,
        kind="measured",
        ranked=ranked and entry.wording == "benchmark",
        wording=entry.wording,
        reasons=entry.reasons,
        n_tasks=len(entry.runs),
        protocol=_protocol(entry),
        seeds=_seeds(entry),
        scores={m: {column: of.get(column) for column in columns} for m, of in cells.items()},
        rank={m: of.rank_of(entry) for m, of in rankings.items()} if ranked else None,
        invalid=invalid,
        invalid_interval={
            task: wilson(rate, entry.n_items(task)) for task, rate in invalid.items()
        },
        arguments={n: _shown_argument(n, value) for n, value in entry.arguments.items()},
        seconds=seconds,
        items_per_second=n_items / seconds if seconds else None,
        peak_memory_bytes=max(peaks) or None,
        newest=max(map(_date, entry.all_runs)),
        badges=_badges(entry, len(tasks)),
        command="\n".join(_commands(entry)),
        history=tuple(
            PastRun(_date(run), run.task.name, _official_score(run)) for run in entry.history
        ),
        confusion=matrices,
        per_class=per_class,
        gap={},
    )


def _protocol(entry: Entry) -> dict[str, Any]:
    """How it was asked; the shots of own tasks may differ and are listed then."""
    if entry.wording == "nobody":
        return {}
    shots = sorted({run.protocol.shots for run in entry.all_runs})
    given = asdict(next(iter(entry.runs.values()))[-1].protocol)
    return given if len(shots) == 1 else given | {"shots": ", ".join(map(str, shots))}


def _seeds(entry: Entry) -> tuple[int, ...]:
    """Those of the demonstrations, where there are any."""
    runs = entry.all_runs if entry.wording != "nobody" else []
    return tuple(sorted({run.seed for run in runs}))


def _official_score(run: TaskRun) -> float:
    sums = run.samples.statistics["official"].sum(axis=0)
    return float(score_function(run.task.card)(sums))


def _date(run: TaskRun) -> str:
    return datetime.fromtimestamp(run.date, timezone.utc).strftime("%Y-%m-%d %H:%M")


def _badges(entry: Entry, n_tasks: int) -> tuple[Badge, ...]:
    runs = entry.all_runs
    apart = Counter(run.seed for run in entry.apart)
    unknown = any("official" in run.samples.unverified for run in runs)

    def joined(values: Iterable[Any]) -> str:
        return ", ".join(sorted(set(map(str, values))))

    shown = {
        "lm-eval": joined(run.facts.lm_eval for run in runs),
        "task version": joined(run.facts.version for run in runs),
        "dtype": joined(run.facts.dtype for run in runs),
        "limit": joined(run.facts.limit for run in runs),
        "seeds": ", ".join(map(str, _seeds(entry))),
        "data": _joint_hash((run.task.name, run.samples.data_key) for run in runs),
        "prompts": _joint_hash((run.task.name, run.samples.prompt_key) for run in runs)
        if entry.wording != "nobody"
        else "",
        "newest run": max(map(_date, runs)),
        "not counted": joined(
            f"seed {seed}: {n} of {n_tasks} datasets" for seed, n in apart.items()
        ),
        "not computed again": "official score of OpeNER" if unknown else "",
    }
    return tuple(Badge(*pair) for pair in shown.items() if pair[1] not in ("", "None"))


def _joint_hash(keys: Iterable[tuple[str, str]]) -> str:
    """One short hash over the tasks: equal where all of them are."""
    text = "\n".join(f"{task} {key}" for task, key in sorted(set(keys)))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _commands(entry: Entry) -> list[str]:
    """What makes a row again: a line per seed and limit, or per task of no language model."""
    if entry.wording != "nobody":
        return [_command(runs) for runs in _by_seed_and_limit(entry)]
    return [
        shlex.join(
            (
                *("sentibench", "score", run.task.name, "PREDICTIONS.jsonl"),
                *("--results", "results", f"--name={run.model}"),
                f"--not-a-language-model={run.facts.model_args['method']}",
            )
        )
        for run in entry.all_runs
    ]


def _by_seed_and_limit(entry: Entry) -> list[list[TaskRun]]:
    """The runs of each seed and limit, seeds ascending, and the fullest first."""
    found: dict[tuple[int, float], list[TaskRun]] = defaultdict(list)
    for run in entry.all_runs:
        limit = math.inf if run.facts.limit is None else run.facts.limit
        found[run.seed, -limit].append(run)
    return [found[key] for key in sorted(found)]


def _command(runs: Sequence[TaskRun]) -> str:
    """The command that makes the runs of one seed again, without private arguments."""
    run, names = runs[0], [run.task.name for run in runs]
    protocol, facts, source = run.protocol, run.facts, run.task.source
    shown = (
        f"{name}={_shown_value(str(value))}"
        for name, value in facts.model_args.items()
        if name in SHOWN_ARGUMENTS
    )
    parts = ["sentibench", "run"] if source == "own" else ["lm_eval"]
    parts += ["--model", facts.model_type, "--model_args", ",".join(shown)]
    is_whole = source != "own" and len(names) == len(tasks_of_source(source))
    group = "sentibench" if source == "real" else "sentibench_mini"
    parts += ["--tasks", group if is_whole else ",".join(names)]
    for is_changed, name, value in (
        (protocol.shots != run.task.card.shots, "--num_fewshot", protocol.shots),
        (run.seed != DEFAULT_SEED, "--metadata", f"demo_seed={run.seed}"),
        (protocol.chat_template, "--apply_chat_template", None),
        (protocol.chat_template, "--fewshot_as_multiturn", str(protocol.multiturn).lower()),
        (protocol.system_instruction, "--system_instruction", protocol.system_instruction),
        (protocol.gen_kwargs, "--gen_kwargs", json.dumps(protocol.gen_kwargs)),
        (facts.limit is not None, "--limit", facts.limit),
        (facts.batch_size, "--batch_size", facts.batch_size),
        (True, "--output_path", "results"),
        (True, "--log_samples", None),
    ):
        if is_changed:
            parts += [name] if value is None else [name, str(value)]
    return shlex.join(parts)


def _public(file: str) -> str:
    """A file below the results; lm-eval names folders after the path of a local model."""
    return "/".join(part.rpartition("__")[2] for part in file.split("/"))


def _shown_argument(name: str, value: str) -> str:
    """The value of an argument; of one that may be private only that there is one."""
    return _shown_value(value) if name in SHOWN_ARGUMENTS else HIDDEN


def _shown_value(value: str) -> str:
    """Keep hub names; of a path only its last part."""
    if re.fullmatch(r"[\w.-]+(/[\w.-]+)?", value) and not value.startswith("."):
        return value
    return re.split(r"[/\\]", value.rstrip("/\\"))[-1]


def _label_details(
    entry: Entry,
) -> tuple[dict[str, list[list[int]]], dict[str, tuple[ClassScore, ...]]]:
    """Of the label tasks: answers counted over all seeds, and the means of the seeds' scores."""
    matrices: dict[str, list[list[int]]] = {}
    per_class: dict[str, tuple[ClassScore, ...]] = {}
    for task, runs in entry.runs.items():
        labels = runs[0].task.card.labels
        if not labels:
            continue
        of_seeds = entry.statistics(task, "official")
        matrices[task] = confusion(np.concatenate(of_seeds))
        sums_RX = np.stack([of_seed.sum(axis=0) for of_seed in of_seeds])
        scores = zip(*(of.mean(axis=0) for of in class_scores(sums_RX)), strict=True)
        per_class[task] = tuple(
            ClassScore(label, *map(float, of_label))
            for label, of_label in zip(labels, scores, strict=True)
        )
    return matrices, per_class


def _reported() -> list[Row]:
    """The paper's rows."""
    tasks, rows = tasks_of_source("real"), list[Row]()
    for number, given in enumerate(load_paper()):
        raw = dict(given)
        scores = zip(tasks, raw.pop("scores"), strict=True)
        values = {task.name: score / 100 for task, score in scores}
        for column in averages_of("real"):
            members = [values[task] for task in tasks_of(column, tasks)]
            values[column] = sum(members) / len(members)
        row = Row(
            key=f"paper{number}",
            kind="reported",
            link="https://arxiv.org/abs/2503.03225",
            reasons=("reported in the paper, not measured here",),
            protocol={},
            gap={},
            invalid={},
            invalid_interval={},
            confusion={},
            per_class={},
            n_tasks=len(tasks),
            seeds=PAPER_SEEDS,
            scores={
                "official": {name: Cell(value) for name, value in values.items()},
                "strict": dict.fromkeys(values),
            },
            **raw,
        )
        rows.append(row)
    return sorted(rows, key=lambda row: -(row.value("official", "overall") or 0))


def _distinct_names(rows: Sequence[Row]) -> dict[str, str]:
    """Key -> a name that says how rows of one model differ, where several have the same."""
    named: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        named[row.name].append(row)
    names = {row.key: row.name for row in rows}
    for of_name in named.values():
        measured = [row for row in of_name if row.kind == "measured"]
        for row in measured if len(of_name) > 1 else ():
            notes = _differences(row, measured)
            names[row.key] += f" ({'; '.join(notes)})" if notes else ""
    counts = Counter(names.values())
    return {
        key: f"{name} [{key[1:5]}]" if counts[name] > 1 else name for key, name in names.items()
    }


def _differences(row: Row, others: Sequence[Row]) -> list[str]:
    """How a row was made, as far as that tells it from others or from the benchmark."""
    differing = {
        name
        for other in others
        for name in {**row.arguments, **other.arguments}
        if row.arguments.get(name) != other.arguments.get(name)
    }
    shots, seeds = row.protocol.get("shots"), ", ".join(map(str, row.seeds))
    return [
        *(f"{name}={row.arguments[name]}" for name in sorted(differing) if name in row.arguments),
        *([f"{shots} shots"] if any("protocol: shots" in r for r in row.reasons) else []),
        *(["chat template"] if row.protocol.get("chat_template") else []),
        *(["limited"] if any("limited" in reason for reason in row.reasons) else []),
        *([f"seeds {seeds}"] if row.seeds not in ((), (DEFAULT_SEED,)) else []),
    ]


# Lines from base to student


def _conditions(entry: Entry) -> dict[str, Any]:
    """Task -> what has to be the same in another row for the two scores to be compared."""

    def of_run(run: TaskRun) -> tuple[Any, ...]:
        samples = run.samples
        asked = run.seed, run.protocol, run.facts.version, samples.data_key, samples.prompt_key
        return *asked, entry.asked_by

    return {task: list(map(of_run, runs)) for task, runs in entry.runs.items()}


def _lineages(
    rows: Sequence[Row], conditions: Mapping[str, Mapping[str, Any]], tasks: Sequence[Task]
) -> dict[str, tuple[Ancestor, ...]]:
    """Key -> from the first ancestor to the row itself, by the declared base models.

    All of them have the mean over the tasks that all answered under the same conditions: items,
    prompts, protocol, seeds. Reported rows have the paper's.
    """
    names = [task.name for task in tasks]
    reported = dict.fromkeys(names, "reported")

    def shared(chain: Sequence[Row]) -> list[str]:
        first, *others = [conditions.get(link.key, reported) for link in chain]
        return [t for t in names if t in first and all(o.get(t) == first[t] for o in others)]

    by_name: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_name[row.name].append(row)
    found: dict[str, tuple[Ancestor, ...]] = {}
    for row in rows:
        chain = [row]
        while longer := [
            [base, *chain]
            for base in by_name[chain[0].base]
            if base.name not in (link.name for link in chain)
        ]:
            chain = max(longer, key=lambda chain: len(shared(chain)))  # the first of equals
        columns = shared(chain)
        ancestors = [Ancestor(link.name, _mean(link, columns), len(columns)) for link in chain]
        found[row.key] = tuple(ancestors) if len(chain) > 1 else ()
    return found


def _mean(row: Row, tasks: Sequence[str]) -> float | None:
    values = [value for task in tasks if (value := row.value("official", task)) is not None]
    return float(np.mean(values)) if len(values) == len(tasks) > 0 else None


def _gaps(
    entry: Entry, lineage: Sequence[Ancestor], rankings: Mapping[str, Ranking]
) -> dict[str, GapClosed | None]:
    base = lineage[0].name if lineage else entry.info.base
    return {metric: gap_closed(ranking, entry, base) for metric, ranking in rankings.items()}

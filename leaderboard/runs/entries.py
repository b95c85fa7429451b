"""Runs -> entries: which runs make one row, and why a row is shown but not ranked."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import PurePosixPath
from typing import Any, Literal

from leaderboard.runs.models import Declared, ModelInfo
from leaderboard.runs.results import Protocol, TaskRun
from sentibench.data.cards import TASK_VERSION, Task
from sentibench.pages.text import short
from sentibench.prompts.demonstrations import PAPER_SEEDS
from sentibench.scoring.metrics import Floats

PROTOCOL = Protocol()
CANNOT_MOVE_A_SCORE = frozenset(
    (
        *("batch_size", "max_batch_size", "batch_tokens", "device", "device_map", "parallelize"),
        *("device_map_option", "max_memory_per_gpu", "max_cpu_memory", "offload_folder"),
        *("low_cpu_mem_usage", "cache_dir", "download_dir", "local_files_only", "logits_cache"),
        *("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size"),
        *("gpu_memory_utilization", "swap_space", "cpu_offload_gb", "max_num_seqs"),
        *("max_num_batched_tokens", "enable_prefix_caching", "disable_log_stats"),
        *("num_concurrent", "max_retries", "timeout", "verify_certificate"),
        # of sentibench-decisions
        *("concurrency", "max_attempts", "timeout_s", "requests_per_minute", "tokens_per_minute"),
        *("api_key_env", "retry_failed", "store"),
        *("api_key", "auth_token", "hf_token", "token", "use_auth_token", "header"),
    )
)
"""Model arguments that say how or where a model is computed. All others tell rows apart."""
SAME_BACKENDS = {"sentibench-hf": "hf", "hf-auto": "hf", "huggingface": "hf"}
"""Names after ``--model`` that compute the same: docs/performance.md, agreement."""

Wording = Literal["benchmark", "server", "labels", "nobody"]
SERVER_BACKEND = "sentibench-decisions"
SERVER_WORDS = "the server writes the prompt"
LABELS_ALONE = "label tasks alone"
"""Why rows of a decisions endpoint are ranked among themselves alone; how each begins."""
NO_MODEL = "not a language model"
"""The same of methods that have no prompt at all."""

RunsOfTasks = Mapping[str, tuple[TaskRun, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One model under one protocol: what a row is made from.

    Attributes:
        key: Unique, stable and safe as an HTML id.
        info: Declared facts.
        arguments: What else tells it from other rows of the model.
        runs: Per task name, the newest run of each seed, seeds ascending.
        history: Runs that a newer one replaced.
        apart: Runs of seeds that were not run on all tasks, where others were.
        reasons: Why it is not ranked; empty if it is.
    """

    key: str
    info: ModelInfo
    arguments: Mapping[str, str]
    runs: RunsOfTasks
    history: tuple[TaskRun, ...]
    apart: tuple[TaskRun, ...]
    reasons: tuple[str, ...]

    @property
    def wording(self) -> Wording:
        """Who words the prompt; ``labels`` for a server that only decides, ``nobody`` for none."""
        if any(reason.startswith(NO_MODEL) for reason in self.reasons):
            return "nobody"
        if any(reason.startswith(LABELS_ALONE) for reason in self.reasons):
            return "labels"
        return "server" if self.asked_by else "benchmark"

    @property
    def asked_by(self) -> tuple[str, ...]:
        """How the server was asked that words the prompt; empty where the benchmark words it."""
        return tuple(reason for reason in self.reasons if reason.startswith(SERVER_WORDS))

    @property
    def is_ranked(self) -> bool:
        """Whether it has a rank among the rows whose prompt is worded by the same."""
        apart = (SERVER_WORDS, LABELS_ALONE, NO_MODEL)
        return all(reason.startswith(apart) for reason in self.reasons)

    def statistics(self, task: str, metric: str) -> list[Floats]:
        """Additive statistics of a task, each of shape (N, S): one per seed."""
        return [run.samples.statistics[metric] for run in self.runs[task]]

    def n_items(self, task: str) -> int:
        """N of a task."""
        return self.runs[task][0].samples.n_items

    def is_whole(self, task: str) -> bool:
        """Whether a task was run on all items, with every seed."""
        return all(run.samples.is_whole for run in self.runs.get(task, ()))

    @property
    def all_runs(self) -> list[TaskRun]:
        """The runs that count, of all tasks and seeds."""
        return [run for runs in self.runs.values() for run in runs]

    def is_pinned(self, task: str) -> bool:
        """Whether a task was run on all items, and these are those of the benchmark."""
        runs = self.runs.get(task, ())
        return bool(runs) and all(r.samples.data_key == r.task.pins.items for r in runs)

    @property
    def folders(self) -> list[str]:
        """Where its runs lie, below the results folder."""
        return sorted({PurePosixPath(run.file).parent.as_posix() for run in self.all_runs})


def _regular_protocol(task: Task) -> Protocol:
    """How the benchmark asks a task: the shots are those of its card."""
    return replace(PROTOCOL, shots=task.card.shots)


def collect_entries(
    runs: Iterable[TaskRun], declared: Declared, tasks: Sequence[Task]
) -> list[Entry]:
    """Group runs: newest per model, protocol, task and seed; older ones are history.

    A limited run never replaces a fuller one. It joins a fuller entry that lacks its task and has
    its seeds, or is an entry of its own. Runs of one model from different folders are one entry,
    and so are runs of two models that models.yaml gives one name.

    Args:
        runs: Of any tasks.
        declared: What is declared of their models.
        tasks: Of the board; runs of others are left out.
    """
    task_names = {task.name for task in tasks}
    of_board = [run for run in runs if run.task.name in task_names]
    names = {run.model for run in of_board}
    joined = declared.joined_names(names)

    def key_of(run: TaskRun, *more: str | None) -> str:
        parts = (joined[run.model], _way_of_asking(run), identity(run), *more)
        return json.dumps(parts, sort_keys=True)

    groups: dict[str, list[TaskRun]] = defaultdict(list)
    for run in of_board:
        groups[key_of(run)].append(run)
    rows = {
        key_of(row[0], limit): row
        for group in groups.values()
        for limit, row in _rows_of(group).items()
    }
    entries: list[Entry] = []
    for key, group in sorted(rows.items()):
        kept, history, conflicts = _newest(group)
        kept, apart = _complete_seeds(kept, len(tasks))
        first = next(iter(kept.values()))[0]
        info = declared.of(first, names)
        if info.parameters is None:
            info = replace(info, parameters=first.facts.parameters)
        reasons = tuple(dict.fromkeys((*conflicts, *_reasons(kept, tasks))))
        name = f"m{hashlib.sha256(key.encode()).hexdigest()[:10]}"
        entries.append(Entry(name, info, identity(first), kept, history, apart, reasons))
    return entries


def _rows_of(runs: Sequence[TaskRun]) -> Mapping[str | None, Sequence[TaskRun]]:
    """Runs of one model by limit, the fullest first.

    The limited runs of a task join the first fuller row that lacks this task and has their seeds.
    """
    of_limit: dict[str | None, list[TaskRun]] = defaultdict(list)
    for run in runs:
        of_limit[None if run.samples.is_whole else f"limit {run.facts.limit}"].append(run)
    rows: dict[str | None, list[TaskRun]] = {}
    for limit in sorted(of_limit, key=lambda limit: _place(limit, of_limit)):
        of_task: dict[str, list[TaskRun]] = defaultdict(list)
        for run in of_limit[limit]:
            of_task[run.task.name].append(run)
        found = [
            (of, next((row for row in rows.values() if _joins(of, row)), None))
            for of in of_task.values()
        ]
        for of, row in found:
            (rows.setdefault(limit, []) if row is None else row).extend(of)
    return rows


def _joins(of_task: Sequence[TaskRun], row: Sequence[TaskRun]) -> bool:
    """Whether a row lacks the task of these runs, and has their seeds."""
    is_there = of_task[0].task.name in {run.task.name for run in row}
    return not is_there and {run.seed for run in of_task} == {run.seed for run in row}


def _place(limit: str | None, of_limit: Mapping[str | None, Sequence[TaskRun]]) -> tuple[Any, ...]:
    """Whole runs first, then those with most items; the order of files decides nothing."""
    return limit is not None, -max(run.samples.n_items for run in of_limit[limit]), str(limit)


def _way_of_asking(run: TaskRun) -> dict[str, Any]:
    """The protocol; own tasks have shots of their own, which are one way of asking."""
    is_own = run.task.source == "own" and run.protocol.shots == run.task.card.shots
    return asdict(run.protocol) | ({"shots": "of the card"} if is_own else {})


def identity(run: TaskRun) -> dict[str, str]:
    """What tells a run from others of the model of this name: backend and arguments.

    A precision or a revision that was asked for counts as the one that lm-eval says was used.
    """
    given = run.facts.model_args
    found = {name: given[name] for name in given if name not in CANNOT_MOVE_A_SCORE}
    for name in ("pretrained", "model"):  # its name
        if name in found and found[name].rstrip("/\\") == run.model:
            found.pop(name)
    if run.facts.dtype:
        found["dtype"] = run.facts.dtype.removeprefix("torch.")
    if run.facts.commit:
        found["revision"] = run.facts.commit
    backend = SAME_BACKENDS.get(run.facts.model_type, run.facts.model_type)
    return dict(sorted(found.items())) | {"backend": backend}


def _newest(group: Sequence[TaskRun]) -> tuple[RunsOfTasks, tuple[TaskRun, ...], list[str]]:
    """The newest run of each task and seed, by task; the older ones; which have one date."""
    newest: dict[tuple[str, int], TaskRun] = {}
    history: list[TaskRun] = []
    same_date: set[tuple[str, int]] = set()
    for run in sorted(group, key=lambda run: (run.date, run.file)):
        slot = run.task.name, run.seed
        older = newest.get(slot)
        if older:
            history.append(older)
        same_date.discard(slot)
        if older and older.date == run.date:
            same_date.add(slot)
        newest[slot] = run
    conflicts = [
        f"two runs of {name}, seed {seed}, have one date: which is newer is not known"
        for name, seed in sorted(same_date)
    ]
    by_task: dict[str, tuple[TaskRun, ...]] = {}
    for (task, _), run in sorted(newest.items()):
        by_task[task] = (*by_task.get(task, ()), run)
    return by_task, tuple(history), conflicts


def _complete_seeds(runs: RunsOfTasks, n_tasks: int) -> tuple[RunsOfTasks, tuple[TaskRun, ...]]:
    """Where some seeds were run on all tasks, the runs of these; and the runs of the others."""
    tasks_of: dict[int, int] = Counter(run.seed for of_task in runs.values() for run in of_task)
    whole = {seed for seed, n in tasks_of.items() if n == n_tasks}
    if not whole:
        return runs, ()
    kept = {task: tuple(r for r in of if r.seed in whole) for task, of in runs.items()}
    return kept, tuple(r for of in runs.values() for r in of if r.seed not in whole)


def _reasons(runs: RunsOfTasks, tasks: Sequence[Task]) -> Iterable[str]:
    """Say why an entry cannot be ranked."""
    for run in (run for of_task in runs.values() for run in of_task):
        if run.facts.model_type == SERVER_BACKEND:
            told = run.facts.model_args
            letters = ", letters" if str(told.get("letters")).lower() == "true" else ""
            yield f"{SERVER_WORDS}: dialect {short(str(told.get('dialect')), 40)}{letters}"
        if run.facts.is_language_model:
            yield from _reasons_of_a_model(run)
        else:
            yield f"{NO_MODEL}: {run.facts.model_args['method']}"
            yield from _reasons_of_items(run)
    if len({tuple(run.seed for run in of_task) for of_task in runs.values()}) > 1:
        yield "seeds differ between tasks"
    missing = [task.card.name for task in tasks if task.name not in runs]
    if missing:
        n_tasks = len(tasks)
        part = f"{n_tasks - len(missing)}/{n_tasks} tasks; missing: {', '.join(missing)}"
        is_apart = all(
            r.facts.model_type == SERVER_BACKEND or not r.facts.is_language_model
            for of in runs.values()
            for r in of
        )
        only_decides = missing == [t.card.name for t in tasks if not t.card.is_label_task]
        yield f"{LABELS_ALONE}, {part}" if is_apart and only_decides else part


def _reasons_of_items(run: TaskRun) -> Iterable[str]:
    if not run.samples.is_whole:
        yield "limited run: not all items"
    if run.facts.version != TASK_VERSION:
        yield f"task version {run.facts.version}, not {TASK_VERSION}"
    if run.samples.is_whole and run.samples.data_key != run.task.pins.items:
        yield f"other data: {run.task.name}"


def _reasons_of_a_model(run: TaskRun) -> Iterable[str]:
    """What a language model was asked, and how."""
    given, regular = asdict(run.protocol), _regular_protocol(run.task)
    yield from _reasons_of_items(run)
    for name, value in asdict(regular).items():
        if given[name] != value:
            got = short(json.dumps(given[name]), 200)
            yield f"other protocol: {name} is {got}, not {json.dumps(value)}"
    for what in sorted(run.samples.unverified - {"official"}):
        yield f"{what} were not saved, so they cannot be checked"
    is_regular = run.samples.is_whole and run.protocol == regular and run.seed in PAPER_SEEDS
    if is_regular and run.samples.prompt_key != run.task.pins.prompts.get(run.seed):
        yield f"other prompts: {run.task.name}, seed {run.seed}"
    if run.seed not in PAPER_SEEDS:
        yield f"seed {run.seed}, not one of the paper's 42, 52 and 62"

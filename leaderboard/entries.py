"""Runs -> entries: which runs make one row, and why a row is shown but not ranked."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from leaderboard.models import ModelInfo
from leaderboard.results import Protocol, TaskRun
from sentibench.data.cards import TASK_VERSION, Source, Task, load_cards
from sentibench.prompts.demonstrations import PAPER_SEEDS
from sentibench.scoring.metrics import Floats

PROTOCOL = Protocol()
VARIANT = ("revision", "peft", "delta", "dtype", "load_in_4bit", "load_in_8bit", "quantization")
"""Model arguments that make another model of the same name."""

RunsOfTasks = Mapping[str, tuple[TaskRun, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One model under one protocol: what a row is made from.

    Attributes:
        key: Unique, stable and safe as an HTML id.
        info: Declared facts.
        runs: Per task name, the newest run of each seed, seeds ascending.
        history: Runs that a newer one replaced.
        reasons: Why it is not ranked; empty if it is.
    """

    key: str
    info: ModelInfo
    runs: RunsOfTasks
    history: tuple[TaskRun, ...]
    reasons: tuple[str, ...]

    def statistics(self, task: str, metric: str) -> Floats:
        """Additive statistics of a task, shape (N, S): averaged per item over the seeds."""
        return np.mean([run.samples.statistics[metric] for run in self.runs[task]], axis=0)

    def n_items(self, task: str) -> int:
        """N of a task."""
        return self.runs[task][0].samples.n_items

    @property
    def all_runs(self) -> list[TaskRun]:
        """The runs that count, of all tasks and seeds."""
        return [run for runs in self.runs.values() for run in runs]

    @property
    def has_other_data(self) -> bool:
        """Whether its items are not those that most entries share."""
        return any(reason.startswith("other data") for reason in self.reasons)


def collect_entries(
    runs: Iterable[TaskRun], models: Mapping[str, ModelInfo], source: Source
) -> list[Entry]:
    """Group runs: newest per model, protocol, task and seed; older ones are history.

    A limited run never replaces a full one: it is an entry of its own. Runs of one model from
    different folders are one entry if models.yaml gives them one name.
    """
    groups: dict[tuple[str, str, bool], list[TaskRun]] = defaultdict(list)
    of_source = [run for run in runs if run.task.source == source]
    known = _known_models(of_source, models)
    for run in of_source:
        given = run.facts.model_args
        variant = {name: str(given[name]) for name in VARIANT if given.get(name)}
        protocol = json.dumps([asdict(run.protocol), variant], sort_keys=True, default=str)
        groups[known[run.model].name, protocol, not run.samples.is_whole].append(run)
    newest = {key: _newest(group) for key, group in sorted(groups.items())}
    shared = _shared_hashes([kept for kept, _ in newest.values()])
    entries: list[Entry] = []
    for key, (kept, history) in newest.items():
        first = next(iter(kept.values()))[0]
        info = known[first.model]
        if info.parameters is None:
            info = replace(info, parameters=first.facts.parameters)
        text = "\0".join(map(str, key)).encode("utf-8", "surrogatepass")
        reasons = tuple(dict.fromkeys(_reasons(kept, shared, source)))
        name = f"m{hashlib.sha256(text).hexdigest()[:10]}"
        entries.append(Entry(name, info, kept, history, reasons))
    return entries


def _known_models(
    runs: Sequence[TaskRun], models: Mapping[str, ModelInfo]
) -> Mapping[str, ModelInfo]:
    """Facts by lm-eval's model name; a last part alone names a model only if it is unique."""
    names = sorted({run.model for run in runs})
    shorts = Counter(map(short_name, names))
    known: dict[str, ModelInfo] = {}
    for name in names:
        short = short_name(name)
        unique = shorts[short] == 1
        shown = short if unique else "/".join(name.rstrip("/").split("/")[-2:])
        declared = models.get(name) or (models.get(short) if unique else None)
        known[name] = declared or ModelInfo(name=shown)
    return known


def short_name(model: str) -> str:
    """Return the last part of a hub name or path."""
    return model.rstrip("/").rpartition("/")[2] or model


def _newest(group: Sequence[TaskRun]) -> tuple[RunsOfTasks, tuple[TaskRun, ...]]:
    """The newest run of each task and seed, by task, and the older ones."""
    newest: dict[tuple[str, int], TaskRun] = {}
    history: list[TaskRun] = []
    for run in sorted(group, key=lambda run: run.date):
        slot = run.task.name, run.seed
        if slot in newest:
            history.append(newest[slot])
        newest[slot] = run
    by_task: dict[str, tuple[TaskRun, ...]] = {}
    for (task, _), run in sorted(newest.items()):
        by_task[task] = (*by_task.get(task, ()), run)
    return by_task, tuple(history)


def _is_regular(run: TaskRun) -> bool:
    """Whether it was asked everything, as the benchmark asks."""
    return run.samples.is_whole and run.protocol == PROTOCOL


def _hashes(runs: RunsOfTasks) -> dict[tuple[str, str, int], str]:
    """What has to be the same in all ranked entries: data per task, prompts per task and seed."""
    found: dict[tuple[str, str, int], str] = {}
    for task, of_task in runs.items():
        if _is_regular(of_task[0]):  # so are the other seeds of an entry
            found["data", task, 0] = of_task[0].samples.data_key
            found |= {("prompts", task, run.seed): run.samples.prompt_key for run in of_task}
    return found


def _shared_hashes(entries: Iterable[RunsOfTasks]) -> Mapping[tuple[str, str, int], str | None]:
    """The hashes that most entries have, one vote per entry; None where votes are equal."""
    votes: dict[tuple[str, str, int], Counter[str]] = defaultdict(Counter)
    for runs in entries:
        for key, value in _hashes(runs).items():
            votes[key][value] += 1
    shared: dict[tuple[str, str, int], str | None] = {}
    for key, counter in votes.items():
        (first, n_first), *others = counter.most_common()
        shared[key] = None if others and others[0][1] == n_first else first
    return shared


def _reasons(
    runs: RunsOfTasks, shared: Mapping[tuple[str, str, int], str | None], source: Source
) -> Iterable[str]:
    """Say why an entry cannot be ranked."""
    for run in (run for of_task in runs.values() for run in of_task):
        if not run.samples.is_whole:
            yield "limited run: not all items"
        given = asdict(run.protocol)
        for name, value in asdict(PROTOCOL).items():
            if given[name] != value:
                got = json.dumps(given[name], default=str)
                yield f"other protocol: {name} is {got}, not {json.dumps(value)}"
        if run.facts.version != TASK_VERSION:
            yield f"task version {run.facts.version}, not {TASK_VERSION}"
        if _is_regular(run):
            task = run.task.name
            if run.samples.data_key != shared["data", task, 0]:
                yield f"other data: {task}"
            if run.samples.prompt_key != shared["prompts", task, run.seed]:
                yield f"other prompts: {task}, seed {run.seed}"
        if run.seed not in PAPER_SEEDS:
            yield f"seed {run.seed}, not one of the paper's 42, 52 and 62"
    if len({tuple(run.seed for run in of_task) for of_task in runs.values()}) > 1:
        yield "seeds differ between tasks"
    cards = load_cards().values()
    missing = [card.name for card in cards if Task(card, source).name not in runs]
    if missing:
        yield f"{12 - len(missing)}/12 tasks; missing: {', '.join(missing)}"

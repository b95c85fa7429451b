"""One card per dataset: the facts that readers, tasks, checks and the README's table share.

The YAML files beside this module are the cards. Numbers in them (rows, bytes, hashes) were counted
in the files of the pinned upstream commit; ``tests/test_cards.py`` counts them again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, cast

import yaml

from sentibench.errors import InputError, unknown_name

UPSTREAM_COMMIT = "2810fc2826e8f7c2ae6a0d6dd328ab7d8979744a"
TASK_VERSION = "1.0"
"""Of all task files; raised with any change that can move a score."""

Category = Literal["basic", "multifaceted", "finegrained"]
Metric = Literal["macro_f1", "tuple_f1", "graph_f1"]
Source = Literal["real", "mini"]

CATEGORIES: tuple[Category, ...] = ("basic", "multifaceted", "finegrained")
SOURCES: tuple[Source, ...] = ("real", "mini")
GROUPS = ("sentibench", *(f"sentibench_{name}" for name in CATEGORIES), "sentibench_mini")
TAG = "sentibench_tasks"
SEEN = ("imdb", "yelp2", "sst2", "twitter17", "emotion20")
"""Datasets whose training texts the paper distilled from (Zhang et al. 2025, arXiv 2503.03225)."""
ORDER = (
    *("imdb", "yelp2", "sst2", "twitter17"),
    *("irony18", "emotion20", "pstance", "mint"),
    *("atsa_rest16", "acsa_rest16", "asqp_rest16", "opener"),
)


def scoring_word(label: str) -> str:
    """Return the first word of a label: ``non`` for ``non-irony``."""
    return label.replace("-", " ").split()[0]


@dataclass(frozen=True, slots=True)
class SplitFile:
    """One file of a dataset as it lies in the upstream repository."""

    rows: int
    bytes: int
    sha256: str

    def problem(self, content: bytes) -> str | None:
        """Say how a content differs from this file, or None."""
        if len(content) != self.bytes:
            return f"got {len(content)} bytes, expected {self.bytes}"
        return hash_problem(content, self.sha256)


def hash_problem(content: bytes, sha256: str) -> str | None:
    """Say that a content has another hash, or None."""
    got = hashlib.sha256(content).hexdigest()
    return None if got == sha256 else f"got sha256 {got}, expected {sha256}"


@dataclass(frozen=True, slots=True)
class Pins:
    """Hashes of what every model is asked on one test set; see ``sentibench.data.pins``.

    Attributes:
        items: Of positions, texts and gold.
        prompts: Of the prompts with four demonstrations, by demonstration seed.
    """

    items: str
    prompts: Mapping[int, str]


@dataclass(frozen=True, slots=True, eq=False)
class Card:
    """The facts of one dataset. Compared by identity: there is one card per dataset.

    Attributes:
        name: Last part of the task name, for example ``sst2``.
        folder: Upstream folder below ``datasets/``.
        labels: The K labels of a label task in the order of scoring; empty for extraction tasks.
        elements: The parts of a tuple in the order in which they are written; empty for label
            tasks.
        metric: What the task reports as ``score``.
        instruction_sha256: Hash of the authors' instruction (UTF-8), before a target is filled in.
        splits: ``train``, ``test`` and, where there is one, ``val``.
        facts: What is odd in the data, counted in the files.
        pins: Of the test set, by source.
        reversed_ties: IDs of ATSA train sentences in which two polarities of one span are written
            in the reverse of file order.
    """

    name: str
    title: str
    category: Category
    task: str
    folder: str
    labels: tuple[str, ...]
    elements: tuple[str, ...]
    metric: Metric
    instruction_sha256: str
    splits: Mapping[str, SplitFile]
    licence: str
    citation: str
    url: str
    facts: tuple[str, ...]
    pins: Mapping[Source, Pins]
    reversed_ties: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.labels) == bool(self.elements):
            raise ValueError(f"card {self.name}: exactly one of labels and elements must be given")
        if not {"train", "test"} <= set(self.splits):
            raise ValueError(f"card {self.name}: splits must hold train and test")

    def __reduce__(self) -> tuple[Callable[..., Card], tuple[Any, ...]]:
        """Another process has the twelve cards too, so of these only the name travels."""
        if load_cards().get(self.name) is self:
            return _card_named, (self.name,)
        values = {part.name: getattr(self, part.name) for part in fields(self)}
        return Card, tuple((values | {"splits": dict(self.splits)}).values())

    @property
    def is_label_task(self) -> bool:
        """Whether the answer is one of a closed list of labels."""
        return bool(self.labels)

    @property
    def scoring_words(self) -> tuple[str, ...]:
        """The first word of each label: what a model is asked to choose between.

        The authors compare the first sub-token of each label (protocol: Zhang et al. 2025,
        arXiv 2503.03225, scripts at the pinned commit), which for ``non-irony`` is ``non``.
        """
        return tuple(map(scoring_word, self.labels))


@dataclass(frozen=True, slots=True)
class Task:
    """One lm-eval task: a dataset, in full or as our small stand-in."""

    card: Card
    source: Source

    @property
    def name(self) -> str:
        """The task name that users type."""
        return f"sentibench_{'mini_' if self.source == 'mini' else ''}{self.card.name}"

    @property
    def pins(self) -> Pins:
        """Hashes of what every model is asked."""
        return self.card.pins[self.source]


def _load_card(path: Path) -> Card:
    raw = cast(dict[str, Any], yaml.safe_load(path.read_text(encoding="utf-8")))
    for key in ("labels", "elements", "facts", "reversed_ties"):
        raw[key] = tuple(raw.get(key, ()))
    raw["pins"] = {source: Pins(**of_source) for source, of_source in raw.get("pins", {}).items()}
    raw["splits"] = MappingProxyType({k: SplitFile(**v) for k, v in raw["splits"].items()})
    return Card(**raw)


@cache
def load_cards() -> Mapping[str, Card]:
    """Load the twelve cards, in the order of the paper's table."""
    folder = Path(__file__).parent
    return MappingProxyType({name: _load_card(folder / f"{name}.yaml") for name in ORDER})


def _card_named(name: str) -> Card:
    return load_cards()[name]


@cache
def load_tasks() -> Mapping[str, Task]:
    """Return all 12 + 12 tasks by the name that users type."""
    tasks = [Task(card, source) for source in SOURCES for card in load_cards().values()]
    return MappingProxyType({task.name: task for task in tasks})


@cache
def load_groups() -> Mapping[str, tuple[Task, ...]]:
    """Return the tasks of every group and of the tag, in the order of the paper's table."""
    groups: dict[str, tuple[Task, ...]] = dict.fromkeys((*GROUPS, TAG), ())
    for task in load_tasks().values():
        real = ("sentibench", f"sentibench_{task.card.category}", TAG)
        for name in real if task.source == "real" else ("sentibench_mini",):
            groups[name] += (task,)
    return MappingProxyType(groups)


def task_named(name: str, where: str) -> Task:
    """Find one task.

    Args:
        name: ``sentibench_sst2``, or ``sst2`` for short.
        where: The command or argument that was given the name, for the error.

    Raises:
        InputError: If there is no such task.
    """
    if name in load_groups():
        members = ", ".join(task.name for task in load_groups()[name])
        raise InputError(f"{where}: {name!r} is a group, expected one task; of it: {members}")
    return _find(name, where, load_tasks())


def tasks_named(names: Sequence[str], where: str) -> list[Task]:
    """Expand task and group names to tasks, each once, in the order of the paper's table.

    Args:
        names: Tasks, groups or the tag; empty means the group ``sentibench``.
        where: The command or argument that was given the names, for the error.

    Raises:
        InputError: If a name is neither a task nor a group.
    """
    tasks, groups = load_tasks(), load_groups()
    found: set[Task] = set()
    for name in names or ("sentibench",):
        found.update(groups.get(name) or [_find(name, where, (*GROUPS, *tasks))])
    return [task for task in tasks.values() if task in found]


def _find(name: str, where: str, known: Iterable[str]) -> Task:
    tasks = load_tasks()
    task = tasks.get(name) or tasks.get(f"sentibench_{name}")
    if task is None:
        raise unknown_name(where, name, known, prefix="sentibench_")
    return task


def tasks_folder() -> Path:
    """Return the folder with the task files: of the source tree, else of the wheel."""
    package = Path(__file__).parents[2]
    beside = package.parent / "tasks_yaml"
    return beside if (beside / "sentibench.yaml").is_file() else package / "tasks_yaml"

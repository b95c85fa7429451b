"""One card per dataset: the facts that readers, tasks, checks and the documents' table share.

The YAML files beside this module are the twelve cards. Numbers in them (rows, bytes, hashes) were
counted in the files of the pinned upstream commit; ``tests/test_cards.py`` counts them again.
People's own tasks are cards of the same form, in folders of theirs (``own_folders``).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import yaml

from sentibench.data.card_form import (
    SHORT,
    CardFile,
    Category,
    Format,
    Metric,
    Source,
    card_mistake,
    checked,
    find_own_cards,
    read_card_file,
    scoring_word,
    written_label,
)
from sentibench.errors import InputError, unknown_name

UPSTREAM_COMMIT = "2810fc2826e8f7c2ae6a0d6dd328ab7d8979744a"
TASK_VERSION = "1.0"
"""Of all task files; raised with any change that can move a score."""

CATEGORIES: tuple[Category, ...] = ("basic", "multifaceted", "finegrained")
OURS: tuple[Source, ...] = ("real", "mini")
OWN_FOLDER = "sentibench_tasks"
OWN_FOLDERS_VARIABLE = "SENTIBENCH_TASKS"
GROUPS = ("sentibench", *(f"sentibench_{name}" for name in CATEGORIES), "sentibench_mini")
TAG = "sentibench_tasks"
SEEN = ("imdb", "yelp2", "sst2", "twitter17", "emotion20")
"""Datasets whose training texts the paper distilled from (Zhang et al. 2025, arXiv 2503.03225)."""
ORDER = (
    *("imdb", "yelp2", "sst2", "twitter17"),
    *("irony18", "emotion20", "pstance", "mint"),
    *("atsa_rest16", "acsa_rest16", "asqp_rest16", "opener"),
)


@dataclass(frozen=True, slots=True)
class SplitFile:
    """One file of a dataset: as it lies in the upstream repository, or as an own card saw it.

    Attributes:
        file: Of an own card, seen from the card's folder; empty for ``SPLIT.json`` in the upstream
            folder.
    """

    rows: int
    bytes: int
    sha256: str
    file: str = ""

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


@dataclass(frozen=True, slots=True)
class Label:
    """One label of a label task.

    Attributes:
        name: As demonstrations and results write it.
        word: What a model is asked to choose; the first word of the name where a card gives none.
        description: What it means, in a few words; may be empty.
        synonyms: Other words for it, under which a student may see it in training.
    """

    name: str
    word: str
    description: str = ""
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Card:
    """The facts of one dataset. Compared by identity: there is one card per dataset.

    Attributes:
        name: Last part of the task name, for example ``sst2``; of an own task the whole name.
        kind: What is asked, in words.
        format: How the files are written; ``table`` for own tasks.
        folder: Upstream folder below ``datasets/``.
        classes: The K labels of a label task in the order of scoring; empty for extraction tasks.
        elements: The parts of a tuple in the order in which they are written; empty for label
            tasks.
        metric: What the task reports as ``score``.
        instruction: Of an own task; ours are fetched.
        instruction_sha256: Hash of the authors' instruction (UTF-8), before a target is filled in.
        splits: ``test``; ours have ``train`` too, and some ``val``.
        shots: Demonstrations where nobody asks for another number.
        demonstrations: (text, answer) that every item is shown, instead of draws from ``train``.
        columns: Of the tables of an own task: ``text``, ``label`` and so on -> name in the header.
        delimiter: Of these, where it is not to be found.
        encoding: Of these, where it is not to be found.
        polarities: What the polarity of a tuple of an own task may be.
        domain: What the texts of an own task are about, in a few words; may be empty.
        facts: What is odd in the data, counted in the files.
        pins: Of the test set, by source.
        reversed_ties: IDs of ATSA train sentences in which two polarities of one span are written
            in the reverse of file order.
        path: Where an own card lies; None for ours.
    """

    name: str
    title: str
    kind: str
    category: Category
    format: Format
    metric: Metric
    splits: Mapping[str, SplitFile]
    pins: Mapping[Source, Pins]
    folder: str = ""
    classes: tuple[Label, ...] = ()
    elements: tuple[str, ...] = ()
    instruction: str = ""
    instruction_sha256: str = ""
    shots: int = 4
    demonstrations: tuple[tuple[str, str], ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    delimiter: str | None = None
    encoding: str | None = None
    polarities: tuple[str, ...] = ()
    domain: str = ""
    licence: str = ""
    citation: str = ""
    url: str = ""
    facts: tuple[str, ...] = ()
    reversed_ties: tuple[str, ...] = ()
    path: Path | None = None

    def __post_init__(self) -> None:
        if bool(self.classes) == bool(self.elements):
            raise ValueError(f"card {self.name}: exactly one of labels and elements must be given")
        if "test" not in self.splits:
            raise ValueError(f"card {self.name}: splits must hold test")

    def __reduce__(self) -> tuple[Callable[..., Card], tuple[Any, ...]]:
        """Another process has the twelve cards too, and the files of own ones."""
        if self.path:
            return _own_card, (self.path,)
        if load_cards().get(self.name) is self:
            return _card_named, (self.name,)
        values = {part.name: getattr(self, part.name) for part in fields(self)}
        return Card, tuple((values | {"splits": dict(self.splits)}).values())

    @property
    def is_label_task(self) -> bool:
        """Whether the answer is one of a closed list of labels."""
        return bool(self.classes)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the K labels in the order of scoring; empty for extraction tasks."""
        return tuple([label.name for label in self.classes])

    @property
    def written(self) -> tuple[str, ...]:
        """The labels as prompts show them; see ``written_label``."""
        return tuple([written_label(label.name, label.word) for label in self.classes])

    @property
    def scoring_words(self) -> tuple[str, ...]:
        """The word of each label: what a model is asked to choose between.

        The authors compare the first sub-token of each label (protocol: Zhang et al. 2025,
        arXiv 2503.03225, scripts at the pinned commit), which for ``non-irony`` is ``non``.
        """
        return tuple([label.word for label in self.classes])


@dataclass(frozen=True, slots=True)
class Task:
    """One lm-eval task: a dataset in full, our small stand-in for it, or an own one."""

    card: Card
    source: Source

    @property
    def name(self) -> str:
        """The task name that users type."""
        prefix = {"real": "sentibench_", "mini": "sentibench_mini_", "own": ""}[self.source]
        return prefix + self.card.name

    @property
    def pins(self) -> Pins:
        """Hashes of what every model is asked; empty where a card was written without."""
        return self.card.pins.get(self.source, Pins("", {}))


def checked_card(
    content: dict[str, Any], path: Path, named: Mapping[str, str] = MappingProxyType({})
) -> Card:
    """Build an own card from what its file holds or will hold.

    Args:
        content: Of the file.
        path: Of the file.
        named: See ``card_mistake``.

    Raises:
        InputError: If it is not as it must be.
    """
    name = content.get("task")
    if isinstance(name, str) and (name in ORDER or name.startswith("sentibench")):
        message = f"task: {name!r} is a name of this package; choose another one"
        raise card_mistake(path, message, named)
    tags: Any = content.get("tag") or []
    listed = cast("list[Any]", tags) if isinstance(tags, list) else [tags]
    for tag in listed:
        # lm-eval asks the tasks of a tag by its name, so one of ours would ask other tasks
        if not isinstance(tag, str) or tag in (name, *ORDER) or tag.startswith("sentibench"):
            raise InputError(
                f"{path}: tag: got {SHORT.repr(tag)}, expected text that is neither the task's "
                "name nor a name of this package; choose another one"
            )
    return _card_from(checked(content, path, named), path)


def _card_from(raw: Mapping[str, Any], path: Path | None = None) -> Card:
    values = dict(raw)
    for key in ("elements", "facts", "reversed_ties", "polarities"):
        values[key] = tuple(raw[key])
    labels = values.pop("labels")
    values["classes"] = tuple([Label(**one | _word_and_synonyms(one)) for one in labels])
    values["demonstrations"] = tuple((one["text"], one["answer"]) for one in raw["demonstrations"])
    pins: Mapping[Source, Any] = raw["pins"]
    values["pins"] = {source: Pins(**of_source) for source, of_source in pins.items()}
    splits = {split: SplitFile(**facts) for split, facts in raw["splits"].items()}
    values |= {"splits": MappingProxyType(splits), "path": path}
    return Card(**values)


def _word_and_synonyms(label: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "word": label["word"] or scoring_word(label["name"]),
        "synonyms": tuple(label["synonyms"]),
    }


@cache
def load_cards() -> Mapping[str, Card]:
    """Load the twelve cards, in the order of the paper's table."""
    texts = {name: Path(__file__).with_name(f"{name}.yaml").read_text("utf-8") for name in ORDER}
    forms = {name: CardFile.model_validate(yaml.safe_load(texts[name])) for name in ORDER}
    return MappingProxyType({name: _card_from(form.model_dump()) for name, form in forms.items()})


def _card_named(name: str) -> Card:
    return load_cards()[name]


def named_folders() -> tuple[Path, ...]:
    """Return the folders with own cards that SENTIBENCH_TASKS names, separated as in PATH."""
    named = os.environ.get(OWN_FOLDERS_VARIABLE, "").split(os.pathsep)
    return tuple(Path(folder).absolute() for folder in named if folder and Path(folder).is_dir())


def own_folders() -> tuple[Path, ...]:
    """Return all folders with own cards: ``./sentibench_tasks`` and the named ones, each once."""
    here = Path(OWN_FOLDER).absolute()
    return tuple(dict.fromkeys(([here] if here.is_dir() else []) + [*named_folders()]))


def name_own_folders() -> None:
    """Name all of them in SENTIBENCH_TASKS: plain lm_eval does not look beside itself.

    Raises:
        InputError: If SENTIBENCH_TASKS names what is no folder.
    """
    named = os.environ.get(OWN_FOLDERS_VARIABLE, "").split(os.pathsep)
    if lacking := [folder for folder in named if folder and not Path(folder).is_dir()]:
        raise InputError(
            f"{OWN_FOLDERS_VARIABLE}: no folder {lacking[0]!r}; expected folders with task cards, "
            f"separated by {os.pathsep!r}; correct or unset the variable"
        )
    if folders := own_folders():
        os.environ[OWN_FOLDERS_VARIABLE] = os.pathsep.join(map(str, folders))


_given: dict[str, Path] = {}  # task name -> card that lm-eval was given by its path


def own_task(path: Path) -> Task:
    """Return the task of an own card, and know it by its name from now on.

    Raises:
        InputError: If the card is not as it must be.
    """
    card = _own_card(path.absolute())
    known = load_tasks().get(card.name)
    if known and known.card.path and known.card.path.exists():  # it was when it was read
        if known.card.path.samefile(path):
            return known
        if card.name not in _given:
            raise _two_cards(known.card, card)
    _given[card.name] = cast(Path, card.path)
    forget_own_tasks()
    return load_tasks()[card.name]


def _two_cards(first: Card, second: Card) -> InputError:
    return InputError(
        f"{second.path}: task: got {second.name!r}, which is also the name in {first.path}; rename "
        "or remove one of the two"
    )


def forget_own_tasks() -> None:
    """Read the folders again at the next call: a card was written."""
    _own_card.cache_clear()
    _tasks.cache_clear()


@cache
def _own_card(path: Path) -> Card:
    return checked_card(read_card_file(path), path)


@cache
def _tasks(folders: tuple[Path, ...]) -> Mapping[str, Task]:
    tasks = [Task(card, source) for source in OURS for card in load_cards().values()]
    found = {task.name: task for task in tasks}
    for path in dict.fromkeys([*find_own_cards(folders), *filter(Path.is_file, _given.values())]):
        task = Task(_own_card(path), "own")
        if other := found.get(task.name):
            if not path.samefile(cast(Path, other.card.path)):
                raise _two_cards(other.card, task.card)
            continue  # one file, by two ways
        found[task.name] = task
    return MappingProxyType(found)


def load_tasks() -> Mapping[str, Task]:
    """Return all tasks by name: the twelve real ones, the twelve small ones, your own ones.

    Raises:
        InputError: If the card of an own task has a mistake.
    """
    return _tasks(own_folders())


def tasks_of_source(source: Source) -> list[Task]:
    """Return the tasks of one source, in the order of the paper's table, own ones by name."""
    return [task for task in load_tasks().values() if task.source == source]


@cache
def load_groups() -> Mapping[str, tuple[Task, ...]]:
    """Return the tasks of every group and of the tag, in the order of the paper's table."""
    groups: dict[str, tuple[Task, ...]] = dict.fromkeys((*GROUPS, TAG), ())
    for task in tasks_of_source("real"):
        for name in ("sentibench", f"sentibench_{task.card.category}", TAG):
            groups[name] += (task,)
    groups["sentibench_mini"] = tuple(tasks_of_source("mini"))
    return MappingProxyType(groups)


@cache
def robust_names() -> tuple[str, ...]:
    """Groups, then tasks, that ask the label tasks in several ways."""
    cards = [task.card for task in tasks_of_source("real") if task.card.is_label_task]
    groups = ("sentibench_robust", "sentibench_mini_robust")
    return (*groups, *(f"{group}_{card.name}" for group in groups for card in cards))


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
        raise InputError(f"{where}: {name!r} is a group, expected one task of it: {members}")
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
    if task is None and {name, f"sentibench_{name}"} & set(robust_names()):
        raise InputError(
            f"{where}: got {name!r}, which only lm_eval can run, expected a task of `sentibench "
            f"list`; its wordings are in {tasks_folder() / 'robust'}"
        )
    if task is None:
        raise unknown_name(where, name, known, prefix="sentibench_")
    return task


def tasks_folder() -> Path:
    """Return the folder with the task files: of the source tree, else of the wheel."""
    package = Path(__file__).parents[2]
    beside = package.parent / "tasks_yaml"
    return beside if (beside / "sentibench.yaml").is_file() else package / "tasks_yaml"

"""The records that leaderboard.json holds; page and exports are made from them.

Records alone. ``docs/leaderboard.schema.json`` is generated from them by ``python -m leaderboard
schema``. Scores are fractions; nothing in a text may be trusted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from inspect import cleandoc
from typing import Annotated, Any, Literal, cast

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from leaderboard.runs.entries import Wording
from leaderboard.runs.models import ModelInfo
from leaderboard.runs.results import Problem
from sentibench.data.cards import CATEGORIES, SEEN, Category, Metric, Source, Task
from sentibench.scoring.calibration import Bin
from sentibench.scoring.samples import METRICS
from sentibench.scoring.statistics import Estimate

SCHEMA = 1
ATTRIBUTES = "\n\nAttributes:\n"  # of a docstring
COLUMNS = ("overall", *CATEGORIES)
SPLITS = ("seen", "unseen")
Fraction = Annotated[float, Field(ge=0, le=1)]


def averages_of(source: Source) -> tuple[str, ...]:
    """Return the columns of means: own tasks have no categories, and none was seen."""
    return COLUMNS[:1] if source == "own" else (*COLUMNS, *SPLITS)


def tasks_of(column: str, tasks: Sequence[Task]) -> list[str]:
    """Return those of a board's tasks whose mean a column shows."""

    def belongs(task: Task) -> bool:
        split = "seen" if task.card.name in SEEN else "unseen"
        return column in ("overall", task.card.category, split)

    return [task.name for task in filter(belongs, tasks)]


@dataclass(frozen=True, slots=True)
class Cell:
    """One score.

    Attributes:
        low: Lower end of the 95% interval; None where it is unknown.
        high: Upper end.
        n: Items that it was measured on.
        spread: Standard deviation of the seeds' scores; None for one seed.
    """

    value: Fraction
    low: Fraction | None = None
    high: Fraction | None = None
    n: int | None = None
    spread: Fraction | None = None


@dataclass(frozen=True, slots=True)
class GapClosed(Estimate):
    """Share of the way from base to teacher, which may lie outside of [0, 1], with its interval."""

    n: int


@dataclass(frozen=True, slots=True)
class Rank:
    """The place of a ranked row under one metric.

    Attributes:
        position: From 1, by the score.
        low: Best rank of the 95% interval over the replicates.
        high: Worst rank of it.
        group: Tie group, from 1.
        p_above: Of the difference to the row above, adjusted (Holm); None for the first.
    """

    position: int
    low: int
    high: int
    group: int
    p_above: Fraction | None


@dataclass(frozen=True, slots=True)
class ClassScore:
    """Scores of one label; the means of the seeds' scores."""

    label: str
    precision: Fraction
    recall: Fraction
    f1: Fraction


@dataclass(frozen=True, slots=True)
class Badge:
    """What readers compare before they compare scores; several values are joined."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run that a newer one replaced; its official score."""

    date: str
    task: str
    score: Fraction


@dataclass(frozen=True, slots=True)
class Ancestor:
    """One model of a line from the first base to the row itself.

    Attributes:
        mean: Official score over the tasks that the whole line answered under the same conditions;
            None where there are none.
        n_tasks: How many these are.
    """

    name: str
    mean: Fraction | None
    n_tasks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(ModelInfo):
    """One model under one protocol: its declared facts and its scores.

    Attributes:
        key: Unique, stable and safe as an HTML id.
        kind: Measured from sample files, or reported in the paper.
        reasons: Why it is not ranked.
        protocol: How it was asked, besides seeds; empty for what is no language model.
        seeds: Of the demonstrations.
        scores: Metric -> column or task -> cell.
        rank: Metric -> place; None if it is not ranked.
        gap: Metric -> share of the gap to its teacher that it closed.
        invalid: Task -> share of unreadable answers.
        invalid_interval: Task -> its 95% interval (Wilson).
        command: Makes the row again; a line per seed, or per task of no language model.
        arguments: Model arguments that tell it from other rows of the model; no private ones.
        seconds: What lm-eval took for all of it, models loaded; None if unknown.
        items_per_second: Items of all runs over these seconds.
        peak_memory_bytes: Largest of its runs; None where none says it.
        newest: Date of its newest run, UTC; empty for reported rows.
        confusion: Label task -> counts over all seeds; rows gold, columns predicted, the last
            unreadable.
        per_class: Label task -> scores of the labels.
        lineage: From the first ancestor to the row itself; empty without a known base.
        calibration: ``ece``, ``brier``, ``nll`` or ``coverage_at_5`` -> label task, or ``overall``
            for the mean over those that are there -> value; empty where no log-likelihoods were
            saved.
        reliability: Label task -> per seed the bins of a reliability diagram.
        wording: Who words the prompt: the benchmark, or the server that is asked; ``labels`` of
            servers that only decide, ``nobody`` of what is no language model. Rows of each are
            ranked among themselves.
    """

    key: str
    kind: Literal["measured", "reported"]
    ranked: bool = False
    reasons: tuple[str, ...] = ()
    n_tasks: int
    protocol: Mapping[str, Any]
    seeds: tuple[int, ...]
    scores: Mapping[str, Mapping[str, Cell | None]]
    rank: Mapping[str, Rank] | None = None
    gap: Mapping[str, GapClosed | None]
    invalid: Mapping[str, Fraction]
    invalid_interval: Mapping[str, tuple[Fraction, Fraction]]
    badges: tuple[Badge, ...] = ()
    command: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict[str, str])
    seconds: float | None = None
    items_per_second: float | None = None
    peak_memory_bytes: int | None = None
    newest: str = ""
    history: tuple[PastRun, ...] = ()
    confusion: Mapping[str, Sequence[Sequence[int]]]
    per_class: Mapping[str, Sequence[ClassScore]]
    lineage: tuple[Ancestor, ...] = ()
    calibration: Mapping[str, Mapping[str, Estimate]] = field(
        default_factory=dict[str, Mapping[str, Estimate]]
    )
    reliability: Mapping[str, Sequence[Sequence[Bin]]] = field(
        default_factory=dict[str, Sequence[Sequence[Bin]]]
    )
    wording: Wording = "benchmark"

    @property
    def group(self) -> str:
        """Where the page shows it: ranked, unranked, apart by its wording, or reported."""
        if self.kind == "measured" and self.wording != "benchmark":
            return self.wording
        return self.kind if self.kind == "reported" else "ranked" if self.ranked else "unranked"

    def cell(self, metric: str, column: str) -> Cell | None:
        """The score of a column or task; None if there is none."""
        return self.scores[metric].get(column)

    @property
    def invalid_rate(self) -> float | None:
        """Share of unreadable answers, mean over its tasks; None for reported rows."""
        return sum(self.invalid.values()) / len(self.invalid) if self.invalid else None

    def value(self, metric: str, column: str) -> float | None:
        """The same without interval."""
        found = self.cell(metric, column)
        return None if found is None else found.value


@dataclass(frozen=True, slots=True)
class ColumnGroup:
    """A category: its name is that of the column with its average; ``own`` has none."""

    name: Category
    title: str
    tasks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Count:
    """How often a gold label or a kind of item occurs in a test set."""

    label: str
    count: int


@dataclass(frozen=True, slots=True)
class Baseline:
    """Score of answers that do not look at the text."""

    name: str
    score: Fraction


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """One dataset: title, kind, labels or elements, and what its gold answers look like."""

    name: str
    title: str
    category: Category
    task: str
    metric: Metric
    labels: tuple[str, ...]
    elements: tuple[str, ...]
    n_items: int | None
    distribution: tuple[Count, ...]
    baselines: tuple[Baseline, ...]
    facts: tuple[str, ...]
    url: str


@dataclass(frozen=True, slots=True)
class TaskTest:
    """Test of one task between two rows.

    Attributes:
        test: McNemar where each answer is right or wrong; else a permutation of the answers
            (sign-flip); the bootstrap where a row has several seeds.
        adjusted: p over all tasks of the pair (Holm).
    """

    test: Literal["McNemar", "sign-flip", "bootstrap"]
    p: Fraction
    adjusted: Fraction


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two ranked rows under one metric: overall score of a minus that of b, paired by item.

    Attributes:
        a: Key of the better row.
        b: Key of the other.
        low: Lower end of the 95% interval.
        high: Upper end.
        p: Two-sided, not adjusted.
        detectable: Smallest true difference that these items show as one in 80 of 100 repetitions.
        tests: Task -> test; empty on boards of many rows.
    """

    metric: str
    a: str
    b: str
    difference: float
    low: float
    high: float
    p: Fraction
    detectable: Annotated[float, Field(ge=0)]
    tests: Mapping[str, TaskTest]


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """The content of leaderboard.json.

    Attributes:
        schema: Version of this form.
        categories: The columns of the table, with ``tasks``.
        rows: As shown: ranked, measured but not ranked, reported.
        comparisons: Pairs of ranked rows; of many rows neighbours alone.
        report: Files that were left out.
        newest: Date of the newest run, UTC.
        versions: What the runs were made with: program -> versions.
        n_models: Language models behind the measured rows, by their full names.
        n_runs: Evaluations of one task with one seed behind the measured rows.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    schema: Literal[1] = SCHEMA
    title: str
    source: Source
    metrics: tuple[str, ...] = METRICS
    categories: tuple[ColumnGroup, ...]
    tasks: tuple[TaskFacts, ...]
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]
    report: tuple[Problem, ...]
    newest: str
    versions: Mapping[str, tuple[str, ...]]
    n_models: int
    n_runs: int

    @property
    def averages(self) -> dict[str, str]:
        """Titles of the columns of means by name, without seen and unseen."""
        groups = {g.name: g.title for g in self.categories if g.name in CATEGORIES}
        # a mean over one task is the task
        overall = self.tasks[0].title if len(self.tasks) == 1 else "Overall"
        return {"overall": overall, **groups}

    @property
    def titles(self) -> dict[str, str]:
        """Titles of the score columns by name, in the order of the page."""
        return self.averages | {task.name: task.title for task in self.tasks}


def rounded(value: Any) -> Any:
    """Nine digits: what is behind them differs between machines, and the page must not."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, Mapping):
        found = cast("Mapping[str, Any]", value)
        return {key: rounded(part) for key, part in found.items()}
    if isinstance(value, (tuple, list)):
        return tuple(map(rounded, cast("Sequence[Any]", value)))
    if is_dataclass(value) and not isinstance(value, type):
        parts = {part.name: rounded(getattr(value, part.name)) for part in fields(value)}
        return replace(value, **parts)
    return value


def to_json(board: Board) -> str:
    """The text of leaderboard.json: the same for the same board."""
    content = asdict(board)
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


# The schema


class _Documented(GenerateJsonSchema):
    """Every field is there, whatever its default, and says what its docstring says of it."""

    def field_is_required(self, *_: Any, **__: Any) -> bool:
        return True

    def field_title_should_be_set(self, *_: Any, **__: Any) -> bool:
        return False

    def dataclass_schema(self, schema: Any) -> dict[str, Any]:
        found = super().dataclass_schema(schema)
        for cls in reversed(cast(type, schema["cls"]).__mro__):
            found["description"], _, attributes = cleandoc(cls.__doc__ or "").partition(ATTRIBUTES)
            for name, text in re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", attributes, re.M):
                found["properties"][name]["description"] = " ".join(text.split())
        return found


def schema_text() -> str:
    """The JSON schema of leaderboard.json: docs/leaderboard.schema.json."""
    adapter = TypeAdapter(Board)
    schema = adapter.json_schema(mode="serialization", schema_generator=_Documented)
    head = {"$schema": _Documented.schema_dialect}
    return json.dumps(head | schema, indent=1, ensure_ascii=False) + "\n"

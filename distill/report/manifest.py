"""What a run says of itself: ``results/run.json``.

Model card, page and leaderboard are made from it. Its names and texts may be hostile: whoever shows
them escapes them.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import GenerateJsonSchema

from distill.config import Run
from sentibench.data.cards import load_tasks
from sentibench.errors import InputError
from sentibench.prompts.demonstrations import DEFAULT_SEED
from sentibench.scoring.statistics import Estimate

Stage = Literal["knowdist", "icldist", "mixed"]
Scope = Literal["all", "seen", "unseen"]
SCOPES: tuple[Scope, ...] = ("all", "seen", "unseen")
T = TypeVar("T")


class Record(BaseModel):
    """A part of the manifest."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PartialRecord(Record):
    """A part that is written without what was not given."""

    @model_serializer(mode="wrap")
    def _given(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: v for key, v in write(self).items() if key in self.model_fields_set}


# The comparison with the base


class Mean(Record):
    """Mean score of a model over tasks, a fraction, and its standard error."""

    value: float
    stderr: float


class Scoped(Record, Generic[T]):
    """The same over all tasks, over those the paper distilled from and over the others.

    None where no such task was measured.
    """

    all: T | None = None
    seen: T | None = None
    unseen: T | None = None

    def of(self, scope: Scope) -> T | None:
        """What is known of a scope."""
        return {"all": self.all, "seen": self.seen, "unseen": self.unseen}[scope]


class Compared(Scoped[T], Generic[T]):
    """The same per task too."""

    tasks: dict[str, T] = {}


class Progress(Record):
    """How far a student has come.

    Attributes:
        n_tasks: Tasks behind the figures.
        n_items: Items of these.
        difference: Student minus base, a fraction.
        gap_closed: (student - base) / (teacher - base); None where that means nothing.
        reason: Why ``gap_closed`` is None, else empty.
    """

    n_tasks: int
    n_items: int
    difference: Estimate
    gap_closed: Estimate | None
    reason: str


class TaskFacts(Record):
    """A task on which models are compared.

    Attributes:
        n: Its items.
        seen: Whether the paper distilled from it.
        seeds: Of the demonstrations; a score is the mean over them.
    """

    n: int
    seen: bool
    seeds: tuple[int, ...] = (DEFAULT_SEED,)


class LeftOut(Record):
    """What could not be compared; an empty task stands for all."""

    model: str
    task: str
    reason: str


class Calibrated(Record):
    """How far the probabilities of the labels are what they say.

    Attributes:
        tasks: Label tasks of the comparison whose log-likelihoods base and students saved.
        models: Model -> ``ece``, ``brier``, ``nll``, ``coverage_at_5`` -> mean over these tasks. A
            teacher that lacks one of them is not there.
    """

    tasks: tuple[str, ...]
    models: dict[str, dict[str, Estimate]]


class Comparison(Record):
    """Students against their base and their teacher.

    Attributes:
        base: Key of the student before training.
        teacher: Key of the teacher; None where there is none.
        replicates: Of the bootstrap.
        tasks: Those that base and all students answered on the same items.
        means: Model -> mean score.
        lead: Teacher minus base.
        students: Student -> how far it has come.
        left_out: What is not in it, and why.
        calibration: None where no log-likelihoods were saved.
    """

    base: str
    teacher: str | None
    replicates: int
    tasks: dict[str, TaskFacts]
    means: dict[str, Scoped[Mean]]
    lead: Compared[Estimate | None]
    students: dict[str, Compared[Progress]]
    left_out: tuple[LeftOut, ...]
    calibration: Calibrated | None = None

    def scopes(self) -> list[Scope]:
        """The means that are neither the score of one task nor the mean of all once more."""
        cells = {s: one.of(s) for one in self.students.values() for s in SCOPES}
        n = {scope: cell.n_tasks if cell else 0 for scope, cell in cells.items()}
        return [s for s in SCOPES if n.get(s, 0) > 1 and (s == "all" or n[s] < n["all"])]


# The user's own tasks


class Differing(Record):
    """Texts on which teacher and student gave these two answers; None for an unreadable one."""

    teacher: str | None
    student: str | None
    n: int


class Agreement(Record):
    """Equal answers of teacher and last student to texts that the student did not learn from.

    Attributes:
        n: Texts that both were asked about.
        equal: Share of equal answers; None where nothing was measured.
        differing: The most frequent pairs of other answers.
        reason: Why nothing was measured, else empty.
    """

    n: int = 0
    equal: Estimate | None = None
    differing: tuple[Differing, ...] = ()
    reason: str = ""


class Cost(Record):
    """What 1,000 texts take of a model; None for what is not known.

    Attributes:
        seconds: Wall time.
        prompt_tokens: As the model counts them.
        answer_tokens: The same.
        usd: Price in US dollars.
        basis: What the figures rest on, for people.
    """

    seconds: float | None
    prompt_tokens: float | None
    answer_tokens: float | None
    usd: float | None
    basis: str


class OwnTask(Record):
    """What was found out on an own task.

    Attributes:
        labels: K; none for tuples.
        confusion: Model -> K rows, one per gold label, of K + 1 counts of answers; the last counts
            unreadable ones.
        agreement: Of teacher and last student.
        costs: Model (teacher, last student) -> what 1,000 texts take.
    """

    labels: tuple[str, ...]
    confusion: dict[str, tuple[tuple[int, ...], ...]]
    agreement: Agreement
    costs: dict[str, Cost]

    @model_validator(mode="after")
    def _counts_have_its_form(self) -> OwnTask:
        k = len(self.labels)
        for rows in self.confusion.values():
            if len(rows) != k or any(len(row) != k + 1 for row in rows):
                raise ValueError(f"confusion: expected {k} rows of {k + 1} counts")
        return self


# The run


def _known(number: Any) -> Any:
    """A standard error as lm-eval writes it, or None: it says "N/A" or NaN for a single item."""
    is_known = isinstance(number, (int, float)) and math.isfinite(number)
    return number if is_known else None


class Score(NamedTuple):
    """Score of a model on a task, a fraction, and its standard error."""

    value: float
    stderr: Annotated[float | None, BeforeValidator(_known)]


class Summary(PartialRecord):
    """The figures of a step; each kind of step has its own, in this order."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue] = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        init=False
    )

    texts: int = 0
    left_out: tuple[tuple[str, str, int], ...] = ()
    """Source, reason and number of texts that no teacher saw."""
    changed: tuple[tuple[str, str, int], ...] = ()
    """Source, kind of change and number of texts that were cleaned."""
    requests: int = 0
    answered: int = 0
    teacher_prompt_tokens: int = 0
    teacher_answer_tokens: int = 0
    coverage: dict[str, dict[str, int]] = {}
    """Axis -> value -> requests."""
    labelled: int = 0
    unreadable: int = 0
    kept: int | None = None
    of: int | None = None
    samples: int | None = None
    left_out_too_long: int | None = None
    lost_demonstrations: int | None = None
    steps: int | None = None
    processes: int | None = None
    precision: str = ""
    supervised_tokens: int | None = None
    tokens: int | None = None
    first_loss_nats_per_token: float | None = None
    last_loss_nats_per_token: float | None = None
    chosen: str = ""
    scores: dict[str, JsonValue] = {}
    temperatures: dict[str, float] = {}
    no_temperature: dict[str, str] = {}
    """Task -> why none could be fitted."""
    largest_logit_difference: float | None = None

    def figures(self) -> dict[str, Any]:
        """What is one number or text, in the order of the record."""
        given = self.model_dump()
        return {key: v for key, v in given.items() if not isinstance(v, (dict, list, tuple))}

    @property
    def losses(self) -> tuple[float, float] | None:
        """Mean loss of the first and of the last tenth of the steps, in nats per token."""
        first, last = self.first_loss_nats_per_token, self.last_loss_nats_per_token
        if first is None or last is None or not math.isfinite(first + last):
            return None
        return first, last


class StepRecord(Record):
    """What a step read, wrote and found.

    Attributes:
        inputs: Settings, and per step before it the hashes of its outputs.
        outputs: File or folder -> sha256.
        seconds: Wall time.
    """

    inputs: dict[str, JsonValue]
    outputs: dict[str, str]
    summary: Summary
    seconds: float


class TeacherFacts(Record):
    """Name and revision; of both teachers where the stages have their own."""

    name: str
    revision: str


class ModelFacts(PartialRecord):
    """What the leaderboard shows of a model, by the keys of ``models.yaml``."""

    name: str
    role: Literal["", "teacher", "student"] = ""
    base: str = ""
    teacher: str = ""


class Manifest(Record):
    """All of a run.

    Attributes:
        name: Of the run.
        stages: Training stages in their order.
        scores: Model (teacher, base, stages) in the order of the page -> task -> score.
        comparison: Students against base and teacher.
        config: The configuration, every default filled in.
        packages: Package -> version.
        teacher: Who answered.
        steps: The steps before the report in their order.
        models: Checkpoint -> what the leaderboard shows of it.
        own_tasks: Own task -> what was found out on it.
    """

    name: str
    stages: tuple[Stage, ...] = Field(min_length=1)
    scores: dict[str, dict[str, Score]]
    comparison: Comparison
    config: Run
    packages: dict[str, str]
    teacher: TeacherFacts
    steps: dict[str, StepRecord]
    models: dict[str, ModelFacts]
    own_tasks: dict[str, OwnTask] = {}

    @model_validator(mode="after")
    def _scores_are_of_its_models(self) -> Manifest:
        foreign = sorted(set(self.scores) - {"teacher", "base", *self.stages})
        if foreign:
            raise ValueError(f"scores: {', '.join(foreign)}: no model of this run")
        return self

    @property
    def sources(self) -> tuple[Stage, ...]:
        """The stages whose answers were filtered; a mixed run has both."""
        return ("knowdist", "icldist") if "mixed" in self.stages else self.stages

    def summary(self, step: str) -> Summary:
        """The figures of a step; empty ones where the run has no such step."""
        return self.steps[step].summary if step in self.steps else Summary()

    def names(self) -> dict[str, str]:
        """Model -> what it is called, without folders."""
        stages = {stage: f"{self.name}-{stage}" for stage in self.stages}
        return stages | {
            "base": last_part(self.config.student),
            "teacher": last_part(self.teacher.name),
        }

    def score_rows(self) -> list[tuple[str, dict[str, Score]]]:
        """Task -> model -> score: tasks of the benchmark in its order, then others and groups."""
        found = {task for scores in self.scores.values() for task in scores}
        known = [task for task in load_tasks() if task in found]
        return [
            (task, {model: of[task] for model, of in self.scores.items() if task in of})
            for task in (*known, *sorted(found - set(known)))
        ]


def last_part(path: str) -> str:
    """The last part of a path or of a name of the hub."""
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2] or path


def load_manifest(path: Path) -> Manifest:
    """Read a ``run.json``.

    Raises:
        InputError: If it cannot be read or is no manifest; one line with the place of the first
            mistake.
    """
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read; {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = " ".join(".".join(map(str, first["loc"])).split()) or "the file"
        what = first["msg"].removeprefix("Value error, ")
        raise InputError(f"{path}: no manifest of a run; {place}: {what}") from None


def schema_text() -> str:
    """The JSON schema of ``run.json``: docs/run.schema.json."""
    head = {"$schema": GenerateJsonSchema.schema_dialect}
    return json.dumps(head | Manifest.model_json_schema(), indent=2) + "\n"

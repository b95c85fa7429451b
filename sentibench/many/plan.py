"""What is measured: models.yaml, and the units of work that it asks for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, cast

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from sentibench.data.card_form import StrictLoader
from sentibench.data.cards import TASK_VERSION, load_tasks
from sentibench.errors import InputError, refuse_missing
from sentibench.harness import expand_names, task_manager
from sentibench.harness.evaluation import FAST
from sentibench.predict.checkpoints import fingerprint
from sentibench.prompts.demonstrations import DEFAULT_SEED

DONE = "unit.json"  # what was measured; written last, so it means a whole result
FOLDERS = ("pretrained", "peft", "delta")  # arguments of a model that may name a folder


def _of_checkpoint(given: Any) -> Any:
    return {"args": {"pretrained": given}} if isinstance(given, str) else given


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Model(_Strict):
    """A model of lm-eval. A string alone is a checkpoint for the fast model.

    Attributes:
        name: Of its folder; by default the last part of its checkpoint's path.
        model: As after ``--model``.
        args: As after ``--model_args``.
        batch_size: As after ``--batch_size``.
        adapters: Folders with LoRA weights for it; each is a model of its own.
    """

    name: str = Field(pattern=r"^\w[\w.-]*$")
    model: str = FAST
    args: dict[str, Any] = {}
    batch_size: int | str = 1
    adapters: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        values = cast("dict[str, Any]", given)
        if values.get("name"):
            if values.get("adapters"):
                raise ValueError(
                    "name: got a name beside adapters, which are named after their folders; remove "
                    "name"
                )
            return values
        args: Any = values.get("args") or {}
        args = cast("dict[str, Any]", args) if isinstance(args, dict) else {}
        named = args.get("pretrained") or args.get("model") or values.get("model") or FAST
        return {**values, "name": Path(str(named)).name}

    def apart(self) -> list[Model]:
        """The model itself, or a model for each of its adapters."""
        return [
            Model(
                name=Path(adapter).name,
                model=self.model,
                args={**self.args, "peft": adapter},
                batch_size=self.batch_size,
            )
            for adapter in self.adapters
        ] or [self]

    @property
    def known_as(self) -> str:
        """What lm-eval's results call it: the first of these arguments that is given."""
        names = ("peft", "delta", "pretrained", "model", "path", "engine")
        return next((str(self.args[name]) for name in names if self.args.get(name)), self.model)

    @property
    def is_local(self) -> bool:
        """Whether each worker has a copy of its own; a server is asked by one of them."""
        return "pretrained" in self.args

    @property
    def base(self) -> tuple[str, dict[str, Any], int | str]:
        """What models have in common that differ in their adapter alone."""
        args = {name: value for name, value in self.args.items() if name != "peft"}
        return self.model, args, self.batch_size


class Many(_Strict):
    """The content of models.yaml.

    Attributes:
        models: At least one.
        tasks: Names as after ``--tasks``.
        seeds: Of the demonstrations.
        limit: First items of each task; None for all.
        limits: Task -> first items, where they are not ``limit``.
        workers: Processes; by default one for each device, or one.
        devices: As after ``--device``, for one worker after the other.
        out: Result folder.
    """

    models: tuple[Annotated[Model, BeforeValidator(_of_checkpoint)], ...] = Field(min_length=1)
    tasks: tuple[str, ...] = Field(("sentibench",), min_length=1)
    seeds: tuple[int, ...] = Field((DEFAULT_SEED,), min_length=1)
    limit: int | None = Field(None, ge=1)
    limits: dict[str, Annotated[int, Field(ge=1)]] = {}
    workers: int | None = Field(None, ge=1)
    devices: tuple[str, ...] = ()
    out: Path = Path("results")

    @field_validator("models")
    @classmethod
    def _with_adapters_apart(cls, models: tuple[Model, ...]) -> tuple[Model, ...]:
        return tuple(one for model in models for one in model.apart())

    @model_validator(mode="after")
    def _distinct(self) -> Many:
        names = [model.name for model in self.models]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(
                f"models: got the name {min(twice)!r} twice, expected different names; give "
                "each its own, an adapter as {name: NAME, args: {pretrained: BASE, peft: FOLDER}}"
            )
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds: got {list(self.seeds)}, expected each seed once; remove one")
        return self

    @property
    def n_workers(self) -> int:
        """How many processes work at once."""
        return self.workers or max(1, len(self.devices))


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """One task for one model with one seed.

    Attributes:
        model: Which model.
        task: Name of the task.
        seed: Of the demonstrations.
        limit: First items; None for all.
        folder: Where the results go.
        identity: What tells it apart from a measurement with other settings or weights, as JSON.
    """

    model: Model
    task: str
    seed: int
    limit: int | None
    folder: Path
    identity: str

    @property
    def error_file(self) -> Path:
        """Where a traceback goes: beside the results."""
        return self.folder.with_name(f"{self.task}.error.txt")

    @property
    def is_done(self) -> bool:
        """Whether its results are there, and are of the same settings and weights."""
        return self.found == self.identity

    @property
    def found(self) -> str:
        """The identity of the results that are there; empty without results."""
        try:
            return (self.folder / DONE).read_text(encoding="utf-8")
        except (OSError, ValueError):
            return ""

    def __str__(self) -> str:
        return f"{self.model.name}, {self.task}, seed {self.seed}"


def read_plan(path: Path, given: Mapping[str, Any] = MappingProxyType({})) -> Many:
    """Read models.yaml.

    Args:
        path: Of the file.
        given: Settings that override those in it.

    Raises:
        InputError: If it is missing or wrong.
    """
    refuse_missing(path, "a file such as models: [CHECKPOINT, CHECKPOINT]", "run-many: ")
    try:
        content: Any = yaml.load(path.read_text(encoding="utf-8"), StrictLoader)
        return Many.model_validate({**content, **given} if isinstance(content, dict) else content)
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        first = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: not a YAML file that can be read; {first}") from None
    except ValidationError as error:
        raise InputError(f"{path}: {_first_of(error)}") from None


def _first_of(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    says = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        known = Many.model_fields if len(first["loc"]) == 1 else Model.model_fields
        return f"{where}: unknown key; known: {', '.join(known)}"
    if first["type"] in ("model_type", "dict_type") and not where:
        return f"got no keys, expected some of {', '.join(Many.model_fields)}"
    return f"{where}: {says}" if where else says


def units_of(many: Many) -> list[Unit]:
    """The units that a plan asks for, model after model.

    Raises:
        InputError: If a task is unknown, or a checkpoint's folder is not there.
    """
    tasks = expand_names(task_manager(), many.tasks, "run-many: tasks")
    for name in many.limits:
        if name not in tasks:
            raise InputError(
                f"run-many: limits: {name} is not a task of this plan; known: {', '.join(tasks)}"
            )
    cards = {task: _card_of(task) for task in tasks}
    found: list[Unit] = []
    for model in many.models:
        weights = _weights_of(model)
        for seed in many.seeds:
            for task in tasks:
                limit = many.limits.get(task, many.limit)
                known = {"model": model.model, "args": model.args, "weights": weights}
                known |= {
                    "dtype": _dtype_of(model),
                    "task": task,
                    "card": cards[task],
                    "seed": seed,
                    "limit": limit,
                }
                folder = many.out / model.name / str(seed) / task
                identity = json.dumps(known, sort_keys=True, default=str)
                found.append(Unit(model, task, seed, limit, folder, identity))
    return found


def _card_of(task: str) -> str:
    """What tells two states of a task apart: the version of ours, the card's hash of an own one."""
    known = load_tasks().get(task)
    path = known.card.path if known is not None and known.source == "own" else None
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path else TASK_VERSION


def _dtype_of(model: Model) -> str:
    """What the fast model computes in: ``auto`` is another type on another processor."""
    given = str(model.args.get("dtype", "auto"))
    if model.model != FAST:
        return given
    from sentibench.fast.dtypes import resolved

    return resolved(given)


def _weights_of(model: Model) -> Sequence[str]:
    given = [str(model.args[name]) for name in FOLDERS if model.args.get(name)]
    for folder in given:
        if folder.startswith((".", "/")):
            refuse_missing(Path(folder), "a checkpoint", f"run-many: {model.name}: ")
    return [fingerprint(folder) for folder in given]

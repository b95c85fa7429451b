"""Who a model is: ``models.yaml`` beside the results, as the publisher declares it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

import yaml
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

from leaderboard.results import Problem
from sentibench.errors import InputError, unknown_name

Role = Literal["", "teacher", "student", "baseline"]
EXPECTED = {
    "parameters": "a whole number of weights, for example 135000000",
    "link": "an http or https address",
    "trained_on": "a list of datasets",
}
"""What a value of another kind than text has to be."""


def _text(value: Any) -> str:
    if isinstance(value, list | dict):
        raise ValueError("no text")
    return "" if value is None else str(value)


def _web_address(url: str) -> str:
    if url and not url.startswith(("https://", "http://")):
        raise ValueError("no address of the web")
    return url


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | None):
        raise ValueError("no list")
    return tuple(map(_text, cast("list[Any]", value or [])))


Text = Annotated[str, BeforeValidator(_text)]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Declared facts of one model.

    Attributes:
        name: What the page shows.
        parameters: Number of weights; None if unknown.
        base: Name of the model it was made from.
        teacher: Name of the model it learned from.
        trained_on: Datasets that its makers declare as training data.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: Text = ""
    family: Text = ""
    parameters: Annotated[int, Field(strict=True, gt=0, lt=10**15)] | None = None
    role: Annotated[Role, BeforeValidator(_text)] = ""
    base: Text = ""
    teacher: Text = ""
    licence: Text = ""
    link: Annotated[Text, AfterValidator(_web_address)] = ""
    trained_on: Annotated[tuple[str, ...], BeforeValidator(_texts)] = ()


_READER = TypeAdapter(dict[Text, ModelInfo])


def load_models(path: Path) -> dict[str, ModelInfo]:
    """Load ``models.yaml``: model as lm-eval names it (or its last part) -> facts.

    Raises:
        InputError: If it is not YAML, has an unknown key, or a value of the wrong kind.
    """
    return _read_models(path, yaml.safe_load) if path.is_file() else {}


def load_manifest_models(folder: Path) -> tuple[dict[str, ModelInfo], list[Problem]]:
    """Load what distillation runs say of their students: ``models`` in every ``run.json`` below.

    The same keys as in ``models.yaml``, which has the last word. A manifest that cannot be used is
    a problem for the build report, not an error.
    """
    models: dict[str, ModelInfo] = {}
    problems: list[Problem] = []

    def read(text: str) -> Any:
        manifest = json.loads(text)
        is_object = isinstance(manifest, dict)
        return cast("dict[str, Any]", manifest).get("models", {}) if is_object else manifest

    for path in sorted(folder.rglob("run.json")):
        try:
            models |= _read_models(path, read)
        except InputError as error:
            reason = str(error).removeprefix(f"{path}: ").replace(str(folder), "")
            problems.append(Problem(path.relative_to(folder).as_posix(), reason))
    return models, problems


def _read_models(path: Path, parse: Callable[[str], Any]) -> dict[str, ModelInfo]:
    try:
        found = _READER.validate_python(parse(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise _mistake(path, error) from None
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: cannot be read as YAML: {reason}") from None
    return {
        model: replace(facts, name=facts.name or model.rpartition("/")[2])
        for model, facts in found.items()
    }


def _mistake(path: Path, error: ValidationError) -> InputError:
    """The first mistake as one line."""
    first = error.errors()[0]
    got, (model, key) = first["input"], (*map(str, first["loc"]), "", "")[:2]
    where = f"{path}: {model}"
    if not first["loc"]:
        return InputError(f"{path}: got a {type(got).__name__}, expected a mapping of models")
    if not key:
        return InputError(f"{where}: got a {type(got).__name__}, expected keys and values")
    known = [field.name for field in fields(ModelInfo)]
    if key not in known:
        return unknown_name(where, key, known)
    if key == "role":
        return unknown_name(f"{where}.role", str(got), [role for role in get_args(Role) if role])
    return InputError(
        f"{where}.{key}: got {str(got)[:40]!r}, expected {EXPECTED.get(key, 'a text')}"
    )

"""Who a model is: ``models.yaml`` beside the results, as the publisher declares it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from leaderboard.results import Problem
from sentibench.errors import InputError, unknown_name

ROLES = ("teacher", "student", "baseline")
KEYS = ("name", "family", "parameters", "role", "base", "teacher", "licence", "link", "trained_on")


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

    name: str
    family: str = ""
    parameters: int | None = None
    role: str = ""
    base: str = ""
    teacher: str = ""
    licence: str = ""
    link: str = ""
    trained_on: tuple[str, ...] = ()


def load_models(path: Path) -> Mapping[str, ModelInfo]:
    """Load ``models.yaml``: model as lm-eval names it (or its last part) -> facts.

    Raises:
        InputError: If it is not YAML, has an unknown key, or a value of the wrong kind.
    """
    if not path.is_file():
        return {}
    return _read_models(path)


def load_manifest_models(folder: Path) -> tuple[dict[str, ModelInfo], list[Problem]]:
    """Load what distillation runs say of their students: ``models`` in every ``run.json`` below.

    The same keys as in ``models.yaml``, which has the last word. A manifest that cannot be used is
    a problem for the build report, not an error.
    """
    models: dict[str, ModelInfo] = {}
    problems: list[Problem] = []
    for path in sorted(folder.rglob("run.json")):
        try:
            models.update(_read_models(path, "models"))
        except InputError as error:
            reason = str(error).removeprefix(f"{path}: ").replace(str(folder), "")
            problems.append(Problem(path.relative_to(folder).as_posix(), reason))
    return models, problems


def _read_models(path: Path, below: str | None = None) -> dict[str, ModelInfo]:
    try:
        text = path.read_text(encoding="utf-8")
        raw: Any = yaml.safe_load(text) if below is None else json.loads(text)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: cannot be read as YAML: {reason}") from None
    if below is not None and isinstance(raw, dict):
        raw = cast(dict[str, Any], raw).get(below, {})
    if not isinstance(raw, dict):
        raise InputError(f"{path}: got a {type(raw).__name__}, expected a mapping of models")
    return {
        str(model): _read_model(f"{path}: {model}", str(model), facts)
        for model, facts in cast(dict[Any, Any], raw).items()
    }


def _read_model(where: str, model: str, facts: Any) -> ModelInfo:
    if not isinstance(facts, dict):
        raise InputError(f"{where}: got a {type(facts).__name__}, expected keys and values")
    given = cast(dict[str, Any], facts)
    for key in given:
        if key not in KEYS:
            raise unknown_name(where, str(key), KEYS)
    parameters = given.get("parameters")
    if parameters is not None and (
        not isinstance(parameters, int)
        or isinstance(parameters, bool)
        or not 0 < parameters < 10**15
    ):
        raise InputError(
            f"{where}.parameters: got {str(parameters)[:40]!r}, expected a whole number of "
            "weights, for example 135000000"
        )
    role = str(given.get("role", ""))
    if role and role not in ROLES:
        raise unknown_name(f"{where}.role", role, ROLES)
    link = str(given.get("link", ""))
    if link and not link.startswith(("https://", "http://")):
        raise InputError(f"{where}.link: got {link!r}, expected an http or https address")
    trained_on: Any = given.get("trained_on") or []
    if not isinstance(trained_on, list):
        raise InputError(f"{where}.trained_on: expected a list of datasets; got {trained_on!r}")
    return ModelInfo(
        name=str(given.get("name") or model.rpartition("/")[2]),
        family=str(given.get("family", "")),
        parameters=parameters,
        role=role,
        base=str(given.get("base", "")),
        teacher=str(given.get("teacher", "")),
        licence=str(given.get("licence", "")),
        link=link,
        trained_on=tuple(map(str, cast(list[Any], trained_on))),
    )

"""Who a model is, as declared.

The publisher declares it in ``models.yaml`` beside the results, of any model. A distillation run
declares it in its ``run.json``, of the models whose results lie in the same folder.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path, PurePosixPath
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

from leaderboard.runs.results import Problem, TaskRun, files_below
from sentibench.errors import InputError, unknown_name
from sentibench.pages.text import visible
from sentibench.scoring.samples import Unusable, kind_of, open_bounded

Role = Literal["", "teacher", "student", "baseline"]
EXPECTED = {
    "parameters": "a whole number of weights, for example 135000000",
    "link": "an http or https address",
    "trained_on": "a list of datasets",
}
"""What a value of another kind than text has to be."""
MAX_BYTES = 16 * 2**20


def _text(value: Any) -> str:
    if isinstance(value, list | dict):
        raise ValueError("no text")
    return "" if value is None else visible(str(value)).strip()


def _web_address(url: str) -> str:
    if url and not url.startswith(("https://", "http://")):
        raise ValueError("no address of the web")
    return url


def _texts(value: Any) -> tuple[str, ...]:
    parts = cast("list[Any]", value or [])
    if not isinstance(value, list | None) or len(parts) > 200:
        raise ValueError("no list")
    return tuple(_text(part)[:200] for part in parts)


Text = Annotated[str, BeforeValidator(_text), Field(max_length=2_000)]


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


@dataclass(frozen=True, slots=True)
class Declared:
    """What is declared of the models.

    Attributes:
        publisher: Model as lm-eval names it, or the last part of that -> facts.
        manifests: Folder of a ``run.json``, below the results folder -> the same of its models.
    """

    publisher: Mapping[str, ModelInfo] = field(default_factory=dict[str, ModelInfo])
    manifests: Mapping[str, Mapping[str, ModelInfo]] = field(
        default_factory=dict[str, Mapping[str, ModelInfo]]
    )

    def of(self, run: TaskRun, names: Set[str]) -> ModelInfo:
        """Facts of the model of a run.

        Args:
            run: The run.
            names: Full names of all models: a last part alone names one only if it is unique.
        """
        info = self._by_publisher(run.model, names) or self._by_manifest(run) or ModelInfo()
        return info if info.name else replace(info, name=_shown_name(run.model, names))

    def joined_names(self, names: Set[str]) -> dict[str, tuple[str, str]]:
        """Model -> what the runs of its row have in common: it, or the name of several models.

        A name that the publisher gives to one model joins nothing, and makes no other row of it.
        """
        given = {name: self._name(name, names) for name in names}
        counts = Counter(given.values())
        return {
            name: ("named", given[name]) if given[name] and counts[given[name]] > 1 else ("", name)
            for name in names
        }

    def _name(self, model: str, names: Set[str]) -> str:
        info = self._by_publisher(model, names)
        return info.name if info else ""

    def ambiguous(self, names: Set[str]) -> list[str]:
        """Last parts in ``models.yaml`` that several models share, so that they name none."""
        shorts = Counter(map(short_name, names))
        return [key for key in self.publisher if shorts[key] > 1 and key not in names]

    def _by_publisher(self, model: str, names: Set[str]) -> ModelInfo | None:
        by_short_name = short_name(model) if _is_unique(model, names) else model
        return self.publisher.get(model) or self.publisher.get(by_short_name)

    def _by_manifest(self, run: TaskRun) -> ModelInfo | None:
        for folder in PurePosixPath(run.file).parents:
            own = self.manifests.get(folder.as_posix(), {})
            if run.model in own:
                return own[run.model]
        return None


def short_name(model: str) -> str:
    """Return the last part of a hub name or path."""
    return model.rstrip("/").rpartition("/")[2] or model


def _shown_name(model: str, names: Set[str]) -> str:
    """The last part; of a hub name the whole where others end alike. Folders are private."""
    is_hub_name = re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", model)
    return model if is_hub_name and not _is_unique(model, names) else short_name(model)


def _is_unique(model: str, names: Set[str]) -> bool:
    return Counter(map(short_name, names))[short_name(model)] <= 1


def load_declared(
    folder: Path, models: Path, runs: Sequence[TaskRun]
) -> tuple[Declared, list[Problem]]:
    """Load what is declared of the models of some runs.

    A manifest that cannot be used is a problem for the build report, and so is a model in it that
    takes the name of another one.

    Args:
        folder: The results folder, with any number of ``run.json``.
        models: ``models.yaml``; what it says comes first.
        runs: From the results folder.

    Raises:
        InputError: If ``models.yaml`` is not YAML, has an unknown key, or a value of a wrong kind.
    """
    publisher = load_models(models)
    read: dict[str, dict[str, ModelInfo]] = {}
    problems: list[Problem] = []
    for path in files_below(folder, re.compile(r"run\.json")):
        file = path.relative_to(folder)
        own = {run.model for run in runs if PurePosixPath(run.file).is_relative_to(file.parent)}
        try:
            found = _read_models(path, _models_of_manifest)
        except InputError as error:
            reason = str(error).removeprefix(f"{path}: ").replace(str(folder), "")
            problems.append(Problem(file.as_posix(), reason))
            continue
        read[file.parent.as_posix()] = {m: info for m, info in found.items() if m in own}
    taken = _taken_names(publisher, read.values(), {run.model for run in runs})
    for parent, infos in read.items():
        for model in [m for m, info in infos.items() if taken[_plain(info.name)] - {m}]:
            claimed = infos.pop(model).name
            reason = f"models: {short_name(model)!r} has the name {claimed!r} of another model"
            problems.append(Problem((PurePosixPath(parent) / "run.json").as_posix(), reason))
    return Declared(publisher, read), problems


def _taken_names(
    publisher: Mapping[str, ModelInfo],
    manifests: Iterable[Mapping[str, ModelInfo]],
    names: Set[str],
) -> Mapping[str, Set[str]]:
    """Name as it looks -> the models that have it."""
    taken: dict[str, set[str]] = defaultdict(set)
    for name in names:
        taken[_plain(name)].add(name)
        taken[_plain(short_name(name))].add(name)
    for declared in (publisher, *manifests):
        for model, info in declared.items():
            full = {name for name in names if model in (name, short_name(name))}
            taken[_plain(info.name or short_name(model))] |= full or {model}
    for row in load_paper():
        taken[_plain(row["name"])].add("the paper's row")
    return taken


def _plain(name: str) -> str:
    """A name without what readers do not see: case, blanks and forms of one letter."""
    seen = visible(unicodedata.normalize("NFKC", name)).replace("\ufffd", "")
    return " ".join(seen.casefold().split())


def load_models(path: Path) -> dict[str, ModelInfo]:
    """Load ``models.yaml``: model as lm-eval names it (or its last part) -> facts.

    Raises:
        InputError: If it is not YAML, has an unknown key, or a value of the wrong kind.
    """
    return _read_models(path, _without_aliases) if path.exists() else {}


@cache
def load_paper() -> list[dict[str, Any]]:
    """Load the rows that the paper reports, as they stand in ``paper.yaml``."""
    path = Path(__file__).parents[1] / "paper.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))


class _NoAliases(yaml.SafeLoader):
    """Reads YAML in which nothing stands for something else: a few lines could stand for ages."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):  # pyright: ignore[reportUnknownMemberType]
            problem = "aliases (*name) are not read; write the value again"
            mark = cast(Any, self.peek_event()).start_mark  # pyright: ignore
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
        return super().compose_node(parent, index)


def _without_aliases(text: str) -> Any:
    return yaml.load(text, Loader=_NoAliases)


def _models_of_manifest(text: str) -> Any:
    manifest = json.loads(text)
    is_object = isinstance(manifest, dict)
    return cast("dict[str, Any]", manifest).get("models", {}) if is_object else manifest


def _read_models(path: Path, parse: Callable[[str], Any]) -> dict[str, ModelInfo]:
    try:
        with open_bounded(path, MAX_BYTES) as file:
            found = _READER.validate_python(parse(file.read().decode()))
    except ValidationError as error:
        raise _mistake(path, error) from None
    except Unusable as error:
        raise InputError(f"{path}: {error}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InputError(
            f"{path}{where}: cannot be read as YAML: {error.problem or 'broken'}"
        ) from None
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read: {kind_of(error)}") from None
    return {model.rstrip("/") or model: facts for model, facts in found.items()}


def _mistake(path: Path, error: ValidationError) -> InputError:
    """The first mistake as one line."""
    first = error.errors()[0]
    got, (model, key) = first["input"], (*map(str, first["loc"]), "", "")[:2]
    where = f"{path}: {model}"
    if not first["loc"]:
        return InputError(f"{path}: got a {type(got).__name__}, expected a mapping of models")
    if not key:
        return InputError(f"{where}: got a {type(got).__name__}, expected keys and values")
    known = [part.name for part in fields(ModelInfo)]
    if key not in known:
        return unknown_name(where, key, known)
    if key == "role":
        return unknown_name(f"{where}.role", str(got), [role for role in get_args(Role) if role])
    return InputError(
        f"{where}.{key}: got {str(got)[:40]!r}, expected {EXPECTED.get(key, 'a text')}"
    )

"""YAML in, a configuration or one line of error out; and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import ValidationError

from distill.config.run import Run
from distill.config.section import Section
from distill.errors import ConfigError
from sentibench.data.card_form import StrictLoader
from sentibench.errors import nearest
from sentibench.files import write_beside


def _parsed(text: str, mistake: str) -> Any:
    """The value of a YAML text; the mistake says where and what if it is none."""
    try:
        return yaml.load(text, StrictLoader)
    except yaml.YAMLError as error:
        said = " ".join(str(error).split()).replace('"<unicode string>", ', "")
        raise ConfigError(f"{mistake}; {said}") from None
    except RecursionError:
        raise ConfigError(f"{mistake}; nested too deeply") from None


def load_config(path: Path, overrides: Sequence[str] = ()) -> Run:
    """Read a configuration and apply ``section.key=value`` overrides, values as YAML.

    Raises:
        ConfigError: One line with the place of the first mistake, what was expected, and what is
            near.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: cannot be read; got {error}; expected a YAML file in UTF-8 that you may read"
        ) from None
    raw = _parsed(text, f"{path}: not valid YAML")
    if not isinstance(raw, dict):
        got = "an empty file" if raw is None else f"a {type(raw).__name__}"
        raise ConfigError(f"{path}: expected settings as 'key: value'; got {got}")
    given = {path.name: _as_json(path.name, raw)}
    for override in overrides:
        _override(cast("dict[str, Any]", raw), override)
        given[repr(override)] = _as_json(repr(override), raw)
    *_, whole = given.values()
    run = _validated(whole)
    if isinstance(run, Run):
        return run
    # the file's, or the first override's with which the mistake was there
    blamed = next(where for where, text in given.items() if _validated(text) == run)
    raise ConfigError(f"{blamed}: {run}")


def _as_json(where: str, raw: Any) -> str:
    """The settings as JSON, where a list may be a tuple, a text a path and a number a key."""
    try:
        return json.dumps(raw)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"{where}: a value that no setting can have; got {error}; put dates and the like in "
            "quotes"
        ) from None


def _validated(text: str) -> Run | str:
    """The configuration, or its first mistake."""
    try:
        return Run.model_validate_json(text)
    except ValidationError as error:
        return _first_mistake(error)


def _override(raw: dict[str, Any], override: str) -> None:
    name, separator, value = override.partition("=")
    if not separator or not name:
        raise ConfigError(
            f"got {override!r}, expected section.key=value, such as icldist.samples=100"
        )
    *sections, key = name.split(".")
    for section in sections:
        below = raw.setdefault(section, {})
        if not isinstance(below, dict):
            raise ConfigError(
                f"{override!r}: got the value {'null' if below is None else repr(below)} for "
                f"{section}, expected a section with keys; give {section} or its keys, not both"
            )
        raw = cast("dict[str, Any]", below)
    raw[key] = _parsed(value, f"{override!r}: the value is not valid YAML")


def _first_mistake(error: ValidationError) -> str:
    """One line: place, what is wrong, what was got, and what is near."""
    first = cast("dict[str, Any]", error.errors()[0])
    pairs = zip(("", *first["loc"]), first["loc"], strict=False)  # pydantic names the backend too
    names = [str(part) for above, part in pairs if above != "teacher"]
    place = [name for name in names if not name.startswith("literal[")]  # one of several types
    if first["type"] == "union_tag_invalid":  # the only union is that of teachers
        tag, known = first["ctx"]["tag"], first["ctx"]["expected_tags"].replace("'", "").split(", ")
        return f"{'.'.join(place)}.backend: unknown name {tag!r}; {nearest(tag, known)}"
    is_missing = first["type"] in ("missing", "union_tag_not_found")
    if first["type"] == "union_tag_not_found":
        place, first["msg"] = [*place, "backend"], "field required"
    message = first["msg"].removeprefix("Value error, ")
    line = ": ".join(filter(None, (".".join(place), message[0].lower() + message[1:])))
    if is_missing:  # perhaps misspelt: sections know their keys once they have all
        known = {key for section in Section.__subclasses__() for key in section.model_fields}
        given: list[str] = first["input"]
        for key in [key for key in given if key not in known]:
            is_near = get_close_matches(key, place[-1:])
            line += f"; unknown key {key!r}" + (f"; did you mean {place[-1]!r}?" if is_near else "")
    if is_missing or first["type"] == "value_error":
        return line
    got = first["input"]
    is_text = isinstance(got, str) and first["type"].startswith(("float", "int", "bool"))
    wants_text = first["type"] == "string_type" and type(got) in (int, float)
    remedy = f'; put it in quotes: "{got}", on a command line \'"{got}"\'' if wants_text else ""
    return f"{line}; got {got!r}{' (text)' if is_text else ''}{remedy}"


def save_config(run: Run, path: Path) -> None:
    """Write the resolved configuration, every default filled in."""
    write_beside(
        path, yaml.safe_dump(run.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    )

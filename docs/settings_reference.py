"""The reference of all settings of a distillation run, made from the classes of its configuration.

python docs/settings_reference.py writes docs/settings.md; a test compares.
"""

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distill.config import Run, Section

PATH = Path(__file__).parent / "settings.md"
HEAD = """# Settings of a distillation run

This page lists all settings. Write them into the YAML file of the run, or as `section.key=value` on
the command line. For a configuration to begin with, see [distillation.md](distillation.md).

The columns of the tables:

* **setting**: the key. The heading above the table names the section in which the key is.
* **type**: what the value can be. A "section" has keys of its own. A table of this page
  lists them. Two sections with the same keys are listed once: for `icldist.difficulty`, see
  `knowdist.difficulty`. A "mapping" has keys of your choice. "any value" is whatever JSON can hold.
* **default**: the value if you do not give one. If this column is empty, you have to give a value.
  `null` means that there is no value. "its defaults" are those of the section's own keys.
* **meaning**: what the setting does.

`python docs/settings_reference.py` made this page from the classes in `distill/config/`.
"""
BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}
NAMES = {"integer": "whole number", "boolean": "true or false", "string": "text", "null": "none"}


def described(section: type[Section]) -> dict[str, str]:
    """Field -> what the docstrings of a class and those above it say of it."""
    found: dict[str, str] = {}
    for kind in reversed(section.__mro__):
        _, _, attributes = (inspect.cleandoc(kind.__doc__ or "")).partition("\nAttributes:\n")
        for name, text in re.findall(r"^    (\w+): (.+(?:\n {8}.+)*)", attributes, re.MULTILINE):
            found[name] = " ".join(text.split())
    return found


def type_text(schema: dict[str, Any]) -> str:
    """A JSON schema in words."""
    if not schema or schema.get("$ref", "").endswith("/JsonValue"):
        return "any value"
    if "$ref" in schema or "oneOf" in schema:
        return "section"
    if "anyOf" in schema:
        kinds = list(dict.fromkeys(map(type_text, schema["anyOf"])))
        return (", " if all(kind.startswith("`") for kind in kinds) else " or ").join(kinds)
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema["type"] == "array":
        items = schema.get("items") or schema["prefixItems"][0]
        n = f" of {len(schema['prefixItems'])}" if "prefixItems" in schema else ""
        return f"list{n}: {type_text(items)}"
    if schema["type"] == "object":
        return f"mapping: {type_text(schema['additionalProperties'])}"
    name = "path" if schema.get("format") == "path" else NAMES.get(schema["type"], schema["type"])
    bounds = [f"{words} {schema[key]:,}" for key, words in BOUNDS.items() if key in schema]
    return " ".join([name, " and ".join(bounds)]).strip()


def sections() -> Iterator[tuple[str, type[Section]]]:
    """Dotted place -> class of every section, each class once."""
    waiting: list[tuple[str, type[Section]]] = [("", Run)]
    seen: set[type[Section]] = set()
    while waiting:
        place, section = waiting.pop(0)
        if section in seen:
            continue
        seen.add(section)
        yield place, section
        for name, field in section.model_fields.items():
            for kind in classes_in(field.annotation):
                waiting.append((f"{place}.{name}".lstrip("."), kind))


def classes_in(annotation: Any) -> Iterator[type[Section]]:
    """The sections that a field may hold."""
    if inspect.isclass(annotation) and issubclass(annotation, Section):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from classes_in(argument)


def lines() -> Iterator[str]:
    yield HEAD
    for place, section in sections():
        texts, schema = described(section), section.model_json_schema()["properties"]
        backend = schema.get("backend", {}).get("const")
        title = f"{place or 'the run'}{f' (backend: {backend})' if backend else ''}"
        first, *_ = inspect.cleandoc(section.__doc__ or "").replace("``", "`").splitlines()
        yield f"## {title}\n\n{first}\n"
        yield "| setting | type | default | meaning |\n|---|---|---|---|"
        for name, field in section.model_fields.items():
            kind = type_text(schema[name])
            default = schema[name].get("default")
            shown = "section" if kind == "section" else f"`{json.dumps(default)}`"
            shown = "" if field.is_required() else shown.replace("section", "its defaults")
            meaning = texts[name].replace("``", "`").replace("|", "\\|")
            yield f"| `{name}` | {kind} | {shown} | {meaning} |"
        yield ""


def reference() -> str:
    return "\n".join(lines())


if __name__ == "__main__":
    PATH.write_text(reference(), encoding="utf-8")

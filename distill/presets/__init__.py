"""Configurations to begin with: ``python -m distill init NAME`` writes one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from distill.errors import ConfigError, unknown_name

HERE = Path(__file__).parent

ABLATIONS: Mapping[str, Mapping[str, Any]] = yaml.safe_load(
    (HERE / "ablations.yaml").read_text(encoding="utf-8")
)


def descriptions() -> dict[str, str]:
    """What every preset is, in one line."""
    first_lines = {
        path.stem: path.read_text(encoding="utf-8").split("\n", 1)[0].removeprefix("# ")
        for path in sorted(HERE.glob("*.yaml"))
        if path.stem != "ablations"
    }
    return first_lines | {name: f"cpu, but {one['what']}" for name, one in ABLATIONS.items()}


def preset(name: str) -> str:
    """The text of a preset's file.

    Raises:
        InputError: If there is none of that name.
    """
    if name in ABLATIONS:
        settings = yaml.safe_load(preset("cpu")) | {"name": name}
        for key, value in ABLATIONS[name]["settings"].items():
            settings[key] = settings[key] | value if isinstance(value, dict) else value
        written = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
        return f"# The preset cpu, but {ABLATIONS[name]['what']}.\n{written}"
    if name not in descriptions():
        raise unknown_name("init", name, descriptions())
    return (HERE / f"{name}.yaml").read_text(encoding="utf-8")


def write_preset(name: str, path: Path) -> None:
    """Write a preset to a new file.

    Raises:
        InputError: If there is no such preset, the file exists, or it cannot be written.
    """
    text = preset(name)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"init: {path} is there already; name another file") from None
    except OSError as error:
        raise ConfigError(f"init: {path}: cannot be written; {error.strerror}") from None

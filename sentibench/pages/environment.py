"""The one way in which templates are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def template_environment(folder: Path, escape: Callable[[Any], str] | None = None) -> Environment:
    """An environment in which every variable must be given and every value is escaped.

    Args:
        folder: Holds the templates.
        escape: From a value to text, for a language that is not HTML; None escapes for HTML.
    """
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=escape is None,
        finalize=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )

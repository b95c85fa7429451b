"""The one way in which templates are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from sentibench.pages.text import visible


def template_environment(folder: Path, escape: Callable[[Any], str] | None = None) -> Environment:
    """An environment in which every variable must be given and every value is escaped.

    In HTML no value holds what readers do not see; line breaks stay.

    Args:
        folder: Holds the templates.
        escape: From a value to text, for a language that is not HTML; None escapes for HTML.
    """
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=escape is None,
        finalize=escape or _shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _shown(value: Any) -> Any:
    """A text as ``visible`` has it. Markup is ours, or was made of texts that came through here."""
    is_text = isinstance(value, str) and not isinstance(value, Markup)
    return visible(value, lines=True) if is_text else value

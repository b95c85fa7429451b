"""The forms in which an answer lists tuples: as Python, as JSON, or line by line."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Literal

from sentibench.scoring.parse import normalise

Form = Literal["tuples", "lists", "lines"]

SAID: dict[Form, str] = {
    "tuples": "a Python list of tuples",
    "lists": "a JSON list of lists",
    "lines": "one line each, the parts divided by |, or the word none",
}
"""What an instruction says of each form."""
BAR, NOTHING = " | ", "none"
BEFORE = re.compile(r"^\s*(?:[-*•]\s+|\d{1,3}[.)]\s+)?")  # bullets and numbers that chat models add


def write(tuples: Sequence[Sequence[str]], form: Form = "tuples") -> str:
    """Write tuples of texts in a form; as Python where a part holds what divides lines."""
    if form == "lines" and any(BAR.strip() in part for one in tuples for part in one):
        form = "tuples"
    if form == "tuples":
        return repr([tuple(one) for one in tuples])
    if form == "lists":
        return json.dumps([list(one) for one in tuples], ensure_ascii=False)
    return "\n".join(BAR.join(one) for one in tuples) or NOTHING


def read_lines(n_elements: int, text: str) -> list[tuple[str, ...]] | None:
    """Read what :func:`write` gives for ``lines``.

    Args:
        n_elements: Number of parts of a tuple.
        text: Blank lines in it do not count.

    Returns:
        The tuples; None if a line has not so many parts.
    """
    lines = [BEFORE.sub("", line).strip(" |") for line in text.splitlines() if line.strip()]
    if len(lines) == 1 and normalise(lines[0]).casefold().strip(".") == NOTHING:
        return []
    found = [tuple(map(normalise, line.split(BAR.strip()))) for line in lines]
    return found if found and all(len(one) == n_elements for one in found) else None

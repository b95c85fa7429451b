"""What a client is told when a request is not answered."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from starlette.responses import JSONResponse

from sentibench.errors import nearest

MOST_PLACE = 100  # characters of a place in a request, whose names are the client's
MOST_SHOWN = 60  # characters of a wrong value
EXPECTED = {
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "bool_type": "true or false",
}
NO_TEXT = frozenset(
    f"{before}{kind}{behind}"
    for kind in ("image", "audio", "video", "file")
    for before in ("", "input_")
    for behind in ("", "_url")
)
"""Types of the parts of a message that a text model cannot read, in the APIs known to us."""


class Refused(Exception):
    """A request that is not answered.

    Args:
        status: Of HTTP.
        kind: For programs, one word.
        message: For people, in one line.
        param: Where in the request, as ``questions.0.type``.
        retry_after_s: When it may be sent again.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        param: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(" ".join(message.split()))  # names that clients give may hold lines
        self.status, self.kind, self.param = status, kind, param
        self.retry_after_s = retry_after_s

    def response(self) -> JSONResponse:
        """As JSON: type, message and param."""
        error = {"type": self.kind, "message": str(self), "param": self.param}
        headers = {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
        return JSONResponse({"error": error}, self.status, headers)


def refuse_no_text(value: Any, where: str) -> None:
    """Refuse images and the like: as JSON they would be words about something else.

    Args:
        value: What the client gave as a state, an input or instructions, parsed.
        where: Its place in the request.

    Raises:
        Refused: If a part of it is of such a type.
    """
    parts: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, dict):
        parts = cast("dict[str, Any]", value).items()
    elif isinstance(value, list):
        parts = enumerate(cast("list[Any]", value))
    for name, part in parts:
        if name == "type" and isinstance(part, str) and part in NO_TEXT:
            raise Refused(
                400,
                "invalid_request",
                f"{where}: got a part of type {part!r}, expected text; this model reads text alone",
                where,
            )
        if isinstance(part, (dict, list)):
            refuse_no_text(part, f"{where}.{name}"[:MOST_PLACE])


def refused_form(
    error: ValidationError, given: Any, keys: Callable[[Sequence[str]], Iterable[str]]
) -> Refused:
    """What is wrong with a request, in our words.

    pydantic says for each form that a value may have why it is not that one. What is deepest in
    the request is what the client meant; where several are equally deep, each is expected.

    Args:
        error: Of the request.
        given: The request, parsed.
        keys: Gives the known keys of the object in which the key at a place stands.
    """
    found = [(_place(one, given), one) for one in error.errors(include_url=False)]
    first = found[0][0]
    place = max((p for p, _ in found if p[: len(first)] == first), key=len)
    at_place = [one for p, one in found if p == place]
    others = [one for one in at_place if one["type"] not in EXPECTED]
    where = ".".join(place)[:MOST_PLACE]
    what = _mistake(others[0], place, keys) if others else _other_type(at_place)
    message = f"{where}: {what}" if where else what
    return Refused(400, "invalid_request", message, where or None)


def _place(error: ErrorDetails, given: Any) -> tuple[str, ...]:
    """Where in the request; pydantic's names of the forms that were tried are left out."""
    place: list[str] = []
    for part in error["loc"]:
        if isinstance(given, dict) and (part in given or error["type"] == "missing"):
            given = cast("dict[Any, Any]", given).get(part)
        elif isinstance(given, list) and isinstance(part, int):
            given = cast("list[Any]", given)[part]
        else:
            continue
        place.append(str(part))
    return tuple(place)


def _other_type(errors: Sequence[ErrorDetails]) -> str:
    expected = dict.fromkeys(EXPECTED[one["type"]] for one in errors)
    return f"got {_shown(errors[0]['input'])}, expected {' or '.join(expected)}"


def _mistake(
    error: ErrorDetails,
    place: Sequence[str],
    keys: Callable[[Sequence[str]], Iterable[str]],
) -> str:
    kind, got, limits = error["type"], error["input"], error.get("ctx", {})
    if kind == "missing":
        return "got nothing, expected this key"
    if kind == "extra_forbidden":
        return f"unknown key; {nearest(place[-1], keys(place))}"
    if kind == "literal_error":
        return f"got {_shown(got)}, expected {limits['expected']}"
    if kind == "string_too_long":
        return f"got {len(got):,} characters, expected at most {limits['max_length']:,}"
    if kind == "too_long":
        return f"got {len(got):,}, expected at most {limits['max_length']:,}"
    if kind == "too_short":
        return f"got {len(got):,}, expected at least {limits['min_length']:,}"
    return error["msg"].removeprefix("Value error, ")


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."

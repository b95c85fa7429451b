"""How numbers and texts are written on pages and cards."""

from __future__ import annotations

import re
import unicodedata

NONE = "–"
FILLERS = "\u115f\u1160\u3164\uffa0\u2800"  # letters and a symbol without any ink
SURROGATES = re.compile("[\ud800-\udfff]")
BLANKS = "\t\n\v\f\r\x85"
HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # controls, formats, halves of pairs, separators


def percent(fraction: float | None, signed: bool = False, digits: int = 1) -> str:
    """A fraction times 100; with a sign, and a minus that is one. Zero is never negative."""
    if fraction is None:
        return NONE
    text = f"{100 * fraction:{'+' if signed else ''}.{digits}f}"
    if float(text) == 0:
        text = text.replace("-", "+") if signed else text.lstrip("-")
    return text.replace("-", "−")


def quoted(value: float, low: float | None, high: float | None) -> str:
    """A score with its interval as one quotes it: ``83.8 [83.1, 84.5]``; or the score alone."""
    ends = "" if low is None or high is None else f" [{percent(low)}, {percent(high)}]"
    return percent(value) + ends


def short(value: object, length: int = 60) -> str:
    """The beginning of a text, on one line."""
    text = " ".join(str(value)[: 4 * length].split())
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def counted(n: int, what: str) -> str:
    """A number of things: "1 row", "2 rows"."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def visible(text: str, lines: bool = False) -> str:
    """The text with U+FFFD for what readers do not see, or see in another order than it stands.

    Control characters other than blanks, forms without width, and marks of direction: in a name
    they hide a difference, in an SVG file they are no XML.

    Args:
        text: Any.
        lines: Whether line breaks stay; else they become a blank, as other blanks do.
    """
    if text.isprintable() and not set(FILLERS) & set(text):
        return text
    return "".join(c if lines and c == "\n" else _visible(c) for c in text)


def _visible(character: str) -> str:
    if character in BLANKS:
        return " "
    # the last two are no characters, and XML refuses them
    is_hidden = unicodedata.category(character) in HIDDEN or character in f"\ufffe\uffff{FILLERS}"
    return "\ufffd" if is_hidden else character


def without_surrogates(text: str) -> str:
    """The text as a file can hold it: half of a pair of UTF-16 is no character."""
    return SURROGATES.sub("\ufffd", text)

"""Texts as people meant them: without markup, links and, where that is wished, personal data.

Every change has a kind that is counted and can be switched off. Markup goes before entities, since
``&lt;b&gt;`` is how a writer shows a tag.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from html import unescape

from distill.config import Cleaning

VERSION = 1
"""To be raised where a text is cleaned otherwise than before."""

BLOCKS = (
    "address|article|aside|blockquote|body|br|center|dd|div|dl|dt|footer|form|h[1-6]|head|header|"
    "hr|html|img|li|main|nav|ol|p|pre|section|table|tbody|td|tfoot|th|thead|title|tr|ul"
)
INLINE = (
    "a|abbr|b|big|cite|code|del|em|font|i|ins|kbd|mark|q|s|samp|small|span|strike|strong|sub|sup|"
    "tt|u|var"
)
# tags of HTML alone: neither "<3" nor "a <b and c> d", whose words are no attributes
MARKUP = re.compile(
    r"<!--.*?-->|<(script|style)\b[^<>]*>.*?</\1\s*>"
    rf"|</?(?:(?P<block>{BLOCKS})|{INLINE})"
    r"""(?:\s+[\w:-]+\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>]+))*\s*/?>""",
    re.IGNORECASE | re.DOTALL,
)
ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][\da-fA-F]{1,6}|[A-Za-z][A-Za-z\d]{1,31});")
LINK = re.compile(r"\b(?:https?://|www\.)\S*[\w/]")
MAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
HANDLE = re.compile(r"(?<![\w@.])@(?!user\b)\w+")
# a date, or a number with a decimal point
NO_PHONE = r"\d{4}-\d\d-\d\d|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d+[.,]\d+"
PHONE = re.compile(
    rf"(?<![\w.,/])(?!(?:{NO_PHONE})(?![ ,./-]?\d))"
    r"\+?\(?\d(?:[ ()./-]{0,2}\d){6,18}(?!\w|[ ,./-]\d)"
)

PLACES: Mapping[str, tuple[re.Pattern[str], Callable[[re.Match[str]], str]]] = {
    "markup": (MARKUP, lambda found: " " if found["block"] else ""),
    "entities": (ENTITY, lambda found: unescape(found[0])),
    "links": (LINK, lambda _: ""),
    "mail": (MAIL, lambda _: "[mail]"),
    "handle": (HANDLE, lambda _: "@user"),  # as the datasets of tweets write it
    "phone": (PHONE, lambda _: "[phone]"),
}
BLANKS = re.compile(r"[^\S\n]{2,}|\xa0")
LETTER = re.compile(r"[^\W\d_]")
AROUND = 20  # characters on each side of a change that an example shows


def clean(text: str, settings: Cleaning) -> tuple[str, dict[str, str]]:
    """Clean a text.

    Args:
        text: As its source has it.
        settings: What is left as it is, and what is masked.

    Returns:
        The text, which may be empty, and per kind of change the first place that was changed, with
        some characters around it and personal data masked where that is wished.
    """
    changes: dict[str, str] = {}
    for kind, (pattern, replacement) in PLACES.items():
        if kind not in settings.mask and kind not in settings.changes:
            continue
        changed = pattern.sub(replacement, text)
        if changed != text:
            first = next(m for m in pattern.finditer(text) if replacement(m) != m[0])
            changes[kind] = text[max(0, first.start() - AROUND) : first.end() + AROUND]
            text = changed
    if changes:
        text = BLANKS.sub(" ", text).strip()
    return text, {kind: masked(example, settings) for kind, example in changes.items()}


def masked(text: str, settings: Cleaning) -> str:
    """A text without the personal data that are not to be shown."""
    for kind in settings.mask:
        pattern, replacement = PLACES[kind]
        text = pattern.sub(replacement, text)
    return text


def has_words(text: str) -> bool:
    """Whether there is a letter of any script; digits, signs and emoji are no words."""
    return LETTER.search(text) is not None

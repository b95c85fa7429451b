"""What an answer says: its label or tuples found, whoever wrote it.

A store keeps what the teacher wrote. Every reader goes through this module, so a recording made
before a family's marks were known is read right, and no answer has to be asked for again.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from distill.forms import read_lines, write
from distill.texts.ngrams import nfkc
from sentibench.data.records import ABSENT
from sentibench.remote.reasoning import without_reasoning
from sentibench.remote.records import Answer, Finish, Request
from sentibench.scoring.parse import (
    UNREADABLE,
    answer_text,
    normalise,
    parse_strict,
    read_literal,
)

AROUND_LABEL = " \t\r\n\"'`“”‘’«»*_#()[]{}<>.,;:!?…。！？"
LONGEST = 10_000  # characters; a longer answer is a label alone or none
HEAD = (
    r"(?:answer|labels?|sentiment|emotion|feeling|class|category|classification|polarity|opinion"
    r"|stance|tone|prediction|output|result|response|verdict|rating)"
)
BULLET = re.compile(r"^\s*[-•*]\s+")
TAGGED = re.compile(r"<(\w{1,40})>([^<>]*)</\1>")
LOOSE_OBJECT = re.compile(r"\{\s*['\"]?\w{1,40}['\"]?\s*:\s*['\"]?([^'\"{}\n,:]{1,80})['\"]?\s*\}")
HEADED = re.compile(
    rf"[^\w\n{{}}]{{0,8}}(?:[^\W\d]+ ){{0,2}}{HEAD}[ *_\"'`]{{0,6}}(?::|=|->|→)[ \t]*(.+)",
    re.IGNORECASE,
)
STATED = re.compile(rf"\b{HEAD}\b[^.:;!?\n]{{0,80}}?\b(?:is|as|be)\b:?[ \t]*(.+)", re.IGNORECASE)
MARKED = re.compile(
    r"\*\*([^*\n]+)\*\*|__([^_\n]+)__|\"([^\"\n]+)\"|“([^”\n]+)”|«([^»\n]+)»|`([^`\n]+)`"
    r"|(?<!\w)'([^'\n]+)'(?!\w)|\\boxed\{([^{}\n]+)\}"
)
NEGATION = re.compile(
    r"\b(?:not|no|nor|never|neither|cannot|without|hardly|rather than|instead of|opposite|anything"
    r"|wrong|incorrect|false|fails?|less|unlike|except)\b|n['’]t\b"
)
SPANS = ("holder", "aspect", "opinion")  # elements that are words of the text
LONGEST_SPAN = 300  # characters
GAP = " AND "  # between the parts of a discontinuous span (protocol of OpeNER)
SENTENCE_BREAK = re.compile(r"[.!?…]\s+\S|\n")


@dataclass(frozen=True, slots=True)
class Reading:
    """An answer taken apart.

    Attributes:
        text: The answer alone, without blanks around it; what may be learnt.
        reasoning: What was thought before it.
        finish: ``length`` if the token limit cut off the answer or the reasoning.
        began_inside: Whether the reasoning was closed without being opened, since the prompt ends
            with its opening mark.
    """

    text: str
    reasoning: str
    finish: Finish
    began_inside: bool = False


def read_answer(request: Request, answer: Answer) -> Reading:
    """Take an answer apart.

    An answer that has to be a label may stand behind a stop string of the request, in a fence for
    example. Then the whole text is kept for :func:`label_of`.
    """
    text, reasoning, began_inside = without_reasoning(answer.text)
    reasoning = "\n\n".join(filter(None, (answer.reasoning.strip(), reasoning)))
    ends = [text.index(stop) for stop in request.decoding.stop if stop and stop in text]
    finish = answer.finish
    if ends:
        first = text[: min(ends)].strip()
        if not request.labels or label_of(first, request.labels):
            text, finish = first, "stop"
    return Reading(text, reasoning, finish, began_inside)


def is_json(text: str) -> bool:
    """Whether a text is an object or a list of JSON, in a fence or not."""
    bare = _unfenced(text).lstrip()
    return bare.startswith(("{", "[")) and isinstance(_json_of(bare), (tuple, list))


def label_of(text: str, labels: Sequence[str]) -> str | None:
    """Find the label that an answer gives, in any of the forms in which models give one.

    A label alone, a JSON object with one label in it, a fence around either, ``Answer: x`` as the
    last line, or one sentence that marks a label and mentions no other.

    Args:
        text: Without reasoning.
        labels: Those of the request.

    Returns:
        The label without blanks around it; None if there is none, or it could be two.
    """
    found = label_alone(text, labels)
    if found or not labels or len(text) > LONGEST:
        return found
    lines = [line.strip() for line in text.strip().splitlines()]
    headed = [match[1] for match in map(HEADED.fullmatch, lines) if match]
    if headed and HEADED.fullmatch(lines[-1]):
        return _only({label_alone(value, labels) for value in headed})
    return _label_of_sentence(text.strip(), labels)


def tuples_of(text: str, request: Request) -> str | None:
    """The tuples of an answer as a prompt writes them; see :func:`read_tuples`."""
    found = read_tuples(text, request)
    return None if found is None else written(found, request)


def written(tuples: Sequence[tuple[str, ...]], request: Request) -> str:
    """Tuples in the form that the request asks for."""
    return write(tuples, request.meta.get("form", "tuples"))


def read_tuples(text: str, request: Request) -> list[tuple[str, ...]] | None:
    """The tuples of an answer.

    Args:
        text: Without reasoning; a Python or JSON list of lists or of objects, fenced or not, or
            lines where the request asks for these.
        request: It says which parts a tuple has, what its polarity may be, and the form.

    Returns:
        The distinct tuples; None if it is no list of them, or a polarity is none of the task's.
    """
    elements = request.elements
    headed = HEADED.match(text)
    in_lines = request.meta.get("form") == "lines"
    bare = _unfenced((text[headed.start(1) :] if in_lines else headed[1]) if headed else text)
    found = read_lines(len(elements), bare) if in_lines else None
    found = _listed(bare.strip(), elements) if found is None else found
    polarities = {name.casefold(): name for name in request.meta["polarities"]}
    place = elements.index("polarity")
    mended: list[tuple[str, ...]] = []
    for one in found or ():
        polarity = polarities.get(one[place].casefold())
        if polarity is None:
            return None
        mended.append((*one[:place], polarity, *one[place + 1 :]))
    return None if found is None else list(dict.fromkeys(mended))


def in_the_texts_spelling(
    tuples: Sequence[tuple[str, ...]], request: Request
) -> list[tuple[str, ...]] | None:
    """Tuples whose spans are spelled as in the text that was asked about.

    Returns:
        The tuples; None if a span, or a part of a discontinuous one, is not in the text.
    """
    mended: list[tuple[str, ...]] = []
    for one in tuples:
        parts = list(one)
        for place, (element, part) in enumerate(zip(request.elements, one, strict=True)):
            if element in SPANS and part != ABSENT:
                whole = _spelled(part, request.text)
                spans = [whole] if whole else [_spelled(s, request.text) for s in part.split(GAP)]
                if not all(spans):
                    return None
                parts[place] = GAP.join(spans)
        mended.append(tuple(parts))
    return list(dict.fromkeys(mended))


def _spelled(span: str, text: str) -> str:
    """A span as the text has it, whole words before parts of words; empty if it is not there."""
    if len(span) > LONGEST_SPAN:
        return ""
    words = r"\s+".join(map(re.escape, span.split()))
    whole = rf"(?<!\w){words}(?!\w)"
    tries = re.search(whole, text), re.search(whole, text, re.IGNORECASE), re.search(words, text)
    return next((normalise(found[0]) for found in tries if found), "")


def list_like(text: str, gold: str) -> str | None:
    """An answer that lists things as another list does.

    Args:
        text: Without reasoning; a Python or JSON list, fenced or behind ``Label:`` or not.
        gold: A list as Python writes it.

    Returns:
        The list without what was around it; None if it is none, or its elements have another
        shape than those of ``gold``.
    """
    headed = HEADED.match(text)
    bare = _unfenced(headed[1] if headed else text).strip()
    found, wanted = _literal(bare), _literal(gold)
    if not isinstance(found, list) or not isinstance(wanted, list):
        return None
    shapes = {_shape(one) for one in cast("list[Any]", wanted)}
    fits = not shapes or all(_shape(one) in shapes for one in cast("list[Any]", found))
    return bare if fits else None


def is_list(text: str) -> bool:
    """Whether a text is a list as Python or JSON writes it."""
    return text.startswith("[") and isinstance(_literal(text), list)


def _literal(text: str) -> Any:
    value = read_literal(text)
    return _json_of(text) if value is UNREADABLE else value


def _shape(element: Any) -> tuple[str, ...]:
    """The types of an element's parts, a list being like a tuple."""
    if not isinstance(element, (list, tuple)):
        return (type(element).__name__,)
    parts = cast("Sequence[Any]", element)
    return ("", *(type(part).__name__ for part in parts))


def _listed(bare: str, elements: tuple[str, ...]) -> list[tuple[str, ...]] | None:
    """The tuples of a Python or JSON list."""
    rows = _rows(_json_of(bare), elements)
    found = parse_strict(len(elements), repr(rows) if rows is not None else "")
    if found.problem or None in found.tuples:
        found = parse_strict(len(elements), answer_text(bare))
    tuples = [one for one in found.tuples if one is not None]
    return tuples if not found.problem and len(tuples) == len(found.tuples) else None


def _rows(value: Any, elements: tuple[str, ...]) -> list[Any] | None:
    """JSON as lists of texts: what ``_json_of`` gives, in which objects are tuples of pairs."""
    if isinstance(value, tuple) and len(cast("tuple[Any]", value)) == 1:
        value = cast("tuple[Any]", value)[0][1]  # {"opinions": [...]}
    if not isinstance(value, list):
        return None
    rows: list[Any] = []
    for row in cast("list[Any]", value):
        if isinstance(row, tuple):
            parts = dict(cast("tuple[tuple[str, Any], ...]", row))
            rows.append([parts.get(part) or ABSENT for part in elements])
        else:
            rows.append(row)
    return rows


def label_alone(text: str, labels: Sequence[str]) -> str | None:
    """Find the label that a text is, whatever its case and what is around it.

    Returns:
        The label without blanks around it; None if the text is no label, or could be two.
    """
    labels = tuple(labels)
    text = BULLET.sub("", text)
    if tagged := TAGGED.fullmatch(text.strip()):
        text = tagged[2]
    found = _equal(text, labels)
    if found or not set("{`:=>→").intersection(text):
        return found
    inner = _unfenced(text).strip()
    _, brace, after = inner.partition("{")
    found = _json_of(inner if "{" in after else f"{brace}{after[: after.rfind('}') + 1]}")
    if isinstance(found, tuple):
        return _label_of_object(cast("tuple[tuple[str, Any], ...]", found), labels)
    loose = LOOSE_OBJECT.fullmatch(inner) or HEADED.fullmatch(inner)
    return _equal(loose[1] if loose else inner, labels)


def _equal(text: str, labels: tuple[str, ...]) -> str | None:
    """The label that a text equals, or equals but for case and marks around it."""
    exact, by_bare = _forms(labels)
    bare = _bare(text)
    return exact.get(text.strip()) or (_only(by_bare.get(bare, set())) if bare else None)


@lru_cache(maxsize=256)
def _forms(labels: tuple[str, ...]) -> tuple[dict[str, str], dict[str, set[str | None]]]:
    """The labels as they are, and the labels of each bare form."""
    by_bare: defaultdict[str, set[str | None]] = defaultdict(set)
    for label in labels:
        by_bare[_bare(label)].add(label.strip())
    return {label.strip(): label.strip() for label in labels}, dict(by_bare)


def _only(found: set[str | None]) -> str | None:
    """The element of a set of one; None for any other set."""
    return next(iter(found)) if len(found) == 1 else None


def _label_of_object(pairs: tuple[tuple[str, Any], ...], labels: tuple[str, ...]) -> str | None:
    """The label in a JSON object: of the key ``label``, or the only label among the values."""
    values = [value for key, value in pairs if key.casefold() == "label"]
    values = values or [value for _, value in pairs]
    for place, value in enumerate(values):
        if isinstance(value, list) and len(one := cast("list[Any]", value)) == 1:
            values[place] = one[0]
    whole = [int(v) if isinstance(v, float) and v.is_integer() else v for v in values]
    texts = [str(value) for value in whole if isinstance(value, (str, int, float))]
    return _only({_equal(text, labels) for text in texts} - {None})


def _label_of_sentence(text: str, labels: Sequence[str]) -> str | None:
    """The label that one sentence marks, if it mentions no other and denies nothing."""
    if SENTENCE_BREAK.search(text) or "{" in text.replace(r"\boxed{", ""):
        return None
    words = sorted({" ".join(label.split()) for label in labels}, key=len, reverse=True)
    mention = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, words))})(?!\w)", re.IGNORECASE)
    if len({_bare(found[0]) for found in mention.finditer(text)}) != 1:
        return None
    if NEGATION.search(mention.sub("", text).casefold()):
        return None
    places = [group for match in MARKED.finditer(text) for group in match.groups() if group]
    places += [match[1] for match in [STATED.search(text)] if match]
    return _only({label_alone(place, labels) for place in places} - {None})


def _unfenced(text: str) -> str:
    """What stands in the only fence; else all of it."""
    parts = text.split("```")
    if len(parts) != 3:
        return text
    first, break_, rest = parts[1].partition("\n")
    return rest if break_ and re.fullmatch(r"[\w-]*[ \t]*", first) else parts[1]


def _json_of(text: str) -> Any:
    """A value of JSON, objects as tuples of pairs so that no key is lost; None for any other."""
    try:
        return json.loads(text, object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        return None


def _bare(text: str) -> str:
    text = nfkc(text).casefold().strip(AROUND_LABEL)
    return " ".join(re.split(r"[\s_-]+", text))

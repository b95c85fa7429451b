"""Model text -> predictions. Nothing here evaluates text, and nothing here raises.

Two readings of an extraction answer stand side by side. ``parse_official`` does what the authors'
scorer does, oddities included (Zhang et al. 2025, arXiv 2503.03225, scripts at the pinned commit);
``parse_strict`` is ours and admits one form only. Labels have one reading.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

from sentibench.data.cards import Card, Format, Label
from sentibench.data.records import ABSENT, Prediction

MAX_ANSWER_CHARS = 2**20
"""A longer answer is unreadable. 150 new tokens give about 1,000 characters."""

UNREADABLE = object()
"""What ``read_literal`` returns for text that is no Python literal."""

_PAIRS: tuple[Format, ...] = ("atsa", "acsa")
_REPAIRED_AT_MOST: dict[Format, int | None] = {"acsa": 3, "asqp": 3, "opener": None, "table": None}


def answer_text(generated: str) -> str:
    """Cut a generation down to the answer.

    Args:
        generated: What the model wrote after the prompt's last ``Label:``.

    Returns:
        The first line that is not blank, up to an invented ``Sentence:``.
    """
    return re.split(r"\n|Sentence:", generated.lstrip(), maxsplit=1)[0]


def read_literal(text: str) -> Any:
    """Read a Python literal without evaluating anything.

    Returns:
        The value, or ``UNREADABLE``. Depth and size are bounded by the parser's own limits and by
        ``MAX_ANSWER_CHARS``.
    """
    if len(text) > MAX_ANSWER_CHARS:
        return UNREADABLE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in model text
            return ast.literal_eval(text)
    # MemoryError is literal_eval's word for "nested too deeply"; ArithmeticError: 10**400 + 1j
    except (ValueError, TypeError, SyntaxError, ArithmeticError, MemoryError, RecursionError):
        return UNREADABLE


def _cleaned(form: Format, answer: str) -> str:
    text = answer.replace("```python", "").replace("```", "").strip()
    text = text.replace("\n]", "]").replace("[\n", "[")
    text = text.split("\n")[-1].strip()
    if form in _PAIRS:
        text = text.replace("Label:", "").strip()
    return text


def parse_official(card: Card, answer: str) -> list[Any]:
    """Read an extraction answer as the authors' scorer does; of an own task, as of ASQP.

    Args:
        card: An extraction task.
        answer: The answer text; see ``answer_text``.

    Returns:
        The predictions, repeats included. Only a tuple of strings can be right; whatever else
        stands in the list is wrong and counts. For OpeNER every element has four parts, or the
        list is empty.
    """
    form, n_parts = card.format, len(card.elements)
    text = _cleaned(form, answer)
    value, at_most = read_literal(text), None
    if value is UNREADABLE and form in _REPAIRED_AT_MOST:  # cut off: up to its last complete tuple
        value = read_literal(text[: text.rfind(")") + 1 or None] + "]")
        at_most = _REPAIRED_AT_MOST[form]
    elif form in _PAIRS and value is not UNREADABLE:
        return _pairs(form, value)
    elements = _distinct(value)[:at_most]
    if form in ("asqp", "table"):
        return [_stripped(element) for element in elements if len(element) == n_parts]
    if form == "opener" and any(len(element) != n_parts for element in elements):
        return []
    return elements


def _distinct(value: Any) -> list[tuple[Any, ...]]:
    """Distinct elements as tuples; none if the value is no collection of hashable collections.

    ``UNREADABLE`` is none either.
    """
    try:
        return [tuple(element) for element in dict.fromkeys(value)]
    except TypeError:
        return []


def _stripped(element: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(part.strip() if isinstance(part, str) else part for part in element)


def _pairs(form: Format, value: Any) -> list[Any]:
    """Turn a readable ATSA or ACSA answer into pairs, or leave it all as it was read."""
    elements = list(_sequence(value) or ())
    if len(elements) == 2 and isinstance(elements[0], str):
        elements = [value]
    if form == "atsa" and _is_nested(elements):
        last = elements[-1]
        elements = list(cast(Iterable[Any], last)) if isinstance(last, Iterable) else []
    elements = [element for element in elements if element]
    # The authors also turn a pair into a sure miss if its term is not in the sentence or its
    # polarity not in their list. No gold pair is such a pair, so it is a miss without that.
    pairs = [_pair(element) for element in elements]
    return elements if None in pairs else pairs


def _sequence(value: Any) -> Sequence[Any] | None:
    """The value if it is a list or tuple: what the scorers call a pair or a list of them."""
    return cast(Sequence[Any], value) if isinstance(value, (list, tuple)) else None


def _texts(value: Any, n_parts: int, clean: Callable[[str], str]) -> tuple[str, ...] | None:
    """The parts, cleaned, of a list or tuple of so many texts; None for anything else."""
    parts = _sequence(value) or ()
    if len(parts) != n_parts or not all(isinstance(part, str) for part in parts):
        return None
    return tuple(map(clean, parts))


def _is_nested(elements: list[Any]) -> bool:
    first = _sequence(elements[0]) if elements else None
    return bool(first) and _sequence(first[0]) is not None


def _pair(element: Any) -> tuple[str, ...] | None:
    parts = re.split(r"[,\-|]", element) if isinstance(element, str) else element
    return _texts(parts, 2, str.strip)


def parse_strict(n_elements: int, answer: str) -> Prediction:
    """Read an extraction answer in its one admitted form: a list of tuples of strings.

    Args:
        n_elements: Number of parts of a tuple in this task.
        answer: The answer text. A code fence around it is allowed, inner lists instead of tuples
            too, and a single bare tuple.

    Returns:
        The prediction. The all-NULL tuple means "no opinion", like the empty list.
    """
    text = re.sub(r"^```(?:python)?|```$", "", answer.strip()).strip()
    value = read_literal(text)
    if value is UNREADABLE:
        return Prediction(answer, problem="not a Python literal")
    elements = _sequence(value)
    if elements is None:
        return Prediction(answer, problem=f"expected a list; got {type(value).__name__}")
    if isinstance(value, tuple) and _texts(value, n_elements, normalise) is not None:
        elements = [cast(Any, value)]
    tuples = [_texts(element, n_elements, normalise) for element in elements]
    return Prediction(answer, tuples=tuple(t for t in tuples if t != (ABSENT,) * n_elements))


def normalise(text: str) -> str:
    """Squeeze white space: gold has stray blanks in places, and they carry no meaning."""
    return " ".join(text.split())


def parse_label(answer: str, classes: Sequence[Label]) -> Prediction:
    """Read a free-text answer of a label task.

    Args:
        answer: Model text; its first line counts, case, quotes and punctuation do not.
        classes: The K labels of the task.

    Returns:
        The label that the answer is or begins with, or whose scoring word the whole answer is.
    """
    line = next((line for line in answer.splitlines() if line.strip()), "")
    text = normalise(line).casefold().strip("\"'`.,:;!?*()[] ")
    names = {normalise(label.name).casefold(): label.name for label in classes}
    for folded in sorted(names, key=len, reverse=True):
        if text.startswith(folded) and not text[len(folded) :][:1].isalnum():
            return Prediction(answer, label=names[folded])
    for label in classes:
        if text == label.word.casefold():
            return Prediction(answer, label=label.name)
    return Prediction(answer, problem="no label of the task")

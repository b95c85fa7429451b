"""Instructions composed from attributes that the teacher lists (CompEffDist, arXiv 2510.24425).

The teacher names attributes of the feeling in some texts, with their values there. Those that
come back in enough texts are kept, close names as one. An instruction of KnowDist is then made of
one to three of them: to explain them, to choose the value of one, to fill in several.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template

from distill.config import Attributes
from distill.texts.sources import Text
from sentibench.remote.records import Decoding, Message, Request

TEMPLATES = Path(__file__).parent / "templates" / "attributes"
FAMILY = "attributes"
LIST, EXPLAIN, CHOOSE, STRUCTURE = "list", "explain", "choose", "structure"
LINE = re.compile(r"[-*•\d.) ]*([^\W\d_][^:|]{1,39}?)\s*:\s*(\S.{0,59})")
NAME_WORDS, VALUE_WORDS = 3, 5
LINES = 40  # of one answer that are read
OPEN = {"", "-", "none", "n/a", "na", "unknown", "not applicable"}  # no values
STOP = ("\nText:",)


@dataclass(frozen=True, slots=True)
class Attribute:
    """Something that texts have in different ways.

    Attributes:
        name: One to three words in lower case.
        n_texts: In how many texts it was named.
        values: The most frequent first.
    """

    name: str
    n_texts: int
    values: tuple[str, ...]


@cache
def _template(name: str) -> Template:
    source = (TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8").rstrip("\n")
    return Environment(undefined=StrictUndefined).from_string(source)


def attribute_requests(
    texts: Sequence[Text], settings: Attributes, seed: int, opening: str = ""
) -> list[Request]:
    """Ask the teacher which attributes some texts have.

    Args:
        texts: All texts of the run.
        settings: How many of them are read, and how long an answer may be.
        seed: Of the draw and the decoding.
        opening: What prompts begin with, such as the domain.
    """
    order = sorted(texts, key=lambda text: text.id)
    random.Random(f"{seed}/attributes").shuffle(order)
    return [
        Request(
            id=f"{FAMILY}/{text.id}",
            messages=(Message("user", opening + _template(LIST).render(text=text.text)),),
            text=text.text,
            source=text.source,
            decoding=Decoding(settings.tokens, stop=STOP, seed=seed),
            meta={"family": FAMILY, "perspective": LIST},
        )
        for text in order[: settings.texts]
    ]


def read_attributes(answers: Iterable[str], settings: Attributes) -> list[Attribute]:
    """The attributes that enough answers name, the most frequent first.

    A name that holds all words of a more frequent one, as ``language tone`` holds ``tone``, counts
    as that. Lines that are no short name with a short value are left out. A value counts if two
    texts have it: what is another one in every text (``target``) cannot be chosen from a list.

    Args:
        answers: One for each text.
        settings: In how many texts an attribute has to be, how many of its values are kept.

    Returns:
        Those with at least two values.
    """
    named = [listed(answer) for answer in answers]
    counts = Counter(name for one in named for name in one)
    joined: dict[str, str] = {}
    known: dict[frozenset[str], str] = {}  # words of a name -> what it counts as
    for name, _ in counts.most_common():
        words = frozenset(name.split())
        parts = (frozenset(p) for n in range(1, len(words)) for p in combinations(words, n))
        joined[name] = min((known[part] for part in parts if part in known), default=name)
        known.setdefault(words, joined[name])
    n_texts, values = Counter[str](), defaultdict[str, Counter[str]](Counter)
    for one in named:
        n_texts.update(dict.fromkeys((joined[name] for name in one), 1))
        for name, value in dict.fromkeys((joined[name], value) for name, value in one.items()):
            values[name][value] += 1
    found = (
        Attribute(name, n, tuple(v for v, m in values[name].most_common(settings.values) if m > 1))
        for name, n in n_texts.most_common()
        if n >= settings.min_texts
    )
    return [one for one in found if len(one.values) > 1]


def listed(answer: str) -> dict[str, str]:
    """Name -> value of the attributes that one answer lists."""
    found: dict[str, str] = {}
    for line in answer.splitlines()[:LINES]:
        if match := LINE.fullmatch(line.strip()):
            name, value = _plain(match[1]), _plain(match[2])
            is_short = 0 < len(name.split()) <= NAME_WORDS and len(value.split()) <= VALUE_WORDS
            if is_short and value not in OPEN:
                found[name] = value
    return found


def _plain(text: str) -> str:
    """Lower case, without marks around the words."""
    return " ".join(word for w in text.casefold().split() if (word := w.strip("\"'`*.,;()[]")))


def compose(
    rng: random.Random, text: Text, attributes: Sequence[Attribute]
) -> tuple[str, Mapping[str, object]]:
    """A prompt about one text, made of frequent attributes rather than of rare ones.

    Returns:
        The prompt, and what is remembered of it.
    """
    kind = rng.choice((EXPLAIN, CHOOSE, STRUCTURE))
    n = {EXPLAIN: rng.randint(1, 2), CHOOSE: 1, STRUCTURE: rng.randint(2, 3)}[kind]
    drawn: dict[str, Attribute] = {}
    while len(drawn) < min(n, len(attributes)):
        (one,) = rng.choices(attributes, [a.n_texts for a in attributes])
        drawn[one.name] = one
    names, values = list(drawn), [*next(iter(drawn.values())).values]
    rng.shuffle(values)  # else the first would be the teacher's favourite
    prompt = _template(kind).render(
        text=text.text,
        name=names[0],
        names=" and the ".join(names),
        listed=", ".join(names),
        values=", ".join(values),
    )
    return prompt, {"family": FAMILY, "perspective": kind, "attributes": tuple(names)}

"""Rules that answer as a teacher would: labels, opinions of meals, explanations.

Word lists and a few rules decide; nothing is learnt. The words are in ``words.ini``. They were
written by the authors of the texts in this folder, who knew them.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence
from configparser import ConfigParser
from pathlib import Path
from typing import NamedTuple

MAX_INSTRUCTION_CHARS = 2000
NEGATORS = r"not|no|never|without|hardly|nothing|none|neither|nor|cannot|\w+n['’]t"
ASKS_FIRST = re.compile(
    r"(?:(?:hi|hello|hey)\b[^,]*, |sorry[^,]*, but |quick one: )?"
    r"(?:do|does|is|are|can|could|may|will|how|what|which|where|when|why|any)\b"
)
ASKS_POLITELY = re.compile(
    r"would like to know|i'd like to know|wondering|let me know|could you|can you|"
    r"is it possible|is there|any chance"
)

_words = ConfigParser(delimiters="=", interpolation=None)
_words.read(Path(__file__).with_name("words.ini"), encoding="utf-8")


def _listed(section: str) -> dict[str, list[str]]:
    return {
        key: value.replace("\n", " ").strip().split(", ") for key, value in _words[section].items()
    }


def _any_of(words: Sequence[str]) -> re.Pattern[str]:
    """A pattern that finds one of some words; a star stands for any ending."""
    longest_first = sorted(words, key=len, reverse=True)
    parts = "|".join(re.escape(word).replace(r"\*", r"\w*") for word in longest_first)
    return re.compile(rf"(?<!\w)(?:{parts})(?!\w)", re.IGNORECASE)


PLAIN = dict(_words["plain"])
MEANINGS = {word: meaning for meaning, words in _listed("labels").items() for word in words}
FEELINGS = {meaning: _any_of(words) for meaning, words in _listed("feelings").items()}
TARGETS, DISHES = (_any_of(words) for words in _listed("things").values())
DISH = re.compile(rf"(?:\w+['’]s? )?{DISHES.pattern}(?: {DISHES.pattern})*", re.IGNORECASE)
ASIDE = re.compile(
    r"\b(?:of|from|near|at|up|in|outside|by|on)(?: (?:the|a|my|every))?(?: back)? $", re.IGNORECASE
)
CLAUSE_END = re.compile(
    r"[.;!?:\n]+|, |\bbut\b|\b(?:and|while|though|except for)\b(?= (?:the|a|our|my)\b)"
)
NEGATED = re.compile(rf"\b(?:{NEGATORS})\b(?:\W+\w+){{0,2}}\W+$", re.IGNORECASE)
CONTRAST = re.compile(r"\b(?:but|yet|however|shame|except|although|though)\b", re.IGNORECASE)
LIST_OF_LABELS = re.compile(
    r"((?:[\w -]+, )*[\w -]+?),? (?:or|and) ([\w-]+(?: [\w-]+)?)", re.IGNORECASE
)


class Prompt(NamedTuple):
    """What was asked: labels and demonstrations of a few-shot prompt, or none of them."""

    instruction: str
    demonstrations: list[tuple[str, str]]
    text: str
    last: str  # the word before the last colon, such as Label


def read_prompt(content: str) -> Prompt:
    """Take a prompt apart; where it has no form that is known, all of it is the text."""
    content = content.strip()
    last = re.search(r"\n\s*([A-Z][\w ]{2,30}):$", content)
    if last is None:
        return Prompt("", [], content, "")
    opening = "Sentence" if last[1] == "Label" else "Text"
    before, *items = re.split(rf"(?:^|\n\n){opening}: ", content)
    pairs = [re.split(rf"\n\s*{last[1]}:", item, maxsplit=1) for item in items]
    pairs = [(pair[0].strip(), pair[-1].strip()) for pair in pairs if len(pair) == 2]
    if not pairs:
        return Prompt("", [], content, "")
    return Prompt(before.strip(), pairs[:-1], pairs[-1][0], last[1])


def sentences_of(text: str) -> list[str]:
    """Sentences without blanks around them; a line break ends one too."""
    return [part.strip() for part in re.findall(r"[^.?!\n]+[.?!]*", text) if part.strip(" \"'”")]


class Found(NamedTuple):
    """A word that carries feeling, and for what it speaks."""

    word: str
    weight: float  # above zero: for praise


def feelings_in(text: str) -> list[Found]:
    """The words for and against; "not" turns them round, and what follows "but" counts more."""
    found: list[Found] = []
    sentences = sentences_of(text)
    for sentence in sentences:
        turn = [match.start() for match in CONTRAST.finditer(sentence)]
        own: list[Found] = []
        for sign, meaning in ((1.0, "positive"), (-1.0, "negative")):
            for match in FEELINGS[meaning].finditer(sentence):
                before = sentence[max(0, match.start() - 40) : match.start()]
                weight = sign * (-0.7 if NEGATED.search(before) else 1)
                weight *= 0.5 if turn and match.start() < turn[-1] else 1
                own.append(Found(match[0], weight))
        if not own:
            own = [
                Found(m[0], -0.4)
                for m in re.finditer(rf"\b(?:{NEGATORS})\b", sentence, re.IGNORECASE)
            ]
        found += own
    is_curt = len(sentences) > 1 and len(sentences[-1].split()) <= 2
    if is_curt and sum(weight for _, weight in found if weight < 0) <= -1:
        ironic = {match[0] for match in FEELINGS["positive"].finditer(sentences[-1])}
        found = [Found(w, -abs(x)) if w in ironic else Found(w, x) for w, x in found]
    return found  # "Brilliant." after a complaint is irony


def asking(text: str) -> float:
    """How much of a text asks something, in [0, 1]."""
    sentences = sentences_of(text)
    n_asked = sum(
        sentence.rstrip(' "”').endswith("?")
        or bool(ASKS_POLITELY.search(sentence.lower()))
        or (not sentence.endswith((".", "!")) and bool(ASKS_FIRST.match(sentence.lower())))
        for sentence in sentences
    )
    return n_asked / max(len(sentences), 1)


def profile(text: str) -> dict[str, float]:
    """How strongly a text speaks for each meaning that a label can have."""
    found = feelings_in(text)
    plus = sum(weight for _, weight in found if weight > 0)
    minus = -sum(weight for _, weight in found if weight < 0)
    scores = {m: float(len(p.findall(text))) for m, p in FEELINGS.items()}
    scores |= {"positive": plus, "negative": minus, "neutral": 0.6}
    scores |= {"very positive": 2 * (plus - minus - 2), "very negative": 2 * (minus - plus - 2)}
    return scores | {"question": 4 * asking(text)}


def labels_in(instruction: str) -> list[str]:
    """The labels of a list "a, b or c", or of "a: explained, b (explained)"."""
    instruction = instruction[-MAX_INSTRUCTION_CHARS:]  # the pattern is slow on long words
    if told := re.search(r"Answer with (.+) or (.+)\.$", instruction, re.MULTILINE):
        return [*told[1].split(", "), told[2]]
    lists: list[list[str]] = [[]]
    for match in LIST_OF_LABELS.finditer(instruction):
        last = match[2] if match[2].lower() in MEANINGS else match[2].split()[0]
        lists.append([*map(_known_end, match[1].split(", ")), last])

    def n_known(names: list[str]) -> int:
        return sum(name.lower() in MEANINGS for name in names)

    best = max(lists, key=lambda names: (n_known(names), len(names)))
    explained = re.findall(r"[\"'“]?([\w-]+)[\"'”]?(?: \(|:|,? meaning | means )", instruction)
    if n_known(best[1:]) == len(best) - 1 > 1 and best[0].lower() not in MEANINGS:
        best = best[1:]  # the words before a comma that begins the list
    named = [name for name in dict.fromkeys(explained) if name.lower() in MEANINGS]
    return named if len(named) > n_known(best) else best


def _known_end(name: str) -> str:
    parts = name.split()
    ends = [" ".join(parts[place:]) for place in range(len(parts))]
    return next((end for end in ends if end.lower() in MEANINGS), ends[-1] if ends else "")


def choose(prompt: Prompt, allowed: Sequence[str] = ()) -> str:
    """Choose a label for the text of a prompt.

    Labels whose name is known are compared by what the text speaks for. Otherwise the answer is
    the label of the demonstration that is most alike.

    Args:
        prompt: Its instruction or its demonstrations name the labels.
        allowed: The labels, where the request lists them.
    """
    shown = [label for _, label in prompt.demonstrations]
    labels = list(allowed) or labels_in(prompt.instruction)
    if not allowed and not set(shown) <= set(labels):
        labels = list(dict.fromkeys(shown))
    labels = labels or ["positive", "negative", "neutral"]
    scores = profile(prompt.text)
    if all(label.lower() in MEANINGS for label in labels):
        of = {label: scores.get(MEANINGS[label.lower()], 0.0) for label in labels}
        return max(labels, key=lambda label: (of[label], MEANINGS[label.lower()] == "negative"))
    if not prompt.demonstrations:
        named = [label for label in labels if label.lower() in prompt.text.lower()]
        return (named or labels)[0]
    words = set(re.findall(r"\w+", prompt.text.lower()))

    def likeness(pair: tuple[str, str]) -> float:
        theirs, other = profile(pair[0]), set(re.findall(r"\w+", pair[0].lower()))
        apart = sum(abs(scores[meaning] - theirs[meaning]) for meaning in scores)
        return len(words & other) / len(words | other) - apart / 10

    return max(prompt.demonstrations, key=likeness)[1]


def extract(text: str) -> list[tuple[str, str]]:
    """The things of a meal that a text judges, each with the sentiment of its clause.

    A clause that names nothing belongs to what was named before it.
    """
    weights: dict[str, float] = {}
    current: list[str] = []
    for clause in CLAUSE_END.split(text):
        named = [
            match[0]
            for match in DISH.finditer(clause)
            if not ASIDE.search(clause[: match.start()]) and match[0] not in weights
        ]
        current = named or current
        weight = sum(feeling.weight for feeling in feelings_in(clause))
        weights |= {name: weights.get(name, 0.0) + weight for name in current}
    return [
        (name, "neutral" if abs(weight) < 0.3 else "positive" if weight > 0 else "negative")
        for name, weight in weights.items()
    ]


EMOTIONS = {
    "negative": ("annoyed", "disappointed", "fed up"),
    "positive": ("pleased", "delighted", "content"),
    "neutral": ("calm", "unmoved", "impartial"),
    "question": ("curious", "unsure", "in need of advice"),
}
EXPECTED = {
    "negative": "one expects that things work and that promises are kept",
    "positive": "few writers take the trouble to tell of what merely works",
    "neutral": "facts like these are told without taking sides",
    "question": "somebody who asks has not made up their mind yet",
}
VERDICTS = {
    "negative": ("The writer finds fault with the {}.", "What is said of the {} is blame."),
    "positive": ("The writer speaks well of the {}.", "What is said of the {} is praise."),
    "neutral": ("The writer only mentions the {}.", "Nothing good or bad is said of the {}."),
    "question": ("The writer wants to know about the {}.", "What is asked is about the {}."),
}
PERSPECTIVES = {
    "emotion": r"\bfeels\b|feeling and its strength|how strongly",
    "background": r"circumstances|situation behind|has to know|without knowing",
    "target": r"passes judgement|what is judged",
    "expression": "",  # every other instruction
}
RESTATES = re.compile(r"\bre-?(?:state|write|phrase)", re.IGNORECASE)


def explain(prompt: Prompt) -> str:
    """Explain or restate a text in two or three sentences, from the perspective asked for.

    The same prompt gets the same answer.
    """
    rng = random.Random(f"{prompt.instruction}\n{prompt.text}")
    scores, found = profile(prompt.text), feelings_in(prompt.text)
    tone = max(EMOTIONS, key=lambda meaning: scores[meaning])
    degrees = (("mildly", 1.5), ("clearly", 4.0), ("strongly", math.inf))
    strength = next(degree for degree, below in degrees if scores[tone] < below)
    if tone in ("question", "neutral"):
        strength = "simply"
    feeling = f"{strength} {rng.choice(EMOTIONS[tone])}"
    thing = next((match[0].lower() for match in TARGETS.finditer(prompt.text)), "matter")
    if RESTATES.search(prompt.instruction):
        named = rng.choice((f"About the {thing} I am {feeling}.", f"I am {feeling}: the {thing}!"))
        parts = [named, restated(prompt.text)]
        return " ".join(rng.sample(parts, len(parts)))
    sign = {"negative": -1, "positive": 1}.get(tone, 0)
    words = [f'"{one.word}"' for one in found if one.weight * sign > 0]
    longest = max(re.split(r"[.,;:!?\n]+", prompt.text), key=len)
    telling = " ".join(longest.split()[:8])
    sentences = {
        "expression": f"The feeling lies in {' and '.join(dict.fromkeys(words[:3]))}."
        if words
        else f'No word names a feeling, the facts speak: "{telling}".',
        "target": rng.choice(VERDICTS[tone]).format(thing),
        "emotion": f'The writer is {feeling}, as "{telling}" shows.',
        "background": f"As to the {thing}, {EXPECTED[tone]}.",
    }
    first = next(view for view, mark in PERSPECTIVES.items() if re.search(mark, prompt.instruction))
    second = rng.choice([view for view in sentences if view != first])
    overall = "an open question" if tone == "question" else tone
    last = rng.choice((f"Overall the text is {overall}.", f"So the whole is {overall}."))
    return " ".join([sentences[first], sentences[second], last])


def restated(text: str) -> str:
    """A text in plain writing: no emoji, no shouting, no contractions, plain words."""
    text = " ".join(re.sub(r"[^\w\s.,:;?'’\"%()-]", " ", text.replace("!", ".")).split())
    text = re.sub(r"\b[A-Z]{4,}\b", lambda match: match[0].lower(), text)
    text = re.sub(r" ?([.?])[ .?]*(?=\s|$)", r"\1", text)
    text = text if text.endswith((".", "?", '"', ")")) else f"{text}."
    return re.sub(r"[\w'’]+", lambda m: PLAIN.get(m[0].lower().replace("’", "'"), m[0]), text)

"""What can be wrong with one answer: functions of texts alone, all linear in their length."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from unicodedata import category

import numpy as np
import yaml

from distill.filters.reading import AROUND_LABEL, label_alone
from distill.texts.ngrams import fingerprints, text_fingerprints
from sentibench.remote.records import Request

COPY_WORDS = 5
REPEAT_WORDS = 4

REFUSALS = yaml.safe_load((Path(__file__).parent / "refusals.yaml").read_text(encoding="utf-8"))
APOLOGY = re.compile(rf"(?:{'|'.join(REFUSALS['apologies'])})\W+(?:but )?")
AS_AN_AI = re.compile(
    r"(?:as|i'm|i'm just) an? (?:ai|artificial intelligence|(?:large )?language model)"
    r"(?: language model| model| assistant)?(?=[,.]| i\b| and\b|$)"
)
UNABLE = re.compile(
    rf"i(?:{'|'.join(REFUSALS['unable'])}) (?:{'|'.join(REFUSALS['tasks'])})"
    r"|i (?:must )?(?:respectfully )?decline\b"
)
UNABLE_AT_ALL = re.compile(r"i (?:cannot|will not)\W*$")
REFUSAL_CHARACTERS = 300  # how far the beginning of an answer is looked at

LOOP_CHARACTERS, LOOP_COPIES = 12, 19  # bounded, so that no start costs more
LOOP = re.compile(rf"(.{{1,{LOOP_CHARACTERS}}}?)\1{{{LOOP_COPIES},}}", re.DOTALL)
TURN = re.compile(r"<\|\w{1,40}\|>|<(?:start|end)_of_turn>")  # a chat template's own marks
HEAD = r"[^\W\d_][\w '-]{0,29}"
HEAD_OF_LINE = re.compile(rf"[ \t]*({HEAD}?)(?: ?#?\d{{1,4}})?:")
LINE_BEFORE_TEXT = re.compile(rf"({HEAD}?)(?: ?#?\d{{1,4}})?:$")
SENTENCE_END = re.compile(r"[.!?…。！？؟۔][\"'”’»)\]*]*(?=\s|$)")


def is_blank(text: str) -> bool:
    """Whether a text has no letter, digit, emoji or other symbol."""
    return not any(category(character)[0] in "LNS" for character in text)


def is_refusal(text: str) -> bool:
    """Whether a text begins as assistants do that will not or cannot answer (English)."""
    line = " ".join(text[:REFUSAL_CHARACTERS].lower().split())
    for long, short in REFUSALS["contractions"].items():
        line = line.replace(long, short)
    apology = APOLOGY.match(line)
    rest = line[apology.end() :] if apology else line
    if AS_AN_AI.match(rest) or UNABLE.match(rest):
        return True
    return bool(apology and UNABLE_AT_ALL.match(rest))


def last_sentence_end(text: str) -> int:
    """Return the place behind the last complete sentence; 0 if there is none.

    A full stop of an abbreviation counts as an end.
    """
    return max((match.end() for match in SENTENCE_END.finditer(text)), default=0)


def copied_share(answer: str, text: str) -> float:
    """How much of an answer is copied from a text.

    Returns:
        Fraction of the words of the answer that lie in runs of five words of the text. An answer
        of fewer words is a copy of the same text only (1, else 0).
    """
    runs = text_fingerprints(answer, COPY_WORDS).tolist()
    known = _runs_of(text)
    if known.isdisjoint(runs):
        return 0.0
    covered_W = np.zeros(len(text_fingerprints(answer, 1)), bool)
    copied_G = np.array([run in known for run in runs])
    for start in range(min(COPY_WORDS, len(covered_W))):
        covered_W[start : start + len(copied_G)] |= copied_G
    return float(covered_W.mean())


@lru_cache(maxsize=256)
def _runs_of(text: str) -> frozenset[int]:
    """Hashes of a text's runs of words; what is around the text of a prompt comes again."""
    return frozenset(text_fingerprints(text, COPY_WORDS).tolist())


def is_bare_copy(answer: str, text: str) -> bool:
    """Whether an answer is the text itself, of any length, perhaps behind a word and a colon."""
    answer = answer.lstrip(AROUND_LABEL)
    head = HEAD_OF_LINE.match(answer)
    parts = (answer, answer[head.end() :] if head else answer, text)
    bare = [" ".join(part.casefold().strip(AROUND_LABEL).split()) for part in parts]
    return bool(bare[2]) and bare[2] in bare[:2]


def repeated_share(text: str, min_words: int) -> float:
    """How much of a text says what the text has said before.

    Args:
        text: Any text.
        min_words: Fewer words (by whitespace) are only searched for short patterns.

    Returns:
        The larger of two fractions: runs of four words that are repeats; characters in a pattern
        of at most twelve characters that follows itself at least 19 times.
    """
    words = text.split()
    line = " ".join(words)
    found = LOOP.finditer(line) if _may_loop(line) else ()
    loops = sum(match.end() - match.start() for match in found)
    share = loops / max(len(line), 1)
    if len(words) >= min_words:
        runs = fingerprints(words, REPEAT_WORDS)
        share = max(share, 1 - len(set(runs.tolist())) / len(runs))
    return share


def _may_loop(line: str) -> bool:
    """Whether ``LOOP`` can be in a line: a tenth of the cost of its search.

    A pattern of p characters that follows itself 19 times is 19 p characters in a row each of which
    is the same as the one p places on.
    """
    codes = np.frombuffer(line.encode("utf-32-le", "surrogatepass"), np.uint32)
    for n in range(1, min(LOOP_CHARACTERS, len(codes) // (LOOP_COPIES + 1)) + 1):
        is_same = codes[n:] == codes[:-n]
        if np.count_nonzero(is_same) < LOOP_COPIES * n:
            continue
        ends = np.concatenate(([-1], np.flatnonzero(~is_same), [len(is_same)]))
        if np.diff(ends).max() > LOOP_COPIES * n:
            return True
    return False


def has_repeated_line(text: str, copies: int) -> bool:
    """Whether one line makes up at least half of the lines, and is there so many times."""
    lines = Counter(line for line in map(str.strip, text.splitlines()) if line)
    most = max(lines.values(), default=0)
    return most >= copies and 2 * most >= lines.total()


def run_on_start(answer: str, request: Request, markers: Sequence[str]) -> int | None:
    """Find where an answer goes on into an invented review, demonstration or turn.

    A label is over at the end of its line. Else a line begins with one of the markers or with a
    marker of the prompt, or a mark of a chat template appears. The first line of an answer may
    begin with a marker, and the last one of a label answer may be ``Label: x``.

    Args:
        answer: Without blanks around it.
        request: What was asked.
        markers: Words that open another review before a colon, in any case.

    Returns:
        Place of the first character that does not belong to the answer; None if all do.
    """
    starts: list[int] = []
    first_line = answer.split("\n", 1)[0]
    known = {*markers, *prompt_markers(request)}
    if request.labels:
        known = {marker for marker in known if marker.casefold() != "label"}
        if len(first_line) < len(answer) and label_alone(first_line, request.labels):
            starts.append(len(first_line))
    opens_another = _opens_another(frozenset(known))
    starts += [found.start() for mark in (TURN, opens_another) if (found := mark.search(answer))]
    return min(starts, default=None)


def prompt_markers(request: Request) -> tuple[str, ...]:
    """Return the words that open a review in a prompt: ``Premise`` where it has ``Premise: ...``.

    They stand before the user text, or at the beginning of at least two paragraphs.
    """
    openings: Counter[str] = Counter()
    found: list[str] = []
    for message in request.messages:
        before, text, after = message.content.partition(request.text or "\0")
        near = LINE_BEFORE_TEXT.search(before.rstrip()[-40:]) if text else None
        if near:
            found.append(near[1])
        openings.update(_openings(before + after))
    found += [head for head, n in openings.items() if n > 1]
    return tuple(dict.fromkeys(found))


@lru_cache(maxsize=256)
def _openings(prompt: str) -> tuple[str, ...]:
    """The words before a colon with which paragraphs begin; the same for many texts."""
    lines = ["", *prompt.splitlines()]
    heads = (HEAD_OF_LINE.match(line) for above, line in pairwise(lines) if not above.strip())
    return tuple(head[1] for head in heads if head)


@lru_cache(maxsize=256)
def _opens_another(markers: frozenset[str]) -> re.Pattern[str]:
    """A later line such as ``Review: ...``, ``### Text 2: ...`` or ``**Tweet:** ...``."""
    words = "|".join(re.escape(marker) for marker in sorted(markers)) or r"(?!)"
    return re.compile(
        rf"\n[ \t]*(?:#{{1,6}} ?|\*\*)?(?:{words})(?: ?#?\d{{1,4}})?(?:\*\*)?[ \t]*:", re.IGNORECASE
    )

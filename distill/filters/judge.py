"""Which answers a student learns from: each is kept, mended or dropped for one counted reason."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, cast

from distill.config import OF_KNOWDIST, FilterConfig
from distill.files import Lines, OnDemand
from distill.filters import checks
from distill.filters.funnel import (
    Drop,
    DroppedAnswer,
    Funnel,
    Group,
    Tally,
    excerpt,
    group_of,
)
from distill.filters.reading import (
    Reading,
    in_the_texts_spelling,
    is_json,
    is_list,
    label_alone,
    label_of,
    list_like,
    read_answer,
    read_tuples,
    tuples_of,
    written,
)
from distill.reasons import Reason
from distill.texts.decontamination import Contamination
from distill.texts.near_duplicates import (
    DIGEST_BYTES,
    NGRAM_WORDS,
    bands_of,
    plain_digest,
    same_rows,
    similar_rows,
)
from distill.texts.ngrams import text_fingerprints
from distill.workers import shared
from sentibench.remote.records import Answer, Failure, Finish, Request

RULES_VERSION = 3
OTHER = "other"  # family of ICLDist's questions that are not about sentiment
"""Of the checks; raised when one judges otherwise, so that samples filtered before are stale."""
Pair = tuple[Request, Answer | Failure]


@dataclass(frozen=True, slots=True)
class Kept:
    """One answer to learn from.

    Attributes:
        request: What was asked.
        response: What is learnt: without blanks around it, cut or a label where ``notes`` say so.
        notes: What was changed in the teacher's text.
        log_likelihoods: Of the choices, where the teacher scored them.
    """

    request: Request
    response: str
    notes: tuple[str, ...] = ()
    log_likelihoods: tuple[float, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if not self.response or self.response != self.response.strip():
            raise ValueError(f"request {self.request.id}: got the response {self.response!r}")


def filter_answers(
    pairs: Iterable[Pair],
    config: FilterConfig,
    test_grams: Contamination | None,
    label_words: Sequence[str] = (),
) -> tuple[list[Kept], Funnel]:
    """Keep the answers that are fit to learn from; see :func:`judge_answers`.

    Args:
        pairs: Every request once, with its answer or failure.
        config: What makes an answer unfit.
        test_grams: The test texts; None leaves contamination unchecked, as the funnel then says.
        label_words: Words of classes, which are no answer where KnowDist asks for prose.
    """
    kept, funnel = judge_answers(list(pairs), config, test_grams, label_words)
    return list(kept), funnel


def judge_answers(
    pairs: Sequence[Pair],
    config: FilterConfig,
    test_grams: Contamination | None,
    label_words: Sequence[str] = (),
) -> tuple[Sequence[Kept], Funnel]:
    """Keep the answers that are fit to learn from, of more than fit into memory.

    The result does not depend on the order of the pairs: of near-duplicates the one with the
    smallest request id stays, and what is kept comes in the order of ids.

    Args:
        pairs: As for :func:`filter_answers`; read when they are needed, twice if they are kept.
        config: What makes an answer unfit.
        test_grams: The test texts; None leaves contamination unchecked, as the funnel then says.
        label_words: Words of classes, which are no answer where KnowDist asks for prose.

    Returns:
        The kept answers by ascending request id, and the counts of all others.

    Raises:
        ValueError: If a request id occurs twice.
    """
    tally, fit = Tally(), _Fit(pairs)
    ids: set[str] = set()
    later: list[int] = []  # the end of their reasoning is not there
    begin_inside = False

    def judge(places: Iterable[int], inside: bool | None) -> list[_Outcome]:
        given = config, test_grams, label_words
        return [_outcome(place, *pairs[place], inside, *given) for place in places]

    def note(outcome: _Outcome) -> None:
        if outcome.draft is not None:
            fit.add(outcome)
        elif outcome.failure is not None:
            tally.failed(outcome.group, outcome.id, outcome.failure)
        elif outcome.reason is not None and outcome.example is not None:
            tally.dropped(outcome.group, outcome.reason, outcome.example, outcome.tests)

    for outcome in shared(lambda places: judge(places, None), len(pairs)):
        if outcome.id in ids:
            raise ValueError(f"request {outcome.id}: given twice; rows are joined by id")
        ids.add(outcome.id)
        tally.asked(outcome.group)
        begin_inside |= outcome.began_inside
        if outcome.is_open:
            later.append(outcome.place)
        else:
            note(outcome)
    inside = begin_inside
    for outcome in shared(lambda rows: judge((later[n] for n in rows), inside), len(later)):
        note(outcome)
    fit.sort()
    is_checked = "near-duplicate" not in config.skip
    twins = fit.twins(config.near_duplicate_similarity) if is_checked else {}
    for row, twin in twins.items():
        example = DroppedAnswer(fit.ids[row], fit.ids[twin], excerpt(fit.text(row)))
        tally.dropped(fit.groups[row], "near-duplicate", example)
    fit.leave_out(twins)
    for row in range(len(fit)):
        tally.kept(fit.groups[row], fit.notes(row))
    off: set[Reason] = {*config.skip, *(("contaminated",) if test_grams is None else ())}
    return fit, tally.funnel(off)


class _Outcome(NamedTuple):
    """What became of one answer; small, as it goes from one process to another."""

    place: int
    id: str
    group: Group
    began_inside: bool = False
    is_open: bool = False
    failure: Failure | None = None
    reason: Reason | None = None
    example: DroppedAnswer | None = None
    tests: tuple[str, ...] = ()
    draft: bytes | None = None
    bands: bytes = b""
    digest: bytes = b""


def _outcome(
    place: int,
    request: Request,
    answer: Answer | Failure,
    begin_inside: bool | None,
    config: FilterConfig,
    test_grams: Contamination | None,
    label_words: Sequence[str],
) -> _Outcome:
    """Judge one answer by itself.

    Args:
        place: Among all.
        request: What was asked.
        answer: What came.
        begin_inside: Whether prompts end inside the reasoning, so that an answer that reached the
            token limit may never have left it; None as long as nobody knows.
        config: As for :func:`judge_answers`.
        test_grams: As for :func:`judge_answers`.
        label_words: As for :func:`judge_answers`.
    """
    known = place, request.id, group_of(request)
    if isinstance(answer, Failure):
        return _Outcome(*known, failure=answer)
    reading = read_answer(request, answer)
    is_open = reading.finish == "length" and not reading.reasoning
    if is_open and begin_inside is None:
        return _Outcome(*known, reading.began_inside, is_open=True)
    if is_open and begin_inside:
        reading = Reading("", reading.text, "length")
    draft = _judge(request, answer, reading, config, test_grams, label_words)
    if isinstance(draft, Drop):
        tests = draft.details if draft.reason == "contaminated" else ()
        inside = reading.began_inside
        return _Outcome(*known, inside, False, None, draft.reason, draft.example, tests)
    line = json.dumps([draft.text, draft.notes]).encode() + b"\n"
    bands, digest = b"", b""
    if "near-duplicate" in config.skip:
        pass
    elif not draft.is_prose or len(text_fingerprints(draft.text, 1)) < NGRAM_WORDS:
        # Labels and very short answers are alike for good reasons, so they are duplicates only
        # where prompt and answer are the same.
        prompt = [message.content for message in request.messages]
        digest = plain_digest("\n".join([*prompt, draft.text]))
    else:
        bands = bands_of(draft.text)
    return _Outcome(*known, reading.began_inside, draft=line, bands=bands, digest=digest)


class _Fit(OnDemand[Kept]):
    """Answers that are fit to learn from: their texts on the disk, the rest in memory.

    Args:
        pairs: Of which they are some.
    """

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self._pairs, self._drafts = pairs, Lines[list[Any]](None, json.loads)
        self.ids: list[str] = []
        self.groups: list[Group] = []
        self._places: list[int] = []
        self._numbers: list[int] = []  # of the drafts
        self._marks: list[bytes] = []  # what near-duplicates are found by, then exact ones

    def add(self, outcome: _Outcome) -> None:
        """Add one more, in any order."""
        self._numbers.append(len(self._drafts))
        self._drafts.append(outcome.draft or b"")
        self.ids.append(outcome.id)
        self.groups.append(outcome.group)
        self._places.append(outcome.place)
        self._marks.append(outcome.bands or outcome.digest)

    def sort(self) -> None:
        """Put them in the order of their ids."""
        self._take(sorted(range(len(self.ids)), key=self.ids.__getitem__))

    def leave_out(self, rows: Container[int]) -> None:
        """Keep all but some."""
        self._take([row for row in range(len(self.ids)) if row not in rows])

    def _take(self, rows: Sequence[int]) -> None:
        lists = self.ids, self.groups, self._places, self._numbers, self._marks
        self.ids, self.groups, self._places, self._numbers, self._marks = (
            [one[row] for row in rows] for one in cast("tuple[list[Any], ...]", lists)
        )

    def twins(self, similarity: float) -> dict[int, int]:
        """Row of an answer that teaches what another one teaches -> row of the one that stays."""
        same = [row for row, mark in enumerate(self._marks) if len(mark) == DIGEST_BYTES]
        alike = [row for row, mark in enumerate(self._marks) if len(mark) > DIGEST_BYTES]
        found = same_rows(self._marks[row] for row in same)
        bands = (self._marks[row] for row in alike)
        close = similar_rows(bands, lambda row: self.text(alike[row]), similarity)
        return {same[row]: same[twin] for row, twin in found.items()} | {
            alike[row]: alike[twin] for row, twin in close.items()
        }

    def text(self, row: int) -> str:
        """What is learnt."""
        return self._drafts[self._numbers[row]][0]

    def notes(self, row: int) -> tuple[str, ...]:
        """What was changed in the teacher's text."""
        return tuple(self._drafts[self._numbers[row]][1])

    def one(self, number: int) -> Kept:
        """Read from where it lies."""
        request, answer = self._pairs[self._places[number]]
        scores = answer.log_likelihoods if isinstance(answer, Answer) else ()
        return Kept(request, self.text(number), self.notes(number), scores)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class _Draft:
    """An answer on its way through the checks."""

    request: Request
    text: str
    finish: Finish
    labels: tuple[str, ...]
    label_words: Sequence[str] = ()
    gold: str = ""
    has_reasoning: bool = False
    notes: tuple[str, ...] = ()

    @property
    def is_prose(self) -> bool:
        """Whether what was asked for is neither a label nor a list."""
        return not (self.labels or self.request.elements or self.lists)

    @property
    def lists(self) -> bool:
        """Whether another task asks for a list."""
        return self.request.meta.get("family") == OTHER and is_list(self.gold)

    def mended(self, text: str, note: str) -> _Draft:
        """Return the answer with another text, which is complete."""
        return replace(self, text=text.strip(), finish="stop", notes=(*self.notes, note))


def _judge(
    request: Request,
    answer: Answer,
    reading: Reading,
    config: FilterConfig,
    test_grams: Contamination | None,
    label_words: Sequence[str],
) -> _Draft | Drop:
    """Check one answer by itself."""
    gold = _gold(request)
    words, has_reasoning = tuple(filter(None, (*label_words, gold))), bool(reading.reasoning)
    draft = _Draft(
        request, reading.text, reading.finish, request.labels, words, gold, has_reasoning
    )
    for reason, check in _CHECKS.items():
        if reason not in config.skip:
            mended = check(draft, config)
            if mended is None:
                details = (budget(request),) if reason in OUT_OF_TOKENS else ()
                return Drop(request, answer.text or answer.reasoning, reason, details)
            draft = mended
    if test_grams is not None and "contaminated" not in config.skip:
        tests = _overlaps(draft, test_grams)
        if tests:
            return Drop(request, answer.text, "contaminated", tests)
    return draft


def budget(request: Request) -> str:
    """The setting that limits an answer, and its value."""
    if request.meta.get("family") in OF_KNOWDIST:
        setting = "knowdist.response_tokens"
    else:
        setting = "icldist.label_tokens" if request.labels else "icldist.response_tokens"
    return f"{setting} is {request.decoding.max_new_tokens}"


def _gold(request: Request) -> str:
    gold = request.meta.get("gold")
    return gold if isinstance(gold, str) else ""


def _only_reasoning(draft: _Draft, config: FilterConfig) -> _Draft | None:
    # some servers count the tokens of reasoning that they do not show
    thought = draft.has_reasoning or draft.finish == "length"
    return None if thought and not draft.text else draft


def _empty(draft: _Draft, config: FilterConfig) -> _Draft | None:
    # a label may be a mark, such as "+"; a list may be empty
    return None if _is_nothing(draft) else draft


def _is_nothing(draft: _Draft, end: int | None = None) -> bool:
    text = draft.text[:end]
    return checks.is_blank(text) if draft.is_prose else not text.strip()


def _run_on(draft: _Draft, config: FilterConfig) -> _Draft | None:
    start = checks.run_on_start(draft.text, draft.request, config.run_on_markers)
    if start is None:
        return draft
    if config.run_on == "drop" or _is_nothing(draft, start):
        return None
    return draft.mended(draft.text[:start], "run-on cut")


def _cut_off(draft: _Draft, config: FilterConfig) -> _Draft | None:
    if draft.finish != "length" or label_alone(draft.text, draft.labels):
        return draft
    complete = draft.text[: checks.last_sentence_end(draft.text)]
    if config.cut_off == "drop" or not draft.is_prose or checks.is_blank(complete):
        return None
    return draft.mended(complete, "cut to the last sentence")


def _outside_the_taxonomy(draft: _Draft, config: FilterConfig) -> _Draft | None:
    if draft.request.elements:
        usual, note = tuples_of(draft.text, draft.request), "tuples put in their usual form"
    elif draft.labels:
        usual, note = label_of(draft.text, draft.labels), "label put in its usual form"
    elif draft.lists:
        usual, note = list_like(draft.text, draft.gold), "list put in its usual form"
    else:
        return draft
    if not usual or usual == draft.text:
        return draft if usual else None
    return draft.mended(usual, note)


def _invented_span(draft: _Draft, config: FilterConfig) -> _Draft | None:
    tuples = read_tuples(draft.text, draft.request) if draft.request.elements else None
    if tuples is None:
        return draft
    spelled = in_the_texts_spelling(tuples, draft.request)
    if spelled is None or spelled == tuples:
        return None if spelled is None else draft
    return draft.mended(written(spelled, draft.request), "spans spelled as in the text")


OUT_OF_TOKENS: tuple[Reason, ...] = ("only reasoning", "cut off")
"""Reasons whose details say the limit of tokens."""

Check = Callable[[_Draft, FilterConfig], _Draft | None]
"""Gives the answer, perhaps mended; None if it is dropped."""


def _free(is_unfit: Callable[[_Draft, FilterConfig], bool]) -> Check:
    """The check of prose by a question; labels and lists pass."""

    def check(draft: _Draft, config: FilterConfig) -> _Draft | None:
        return None if draft.is_prose and is_unfit(draft, config) else draft

    return check


def _is_refusal(draft: _Draft, config: FilterConfig) -> bool:
    if len(draft.text.split()) > config.refusal_words or not checks.is_refusal(draft.text):
        return False
    return not checks.is_refusal(draft.request.text)  # a restated refusal is none


def _is_label(draft: _Draft, config: FilterConfig) -> bool:
    return _asks_for_prose(draft) and bool(label_alone(draft.text, draft.label_words))


def _is_json(draft: _Draft, config: FilterConfig) -> bool:
    return _asks_for_prose(draft) and is_json(draft.text)


def _asks_for_prose(draft: _Draft) -> bool:
    """Whether it is KnowDist's; a free answer of another task may well be one word, or JSON."""
    return draft.request.meta.get("family") in OF_KNOWDIST


def _is_copy(draft: _Draft, config: FilterConfig) -> bool:
    text = draft.request.text
    if checks.is_bare_copy(draft.text, text):
        return True
    around = draft.request.prompt.replace(text, "\n") if text else draft.request.prompt
    return (
        checks.copied_share(draft.text, text) >= config.copied_share
        or checks.copied_share(draft.text, around) >= config.example_share
    )


def _is_repetition(draft: _Draft, config: FilterConfig) -> bool:
    share = checks.repeated_share(draft.text, config.repetition_words)
    repeated_line = checks.has_repeated_line(draft.text, config.repeated_lines)
    return share >= config.repetition_share or repeated_line


def _repetition(draft: _Draft, config: FilterConfig) -> _Draft | None:
    is_checked = draft.is_prose or draft.lists
    return None if is_checked and _is_repetition(draft, config) else draft


_CHECKS: Mapping[Reason, Check] = {
    "only reasoning": _only_reasoning,
    "empty": _empty,
    "run-on": _run_on,
    "refusal": _free(_is_refusal),
    "cut off": _cut_off,
    "only a label": _free(_is_label),
    "JSON": _free(_is_json),
    "copied input": _free(_is_copy),
    "repetition": _repetition,
    "outside the taxonomy": _outside_the_taxonomy,
    "span not in the text": _invented_span,
    "too short": _free(lambda draft, config: len(draft.text.split()) < config.min_words),
    "too long": _free(lambda draft, config: len(draft.text.split()) > config.max_words),
}


def _overlaps(draft: _Draft, test_grams: Contamination) -> tuple[str, ...]:
    """The tests that the user text, the prompt with its demonstrations, or the answer overlap."""
    texts = [draft.request.text, *(message.content for message in draft.request.messages)]
    if not draft.labels:  # "positive" may well be a whole test text
        texts.append(draft.text)
    found = {name for text in texts for name in test_grams.overlaps(text)}
    return tuple(name for name in test_grams.names if name in found)

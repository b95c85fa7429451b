"""Which answers a student learns from: each is kept, mended or dropped for one counted reason."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import Any, NamedTuple, cast

import numpy as np

from distill.config import FilterConfig
from distill.files import Lines, OnDemand
from distill.filters.bias import Pair
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
    read_answer,
)
from distill.filters.rules import judge_one
from distill.reasons import Reason
from distill.texts.decontamination import Contamination
from distill.texts.near_duplicates import (
    BANDS,
    NGRAM_WORDS,
    bands_of,
    plain_digest,
    same_rows,
    similar_rows,
)
from distill.texts.ngrams import Hashes, text_fingerprints
from distill.workers import Share, by_processes
from sentibench.remote.records import Answer, Failure, Request


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
    share: Share = by_processes,
) -> tuple[Sequence[Kept], Funnel]:
    """Keep the answers that are fit to learn from, of more than fit into memory.

    The result does not depend on the order of the pairs: of near-duplicates the one with the
    smallest request id stays, and what is kept comes in the order of ids.

    Args:
        pairs: As for :func:`filter_answers`; read when they are needed, twice if they are kept.
        config: What makes an answer unfit.
        test_grams: The test texts; None leaves contamination unchecked, as the funnel then says.
        label_words: Words of classes, which are no answer where KnowDist asks for prose.
        share: Who judges the answers.

    Returns:
        The kept answers by ascending request id, and the counts of all others.

    Raises:
        ValueError: If a request id occurs twice.
    """
    tally, fit = Tally(), _Fit(pairs)
    ids: set[str] = set()
    later: list[int] = []  # the end of their reasoning is not there
    begin_inside = False

    def judged(places: Sequence[int], inside: bool | None) -> Iterator[_Outcome]:
        def read(rows: range) -> list[tuple[int, Pair]]:
            return [(places[row], pairs[places[row]]) for row in rows]

        def work(given: Sequence[tuple[int, Pair]]) -> list[_Outcome]:
            known = inside, config, test_grams, label_words
            return [_outcome(place, *pair, *known) for place, pair in given]

        return share(read, work, len(places))

    def note(outcome: _Outcome) -> None:
        if outcome.draft is not None:
            fit.add(outcome)
        elif outcome.failure is not None:
            tally.failed(outcome.group, outcome.id, outcome.failure)
        elif outcome.reason is not None and outcome.example is not None:
            tally.dropped(outcome.group, outcome.reason, outcome.example, outcome.tests)

    for outcome in judged(range(len(pairs)), None):
        if outcome.id in ids:
            raise ValueError(f"request {outcome.id}: given twice; rows are joined by id")
        ids.add(outcome.id)
        tally.asked(outcome.group)
        begin_inside |= outcome.began_inside
        if outcome.is_open:
            later.append(outcome.place)
        else:
            note(outcome)
    for outcome in judged(later, begin_inside):
        note(outcome)
    fit.sort()
    is_checked = "near-duplicate" not in config.skip
    repeated = fit.duplicates(config.near_duplicate_similarity, share) if is_checked else {}
    for row, original in repeated.items():
        example = DroppedAnswer(fit.ids[row], fit.ids[original], excerpt(fit.text(row)))
        tally.dropped(fit.groups[row], "near-duplicate", example)
    fit.leave_out(repeated)
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
    draft = judge_one(request, answer, reading, config, test_grams, label_words)
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
    """Answers that are fit to learn from: their texts and bands on the disk, the rest in memory.

    Args:
        pairs: Of which they are some.
    """

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self._pairs, self._drafts = pairs, Lines[list[Any]](None, json.loads)
        self.ids: list[str] = []
        self.groups: list[Group] = []
        self._places: list[int] = []
        self._numbers: list[int] = []  # of the drafts
        self._bands = TemporaryFile()  # noqa: SIM115
        self._marks: list[bytes | int] = []  # what exact duplicates share, or where the bands are

    def add(self, outcome: _Outcome) -> None:
        """Add one more, in any order."""
        self._numbers.append(len(self._drafts))
        self._drafts.append(outcome.draft or b"")
        self.ids.append(outcome.id)
        self.groups.append(outcome.group)
        self._places.append(outcome.place)
        at = self._bands.tell() // (8 * BANDS)
        self._bands.write(outcome.bands)
        self._marks.append(at if outcome.bands else outcome.digest)

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

    def duplicates(self, similarity: float, share: Share) -> dict[int, int]:
        """Row of an answer that teaches what another one teaches -> row of the one that stays."""
        marks = cast("list[Any]", self._marks)
        same = [row for row, mark in enumerate(marks) if isinstance(mark, bytes)]
        alike = [row for row, mark in enumerate(marks) if isinstance(mark, int)]
        equal = same_rows(marks[row] for row in same)
        found = {same[row]: same[original] for row, original in equal.items()}
        if alike:
            self._bands.flush()
            shape = self._bands.tell() // (8 * BANDS), BANDS
            bands_MB: Hashes = np.memmap(self._bands, np.uint64, "r", shape=shape)
            places_N = np.array([marks[row] for row in alike])
            close = similar_rows(
                bands_MB, places_N, lambda row: self.text(alike[row]), similarity, share
            )
            found |= {alike[row]: alike[original] for row, original in close.items()}
        return found

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

"""What became of every request: counts per reason, family and source, with examples."""

from __future__ import annotations

from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, NonNegativeInt

from distill.reasons import REASONS, Reason
from sentibench.remote.records import Failure, Request

EXAMPLES = 3  # per reason
EXCERPT_CHARACTERS = 80


@dataclass(frozen=True, slots=True, order=True)
class DroppedAnswer:
    """One dropped answer.

    Attributes:
        id: Of the request.
        detail: What the reason alone does not say: the tests, the id of the equal answer, the
            setting; else empty.
        excerpt: The beginning of the answer, on one line.
    """

    id: str
    detail: str
    excerpt: str


class Funnel(BaseModel):
    """The counts of one stage; what ``funnel.json`` holds, whose texts may be hostile.

    Attributes:
        table: One row per family and source, and a last one of the totals. The columns are always
            the same: family, source, asked, failed, answered, every reason in the order of
            checking, kept.
        failures: Requests without an answer, per reason of the failure.
        changed: Kept answers that were cut or put in order, per kind of change.
        corrected: Labels that became others when the teacher's bias was taken out, and scored
            answers, per set of label words.
        not_corrected: Scored answers whose bias was left, per reason.
        overlaps: Answers dropped as contaminated, per test; one may count for several.
        not_checked: Reasons that were switched off.
        examples: Per reason at most three, those of the smallest ids.
        failure_examples: The same of the reasons of failures; they have no answer to excerpt.
    """

    model_config = ConfigDict(frozen=True)

    table: tuple[dict[str, NonNegativeInt | str], ...]
    failures: dict[str, NonNegativeInt] = {}
    changed: dict[str, NonNegativeInt] = {}
    corrected: dict[str, tuple[NonNegativeInt, NonNegativeInt]] = {}
    not_corrected: dict[str, NonNegativeInt] = {}
    overlaps: dict[str, NonNegativeInt] = {}
    not_checked: tuple[str, ...] = ()
    examples: dict[str, tuple[DroppedAnswer, ...]] = {}
    failure_examples: dict[str, tuple[DroppedAnswer, ...]] = {}

    def total(self, column: str) -> int:
        """Over all families and sources; 0 where it was not counted."""
        totals = [row for row in self.table if row.get("family") == "all"]
        n = totals[-1].get(column) if totals else 0
        return n if isinstance(n, int) else 0

    @property
    def drops(self) -> dict[str, int]:
        """Reason -> answers that were dropped."""
        return {reason: self.total(reason) for reason in REASONS}


@dataclass(frozen=True, slots=True)
class Drop:
    """An answer that is dropped.

    Attributes:
        request: What was asked.
        answer: The beginning of it is remembered.
        reason: Why.
        details: The tests that are overlapped, or the equal answer.
    """

    request: Request
    answer: str
    reason: Reason
    details: tuple[str, ...] = ()

    @property
    def example(self) -> DroppedAnswer:
        """What is shown of it."""
        return DroppedAnswer(self.request.id, ", ".join(self.details), excerpt(self.answer))


Group = tuple[str, str]
"""Family and source."""


def group_of(request: Request) -> Group:
    """The row of the table that counts a request."""
    return str(request.meta.get("family") or "none"), request.source


class Tally:
    """Counts what became of every request, one after the other, in any order."""

    def __init__(self) -> None:
        self._counts: defaultdict[Group, Counter[str]] = defaultdict(Counter)
        self._failures, self._changes, self._overlaps = (Counter[str]() for _ in range(3))
        self._examples: defaultdict[str, list[DroppedAnswer]] = defaultdict(list)
        self._unanswered: defaultdict[str, list[DroppedAnswer]] = defaultdict(list)

    def asked(self, group: Group) -> None:
        """A request was made."""
        self._counts[group]["asked"] += 1

    def failed(self, group: Group, id_: str, failure: Failure) -> None:
        """It has no answer."""
        self._counts[group]["failed"] += 1
        self._failures[failure.reason] += 1
        _remember(self._unanswered[failure.reason], DroppedAnswer(id_, failure.detail, ""))

    def dropped(
        self, group: Group, reason: Reason, example: DroppedAnswer, tests: Iterable[str] = ()
    ) -> None:
        """Its answer is not learnt from; ``tests`` are those that it overlaps."""
        self._counts[group][reason] += 1
        self._overlaps.update(tests)
        _remember(self._examples[reason], example)

    def kept(self, group: Group, changes: Iterable[str] = ()) -> None:
        """Its answer is learnt from, after these changes."""
        self._counts[group]["kept"] += 1
        self._changes.update(changes)

    def funnel(self, off: Container[Reason]) -> Funnel:
        """All counts.

        Args:
            off: Reasons that were switched off.

        Raises:
            ValueError: If a request is lost, or counted twice.
        """
        counts = self._counts
        for group, n in counts.items():
            if 2 * n["asked"] != n.total():
                ends = n.total() - n["asked"]
                raise ValueError(
                    f"funnel of {group}: {n['asked']} asked, but {ends} failed, dropped or kept"
                )
        rows = [_row(*group, counts[group]) for group in sorted(counts)]
        unanswered = {reason: tuple(self._unanswered[reason]) for reason in sorted(self._failures)}
        found = self._examples
        return Funnel(
            table=(*rows, _row("all", "all", sum(counts.values(), Counter[str]()))),
            failures=dict(sorted(self._failures.items())),
            changed=dict(sorted(self._changes.items())),
            overlaps=dict(sorted(self._overlaps.items())),
            not_checked=tuple(reason for reason in REASONS if reason in off),
            examples={reason: tuple(found[reason]) for reason in REASONS if reason in found},
            failure_examples=unanswered,
        )


def count(
    asked: Iterable[Request],
    failed: Iterable[tuple[Request, Failure]],
    drops: Iterable[Drop],
    kept: Iterable[tuple[Request, tuple[str, ...]]],
    off: Container[Reason],
) -> Funnel:
    """Count what became of every request; see :class:`Tally`.

    Args:
        asked: All requests.
        failed: Those without an answer, and why.
        drops: Answers dropped; the examples do not depend on their order.
        kept: The requests of the answers that are kept, and what was changed in these.
        off: Reasons that were switched off.
    """
    tally = Tally()
    for request in asked:
        tally.asked(group_of(request))
    for request, failure in failed:
        tally.failed(group_of(request), request.id, failure)
    for drop in drops:
        tests = drop.details if drop.reason == "contaminated" else ()
        tally.dropped(group_of(drop.request), drop.reason, drop.example, tests)
    for request, changes in kept:
        tally.kept(group_of(request), changes)
    return tally.funnel(off)


def _remember(examples: list[DroppedAnswer], one: DroppedAnswer) -> None:
    """Keep the smallest ones."""
    insort(examples, one)
    del examples[EXAMPLES:]


def _row(family: str, source: str, n: Mapping[str, int]) -> dict[str, int | str]:
    return {
        **{"family": family, "source": source},
        **{"asked": n["asked"], "failed": n["failed"], "answered": n["asked"] - n["failed"]},
        **{reason: n[reason] for reason in (*REASONS, "kept")},
    }


def excerpt(text: str) -> str:
    """Return the beginning of a text on one line."""
    line = " ".join(text[: 4 * EXCERPT_CHARACTERS].split())
    short = line[:EXCERPT_CHARACTERS].rstrip()
    return short if short == line and len(text) <= 4 * EXCERPT_CHARACTERS else f"{short}…"

"""What became of every request: counts per reason, family and source, with examples."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from itertools import chain

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
        detail: What the reason alone does not say: the tests, the id of the twin, the setting; else
            empty.
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
        details: The tests that are overlapped, or the twin.
    """

    request: Request
    answer: str
    reason: Reason
    details: tuple[str, ...] = ()


def count(
    asked: Iterable[Request],
    failed: Sequence[tuple[Request, Failure]],
    drops: Sequence[Drop],
    kept: Sequence[tuple[Request, tuple[str, ...]]],
    off: Container[Reason],
) -> Funnel:
    """Count what became of every request.

    Args:
        asked: All requests.
        failed: Those without an answer, and why.
        drops: Answers dropped; the examples do not depend on their order.
        kept: The requests of the answers that are kept, and what was changed in these.
        off: Reasons that were switched off.

    Raises:
        ValueError: If a request is lost, or counted twice.
    """
    counts: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    became = chain(
        ((request, "asked") for request in asked),
        ((request, "failed") for request, _ in failed),
        ((drop.request, drop.reason) for drop in drops),
        ((request, "kept") for request, _ in kept),
    )
    for request, column in became:
        family = str(request.meta.get("family") or "none")
        counts[family, request.source][column] += 1
    for group, n in counts.items():
        if 2 * n["asked"] != n.total():
            ends = n.total() - n["asked"]
            raise ValueError(
                f"funnel of {group}: {n['asked']} asked, but {ends} failed, dropped or kept"
            )
    rows = [_row(*group, counts[group]) for group in sorted(counts)]
    found: defaultdict[Reason, list[DroppedAnswer]] = defaultdict(list)
    for drop in drops:
        example = DroppedAnswer(drop.request.id, ", ".join(drop.details), _excerpt(drop.answer))
        found[drop.reason].append(example)
    unanswered: defaultdict[str, list[DroppedAnswer]] = defaultdict(list)
    for request, failure in failed:
        unanswered[failure.reason].append(DroppedAnswer(request.id, failure.detail, ""))
    overlaps = chain.from_iterable(drop.details for drop in drops if drop.reason == "contaminated")
    return Funnel(
        table=(*rows, _row("all", "all", sum(counts.values(), Counter[str]()))),
        failures=_sorted(failure.reason for _, failure in failed),
        changed=_sorted(change for _, changes in kept for change in changes),
        overlaps=_sorted(overlaps),
        not_checked=tuple(reason for reason in REASONS if reason in off),
        examples={r: tuple(nsmallest(EXAMPLES, found[r])) for r in REASONS if r in found},
        failure_examples={r: tuple(nsmallest(EXAMPLES, unanswered[r])) for r in sorted(unanswered)},
    )


def _row(family: str, source: str, n: Mapping[str, int]) -> dict[str, int | str]:
    return {
        **{"family": family, "source": source},
        **{"asked": n["asked"], "failed": n["failed"], "answered": n["asked"] - n["failed"]},
        **{reason: n[reason] for reason in (*REASONS, "kept")},
    }


def _sorted(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def _excerpt(text: str) -> str:
    """Return the beginning of a text on one line."""
    line = " ".join(text[: 4 * EXCERPT_CHARACTERS].split())
    short = line[:EXCERPT_CHARACTERS].rstrip()
    return short if short == line and len(text) <= 4 * EXCERPT_CHARACTERS else f"{short}…"

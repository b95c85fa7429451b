"""What became of every request: counts per reason, family and source, with examples."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from heapq import nsmallest
from itertools import chain
from typing import Any

from distill.records import REASONS, Failure, Reason, Request

Group = tuple[str, str]
"""Family and source of a request."""

EXAMPLES = 3  # per reason
EXCERPT_CHARACTERS = 80


@dataclass(frozen=True, slots=True, order=True)
class DroppedAnswer:
    """One dropped answer.

    Attributes:
        id: Of the request.
        detail: What the reason alone does not say: the tests, the id of the twin; else empty.
        excerpt: The beginning of the answer, on one line.
    """

    id: str
    detail: str
    excerpt: str


@dataclass(frozen=True, slots=True)
class Funnel:
    """The counts of one stage; they are known to add up.

    Attributes:
        asked: Requests per group.
        failed: Requests without an answer, per group and reason of the failure.
        dropped: Answers dropped, per group and reason.
        kept: Answers kept, per group.
        changed: Kept answers that were cut or put in order, per kind of change.
        overlaps: Answers dropped as contaminated, per test; one may count for several.
        examples: Per reason at most three, those of the smallest ids.
        not_checked: Reasons that were switched off.
    """

    asked: Mapping[Group, int]
    failed: Mapping[tuple[Group, str], int]
    dropped: Mapping[tuple[Group, Reason], int]
    kept: Mapping[Group, int]
    changed: Mapping[str, int]
    overlaps: Mapping[str, int]
    examples: Mapping[Reason, tuple[DroppedAnswer, ...]]
    not_checked: tuple[Reason, ...] = ()

    def __post_init__(self) -> None:
        ends = Counter(self.kept)
        for (group, _), n in (*self.failed.items(), *self.dropped.items()):
            ends[group] += n
        for group in {*self.asked, *ends}:
            asked = self.asked.get(group, 0)
            if asked != ends[group]:
                raise ValueError(
                    f"funnel of {group}: {asked} asked, but {ends[group]} failed, dropped or kept"
                )

    @property
    def n_asked(self) -> int:
        """All requests."""
        return sum(self.asked.values())

    @property
    def n_failed(self) -> int:
        """Requests without an answer."""
        return sum(self.failed.values())

    @property
    def n_answered(self) -> int:
        """Requests with an answer, kept or not."""
        return self.n_asked - self.n_failed

    @property
    def n_kept(self) -> int:
        """Answers kept."""
        return sum(self.kept.values())

    def n_dropped(self, reason: Reason) -> int:
        """Answers dropped for a reason."""
        return sum(n for (_, of), n in self.dropped.items() if of == reason)

    def table(self) -> list[dict[str, str | int]]:
        """Return one row per family and source, and a last one of the totals.

        The columns are always the same: family, source, asked, failed, answered, every reason in
        the order of checking, kept.
        """
        groups = sorted(self.asked)
        return [*(self._row(*group, [group]) for group in groups), self._row("all", "all", groups)]

    def _row(self, family: str, source: str, groups: Sequence[Group]) -> dict[str, str | int]:
        asked, kept = (sum(of.get(group, 0) for group in groups) for of in (self.asked, self.kept))
        failed = sum(n for (group, _), n in self.failed.items() if group in groups)
        drops = {
            reason: sum(self.dropped.get((group, reason), 0) for group in groups)
            for reason in REASONS
        }
        return {
            **{"family": family, "source": source},
            **{"asked": asked, "failed": failed, "answered": asked - failed},
            **drops,
            "kept": kept,
        }

    def to_json(self) -> dict[str, Any]:
        """Return plain values that ``json.dumps`` takes, in an order that does not vary."""
        failures: Counter[str] = Counter()
        for (_, reason), n in self.failed.items():
            failures[reason] += n
        return {
            "table": self.table(),
            "failures": dict(sorted(failures.items())),
            "changed": dict(sorted(self.changed.items())),
            "overlaps": dict(sorted(self.overlaps.items())),
            "not_checked": list(self.not_checked),
            "examples": {
                reason: [asdict(example) for example in self.examples[reason]]
                for reason in REASONS
                if reason in self.examples
            },
        }


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
    failed: Iterable[tuple[Request, Failure]],
    drops: Sequence[Drop],
    kept: Sequence[tuple[Request, tuple[str, ...]]],
    off: Container[Reason],
) -> Funnel:
    """Count what became of every request, and check that all adds up.

    Args:
        asked: All requests.
        failed: Those without an answer, and why.
        drops: Answers dropped; the examples do not depend on their order.
        kept: The requests of the answers that are kept, and what was changed in these.
        off: Reasons that were switched off.
    """
    examples: defaultdict[Reason, list[DroppedAnswer]] = defaultdict(list)
    for drop in drops:
        example = DroppedAnswer(drop.request.id, ", ".join(drop.details), _excerpt(drop.answer))
        examples[drop.reason].append(example)
    overlaps = [drop.details for drop in drops if drop.reason == "contaminated"]
    return Funnel(
        asked=Counter(map(_group, asked)),
        failed=Counter((_group(request), failure.reason) for request, failure in failed),
        dropped=Counter((_group(drop.request), drop.reason) for drop in drops),
        kept=Counter(_group(request) for request, _ in kept),
        changed=Counter(change for _, changes in kept for change in changes),
        overlaps=Counter(chain.from_iterable(overlaps)),
        examples={reason: tuple(nsmallest(EXAMPLES, of)) for reason, of in examples.items()},
        not_checked=tuple(reason for reason in REASONS if reason in off),
    )


def _group(request: Request) -> Group:
    return str(request.meta.get("family") or "none"), request.source


def _excerpt(text: str) -> str:
    """Return the beginning of a text on one line."""
    line = " ".join(text[: 4 * EXCERPT_CHARACTERS].split())
    short = line[:EXCERPT_CHARACTERS].rstrip()
    return short if short == line and len(text) <= 4 * EXCERPT_CHARACTERS else f"{short}…"

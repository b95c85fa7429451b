"""What became of every request: counts per reason, family and source, with examples."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from heapq import nsmallest
from typing import Any

from distill.records import REASONS, Reason, Request

Group = tuple[str, str]
"""Family and source of a request."""

EXAMPLES = 3  # per reason
EXCERPT_CHARACTERS = 80


@dataclass(frozen=True, slots=True, order=True)
class Example:
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
    examples: Mapping[Reason, tuple[Example, ...]]
    not_checked: tuple[Reason, ...] = ()

    def __post_init__(self) -> None:
        for group in {*self.asked, *self.kept, *(g for g, _ in [*self.failed, *self.dropped])}:
            ends = self.kept.get(group, 0)
            ends += sum(n for (of, _), n in self.failed.items() if of == group)
            ends += sum(n for (of, _), n in self.dropped.items() if of == group)
            if self.asked.get(group, 0) != ends:
                raise ValueError(
                    f"funnel of {group}: {self.asked.get(group, 0)} asked, but {ends} failed, "
                    "dropped or kept"
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
        rows = [self._row(family, source, [(family, source)]) for family, source in self.asked]
        rows.sort(key=lambda row: (str(row["family"]), str(row["source"])))
        return [*rows, self._row("all", "all", list(self.asked))]

    def _row(self, family: str, source: str, groups: list[Group]) -> dict[str, str | int]:
        asked = sum(self.asked[group] for group in groups)
        failed = sum(n for (group, _), n in self.failed.items() if group in groups)
        drops = {
            reason: sum(self.dropped.get((group, reason), 0) for group in groups)
            for reason in REASONS
        }
        return {
            **{"family": family, "source": source},
            **{"asked": asked, "failed": failed, "answered": asked - failed},
            **drops,
            "kept": sum(self.kept.get(group, 0) for group in groups),
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
                reason: [
                    {"id": example.id, "detail": example.detail, "excerpt": example.excerpt}
                    for example in self.examples[reason]
                ]
                for reason in REASONS
                if self.examples.get(reason)
            },
        }


class Tally:
    """The counts while they grow. Asked and kept are counted apart, so that sums can be checked."""

    def __init__(self) -> None:
        self._asked: Counter[Group] = Counter()
        self._failed: Counter[tuple[Group, str]] = Counter()
        self._dropped: Counter[tuple[Group, Reason]] = Counter()
        self._kept: Counter[Group] = Counter()
        self._changed: Counter[str] = Counter()
        self._overlaps: Counter[str] = Counter()
        self._examples: defaultdict[Reason, list[Example]] = defaultdict(list)

    def ask(self, request: Request) -> None:
        """Count a request."""
        self._asked[_group(request)] += 1

    def fail(self, request: Request, reason: str) -> None:
        """Count a request without an answer."""
        self._failed[_group(request), reason] += 1

    def drop(
        self, request: Request, answer: str, reason: Reason, details: tuple[str, ...] = ()
    ) -> None:
        """Count an answer that is dropped.

        Args:
            request: What was asked.
            answer: The beginning of it is remembered.
            reason: Why.
            details: The tests that are overlapped, or the twin.
        """
        self._dropped[_group(request), reason] += 1
        if reason == "contaminated":
            self._overlaps.update(details)
        example = Example(request.id, ", ".join(details), _excerpt(answer))
        self._examples[reason].append(example)

    def keep(self, request: Request, changes: Iterable[str] = ()) -> None:
        """Count an answer that is kept, and what was changed in it."""
        self._kept[_group(request)] += 1
        self._changed.update(changes)

    def funnel(self, not_checked: tuple[Reason, ...] = ()) -> Funnel:
        """Check that all adds up; the examples do not depend on the order of the answers."""
        return Funnel(
            asked=dict(self._asked),
            failed=dict(self._failed),
            dropped=dict(self._dropped),
            kept=dict(self._kept),
            changed=dict(self._changed),
            overlaps=dict(self._overlaps),
            examples={
                reason: tuple(nsmallest(EXAMPLES, examples))
                for reason, examples in self._examples.items()
            },
            not_checked=not_checked,
        )


def _group(request: Request) -> Group:
    return str(request.meta.get("family") or "none"), request.source


def _excerpt(text: str) -> str:
    """Return the beginning of a text on one line."""
    line = " ".join(text[: 4 * EXCERPT_CHARACTERS].split())
    short = line[:EXCERPT_CHARACTERS].rstrip()
    return short if short == line and len(text) <= 4 * EXCERPT_CHARACTERS else f"{short}…"

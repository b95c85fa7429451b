"""An older leaderboard.json, and what has changed since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from leaderboard.board import SCHEMA, Board, Rank, Row
from sentibench.data.cards import Source
from sentibench.pages.text import percent
from sentibench.scoring.samples import Unusable, open_bounded

METRIC = "official"
MAX_BYTES = 512 * 2**20
SAME = 1e-8  # scores in the file have nine digits


@dataclass(frozen=True, slots=True)
class PreviousCell:
    """What is read of a score."""

    value: float


@dataclass(frozen=True, slots=True)
class PreviousRow:
    """What is read of a row of an older leaderboard.json."""

    name: str
    rank: Mapping[str, Rank] | None
    scores: Mapping[str, Mapping[str, PreviousCell | None]]


@dataclass(frozen=True, slots=True)
class PreviousBoard:
    """What is read of an older leaderboard.json; whatever else it holds may have changed."""

    schema: Annotated[int, Field(ge=SCHEMA, le=SCHEMA)]  # true is a Literal[1] for pydantic
    source: Source
    rows: tuple[PreviousRow, ...]


def read_previous(path: Path) -> PreviousBoard | None:
    """Read a leaderboard.json; None if it is none of ours or damaged."""
    try:
        with open_bounded(path, MAX_BYTES) as file:
            return TypeAdapter(PreviousBoard).validate_json(file.read(), strict=True)
    except (OSError, UnicodeDecodeError, ValidationError, Unusable):
        return None


def changes(previous: PreviousBoard, board: Board) -> tuple[list[str], list[str]]:
    """Compare a board with an older one by the names of the rows.

    Returns:
        What a maintainer should look at: rows that are gone or lost their rank, scores that
        changed, pairs that changed places. And, apart from these, the rows that are new.
    """
    before = {row.name: row for row in previous.rows}
    after = {row.name: row for row in board.rows}
    shared = [name for name in before if name in after]
    findings = [f"{name}: the row is gone" for name in before if name not in after]
    findings += [
        f"{name}: had a rank and has none now"
        for name in shared
        if before[name].rank and not after[name].rank
    ]
    for name in shared:
        findings += _changed_scores(before[name], after[name], board)
    findings += _changed_places(before, after)
    return findings, [f"{name}: a new row" for name in after if name not in before]


def _changed_scores(before: PreviousRow, after: Row, board: Board) -> list[str]:
    changed: list[str] = []
    for column, title in board.titles.items():
        old, new = before.scores.get(METRIC, {}).get(column), after.value(METRIC, column)
        value = None if old is None else old.value
        if (value is None) != (new is None) or abs((value or 0) - (new or 0)) > SAME:
            changed.append(f"{title} {percent(value)} -> {percent(new)}")
    return [f"{after.name}: other scores: {', '.join(changed)}"] if changed else []


def _changed_places(before: Mapping[str, PreviousRow], after: Mapping[str, Row]) -> list[str]:
    old, new = positions(list(before.values())), positions(list(after.values()))
    shared = sorted(old.keys() & new.keys(), key=lambda name: old[name])
    return [
        f"{a}: was before {b}, is now behind"
        for i, a in enumerate(shared)
        for b in shared[i + 1 :]
        if new[a] > new[b]
    ]


def positions(rows: Sequence[Row | PreviousRow]) -> dict[str, int]:
    """Name -> position of the ranked rows."""
    return {row.name: row.rank[METRIC].position for row in rows if row.rank and METRIC in row.rank}

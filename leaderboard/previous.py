"""An older leaderboard.json, and what has changed since."""

from __future__ import annotations

from collections.abc import Mapping
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

    key: str
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
    """Compare a board with an older one, row by row; their keys name them.

    Returns:
        What a maintainer should look at: rows that are gone or lost their rank, scores that
        changed, pairs that changed places. And, apart from these, the rows that are new.
    """
    before = {row.key: row for row in previous.rows}
    after = {row.key: row for row in board.rows}
    shared = [key for key in before if key in after]
    findings = [f"{before[key].name}: the row is missing now" for key in before if key not in after]
    findings += [
        f"{after[key].name}: had a rank and has none now"
        for key in shared
        if before[key].rank and not after[key].rank
    ]
    for key in shared:
        findings += _changed_scores(before[key], after[key], board)
    findings += _changed_places(before, after)
    return findings, [f"{after[key].name}: a new row" for key in after if key not in before]


def _changed_scores(before: PreviousRow, after: Row, board: Board) -> list[str]:
    changed: list[str] = []
    for column, title in board.titles.items():
        old, new = before.scores.get(METRIC, {}).get(column), after.value(METRIC, column)
        value = None if old is None else old.value
        if (value is None) != (new is None) or abs((value or 0) - (new or 0)) > SAME:
            changed.append(f"{title} {percent(value)} -> {percent(new)}")
    return [f"{after.name}: other scores: {', '.join(changed)}"] if changed else []


def _changed_places(before: Mapping[str, PreviousRow], after: Mapping[str, Row]) -> list[str]:
    old, new = positions(before), positions(after)
    # ranks are those among rows whose prompt is worded by the same
    shared = sorted(old.keys() & new.keys(), key=lambda key: old[key])
    return [
        f"{after[a].name}: was above {after[b].name}, is now below"
        for i, a in enumerate(shared)
        for b in shared[i + 1 :]
        if after[a].wording == after[b].wording and new[a] > new[b]
    ]


def positions(rows: Mapping[str, Row | PreviousRow]) -> dict[str, int]:
    """Key -> position of the ranked rows."""
    ranked = {key: row.rank for key, row in rows.items() if row.rank}
    return {key: rank[METRIC].position for key, rank in ranked.items() if METRIC in rank}

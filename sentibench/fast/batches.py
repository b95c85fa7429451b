"""Batches of prompts: what begins alike together, longest first, a number of tokens each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

Prompt = tuple[tuple[int, ...], list[int]]  # (input ids, numbers of the requests for them)

LOOK = 12  # tokens by which prompts are told apart
FEWEST_ROWS = 4  # so few prompts are not worth a beginning of their own
BATCHES_WORTH = 32  # a batch costs, beside its tokens, the 32nd part of the tokens it may hold
MOST = 0.75  # of a cluster's rows must have a longer beginning with others before it is split


@dataclass(frozen=True, slots=True)
class Batch:
    """Prompts that go through the model together, and the ids that all of them begin with."""

    rows: list[Prompt]
    prefix: tuple[int, ...]

    @property
    def numbers(self) -> list[int]:
        """The requests that it answers."""
        return [number for _, numbers in self.rows for number in numbers]


def clusters(all_ids: Sequence[Sequence[int]]) -> list[list[Prompt]]:
    """Equal ids as one row, the rows by common beginning, the longest first.

    A chat header that all prompts begin with does not hide the instructions behind it: a cluster
    whose rows nearly all share more with some of the others is split again. What shares its
    beginning with few others is one cluster, the last.
    """
    numbers: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for number, ids in enumerate(all_ids):
        numbers[tuple(ids)].append(number)
    rows = sorted(numbers.items(), key=lambda row: (-len(row[0]), row[0]))
    return _split(rows, 0)


def _split(rows: Sequence[Prompt], start: int) -> list[list[Prompt]]:
    """Clusters by the tokens from ``start``; none where most rows would be left over."""
    groups: dict[tuple[int, ...], list[Prompt]] = defaultdict(list)
    for row in rows:
        groups[row[0][start : start + LOOK]].append(row)
    large = [group for group in groups.values() if len(group) >= FEWEST_ROWS]
    if start and sum(map(len, large)) < MOST * len(rows):
        return []
    rest = [row for group in groups.values() if len(group) < FEWEST_ROWS for row in group]
    found: list[list[Prompt]] = []
    for group in large:
        shared = n_shared(group)
        found += (_split(group, shared) if shared > start else []) or [group]
    return [*found, sorted(rest, key=lambda row: -len(row[0]))] if rest else found


def n_shared(rows: Sequence[Prompt]) -> int:
    """Number of ids that all rows begin with."""
    first, last = min(rows)[0], max(rows)[0]
    n = min(len(first), len(last))
    return next((i for i in range(n) if first[i] != last[i]), n)


def cut(
    rows: Sequence[Prompt], n_prefix: int, batch_tokens: int, most_rows: int
) -> Iterator[list[Prompt]]:
    """Cut rows, longest first, so that padding and the cost of batches are least in sum.

    Args:
        rows: Longest first.
        n_prefix: Tokens at the beginning of every row that are not computed again.
        batch_tokens: Tokens of a batch, padding included; a longer row is a batch of its own.
        most_rows: Rows of a batch at most.
    """
    of_batch = batch_tokens / BATCHES_WORTH
    # from the last row on: the least cost of the rows from here, and where their first batch ends
    cost, ends = np.zeros(len(rows) + 1), [0] * len(rows)
    for start in reversed(range(len(rows))):
        n_tokens = len(rows[start][0]) - n_prefix
        most = min(len(rows) - start, most_rows, max(1, batch_tokens // n_tokens))
        costs = n_tokens * np.arange(1, most + 1) + cost[start + 1 : start + most + 1]
        size = int(costs.argmin()) + 1
        cost[start], ends[start] = of_batch + costs[size - 1], start + size
    start = 0
    while start < len(rows):
        yield list(rows[start : ends[start]])
        start = ends[start]


def in_groups(batches: Sequence[Batch], most_batches: int, most_rows: int) -> Iterator[list[Batch]]:
    """Batches in a row, so many of them and so many rows at most; a larger batch is alone."""
    group: list[Batch] = []
    for batch in batches:
        n_rows = sum(len(one.rows) for one in (*group, batch))
        if group and (len(group) == most_batches or n_rows > most_rows):
            yield group
            group = []
        group.append(batch)
    if group:
        yield group

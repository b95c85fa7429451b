"""Coordinates of the plot of size against score, for a template; in units of its view box."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 52, 24, 16, 46
WIDE = 20 / 12  # how much larger a narrow page sets the labels, in units of the plot

MARK = 12  # between the middles of two marks that do not touch

Spot = tuple[float, float]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Model:
    """One model to be drawn.

    Attributes:
        key: Unique.
        label: A short name.
        parameters: Number of weights, above 0.
        score: In [0, 1].
        is_ranked: Whether it may lie on the frontier.
        is_measured: Reported models leave the room for labels to the others.
        base: Key of the model it was made from.
    """

    key: str
    label: str
    parameters: float
    score: float
    is_ranked: bool
    is_measured: bool
    base: str | None


@dataclass(frozen=True, slots=True)
class Label:
    """A text beside a mark; on a narrow page only if it has room there."""

    text: str
    x: float
    y: float
    anchor: str
    only_wide: bool


@dataclass(frozen=True, slots=True)
class Point:
    """The mark of a model; without a label where none has room."""

    key: str
    x: float
    y: float
    on_frontier: bool
    label: Label | None


@dataclass(frozen=True, slots=True)
class SizePlot:
    """The whole drawing.

    Attributes:
        path: Corners of the Pareto frontier, as a polyline has them.
        arrows: From base to student, (x1, y1, x2, y2).
        x_ticks: (x, parameters).
        y_ticks: (y, percent).
        size: Width, height and the four margins left, right, top and bottom.
    """

    points: tuple[Point, ...]
    path: str
    arrows: tuple[Box, ...]
    x_ticks: tuple[tuple[float, float], ...]
    y_ticks: tuple[tuple[float, int], ...]
    size: tuple[int, int, int, int, int, int] = (WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM)


def size_plot(models: Sequence[Model]) -> SizePlot | None:
    """Place models by size (logarithmic) and score; None if there is none."""
    if not models:
        return None
    sizes, scores = [math.log10(m.parameters) for m in models], [m.score for m in models]
    x_low, x_high = math.floor(min(sizes) * 2 - 0.1) / 2, math.ceil(max(sizes) * 2 + 0.1) / 2
    y_low = max(0.0, math.floor(min(scores) * 10 - 0.2) / 10)
    y_high = min(1.0, math.ceil(max(scores) * 10 + 0.2) / 10)

    def x_of(count: float) -> float:
        share = (math.log10(count) - x_low) / (x_high - x_low)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y_of(score: float) -> float:
        share = (score - y_low) / ((y_high - y_low) or 1)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)

    spots = _apart({m.key: (x_of(m.parameters), y_of(m.score)) for m in models})
    frontier = _frontier(models)
    path = _path([spots[key] for key in frontier])
    labels = _place_labels(
        sorted(models, key=lambda m: (m.key not in frontier, not m.is_measured, not m.is_ranked)),
        spots,
        path,
    )
    x_ticks = [m * 10**e for e in range(int(x_low) - 1, int(x_high) + 1) for m in (1, 3)]
    y_ticks = range(round(10 * y_low), round(10 * y_high) + 1)
    return SizePlot(
        points=tuple(
            Point(m.key, *spots[m.key], m.key in frontier, labels.get(m.key)) for m in models
        ),
        path=" ".join(f"{x},{y}" for x, y in path),
        arrows=tuple(_arrows(models, spots)),
        x_ticks=tuple((x_of(t), t) for t in x_ticks if x_low <= math.log10(t) <= x_high),
        y_ticks=tuple((y_of(t / 10), 10 * t) for t in y_ticks),
    )


def _apart(spots: Mapping[str, Spot]) -> dict[str, Spot]:
    """Move marks that would cover others to the right of these, where the plot has room."""
    placed: dict[str, Spot] = {}
    for key, (x, y) in sorted(spots.items(), key=lambda item: (item[1], item[0])):
        at = x
        while any(abs(at - a) < MARK and abs(y - b) < MARK for a, b in placed.values()):
            at = round(at + MARK, 1)
        placed[key] = (at if at <= WIDTH - RIGHT else x, y)
    return placed


def _frontier(models: Sequence[Model]) -> list[str]:
    """Keys of the ranked models that no smaller or equally large one beats, smallest first."""
    best = -1.0
    kept: list[str] = []
    ranked = [model for model in models if model.is_ranked]
    for model in sorted(ranked, key=lambda m: (m.parameters, -m.score, m.key)):
        if model.score > best:
            kept.append(model.key)
            best = model.score
    return kept


def _path(corners: Sequence[Spot]) -> list[Spot]:
    """Steps from corner to corner and on to the right end."""
    ends = [*(x for x, _ in corners[1:]), WIDTH - RIGHT]
    return [spot for (x, y), end in zip(corners, ends, strict=False) for spot in ((x, y), (end, y))]


def _arrows(models: Sequence[Model], spots: Mapping[str, Spot]) -> list[Box]:
    """Lines from base to student that stop short of both marks."""
    arrows: list[Box] = []
    for model in models:
        if model.base is None or model.base not in spots:
            continue
        (ax, ay), (bx, by) = spots[model.base], spots[model.key]
        length = math.hypot(bx - ax, by - ay)
        if length >= 20:
            dx, dy = (bx - ax) / length, (by - ay) / length
            ends = (ax + 7 * dx, ay + 7 * dy, bx - 9 * dx, by - 9 * dy)
            x1, y1, x2, y2 = (round(end, 1) for end in ends)
            arrows.append((x1, y1, x2, y2))
    return arrows


def _place_labels(
    models: Sequence[Model], spots: Mapping[str, Spot], path: Sequence[Spot]
) -> dict[str, Label]:
    """Put each label where it covers no mark, line or other label, or leave it to the tooltip.

    The first model has the choice of its place. A narrow page sets labels larger: those without
    room there are ``only_wide``.
    """
    marks = {key: (x - 6, y - 6, x + 6, y + 6) for key, (x, y) in spots.items()}
    lines = [
        (min(x0, x1), min(y0, y1) - 3, max(x0, x1) + 3, max(y0, y1) + 3)
        for (x0, y0), (x1, y1) in pairwise(path)
    ]
    taken, taken_on_narrow = [*marks.values(), *lines], lines.copy()
    placed: dict[str, Label] = {}
    for model in models:
        wide, (x, y) = 6.9 * len(model.label), spots[model.key]
        for anchor, near, middle in (
            ("start", x + 10, y),
            ("end", x - 10, y),
            ("middle", x, y - 14),
            ("middle", x, y + 14),
        ):
            before = {"start": 0.0, "end": 1.0, "middle": 0.5}[anchor]  # share left of the anchor
            left = near - before * wide
            box = (left, middle - 7, left + wide, middle + 7)
            if not _has_room(box, taken):
                continue
            taken.append(box)
            left, low = near - before * WIDE * wide, middle + 4
            larger = (left, low - 11 * WIDE, left + WIDE * wide, low + 3 * WIDE)
            others = [mark for key, mark in marks.items() if key != model.key]
            fits = _has_room(larger, [*others, *taken_on_narrow])
            taken_on_narrow += [larger] if fits else []
            placed[model.key] = Label(model.label, round(near, 1), round(low, 1), anchor, not fits)
            break
    return placed


def _has_room(box: Box, taken: Sequence[Box]) -> bool:
    inside = box[0] > LEFT and box[2] < WIDTH - 2 and box[1] > 0
    return inside and not any(_overlap(box, other) for other in taken)


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]

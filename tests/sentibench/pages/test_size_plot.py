"""The plot of size and score: what lies where, by hand."""

import math
from itertools import combinations
from typing import Any

import pytest

from sentibench.pages.size_plot import (
    BOTTOM,
    HEIGHT,
    LEFT,
    MARK,
    RIGHT,
    TOP,
    WIDTH,
    Model,
    size_plot,
)


def model(key: str, parameters: float, score: float, **changes: Any) -> Model:
    given = {"label": key, "is_ranked": True, "is_measured": True, "base": None}
    return Model(key=key, parameters=parameters, score=score, **{**given, **changes})


def frontier(*models: Model) -> list[str]:
    plot = size_plot(models)
    assert plot is not None
    return [point.key for point in plot.points if point.on_frontier]


def test_nothing_is_drawn_of_no_model() -> None:
    assert size_plot([]) is None


def test_size_is_logarithmic_and_the_score_linear() -> None:
    plot = size_plot([model("a", 1e8, 0.4), model("b", 1e9, 0.6), model("c", 1e10, 0.8)])
    assert plot is not None
    a, b, c = plot.points
    assert b.x - a.x == pytest.approx(c.x - b.x, abs=0.2)
    assert a.y - b.y == pytest.approx(b.y - c.y, abs=0.2)
    for point in plot.points:
        assert LEFT < point.x < WIDTH - RIGHT
        assert TOP < point.y < HEIGHT - BOTTOM
    # by hand: half a power of ten and a tenth of the score beyond the outermost
    assert [count for _, count in plot.x_ticks] == [1e8, 3e8, 1e9, 3e9, 1e10, 3e10]
    assert [percent for _, percent in plot.y_ticks] == [30, 40, 50, 60, 70, 80, 90]
    places = {count: x for x, count in plot.x_ticks}
    assert (a.x, c.x) == (places[1e8], places[1e10])
    heights = {percent: y for y, percent in plot.y_ticks}
    assert (a.y, c.y) == (heights[40], heights[80])


def test_the_axis_of_scores_ends_at_0_and_100() -> None:
    plot = size_plot([model("a", 1e8, 0.0), model("b", 1e8, 1.0)])
    assert plot is not None
    assert plot.y_ticks[0] == (HEIGHT - BOTTOM, 0)
    assert plot.y_ticks[-1] == (TOP, 100)


def test_the_frontier_holds_ranked_models_that_no_smaller_one_beats() -> None:
    small, large = model("small", 1e8, 0.5), model("large", 1e9, 0.7)
    assert frontier(small, large) == ["small", "large"]
    assert frontier(small, model("worse", 1e9, 0.5)) == ["small"]  # equal is not better
    assert frontier(small, model("as large", 1e8, 0.6), large) == ["as large", "large"]
    assert frontier(small, model("unranked", 1e7, 0.9, is_ranked=False)) == ["small"]
    assert frontier(model("twin b", 1e8, 0.5), model("twin a", 1e8, 0.5)) == ["twin a"]
    assert frontier(model("zero", 1e8, 0.0)) == ["zero"]


def test_the_frontier_is_drawn_as_stairs_to_the_right_end() -> None:
    plot = size_plot([model("a", 1e8, 0.5), model("b", 1e9, 0.7)])
    assert plot is not None
    a, b = plot.points
    corners = [(a.x, a.y), (b.x, a.y), (b.x, b.y), (WIDTH - RIGHT, b.y)]
    assert plot.path == " ".join(f"{x},{y}" for x, y in corners)
    unranked = size_plot([model("a", 1e8, 0.5, is_ranked=False)])
    assert unranked is not None
    assert unranked.path == ""


def test_arrows_stop_short_of_both_marks_and_need_a_base_in_the_plot() -> None:
    plot = size_plot(
        [
            model("base", 1e8, 0.3),
            model("student", 1e8, 0.7, base="base"),
            model("near", 1e8, 0.31, base="base"),  # no room for an arrow
            model("foreign", 1e9, 0.6, base="elsewhere"),
        ]
    )
    assert plot is not None
    base, student, near = plot.points[:3]
    ((x1, y1, x2, y2),) = plot.arrows
    assert math.dist((base.x, base.y), (x1, y1)) == pytest.approx(7, abs=0.11)
    assert math.dist((student.x, student.y), (x2, y2)) == pytest.approx(9, abs=0.11)
    # the two would cover each other
    assert sorted((base.x, near.x)) == pytest.approx([student.x, student.x + MARK], abs=0.11)


def test_models_of_one_size_and_score_stand_side_by_side() -> None:
    plot = size_plot([model(f"m{n}", 1e8, 0.5) for n in range(4)])
    assert plot is not None
    xs = [point.x for point in plot.points]
    assert xs == pytest.approx([xs[0] + MARK * n for n in range(4)], abs=0.11)
    assert {point.y for point in plot.points} == {plot.points[0].y}


def box(point: Any) -> tuple[float, float, float, float]:
    label = point.label
    width = 6.9 * len(label.text)
    left = label.x - {"start": 0, "end": width, "middle": width / 2}[label.anchor]
    return left, label.y - 11, left + width, label.y + 3


def test_labels_cover_neither_each_other_nor_marks() -> None:
    crowd = [
        model(f"model {n:02d}", 1e8 * 1.17**n, 0.3 + n * 7 % 40 / 80, is_ranked=n % 3 > 0)
        for n in range(40)
    ]
    plot = size_plot(crowd)
    assert plot is not None
    labelled = [point for point in plot.points if point.label]
    assert 5 <= len(labelled) < 40  # the others have no room
    marks = [(p.x - 6, p.y - 6, p.x + 6, p.y + 6) for p in plot.points]
    for a, b in [
        *combinations(map(box, labelled), 2),
        *((box(point), mark) for point in labelled for mark in marks),
    ]:
        assert not (a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3])
    for left, top, right, _ in map(box, labelled):
        assert left > LEFT
        assert right < WIDTH - 2
        assert top > 0


def test_measured_models_on_the_frontier_are_labelled_first() -> None:
    reported = model("reported", 1e9, 0.5, is_ranked=False, is_measured=False)
    crowd = [model(f"m{n}", 1e9, 0.5 + 0.001 * n) for n in range(4)]
    plot = size_plot([reported, *crowd])
    assert plot is not None
    labels = {point.key: point.label for point in plot.points}
    assert labels["m3"] is not None
    assert labels["reported"] is None


def test_a_label_that_is_too_large_for_a_narrow_page_says_so() -> None:
    alone = size_plot([model("alone", 1e9, 0.5)])
    assert alone is not None
    assert alone.points[0].label is not None
    assert not alone.points[0].label.only_wide
    two = size_plot([model("x" * 40, 1e9, 0.5), model("y" * 40, 1e9, 0.55)])
    assert two is not None
    assert [point.label and point.label.only_wide for point in two.points] == [True, True]

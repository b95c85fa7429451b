"""The plot of intervals in panels: what lies where, by hand."""

import pytest

from sentibench.pages.forest import GAP, LABELS, LINE, PANELS, RIGHT, TOP, axis_of, forest

PANEL = (PANELS - GAP) / 2  # of two


def test_a_scale_holds_every_interval() -> None:
    axis = axis_of([(0.5, 0.41, 0.59), (0.8, None, None)])
    assert (axis.low, axis.high) == (40.0, 80.0)
    assert axis_of([]).low == 0
    assert axis_of([]).high == 100
    alone = axis_of([(0.5, None, None)])
    assert alone.low < 50 < alone.high


def test_each_panel_has_a_scale_of_its_own() -> None:
    plot = forest(
        ["one", "two"],
        [
            ("a", [(0.4, 0.4, 0.4), (0.1, None, None)]),
            ("b", [(0.8, 0.6, 0.8), None]),
            ("c", [None, (0.5, 0.3, 0.5)]),
        ],
    )
    (first, second), (a, b, c) = plot.panels, plot.lines
    assert (first.left, second.left) == (LABELS, LABELS + PANEL + GAP)
    assert [line.y for line in plot.lines] == [TOP + LINE * n for n in (0.5, 1.5, 2.5)]
    # by hand: the scale of the first goes from 40 to 80, its ends 4 inside of the panel
    assert a.marks[0] is not None
    assert b.marks[0] is not None
    assert a.marks[0].x == LABELS + 4
    assert b.marks[0].x == b.marks[0].high == LABELS + PANEL - 4
    assert b.marks[0].low == pytest.approx(LABELS + PANEL / 2, abs=0.1)
    assert a.marks[1] is not None
    assert (a.marks[1].low, a.marks[1].high) == (None, None)
    assert (b.marks[1], c.marks[0]) == (None, None)
    assert [text for _, text in second.ticks] == ["10", "20", "30", "40", "50"]
    assert plot.bottom == TOP + 3 * LINE < plot.height
    assert second.right < plot.width


@pytest.mark.parametrize("n", [1, 2, 4])
def test_the_width_is_the_same_for_any_number_of_panels(n: int) -> None:
    plot = forest(["panel"] * n, [("a", [(0.5, 0.4, 0.6)] * n)])
    assert plot.width == pytest.approx(LABELS + PANELS + RIGHT)
    assert plot.panels[-1].right == pytest.approx(LABELS + PANELS)

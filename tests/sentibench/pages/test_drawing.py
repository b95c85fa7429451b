"""Coordinates and numbers of what is drawn: known by hand."""

import pytest

from sentibench.pages.drawing import Axis, curve, falling_bars, interval_plot, moving_mean, span
from sentibench.pages.text import percent, short, without_surrogates
from sentibench.scoring.statistics import Estimate


@pytest.mark.parametrize(
    ("low", "high", "wanted", "ticks"),
    [
        (0, 1, 5, (0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        (-1.2, 26, 7, (-5, 0, 5, 10, 15, 20, 25, 30)),
        (0, 100, 7, (0, 20, 40, 60, 80, 100)),
        (3, 3, 2, (2.5, 3.0, 3.5)),
        (3, 3 + 1e-15, 2, (2.5, 3.0, 3.5)),
        (0, 0, 2, (-1, 0, 1)),
        (0.0012, 0.0018, 3, (0.0012, 0.0014, 0.0016, 0.0018)),
    ],
)
def test_axis_has_round_ticks_around_its_values(
    low: float, high: float, wanted: int, ticks: tuple[float, ...]
) -> None:
    axis = Axis.around(low, high, wanted)
    assert axis.ticks == pytest.approx(ticks)
    assert axis.low <= low <= high <= axis.high
    assert len({axis.tick_text(tick) for tick in axis.ticks}) == len(ticks)
    assert (axis.at(axis.low), axis.at(axis.high)) == (0, 100)
    assert (axis.at(axis.low - 9), axis.at(axis.high + 9)) == (0, 100)


def test_moving_mean_is_cut_at_both_ends() -> None:
    assert moving_mean([1, 2, 6, 4, 5], 3) == pytest.approx([1.5, 3, 4, 5, 4.5])
    assert moving_mean([1, 2, 6], 1) == pytest.approx([1, 2, 6])


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0.123, "+12.3"), (-0.05, "−5.0"), (-0.0001, "+0.0"), (0.0, "+0.0")],
)
def test_a_signed_percentage_has_a_sign_and_no_negative_zero(fraction: float, text: str) -> None:
    assert percent(fraction, signed=True) == text


def test_a_span_has_its_ends_behind_it() -> None:
    estimate = Estimate(0.021, -0.0004, 0.039)
    assert span(estimate, signed=True) == "+2.1 (+0.0 to +3.9)"
    assert span(estimate, digits=0) == "2 (0 to 4)"


def test_marks_lie_one_below_the_other_and_keep_their_series() -> None:
    rows = [
        ("mean", "Both", [Estimate(0.05, -0.01, 0.1), Estimate(0.5, 0.1, 0.9)]),
        ("task", "Second", [None, Estimate(-0.05, -0.1, -0.01)]),
        ("task", "Neither", [None, None]),
    ]
    plot = interval_plot(rows, Axis(-10, 40, (-10, 0, 40)), signed=True)
    assert [(kind, title) for kind, title, _ in plot.rows] == [("mean", "Both"), ("task", "Second")]
    first, second = plot.rows[0][2]
    assert (first.x, first.low, first.high) == (30, 18, 40)
    assert (second.x, second.low, second.high) == (100, 40, 100)
    assert [(m.series, m.y, m.sure) for m in (first, second)] == [(0, 12, False), (1, 32, True)]
    (alone,) = plot.rows[1][2]
    assert (alone.series, alone.y, alone.sure) == (1, 12, True)
    assert plot.cut  # 90 points lie beyond 40
    assert [tick.zero for tick in plot.ticks] == [False, True, False]
    assert not interval_plot(rows[1:], Axis(-10, 40, (-10, 0, 40)), signed=True).cut


def test_a_curve_ends_at_its_last_step() -> None:
    drawn = curve([(1, 3.0), (2, 2.0), (3, 1.0)])
    assert drawn.dots == ((33.33, 0), (66.67, 50), (100, 100))
    assert drawn.line == "333.3,0.0 666.7,500.0 1000.0,1000.0"
    assert (drawn.n, drawn.window, drawn.every) == (3, 1, 1)
    assert (drawn.first, drawn.last) == (3.0, 1.0)
    assert [text for _, text in drawn.x_ticks] == ["0", "1", "2", "3"]


def test_bars_fall_from_asked_to_kept_and_a_count_is_never_invisible() -> None:
    bars = falling_bars(1000, {"refusal": 300, "empty": 0, "cut off": 1}, 699)
    assert [(bar.kind, bar.title, bar.n) for bar in bars] == [
        ("asked", "asked", 1000),
        ("drop", "refusal", 300),
        ("drop", "cut off", 1),
        ("kept", "kept", 699),
    ]
    assert [(bar.start, bar.width) for bar in bars] == [(0, 100), (70, 30), (69.9, 0.4), (0, 69.9)]
    assert bars[1].share == "30.0%"


def test_texts_are_cut_and_written_on_one_line() -> None:
    assert short("two\n lines", 20) == "two lines"
    assert short("a long name", 7) == "a long…"
    assert percent(None) == "–"
    assert without_surrogates("a\ud800b") == "a\ufffdb"

"""Long work without a terminal says from time to time how far it is."""

import time

import pytest

import sentibench.progress
from sentibench.progress import progress


def test_without_a_terminal_there_is_a_line_again_and_again(capsys, monkeypatch) -> None:
    monkeypatch.setattr(sentibench.progress, "EVERY_S", 0.02)
    with progress("ask", "request", 10, initial=2) as bar:
        bar.update()
        said = ""
        while said.count("\n") < 2:  # ends, or the test never does
            said += capsys.readouterr().err
            time.sleep(0.01)
    lines = said.splitlines()
    assert lines[0].startswith("ask: 3 of 10 requests after 00:0")
    assert "\r" not in said
    capsys.readouterr()
    time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_short_work_says_nothing_and_a_mistake_within_ends_the_lines(capsys, monkeypatch) -> None:
    with progress("ask", "request", 1) as bar:
        bar.update()
    monkeypatch.setattr(sentibench.progress, "EVERY_S", 0.02)
    with pytest.raises(KeyError), progress("ask", "request", 1):
        raise KeyError
    capsys.readouterr()
    time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_a_terminal_has_a_bar(capsys, monkeypatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with progress("ask", "request", 1) as bar:
        bar.update()
    assert "100%" in capsys.readouterr().err


@pytest.mark.parametrize("is_terminal", [False, True])
def test_the_time_left_is_told_from_the_whole_of_the_work(monkeypatch, is_terminal: bool) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: is_terminal)
    with progress("ask", "request", 40) as bar:
        now = [bar.start_t]
        monkeypatch.setattr(bar, "_time", lambda: now[0])
        for seconds in (100, 0.1, 0.1, 0.1):  # answers that come in a burst
            now[0] += seconds
            bar.update(5)
            bar.refresh()
        known = bar.format_dict
    # by hand: 100.3 s for 20 of 40 requests
    assert known["rate"] is None or known["rate"] == pytest.approx(20 / 100.3)
    assert known["elapsed"] == pytest.approx(100.3)

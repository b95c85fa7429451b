"""A loss is loud: when a run stops, and what it says then."""

from pathlib import Path

import pytest

from distill.config import FilterConfig
from distill.errors import LossError
from distill.filters.judge import filter_answers
from distill.filters.losses import DROPPED, FAILED, check_losses
from distill.reasons import REASONS
from sentibench.remote.records import Answer, Failure, Message, Request

LABELS = ("positive", "negative")
GOOD = Answer("positive", "stop")


def funnel_of(*outcomes: Answer | Failure):
    pairs = [
        (
            Request(
                f"{n:02d}", (Message("user", f"{n}?"),), "Tea.", "mine", meta={"labels": LABELS}
            ),
            outcome,
        )
        for n, outcome in enumerate(outcomes)
    ]
    return filter_answers(pairs, FilterConfig(), None)[1]


@pytest.mark.parametrize(
    ("kept", "lost", "config", "stops"),
    [
        (1, 1, {}, False),  # exactly half is enough
        (1, 2, {}, True),
        (1, 2, {"min_kept": 0.3}, False),
        (9, 1, {"min_kept": 1.0}, True),
        (1, 9, {"allow_loss": True}, False),
        (0, 1, {"allow_loss": True}, True),  # nothing is left to go on with
        (0, 1, {"min_kept": 0.0}, True),
        (0, 0, {}, False),
    ],
)
def test_a_step_stops_below_the_share_that_has_to_be_left(
    kept: int, lost: int, config: dict[str, object], stops: bool
) -> None:
    funnel = funnel_of(*[GOOD] * kept, *[Answer("odd", "stop")] * lost)
    settings = FilterConfig.model_validate(config)
    if not stops:
        check_losses("icldist-filter", funnel, settings)
        return
    with pytest.raises(LossError) as caught:
        check_losses("icldist-filter", funnel, settings)
    assert str(caught.value).startswith(
        f"icldist-filter: too few answers are left; got {kept} of {kept + lost}, "
    )
    assert ("allow_loss=true continues" in str(caught.value)) == (kept > 0)


def test_the_three_most_frequent_reasons_are_shown_with_an_example_and_a_setting() -> None:
    hostile = "odd \x1b[31m\n" + "a" * 300
    funnel = funnel_of(
        GOOD,
        *[Answer("<think>I see", "length")] * 4,
        *[Answer(hostile, "stop")] * 3,
        *[Failure("timeout", "no whole answer in 9 s\x07")] * 2,
        Answer("", "stop"),
    )
    with pytest.raises(LossError) as caught:
        check_losses("icldist-filter", funnel, FilterConfig(), Path("run/funnel.json"))
    said = str(caught.value)
    assert said.isprintable()
    assert len(said) < 1000
    reasons = ["4 only reasoning", "3 outside the taxonomy", "2 timeout"]
    places = [said.index(reason) for reason in reasons]
    assert places == sorted(places)
    assert "'<think>I see': icldist.label_tokens is 256 (raise that, to 1024 or more" in said
    assert "such as 'odd \\x1b[31m aaa" in said
    assert "(set teacher.response_format: label for a server, or icldist.score" in said
    assert "such as no whole answer in 9 s  (raise teacher.timeout_s)" in said
    assert "empty" not in said
    assert "run/funnel.json" in said
    assert "--retry-failed" in said
    assert "at least 50% (filters.min_kept)" in said


def test_each_reason_has_a_remedy() -> None:
    assert set(DROPPED) == set(REASONS)
    remedies = [*DROPPED.values(), *FAILED.values()]
    assert not [remedy for remedy in remedies if remedy.startswith("see ")]

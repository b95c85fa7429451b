"""Agreement of teacher and student, and what a teacher's answers took."""

import pytest

from distill.config import OpenAITeacherConfig
from distill.report.own_tasks import BothAnswers, Usage, agreement, asked_cost, examples

ANSWERS = [
    BothAnswers("a", "praise", "praise"),
    BothAnswers("b", "praise", "question"),
    BothAnswers("c", "praise", "question"),
    BothAnswers("d", None, None),  # two unreadable answers do not agree
]


def test_agreement_counts_equal_answers_and_names_the_most_frequent_others() -> None:
    found = agreement(ANSWERS, "")
    assert found.equal is not None
    # by hand: Wilson's interval of 1 in 4
    ends = (found.equal.value, found.equal.low, found.equal.high)
    assert ends == pytest.approx((0.25, 0.0456, 0.6994), abs=1e-4)
    assert [(d.teacher, d.student, d.n) for d in found.differing] == [
        ("praise", "question", 2),
        (None, None, 1),
    ]
    assert examples(ANSWERS, found.differing[0]) == ["b", "c"]


def test_without_answers_the_reason_is_kept() -> None:
    assert agreement([], "no texts").model_dump() == {
        **{"n": 0, "equal": None, "differing": (), "reason": "no texts"}
    }


def server(**given: float) -> OpenAITeacherConfig:
    return OpenAITeacherConfig(backend="openai", model="m", base_url="http://host/v1", **given)


def test_seconds_are_of_what_was_asked_and_tokens_of_all_answers() -> None:
    usage = [
        Usage(texts=10, prompt_tokens=300, answer_tokens=10, asked=5, seconds=2.0),
        Usage(texts=10, prompt_tokens=100, answer_tokens=30, asked=0, seconds=0.0),
    ]
    found = asked_cost(usage, server(usd_per_million_input=1.0, usd_per_million_output=4.0))
    assert found is not None
    assert (found.prompt_tokens, found.answer_tokens, found.seconds) == (20_000, 2_000, 400)
    assert found.usd == pytest.approx(0.028)
    unpriced = asked_cost(usage[1:], server(usd_per_million_input=1.0))
    assert unpriced is not None
    assert (unpriced.usd, unpriced.seconds) == (None, None)
    assert "not measured" in unpriced.basis

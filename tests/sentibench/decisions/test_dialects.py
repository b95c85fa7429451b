"""What is sent in each dialect, and what is read from answers, right and wrong."""

import json
from math import log
from typing import Any

import pytest

from sentibench.decisions.dialects import (
    FORMS,
    Refused,
    Unusable,
    chat_prompt,
    question_of,
)

PROMPT = (
    "Say how it sounds.\n\nSentence: Fine.\nLabel: good\n\nSentence: Not so fine.\nLabel: bad\n\n"
    "Sentence: Well.\nLabel:"
)
HEAD = "Say how it sounds.\n\nSentence: Fine.\nLabel: good\n\nSentence: Not so fine.\nLabel: bad"


def question(letters: bool = False, labels: tuple[str, ...] = ("good", "bad")) -> Any:
    return question_of(PROMPT, "Well.", labels, letters)


def test_a_prompt_is_taken_apart_into_instructions_and_the_text() -> None:
    assert (question().instructions, question().state) == (HEAD, "Well.")
    bare = question_of("Sentence: Well.\nLabel:", "Well.", ("good", "bad"), False)
    assert (bare.instructions, bare.state) == ("Which label does the text have?", "Well.")
    other = question_of("Is it so?", "Well.", (" good", " bad"), False)
    assert (other.state, other.options) == ("Is it so?", ("good", "bad"))


ASKED = [
    (
        "systemone",
        False,
        {
            "state": "Well.",
            "questions": {
                "label": {
                    "type": "choice",
                    "instructions": HEAD,
                    "criteria": {"good": None, "bad": None},
                }
            },
        },
    ),
    (
        "systemone",
        True,
        {
            "state": "Well.",
            "questions": {
                "label": {
                    "type": "choice",
                    "instructions": HEAD,
                    "criteria": {"A": "good", "B": "bad"},
                }
            },
        },
    ),
    (
        "decisions",
        False,
        {
            "input": "Well.",
            "questions": [
                {
                    "type": "choice",
                    "name": "label",
                    "instructions": HEAD,
                    "choices": [{"value": "good"}, {"value": "bad"}],
                }
            ],
        },
    ),
    (
        "decisions",
        True,
        {
            "input": "Well.",
            "questions": [
                {
                    "type": "choice",
                    "name": "label",
                    "instructions": HEAD,
                    "choices": [
                        {"value": "A", "description": "good"},
                        {"value": "B", "description": "bad"},
                    ],
                }
            ],
        },
    ),
]


@pytest.mark.parametrize(("dialect", "letters", "expected"), ASKED)
def test_a_question_is_sent_in_the_form_of_the_dialect(dialect, letters, expected) -> None:
    assert FORMS[dialect].asked(question(letters)) == expected
    # the order of the options counts, and dictionaries are equal in any
    assert json.dumps(FORMS[dialect].asked(question(letters))) == json.dumps(expected)


def test_the_chat_prompt_is_the_benchmarks_own() -> None:
    assert chat_prompt(question()) == PROMPT
    assert FORMS["chat"].asked(question())["messages"] == [{"role": "user", "content": PROMPT}]


def test_letters_stand_for_the_labels_in_demonstrations_too() -> None:
    assert chat_prompt(question(letters=True)) == (
        "Say how it sounds.\n\nSentence: Fine.\nLabel: A\n\nSentence: Not so fine.\nLabel: B\n\n"
        "Answer with the letter of the label.\nA: good\nB: bad\n\nSentence: Well.\nLabel:"
    )


def systemone(**answer: Any) -> Any:
    return {"answers": {"label": {"type": "choice", **answer}}}


def decisions(*pairs: tuple[Any, Any], **answer: Any) -> Any:
    listed = [{"value": value, "probability": p} for value, p in pairs]
    return {"answers": [{"type": "choice", "name": "label", "probabilities": listed, **answer}]}


def chat(*tokens: tuple[str, Any]) -> Any:
    listed = [{"token": token, "logprob": logprob} for token, logprob in tokens]
    return {"choices": [{"logprobs": {"content": [{"top_logprobs": listed}]}}]}


READ = [
    ("systemone", systemone(probabilities={"bad": 0.25, "good": 0.75}), [0.75, 0.25]),
    ("systemone", systemone(probabilities={"bad": 0, "good": 1}), [1, 0]),
    ("systemone", systemone(probabilities={"bad": 0.3, "good": 0.3}), [0.3, 0.3]),
    ("decisions", decisions(("bad", 0.25), ("good", 0.75)), [0.75, 0.25]),
    ("chat", chat((" good", log(0.5)), ("Bad", log(0.2)), ("b", log(0.1))), [0.5, 0.3]),
    # what begins neither label, or both, counts for none
    (
        "chat",
        chat((" go", log(0.5)), ("xyz", log(0.4)), ("", log(0.05)), ("ba", log(0.01))),
        [0.5, 0.01],
    ),
    # a label that is not listed has at most the last listed probability
    ("chat", chat(("good", log(0.5)), ("I", log(0.1)), ("The", log(0.02))), [0.5, 0.02]),
]


@pytest.mark.parametrize(("dialect", "reply", "expected"), READ)
def test_probabilities_are_read_in_the_order_of_the_labels(dialect, reply, expected) -> None:
    assert FORMS[dialect].read(reply, question()) == pytest.approx(expected)


def test_a_token_that_begins_two_labels_counts_for_none() -> None:
    asked = question(labels=("positive", "polite"))
    reply = chat(("po", log(0.6)), ("pos", log(0.2)), ("pol", log(0.1)))
    assert FORMS["chat"].read(reply, asked) == pytest.approx([0.2, 0.1])


NAN = float("nan")
WRONG = [
    ("systemone", systemone(probabilities={"good": NAN, "bad": 0.5}), "probability of 'good'"),
    ("systemone", systemone(probabilities={"good": "0.5", "bad": 0.5}), "got '0.5'"),
    ("systemone", systemone(probabilities={"good": True, "bad": 0.5}), "got True"),
    ("systemone", systemone(probabilities={"good": -0.1, "bad": 0.5}), "got -0.1"),
    ("systemone", systemone(probabilities={"good": 55, "bad": 45}), "got 55"),
    ("systemone", systemone(probabilities={"good": 0, "bad": 0}), "all probabilities are 0"),
    ("systemone", systemone(probabilities={"good": 1}), "options: got"),
    ("systemone", systemone(probabilities={"good": 1, "bad": 0, "so": 0}), "options: got"),
    ("systemone", systemone(probabilities=None), "options: got"),
    ("systemone", {"answers": {"other": {}}}, "type of the answer: got None"),
    ("systemone", {"answers": {"label": {"type": "noul", "noul": 0.5}}}, "got 'noul'"),
    ("systemone", [], "type of the answer"),
    ("decisions", decisions(("good", NAN), ("bad", 0.5)), "probability of 'good'"),
    ("decisions", decisions(("good", 0.5), ("good", 0.5)), "expected each once"),
    ("decisions", decisions((True, 0.5), ("bad", 0.5)), "expected each once"),
    ("decisions", decisions(("good", 1)), "options: got"),
    ("decisions", {"answers": []}, "type of the answer"),
    ("decisions", {"answers": [{"type": "choice", "name": "other"}]}, "type of the answer"),
    ("chat", {"choices": [{"message": {"content": "good"}}]}, "no log-probabilities"),
    ("chat", {"choices": [{"logprobs": {"content": [7]}}]}, "none of good, bad"),
    ("chat", chat(("good", NAN)), "log-probability of a token: got nan"),
    ("chat", chat(("good", 0.5)), "log-probability of a token: got 0.5"),
    ("chat", chat(("<think>", -0.1), ("I", -3.0)), "likely are ['<think>', 'I']"),
]


@pytest.mark.parametrize(("dialect", "reply", "message"), WRONG)
def test_what_is_no_distribution_is_refused(dialect, reply, message: str) -> None:
    with pytest.raises(Unusable) as error:
        FORMS[dialect].read(reply, question())
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("dialect", "reply"),
    [
        ("systemone", {"answers": {"label": {"type": "refusal"}}}),
        ("decisions", {"answers": [{"type": "refusal", "name": "label"}]}),
        ("chat", {"choices": [{"message": {"refusal": "No."}}]}),
        ("chat", {"choices": [{"finish_reason": "content_filter"}]}),
    ],
)
def test_a_refusal_is_one(dialect, reply) -> None:
    with pytest.raises(Refused):
        FORMS[dialect].read(reply, question())

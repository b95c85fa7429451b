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

LETTERED = HEAD.replace("Label: good", "Label: A").replace("Label: bad", "Label: B")


def question(letters: bool = False, labels: tuple[str, ...] = ("good", "bad")) -> Any:
    return question_of(PROMPT, "Well.", labels, letters)


def test_a_prompt_is_taken_apart_into_instructions_and_the_text() -> None:
    assert (question().instructions, question().state) == (HEAD, "Well.")
    bare = question_of("Sentence: Well.\nLabel:", "Well.", ("good", "bad"), False)
    assert (bare.instructions, bare.state) == ("Which label does the text have?", "Well.")
    other = question_of("Is it so?", "Well.", (" good", " bad"), False)
    assert (other.state, other.options) == ("Is it so?", ("good", "bad"))


@pytest.mark.parametrize(
    "prompt",
    [PROMPT, "Sentence: Well.\nLabel:", "Is it so?", "Sentence: Well.\nLabel: good\nSure? Label:"],
)
def test_no_word_of_a_prompt_is_lost_or_added(prompt: str) -> None:
    asked = question_of(prompt, "Well.", ("good", "bad"), False)
    assert chat_prompt(asked) == prompt
    assert asked.state in ("Well.", prompt)
    with_letters = chat_prompt(question_of(prompt, "Well.", ("good", "bad"), True))
    assert with_letters.endswith(f"A: good\nB: bad\n\n{asked.asks}")


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
                    "instructions": LETTERED,
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
                    "instructions": LETTERED,
                    "choices": [
                        {"value": "A", "description": "good"},
                        {"value": "B", "description": "bad"},
                    ],
                }
            ],
        },
    ),
    (
        "sglang",
        False,
        {
            "input": "Well.",
            "questions": [
                {
                    "id": "label",
                    "type": "choice",
                    "question": HEAD,
                    "options": [{"name": "good"}, {"name": "bad"}],
                }
            ],
        },
    ),
    (
        "sglang",
        True,
        {
            "input": "Well.",
            "questions": [
                {
                    "id": "label",
                    "type": "choice",
                    "question": LETTERED,
                    "options": [
                        {"name": "A", "description": "good"},
                        {"name": "B", "description": "bad"},
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
    ("sglang", systemone(probabilities={"bad": 0.25, "good": 0.75}, label_mass=0.4), [0.75, 0.25]),
    ("chat", chat((" good", log(0.5)), ("Bad", log(0.2)), ("*bad", log(0.1))), [0.5, 0.3]),
    # what is neither label, and begins neither or both, counts for none
    (
        "chat",
        chat((" goo", log(0.5)), ("xyz", log(0.4)), ("", log(0.05)), ("bad", log(0.01))),
        [0.5, 0.01],
    ),
    # tokens that add up to more than 1
    ("chat", chat(("good", 0.0), (" good", log(0.5)), ("bad", log(0.1))), [1, 0.1]),
    # arithmetic of servers: a bit more than 1, and what was left out
    ("systemone", systemone(probabilities={"good": 1.0000001, "bad": 0}), [1, 0]),
    ("systemone", systemone(probabilities={"good": 0.999}), [0.999, 0]),
    ("decisions", decisions(("bad", 1)), [0, 1]),
    ("decisions", decisions(("good", 0.75), ("bad", 0.25), name=None), [0.75, 0.25]),
]


@pytest.mark.parametrize(("dialect", "reply", "expected"), READ)
def test_probabilities_are_read_in_the_order_of_the_labels(dialect, reply, expected) -> None:
    found = FORMS[dialect].read(reply, question())
    assert found.probabilities == pytest.approx(expected)
    assert max(found.probabilities) <= 1
    assert found.n_bounds == 0


def test_an_answer_without_a_name_key_is_the_only_one() -> None:
    reply = decisions(("good", 0.75), ("bad", 0.25))
    del reply["answers"][0]["name"]
    read = FORMS["decisions"].read
    assert read(reply, question()).probabilities == [0.75, 0.25]
    reply["answers"] *= 2
    with pytest.raises(Unusable):
        read(reply, question())


@pytest.mark.parametrize("labels", [("good", "bad"), ("bad", "good")])
def test_a_label_that_is_not_listed_has_a_bound_below_all_that_are(labels: Any) -> None:
    reply = chat(("I", log(0.5)), ("The", log(0.3)), (" good", log(0.02)))
    found = FORMS["chat"].read(reply, question(labels=labels))
    of_label = dict(zip(labels, map(log, found.probabilities), strict=True))
    assert of_label["bad"] < of_label["good"]
    assert of_label["bad"] == pytest.approx(log(0.02), abs=0.01)
    assert found.n_bounds == 1


@pytest.mark.parametrize(
    ("token", "labels"),
    [
        ("I", ("irony", "non-irony")),
        (" A", ("anger", "joy")),
        ("No", ("none", "favor")),
        ("Po", ("positive", "negative")),
    ],
)
def test_other_words_are_no_labels(token: str, labels: Any) -> None:
    with pytest.raises(Unusable):
        FORMS["chat"].read(chat((token, -0.1)), question(labels=labels))


def test_a_whole_label_counts_whatever_its_length_and_whatever_it_begins() -> None:
    asked = question(labels=("no", "not sure"))
    reply = chat(("No", log(0.5)), (" not", log(0.25)))
    assert FORMS["chat"].read(reply, asked).probabilities == pytest.approx([0.5, 0.25])


def test_with_letters_a_token_is_a_letter_or_counts_for_none() -> None:
    tokens = [("A", 0.3), (" B", 0.2), (" a", 0.2), ("An", 0.1), ("b", 0.05), ("(B", 0.05)]
    reply = chat(*((token, log(p)) for token, p in tokens))
    found = FORMS["chat"].read(reply, question(letters=True))
    assert found.probabilities == pytest.approx([0.3, 0.2])


def test_a_token_that_begins_two_labels_counts_for_none() -> None:
    asked = question(labels=("positive", "possible"))
    reply = chat(("pos", log(0.6)), ("posi", log(0.2)), ("poss", log(0.1)))
    assert FORMS["chat"].read(reply, asked).probabilities == pytest.approx([0.2, 0.1])


NAN = float("nan")
WRONG = [
    ("systemone", systemone(probabilities={"good": NAN, "bad": 0.5}), "probability of 'good'"),
    ("systemone", systemone(probabilities={"good": "0.5", "bad": 0.5}), "got '0.5'"),
    ("systemone", systemone(probabilities={"good": True, "bad": 0.5}), "got True"),
    ("systemone", systemone(probabilities={"good": -0.1, "bad": 0.5}), "got -0.1"),
    ("systemone", systemone(probabilities={"good": 55, "bad": 45}), "got 55"),
    ("systemone", systemone(probabilities={"good": 0, "bad": 0}), "all probabilities are 0"),
    ("systemone", systemone(probabilities={"good": 0.9}), "options: got"),
    ("systemone", systemone(probabilities={"good": 1.01, "bad": 0}), "got 1.01"),
    ("systemone", systemone(probabilities={"other": 1}), "options: got"),
    ("systemone", systemone(probabilities={"good": 1, "bad": 0, "so": 0}), "options: got"),
    ("systemone", systemone(probabilities=None), "options: got"),
    ("systemone", {"answers": {"other": {}}}, "type of the answer: got None"),
    ("systemone", {"answers": {"label": {"type": "noul", "noul": 0.5}}}, "got 'noul'"),
    ("systemone", [], "type of the answer"),
    ("decisions", decisions(("good", NAN), ("bad", 0.5)), "probability of 'good'"),
    ("decisions", decisions(("good", 0.5), ("good", 0.5)), "expected each once"),
    ("decisions", decisions((True, 0.5), ("bad", 0.5)), "expected each once"),
    ("decisions", decisions(("good", 0.5)), "options: got"),
    ("sglang", systemone(probabilities={"good": NAN, "bad": 0.5}), "probability of 'good'"),
    ("sglang", systemone(probabilities={"good": 0.5}), "options: got"),
    ("sglang", {"answers": []}, "type of the answer"),
    ("decisions", {"answers": []}, "type of the answer"),
    ("decisions", {"answers": [{"type": "choice", "name": "other"}]}, "type of the answer"),
    ("chat", {"choices": [{"message": {"content": "good"}}]}, "no log-probabilities"),
    ("chat", {"choices": [{"logprobs": {"content": [7]}}]}, "none of good, bad"),
    ("chat", chat(("good", NAN)), "log-probability of a token: got nan"),
    ("chat", chat(("good", 0.5)), "log-probability of a token: got 0.5"),
    ("chat", chat(("<think>", -0.1), ("I", -3.0)), "its likeliest tokens are ['<think>', 'I']"),
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
        ("sglang", {"answers": {"label": {"type": "refusal"}}}),
        ("chat", {"choices": [{"message": {"refusal": "No."}}]}),
        ("chat", {"choices": [{"finish_reason": "content_filter"}]}),
    ],
)
def test_a_refusal_is_one(dialect, reply) -> None:
    with pytest.raises(Refused):
        FORMS[dialect].read(reply, question())

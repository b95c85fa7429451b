"""The local server of docs/own_data, started as a user starts it and asked as a run asks it."""

import json
import re
import subprocess
import sys
from ast import literal_eval
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from whole_lists import knowdist_requests

from distill.config import FilterConfig, KnowDist, OpenAITeacherConfig
from distill.filters.judge import filter_answers
from distill.prompts.taxonomies import load_taxonomies
from distill.teachers.openai import OpenAITeacher
from distill.texts.sources import Text
from sentibench.prompts.few_shot import render_few_shot
from sentibench.remote.records import Answer, Decoding, Message, Request

FOLDER = Path(__file__).parents[2] / "docs" / "own_data"
BLAME = "The lid cracked on day two and nobody answers my mails."
PRAISE = "What a lovely, sturdy lamp, thank you!"
ASKS = "Does the kettle come in red?"
KINDS = "Say which kind the review is: complaint, praise or question."


def command(*arguments: object) -> list[str]:
    return [sys.executable, str(FOLDER / "server.py"), *map(str, arguments)]


@contextmanager
def serving(*arguments: str) -> Iterator[str]:
    """The address of a server on a free port."""
    process = subprocess.Popen(command("--port", 0, *arguments), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving() as found:
        yield found


def asked(address: str, prompts: list[str], **given: Any) -> list[Answer]:
    """What distill's teacher gets."""
    settings = {"backend": "openai", "model": "rules", "base_url": address, **given}
    teacher = OpenAITeacher(OpenAITeacherConfig.model_validate(settings))
    made = [
        Request(str(n), (Message("user", p),), p, "invented", decoding=Decoding(200))
        for n, p in enumerate(prompts)
    ]
    answers = {request.id: answer for request, answer in teacher.answer(made)}
    found = [answers[request.id] for request in made]
    assert all(isinstance(answer, Answer) for answer in found), found
    return [answer for answer in found if isinstance(answer, Answer)]


def post(address: str, path: str = "/chat/completions", **payload: Any) -> requests.Response:
    return requests.post(address + path, json={"model": "rules", **payload}, timeout=20)


@pytest.mark.parametrize("style", ["chat", "completions"])
def test_labels_are_those_that_the_instruction_names(address: str, style: str) -> None:
    prompts = [render_few_shot(KINDS, [], text) for text in (BLAME, PRAISE, ASKS)]
    answers = asked(address, prompts, style=style)
    assert [answer.text for answer in answers] == ["complaint", "praise", "question"]
    assert [answer.prompt_tokens for answer in answers] == [len(p.split()) for p in prompts]
    assert {(answer.completion_tokens, answer.finish) for answer in answers} == {(1, "stop")}


@pytest.mark.parametrize(
    "labels", [("Complaint", "Praise", "Question"), ("A", "B", "C"), ("negative", "positive", "?!")]
)
def test_labels_are_those_of_the_demonstrations(address: str, labels: tuple[str, ...]) -> None:
    texts = ("It broke, what a shame.", "Great chair, I love it.", "Is there a larger size?")
    shown = list(zip(texts, labels, strict=True))
    prompts = [render_few_shot("", shown, text) for text in (BLAME, PRAISE, ASKS)]
    assert tuple(answer.text for answer in asked(address, prompts)) == labels


@pytest.mark.parametrize(
    ("instruction", "label"),
    [
        ("Answer negative, neutral or positive.", "negative"),
        ("The answers are complaint (it is bad) and praise (it is good).", "complaint"),
        ("good: she likes it. bad: she does not, or is angry.", "bad"),
        ("Write one label, which may be good, indifferent or bad.", "bad"),
    ],
)
def test_labels_are_found_in_each_wording(address: str, instruction: str, label: str) -> None:
    [answer] = asked(address, [render_few_shot(instruction, [], BLAME)])
    assert answer.text == label


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("The lamp is not good.", "complaint"),  # turned round
        ("No problems and no drips.", "praise"),
        ("It came late, but I love it.", "praise"),  # what follows "but" counts more
        ("Good lid, good pan, good box, but it leaks and it cracked.", "complaint"),
        ("The nice fan broke. Brilliant.", "complaint"),  # irony
        ("Where is my parcel? I love the lamp.", "question"),
        ("The box is 30 cm wide.", "complaint"),  # without any word of feeling
    ],
)
def test_words_are_weighed(address: str, text: str, label: str) -> None:
    [answer] = asked(address, [render_few_shot(KINDS, [], text)])
    assert answer.text == label


@pytest.mark.parametrize(
    ("text", "opinions"),
    [
        ("Ravioli, silky and light.", [("Ravioli", "positive")]),  # a clause that names nothing
        ("Rude chef and a stale pie in the garden.", [("chef", "negative"), ("pie", "negative")]),
        ("The onion soup was tasty.", [("onion soup", "positive")]),
        ("The chef's soup was not tasty.", [("chef's soup", "negative")]),
    ],
)
def test_opinions_follow_clauses(address: str, text: str, opinions: list[tuple[str, str]]) -> None:
    [answer] = asked(address, [render_few_shot("A list of (aspect, polarity).", [], text)])
    assert literal_eval(answer.text) == opinions


def test_a_restated_text_is_in_plain_writing(address: str) -> None:
    prompt = (
        "Restate the text.\n\nText: I DON'T like it!!! 😡 The lid is useless\n\nRewritten text:"
    )
    [answer] = asked(address, [prompt])
    assert "I do not like it. The lid is of no use." in answer.text
    assert len(answer.text.split()) > 14


def test_most_examples_of_the_package_get_their_label(address: str) -> None:
    taxonomy = load_taxonomies()["sentiment_3"]
    prompts = [
        render_few_shot("Answer negative, neutral or positive.", [], example.text)
        for example in taxonomy.examples
    ]
    gold = [example.label for example in taxonomy.examples]
    said = [answer.text for answer in asked(address, prompts)]
    assert sum(a == b for a, b in zip(gold, said, strict=True)) > 0.8 * len(gold)


def test_a_response_format_with_an_enumeration_is_followed(address: str) -> None:
    schema = {"type": "object", "properties": {"kind": {"enum": ["praise", "complaint"]}}}
    reply = post(
        address,
        messages=[{"role": "user", "content": render_few_shot("", [], BLAME)}],
        response_format={"type": "json_schema", "json_schema": {"name": "k", "schema": schema}},
    )
    content = reply.json()["choices"][0]["message"]["content"]
    assert json.loads(content) == {"kind": "complaint"}


@pytest.mark.parametrize(
    "shown",
    [[], [("The tea was fine.", "[('tea', 'positive')]")]],
    ids=["instruction", "demonstration"],
)
def test_opinions_come_as_a_list_of_tuples(address: str, shown: list[tuple[str, str]]) -> None:
    instruction = "" if shown else "Write a Python list of (aspect, polarity) tuples."
    texts = ["Lovely soup, but the waiter was rude. We had the trout.", "We left early."]
    prompts = [render_few_shot(instruction, shown, text) for text in texts]
    some, none = [literal_eval(answer.text) for answer in asked(address, prompts)]
    assert some == [("soup", "positive"), ("waiter", "negative"), ("trout", "neutral")]
    assert none == []


@pytest.mark.parametrize("few_shot", [False, True])
def test_explanations_are_prose_that_the_filters_keep(address: str, few_shot: bool) -> None:
    texts = [Text(str(n), text, "own") for n, text in enumerate((BLAME, PRAISE, ASKS))]
    made = knowdist_requests(texts, KnowDist(samples=30, few_shot=few_shot), 0)
    assert len(made) == 24
    answers = asked(address, [request.prompt for request in made])
    assert [a.text for a in answers] == [a.text for a in asked(address, [r.prompt for r in made])]
    assert len({answer.text for answer in answers}) >= 20
    for request, answer in zip(made, answers, strict=True):
        assert len(answer.text.split()) >= 8
        if request.text == BLAME and request.meta["family"] == "analysing":
            assert "is negative." in answer.text
    kept, _ = filter_answers(zip(made, answers, strict=True), FilterConfig(), None)
    assert len(kept) >= 20


def test_an_explanation_names_the_words_and_the_thing(address: str) -> None:
    texts = [Text("1", PRAISE, "own")]
    views = {r.meta["perspective"]: r for r in knowdist_requests(texts, KnowDist(samples=4), 0)}
    words, target = asked(address, [views["expression"].prompt, views["target"].prompt])
    assert '"lovely"' in words.text
    assert "lamp" in target.text


def test_a_server_that_thinks_does_so_before_each_answer_and_within_the_limit() -> None:
    prompts = [render_few_shot(KINDS, [], BLAME), "Explain it.\n\nText: Fine.\n\nExplanation:"]
    with serving("--think") as address:
        for answer in asked(address, prompts):
            assert re.fullmatch(r"<think>\n.+\n</think>\n\n\S.*", answer.text)
        turns = [{"role": "user", "content": prompts[0]}]
        choice = post(address, messages=turns, max_tokens=8).json()["choices"][0]
        stopped = post(address, messages=turns, stop=["\n"]).json()["choices"][0]
    assert choice["finish_reason"] == "length"
    assert len(choice["message"]["content"].split()) == 8
    assert (stopped["message"]["content"], stopped["finish_reason"]) == ("<think>", "stop")


def test_a_server_that_fences_answers_labels_in_json_and_prose_in_words() -> None:
    prompts = [render_few_shot(KINDS, [], BLAME), "Explain it.\n\nText: Fine.\n\nExplanation:"]
    with serving("--fenced") as address:
        label, prose = asked(address, prompts)
    assert label.text == '```json\n{"label": "complaint"}\n```'
    assert "```" not in prose.text


def test_the_turns_of_a_chat_are_demonstrations(address: str) -> None:
    turns = [
        {"role": "system", "content": KINDS},
        {"role": "user", "content": "Sentence: Great chair.\nLabel:"},
        {"role": "assistant", "content": "praise"},
        {"role": "user", "content": [{"type": "text", "text": f"Sentence: {ASKS}\nLabel:"}]},
    ]
    reply = post(address, messages=turns).json()
    assert reply["choices"][0]["message"] == {"role": "assistant", "content": "question"}


def test_several_prompts_get_several_answers(address: str) -> None:
    prompts = [render_few_shot(KINDS, [], text) for text in (PRAISE, ASKS)]
    reply = post(address, "/completions", prompt=prompts).json()
    assert [choice["text"] for choice in reply["choices"]] == ["praise", "question"]
    assert reply["usage"]["total_tokens"] == sum(len(prompt.split()) + 1 for prompt in prompts)


def test_the_model_is_listed(address: str) -> None:
    listed = requests.get(f"{address}/models", timeout=20).json()
    assert [model["id"] for model in listed["data"]] == ["rules"]


@pytest.mark.parametrize(
    ("path", "payload", "status"),
    [
        ("/embeddings", {"input": "x"}, 404),
        ("/chat/completions", {"prompt": "x"}, 400),
        ("/chat/completions", {"messages": []}, 400),
        ("/chat/completions", {"messages": [{"role": "user", "content": None}]}, 400),
        ("/completions", {"prompt": [1, 2]}, 400),
        ("/completions", {"prompt": "x", "max_tokens": "many"}, 400),
        ("/completions", {"prompt": "x" * (1 << 20)}, 413),
    ],
)
def test_a_request_in_no_form_is_refused(
    address: str, path: str, payload: dict[str, Any], status: int
) -> None:
    reply = post(address, path, **payload)
    assert reply.status_code == status
    assert reply.json()["error"]["message"]


@pytest.mark.parametrize(
    ("name", "measure", "lowest"),
    [
        ("reviews.csv", "accuracy", 0.85),
        ("held_out.csv", "accuracy", 0.85),
        ("aspects.jsonl", "F1", 0.65),
    ],
)
def test_the_rules_are_mostly_right_and_know_no_text_by_heart(
    name: str, measure: str, lowest: float
) -> None:
    shown = subprocess.run(command("--score", FOLDER / name), capture_output=True, text=True)
    found = re.match(rf"{measure} (\S+) ", shown.stdout)
    assert found, shown.stderr
    assert lowest <= float(found[1]) < 0.97


def test_a_file_of_another_kind_and_a_taken_port_are_one_line(tmp_path: Path, address: str) -> None:
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n", encoding="utf-8")
    port = address.split(":")[2].partition("/")[0]
    for arguments, named in ((("--score", other), "other.csv"), (("--port", port), port)):
        shown = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=20)
        assert shown.returncode == 2
        assert shown.stderr.startswith("error: ")
        assert shown.stderr.count("\n") == 1
        assert named in shown.stderr

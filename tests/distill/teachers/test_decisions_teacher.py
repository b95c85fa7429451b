"""A server with a decisions endpoint as a teacher, against a real local server."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from decisions_server import KEY, DecisionsServer, likely, running
from small_runs import do_all_before, requests_of, samples_of, steps_of

from distill.config import DecisionsTeacherConfig, load_config
from distill.errors import ConfigError
from distill.run.stages import asked_teacher, measured, teachers_of
from distill.teachers import identity, load_teacher
from sentibench.decisions.dialects import DIALECTS, VERSION
from sentibench.errors import TeacherError
from sentibench.remote import chat
from sentibench.remote.asking import ask
from sentibench.remote.records import Answer, Decoding, Failure, Message, Request
from sentibench.remote.store import Store

LABELS = ("negative", "positive", "neutral")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[DecisionsServer]:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(chat, "uniform", lambda *_: 0.0)
    with running() as server:
        yield server


def config(server: DecisionsServer, **given: Any) -> DecisionsTeacherConfig:
    said = {"model": "m", "base_url": server.url, "dialect": "decisions", "max_attempts": 2}
    return DecisionsTeacherConfig(backend="decisions", **{**said, **given})


def label_request(text: str) -> Request:
    prompt = f"Which one?\n\nSentence: {text}\nLabel:"
    return Request(text, (Message("user", prompt),), text, "invented", choices=LABELS)


def free_request(text: str) -> Request:
    return Request(
        text, (Message("user", f"Explain {text}"),), text, "invented", decoding=Decoding()
    )


def answers(settings: DecisionsTeacherConfig, requests: list[Request]) -> list[Answer | Failure]:
    found = {request.id: one for request, one in load_teacher(settings).answer(requests)}
    return [found[request.id] for request in requests]


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name != "chat"])
def test_a_label_is_answered_with_the_logarithm_of_each_probability(
    server: DecisionsServer, dialect: Any
) -> None:
    texts = ["a", "bb", "ccc"]
    for text, answer in zip(
        texts,
        answers(config(server, dialect=dialect), [label_request(t) for t in texts]),
        strict=True,
    ):
        assert isinstance(answer, Answer)
        expected = likely(text, list(LABELS))
        assert [math.exp(v) for v in answer.log_likelihoods] == pytest.approx([*expected.values()])
        assert (answer.text, answer.finish) == (max(expected, key=lambda o: expected[o]), "choice")
        assert answer.prompt_tokens == 9


def test_free_text_is_written_by_the_chat_of_the_same_server(server: DecisionsServer) -> None:
    (answer,) = answers(config(server), [free_request("this")])
    assert isinstance(answer, Answer)
    assert (answer.text, answer.finish, answer.log_likelihoods) == ("[]", "stop", ())
    assert server.seen[0][0] == "/v1/chat/completions"


def test_a_server_without_chat_ends_in_one_error(server: DecisionsServer) -> None:
    server.behave = lambda path, _: None if path == "/v1/decisions" else (404, {})
    with pytest.raises(TeacherError) as error:
        answers(config(server), [free_request("this")])
    assert "/v1/chat/completions does not exist" in str(error.value)
    assert "a server may lack chat" in str(error.value)
    assert isinstance(answers(config(server), [label_request("this")])[0], Answer)


def test_letters_stand_for_labels_of_several_tokens(server: DecisionsServer) -> None:
    (answer,) = answers(config(server, letters=True), [label_request("a")])
    assert isinstance(answer, Answer)
    assert answer.text == "positive"  # option B
    (choices,) = [question["choices"] for question in server.seen[0][1]["questions"]]
    assert choices[1] == {"value": "B", "description": "positive"}


def test_answers_are_kept_with_their_probabilities(server: DecisionsServer, tmp_path: Path) -> None:
    settings, requests = config(server), [label_request("a"), label_request("bb")]
    for _ in range(2):
        with Store.open(tmp_path / "store", *identity(settings)) as store:
            found = ask(requests, lambda: load_teacher(settings), store)
        assert all(len(a.log_likelihoods) == 3 for _, a in found if isinstance(a, Answer))
        assert len(found) == 2
    assert len(server.seen) == 2
    others = [{"dialect": "chat"}, {"letters": True}, {"model": "n"}, {"revision": "2"}]
    known = {identity(config(server, **other)) for other in ({}, *others)}
    assert len(known) == 5


RUN = """
name: small
student: {student}
teacher: {{backend: decisions, model: m, base_url: "{url}"{more}}}
texts: [{{dataset: sst2, mini: true}}]
icldist: {{samples: 12, shots: [1, 2]}}
evaluation: {{tasks: [sentibench_mini_sst2]}}
out: {student}/runs
"""
NOBODY = "http://127.0.0.1:9/v1"


def test_a_student_is_taught_what_the_probabilities_say(
    server: DecisionsServer, tmp_path: Path, small_tests: None, tiny_student: Path
) -> None:
    path = tmp_path / "run.yaml"
    said = RUN.format(student=tmp_path, url=server.url, more=", dialect: systemone")
    path.write_text(said.replace(f"student: {tmp_path}", f"student: {tiny_student}"), "utf-8")
    steps = steps_of(load_config(path))
    do_all_before(steps["icldist-filter"])
    samples = samples_of(steps, "icldist-filter")
    assert len(samples) >= 10
    (store,) = (tmp_path / "runs" / "answers").iterdir()
    with Store.read(store) as kept:
        found = {
            request.text: kept.get(kept.key_of(request))
            for request in requests_of(steps, "icldist")
        }
    assert all(answer and len(answer.log_likelihoods) >= 2 for answer in found.values())
    criteria = {said["state"]: said["questions"]["label"]["criteria"] for _, said in server.seen}
    for text, answer in found.items():
        assert answer is not None
        expected = likely(text, list(criteria[text]))
        assert answer.text.strip() == max(expected, key=lambda option: expected[option])


def test_a_run_measures_such_a_teacher_by_its_answers(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        RUN.format(student=tmp_path, url=NOBODY, more=", dialect: systemone"), encoding="utf-8"
    )
    run = load_config(path)
    assert measured(run)[0] == "teacher"
    found = asked_teacher(run, "teacher", teachers_of(run))
    assert found is not None
    assert (found.name, found.revision) == ("decisions/m", f"/systemone/{VERSION}")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("", "teacher.dialect"),
        (", dialect: other", "teacher.dialect"),
        (", dialect: chat, style: completions", "unknown key 'style'"),
        (", dialect: chat, extra_body: {input: a}", "got 'input', which cannot be set here"),
        (", dialect: chat, label_body: {logprobs: no}", "got 'logprobs', which cannot be set here"),
        (", dialect: chat, api_key_env: sk-proj-1", "api_key_env: expected the name of an envir"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, more: str, message: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(RUN.format(student=tmp_path, url=NOBODY, more=more), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_config(path)

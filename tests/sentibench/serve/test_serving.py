"""A real server gives the classifier's answers, alone to the last digit, and says no clearly."""

import json
import math
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("uvicorn")

from sentibench import Classifier
from sentibench.data.cards import load_tasks
from sentibench.data.read import load_split
from sentibench.predict.classifier import Labelled
from sentibench.serve.answering import Scored
from sentibench.serve.app import MOST_BYTES, About, build
from sentibench.serve.batching import Batcher
from sentibench.serve.measures import Measures
from sentibench.serve.shapes import MOST_CHARACTERS, MOST_TEXTS

TASK = "sentibench_mini_emotion20"
TEXTS = [e.sentence for e in load_split(load_tasks()[TASK], "test").examples]
CHOICE = {"type": "choice", "instructions": "Say it.", "criteria": {"good": None, "bad": None}}
CHOICES = {"type": "choice", "instructions": "Say it."}
CHOICES |= {"choices": [{"value": "good"}, {"value": "bad"}]}


def as_json(answers: list) -> list[dict[str, Any]]:
    return [
        {"label": a.label, "probability": a.probability, "probabilities": a.probabilities}
        for a in answers
    ]


def test_answers_are_those_of_the_classifier_to_the_last_digit(client, student: Path) -> None:
    status, found = client.ask("/v1/classify", {"texts": TEXTS})
    assert status == 200
    assert (found["model"], found["task"]) == ("student", TASK)
    assert len(TEXTS) == 24
    expected = Classifier(student)
    assert (expected.shots, expected.temperature) == (4, 2.5)
    assert found["answers"] == as_json(expected(TEXTS))
    # what was kept of the prompts changes no digit of the next request
    assert client.ask("/v1/classify", {"texts": TEXTS[4:12]})[1]["answers"] == as_json(
        expected(TEXTS[4:12])
    )


@pytest.mark.parametrize("text", ["plain", "Ünïcödé 😀 \u0000 日本", "  spaces \n and lines\t"])
def test_one_text_is_answered_like_one_text(client, student: Path, text: str) -> None:
    found = client.ask("/v1/classify", {"text": text, "model": "student"})[1]
    assert found["answers"] == as_json(Classifier(student)([text]))


def test_an_empty_text_has_no_label_and_no_number(client) -> None:
    (answer,) = client.ask("/v1/classify", {"text": " "})[1]["answers"]
    assert answer["label"] is None
    assert answer["probability"] is None
    assert set(answer["probabilities"].values()) == {None}


def test_many_clients_get_the_same_answers_and_share_batches(
    connect: Callable, student: Path
) -> None:
    before = n_batches(connect())

    def ask(text: str) -> dict[str, Any]:
        return connect().ask("/v1/classify", {"text": text})[1]["answers"][0]

    with ThreadPoolExecutor(24) as pool:
        found = list(pool.map(ask, TEXTS))
    assert n_batches(connect()) - before < len(TEXTS)
    for answer, expected in zip(found, Classifier(student)(TEXTS), strict=True):
        assert answer["label"] == expected.label
        # other neighbours in the batch change last digits
        assert answer["probabilities"] == pytest.approx(expected.probabilities, abs=1e-5)


def n_batches(client) -> int:
    counted = re.search(r"^sentibench_batch_items_count (\S+)", client.get("/metrics")[1], re.M)
    assert counted
    return int(float(counted[1]))


@pytest.mark.parametrize("path", ["/v1/systemone", "/v1/decisions"])
def test_questions_of_a_client_get_the_scores_of_lm_eval(
    connect: Callable, student: Path, path: str
) -> None:
    """The prompts of ``--model sentibench-hf``, taken apart as a client does it."""
    samples = samples_of_lm_eval(student)
    assert len(samples) == 24

    def ask(sample: dict[str, Any]) -> list[float]:
        prompt, words = sample["arguments"][0][0], [a[1].strip() for a in sample["arguments"]]
        head, cut, _ = prompt.rpartition("Sentence: ")
        state = sample["doc"]["sentence"]
        assert cut
        assert prompt == f"{head}Sentence: {state}\nLabel:"
        return probabilities_of(connect(), path, head.removesuffix("\n\n"), state, words)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, samples))
    for sample, probabilities in zip(samples, found, strict=True):
        assert probabilities == pytest.approx(softmax_of(sample), abs=1e-5)
        likeliest = softmax_of(sample)
        assert probabilities.index(max(probabilities)) == likeliest.index(max(likeliest))
    assert len({tuple(one) for one in found}) > 20


def samples_of_lm_eval(checkpoint: Path) -> list[dict[str, Any]]:
    from lm_eval import simple_evaluate

    from sentibench.fast.model import load_model
    from sentibench.harness import task_manager

    model = load_model(str(checkpoint), dtype="float32", softmax_dtype="float32")
    found: Any = simple_evaluate(
        model=model, tasks=[TASK], task_manager=task_manager(), log_samples=True
    )
    return found["samples"][TASK]


def softmax_of(sample: dict[str, Any]) -> list[float]:
    import numpy as np
    from scipy.special import softmax

    return softmax(np.array([float(r[0][0]) for r in sample["resps"]])).tolist()


def probabilities_of(client, path: str, instructions: str, state: str, words: list[str]):
    asked: dict[str, Any] = {"type": "choice", "instructions": instructions}
    if path == "/v1/systemone":
        asked["criteria"] = dict.fromkeys(words)
        status, found = client.ask(path, {"state": state, "questions": {"q": asked}})
        assert status == 200, found
        answer = found["answers"]["q"]
        assert list(answer["probabilities"]) == words
        probabilities = list(answer["probabilities"].values())
    else:
        asked |= {"name": "q", "choices": [{"value": word} for word in words]}
        status, found = client.ask(path, {"input": state, "questions": [asked]})
        assert status == 200, found
        (answer,) = found["answers"]
        assert answer["name"] == "q"
        assert [one["value"] for one in answer["probabilities"]] == words
        probabilities = [one["probability"] for one in answer["probabilities"]]
    assert answer["type"] == "choice"
    highest = max(probabilities)
    assert answer["choice"] == words[probabilities.index(highest)]
    k = len(words)
    assert answer["confidence"] == pytest.approx((highest - 1 / k) / (1 - 1 / k))
    return probabilities


@pytest.mark.parametrize("path", ["/v1/systemone", "/v1/decisions"])
def test_a_question_alone_is_scored_like_the_task_to_the_last_digit(
    client, student: Path, path: str
) -> None:
    classifier = Classifier(student, temperature=1.0)
    recipe = classifier.recipe
    head, _, _ = recipe.prompt(TEXTS[0], 4).rpartition("\n\nSentence: ")
    words = list(recipe.scoring_words)
    found = probabilities_of(client, path, head, TEXTS[0], words)
    assert found == list(classifier([TEXTS[0]])[0].probabilities.values())


def test_answers_keep_the_order_of_questions_and_their_truth_values(client) -> None:
    boolean = {"type": "choice", "name": "b", "instructions": "Is it good?"}
    boolean |= {"choices": [{"value": True, "description": "it is"}, {"value": False}]}
    part = {"type": "input_text", "text": "fine"}
    message = {"type": "message", "role": "user", "content": [part]}
    asked = {"input": [message], "questions": [CHOICES, boolean], "safety_identifier": "me"}
    status, found = client.ask("/v1/decisions", asked)
    assert status == 200
    first, second = found["answers"]
    assert (first["name"], second["name"]) == (None, "b")
    assert [one["value"] for one in second["probabilities"]] == [True, False]
    usage = found["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] > 10
    assert usage["output_tokens"] == usage["output_tokens_details"]["reasoning_tokens"] == 0
    named = {"state": {"review": "fine"}, "questions": {"ä": CHOICE, "a": CHOICE}}
    status, found = client.ask("/v1/systemone", named)
    assert (status, list(found["answers"])) == (200, ["ä", "a"])
    assert found["answers"]["ä"] == found["answers"]["a"]


def test_what_the_sources_allow_is_answered(client) -> None:
    """vLLM: one option, JSON for words, no instructions. OpenAI: true beside its name."""
    loose = {"type": "choice", "criteria": {"a": {"means": ["x"]}}}
    ignored = {"seed": 1, "cache_salt": "s", "priority": 2, "request_id": "r"}
    status, found = client.ask("/v1/systemone", asked_of("fine", {"q": loose}, **ignored))
    assert status == 200
    answer = found["answers"]["q"]
    assert (answer["choice"], answer["probabilities"], answer["confidence"]) == ("a", {"a": 1.0}, 1)
    twins = {**CHOICES, "choices": [{"value": True}, {"value": "true"}, {"value": "no"}]}
    status, found = client.ask("/v1/decisions", {"input": "fine", "questions": [twins]})
    assert status == 200
    first, second, _ = found["answers"][0]["probabilities"]
    assert (first["value"], second["value"]) == (True, "true")
    assert first["probability"] == second["probability"]


def test_instructions_ahead_of_the_questions_stand_in_each(client) -> None:
    ahead = client.ask("/v1/systemone", asked_of("fine", QUESTION, instructions="Read."))[1]
    both = {**CHOICE, "instructions": "Read.\nSay it."}
    alike = client.ask("/v1/systemone", asked_of("fine", {"q": both}))[1]
    assert ahead["answers"] == alike["answers"]
    without = client.ask("/v1/systemone", asked_of("fine", QUESTION))[1]
    assert ahead["answers"] != without["answers"]


def test_questions_with_other_options_follow_labels(client) -> None:
    """What listens to the labels of one request hears nothing of the next."""
    options = ("one", "two", "three", "four")
    labels = client.ask("/v1/classify", {"text": "fine"})[1]["answers"][0]["probabilities"]
    assert len(labels) == len(options)
    assert len(probabilities_of(client, "/v1/systemone", "Count.", "fine", [*options])) == 4


def asked_of(state: object, questions: object, **others: object) -> dict[str, object]:
    return {"state": state, "questions": questions, **others}


def messages(*texts: object) -> list[dict[str, object]]:
    return [{"role": "user", "content": text} for text in texts]


LONG = "x" * (MOST_CHARACTERS + 1)
OPTIONS = [{"value": str(i)} for i in range(200)]
QUESTION = {"q": CHOICE}
WRONG: dict[str, tuple[str, object, int, str, str | None]] = {
    "no JSON": ("/v1/classify", b"{", 400, "invalid_json", None),
    "not UTF-8": ("/v1/classify", b'{"text": "\xff"}', 400, "invalid_json", None),
    "half a character": ("/v1/classify", b'{"text": "\\ud800"}', 400, "invalid_json", None),
    "deep": ("/v1/systemone", b"[" * 100_000, 400, "invalid_json", None),
    "empty": ("/v1/classify", b"", 400, "invalid_json", None),
    "a list": ("/v1/classify", [], 400, "invalid_request", None),
    "nothing": ("/v1/classify", {}, 400, "invalid_request", None),
    "both": ("/v1/classify", {"text": "a", "texts": ["a"]}, 400, "invalid_request", None),
    "no text": ("/v1/classify", {"texts": []}, 400, "invalid_request", "texts"),
    "a number": ("/v1/classify", {"texts": ["a", 1]}, 400, "invalid_request", "texts.1"),
    "a typo": ("/v1/classify", {"text": "a", "shots": 1}, 400, "invalid_request", "shots"),
    "a long text": ("/v1/classify", {"text": LONG}, 400, "invalid_request", "text"),
    "many": ("/v1/classify", {"texts": ["a"] * (MOST_TEXTS + 1)}, 400, "invalid_request", "texts"),
    "more than the queue": ("/v1/classify", {"texts": ["a"] * 65}, 413, "too_large", None),
    "a large body": ("/v1/classify", b" " * (MOST_BYTES + 1), 413, "too_large", None),
    "another model": ("/v1/classify", {"text": "a", "model": "b"}, 404, "unknown_model", "model"),
    "no state": ("/v1/systemone", {"questions": {"q": CHOICE}}, 400, "invalid_request", "state"),
    "a long state": (
        "/v1/systemone",
        {"state": [LONG], "questions": {"q": CHOICE}},
        413,
        "too_large",
        "state",
    ),
    "no question": (
        "/v1/systemone",
        {"state": "a", "questions": {}},
        400,
        "invalid_request",
        "questions",
    ),
    "another kind": (
        "/v1/systemone",
        {"state": "a", "questions": {"q": {**CHOICE, "type": "noul"}}},
        400,
        "invalid_request",
        "questions.q.type",
    ),
    "an image": (
        "/v1/decisions",
        {
            "input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}],
            "questions": [CHOICES],
        },
        400,
        "invalid_request",
        "input.0.content.0",
    ),
    "NaN": ("/v1/systemone", b'{"state": [NaN], "questions": {}}', 400, "invalid_json", None),
    "no option": (
        "/v1/systemone",
        asked_of("a", {"q": {**CHOICE, "criteria": {}}}),
        400,
        "invalid_request",
        "questions.q.criteria",
    ),
    "one choice": (
        "/v1/decisions",
        {"input": "a", "questions": [{**CHOICES, "choices": [{"value": "a"}]}]},
        400,
        "invalid_request",
        "questions.0.choices",
    ),
    "a blank option": (
        "/v1/systemone",
        asked_of("a", {"q": {**CHOICE, "criteria": {"a": None, "\n": None}}}),
        400,
        "invalid_request",
        "questions.q.criteria.\n",
    ),
    "a blank choice": (
        "/v1/decisions",
        {"input": "a", "questions": [{**CHOICES, "choices": [{"value": "a"}, {"value": " "}]}]},
        400,
        "invalid_request",
        "questions.0.choices.1.value",
    ),
    "null": ("/v1/systemone", asked_of(None, QUESTION), 400, "invalid_request", "state"),
    "blanks": ("/v1/systemone", asked_of(" \n", QUESTION), 400, "invalid_request", "state"),
    "empty messages": (
        "/v1/decisions",
        {"input": messages("", []), "questions": [CHOICES]},
        400,
        "invalid_request",
        "input",
    ),
    "long together": (
        "/v1/decisions",
        {"input": messages(LONG[: 1 << 14], LONG[: 1 << 14]), "questions": [CHOICES]},
        413,
        "too_large",
        "input",
    ),
    "images": (
        "/v1/systemone",
        asked_of("a", QUESTION, images=["x"]),
        400,
        "invalid_request",
        "images",
    ),
    "another prompt": (
        "/v1/systemone",
        asked_of("a", QUESTION, chat_template_kwargs={}),
        400,
        "invalid_request",
        "chat_template_kwargs",
    ),
    "an unknown key of a question": (
        "/v1/systemone",
        asked_of("a", {"q": {**CHOICE, "criterion": "x"}}),
        400,
        "invalid_request",
        "questions.q.criterion",
    ),
    "an unknown key of a choice": (
        "/v1/decisions",
        {"input": "a", "questions": [{**CHOICES, "choices": [{"value": "a", "is": "b"}] * 2}]},
        400,
        "invalid_request",
        "questions.0.choices.0.is",
    ),
    "a long description": (
        "/v1/systemone",
        asked_of("a", {"q": {**CHOICE, "criteria": {"a": LONG, "b": None}}}),
        413,
        "too_large",
        "questions.q",
    ),
    "lines in a name": (
        "/v1/systemone",
        asked_of("a", {"q\nr": {**CHOICE, "instructions": LONG}}),
        413,
        "too_large",
        "questions.q\nr",
    ),
    "long instructions ahead": (
        "/v1/systemone",
        asked_of("a", QUESTION, instructions=LONG),
        413,
        "too_large",
        "instructions",
    ),
    # a state is read for every question and option
    "many questions about a long state": (
        "/v1/decisions",
        {"input": LONG[1:], "questions": [CHOICES] * 20},
        413,
        "too_large",
        "questions",
    ),
    "many options about a long state": (
        "/v1/decisions",
        {"input": LONG[1:], "questions": [{**CHOICES, "choices": OPTIONS}]},
        413,
        "too_large",
        "questions",
    ),
    "twins": (
        "/v1/decisions",
        {"input": "a", "questions": [{**CHOICES, "choices": [{"value": "a"}] * 2}]},
        400,
        "invalid_request",
        "questions.0",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_request_is_refused_with_its_place(client, name: str) -> None:
    path, body, status, kind, param = WRONG[name]
    found = client.ask(path, body)
    assert (found[0], found[1]["error"]["type"]) == (status, kind)
    error = found[1]["error"]
    if param:
        assert error["param"] == param
    assert len(error["message"].splitlines()) == 1
    assert len(error["message"]) < 500
    assert client.get("/health") == (200, '{"status":"ok"}')


IMAGE = {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}
ALONE = "got a part of type 'image_url', expected text; this model reads text alone"
CHOICE_KEYS = "unknown key; did you mean 'description'? known: value, description"
SAID: list[tuple[str, object, str]] = [
    ("systemone", asked_of([IMAGE], QUESTION), f"state.0: {ALONE}"),
    (
        "systemone",
        asked_of([{"role": "user", "content": [IMAGE]}], QUESTION),
        f"state.0.content.0: {ALONE}",
    ),
    ("systemone", asked_of("a", QUESTION, instructions=[IMAGE]), f"instructions.0: {ALONE}"),
    (
        "systemone",
        asked_of("a", {"q": {**CHOICE, "criteria": {"a": IMAGE, "b": None}}}),
        f"questions.q: {ALONE}",
    ),
    ("decisions", {"input": [IMAGE], "questions": [CHOICES]}, f"input.0: {ALONE}"),
    (
        "decisions",
        {"input": messages([IMAGE]), "questions": [CHOICES]},
        f"input.0.content.0: {ALONE}",
    ),
    (
        "decisions",
        {"input": messages([{"type": "text", "text": "a"}]), "questions": [CHOICES]},
        "input.0.content.0.type: got \"text\", expected 'input_text'",
    ),
    ("decisions", {"input": 3, "questions": [CHOICES]}, "input: got 3, expected text or a list"),
    (
        "decisions",
        {"input": LONG, "questions": [CHOICES]},
        "input: got 32,769 characters, expected at most 32,768",
    ),
    (
        "decisions",
        {"input": "a", "questions": [{**CHOICES, "choices": [{"value": 1}, {"value": 2}]}]},
        "questions.0.choices.0.value: got 1, expected true or false or text",
    ),
    (
        "decisions",
        {
            "input": "a",
            "questions": [{**CHOICES, "choices": [{"value": "a", "descripton": ""}] * 2}],
        },
        f"questions.0.choices.0.descripton: {CHOICE_KEYS}",
    ),
    (
        "systemone",
        asked_of("a", {"q": {**CHOICE, "criterion": "x"}}),
        "questions.q.criterion: unknown key; did you mean 'criteria'? known: type, instructions, "
        "criteria",
    ),
    (
        "systemone",
        asked_of("a", {"m": {**CHOICE, "criteria": {" ": None}}}),
        "questions.m.criteria. : got only blanks, expected text",
    ),
    ("systemone", asked_of("a", {}), "questions: got 0, expected at least 1"),
    ("systemone", {"questions": QUESTION}, "state: got nothing, expected this key"),
    (
        "classify",
        {"txt": "a"},
        "txt: unknown key; did you mean 'text'? known: model, text, texts",
    ),
    ("classify", {"texts": ["a"] * 257}, "texts: got 257, expected at most 256"),
    ("classify", [], "got [], expected an object"),
    ("classify", b'{"text": "a", "model": NaN}', "the body: expected JSON; expected value at line"),
]


@pytest.mark.parametrize(("path", "body", "said"), SAID, ids=[said for *_, said in SAID])
def test_refusals_say_what_was_got_and_expected_in_our_words(client, path, body, said) -> None:
    status, found = client.ask(f"/v1/{path}", body)
    assert status == 400
    assert found["error"]["message"].startswith(said)


def test_other_addresses_methods_and_types_are_refused(client) -> None:
    assert client.get("/v1/nothing")[0] == 404
    status, text = client.get("/v1/classify")
    assert (status, json.loads(text)["error"]["type"]) == (405, "wrong_method")
    status, found = client.ask("/v1/classify", {"text": "a"}, kind="text/plain")
    assert (status, found["error"]["type"]) == (415, "wrong_type")


def test_models_health_and_measures_are_told(client) -> None:
    (model,) = json.loads(client.get("/v1/models")[1])["data"]
    assert (model["id"], model["task"], len(model["labels"])) == ("student", TASK, 4)
    counted = 'sentibench_requests_total{path="/v1/classify",status="%s"}'

    def count(status: int) -> float:
        lines = dict(line.rsplit(" ", 1) for line in client.get("/metrics")[1].splitlines())
        return float(lines.get(counted % status, 0))

    before = count(200), count(400)
    client.ask("/v1/classify", {"texts": ["a", "b"]})
    client.ask("/v1/classify", {})
    assert (count(200), count(400)) == (before[0] + 1, before[1] + 1)
    for path in ("/v1/classify", "/v1/nothing", "/wp-login"):
        client.get(path)
    text = client.get("/metrics")[1]
    assert count(405) > 0
    assert re.search(r'^sentibench_requests_total.path="other",status="404". [2-9]', text, re.M)
    assert "nothing" not in text
    assert "wp-login" not in text
    assert "sentibench_queue_items 0.0" in text
    assert 'sentibench_request_seconds_count{path="/v1/classify"}' in text


class Held:
    """A model that waits until it is let go."""

    def __init__(self) -> None:
        self.began, self.let_go = threading.Event(), threading.Event()

    def __call__(self, items, is_wanted):
        self.began.set()
        assert self.let_go.wait(60)
        if any(item.startswith("wrong") for item in items):
            raise ValueError(f"cannot read {items}")
        return [Labelled("a", 1.0, {"a": 1.0}) for _ in items]


@pytest.fixture
def held(run_app: Callable, client_at: Callable):
    """A server whose model waits, with room for two texts, and a way to ask it."""
    model, measures = Held(), Measures()
    batcher = Batcher(model, max_queue=2, max_batch=8)
    measures.watch_queue(lambda: batcher.n_waiting)
    with run_app(build(About("m", "t", ("a",)), batcher, measures)) as port:
        yield model, lambda: client_at(port)
        model.let_go.set()
        batcher.close()


def test_a_full_queue_says_when_to_come_again(held) -> None:
    model, connect = held
    with ThreadPoolExecutor(2) as pool:
        in_work = pool.submit(lambda: connect().ask("/v1/classify", {"text": "a"}))
        assert model.began.wait(60)
        waiting = pool.submit(lambda: connect().ask("/v1/classify", {"texts": ["b", "c"]}))
        client = connect()
        while "sentibench_queue_items 2.0" not in client.get("/metrics")[1]:
            assert not waiting.done()
        status, found = client.ask("/v1/classify", {"text": "d"})
        assert (status, found["error"]["type"]) == (503, "overloaded")
        assert client.headers["Retry-After"] == "1"
        assert client.get("/health")[0] == 200
        model.let_go.set()
        assert in_work.result()[0] == waiting.result()[0] == 200
        assert len(waiting.result()[1]["answers"]) == 2


def test_a_failure_is_its_own_requests_alone_and_quotes_no_text(held, caplog) -> None:
    model, connect = held
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(lambda: connect().ask("/v1/classify", {"text": "a"}))
        assert model.began.wait(60)
        wrong = pool.submit(lambda: connect().ask("/v1/classify", {"text": "wrong secret"}))
        right = pool.submit(lambda: connect().ask("/v1/classify", {"text": "right"}))
        client = connect()
        while "sentibench_queue_items 2.0" not in client.get("/metrics")[1]:
            assert not right.done()
        model.let_go.set()
        assert first.result()[0] == right.result()[0] == 200
    status, found = wrong.result()
    assert (status, found["error"]["type"]) == (500, "server_error")
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text + json.dumps(found)
    assert connect().ask("/v1/classify", {"text": "a"})[0] == 200


def test_a_model_without_a_number_is_an_error_not_a_number(
    run_app: Callable, client_at: Callable
) -> None:
    def answer(items, is_wanted):
        return [Scored((math.nan, math.nan), 1) for _ in items]

    batcher = Batcher(answer, max_queue=2, max_batch=8)
    with run_app(build(About("m", "t", ()), batcher, Measures())) as port:
        status, found = client_at(port).ask("/v1/decisions", {"input": "a", "questions": [CHOICES]})
        batcher.close()
        assert (status, found["error"]["type"]) == (500, "model_error")
        # and after its end the server says so
        assert client_at(port).get("/health")[0] == 503
        status, found = client_at(port).ask("/v1/classify", {"text": "a"})
        assert (status, found["error"]["type"]) == (503, "closing")

"""The model for lm-eval against a real local server that misbehaves as told."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from decisions_server import KEY, DecisionsServer, likely, running, text_of

from sentibench.data.cards import load_tasks
from sentibench.data.read import load_split
from sentibench.decisions.dialects import DIALECTS, FORMS
from sentibench.decisions.model import DecisionsModel, default_store
from sentibench.errors import InputError, TeacherError
from sentibench.harness import task_manager
from sentibench.remote import chat
from sentibench.remote.store import Store

ROOT = Path(__file__).parents[3]
SST2, OPENER = "sentibench_mini_sst2", "sentibench_mini_opener"
N_ITEMS = 8


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[DecisionsServer]:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(chat, "uniform", lambda *_: 0.0)  # nobody waits longer than told
    with running() as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


manager = cache(task_manager)  # it reads files for seconds


def evaluated(server: DecisionsServer, store: Path, *tasks: str, **given: Any) -> Any:
    """lm-eval's results and samples of the first items."""
    from lm_eval import simple_evaluate

    arguments = {"base_url": server.url, "model": "m", "dialect": "systemone", "store": str(store)}
    model = DecisionsModel(**{**arguments, **given})
    return simple_evaluate(
        model=model,
        tasks=list(tasks or [SST2]),
        task_manager=manager(),
        limit=N_ITEMS,
        log_samples=True,
        bootstrap_iters=0,
    )


def log_likelihoods(results: Any, task: str = SST2) -> list[list[float]]:
    return [
        [float(answer[0][0]) for answer in sample["resps"]]
        for sample in sorted(results["samples"][task], key=lambda sample: sample["doc_id"])
    ]


def texts(task: str = SST2) -> list[str]:
    return [one.sentence for one in load_split(load_tasks()[task], "test").examples[:N_ITEMS]]


in_each_dialect = pytest.mark.parametrize("dialect", DIALECTS)


@pytest.mark.parametrize("letters", [False, True])
@pytest.mark.parametrize("dialect", ["systemone", "decisions", "sglang"])
def test_label_tasks_get_the_logarithms_of_the_servers_probabilities(
    server: DecisionsServer, store: Path, dialect: str, letters: bool
) -> None:
    results = evaluated(server, store, dialect=dialect, letters=letters)
    expected = [list(likely(text, ["negative", "positive"]).values()) for text in texts()]
    found = [[math.exp(value) for value in item] for item in log_likelihoods(results)]
    assert found == [pytest.approx(item) for item in expected]
    paths = {path for path, _ in server.seen}
    assert (paths, len(server.seen)) == ({f"/v1/{FORMS[dialect].path}"}, N_ITEMS)
    examples = load_split(load_tasks()[SST2], "test").examples[:N_ITEMS]
    right = [e.label == ["negative", "positive"][len(e.sentence) % 2] for e in examples]
    assert results["results"][SST2]["acc,none"] == sum(right) / N_ITEMS


def test_the_chat_dialect_reads_the_first_token(server: DecisionsServer, store: Path) -> None:
    results = evaluated(server, store, dialect="chat")
    found = [[math.exp(value) for value in item] for item in log_likelihoods(results)]
    # the server's options are in the other order here, but it chooses by the text alone
    expected = [likely(text, ["positive", "negative"]) for text in texts()]
    assert found == [pytest.approx([one["negative"], one["positive"]]) for one in expected]
    (path, asked), *_ = server.seen
    assert path == "/v1/chat/completions"
    assert (asked["max_tokens"], asked["top_logprobs"], asked["logprobs"]) == (1, 20, True)


def test_one_command_runs_all_twelve(server: DecisionsServer, store: Path) -> None:
    results = evaluated(server, store, "sentibench_mini")
    tasks = list(results["samples"])
    assert len(tasks) == 12
    chats = [asked for path, asked in server.seen if path == "/v1/chat/completions"]
    decided = [asked for path, asked in server.seen if path == "/v1/systemone"]
    assert (len(chats), len(decided)) == (4 * N_ITEMS, 8 * N_ITEMS)
    assert {asked["max_tokens"] for asked in chats} == {150}
    assert all(results["results"][task]["invalid_rate,none"] == 0 for task in tasks)


@pytest.mark.parametrize(
    ("reasoning", "text", "expected"),
    [
        ("<think>hm</think>", " [('a', 'b')]\n\nSentence: another", "[('a', 'b')]\n\n"),
        ("[THINK]hm[/THINK]", "[('a', 'b')]", "[('a', 'b')]"),
        ("<|channel|>analysis<|message|>hm<|end|><|channel|>final<|message|>", "[]", "[]"),
        ("", " [('a', 'b')]\n\nSentence: another", " [('a', 'b')]\n\n"),
    ],
)
def test_what_an_extraction_writes_ends_at_the_stop_string_and_behind_the_reasoning(
    server: DecisionsServer, store: Path, reasoning: str, text: str, expected: str
) -> None:
    choice = {"message": {"content": f"{reasoning}{text}"}, "finish_reason": "stop"}
    server.behave = lambda _path, _asked: (200, {"choices": [choice]})
    results = evaluated(server, store, OPENER)
    assert results["samples"][OPENER][0]["resps"] == [[expected]]


@in_each_dialect
def test_probabilities_that_do_not_sum_to_one_are_normalised_and_counted(
    server: DecisionsServer, store: Path, dialect: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.probabilities = lambda _, options: dict.fromkeys(options, 0.25)
    for _ in range(2):  # from the server, then from the store
        results = evaluated(server, store, dialect=dialect)
        assert log_likelihoods(results) == [pytest.approx([math.log(0.5)] * 2)] * N_ITEMS
        said = capsys.readouterr().err
        # the first tokens of a chat are all words that there are
        is_counted = (
            f"{SST2}: the probabilities of {N_ITEMS} of {N_ITEMS} answers do not sum to 1" in said
        )
        assert is_counted == (dialect != "chat")
    assert len(server.seen) == N_ITEMS


@in_each_dialect
def test_a_probability_of_zero_is_finite(
    server: DecisionsServer, store: Path, dialect: str
) -> None:
    server.probabilities = lambda _, options: {"negative": 1, "positive": 0}
    first, *_ = log_likelihoods(evaluated(server, store, dialect=dialect))
    assert first == pytest.approx([0, math.log(1e-6)], abs=1e-5)


@in_each_dialect
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"negative": 0.9999999, "positive": 1e-7}, math.log(1e-7)),
        ({"negative": 2e-9, "positive": 1e-9}, math.log(1 / 3)),
        ({"negative": 1e-9, "positive": 0}, math.log(0.999 / 1.999)),
    ],
)
def test_a_small_probability_is_not_raised_and_zero_is_less_than_all_others(
    server: DecisionsServer, store: Path, dialect: str, given: Any, expected: float
) -> None:
    server.probabilities = lambda *_: given
    found = log_likelihoods(evaluated(server, store, dialect=dialect))
    assert [positive for _, positive in found] == [pytest.approx(expected)] * N_ITEMS
    assert all(negative > positive for negative, positive in found)
    stored = (store / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["answer"]["text"] for line in stored] == ["negative"] * N_ITEMS


def test_labels_that_a_chat_does_not_list_are_counted(
    server: DecisionsServer, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = [{"token": " The", "logprob": -0.1}, {"token": " pos", "logprob": -3.0}]
    choice = {"logprobs": {"content": [{"top_logprobs": listed}]}}
    server.behave = lambda *_: (200, {"choices": [choice]})
    for _ in range(2):  # from the server, then from the store
        found = log_likelihoods(evaluated(server, store, dialect="chat"))
        assert all(negative < positive for negative, positive in found)
        said = capsys.readouterr().err
        assert f"{SST2}: {N_ITEMS} of {N_ITEMS} answers do not list every label" in said


def of_text(number: int, reply: Any) -> Any:
    """Behaviour: this reply to one text, right ones to others."""
    text = texts()[number]
    return lambda _path, asked: (200, reply) if text_of(asked) == text else None


def replies(dialect: str) -> dict[str, Any]:
    """Replies that are no answer."""
    wrong = {"negative": math.nan, "positive": 0.5}
    if dialect == "chat":
        listed = [{"token": token[:3], "logprob": p} for token, p in wrong.items()]
        return {
            "refused": {"choices": [{"message": {"content": None, "refusal": "No."}}]},
            "absent": {"choices": []},
            "NaN": {"choices": [{"logprobs": {"content": [{"top_logprobs": listed}]}}]},
        }
    if dialect == "decisions":
        pairs = [{"value": value, "probability": p} for value, p in wrong.items()]
        answer = {"type": "choice", "name": "label", "probabilities": pairs}
        refusal = {"type": "refusal", "name": "label"}
        return {"refused": {"answers": [refusal]}, "absent": {}, "NaN": {"answers": [answer]}}
    return {
        "refused": {"answers": {"label": {"type": "refusal"}}},
        "absent": {"answers": {"other": {}}},
        "NaN": {"answers": {"label": {"type": "choice", "probabilities": wrong}}},
    }


@in_each_dialect
@pytest.mark.parametrize("what", ["refused", "absent", "NaN"])
def test_an_item_without_a_usable_answer_is_invalid_and_the_others_count(
    server: DecisionsServer,
    store: Path,
    dialect: str,
    what: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.behave = of_text(3, replies(dialect)[what])
    results = evaluated(server, store, dialect=dialect)
    found = log_likelihoods(results)
    assert [number for number, item in enumerate(found) if math.isnan(item[0])] == [3]
    assert results["results"][SST2]["invalid_rate,none"] == 1 / N_ITEMS
    assert f"{SST2}: 1 of {N_ITEMS} have no answer" in capsys.readouterr().err
    assert len(server.seen) == N_ITEMS  # not tried again
    evaluated(server, store, dialect=dialect)
    assert len(server.seen) == N_ITEMS  # nor in another run
    server.behave = lambda *_: None
    results = evaluated(server, store, dialect=dialect, retry_failed=True)
    assert len(server.seen) == N_ITEMS + 1
    assert results["results"][SST2]["invalid_rate,none"] == 0


@in_each_dialect
@pytest.mark.parametrize("option", ["negative", "A"])
def test_refused_options_end_in_one_error_that_names_letters_where_these_would_help(
    server: DecisionsServer, store: Path, dialect: str, option: str
) -> None:
    # the end of SGLang's words, which letters the options itself, so that ours cannot help
    words = f"the answer label {option!r} is not one distinct token after the chat prompt"
    server.behave = lambda *_: (400, {"error": {"message": words}})
    with pytest.raises(TeacherError) as error:
        evaluated(server, store, dialect=dialect)
    message = str(error.value)
    assert "\n" not in message
    assert f"{N_ITEMS} of {N_ITEMS} have no answer; refused: HTTP 400: {words}" in message
    assert ("set --model_args letters to true" in message) == (option == "negative")
    server.behave = lambda *_: None
    results = evaluated(server, store, dialect=dialect)  # mended: what it refused is asked again
    assert results["results"][SST2]["invalid_rate,none"] == 0


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "--model_args api_key_env: "),
        (403, "does not let the key in OPENAI_API_KEY use 'm'"),
        (404, "does not exist, or has no model 'm'"),
        (
            501,
            "check --model_args model and --model_args base_url, which usually ends with /v1, or ",
        ),
        (405, "or --model_args dialect (others: decisions, sglang, chat)"),
    ],
)
def test_what_concerns_every_request_ends_the_run_at_once(
    server: DecisionsServer, store: Path, status: int, message: str
) -> None:
    server.behave = lambda *_: (status, {"error": {"message": f"no, {KEY}"}})
    with pytest.raises(TeacherError) as error:
        evaluated(server, store, concurrency=1)
    assert message in str(error.value)
    assert KEY not in str(error.value)
    assert len(server.seen) <= 2


@in_each_dialect
def test_a_rate_limit_is_waited_for(
    server: DecisionsServer, store: Path, dialect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = iter([(429, {}, {"Retry-After": "7"}), (503, {}), (502, {})])
    server.behave = lambda *_: next(told, None)
    waits: list[float] = []
    monkeypatch.setattr(DecisionsModel, "sleep", staticmethod(waits.append), raising=True)
    results = evaluated(server, store, dialect=dialect, concurrency=1)
    assert results["results"][SST2]["invalid_rate,none"] == 0
    assert waits[0] == 7.0
    assert len(server.seen) == N_ITEMS + 3


@pytest.mark.parametrize(
    ("statuses", "remedy"),
    [
        (
            (400, 422),
            r"set --model_args dialect to another one \(decisions, sglang, chat\), then run",
        ),
        ((400, 500), "repair the server, then run again"),
    ],
)
def test_a_server_that_finds_every_question_wrong_may_have_another_dialect(
    server: DecisionsServer,
    store: Path,
    statuses: tuple[int, int],
    remedy: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(DecisionsModel, "give_up_after", 3)
    server.behave = lambda *_: (statuses[len(server.seen) % 2], {})
    with pytest.raises(TeacherError, match=remedy):
        evaluated(server, store, concurrency=1, max_attempts=1)


@in_each_dialect
def test_many_refusals_end_no_run_whose_other_questions_are_answered(
    server: DecisionsServer, store: Path, dialect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DecisionsModel, "give_up_after", 3)
    refused = set(texts()[:4])
    refusal = replies(dialect)["refused"]
    server.behave = lambda _, asked: (200, refusal) if text_of(asked) in refused else None
    given = {"dialect": dialect, "concurrency": 1}
    with pytest.raises(TeacherError, match="gives only errors; got 3 failures in a row"):
        evaluated(server, store, **given)
    for retried in (False, True):  # what was refused comes last, then the store has answers
        results = evaluated(server, store, **given, retry_failed=retried)
        assert results["results"][SST2]["invalid_rate,none"] == 4 / N_ITEMS
    assert len(server.seen) - (N_ITEMS + 4) in (3, 4)  # the last of the first run may be on its way


@in_each_dialect
def test_a_server_that_dies_half_way_is_asked_for_the_rest_alone(
    server: DecisionsServer, store: Path, dialect: str
) -> None:
    n_lived = 5
    server.behave = lambda *_: OSError() if len(server.seen) > n_lived else None
    with pytest.raises(TeacherError, match=r".*kept; (.*then )?run again"):
        evaluated(server, store, dialect=dialect, concurrency=1, max_attempts=2)
    asked = [text_of(asked) for _, asked in server.seen[:n_lived]]
    server.seen.clear()
    server.behave = lambda *_: None
    results = evaluated(server, store, dialect=dialect, concurrency=1)
    assert results["results"][SST2]["invalid_rate,none"] == 0
    assert [text_of(asked) for _, asked in server.seen] == [t for t in texts() if t not in asked]


@pytest.mark.parametrize(
    "lost",
    [(500, {}), (429, {}), (200, b"no JSON"), (408, {}), OSError()],
    ids=["server", "rate limit", "malformed", "timeout", "connection"],
)
def test_a_question_that_is_always_lost_ends_the_run_or_is_accepted_as_invalid_in_that_run(
    server: DecisionsServer, store: Path, lost: Any
) -> None:
    text = texts()[2]
    server.behave = lambda _path, asked: lost if text_of(asked) == text else None
    ends = pytest.raises(TeacherError, match=f"1 of [1{N_ITEMS}] requests have no answer")
    with ends:
        evaluated(server, store, max_attempts=2)
    results = evaluated(server, store, max_attempts=2, accept_lost=True)
    assert results["results"][SST2]["invalid_rate,none"] == 1 / N_ITEMS
    with ends:  # what one run accepted is asked again in the next
        evaluated(server, store, max_attempts=2)
    server.behave = lambda *_: None
    results = evaluated(server, store)
    assert results["results"][SST2]["invalid_rate,none"] == 0


def test_a_run_that_was_killed_asks_only_what_is_missing(
    server: DecisionsServer, store: Path, tmp_path: Path
) -> None:
    program = (
        "import sys; from sentibench.decisions.model import DecisionsModel\n"
        "from lm_eval import simple_evaluate\n"
        "from sentibench.harness import task_manager\n"
        f"m = DecisionsModel(base_url={server.url!r}, model='m', dialect='systemone', "
        f"store={str(store)!r}, concurrency=1)\n"
        f"simple_evaluate(model=m, tasks=[{SST2!r}], task_manager=task_manager(), limit={N_ITEMS})"
    )
    process: list[subprocess.Popen[bytes]] = []

    def kills_at_the_sixth(*_: Any) -> Any:
        if len(server.seen) == 6:
            process[0].kill()
            return OSError()
        return None

    server.behave = kills_at_the_sixth
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process.append(subprocess.Popen([sys.executable, "-c", program], env=environment))
    assert process[0].wait(60) == -9
    with Store.read(store) as kept:
        assert len(kept) in (4, 5)  # the last may be in flight
        n_kept = len(kept)
    server.seen.clear()
    evaluated(server, store)
    assert len(server.seen) == N_ITEMS - n_kept


def test_the_key_is_sent_and_written_nowhere(
    server: DecisionsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain lm_eval, in a process of its own."""
    found = run_lm_eval(tmp_path, f"base_url={server.url},model=m,dialect=decisions")
    assert found.returncode == 0, found.stderr
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) >= 4  # results, samples, answers, store.json
    for path in written:
        assert KEY.encode() not in path.read_bytes()
    assert KEY not in found.stdout + found.stderr
    (results,) = (tmp_path / "out").rglob("results_*.json")
    config = json.loads(results.read_text(encoding="utf-8"))["config"]
    assert config["model"] == "sentibench-decisions"
    assert config["model_args"]["dialect"] == "decisions"


def run_lm_eval(tmp_path: Path, arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "sentibench" / "harness" / "startup")])
    command = [sys.executable, "-m", "lm_eval", "--model", "sentibench-decisions"]
    command += ["--tasks", SST2, "--limit", "4", "--log_samples"]
    return subprocess.run(
        [*command, "--output_path", str(tmp_path / "out"), "--model_args", arguments],
        env={**os.environ, "PYTHONPATH": path, "SENTIBENCH_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )


WRONG = [
    ({"dialect": None}, "--model_args dialect: missing; expected base_url=http://HOST/v1,model="),
    (
        {"dialect": "other"},
        "--model_args dialect: got 'other', expected: Input should be 'systemone', ",
    ),
    ({"base_url": None}, "--model_args base_url: missing; expected base_url=http://HOST/v1"),
    ({"base_url": f"http://me:{KEY}@host/v1"}, "--model_args base_url: expected http(s)://host/v1"),
    ({"base_url": "host/v1"}, "--model_args base_url: expected http(s)://host/v1"),
    ({"model": None}, "--model_args model: missing; expected"),
    ({"dialekt": "chat"}, "--model_args dialekt: unknown argument; did you mean 'dialect'?"),
    ({"api_key_env": KEY}, "--model_args api_key_env: expected the name of an environment varia"),
    ({"api_key_env": "hf_geheim"}, "--model_args api_key_env: expected the name of an environment"),
    (
        {"extra_body": {"state": "the same for all"}},
        "--model_args extra_body: got 'state', which cannot be set here",
    ),
    ({"label_body": {"top_logprobs": 1}}, "--model_args label_body: got 'top_logprobs', which"),
    ({"api_key": KEY}, "--model_args api_key: a key must not be on the command line"),
    (
        {"concurrency": 0},
        "--model_args concurrency: got 0, expected: Input should be greater than or equal to 1",
    ),
]


@pytest.mark.parametrize(("given", "message"), WRONG)
def test_a_wrong_argument_is_one_line_without_what_may_be_a_key(given: Any, message: str) -> None:
    right = {"base_url": "http://127.0.0.1:9/v1", "model": "m", "dialect": "systemone"}
    arguments = {k: v for k, v in {**right, **given}.items() if v is not None}
    with pytest.raises(InputError) as error:
        DecisionsModel(**arguments)
    assert str(error.value).startswith(message)
    assert KEY not in str(error.value)
    assert "geheim" not in str(error.value)
    assert "\n" not in str(error.value)


def test_further_keys_may_be_other_ones_for_labels_than_for_chats(
    server: DecisionsServer, store: Path
) -> None:
    given = {"extra_body": {"reasoning_effort": "low"}, "label_body": {"temperature": None}}
    evaluated(server, store, "sentibench_mini_sst2", OPENER, dialect="chat", **given)
    of_labels = [asked for _, asked in server.seen if asked.get("logprobs")]
    of_tuples = [asked for _, asked in server.seen if not asked.get("logprobs")]
    assert (len(of_labels), len(of_tuples)) == (N_ITEMS, N_ITEMS)
    assert not any("reasoning_effort" in asked or "temperature" in asked for asked in of_labels)
    assert all(asked["reasoning_effort"] == "low" for asked in of_tuples)


def test_answers_of_other_servers_models_and_dialects_are_kept_apart() -> None:
    right = {"base_url": "http://127.0.0.1:9/v1", "model": 7, "dialect": "systemone"}
    others = [
        {"dialect": "chat"},
        {"letters": True},
        {"model": "n"},
        {"revision": 2026},
        {"base_url": "http://127.0.0.1:8/v1"},
        {"extra_body": {"seed": 1}},
        {"label_body": {"seed": 1}},
    ]
    made = [DecisionsModel(**{**right, **other}) for other in ({}, *others)]
    assert len({model.folder for model in made}) == len(made)
    same = DecisionsModel(**{**right, "base_url": "http://127.0.0.1:9/v1/", "concurrency": 2})
    assert same.folder == made[0].folder == default_store(made[0].settings)


def test_a_chat_template_of_lm_eval_is_refused(server: DecisionsServer, store: Path) -> None:
    from lm_eval import simple_evaluate

    model = DecisionsModel(base_url=server.url, model="m", dialect="chat", store=str(store))
    with pytest.raises(InputError, match="--apply_chat_template: the server applies its own"):
        simple_evaluate(
            model=model,
            tasks=[SST2],
            task_manager=manager(),
            limit=1,
            apply_chat_template=True,
            fewshot_as_multiturn=False,
        )
    assert server.seen == []


def test_other_tasks_are_refused(server: DecisionsServer, store: Path) -> None:
    class Other:
        task_name = "hellaswag"

    model = DecisionsModel(base_url=server.url, model="m", dialect="chat", store=str(store))
    for ask in (model.loglikelihood, model.generate_until):
        with pytest.raises(InputError, match="--tasks: hellaswag is not a task of this package"):
            ask([Other()])

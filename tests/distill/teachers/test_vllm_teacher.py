"""The vLLM teacher, with an engine that stands for vLLM's: it is not installed here."""

import os
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from distill import config
from distill.teachers.vllm import VllmTeacher
from sentibench.errors import TeacherError
from sentibench.remote.records import Answer, Decoding, Failure, Message, Request

LENGTH = 40  # characters, which are this engine's tokens


class Engine:
    """Answers with the prompt's last word, cut at ``max_tokens`` characters."""

    def __init__(self, model: str, **given: Any) -> None:
        if model == "missing":
            raise ValueError("no such model")
        self.given = given
        self.calls: list[list[Any]] = []

    def generate(self, prompts: list[Any], sampling: SimpleNamespace) -> list[SimpleNamespace]:
        self.calls.append(prompts)
        if hasattr(sampling, "prompt_logprobs"):
            return [self._scored(one["prompt_token_ids"]) for one in prompts]
        return [self._output(prompt, sampling) for prompt in prompts]

    def chat(
        self,
        chats: list[Any],
        sampling: SimpleNamespace,
        chat_template_kwargs: dict[str, Any],
    ) -> list[SimpleNamespace]:
        self.sampling = sampling
        prompts = [self.template(turns, **chat_template_kwargs) for turns in chats]
        return self.generate([prompt.removesuffix("<think>") for prompt in prompts], sampling)

    def template(self, turns: list[Any], *, think: bool = False, **_: Any) -> str:
        return turns[-1]["content"] + ("<think>" if think else "")

    def get_tokenizer(self) -> SimpleNamespace:
        def template(turns: list[Any], *, tokenize: bool, **given: Any) -> Any:
            text = self.template(turns, **given)
            return list(text) if tokenize else text

        return SimpleNamespace(
            encode=lambda text, add_special_tokens=True: list(text),
            apply_chat_template=template,
            eos_token="<end>",
        )

    @property
    def llm_engine(self) -> SimpleNamespace:
        return SimpleNamespace(model_config=SimpleNamespace(max_model_len=LENGTH))

    def _scored(self, tokens: list[str]) -> SimpleNamespace:
        """What is known of each token of a prompt: nothing of the first; others cost a place."""
        if len(tokens) > LENGTH - 1:
            raise ValueError("the whole batch is refused")
        known = [
            {"?": SimpleNamespace(logprob=0.0)} | {t: SimpleNamespace(logprob=-float(i))}
            for i, t in enumerate(tokens)
        ]
        return SimpleNamespace(prompt_logprobs=[None, *known[1:]])

    def _output(self, prompt: str, sampling: SimpleNamespace) -> SimpleNamespace:
        if len(prompt) + sampling.max_tokens > LENGTH:
            raise ValueError("the whole batch is refused")
        text = prompt.split()[-1][: sampling.max_tokens]
        ended = len(text) < sampling.max_tokens
        best = SimpleNamespace(
            text=text, finish_reason="stop" if ended else "length", token_ids=list(text)
        )
        return SimpleNamespace(outputs=[best], prompt_token_ids=list(prompt))


@pytest.fixture(autouse=True)
def vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("vllm")
    module.LLM, module.SamplingParams = Engine, SimpleNamespace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", module)


def made(model: str, **given: Any) -> VllmTeacher:
    return VllmTeacher(config.VllmTeacher(backend="vllm", model=model, **given))


def request(word: str, max_new_tokens: int = 8) -> Request:
    message = Message("user", f"say {word}")
    return Request(word, (message,), word, "here", decoding=Decoding(max_new_tokens))


@pytest.mark.parametrize("chat", [False, True])
def test_every_request_gets_its_own_answer(chat: bool) -> None:
    teacher = made("org/large", tensor_parallel=2, chat=chat)
    requests = [request("soup"), request("tea"), request("an-endless-word", 4)]
    found = {asked.id: outcome for asked, outcome in teacher.answer(requests)}
    assert found == {
        "soup": Answer("soup", "stop", 8, 4),
        "tea": Answer("tea", "stop", 7, 3),
        "an-endless-word": Answer("an-e", "length", 19, 4),
    }
    assert teacher.engine.given["tensor_parallel_size"] == 2


def test_a_chat_model_gets_its_template_arguments_and_its_reasoning_is_marked() -> None:
    teacher = made("org/large", chat=True, chat_template_args={"think": True})
    asked = request("soup<end>", 20)
    [(_, answer)] = teacher.answer([asked])
    assert answer == Answer("<think>soup", "stop", 13, 9)
    assert teacher.engine.sampling.skip_special_tokens is False
    assert teacher.engine.sampling.stop is None
    assert teacher.engine.given["trust_remote_code"] is False
    assert made("org/large", trust_remote_code=True).engine.given["trust_remote_code"] is True


def test_a_prompt_that_does_not_fit_is_its_own_failure() -> None:
    teacher = made("org/large")
    found = list(teacher.answer([request("x" * 60), request("soup")]))
    (long, failure), (short, answer) = found
    assert (long.id, short.id) == ("x" * 60, "soup")
    assert isinstance(failure, Failure)
    assert failure.reason == "too long"
    assert isinstance(answer, Answer)


def test_label_words_are_scored_by_their_own_tokens() -> None:
    labels = ("good", "bad")

    def asked(word: str) -> Request:
        return Request(word, (Message("user", word),), word, "here", choices=labels)

    teacher = made("org/large")
    found = {r.id: o for r, o in teacher.answer([asked("tea"), asked("x" * 60), request("a")])}
    # by hand: "tea" is 3 tokens, then " good" stands at places 3 to 7 and " bad" at 3 to 6
    assert found["tea"] == Answer("bad", "choice", 3, 0, (-25.0, -18.0))
    assert found["a"] == Answer("a", "stop", 5, 1)
    assert isinstance(found["x" * 60], Failure)
    assert found["x" * 60].reason == "too long"
    chat = made("org/large", chat=True)
    assert next(iter(chat.answer([asked("tea")])))[1] == Answer(
        "bad", "choice", 3, 0, (-18.0, -12.0)
    )
    thinking = made("org/large", chat=True, chat_template_args={"think": True})
    with pytest.raises(TeacherError, match="inside the model's reasoning; got '<think>'"):
        list(thinking.answer([asked("tea")]))


@pytest.mark.parametrize(("given", "expected"), [(None, "1"), ("0", "0")])
def test_usage_statistics_are_off_unless_the_user_turns_them_on(
    monkeypatch: pytest.MonkeyPatch, given: str | None, expected: str
) -> None:
    monkeypatch.setenv("VLLM_NO_USAGE_STATS", given or "")
    if given is None:
        monkeypatch.delenv("VLLM_NO_USAGE_STATS")
    made("org/large")
    assert os.environ["VLLM_NO_USAGE_STATS"] == expected


def test_a_model_that_is_not_there_is_one_clear_error() -> None:
    with pytest.raises(TeacherError, match="'missing' cannot be loaded; got: no such model"):
        made("missing")


def test_without_vllm_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(TeacherError, match="pip install vllm"):
        made("org/large")

"""The local teacher: choices by likelihood, writing greedily or by sampling, one answer each."""

import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from distill import config  # noqa: E402
from distill.filters.reading import read_answer  # noqa: E402
from distill.teachers.hf import HfTeacher  # noqa: E402
from sentibench.errors import TeacherError  # noqa: E402
from sentibench.predict import temperatures  # noqa: E402
from sentibench.predict.checkpoints import fingerprint  # noqa: E402
from sentibench.remote.records import Answer, Decoding, Failure, Message, Request  # noqa: E402


def made(model: Path, **given) -> HfTeacher:
    return HfTeacher(config.HfTeacher(backend="hf", model=str(model), **given))


@pytest.fixture(scope="module")
def teacher(tiny_student: Path) -> HfTeacher:
    return made(tiny_student, dtype="float32")


def request(number: int, **given) -> Request:
    prompt = f"Sentence: text number {number}\nLabel:"
    return Request(f"r{number}", (Message("user", prompt),), "text", "here", **given)


def test_choices_are_answered_with_the_likeliest(teacher: HfTeacher) -> None:
    choices = ("good", "very bad", "so so")
    for asked, answer in teacher.answer([request(i, choices=choices) for i in range(5)]):
        assert isinstance(answer, Answer)
        assert answer.finish == "choice"
        prompt = asked.messages[0].content
        expected = []
        for choice in choices:
            ids = teacher.lm.tok_encode(f"{prompt} {choice}")
            start = len(teacher.lm.tok_encode(prompt))
            with torch.inference_mode():
                log_p = teacher.lm.model(torch.tensor([ids])).logits[0].log_softmax(-1)
            expected.append(sum(float(log_p[i - 1, ids[i]]) for i in range(start, len(ids))))
        assert answer.log_likelihoods == pytest.approx(expected, abs=1e-3)
        assert answer.text == choices[expected.index(max(expected))]


def test_every_request_is_answered_once_and_by_its_own_text(teacher: HfTeacher) -> None:
    decoding = Decoding(max_new_tokens=5)
    requests = [request(i % 7, decoding=decoding) for i in range(20)]
    found = list(teacher.answer(requests))
    assert sorted(id(asked) for asked, _ in found) == sorted(map(id, requests))
    alone = {r.id: a for r in requests[:7] for _, a in teacher.answer([r])}
    assert all(answer.text == alone[asked.id].text for asked, answer in found)
    assert all(answer.finish == "length" for _, answer in found)


def test_a_prompt_that_does_not_fit_is_a_failure_and_never_cut(teacher: HfTeacher) -> None:
    long = Request("long", (Message("user", "text " * 3000),), "text", "here")
    asked = [long, request(1, decoding=Decoding(max_new_tokens=4))]
    found = {request.id: outcome for request, outcome in teacher.answer(asked)}
    assert isinstance(found["r1"], Answer)
    assert isinstance(found["long"], Failure)
    assert found["long"].reason == "too long"


def test_sampling_depends_on_the_request_alone(teacher: HfTeacher) -> None:
    decoding = Decoding(max_new_tokens=8, temperature=1.0)
    requests = [request(i, decoding=decoding) for i in range(4)]
    first = {r.id: a for r, a in teacher.answer(requests)}
    second = {r.id: a for r, a in teacher.answer(requests[::-1])}
    assert first == second
    assert len({a.text for a in first.values()}) > 1


TEMPLATE = (
    "{% for m in messages %}{{ m.content }}\n{% endfor %}<think>\n"
    "{% if enable_thinking is defined and not enable_thinking %}\n</think>\n\n{% endif %}"
)


@pytest.fixture(scope="module")
def chat_model(tiny_student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model with a chat template that opens the reasoning, and a mark of its own."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("chat") / "tiny"
    shutil.copytree(tiny_student, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.add_special_tokens({"additional_special_tokens": ["[THINK]", "[/THINK]", "<|end|>"]})
    tokenizer.save_pretrained(folder)
    return folder


def test_labels_are_not_scored_where_the_prompt_ends_inside_the_reasoning(chat_model: Path) -> None:
    teacher = made(chat_model, dtype="float32", chat=True)
    scored = request(1, choices=("good", "bad"))
    with pytest.raises(
        TeacherError, match=r"chat_template_args: labels cannot be scored, .*'<think>'"
    ):
        list(teacher.answer([scored]))
    switched_off = made(
        chat_model, dtype="float32", chat=True, chat_template_args={"enable_thinking": False}
    )
    assert switched_off.prompt_of(scored).endswith("<think>\n</think>\n\n")
    [(_, answer)] = switched_off.answer([scored])
    assert isinstance(answer, Answer)
    assert answer.text in scored.choices
    assert switched_off.revision != teacher.revision


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_is_written_inside_the_reasoning_says_so(chat_model: Path, temperature: float) -> None:
    teacher = made(chat_model, dtype="float32", chat=True)
    asked = request(1, decoding=Decoding(6, temperature, stop=("<think>",)))
    [(_, answer)] = teacher.answer([asked])
    assert isinstance(answer, Answer)
    assert answer.text.startswith("<think>")
    assert read_answer(asked, answer).text == ""
    assert read_answer(asked, answer).reasoning


def test_a_mark_that_is_a_special_token_is_kept_and_other_special_tokens_are_not(
    chat_model: Path,
) -> None:
    teacher = made(
        chat_model, dtype="float32", chat=True, chat_template_args={"enable_thinking": False}
    )
    tokens = teacher.lm.tokenizer("[THINK]so[/THINK]good<|end|>")["input_ids"]
    written = teacher._text(request(1), tokens)
    assert written.replace(" ", "") == "[THINK]so[/THINK]good"


def test_a_model_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="cannot be loaded"):
        made(tmp_path / "nothing")


def test_a_fingerprint_tells_weights_and_settings_apart(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"x" * 100)
    first = fingerprint(str(tmp_path), "float32")
    assert fingerprint(str(tmp_path), "bfloat16") != first
    fitted = temperatures.Fitted(temperature=2.0, n_items=30, nll=(1, 0.5), ece=(0.2, 0.1))
    temperatures.save(tmp_path, "kinds", fitted)  # no word is asked otherwise
    assert fingerprint(str(tmp_path), "float32") == first
    weights.write_bytes(b"x" * 99 + b"y")
    assert fingerprint(str(tmp_path), "float32") != first

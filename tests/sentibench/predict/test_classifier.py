"""A checkpoint asked from Python gives what lm-eval's samples say, to the last digit."""

import math
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from sentibench import Classifier
from sentibench.data.cards import load_tasks
from sentibench.data.read import load_split
from sentibench.errors import InputError
from sentibench.predict import classifier
from sentibench.predict.classifier import Extracted, Labelled


def samples_of_lm_eval(checkpoint: Path, task: str) -> list:
    """What lm-eval got for every item of a task, without demonstrations."""
    from lm_eval import simple_evaluate

    from sentibench.fast.model import load_model
    from sentibench.harness import task_manager

    model = load_model(str(checkpoint), dtype="float32", softmax_dtype="float32")
    found = simple_evaluate(
        model=model, tasks=[task], task_manager=task_manager(), num_fewshot=0, log_samples=True
    )
    return [sample["resps"] for sample in found["samples"][task]]  # type: ignore[index]


def texts_of(task: str) -> list[str]:
    return [example.sentence for example in load_split(load_tasks()[task], "test").examples]


def test_probabilities_are_those_of_lm_evals_samples_to_the_last_digit(checkpoint: Path) -> None:
    task = "sentibench_mini_emotion20"
    found = Classifier(checkpoint, task, shots=0)(texts_of(task))
    expected = samples_of_lm_eval(checkpoint, task)
    assert len(found) == len(expected) == 24
    for answer, responses in zip(found, expected, strict=True):
        scores = [float(response[0][0]) for response in responses]
        weights = [math.exp(score - max(scores)) for score in scores]
        assert list(answer.probabilities.values()) == [w / math.fsum(weights) for w in weights]
        assert list(answer.probabilities).index(answer.label) == scores.index(max(scores))
        assert answer.probability == max(answer.probabilities.values())
    assert len({answer.probability for answer in found}) > 20


def test_tuples_are_read_from_lm_evals_answers(checkpoint: Path) -> None:
    task = "sentibench_mini_atsa_rest16"
    student = Classifier(checkpoint, task, shots=0)
    found = student(texts_of(task))
    expected = [student._extracted(r[0][0]) for r in samples_of_lm_eval(checkpoint, task)]
    assert found == expected
    assert len({answer.answer for answer in found}) > 5


@pytest.mark.parametrize(
    ("written", "tuples", "readable"),
    [
        (
            " [('soup', 'negative')]\n\nSentence: x",
            ({"aspect": "soup", "polarity": "negative"},),
            True,
        ),
        ("[]", (), True),
        ("[('soup', 'negative'), 'bread']", ({"aspect": "soup", "polarity": "negative"},), False),
        ("[('soup', 'negative', 'x')]", (), False),
        ("__import__('os')", (), False),
        ("", (), False),
    ],
)
def test_an_answer_is_readable_if_all_of_it_was_understood(
    written: str, tuples: tuple, readable: bool, checkpoint: Path
) -> None:
    answer = Classifier(checkpoint, "mini_atsa_rest16", shots=0)._extracted(written)
    assert (answer.tuples, answer.readable) == (tuples, readable)


def test_labels_below_the_threshold_and_empty_texts_stay_without_a_label(checkpoint: Path) -> None:
    texts = ["fine", "", "  ", "half \ud800 a character"]
    free = Classifier(checkpoint, "mini_sst2")(texts)
    strict = Classifier(checkpoint, "mini_sst2", threshold=1.0)(texts)
    assert [answer.label is None for answer in free] == [False, True, True, False]
    assert [answer.label for answer in strict] == [None] * 4
    assert strict[0].probabilities == free[0].probabilities
    assert math.isnan(free[1].probability)
    empty = Classifier(checkpoint, "mini_opener")([""])
    assert empty == [Extracted((), False, "")]


def test_a_model_that_gives_no_numbers_gives_no_label(checkpoint: Path) -> None:
    student = Classifier(checkpoint, "mini_sst2")
    assert student._labelled([math.nan, -1.0]).label is None
    assert student._labelled([-1.0, -math.inf]).label == "negative"
    even = student._labelled([-1.0, -1.0])
    assert even == Labelled("negative", 0.5, {"negative": 0.5, "positive": 0.5})


def test_every_answered_text_is_reported_once(checkpoint: Path) -> None:
    for task in ("mini_twitter17", "mini_atsa_rest16"):
        told: dict[int, Any] = {}
        texts = ["fine", "fine", "not so fine", ""]
        found = Classifier(checkpoint, task, shots=0)(
            texts, lambda numbers, answer, told=told: told.update(dict.fromkeys(numbers, answer))
        )
        assert [repr(told[n]) for n in range(4)] == list(map(repr, found))


@pytest.mark.parametrize("task", ["mini_emotion20", "mini_opener"])
def test_what_is_known_is_left_out_and_changes_no_digit(
    task: str, checkpoint: Path, monkeypatch
) -> None:
    monkeypatch.setattr(classifier, "ROUND", 8)
    short = {"until": ["\n"], "max_gen_toks": 24}
    monkeypatch.setattr(classifier, "generation_settings", lambda: short)
    student = Classifier(checkpoint, task, shots=0, batch_tokens=200)
    texts = [text * (1 + n % 3) for n, text in enumerate(texts_of(f"sentibench_{task}"))] * 2
    told: list[int] = []
    whole = student(texts, lambda numbers, _: told.extend(numbers))
    computed, student.model.tokens_computed = student.model.tokens_computed, 0
    known = set(told[: len(told) // 2])
    rest = student(texts, lambda numbers, _: told.extend(numbers), known)
    left = set(told[len(texts) :])
    assert left | known == set(range(len(texts)))
    assert [rest[n] for n in left] == [whole[n] for n in left]
    assert student.model.tokens_computed < 0.75 * computed


@pytest.mark.parametrize(
    ("task", "settings", "message"),
    [
        ("mini_sst2", {"shots": 9}, "--shots: got 9, expected 0 to 4"),
        ("mini_sst2", {"shots": -1}, "--shots: got -1"),
        ("mini_sst2", {"threshold": 1.5}, "--threshold: got 1.5, expected a number from 0 to 1"),
        ("mini_sst2", {"threshold": math.nan}, "--threshold: got nan"),
        ("mini_opener", {"threshold": 0.5}, "--threshold: sentibench_mini_opener has no labels"),
        (
            "mini_pstance",
            {},
            "--target: got none, but sentibench_mini_pstance asks for the opinion about",
        ),
        ("mini_sst2", {"dtype": "float17"}, "got 'float17'; did you mean"),
        ("mini_sst2", {"batch_tokens": 0}, "batch_tokens: got 0"),
        ("sentibench_mini", {}, "is a group"),
        ("sst3", {}, "did you mean 'sentibench_sst2'"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(
    task: str, settings: dict, message: str, checkpoint: Path
) -> None:
    with pytest.raises(InputError) as caught:
        Classifier(checkpoint, task, **settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_weights_is_no_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((checkpoint / "config.json").read_bytes())
    with pytest.raises(InputError, match=r"no weights; expected config\.json"):
        Classifier(tmp_path, "mini_sst2")
    (tmp_path / "model.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match="cannot be loaded"):
        Classifier(tmp_path, "mini_sst2")


def test_one_text_is_not_a_list_of_texts(checkpoint: Path) -> None:
    with pytest.raises(InputError, match="expected a list of texts"):
        Classifier(checkpoint, "mini_sst2")("fine")

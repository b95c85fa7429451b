"""Prompts of questions have the form of the benchmark."""

import math

import pytest

pytest.importorskip("torch")
pytest.importorskip("starlette")

from sentibench.data.cards import load_tasks
from sentibench.predict.classifier import softmax
from sentibench.predict.recipe import recipe_of
from sentibench.prompts.few_shot import template_sources
from sentibench.serve.shapes import PROMPT_END, prompt_of

LABEL_TASKS = [
    task for task in load_tasks().values() if task.source == "mini" and task.card.is_label_task
]


@pytest.mark.parametrize("task", LABEL_TASKS, ids=lambda task: task.name)
@pytest.mark.parametrize("shots", [0, 4])
def test_prompts_are_those_of_the_task_wherever_the_demonstrations_are(task, shots: int) -> None:
    assert len(LABEL_TASKS) == 8
    recipe = recipe_of(task)
    text = "A text.\n\nOf two parts. "
    whole = recipe.prompt(text, shots, "someone")
    head, _, asked = whole.rpartition("Sentence: ")
    assert asked == f"{text}\nLabel:"
    options = dict.fromkeys(recipe.scoring_words)
    assert prompt_of(head.removesuffix("\n\n"), text, options) == whole
    instruction = recipe.prompt("", 0, "someone").removesuffix("\n\nSentence: \nLabel:")
    rest = whole.removeprefix(f"{instruction}\n\n")
    assert prompt_of(instruction, rest, options) == whole


def test_prompts_of_the_tasks_end_as_the_server_looks_for_it() -> None:
    assert template_sources()["doc_to_text"].endswith(PROMPT_END)


@pytest.mark.parametrize(
    ("instructions", "state", "options", "expected"),
    [
        ("Say.", "fine", {"a": None}, "Say.\n\nSentence: fine\nLabel:"),
        ("", "fine", {"a": None}, "Sentence: fine\nLabel:"),
        ("", "Sentence: fine\nLabel:", {"a": None}, "Sentence: fine\nLabel:"),
        ("Say.", "Label:", {"a": None}, "Say.\n\nSentence: Label:\nLabel:"),
        ("Say.", "x", {"a": "one", "b": None}, "Say.\na: one\n\nSentence: x\nLabel:"),
        ("", "x", {"a": "one", "b": "two"}, "a: one\nb: two\n\nSentence: x\nLabel:"),
        ("{{x}}", "{% y %}", {"a": None}, "{{x}}\n\nSentence: {% y %}\nLabel:"),
    ],
)
def test_prompt_of_words_instructions_descriptions_and_state(
    instructions: str, state: str, options: dict[str, str | None], expected: str
) -> None:
    assert prompt_of(instructions, state, options) == expected


@pytest.mark.parametrize(
    ("log_likelihoods", "expected"),
    [
        ([math.log(0.2), math.log(0.6)], (0.25, 0.75)),
        ([-1000.0, -1000.0], (0.5, 0.5)),
        ([0.0, -math.inf], (1.0, 0.0)),
    ],
)
def test_softmax_by_hand(log_likelihoods: list[float], expected: tuple[float, ...]) -> None:
    assert softmax(log_likelihoods) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("log_likelihoods", [[math.nan, 0.0], [-math.inf, -math.inf]])
def test_softmax_of_no_numbers_is_none(log_likelihoods: list[float]) -> None:
    assert all(math.isnan(p) for p in softmax(log_likelihoods))

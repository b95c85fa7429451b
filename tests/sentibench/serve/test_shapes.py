"""Prompts of questions have the form of the benchmark."""

import math

import pytest

pytest.importorskip("torch")
pytest.importorskip("starlette")

from sentibench.data.cards import load_tasks
from sentibench.predict.classifier import softmax
from sentibench.predict.recipe import recipe_of
from sentibench.serve.shapes import prompt_of

LABEL_TASKS = [
    task for task in load_tasks().values() if task.source == "mini" and task.card.is_label_task
]


@pytest.mark.parametrize("task", LABEL_TASKS, ids=lambda task: task.name)
@pytest.mark.parametrize("shots", [0, 4])
def test_prompts_are_those_of_the_task_with_the_demonstrations_in_the_instructions(
    task, shots: int
) -> None:
    assert len(LABEL_TASKS) == 8
    recipe = recipe_of(task)
    text = "A text.\n\nOf two parts. "
    whole = recipe.prompt(text, shots, "someone")
    head, _, asked = whole.rpartition("Sentence: ")
    assert asked == f"{text}\nLabel:"
    options = [(word, "") for word in recipe.scoring_words]
    assert prompt_of([head.removesuffix("\n\n")], text, options) == whole


@pytest.mark.parametrize(
    ("instructions", "state", "options", "expected"),
    [
        (["Say."], "fine", [("a", "")], "Say.\n\nSentence: fine\nLabel:"),
        (["", ""], "fine", [("a", "")], "Sentence: fine\nLabel:"),
        (["Read.", "Say."], "fine", [("a", "")], "Read.\nSay.\n\nSentence: fine\nLabel:"),
        # a text that ends as a prompt does stays in its frame, and adds no demonstration
        ([], "Sentence: x\nLabel:", [("a", "")], "Sentence: Sentence: x\nLabel:\nLabel:"),
        (["Say."], "x", [("a", "one"), ("b", "")], "Say.\na: one\n\nSentence: x\nLabel:"),
        ([""], "x", [("a", "one"), ("a", "two")], "a: one\na: two\n\nSentence: x\nLabel:"),
        (["{{x}}"], "{% y %}", [("a", "")], "{{x}}\n\nSentence: {% y %}\nLabel:"),
    ],
)
def test_prompt_of_words_instructions_descriptions_and_state(
    instructions: list[str], state: str, options: list[tuple[str, str]], expected: str
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

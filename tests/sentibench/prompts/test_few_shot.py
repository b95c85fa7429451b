"""Training prompts are the evaluation's prompts."""

import pytest

from sentibench.data.cards import load_tasks
from sentibench.data.read import load_split
from sentibench.prompts.demonstrations import draw_demonstrations
from sentibench.prompts.few_shot import render_few_shot

LABEL_TASKS = [
    task for task in load_tasks().values() if task.source == "mini" and task.card.is_label_task
]


@pytest.mark.parametrize("task", LABEL_TASKS, ids=lambda task: task.name)
@pytest.mark.parametrize("shots", [0, 3])
def test_few_shot_prompts_are_those_that_lm_eval_builds(task, shots) -> None:
    from sentibench.harness import render_prompts

    if task.card.name == "pstance":
        pytest.skip("its demonstrations name their target")
    train = load_split(task, "train").examples
    test = load_split(task, "test").examples
    built = list(render_prompts(task, seed=42, shots=shots, limit=5))
    draws = draw_demonstrations(42, len(train), len(test), shots)
    assert len(built) == 5
    for number, item in enumerate(built):
        shown = [(train[i].sentence, train[i].answer) for i in draws[number]]
        instruction = item["prompt"].partition("\n\n")[0]
        assert item["prompt"] == render_few_shot(instruction, shown, test[number].sentence)


def test_a_text_that_looks_like_a_template_stays_a_text() -> None:
    prompt = render_few_shot("", [("{{ 7 * 7 }}", "{% x %}")], "{{ sentence }}")
    assert prompt == "Sentence: {{ 7 * 7 }}\nLabel: {% x %}\n\nSentence: {{ sentence }}\nLabel:"

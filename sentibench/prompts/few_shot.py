"""The few-shot prompt of the label tasks, rendered from the templates that lm-eval reads.

Training prompts are made here, so a student is trained on what the evaluation shows it; a test
compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined

from sentibench.data.card_form import CardLoader
from sentibench.data.cards import Card, Pins, Task, tasks_folder
from sentibench.data.pins import items_key, prompts_key
from sentibench.data.records import Example
from sentibench.prompts.demonstrations import PAPER_SEEDS, draw_demonstrations

TARGET_DELIMITER, DEMONSTRATION_DELIMITER = " ", "\n\n"  # lm-eval's defaults, which the tasks keep


def template_sources() -> dict[str, str]:
    """The two templates of the base of the label tasks, by key."""
    content = (tasks_folder() / "_label_task").read_text(encoding="utf-8")
    base = yaml.load(content, CardLoader)
    return {key: base[key] for key in ("description", "doc_to_text")}


@cache
def _templates() -> dict[str, Any]:
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    return {key: environment.from_string(text) for key, text in template_sources().items()}


def render_few_shot(
    instruction: str, demonstrations: Sequence[tuple[str, str]], sentence: str
) -> str:
    """Render a prompt as the label tasks do.

    Args:
        instruction: What stands before everything; empty for none.
        demonstrations: (sentence, label) in the order in which they are shown.
        sentence: The text to be labelled.

    Returns:
        The prompt, ending with ``Label:``; the answer begins with ``TARGET_DELIMITER``.
    """
    templates = _templates()
    prompt = templates["description"].render(instruction=instruction) if instruction else ""
    for shown, label in demonstrations:
        question = templates["doc_to_text"].render(sentence=shown)
        prompt += question + TARGET_DELIMITER + label + DEMONSTRATION_DELIMITER
    return prompt + templates["doc_to_text"].render(sentence=sentence)


def own_pins(card: Card, pool: Sequence[Example], items: Sequence[Example]) -> Pins:
    """Hash what models are asked in an own task: as ``docs/pin_cards.py`` does it for ours.

    Args:
        card: The card of the task.
        pool: What its demonstrations are taken from; see ``demonstration_pool``.
        items: Its test split.
    """
    shown = [(example.sentence, example.answer) for example in pool]

    def prompts(seed: int) -> Iterator[str]:
        drawn = draw_demonstrations(seed, len(shown), len(items), card.shots)
        for item, positions in zip(items, drawn, strict=True):
            places = range(card.shots) if card.demonstrations else positions
            instruction = card.instruction.replace("%s", item.target or "")
            yield render_few_shot(instruction, [shown[n] for n in places], item.sentence)

    of_seeds = {seed: prompts_key(prompts(seed)) for seed in PAPER_SEEDS}
    return Pins(items_key(Task(card, "own"), items), of_seeds)

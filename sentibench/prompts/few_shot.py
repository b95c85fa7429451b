"""The few-shot prompts, rendered from the templates that lm-eval reads.

Prompts of training and of use are made here, so a student is trained on, and asked, what the
evaluation shows it; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined

from sentibench.data.card_form import CardLoader
from sentibench.data.cards import Card, Pins, Task, tasks_folder
from sentibench.data.fetch import data_home
from sentibench.data.instructions import load_instruction
from sentibench.data.pins import items_key, prompts_key
from sentibench.data.read import demonstration_pool
from sentibench.data.records import Example
from sentibench.prompts.demonstrations import DEFAULT_SEED, PAPER_SEEDS, draw_demonstrations

TARGET = "{{target}}"
"""Where an instruction names the person that a stance is about."""
TARGET_DELIMITER, DEMONSTRATION_DELIMITER = " ", "\n\n"  # lm-eval's defaults, which the tasks keep


def _task_file(name: str) -> dict[str, Any]:
    content = (tasks_folder() / name).read_text(encoding="utf-8")
    return yaml.load(content, CardLoader)


def template_sources() -> dict[str, str]:
    """The two templates of the base of the label tasks, by key."""
    base = _task_file("_label_task")
    return {key: base[key] for key in ("description", "doc_to_text")}


def generation_settings() -> dict[str, Any]:
    """How the answers of the extraction tasks are generated, in lm-eval's words."""
    return _task_file("_extraction_task")["generation_kwargs"]


def instruction_of(task: Task) -> str:
    """The instruction of a task, with ``TARGET`` where a target is filled in.

    Raises:
        DataError: If it is one of the authors' instructions and is not on this machine.
    """
    if task.source == "mini":
        return _task_file(f"mini/{task.name}.yaml")["description"].rstrip("\n")
    wording = task.card.instruction or load_instruction(task.card, data_home())
    return wording.replace("%s", TARGET)


def fixed_demonstrations(task: Task, shots: int) -> tuple[tuple[str, str], ...]:
    """The (sentence, answer) pairs that stand in every prompt where the task is used.

    They are the first of the card's own, else those of the evaluation's first item: the evaluation
    draws others for every item.

    Raises:
        DataError: If the training split cannot be loaded.
        InputError: If ``shots`` is larger than it.
    """
    pool = demonstration_pool(task)
    drawn = draw_demonstrations(DEFAULT_SEED, len(pool), 1, shots)[0]
    chosen = [pool[i] for i in (range(shots) if task.card.demonstrations else drawn)]
    # of P-Stance; its task file says the same to lm-eval
    is_ours = task.source != "own"
    targets = [f"(opinion towards '{e.target}')" if e.target and is_ours else "" for e in chosen]
    return tuple((e.sentence, e.answer + t) for e, t in zip(chosen, targets, strict=True))


@cache
def _templates() -> dict[str, Any]:
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    return {key: environment.from_string(text) for key, text in template_sources().items()}


def render_few_shot(
    instruction: str, demonstrations: Sequence[tuple[str, str]], sentence: str
) -> str:
    """Render a prompt as the tasks do.

    Args:
        instruction: What stands before everything; empty for none.
        demonstrations: (sentence, answer) in the order in which they are shown.
        sentence: The text that is asked about.

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

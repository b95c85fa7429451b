"""The few-shot prompt of the label tasks, rendered from the templates that lm-eval reads.

Training prompts are made here, so a student is trained on what the evaluation shows it; a test
compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined

from sentibench.data.card_form import CardLoader
from sentibench.data.cards import tasks_folder

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

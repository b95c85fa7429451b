"""Write the hashes of test items and prompts into the cards: python docs/pin_cards.py

Wants the real datasets; see `sentibench fetch`. Prompts are those of lm-eval, of the paper's three
seeds. To be run after every change that raises the version of the tasks.
"""

import re
from pathlib import Path

import yaml

import sentibench.data.cards
from sentibench.data.cards import Task, load_tasks
from sentibench.data.pins import items_key, prompts_key
from sentibench.data.read import load_split
from sentibench.harness.task import render_prompts
from sentibench.prompts.demonstrations import PAPER_SEEDS

CARDS = Path(sentibench.data.cards.__file__).parent


def pins_of(task: Task) -> dict:
    prompts = {
        seed: prompts_key(
            item["prompt"] for item in render_prompts(task, seed=seed, shots=4, limit=None)
        )
        for seed in PAPER_SEEDS
    }
    return {"items": items_key(task, load_split(task, "test").examples), "prompts": prompts}


def with_pins(card: str, pins: dict[str, dict]) -> str:
    """The text of a card with these hashes, whether it had some or not."""
    rest = re.sub(r"^pins:\n(?: .*\n?)*", "", card, flags=re.MULTILINE).rstrip("\n")
    return f"{rest}\n{yaml.safe_dump({'pins': pins}, sort_keys=False)}"


def main() -> None:
    pins: dict[str, dict] = {}
    for task in load_tasks().values():
        if task.source == "own":
            continue  # its card is not ours
        pins.setdefault(task.card.name, {})[task.source] = pins_of(task)
        print(task.name, flush=True)
    for name, of_card in pins.items():
        path = CARDS / f"{name}.yaml"
        path.write_text(with_pins(path.read_text("utf-8"), of_card), "utf-8")


if __name__ == "__main__":
    main()

"""The cards say what was counted; here it is counted again."""

import json
import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from sentibench.data.cards import (
    CATEGORIES,
    GROUPS,
    TAG,
    load_cards,
    load_tasks,
    task_named,
    tasks_named,
)
from sentibench.data.pins import items_key, prompts_key
from sentibench.data.read import load_split
from sentibench.errors import InputError
from sentibench.harness.task import render_prompts
from sentibench.prompts.demonstrations import PAPER_SEEDS

CARDS = list(load_cards().values())


def test_there_are_four_cards_in_each_category() -> None:
    assert Counter(card.category for card in CARDS) == dict.fromkeys(CATEGORIES, 4)
    assert len(load_tasks()) == 24


def test_a_card_is_the_same_one_in_another_process() -> None:
    task = load_tasks()["sentibench_mini_opener"]
    assert pickle.loads(pickle.dumps(task)).card is task.card
    changed = replace(task.card, title="Mine")
    assert pickle.loads(pickle.dumps(changed)).title == "Mine"


@pytest.mark.parametrize("name", [name for name in load_tasks() if "mini" in name])
def test_pins_are_those_of_the_small_items_and_prompts(name: str) -> None:
    task = load_tasks()[name]
    assert task.pins.items == items_key(task, load_split(task, "test").examples)
    assert list(task.pins.prompts) == list(PAPER_SEEDS)
    for seed, expected in task.pins.prompts.items():
        asked = render_prompts(task, seed=seed, shots=4, limit=None)
        assert prompts_key(item["prompt"] for item in asked) == expected


def test_scoring_words_are_the_first_words_of_the_labels() -> None:
    assert load_cards()["irony18"].scoring_words == ("non", "irony")
    assert load_cards()["mint"].scoring_words == ("not", "moderately", "highly")
    for card in CARDS:
        assert len(set(card.scoring_words)) == len(card.labels)


def test_names_expand_to_leaves() -> None:
    sizes = {name: len(tasks_named([name], "test")) for name in (*GROUPS, TAG)}
    assert sizes == {
        "sentibench": 12,
        "sentibench_basic": 4,
        "sentibench_multifaceted": 4,
        "sentibench_finegrained": 4,
        "sentibench_mini": 12,
        TAG: 12,
    }
    assert task_named("sst2", "test") is task_named("sentibench_sst2", "test")
    with pytest.raises(InputError, match="did you mean 'sentibench_opener'"):
        task_named("sentibench_opner", "test")


@pytest.mark.realdata
@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_rows_and_labels_of_a_card_are_those_of_its_files(card, real_home: Path) -> None:
    task = task_named(card.name, "test")
    for name, file in card.splits.items():
        examples = load_split(task, name).examples
        assert len(examples) == file.rows
        if card.is_label_task:
            assert {example.label for example in examples} == set(card.labels)


def duplicates(texts: list[str]) -> int:
    return len(texts) - len(set(texts))


@pytest.mark.realdata
def test_known_facts_of_the_data_are_counted(real_home: Path, real_data: Path) -> None:
    split = {
        (card.name, name): load_split(task_named(card.name, "test"), name)
        for card in CARDS
        for name in ("train", "test")
    }
    texts = {key: [e.sentence for e in value.examples] for key, value in split.items()}
    assert sum(len(texts[card.name, "test"]) for card in CARDS) == 11_974
    assert duplicates(texts["imdb", "test"]) == 1
    assert len(set(texts["imdb", "test"]) & set(texts["imdb", "train"])) == 1
    assert duplicates(texts["sst2", "train"]) == 3
    assert duplicates(texts["emotion20", "train"]) == 25
    assert duplicates(texts["atsa_rest16", "test"]) == 1
    assert duplicates(texts["opener", "test"]) == 12
    in_train = set(texts["opener", "train"])
    assert sum(text in in_train for text in texts["opener", "test"]) == 17

    labels = Counter(e.label for e in split["mint", "test"].examples)
    assert labels == {"not intimate": 254, "moderately intimate": 114, "highly intimate": 28}
    atsa, acsa = split["atsa_rest16", "test"], split["acsa_rest16", "test"]
    assert sum(not e.opinions for e in atsa.examples) == 256
    assert atsa.changes["repeated (span, polarity) merged"] == 27
    assert sum(not e.opinions for e in acsa.examples) == 89
    quads = [o for e in split["asqp_rest16", "test"].examples for o in e.opinions]
    assert len(quads) == 799
    elements = load_cards()["asqp_rest16"].elements
    assert sum(any(p != p.strip() for p in o.written(elements)) for o in quads) == 3
    opener = split["opener", "test"].examples
    assert sum(not e.opinions for e in opener) == 92

    train = json.loads(
        (real_data / "datasets/absa/atsa_rest16/train.json").read_text(encoding="utf-8-sig")
    )
    tied = [
        row["ID"]
        for row in train
        if max(
            Counter(
                key[:3]
                for key in {
                    (a["from"], a["to"], a["target"], a["polarity"])
                    for a in row["aspects"]
                    if a["target"] != "NULL"
                }
            ).values(),
            default=0,
        )
        > 1
    ]
    assert len(tied) == 28
    assert set(load_cards()["atsa_rest16"].reversed_ties) < set(tied)

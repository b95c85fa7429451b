"""Prompts of other seeds against a second implementation, written from the protocol alone."""

import json
import random
from pathlib import Path

import pytest

from sentibench.data.cards import load_cards

N_ITEMS = 120


def written_label(folder: str, row: dict) -> str:
    """The answer of a training item; '' where two polarities of one span leave the order open."""
    if folder == "absa/atsa_rest16":
        keys = {
            (a["from"], a["to"], a["target"], a["polarity"])
            for a in row["aspects"]
            if a["target"] != "NULL"
        }
        if len({key[:3] for key in keys}) < len(keys):
            return ""
        return repr([(term, polarity) for _, _, term, polarity in sorted(keys)])
    if folder == "absa/acsa_rest16":
        pairs = [(a["category"].replace("#", " ").lower(), a["polarity"]) for a in row["aspects"]]
        return repr(list(dict.fromkeys(pairs)))
    if folder == "absa/asqp_rest16":
        quads = [(q["category"], q["aspect"], q["opinion"], q["sentiment"]) for q in row["quards"]]
        return repr(list(dict.fromkeys(quads)))
    if folder == "absa/opener":

        def text(element: list) -> str:
            return " AND ".join(element[0]) or "NULL"

        quads = [
            (
                text(o["Source"]),
                text(o["Target"]),
                text(o["Polar_expression"]),
                o["Polarity"].lower(),
            )
            for o in row["opinions"]
        ]
        return repr(list(dict.fromkeys(quads)) or [("NULL", "NULL", "NULL", "NULL")])
    if folder == "multifaced/pstance":
        return f"{row['label'].lower()}(opinion towards '{row['target']}')"
    return row["label"].lower()


def prompts_from_the_protocol(root: Path, folder: str, seed: int, shots: int):
    train, test = (
        json.loads((root / "datasets" / folder / f"{name}.json").read_text(encoding="utf-8-sig"))
        for name in ("train", "test")
    )
    instruction = json.loads((root / "instructions.json").read_text(encoding="utf-8"))[folder]
    random.seed(seed)
    for row in test[:N_ITEMS]:
        prompt = instruction.replace("%s", row.get("target", "")) + "\n\n"
        labels = []
        for shot in random.sample(train, shots):
            labels.append(written_label(folder, shot))
            prompt += f"Sentence: {shot['sentence']}\nLabel: {labels[-1]}\n\n"
        yield None if "" in labels else prompt + f"Sentence: {row['sentence']}\nLabel:"


@pytest.mark.realdata
@pytest.mark.parametrize(("seed", "shots"), [(52, 4), (62, 4), (42, 2), (52, 0)])
@pytest.mark.parametrize("card", load_cards().values(), ids=lambda card: card.name)
def test_prompts_agree_with_a_second_implementation(
    card, seed: int, shots: int, real_data: Path, real_home: Path
) -> None:
    from sentibench.harness import task_manager

    task = task_manager(demo_seed=seed).load([f"sentibench_{card.name}"])["tasks"][
        f"sentibench_{card.name}"
    ]
    task.set_config(key="num_fewshot", value=shots)
    task.build_all_requests(limit=N_ITEMS)
    ours = {request.doc["index"]: request.args[0] for request in task.instances}
    expected = list(prompts_from_the_protocol(real_data, card.folder, seed, shots))
    compared = [index for index, prompt in enumerate(expected) if prompt is not None]
    assert len(compared) > 0.9 * N_ITEMS
    for index in compared:
        assert ours[index] == expected[index], f"item {index}"

"""Our own small sets: balanced, unique, spans right, nothing of the real data."""

import json
from collections import Counter
from pathlib import Path

import pytest

from sentibench.data.cards import load_cards, load_tasks
from sentibench.data.read import MINI_FOLDER, load_split, read_split, split_file
from sentibench.errors import DataError

MINI = [task for task in load_tasks().values() if task.source == "mini"]
SPLITS = [(task, split) for task in MINI for split in ("train", "test")]


def rows_of(task, split: str) -> list[dict]:
    path = MINI_FOLDER / "datasets" / task.card.folder / f"{split}.json"
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("task", "split"), SPLITS, ids=lambda value: str(getattr(value, "name", value))
)
def test_a_mini_set_has_enough_items_and_balanced_labels(task, split: str) -> None:
    examples = load_split(task, split).examples
    assert len(examples) == split_file(task, split).rows >= {"test": 24, "train": 16}[split]
    if task.card.is_label_task:
        counts = Counter(example.label for example in examples)
        assert set(counts) == set(task.card.labels)
        assert len(set(counts.values())) == 1
    else:
        polarity = Counter(o.polarity for e in examples for o in e.opinions)
        assert min(polarity["positive"], polarity["negative"]) >= 0.35 * polarity.total()


def test_there_are_24_files_and_no_text_twice() -> None:
    texts = [
        example.sentence for task, split in SPLITS for example in load_split(task, split).examples
    ]
    assert len(SPLITS) == 24
    assert len(list(MINI_FOLDER.rglob("t*.json"))) == 24
    assert len({" ".join(text.casefold().split()) for text in texts}) == len(texts) == 484
    assert all(text == " ".join(text.split()) for text in texts)


@pytest.mark.parametrize("split", ["train", "test"])
def test_offsets_and_texts_of_spans_agree(split: str) -> None:
    n_spans = 0
    by_name = {task.card.name: task for task in MINI}
    for name in ("atsa_rest16", "acsa_rest16"):
        for row in rows_of(by_name[name], split):
            for a in row["aspects"]:
                text = row["sentence"][int(a["from"]) : int(a["to"])]
                assert text == ("" if a["target"] == "NULL" else a["target"])
                n_spans += 1
    for row in rows_of(by_name["asqp_rest16"], split):
        for quad in row["quards"]:
            assert quad["opinion"]
            assert quad["opinion"] in row["sentence"]
            assert quad["aspect"] == "NULL" or quad["aspect"] in row["sentence"]
            n_spans += 1
    for row in rows_of(by_name["opener"], split):
        starts = [i for i, c in enumerate(" " + row["sentence"]) if c == " "]
        for opinion in row["opinions"]:
            for key in ("Source", "Target", "Polar_expression"):
                for piece, offsets in zip(*opinion[key], strict=True):
                    start, end = map(int, offsets.split(":"))
                    assert row["sentence"][start:end] == piece
                    assert start in starts
                    assert (row["sentence"] + " ")[end] == " "
                    n_spans += 1
    assert n_spans > 100


@pytest.mark.realdata
def test_no_mini_text_occurs_in_the_real_data(real_data: Path) -> None:
    files = list((real_data / "datasets").rglob("*.json"))
    assert len(files) == 34
    real_runs: set[tuple[str, ...]] = set()
    real_texts: list[str] = []
    for file in files:
        for row in json.loads(file.read_text(encoding="utf-8-sig")):
            words = row["sentence"].casefold().split()
            real_texts.append(" ".join(words))
            real_runs.update(tuple(words[i : i + 8]) for i in range(max(1, len(words) - 7)))
    everything = "\n".join(real_texts)
    for task, split in SPLITS:
        for example in load_split(task, split).examples:
            words = example.sentence.casefold().split()
            assert len(words) >= 8 or " ".join(words) not in everything, example.sentence
            for i in range(max(1, len(words) - 7)):
                assert tuple(words[i : i + 8]) not in real_runs, example.sentence


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}", "f.json: got a dict, expected a list of items; REMEDY"),
        ("[", "f.json: not JSON in UTF-8: "),
        ('[{"label": "positive"}]', "of SST2; got no key 'sentence', expected one; REMEDY"),
        ('[{"label": "odd", "sentence": "x"}]', "of SST2; got the label 'odd', expected one of "),
        ('[{"label": 5}]', "of SST2; got a value of another type than expected; "),
        ("[5]", "item 0 is not in the format of SST2; got a value of another type"),
    ],
)
@pytest.mark.parametrize("remedy", ["", "reinstall it"])
def test_a_wrong_file_is_one_line_without_words_of_python(
    content: str, said: str, remedy: str
) -> None:
    with pytest.raises(DataError) as caught:
        read_split(load_cards()["sst2"], content.encode(), "f.json", *([remedy] if remedy else []))
    remedy = remedy or "download it again: sentibench fetch --force"
    assert said.replace("REMEDY", remedy) in str(caught.value)
    assert str(caught.value).endswith(f"; {remedy}")
    assert "Error(" not in str(caught.value)

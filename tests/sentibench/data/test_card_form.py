"""The form of a card: what it admits, and what the error says of what it does not."""

import os
import pickle
import re
from pathlib import Path

import pytest
import yaml

from sentibench.data import cards
from sentibench.data.card_form import CLASSES, MAX_BYTES, CardFile, scoring_word
from sentibench.data.cards import ORDER, load_tasks, own_task
from sentibench.errors import InputError

LABELS = """\
task: reviews
class: !function sentibench.harness.LabelTask
title: Reviews
kind: classification
metric: macro_f1
labels:
- bad
- name: very good
  word: fine
  description: the writer would buy it again
  synonyms: [great]
instruction: Good or bad?
shots: 1
demonstrations:
- text: Broken.
  answer: bad
columns:
  text: review
  label: kind
splits:
  test:
    rows: 2
    bytes: 40
    sha256: abc
    file: ../t.csv
pins:
  own:
    items: abc
    prompts: {42: abc}
"""
ASPECTS = (
    LABELS.replace("LabelTask", "ExtractionTask")
    .replace("macro_f1", "tuple_f1")
    .replace("  label: kind", "  tuples: opinions")
    .replace(LABELS[LABELS.index("labels:") : LABELS.index("instruction:")], "")
    + "elements: [aspect, polarity]\npolarities: [good, bad]\n"
)
BOMB = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
)


@pytest.fixture
def folder(desk: Path) -> Path:
    (desk / "sentibench_tasks").mkdir()
    return desk / "sentibench_tasks"


def put(folder: Path, text: str, name: str = "card.yaml") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_ours_and_own_cards_are_read_through_one_form(folder: Path, monkeypatch) -> None:
    seen: list[str] = []
    validate = CardFile.model_validate

    def watched(content: dict[str, str]) -> CardFile:
        seen.append(content["name"])
        return validate(content)

    monkeypatch.setattr(CardFile, "model_validate", watched)
    put(folder, LABELS)
    cards.load_cards.cache_clear()
    try:
        assert len(load_tasks()) == 25
    finally:
        monkeypatch.undo()
        cards.load_cards.cache_clear()
        cards.load_groups.cache_clear()
        cards.forget_own_tasks()
    assert seen == [*ORDER, "reviews"]


@pytest.mark.parametrize("name", ORDER)
def test_the_form_refuses_a_card_of_ours_with_one_key_more(name: str) -> None:
    text = Path(cards.__file__).with_name(f"{name}.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    assert CardFile.model_validate(content).name == name
    with pytest.raises(ValueError, match="extra"):
        CardFile.model_validate(content | {"lables": []})


def test_a_card_is_a_task_with_words_descriptions_synonyms_and_demonstrations(folder) -> None:
    put(folder, LABELS)
    put(folder, ASPECTS.replace("reviews", "opinions"), "more.yaml")
    card = load_tasks()["reviews"].card
    assert card.labels == ("bad", "very good")
    assert card.scoring_words == ("bad", "fine")
    assert card.classes[1].description == "the writer would buy it again"
    assert card.classes[1].synonyms == ("great",)
    assert card.demonstrations == (("Broken.", "bad"),)
    assert load_tasks()["opinions"].card.elements == ("aspect", "polarity")
    assert {"reviews", "opinions"}.isdisjoint(task.name for task in cards.tasks_named([], "test"))


@pytest.mark.parametrize(
    ("label", "word"),
    [("non-irony", "non"), ("Very Good", "Very"), ("-", "-"), ("--", "--"), ("5", "5")],
)
def test_the_word_of_a_label_is_its_first_word_or_itself(label: str, word: str) -> None:
    assert scoring_word(label) == word


BAD = {
    "no labels": ("labels:\n- bad", "unused:\n- bad", "unknown key 'unused'; known: name, "),
    "empty labels": (
        LABELS[LABELS.index("labels:") : LABELS.index("instruction:")],
        "labels: []\n",
        "expected labels or elements; got neither",
    ),
    "both": ("kind: c", "elements: [polarity]\nkind: c", "expected labels or elements; got both"),
    "number": ("- bad", "- 5", "labels.0: got 5, expected text; put it in quotes"),
    "yes": ("- bad", "- yes", "labels.0: got True, expected text; put it in quotes"),
    "one label": ("- bad\n", "", "labels: got 1 (very good), expected 2 to 100"),
    "300": (
        "- bad",
        "\n".join(f"- k{n:03}" for n in range(299)),
        "got 300 (k000, k001, k002), expected 2",
    ),
    "case": ("- bad", "- Very Good", "labels: got 'Very Good' and 'very good', expected names"),
    "lines": ("- bad", '- "b\\nad"', "labels: got 'b\\nad', expected text in one line"),
    "blank word": ("word: fine", 'word: " fine"', "labels: got ' fine', expected text in one"),
    "prefix": ("- bad", "- fi", "the word 'fi' of 'fi' is the beginning of 'fine' of 'very good'"),
    "way out": ("- bad", "- fi", "one another word: --labels 'fi=WORD,very good=fine'"),
    "label key": ("word: fine", "wrod: fine", "'labels.1.wrod'; did you mean 'word'?"),
    "key": ("kind: c", "lables: []\nkind: c", "unknown key 'lables'; did you mean 'labels'?"),
    "twice": ("kind: c", "title: Mine\nkind: c", "key 'title' occurs twice"),
    "twice as read": ("kind: c", "kind: c\n5: a\n5.0: b", "key '5.0' occurs twice"),
    "name": ("kind: c", "name: mine\nkind: c", "unknown key 'name'; did you mean 'task'?"),
    "lacking key": ("title: Reviews\n", "", "title: got nothing, expected this key"),
    "our name": ("task: reviews", "task: sst2", "'sst2' is a name of this package"),
    "our prefix": ("task: reviews", "task: sentibench_x", "is a name of this package"),
    "our tag": (
        "kind: c",
        "tag: sentibench_tasks\nkind: c",
        "tag: got 'sentibench_tasks', expected",
    ),
    "our tags": ("kind: c", "tag: [mine, imdb]\nkind: c", "tag: got 'imdb', expected text that is"),
    "own tag": ("kind: c", "tag: reviews\nkind: c", "tag: got 'reviews', expected text that is"),
    "number as tag": ("kind: c", "tag: 5\nkind: c", "tag: got 5, expected text that is"),
    "path as name": ("task: reviews", "task: ../x", "task: got '../x'"),
    "number as name": ("task: reviews", "task: 5", "task: got 5, expected a valid string"),
    "family": ("LabelTask", "ExtractionTask", "expected sentibench.harness.LabelTask"),
    "no family": ("LabelTask", "LabelTsk", "class: got 'sentibench.harness.LabelTsk', expected"),
    "format": ("kind: c", "format: labels\nkind: c", "format: got 'labels', expected table"),
    "category": ("kind: c", "category: basic\nkind: c", "category: got 'basic', expected own"),
    "split": ("  test:\n", "  tset:\n", "splits: unknown 'tset'; did you mean 'test'?"),
    "no test": ("  test:\n", "  train:\n", "splits: got train, expected test"),
    "file": ("    file: ../t.csv\n", "", "splits.test: got no file, expected its path"),
    "rows": ("rows: 2", "rows: -2", "splits.test.rows: got -2, expected greater"),
    "pins": ("  own:\n", "  mini:\n", "pins: got no hashes under own; write the card with"),
    "metric": ("macro_f1", "tuple_f1", "metric: got tuple_f1, expected macro_f1"),
    "column": ("  label: kind\n", "", "columns: got text, expected text, label (label)"),
    "more columns": ("  label: k", "  lable: k\n  label: k", "columns: unknown 'lable'; did you"),
    "target alone": (
        "  label: k",
        "  target: k\n  label: k",
        "instruction: expected %s in place of",
    ),
    "%s alone": ("Good or", "Of %s, good or", "instruction: expected %s in place of"),
    "no instruction": ("Good or bad?", "' '", "instruction: got none, expected what the model"),
    "shots": ("shots: 1", "shots: 2", "shots: got 2, expected at most 1"),
    "answer": ("answer: bad", "answer: bda", "demonstrations: got the answer 'bda'; did you mean"),
    "title": ("title: Reviews", "title: [a]", "title: got ['a'], expected a valid string"),
}


def said_of(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_tasks()
    message = str(caught.value)
    assert message.startswith(str(path))
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.parametrize("case", BAD)
def test_a_bad_card_is_one_line_with_file_key_and_what_was_expected(case, folder: Path) -> None:
    old, new, expected = BAD[case]
    assert LABELS.count(old) == 1
    assert expected in said_of(put(folder, LABELS.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("[aspect, polarity]", "[aspect]", "elements: got aspect, expected each once and polarity"),
        ("[aspect, polarity]", "[polarity, polarity]", "got polarity, polarity, expected each"),
        ("[aspect, polarity]", "[aspct, polarity]", "unknown 'aspct'; did you mean 'aspect'?"),
        ("[good, bad]", "[]", "polarities: got none"),
        ("[good, bad]", "[good, Good]", "polarities: got 'good' and 'Good'"),
        ("  tuples: opinions", "  aspect: a", "expected text, aspect, polarity (polarity)"),
        ("  tuples: opinions", "  tuples: o\n  target: t", "columns: unknown 'target'"),
    ],
)
def test_a_bad_card_of_an_aspect_task_is_named(old, new, expected, folder: Path) -> None:
    assert ASPECTS.count(old) == 1
    assert expected in said_of(put(folder, ASPECTS.replace(old, new)))


HOSTILE = {
    "broken": ("x: [1\n y: {", "expected YAML in UTF-8; got while parsing"),
    "nested": ("x: " + "[" * 100_000, "maximum recursion depth"),
    "huge": ("x: " + "a" * MAX_BYTES, "larger than 4 MB, expected a task card"),
    "python": ("class: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
    "zero": ("x: \0", "unacceptable character"),
    "name of nine billion": (
        f"{BOMB}\nclass: !function {CLASSES[0]}\ntask: *a9",
        "task: got [[[...], [...]",
    ),
    "itself": (LABELS.replace("title: Reviews", "title: &t [*t]"), "title: got [[[...]]]"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_yaml_is_one_line(case: str, folder: Path) -> None:
    text, expected = HOSTILE[case]
    assert expected in said_of(put(folder, f"# class: {CLASSES[0]}\n{text}"))


def test_a_card_that_is_no_utf_8_is_one_line(folder: Path) -> None:
    path = folder / "card.yaml"
    path.write_bytes(LABELS.replace("Broken", "Zerstört").encode("latin-1"))
    assert "expected YAML in UTF-8; got 'utf-8' codec" in said_of(path)


def test_what_is_no_card_is_left_alone(folder: Path) -> None:
    put(folder, f"{BOMB}\nclass: *a9", "endless.yaml")
    put(folder, "task: other\nclass: !function other.Task\n", "other.yaml")
    put(folder, "- a\n- b\n", "list.yaml")
    put(folder, "a: !Ref b\n", "helm.yaml")
    put(folder, "{{ template }}: [\n", "template.yaml")
    put(folder, "no card", "notes.txt")
    (folder / "folder.yaml").mkdir()
    (folder / "gone.yaml").symlink_to(folder / "nothing")
    assert len(load_tasks()) == 24


def test_cards_of_one_name_are_refused_with_both_files(folder: Path, monkeypatch) -> None:
    first = put(folder, LABELS, "a.yaml")
    second = put(folder, LABELS, "b.yaml")
    assert f"got 'reviews', which is also the name in {first}" in said_of(second)
    second.unlink()
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    third = put(elsewhere, LABELS)
    monkeypatch.setenv(cards.OWN_FOLDERS_VARIABLE, str(elsewhere))
    assert f"got 'reviews', which is also the name in {first}" in said_of(third)
    monkeypatch.delenv(cards.OWN_FOLDERS_VARIABLE)
    with pytest.raises(InputError, match="which is also the name in"):  # as --include_path gives
        own_task(third)
    assert load_tasks()["reviews"].card.path == first


def test_a_card_that_is_found_in_two_ways_is_one_card(folder: Path, monkeypatch) -> None:
    path = put(folder, LABELS)
    link = folder.parent / "link"
    link.symlink_to(folder)
    monkeypatch.setenv(cards.OWN_FOLDERS_VARIABLE, f"{link}{os.pathsep}{folder}")
    assert [task.name for task in cards.tasks_of_source("own")] == ["reviews"]
    assert own_task(link / path.name) is load_tasks()["reviews"]


def test_a_card_given_by_its_path_is_known_by_its_name(folder: Path) -> None:
    away = folder.parent / "away"
    away.mkdir()
    task = own_task(put(away, LABELS))
    assert load_tasks()["reviews"] is task
    assert pickle.loads(pickle.dumps(task)).card is task.card
    other = folder.parent / "other"
    other.mkdir()
    assert own_task(put(other, LABELS)).card.path == other / "card.yaml"  # the newer one
    (other / "card.yaml").unlink()
    cards.forget_own_tasks()
    assert "reviews" not in load_tasks()
    assert own_task(away / "card.yaml").card.path == away / "card.yaml"
    (away / "card.yaml").rename(other / "card.yaml")
    assert own_task(other / "card.yaml").card.path == other / "card.yaml"


def test_a_variable_that_names_no_folder_is_refused(folder: Path, monkeypatch) -> None:
    monkeypatch.setenv(cards.OWN_FOLDERS_VARIABLE, f"{folder}{os.pathsep}nothing")
    with pytest.raises(InputError, match="SENTIBENCH_TASKS: no folder 'nothing'"):
        cards.name_own_folders()


def test_the_docs_have_a_line_for_every_key() -> None:
    text = (Path(__file__).parents[3] / "docs" / "own_tasks.md").read_text(encoding="utf-8")
    table = text[text.index("| key | holds |") :]
    told = [
        key
        for line in table.splitlines()
        if "|" in line
        for key in re.findall("`(.+?)`", line.split("|")[1])
    ]
    assert sorted(told) == sorted({*CardFile.model_fields, "task", "class", "tag"} - {"name"})

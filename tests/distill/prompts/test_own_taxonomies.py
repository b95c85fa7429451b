"""Own tasks in ICLDist: their labels, words and tuples; names that are no task."""

import csv
import json
from pathlib import Path

import pytest
from whole_lists import icldist_requests

from distill.config import ICLDist
from distill.errors import ConfigError
from distill.filters.reading import tuples_of
from distill.prompts.icldist import demonstration_requests
from distill.prompts.taxonomies import chosen_taxonomies
from distill.texts.sources import Text
from sentibench.__main__ import main
from sentibench.data.cards import load_tasks
from sentibench.errors import InputError
from sentibench.remote.records import Message, Request

KINDS = ("Late Delivery", "praise", "question")
TEXTS = [Text(f"shop/{n:03d}", f"text number {n}", "shop") for n in range(40)]


def write(path: Path, rows: list[tuple[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return path


@pytest.fixture
def reviews(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "test.csv", [(f"held out {n}", KINDS[n % 3]) for n in range(6)])
    write(tmp_path / "train.csv", [(f"shown {n} {{{{ x }}}}", KINDS[n % 3]) for n in range(9)])
    names = "Late Delivery=late,praise,question"
    given = ["--labels", names, "--describe", "praise={{ liked }}", "--train", "train.csv"]
    assert main(["task", "new", "reviews", "--test", "test.csv", *given]) == 0


@pytest.fixture
def opinions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("test", "train"):
        rows = [
            {"text": f"{name} {n}: good soup", "opinions": [["soup", "positive"]]} for n in range(6)
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    files = ["--test", "test.jsonl", "--train", "train.jsonl", "--tuples", "opinions"]
    given = ["--elements", "aspect,polarity", "--labels", "positive,negative"]
    assert main(["task", "new", "menu", *files, *given]) == 0


def stage(**given) -> ICLDist:
    return ICLDist(**{"samples": 30, "tasks": ("reviews",), "other_tasks": 0.0} | given)


@pytest.mark.usefixtures("reviews")
def test_an_own_task_is_asked_for_with_its_own_labels_wording_and_demonstrations() -> None:
    asked = demonstration_requests(TEXTS, stage(), 1)
    assert {r.choices for r in asked} == {KINDS}
    for request in asked:
        assert request.prompt.startswith("Which label fits the text? Answer with Late Del")
        assert "praise: {{ liked }}" in request.prompt  # text of a card is no template
        assert request.prompt.count("shown ") == 3  # one of each label
    labels = {(r.meta["taxonomy"], r.meta["text"]): KINDS[0] for r in asked}
    requests = icldist_requests(TEXTS, labels, stage(), 1)
    assert {r.choices for r in requests} == {KINDS}
    assert {r.meta["taxonomy"] for r in requests} == {"reviews"}
    shown = [label for r in requests for _, label in r.meta["demonstrations"]]
    assert set(shown) == {"Late Delivery"}


@pytest.mark.usefixtures("reviews")
def test_own_tasks_stand_beside_ours_or_instead_of_them() -> None:
    def names(*tasks: str) -> list[str]:
        return [one.name for one in chosen_taxonomies(stage(tasks=tasks))]

    assert names("reviews", "sentiment_3") == ["reviews", "sentiment_3"]
    assert len(names("sentiment", "emotion")) == 6
    with pytest.raises(ConfigError, match=r"icldist.tasks: unknown 'review'; did you mean 'rev"):
        names("review")


@pytest.mark.usefixtures("reviews")
def test_synonyms_are_words_of_the_labels_set_by_set(tmp_path: Path) -> None:
    card = tmp_path / "sentibench_tasks" / "reviews.yaml"
    text = card.read_text("utf-8").replace(
        "- name: question", "- name: question\n  synonyms: [ask]"
    )
    card.write_text(text, encoding="utf-8")
    from sentibench.data.cards import forget_own_tasks

    forget_own_tasks()
    (taxonomy,) = chosen_taxonomies(stage())
    assert taxonomy.word_sets == (KINDS, ("Late Delivery", "praise", "ask"))


@pytest.mark.usefixtures("reviews")
def test_without_shots_nobody_is_asked_for_demonstrations_and_prompts_have_an_instruction() -> None:
    zero = stage(shots=(0,))
    assert demonstration_requests(TEXTS, zero, 1) == []
    requests = icldist_requests(TEXTS, {}, zero, 1)
    assert len(requests) == 30
    assert all(r.meta["instruction_text"] and not r.meta["shots"] for r in requests)


@pytest.mark.usefixtures("opinions")
def test_tuples_are_asked_for_and_shown_as_the_evaluation_writes_them() -> None:
    asked = demonstration_requests(TEXTS, stage(tasks=("menu",)), 1)
    assert {(r.choices, r.labels, r.elements) for r in asked} == {((), (), ("aspect", "polarity"))}
    assert all("Label: [('soup', 'positive')]" in r.prompt for r in asked)
    labels = {(r.meta["taxonomy"], r.meta["text"]): "[('tea', 'negative')]" for r in asked}
    for request in icldist_requests(TEXTS, labels, stage(tasks=("menu",)), 1):
        assert request.prompt.count("[('tea', 'negative')]") == request.meta["shots"]


ANSWERS = [
    ("[('soup','positive')]", "[('soup', 'positive')]"),
    ('```json\n[{"aspect": "soup", "polarity": "Positive"}]\n```', "[('soup', 'positive')]"),
    ('{"opinions": [["tea", "negative"]]}', "[('tea', 'negative')]"),
    ('[["a", "positive"], ["a", "positive"]]', "[('a', 'positive')]"),
    ("Answer: [('a', 'negative')]", "[('a', 'negative')]"),
    ('[{"polarity": "positive"}]', "[('NULL', 'positive')]"),
    ("[]", "[]"),
    ("{}", None),
    ("[('a', 'meh')]", None),
    ("[('a', 'b', 'positive')]", None),
    ("The soup was good.", None),
    ("__import__('os').getcwd()", None),
]


@pytest.mark.parametrize(("answer", "expected"), ANSWERS)
def test_tuples_are_read_in_the_forms_in_which_models_give_them(answer, expected) -> None:
    meta = {"elements": ("aspect", "polarity"), "polarities": ("positive", "negative")}
    request = Request("x", (Message("user", "p"),), "t", "s", meta=meta)
    assert tuples_of(answer, request) == expected


@pytest.mark.usefixtures("reviews")
def test_the_fixed_demonstrations_of_a_card_stand_in_every_prompt_and_nobody_labels_others(
    tmp_path: Path,
) -> None:
    shown = [(f"fixed {n}", KINDS[n % 3]) for n in range(3)]
    write(tmp_path / "shown.csv", shown)
    given = ["--test", "test.csv", "--demonstrations", "shown.csv"]
    assert main(["task", "new", "fixed", *given, "--labels", ",".join(KINDS)]) == 0
    asked = stage(tasks=("fixed",), shots=(3,))
    assert demonstration_requests(TEXTS, asked, 1) == []
    requests = icldist_requests(TEXTS, {}, asked, 1)
    assert len(requests) == 30
    assert all([*r.meta["demonstrations"]] == shown for r in requests)
    known = [Text(f"shop/x{n}", text, "shop") for n, (text, _) in enumerate(shown)]
    requests = icldist_requests([*known, *TEXTS], {}, asked, 1)
    assert not {request.text for request in requests} & {text for text, _ in shown}
    with pytest.raises(InputError, match="no taxonomy has more than"):
        icldist_requests(known, {}, asked, 1)
    mixed = stage(tasks=("fixed", "reviews"), shots=(1, 3))
    assert {r.meta["taxonomy"] for r in demonstration_requests(TEXTS, mixed, 1)} == {"reviews"}


def test_a_word_that_does_not_begin_its_label_is_shown_learnt_and_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "test.csv", [("a", "1"), ("b", "10")])
    write(tmp_path / "train.csv", [("c", "1"), ("d", "10")])
    given = ["--test", "test.csv", "--train", "train.csv", "--labels", "1=one,10=ten"]
    assert main(["task", "new", "stars", *given, "--shots", "2"]) == 0
    (taxonomy,) = chosen_taxonomies(stage(tasks=("stars",)))
    assert taxonomy.classes == ("one", "ten")
    assert taxonomy.class_of("10") == taxonomy.class_of("TEN") == "ten"
    assert {example.label for example in taxonomy.examples} == {"one", "ten"}
    from sentibench.harness import render_prompts

    rows = list(render_prompts(load_tasks()["stars"], seed=42, shots=2, limit=None))
    assert [row["target"] for row in rows] == ["one", "ten"]
    assert all("Label: one" in row["prompt"] and "Label: ten" in row["prompt"] for row in rows)


def test_a_task_that_asks_about_a_target_is_not_taught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = "text,who,label\na,x,good\nb,y,bad\n"
    (tmp_path / "test.csv").write_text(rows, encoding="utf-8")
    assert main(["task", "new", "stance", "--test", "test.csv", "--target", "who"]) == 0
    with pytest.raises(ConfigError, match="stance asks about a target"):
        chosen_taxonomies(stage(tasks=("stance",)))

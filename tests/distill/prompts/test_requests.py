"""What the teacher is asked: KnowDist's and ICLDist's requests."""

from collections import Counter
from pathlib import Path

import pytest

from distill.config import ICLDist, KnowDist
from distill.errors import ConfigError, InputError
from distill.prompts.icldist import (
    coverage,
    demonstration_requests,
    gold_demonstrations,
    icldist_requests,
    load_other_tasks,
    load_taxonomies,
)
from distill.prompts.knowdist import knowdist_requests
from distill.texts.sources import Text
from sentibench.prompts.few_shot import render_few_shot

TEXTS = [
    Text(f"{source}/{i:03d}", f"{source} text number {i}", source, label)
    for source, labels in (("films", ("negative", "positive")), ("tweets", ("joy", "anger")))
    for i, label in enumerate(labels * 20)
]


def test_families_and_perspectives_are_evenly_spread_and_every_text_has_its_turn() -> None:
    requests = knowdist_requests(TEXTS, KnowDist(samples=160), 1)
    assert Counter((r.meta["family"], r.meta["perspective"]) for r in requests) == {
        (family, view): 20
        for family in ("analysing", "rewriting")
        for view in ("expression", "target", "emotion", "background")
    }
    assert set(Counter(r.text for r in requests).values()) == {2}
    assert len({r.id for r in requests}) == 160
    assert all(r.text in r.messages[0].content for r in requests)


def test_no_more_is_asked_than_there_are_texts_and_prompts() -> None:
    requests = knowdist_requests(TEXTS[:2], KnowDist(samples=1000), 1)
    assert len({r.messages for r in requests}) == len(requests) == 16


def test_requests_depend_on_the_seed_and_not_on_the_order_of_the_texts() -> None:
    stage = KnowDist(samples=20)
    assert knowdist_requests(TEXTS, stage, 1) == knowdist_requests(TEXTS[::-1], stage, 1)
    assert knowdist_requests(TEXTS, stage, 1) != knowdist_requests(TEXTS, stage, 2)


def test_a_users_template_replaces_ours_alone(tmp_path: Path) -> None:
    (tmp_path / "analysing_emotion.jinja").write_text("Feel: {{ text }}\n", encoding="utf-8")
    requests = knowdist_requests(TEXTS[:1], KnowDist(samples=8, templates=tmp_path), 1)
    by_name = {(r.meta["family"], r.meta["perspective"]): r.messages[0].content for r in requests}
    assert by_name["analysing", "emotion"] == f"Feel: {TEXTS[0].text}"
    assert by_name["analysing", "target"].endswith("Explanation:")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("analysing_emotion", "{{ txt }}", "'txt' is undefined"),
        ("analysing_emotion", "{% if %}", "Expected an expression"),
        ("analysing_emotion", "no text", "the text is not shown"),
        (
            "analyzing_emotion",
            "{{ text }}",
            "replaces no template; known: analysing, analysing_background",
        ),
    ],
)
def test_a_template_that_cannot_be_used_is_refused(name, content, message, tmp_path) -> None:
    (tmp_path / f"{name}.jinja").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        knowdist_requests(TEXTS, KnowDist(templates=tmp_path), 1)


def test_a_folder_without_templates_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no \.jinja file"):
        knowdist_requests(TEXTS, KnowDist(templates=tmp_path), 1)


def test_a_text_that_looks_like_a_template_stays_a_text() -> None:
    odd = Text("x/1", "{{ 7 * 7 }} {% raw %}", "x")
    (request,) = knowdist_requests([odd], KnowDist(samples=1), 1)
    assert odd.text in request.messages[0].content


def stage(**given) -> ICLDist:
    return ICLDist(**{"samples": 400, "demonstrations": "gold"} | given)


def asked(given: ICLDist, seed: int = 1):
    return icldist_requests(TEXTS, gold_demonstrations(TEXTS, given, seed), given, seed)


def test_every_axis_varies() -> None:
    table = coverage(asked(stage()))
    assert set(table["family"]) == {"sentiment", "emotion", "other"}
    assert set(table["shots"]) == {"1", "2", "3", "4", "5"}
    assert set(table["instruction"]) == {"full", "short", "none"}
    assert len(table["label_words"]) > 20
    assert table["family"]["other"] == pytest.approx(80, abs=25)


def test_an_axis_that_is_off_does_not_vary() -> None:
    off = stage(label_words=False, taxonomies=False, instructions=("full",), other_tasks=0)
    requests = asked(off)
    assert {r.meta["taxonomy"] for r in requests} == {"sentiment_3", "emotion_4"}
    assert {r.choices for r in requests} == {
        load_taxonomies()[name].classes for name in ("sentiment_3", "emotion_4")
    }
    assert all(r.meta["instruction"] == "full" for r in requests)


def test_prompts_are_those_of_the_evaluation_and_never_show_their_own_text() -> None:
    for request in asked(stage()):
        shown = request.meta["demonstrations"]
        prompt = render_few_shot(request.meta["instruction_text"], shown, request.text)
        assert request.messages[0].content == prompt
        assert request.text not in [text for text, _ in shown]
        assert len(shown) == request.meta["shots"] > 0 or request.meta["instruction_text"]
        assert {label for _, label in shown} <= {*request.meta["labels"]}


def test_demonstrations_carry_the_label_that_they_were_given() -> None:
    gold = {text.text: text.label for text in TEXTS}
    for request in asked(stage(other_tasks=0)):
        taxonomy = load_taxonomies()[request.meta["taxonomy"]]
        for text, word in request.meta["demonstrations"]:
            assert taxonomy.classes[request.meta["labels"].index(word)] == gold[text]


def test_changing_one_axis_leaves_the_other_samples_alone() -> None:
    few, many = asked(stage(samples=50)), asked(stage(samples=60))
    assert many[:50] == few


def test_the_teacher_labels_demonstrations_from_our_own_examples() -> None:
    given = stage(demonstrations="teacher")
    requests = demonstration_requests(TEXTS, given, 1)
    assert {r.meta["taxonomy"] for r in requests} == set(load_taxonomies())
    assert len(requests) == len(load_taxonomies()) * len(TEXTS)
    assert all(r.choices and r.text in r.messages[0].content for r in requests)
    assert demonstration_requests(TEXTS, stage(), 1) == []


def test_too_few_demonstrations_are_an_error() -> None:
    with pytest.raises(InputError, match="no taxonomy has more than 5 demonstrations"):
        icldist_requests(TEXTS, {("sentiment_2", "films/000"): "negative"}, stage(), 1)


def test_a_users_tasks_join_ours_and_a_damaged_line_is_named(tmp_path: Path) -> None:
    row = '{"task": "mine", "instruction": "Say it.", "input": "a", "output": "b"}\n'
    (tmp_path / "more.jsonl").write_text(row * 3, encoding="utf-8")
    assert len(load_other_tasks([tmp_path / "more.jsonl"])) == len(load_other_tasks()) + 1
    (tmp_path / "more.jsonl").write_text(row + '{"task": "mine"}\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"more.jsonl line 2: expected an object"):
        load_other_tasks([tmp_path / "more.jsonl"])

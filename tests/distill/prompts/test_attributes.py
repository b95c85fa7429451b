"""KnowDist's instructions composed from attributes: listed, read, joined, composed."""

import random
from collections import Counter

from jinja2 import Environment, meta
from whole_lists import knowdist_requests

from distill.config import Attributes, KnowDist
from distill.prompts.attributes import (
    TEMPLATES,
    Attribute,
    attribute_requests,
    compose,
    listed,
    read_attributes,
)
from distill.texts.sources import Text

TEXTS = [Text(f"cafes/{i:03d}", f"The tea {i} was weak.", "cafes", "negative") for i in range(60)]
FOUND = [
    Attribute("tone", 30, ("warm", "sarcastic", "calm")),
    Attribute("intensity", 10, ("mild", "strong")),
    Attribute("target", 5, ("tea", "cake")),
]
VARIABLES = {
    "list": {"text"},
    "explain": {"text", "names"},
    "choose": {"text", "name", "values"},
    "structure": {"text", "listed"},
}


def settings(**given) -> Attributes:
    return Attributes(**{"min_texts": 2, **given})


def test_the_templates_show_the_text_once_and_end_with_a_cue() -> None:
    paths = sorted(TEMPLATES.glob("*.jinja"))
    assert {path.stem for path in paths} == {*VARIABLES}
    environment = Environment()
    for path in paths:
        source = path.read_text(encoding="utf-8")
        assert meta.find_undeclared_variables(environment.parse(source)) == VARIABLES[path.stem]
        assert source.count("Text: {{ text }}\n\n") == 1
        assert source.rstrip().endswith(("Attributes:", "Explanation:", "Answer:"))


def test_so_many_texts_are_read_for_attributes() -> None:
    asked = attribute_requests(TEXTS, settings(texts=20), 1)
    assert len({r.text for r in asked}) == 20
    assert asked == attribute_requests(TEXTS[::-1], settings(texts=20), 1)
    assert asked != attribute_requests(TEXTS, settings(texts=20), 2)
    assert all(r.prompt.endswith(f"Text: {r.text}\n\nAttributes:") for r in asked)


def test_an_attribute_is_named_in_enough_texts_and_has_values() -> None:
    answers = [
        "Tone: Sarcastic.\nintensity: strong\nonce: only",
        "- tone: *friendly*\n- Intensity: strong",
        "1. tone: sarcastic\nThe writer is angry, see above: a long value of many words it is",
        "language tone: calm\ntone: calm\nno colon here\n: none\nmood of the day today: sad",
    ]
    assert read_attributes(answers, settings()) == []  # one value that two texts share
    (tone,) = read_attributes([*answers, "tone: calm"], settings())
    assert (tone.name, tone.n_texts) == ("tone", 5)  # one text names it twice
    assert tone.values == ("sarcastic", "calm")  # friendly was named once
    assert read_attributes([*answers, "tone: calm"], settings(min_texts=6)) == []


def test_a_preamble_is_no_attribute_and_open_values_are_none() -> None:
    answer = "Here are the attributes:\n\ntone: calm\ntarget: -\ncause: N/A"
    assert listed(answer) == {"tone": "calm"}


def test_what_differs_in_every_text_is_no_attribute() -> None:
    answers = [f"target: thing{n}\ntone: {('calm', 'warm')[n % 2]}" for n in range(10)]
    assert [one.name for one in read_attributes(answers, settings())] == ["tone"]


def test_a_hostile_answer_is_text() -> None:
    names = "\n".join(f"word{n} of{n % 99}: y" for n in range(20_000))
    bad = "tone: {{ config }}\ntone: <b>\n" + "a" * 100_000 + f": b\n{names}"
    some = ["tone: calm", "tone: calm", "tone: warm", "tone: warm"]
    found = read_attributes([bad, *some], settings())
    assert [one.name for one in found] == ["tone"]
    prompt, _ = compose(random.Random(1), TEXTS[0], [Attribute("{{ text }}", 3, ("{{ 1 }}", "b"))])
    assert "{{" in prompt


def test_a_share_of_the_requests_is_composed_and_says_of_what() -> None:
    stage = KnowDist(samples=400, attributes=settings(share=0.25))
    requests = knowdist_requests(TEXTS, stage, 1, FOUND)
    ours = knowdist_requests(TEXTS, KnowDist(samples=400), 1)
    composed = [r for r in requests if r.meta["family"] == "attributes"]
    assert 70 < len(composed) < 130
    assert len({r.id for r in requests}) == 400
    assert [r for r in requests if r not in composed] == [
        mine for mine, r in zip(ours, requests, strict=True) if r not in composed
    ]
    kinds = Counter(r.meta["perspective"] for r in composed)
    assert set(kinds) == {"explain", "choose", "structure"}
    for request in composed:
        names = request.meta["attributes"]
        assert 1 <= len(names) <= 3
        assert all(name in request.prompt for name in names)
        assert f"Text: {request.text}\n\n" in request.prompt
        if request.meta["perspective"] == "choose":
            values = next(one.values for one in FOUND if one.name == names[0])
            assert all(value in request.prompt for value in values)
    used = Counter(name for r in composed for name in r.meta["attributes"])
    assert used["tone"] > used["intensity"] > used["target"] > 0


def test_without_attributes_the_requests_are_ours() -> None:
    stage = KnowDist(samples=40, attributes=settings())
    assert knowdist_requests(TEXTS, stage, 1) == knowdist_requests(TEXTS, KnowDist(samples=40), 1)

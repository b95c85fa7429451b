"""ICLDist asks for aspects: forms and words of the answers, and what is kept of them."""

import ast
import json
from collections import Counter
from dataclasses import replace

import pytest
import yaml

from distill.config import FilterConfig, ICLDist
from distill.filters.judge import filter_answers
from distill.filters.reading import read_tuples, tuples_of
from distill.forms import Form, read_lines, write
from distill.prompts.icldist import STOP_OF_LINES, demonstration_requests, icldist_requests
from distill.prompts.taxonomies import HERE, chosen_taxonomies, load_taxonomies
from distill.texts.sources import Text
from sentibench.remote.records import Answer, Message, Request

TEXTS = [
    Text(f"cafes/{i:03d}", f"The tea {i} was weak, the cake {i} fine.", "cafes") for i in range(40)
]
STAGE = ICLDist(tasks=("aspects",), samples=240, shots=(1, 2, 3), other_tasks=0.0)
PAIRS = [("tea", "negative"), ("cake", "positive")]
FORMS: tuple[Form, ...] = ("tuples", "lists", "lines")


def requests() -> list[Request]:
    asked = demonstration_requests(TEXTS, STAGE, 1)
    labels = {(r.meta["taxonomy"], r.meta["text"]): repr(PAIRS) for r in asked}
    return icldist_requests(TEXTS, labels, STAGE, 1)


def test_the_papers_tasks_have_no_aspects() -> None:
    assert not any(taxonomy.elements for taxonomy in chosen_taxonomies(ICLDist()))
    names = [taxonomy.name for taxonomy in chosen_taxonomies(STAGE)]
    assert names == ["aspects_3", "aspects_2"]
    plain = chosen_taxonomies(ICLDist(tasks=("sentiment", "aspects"), taxonomies=False))
    assert [taxonomy.name for taxonomy in plain] == ["sentiment_3", "aspects_3"]


def test_examples_are_ours_and_right() -> None:
    """Spans stand in the text, polarities are known, some texts have no aspect."""
    raw = yaml.safe_load((HERE / "aspects.yaml").read_text(encoding="utf-8"))
    texts = [example["text"] for given in raw.values() for example in given["examples"]]
    assert len(set(texts)) == len(texts) == 12
    for taxonomy in (load_taxonomies()[name] for name in raw):
        found = [ast.literal_eval(example.label) for example in taxonomy.examples]
        assert [] in found
        for example, tuples in zip(taxonomy.examples, found, strict=True):
            assert example.label == repr(tuples)
            assert all(aspect in example.text for aspect, _ in tuples)
        assert {polarity for tuples in found for _, polarity in tuples} == {*taxonomy.polarities}
        assert all("{{" not in taxonomy.instruction("full", ("a", "b"), n) for n in range(9))


def test_prompts_differ_in_form_and_words_and_the_teacher_is_asked_in_one() -> None:
    asked = demonstration_requests(TEXTS, STAGE, 1)
    assert {r.meta["form"] for r in asked} == {"tuples"}
    made = requests()
    forms = Counter(r.meta["form"] for r in made)
    assert set(forms) == {*FORMS}
    assert min(forms.values()) > 50
    assert len({r.meta["label_words"] for r in made}) > 8
    assert {(r.choices, r.labels) for r in made} == {((), ())}
    for request in made:
        words = request.meta["polarities"]
        named = {"negative": words[0], "positive": words[-1]}
        shown = write(
            [(aspect, named[polarity]) for aspect, polarity in PAIRS], request.meta["form"]
        )
        assert request.prompt.count(f"Label: {shown}\n\n") == request.meta["shots"]
        assert ("\n" in request.decoding.stop) is (request.meta["form"] != "lines")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("tuples", [PAIRS, PAIRS[:1], [], [('the "old" café', "negative")]])
def test_what_is_written_in_a_form_is_read_again(form: Form, tuples: list) -> None:
    meta = {"elements": ("aspect", "polarity"), "polarities": ("positive", "negative")}
    request = Request("x", (Message("user", "p"),), "t", "s", meta={**meta, "form": form})
    text = write(tuples, form)
    assert read_tuples(text, request) == tuples
    assert tuples_of(text, request) == text
    assert form != "lists" or json.loads(text) == [list(one) for one in tuples]
    assert form != "lines" or STOP_OF_LINES[0] not in text


@pytest.mark.parametrize(
    "text", ["tea", "tea | negative | x", "tea | negative\ncake", "none\nnone", ""]
)
def test_lines_of_another_shape_are_none(text: str) -> None:
    assert read_lines(2, text) is None


ANSWERS = [
    ("The tea was weak.", [("tea", "negative")], "kept"),
    ("The Tea was weak.", [("tea", "negative")], "spelled"),
    ("The tea was weak.", [("coffee", "negative")], "span not in the text"),
    ("The tea was weak.", [("tea", "poor")], "outside the taxonomy"),
    ("The tea was weak.", [], "kept"),
    ("Tea of a (rare) kind.", [("(rare) kind", "negative")], "kept"),
    ("Not the best tea.", [("NULL", "negative")], "kept"),
    ("Weak tea, said the guide.", [("weak AND guide", "negative")], "spelled"),
    ("Weak tea, said the guide.", [("weak AND cook", "negative")], "span not in the text"),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("text", "tuples", "outcome"), ANSWERS)
def test_an_aspect_has_to_stand_in_the_text(form: Form, text: str, tuples: list, outcome) -> None:
    asked = requests()[0]
    meta = {**asked.meta, "form": form, "polarities": ("negative", "positive")}
    request = replace(asked, text=text, meta=meta)
    answer = Answer(write(tuples, form), "stop", 9, 9)
    kept, funnel = filter_answers([(request, answer)], FilterConfig(), None)
    if outcome in ("kept", "spelled"):
        ((one,),) = [kept]
        aspects = [aspect for aspect, _ in read_tuples(one.response, request) or ()]
        spans = [span for aspect in aspects for span in aspect.split(" AND ") if span != "NULL"]
        assert all(span in text for span in spans)
        assert bool(one.notes) is (outcome == "spelled")
    else:
        assert funnel.drops[outcome] == 1

"""ICLDist asks for aspects: forms and words of the answers, and what is kept of them."""

import ast
import json
from collections import Counter
from dataclasses import replace

import pytest
import yaml
from whole_lists import icldist_requests

from distill.config import FilterConfig, ICLDist
from distill.filters.judge import filter_answers
from distill.filters.reading import read_tuples, tuples_of
from distill.forms import Form, read_lines, write
from distill.prompts.icldist import STOP_OF_LINES, demonstration_requests
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


TEA = "The tea was weak."
ANSWERS = [  # text, aspects of the answer, those that are learnt or why none is
    (TEA, ["tea"], ["tea"]),
    ("The Tea was weak.", ["tea"], ["Tea"]),
    (TEA, ["coffee"], "span not in the text"),
    (TEA, [], []),
    ("Tea of a (rare) kind.", ["(rare) kind"], ["(rare) kind"]),
    ("Not the best tea.", ["NULL"], ["NULL"]),
    ("Weak tea, said the guide.", ["weak AND guide"], ["Weak AND guide"]),
    ("Weak tea, said the guide.", ["weak AND cook"], "span not in the text"),
    ("I spoke with the IT team.", ["it"], ["IT"]),  # not a part of "with"
    ("I was terrified of it.", ["I"], ["I"]),
    ("Service desk: the service was bad.", ["service"], ["service"]),
    ("The Fish and chips were cold.", ["fish and chips"], ["Fish and chips"]),
    ("The Fish and chips were cold.", ["fish AND chips"], ["Fish and chips"]),
    ("Poor battery  life and\nheat.", ["battery life"], ["battery life"]),
    ("The Tea. Weak tea.", ["Tea", "tea"], ["Tea", "tea"]),
    ("The Tea was weak.", ["Tea", "tea"], ["Tea"]),
    ("Nice #batterylife", ["battery"], ["battery"]),
    (TEA, ["x" * 400], "span not in the text"),
]


def outcome_of(answer: str, form: Form, text: str):
    """The aspects that are learnt of an answer, or the reason why none is."""
    asked = next(request for request in requests() if request.meta["form"] == form)
    meta = {**asked.meta, "polarities": ("negative", "positive")}
    request = replace(asked, text=text, meta=meta)
    kept, funnel = filter_answers([(request, Answer(answer, "stop", 9, 9))], FilterConfig(), None)
    if not kept:
        return next(reason for reason, n in funnel.drops.items() if n)
    found = read_tuples(kept[0].response, request)
    assert found is not None
    assert kept[0].response == write(found, form)
    assert {polarity for _, polarity in found} <= {"negative", "positive"}
    return [aspect for aspect, _ in found]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("text", "aspects", "expected"), ANSWERS)
def test_an_aspect_has_to_stand_in_the_text(form: Form, text: str, aspects, expected) -> None:
    tuples = [(aspect, "negative") for aspect in aspects]
    assert outcome_of(write(tuples, form), form, text) == expected


@pytest.mark.parametrize("form", FORMS)
def test_a_polarity_has_to_be_known(form: Form) -> None:
    assert outcome_of(write([("tea", "poor")], form), form, TEA) == "outside the taxonomy"
    assert outcome_of(write([("tea", "Negative")], form), form, TEA) == ["tea"]


CAKE = "The tea was weak, the cake fine."


@pytest.mark.parametrize(
    "answer",
    [
        "tea | negative\ncake | positive",
        "Label: tea | negative\ncake | positive",
        "tea | negative\n\ncake | positive",
        "- tea | negative\n- cake | positive",
        "1. tea | negative\n2) cake | positive",
        "| tea | negative |\n| cake | positive |",
        "tea | negative\ncake | positive\n\nSentence: The soup was cold.\nLabel:",
        "```\ntea | negative\ncake | positive\n```",
    ],
)
def test_no_line_of_an_answer_is_lost(answer: str) -> None:
    assert outcome_of(answer, "lines", CAKE) == ["tea", "cake"]


def test_a_prompt_says_what_is_meant_or_shows_it() -> None:
    """Without instruction and with empty lists alone nobody could know form and words."""
    asked = demonstration_requests(TEXTS, STAGE, 1)
    labels = {(r.meta["taxonomy"], r.meta["text"]): "[]" for r in asked}
    stage = ICLDist(tasks=("aspects",), samples=90, shots=(0, 2), other_tasks=0.0)
    made = icldist_requests(TEXTS, labels, stage, 1)
    assert {r.meta["instruction"] for r in made} == {"full"}
    assert any(r.meta["instruction"] == "none" for r in requests())


def test_gold_demonstrations_of_aspects_are_refused() -> None:
    with pytest.raises(ValueError, match="texts have no gold labels of aspects"):
        ICLDist(tasks=("sentiment", "aspects"), demonstrations="gold")


def test_a_bar_in_a_span_is_written_as_python() -> None:
    assert write([("A|B", "negative")], "lines") == "[('A|B', 'negative')]"

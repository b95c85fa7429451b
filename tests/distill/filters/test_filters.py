"""Filters: every reason with cases for and against, the order, the funnel. All texts are ours."""

import json
import random
import time

import pytest
from pydantic import ValidationError

from distill.config import FilterConfig
from distill.filters.checks import (
    copied_share,
    has_repeated_line,
    prompt_markers,
    repeated_share,
)
from distill.filters.funnel import Drop, count
from distill.filters.judge import Kept, filter_answers
from distill.filters.reading import label_of
from distill.filters.rules import _CHECKS
from distill.reasons import REASONS
from distill.texts.decontamination import Contamination
from sentibench.remote.records import Answer, Failure, Message, Request

TEXT = (
    "We came in late and tired, and the waiter brought soup before we had even asked. "
    "The room was loud, though, and my fish was cold in the middle."
)
GOOD = (
    "The writer is thankful for an attentive waiter, but the noise and the half cold fish "
    "keep the praise in check, so the mood is mixed."
)
LABELS = ("positive", "negative", "neutral")
LONG_LABEL = "neither good nor bad at all"
TEST_TEXT = "the old ferry left the pier at dawn with nine goats two monks and a broken piano"


def ask(
    text: str = TEXT,
    *,
    id: str = "knowdist/000001",
    prompt: str | None = None,
    choices: tuple[str, ...] = (),
    source: str = "imdb",
    **meta: object,
) -> Request:
    prompt = f"Explain the feeling.\n\nText: {text}\n\nExplanation:" if prompt is None else prompt
    messages = (Message("user", prompt),)
    return Request(id, messages, text, source, choices, meta={"family": "analysing", **meta})


def judged(
    request: Request, text: str, finish: str = "stop", tests: Contamination | None = None, **config
) -> tuple[str | None, Kept | None]:
    """The reason for which one answer is dropped, and what is kept."""
    answers = [(request, Answer(text, finish))]  # type: ignore[arg-type]
    kept, funnel = filter_answers(answers, FilterConfig(**config), tests)
    reasons = [reason for reason in REASONS if funnel.total(reason)]
    assert len(reasons) + len(kept) == 1
    return (reasons[0], None) if reasons else (None, kept[0])


@pytest.mark.parametrize(
    ("answer", "is_dropped"),
    [
        ("", True),
        (" \n\t ", True),
        ("...", True),
        ("?!—…»", True),
        ("\u200b\u200f\ufeff", True),
        ("\x00", True),
        ("good", False),
        ("😀", False),
        ("5", False),
        ("хорошо", False),
        ("+", False),
    ],
)
def test_an_answer_without_letter_digit_or_symbol_is_empty(answer: str, is_dropped: bool) -> None:
    assert judged(ask(), answer)[0] == ("empty" if is_dropped else None)


REFUSALS = [
    "I cannot assist with that request.",
    "I can’t help with this.",
    "I can't analyze the sentiment of this text.",
    "As an AI language model, I do not have feelings.",
    "As an AI, I have no opinion on the film.",
    "Sorry, I can't.",
    "I'm sorry, but I cannot fulfill this request.",
    "I am very sorry, but I am unable to provide an analysis.",
    "I apologize, but I will not create such content.",
    "Unfortunately, I can not comply.",
    "I must respectfully decline.",
    "I'm just an AI and do not eat fish.",
    "I do not have the ability to determine what the writer felt.",
]
NO_REFUSALS = [
    "I cannot recommend this film.",
    "I can't help but smile at every scene.",
    "I can't help laughing when the dog talks.",
    "Sorry, this was the worst meal of my year.",
    "I'm sorry, but I can't believe people pay for this.",
    "As an AI researcher, I found the robot ridiculous.",
    "As an aid worker I was moved.",
    "Unfortunately, I cannot eat here again, since they refuse to serve nuts apart.",
    "I will not be back.",
    "The assistant said: I cannot assist with that request.",
]


@pytest.mark.parametrize(
    ("answer", "is_dropped"),
    [(text, True) for text in REFUSALS] + [(text, False) for text in NO_REFUSALS],
)
def test_a_short_answer_that_begins_as_assistants_refuse_is_a_refusal(
    answer: str, is_dropped: bool
) -> None:
    assert judged(ask(), answer)[0] == ("refusal" if is_dropped else None)


def test_a_refusal_is_neither_long_nor_a_label_nor_what_the_text_says() -> None:
    refusal = "I cannot assist with that request."
    long = f"{refusal} " + " ".join(f"word{n}" for n in range(60))
    assert len(long.split()) == 66
    assert judged(ask(), long, refusal_words=66)[0] == "refusal"
    assert judged(ask(), long, refusal_words=65)[0] is None
    assert judged(ask(choices=(refusal, "yes")), refusal)[0] is None
    assert judged(ask("I cannot assist with taxes, said he."), refusal)[0] is None


@pytest.mark.parametrize(
    ("answer", "finish", "mode", "expected"),
    [
        (GOOD, "length", "drop", "cut off"),
        ("It is warm praise. The second", "length", "drop", "cut off"),
        (GOOD, "stop", "drop", None),
        ("It is warm praise. The second", "stop", "drop", None),
        ("It is warm praise. The second", "length", "last sentence", "It is warm praise."),
        ('He says "never again!" and th', "length", "last sentence", 'He says "never again!"'),
        ("すばらしい。 とても", "length", "last sentence", "すばらしい。"),
        ("Version 2.5 is", "length", "last sentence", "cut off"),
        ("no end in sight", "length", "last sentence", "cut off"),
        ("...\n\nno end", "length", "last sentence", "cut off"),
        (GOOD, "length", "last sentence", GOOD),
    ],
)
def test_an_answer_at_the_token_limit_is_dropped_or_ends_with_its_last_sentence(
    answer: str, finish: str, mode: str, expected: str | None
) -> None:
    reason, kept = judged(ask(), answer, finish, cut_off=mode)
    if expected in (None, "cut off"):
        assert reason == expected
    else:
        assert kept is not None
        assert kept.response == expected
        assert kept.notes == ("cut to the last sentence",)


def test_a_whole_label_is_not_cut_off_and_a_part_of_one_is() -> None:
    for mode in ("drop", "last sentence"):
        assert judged(ask(choices=LABELS), "Positive", "length", cut_off=mode)[0] is None
        assert judged(ask(choices=LABELS), "posi", "length", cut_off=mode)[0] == "cut off"


@pytest.mark.parametrize(
    ("answer", "is_dropped"),
    [
        (TEXT, True),
        (TEXT.upper().replace(",", ""), True),
        ("The room was loud, though, and my fish was cold in the middle.", True),
        (f"{TEXT} Indeed.", True),
        ("We came in late, but a kind waiter fed us at once; sadly the fish was cold.", False),
        (f"The guest, tired, tells it so: {TEXT[:60]} and is glad and a little cross too.", False),
        (GOOD, False),
        ("loud", False),
        ("my fish was cold", False),
    ],
)
def test_an_answer_of_which_nine_tenths_stand_in_the_text_is_a_copy(
    answer: str, is_dropped: bool
) -> None:
    assert judged(ask(), answer)[0] == ("copied input" if is_dropped else None)


def test_an_answer_that_repeats_a_worked_example_is_a_copy() -> None:
    prompt = f"Explain.\n\nText: Cold tea again.\n\nExplanation: {GOOD}\n\nText: {TEXT}"
    assert judged(ask(prompt=prompt), GOOD)[0] == "copied input"
    assert judged(ask(), GOOD)[0] is None
    half, other = GOOD[:74], "so one may say that all of it was fine for a wet evening"
    assert judged(ask(prompt=prompt), f"{half} {other[:44]}")[0] == "copied input"
    assert judged(ask(prompt=prompt), f"{half} {other} by the sea and away from home")[0] is None


def test_an_answer_at_the_threshold_is_a_copy() -> None:
    request, answer = ask("a b c d e"), "a b c d e f g h i j"
    assert judged(request, answer, copied_share=0.5)[0] == "copied input"
    assert judged(request, answer, copied_share=0.51)[0] is None
    request = ask("soup", prompt="a b c d e\n\nText: soup")
    assert judged(request, answer, example_share=0.5)[0] == "copied input"
    assert judged(request, answer, example_share=0.51)[0] is None


def test_a_prompt_without_a_text_can_be_copied_too() -> None:
    request = ask("", prompt=f"Explain.\n\nText: Cold tea.\n\nExplanation: {GOOD}\n\nAnd you?")
    assert judged(request, GOOD)[0] == "copied input"


@pytest.mark.parametrize(
    ("answer", "text", "share"),  # source: by hand, runs of five words
    [
        ("a b c d e", "x a b c d e x", 1.0),
        ("a b c d e f g h i j", "a b c d e", 0.5),
        ("a b c d", "a b c d e", 0.0),
        ("a b c d", "A, b; c! d.", 1.0),
        ("e d c b a", "a b c d e", 0.0),
        ("a b c d x a b c d", "a b c d e", 0.0),
        ("x a b c d e y", "a b c d e", 5 / 7),
        ("", "a b c d e", 0.0),
        ("😀", "😀", 0.0),
    ],
)
def test_the_copied_share_counts_words_in_runs_of_five(
    answer: str, text: str, share: float
) -> None:
    assert copied_share(answer, text) == pytest.approx(share)


@pytest.mark.parametrize(
    ("answer", "is_dropped"),
    [
        ("The soup was warm and kind. " * 12, True),
        ("\n".join(["The mood is mixed."] * 4), True),
        ("Well " + "ha" * 200, True),
        (f"{GOOD} {'ha' * 200}", True),
        ("😂" * 100, True),
        (f"{GOOD} {'and so on ' * 30}", True),
        (GOOD, False),
        ("\n".join(["Mixed.", "Warm.", "Mixed.", "Cold.", "Mixed."]), False),
        (f"| word | feeling |\n|{'-' * 40}|\n| loud | annoyed by the noise of the room |", False),
        ("It was very very very very good, so very very good.", False),
        (f"{GOOD} {GOOD[:60]}", False),
    ],
)
def test_an_answer_in_a_loop_is_a_repetition(answer: str, is_dropped: bool) -> None:
    assert judged(ask(), answer)[0] == ("repetition" if is_dropped else None)


def test_an_answer_at_the_threshold_is_a_repetition() -> None:
    answer = "a a a a a a a a"  # of five runs four are repeats
    assert judged(ask(), answer, repetition_words=4, repetition_share=0.8)[0] == "repetition"
    assert judged(ask(), answer, repetition_words=4, repetition_share=0.81)[0] is None


@pytest.mark.parametrize(
    ("text", "min_words", "share"),  # source: by hand, runs of four words
    [
        ("a b c d a b c d", 4, 1 / 5),
        ("a b c d a b c d", 8, 1 / 5),
        ("a b c d a b c d", 9, 0.0),
        ("a b c d e f g h", 4, 0.0),
        ("a a a a a a a a", 4, 4 / 5),
        ("a b c", 4, 0.0),
        ("", 4, 0.0),
        ("ok " + "ha" * 20, 4, 40 / 43),  # a pattern and 19 times the same, of all characters
        ("ok " + "ha" * 19, 4, 0.0),
    ],
)
def test_the_repeated_share_counts_runs_of_four_words_and_short_patterns(
    text: str, min_words: int, share: float
) -> None:
    assert repeated_share(text, min_words) == pytest.approx(share)


@pytest.mark.parametrize(
    ("text", "copies", "is_repeated"),
    [
        ("a\n" * 4 + "b\nc\nd\ne", 4, True),
        ("a\n" * 4 + "b\nc\nd\ne\nf", 4, False),  # less than half of the lines
        ("a\n" * 4, 4, True),
        ("a\n" * 3, 4, False),
        (" a\n\na \n\n\na\n", 3, True),
        ("", 1, False),
    ],
)
def test_a_line_is_repeated_that_is_half_of_all_and_there_often_enough(
    text: str, copies: int, is_repeated: bool
) -> None:
    assert has_repeated_line(text, copies) == is_repeated


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("positive", "positive"),
        (" Positive.\n", "positive"),
        ("**NEGATIVE**", "negative"),
        ("“neutral”!", "neutral"),
        ("(Neutral)", "neutral"),
        ("mixed", None),
        ("positive because of the soup", None),
        ("positive, negative", None),
        ("posi", None),
        ("not positive", None),
        ("😀", None),
    ],
)
def test_a_label_answer_is_a_label_in_any_dress_or_outside_the_taxonomy(
    answer: str, expected: str | None
) -> None:
    for request in (ask(choices=LABELS), ask(labels=LABELS)):
        reason, kept = judged(request, answer)
        if expected is None:
            assert reason == "outside the taxonomy"
        else:
            assert kept is not None
            assert kept.response == expected
            assert bool(kept.notes) == (answer.strip() != expected)


@pytest.mark.parametrize(
    ("answer", "labels", "expected"),
    [
        ("non irony", ("non-irony", "irony"), "non-irony"),
        ("Non-Irony", ("non-irony", "irony"), "non-irony"),
        ("+", ("+", "-"), "+"),
        ("(+)", ("+", "-"), "+"),
        ("Good", ("good", "Good"), "Good"),
        ("GOOD", ("good", "Good"), None),
        ("...", ("...", "?"), "..."),
        ("..", ("...", "?"), None),
        (".", ("...", "good"), None),
        ("positive", (" positive", " negative"), "positive"),
        ("POSITIV", ("positiv", "negativ"), "positiv"),
        ("إيجابي.", ("إيجابي", "سلبي"), "إيجابي"),
        ("good", (), None),
    ],
)
def test_a_label_is_found_unless_it_could_be_two(
    answer: str, labels: tuple[str, ...], expected: str | None
) -> None:
    assert label_of(answer, labels) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Positive", "only a label"),
        ("**Positive.**", "only a label"),
        ("Sentiment: positive", "only a label"),
        ('{"label": "positive"}', "only a label"),
        ("joy", "only a label"),  # the text's own label
        ("Mixed.", None),
        ("Positive, as the waiter is praised.", None),
        ('{"explanation": "The waiter is praised."}', "JSON"),
        ('```json\n["The waiter", "is praised"]\n```', "JSON"),
        ('"The waiter is praised."', None),
        ("The waiter {sic} is praised.", None),
    ],
)
def test_where_prose_is_asked_a_label_and_json_are_dropped(
    answer: str, expected: str | None
) -> None:
    def reason(request: Request) -> list[str]:
        pairs = [(request, Answer(answer, "stop"))]
        _, funnel = filter_answers(pairs, FilterConfig(), None, LABELS)
        return [reason for reason, n in funnel.drops.items() if n]

    assert reason(ask(gold="joy")) == ([expected] if expected else [])
    assert reason(ask(family="other")) == []  # of another task, whose answers may be short


@pytest.mark.parametrize(
    ("text", "answer", "is_dropped"),
    [
        ("So good!", "so good", True),
        ("So good!", "Rewritten text: So good!", True),
        ("So good!", "**Rewritten text:** “So good!”", True),
        ("😀", "😀", True),
        ("So good!", "The writer finds it so good.", False),
        ("", "So good!", False),
    ],
)
def test_a_bare_copy_of_a_short_text_is_dropped(text: str, answer: str, is_dropped: bool) -> None:
    assert judged(ask(text), answer)[0] == ("copied input" if is_dropped else None)


@pytest.mark.parametrize(
    ("request_", "setting"),
    [
        (ask(), "knowdist.response_tokens is 256"),
        (ask(choices=LABELS, family="sentiment"), "icldist.label_tokens is 256"),
        (ask(family="other"), "icldist.response_tokens is 256"),
    ],
)
def test_reasoning_without_an_answer_is_dropped_with_the_setting_to_raise(
    request_: Request, setting: str
) -> None:
    for answer in (
        Answer("<think>First I", "length"),
        Answer("", "length", reasoning="First I"),
        Answer("", "length"),  # the server keeps its reasoning to itself
        Answer("<think>done</think>\n", "stop"),
    ):
        _, funnel = filter_answers(
            [(request_, answer)], FilterConfig(cut_off="last sentence"), None
        )
        assert funnel.total("only reasoning") == 1
        [example] = funnel.examples["only reasoning"]
        assert example.detail == setting
        assert example.excerpt == " ".join((answer.text or answer.reasoning).split())
    _, funnel = filter_answers([(request_, Answer("", "stop"))], FilterConfig(), None)
    assert funnel.total("empty") == 1


def test_nobody_learns_reasoning_whose_opening_mark_stood_in_the_prompt() -> None:
    config = FilterConfig(cut_off="last sentence")
    cut_off = (ask(id="b"), Answer("The user wants prose. I", "length"))
    kept, _ = filter_answers([cut_off], config, None)
    assert kept[0].response == "The user wants prose."
    thought = (ask(id="a", prompt="other"), Answer(f"I think.</think>{GOOD}", "stop"))
    kept, funnel = filter_answers([thought, cut_off], config, None)
    assert [one.response for one in kept] == [GOOD]
    assert funnel.total("only reasoning") == 1


FEW_SHOT = "Premise: it rains\nAnswer -> wet\n\nPremise: it shines\nAnswer -> dry\n\nPremise: fog"


@pytest.mark.parametrize(
    ("answer", "rest"),
    [
        (f"{GOOD}\n\nReview: I hated the tea.\nFeeling: anger", GOOD),
        (f"{GOOD}\nText: I hated the tea.", GOOD),
        (f"{GOOD}\n\n**Tweet 2:** I hated the tea.", GOOD),
        (f"{GOOD}\n### Sentence: I hated the tea.", GOOD),
        (f"{GOOD}\n\nUser: and this one?", GOOD),
        (f"{GOOD}<|im_end|>\n<|im_start|>user\nand this one?", GOOD),
        (f"{GOOD}<end_of_turn>", GOOD),
        (f"{GOOD}<|end|>\n\nReview: I hated the tea.", GOOD),
        (f"{GOOD}\n\nReview: I hated the tea.<|end|>", GOOD),
        (f"{GOOD}\n\npremise: I hated the tea.", GOOD),
        (GOOD, None),
        ("Review: it is mixed, as the writer likes and dislikes things.", None),
        (f"{GOOD}\n\nThe text: short and sharp.", None),
        (f"{GOOD}\nThe review says so:\n- the fish", None),
        (f"{GOOD}\nTarget: the fish\nFeeling: regret", None),
        ("The label: a word such as Review: or Text: in a line", None),
    ],
)
def test_an_answer_that_goes_on_into_another_review_is_a_run_on(
    answer: str, rest: str | None
) -> None:
    request = ask(prompt=FEW_SHOT)
    assert judged(request, answer)[0] == ("run-on" if rest else None)
    _, kept = judged(request, answer, "length" if rest else "stop", run_on="cut")
    assert kept is not None
    assert kept.response == (rest or answer)
    assert kept.notes == (("run-on cut",) if rest else ())


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("positive\n\nReview: bad tea\nLabel: negative", "positive"),
        ("Positive.\nbad tea -> negative", "positive"),
        ("negative\nbecause the fish was cold", "negative"),
        ("negative\nbecause the fish was cold\nand the tea too", "negative"),
    ],
)
def test_a_label_is_over_at_the_end_of_its_line(answer: str, expected: str) -> None:
    request = ask(choices=LABELS)
    assert judged(request, answer, "length")[0] == "run-on"
    _, kept = judged(request, answer, "length", run_on="cut")
    assert kept is not None
    assert kept.response == expected
    assert judged(request, f"mixed\n{answer}", run_on="cut")[0] == "outside the taxonomy"


def test_a_label_that_is_a_mark_may_stand_before_a_run_on() -> None:
    _, kept = judged(ask(choices=("...", "?")), "...\nReview: bad tea", run_on="cut")
    assert kept is not None
    assert kept.response == "..."
    assert judged(ask(choices=("...", "?")), "...")[0] is None


def test_nothing_before_the_run_on_is_dropped_also_where_it_is_cut() -> None:
    assert judged(ask(), "<|im_start|>user\nhello", run_on="cut")[0] == "run-on"
    assert judged(ask(), "…\nReview: bad tea", run_on="cut")[0] == "run-on"


@pytest.mark.parametrize(
    ("prompt", "markers"),
    [
        (f"Explain.\n\nText: {TEXT}\n\nExplanation:", ("Text",)),
        (f"Explain.\n\nCustomer's words:\n{TEXT}", ("Customer's words",)),
        (f"Review 1: a\nx\n\nReview 2: b\ny\n\nReview 3: {TEXT}\n", ("Review",)),
        (f"a -> good\n\nb -> bad\n\n{TEXT} ->", ()),
        (f"Comment: {TEXT}\nAgain: {TEXT}\n", ("Comment",)),
        ("Pros: a\nCons: b\n\nPros: c\nCons: d", ("Pros",)),
        ("Expression: wording\nTarget: what is judged\nExplain.", ()),
    ],
)
def test_markers_of_a_prompt_stand_before_the_text_or_open_two_paragraphs(
    prompt: str, markers: tuple[str, ...]
) -> None:
    assert prompt_markers(ask(prompt=prompt)) == markers
    if TEXT not in prompt:
        assert prompt_markers(ask("", prompt=f"{prompt}\n\nExplanation:")) == markers


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Mixed.", "too short"),
        ("Mixed mood.", "too short"),
        ("Mixed, but warm.", None),
        ("one two three four five six", None),
        ("one two three four five six seven", "too long"),
        ("one  two\nthree\tfour five six seven eight", "too long"),
    ],
)
def test_length_is_counted_in_words_between_bounds(answer: str, expected: str | None) -> None:
    assert judged(ask(), answer, min_words=3, max_words=6)[0] == expected
    label = ask(choices=("ok", "one two three four five six seven"))
    assert judged(label, "ok", min_words=3, max_words=6)[0] is None


@pytest.mark.parametrize(
    ("text", "answer", "is_dropped"),
    [
        (f"So it goes: {TEST_TEXT}!", GOOD, True),
        (TEST_TEXT.upper(), GOOD, True),
        (TEXT, f"The writer says that {TEST_TEXT}.", True),
        (TEXT, GOOD, False),
        (TEST_TEXT.replace("monks", "nuns").replace("left", "lost"), GOOD, False),
        (f"{TEXT} nice tea", GOOD, False),
        ("Nice tea! @maria https://x.example", GOOD, True),
        (TEXT, "nice tea", True),
    ],
)
def test_an_answer_or_text_with_a_long_run_of_a_test_text_is_contaminated(
    text: str, answer: str, is_dropped: bool
) -> None:
    tests = Contamination.of_texts({"ours": [TEST_TEXT, "nice tea"]})
    reason, _ = judged(ask(text), answer, tests=tests)
    assert reason == ("contaminated" if is_dropped else None)
    assert judged(ask(text), answer)[0] is None


def test_a_test_text_in_the_demonstrations_contaminates_but_a_label_does_not() -> None:
    tests = Contamination.of_texts({"a": [TEST_TEXT], "b": [TEST_TEXT], "c": ["positive"]})
    request = ask(prompt=f"Text: {TEST_TEXT}\npositive\n\nText: {TEXT}\n", choices=LABELS)
    _, funnel = filter_answers([(request, Answer("positive", "choice"))], FilterConfig(), tests)
    assert funnel.total("contaminated") == 1
    assert funnel.overlaps == {"a": 1, "b": 1}
    assert funnel.examples["contaminated"][0].detail == "a, b"
    assert judged(ask(choices=LABELS), "positive", "choice", tests)[0] is None


OTHER = (
    "Anger at a landlord who ignores letters runs through every line, with a little dry wit at "
    "the end."
)


@pytest.mark.parametrize(
    ("first", "second", "are_same"),
    [
        (GOOD, GOOD, True),
        (GOOD, GOOD.upper().replace(",", " -"), True),
        (GOOD * 3, GOOD * 2 + GOOD[:-20], True),
        (GOOD, OTHER, False),
        (GOOD, " ".join(reversed(GOOD.split())), False),
        ("Mixed mood.", "Mixed mood.", False),  # short: the prompts differ
        ("A kind of mixed", "A kind of mixed", False),
        ("A kind of mixed mood", "A kind of mixed mood!", True),
        ("😀", "😀", False),
    ],
)
def test_of_two_answers_that_say_the_same_the_smaller_id_stays(
    first: str, second: str, are_same: bool
) -> None:
    pairs = [
        (ask("text one", id="b", prompt="one"), Answer(first, "stop")),
        (ask("text two", id="a", prompt="two"), Answer(second, "stop")),
    ]
    config = FilterConfig(skip=("repetition",))
    for order in (pairs, pairs[::-1]):
        kept, funnel = filter_answers(order, config, None)
        assert [one.request.id for one in kept] == (["a"] if are_same else ["a", "b"])
        assert funnel.total("near-duplicate") == are_same
        if are_same:
            assert funnel.examples["near-duplicate"][0].detail == "a"


@pytest.mark.parametrize(
    ("prompts", "answers", "n_kept"),
    [
        (("same", "same"), ("positive", "positive"), 1),
        (("same ", " same"), ("positive", "Positive"), 1),
        (("same", "same"), ("positive", "negative"), 2),
        (("one", "two"), ("positive", "positive"), 2),
        (("Same", "same"), ("positive", "positive"), 2),
        (("one", "two"), (LONG_LABEL, LONG_LABEL), 2),
    ],
)
def test_label_answers_are_duplicates_only_with_the_same_prompt(
    prompts: tuple[str, str], answers: tuple[str, str], n_kept: int
) -> None:
    pairs = [
        (ask(id=str(n), prompt=prompt, choices=(*LABELS, LONG_LABEL)), Answer(answer, "stop"))
        for n, (prompt, answer) in enumerate(zip(prompts, answers, strict=True))
    ]
    kept, _ = filter_answers(pairs, FilterConfig(), None)
    assert len(kept) == n_kept


@pytest.mark.parametrize(
    ("gold", "answer", "is_kept"),
    [
        ("[('lamp', 'red')]", "[('scarf', 'blue')]", True),
        ("[('lamp', 'red')]", "[]", True),
        ("[('lamp', 'red')]", "The lamp is red.", False),
        ("[('lamp', 'red')]", "[('lamp', 'red'", False),
        ("[('lamp', 'red')]", "[1, {2: 3}]", False),
        ("[('lamp', 'red')]", "[('lamp', 'red', 'old')]", False),
        ("[('lamp', 'red')]", '[["scarf", "blue"]]', True),
        ("[('lamp', 'red')]", "Label: [('scarf', 'blue')]", True),
        ("[('lamp', 'red')]", "```python\n[('scarf', 'blue')]\n```", True),
        ("[]", "[('lamp', 'red')]", True),
        ("red", "The lamp is red.", True),
    ],
)
def test_where_another_task_lists_things_an_answer_is_a_list(
    gold: str, answer: str, is_kept: bool
) -> None:
    request = ask(family="other", gold=gold)
    kept, funnel = filter_answers([(request, Answer(answer, "stop"))], FilterConfig(), None)
    assert bool(kept) is is_kept
    assert funnel.total("outside the taxonomy") == (not is_kept)


def test_every_reason_has_one_place_in_the_order() -> None:
    assert (*_CHECKS, "contaminated", "near-duplicate") == REASONS
    assert len(set(REASONS)) == 15


REFUSED = "I cannot assist with that request."
INVENTED = "\n\nReview: bad tea"
TESTS = Contamination.of_texts({"ours": [TEST_TEXT]})


@pytest.mark.parametrize(
    ("request_", "answer", "finish", "first", "then"),
    [
        (ask(), REFUSED + INVENTED, "length", "run-on", "refusal"),
        (ask(), REFUSED, "length", "refusal", "cut off"),
        (ask(), TEXT, "length", "cut off", "copied input"),
        (ask("so it is " * 30), "so it is " * 30, "stop", "copied input", "repetition"),
        (ask(), "so it is " * 30, "stop", "repetition", "too long"),
        (ask(choices=LABELS), f"positive{INVENTED}", "stop", "run-on", "outside the taxonomy"),
        (ask(choices=LABELS), "posi", "length", "cut off", "outside the taxonomy"),
        (ask(choices=LABELS), TEST_TEXT, "stop", "outside the taxonomy", None),
        (ask(TEST_TEXT, choices=LABELS), "odd", "stop", "outside the taxonomy", "contaminated"),
        (ask(), f"{GOOD} {TEST_TEXT}", "stop", "too long", "contaminated"),
    ],
)
def test_the_first_reason_in_the_order_is_the_one_that_counts(
    request_: Request, answer: str, finish: str, first: str, then: str | None
) -> None:
    assert judged(request_, answer, finish, TESTS, max_words=30)[0] == first
    assert judged(request_, answer, finish, TESTS, max_words=30, skip=(first,))[0] == then


def test_no_answer_is_dropped_in_favour_of_one_that_is_dropped_itself() -> None:
    answer = f"{GOOD} {OTHER}"
    pairs = [
        (ask(TEST_TEXT, id="a"), Answer(answer, "stop")),
        (ask(id="b"), Answer(answer, "length")),
        (ask(id="c"), Answer(answer, "stop")),
    ]
    kept, funnel = filter_answers(pairs, FilterConfig(), TESTS)
    assert [one.request.id for one in kept] == ["c"]
    assert (funnel.total("contaminated"), funnel.total("cut off")) == (1, 1)


def mixture(n: int) -> list[tuple[Request, Answer | Failure]]:
    """Answers of every kind, as wild as they come."""
    rng = random.Random(7)
    endings = [
        "",
        "...",
        "<think>so",
        '{"mood": "mixed"}',
        REFUSED,
        TEXT,
        "ha" * 99,
        GOOD + INVENTED,
        f"{OTHER} {TEST_TEXT}",
    ]
    pairs: list[tuple[Request, Answer | Failure]] = []
    for number in range(n):
        choices = LABELS if rng.random() < 0.3 else ()
        request = ask(
            id=f"{number:05d}",
            prompt=f"{number}: {TEXT}",
            choices=choices,
            source=rng.choice(["imdb", "yelp2"]),
            family=rng.choice(["analysing", "rewriting", None]),
        )
        text = rng.choice([*endings, *LABELS, "Positive.", GOOD, f"{GOOD} {number}"])
        if rng.random() < 0.1:
            pairs.append((request, Failure(rng.choice(["timeout", "server"]), "503")))
        else:
            pairs.append((request, Answer(text, rng.choice(["stop", "stop", "length"]))))
    return pairs


def test_the_result_does_not_depend_on_the_order_of_the_answers() -> None:
    pairs = mixture(600)
    config = FilterConfig(cut_off="last sentence", run_on="cut")
    expected = filter_answers(pairs, config, TESTS, LABELS)
    assert len(expected[0]) > 50
    for seed in range(3):
        random.Random(seed).shuffle(pairs)
        kept, funnel = filter_answers(iter(pairs), config, TESTS, LABELS)
        assert kept == expected[0]
        assert funnel.model_dump(mode="json") == expected[1].model_dump(mode="json")


def test_the_funnel_adds_up_in_every_row_and_in_total() -> None:
    pairs = mixture(600)
    kept, funnel = filter_answers(pairs, FilterConfig(), TESTS, LABELS)
    rows = funnel.table
    assert len(rows) == 7  # three families, two sources, the total
    assert {row["family"] for row in rows} == {"analysing", "rewriting", "none", "all"}
    for row in rows:
        numbers = {key: n for key, n in row.items() if isinstance(n, int)}
        assert list(numbers) == ["asked", "failed", "answered", *REASONS, "kept"]
        assert numbers["asked"] == numbers["answered"] + numbers["failed"]
        assert numbers["answered"] == numbers["kept"] + sum(numbers[r] for r in REASONS)
    for column in ("asked", "kept", *REASONS):
        assert rows[-1][column] == sum(int(row[column]) for row in rows[:-1])
    assert rows[-1]["asked"] == funnel.total("asked") == 600
    assert rows[-1]["kept"] == funnel.total("kept") == len(kept)
    assert funnel.total("failed") == sum(isinstance(answer, Failure) for _, answer in pairs) > 20
    assert funnel.total("answered") == 600 - funnel.total("failed")
    fired = {reason for reason in REASONS if funnel.total(reason)}
    # nobody is asked for tuples here
    assert fired == set(REASONS) - {"too short", "too long", "span not in the text"}


def test_a_report_has_a_row_per_family_and_source_and_its_counts_by_hand() -> None:
    failed = ask(id="6", source="yelp2", family="rewriting")
    pairs = [
        (ask(id="1"), Answer(GOOD, "stop")),
        (ask(id="2"), Answer(GOOD, "stop")),
        (ask(id="3", choices=LABELS), Answer("Positive", "choice")),
        (ask(id="4", source="yelp2", family="rewriting"), Answer(REFUSED, "stop")),
        (ask(f"{TEST_TEXT} 5", id="5", source="yelp2", family="rewriting"), Answer(OTHER, "stop")),
        (failed, Failure("timeout", "60 s")),
        (ask(id="7", family=None), Failure("timeout", "60 s")),
    ]
    _, funnel = filter_answers(pairs, FilterConfig(), TESTS)
    none = dict.fromkeys(REASONS, 0)

    def row(family, source, asked, failed, dropped, kept):
        counts = {"asked": asked, "failed": failed, "answered": asked - failed}
        return {"family": family, "source": source, **counts, **none, **dropped, "kept": kept}

    twice, two = {"near-duplicate": 1}, {"refusal": 1, "contaminated": 1}
    assert funnel.model_dump(mode="json") == {
        "table": [
            row("analysing", "imdb", 3, 0, twice, 2),
            row("none", "imdb", 1, 1, {}, 0),
            row("rewriting", "yelp2", 3, 1, two, 0),
            row("all", "all", 7, 2, twice | two, 2),
        ],
        "failures": {"timeout": 2},
        "changed": {"label put in its usual form": 1},
        "corrected": {},
        "not_corrected": {},
        "overlaps": {"ours": 1},
        "not_checked": [],
        "examples": {
            "refusal": [{"id": "4", "detail": "", "excerpt": REFUSED}],
            "contaminated": [{"id": "5", "detail": "ours", "excerpt": f"{OTHER[:80]}…"}],
            "near-duplicate": [{"id": "2", "detail": "1", "excerpt": f"{GOOD[:80].rstrip()}…"}],
        },
        "failure_examples": {
            "timeout": [{"id": id_, "detail": "60 s", "excerpt": ""} for id_ in ("6", "7")]
        },
    }


@pytest.mark.parametrize(
    ("answer", "excerpt"),
    [
        ("a" * 80, "a" * 80),
        ("a" * 81, "a" * 80 + "…"),
        ("a" * 79 + " b", "a" * 79 + "…"),
        ("a\n\t b", "a b"),
        ("a" + " " * 319, "a"),
        ("a" + " " * 320, "a…"),  # no more than four times the length is looked at
        ("a" + " " * 325 + "b", "a…"),
    ],
)
def test_an_excerpt_is_one_line_of_80_characters_at_most(answer: str, excerpt: str) -> None:
    config = FilterConfig(min_words=9, skip=("repetition",))
    _, funnel = filter_answers([(ask(), Answer(answer, "stop"))], config, None)
    assert funnel.examples["too short"][0].excerpt == excerpt


@pytest.mark.parametrize("response", ["", " good", "good\n"])
def test_nothing_is_learnt_that_is_empty_or_has_blanks_around_it(response: str) -> None:
    with pytest.raises(ValueError, match=r"request knowdist/000001: got the response '"):
        Kept(ask(), response)


def test_a_report_shows_three_short_examples_of_each_reason() -> None:
    pairs = [(ask(id=f"{n}"), Answer(REFUSED + " so" * n, "stop")) for n in range(9, -1, -1)]
    pairs.append((ask(id="x"), Answer("", "stop")))
    _, funnel = filter_answers(pairs, FilterConfig(), None)
    report = json.loads(json.dumps(funnel.model_dump(mode="json")))
    assert [e["id"] for e in report["examples"]["refusal"]] == ["0", "1", "2"]
    assert report["examples"]["refusal"][0]["excerpt"] == REFUSED
    assert report["examples"]["empty"] == [{"id": "x", "detail": "", "excerpt": ""}]
    assert report["not_checked"] == ["contaminated"]
    long = Answer("I cannot assist.\n" + "so " * 50, "stop")
    _, funnel = filter_answers([(ask(), long)], FilterConfig(), None)
    excerpt = funnel.examples["refusal"][0].excerpt
    assert excerpt.startswith("I cannot assist. so so")
    assert len(excerpt) <= 81
    assert excerpt.endswith("…")


def test_what_was_changed_in_kept_answers_is_counted() -> None:
    pairs = [
        (ask(id="a", choices=LABELS), Answer("Positive.\nbad -> negative", "length")),
        (ask(id="b", choices=LABELS), Answer("negative", "choice")),
    ]
    kept, funnel = filter_answers(pairs, FilterConfig(run_on="cut"), None)
    assert kept[0].notes == ("run-on cut", "label put in its usual form")
    assert funnel.changed == {"run-on cut": 1, "label put in its usual form": 1}


def test_no_answers_give_an_empty_funnel() -> None:
    kept, funnel = filter_answers([], FilterConfig(), None)
    assert kept == []
    assert [row["family"] for row in funnel.table] == ["all"]
    assert funnel.table[0]["asked"] == 0


def test_a_request_given_twice_is_an_error() -> None:
    pair = (ask(), Answer(GOOD, "stop"))
    with pytest.raises(ValueError, match="given twice"):
        filter_answers([pair, pair], FilterConfig(), None)


def test_a_funnel_that_does_not_add_up_cannot_be_made() -> None:
    request = ask()
    with pytest.raises(ValueError, match="3 asked, but 2"):
        count([request] * 3, [], [Drop(request, "", "empty")], [(request, ())], ())
    with pytest.raises(ValueError, match="0 asked, but 1"):
        count([], [], [], [(request, ())], ())


@pytest.mark.parametrize(
    "wrong",
    [
        {"copy_share": 0.5},
        {"copied_share": 0},
        {"copied_share": 1.1},
        {"cut_off": "keep"},
        {"skip": ("refusals",)},
        {"skip": ("empty",)},
        {"skip": ("only reasoning",)},
        {"min_kept": 1.1},
        {"min_words": 0},
    ],
)
def test_a_wrong_threshold_or_an_unknown_key_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        FilterConfig.model_validate(wrong)


def test_a_reason_can_be_switched_off_and_the_funnel_says_so() -> None:
    config = FilterConfig(skip=("refusal", "near-duplicate"))
    pairs = [(ask(id=id_), Answer(f"{REFUSED} So be it.", "stop")) for id_ in "ab"]
    kept, funnel = filter_answers(pairs, config, TESTS)
    assert len(kept) == 2
    assert funnel.not_checked == ("refusal", "near-duplicate")
    pairs = [(ask(TEST_TEXT), Answer(GOOD, "stop"))]
    kept, funnel = filter_answers(pairs, FilterConfig(skip=("contaminated",)), TESTS)
    assert (len(kept), funnel.not_checked) == (1, ("contaminated",))


N = 100_000
LONG = {
    "one letter": "a" * N,
    "words": "word " * (N // 5),
    "other words": " ".join(str(n) for n in range(N // 6)),
    "line breaks": "a" + "\n" * N + "b",
    "blank lines": "a" + "\n \n" * (N // 3) + "b",
    "open tags": "<a" * (N // 2),
    "a tag without end": "<a" + "b" * N,
    "marks of a turn": "<|" * (N // 2),
    "half a marker": "a\n" + "Text \n" * (N // 6),
    "nearly a loop": ("ab" * 18 + "c") * (N // 37),
    "sentence ends": 'a."' * (N // 3),
    "digits": "a\nText " + "1" * N,
    "handles": "@" * N,
    "links": "http" * (N // 4),
    "entities": "&amp" * (N // 4),
    "emoji": "😀" * N,
    "right to left": "مرحبا " * (N // 6),
    "accents": "a" + "\u0315\u0300" * (N // 2),
    "apologies": "sorry " * (N // 6),
}


@pytest.mark.parametrize("name", LONG)
def test_a_very_long_text_takes_no_quadratic_time(name: str) -> None:
    # Measured: 0.4 s at most for all three; a quadratic step takes minutes.
    config = FilterConfig(cut_off="last sentence", run_on="cut")
    pairs = [
        (ask(id="a"), Answer(LONG[name], "stop")),
        (ask(id="b"), Answer(LONG[name], "length")),
        (ask(LONG[name], id="c"), Answer(GOOD, "stop")),
    ]
    start = time.perf_counter()
    filter_answers(pairs, config, TESTS)
    assert time.perf_counter() - start < 10


def test_markup_and_right_to_left_answers_pass_unchanged() -> None:
    answers = [
        "<b>Warm</b> praise &amp; a cold fish.<br /><br />In sum: mixed.",
        "الكاتب سعيد بالحساء لكنه منزعج من الضوضاء والسمك البارد",
        "作者喜欢汤，但觉得房间太吵。",
        "- *soup*: warm\n- *fish*: cold 😀",
    ]
    pairs = [(ask(id=str(n)), Answer(text, "stop")) for n, text in enumerate(answers)]
    kept, _ = filter_answers(pairs, FilterConfig(), TESTS)
    assert [one.response for one in kept] == answers

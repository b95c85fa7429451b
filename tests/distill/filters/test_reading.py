"""Reading answers: the marks of reasoning of each family, the forms in which labels are given."""

import pytest

from distill.filters.reading import is_json, label_of, read_answer
from sentibench.remote.reasoning import open_mark, without_reasoning
from sentibench.remote.records import Answer, Decoding, Message, Request

LABELS = ("positive", "negative", "neutral")
THOUGHT = "The user says positive.\nOr negative?"

# What a model writes before its answer; source: the vendors' templates and vLLM's parsers.
FAMILIES = {
    "DeepSeek, Qwen": f"<think>\n{THOUGHT}\n</think>\n\n",
    "opened by the prompt": f"{THOUGHT}\n</think>\n\n",
    "thinking": f"<thinking>{THOUGHT}</thinking>",
    "upper case": f"<Thinking>{THOUGHT}</Thinking>",
    "attributes": f'<think duration="3">{THOUGHT}</think>',
    "reasoning": f"<reasoning>{THOUGHT}</reasoning>",
    "EXAONE": f"<thought>\n{THOUGHT}\n</thought>\n",
    "Mistral": f"[THINK]{THOUGHT}[/THINK]",
    "Seed": f"<seed:think>{THOUGHT}</seed:think>",
    "Cohere": f"<|START_THINKING|>{THOUGHT}<|END_THINKING|>",
    "Gemma 4": f"<|channel>thought\n{THOUGHT}<channel|>",
    "Kimi": f"◁think▷{THOUGHT}◁/think▷",
    "gpt-oss": f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant"
    "<|channel|>final<|message|>",
    "gpt-oss with a format": f"<|channel|>analysis<|message|>{THOUGHT}<|end|>"
    "<|channel|>final <|constrain|>json<|message|>",
    "gpt-oss without special tokens": f"analysis{THOUGHT}assistantfinal",
    "Granite": f"Here is my thought process:\n\n{THOUGHT}\n\nHere is my response:\n\n",
    "Granite, quantised": f"Here's my thought process: {THOUGHT} Here's my response: ",
    "one inside another": f"<think>I write <reasoning>{THOUGHT}</reasoning> <think></think>",
    "twice": f"<think>{THOUGHT}</think><think>{THOUGHT}</think>",
}


@pytest.mark.parametrize("family", FAMILIES)
def test_reasoning_is_taken_off_and_kept_apart(family: str) -> None:
    answer, reasoning, began_inside = without_reasoning(f"{FAMILIES[family]}Warm praise.\nMostly.")
    assert answer == "Warm praise.\nMostly."
    assert THOUGHT in reasoning
    assert began_inside == (family == "opened by the prompt")


@pytest.mark.parametrize("family", [f for f in FAMILIES if f not in ("opened by the prompt",)])
def test_reasoning_that_never_ends_is_no_answer(family: str) -> None:
    beginning = FAMILIES[family].partition(THOUGHT)[0]
    answer, reasoning, _ = without_reasoning(f"{beginning}{THOUGHT} But then")
    assert answer == ""
    assert reasoning.endswith("But then")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think></think>\n\nWarm.", "Warm."),
        ("<think>a</think>\n<answer>\nWarm.\n</answer>", "Warm."),
        ("<answer>Warm.", "Warm."),
        ("<|START_RESPONSE|>Warm.<|END_RESPONSE|>", "Warm."),
        ("<|channel|>final<|message|>Warm.<|return|>", "Warm."),
        ("Warm. <think>or cold?", "Warm."),
        ("<think>I write <reasoning>so</reasoning> and then", ""),
        ("I think </b> it is warm.", "I think </b> it is warm."),
        ("Analysis: warm.", "Analysis: warm."),
        ("A [think] piece.", "A [think] piece."),
        ("", ""),
    ],
)
def test_what_is_left_is_the_answer(text: str, answer: str) -> None:
    assert without_reasoning(text)[0] == answer


@pytest.mark.parametrize(
    ("prompt", "mark"),
    [
        ("user: Good?\nassistant: <think>\n", "<think>"),
        ("assistant: [THINK]", "[THINK]"),
        ("assistant: <think>\n\n</think>\n\n", ""),
        ("user: <think> is a tag.\nassistant:", ""),
        ("assistant:", ""),
    ],
)
def test_a_prompt_may_end_inside_the_reasoning(prompt: str, mark: str) -> None:
    assert open_mark(prompt) == mark


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("positive", "positive"),
        ("Positive.", "positive"),
        ("**Positive**", "positive"),
        ("'positive'", "positive"),
        ('{"label": "positive"}', "positive"),
        ('{"Label": "POSITIVE", "confidence": 0.9}', "positive"),
        ('{"sentiment": "positive"}', "positive"),
        ('{"why": "The waiter is praised.", "sentiment": "positive"}', "positive"),
        ("{'label': 'positive'}", "positive"),
        ('```json\n{\n  "label": "positive"\n}\n```', "positive"),
        ("```\npositive\n```", "positive"),
        ('Here it is:\n```json\n{"label": "positive"}\n```', "positive"),
        ('Sure! {"label": "positive"}', "positive"),
        ("Answer: positive", "positive"),
        ("**Answer:** Positive.", "positive"),
        ("Label: positive", "positive"),
        ("Sentiment: **positive**", "positive"),
        ("The final answer: positive", "positive"),
        ("The waiter is praised, the fish not negative.\n\nAnswer: positive", "positive"),
        ("The sentiment is positive.", "positive"),
        ("The sentiment of this text is **positive**.", "positive"),
        ('I would call it "positive".', "positive"),
        (r"\boxed{positive}", "positive"),
        # what is not sure stays unreadable
        ("positive or negative", None),
        ("The sentiment is **positive**, not negative.", None),
        ('This is not "positive".', None),
        ("The sentiment isn't **positive**.", None),
        ("The sentiment is not positive.", None),
        ("Sentiment: not positive", None),
        ("Answer: negative\nNo.\nAnswer: positive", None),
        ("It is **positive**. It is warm.", None),
        ("The food was positive.", None),
        ("positive because of the soup", None),
        ('{"label": "mixed", "other": "positive"}', None),
        ('{"a": "positive", "b": "negative"}', None),
        ('{"label": "positive", "label": "negative"}', None),
        ('{"positive": 0.9, "negative": 0.1}', None),
        ('["positive", "negative"]', None),
        ('{"label": null}', None),
        ('{"label": {"name": "positive"}}', None),
        ('{"label": "positive"} or {"label": "negative"}', None),
        ("```\npositive\n```\n```\nnegative\n```", None),
        ("[" * 100_000, None),
        ("", None),
    ],
)
def test_a_label_is_read_in_each_form_in_which_models_give_it(
    answer: str, expected: str | None
) -> None:
    assert label_of(answer, LABELS) == expected


OWN = ("Very Negative", "NEGATIVE", "very positive overall", "5", "4.5", "N/A")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("very negative", "Very Negative"),
        ("negative", "NEGATIVE"),
        ("The sentiment is **very negative**.", "Very Negative"),
        ("Label: VERY POSITIVE OVERALL.", "very positive overall"),
        ('{"label": 5}', "5"),
        ('{"label": 5.0}', "5"),
        ('{"label": 4.5}', "4.5"),
        ('{"label": "n/a"}', "N/A"),
        ("The rating is **4.5**.", "4.5"),
        ("The rating is **5** out of 4.5.", None),
        ("very", None),
        ("6", None),
    ],
)
def test_labels_may_be_words_numbers_and_upper_case(answer: str, expected: str | None) -> None:
    assert label_of(answer, OWN) == expected
    assert label_of(answer, OWN[::-1]) == expected


def request(labels: tuple[str, ...] = ()) -> Request:
    messages = (Message("user", "Good?"),)
    decoding = Decoding(stop=("\n", "Sentence:"))
    return Request("r", messages, "Good?", "mine", labels, decoding)


@pytest.mark.parametrize(
    ("labels", "written", "text"),
    [
        ((), "\n\nParis\nIt lies on the Seine.", "Paris"),
        ((), "<think>\nFrance?\n</think>\n\nParis\nOn the Seine.", "Paris"),
        (LABELS, "positive\nbecause of the soup", "positive"),
        (LABELS, "positive Sentence: bad tea", "positive"),
        (LABELS, '```json\n{"label": "positive"}\n```', '```json\n{"label": "positive"}\n```'),
        (LABELS, "I see.\nAnswer: positive", "I see.\nAnswer: positive"),
    ],
)
def test_an_answer_ends_at_a_stop_string_behind_the_reasoning(
    labels: tuple[str, ...], written: str, text: str
) -> None:
    reading = read_answer(request(labels), Answer(written, "length"))
    assert reading.text == text
    assert reading.finish == ("stop" if "\n" not in text else "length")


def test_the_reasoning_of_a_server_and_that_in_the_text_are_one() -> None:
    answer = Answer("<think>b</think>c", "stop", reasoning="a\n")
    reading = read_answer(request(), answer)
    assert (reading.text, reading.reasoning) == ("c", "a\n\nb")


@pytest.mark.parametrize(
    "piece", ["<think>", "</think>", "<|channel|>", "`", '"', "**", "{", "a\n"]
)
def test_a_hostile_answer_takes_no_quadratic_time(piece: str) -> None:
    # Nothing is timed: a quadratic step over 400,000 pieces would take hours.
    answer = Answer(piece * 400_000, "stop")
    assert read_answer(request(LABELS), answer).finish == "stop"
    assert label_of(answer.text, LABELS) is None


@pytest.mark.parametrize(
    "text",
    ['"complaint" would be wrong', 'The opposite of "praise"', 'anything but "praise"'],
)
def test_a_label_that_is_denied_is_not_read(text: str) -> None:
    assert label_of(text, ("complaint", "praise")) is None


def test_an_endless_answer_is_read_in_one_pass() -> None:
    assert not is_json("```" + "a" * 2_000_000)
    assert label_of("```" + "a " * 1_000_000, ("complaint", "praise")) is None


@pytest.mark.parametrize(
    "answer",
    [
        *("<label>praise</label>", "<answer> Praise. </answer>", "- praise", "• **praise**"),
        *('{"label": ["praise"]}', "<unused94>thought: a complaint?<unused95>praise"),
    ],
)
def test_tags_bullets_and_lists_of_one_are_read(answer: str) -> None:
    text, _, _ = without_reasoning(answer)
    assert label_of(text, ("complaint", "praise")) == "praise"


def test_a_list_of_two_labels_is_none() -> None:
    assert label_of('{"label": ["praise", "complaint"]}', ("complaint", "praise")) is None

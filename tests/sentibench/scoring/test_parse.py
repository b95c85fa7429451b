"""Reading model text: never raises, never evaluates, bounded."""

import random
import tracemalloc

import pytest

from sentibench.data.card_form import scoring_word
from sentibench.data.cards import Label, load_cards
from sentibench.data.records import Prediction
from sentibench.scoring.parse import (
    MAX_ANSWER_CHARS,
    UNREADABLE,
    answer_text,
    parse_label,
    parse_official,
    parse_strict,
    read_literal,
)


def named(*names: str) -> tuple[Label, ...]:
    return tuple(Label(name, scoring_word(name)) for name in names)


EXTRACTION = ("atsa_rest16", "acsa_rest16", "asqp_rest16", "opener")

ANSWERS = [
    (" [('a', 'b')]\n\nSentence: x", "[('a', 'b')]"),
    ("\n\n[]\nmore", "[]"),
    ("[] Sentence: next", "[] "),
    ("", ""),
    (" \n ", ""),
    ("a Sentence: b\nSentence: c", "a "),
    ("a\rb", "a\rb"),
]


@pytest.mark.parametrize(("generated", "expected"), ANSWERS)
def test_answer_text_is_the_first_line_that_is_not_blank(generated: str, expected: str) -> None:
    assert answer_text(generated) == expected


LABELS = [
    ("positive", ("negative", "positive"), "positive"),
    (" Positive.", ("negative", "positive"), "positive"),
    ("non-irony", ("non-irony", "irony"), "non-irony"),
    ("irony, clearly", ("non-irony", "irony"), "irony"),
    ("non", ("non-irony", "irony"), "non-irony"),
    ("favor(opinion towards 'X')", ("against", "favor"), "favor"),
    (
        "Moderately",
        ("not intimate", "moderately intimate", "highly intimate"),
        "moderately intimate",
    ),
    ("not sure", ("not intimate", "highly intimate"), None),
    ("non sequitur", ("non-irony", "irony"), None),
    ("nothing", ("not intimate", "moderately intimate"), None),
    ('\n"negative"\npositive', ("negative", "positive"), "negative"),
    ("the label is positive", ("negative", "positive"), None),
    ("good", ("good enough", "good"), "good"),
    ("good enough!", ("good", "good enough"), "good enough"),  # the longest that fits
    ("goods", ("good", "bad"), None),
    ("goods are good", ("good", "bad"), None),
    ("good2", ("good", "bad"), None),
    ("good_", ("good", "bad"), "good"),
    ("[(\"'GOOD  Enough'\"*?)]", ("good enough", "bad"), "good enough"),
    ("highly;", ("not intimate", "highly intimate"), "highly intimate"),
    ("", ("negative", "positive"), None),
    ("very GOOD", ("Very Good", "Very Bad"), "Very Good"),
    ("5.", ("1", "5"), "5"),
    ("50", ("1", "5"), None),
]


@pytest.mark.parametrize(("answer", "labels", "expected"), LABELS)
def test_label_is_read_from_the_beginning_of_the_first_line(
    answer: str, labels: tuple[str, ...], expected: str | None
) -> None:
    prediction = parse_label(answer, named(*labels))
    assert prediction.label == expected
    assert (prediction.problem is None) == (expected is not None)


A, B, C, D = [(letter, "x") for letter in "abcd"]
FOUR = ("a", "b", "c", "d")

# by hand, from section 3 of the protocol
OFFICIAL = [
    # cleaning, of all four
    ("asqp_rest16", f"```python\n[{FOUR}]\n```", [FOUR]),
    ("asqp_rest16", f"```python [{FOUR}]```", [FOUR]),
    ("asqp_rest16", f"Sure:\n[\n{FOUR}\n]", [FOUR]),
    ("asqp_rest16", f"two lines\n[{FOUR}]  ", [FOUR]),
    ("asqp_rest16", f"Label: [{FOUR}]", []),
    ("acsa_rest16", f"Label: [{A}, Label:{B}]", [A, B]),
    ("acsa_rest16", "[('a``````', 'x')]", [A]),
    # pairs
    ("acsa_rest16", f"{A}", [A]),
    ("acsa_rest16", "['a', 'x']", [A]),
    ("acsa_rest16", "['a', 'x', 'b']", ["a", "x", "b"]),  # "a" is no pair: left as it was read
    ("acsa_rest16", "['a,x', 'b-x', 'c|x']", [A, B, C]),
    ("acsa_rest16", f"[[{A}], [{B}]]", [[A], [B]]),  # nesting is ATSA's
    ("atsa_rest16", f"[[{A}], [{B}]]", [B]),
    ("atsa_rest16", f"[{A}, {B}]", [A, B]),
    ("atsa_rest16", f"Sure:\n[\n{A}\n]", [A]),
    ("atsa_rest16", f"[[], {A}]", [A]),
    ("atsa_rest16", f"([{A}, {B}],)", [A, B]),
    ("acsa_rest16", f"[{A}, (), '', {B}]", [A, B]),
    ("acsa_rest16", f"[{A}, ('b', 'x', 'y')]", [A, ("b", "x", "y")]),
    ("acsa_rest16", "[(' a', 'x '), ('b', 7)]", [(" a", "x "), ("b", 7)]),
    ("acsa_rest16", f"[{A}, {A}]", [A, A]),
    ("acsa_rest16", "{'a': 'x'}", []),
    ("acsa_rest16", "7", []),
    ("acsa_rest16", "[]", []),
    ("atsa_rest16", "[]", []),
    # cut off
    ("atsa_rest16", f"[{A}, ('b", []),
    ("acsa_rest16", f"[{A}, {A}, {B}, {C}, {D}, ('e", [A, B, C]),
    ("acsa_rest16", "[(' a', 'x'), ('b", [(" a", "x")]),
    ("acsa_rest16", "['ab', 'cd'", [("a", "b"), ("c", "d")]),  # without a ")": not cut
    ("acsa_rest16", f"[{A}, 3), ('b", []),
    ("asqp_rest16", f"[{FOUR}, {A}, {FOUR[::-1]}, {D}, ('e", [FOUR, FOUR[::-1]]),
    ("opener", f"[{FOUR}, ('e', '2', '3', '4'), {FOUR[::-1]}, ('f', '2', '3', '4'), ('g", None),
    # tuples of four
    ("asqp_rest16", f"[{FOUR}, {A}, (' a', 'b ', 'c', 4)]", [FOUR, ("a", "b", "c", 4)]),
    ("asqp_rest16", f"[{FOUR}, {FOUR}]", [FOUR]),
    ("asqp_rest16", "[['a', 'b', 'c', 'd']]", []),  # lists are not hashable
    ("asqp_rest16", "['abcd']", [FOUR]),
    ("asqp_rest16", "7", []),
    ("opener", f"[{FOUR}, {FOUR}, (' a', 'b', 'c', 4)]", [FOUR, (" a", "b", "c", 4)]),
    ("opener", f"[{FOUR}, {A}]", []),
    ("opener", f"[{A}, ('e", []),
]


@pytest.mark.parametrize(("task", "answer", "expected"), OFFICIAL)
def test_official_reading_is_as_specified(task: str, answer: str, expected: list | None) -> None:
    read = parse_official(load_cards()[task], answer)
    if expected is None:  # cut off, and no limit of three
        expected = [FOUR, ("e", "2", "3", "4"), FOUR[::-1], ("f", "2", "3", "4")]
    assert read == expected


# by hand: a list of tuples of strings, in a code fence or not; None is an element that is wrong
STRICT = [
    ("[('a', 'x')]", (A,), None),
    ("[ ('a', ' x  y ')]", (("a", "x y"),), None),
    ("```python\n[('a', 'x')]\n```", (A,), None),
    ("``` [('a', 'x')]```", (A,), None),
    ("[('a', 'x'), ['b', 'x']]", (A, B), None),
    ("('a', 'x')", (A,), None),
    ("['a', 'x']", (None, None), None),
    ("(('a', 'x'), ('b', 'x'))", (A, B), None),
    ("[('a', 'x'), ('a', 'x')]", (A, A), None),
    ("[('a', 'x', 'y'), ('a',), 'ax', 3, ('a', 3), {'a', 'x'}]", (None,) * 6, None),
    ("[('NULL', 'NULL')]", (), None),
    ("[('NULL', 'x'), (' NULL', 'NULL')]", (("NULL", "x"),), None),
    ("[]", (), None),
    ("()", (), None),
    ("{'a': 'x'}", (), "expected a list; got dict"),
    ("'ax'", (), "expected a list; got str"),
    ("3", (), "expected a list; got int"),
    ("[('a', 'x')", (), "not a Python literal"),
    ("Label: [('a', 'x')]", (), "not a Python literal"),
    ("python [('a', 'x')]", (), "not a Python literal"),
    ("", (), "not a Python literal"),
]


@pytest.mark.parametrize(("answer", "tuples", "problem"), STRICT)
def test_strict_reading_admits_a_list_of_tuples_of_strings(
    answer: str, tuples: tuple, problem: str | None
) -> None:
    assert parse_strict(2, answer) == Prediction(answer, tuples=tuples, problem=problem)


def test_a_label_that_cannot_be_read_is_a_problem_that_has_a_name() -> None:
    assert parse_label("so so", named("good", "bad")) == Prediction(
        "so so", problem="no label of the task"
    )
    assert parse_label(" 'Good", named("good", "bad")) == Prediction(" 'Good", label="good")
    word = parse_label("Non.", named("non-irony", "irony"))
    assert word == Prediction("Non.", label="non-irony")


ADVERSARIAL = [
    "[" * 1_000_000,
    "[" * 199 + "]" * 199,
    "(" * 100_000 + ")" * 100_000,
    "-" * 1_000_000 + "1",
    "not " * 100_000 + "1",
    "1+" * 200_000 + "1",
    "a." * 200_000 + "a",
    "[" + "[]," * 30_000 + "]",
    "9" * 1_000_000,
    "[" + "9" * 5_000 + "]",
    "1e" + "9" * 1_000,
    "\0",
    "['\0']",
    "\ud800",
    "['\udfff', 'x']",
    "'\\ud800'",
    "'\\q' '\\",
    "{[]: 1}",
    "{[1]}",
    "[{}, {1: []}, {1}, None, ..., b'x', 1j]",
    "__import__('os').system('touch evaluated')",
    "[__import__('os')]",
    "f'{open(1)}'",
    "(lambda: 1)()",
    "\u2028[('a','b')]",
    "('a', 'b'" * 3,
    "[('a', 'b', 'c', ['d'])]",
    "[(['a'], 'b')]",
    "[[('a','b')], 7]",
    "[[[]]]",
    "#" * 1_000,
    "\t\f\r\x1b[31m",
    "9" * 400 + "+1j",
    "[" + "9" * 400 + "-1j]",
]


def parse_every_way(text: str) -> None:
    answer = answer_text(text)
    for task in EXTRACTION:
        predicted = parse_official(load_cards()[task], answer)
        assert isinstance(predicted, list)
    for n_elements in (2, 4):
        parse_strict(n_elements, answer)
    for card in load_cards().values():
        if card.is_label_task:
            parse_label(text, card.classes)


@pytest.mark.parametrize("text", ADVERSARIAL, ids=[f"text{n}" for n in range(len(ADVERSARIAL))])
def test_parsers_survive_adversarial_text(text: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    parse_every_way(text)
    assert not list(tmp_path.iterdir())  # nothing was executed


def test_the_largest_answer_that_is_read_takes_less_than_600_mb() -> None:
    largest = "[" + "[]," * (MAX_ANSWER_CHARS // 3 - 1) + "]"  # of all, it makes the most objects
    tracemalloc.start()
    value = read_literal(largest)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(value) == MAX_ANSWER_CHARS // 3 - 1
    assert peak < 600e6


def test_parsers_survive_200_000_random_strings() -> None:
    generator = random.Random(7)
    pieces = [
        *"[](){},:'\"|-+*#\\\n\t =.0123456789eEjabxuN",
        *("None", "True", "NULL", "'positive'", "Sentence:", "Label:", "```python", "```"),
        *("\0", "\ud800", "\u2028", "\u202e", "é", "🙂", "('a', 'b')", "[('a', 'b'), "),
    ]
    classes = load_cards()["mint"].classes
    for number in range(200_000):
        text = "".join(generator.choices(pieces, k=generator.randrange(24)))
        task = EXTRACTION[number % 4]
        parse_official(load_cards()[task], text)
        parse_strict(2 + number % 3, text)
        parse_label(answer_text(text), classes)


def test_read_literal_refuses_text_beyond_its_limit() -> None:
    long = "[" + "1," * 2**19 + "]"
    assert not isinstance(read_literal(long), list)
    assert read_literal("[1]") == [1]
    longest = "[1]".ljust(MAX_ANSWER_CHARS)
    assert read_literal(longest) == [1]
    assert read_literal(longest + " ") is UNREADABLE

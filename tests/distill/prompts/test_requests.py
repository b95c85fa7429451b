"""What the teacher is asked: KnowDist's and ICLDist's requests."""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest
from whole_lists import icldist_requests, knowdist_requests

from distill.config import ICLDist, KnowDist
from distill.errors import ConfigError
from distill.prompts.icldist import (
    POOL,
    coverage,
    demonstration_requests,
    gold_demonstrations,
    load_other_tasks,
)
from distill.prompts.taxonomies import Taxonomy, chosen_taxonomies, load_taxonomies
from distill.texts.sources import Text
from sentibench.errors import InputError
from sentibench.prompts.few_shot import render_few_shot
from sentibench.remote.records import Decoding, Message, Request

TEXTS = [
    Text(f"{source}/{i:03d}", f"{source} text number {i}", source, label)
    for source, labels in (("films", ("negative", "positive")), ("tweets", ("joy", "anger")))
    for i, label in enumerate(labels * 20)
]

CHOSEN = [taxonomy.name for taxonomy in chosen_taxonomies(ICLDist())]


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


def test_a_request_holds_everything_that_the_teacher_is_asked(tmp_path: Path) -> None:
    template = " Ä {{ text }} \n\n"  # its last line breaks alone are taken off
    (tmp_path / "rewriting_target.jinja").write_text(template, encoding="utf-8")
    (tmp_path / "analysing.jinja").write_text("{{ text }}?", encoding="utf-8")
    given = {"templates": tmp_path, "samples": 1, "response_tokens": 33, "temperature": 0.5}
    stage = KnowDist(**given, families=("rewriting",), perspectives=("target",))
    assert knowdist_requests(TEXTS[:1], stage, 9) == [
        Request(
            id="knowdist/rewriting_target/films/000",
            messages=(Message("user", " Ä films text number 0 "),),
            text="films text number 0",
            source="films",
            decoding=Decoding(33, 0.5, stop=("\nText:",), seed=9),
            meta={"family": "rewriting", "perspective": "target", "gold": "negative"},
        )
    ]
    (whole,) = knowdist_requests(TEXTS[:1], KnowDist(**given, perspectives=()), 9)
    assert (whole.id, whole.prompt) == ("knowdist/analysing/films/000", "films text number 0?")
    assert whole.meta == {"family": "analysing", "perspective": "", "gold": "negative"}


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
            "no template has this name; rename it; known: analysing, analysing_background",
        ),
    ],
)
def test_a_template_that_cannot_be_used_is_refused(name, content, message, tmp_path) -> None:
    (tmp_path / f"{name}.jinja").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        knowdist_requests(TEXTS, KnowDist(templates=tmp_path), 1)


def test_a_template_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "analysing.jinja").write_bytes(b"\xff {{ text }}")
    with pytest.raises(ConfigError, match=r"analysing\.jinja: cannot be read; .*0xff"):
        knowdist_requests(TEXTS, KnowDist(templates=tmp_path, perspectives=()), 1)


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
        labels = request.meta["labels"]
        assert {label for _, label in shown} <= {*labels} or not labels


def test_demonstrations_carry_the_label_that_they_were_given() -> None:
    gold = {text.text: text.label for text in TEXTS}
    for request in asked(stage(other_tasks=0)):
        taxonomy = load_taxonomies()[request.meta["taxonomy"]]
        for text, word in request.meta["demonstrations"]:
            assert taxonomy.classes[request.meta["labels"].index(word)] == gold[text]


def test_changing_one_axis_leaves_the_other_samples_alone() -> None:
    few, many = asked(stage(samples=50)), asked(stage(samples=60))
    assert many[:50] == few


def answered(prompt: str) -> tuple[str, list[tuple[str, str]], str]:
    """A few-shot prompt taken apart: instruction, demonstrations, the sentence asked about."""
    head, *blocks = f"\n\n{prompt}".split("\n\nSentence: ")
    *shown, (asked_about, end) = [tuple(block.split("\nLabel:")) for block in blocks]
    assert end == ""
    return head.strip("\n"), [(text, label[1:]) for text, label in shown], asked_about


def wordings(taxonomy: Taxonomy, kind: str, words: tuple[str, ...]) -> list[str]:
    labels = f"{', '.join(words[:-1])} or {words[-1]}"
    return [w.replace("{{ labels }}", labels) for w in taxonomy.instructions[kind]]


@pytest.mark.parametrize("score_choices", [True, False])
def test_the_teacher_labels_demonstrations_from_our_own_examples(score_choices: bool) -> None:
    given = stage(demonstrations="teacher", score_choices=score_choices, pool=POOL)
    requests = demonstration_requests(TEXTS, given, 3)
    assert requests == demonstration_requests(TEXTS[::-1], given, 3)
    assert requests != demonstration_requests(TEXTS, given, 4)
    assert len({r.id for r in requests}) == len(chosen_taxonomies(ICLDist())) * len(TEXTS) == 480
    by_id = {text.id: text for text in TEXTS}
    orders = set()
    for request in requests:
        taxonomy = load_taxonomies()[request.meta["taxonomy"]]
        text = by_id[request.meta["text"]]
        instruction, shown, sentence = answered(request.prompt)
        assert instruction == wordings(taxonomy, "full", taxonomy.classes)[0]
        assert set(shown) < set(taxonomy.examples)
        assert sorted(label for _, label in shown) == sorted(taxonomy.classes)
        assert sentence == text.text
        assert request == Request(
            id=f"demonstrations/{taxonomy.name}/{text.id}",
            messages=(Message("user", request.prompt),),
            text=text.text,
            source=text.source,
            choices=taxonomy.classes if score_choices else (),
            decoding=Decoding(64, stop=("\n", "Sentence:"), seed=3),
            meta={
                "family": taxonomy.name,
                "taxonomy": taxonomy.name,
                "labels": taxonomy.classes,
                "text": text.id,
                "gold": text.label,
            },
        )
        orders.add(tuple(shown))
    assert len(orders) > 200  # the examples and their order vary
    assert demonstration_requests(TEXTS, stage(), 1) == []


def test_so_many_texts_of_every_source_serve_as_demonstrations() -> None:
    texts = [Text(f"{s}/{n:03d}", f"{s} {n}", s, "joy") for s in "ab" for n in range(POOL + 10)]
    pools = {}
    for seed in (1, 2):
        asked_for = demonstration_requests(texts, stage(demonstrations="teacher", pool=64), seed)
        pools[seed] = {(r.meta["taxonomy"], r.meta["text"]) for r in asked_for}
        gold = gold_demonstrations(texts, stage(pool=64), seed)
        assert gold.keys() == {
            pool for pool in pools[seed] if pool[0] in ("emotion_4", "emotion_6")
        }
        assert set(gold.values()) == {"joy"}
        counts = Counter((name, text[0]) for name, text in pools[seed])
        assert counts == {(name, s): 64 for name in CHOSEN for s in "ab"}
    assert pools[1] != pools[2]
    assert {text for name, text in pools[1] if name == "emotion_4"} != {
        text for name, text in pools[1] if name == "emotion_6"
    }


@pytest.mark.parametrize(
    ("samples", "shots", "expected"),
    [
        (40, (1, 2, 3, 4, 5), 11),  # twice as many as a prompt shows, and one
        (40, (0,), 0),
        (400, (1, 2), 27),  # 0.8 of 400 over six taxonomies and two sources
        (4000, (1, 2), POOL),
    ],
)
def test_as_many_demonstrations_are_labelled_as_the_samples_need(
    samples: int, shots: tuple[int, ...], expected: int
) -> None:
    texts = [Text(f"{s}/{n:03d}", f"{s} {n}", s) for s in "ab" for n in range(POOL + 10)]
    asked = stage(demonstrations="teacher", samples=samples, shots=shots)
    counts = Counter(
        (r.meta["taxonomy"], r.source) for r in demonstration_requests(texts, asked, 1)
    )
    assert counts == {(n, s): expected for n in CHOSEN for s in "ab" if expected}
    labels = {
        (r.meta["taxonomy"], r.meta["text"]): r.meta["labels"][0]
        for r in demonstration_requests(texts, asked, 1)
    }
    requests = icldist_requests(texts, labels, asked, 1)
    assert len(requests) == samples
    zero = [r for r in requests if r.meta["family"] != "other" and not r.meta["shots"]]
    assert all(r.meta["instruction_text"] for r in zero)  # something says what is asked


def test_a_text_without_a_class_of_the_taxonomy_is_no_gold_demonstration() -> None:
    gold = gold_demonstrations(TEXTS, stage(), 1)
    joy, negative = "tweets/000", "films/000"
    assert gold["emotion_4", joy] == "joy"
    assert gold["sentiment_2", negative] == "negative"
    assert ("sentiment_2", joy) not in gold
    assert ("emotion_4", negative) not in gold


@pytest.mark.parametrize("score_choices", [True, False])
def test_a_sample_holds_everything_that_the_teacher_is_asked(score_choices: bool) -> None:
    by_text = {text.text: text for text in TEXTS}
    seen = set()
    for number, request in enumerate(asked(stage(other_tasks=0, score_choices=score_choices), 5)):
        instruction, shown, sentence = answered(request.prompt)
        meta, text = request.meta, by_text[sentence]
        taxonomy, words = load_taxonomies()[meta["taxonomy"]], meta["labels"]
        aligned = dict(zip(taxonomy.classes, words, strict=True))
        kind = meta["instruction"]
        assert instruction in ([""] if kind == "none" else wordings(taxonomy, kind, words))
        assert words in taxonomy.word_sets
        assert request == Request(
            id=f"icldist/{number:07d}",
            messages=(Message("user", request.prompt),),
            text=text.text,
            source=text.source,
            choices=words if score_choices else (),
            decoding=Decoding(64, stop=("\n", "Sentence:"), seed=5),
            meta={
                "family": taxonomy.name.split("_")[0],
                "taxonomy": taxonomy.name,
                "label_words": "/".join(words),
                "form": "label",
                "instruction": kind,
                "shots": len(shown),
                "labels": words,
                "demonstrations": shown,
                "instruction_text": instruction,
                "gold": aligned.get(text.label),
            },
        )
        assert {by_text[shot].source for shot, _ in shown} <= {text.source}
        seen |= {(taxonomy.name, "words", words), (taxonomy.name, kind, instruction)}
    # all 7 sets of words, or nearly, of the five taxonomies that have gold here
    assert sum(what == "words" for _, what, _ in seen) >= 30
    assert {kind for _, kind, _ in seen} == {"words", "full", "short", "none"}


@pytest.mark.parametrize("label", [None, "odd"])
def test_a_text_without_a_class_of_the_taxonomy_has_no_gold_answer(label: str | None) -> None:
    texts = [Text(f"films/{n:03d}", f"text {n}", "films", label) for n in range(9)]
    demonstrations = {("sentiment_2", text.id): "negative" for text in texts}
    requests = icldist_requests(texts, demonstrations, stage(other_tasks=0, samples=20), 1)
    assert {request.meta["gold"] for request in requests} == {None}
    assert {label for r in requests for _, label in r.meta["demonstrations"]} <= {
        words[0] for words in load_taxonomies()["sentiment_2"].word_sets
    }


def test_every_text_of_a_source_has_its_turn_before_one_comes_again() -> None:
    texts = Counter(r.text for r in asked(stage(other_tasks=0, samples=300)))
    for source in ("films", "tweets"):
        counts = [texts[text.text] for text in TEXTS if text.source == source]
        assert max(counts) - min(counts) <= 1 < min(counts)


@pytest.mark.parametrize(
    ("instructions", "shots", "expected"),
    [
        (("none",), (0, 3), {3}),  # something has to say what is asked
        (("none",), (1, 3), {1, 3}),
        (("full",), (0,), {0}),
        (("short", "full"), (0, 2), {0, 2}),
    ],
)
def test_a_prompt_has_an_instruction_or_demonstrations(instructions, shots, expected) -> None:
    given = stage(instructions=instructions, shots=shots, other_tasks=0, samples=60)
    assert {request.meta["shots"] for request in asked(given)} == expected


# Tasks that are not about sentiment


def write_tasks(path: Path, **tasks: tuple[str, ...]) -> Path:
    """A file with one row per output; inputs are numbered."""
    rows = [
        {"task": task, "instruction": f"Do {task}.", "input": f"{task} {n}", "output": output}
        for task, outputs in tasks.items()
        for n, output in enumerate(outputs)
    ]
    path.write_text("\ufeff" + "\n".join(map(json.dumps, rows)) + "\n\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("score_choices", [True, False])
def test_a_task_with_few_outputs_is_closed_and_any_other_is_answered_freely(
    tmp_path: Path, score_choices: bool
) -> None:
    outputs = {
        "closed": ("a", "b", "b", "a"),  # two labels for two rows each
        "open": ("a", "b", "b"),  # not twice as many rows as labels
        "free": ("one", "two", "three", "four", "five", "six"),
    }
    own = write_tasks(tmp_path / "own.jsonl", **outputs)
    varied = {"shots": (0, 2), "score_choices": score_choices, "samples": 600}
    given = stage(other_tasks=0.99, other_files=(own,), **varied)
    found = Counter()
    for number, request in enumerate(asked(given, 8)):
        task = request.meta["taxonomy"]
        if task not in outputs:
            continue
        instruction, shown, sentence = answered(request.prompt)
        labels = ("a", "b") if task == "closed" else ()
        kind = request.meta["instruction"]
        assert instruction == {"full": f"Do {task}.", "none": ""}[kind]
        rows = {f"{task} {n}": output for n, output in enumerate(outputs[task])}
        assert len({sentence, *(text for text, _ in shown)}) == len(shown) + 1
        assert all(rows[text] == output for text, output in shown)
        assert request == Request(
            id=f"icldist/{number:07d}",
            messages=(Message("user", request.prompt),),
            text=sentence,
            source="other tasks",
            choices=labels if score_choices else (),
            decoding=Decoding(64 if labels else 128, stop=("\n", "Sentence:"), seed=8),
            meta={
                "family": "other",
                "taxonomy": task,
                "label_words": "a/b" if labels else "free",
                "form": "label" if labels else "free",
                "instruction": kind,
                "shots": len(shown),
                "labels": labels,
                "demonstrations": shown,
                "instruction_text": instruction,
                "gold": rows[sentence],
            },
        )
        found[task, len(shown), kind] += 1
    # a task is shown at least once, as without an instruction nothing else says what is asked
    assert found.keys() == {(t, n, k) for t in outputs for n in (1, 2) for k in ("full", "none")}


def test_an_other_task_shows_all_rows_but_one_at_most_and_has_no_short_instruction(
    tmp_path: Path,
) -> None:
    own = write_tasks(tmp_path / "own.jsonl", small=("a", "b", "c"))
    given = stage(other_tasks=0.99, other_files=(own,), shots=(5,), instructions=("short",))
    requests = [r for r in asked(given) if r.meta["taxonomy"] == "small"]
    assert {(r.meta["shots"], r.meta["instruction_text"]) for r in requests} == {(2, "Do small.")}


def test_the_share_of_other_tasks_is_the_one_asked_for() -> None:
    families = Counter(r.meta["family"] for r in asked(stage(other_tasks=0.3, samples=2000)))
    assert families["other"] == pytest.approx(600, abs=80)  # four deviations
    assert {r.meta["family"] for r in asked(stage(other_tasks=0))} == {"sentiment", "emotion"}


@pytest.mark.parametrize(
    ("labels", "given"),
    [
        ((None,), "none"),
        (("x" * 50, None), "x" * 40),
        (tuple("aabbccddeeffg"), "a, b, c, d, e, f"),  # the six most frequent
    ],
)
def test_too_few_demonstrations_are_an_error(labels: tuple[str | None, ...], given: str) -> None:
    texts = [Text(f"films/{n:03d}", f"text {n}", "films", label) for n, label in enumerate(labels)]
    demonstrations = {("sentiment_2", "films/000"): "negative"}
    with pytest.raises(InputError) as error:
        icldist_requests(texts, demonstrations, stage(demonstrations="gold"), 1)
    assert str(error.value) == (
        "icldist: no taxonomy has more than 5 demonstrations of one source; "
        f"got {len(texts)} texts, gold labels: {given}; give more texts, fewer shots, or "
        "map your labels to positive, negative, neutral, joy, ... in texts.labels"
    )


def test_a_teacher_that_labelled_too_little_is_not_the_fault_of_the_texts() -> None:
    demonstrations = {("sentiment_2", f"films/{n:03d}"): "negative" for n in range(4)}
    words = "got 80 texts, 4 labels that the teacher gave; .*demonstrations/funnel.json quotes"
    with pytest.raises(InputError, match=words) as error:
        icldist_requests(TEXTS, demonstrations, stage(demonstrations="teacher"), 1)
    assert "gold" not in str(error.value)


def test_one_demonstration_more_than_the_most_shots_is_enough() -> None:
    given = stage(shots=(3,), samples=5, other_tasks=0)
    demonstrations = {("sentiment_2", f"films/{n:03d}"): "negative" for n in range(4)}
    assert len(icldist_requests(TEXTS, demonstrations, given, 1)) == 5
    demonstrations.popitem()
    with pytest.raises(InputError, match="no taxonomy has more than 3"):
        icldist_requests(TEXTS, demonstrations, given, 1)


ROW = '{"task": "mine", "instruction": "Say it.", "input": "a", "output": "b"}\n'


def test_a_users_tasks_join_ours(tmp_path: Path) -> None:
    (tmp_path / "more.jsonl").write_text(ROW * 3, encoding="utf-8")
    tasks = load_other_tasks([tmp_path / "more.jsonl"])
    assert tasks.keys() == {*load_other_tasks(), "mine"}
    assert [asdict(row) for row in tasks["mine"]] == [json.loads(ROW)] * 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (ROW * 3 + '{"task": "mine"}\n', "more.jsonl line 4: expected an object with the texts"),
        (ROW * 3 + "{\n", "more.jsonl line 4: expected an object with the texts"),
        (ROW * 3 + "\n" + ROW, "more.jsonl line 4: expected an object with the texts"),
        (ROW.replace('"b"', "7") * 3, "more.jsonl line 1: expected an object with the texts"),
        (ROW * 2, "icldist.other_files: task 'mine' has 2 rows; expected 3"),
        (b"\xff", "more.jsonl: cannot be read; 'utf-8' codec"),
        (None, "more.jsonl: no such file or folder; expected JSON lines"),
    ],
)
def test_a_damaged_file_of_tasks_is_refused_with_its_line(content, message, tmp_path) -> None:
    path = tmp_path / "more.jsonl"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message):
        load_other_tasks([path])


def test_a_word_set_that_does_not_fit_its_classes_is_refused() -> None:
    for words in (("good",), ("good", "good"), ("good", "bad", "odd")):
        with pytest.raises(ValueError, match="taxonomy two: a word set does not fit its classes"):
            Taxonomy("two", "sentiment", ("positive", "negative"), (words,), {}, ())


def test_the_domain_of_the_texts_stands_before_every_prompt_of_knowdist() -> None:
    plain = knowdist_requests(TEXTS, KnowDist(samples=20), 1)
    told = knowdist_requests(TEXTS, KnowDist(samples=20, domain="reviews of kettles"), 1)
    said = "Every text is from this domain: reviews of kettles.\n\n"
    assert [r.prompt for r in told] == [said + r.prompt for r in plain]

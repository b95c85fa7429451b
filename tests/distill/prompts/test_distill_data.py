"""Our taxonomies, other tasks and prompts: counts, distinct words, known labels, no text twice."""

import ast
import json
from collections import Counter, defaultdict
from pathlib import Path

import yaml
from jinja2 import Environment, StrictUndefined, meta
from whole_lists import knowdist_requests

import distill
from distill.config import KnowDist
from distill.texts.sources import Text

FOLDER = Path(distill.__file__).parent / "prompts"
TAXONOMIES = yaml.safe_load((FOLDER / "taxonomies.yaml").read_text(encoding="utf-8"))
CLASSES = {
    "sentiment_2": ["negative", "positive"],
    "sentiment_3": ["negative", "neutral", "positive"],
    "sentiment_5": ["very negative", "negative", "neutral", "positive", "very positive"],
    "emotion_4": ["anger", "joy", "sadness", "optimism"],
    "emotion_6": ["anger", "disgust", "fear", "joy", "sadness", "surprise"],
    "emotion_3": ["pleasant", "unpleasant", "calm"],
}
EXAMPLES_PER_CLASS = dict.fromkeys(CLASSES, 4) | {"sentiment_2": 5, "sentiment_3": 5}
OUTPUTS = {
    "topic": {"cooking", "music", "sport", "weather"},
    "sentence_form": {"question", "statement"},
    "event_time": {"past", "future"},
    "command": {"order", "description"},
    "register": {"formal", "casual"},
    "subject_number": {"singular", "plural"},
    "spam": {"spam", "genuine"},
    "language": {"English", "French", "German", "Spanish"},
    "even_odd": {"even", "odd"},
    "place": {"city", "country"},
    "speech_act": {"apology", "invitation", "request", "thanks"},
    "same_meaning": {"same", "different"},
}
CUES = {"analysing": "Explanation:", "rewriting": "Rewritten text:"}
LENGTHS = {"analysing": "two or three sentences", "rewriting": "text"}
PERSPECTIVES = ("background", "emotion", "expression", "target")


def is_plain(text: str) -> bool:
    """One line without blanks around it or doubled, and nothing that ends an answer."""
    return text == " ".join(text.split()) and "Sentence:" not in text and "Label:" not in text


def other_rows() -> list[dict[str, str]]:
    lines = (FOLDER / "other_tasks.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_there_are_six_taxonomies_with_their_classes() -> None:
    assert {name: given["classes"] for name, given in TAXONOMIES.items()} == CLASSES
    assert len(TAXONOMIES) == 6
    for name, given in TAXONOMIES.items():
        assert given["task"] == name.split("_")[0]
        assert len(given["classes"]) == int(name.split("_")[1])
        assert set(given) == {"task", "classes", "word_sets", "instructions", "examples"}


def test_a_word_set_tells_its_classes_apart_by_the_first_word() -> None:
    n_sets = n_words = 0
    same_first = []
    for name, given in TAXONOMIES.items():
        sets = given["word_sets"]
        assert sets[0] == given["classes"]
        assert len({tuple(words) for words in sets}) == len(sets) == 7
        for words in sets:
            assert all(isinstance(word, str) and word and is_plain(word) for word in words)
            assert len({word.casefold() for word in words}) == len(words) == len(given["classes"])
            if len({word.casefold().split()[0] for word in words}) < len(words):
                same_first.append((name, words))
            n_sets += 1
            n_words += len(words)
    assert (n_sets, n_words) == (42, 161)
    # "very" twice: the classes' own names leave no other way
    assert same_first == [("sentiment_5", CLASSES["sentiment_5"])]


def test_instructions_use_no_variable_but_labels_and_are_all_different() -> None:
    environment = Environment(undefined=StrictUndefined)
    seen = []
    n_labelled: Counter[str] = Counter()
    for given in TAXONOMIES.values():
        assert {kind: len(w) for kind, w in given["instructions"].items()} == {
            "full": 5,
            "short": 4,
        }
        *first, last = given["classes"]
        labels = f"{', '.join(first)} or {last}"
        for kind, wordings in given["instructions"].items():
            for wording in wordings:
                used = meta.find_undeclared_variables(environment.parse(wording))
                shown = environment.from_string(wording).render(labels=labels)
                assert used <= {"labels"}
                assert shown.count(labels) == len(used)
                assert is_plain(shown)
                n_labelled[kind] += len(used)
                seen.append(wording.casefold())
    assert len(set(seen)) == len(seen) == 54
    assert n_labelled == {"full": 30, "short": 12}


def test_examples_are_balanced_short_and_of_known_classes() -> None:
    texts = []
    for name, given in TAXONOMIES.items():
        counts = Counter(example["label"] for example in given["examples"])
        assert counts == dict.fromkeys(CLASSES[name], EXAMPLES_PER_CLASS[name])
        for example in given["examples"]:
            assert set(example) == {"text", "label"}
            assert is_plain(example["text"])
            assert 5 <= len(example["text"].split()) <= 30
            texts.append(example["text"].casefold())
    assert min(EXAMPLES_PER_CLASS.values()) >= 4
    assert len(set(texts)) == len(texts) == 97
    assert sum("#" in text for text in texts) >= 15


def test_there_are_twelve_other_tasks_of_twenty_balanced_rows() -> None:
    by_task = defaultdict(list)
    for row in other_rows():
        assert set(row) == {"task", "instruction", "input", "output"}
        by_task[row["task"]].append(row)
    assert {task: {row["output"] for row in rows} for task, rows in by_task.items()} == OUTPUTS
    assert len(by_task) == 12
    for rows in by_task.values():
        counts = Counter(row["output"] for row in rows)
        assert len(rows) == 20
        assert len(counts) >= 2
        assert min(counts.values()) >= 5
        assert len(set(counts.values())) == 1
        [instruction] = {row["instruction"] for row in rows}
        assert is_plain(instruction)
        assert all(output in instruction for output in counts)
    assert len({rows[0]["instruction"] for rows in by_task.values()}) == 12


def structured_rows() -> list[dict[str, str]]:
    lines = (FOLDER / "structured_tasks.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_structured_tasks_are_answered_by_lists_of_words_of_the_text() -> None:
    by_task = defaultdict(list)
    for row in structured_rows():
        by_task[row["task"]].append(row)
    assert len(by_task) == 8
    n_parts = Counter[int]()
    for rows in by_task.values():
        answers = [ast.literal_eval(row["output"]) for row in rows]
        assert [repr(answer) for answer in answers] == [row["output"] for row in rows]
        assert len(rows) == 20
        assert 2 <= answers.count([]) <= 4
        elements = [(row, e) for row, a in zip(rows, answers, strict=True) for e in a]
        assert len({len(e) for _, e in elements if isinstance(e, tuple)}) <= 1
        for row, element in elements:
            parts = element if isinstance(element, tuple) else (element,)
            n_parts[len(parts)] += 1
            assert all(part in row["input"] + row["instruction"] + "NULL" for part in parts)
        [instruction] = {row["instruction"] for row in rows}
        assert is_plain(instruction)
    assert set(n_parts) == {1, 2, 3, 4}


def test_no_input_of_the_other_tasks_stands_twice() -> None:
    inputs = [row["input"] for row in [*other_rows(), *structured_rows()]]
    assert len({" ".join(text.casefold().split()) for text in inputs}) == len(inputs) == 400
    assert all(is_plain(text) and 5 <= len(text.split()) <= 30 for text in inputs)


def test_templates_show_the_text_once_and_end_with_their_cue() -> None:
    paths = sorted((FOLDER / "templates" / "knowdist").glob("*.jinja"))
    expected = [f"{family}_{view}" for family in CUES for view in PERSPECTIVES]
    assert [path.stem for path in paths] == sorted([*CUES, *expected])
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    text = "Soup cold, view splendid {{ sic }}."
    bodies = []
    for path in paths:
        source = path.read_text(encoding="utf-8")
        family = path.stem.split("_")[0]
        assert meta.find_undeclared_variables(environment.parse(source)) == {"text"}
        body, shown, cue = environment.from_string(source).render(text=text).split("\n\n")
        assert shown == f"Text: {text}"
        assert cue == CUES[family]
        assert text not in body
        assert is_plain(body)
        assert 2 <= body.count(". ") + 1 <= 3
        assert LENGTHS[family] in body.casefold().split(". ")[-1]
        bodies.append(body)
    assert len(set(bodies)) == len(bodies) == 10


def test_no_text_of_ours_stands_in_two_files() -> None:
    examples = {e["text"].casefold() for given in TAXONOMIES.values() for e in given["examples"]}
    inputs = {row["input"].casefold() for row in other_rows()}
    assert (len(examples), len(inputs)) == (97, 240)
    assert not examples & inputs


def test_few_shot_templates_show_two_examples_in_the_form_of_the_question() -> None:
    folder = FOLDER / "templates" / "knowdist_few_shot"
    paths = sorted(folder.glob("*.jinja"))
    names = [path.stem for path in sorted((FOLDER / "templates" / "knowdist").glob("*.jinja"))]
    assert [path.stem for path in paths] == names
    answers = []
    for path in paths:
        template = Environment(undefined=StrictUndefined).from_string(path.read_text("utf-8"))
        body, *pairs, shown, cue = template.render(text="Soup cold.").split("\n\n")
        assert is_plain(body)
        assert shown == "Text: Soup cold."
        assert cue == CUES[path.stem.split("_")[0]]
        assert [part.split(": ")[0] + ":" for part in pairs] == ["Text:", cue] * 2
        answers += pairs[1::2]
    assert len(set(answers)) == len(answers) == 20


def test_the_few_shot_templates_are_used_on_demand() -> None:
    text = Text("a/1", "Soup cold.", "a")
    plain, shown = (
        knowdist_requests([text], KnowDist(samples=1, few_shot=few_shot), 1)[0].prompt
        for few_shot in (False, True)
    )
    assert plain.count("Text: ") == 1
    assert shown.count("Text: ") == 3

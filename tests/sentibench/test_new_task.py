"""``sentibench task new``: every kind of table, what is said of it, and what is refused."""

import csv
import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml

from sentibench.__main__ import main
from sentibench.data.card_form import CardLoader
from sentibench.data.cards import forget_own_tasks, load_tasks, task_named
from sentibench.data.read import load_split
from sentibench.errors import SentiBenchError
from sentibench.predict.recipe import recipe_of

ITEMS = [
    ("The app 😀 crashes; always", "complaint"),
    ("<b>Nice</b> &amp; tidy,\nsays Zoë", "praise"),
    ('Is it "blue"?', "question"),
]


@pytest.fixture(autouse=True)
def _at_desk(desk: Path) -> None:
    """Each test has a folder of its own."""


def new(*arguments: str) -> int:
    return main(["task", "new", *arguments])


def card_of(name: str, folder: str = "sentibench_tasks") -> dict:
    text = Path(folder, f"{name}.yaml").read_text(encoding="utf-8")
    return yaml.load(text, CardLoader)


def write_csv(
    name: str, rows: Sequence[tuple[str, ...]], delimiter: str = ",", encoding: str = "utf-8"
) -> None:
    with Path(name).open("w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=delimiter).writerows([("text", "label"), *rows])


def write_datasets(name: str) -> None:
    import datasets

    names = ["complaint", "praise", "question"]
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)}
    )

    def rows_of(items: Sequence[tuple[str, str]]) -> datasets.Dataset:
        columns = {"text": [t for t, _ in items], "label": [names.index(kind) for _, kind in items]}
        return datasets.Dataset.from_dict(columns, features=features)

    train = [(f"train {text}", label) for text, label in ITEMS * 2]
    both = {"train": rows_of(train), "test": rows_of(ITEMS)}
    datasets.DatasetDict(both).save_to_disk(name)


def write_parquet(name: str) -> None:
    from pyarrow import Table, parquet

    parquet.write_table(Table.from_pylist([{"text": t, "label": k} for t, k in ITEMS]), name)


def write_json(name: str) -> None:
    rows = [{"text": text, "label": label} for text, label in ITEMS]
    lines = "\n".join(map(json.dumps, rows)) if name.endswith("l") else json.dumps(rows)
    Path(name).write_text(lines, encoding="utf-8")


TABLES: dict[str, tuple[str, Callable[[str], None], str]] = {
    "comma": ("t.csv", lambda name: write_csv(name, ITEMS), "CSV, comma, utf-8"),
    "semicolon": ("t.csv", lambda name: write_csv(name, ITEMS, ";"), "CSV, semicolon, utf-8"),
    "mark": ("t.csv", lambda name: write_csv(name, ITEMS, ";", "utf-8-sig"), "CSV, semicolon, utf"),
    "tab": ("t.TSV", lambda name: write_csv(name, ITEMS, "\t"), "CSV, tab, utf-8"),
    "json": ("t.json", write_json, "JSON, utf-8"),
    "lines": ("t.jsonl", write_json, "JSON, utf-8"),
    "parquet": ("t.parquet", write_parquet, "Parquet"),
    "datasets": ("t", write_datasets, "datasets"),
}


@pytest.mark.parametrize("case", TABLES)
def test_a_table_becomes_a_task_that_reads_as_the_table(case: str, capsys) -> None:
    name, write, form = TABLES[case]
    write(name)
    assert new("reviews", "--test", name) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith(f"test: 3 items ({form}")
    assert told[0].endswith("complaint 1, praise 1, question 1")
    assert told[1] == (
        "note: test: fewer than 30 of complaint, praise, question; their scores will be uncertain"
    )
    assert told[-1].endswith("--tasks reviews")
    task = task_named("reviews", "test")
    assert [(e.sentence, e.label) for e in load_split(task, "test").examples] == ITEMS
    assert task.card.shots == 0


def test_a_datasets_folder_is_copied_beside_the_card_split_by_split(capsys) -> None:
    write_datasets("saved")
    assert new("reviews", "--test", "saved", "--train", "saved") == 0
    task = task_named("reviews", "test")
    copy = Path("sentibench_tasks", "reviews_test.jsonl")
    assert f"wrote {copy}, a copy of saved" in capsys.readouterr().out
    assert task.card.splits["test"].file == copy.name
    assert [len(load_split(task, split).examples) for split in ("test", "train")] == [3, 6]
    assert not list(Path().rglob("*.unfinished"))


def test_latin_1_is_found_and_may_be_said(capsys) -> None:
    rows = [(f"Das Café in Köln war schön, {n} Grüße für das Frühstück", "gut") for n in range(9)]
    write_csv("t.csv", [*rows, ("Für die Größe zu süß", "schlecht")], ";", "latin-1")
    assert new("found", "--test", "t.csv") == 0
    assert new("said", "--test", "t.csv", "--encoding", "latin-1", "--delimiter", ";") == 0
    assert "CSV, semicolon, latin-1" in capsys.readouterr().out
    found, said = (load_split(task_named(name, "test"), "test") for name in ("found", "said"))
    assert found.examples == said.examples
    assert found.examples[-1].sentence == "Für die Größe zu süß"
    assert card_of("said")["encoding"] == "latin-1"


def test_twelve_labels_with_blanks_and_capitals_keep_their_case_and_get_words() -> None:
    labels = [f"Topic {chr(65 + n)} Problem" for n in range(12)]
    write_csv("t.csv", [(f"text {n}", label.upper()) for n, label in enumerate(labels)])
    assert new("topics", "--test", "t.csv", "--labels", ",".join(labels)) == 0
    card = task_named("topics", "test").card
    assert card.labels == tuple(labels)
    assert card.scoring_words == tuple(labels)  # "Topic" alone would be no choice
    assert load_split(task_named("topics", "test"), "test").examples[3].label == labels[3]


@pytest.mark.parametrize(
    ("name", "content", "labels"),
    [
        ("t.csv", "text,label\na,5\nb,4\nc,5\n", ("4", "5")),
        ("t.csv", "text,label\na,5.0\nb,4\nc,5\n", ("4", "5")),
        ("t.json", '[{"text":"a","label":5},{"text":"b","label":4.0}]', ("4", "5")),
        ("t.json", '[{"text":"a","label":0},{"text":"b","label":1}]', ("0", "1")),
        ("t.json", '[{"text":"a","label":-1},{"text":"b","label":1}]', ("1", "-1")),
        ("t.json", '[{"text":"a","label":true},{"text":"b","label":false}]', ("false", "true")),
        ("t.csv", "text,label\na,TRUE\nb,false\n", ("false", "true")),
        ("t.csv", "text,label\na,yes\nb,no\n", ("no", "yes")),
        ("t.csv", "text,label\na,null\nb,~\n", ("null", "~")),
        ("t.csv", "text,label\na,x=1\nb,y=2\n", ("x=1", "y=2")),
        ("t.csv", "text,label\na,-\nb,+\n", ("+", "-")),
        ("t.csv", 'text,label\na,"b, c"\nb,d\n', ("b, c", "d")),
    ],
)
def test_labels_that_yaml_or_the_options_could_misread(name, content, labels) -> None:
    Path(name).write_text(content, encoding="utf-8")
    assert new("kinds", "--test", name) == 0
    assert task_named("kinds", "test").card.labels == labels


def test_labels_of_which_one_begins_another_want_a_word_each(capsys) -> None:
    write_csv("t.csv", [(f"text {n}", str(n)) for n in range(1, 11)])
    assert new("stars", "--test", "t.csv") == 2
    said = capsys.readouterr().err
    assert "the word '1' of '1' is the beginning of '10' of '10'" in said
    assert "give one another word: --labels '1=WORD,2,3,4,5,6,7,8,9,10'" in said
    assert not Path("sentibench_tasks").exists()
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    given = ",".join(f"{n}={word}" for n, word in enumerate(words, start=1))
    assert new("stars", "--test", "t.csv", "--labels", given) == 0
    assert task_named("stars", "test").card.scoring_words == tuple(words)


def test_descriptions_domain_and_title_are_in_card_and_instruction() -> None:
    write_csv("t.csv", ITEMS)
    described = ["--describe", "praise=likes it = much", "--domain", "shop", "--title", "Shop"]
    assert new("reviews", "--test", "t.csv", *described) == 0
    card = task_named("reviews", "test").card
    assert (card.title, card.domain) == ("Shop", "shop")
    assert card.instruction == (
        "Which label fits the text? Answer with complaint, praise or question.\n"
        "praise: likes it = much"
    )
    assert card.classes[1].description == "likes it = much"


def test_a_target_stands_in_the_instruction() -> None:
    Path("t.csv").write_text("text,who,label\na,Ann,pro\nb,Bob,con\n", encoding="utf-8")
    assert new("stance", "--test", "t.csv", "--target", "who") == 0
    assert "with regard to %s?" in task_named("stance", "test").card.instruction
    own = ["--instruction", "What of %s?"]
    assert new("stance", "--test", "t.csv", "--target", "who", "--force", *own) == 0


def test_opinions_as_rows_and_as_lists_make_the_same_task(capsys) -> None:
    rows = [("Tea good, cake bad.", "Tea", "good"), ("Tea good, cake bad.", "cake", "bad")]
    with Path("rows.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [("text", "what", "how"), *rows, ("None.", "", ""), ("x", "y", "good")]
        )
    lists = [
        {"text": rows[0][0], "found": [{"aspect": a, "polarity": p} for _, a, p in rows]},
        {"text": "None.", "found": []},
        {"text": "x", "found": [["y", "good"]]},
    ]
    Path("lists.json").write_text(json.dumps(lists), encoding="utf-8")
    elements = ["--elements", "aspect,polarity"]
    where = ["--column", "aspect=what", "--column", "polarity=how"]
    assert new("rows", "--test", "rows.csv", *elements, *where) == 0
    told = capsys.readouterr().out
    assert "test: 3 items (CSV, comma, utf-8); 3 opinions: bad 1, good 2" in told
    assert "1 of 3 values of aspect do not occur in their text, first 'y' in item 3" in told
    known = ["--labels", "bad,good"]
    assert new("lists", "--test", "lists.json", *elements, "--tuples", "found", *known) == 0
    first, second = (task_named(name, "test") for name in ("rows", "lists"))
    assert first.pins == second.pins
    assert load_split(first, "test").examples[0].answer == "[('Tea', 'good'), ('cake', 'bad')]"


def test_demonstrations_stand_in_the_card_and_are_all_shown() -> None:
    write_csv("t.csv", ITEMS)
    write_csv("d.csv", [("Oh no", "complaint"), ("Oh yes", "praise"), ("Oh?", "question")])
    assert new("reviews", "--test", "t.csv", "--demonstrations", "d.csv") == 0
    card = task_named("reviews", "test").card
    assert card.shots == 3
    assert card.demonstrations[2] == ("Oh?", "question")
    given = ["--demonstrations", "d.csv", "--shots", "1", "--force"]
    assert new("reviews", "--test", "t.csv", *given) == 0
    assert task_named("reviews", "test").card.shots == 1


def test_what_is_odd_is_told(capsys) -> None:
    rows = [(f"text {n}", "praise") for n in range(40)] + [("TEXT  1", "complaint")]
    write_csv("t.csv", [*rows, ("long " * 4_000, "praise")])
    assert new("reviews", "--test", "t.csv") == 0
    told = capsys.readouterr().out
    assert "note: test: repeated texts: 1, for example 'text 1'" in told
    assert "repeated texts with another answer: 1\n" in told
    assert "note: test: the longest text has 20,000 characters" in told
    assert "note: test: fewer than 30 of complaint; their scores" in told
    assert "note: test: unbalanced: over 10 times as many of one as of another" in told
    task = task_named("reviews", "test")
    assert len(load_split(task, "test").examples[-1].sentence) == 20_000


def test_a_card_elsewhere_is_announced_with_the_way_to_it(capsys, monkeypatch) -> None:
    write_csv("t.csv", ITEMS)
    assert new("reviews", "--test", "t.csv", "--out", "deep/cards") == 0
    assert "next: SENTIBENCH_TASKS=deep/cards sentibench run" in capsys.readouterr().out
    monkeypatch.setenv("SENTIBENCH_TASKS", "deep/cards")
    assert load_split(task_named("reviews", "test"), "test").examples[0].label == "complaint"
    assert new("more", "--test", "t.csv", "--out", "deep/cards") == 0
    assert "next: sentibench run" in capsys.readouterr().out


def test_a_linked_folder_of_cards_finds_its_tables() -> None:
    Path("real/deep").mkdir(parents=True)
    Path("sentibench_tasks").symlink_to("real/deep")
    write_csv("t.csv", ITEMS)
    assert new("reviews", "--test", "t.csv") == 0
    assert len(load_split(task_named("reviews", "test"), "test").examples) == 3


def tables_for_mistakes() -> None:
    write_csv("t.csv", ITEMS)
    write_csv("twin.csv", [("New", "praise"), ("THE APP 😀  crashes; always", "complaint")])
    write_csv("train.csv", [("a", "praise"), ("b", "question")])
    write_csv("many.csv", [(f"text {n}", f"k{n:03}") for n in range(300)])
    write_csv("one.csv", [("a", "praise"), ("b", "praise")])
    write_csv("unlabelled.csv", [("a", "praise"), ("b", "")])
    write_csv("wordless.csv", [("a", "praise"), (" ", "question")])
    write_csv("header.csv", [])
    Path("empty.csv").write_text("", encoding="utf-8")
    Path("none.json").write_text("[]", encoding="utf-8")
    Path("comma.csv").write_text("text,label\nWell, no,praise\n", encoding="utf-8")
    Path("quote.csv").write_text('text,label\n"open,praise\nb,question\n', encoding="utf-8")
    Path("file").write_text("x", encoding="utf-8")
    Path("bare.csv").write_text("text,label\nfine,\n", encoding="utf-8")
    Path("latin.csv").write_text("text,label\nf\xe9e,a\nbad,b\n", encoding="latin-1")
    Path("sentibench_tasks").mkdir()
    Path("sentibench_tasks", "there.yaml").write_text("x: 1", encoding="utf-8")


MISTAKES = {
    "no such file": ("x --test gone.csv", "gone.csv: no such file or folder in "),
    "near": ("x --test twins.csv", "did you mean 'twin.csv'?"),
    "exists": ("there --test t.csv", "there.yaml: exists already; replace it with --force"),
    "no column": ("x --test t.csv --label kind", "t.csv: no column 'kind'; known: text, label; na"),
    "no text": (
        "x --test t.csv --text review",
        "no column 'review'; known: text, label; name it w",
    ),
    "no element": (
        "x --test t.csv --elements aspect,polarity",
        "name it with --column aspect=NAME",
    ),
    "unknown label": (
        "x --test t.csv --labels complaint,praise",
        "t.csv:5: got the label 'question', which the task 'x' does not have; known: complaint",
    ),
    "one label": (
        "x --test one.csv",
        "one.csv: column 'label' (--label): got 1 (praise), expected 2",
    ),
    "one label named": (
        "x --test t.csv --labels praise",
        "error: --labels: got 1 (praise), expected",
    ),
    "no label": ("x --test bare.csv", "bare.csv: column 'label' (--label): got no label, expected"),
    "300 labels": (
        "x --test many.csv",
        "many.csv: column 'label' (--label): got 300 (k000, k001, k002)",
    ),
    "texts as labels": (
        "x --test t.csv --label text",
        "t.csv: column 'text' (--label): got '<b>Nice</b> &amp; ti",
    ),
    "empty label": (
        "x --test unlabelled.csv --labels praise,b",
        "unlabelled.csv:3: got the label ",
    ),
    "empty label found": (
        "x --test t.csv --train unlabelled.csv",
        "unlabelled.csv:3: got the labe",
    ),
    "empty text": ("x --test wordless.csv", "wordless.csv:3: got ' ' in the column 'text'"),
    "empty": ("x --test empty.csv", "empty.csv: got an empty file, expected a header"),
    "header": ("x --test header.csv --labels a,b", "header.csv: got no row, expected at least one"),
    "header alone": ("x --test header.csv", "header.csv: got no row, expected at least one"),
    "no items": ("x --test none.json --labels a,b", "none.json: got no row, expected at least one"),
    "comma": ("x --test comma.csv", "comma.csv:2: got 3 fields, expected 2 as in the header"),
    "quote": ("x --test quote.csv", "quote.csv:2: the row that begins here cannot be read as CSV"),
    "twin": (
        "x --test t.csv --train twin.csv",
        "twin.csv: texts that are also in t.csv: 1, expected none",
    ),
    "val": ("x --test t.csv --val twin.csv", "twin.csv: texts that are also in t.csv: 1"),
    "shown": (
        "x --test t.csv --demonstrations twin.csv",
        "twin.csv: texts that are also in t.csv: 1",
    ),
    "prefix": (
        "x --test t.csv --labels complaint=p,praise,question",
        "the word 'p' of 'complaint' is the beginning of 'praise' of 'praise'",
    ),
    "empty name": (
        "x --test t.csv --labels =a,praise",
        "--labels: got '=a', expected NAME or NAME=WORD",
    ),
    "empty word": ("x --test t.csv --labels praise,a=", "--labels: got 'a=', expected NAME or"),
    "label twice": ("x --test t.csv --labels a,praise,a", "--labels: got 'a' twice, expected each"),
    "case": (
        "x --test t.csv --labels praise,Praise",
        "labels: got 'praise' and 'Praise', expected",
    ),
    "describe": (
        "x --test t.csv --describe prais=good",
        "--describe: unknown label 'prais'; did y",
    ),
    "no equals": (
        "x --test t.csv --describe praise",
        "got 'praise', expected --describe LABEL=TEXT",
    ),
    "name": ("../x --test t.csv", "error: task new NAME: got '../x', expected letters"),
    "our name": ("imdb --test t.csv", "task new NAME: 'imdb' is a name of this package; choose"),
    "shots": ("x --test t.csv --shots 2", "error: --shots: got 2, expected at most 0"),
    "few shown": (
        "x --test t.csv --train one.csv --demonstrations train.csv --shots 3",
        "shots: got 3, expected at most 2, the demonstrations of the card",
    ),
    "few": ("x --test t.csv --train train.csv", "got 4, expected 0 to 2 (the size of the training"),
    "minus": ("x --test t.csv --train train.csv --shots -1", "shots: got -1, expected greater"),
    "tuples": ("x --test t.csv --tuples text", "got --tuples without --elements, expected both"),
    "both": ("x --test t.csv --label l --elements polarity", "got --label and --elements"),
    "part": (
        "x --test t.csv --column aspect=text",
        "error: --column: unknown 'aspect'; known: text, label",
    ),
    "parts": (
        "x --test t.csv --elements aspct,polarity",
        "unknown 'aspct'; did you mean 'aspect'?",
    ),
    "target": (
        "x --test t.csv --target label --instruction Hm",
        "instruction: expected %s in place of",
    ),
    "ending": ("x --test file", "file: got the ending"),
    "encoding": (
        "x --test t.csv --encoding utf-9",
        "t.csv: got the encoding 'utf-9', expected one that",
    ),
    "bytes": (
        "x --test latin.csv --encoding utf-8",
        "byte 12 is not utf-8, expected all",
    ),
    "delimiter": (
        "x --test t.csv --delimiter ab",
        "got the delimiter 'ab', expected one character, such as ','",
    ),
    "no delimiter": ("x --test t.csv --delimiter=", "got the delimiter '', expected one character"),
    "another delimiter": (
        "x --test t.csv --delimiter ;",
        "t.csv:1: got the delimiter ';', which is not in the header 'text,label'; expected ','",
    ),
    "lists": (
        "x --test t.csv --elements aspect,polarity",
        "--column aspect=NAME; or one column of lists of opinions with --tuples NAME",
    ),
    "no lists": (
        "x --test t.csv --elements aspect,polarity --tuples text",
        "t.csv: column 'text' (--tuples): got no polarity, expected one of each opinion",
    ),
    "no polarity": ("x --test t.csv --elements aspect", "--elements: got aspect, expected each"),
    "out": ("x --test t.csv --out file", "file/x.yaml: cannot be written"),
    "no test": ("x --train t.csv", "the following arguments are required: --test"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line_and_nothing_is_written(case: str, capsys) -> None:
    tables_for_mistakes()
    arguments, expected = MISTAKES[case]
    before = sorted(Path().rglob("*"))
    assert new(*arguments.split()) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert said.startswith("error: ")
    assert len(said.splitlines()) == 1
    assert sorted(Path().rglob("*")) == before


def test_a_name_that_another_folder_has_is_refused(capsys, monkeypatch) -> None:
    write_csv("t.csv", ITEMS)
    assert new("reviews", "--test", "t.csv", "--out", "first") == 0
    monkeypatch.setenv("SENTIBENCH_TASKS", "first")
    assert new("reviews", "--test", "t.csv") == 2
    assert "first/reviews.yaml has the same name" in capsys.readouterr().err
    assert not Path("sentibench_tasks").exists()


def test_a_broken_card_is_replaced_where_that_is_said(capsys) -> None:
    write_csv("t.csv", ITEMS)
    Path("sentibench_tasks").mkdir()
    Path("sentibench_tasks", "reviews.yaml").write_text("x: [", encoding="utf-8")
    assert new("reviews", "--test", "t.csv", "--force") == 0
    assert task_named("reviews", "test").card.labels == ("complaint", "praise", "question")


@pytest.mark.parametrize(
    ("table", "options"),
    [
        ("text,label\nTea,praise\nNo,bad one\n", ""),
        ("my text;kind\nTea;good\nNo;bad\n", "--text 'my text' --label kind --delimiter ';'"),
        ("kind,text\ngood one,Tea\nbad,No\n", "--label kind --labels 'good one=plus,bad=minus'"),
        ("text,aspect,pole\nTea,tea,good\n", "--elements aspect,polarity --column polarity=pole"),
        (
            "text;tuples\nTea;[{'aspect': 'tea', 'polarity': 'good'}]\n".replace("'", '"'),
            "--elements aspect,polarity --tuples tuples --labels good,bad",
        ),
    ],
)
def test_the_command_that_is_advised_for_a_changed_table_works_as_typed(
    table: str, options: str, capsys
) -> None:
    Path("t.csv").write_text(table, encoding="utf-8")
    assert new("reviews", "--test", "t.csv", "--out", "my tasks", *shlex.split(options)) == 0
    before = card_of("reviews", "my tasks")
    Path("t.csv").write_text(table.replace("Tea", "More tea"), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SENTIBENCH_TASKS", "my tasks")
        forget_own_tasks()
        capsys.readouterr()
        assert main(["prompts", "reviews"]) == 2
        said = capsys.readouterr().err
        _, *typed = shlex.split(said.partition("run: ")[2].partition(" (add")[0])
        assert main(typed) == 0, capsys.readouterr().err
        assert main(["prompts", "reviews"]) == 0
    after = card_of("reviews", "my tasks")
    assert before | {"splits": 0, "pins": 0} == after | {"splits": 0, "pins": 0}


def test_a_table_that_changed_since_the_card_was_written_is_refused(capsys) -> None:
    write_csv("t.csv", ITEMS)
    assert new("reviews", "--test", "t.csv") == 0
    with Path("t.csv").open("a", encoding="utf-8") as file:
        file.write("More,praise\n")
    assert main(["prompts", "reviews"]) == 2
    said = capsys.readouterr().err
    assert "t.csv: not the file that the card describes; got " in said
    assert "put the old file back, or run: sentibench task new reviews --force --test t.csv" in said
    for lacking in ("No such file or directory", "no ordinary file"):
        Path("t.csv").unlink()
        if lacking.startswith("no "):
            Path("t.csv").symlink_to("/dev/zero")
        assert main(["prompts", "reviews"]) == 2
        assert f"t.csv: cannot be read: {lacking}; put the old file back" in capsys.readouterr().err
        Path("t.csv").touch()


def test_a_card_that_counts_other_items_is_refused() -> None:
    write_csv("t.csv", ITEMS)
    assert new("reviews", "--test", "t.csv") == 0
    path = Path("sentibench_tasks", "reviews.yaml")
    path.write_text(path.read_text("utf-8").replace("rows: 3", "rows: 4"), encoding="utf-8")
    from sentibench.data.cards import forget_own_tasks

    forget_own_tasks()
    with pytest.raises(SentiBenchError, match=r"got 3 items, expected 4 .from .*reviews.yaml"):
        load_split(load_tasks()["reviews"], "test")


def test_list_score_and_fetch_know_own_tasks(capsys) -> None:
    write_csv("t.csv", ITEMS)
    assert new("reviews", "--test", "t.csv") == 0
    assert main(["list"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == [
        *("reviews", "own", "macro_f1", "complaint,", "praise,", "question")
    ]
    answers = [{"index": n, "prediction": label} for n, (_, label) in enumerate(ITEMS)]
    answers[2]["prediction"] = "Praise."
    Path("p.jsonl").write_text("\n".join(map(json.dumps, answers)), encoding="utf-8")
    assert main(["score", "reviews", "p.jsonl", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    # by hand: complaint 1, praise 2/3 (precision 1/2, recall 1), question 0
    assert scores["score"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert scores["n"] == 3
    assert main(["fetch", "reviews"]) == 0
    assert "reviews: your own, nothing to fetch" in capsys.readouterr().err
    assert main(["prompts", "review"]) == 2
    assert "did you mean 'reviews'?" in capsys.readouterr().err


def test_words_of_labels_stand_wherever_a_model_reads_or_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    kinds = ("complaint", "praise", "question")
    for name, n in (("test", 9), ("shown", 3)):
        rows = "".join(f"{name} {i},{kinds[i % 3]}\n" for i in range(n))
        Path(f"{name}.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    given = [
        "--labels",
        "complaint=bad,praise=good,question=ask",
        "--describe",
        "praise=is pleased",
    ]
    made = ["task", "new", "words", *given, "--test", "test.csv", "--demonstrations", "shown.csv"]
    assert main(made) == 0
    assert (
        "9 items (CSV, comma, utf-8); complaint 3, praise 3, question 3" in capsys.readouterr().out
    )
    assert main(["check"]) in (0, 2)  # of ours the data may be missing
    assert "BAD words" not in (told := capsys.readouterr().out)
    assert "words" in told
    assert main(["prompts", "words", "--limit", "1"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["prompt"].startswith(
        "Which label fits the text? Answer with bad, good or ask.\ngood: is pleased\n\n"
    )
    assert [line for line in row["prompt"].splitlines() if line.startswith("Label: ")] == [
        *("Label: bad", "Label: good", "Label: ask")
    ]
    assert row["target"] == "bad"
    recipe = recipe_of(task_named("words", "test"))
    assert (recipe.labels, recipe.scoring_words) == (kinds, ("bad", "good", "ask"))
    assert recipe.prompt("test 0", recipe.shots) == row["prompt"]

"""The whole way with own labels: the rules of docs/own_data teach a tiny student."""

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from distill.__main__ import main as distill
from distill.config import load_config
from distill.run.graph import build_steps
from distill.run.models import recipes_of
from distill.run.stages import teachers_of
from distill.steps import states
from distill.teachers.openai import OpenAITeacher
from sentibench.__main__ import main as sentibench
from sentibench.data.cards import load_tasks
from sentibench.predict import temperatures
from sentibench.remote.records import Failure
from sentibench.scoring.samples import newest_samples, read_samples

FOLDER = Path(__file__).parents[3] / "docs" / "own_data"
SMALL = [
    *("knowdist.samples=16", "knowdist.training.epochs=1", "icldist.samples=40"),
    *("icldist.training.epochs=1", "filters.skip=[contaminated, near-duplicate]"),
]


@pytest.fixture
def teacher() -> Iterator[str]:
    command = [sys.executable, str(FOLDER / "server.py"), "--port", "0", "--think", "--fenced"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"openai:rules@{process.stdout.readline().strip()}"
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_own_labels_from_a_table_to_a_labelled_file(
    here: Path, teacher: str, tiny_student: Path, capsys
) -> None:
    held_out = ["--test", str(FOLDER / "held_out.csv"), "--text", "review", "--label", "kind"]
    with (here / "val.csv").open("w", newline="", encoding="utf-8") as file:
        rows = [row.values() for row in rows_of(FOLDER / "reviews.csv")[200:240]]
        csv.writer(file).writerows([rows_of(FOLDER / "reviews.csv")[0].keys(), *rows])
    assert sentibench(["task", "new", "reviews", *held_out, "--val", "val.csv"]) == 0
    texts = here / "texts.csv"
    with texts.open("w", newline="", encoding="utf-8") as file:
        rows = rows_of(FOLDER / "reviews.csv")[:60] + rows_of(FOLDER / "held_out.csv")[:3]
        csv.writer(file).writerows([("review",), *((row["review"],) for row in rows)])
    given = ["--task", "reviews", "--texts", "texts.csv", "--teacher", teacher]
    assert distill(["init", "own", *given, "--student", str(tiny_student)]) == 0
    thinking = ["icldist.label_tokens=1024", "knowdist.response_tokens=1024"]
    limits = ["evaluation.limit=40", *thinking]
    capsys.readouterr()
    assert distill(["plan", "reviews.yaml", *SMALL[:-1], *limits]) == 0
    planned = capsys.readouterr().out
    assert "Requests of evaluation: 40" in planned
    assert re.search(r"answered in the store: at least 0; to ask: at most \d+", planned)
    assert distill(["run", "reviews.yaml", *SMALL[:-1], *limits]) == 0

    assert distill(["plan", "reviews.yaml", *SMALL[:-1], *limits]) == 0
    planned = capsys.readouterr().out  # nothing is left to ask: these were the run's own requests
    assert planned.count("; to ask: 0") == 4
    assert "Teacher, all of these: to ask 0" in planned
    run = here / "runs" / "reviews"
    manifest = json.loads((run / "results" / "run.json").read_text("utf-8"))
    assert f"Requests of agreement: {manifest['own_tasks']['reviews']['agreement']['n']}" in planned
    drawn = manifest["steps"]["texts"]["summary"]
    left_out = {(source, why): n for source, why, n in drawn["left_out"]}
    assert left_out["texts", "contaminated"] == 3  # of the held-out reviews
    assert set(manifest["scores"]) == {"teacher", "base", "knowdist", "icldist"}
    assert manifest["scores"]["teacher"]["reviews"][0] > 0.85  # by its own answers
    own = manifest["own_tasks"]["reviews"]
    assert set(own["confusion"]) == set(manifest["scores"])
    assert {sum(map(sum, rows)) for rows in own["confusion"].values()} == {40}
    assert own["agreement"]["n"] == manifest["steps"]["agreement"]["summary"]["unlearned"] > 0
    both = json.loads((run / "agreement" / "agreement.json").read_text("utf-8"))["answers"]
    asked = [
        json.loads(line)["text"]
        for stage in ("knowdist", "icldist")
        for line in (run / f"{stage}-ask" / "requests.jsonl").read_text("utf-8").splitlines()
    ]
    assert not {text for text, *_ in both["reviews"]} & set(asked)
    assert set(own["costs"]) == {"teacher", "student"}
    assert own["costs"]["teacher"]["answer_tokens"] > 0
    samples = newest_samples(run / "evaluate-teacher" / "results")
    answers = read_samples(samples["reviews"][42], load_tasks()["reviews"])
    assert answers.n_items == 40
    assert not answers.invalid.any()
    for name in ("icldist-filter", "knowdist-filter"):
        assert "<think>" not in (run / name / "samples.jsonl").read_text("utf-8")
    learnt = (run / "icldist-filter" / "samples.jsonl").read_text("utf-8").splitlines()
    labels = {json.loads(line)["response"] for line in learnt}
    assert labels == {"complaint", "praise", "question"}

    student = str(run / "icldist-merge" / "student")
    fitted = temperatures.load(student)["reviews"]
    assert fitted.n_items == 40
    told = manifest["steps"]["calibrate"]["summary"]["temperatures"]
    assert told == {"reviews": round(fitted.temperature, 3)}
    capsys.readouterr()
    assert (
        sentibench(["predict", student, "texts.csv", "--text", "review", "--out", "out.csv"]) == 0
    )
    assert "shots" in capsys.readouterr().err
    labelled = rows_of(here / "out.csv")
    assert [row["review"] for row in labelled] == [row["review"] for row in rows_of(texts)]
    assert {row["label"] for row in labelled} <= {"complaint", "praise", "question"}

    # a student that is made anew has its temperature again
    calibrated = temperatures.load(student)
    shutil.rmtree(student)
    assert distill(["run", "reviews.yaml", *SMALL[:-1], *limits]) == 0
    assert temperatures.load(student) == calibrated


def test_own_opinions_are_taught_and_measured(here: Path, teacher: str, tiny_student: Path) -> None:
    files = ["--test", str(FOLDER / "aspects_held_out.jsonl"), "--tuples", "opinions"]
    shown = ["--train", str(FOLDER / "aspects.jsonl"), "--shots", "2"]
    assert (
        sentibench(["task", "new", "meals", "--elements", "aspect,polarity", *files, *shown]) == 0
    )
    given = ["--task", "meals", "--texts", str(FOLDER / "aspects.jsonl"), "--teacher", teacher]
    assert distill(["init", "own", *given, "--student", str(tiny_student)]) == 0
    limits = ["evaluation.limit=10", "knowdist=null", "icldist.response_tokens=1024"]
    assert distill(["run", "meals.yaml", "icldist.samples=30", *limits]) == 0
    run = here / "runs" / "meals"
    manifest = json.loads((run / "results" / "run.json").read_text("utf-8"))
    assert manifest["scores"]["teacher"]["meals"][0] > 0.5
    learnt = (run / "icldist-filter" / "samples.jsonl").read_text("utf-8").splitlines()
    assert len(learnt) >= 15
    assert all(json.loads(line)["response"].startswith("[") for line in learnt)
    student = str(run / "icldist-merge" / "student")
    source = str(FOLDER / "aspects_held_out.jsonl")
    assert sentibench(["predict", student, source, "--out", "out.jsonl"]) == 0
    first = json.loads((here / "out.jsonl").read_text("utf-8").splitlines()[0])
    assert {"tuples", "readable"} <= first.keys()


MISTAKES = [
    (["--task", "reviews"], "init own: expected --task NAME and --texts FILE"),
    (["--task", "revews", "--texts", "t.csv"], "did you mean 'reviews'?"),
    (
        ["--task", "sst2", "--texts", "t.csv"],
        "got 'sst2', expected a task of your own; known: reviews; make one with",
    ),
    (["--task", "reviews", "--texts", "t.csv", "--text", "x"], "no column 'x'; known: review"),
    (["--task", "reviews", "--texts", "t.csv", "--teacher", "gpt"], "expected openai:MODEL@URL"),
    (["--task", "reviews", "--texts", "none.csv"], "none.csv: no such file or folder in "),
]


@pytest.mark.parametrize(("given", "message"), MISTAKES)
def test_a_mistake_in_init_own_is_one_line_and_writes_nothing(
    given: list[str], message: str, here: Path, capsys
) -> None:
    held_out = ["--test", str(FOLDER / "held_out.csv"), "--text", "review", "--label", "kind"]
    assert sentibench(["task", "new", "reviews", *held_out]) == 0
    (here / "t.csv").write_text("review\nfine\n", encoding="utf-8")
    capsys.readouterr()
    assert distill(["init", "own", *given]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (here / "reviews.yaml").exists()


def test_labels_that_no_task_knows_stop_the_run_before_anybody_is_asked(
    here: Path, tiny_student: Path, capsys
) -> None:
    held_out = ["--test", str(FOLDER / "held_out.csv"), "--text", "review", "--label", "kind"]
    assert sentibench(["task", "new", "reviews", *held_out]) == 0
    (here / "t.csv").write_text("review,kind\nfine,Praise!\nbad,complaint\n", encoding="utf-8")
    given = ["--teacher", "openai:m@http://127.0.0.1:9/v1", "--student", str(tiny_student)]
    assert distill(["init", "own", "--task", "reviews", "--texts", "t.csv", *given]) == 0
    texts = "texts=[{file: t.csv, column: review, label_column: kind}]"
    for command in ("plan", "run"):
        capsys.readouterr()
        assert distill([command, "reviews.yaml", texts]) == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert "1 texts have labels that no task of icldist.tasks (reviews) knows: Praise!" in said


@pytest.fixture
def tried(here: Path, teacher: str, tiny_student: Path) -> Path:
    """A configuration of an own task whose held-out texts hold a mail address."""
    rows = rows_of(FOLDER / "held_out.csv")[:20]
    rows[0]["review"] += " Write to joe.doe@example.com, please."
    with (here / "held_out.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("review", "kind"), *((r["review"], r["kind"]) for r in rows)])
    shutil.copy(FOLDER / "reviews.csv", here)
    held_out = ["--test", "held_out.csv", "--text", "review", "--label", "kind"]
    assert sentibench(["task", "new", "reviews", *held_out]) == 0
    given = ["--task", "reviews", "--texts", "reviews.csv", "--teacher", teacher]
    assert distill(["init", "own", *given, "--student", str(tiny_student)]) == 0
    return here / "reviews.yaml"


MEASURE = ["--only", "evaluate-teacher"]


def states_of(config: Path, *overrides: str) -> dict[str, str]:
    run = load_config(config, overrides)
    found = states(build_steps(run, teachers_of(run)).values())
    return {name: state for name, (state, _) in found.items()}


def test_masked_data_of_held_out_texts_reach_no_server(tried: Path, here: Path) -> None:
    thinking = ["icldist.label_tokens=1024", "cleaning.mask=[mail]"]
    assert distill(["run", str(tried), *thinking, *MEASURE]) == 0
    stored = "".join(path.read_text("utf-8") for path in (here / "runs").rglob("answers.jsonl"))
    assert "[mail]" in stored
    assert "joe.doe" not in stored


def test_a_teacher_that_cannot_be_read_stops_its_evaluation_and_a_setting_mends_it(
    tried: Path, capsys
) -> None:
    capsys.readouterr()
    assert distill(["run", str(tried), "icldist.label_tokens=3", *MEASURE]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "evaluate-teacher: too few answers are left; got 0 of 20" in said
    assert "icldist.label_tokens" in said
    more = "icldist.label_tokens=1024"
    assert distill(["run", str(tried), more, *MEASURE]) == 0
    assert states_of(tried, more)["evaluate-teacher"] == "done"
    for changed in ("icldist.label_tokens=2000", "seed=7", "icldist.score_choices=false"):
        assert states_of(tried, more, changed)["evaluate-teacher"] != "done"


def test_what_failed_at_the_teacher_s_evaluation_is_asked_again(tried: Path, monkeypatch) -> None:
    answer = OpenAITeacher.answer
    refused = lambda _, requests: ((r, Failure("refused", "no")) for r in requests)  # noqa: E731
    monkeypatch.setattr(OpenAITeacher, "answer", refused)
    more = ["icldist.label_tokens=1024", *MEASURE]
    assert distill(["run", str(tried), *more]) == 2
    monkeypatch.setattr(OpenAITeacher, "answer", answer)
    assert distill(["run", str(tried), *more]) == 2
    assert distill(["run", str(tried), *more, "--retry-failed"]) == 0


def test_a_card_that_changed_makes_texts_and_samples_stale(tried: Path, here: Path) -> None:
    assert distill(["run", str(tried), "--only", "texts"]) == 0
    assert states_of(tried)["texts"] == "done"
    with (here / "held_out.csv").open("a", encoding="utf-8") as file:
        file.write(f'"{rows_of(here / "reviews.csv")[5]["review"]}",praise\n')
    held_out = ["--test", "held_out.csv", "--text", "review", "--label", "kind", "--force"]
    assert sentibench(["task", "new", "reviews", *held_out]) == 0
    assert states_of(tried)["texts"] == "stale"
    assert distill(["run", str(tried), "--only", "texts"]) == 0
    texts = (here / "runs" / "reviews" / "texts" / "texts.jsonl").read_text("utf-8")
    assert rows_of(here / "reviews.csv")[5]["review"][:40] not in texts


def test_masked_data_of_demonstrations_are_not_in_the_student_s_file(
    tried: Path, here: Path
) -> None:
    shown = rows_of(FOLDER / "held_out.csv")[20:24]
    shown[0]["review"] += " Write to joe.doe@example.com, please."
    lines = [("review", "kind"), *((r["review"], r["kind"]) for r in shown)]
    with (here / "shown.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)
    tables = ["--test", "held_out.csv", "--demonstrations", "shown.csv", "--force"]
    columns = ["--text", "review", "--label", "kind"]
    assert sentibench(["task", "new", "reviews", *tables, *columns]) == 0
    found = {
        mask: str(recipes_of(load_config(tried, [f"cleaning.mask={mask}"]), "icldist"))
        for mask in ("[mail]", "[]")
    }
    assert "[mail]" in found["[mail]"]
    assert "joe.doe" not in found["[mail]"]
    assert "joe.doe" in found["[]"]
    for step in ("icldist-ask", "icldist-merge"):  # a mask that no text needs makes them stale too
        with_mask, without = (
            build_steps(run, teachers_of(run))[step].settings
            for run in (load_config(tried, ["cleaning.mask=[mail]"]), load_config(tried))
        )
        assert with_mask == {**without, "mask": ("mail",)}


def test_the_student_s_file_holds_what_it_was_taught_wherever_it_is_measured(tried: Path) -> None:
    elsewhere = load_config(tried, ["evaluation.tasks=[sentibench_mini_sst2]"])
    assert set(recipes_of(elsewhere, "icldist")) == {"sentibench_mini_sst2", "reviews"}
    merge = build_steps(elsewhere, teachers_of(elsewhere))["icldist-merge"].settings
    assert merge["cards"].keys() == {"reviews"}
    assert merge["shots"] == (0,)

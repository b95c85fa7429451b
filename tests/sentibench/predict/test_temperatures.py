"""sentibench calibrate: a temperature from validation items, and who uses it."""

import csv
import json
import math
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sentibench.__main__ import main
from sentibench.data.cards import load_tasks
from sentibench.data.read import load_split
from sentibench.errors import InputError

pytest.importorskip("torch")
from sentibench import Classifier
from sentibench.predict import temperatures
from sentibench.predict.classifier import stamps

KINDS = ("praise", "complaint")
TEXTS = ["all good", "never again", "it is what it is"]


@pytest.fixture
def student(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint of our own, and an own task with validation items."""
    monkeypatch.chdir(tmp_path)
    for name, n in (("test", 8), ("val", 40)):
        with Path(f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            rows = [(f"{name} text {i} says {KINDS[i % 2]}", KINDS[i % 3 % 2]) for i in range(n)]
            csv.writer(file).writerows([("text", "label"), *rows])
    made = ["task", "new", "kinds", "--labels", ",".join(KINDS), "--test", "test.csv"]
    assert main([*made, "--val", "val.csv"]) == 0
    return Path(shutil.copytree(checkpoint, tmp_path / "student"))


def test_the_temperature_is_written_used_and_moves_no_label(student: Path, capsys) -> None:
    before = Classifier(student, "kinds")(TEXTS)
    assert main(["calibrate", str(student), "--task", "kinds"]) == 0
    shown = capsys.readouterr().out
    fitted = temperatures.load(str(student))["kinds"]
    assert f"temperature {fitted.temperature:.3f}, from 40 validation items" in shown
    assert fitted.nll[1] < fitted.nll[0]
    classifier = Classifier(student, "kinds")
    assert (classifier.temperature, classifier.is_calibrated) == (fitted.temperature, True)
    after = classifier(TEXTS)
    assert [answer.label for answer in after] == [answer.label for answer in before]
    for one, other in zip(before, after, strict=True):
        odds = [
            math.log(a.probabilities["praise"] / a.probabilities["complaint"]) for a in (one, other)
        ]
        assert odds[1] == pytest.approx(odds[0] / fitted.temperature, rel=1e-6)
    assert Classifier(student, "kinds", temperature=1)(TEXTS) == before


def test_the_log_likelihoods_are_those_of_the_probabilities(student: Path) -> None:
    classifier = Classifier(student, "kinds")
    said = np.exp(classifier.log_likelihoods(TEXTS))
    shares = said / said.sum(axis=1, keepdims=True)
    told = [list(answer.probabilities.values()) for answer in classifier(TEXTS)]
    assert np.allclose(shares, told, atol=1e-6)


def test_predict_says_and_uses_the_temperature(student: Path, capsys) -> None:
    temperatures.save(
        student, "kinds", temperatures.Fitted(temperature=3.0, n_items=40, nll=(1, 1), ece=(0, 0))
    )
    Path("new.csv").write_text("text\nall good\n", encoding="utf-8")
    found = {}
    for name, given in (
        ("fitted", []),
        ("given", ["--temperature", "3"]),
        ("off", ["--temperature", "1"]),
    ):
        out = f"{name}.jsonl"
        assert (
            main(["predict", str(student), "new.csv", "--task", "kinds", "--out", out, *given]) == 0
        )
        found[name] = json.loads(Path(out).read_text(encoding="utf-8"))["probability"]
        assert ("temperature 3.000: calibration.json" in capsys.readouterr().err) == (
            name == "fitted"
        )
    assert found["fitted"] == found["given"] != found["off"]


def test_temperatures_of_other_tasks_stay(student: Path) -> None:
    one = temperatures.Fitted(temperature=2.0, n_items=30, nll=(1, 0.5), ece=(0.2, 0.1))
    temperatures.save(student, "a", one)
    temperatures.save(student, "b", one)
    assert temperatures.load(str(student)) == {"a": one, "b": one}


def test_two_processes_that_save_at_once_lose_nothing(
    student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = temperatures.Fitted(temperature=2.0, n_items=30, nll=(1, 0.5), ece=(0.2, 0.1))
    load = temperatures.load

    def slow(checkpoint: str):
        found = load(checkpoint)
        time.sleep(0.05)
        return found

    monkeypatch.setattr(temperatures, "load", slow)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: temperatures.save(student, f"t{n}", one), range(6)))
    assert load(str(student)).keys() == {f"t{n}" for n in range(6)}


def test_items_without_numbers_are_not_fitted_on(student: Path) -> None:
    task = load_tasks()["kinds"]
    gold = [task.card.labels.index(e.label or "") for e in load_split(task, "val").examples]
    said = np.where(np.eye(2)[gold] == 1, -0.2, -1.7)
    whole = temperatures.fit(task, lambda *_: said)
    assert whole.n_items == 40
    said[:15] = np.nan
    part = temperatures.fit(task, lambda *_: said)
    assert part.n_items == 25
    assert part.temperature == pytest.approx(1.5 / math.log(26), rel=1e-3)
    assert not part.is_at_an_end
    backwards = temperatures.fit(task, lambda *_: -said)
    assert backwards.temperature == pytest.approx(50, rel=0.01)
    assert backwards.is_at_an_end
    said[:21] = np.nan
    with pytest.raises(InputError, match="kinds: got numbers for 19 of 40 validation items"):
        temperatures.fit(task, lambda *_: said)


def test_a_temperature_makes_no_other_checkpoint(student: Path) -> None:
    """So a killed call for another task goes on."""
    before = stamps(student)
    assert main(["calibrate", str(student), "--task", "kinds"]) == 0
    assert stamps(student) == before


MISTAKES = [
    (["--task", "kinds", "--limit", "5"], "kinds: got 5 validation items, expected at least 20"),
    (["--task", "mini_sst2"], "got no validation items, as in all of sentibench_mini; give a"),
    (["--task", "mini_atsa_rest16"], "got no labels; expected a label task"),
    ([], "which task?"),
]


@pytest.mark.parametrize(("given", "message"), MISTAKES)
def test_what_cannot_be_calibrated_is_one_line(student: Path, given, message: str, capsys) -> None:
    assert main(["calibrate", str(student), *given]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1
    assert not (student / temperatures.FILE).exists()


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"format": 2, "tasks": {}}',
        '{"format": 1, "tasks": {"kinds": {"temperature": 0}}}',
    ],
)
def test_a_broken_file_is_one_line(student: Path, content: str, capsys) -> None:
    (student / temperatures.FILE).write_text(content, encoding="utf-8")
    Path("new.csv").write_text("text\nall good\n", encoding="utf-8")
    assert main(["predict", str(student), "new.csv", "--task", "kinds"]) == 2
    assert "run sentibench calibrate again, or remove it" in capsys.readouterr().err


def test_a_temperature_has_to_be_above_zero(student: Path, capsys) -> None:
    Path("new.csv").write_text("text\nall good\n", encoding="utf-8")
    given = ["predict", str(student), "new.csv", "--task", "kinds", "--temperature"]
    for wrong in ("0", "-1", "nan", "inf"):
        assert main([*given, wrong]) == 2
        assert "expected a number above 0" in capsys.readouterr().err

"""The sentibench command: what a user gets wrong is one line and exit code 2."""

import json
import math
import os
import sys
from pathlib import Path

import pytest

from sentibench.__main__ import main
from sentibench.command_line import QUIET, exit_code
from sentibench.data.cards import task_named
from sentibench.data.read import load_split

MINI = "sentibench_mini_atsa_rest16"


def gold_lines() -> list[str]:
    examples = load_split(task_named(MINI, "test"), "test").examples
    return [json.dumps({"index": e.index, "prediction": e.answer}) for e in examples]


def test_gold_scores_one_and_the_json_has_both_metrics(tmp_path: Path, capsys) -> None:
    file = tmp_path / "gold.jsonl"
    file.write_text("\n".join(gold_lines()), encoding="utf-8")
    assert main(["score", MINI, str(file), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["official"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0}
    assert scores["strict"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0}
    assert (scores["score"], scores["invalid_rate"]) == (1.0, 0.0)


BROKEN = [
    ("missing", lambda lines: lines[:-1], ":23: the file ends without 1 of 24 items"),
    ("repeated", lambda lines: [*lines, lines[2]], ":25: index 2 was already given in"),
    ("foreign", lambda lines: [*lines, '{"index": 99, "prediction": ""}'], ":25: got the index 99"),
    ("no JSON", lambda lines: ["{", *lines], ":1: broken JSON"),
    ("no object", lambda lines: ["[1]", *lines], ":1: got [1], expected {"),
    ("no text", lambda lines: ['{"index": 0}', *lines], ':1: got {"index": 0}, expected'),
    ("bool index", lambda lines: ['{"index": true, "prediction": ""}'], ':1: got {"index": true, '),
]


@pytest.mark.parametrize(("name", "damage", "message"), BROKEN, ids=[b[0] for b in BROKEN])
def test_a_broken_prediction_file_is_named_with_its_line(
    name: str, damage, message: str, tmp_path: Path, capsys
) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text("\n".join(damage(gold_lines())), encoding="utf-8")
    assert main(["score", MINI, str(file)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert message in shown.err
    assert shown.err.count("\n") == 1


SST2 = "sentibench_mini_sst2"


def sst2_lines(sure: float = 0.9) -> list[str]:
    """Every item gets its gold label with this probability."""
    rows = [(e.index, e.label) for e in load_split(task_named(SST2, "test"), "test").examples]
    sides = [(index, {label: sure, other(label): 1 - sure}) for index, label in rows]
    return [json.dumps({"index": index, "probabilities": p}) for index, p in sides]


def other(label: str | None) -> str:
    return "negative" if label == "positive" else "positive"


@pytest.mark.parametrize(("sure", "right"), [(0.9, 1.0), (0.2, 0.0)])
def test_probabilities_are_predictions_and_their_calibration_is_measured(
    sure: float, right: float, tmp_path: Path, capsys
) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text("\n".join(sst2_lines(sure)), encoding="utf-8")
    assert main(["score", SST2, str(file), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert (scores["acc"], scores["coverage_at_5"]) == (right, right)
    assert scores["brier"] == pytest.approx(2 * (1 - sure) ** 2)
    assert scores["nll"] == pytest.approx(-math.log(sure))
    assert scores["ece"] == pytest.approx(abs(max(sure, 1 - sure) - right))
    assert scores["ece_stderr"] == pytest.approx(0)


BAD_PROBABILITIES = [
    ({"probabilities": {"positive": 1}}, 'got {"positive": 1}, expected a number from 0 to 1 for'),
    ({"probabilities": {}}, "probabilities: got {}, expected a number from 0 to 1 for each of"),
    ({"probabilities": [0.5, 0.5]}, "probabilities: got [0.5, 0.5], expected a number from 0 to 1"),
    (
        {"probabilities": {"positive": 1.5, "negative": -0.5}},
        "negative: got -0.5, expected a number from 0 to 1",
    ),
    ({"probabilities": {"positive": "1", "negative": 0}}, 'positive: got "1", expected a number'),
    ({"probabilities": {"positive": 0.5, "negative": 0.3}}, "a sum of 0.8000, expected 1"),
    (
        {"prediction": "Negative.", "probabilities": {"positive": 0.6, "negative": 0.4}},
        "got the prediction negative, expected the likeliest label, positive",
    ),
    ({"probabilities": {"positive": 0.5, "negative": 0.489}}, "a sum of 0.9890, expected 1"),
    ({"prediction": "positive"}, "no probabilities, although other lines have them"),
    ({"prediction": 1, "probabilities": {"positive": 1, "negative": 0}}, "got {"),
    *(
        (
            given,
            '"prediction": "text"} or {"index": 0, "probabilities": {"negative": 0.5, "positive"',
        )
        for given in ({}, {"probabilities": None}, {"probs": {"positive": 1, "negative": 0}})
    ),
]


@pytest.mark.parametrize(("given", "message"), BAD_PROBABILITIES)
def test_bad_probabilities_are_named_with_their_line(
    given, message: str, tmp_path: Path, capsys
) -> None:
    file = tmp_path / "p.jsonl"
    lines = sst2_lines()
    lines[4] = json.dumps({"index": 4, **given})
    file.write_text("\n".join(lines), encoding="utf-8")
    assert main(["score", SST2, str(file)]) == 2
    shown = capsys.readouterr().err
    assert f"{file}:5: " in shown
    assert message in shown


@pytest.mark.parametrize(
    "twice",
    [
        '{"index": 4, "probabilities": {"positive": 0.3, "negative": 0.7, "positive": 0.3}}',
        '{"index": 4, "prediction": "positive", "prediction": "positive"}',
    ],
)
def test_a_name_that_stands_twice_in_a_line_is_refused(twice: str, tmp_path: Path, capsys) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text("\n".join([*sst2_lines()[:4], twice]), encoding="utf-8")
    assert main(["score", SST2, str(file)]) == 2
    shown = capsys.readouterr().err
    assert f"{file}:5: got " in shown
    assert '" twice in one object, expected each name once' in shown


def test_rounded_probabilities_and_an_answer_that_agrees_or_says_nothing_are_taken(
    tmp_path: Path, capsys
) -> None:
    file = tmp_path / "p.jsonl"
    lines = sst2_lines()
    half = {"positive": 0.5, "negative": 0.5}
    lines[4] = json.dumps({"index": 4, "prediction": "positive", "probabilities": half})
    rounded = {"positive": 0.335, "negative": 0.655}
    lines[5] = json.dumps({"index": 5, "prediction": "", "probabilities": rounded})
    file.write_text("\n".join(lines), encoding="utf-8")
    assert main(["score", SST2, str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["invalid_rate"] == pytest.approx(1 / 24)
    labels = task_named("mini_emotion20", "test").card.labels
    four = json.dumps(dict(zip(labels, (0.335, 0.335, 0.155, 0.16), strict=True)))  # 0.985 in all
    lines = [f'{{"index": {index}, "probabilities": {four}}}' for index in range(24)]
    file.write_text("\n".join(lines), encoding="utf-8")
    assert main(["score", "mini_emotion20", str(file)]) == 0


def test_a_task_without_labels_has_no_probabilities(tmp_path: Path, capsys) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text("\n".join(sst2_lines()), encoding="utf-8")
    assert main(["score", MINI, str(file)]) == 2
    assert "the task has no labels; leave them out" in capsys.readouterr().err


MISTAKES = [
    (["score", "sentibench_imbd", "x"], "did you mean 'sentibench_imdb'?"),
    (["fetch", "sentibench_finegraned"], "did you mean 'sentibench_finegrained'?"),
    (["prompts", MINI, "--seed", "x"], "got 'x', expected a whole number"),
    (["prompts", MINI, "--shots", "17"], "got 17, expected 0 to 16"),
    (["prompts", MINI, "--limit", "0"], "got 0, expected at least 1"),
    (["score", MINI, "no such file"], "expected JSON lines"),
    (["score", MINI, "x", "--split", "dev"], "no split 'dev'; known: train, test"),
    (["score", MINI, "x", "--split", "tset"], "no split 'tset'; did you mean 'test'?"),
    (["nonsense"], "unknown name 'nonsense'; known: run, "),
    (["prompst", MINI], "unknown name 'prompst'; did you mean 'prompts'?"),
    (["prompts", MINI, "--limti=2"], "unknown option --limti; did you mean '--limit'?"),
    (
        ["list", "--markdwon"],
        "sentibench list: unknown option --markdwon; did you mean '--markdown'",
    ),
    (["prompts", "imbd"], "did you mean 'sentibench_imdb'?"),
    (["prompts", "nosuch"], "unknown name 'nosuch'; known: sentibench_imdb, "),
    (["prompts", "sentibench_mini_robust_sst2"], "its wordings are in "),
    (["score", "robust_sst2", "x"], "which only lm_eval can run"),
    (["fetch", "sentibench_robust"], "which only lm_eval can run"),
    (["fetch", "basik"], "did you mean 'sentibench_basic'?"),
    # before the data of the task, which are not here
    (["score", "imdb", "no such file"], "no such file: no such file or folder in "),
    (["prompts", "sentibench_basic"], "is a group, expected one task"),
    (["prompts", MINI, "--seed", "9" * 5000], "expected a whole number"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=[" ".join(m[0]) for m in MISTAKES])
def test_a_mistake_is_one_line_and_exit_code_2(arguments, message: str, capsys) -> None:
    assert main(arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert message in lines[0]


def test_prompts_are_json_lines_with_index_prompt_and_target(capsys) -> None:
    assert main(["prompts", MINI, "--shots", "1", "--limit", "2"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["index"] for row in rows] == [0, 1]
    assert set(rows[0]) == {"index", "prompt", "target"}
    assert rows[0]["prompt"].count("Sentence: ") == 2
    assert rows[0]["target"] == load_split(task_named(MINI, "t"), "test").examples[0].answer


def test_list_shows_all_24_tasks(capsys) -> None:
    assert main(["list"]) == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 24
    assert "sentibench_robust and sentibench_mini_robust" in shown.err


@pytest.mark.parametrize("is_terminal", [True, False])
def test_libraries_show_bars_and_notes_in_a_terminal_only(is_terminal: bool, monkeypatch) -> None:
    for variable in QUIET:
        monkeypatch.setenv(variable, "")  # so that it is taken back at the end
        monkeypatch.delenv(variable)
    monkeypatch.setenv("LMEVAL_LOG_LEVEL", "DEBUG")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal, raising=False)
    assert exit_code(lambda: None) == 0
    assert ("HF_HUB_DISABLE_PROGRESS_BARS" in os.environ) is not is_terminal
    assert os.environ["LMEVAL_LOG_LEVEL"] == "DEBUG"


@pytest.mark.parametrize(
    ("words", "said"), [((), "stopped\n"), (("it is kept",), "stopped: it is kept\n")]
)
def test_an_interrupted_command_says_what_is_kept_where_it_knows(words, said: str, capsys) -> None:
    def work() -> None:
        raise KeyboardInterrupt(*words)

    assert exit_code(work) == 130
    assert capsys.readouterr().err == said

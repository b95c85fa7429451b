"""Predictions of a method that is no language model become results of a leaderboard."""

import json
from pathlib import Path

import numpy as np
import pytest

from sentibench.__main__ import main
from sentibench.data.cards import load_tasks
from sentibench.data.read import load_split
from sentibench.errors import InputError
from sentibench.peers.results import BACKEND, Peer, is_plain_line, write_results
from sentibench.scoring.predictions import Given
from sentibench.scoring.samples import read_samples

SST2 = load_tasks()["sentibench_mini_sst2"]
PEER = Peer("probe", "a linear probe")
NEEDED = ["--name", "probe", "--not-a-language-model", "a linear probe"]


def predictions(path: Path, **changed: object) -> Path:
    """Sure and right, but for what is changed in the first line."""
    lines = [
        {
            "index": e.index,
            "probabilities": {n: 0.9 if n == e.label else 0.1 for n in SST2.card.labels},
        }
        for e in load_split(SST2, "test").examples
    ]
    lines[0] |= changed
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_score_writes_what_the_one_reader_of_samples_takes(tmp_path: Path, capsys) -> None:
    file, out = predictions(tmp_path / "p.jsonl"), tmp_path / "results"
    arguments = ["score", SST2.name, str(file), "--results", str(out), *NEEDED, "--json"]
    arguments += ["--seconds", "2.5", "--peak-memory-bytes", "1000"]
    assert main(arguments) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["score"] == 1
    (results,) = out.glob("probe/results_*.json")
    assert str(results) in shown.err
    found = json.loads(results.read_text(encoding="utf-8"))
    assert found["config"]["model"] == BACKEND
    assert found["config"]["model_args"] == {"method": "a linear probe"}
    assert found["config"]["peak_memory_bytes"] == 1000
    assert found["total_evaluation_time_seconds"] == 2.5
    assert found["results"][SST2.name] == {"score,none": 1.0, "invalid_rate,none": 0.0}
    (samples,) = out.glob("probe/samples_*.jsonl")
    read = read_samples(samples, SST2, with_texts=True)
    assert read.is_whole
    assert read.data_key == SST2.pins.items
    assert read.right.all()
    assert read.answers is not None
    assert sorted(np.exp(read.log_likelihoods[0])) == pytest.approx([0.1, 0.9])
    assert {text.prompt for text in read.texts} == {""}


def test_labels_alone_are_results_without_log_likelihoods(tmp_path: Path) -> None:
    examples = load_split(SST2, "test").examples
    given = [Given("positive" if i else "no label") for i in range(len(examples))]
    results = write_results(tmp_path, SST2, given, PEER, date=0.0)
    assert results.name == "results_1970-01-01T00-00-00.000000.json"
    samples = read_samples(next(results.parent.glob("samples_*")), SST2)
    assert samples.answers is None
    assert samples.invalid.tolist() == [1.0] + [0.0] * (len(examples) - 1)
    assert samples.right.tolist() == [
        i > 0 and e.label == "positive" for i, e in enumerate(examples)
    ]


def test_a_probability_of_0_is_kept_as_one(tmp_path: Path) -> None:
    sure = {label: float(label == "positive") for label in SST2.card.labels}
    n_items = len(load_split(SST2, "test").examples)
    results = write_results(tmp_path, SST2, [Given("positive", sure)] * n_items, PEER)
    samples = read_samples(next(results.parent.glob("samples_*")), SST2)
    assert samples.log_likelihoods is not None
    assert samples.log_likelihoods.max() == 0
    assert samples.log_likelihoods.min() == -np.inf


MISTAKES = [
    (["--results", "out"], "expected --results, --name and --not-a-language-model together"),
    (["--name", "probe"], "expected --results, --name and --not-a-language-model together"),
    (["--seconds", "2"], "expected --results, --name and --not-a-language-model together"),
    (["--results", "out", *NEEDED, "--split", "train"], "got --split train, expected the test"),
    (["--results", "out", *NEEDED, "--seconds", "-1"], "--seconds: got -1.0, expected a number"),
    (["--results", "out", *NEEDED, "--seconds", "nan"], "--seconds: got nan, expected a number"),
    (["--results", "out", *NEEDED, "--peak-memory-bytes", "0"], "--peak-memory-bytes: got 0"),
    (["--results", "out", *NEEDED[:3], "two\nlines"], '--not-a-language-model: got "two\\nlines"'),
    (["--results", "out", *NEEDED[:3], ""], '--not-a-language-model: got ""'),
    (["--results", "out", "--name", "../up", *NEEDED[2:]], '--name: got "../up"'),
    (["--results", "p.jsonl", *NEEDED], "probe cannot be written: Not a directory"),
]


@pytest.mark.parametrize(("options", "message"), MISTAKES)
def test_what_is_wrong_with_a_peer_is_one_line(
    options: list[str], message: str, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    predictions(tmp_path / "p.jsonl")
    assert main(["score", SST2.name, "p.jsonl", *options]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_first_items_alone_are_scored_as_lm_eval_scores_them(tmp_path: Path, capsys) -> None:
    whole, part = predictions(tmp_path / "whole.jsonl"), tmp_path / "part.jsonl"
    lines = whole.read_text(encoding="utf-8").splitlines(keepends=True)
    part.write_text("".join(lines[:7]), encoding="utf-8")
    given = ["--limit", "7", "--results", str(tmp_path / "out"), *NEEDED]
    assert main(["score", SST2.name, str(part), "--json", *given]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 7
    (results,) = tmp_path.glob("out/probe/results_*.json")
    found = json.loads(results.read_text(encoding="utf-8"))
    assert found["n-samples"] == {SST2.name: {"original": len(lines), "effective": 7}}
    assert found["config"]["limit"] == 7
    (samples,) = tmp_path.glob("out/probe/samples_*.jsonl")
    read = read_samples(samples, SST2)
    assert (read.n_items, read.split_size, read.is_whole) == (7, len(lines), False)
    assert main(["score", SST2.name, str(whole), "--limit", "7"]) == 2
    assert "got the index 7, expected 0 to 6" in capsys.readouterr().err
    assert main(["score", SST2.name, str(part), "--limit", "8"]) == 2
    assert "the file ends without 1 of 8 items" in capsys.readouterr().err
    assert main(["score", SST2.name, str(part), "--limit", "0"]) == 2
    assert "score --limit: got 0, expected at least 1" in capsys.readouterr().err
    assert main(["score", SST2.name, str(whole), "--limit", "10000", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == len(lines)


def test_a_task_without_labels_has_no_peers(tmp_path: Path, capsys) -> None:
    task = load_tasks()["sentibench_mini_atsa_rest16"]
    file, n_items = tmp_path / "p.jsonl", len(load_split(task, "test").examples)
    lines = [json.dumps({"index": i, "prediction": "[]"}) for i in range(n_items)]
    file.write_text("\n".join(lines), encoding="utf-8")
    assert main(["score", task.name, str(file), "--results", str(tmp_path / "out"), *NEEDED]) == 2
    assert "asks for lists of opinions, expected a task with labels" in capsys.readouterr().err


def test_of_equal_probabilities_the_first_label_is_the_answer(tmp_path: Path, capsys) -> None:
    even = dict.fromkeys(SST2.card.labels, 0.5)
    for prediction, code in ((SST2.card.labels[0], 0), (SST2.card.labels[1], 2)):
        file = predictions(tmp_path / "p.jsonl", probabilities=even, prediction=prediction)
        assert main(["score", SST2.name, str(file)]) == 0
        given = ["--results", str(tmp_path / prediction), *NEEDED]
        assert main(["score", SST2.name, str(file), *given]) == code
    assert "item 0: got the prediction positive, expected negative" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "is_plain"),
    [
        ("MiniLM-L6 probe, 1,000 gold labels", True),
        ("probabilité", True),
        ("", False),
        (" probe", False),
        ("...", False),
        ("org/model", False),
        ("C:\\probe", False),
        ("one\ntwo", False),
        ("\u202eeborp", False),  # turns the direction of what follows
        ("x" * 200, True),
        ("x" * 201, False),
        (None, False),
        (["probe"], False),
    ],
)
def test_a_plain_line_is_what_a_page_can_show(text: object, is_plain: bool) -> None:
    assert is_plain_line(text) is is_plain


def test_a_peer_refuses_what_could_not_be() -> None:
    with pytest.raises(InputError, match="--peak-memory-bytes: got"):
        Peer("probe", "a probe", peak_memory_bytes=2**50)

"""The program behind docs/peers.md: majority, lexicon, linear probe."""

import json
import runpy
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from leaderboard.runs.results import load_results
from sentibench.command_line import exit_code
from sentibench.data.cards import load_tasks
from sentibench.data.read import load_split
from sentibench.errors import InputError

PROGRAM = Path(__file__).parents[3] / "benchmarks" / "peers.py"
SST2, TWITTER17, EMOTION20, IRONY18 = (
    load_tasks()[f"sentibench_mini_{name}"]
    for name in ("sst2", "twitter17", "emotion20", "irony18")
)


@pytest.fixture(scope="module")
def peers() -> Any:
    module = ModuleType("peers_program")  # dataclasses look their module up
    sys.modules[module.__name__] = module
    module.__dict__.update(runpy.run_path(str(PROGRAM), run_name=module.__name__))
    return module


def toy(n: int = 60, noise: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Three clouds of points, each a label."""
    random = np.random.default_rng(1)
    labels = np.arange(n) % 3
    return np.eye(3)[labels] + random.normal(scale=noise, size=(n, 3)), np.eye(3)[labels]


def test_a_probe_learns_labels_that_a_plane_separates(peers) -> None:
    vectors, labels = toy(noise=0.1)
    found = peers.train_probe(vectors, labels).probabilities(vectors)
    assert (found.argmax(axis=1) == labels.argmax(axis=1)).all()
    assert found.sum(axis=1) == pytest.approx(1)
    assert found.max(axis=1).min() > 0.8


def test_a_probe_learns_distributions_and_not_the_likeliest_alone(peers) -> None:
    vectors = np.tile([[1.0, 0.0], [0.0, 1.0]], (20, 1))
    labels = np.tile([[0.7, 0.3], [0.2, 0.8]], (20, 1))
    found = peers.train_probe(vectors, labels).probabilities(vectors[:2])
    assert found == pytest.approx(np.array([[0.7, 0.3], [0.2, 0.8]]), abs=0.03)


@pytest.mark.parametrize("n", [4, 2])
def test_a_probe_refuses_too_few_texts_or_a_label_without_one(peers, n: int) -> None:
    vectors, labels = toy()
    rows = [0, 3, 6, 9, 12, 15] if n == 2 else [0, 1, 2, 3]
    with pytest.raises(InputError, match="raise --texts"):
        peers.train_probe(vectors[rows], labels[rows])


@pytest.mark.parametrize(
    ("compound", "two", "three"),
    [
        (0.8, "positive", "positive"),
        (-0.8, "negative", "negative"),
        (0.0, "positive", "neutral"),
        (-0.04, "negative", "neutral"),
        (-0.05, "negative", "negative"),
    ],
)
def test_a_score_of_the_lexicon_is_a_label_of_the_task(
    peers, compound: float, two: str, three: str
) -> None:
    assert (peers.polarity(compound, SST2), peers.polarity(compound, TWITTER17)) == (two, three)


# A run folder: (taxonomy, label words, answer, distribution)
FEEL = ["anger", "joy", "sadness", "optimism"]
STORED: list[tuple[str, list[str], str, list[float] | None]] = [
    ("sentiment_2", ["bad", "good"], "good", None),
    ("sentiment_3", ["X", "Y", "Z"], "X", [0.5, 0.25, 0.25]),
    ("sentiment_3", ["X", "Y", "Z"], "Y", [0.1, 0.8, 0.1]),
    ("sentiment_5", ["A", "B", "C", "D", "E"], "E", [0.1, 0.0, 0.1, 0.2, 0.6]),
    ("emotion_4", FEEL, "sadness", [0.1, 0.1, 0.7, 0.1]),
    ("emotion_6", [*FEEL, "fear", "disgust"], "joy", None),
    ("spam", ["genuine", "spam"], "spam", None),
]


def run_folder(folder: Path) -> Path:
    for step in ("icldist-ask", "icldist-filter"):
        (folder / step).mkdir(parents=True)
    asked, kept = [], []
    for number, (taxonomy, words, answer, said) in enumerate(STORED):
        asked.append({"id": str(number), "choices": words, "meta": {"taxonomy": taxonomy}})
        of_text = {"target": said} if said else {}
        kept.append({"id": str(number), "response": answer, "text": f"text {number}", **of_text})
    for name, rows in (("icldist-ask/requests", asked), ("icldist-filter/samples", kept)):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    return folder


def test_answers_of_a_teacher_are_mapped_back_to_the_labels_of_a_task(peers, tmp_path) -> None:
    run = run_folder(tmp_path / "run")
    two = peers.teacher_texts(SST2, run)
    assert two.texts == ["text 0", "text 1", "text 3"]  # neutral answers say no label of SST2
    assert SST2.card.labels == ("negative", "positive")
    assert two.labels_NK == pytest.approx(np.array([[0, 1], [2 / 3, 1 / 3], [1 / 9, 8 / 9]]))
    three = peers.teacher_texts(TWITTER17, run)
    assert three.texts == ["text 1", "text 2", "text 3"]
    assert TWITTER17.card.labels == ("negative", "positive", "neutral")
    assert three.labels_NK == pytest.approx(
        np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [0.1, 0.8, 0.1]])
    )
    assert peers.teacher_texts(EMOTION20, run).texts == ["text 4"]
    assert peers.teacher_texts(IRONY18, run) is None


def test_every_mapping_has_the_classes_of_the_teachers_taxonomy(peers) -> None:
    from distill.prompts.taxonomies import load_taxonomies

    known = load_taxonomies()
    names = [(labels, name) for labels, of in peers.ANSWERS.items() for name in of]
    assert len(names) == 6
    for labels, name in names:
        mapped = peers.ANSWERS[labels][name]
        assert set(mapped) - {None} == labels
        for of_class, of_task in zip(known[name].classes, mapped, strict=True):
            assert of_task is None or of_task in of_class


def test_majority_is_scored_and_read_by_the_leaderboard(peers, tmp_path: Path, capsys) -> None:
    peers.run(["majority", str(tmp_path), "--mini", "--tasks", "sst2,mint"])
    runs, problems = load_results(tmp_path / "results")
    assert problems == []
    assert sorted(run.task.card.name for run in runs) == ["mint", "sst2"]
    for run in runs:
        labels = [e.label for e in load_split(run.task, "train").examples]
        most = max(run.task.card.labels, key=labels.count)
        answers = {text.answer for text in run.samples.texts}
        assert answers == {most}
        assert np.exp(run.samples.log_likelihoods[0]).sum() == pytest.approx(1)
        assert run.facts.seconds > 0
        assert run.facts.peak_memory_bytes > 1e6
    assert "items per second" in capsys.readouterr().out


def test_limits_are_those_of_the_rows_they_are_compared_with(peers, tmp_path: Path) -> None:
    given = ["majority", str(tmp_path), "--mini", "--tasks", "sst2,mint"]
    peers.run([*given, "--limit", "9", "--limits", "mint=5"])
    runs, problems = load_results(tmp_path / "results")
    assert problems == []
    assert {run.task.card.name: run.samples.n_items for run in runs} == {"sst2": 9, "mint": 5}
    for option, value in (("--limits", "mimt=5"), ("--limits", "imdb=5"), ("--limit", "0")):
        with pytest.raises(InputError, match=f"{option}: "):
            peers.run([*given, option, value])


def test_a_probe_answers_with_an_encoder_and_a_teacher(peers, tmp_path: Path, monkeypatch) -> None:
    class Letters:
        """Counts of letters: enough to tell that vectors reach the probe in their order."""

        def __init__(self, folder: Path) -> None: ...

        def __call__(self, texts: list[str]) -> np.ndarray:
            return np.array([[text.count(c) for c in "aeinostx"] for text in texts], float)

    monkeypatch.setitem(peers.probe.__globals__, "Encoder", Letters)
    monkeypatch.setitem(
        peers.probe.__globals__,
        "teacher_texts",
        lambda task, run: peers.gold_texts(task, 12) if task.card.name == "sst2" else None,
    )
    options = ["--mini", "--tasks", "sst2,irony18", "--texts", "16", "--encoder", "e"]
    peers.run(["probe", str(tmp_path), *options, "--teacher", "run"])
    runs, problems = load_results(tmp_path / "results")
    assert problems == []
    name = "Probe"
    assert sorted((run.model, run.task.card.name) for run in runs) == [
        (f"{name}, as few gold labels", "sst2"),
        (f"{name}, gold labels", "irony18"),
        (f"{name}, gold labels", "sst2"),
        (f"{name}, labels of a teacher", "sst2"),
    ]
    assert all(run.samples.answers is not None for run in runs)


BAD = [
    (["majority", "--tasks", "sst"], "--tasks: unknown 'sst'; did you mean 'sst2'?"),
    (["majority", "--tasks", "opener"], "--tasks: unknown 'opener'"),
    (["majority", "--texts", "2"], "--texts: got 2, expected a number from 5"),
    (["probe"], "probe: expected --encoder FOLDER"),
    (["probe", "--encoder", "nowhere"], "model.safetensors"),
    (["magic"], "unknown name 'magic'; known: majority"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_a_mistake_is_one_line(peers, options, message: str, tmp_path: Path, capsys) -> None:
    method, *others = options
    assert exit_code(lambda: peers.run([method, str(tmp_path / "out"), "--mini", *others])) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("line", ["{", "[1]", '{"text": "no answer"}'])
def test_a_broken_run_folder_is_named_with_its_line(peers, line: str, tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    path = run / "icldist-filter" / "samples.jsonl"
    path.write_text(path.read_text(encoding="utf-8") + line + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"samples.jsonl:8: expected an object with 'response'"):
        peers.teacher_texts(SST2, run)
    with pytest.raises(InputError, match=r"requests\.jsonl"):
        peers.teacher_texts(SST2, tmp_path)

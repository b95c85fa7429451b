"""The teacher's distributions on their way from its store to the samples of a training."""

import json
from pathlib import Path

import numpy as np
import pytest
from small_runs import do_all_before, requests_of, samples_of, steps_of

pytest.importorskip("torch")
pytest.importorskip("peft")

from distill.config import load_config, save_config
from distill.errors import ConfigError
from distill.filters.bias import without_bias
from distill.run import measuring
from sentibench.remote.records import Answer, Request
from sentibench.remote.store import Store
from sentibench.scoring.calibration import probabilities

RUN = """
name: small
student: {student}
teacher: {teacher}
texts: [{{dataset: sst2, mini: true}}]
icldist:
  samples: 40
  shots: [1, 2]
  tasks: [sentiment_2]
  label_words: false
  other_tasks: 0.1
  {more}
evaluation: {{tasks: [sentibench_mini_sst2]}}
out: {out}
"""


def configured(folder: Path, student: Path, more: str, teacher: str = "") -> Path:
    path = folder / "run.yaml"
    teacher = teacher or f"{{backend: hf, model: {student}}}"
    said = RUN.format(student=student, teacher=teacher, out=folder / "runs", more=more)
    path.write_text(said, encoding="utf-8")
    return path


def answered(steps, folder: Path) -> list[tuple[Request, Answer]]:
    (store,) = (folder / "runs" / "answers").iterdir()
    with Store.read(store) as kept:
        found = [(r, kept.get(kept.key_of(r))) for r in requests_of(steps, "icldist")]
    return [(request, answer) for request, answer in found if isinstance(answer, Answer)]


@pytest.mark.parametrize("corrects", [False, True])
def test_samples_hold_what_the_teacher_scored(
    corrects: bool, tiny_student: Path, tmp_path: Path, small_tests: None
) -> None:
    more = (
        f"other_lists: false\n  training: {{loss: soft}}\n  correct_bias: {str(corrects).lower()}\n"
    )
    more += "  difficulty: {keep: 0.5, by: confidence}"
    steps = steps_of(load_config(configured(tmp_path, tiny_student, more)))
    do_all_before(steps["icldist-select"])
    pairs = answered(steps, tmp_path)
    found = without_bias(pairs)
    assert [n for _, n in found.moved.values()] == [len(pairs) - sum(found.as_they_were.values())]
    given = {r.id: a for r, a in (found.pairs if corrects else pairs) if isinstance(a, Answer)}
    samples = samples_of(steps, "icldist-filter")
    assert len(samples) == 40
    for sample in samples:
        answer = given[sample.id]
        assert sample.target == pytest.approx(probabilities(np.array([answer.log_likelihoods]))[0])
        assert sample.labels[int(np.argmax(sample.target))] == answer.text == sample.response
    funnel = json.loads((steps["icldist-filter"].folder / "funnel.json").read_text())
    expected = {words: list(counts) for words, counts in found.moved.items()}
    assert funnel["corrected"] == (expected if corrects else {})
    plain = {r.id: probabilities(np.array([a.log_likelihoods]))[0] for r, a in pairs}
    differs = [abs(plain[sample.id] - sample.target).max() > 1e-6 for sample in samples]
    assert any(differs) == corrects
    kept = samples_of(steps, "icldist-select")
    assert 20 <= len(kept) < 40  # a half of each group, rounded up
    assert set(kept) <= set(samples)


def test_the_default_loss_does_without_where_nothing_is_scored(
    tiny_student: Path, tmp_path: Path, small_tests: None
) -> None:
    written = configured(tmp_path, tiny_student, "demonstrations: gold", GOLD)
    steps = steps_of(load_config(written))
    do_all_before(steps["icldist-filter"])
    samples = samples_of(steps, "icldist-filter")
    assert samples
    assert not any(sample.target for sample in samples)


def test_a_hard_run_keeps_no_distributions(
    tiny_student: Path, tmp_path: Path, small_tests: None
) -> None:
    steps = steps_of(load_config(configured(tmp_path, tiny_student, "training: {loss: hard}")))
    do_all_before(steps["icldist-filter"])
    assert not any(sample.target for sample in samples_of(steps, "icldist-filter"))


def test_a_run_that_cannot_calibrate_says_so(tiny_student: Path, tmp_path: Path, capsys) -> None:
    run = load_config(configured(tmp_path, tiny_student, "correct_bias: false"))
    assert "calibrate" in steps_of(run)
    told = measuring.calibrate_student(run, tmp_path)
    assert list(told["no_temperature"]) == ["sentibench_mini_sst2"]
    assert not told["temperatures"]
    assert "no temperature for sentibench_mini_sst2: no validation items" in capsys.readouterr().err


GOLD = "{backend: gold}"
SERVER = "{backend: openai, model: m, base_url: 'http://127.0.0.1:9/v1'}"


@pytest.mark.parametrize(
    ("teacher", "more", "message"),
    [
        (GOLD, "demonstrations: gold\n  training: {loss: soft}", "icldist.training.loss: soft"),
        (SERVER, "difficulty: {keep: 0.5, by: confidence}", "icldist.difficulty.by: confidence"),
        (SERVER, "correct_bias: true", "icldist.correct_bias: true"),
        ("", "score_choices: false\n  training: {loss: soft}", "icldist.score_choices: false"),
        ("", "training: {loss: hard, soft_weight: 0.9}", "the hard loss does not use it"),
        ("", "training: {loss: soft, soft_weight: 0.9}", "the soft loss does not use it"),
    ],
)
def test_settings_that_want_distributions_want_a_teacher_that_gives_them(
    teacher: str, more: str, message: str, tiny_student: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(configured(tmp_path, tiny_student, more, teacher))
    plain = more if "demonstrations" in more else ""
    load_config(configured(tmp_path, tiny_student, plain.split("\n")[0], teacher))


def test_the_configuration_that_a_run_saved_is_read_again_with_a_teacher_that_writes(
    tiny_student: Path, tmp_path: Path
) -> None:
    run = load_config(configured(tmp_path, tiny_student, "", SERVER))
    save_config(run, tmp_path / "resolved.yaml")  # every default filled in, the loss too
    assert "loss: mixed" in (tmp_path / "resolved.yaml").read_text(encoding="utf-8")
    assert load_config(tmp_path / "resolved.yaml") == run

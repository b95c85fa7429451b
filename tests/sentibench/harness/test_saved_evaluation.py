"""An evaluation from Python: what it writes beside lm-eval's own results."""

import json
import subprocess
from pathlib import Path

import pytest
from lm_eval.models.dummy import DummyLM

from sentibench.data.cards import load_tasks
from sentibench.harness import task_manager
from sentibench.harness.evaluation import commit_here, evaluate_and_save
from sentibench.scoring import calibration
from sentibench.scoring.samples import read_samples, results_beside


def test_the_commit_is_that_of_the_working_directory_and_git_says_nothing(
    tmp_path: Path, monkeypatch, capfd
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit_here() is None
    person = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(["git", *person, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    assert len(commit_here() or "") >= 7
    monkeypatch.setenv("PATH", "")
    assert commit_here() is None
    assert capfd.readouterr().err == ""


def test_the_calibration_in_the_results_is_that_of_the_samples_beside_them(tmp_path: Path) -> None:
    name = "sentibench_mini_emotion20"
    evaluate_and_save(DummyLM(), "dummy", {}, name, task_manager(), tmp_path)
    (path,) = tmp_path.rglob("samples_*.jsonl")
    results = json.loads(results_beside(path).read_text(encoding="utf-8"))["results"][name]
    answers = read_samples(path, load_tasks()[name]).answers
    assert answers is not None
    for metric in calibration.METRICS:
        for end, measure in (("", calibration.value), ("_stderr", calibration.stderr)):
            assert results[f"{metric}{end},none"] == pytest.approx(measure(metric, answers))

"""An evaluation from Python: what it writes beside lm-eval's own results."""

import json
import re
import subprocess
import time
from pathlib import Path

import pytest
from lm_eval.models.dummy import DummyLM

from sentibench.data.cards import load_tasks
from sentibench.harness import evaluation, task_manager
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
    evaluate_and_save(DummyLM(), "dummy", {}, {name: tmp_path}, task_manager())
    (path,) = tmp_path.rglob("samples_*.jsonl")
    results = json.loads(results_beside(path).read_text(encoding="utf-8"))["results"][name]
    answers = read_samples(path, load_tasks()[name]).answers
    assert answers is not None
    for metric in calibration.METRICS:
        for end, measure in (("", calibration.value), ("_stderr", calibration.stderr)):
            assert results[f"{metric}{end},none"] == pytest.approx(measure(metric, answers))


def test_tasks_of_one_call_are_saved_as_if_each_had_its_own(tmp_path: Path) -> None:
    names = ["sentibench_mini_sst2", "sentibench_mini_atsa_rest16"]
    together = {name: tmp_path / "together" / name for name in names}
    alone = {name: tmp_path / "alone" / name for name in names}
    known_as = {"pretrained": "x"}
    evaluate_and_save(DummyLM(), "dummy", known_as, together, task_manager(), limit=3)
    for name in names:
        evaluate_and_save(
            DummyLM(), "dummy", known_as, {name: alone[name]}, task_manager(), limit=3
        )
        saved = [json.loads(_only(folder[name])) for folder in (together, alone)]
        assert saved[0].keys() == saved[1].keys()
        for part in ("configs", "versions", "n-shot", "n-samples", "task_hashes", "config"):
            assert _text(saved[0][part]) == _text(saved[1][part]), part
        assert saved[0]["results"].keys() == {name}
        assert saved[0]["model_name_sanitized"] == saved[1]["model_name_sanitized"]
        (samples,) = together[name].rglob("samples_*.jsonl")
        assert read_samples(samples, load_tasks()[name]).n_items == 3


def test_the_seconds_of_a_call_are_shared_out_by_items(tmp_path: Path, monkeypatch) -> None:
    few, many = "sentibench_mini_sst2", "sentibench_mini_mint"
    evaluate, now = evaluation.simple_evaluate, 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)

    def takes_twelve_seconds(**given):
        nonlocal now
        results = evaluate(**given)
        results["samples"][few] = results["samples"][few][:1]
        now += 12
        return results

    monkeypatch.setattr(evaluation, "simple_evaluate", takes_twelve_seconds)
    folders = {few: tmp_path / "few", many: tmp_path / "many"}
    evaluate_and_save(DummyLM(), "dummy", {}, folders, task_manager(), limit=5)
    seconds = [
        float(json.loads(_only(folder))["total_evaluation_time_seconds"])
        for folder in folders.values()
    ]
    assert seconds == pytest.approx([2, 10])


def _only(folder: Path) -> str:
    (path,) = folder.rglob("results_*.json")
    return path.read_text(encoding="utf-8")


def _text(value: object) -> str:
    """As JSON; addresses of functions differ between calls."""
    return re.sub(r"0x[0-9a-f]+", "", json.dumps(value, sort_keys=True))

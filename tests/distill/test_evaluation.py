"""lm-eval on a checkpoint: limits per task, nothing measured twice."""

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

from distill.errors import InputError
from distill.evaluation import evaluate

TASKS = ("sentibench_mini_imdb", "sentibench_mini_sst2", "sentibench_mini_twitter17")


def lines(out: Path, task: str) -> int:
    """Logged samples of a task, over all runs."""
    files = list(out.rglob(f"samples_{task}_*.jsonl"))
    assert len(files) == 1
    return len(files[0].read_text(encoding="utf-8").splitlines())


def test_a_task_can_have_a_limit_of_its_own(tiny_student: Path, tmp_path: Path) -> None:
    def run():
        limits = {"sentibench_mini_imdb": 2}
        return evaluate(str(tiny_student), TASKS, tmp_path, limit=4, limits=limits)

    results = run()
    assert all("score,none" in results[name] for name in TASKS)
    assert [lines(tmp_path, name) for name in TASKS] == [2, 4, 4]
    # What is there is read, and a run that lacks one limit is completed.
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json*")}
    removed = [path for path in before if "first-2" in path.parts]
    assert removed
    for path in removed:
        path.unlink()
    assert run().keys() == results.keys()
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json*")}
    kept = before.keys() - set(removed)
    assert {path: after[path] for path in kept} == {path: before[path] for path in kept}
    assert lines(tmp_path, "sentibench_mini_imdb") == 2


def test_a_limit_of_a_task_that_is_not_evaluated_is_refused(
    tiny_student: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"evaluation\.limits: sentibench_sst2 is none of"):
        evaluate(str(tiny_student), TASKS, tmp_path, limits={"sentibench_sst2": 3})

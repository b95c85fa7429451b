"""lm-eval on a checkpoint: limits per task, nothing measured twice."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

from distill.student.evaluation import evaluate, tasks_by_seed
from sentibench.errors import InputError
from sentibench.harness import task_manager

TASKS = ("sentibench_mini_imdb", "sentibench_mini_sst2", "sentibench_mini_twitter17")


def lines(out: Path, task: str) -> int:
    """Logged samples of a task, over all runs."""
    (file,) = out.rglob(f"samples_{task}_*.jsonl")
    return len(file.read_text(encoding="utf-8").splitlines())


def test_a_task_can_have_a_limit_of_its_own(tiny_student: Path, tmp_path: Path) -> None:
    def run():
        limits = {"sentibench_mini_imdb": 2}
        return evaluate(str(tiny_student), TASKS, tmp_path, limit=4, limits=limits)

    results = run()
    assert all("score,none" in results[name] for name in TASKS)
    assert [lines(tmp_path, name) for name in TASKS] == [2, 4, 4]
    (saved, *_) = tmp_path.rglob("results_*.json")
    assert json.loads(saved.read_text())["fewshot_as_multiturn"] is False  # the board asks for it
    # What is whole is read; what was cut off is measured again.
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json*")}
    (cut,) = tmp_path.rglob("samples_sentibench_mini_sst2_*.jsonl")
    cut.write_text(cut.read_text(encoding="utf-8")[:-9], encoding="utf-8")
    assert run() == results
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json*")}
    new = after.keys() - before.keys()
    assert {path.name.split("_2")[0] for path in new} == {"results", "samples_sentibench_mini_sst2"}
    assert all(after[path] == before[path] for path in before if path != cut)


def test_each_demonstration_seed_is_measured_with_its_own_prompts(
    tiny_student: Path, tmp_path: Path
) -> None:
    (task,) = TASKS[1:2]
    for seed in (42, 52):
        evaluate(str(tiny_student), (task,), tmp_path / str(seed), limit=4, seed=seed)
    first, second = (
        [json.loads(line) for line in next((tmp_path / str(seed)).rglob("samples_*")).open()]
        for seed in (42, 52)
    )
    assert [row["doc"]["sentence"] for row in first] == [row["doc"]["sentence"] for row in second]
    assert all(a["prompt_hash"] != b["prompt_hash"] for a, b in zip(first, second, strict=True))


def test_tasks_are_grouped_by_their_demonstration_seeds() -> None:
    imdb, sst2, twitter17 = TASKS
    seeds = {"sentibench_mini": (42, 62), sst2: (52,)}
    found = tasks_by_seed(task_manager(), TASKS[1:], {sst2: (52, 42)})
    assert found == {42: (sst2, twitter17), 52: (sst2,)}
    with pytest.raises(InputError, match=r"evaluation\.seeds: .* is not evaluated; remove"):
        tasks_by_seed(task_manager(), (imdb, sst2), seeds)
    with pytest.raises(InputError, match=r"evaluation\.seeds: unknown wrong"):
        tasks_by_seed(task_manager(), TASKS, {"wrong": (42,)})


def test_a_limit_of_a_task_that_is_not_evaluated_is_refused(
    tiny_student: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"evaluation\.limits: sentibench_sst2 is not evaluated"):
        evaluate(str(tiny_student), TASKS, tmp_path, limits={"sentibench_sst2": 3})

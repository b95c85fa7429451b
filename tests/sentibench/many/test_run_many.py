"""Units measured by several processes, which may be killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from sentibench.errors import InputError
from sentibench.fast.dtypes import cpu_dtype
from sentibench.many.plan import DONE, Many, read_plan, units_of
from sentibench.many.run import run_many
from sentibench.many.worker import Worker

pytestmark = pytest.mark.slow
TASKS = ["sentibench_mini_sst2", "sentibench_mini_mint"]
SEEDS = [42, 52]


@pytest.fixture
def plan(checkpoint, tmp_path) -> Path:
    dtype = "float32" if cpu_dtype() == "bfloat16" else "bfloat16"  # than the first model's auto
    other = {"name": "other", "args": {"pretrained": str(checkpoint), "dtype": dtype}}
    content = {"models": [str(checkpoint), other], "tasks": TASKS, "seeds": SEEDS, "limit": 12}
    path = tmp_path / "models.yaml"
    path.write_text(yaml.safe_dump(content | {"workers": 2, "out": str(tmp_path / "out")}))
    return path


def command(plan: Path) -> list[str]:
    return [sys.executable, "-m", "sentibench", "run-many", str(plan)]


def run(plan: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(plan), capture_output=True, text=True, timeout=300, check=False)


def done(out: Path) -> dict[Path, float]:
    return {path: path.stat().st_mtime for path in out.glob(f"*/*/*/{DONE}")}


def scores(out: Path) -> dict[str, float]:
    found = {}
    for path in out.glob("*/*/*/**/results_*.json"):
        (task, row), *_ = json.loads(path.read_text())["results"].items()
        found[f"{path.relative_to(out).parts[0]} {path.relative_to(out).parts[1]} {task}"] = row[
            "score,none"
        ]
    return found


def wait_for(what, process: subprocess.Popen) -> None:
    start = time.monotonic()
    while not what() and process.poll() is None:
        assert time.monotonic() - start < 200
        time.sleep(0.01)


def test_many_models_have_the_scores_of_single_runs_and_are_measured_once(
    plan, checkpoint, tmp_path
) -> None:
    out = tmp_path / "out"
    first = run(plan)
    assert (first.returncode, first.stdout.splitlines()[0]) == (
        0,
        "8 measured, 0 were there before, of 8",
    ), first.stderr
    site = tmp_path / "site"
    build = ["-m", "leaderboard", "build", str(out), "--out", str(site), "--replicates", "100"]
    subprocess.run([sys.executable, *build], check=True)
    rows = json.loads((site / "leaderboard.json").read_text())["rows"]
    assert {row["name"] for row in rows if row["kind"] == "measured"} == {"other", checkpoint.name}
    alone = tmp_path / "alone"
    arguments = ["run", "--model", "sentibench-hf", "--model_args", f"pretrained={checkpoint}"]
    arguments += ["--tasks", TASKS[1], "--limit", "12", "--metadata", '{"demo_seed": 52}']
    subprocess.run(
        [sys.executable, "-m", "sentibench", *arguments, "--output_path", str(alone)], check=True
    )
    single = json.loads(next(alone.rglob("results_*.json")).read_text())
    many = json.loads(
        next((out / checkpoint.name / "52" / TASKS[1]).rglob("results_*.json")).read_text()
    )
    row, expected = many["results"][TASKS[1]], single["results"][TASKS[1]]
    assert row.keys() == expected.keys()
    for metric, value in expected.items():
        assert row[metric] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-5))
    assert many["configs"][TASKS[1]]["metadata"]["demo_seed"] == 52
    seen = done(out)
    assert len(seen) == 8
    again = run(plan)
    assert again.stdout.startswith("0 measured, 8 were there before, of 8"), again.stderr
    assert done(out) == seen


def test_answers_generated_in_one_call_are_those_of_single_calls(checkpoint, tmp_path) -> None:
    tasks = ["sentibench_mini_atsa_rest16", "sentibench_mini_opener", "sentibench_mini_sst2"]
    model = {"name": "m", "args": {"pretrained": str(checkpoint), "dtype": "float32"}}
    content = {"models": [model], "tasks": tasks, "seeds": [42], "limit": 8}
    worker, answers = Worker(None), list[list[object]]()
    for out in (tmp_path / "together", tmp_path / "alone"):
        units = units_of(Many.model_validate(content | {"out": out}))
        for group in [units] if out.name == "together" else [[unit] for unit in units]:
            assert {kind for kind, _ in worker.measure(group)} == {"done"}
        for unit in units:
            (path,) = unit.folder.rglob("samples_*.jsonl")
            rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            answers.append([row["filtered_resps"] for row in rows])
    assert answers[0] != answers[1]
    assert answers[:2] == answers[3:5]  # text
    for together, alone in zip(answers[2], answers[5], strict=True):
        assert _scores(together) == pytest.approx(_scores(alone), abs=1e-3)


def _scores(responses) -> list[float]:
    return [float(score) for score, _ in responses]


def test_killed_workers_and_a_killed_call_lose_nothing_that_was_measured(plan, tmp_path) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(command(plan), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    wait_for(lambda: done(out), process)
    workers = psutil.Process(process.pid).children(recursive=True)
    busy = [one for one in workers if "spawn_main" in " ".join(one.cmdline())]
    assert busy
    busy[0].kill()  # another one takes its unit
    n = len(done(out))
    wait_for(lambda: len(done(out)) > n, process)
    workers = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive  # nobody works on for a caller that is gone
    before = done(out)
    assert 0 < len(before) < 8
    second = run(plan)
    assert second.returncode == 0, second.stderr
    now = done(out)
    assert len(now) == 8
    assert before.items() <= now.items()
    assert not list(out.glob("*/*/*.part-*"))
    assert len(scores(out)) == 8


def test_a_model_that_cannot_be_loaded_leaves_the_others_alone(plan, tmp_path) -> None:
    content = yaml.safe_load(plan.read_text())
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{}")
    content["models"][1] = str(broken)
    plan.write_text(yaml.safe_dump(content))
    found = run(plan)
    assert found.returncode == 2
    assert "4 measured" in found.stdout
    told = [line for line in found.stderr.splitlines() if line.startswith("error: ")]
    assert len(told) == 1
    assert "error: broken, " in told[0]
    assert "Traceback" not in found.stderr
    assert len(done(tmp_path / "out")) == 4


def test_results_of_other_settings_are_replaced_only_where_that_is_said(plan, tmp_path) -> None:
    many = read_plan(plan, {"workers": 1})
    units = units_of(many)
    for unit in units:
        unit.folder.mkdir(parents=True)
        (unit.folder / DONE).write_text(unit.identity)
    assert run_many(many, units).n_before == 8
    shorter = read_plan(plan, {"workers": 1, "limit": 2})
    with pytest.raises(InputError, match="8 of 8 units have results of other settings"):
        run_many(shorter, units_of(shorter))
    assert all(unit.is_done for unit in units)


def test_two_calls_do_not_work_in_one_folder(plan, tmp_path) -> None:
    from filelock import FileLock

    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / "run-many.lock"):
        found = run(plan)
    assert found.returncode == 2
    assert "another process works in this folder" in found.stderr

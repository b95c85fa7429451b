"""lm-eval's command with our tasks: mistakes in a real process, foreign tasks, what it leaves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sentibench.errors import InputError
from sentibench.harness import command as lm_eval_command
from sentibench.versions import MissingPartError

MISTAKES = [
    (["--tasks", "sentibench_nothing"], "run --tasks: Tasks not found: sentibench_nothing"),
    (["--metadata", "demo_seed=abc"], "--metadata demo_seed: got 'abc'"),
    (["--metadata", "demo_sed=52"], "did you mean 'demo_seed'?"),
    (["--metadata", "split=dev"], "--metadata split: got 'dev', expected 'test' or 'val'"),
    (["--num_fewshot", "17"], "got 17, expected 0 to 16"),
    (["--output_path", "/dev/null/results"], "results could not be saved"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("flags", "message"), MISTAKES, ids=[" ".join(m[0]) for m in MISTAKES])
def test_a_mistake_in_lm_eval_is_one_line_and_exit_code_2(
    flags: list[str], message: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "sentibench", "run", "--model", "dummy"]
    done = subprocess.run(
        [*command, "--tasks", "sentibench_mini_sst2", *flags],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        ("run --tasks sentibench --model hf", True),
        ("run -t sentibench_mini_sst2,sentibench_basic sentibench_tasks --model hf", True),
        ("run --tasks sentibench,hellaswag", False),
        ("run --tasks hellaswag --tasks sentibench_sst2", False),
        ("run --tasks=hellaswag --tasks sentibench_sst2", False),
        ("run --tasks=sentibench_sst2 --model hf", True),
        ("run --tasks sentibench* --model hf", False),
        ("run --config a.yaml --tasks sentibench", False),
        ("run --tasks", False),
        ("ls tasks", False),
    ],
)
def test_foreign_task_files_are_read_only_where_foreign_tasks_are_asked_for(line, ours) -> None:
    from sentibench.harness.command import asks_for_ours_only

    assert asks_for_ours_only(line.split()) is ours


def test_the_run_command_leaves_lm_evals_manager_as_it_was(monkeypatch) -> None:
    from lm_eval import __main__ as command
    from lm_eval.tasks import TaskManager

    seen: list[bool] = []

    def evaluate() -> None:
        seen.append(TaskManager.__init__ is plain)
        raise ValueError("Tasks not found: sentibench_nothing")

    plain = TaskManager.__init__
    monkeypatch.setattr(command, "cli_evaluate", evaluate)
    monkeypatch.setattr(sys, "argv", ["lm_eval", "run", "--tasks", "sentibench_sst2"])
    with pytest.raises(InputError, match="ours: sentibench list"):
        lm_eval_command.run_command_line()
    assert seen == [False]
    assert TaskManager.__init__ is plain


def test_an_lm_eval_without_what_is_amended_is_named_with_the_tested_versions(monkeypatch) -> None:
    from lm_eval.config.evaluate_config import EvaluatorConfig

    monkeypatch.delattr(EvaluatorConfig, "process_tasks")
    monkeypatch.setattr(sys, "argv", ["lm_eval", "run", "--tasks", "sentibench_sst2"])
    with pytest.raises(MissingPartError) as caught:
        lm_eval_command.run_command_line()
    assert "a part is missing in lm-eval 0." in str(caught.value)
    assert "'process_tasks'; tested with lm-eval 0.4.13" in str(caught.value)


PLAIN = [
    (
        [sys.executable, "-m", "lm_eval"],
        ["--model", "sentibench-hf", "--model_args", "pretrained=x,batch_tokens=abc"],
        "batch_tokens: got 'abc'",
    ),
    (
        [str(Path(sys.executable).with_name("lm_eval"))],  # another way to the same command
        ["--model", "dummy", "--output_path", "/dev/null/results"],
        "--output_path /dev/null/results: results could not be saved",
    ),
]


@pytest.mark.parametrize(("program", "flags", "message"), PLAIN, ids=["module", "script"])
def test_a_mistake_is_one_line_of_plain_lm_eval(
    program: list[str], flags: list[str], message: str
) -> None:
    done = subprocess.run(
        [*program, "--tasks", "sentibench_mini_sst2", *flags],
        capture_output=True,
        text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert f"error: {message}" in done.stderr
    assert "Building contexts" not in done.stderr

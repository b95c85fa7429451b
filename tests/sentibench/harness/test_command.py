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
    (["--tasks", "sentibench_emotion21"], "--tasks: unknown name 'sentibench_emotion21'; did you"),
    (["--tasks", "hellaswagg"], "run --tasks: Tasks not found: hellaswagg"),
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


def test_the_run_command_amends_lm_eval_once_and_leaves_foreign_tasks_on(monkeypatch) -> None:
    from lm_eval import __main__ as command
    from lm_eval.tasks import TaskManager

    hook = pytest.importorskip("_sentibench_autoload")
    seen: list[object] = []

    def evaluate() -> None:
        seen.append((hook.foreign_tasks, TaskManager.__init__))
        raise ValueError("Tasks not found: hellaswagg")

    monkeypatch.setattr(command, "cli_evaluate", evaluate)
    monkeypatch.setattr(sys, "argv", ["lm_eval", "run", "--tasks", "sentibench_sst2"])
    for _ in range(2):
        with pytest.raises(InputError, match="hellaswagg; ours: sentibench list"):
            lm_eval_command.run_command_line()
    assert seen == [(False, TaskManager.__init__)] * 2
    assert hook.foreign_tasks


def test_an_lm_eval_without_what_is_amended_is_named_with_the_tested_versions(monkeypatch) -> None:
    from lm_eval.config.evaluate_config import EvaluatorConfig

    hook = pytest.importorskip("_sentibench_autoload")
    monkeypatch.setattr(hook, "amended", set())
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
        [sys.executable, "-m", "lm_eval"],
        ["--model", "sentibench-hf", "--model_args", "pretrained=missing/folder"],
        "--model_args pretrained=missing/folder: cannot be loaded; expected a folder",
    ),
    (
        [sys.executable, "-m", "lm_eval"],
        ["--model", "dummy", "--tasks", "hellaswag,sentibench_nosuch"],
        "--tasks: unknown name 'sentibench_nosuch'; known: sentibench, ",
    ),
    (
        [sys.executable, "-m", "lm_eval"],
        ["--model", "sentibench-fh"],
        "--model: unknown name 'sentibench-fh'; did you mean 'sentibench-hf'?",
    ),
    (
        [str(Path(sys.executable).with_name("lm_eval"))],  # another way to the same command
        ["--model", "dummy", "--output_path", "/dev/null/results"],
        "--output_path /dev/null/results: results could not be saved",
    ),
]


@pytest.mark.parametrize(("program", "flags", "message"), PLAIN, ids=range(5))
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
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert errors[0].startswith(f"error: {message}")
    assert "Building contexts" not in done.stderr


@pytest.mark.parametrize(
    ("path", "why"),
    [("/proc/nope", "No such file"), ("/dev/null/x", "Not a directory"), ("x" * 300, "too long")],
)
def test_a_folder_that_cannot_be_written_is_refused_whoever_runs(path: str, why: str) -> None:
    with pytest.raises(InputError, match=f"results could not be saved; got .*{why}"):
        lm_eval_command.refuse_unwritable_results(path)


def test_the_look_at_the_result_folder_leaves_nothing_behind(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    old = tmp_path / "old.json"
    old.write_text("{}", encoding="utf-8")
    for path in ("new/results", "new/all.json", "old.json", ".", str(tmp_path)):
        lm_eval_command.refuse_unwritable_results(path)
    assert list(tmp_path.iterdir()) == [old]


@pytest.mark.parametrize(
    ("message", "is_ours"),
    [
        ("Tasks not found: sentibench_nosuch, hellaswagg", True),
        ("Tasks not found: sentibnech_sst2", True),
        ("Tasks not found: hellaswagg", False),
        ("Tasks not found: sentibench_sst2", False),  # known, so lm-eval was not amended
        ("another: sentibench_nosuch", False),
    ],
)
def test_only_names_like_ours_are_explained_by_us(message: str, is_ours: bool) -> None:
    line = lm_eval_command.mistake_in(ValueError(message))
    assert ("unknown name 'sentib" in str(line)) is is_ours
    assert (line is None) is not is_ours


def test_a_card_that_is_not_there_is_named_as_a_file() -> None:
    line = lm_eval_command.mistake_in(ValueError("Tasks not found: cards/nosuch.yaml"))
    assert line
    assert line.startswith("--tasks: no such file cards/nosuch.yaml; expected the name of a task")

"""Per-document results, aggregation, and mistakes inside a real lm_eval process."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sentibench.data.cards import task_named
from sentibench.data.read import load_split
from sentibench.errors import InputError
from sentibench.evaluate_metrics import SentiBenchMetric
from sentibench.harness import command as lm_eval_command
from sentibench.harness import task as harness


def documents(name: str):
    task = task_named(name, "test")
    examples = load_split(task, "test").examples
    return [(harness.document_of(task, example), example) for example in examples]


def test_gold_labels_as_most_likely_choice_score_one_and_the_first_of_a_tie_wins() -> None:
    items = []
    for document, _ in documents("mini_emotion20"):
        chosen = np.arange(4) == document["gold"]
        results = harness.label_results(document, [(float(hit), False) for hit in chosen])
        assert results["acc"] == 1.0
        items.append(results["score"])
    assert harness.macro_f1(items) == 1.0
    # not 0: a label with 6 of 24 items is missing from some replicates and then counts as 0
    assert harness.macro_f1_stderr(items) < 0.02
    assert harness.label_results(document, [(-1.0, False)] * 4)["score"][1] == 0


def test_a_model_that_gives_nan_predicts_nothing() -> None:
    document, _ = documents("mini_sst2")[0]
    results = harness.label_results(document, [(float("nan"), False), (-1.0, False)])
    assert (results["acc"], results["invalid_rate"], results["score"][1]) == (0.0, 1.0, -1)
    assert harness.macro_f1([results["score"]]) == 0.0


def test_nothing_predicted_scores_zero_without_an_error_bar() -> None:
    items = [(0.0, 0.0, 0.0, 0.0)] * 3 + [(0.0, 0.0, 0.0, 2.0)]
    assert (harness.f1(items), harness.f1_stderr(items)) == (0.0, 0.0)


def test_only_lm_eval_itself_looks_at_its_command_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x", encoding="utf-8")
    lm_eval_command.refuse_unwritable_results(["train.py", "-o", str(file)])
    with pytest.raises(InputError, match="results could not be saved"):
        lm_eval_command.refuse_unwritable_results(["/bin/lm_eval", "-o", str(file)])


def test_swapped_labels_score_zero() -> None:
    items = []
    for document, _ in documents("mini_sst2"):
        wrong = [(float(i != document["gold"]), False) for i in range(2)]
        items.append(harness.label_results(document, wrong)["score"])
    assert harness.macro_f1(items) == 0.0


@pytest.mark.parametrize("name", ["mini_atsa_rest16", "mini_acsa_rest16", "mini_asqp_rest16"])
def test_gold_answers_as_generation_score_one(name: str) -> None:
    results = [
        harness.extraction_results(document, [f" {example.answer}\n\nSentence: more"])
        for document, example in documents(name)
    ]
    for key in ("score", "official_f1", "strict_f1"):
        assert harness.f1([row[key] for row in results]) == 1.0
    assert sum(row["invalid_rate"] for row in results) == 0
    shuffled = [results[i]["score"] for i in np.random.default_rng(3).permutation(len(results))]
    assert harness.f1_stderr(shuffled) == harness.f1_stderr([r["score"] for r in results])


def test_evaluate_metric_scores_like_the_command() -> None:
    gold = [example for _, example in documents("mini_opener")]
    scores = SentiBenchMetric("mini_opener").compute(
        predictions=[example.answer for example in gold],
        references=[example.index for example in gold],
    )
    assert scores is not None
    assert scores["strict"]["f1"] == 1.0
    with pytest.raises(InputError, match="foreign index; got 24"):
        SentiBenchMetric("mini_opener").compute(predictions=["[]"] * 24, references=range(1, 25))
    assert scores["official"]["f1"] < 1.0  # counts the all-NULL tuple that the prompt asks for


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


def test_a_mistake_in_model_args_is_one_line_of_plain_lm_eval(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "lm_eval", "--model", "sentibench-hf", "--tasks"),
            *("sentibench_mini_sst2", "--model_args", f"pretrained={tmp_path},batch_tokens=abc"),
        ],
        capture_output=True,
        text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "error: batch_tokens: got 'abc'" in done.stderr

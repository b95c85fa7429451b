"""Own tasks as lm-eval runs them: prompts, pins, splits, scores, and where they are found."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from sentibench.__main__ import main
from sentibench.data.card_form import CardFile
from sentibench.data.cards import load_tasks, task_named
from sentibench.data.pins import prompt_sha256, prompts_key
from sentibench.data.read import load_split
from sentibench.errors import InputError, SentiBenchError
from sentibench.harness.check import check_data
from sentibench.harness.task import render_prompts, task_manager
from sentibench.prompts.demonstrations import draw_demonstrations
from sentibench.prompts.few_shot import render_few_shot

ROOT = Path(__file__).parents[3]
HOOK = ROOT / "sentibench" / "harness" / "startup"
LABELS = ("complaint", "praise", "a question")


def new_labels(name: str = "reviews", *options: str) -> None:
    rows = [
        (f'{split} 😀 "{n}", {{{{ 7*7 }}}}', LABELS[n % 3]) for split in "abc" for n in range(9)
    ]
    for split, letter in (("test", "a"), ("train", "b"), ("val", "c")):
        lines = [{"text": text, "label": label} for text, label in rows if text[0] == letter]
        Path(f"{split}.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    tables = ["--test", "test.jsonl", "--train", "train.jsonl", "--val", "val.jsonl"]
    assert main(["task", "new", name, *tables, *options]) == 0


def new_opinions(name: str = "opinions") -> None:
    for split in ("test", "train"):
        rows = [
            {"text": f"{split} {n}: tea", "aspect": "tea", "polarity": ("good", "bad")[n % 2]}
            for n in range(6)
        ]
        Path(f"{split}_o.json").write_text(json.dumps(rows), encoding="utf-8")
    tables = ["--test", "test_o.json", "--train", "train_o.json"]
    assert main(["task", "new", name, *tables, "--elements", "aspect,polarity"]) == 0


@pytest.mark.parametrize("name", ["reviews", "opinions"])
def test_prompts_are_those_of_the_package_and_of_the_pins(name: str, desk: Path) -> None:
    new_labels()
    new_opinions()
    task = task_named(name, "test")
    train, test = (load_split(task, split).examples for split in ("train", "test"))
    assert len(test) in (9, 6)
    for seed, pinned in task.pins.prompts.items():
        asked = [row["prompt"] for row in render_prompts(task, seed=seed, shots=4, limit=None)]
        drawn = draw_demonstrations(seed, len(train), len(test), 4)
        assert asked == [
            render_few_shot(
                task.card.instruction,
                [(train[place].sentence, train[place].answer) for place in places],
                item.sentence,
            )
            for item, places in zip(test, drawn, strict=True)
        ]
        assert prompts_key(asked) == pinned
    assert len(task.pins.prompts) == 3


@pytest.fixture
def program() -> Any:
    """The program that writes the pins of our cards."""
    spec = importlib.util.spec_from_file_location("pin_cards", ROOT / "docs" / "pin_cards.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_card_of_ours_gets_its_pins_whether_it_had_some_or_not(program: Any) -> None:
    pinned = (program.CARDS / "sst2.yaml").read_text(encoding="utf-8")
    pins = yaml.safe_load(pinned)["pins"]
    bare = pinned[: pinned.index("\npins:")]
    assert CardFile.model_validate(yaml.safe_load(bare)).pins == {}
    assert program.with_pins(bare, pins) == program.with_pins(pinned, pins) == pinned


def test_pins_are_those_of_the_program_that_pins_ours(desk: Path, program: Any) -> None:
    new_labels()
    new_opinions()
    for name in ("reviews", "opinions"):
        pins = task_named(name, "test").pins
        assert program.pins_of(task_named(name, "test")) == {
            "items": pins.items,
            "prompts": dict(pins.prompts),
        }


def test_demonstrations_of_the_card_are_shown_to_every_item_in_their_order(desk: Path) -> None:
    lines = ["text,label", "One,praise", "Two,complaint", "Three,a question"]
    Path("shown.csv").write_text("\n".join(lines), encoding="utf-8")
    new_labels("reviews", "--demonstrations", "shown.csv")
    task = task_named("reviews", "test")
    prompts = [row["prompt"] for row in render_prompts(task, seed=52, shots=3, limit=None)]
    shown = [("One", "praise"), ("Two", "complaint"), ("Three", "a question")]
    texts = [item.sentence for item in load_split(task, "test").examples]
    instruction = task.card.instruction
    assert prompts == [render_few_shot(instruction, shown, text) for text in texts]
    assert set(task.pins.prompts.values()) == {prompts_key(prompts)}
    fewer = next(render_prompts(task, seed=42, shots=1, limit=1))["prompt"]
    assert fewer == render_few_shot(instruction, shown[:1], texts[0])
    with pytest.raises(InputError, match="got 4, expected 0 to 3"):
        next(render_prompts(task, seed=42, shots=4, limit=1))


def test_a_target_is_asked_about(desk: Path) -> None:
    Path("t.csv").write_text("text,who,label\nYes!,Ann,pro\nNo!,100%s,con\n", encoding="utf-8")
    arguments = ["--target", "who", "--instruction", "And what of %s?"]
    assert main(["task", "new", "stance", "--test", "t.csv", *arguments]) == 0
    task = task_named("stance", "test")
    prompts = [row["prompt"] for row in render_prompts(task, seed=42, shots=0, limit=None)]
    first_lines = [prompt.partition("\n")[0] for prompt in prompts]
    assert first_lines == ["And what of Ann?", "And what of 100%s?"]
    assert prompts_key(prompts) == task.pins.prompts[42]


def test_the_val_split_can_be_asked_and_a_lacking_one_is_named(desk: Path) -> None:
    new_labels()
    new_opinions()
    built = task_manager(split="val").load(["reviews"])["tasks"]["reviews"]
    assert [doc["sentence"][0] for doc in built.test_docs()] == ["c"] * 9
    with pytest.raises(SentiBenchError, match="opinions: no split 'val'; known: "):
        task_manager(split="val").load(["opinions"])


def test_check_of_a_named_task_asks_for_no_other_data(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    new_labels()
    monkeypatch.setenv("SENTIBENCH_HOME", str(desk / "empty"))
    assert main(["check", "reviews"]) == 0
    found = capsys.readouterr().out.splitlines()
    subjects = {line.split()[1].strip(":") for line in found if line.startswith("ok ")}
    assert {"reviews", "reviews/test"} < subjects
    assert not any("sentibench_" in subject for subject in subjects)
    assert main(["check", "sentibench_mini"]) == 0
    assert "ok  sentibench_mini: lm-eval knows it" in capsys.readouterr().out
    assert main(["check", "reviewz"]) == 2
    assert "unknown name 'reviewz'; did you mean 'reviews'" in capsys.readouterr().err


def test_check_says_that_the_prompts_of_a_card_were_changed_by_hand(desk: Path) -> None:
    new_labels()

    def findings() -> dict[str, tuple[bool, str]]:
        found = (finding for finding in check_data() if "reviews" in finding.subject)
        return {finding.subject: (finding.ok, finding.detail) for finding in found}

    assert [ok for ok, _ in findings().values()] == [True] * 3
    path = desk / "sentibench_tasks" / "reviews.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("Which label", "What label"), encoding="utf-8")
    from sentibench.data.cards import forget_own_tasks

    forget_own_tasks()
    ok, detail = findings()["reviews/test"]
    assert not ok
    assert "reviews.yaml: pins: got hashes of other prompts than the card makes" in detail
    assert "write it with: sentibench task new reviews --force --test " in detail


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a module of Python beside the start-up hook of this tree."""
    paths = os.pathsep.join(map(str, (HOOK, ROOT)))
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": paths, "HF_HUB_OFFLINE": "1"} | environment,
    )


RUN = ("--model", "dummy", "--output_path", "out", "--log_samples", "--tasks")


def samples_of(name: str) -> list[dict]:
    (path,) = Path("out").rglob(f"samples_{name}_*.jsonl")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_our_run_finds_them_beside_itself_and_scores_as_score_does(desk: Path, capsys) -> None:
    new_labels()
    new_opinions()
    done = command("sentibench", "run", *RUN, "reviews,opinions", SENTIBENCH_NO_AUTOLOAD="1")
    assert done.returncode == 0, done.stderr
    (path,) = Path("out").rglob("results_*.json")
    results = json.loads(path.read_text(encoding="utf-8"))["results"]
    for name, n_items in (("reviews", 9), ("opinions", 6)):
        samples = sorted(samples_of(name), key=lambda sample: sample["doc"]["index"])
        assert len(samples) == n_items
        prompts = [row["arguments"]["gen_args_0"]["arg_0"] for row in samples]
        assert prompts_key(prompts) == task_named(name, "test").pins.prompts[42]
        assert prompt_sha256(prompts[0]) == samples[0]["prompt_hash"]
        with Path("p.jsonl").open("w", encoding="utf-8") as file:
            for row in samples:
                if name == "reviews":
                    answer = task_named(name, "test").card.labels[row["score"][1]]
                else:
                    answer = row["resps"][0][0]
                line = {"index": row["doc"]["index"], "prediction": answer}
                file.write(json.dumps(line) + "\n")
        capsys.readouterr()
        assert main(["score", name, "p.jsonl", "--json", "--raw"]) == 0
        scores = json.loads(capsys.readouterr().out)
        for measure in ("score", "score_stderr"):
            assert results[name][f"{measure},none"] == pytest.approx(scores[measure], abs=1e-12)


def ran(done: subprocess.CompletedProcess[str], *names: str) -> bool:
    assert done.returncode == 0, done.stderr[-2000:]
    return all(f"|{name}" in done.stdout for name in names)


def test_plain_lm_eval_finds_them_by_the_variable_in_two_folders(desk: Path) -> None:
    new_labels("reviews", "--out", "first")
    new_labels("more", "--out", "second")
    found = os.pathsep.join(("first", "second"))
    done = command("lm_eval", "--model", "dummy", "--tasks", "reviews,more", SENTIBENCH_TASKS=found)
    assert ran(done, "reviews", "more")


@pytest.mark.parametrize("switch", [pytest.param("", marks=pytest.mark.slow), "1"])
def test_plain_lm_eval_finds_them_by_its_own_option(switch: str, desk: Path) -> None:
    new_labels("reviews", "--out", "first")
    new_opinions()  # in another folder, which is not asked for
    options = ("--model", "dummy", "--include_path", "first", "--tasks", "reviews")
    assert ran(command("lm_eval", *options, SENTIBENCH_NO_AUTOLOAD=switch), "reviews")


def mistake_of(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "module", [pytest.param(("lm_eval",), marks=pytest.mark.slow), ("sentibench", "run")]
)
def test_a_broken_card_is_one_line_of_each_command(module: Sequence[str], desk: Path) -> None:
    new_labels()
    path = desk / "sentibench_tasks" / "reviews.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("- name: praise", "- 5"), encoding="utf-8")
    options = ("--model", "dummy", "--tasks", "reviews")
    done = command(*module, *options, SENTIBENCH_TASKS="sentibench_tasks")
    assert "reviews.yaml: labels.2: got 5, expected text; put it in quotes" in mistake_of(done)


def test_a_broken_card_does_not_hide_the_mistakes_of_others(desk: Path, monkeypatch) -> None:
    from sentibench.harness.command import mistake_in

    (desk / "sentibench_tasks").mkdir()
    broken = "class: !function sentibench.harness.LabelTask\nx: ["
    Path("sentibench_tasks", "broken.yaml").write_text(broken, encoding="utf-8")
    with pytest.raises(InputError):
        load_tasks()
    assert mistake_in(ZeroDivisionError("not ours")) is None
    assert "broken.yaml" in str(mistake_in(ValueError("Tasks not found: reviews")))

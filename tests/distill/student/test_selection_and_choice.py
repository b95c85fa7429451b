"""What is chosen by measurement: hard samples, the best checkpoint of a training."""

import json
from pathlib import Path

import numpy as np
import pytest
from small_runs import samples, settings

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from distill.config import BestCheckpoint  # noqa: E402
from distill.selection.difficulty import token_difficulty  # noqa: E402
from distill.selection.difficulty_of_samples import measure_confidence, measure_difficulty  # noqa: E402
from distill.student import evaluation  # noqa: E402
from distill.student.samples import Sample  # noqa: E402
from distill.student.training import load_student, train  # noqa: E402


def test_difficulty_is_that_of_the_plain_model_whatever_the_batches(tiny_student: Path) -> None:
    given = samples(9)
    found = measure_difficulty(given, str(tiny_student), 512, 64)
    one_batch = measure_difficulty(given, str(tiny_student), 512, 100_000)
    assert found == pytest.approx(one_batch, abs=1e-6)
    tokenizer, model = load_student(str(tiny_student))
    for sample in given:
        n_prompt = len(tokenizer(sample.prompt)["input_ids"])
        ids = tokenizer(f"{sample.prompt} {sample.response}")["input_ids"]
        with torch.inference_mode():
            log_p_TV = model.eval()(torch.tensor([ids])).logits[0].log_softmax(-1).numpy()
        expected = token_difficulty(log_p_TV[n_prompt - 1 : -1], np.array(ids[n_prompt:]))
        assert found[sample.id] == pytest.approx(expected, abs=1e-6)


def test_confidence_is_the_teachers_less_the_students(tiny_student: Path) -> None:
    labels, target = ("warm", "cold film"), (0.9, 0.1)
    plain, other = samples(2)
    given = Sample("soft", plain.prompt, "warm", plain.text, "", (), labels, target)
    turned = Sample("turned", plain.prompt, labels[1], plain.text, "", (), labels, target[::-1])
    found = measure_confidence([given, turned, other], str(tiny_student))
    tokenizer, model = load_student(str(tiny_student))
    n_prompt = len(tokenizer(plain.prompt)["input_ids"])
    said = []
    for label in labels:
        ids = tokenizer(f"{plain.prompt} {label}")["input_ids"]
        with torch.inference_mode():
            table = model.eval()(torch.tensor([ids])).logits[0].log_softmax(-1)
        said.append(sum(float(table[n - 1, ids[n]]) for n in range(n_prompt, len(ids))))
    warm, cold = (
        torch.tensor(said).softmax(0).tolist()
    )  # one is below a half: a student may be wrong
    expected = {"soft": 0.9 - warm, "turned": 0.9 - cold}
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_checkpoint_with_the_best_validation_score_is_taken(
    method: str, tiny_student: Path, tmp_path: Path, monkeypatch
) -> None:
    choice = BestCheckpoint(
        checkpoints=3, tasks=("sentibench_sst2", "sentibench_twitter17"), limit=8
    )
    trained = tmp_path / "train"
    train(str(tiny_student), samples(), settings(choose=choice, method=method), trained, seed=1)
    names = [path.name for path in sorted((trained / "candidates").iterdir())]
    assert names == ["step-000004", "step-000008"]  # of 12 steps
    asked: list[tuple[str, str, int | None]] = []

    def evaluate(checkpoint, tasks, out, *, limit, adapter, split, trust_remote_code):
        assert (adapter is None) == (method == "full")
        asked.append((out.name, split, limit))
        best = out.name == "step-000008"
        return {name: {"score,none": 0.6 if best else 0.5} for name in tasks}

    monkeypatch.setattr(evaluation, "evaluate", evaluate)
    folder = tmp_path / "choose"
    folder.mkdir()
    summary = evaluation.choose_best(str(tiny_student), trained, choice, folder)
    assert summary["chosen"] == "step-000008"
    assert asked == [(name, "val", 8) for name in (*names, "weights")]
    file = next(path.name for path in (folder / "weights").glob("*model.safetensors"))
    chosen, last = ((f / file).read_bytes() for f in (folder / "weights", trained / "weights"))
    assert chosen == (trained / "candidates" / "step-000008" / file).read_bytes()
    assert chosen != last
    assert json.loads((folder / "development.json").read_text())["chosen"] == "step-000008"


def test_settings_are_never_chosen_on_test_items() -> None:
    for name in ("sentibench_acsa_rest16", "sentibench_mini_sst2", "sentibench"):
        with pytest.raises(ValueError, match="has no validation split"):
            BestCheckpoint(tasks=(name,))


@pytest.mark.realdata
def test_validation_items_are_other_items_than_those_of_the_test(
    real_home, tiny_student, tmp_path
) -> None:
    from distill.student.evaluation import evaluate

    documents = {}
    for split in ("test", "val"):
        out = tmp_path / split
        for task in ("sentibench_sst2", "sentibench_asqp_rest16"):
            evaluate(str(tiny_student), (task,), out / task, limit=3, split=split)
        rows = [
            json.loads(line)
            for path in sorted(out.rglob("samples_*.jsonl"))
            for line in path.read_text().splitlines()
        ]
        documents[split] = {row["doc"]["sentence"] for row in rows}
        assert {row["doc"].get("split", "test") for row in rows} == {split}
    assert len(documents["val"]) >= 6
    assert not documents["test"] & documents["val"]
    from leaderboard.__main__ import main as leaderboard

    assert leaderboard(["check", str(tmp_path / "val")]) != 0

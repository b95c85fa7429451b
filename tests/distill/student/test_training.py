"""Training: the loss of the full logits, the same curve after a kill, a merge that is checked."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from small_runs import SHARDED, launch_two, samples, settings

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from distill.config import BestCheckpoint  # noqa: E402
from distill.student import training  # noqa: E402
from distill.student.merging import MergeError, merge  # noqa: E402
from distill.student.samples import Encoded  # noqa: E402
from distill.student.training import _collate, _row, cut_by_tokens, load_student, train  # noqa: E402
from sentibench.errors import InputError  # noqa: E402
from sentibench.fast.attention import NAME as BLOCKS  # noqa: E402


def losses(folder: Path) -> list[float]:
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [json.loads(line)["loss_nats_per_token"] for line in lines]


def test_the_first_loss_is_that_of_the_full_logits(tiny_student: Path, tmp_path: Path) -> None:
    given = samples(4)
    train(str(tiny_student), given, settings(epochs=1), tmp_path, seed=1)
    tokenizer, model = load_student(str(tiny_student))
    total = n_tokens = 0.0
    for sample in given:
        prompt = tokenizer(sample.prompt)["input_ids"]
        ids = [*tokenizer(f"{sample.prompt} {sample.response}")["input_ids"], 1]
        log_p = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        for place in range(len(prompt), len(ids)):
            total -= float(log_p[place - 1, ids[place]])
            n_tokens += 1
    assert losses(tmp_path)[0] == pytest.approx(total / n_tokens, rel=1e-4)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_student_learns_and_the_merged_checkpoint_computes_the_same(
    method: str, tiny_student: Path, tmp_path: Path
) -> None:
    summary = train(
        str(tiny_student),
        samples(),
        settings(method=method, epochs=4, learning_rate=2e-2),
        tmp_path,
        seed=1,
    )
    curve = losses(tmp_path)
    assert summary["steps"] == len(curve) == 24
    assert curve[-1] < curve[0] - 0.5
    gap = merge(str(tiny_student), tmp_path / "weights", tmp_path / "student", ["a text"])
    assert gap < 1e-3
    _, merged = load_student(str(tmp_path / "student"))
    _, before = load_student(str(tiny_student))
    ids = torch.tensor([[5, 6, 7]])
    assert (merged(ids).logits - before(ids).logits).abs().max() > 0.1  # it is not the old one


def test_a_training_prints_nothing_but_a_bar_with_all_its_steps(
    tiny_student: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    train(str(tiny_student), samples(), settings(epochs=1), tmp_path / "icldist-train", seed=1)
    shown = capsys.readouterr()
    assert shown.out == ""
    n_steps = len(losses(tmp_path / "icldist-train"))
    assert "icldist-train: 100%" in shown.err
    assert f"| {n_steps}/{n_steps} [" in shown.err


def test_a_training_of_one_step_moves_the_weights(tiny_student: Path, tmp_path: Path) -> None:
    train(str(tiny_student), samples(4), settings(epochs=1), tmp_path, seed=1)
    assert merge(str(tiny_student), tmp_path / "weights", tmp_path / "merged", ["a film"]) < 1
    plain, moved = (load_student(str(path))[1] for path in (tiny_student, tmp_path / "merged"))
    gaps = [
        (a - b).abs().max() for a, b in zip(plain.parameters(), moved.parameters(), strict=True)
    ]
    assert max(gaps) > 0


def test_a_constant_rate_warms_up_too(tiny_student: Path, tmp_path: Path) -> None:
    given = settings(epochs=1, schedule="constant", warmup_share=0.5, learning_rate=0.1)
    train(str(tiny_student), samples(), given, tmp_path, seed=1)
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    rates = [json.loads(line)["learning_rate"] for line in lines]
    half = len(rates) // 2
    assert rates[0] == 0
    assert rates[half:] == [0.1] * (len(rates) - half)


@pytest.mark.parametrize("where", ["cpu", "gpu", "too little memory"])
def test_attention_is_computed_in_blocks_on_the_cpu_alone(
    where: str, tiny_student: Path, tmp_path: Path, monkeypatch
) -> None:
    found = set()
    step = training.StudentTrainer.training_step

    def looking(self, model, *given, **named):
        found.add(model.get_base_model().config._attn_implementation)
        return step(self, model, *given, **named)

    monkeypatch.setattr(training.StudentTrainer, "training_step", looking)
    monkeypatch.setattr(training, "_arguments", partial(_on_cpu, training._arguments))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: where == "gpu")
    if where == "too little memory":
        monkeypatch.setattr(training, "WEIGHTS", 1000)
    train(str(tiny_student), samples(4), settings(epochs=1), tmp_path, seed=1)
    assert found == {BLOCKS if where == "cpu" else "sdpa"}


def test_quantised_weights_see_no_pass_without_gradients(tiny_student: Path) -> None:
    _, model = load_student(str(tiny_student))
    model.is_quantized = True
    training.attend_fast(model, 64, 64)
    assert model.config._attn_implementation == "sdpa"


def _on_cpu(make, *given):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        return make(*given)


def test_more_candidates_than_steps_are_refused_before_the_training(
    tiny_student: Path, tmp_path: Path
) -> None:
    given = settings(choose=BestCheckpoint(checkpoints=2), batch_size=24, epochs=1)
    with pytest.raises(InputError, match=r"choose\.checkpoints: got 2 for 1 step"):
        train(str(tiny_student), samples(), given, tmp_path, seed=1)


def test_how_a_batch_is_cut_does_not_change_the_curve(tiny_student: Path, tmp_path: Path) -> None:
    for name, batch_tokens in (("whole", 10_000), ("cut", 32)):
        given = settings(batch_tokens=batch_tokens)
        train(str(tiny_student), samples(), given, tmp_path / name, seed=1)
    assert losses(tmp_path / "cut") == pytest.approx(losses(tmp_path / "whole"), rel=1e-3)


def test_a_batch_is_cut_by_tokens_with_the_longest_first() -> None:
    examples = [Encoded(str(n), tuple(range(n)), 1, 0) for n in (4, 9, 5, 3)]
    batch = _collate(list(map(_row, examples)))
    shapes = [tuple(part["input_ids"].shape) for part in cut_by_tokens(batch, 10)]
    assert shapes == [(1, 9), (2, 5), (1, 3)]


TRAIN = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from small_runs import samples, settings
from distill.student.training import train  # noqa: E402
train({student!r}, samples(), settings(epochs=6), Path({folder!r}), seed=3, save_every_s=0.05)
"""


@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_curve(tiny_student: Path, tmp_path: Path) -> None:
    train(str(tiny_student), samples(), settings(epochs=6), tmp_path / "whole", seed=3)
    folder = tmp_path / "killed"
    given = {"tests": str(Path(__file__).parents[1]), "student": str(tiny_student)}
    code = TRAIN.format(**given, folder=str(folder))
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    child = subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.DEVNULL, env=environment
    )
    while child.poll() is None and not list(folder.glob("checkpoints/*/trainer_state.json")):
        time.sleep(0.01)
    time.sleep(0.2)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not (folder / "training.json").exists(), "it was through before it could be killed"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=environment)
    assert losses(folder) == pytest.approx(losses(tmp_path / "whole"), rel=1e-3)


def test_a_training_killed_while_it_publishes_can_be_finished(tiny_student, tmp_path) -> None:
    given = (str(tiny_student), samples(4), settings(epochs=1), tmp_path)
    train(*given, seed=1)
    (tmp_path / "training.json").unlink()  # the weights were there, the summary was not
    assert train(*given, seed=1)["steps"] == 1
    assert (tmp_path / "training.json").is_file()


def test_a_missing_package_is_that_of_the_setting_or_of_the_model(
    tiny_student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacks(*_: object, **__: object) -> None:
        raise ImportError("This needs\nsomething")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", lacks)
    with pytest.raises(InputError, match=r"^student: .* got This needs something; install that"):
        load_student(str(tiny_student))
    monkeypatch.setattr("distill.student.training.BitsAndBytesConfig", dict)
    with pytest.raises(InputError, match=r"^training.method: qlora needs the package bitsandbytes"):
        load_student(str(tiny_student), four_bits=True)


def test_a_base_in_four_bits_learns_and_merges(tiny_student: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    train(str(tiny_student), samples(), settings(method="qlora"), tmp_path, seed=1)
    curve = losses(tmp_path)
    assert curve[-1] < curve[0] - 0.2
    train(str(tiny_student), samples(), settings(), tmp_path / "lora", seed=1)
    whole = losses(tmp_path / "lora")
    assert curve != whole
    assert curve == pytest.approx(whole, rel=0.02)
    merge(str(tiny_student), tmp_path / "weights", tmp_path / "student", ["a text"])
    assert (tmp_path / "student" / "model.safetensors").is_file()


LAUNCHED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from small_runs import samples, settings
from distill.student.training import train  # noqa: E402
train({student!r}, samples(22), settings(epochs=3), Path({folder!r}), seed=3)
"""


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(tiny_student: Path, tmp_path: Path) -> None:
    train(str(tiny_student), samples(22), settings(epochs=3), tmp_path / "one", seed=3)
    program = tmp_path / "launched.py"
    given = {"tests": str(Path(__file__).parents[1]), "student": str(tiny_student)}
    program.write_text(LAUNCHED.format(**given, folder=str(tmp_path / "two")))
    launch_two(str(program))
    assert json.loads((tmp_path / "two" / "training.json").read_text())["processes"] == 2
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)


SHARDED_ON_CPUS = """
from accelerate.state import AcceleratorState, DistributedType, PartialState
# accelerate shards weights between accelerators alone: two processes on CPUs count as such here
begin = AcceleratorState.__init__
def begin_sharded(self, *given, **more):
    if PartialState._shared_state.get("distributed_type") == DistributedType.MULTI_CPU:
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
    begin(self, *given, **more)
AcceleratorState.__init__ = begin_sharded
"""


def weights_of(folder: Path):
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


@pytest.mark.slow
def test_two_processes_with_sharded_weights_learn_what_one_learns(
    tiny_student: Path, tmp_path: Path
) -> None:
    # so few tokens at once that the processes have different numbers of parts
    given = {"epochs": 3, "method": "full", "batch_tokens": 24}
    train(str(tiny_student), samples(22), settings(**given), tmp_path / "one", seed=3)
    program = tmp_path / "launched.py"
    places = {"tests": str(Path(__file__).parents[1]), "student": str(tiny_student)}
    launched = LAUNCHED.format(**places, folder=str(tmp_path / "two"))
    program.write_text(SHARDED_ON_CPUS + launched.replace("epochs=3", f"**{given}"))
    launch_two(str(program), how=SHARDED)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)
    one, two = (weights_of(tmp_path / name / "weights") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, weight in one.items():
        assert torch.allclose(weight, two[name], atol=1e-4), name


def test_a_folder_without_weights_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="cannot be loaded"):
        load_student(str(tmp_path / "empty"))


def test_a_merge_that_computes_something_else_is_refused(
    tiny_student: Path, tmp_path: Path, monkeypatch
) -> None:
    from peft import LoraModel

    train(str(tiny_student), samples(4), settings(epochs=4), tmp_path, seed=1)
    monkeypatch.setattr(LoraModel, "merge_and_unload", LoraModel.unload)  # the adapter is lost
    with pytest.raises(MergeError, match="the logits before and after differ"):
        merge(str(tiny_student), tmp_path / "weights", tmp_path / "student", ["a text"])
    assert not (tmp_path / "student").exists()


def test_steps_are_sent_where_the_settings_say(tiny_student: Path, tmp_path: Path, monkeypatch):
    """A stand-in for trackio: what transformers' own callback hands it."""
    names, sent = [], []
    fake = ModuleType("trackio")
    fake.__spec__ = ModuleSpec("trackio", None)
    space = SimpleNamespace(current_space_id=SimpleNamespace(get=lambda: None))
    nothing = {"finish": lambda: None, "config": {}}
    fake.__dict__.update(nothing, context_vars=space, log=lambda row, **_: sent.append(row))
    fake.init = lambda **given: names.append((given["project"], given["name"]))
    monkeypatch.setitem(sys.modules, "trackio", fake)
    folder = tmp_path / "run" / "icldist-train"
    folder.mkdir(parents=True)
    train(str(tiny_student), samples(4), settings(report_to=("trackio",)), folder, seed=1)
    assert names == [("sentibench", "run-icldist-train")]
    assert len([row for row in sent if "train/loss" in row]) == 2
    train(str(tiny_student), samples(4), settings(), tmp_path, seed=1)
    assert len(names) == 1


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_auto_precision_is_what_the_processor_is_fast_in(dtype: str, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(training, "cpu_dtype", lambda: dtype)
    auto, given = settings(precision="auto"), settings(precision="float32")
    assert (training.precision_of(auto), training.precision_of(given)) == (dtype, "float32")

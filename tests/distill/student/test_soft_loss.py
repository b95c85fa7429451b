"""The loss on distributions against its plain formula, sequence by sequence, with autograd."""

import json
from pathlib import Path

import pytest
from small_runs import samples

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from transformers import AutoConfig, AutoModelForCausalLM  # noqa: E402

from distill.config import ICLDistTraining  # noqa: E402
from distill.student.samples import Sample, SampleFiles, encode_samples, write_samples  # noqa: E402
from distill.student.soft_loss import SoftLoss  # noqa: E402
from distill.student.training import (  # noqa: E402
    StudentTrainer,
    _collate,
    _row,
    load_student,
    soft_loss_of,
    train,
)
from distill.student.words import branch, takes_branches  # noqa: E402
from sentibench.fast.attention import NAME as BLOCKS  # noqa: E402
from sentibench.fast.attention import attend_in_blocks  # noqa: E402
from sentibench.fast.head_positions import HeadPositions  # noqa: E402

SHORT = (("positive", "negative"), (0.7, 0.3))
LONG = (("positive", "not so good at all", "neutral film"), (0.2, 0.5, 0.3))


def soft(sample: Sample, labels: tuple[str, ...], target: tuple[float, ...]) -> Sample:
    response = labels[target.index(max(target))]
    return Sample(
        f"{sample.id}/{len(labels)}", sample.prompt, response, sample.text, "", (), labels, target
    )


def mixed_batch() -> list[Sample]:
    """Rows with labels of one token and of several, of two and of three labels, and without."""
    first, second, third, fourth = samples(4)
    return [soft(first, *SHORT), second, soft(third, *LONG), soft(fourth, *SHORT)]


def log_p(model, tokenizer, text: str, continuation: str) -> list:
    """Of each token of a continuation, and of the end of the text after it."""
    before = len(tokenizer(text)["input_ids"])
    ids = [*tokenizer(f"{text} {continuation}")["input_ids"], tokenizer.eos_token_id]
    table = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return [table[place - 1, ids[place]] for place in range(before, len(ids))]


def scores(model, tokenizer, sample: Sample):
    said = [log_p(model, tokenizer, sample.prompt, label)[:-1] for label in sample.labels]
    return torch.stack([sum(one) for one in said])


def plain_loss(model, tokenizer, batch: list[Sample], weight: float, temperature: float):
    """The formula of the module, one sequence after the other."""
    total = torch.zeros(())
    n_tokens = 0
    for sample in batch:
        *answer, end = log_p(model, tokenizer, sample.prompt, sample.response)
        n_tokens += len(answer) + 1
        share = weight if sample.labels else 0.0
        total = total - (1 - share) * sum(answer) - end
        if sample.labels:
            q = (scores(model, tokenizer, sample) / temperature).log_softmax(0)
            p = (torch.tensor(sample.target).log() / temperature).log_softmax(0)
            total = total + weight * temperature**2 * (p.exp() * (p - q)).sum()
    return total / n_tokens


def tiny_model(kind: str, vocabulary: int):
    """A random model; those with a window of 4 see no whole prompt."""
    sizes = {"vocab_size": vocabulary, "hidden_size": 16, "intermediate_size": 32}
    sizes |= {"num_hidden_layers": 3, "num_attention_heads": 2, "num_key_value_heads": 1}
    sizes |= {"head_dim": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    layers = ["sliding_attention", "full_attention", "sliding_attention"]
    given = {
        "llama": {},
        "mistral": {"sliding_window": 4},
        "qwen2": {},
        "gemma3_text": {"sliding_window": 4, "layer_types": layers},
    }
    config = AutoConfig.for_model(kind, **sizes, **given[kind])
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for parameter in model.parameters():  # else all logits are nearly equal
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def trainer_of(model, loss: SoftLoss, has_branches: bool):
    trainer = object.__new__(StudentTrainer)
    trainer.model, trainer.positions, trainer.soft = model, HeadPositions(model), loss
    trainer.has_branches = has_branches
    trainer.accelerator = type("One", (), {"num_processes": 1})()
    return trainer


@pytest.mark.parametrize(("weight", "temperature"), [(1.0, 1.0), (0.5, 1.0), (0.3, 2.0)])
@pytest.mark.parametrize(
    "kind",
    ["llama", "mistral", "qwen2", "gemma3_text", "llama, whole", "qwen2, blocks", "gemma3, blocks"],
)
def test_loss_and_gradient_are_those_of_the_plain_formula(
    kind: str, weight: float, temperature: float, tiny_student: Path
) -> None:
    kind, _, way = kind.replace("gemma3,", "gemma3_text,").partition(", ")
    tokenizer, _ = load_student(str(tiny_student))
    model = tiny_model(kind, len(tokenizer))
    batch = mixed_batch()
    expected = plain_loss(model, tokenizer, batch, weight, temperature)
    expected.backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()

    loss = SoftLoss(weight, temperature)
    examples = encode_samples(batch, tokenizer, 512).examples
    assert max(len(word) for example in examples for word in example.words) > 1
    inputs = loss.collate(_collate)(list(map(_row, examples)))
    if way == "blocks":
        attend_in_blocks(model)
        assert model.config._attn_implementation == BLOCKS
    assert takes_branches(model)
    got = trainer_of(model, loss, has_branches=way != "whole").compute_loss(model, inputs)
    assert got.item() == pytest.approx(expected.item(), rel=1e-5)
    got.backward()
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert torch.allclose(parameter.grad, gradient, atol=1e-6, rtol=1e-4)


def test_a_model_with_an_attention_of_its_own_gets_no_branches() -> None:
    model = tiny_model("llama", 64)
    assert takes_branches(model)
    for layer in model.model.layers:  # as code that comes with a checkpoint may do
        layer.self_attn.config = type(model.config)(**model.config.to_dict())
        layer.self_attn.config._attn_implementation = "sdpa"
    assert not takes_branches(model)


def test_no_position_is_further_than_the_longest_row() -> None:
    ids_BT, words_BKL = torch.ones(2, 12, dtype=torch.long), torch.full((2, 2, 4), 7)
    ends = torch.tensor([12, 11])
    branches = branch(ids_BT, words_BKL, torch.tensor([1]), torch.tensor([10, 5]), ends)
    assert branches.ids_BX.shape[1] == 17
    assert int(branches.positions_BX.max()) == 11  # a model of 12 learned positions has no other


def test_a_model_that_keeps_its_windows_in_masks_gets_no_branches() -> None:
    sizes = {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 2, "num_key_value_heads": 1, "sliding_window": 24}
    sizes |= {"use_sliding_window": True, "layer_types": ["sliding_attention"] * 2}
    sizes |= {"num_experts": 2, "moe_intermediate_size": 8, "shared_expert_intermediate_size": 8}
    config = AutoConfig.for_model("qwen2_moe", num_experts_per_tok=1, **sizes)
    assert not takes_branches(AutoModelForCausalLM.from_config(config))


def test_samples_without_distributions_have_the_hard_loss(
    tiny_student: Path, tmp_path: Path
) -> None:
    curves = []
    for name in ("hard", "soft"):
        given = ICLDistTraining(loss=name, batch_size=4, epochs=1)
        train(str(tiny_student), samples(8), given, tmp_path / name, seed=1)
        lines = (tmp_path / name / "log.jsonl").read_text().splitlines()
        curves.append([json.loads(line)["loss_nats_per_token"] for line in lines])
    assert curves[0] == pytest.approx(curves[1], rel=1e-5)


def test_a_student_learns_the_distribution(tiny_student: Path, tmp_path: Path) -> None:
    labels, target = SHORT
    given = [soft(sample, labels, target) for sample in samples(8)]
    training = ICLDistTraining(
        loss="soft", method="full", learning_rate=1e-2, batch_size=4, epochs=30, batch_tokens=64
    )
    train(str(tiny_student), given, training, tmp_path, seed=1)
    tokenizer, model = load_student(str(tmp_path / "weights"))
    for sample in given:
        p = scores(model, tokenizer, sample).softmax(0)
        assert p.tolist() == pytest.approx(target, abs=0.05)


def test_which_loss_a_training_has() -> None:
    assert soft_loss_of(ICLDistTraining(loss="hard")) is None
    assert soft_loss_of(ICLDistTraining()) == SoftLoss(0.5, 1.0)
    assert soft_loss_of(ICLDistTraining(loss="soft")) == SoftLoss(1.0, 1.0)
    mixed = ICLDistTraining(loss="mixed", soft_weight=0.25, soft_temperature=2.0)
    assert soft_loss_of(mixed) == SoftLoss(0.25, 2.0)


def test_distributions_are_read_as_they_were_written(tmp_path: Path) -> None:
    batch = mixed_batch()
    write_samples(batch, tmp_path / "samples.jsonl")
    assert list(SampleFiles(tmp_path / "samples.jsonl")) == batch
    lines = (tmp_path / "samples.jsonl").read_text().splitlines()
    assert ["target" in json.loads(line) for line in lines] == [True, False, True, True]

"""Adapters that could not be trained or merged are refused before any work."""

import json
from pathlib import Path

import pytest
from small_runs import config, samples, settings

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from distill.__main__ import main  # noqa: E402
from distill.config import Lora  # noqa: E402
from distill.student.adapters import check_targets  # noqa: E402
from distill.student.merging import merge  # noqa: E402
from distill.student.training import train  # noqa: E402
from sentibench.errors import InputError  # noqa: E402

KEY = "icldist.training.lora"


@pytest.fixture(scope="module")
def tied_student(tiny_student: Path, tmp_path_factory) -> Path:
    """The random student with one matrix for input and output, as small models have it."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(tiny_student)
    model.config.tie_word_embeddings = True
    tied = AutoModelForCausalLM.from_config(model.config)
    folder = tmp_path_factory.mktemp("tied") / "tied"
    tied.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_student).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["q_proj", "lm_head"], "'lm_head' is the output layer"),
        ("lm_head", "'lm_head' is the output layer"),
        (".*(lm_head|up_proj)", "'lm_head' is the output layer"),
        (["q_proj", "queries"], "no layer 'queries'"),
        (["norm"], "LlamaRMSNorm"),
        (r".*\.nothing", "not found in the base model"),
        ("(", "missing )"),
    ],
)
def test_targets_that_cannot_be_trained_are_refused(targets, message, tiny_student) -> None:
    with pytest.raises(InputError) as refused:
        check_targets(KEY, str(tiny_student), Lora(target_modules=targets))
    assert str(refused.value).startswith(f"{KEY}.target_modules: ")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_embedding_that_is_the_output_too_is_refused(tied_student) -> None:
    with pytest.raises(InputError, match=r"'model.embed_tokens' is the embedding, which shares"):
        check_targets(KEY, str(tied_student), Lora(target_modules=["embed_tokens"]))


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "v_proj"], r".*\.up_proj"])
def test_usual_targets_are_accepted(targets, tiny_student, tied_student) -> None:
    for student in (tiny_student, tied_student):
        check_targets(KEY, str(student), Lora(target_modules=targets))


def test_an_embedding_of_its_own_is_trained_and_merged(tiny_student, tmp_path) -> None:
    lora = Lora(target_modules=["embed_tokens"])
    check_targets(KEY, str(tiny_student), lora)
    train(str(tiny_student), samples(8), settings(epochs=3, lora=lora), tmp_path, seed=1)
    gap = merge(str(tiny_student), tmp_path / "weights", tmp_path / "student", ["a quiet film"])
    assert gap < 1e-3
    from transformers import AutoModelForCausalLM

    before, after = (
        AutoModelForCausalLM.from_pretrained(path).get_input_embeddings().weight
        for path in (tiny_student, tmp_path / "student")
    )
    assert not torch.equal(before, after)


def test_an_adapter_is_written_in_one_order(tiny_student, tmp_path) -> None:
    train(str(tiny_student), samples(4), settings(epochs=1), tmp_path, seed=1)
    config_file = tmp_path / "weights" / "adapter_config.json"
    targets = json.loads(config_file.read_text())["target_modules"]
    assert targets == sorted(targets)
    assert len(targets) == 14  # seven of each layer


@pytest.mark.parametrize("command", ["plan", "run"])
def test_plan_and_run_refuse_such_targets_before_any_work(
    command: str, tiny_student, tmp_path, capsys, small_tests
) -> None:
    path = config(tmp_path, tiny_student)
    given = [
        "teacher={backend: openai, model: m, base_url: 'http://127.0.0.1:9/v1'}",
        "knowdist.training.lora.target_modules=[lm_head]",
    ]
    assert main([command, str(path), *given]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: knowdist.training.lora.target_modules: 'lm_head'")
    assert not (tmp_path / "runs" / "small" / "texts").exists()

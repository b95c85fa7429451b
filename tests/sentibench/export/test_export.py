"""Exports of small random models, read again by real loaders."""

import json
import re
from pathlib import Path

import pytest

gguf = pytest.importorskip("gguf")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from sentibench.__main__ import main  # noqa: E402
from sentibench.errors import InputError  # noqa: E402
from sentibench.export.checked import export, modelfile  # noqa: E402
from sentibench.predict.recipe import Recipe, load_recipes, save_recipes  # noqa: E402

SIZES = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 7}
SIZES |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32}
SIZES |= {"max_position_embeddings": 1024, "initializer_range": 0.05}


def model_of(family: str, vocab_size: int):
    torch.manual_seed(1)
    sizes = SIZES | {"vocab_size": vocab_size, "bos_token_id": 0, "eos_token_id": 1}
    if family == "gemma3":
        sizes |= {"head_dim": 256}  # transformers' loader of GGUF knows no other
        config = transformers.Gemma3TextConfig(
            **sizes, sliding_window=32, query_pre_attn_scalar=256, pad_token_id=None
        )
        return transformers.Gemma3ForCausalLM(config)
    if family == "gpt2":
        return transformers.GPT2LMHeadModel(
            transformers.GPT2Config(vocab_size=vocab_size, n_embd=32, n_layer=1, n_head=2)
        )
    if family == "qwen3":
        sizes |= {
            "head_dim": 128
        }  # all Qwen 3 have it; transformers' loader of GGUF knows no other
    if family == "qwen2":
        del sizes["head_dim"]
    name = {"llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3"}[family]
    made = getattr(transformers, f"{name}Config")(**sizes)
    return getattr(transformers, f"{name}ForCausalLM")(made)


def save(family: str, checkpoint: Path, folder: Path) -> Path:
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    model = model_of(family, len(tokenizer))
    with torch.no_grad():  # norms of one would hide a norm that is stored wrongly
        for name, values in model.named_parameters():
            if name.endswith("norm.weight"):
                values.add_(torch.rand_like(values))
    model.save_pretrained(folder / family)
    tokenizer.save_pretrained(folder / family)
    return folder / family


@pytest.mark.parametrize("family", ["llama", "gemma3", "qwen2", "qwen3"])
def test_gguf_computes_what_the_checkpoint_computes(
    family: str, checkpoint: Path, tmp_path: Path
) -> None:
    student = save(family, checkpoint, tmp_path)
    found = export(str(student), "gguf", tmp_path / "out", task="mini_sst2", n_checked=6)
    assert found is not None
    assert (found.n, found.n_same) == (6, 6)
    assert found.largest_gap is not None
    assert found.largest_gap < 1e-4
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "Modelfile",
        "model.gguf",
        "sentibench.json",
    ]
    assert list(load_recipes(str(tmp_path / "out"))) == ["sentibench_mini_sst2"]


def _embedding(file: Path):
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}
    tensor = tensors["token_embd.weight"]
    return gguf.quants.dequantize(tensor.data, tensor.tensor_type)


def test_eight_bits_are_smaller_and_nearly_the_same(checkpoint: Path, tmp_path: Path) -> None:
    student = save("llama", checkpoint, tmp_path)
    for name, quantise in (("whole", None), ("small", "q8_0")):
        found = export(
            str(student), "gguf", tmp_path / name, quantise=quantise, task="mini_sst2", n_checked=6
        )
    assert found is not None
    assert found.largest_gap is not None
    assert found.largest_gap > 1e-6
    whole, small = (_embedding(tmp_path / name / "model.gguf") for name in ("whole", "small"))
    steps = abs(whole.reshape(-1, 32)).max(axis=1) / 127  # of blocks, their scales in 16 bits
    assert (abs(whole - small).reshape(-1, 32).max(axis=1) <= 0.6 * steps).all()
    sizes = [(tmp_path / name / "model.gguf").stat().st_size for name in ("whole", "small")]
    assert sizes[1] < 0.5 * sizes[0]


@pytest.mark.slow
@pytest.mark.parametrize("quantise", [None, "int8"])
def test_onnx_computes_what_the_checkpoint_computes(
    quantise: str | None, checkpoint: Path, tmp_path: Path, capsys
) -> None:
    pytest.importorskip("onnxruntime")
    student, out = save("llama", checkpoint, tmp_path), tmp_path / "out"
    arguments = ["export", str(student), "--format", "onnx", "--out", str(out), "--check", "6"]
    arguments += ["--quantise", quantise] if quantise else []
    assert main([*arguments, "--task", "mini_sst2"]) == 0
    shown = capsys.readouterr().out
    assert "model.onnx" in shown
    same, of = re.findall(r"same labels as the checkpoint: (\d+) of (\d+), read by onnx", shown)[0]
    assert of == "6"
    assert same == "6" or quantise
    gap = float(re.findall(r"largest difference of a probability: ([\d.]+)", shown)[0])
    assert gap < (0.05 if quantise else 1e-3)
    assert "items per second: " in shown


def test_a_modelfile_holds_the_prompt_whatever_is_in_it() -> None:
    recipe = Recipe(
        labels=("good", "bad"),
        scoring_words=("good", "bad"),
        instruction='Say """it""" {{ now }}',
        shots=1,
        demonstrations=(("fine", "good"),),
    )
    lines = modelfile(recipe, 1)
    quoted = '{{ "\\"\\"\\"" }}'
    assert lines.startswith(
        f'FROM ./model.gguf\nTEMPLATE """Say {quoted}it{quoted} {{{{ "{{{{" }}}} now }}}}\n\n'
        'Sentence: fine\nLabel: good\n\nSentence: {{ .Prompt }}\nLabel:"""\n'
    )


def damaged(folder: Path, **changes) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(
    checkpoint: Path, tmp_path: Path
) -> None:
    gpt2, llama = (save(family, checkpoint, tmp_path) for family in ("gpt2", "llama"))
    gemma = damaged(save("gemma3", checkpoint, tmp_path), query_pre_attn_scalar=99)
    out = tmp_path / "out"
    one = {"task": "mini_sst2"}
    for student, given, message in [
        (gpt2, one, "got a model of type gpt2, expected one of llama, gemma3_text"),
        (gemma, one, "query_pre_attn_scalar: this converter does not know such a model"),
        (
            llama,
            {**one, "quantise": "int8"},
            "--quantise int8: got --format gguf, expected --format onnx",
        ),
        (llama, {**one, "n_checked": -1}, "--check: got -1"),
        (llama, {}, "which task"),
        (tmp_path / "nowhere", one, "no such file or folder"),
    ]:
        with pytest.raises(InputError, match=message):
            export(str(student), "gguf", out, **given)
        assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == []
    out.mkdir()
    with pytest.raises(InputError, match="exists already"):
        export(str(llama), "gguf", out, **one)


def test_a_task_without_test_items_here_is_exported_unchecked(
    checkpoint: Path, tmp_path: Path
) -> None:
    student = save("llama", checkpoint, tmp_path)
    recipe = Recipe(
        labels=("a", "b"), scoring_words=("a", "b"), instruction="", shots=0, demonstrations=()
    )
    save_recipes(student, {"reviews": recipe})
    with pytest.raises(InputError, match="reviews has no test items here; give --check 0"):
        export(str(student), "gguf", tmp_path / "out")
    assert export(str(student), "gguf", tmp_path / "out", n_checked=0) is None
    assert (tmp_path / "out" / "model.gguf").is_file()

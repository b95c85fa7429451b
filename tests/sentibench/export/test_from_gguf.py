"""Small random models, written as GGUF and read back."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

gguf = pytest.importorskip("gguf")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from safetensors.torch import load_file, save_file  # noqa: E402

from sentibench.errors import InputError  # noqa: E402
from sentibench.export.from_gguf import write_checkpoint  # noqa: E402
from sentibench.export.to_gguf import write_gguf  # noqa: E402

FAMILIES = {
    "llama": ("Llama", {}),
    "gemma3": ("Gemma3", {"head_dim": 256, "query_pre_attn_scalar": 256, "pad_token_id": None}),
    "qwen2": ("Qwen2", {}),
    "tied": ("Qwen2", {"tie_word_embeddings": True}),
    "qwen3": (
        "Qwen3",
        {"head_dim": 128},
    ),  # these sizes of heads are what transformers' loader knows
}


def save(family: str, tokenizer_of: Path, folder: Path) -> Path:
    """A model in float32 whose values bfloat16 holds too."""
    torch.manual_seed(1)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tokenizer_of)
    name, sizes = FAMILIES[family]
    config = getattr(transformers, f"{name}{'Text' if family == 'gemma3' else ''}Config")(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=7,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        initializer_range=0.05,
        bos_token_id=0,
        eos_token_id=1,
        **sizes,
    )
    model = getattr(transformers, f"{name}ForCausalLM")(config)
    with torch.no_grad():  # norms of one and biases of zero would hide what is stored wrongly
        for key, values in model.named_parameters():
            if key.endswith(("norm.weight", ".bias")):
                values.add_(torch.rand_like(values))
            values.copy_(values.to(torch.bfloat16))
    model.save_pretrained(folder / family)
    tokenizer.save_pretrained(folder / family)
    return folder / family


def logits(folder: Path):
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        return model(torch.arange(2, 60)[None]).logits


@pytest.mark.parametrize("family", FAMILIES)
def test_there_and_back_computes_the_same(family: str, checkpoint: Path, tmp_path: Path) -> None:
    source = save(family, checkpoint, tmp_path)
    write_gguf(str(source), tmp_path / "model.gguf", None)
    write_checkpoint(tmp_path / "model.gguf", tmp_path / "back")
    assert torch.equal(logits(source), logits(tmp_path / "back"))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_weights_are_those_of_transformers_own_loader_to_the_byte(
    family: str, checkpoint: Path, tmp_path: Path
) -> None:
    source = save(family, checkpoint, tmp_path)
    write_gguf(str(source), tmp_path / "model.gguf", "q8_0")
    write_checkpoint(tmp_path / "model.gguf", tmp_path / "back")
    model = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file="model.gguf", dtype=torch.float32
    )
    model.to(torch.bfloat16)
    model.hf_quantizer, model.is_quantized = None, False
    del model.config.quantization_config
    model.save_pretrained(tmp_path / "theirs")
    names = sorted(path.name for path in (tmp_path / "theirs").iterdir())
    assert names == ["config.json", "generation_config.json", "model.safetensors"]
    for name in names:
        ours = (tmp_path / "back" / name).read_bytes()
        assert ours == (tmp_path / "theirs" / name).read_bytes(), name


def test_the_tokenizer_and_its_chat_template_come_along(checkpoint: Path, tmp_path: Path) -> None:
    source = save("qwen2", checkpoint, tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    tokenizer.chat_template = "{% for m in messages %}[{{ m['content'] }}]{% endfor %}"
    tokenizer.save_pretrained(source)
    write_gguf(str(source), tmp_path / "model.gguf", None)
    write_checkpoint(tmp_path / "model.gguf", tmp_path / "back")
    back = transformers.AutoTokenizer.from_pretrained(tmp_path / "back")
    asked = [{"role": "user", "content": "hello"}]
    assert back.apply_chat_template(asked, tokenize=False) == "[hello]"
    for text in ("The film was great.\nLabel:", " good", "</s>bad 123", "Ünïcode 😀"):
        assert back(text)["input_ids"] == tokenizer(text)["input_ids"]


def rewrite(file: Path, out: Path, *, drop=(), rename=None, keys=None) -> Path:
    """The same file with other tensors, or other numbers in its head."""
    reader = gguf.GGUFReader(file)
    architecture = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(out, architecture)
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        value = (keys or {}).get(name, field.contents())
        inner = field.types[-1] if len(field.types) > 1 else None
        writer.add_key_value(name, value, field.types[0], inner)
    for tensor in reader.tensors:
        if tensor.name not in drop:
            name = (rename or {}).get(tensor.name, tensor.name)
            writer.add_tensor(name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


def test_tensors_that_do_not_fit_are_one_error_and_leave_nothing(
    checkpoint: Path, tmp_path: Path
) -> None:
    file = tmp_path / "model.gguf"
    write_gguf(str(save("qwen2", checkpoint, tmp_path)), file, None)
    changed = tmp_path / "changed.gguf"
    for change, message in [
        (
            {"rename": {"blk.2.attn_q.weight": "blk.2.attn_x.weight"}},
            r"changed.gguf: unknown tensor blk.2.attn_x.weight \(1 in all\); a qwen2 of 7 layers "
            "has 87, the file 87",
        ),
        ({"drop": ["blk.3.ffn_up.weight"]}, "no tensor blk.3.ffn_up.weight .* has 87, the file 86"),
        ({"keys": {"qwen2.block_count": 6}}, r"unknown tensor blk.6.attn_k.bias, .* \(12 in all\)"),
        (
            {"keys": {"qwen2.feed_forward_length": 97}},
            r"blk.0.ffn_gate.weight: got shape \[96, 64\], expected \[97, 64\]",
        ),
    ]:
        rewrite(file, changed, **change)
        with pytest.raises(InputError, match=message) as raised:
            write_checkpoint(changed, tmp_path / "back")
        assert "\n" not in str(raised.value)
        assert not list(tmp_path.glob("back*"))
    write_checkpoint(rewrite(file, changed), tmp_path / "back")  # rewriting alone does no harm
    assert torch.equal(logits(tmp_path / "qwen2"), logits(tmp_path / "back"))


def test_another_family_is_refused(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "other.gguf", "gpt2")
    writer.add_block_count(1)
    writer.add_token_list(["a", "b"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(InputError, match="model of type gpt2, expected one of llama, gemma3_text"):
        write_checkpoint(tmp_path / "other.gguf", tmp_path / "back")


def test_a_conversion_that_was_killed_begins_anew_and_a_full_disk_is_said_before(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = save("qwen2", checkpoint, tmp_path)
    write_gguf(str(source), tmp_path / "model.gguf", None)
    unfinished = tmp_path / "back.unfinished"
    unfinished.mkdir()
    (unfinished / "model-00001.safetensors").write_bytes(b"half")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
        with pytest.raises(InputError, match="disk has 1,000 bytes left, the weights take 5"):
            write_checkpoint(tmp_path / "model.gguf", tmp_path / "back")
    assert not (tmp_path / "back").exists()
    write_checkpoint(tmp_path / "model.gguf", tmp_path / "back")
    assert not unfinished.exists()
    assert not list((tmp_path / "back").glob("*00001*"))
    # the file is the one that safetensors writes
    weights = load_file(tmp_path / "back" / "model.safetensors")
    save_file(weights, tmp_path / "theirs.safetensors", {"format": "pt"})
    ours = (tmp_path / "back" / "model.safetensors").read_bytes()
    assert ours == (tmp_path / "theirs.safetensors").read_bytes()
    assert json.loads((tmp_path / "back" / "config.json").read_text())["dtype"] == "bfloat16"

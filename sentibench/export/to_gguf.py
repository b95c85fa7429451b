"""A checkpoint as one GGUF file for llama.cpp and ollama: Llama, Gemma 3, Qwen 2 and Qwen 3.

The package ``gguf`` writes files and knows the names of tensors. What it does not know is how each
family stores rotations, norms and vocabularies, which is here. Source: llama.cpp's
convert_hf_to_gguf.py; what is unusual in a checkpoint is refused instead of guessed.
"""

# pyright: basic, reportOptionalMemberAccess=false
# transformers and gguf publish no complete types: their unknowns end in this module.

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Kind
from gguf import LlamaFileType, TokenType
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from sentibench.errors import InputError

ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "gemma3_text": gguf.MODEL_ARCH.GEMMA3,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
}
GEMMA_PERIOD = 6  # llama.cpp takes every sixth layer of Gemma 3 for one of full attention
Q8_BLOCK = 32  # values of a row that share a scale
# of lossless files by the checkpoint's type, of compressed ones
TYPES = {
    "float32": (Kind.F32, LlamaFileType.ALL_F32),
    "float16": (Kind.F16, LlamaFileType.MOSTLY_F16),
    "bfloat16": (Kind.BF16, LlamaFileType.MOSTLY_BF16),
    "q8_0": (Kind.Q8_0, LlamaFileType.MOSTLY_Q8_0),
}
# llama.cpp's names of the rules by which byte-level tokenizers cut texts before merging
BYTE_LEVEL = "ByteLevel"
CUTS = {"\\p{N}{1,3}": "llama-bpe", "\\p{N}": "qwen2"}


def write_gguf(checkpoint: str, file: Path, quantise: str | None) -> None:
    """Write a checkpoint as GGUF, without loss unless it is asked for.

    Args:
        checkpoint: A folder, or a name of the hub.
        file: The new file.
        quantise: ``q8_0`` for eight bits per weight.

    Raises:
        InputError: If the checkpoint is of another family, or has something that llama.cpp's
            loader of that family does not know.
    """
    config = AutoConfig.from_pretrained(checkpoint)
    if config.model_type not in ARCHITECTURES:
        raise InputError(
            f"{checkpoint}: got a model of type {config.model_type}, expected one of "
            f"{', '.join(ARCHITECTURES)}; llama.cpp's own converter knows more"
        )
    _refuse_unusual(checkpoint, config)
    model: Any = AutoModelForCausalLM.from_pretrained(checkpoint, dtype="auto")
    dtype = str(model.dtype).removeprefix("torch.")
    kind, file_type = TYPES[quantise or dtype]
    writer = gguf.GGUFWriter(file, gguf.MODEL_ARCH_NAMES[ARCHITECTURES[config.model_type]])
    writer.add_name(Path(checkpoint).name)
    writer.add_file_type(file_type)
    if quantise:
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    _add_sizes(writer, config)
    _add_vocabulary(writer, checkpoint, config.vocab_size)
    for name, tensor in _tensors(model, config):
        fits = tensor.ndim == 2 and (kind != Kind.Q8_0 or tensor.shape[-1] % Q8_BLOCK == 0)
        used = kind if fits else Kind.F32
        writer.add_tensor(name, gguf.quants.quantize(tensor, used), raw_dtype=used)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _refuse_unusual(checkpoint: str, config: Any) -> None:
    rope, is_gemma = config.rope_parameters, config.model_type == "gemma3_text"
    kinds = {part["rope_type"] for part in (rope.values() if is_gemma else [rope])}
    layers = getattr(config, "layer_types", None) or []
    full = [n for n, layer in enumerate(layers) if layer == "full_attention"]
    regular = [n for n in range(len(layers)) if (n + 1) % GEMMA_PERIOD == 0] if is_gemma else full
    unusual = {
        "rope_type": kinds - ({"default"} if is_gemma else {"default", "linear", "llama3"}),
        "layer_types": set()
        if full == regular and (is_gemma or len(full) == len(layers))
        else layers,
        "final_logit_softcapping": getattr(config, "final_logit_softcapping", None),
        "query_pre_attn_scalar": is_gemma and config.query_pre_attn_scalar != config.head_dim,
        "use_sliding_window": getattr(config, "use_sliding_window", False),
        "mlp_bias": getattr(config, "mlp_bias", False),
    }
    for key, found in unusual.items():
        if found:
            raise InputError(
                f"{checkpoint}: config.json: {key}: this converter does not know such a model; "
                "llama.cpp's own converter may"
            )


def _add_sizes(writer: gguf.GGUFWriter, config: Any) -> None:
    n_heads = config.num_attention_heads
    head_size = getattr(config, "head_dim", None) or config.hidden_size // n_heads
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(n_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_key_length(head_size)
    writer.add_value_length(head_size)
    writer.add_vocab_size(config.vocab_size)
    rope = config.rope_parameters
    if config.model_type == "gemma3_text":
        writer.add_sliding_window(config.sliding_window)
        writer.add_rope_freq_base_swa(rope["sliding_attention"]["rope_theta"])
        rope = rope["full_attention"]
    writer.add_rope_freq_base(rope["rope_theta"])
    if config.model_type == "llama":
        writer.add_rope_dimension_count(head_size)
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])


# Tensors


def _tensors(model: Any, config: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Every tensor in float32 under llama.cpp's name."""
    names = gguf.get_tensor_name_map(ARCHITECTURES[config.model_type], config.num_hidden_layers)
    if config.rope_parameters.get("rope_type") == "llama3":
        yield "rope_freqs.weight", _llama3_factors(config)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        known = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if known is None:
            raise InputError(f"{model.name_or_path}: {name}: llama.cpp knows no such tensor")
        values = tensor.to(torch.float32)
        if config.model_type == "llama" and (".q_proj." in name or ".k_proj." in name):
            is_query = ".q_proj." in name
            values = _paired(
                values, config.num_attention_heads if is_query else config.num_key_value_heads
            )
        if config.model_type == "gemma3_text" and name.endswith("norm.weight"):
            values = values + 1  # transformers adds it when the model runs
        yield known, values.numpy()


def _paired(values: torch.Tensor, n_heads: int) -> torch.Tensor:
    """Rows so that each rotation turns neighbours; transformers turns halves of a head."""
    halves = values.reshape(n_heads, 2, values.shape[0] // n_heads // 2, *values.shape[1:])
    return halves.swapaxes(1, 2).reshape(values.shape).contiguous()


def _llama3_factors(config: Any) -> np.ndarray:
    """By what each frequency is divided for long texts (Llama 3.1), shape (head size / 2,)."""
    rope = config.rope_parameters
    head_size = (
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )
    exponents = np.arange(0, head_size, 2, dtype=np.float64) / head_size
    turns = rope["original_max_position_embeddings"] / (
        2 * math.pi * rope["rope_theta"] ** exponents
    )
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    share = np.clip((turns - low) / (high - low), 0, 1)
    return (1 / ((1 - share) / rope["factor"] + share)).astype(np.float32)


# The vocabulary


def _add_vocabulary(writer: gguf.GGUFWriter, checkpoint: str, n_vocab: int) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(checkpoint)
    described = json.loads(tokenizer.backend_tokenizer.to_str())
    model = described["model"]
    if model["type"] != "BPE":
        raise InputError(
            f"{checkpoint}: got a tokenizer of type {model['type']}, expected BPE; llama.cpp's own "
            "converter knows more"
        )
    is_byte_level = not model["byte_fallback"]
    pairs = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in model["merges"]]
    rank: dict[str, int] = {}
    for n, pair in enumerate(pairs):
        rank.setdefault("".join(pair), n)
    added = {token["id"]: token for token in described["added_tokens"]}
    by_id = {number: text for text, number in tokenizer.get_vocab().items()}
    texts = [by_id.get(n, f"[PAD{n}]") for n in range(n_vocab)]
    types = [_type(n, text, added, n in by_id, is_byte_level) for n, text in enumerate(texts)]
    if is_byte_level:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(_cut(checkpoint, described["pre_tokenizer"]))
        writer.add_token_list(texts)
    else:
        writer.add_tokenizer_model("llama")
        writer.add_token_list(texts)
        writer.add_token_scores([-float(rank.get(text, len(pairs))) for text in texts])
        writer.add_add_space_prefix("Prepend" in json.dumps(described["normalizer"]))
    writer.add_token_types(types)
    special = gguf.SpecialVocab(_files_of(checkpoint), load_merges=is_byte_level, n_vocab=n_vocab)
    special.chat_template = tokenizer.chat_template
    special.special_token_ids = {
        role: number
        for role in ("bos", "eos", "unk", "pad")
        if (number := getattr(tokenizer, f"{role}_token_id")) is not None and number < n_vocab
    }
    first = tokenizer("a")["input_ids"][0]
    special.add_special_token = {"bos": first == tokenizer.bos_token_id, "eos": False}
    special.add_to_gguf(writer, quiet=True)


def _files_of(checkpoint: str) -> Path:
    """The folder of the tokenizer."""
    if Path(checkpoint).is_dir():
        return Path(checkpoint)
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(checkpoint, "tokenizer.json")).parent


def _type(
    number: int, text: str, added: Mapping[int, Any], is_known: bool, is_byte_level: bool
) -> TokenType:
    if not is_known:
        return TokenType.UNUSED
    if number in added:
        return TokenType.CONTROL if added[number]["special"] else TokenType.USER_DEFINED
    is_byte = not is_byte_level and len(text) == 6 and text.startswith("<0x")
    return TokenType.BYTE if is_byte else TokenType.NORMAL


def _cut(checkpoint: str, pre_tokenizer: Any) -> str:
    """llama.cpp's name of a byte-level tokenizer's rule."""
    parts = (pre_tokenizer or {}).get("pretokenizers", [pre_tokenizer])
    kinds = [part and part["type"] for part in parts]
    if kinds == [BYTE_LEVEL] and parts[0]["use_regex"]:
        return "gpt-2"
    if kinds == ["Digits", BYTE_LEVEL] and parts[0]["individual_digits"]:
        return "smollm"
    if kinds == ["Split", BYTE_LEVEL]:
        pattern = parts[0]["pattern"].get("Regex", "")
        for mark, name in CUTS.items():
            if mark in pattern:
                return name
    raise InputError(
        f"{checkpoint}: tokenizer.json: its pre_tokenizer is not known to this converter; "
        "llama.cpp's own converter may know it"
    )

"""A GGUF file as an ordinary checkpoint in bfloat16, tensor by tensor.

transformers reads GGUF too, with the whole model in float32 in memory, and its ``save_pretrained``
then wants the weights once more. Here no more than one tensor is, and the bytes are the same: so a
model of 1.5B parameters fits where it is only used. What :mod:`to_gguf` knows about families is
undone here. Source of the layout: the header of safetensors' README.
"""

# pyright: basic
# transformers and gguf publish no complete types: their unknowns end in this module.

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from sentibench.errors import InputError
from sentibench.export.to_gguf import ARCHITECTURES
from sentibench.progress import progress

BYTES = 2  # of a value in bfloat16
SHOWN = 3  # names in a message


def write_checkpoint(file: Path, checkpoint: Path) -> None:
    """Write a checkpoint folder that transformers and lm-eval load.

    Args:
        file: The GGUF file.
        checkpoint: The new folder; written beside and renamed into place.

    Raises:
        InputError: If the model is of another family, its tensors are not those of its
            configuration, or the disk is too small.
    """
    source = {
        "pretrained_model_name_or_path": str(file.parent),
        "gguf_file": file.name,
        "local_files_only": True,
    }
    config: Any = AutoConfig.from_pretrained(**source)
    if config.model_type not in ARCHITECTURES:
        raise InputError(
            f"{file}: got a model of type {config.model_type}, expected one of "
            f"{', '.join(ARCHITECTURES)}"
        )
    with torch.device("meta"):  # names and shapes without a value
        model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    tensors = _by_name(file, model)
    needed = sum(int(tensor.n_elements) for tensor in tensors.values()) * BYTES
    free = shutil.disk_usage(checkpoint.parent).free
    if free < needed:
        raise InputError(
            f"{checkpoint}: the disk has {free:,} bytes left, the weights take {needed:,}; make "
            "room, or give a folder elsewhere"
        )
    unfinished = checkpoint.with_name(checkpoint.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    with progress("weights", "tensor", len(tensors)) as bar:
        _write_safetensors(
            unfinished / "model.safetensors",
            {name: [int(n) for n in reversed(t.shape)] for name, t in tensors.items()},
            lambda name: _values(tensors[name], name, config),
            bar.update,
        )
    AutoTokenizer.from_pretrained(**source).save_pretrained(unfinished)
    model.generation_config.save_pretrained(unfinished)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(unfinished)
    unfinished.rename(checkpoint)


def _by_name(file: Path, model: Any) -> dict[str, Any]:
    """The tensors of the file under the names of the checkpoint, which it has all and no other."""
    config = model.config
    known = gguf.get_tensor_name_map(ARCHITECTURES[config.model_type], config.num_hidden_layers)
    expected: dict[Any, tuple[str, list[int]]] = {
        known.get_name(name, try_suffixes=(".weight", ".bias")): (name, list(values.shape))
        for name, values in model.state_dict().items()
        if not (config.tie_word_embeddings and name == "lm_head.weight")
    }
    found = {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}
    for what, names in (
        ("unknown tensor", found.keys() - expected.keys()),
        ("no tensor", expected.keys() - found.keys()),
    ):
        if names:
            shown = ", ".join(sorted(map(str, names))[:SHOWN])
            raise InputError(
                f"{file}: {what} {shown} ({len(names)} in all); a {config.model_type} of "
                f"{config.num_hidden_layers} layers has {len(expected)}, the file {len(found)}"
            )
    for stored, (_, shape) in expected.items():
        if (got := [int(n) for n in reversed(found[stored].shape)]) != shape:
            raise InputError(
                f"{file}: {stored}: got shape {got}, expected {shape} by its configuration"
            )
    return {name: found[stored] for stored, (name, _) in sorted(expected.items(), key=_second)}


def _second(item: tuple[Any, tuple[str, Any]]) -> str:
    return item[1][0]


def _values(tensor: Any, name: str, config: Any) -> torch.Tensor:
    plain = gguf.quants.dequantize(tensor.data, tensor.tensor_type)  # of float32: the file itself
    values = torch.from_numpy(np.require(plain, requirements="W"))
    if config.model_type == "llama" and (".q_proj." in name or ".k_proj." in name):
        is_query = ".q_proj." in name
        values = _in_halves(
            values, config.num_attention_heads if is_query else config.num_key_value_heads
        )
    if config.model_type == "gemma3_text" and name.endswith("norm.weight"):
        values = values - 1  # transformers adds it when the model runs
    return values.to(torch.bfloat16).contiguous()


def _in_halves(values: torch.Tensor, n_heads: int) -> torch.Tensor:
    """Rows so that each rotation turns halves of a head; llama.cpp turns neighbours."""
    pairs = values.reshape(n_heads, values.shape[0] // n_heads // 2, 2, *values.shape[1:])
    return pairs.swapaxes(1, 2).reshape(values.shape)


def _write_safetensors(
    path: Path,
    shapes: Mapping[str, list[int]],
    values_of: Callable[[str], torch.Tensor],
    done: Callable[[int], Any],
) -> None:
    """Write bfloat16 tensors as safetensors would, but one after the other."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + BYTES * int(torch.Size(shape).numel())
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    with path.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for name in shapes:
            file.write(values_of(name).view(torch.uint8).numpy().data)
            done(1)

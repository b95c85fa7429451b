"""A checkpoint as ONNX for onnxruntime: token ids in, logits of every position out.

``optimum-onnx`` would convert it, but wants transformers below 4.58; torch's own exporter does it
with ``onnxscript``. The graph keeps no keys and values: it is made for labels, one pass per text.
"""

# pyright: basic
# torch, transformers and onnxruntime publish no complete types: their unknowns end in this module.

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from transformers import AutoModelForCausalLM, AutoTokenizer

FILE = "model.onnx"
BLOCK = 32  # weights that share a scale


class _Logits(torch.nn.Module):
    """Of a causal model: ids of shape (B, T) to logits of shape (B, T, V)."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.model(input_ids, use_cache=False).logits


def write_onnx(checkpoint: str, folder: Path, quantise: str | None) -> None:
    """Write ``model.onnx``, in float32, with the tokenizer beside it.

    Rows of a batch are padded on the right: a causal model looks at no later position, so the graph
    has no mask.

    Args:
        checkpoint: A folder, or a name of the hub.
        folder: An empty one.
        quantise: ``int8`` for eight bits per weight of the linear layers.
    """
    model: Any = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    for name in ("onnx_ir", "onnxscript"):  # they tell every rewritten node
        logging.getLogger(name).setLevel(logging.WARNING)
    # it says that torchvision is not installed, which no language model needs
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    whole = folder / ("float32.onnx" if quantise else FILE)
    axes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    with warnings.catch_warnings():  # about torch's own use of its parts
        warnings.filterwarnings("ignore", category=FutureWarning, module="copyreg")
        torch.onnx.export(
            _Logits(model).eval(),
            (torch.arange(16).view(2, 8),),
            whole,
            input_names=["input_ids"],
            output_names=["logits"],
            dynamic_shapes={"input_ids": axes},
            dynamo=True,
            verbose=False,
        )
    if quantise:
        # blocks of weights have scales of their own; with one scale a matrix, labels changed
        quantizer: Any = MatMulNBitsQuantizer(onnx.load(whole), bits=8, block_size=BLOCK)
        quantizer.process()
        quantizer.model.save_model_to_file(str(folder / FILE), use_external_data_format=True)
        for file in folder.glob("float32.onnx*"):
            file.unlink()
    AutoTokenizer.from_pretrained(checkpoint).save_pretrained(folder)


def open_onnx(folder: Path) -> Callable[[Sequence[int]], np.ndarray]:
    """Logits of the token that follows on some ids, shape (V,), by onnxruntime."""
    session = onnxruntime.InferenceSession(folder / FILE, providers=["CPUExecutionProvider"])

    def logits(ids: Sequence[int]) -> np.ndarray:
        given = {"input_ids": np.array([ids], dtype=np.int64)}
        return np.asarray(session.run(["logits"], given)[0])[0, -1]

    return logits

"""Eight-bit weights and activations on the CPU: ``dtype=int8``.

Each row of a weight and each token of an activation has a scale of its own, by its largest value
(dynamic quantisation; Xiao et al., SmoothQuant, arXiv 2211.10438, section 2, "per-token" and
"per-channel"). The product is one of whole numbers. torch's own quantised layers have one scale
for all tokens of a batch, so that an answer would depend on its neighbours; torchao has these
scales, and takes longer on a CPU than bfloat16 (docs/performance.md).
"""

# pyright: basic, reportPrivateImportUsage=false
# transformers carries no types that would hold: its unknowns end in this module.

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from sentibench.errors import InputError

LARGEST = 127
TINY = 1e-8  # scale of a token that is all zeros


class Int8Linear(nn.Module):
    """``nn.Linear`` in whole numbers; the output has the dtype of the input.

    Args:
        linear: The layer whose weights are rounded: (out, in), with or without a bias.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight_OI = linear.weight.detach()
        scale_O = weight_OI.float().abs().amax(1).div_(LARGEST).clamp_min_(TINY)
        rounded_OI = torch.empty(weight_OI.shape, dtype=torch.int8)
        for row, scale in enumerate(scale_O):  # one row at a time: no second copy in float32
            rounded_OI[row] = (weight_OI[row].float() / scale).round_()
        self.weight_IO = nn.Parameter(rounded_OI.T.contiguous(), requires_grad=False)
        self.scale_O = nn.Buffer(scale_O.to(weight_OI.dtype))
        self.bias = linear.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (..., in) times the weights: (..., out)."""
        x_TI = x.reshape(-1, x.shape[-1])
        scale_T1 = x_TI.abs().amax(1, keepdim=True).div_(LARGEST).clamp_min_(TINY)
        # in bfloat16 the scale may be rounded down: the largest would be 128, which is no int8
        rounded_TI = (x_TI / scale_T1).round_().clamp_(-LARGEST, LARGEST).to(torch.int8)
        y_TO = torch._int_mm(rounded_TI, self.weight_IO).to(x.dtype) * scale_T1
        y_TO *= self.scale_O
        if self.bias is not None:
            y_TO += self.bias
        return y_TO.view(*x.shape[:-1], len(self.scale_O))


def quantise(model: Any) -> None:
    """Give every linear layer but the head int8 weights, in place.

    Raises:
        InputError: If the model is not on the CPU, or has no such layers.
    """
    if model.device.type != "cpu":
        raise InputError(f"dtype=int8: got a model on {model.device}, expected one on the CPU")
    head = model.get_output_embeddings()
    found = [  # by name: a list of the layers would hold all weights twice
        (parent, name)
        for parent in model.modules()
        for name, layer in parent.named_children()
        if type(layer) is nn.Linear and layer is not head
    ]
    if not found or hasattr(model, "peft_config"):
        what = "one with an adapter; merge it first" if found else "one without linear layers"
        raise InputError(f"dtype=int8: expected a model of linear layers, got {what}")
    for parent, name in found:
        setattr(parent, name, Int8Linear(getattr(parent, name)))

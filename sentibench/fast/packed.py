"""Linear layers on the CPU whose weights lie as oneDNN multiplies them fastest.

torch arranges a weight for each product anew. Here it is arranged once, when the model is loaded
(oneDNN calls this a reorder). A gated MLP (Shazeer, GLU Variants Improve Transformer, arXiv
2002.05202, section 2) is three such products: the activation and the product of gate and up are
computed in them, while their results are in the processor's cache.
"""

# pyright: basic, reportPrivateImportUsage=false
# torch's own operators of oneDNN and transformers carry no types: their unknowns end here.

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

ROWS = 1_024  # tokens of a product that the arrangement is chosen for; others are allowed
CLOSE = {torch.float32: 1e-4, torch.bfloat16: 5e-2}  # of an MLP's output, relative to its largest
Activation = tuple[str, list[float], str]  # as oneDNN names it
ACTIVATIONS: tuple[tuple[Callable[[torch.Tensor], torch.Tensor], Activation], ...] = (
    (F.silu, ("swish", [], "")),
    (partial(F.gelu, approximate="tanh"), ("gelu", [], "tanh")),
    (F.gelu, ("gelu", [], "none")),
)


class PackedLinear(nn.Module):
    """``nn.Linear`` with a weight that oneDNN has arranged.

    Args:
        linear: The layer: weight (out, in), with or without a bias. It keeps its own weight.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), ROWS)
        self.weight = nn.Parameter(packed, requires_grad=False)
        self.bias = linear.bias

    def forward(self, x: torch.Tensor, then: Activation = ("none", [], "")) -> torch.Tensor:
        """``x`` (..., in) times the weights: (..., out), followed by an activation."""
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, *then)

    def times(self, x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """``x`` (..., in) times the weights, times ``other`` (..., out) number by number."""
        return torch.ops.mkldnn._linear_pointwise.binary(x, other, self.weight, self.bias, "mul")


class PackedMLP(nn.Module):
    """A gated MLP: down(activation(gate(x)) * up(x)).

    Args:
        mlp: The module: ``gate_proj``, ``up_proj`` and ``down_proj`` are linear layers.
        activation: Its activation.
    """

    def __init__(self, mlp: Any, activation: Activation) -> None:
        super().__init__()
        self.gate_proj = PackedLinear(mlp.gate_proj)
        self.up_proj = PackedLinear(mlp.up_proj)
        self.down_proj = PackedLinear(mlp.down_proj)
        self.activation = activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The output for ``x`` (..., hidden): as large."""
        return self.down_proj(self.up_proj.times(x, self.gate_proj(x, self.activation)))


def pack(model: Any) -> None:
    """Arrange the weights of all linear layers but the head, in place.

    A model that is not on the CPU, has an adapter, or has a dtype that oneDNN does not multiply on
    this processor stays as it is.
    """
    if model.device.type != "cpu" or hasattr(model, "peft_config") or not _multiplies(model.dtype):
        return
    head = model.get_output_embeddings()
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear and child is not head:
                setattr(parent, name, PackedLinear(child))
            elif mlp := _packed_mlp(child):
                setattr(parent, name, mlp)


def _multiplies(dtype: torch.dtype) -> bool:
    if not torch.backends.mkldnn.is_available() or dtype not in CLOSE:
        return False
    return dtype == torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _packed_mlp(module: Any) -> PackedMLP | None:
    """A packed module that computes what this one does; None where it is no gated MLP."""
    names = {"gate_proj", "up_proj", "down_proj"}
    children = dict(module.named_children())
    if not names <= children.keys() or any(type(children[n]) is not nn.Linear for n in names):
        return None
    activation = _name_of(getattr(module, "act_fn", None))
    if activation is None:
        return None
    packed = PackedMLP(module, activation)
    x = torch.linspace(-2, 2, 4 * module.gate_proj.in_features, dtype=module.gate_proj.weight.dtype)
    x = x.view(4, -1)
    with torch.inference_mode():
        expected, found = module(x), packed(x)
    gap = (found - expected).abs().max() / expected.abs().max()
    return packed if gap < CLOSE[x.dtype] else None


def _name_of(activation: Any) -> Activation | None:
    x = torch.linspace(-6, 6, 64)
    if not isinstance(activation, nn.Module):
        return None
    with torch.inference_mode():
        y = activation(x)
    return next((name for f, name in ACTIVATIONS if torch.allclose(y, f(x), atol=1e-6)), None)

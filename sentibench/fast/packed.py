"""Prepacked weights: linear layers on the CPU in the layout that oneDNN multiplies fastest.

torch packs a weight for each product anew (oneDNN calls it a reorder). Here it is packed once, when
the model is loaded. A gated MLP (Shazeer, GLU Variants Improve Transformer, arXiv 2002.05202,
section 2) is three such products: the activation and the product of gate and up are computed in
them, while their results are in the processor's cache.
"""

# pyright: basic, reportPrivateImportUsage=false
# torch's own operators of oneDNN and transformers carry no types: their unknowns end here.

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

ROWS = 1_024  # tokens of a product that the layout is chosen for; others are allowed
# of the norm of a difference, by the norm of what was expected
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1}
N_TRIED = 8  # tokens on which the model is compared with itself before
Activation = tuple[str, list[float], str]  # as oneDNN names it
ACTIVATIONS: tuple[tuple[Callable[[torch.Tensor], torch.Tensor], Activation], ...] = (
    (F.silu, ("swish", [], "")),
    (partial(F.gelu, approximate="tanh"), ("gelu", [], "tanh")),
    (F.gelu, ("gelu", [], "none")),
)


class PackedLinear(nn.Module):
    """``nn.Linear`` with a prepacked weight.

    Args:
        linear: The layer: weight (out, in), with or without a bias. It keeps its own weight.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), ROWS)
        self.weight = nn.Parameter(packed, requires_grad=False)
        self.bias = linear.bias
        self.in_features, self.out_features = linear.in_features, linear.out_features

    def forward(self, x: torch.Tensor, then: Activation = ("none", [], "")) -> torch.Tensor:
        """``x`` (..., in) times the weights: (..., out), followed by an activation."""
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, *then)

    def times(self, x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """``x`` (..., in) times the weights, times ``other`` (..., out) number by number."""
        return torch.ops.mkldnn._linear_pointwise.binary(x, other, self.weight, self.bias, "mul")

    def unpacked(self) -> nn.Linear:
        """The layer that this one was made of."""
        linear = nn.Linear(self.in_features, self.out_features, bias=False, device="meta")
        linear.weight = nn.Parameter(self.weight.to_dense())
        linear.bias = self.bias
        return linear


class PackedMLP(nn.Module):
    """A gated MLP: down(activation(gate(x)) * up(x)).

    Args:
        mlp: The module; its ``gate_proj``, ``up_proj`` and ``down_proj`` are prepacked.
        activation: Its activation.
    """

    def __init__(self, mlp: Any, activation: Activation) -> None:
        super().__init__()
        self.mlp, self.activation = mlp, activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The output for ``x`` (..., hidden): as large."""
        gate = self.mlp.gate_proj(x, self.activation)
        return self.mlp.down_proj(self.mlp.up_proj.times(x, gate))


def pack(model: Any) -> None:
    """Prepack the weights of linear layers, in place.

    These stay as they are:

    * the head, whose weight may be that of the embeddings, and layers with hooks;
    * a model that is not on the CPU, is quantised, has an adapter, or has a dtype that oneDNN does
      not multiply on this processor;
    * a model whose code reads a weight by itself, or that gives other logits afterwards.
    """
    if not _may_pack(model):
        return
    head = model.get_output_embeddings()
    change_if_same(model, lambda: _pack_layers(model, head), lambda: _unpack(model))


def change_if_same(model: Any, change: Callable[[], None], undo: Callable[[], None]) -> bool:
    """Change a model, and undo it unless the model gives the same logits, up to rounding.

    Returns:
        Whether it is changed. A model that computes nothing from ids alone is never changed.
    """
    try:
        before = _logits(model)
    except Exception:  # it takes more than ids, or computes nothing here
        return False
    try:
        change()
        is_same = _is_close(_logits(model), before, model.dtype)
    except Exception:  # an operator that a packed weight, or this processor, does not have
        is_same = False
    if not is_same:
        undo()
    return is_same


def _may_pack(model: Any) -> bool:
    config = getattr(model, "config", None)
    is_quantised = getattr(model, "hf_quantizer", None) or getattr(
        config, "quantization_config", None
    )
    if is_quantised or hasattr(model, "peft_config"):
        return False
    if any(one.device.type != "cpu" for one in model.parameters()):
        return False
    return torch.backends.mkldnn.is_available() and multiplies(model.dtype)


def multiplies(dtype: torch.dtype) -> bool:
    """Whether oneDNN has fast products of this dtype on this processor."""
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32


def _pack_layers(parent: Any, head: Any) -> None:
    # by name: a list of the layers would hold all weights twice
    for name in [name for name, _ in parent.named_children()]:
        child = getattr(parent, name)
        if child is head:
            continue
        if _is_plain(child):
            setattr(parent, name, PackedLinear(child))
            continue
        _pack_layers(child, head)
        if mlp := _packed_mlp(child):
            setattr(parent, name, mlp)
            _return_free_memory()


def _return_free_memory() -> None:
    """Give the old weights back: glibc keeps what other threads have allocated, as loading does."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
        if trim is not None:
            trim(0)


def _is_plain(layer: Any) -> bool:
    if type(layer) is not nn.Linear or type(layer.weight) is not nn.Parameter:
        return False
    return multiplies(layer.weight.dtype) and not _has_hooks(layer)


def _has_hooks(module: nn.Module) -> bool:
    hooks = module._forward_hooks or module._forward_pre_hooks or hasattr(module, "_hf_hook")
    return bool(hooks) or "forward" in vars(module)


def _packed_mlp(module: Any) -> PackedMLP | None:
    """A faster module that computes what this one does; None where it is no gated MLP."""
    layers = [getattr(module, f"{name}_proj", None) for name in ("gate", "up", "down")]
    activation = _name_of(getattr(module, "act_fn", None))
    if activation is None or _has_hooks(module):
        return None
    if not all(isinstance(layer, PackedLinear) for layer in layers):
        return None
    packed, gate = PackedMLP(module, activation), module.gate_proj
    x_TI = torch.linspace(-2, 2, 4 * gate.in_features, dtype=gate.weight.dtype).view(4, -1)
    try:
        with torch.inference_mode():
            is_same = _is_close(packed(x_TI), module(x_TI), x_TI.dtype)
    except Exception:  # a module that takes or gives something else
        return None
    return packed if is_same else None


def _name_of(activation: Any) -> Activation | None:
    if not isinstance(activation, nn.Module):
        return None
    x = torch.linspace(-6, 6, 64)
    try:
        with torch.inference_mode():
            y = activation(x)
    except Exception:  # one with weights, or of several inputs
        return None
    return next((name for f, name in ACTIVATIONS if torch.allclose(y, f(x), atol=1e-6)), None)


def _logits(model: Any) -> torch.Tensor:
    # from all of the vocabulary: the first tokens are often special, and far more sensitive
    ids_T = torch.linspace(0, model.get_input_embeddings().weight.shape[0] - 1, N_TRIED).long()
    with torch.no_grad():  # what a model keeps of it may be used in training
        return model(ids_T[None]).logits


def _is_close(found: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype) -> bool:
    if found.shape != expected.shape:
        return False
    gap = (found - expected).float().norm() / expected.float().norm()
    return bool(gap < TOLERANCE.get(dtype, 0))


def _unpack(parent: Any) -> None:
    for name in [name for name, _ in parent.named_children()]:
        child = getattr(parent, name)
        if isinstance(child, PackedMLP):
            child = child.mlp
            setattr(parent, name, child)
        if isinstance(child, PackedLinear):
            setattr(parent, name, child.unpacked())
        else:
            _unpack(child)

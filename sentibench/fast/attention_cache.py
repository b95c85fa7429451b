"""Whether keys and values of a prompt can be kept and continued, and how a model takes them."""

# pyright: basic
# transformers carries no types that would hold: their unknowns end in this module.

from __future__ import annotations

import inspect
from typing import Any

PLAIN_LAYERS = {"full_attention", "sliding_attention"}


def cache_argument(model: Any) -> str | None:
    """The argument of ``forward`` that takes keys and values of what stands before.

    Args:
        model: Of ``transformers``, without adapters around it.

    Returns:
        None for a model that keeps anything else than the keys and values of every position, or
        whose keys change with what comes after them.
    """
    known = inspect.signature(model.forward).parameters
    config = model.config.get_text_config()
    layers = getattr(config, "layer_types", None) or ()
    if "logits_to_keep" not in known or not set(layers) <= PLAIN_LAYERS:
        return None
    if _rotates_by_length(config):
        return None
    return next((name for name in ("cache", "past_key_values") if name in known), None)


def _rotates_by_length(config: Any) -> bool:
    """Whether positions are rotated by factors that depend on the longest prompt of a call."""
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    kinds = [rope, *(kind for kind in rope.values() if isinstance(kind, dict))]
    return any(k.get("rope_type", k.get("type")) in ("longrope", "dynamic") for k in kinds)

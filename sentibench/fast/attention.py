"""Attention of a decoder: whether its keys and values can be kept, and blocks of it on the CPU.

torch's attention for the CPU copies the keys for every head that shares them (grouped-query
attention: Ainslie et al., arXiv 2305.13245, section 2.2), and multiplies all queries by all keys,
also by those that a causal mask hides. Here a block of queries meets only the keys that one of
them sees, and the heads that share keys are rows of one product. Results are the same up to
rounding.
"""

# pyright: basic, reportPrivateImportUsage=false
# torch and transformers carry no types that would hold: their unknowns end in this module.

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from sentibench.fast.packed import change_if_same
from sentibench.versions import parts_of

with parts_of("transformers"):
    from torch.utils.weak import WeakTensorKeyDictionary
    from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import sdpa_mask

PLAIN_LAYERS = {"full_attention", "sliding_attention"}
NAME, TRIED = "sentibench_blocks", "sentibench_small_blocks"
QUERIES = 64  # of a block: with fewer, products are narrow; with more, more is computed in vain
FEW_QUERIES = 3  # of a block where a model is tried with a few tokens


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


@dataclass(frozen=True, slots=True)
class Block:
    """Queries that are computed together, and the keys that at least one of them sees.

    Attributes:
        queries: Their positions among T.
        keys: Positions among S, from the first to the last key that is seen.
        unsure: Positions among ``keys``, from the first to the last key that some query of some row
            does not see.
        bias_BTK: One number for each query and unsure key, 0 where it is seen, else very negative.
            B is 1 if all rows are alike.
    """

    queries: slice
    keys: slice
    unsure: slice
    bias_BTK: torch.Tensor


_known_blocks: Any = WeakTensorKeyDictionary()  # by mask, which the layers of a model share


def attend_in_blocks(model: Any) -> None:
    """Compute the attention of a model in blocks, in place.

    A model stays as it is where one of these is true:

    * it is not on the CPU;
    * it, or a part of it, does not use ``sdpa`` of ``transformers``;
    * its keys and values cannot be kept (`cache_argument`);
    * its code asks whether the attention is called "sdpa", as sparse attention does;
    * it gives other logits afterwards.
    """
    parts = [part for part in model.modules() if isinstance(part, PreTrainedModel)]
    if not parts or not _may_change(parts):
        return
    for name, n_queries in ((NAME, QUERIES), (TRIED, FEW_QUERIES)):
        AttentionInterface.register(name, partial(_attend, n_queries=n_queries))
        AttentionMaskInterface.register(name, _mask)
    whole = parts[0]  # without adapters around it
    change, undo = (partial(whole.set_attn_implementation, name) for name in (TRIED, "sdpa"))
    if change_if_same(model, change, undo):
        whole.set_attn_implementation(NAME)


def _may_change(parts: Sequence[PreTrainedModel]) -> bool:
    if any(not part._supports_attention_backend or part.device.type != "cpu" for part in parts):
        return False
    if any(part.config._attn_implementation != "sdpa" for part in parts):
        return False
    if cache_argument(parts[0]) is None:
        return False
    try:
        sources = {inspect.getsource(sys.modules[type(part).__module__]) for part in parts}
    except (OSError, TypeError, KeyError):  # there is none
        return False
    return not any(re.search(r"""["']sdpa["']""", source) for source in sources)


def _mask(*args: Any, **given: Any) -> Any:
    """The mask of ``sdpa``; for several queries never None."""
    n = given["q_length"] if "q_length" in given else len(given["cache_position"])
    skip = given.pop("allow_is_causal_skip", True) and isinstance(n, int) and n == 1
    return sdpa_mask(*args, allow_is_causal_skip=skip, **given)


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    n_queries: int = QUERIES,
    **given: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as ``transformers`` calls it.

    Args:
        module: The layer.
        query: Shape (B, heads, T, D).
        key: Shape (B, groups, S, D); heads / groups heads share one.
        value: Shape (B, groups, S, E).
        attention_mask: Shape (B, 1, T, S), bool, True where a query sees a key. With any other
            mask, and with options that are not here, torch's own attention is used.
        dropout: 0, or torch's own attention is used.
        scaling: Factor of the scores; by default 1 / sqrt(D).
        n_queries: Of a block.
        given: Other options.

    Returns:
        Shape (B, T, heads, E), and no weights.
    """
    mask = attention_mask
    others = (given.get(name) for name in ("position_bias", "softcap", "output_attentions"))
    has_others = dropout or any(other is not None for other in others)
    if mask is None or mask.dtype != torch.bool or mask.shape[1] != 1 or has_others:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, **given
        )
    # rotary positions make queries and keys float32 in autocast; torch's own attention rounds them
    rounds = torch.is_autocast_enabled("cpu")
    dtype = torch.get_autocast_dtype("cpu") if rounds else query.dtype
    with torch.autocast("cpu", enabled=False):
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
        return _in_blocks(query, key, value, mask, scaling, n_queries), None


def _in_blocks(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask_B1TS: torch.Tensor,
    scaling: float | None,
    n_queries: int,
) -> torch.Tensor:
    n_rows, n_heads, _, size = query.shape
    n_groups, n_keys = key.shape[1:3]
    n = n_rows * n_groups  # products at a time
    keys_NDS = key.reshape(n, n_keys, size).transpose(1, 2)
    values_NSE = value.reshape(n, n_keys, -1)
    query = query * (size**-0.5 if scaling is None else scaling)
    found = []
    for block in blocks_of(mask_B1TS, query.dtype, n_queries):
        of_block = query[:, :, block.queries]
        t = of_block.shape[2]
        scores = of_block.reshape(n, n_heads // n_groups * t, size) @ keys_NDS[:, :, block.keys]
        scores.view(n_rows, n_heads, t, -1)[..., block.unsure].add_(block.bias_BTK[:, None])
        of_block = scores.softmax(-1) @ values_NSE[:, block.keys]
        found.append(of_block.view(n_rows, n_heads, t, -1).transpose(1, 2))
    return torch.cat(found, 1)


def blocks_of(mask_B1TS: torch.Tensor, dtype: torch.dtype, n_queries: int = QUERIES) -> list[Block]:
    """The blocks of a mask; those of the same tensor are found once.

    Args:
        mask_B1TS: True where a query (of T) sees a key (of S).
        dtype: Of the scores.
        n_queries: Of a block.
    """
    of_mask = _known_blocks.setdefault(mask_B1TS, {})
    if (dtype, n_queries) not in of_mask:
        of_mask[dtype, n_queries] = list(_cut(mask_B1TS[:, 0], dtype, n_queries))
    return of_mask[dtype, n_queries]


def _cut(mask_BTS: torch.Tensor, dtype: torch.dtype, n_queries: int) -> Iterator[Block]:
    if mask_BTS.stride(0) == 0:  # one row, shown for all
        mask_BTS = mask_BTS[:1]
    for start in range(0, mask_BTS.shape[1], n_queries):
        queries = slice(start, start + n_queries)
        sees_BTS = mask_BTS[:, queries]
        keys = _from_first_to_last(sees_BTS.any(1).any(0))
        sees_BTK = sees_BTS[:, :, keys]
        unsure = _from_first_to_last(~sees_BTK.all(1).all(0))
        hidden_BTK = ~sees_BTK[:, :, unsure]
        # not infinite: a query that sees nothing (padding) is no NaN
        bias_BTK = torch.zeros(hidden_BTK.shape, dtype=dtype)
        bias_BTK.masked_fill_(hidden_BTK, torch.finfo(dtype).min)
        yield Block(queries, keys, unsure, bias_BTK)


def _from_first_to_last(is_true_S: torch.Tensor) -> slice:
    places = is_true_S.nonzero()
    return slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0)

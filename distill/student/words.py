"""Log-likelihoods of words of several tokens behind prompts, with gradients.

The first token of a word is read where the prompt ends. For the others the words of a prompt become
branches of it: they stand side by side behind its keys and values, each sees the prompt and itself,
and none another. So a prompt goes through the model once, however many words it has.
"""

# pyright: basic
# torch's types of indexed tensors are incomplete, and transformers carries none that would hold.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

PADDING = -1
LOWEST = torch.finfo(torch.float).min
Forward = Callable[..., torch.Tensor]
"""Ids (B, T), rows (N,) and positions (N,), further arguments of the model -> logits (N, V)."""


def has_long_word(words_BKL: torch.Tensor) -> torch.Tensor:
    """Whether a row has a word of several tokens; shape (B,)."""
    return (words_BKL[:, :, 1:] != PADDING).any(dim=2).any(dim=1)


def read_branches(
    forward: Forward,
    config: Any,
    cache: Any,
    argument: str,
    words_RKL: torch.Tensor,
    starts_R: torch.Tensor,
) -> torch.Tensor:
    """Log-likelihoods of the tokens behind the first of each word, summed.

    Args:
        forward: Of the model.
        config: Of its decoder: its layers say how far they see.
        cache: Keys and values of R prompts, padded on the right; it is extended.
        argument: Of the model, which takes them.
        words_RKL: K words of L tokens at most, the rest ``PADDING``.
        starts_R: Tokens of each prompt.

    Returns:
        Shape (R, K), in nats; 0 for words of one token.
    """
    n_rows, n_words, length = words_RKL.shape
    n_seen = cache.get_seq_length()
    # token l of a word is put in where there is a token l + 1 to be read; these first in each row
    is_put_RX = (words_RKL[:, :, 1:] != PADDING).flatten(1)
    order_RX = is_put_RX.long().argsort(dim=1, descending=True, stable=True)
    order_RQ = order_RX[:, : int(is_put_RX.sum(1).max())]
    word_RQ, place_RQ = order_RQ // (length - 1), order_RQ % (length - 1)
    ids_RQ = words_RKL[:, :, :-1].flatten(1).gather(1, order_RQ).clamp(min=0)
    positions_RQ = starts_R[:, None] + place_RQ

    device = words_RKL.device
    is_prompt_RS = torch.arange(n_seen, device=device) < starts_R[:, None]
    is_own_RQQ = (word_RQ[:, :, None] == word_RQ[:, None, :]) & (
        place_RQ[:, :, None] >= place_RQ[:, None, :]
    )
    sees_RQX = torch.cat(
        [is_prompt_RS[:, None].expand(-1, order_RQ.shape[1], -1), is_own_RQQ], dim=2
    )
    at_RX = torch.cat([torch.arange(n_seen, device=device).expand(n_rows, -1), positions_RQ], dim=1)
    back_RQX = positions_RQ[:, :, None] - at_RX[:, None]

    rows_N, columns_N = is_put_RX.gather(1, order_RQ).nonzero(as_tuple=True)
    logits_NV = forward(
        ids_RQ,
        rows_N,
        columns_N,
        attention_mask=_masks(config, sees_RQX, back_RQX),
        position_ids=positions_RQ,
        **{argument: cache},
    )
    word_N, place_N = word_RQ[rows_N, columns_N], place_RQ[rows_N, columns_N]
    read_N = words_RKL[rows_N, word_N, place_N + 1]
    log_p_N = logits_NV.log_softmax(-1).gather(1, read_N[:, None])[:, 0]
    summed_X = log_p_N.new_zeros(n_rows * n_words)
    return summed_X.index_add(0, rows_N * n_words + word_N, log_p_N).view(n_rows, n_words)


def _masks(config: Any, sees_RQX: torch.Tensor, back_RQX: torch.Tensor) -> Any:
    """What the layers add to attention scores, (R, 1, Q, X); by kind where there are two."""
    window = getattr(config, "sliding_window", None) or back_RQX.shape[-1]
    kinds = {"full_attention": sees_RQX, "sliding_attention": sees_RQX & (back_RQX < window)}
    masks = {
        kind: torch.zeros_like(sees, dtype=torch.float).masked_fill(~sees, LOWEST)[:, None]
        for kind, sees in kinds.items()
    }
    layers = getattr(config, "layer_types", None) or ("sliding_attention",)
    return masks if len(set(layers)) > 1 else masks[layers[0]]


def read_whole(
    forward: Forward, ids_RT: torch.Tensor, words_RKL: torch.Tensor, starts_R: torch.Tensor
) -> torch.Tensor:
    """The same by whole sequences, K for a prompt: for models that no branch can be put behind."""
    rows, found = [], []
    for r, (ids_T, words_KL) in enumerate(zip(ids_RT, words_RKL, strict=True)):
        for k, word_L in enumerate(words_KL):
            word = word_L[word_L != PADDING]
            if len(word) > 1:
                rows.append(torch.cat([ids_T[: starts_R[r]], word]))
                found.append((r, k, int(starts_R[r]), len(word)))
    where = [(x, start + j) for x, (_, _, start, n) in enumerate(found) for j in range(n - 1)]
    rows_N, positions_N = torch.tensor(where, device=ids_RT.device).T
    ids_XT = pad_sequence(rows, batch_first=True)
    log_p_NV = forward(ids_XT, rows_N, positions_N).log_softmax(-1)
    log_p_N = log_p_NV.gather(1, ids_XT[rows_N, positions_N + 1][:, None])[:, 0]
    r_X, k_X = torch.tensor([(r, k) for r, k, _, _ in found], device=ids_RT.device).T
    n_words = words_RKL.shape[1]
    summed = log_p_N.new_zeros(len(ids_RT) * n_words)
    places_N = (r_X * n_words + k_X)[rows_N]
    return summed.index_add(0, places_N, log_p_N).view(len(ids_RT), n_words)

"""Log-likelihoods of words of several tokens behind prompts, with gradients.

The first token of a word is read where the prompt ends. For the others the words of a row become
branches of it: they stand behind the row's end, where most rows are padded anyway; each sees the
prompt and itself, and none another. So everything goes through the model once, however many words
there are.
"""

# pyright: basic
# torch's types of indexed tensors are incomplete, and transformers carries none that would hold.

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence
from transformers import AttentionInterface

from sentibench.fast.attention import NAME as BLOCKS
from sentibench.fast.attention import cache_argument

PADDING = -1
CLOSE = 1e-3  # nats
PLAIN, BRANCHED = "sdpa", "sdpa_with_branches"  # names of kinds of attention in transformers
Masks = tuple[torch.Tensor | None, torch.Tensor]
Forward = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Ids (B, T), rows (N,) and positions (N,) -> logits (N, V)."""


def has_long_word(words_BKL: torch.Tensor) -> torch.Tensor:
    """Whether a row has a word of several tokens; shape (B,)."""
    return (words_BKL[:, :, 1:] != PADDING).any(dim=2).any(dim=1)


def takes_branches(model: Any) -> bool:
    """Whether branches can be put behind a model's rows.

    Its attention is replaced for them. A model with an attention of its own would go on as before,
    so a short batch is read in both ways. One that keeps its windows in masks is left alone, and
    one of quantised weights, which a first pass without gradients may pack for ever.

    Args:
        model: Of ``transformers``, without adapters around it.
    """
    config = model.config.get_text_config()
    is_plain = config._attn_implementation in (PLAIN, BLOCKS) and cache_argument(model) is not None
    if not is_plain or getattr(model, "is_quantized", False):
        return False
    try:
        return _agrees(model, config)
    except Exception:  # code that comes with a checkpoint may do anything
        return False


def _agrees(model: Any, config: Any) -> bool:

    def forward(ids: torch.Tensor, *read: torch.Tensor, **given: Any) -> torch.Tensor:
        return model(input_ids=ids, use_cache=False, **given).logits[read].float()

    tokens = torch.arange(3, 19, device=model.device)
    rows_R, starts_B = tokens[:1] * 0, tokens[:1] * 0 + 5  # 5 tokens of a prompt, 3 of an answer
    ids_BT, words_BKL = tokens[None, :8], tokens[None, 8:].view(1, 2, 4)
    branches = branch(ids_BT, words_BKL, rows_R, starts_B, starts_B + 3)
    with torch.no_grad():
        whole_BK = read_whole(forward, ids_BT, words_BKL, rows_R, starts_B)
        with branches.attended(config):
            read = branches.ids_BX, *branches.read_N
            logits_NV = forward(*read, position_ids=branches.positions_BX)
        found_BK = branches.sum_words(logits_NV, words_BKL.shape[:2])
    layers = getattr(config, "layer_types", None) or ("sliding_attention",)
    has_windows = getattr(config, "sliding_window", None) and "sliding_attention" in layers
    is_told = not has_windows or any(window for window in branches.masks)
    return is_told and torch.allclose(found_BK, whole_BK, atol=CLOSE)


@dataclass(frozen=True, slots=True)
class Branches:
    """Rows of a batch with their words behind them; R of the B rows have words of several tokens.

    Attributes:
        ids_BX: What goes through the model.
        positions_BX: Of these ids; those of a branch go on where the prompt ends.
        rows_R: Which rows have branches.
        columns_RQ: Where their tokens stand, padding included.
        sees_RQX: What these see.
        read_N: Rows and columns whose logits are to be read, each of shape (N,).
        words_N: Row and word that these belong to, each of shape (N,).
        next_N: The token that comes next in the word.
        masks: By window (how far layers see, as they said themselves; 0 for no window): what the
            rows see, (1, 1, X, X) or None for all before, and what the tokens of branches see,
            (R, 1, Q, X).
    """

    ids_BX: torch.Tensor
    positions_BX: torch.Tensor
    rows_R: torch.Tensor
    columns_RQ: torch.Tensor
    sees_RQX: torch.Tensor
    read_N: tuple[torch.Tensor, torch.Tensor]
    words_N: tuple[torch.Tensor, torch.Tensor]
    next_N: torch.Tensor
    masks: dict[int, Masks] = field(default_factory=dict[int, Masks])

    @contextmanager
    def attended(self, config: Any) -> Iterator[None]:
        """Within, a model sees the branches of these rows as such.

        Args:
            config: Of its decoder.
        """
        kind, config._attn_implementation = config._attn_implementation, BRANCHED
        before = _ATTENDED.set((self, kind))
        try:
            yield
        finally:
            config._attn_implementation = kind
            _ATTENDED.reset(before)

    def masks_of(self, window: int, is_causal: bool) -> Masks:
        """Both masks of a layer; the same tensors for all layers of a window.

        Args:
            window: 0 for none.
            is_causal: Whether a row without a mask sees all before: then it has no mask, as that
                is faster.
        """
        if window not in self.masks:
            self.masks[window] = self._make_masks(window, is_causal)
        return self.masks[window]

    def _make_masks(self, window: int, is_causal: bool) -> Masks:
        at_BX, length = self.positions_BX, self.positions_BX.shape[1]
        has_window = 0 < window < length
        if not has_window and is_causal:
            return None, self.sees_RQX[:, None]
        all_X = torch.arange(length, device=at_BX.device)
        back_XX = all_X[:, None] - all_X
        if not has_window:
            return (back_XX >= 0)[None, None], self.sees_RQX[:, None]
        of_branches = at_BX[self.rows_R[:, None], self.columns_RQ]
        sees_RQX = self.sees_RQX & (of_branches[:, :, None] - at_BX[self.rows_R][:, None] < window)
        return ((back_XX >= 0) & (back_XX < window))[None, None], sees_RQX[:, None]

    def sum_words(self, logits_NV: torch.Tensor, shape_BK: torch.Size) -> torch.Tensor:
        """Log-likelihoods of the tokens behind the first of each word, summed: (B, K), in nats."""
        log_p_N = logits_NV.log_softmax(-1).gather(1, self.next_N[:, None])[:, 0]
        return log_p_N.new_zeros(shape_BK).index_put(self.words_N, log_p_N, accumulate=True)


_ATTENDED: ContextVar[tuple[Branches, str]] = ContextVar("branches, and the model's attention")


def branch(
    ids_BT: torch.Tensor,
    words_BKL: torch.Tensor,
    rows_R: torch.Tensor,
    starts_B: torch.Tensor,
    lengths_B: torch.Tensor,
) -> Branches:
    """Put words of several tokens behind their rows.

    Args:
        ids_BT: Rows, padded on the right.
        words_BKL: K words of L tokens at most, the rest ``PADDING``.
        rows_R: Which rows get branches: all with a word of several tokens, or some of them.
        starts_B: Tokens of each prompt.
        lengths_B: Tokens of each row.
    """
    words_RKL, device = words_BKL[rows_R], ids_BT.device
    # token l of a word is put in where there is a token l + 1 to be read; these first in each row
    is_put_RX = (words_RKL[:, :, 1:] != PADDING).flatten(1)
    order_RX = is_put_RX.long().argsort(dim=1, descending=True, stable=True)
    order_RQ = order_RX[:, : int(is_put_RX.sum(1).max())]
    n_put, n_later = order_RQ.shape[1], words_RKL.shape[2] - 1
    word_RQ, place_RQ = order_RQ // n_later, order_RQ % n_later
    columns_RQ = lengths_B[rows_R, None] + torch.arange(n_put, device=device)

    length = max(ids_BT.shape[1], int(columns_RQ.max()) + 1)
    ids_BX = pad(ids_BT, (0, length - ids_BT.shape[1]))
    put_RQ = words_RKL[:, :, :-1].flatten(1).gather(1, order_RQ).clamp(min=0)
    ids_BX = ids_BX.index_put((rows_R[:, None], columns_RQ), put_RQ)
    all_X = torch.arange(length, device=device)
    # what stands behind all rows is read by nobody, and may be further than a model has positions
    positions_BX = all_X.clamp(max=ids_BT.shape[1] - 1).repeat(len(ids_BT), 1)
    positions_BX[rows_R[:, None], columns_RQ] = starts_B[rows_R, None] + place_RQ

    is_own_RQQ = (word_RQ[:, :, None] == word_RQ[:, None, :]) & (
        place_RQ[:, :, None] >= place_RQ[:, None, :]
    )
    is_prompt_RX = all_X < starts_B[rows_R, None]
    sees_RQX = is_prompt_RX[:, None].repeat(1, n_put, 1)
    sees_RQX.scatter_(2, columns_RQ[:, None].expand(-1, n_put, -1), is_own_RQQ)

    row_N, put_N = is_put_RX.gather(1, order_RQ).nonzero(as_tuple=True)
    word_N, place_N = word_RQ[row_N, put_N], place_RQ[row_N, put_N]
    return Branches(
        ids_BX,
        positions_BX,
        rows_R,
        columns_RQ,
        sees_RQX,
        (rows_R[row_N], columns_RQ[row_N, put_N]),
        (rows_R[row_N], word_N),
        words_RKL[row_N, word_N, place_N + 1],
    )


def _attend(
    module: Any,
    query_BHXD: torch.Tensor,
    key_BHXD: torch.Tensor,
    value_BHXD: torch.Tensor,
    _mask: None,
    **given: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of a layer: causal for the rows, then anew for the tokens of branches."""
    branches, kind = _ATTENDED.get()
    plain, window = AttentionInterface()[kind], given.get("sliding_window") or 0
    near_11XX, sees_R1QX = branches.masks_of(window, is_causal=kind == PLAIN)
    rows_R, where = branches.rows_R, (branches.rows_R[:, None], branches.columns_RQ)
    out_BXHD, _ = plain(module, query_BHXD, key_BHXD, value_BHXD, near_11XX, **given)
    query_RHQD = query_BHXD.transpose(1, 2)[where].transpose(1, 2)
    of_rows = key_BHXD[rows_R], value_BHXD[rows_R]
    out_RQHD, _ = plain(module, query_RHQD, *of_rows, sees_R1QX, **given)
    return out_BXHD.index_put(where, out_RQHD), None


# a name without masks of its own: transformers then makes none, and branches are no new sequences
AttentionInterface.register(BRANCHED, _attend)


def read_whole(
    forward: Forward,
    ids_BT: torch.Tensor,
    words_BKL: torch.Tensor,
    rows_R: torch.Tensor,
    starts_B: torch.Tensor,
) -> torch.Tensor:
    """The same by whole sequences, K for a prompt: for models that no branch can be put behind."""
    rows, found = [], []
    for b in rows_R.tolist():
        for k, word_L in enumerate(words_BKL[b]):
            word = word_L[word_L != PADDING]
            if len(word) > 1:
                rows.append(torch.cat([ids_BT[b, : starts_B[b]], word]))
                found.append((b, k, int(starts_B[b]), len(word)))
    where = [(x, start + j) for x, (_, _, start, n) in enumerate(found) for j in range(n - 1)]
    rows_N, positions_N = torch.tensor(where, device=ids_BT.device).T
    ids_XT = pad_sequence(rows, batch_first=True)
    log_p_NV = forward(ids_XT, rows_N, positions_N).log_softmax(-1)
    log_p_N = log_p_NV.gather(1, ids_XT[rows_N, positions_N + 1][:, None])[:, 0]
    b_X, k_X = torch.tensor([(b, k) for b, k, _, _ in found], device=ids_BT.device).T
    words_N = b_X[rows_N], k_X[rows_N]
    summed_BK = log_p_N.new_zeros(words_BKL.shape[:2])
    return summed_BK.index_put(words_N, log_p_N, accumulate=True)

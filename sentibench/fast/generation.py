"""Greedy generation with a pool of rows: who is done leaves, who waits moves in.

A prompt goes through the model once, with the prompts of its batch; its keys and values then join
the pool, aligned on the right, where every step gives each row one token. On a CPU a step costs
little more for thirty rows than for four, since reading the weights is most of it.
"""

# pyright: basic, reportAttributeAccessIssue=false
# pyright: reportOptionalSubscript=false, reportOptionalMemberAccess=false
# pyright: reportArgumentType=false, reportReturnType=false
# transformers carries no types that would hold: their unknowns end in this module.

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from sentibench.fast.batches import Prompt
from sentibench.versions import parts_of, require

with parts_of("transformers"):
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    require(DynamicCache, "batch_repeat_interleave")
    require(DynamicLayer, "lazy_initialization", "update", "get_seq_length")

Forward = Callable[..., torch.Tensor]  # (ids, what is read, cache, mask, positions) -> logits


@dataclass(eq=False)
class Draft:
    """An answer being written: the numbers of its prompt, and the tokens generated so far."""

    numbers: list[int]
    n_prompt: int
    tokens: list[int] = field(default_factory=list)
    done: bool = False


class RoomyLayer(DynamicLayer):
    """Keys and values with room behind them: a step writes its own token and copies nothing.

    Args:
        keys: Shape (B, heads, S, D), as are the values.
        room: Tokens to come.
    """

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, room: int) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.stores = [torch.nn.functional.pad(x, (0, 0, 0, room)) for x in (keys, values)]
        self._show(keys.shape[-2])

    def _show(self, n_tokens: int) -> None:
        self.keys, self.values = (store[:, :, :n_tokens] for store in self.stores)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the new tokens behind the others; the room must hold them."""
        start = self.keys.shape[-2]
        end = start + key_states.shape[-2]
        for store, states in zip(self.stores, (key_states, value_states), strict=True):
            store[:, :, start:end] = states
        self._show(end)
        return self.keys, self.values


def generate(
    batches: Iterable[tuple[Sequence[Prompt], int, DynamicCache]],
    forward: Forward,
    is_done: Callable[[list[list[int]]], list[bool]],
    n_new: int,
    pool_tokens: int,
    device: Any,
) -> Iterator[tuple[list[int], list[int]]]:
    """Yield (numbers of the prompt, its new tokens) in the order in which the prompts finish.

    Args:
        batches: (prompts, length of the prefix that the cache holds for every one of them, that
            cache); a batch's cache is consumed.
        forward: The model; its logits where (row, position) is read, shape (N, V).
        is_done: Whether each of these lists of new tokens is an answer already.
        n_new: New tokens at most.
        pool_tokens: Positions, padding included, that the pool holds at most.
        device: Where the model is.
    """
    waiting = iter(batches)
    batch = next(waiting, None)
    rows: list[Draft] = []
    mask_BS = torch.ones(0, 0, dtype=torch.long, device=device)
    layers: list[tuple[torch.Tensor, torch.Tensor] | None] = []
    while rows or batch:
        while batch:
            prompts, n_prefix, prefix = batch
            longest = max(mask_BS.shape[1], max(len(ids) for ids, _ in prompts))
            if rows and (len(rows) + len(prompts)) * (longest + n_new) > pool_tokens:
                break
            new = _prefill(prompts, n_prefix, prefix, forward, device)
            for row in new[0]:
                row.done = n_new == 1 or is_done([row.tokens])[0]
            rows, mask_BS, layers = _join((rows, mask_BS, layers), new) if rows else new
            batch = next(waiting, None)
        room = n_new - min(len(row.tokens) for row in rows)
        cache = _roomy(layers, room)
        mask_BS = torch.nn.functional.pad(mask_BS, (0, room), value=1)
        n_seen = mask_BS.shape[1] - room
        # rows that are done stay until a quarter is: moving the others costs as much as a step
        while sum(row.done for row in rows) < max(1, len(rows) // 4):
            n_seen += 1
            _step(rows, forward, cache, mask_BS[:, :n_seen])
            for row, done in zip(rows, is_done([row.tokens for row in rows]), strict=True):
                row.done = row.done or done or len(row.tokens) == n_new
        yield from ((row.numbers, row.tokens) for row in rows if row.done)
        kept = [b for b, row in enumerate(rows) if not row.done]
        rows = [rows[b] for b in kept]
        mask_BS = mask_BS[kept, :n_seen]
        start = int(mask_BS.argmax(1).min()) if rows else n_seen  # padding that all rows share
        mask_BS = mask_BS[:, start:]
        layers = [
            (layer.keys[kept, :, start:], layer.values[kept, :, start:])
            if isinstance(layer, RoomyLayer)
            else None
            for layer in cache.layers
        ]


def _roomy(layers: list[tuple[torch.Tensor, torch.Tensor] | None], room: int) -> DynamicCache:
    """A cache of these keys and values, with room for new tokens; empties the list."""
    cache = DynamicCache()
    layers.reverse()  # the old ones go one by one
    while layers:
        held = layers.pop()
        # a layer that shares the keys of another holds nothing
        cache.layers.append(DynamicLayer() if held is None else RoomyLayer(*held, room=room))
        del held
    return cache


def _step(rows: Sequence[Draft], forward: Forward, cache: DynamicCache, mask_BS: Any) -> None:
    """Append the likeliest next token to every row that is not done."""
    last_B1 = torch.tensor([[row.tokens[-1]] for row in rows], device=mask_BS.device)
    # not counted in the mask: rows that are done stay where they ended
    at = [[row.n_prompt + len(row.tokens) - 1] for row in rows]
    positions_B1 = torch.tensor(at, device=mask_BS.device)
    read = [(b, 0) for b in range(len(rows))]
    logits_BV = forward(last_B1, read, cache, mask_BS, positions_B1)
    for row, token in zip(rows, logits_BV.argmax(-1).tolist(), strict=True):
        if not row.done:
            row.tokens.append(token)


def _prefill(
    prompts: Sequence[Prompt],
    n_prefix: int,
    prefix: DynamicCache,
    forward: Forward,
    device: Any,
) -> tuple[list[Draft], torch.Tensor, list[tuple[torch.Tensor, torch.Tensor] | None]]:
    """First new token of every prompt, the mask and the keys and values, aligned on the right."""
    ids = [torch.tensor(row[n_prefix:]) for row, _ in prompts]
    ids_BT = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True).to(device)
    lengths = [len(prompt) for prompt in ids]
    logits_BV = forward(ids_BT, [(b, length - 1) for b, length in enumerate(lengths)], prefix)
    best_B = logits_BV.argmax(-1).tolist()
    pairs = zip(prompts, best_B, strict=True)
    rows = [Draft(numbers, len(row), [token]) for (row, numbers), token in pairs]
    shifts = [ids_BT.shape[1] - length for length in lengths]
    n_all = n_prefix + ids_BT.shape[1]
    mask_BS = (torch.arange(n_all)[None] >= torch.tensor(shifts)[:, None]).long().to(device)

    def align(states_BHSD: torch.Tensor) -> torch.Tensor:
        moved = [x.roll(n, dims=-2) for x, n in zip(states_BHSD, shifts, strict=True)]
        return torch.stack(moved)

    layers = [
        (align(layer.keys), align(layer.values)) if layer.get_seq_length() else None
        for layer in prefix.layers
    ]
    return rows, mask_BS, layers


def _join(pool: tuple[list[Draft], Any, list[Any]], new: tuple[list[Draft], Any, list[Any]]) -> Any:
    """One pool of two, the shorter one padded on the left."""
    n_all = max(pool[1].shape[1], new[1].shape[1])

    def both(a: torch.Tensor, b: torch.Tensor, axis: int) -> torch.Tensor:
        room = [(0, 0) * (-1 - axis) + (n_all - x.shape[axis], 0) for x in (a, b)]
        return torch.cat([torch.nn.functional.pad(x, r) for x, r in zip((a, b), room, strict=True)])

    layers = [
        None if x is None else (both(x[0], y[0], -2), both(x[1], y[1], -2))
        for x, y in zip(pool[2], new[2], strict=True)
    ]
    return pool[0] + new[0], both(pool[1], new[1], -1), layers

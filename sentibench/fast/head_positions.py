"""Logits where they are read: the head is the largest layer of a small model, and mostly unread.

A label is read at one position of a prompt of hundreds, a response is supervised at its own tokens
alone. With a vocabulary of 262,144 the head costs more than the whole of a 270M decoder.
"""

# pyright: basic, reportOptionalMemberAccess=false
# transformers carries no types that would hold: their unknowns end in this module.

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


class HeadPositions:
    """Makes a causal model compute its head, and its last MLP, at chosen positions only.

    Both see one position at a time and nothing behind them mixes positions, so the logits are the
    same. Outside ``only`` the model is as before.

    Args:
        model: Of ``transformers``, without adapters around it; inside, they may be.
    """

    def __init__(self, model: Any) -> None:
        self._read: tuple[torch.Tensor, torch.Tensor] | None = None
        self._shape_BT: tuple[int, ...] = ()
        self._later = False
        self._waiting: list[torch.Tensor] | None = None
        model.get_output_embeddings().register_forward_pre_hook(self._pick_for_head)
        layers = getattr(model.get_decoder(), "layers", None)
        mlp = getattr(layers[-1], "mlp", None) if layers else None
        experts = hasattr(mlp, "experts") or hasattr(mlp, "router")  # may return more than states
        if type(mlp).__name__.endswith("MLP") and not experts:
            mlp.register_forward_pre_hook(self._pick)
            mlp.register_forward_hook(self._put_back)

    @contextmanager
    def only(
        self,
        rows_N: torch.Tensor,
        positions_N: torch.Tensor,
        shape_BT: tuple[int, ...],
        later: bool = False,
    ) -> Iterator[None]:
        """Within, the model returns logits of shape (1, N, V).

        Args:
            rows_N: Rows of the batch.
            positions_N: Positions in these rows.
            shape_BT: Shape of the ids that the model is given.
            later: The head computes nothing yet: the logits have shape (1, 0, V). Within the same
                `together`, these positions come first in the logits of the next call without
                ``later``.
        """
        self._read, self._shape_BT, self._later = (rows_N, positions_N), shape_BT, later
        try:
            yield
        finally:
            self._read = None

    @contextmanager
    def together(self) -> Iterator[None]:
        """Positions that are read later are kept within; nothing is kept from before, or after."""
        self._waiting = []
        try:
            yield
        finally:
            self._waiting = None

    def _pick(self, _module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if self._read is None:
            return None
        return (inputs[0][self._on(inputs[0].device)][None], *inputs[1:])

    def _pick_for_head(self, _module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if self._read is None:
            return None
        states_1NH, *others = self._pick(_module, inputs) or inputs
        if self._later:
            if self._waiting is not None:
                self._waiting.append(states_1NH)
            return (states_1NH[:, :0], *others)
        if self._waiting:
            states_1NH = torch.cat([*self._waiting, states_1NH], dim=1)
            self._waiting.clear()
        return (states_1NH, *others)

    def _put_back(self, _module: Any, _inputs: Any, out: torch.Tensor) -> torch.Tensor | None:
        if self._read is None:
            return None
        whole_BTH = out.new_zeros(*self._shape_BT, out.shape[-1])
        whole_BTH[self._on(out.device)] = out[0]
        return whole_BTH

    def _on(self, device: torch.device) -> tuple[torch.Tensor, ...]:
        """Where to read, on the device of a layer: a model may lie on several."""
        assert self._read is not None
        return tuple(index.to(device) for index in self._read)

"""The loss on the teacher's distribution over labels, beside that on its answers.

A teacher that scored the labels of a prompt said more than which is likeliest. With p its
probabilities of K labels and q the student's, softmax over the log-likelihoods of the same K words,

    loss = (1 - w) * hard + w * t^2 * KL(p^(1/t) / Z || q^(1/t) / Z')

where w is the weight, t the temperature, and hard the negative log-likelihood of the answer's
tokens. The end of the text keeps its whole weight, so that the student learns to stop. Only words
are compared, so teacher and student need no common tokenizer.

Source: Hinton et al. 2015, Distilling the Knowledge in a Neural Network, section 2.
"""

# pyright: basic
# torch's types of indexed tensors are incomplete: their unknowns end in this module.

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from distill.student.words import PADDING

NEVER = -1e9  # a logit whose probability is 0; minus infinity would make 0 * infinity
SMALLEST = 1e-30  # of a teacher's probability
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class SoftLoss:
    """Sums the loss of a batch.

    Attributes:
        weight: Of the distribution, in (0, 1].
        temperature: By which both models' log-likelihoods are divided, above 0.
    """

    weight: float
    temperature: float

    def collate(
        self, plain: Callable[[Rows], dict[str, torch.Tensor]]
    ) -> Callable[[Rows], dict[str, torch.Tensor]]:
        """A collator that adds the labels' words (B, K, L) and the teacher's targets (B, K)."""

        def collate(rows: Rows) -> dict[str, torch.Tensor]:
            k = max(1, *(len(row["words"]) for row in rows))
            n_ids = max(1, *(len(word) for row in rows for word in row["words"] or [[]]))
            words_BKL = torch.full((len(rows), k, n_ids), PADDING)
            target_BK = torch.zeros(len(rows), k)
            for number, row in enumerate(rows):
                for place, word in enumerate(row["words"]):
                    words_BKL[number, place, : len(word)] = torch.tensor(word)
                target_BK[number, : len(row["target"])] = torch.tensor(row["target"])
            return {**plain(rows), "words": words_BKL, "target": target_BK}

        return collate

    def __call__(
        self,
        logits_NV: torch.Tensor,
        read: tuple[torch.Tensor, torch.Tensor],
        inputs: Mapping[str, torch.Tensor],
        rest_BK: torch.Tensor,
    ) -> torch.Tensor:
        """The loss, summed over the supervised tokens.

        Args:
            logits_NV: At the positions before supervised tokens, in the order of rows.
            read: Rows and positions of these.
            inputs: ``input_ids`` and ``labels`` (B, T), ``words`` (B, K, L), ``target`` (B, K).
            rest_BK: Log-likelihoods of what is behind the first token of each word; 0 for nothing.
        """
        rows_N, positions_N = read
        ids_BT, target_BK = inputs["input_ids"], inputs["target"]
        losses_N = cross_entropy(logits_NV, ids_BT[rows_N, positions_N + 1], reduction="none")
        is_soft_B = target_BK.sum(dim=1) > 0
        is_last_N = torch.ones_like(rows_N, dtype=torch.bool)
        is_last_N[:-1] = rows_N[1:] != rows_N[:-1]
        is_answer_N = is_soft_B[rows_N] & ~is_last_N
        hard = (losses_N * torch.where(is_answer_N, 1 - self.weight, 1.0)).sum()
        if not is_soft_B.any():
            return hard
        is_first_N = torch.ones_like(is_last_N)
        is_first_N[1:] = is_last_N[:-1]
        first_B = torch.zeros_like(is_soft_B, dtype=torch.long)  # where in N a row begins
        first_B[rows_N[is_first_N]] = is_first_N.nonzero()[:, 0]
        words_BKL = inputs["words"]
        is_word_BK = words_BKL[:, :, 0] != PADDING
        # the same sum over the vocabulary belongs to all words of a row, and cancels
        scores_BK = rest_BK + logits_NV[first_B].gather(1, words_BKL[:, :, 0].clamp(min=0))
        of_soft = (part[is_soft_B] for part in (scores_BK, target_BK, is_word_BK))
        return hard + self.weight * self._divergence(*of_soft)

    def _divergence(
        self, scores_RK: torch.Tensor, target_RK: torch.Tensor, is_word_RK: torch.Tensor
    ) -> torch.Tensor:
        """t^2 * KL(teacher || student), summed over rows."""

        def distribution(scores_RK: torch.Tensor) -> torch.Tensor:
            return (scores_RK / self.temperature).masked_fill(~is_word_RK, NEVER).log_softmax(1)

        log_p_RK = distribution(target_RK.clamp(min=SMALLEST).log())
        gap_RK = log_p_RK.exp() * (log_p_RK - distribution(scores_RK))
        return self.temperature**2 * gap_RK.sum()

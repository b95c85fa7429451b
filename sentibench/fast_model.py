"""``lm_eval --model sentibench-hf``: lm-eval's ``hf`` with less work per label task, same numbers.

Three things are saved, none of them changes a prediction. Texts are tokenised in one batched call.
The language-model head and the softmax are computed at the positions of the labels only, not at
every position of the prompt. What the prompts of a task have in common at their beginning, the
instruction, goes through the model once. Batches hold a number of tokens, not of rows, sorted by
length. Generation and whatever is not a causal model are lm-eval's own code.
"""

# pyright: basic, reportAttributeAccessIssue=false
# lm-eval and transformers carry no types that would hold: their unknowns end in this module.

from __future__ import annotations

import copy
import inspect
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import has_bos_prefix
from tqdm import tqdm
from transformers import DynamicCache

from sentibench.errors import InputError

CPU_TOKENS, GPU_TOKENS = 1_024, 16_384
LONGEST_LABEL = 16  # tokens; longer continuations are no labels and go to lm-eval's code
CLUSTER = 12  # prompts that begin with the same tokens are of one task
SHORTEST_PREFIX = 8  # below, a shared beginning costs more than it saves

Request = tuple[Any, list[int], list[int]]  # (text pair or None, context, continuation)
Row = tuple[tuple[int, ...], list[int]]  # (input ids, numbers of the requests that it answers)


class SentiBenchLM(HFLM):
    """A causal model of ``transformers`` that scores labels at the label positions only.

    Args:
        batch_tokens: Tokens of a batch, padding included; a longer prompt is a batch of its own.
            Default 1,024 on the CPU, 16,384 elsewhere. ``batch_size`` counts for generation only.
        kwargs: All arguments of lm-eval's ``hf``.

    Raises:
        InputError: If ``batch_tokens`` is no positive whole number.
    """

    def __init__(self, *args: Any, batch_tokens: int | None = None, **kwargs: Any) -> None:
        if batch_tokens is not None and (not isinstance(batch_tokens, int) or batch_tokens < 1):
            raise InputError(f"batch_tokens: got {batch_tokens!r}, expected a positive number")
        super().__init__(*args, **kwargs)
        default = CPU_TOKENS if self.device.type == "cpu" else GPU_TOKENS
        self.batch_tokens = batch_tokens or default
        model = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        known = inspect.signature(model.forward).parameters
        self.keeps_positions = self.backend == "causal" and "logits_to_keep" in known
        self.tokens_computed = 0

    def loglikelihood(
        self, requests: list[Any], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Score continuations, each text tokenised once; see lm-eval's ``hf``."""
        pairs = [request.args for request in requests]
        if not self.keeps_positions or self.enable_thinking or any(c == "" for c, _ in pairs):
            return super().loglikelihood(requests, disable_tqdm)  # pyright: ignore[reportCallIssue]
        stripped = [_move_spaces(*pair) for pair in pairs]
        texts = dict.fromkeys(c for c, _ in stripped) | dict.fromkeys(c + k for c, k in stripped)
        ids = self._encode_all(list(texts))
        encoded = [
            (pair, ids[c], ids[c + k][len(ids[c]) :])
            for pair, (c, k) in zip(pairs, stripped, strict=False)
        ]
        return self._loglikelihood_tokens(encoded, disable_tqdm=disable_tqdm)

    def _encode_all(self, texts: Sequence[str]) -> dict[str, list[int]]:
        """What ``tok_encode`` gives for each text, in two batched calls."""
        bos = self.tokenizer.decode(self.prefix_token_id)
        special = {} if self.add_bos_token is None else {"add_special_tokens": self.add_bos_token}
        ids: dict[str, list[int]] = {}
        for has_bos in (False, True):
            chosen = [text for text in texts if bool(has_bos_prefix(text, bos)) is has_bos]
            if chosen:
                flags = {"add_special_tokens": False} if has_bos else special
                ids |= zip(chosen, self.tokenizer(chosen, **flags)["input_ids"], strict=True)
        return ids

    def _loglikelihood_tokens(
        self,
        requests: list[Request],
        disable_tqdm: bool = False,
        override_bs: int | None = None,
    ) -> list[tuple[float, bool]]:
        lengths = {len(continuation) for *_, continuation in requests}
        if not self.keeps_positions or not all(0 < n <= LONGEST_LABEL for n in lengths):
            return super()._loglikelihood_tokens(requests, disable_tqdm, override_bs)
        answers: list[tuple[float, bool]] = [(0.0, False)] * len(requests)
        bar = tqdm(
            total=len(requests),
            disable=disable_tqdm or self.rank != 0,
            desc="Running loglikelihood requests",
        )
        for rows in _clusters(requests, self.max_length):
            n_prefix, cache = self._prefix(rows, max(lengths))
            for batch in _batches(rows, n_prefix, self.batch_tokens):
                for number, answer in self._score(batch, requests, n_prefix, cache):
                    answers[number] = answer
                    if requests[number][0] is not None:
                        self.cache_hook.add_partial("loglikelihood", requests[number][0], answer)
                    bar.update()
        bar.close()
        return answers

    def _prefix(self, rows: Sequence[Row], longest: int) -> tuple[int, DynamicCache | None]:
        """Number of ids that all rows begin with, and the model's keys and values for them."""
        first, last = min(rows)[0], max(rows)[0]
        # every row keeps the positions where its labels are read
        n = max(0, min(len(ids) for ids, _ in rows) - longest)
        shared = next((i for i in range(n) if first[i] != last[i]), n)
        if shared < SHORTEST_PREFIX or len(rows) < 4:
            return 0, None
        cache = DynamicCache()
        self._forward(torch.tensor([first[:shared]], device=self.device), [0], cache)
        return shared, cache

    def _forward(
        self, ids_BT: torch.Tensor, kept: Sequence[int], cache: DynamicCache | None
    ) -> torch.Tensor:
        """Logits at the kept positions, shape (B, K, V); a cache is read and extended."""
        with (
            torch.inference_mode(),
            torch.autocast(
                device_type=self.device.type,
                dtype=self.mixed_precision_dtype,
                enabled=self.mixed_precision_dtype is not None,
            ),
        ):
            self.tokens_computed += ids_BT.numel()
            past = {} if cache is None else {"past_key_values": cache}
            keep = torch.tensor(kept, device=self.device)
            use_cache = cache is not None
            return self.model(ids_BT, logits_to_keep=keep, use_cache=use_cache, **past).logits

    def _score(
        self,
        batch: Sequence[Row],
        requests: Sequence[Request],
        n_prefix: int,
        cache: DynamicCache | None,
    ) -> Iterator[tuple[int, tuple[float, bool]]]:
        """Log-likelihood and is-greedy of every request of a batch."""
        ids = [torch.tensor(row[n_prefix:]) for row, _ in batch]
        # padded on the right: a causal model looks at no later position
        ids_BT = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True).to(self.device)
        if cache is not None:
            cache = copy.deepcopy(cache)
            cache.batch_repeat_interleave(len(batch))
        wanted = [
            len(row_ids) - len(requests[number][2]) + offset
            for row_ids, (_, numbers) in zip(ids, batch, strict=True)
            for number in numbers
            for offset in range(len(requests[number][2]))
        ]
        kept = sorted(set(wanted))
        place = {position: i for i, position in enumerate(kept)}
        logits_BKV = self._forward(ids_BT, kept, cache)
        for b, (row_ids, (_, numbers)) in enumerate(zip(ids, batch, strict=True)):
            # several labels are read at one position
            scores: dict[int, tuple[torch.Tensor, int]] = {}
            for number in numbers:
                label = requests[number][2]
                start = len(row_ids) - len(label)
                total, greedy = 0.0, True
                for offset, token in enumerate(label):
                    at = place[start + offset]
                    if at not in scores:
                        dtype = self.softmax_dtype or torch.float32
                        log_p_V = logits_BKV[b, at].log_softmax(-1, dtype=dtype)
                        scores[at] = log_p_V, int(log_p_V.argmax())
                    log_p_V, best = scores[at]
                    total += float(log_p_V[token])
                    greedy = greedy and best == token
                yield number, (total, greedy)


def _move_spaces(context: str, continuation: str) -> tuple[str, str]:
    """Spaces at the end of a context belong to the continuation, as in lm-eval."""
    bare = context.rstrip()
    return bare, context[len(bare) :] + continuation


def _clusters(requests: Sequence[Request], max_length: int) -> list[list[Row]]:
    """Rows of requests that differ in their last token only, by common beginning, longest first."""
    numbers: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for number, (_, context, continuation) in enumerate(requests):
        numbers[tuple((context + continuation)[-(max_length + 1) :][:-1])].append(number)
    clusters: dict[tuple[int, ...], list[Row]] = defaultdict(list)
    for row in sorted(numbers.items(), key=lambda row: (-len(row[0]), row[0])):
        clusters[row[0][:CLUSTER]].append(row)
    return list(clusters.values())


def _batches(rows: Sequence[Row], n_prefix: int, batch_tokens: int) -> Iterator[list[Row]]:
    """Cut rows, longest first, where a batch would hold more tokens than allowed."""
    start = 0
    while start < len(rows):
        n_rows = max(1, batch_tokens // (len(rows[start][0]) - n_prefix))
        yield list(rows[start : start + n_rows])
        start += n_rows

"""``lm_eval --model sentibench-hf``: lm-eval's ``hf`` with less work, same numbers.

What is saved changes no prediction. Texts are tokenised in batched calls. The language-model head
and the softmax are computed at the positions of the labels only, not at every position of the
prompt; the softmax is float32 whatever the model computes in, where ``hf`` keeps the model's type.
What prompts have in common at their beginning, the instruction, goes through the model once.
Batches hold a number of tokens, not of rows, sorted by length. An answer ends at its own stop
string and makes room for the next prompt. The head computes the labels of several batches at once.
On the CPU, weights are prepacked and attention is computed in blocks. Sampling, prompts without
text and models that are not plain decoders are lm-eval's own code.
"""

# pyright: basic, reportAttributeAccessIssue=false
# pyright: reportOptionalMemberAccess=false
# lm-eval and transformers carry no types that would hold: their unknowns end in this module.

from __future__ import annotations

import copy
import inspect
import math
import sys
from collections import defaultdict
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from sentibench.errors import InputError, refuse_missing
from sentibench.fast.batches import FEWEST_ROWS, Batch, Prompt, clusters, cut, in_groups, n_shared
from sentibench.fast.dtypes import cpu_dtype
from sentibench.versions import parts_of, require

# arguments of lm-eval's hf that it keeps under their names
SETTINGS = ("add_bos_token", "backend", "enable_thinking", "mixed_precision_dtype")
SETTINGS += ("softmax_dtype", "think_end_token", "truncation")

with parts_of("lm-eval"):
    import psutil
    import torch
    from lm_eval.models.huggingface import HFLM
    from lm_eval.models.utils import (
        handle_stop_sequences,
        has_bos_prefix,
        normalize_gen_kwargs,
        postprocess_generated_text,
    )

    require(HFLM, "loglikelihood", "_loglikelihood_tokens(override_bs)", "generate_until")
    require(HFLM, "tok_encode", "tok_decode", "apply_chat_template", "model", "device", "rank")
    require(HFLM, "get_model_info")
    require(HFLM, "max_length", "max_gen_toks", "eot_token_id", "prefix_token_id")

with parts_of("transformers"):
    from safetensors import SafetensorError
    from tqdm import tqdm
    from transformers import DynamicCache
    from transformers.utils import logging

    from sentibench.fast.attention import attend_in_blocks, cache_argument
    from sentibench.fast.generation import generate
    from sentibench.fast.head_positions import HeadPositions
    from sentibench.fast.int8 import quantise
    from sentibench.fast.packed import pack

CPU_TOKENS, GPU_TOKENS = 1_024, 16_384
LONGEST_LABEL = 16  # tokens; longer continuations are no labels and go to lm-eval's code
SLICE = 256  # texts that are tokenised in one call
# a head computes the labels of so many batches and prompts at a time: a batch has few of them, and
# for few, reading the weights of a large vocabulary is what takes the time
HEAD_BATCHES, HEAD_PROMPTS = 8, 32
SUMMED = 8  # positions whose vocabulary is summed at a time: the summands take as much memory again
SHORTEST_PREFIX = 8  # below, a shared beginning costs more than it saves
POOL = 16  # keys and values of so many batches are kept while answers are generated, where they fit
COPIES = 4  # of these keys and values while prompts join, at most
# what a generation config may say without changing a greedy answer
HARMLESS = {"bos_token_id", "eos_token_id", "pad_token_id", "do_sample", "temperature", "top_p"}
HARMLESS |= {"top_k", "min_p", "max_length", "transformers_version", "use_cache"}

Request = tuple[Any, list[int], list[int]]  # (text pair or None, context, continuation)
# rows of a batch, the number of ids that all begin with, keys and values of these
WithKeys = tuple[list[Prompt], int, DynamicCache]

log = logging.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Written:
    """An answer: the prompts that it is for, its tokens, whether it ended by itself."""

    numbers: list[int]
    text: str
    tokens: list[int]
    ended: bool


class SentiBenchLM(HFLM):
    """The model behind ``--model sentibench-hf``: lm-eval's ``hf`` for causal models, but faster.

    Args:
        batch_tokens: Tokens of a batch, padding included. A longer prompt is a batch of its own.
            Default: 1,024 on the CPU, 16,384 elsewhere. ``batch_size`` is used only where
            lm-eval's own code runs.
        dtype: The same as for lm-eval's ``hf``, with two differences. On the CPU, ``auto`` is the
            dtype that is fastest on this processor. On the CPU, ``int8`` computes linear layers in
            eight bits and everything else in bfloat16.
        kwargs: All other arguments of lm-eval's ``hf``.

    Raises:
        InputError: If ``batch_tokens`` is not a positive whole number, or the model cannot use
            int8.
    """

    def __init__(
        self,
        *args: Any,
        batch_tokens: int | None = None,
        dtype: str | torch.dtype | None = "auto",
        **kwargs: Any,
    ) -> None:
        if batch_tokens is not None and (not isinstance(batch_tokens, int) or batch_tokens < 1):
            raise InputError(
                f"batch_tokens: got {batch_tokens!r}, expected a positive whole number"
            )
        device = str(kwargs.get("device") or "cuda")
        on_cpu = device == "cpu" or (device[:4] == "cuda" and not torch.cuda.is_available())
        pretrained: object = kwargs["pretrained"] if "pretrained" in kwargs else args[0]
        if dtype == "auto" and on_cpu and isinstance(pretrained, str):
            dtype = cpu_dtype()
            log.warning("dtype=auto: %s, which is fastest on this processor", dtype)
        kwargs["dtype"] = "bfloat16" if dtype == "int8" else dtype
        super().__init__(*args, **kwargs)
        with parts_of("lm-eval"):
            require(self, *SETTINGS)
        self.is_int8 = dtype == "int8"
        if self.is_int8:
            quantise(self.model)
        elif isinstance(pretrained, str) and not self.mixed_precision_dtype:
            pack(self.model)  # a model that is given may be trained on, or saved
        if isinstance(pretrained, str) and not self.mixed_precision_dtype:
            attend_in_blocks(self.model)
        self._warned_of_truncation = False
        self._known: Container[tuple[str, str]] = ()
        self._kept: tuple[tuple[int, ...], DynamicCache] = ((), DynamicCache())
        self.bytes_per_token = 1
        default = CPU_TOKENS if self.device.type == "cpu" else GPU_TOKENS
        self.batch_tokens = batch_tokens or default
        model = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        known = inspect.signature(model.forward).parameters
        adapter = getattr(self.model, "active_peft_config", None)
        self.uses_head_positions = (
            self.backend == "causal"
            and cache_argument(model) is not None
            and not getattr(adapter, "is_prompt_learning", False)  # prompts of its own
        )
        self.positions = HeadPositions(model) if self.uses_head_positions else None
        self.cache_argument = cache_argument(model) or ""
        self.tokens_computed = 0
        self.uses_head_positions = self.uses_head_positions and self._agrees()
        said = model.generation_config.to_diff_dict() if model.generation_config else {}
        said = {key for key, value in said.items() if value and not key.startswith("_")}
        self.writes_greedily = (
            self.uses_head_positions
            and "position_ids" in known
            and said <= HARMLESS
            and not self.think_end_token
            and not self.truncation
        )

    @classmethod
    def create_from_arg_obj(
        cls, arg_dict: dict[str, Any], additional_config: dict[str, Any] | None = None
    ) -> Any:
        """Load the model for lm-eval's command; see the base class.

        Raises:
            InputError: If the model cannot be loaded with these arguments.
        """
        if "pretrained" not in arg_dict:
            raise InputError(
                "--model_args: no pretrained=NAME; expected a folder or a model's name"
            )
        name = str(arg_dict["pretrained"])
        is_path = name.startswith((".", "/", "~")) or name.count("/") > 1
        if is_path and not Path(name).is_dir():
            refuse_missing(Path(name), "the folder of a checkpoint", "--model_args pretrained=")
            raise InputError(
                f"--model_args pretrained={name}: got a file, expected the folder of a checkpoint"
            )
        try:
            return super().create_from_arg_obj(arg_dict, additional_config)
        except (OSError, ValueError, SafetensorError, AttributeError, TypeError) as error:
            # a dtype, say, that is no name in torch
            words = ("pretrained", *arg_dict, *map(str, arg_dict.values()))
            quoted = [word for word in words if f"'{word}'" in str(error)]
            if isinstance(error, (AttributeError, TypeError)):
                if not quoted:
                    raise
                where = next(
                    (n for n, v in arg_dict.items() if quoted[0] in (n, str(v))), quoted[0]
                )
                got = f"{where}={arg_dict.get(where)}"
                raise InputError(
                    f"--model_args {got}: not known to this model or to torch"
                ) from error
            raise InputError(
                f"--model_args pretrained={name}: cannot be loaded; "
                "expected a folder with a checkpoint or a model's name; got "
                f"{' '.join(str(error).split())}"
            ) from error

    def get_model_info(self) -> dict[str, Any]:
        """Facts that lm-eval writes into its results file, with the largest memory used."""
        info = super().get_model_info()
        if self.is_int8:  # the layers that are left say bfloat16
            info["model_dtype"] = "int8"
        if self.device.type == "cuda":
            info["peak_memory_bytes"] = torch.cuda.max_memory_allocated(self.device)
        elif sys.platform != "win32":
            import resource  # not there on Windows

            unit = 1 if sys.platform == "darwin" else 1024
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            info["peak_memory_bytes"] = peak * unit
        return info

    def use_adapter(self, folder: str) -> bool:
        """Replace the LoRA adapter of the model by another one.

        The base model stays in memory. What `keep_beginning` kept is lost.

        Args:
            folder: LoRA weights for the same base model.

        Returns:
            True if the adapter is in use. False: load the model again.
        """
        if not self.peft or not self.uses_head_positions:
            return False
        before = self.model.active_adapter
        self.model.load_adapter(folder, adapter_name=folder.replace(".", "_"))
        self.model.set_adapter(folder.replace(".", "_"))
        self.model.delete_adapter(before)
        self.model.eval()
        self.peft, self._kept = folder, ((), DynamicCache())
        return self._agrees()

    def _agrees(self) -> bool:
        """Whether a few tokens get the logits of the plain model: not so for unusual decoders."""
        ids_BT = torch.arange(16, device=self.device).view(2, 8) % self.vocab_size
        ids_BT[:, :4] = ids_BT[0, :4]
        try:
            cache = DynamicCache()
            self._forward(ids_BT[:1, :4], [], cache, later=True)
            cache.batch_repeat_interleave(2)
            layers = [layer for layer in cache.layers if layer.get_seq_length()]
            held = sum(layer.keys.nbytes + layer.values.nbytes for layer in layers)
            self.bytes_per_token = max(1, held // 8)
            with self.positions.together():
                self._forward(ids_BT[:, 4:], [(0, 3)], copy.deepcopy(cache), later=True)
                found_NV = self._forward(ids_BT[:, 4:], [(1, 2)], cache)
            with torch.inference_mode():
                plain_BTV = self.model(ids_BT).logits
        except Exception:  # whatever it is, lm-eval's own code does without it
            return False
        finally:
            self.tokens_computed = 0
        expected_NV = torch.stack([plain_BTV[0, 7], plain_BTV[1, 6]]).float()
        if found_NV.shape != expected_NV.shape:
            return False
        gap = (found_NV.float().log_softmax(-1) - expected_NV.log_softmax(-1)).abs().max()
        return bool(gap < (1e-2 if plain_BTV.dtype == torch.float32 else 1.0))

    def loglikelihood(
        self, requests: list[Any], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Score continuations, as lm-eval's ``hf`` does. Each text is tokenised once."""
        pairs = [request.args for request in requests]
        if not self.uses_head_positions or self.enable_thinking or any(c == "" for c, _ in pairs):
            return super().loglikelihood(requests, disable_tqdm)  # pyright: ignore[reportCallIssue]
        stripped = [_move_spaces(*pair) for pair in pairs]
        texts = dict.fromkeys(c for c, _ in stripped) | dict.fromkeys(c + k for c, k in stripped)
        ids = self._encode_all(list(texts), self.tokenizer.decode(self.prefix_token_id))
        encoded = [
            (pair, ids[c], ids[c + k][len(ids[c]) :])
            for pair, (c, k) in zip(pairs, stripped, strict=False)
        ]
        return self._loglikelihood_tokens(encoded, disable_tqdm=disable_tqdm)

    def log_likelihoods(
        self, pairs: Sequence[tuple[str, str]], known: Container[tuple[str, str]] = ()
    ) -> list[float]:
        """Log-likelihoods of continuations, for programs other than lm-eval.

        Args:
            pairs: N pairs (prompt, continuation).
            known: Pairs whose scores you have already. Some batches go through the head together;
                they are left out if all their pairs are known. The others stay the same, so their
                last digits do too.

        Returns:
            N numbers in nats; NaN for pairs that were left out.
        """
        requests = [SimpleNamespace(args=pair) for pair in pairs]
        self._known = known
        try:
            return [score for score, _ in self.loglikelihood(requests, disable_tqdm=True)]
        finally:
            self._known = ()

    def n_tokens(self, prompts: Sequence[str]) -> list[int]:
        """Number of tokens of each prompt, at most the model's maximum length."""
        ids = self._encode_all(list({*prompts}), self.tokenizer.decode(self.prefix_token_id))
        return [min(len(ids[prompt]), self.max_length) for prompt in prompts]

    def keep_beginning(self, prompts: Sequence[str]) -> None:
        """Compute the common beginning of prompts once and keep it for later calls.

        Later calls with few prompts are then as fast per prompt as calls with many. Use it only if
        the weights do not change.

        Args:
            prompts: Two or more prompts. They must differ where later prompts will differ.
        """
        ids = self._encode_all(prompts, self.tokenizer.decode(self.prefix_token_id))
        rows: list[Prompt] = [(tuple(row), []) for row in ids.values()]
        shared = n_shared(rows)
        if self.uses_head_positions and SHORTEST_PREFIX <= shared < self.max_length:
            prefix = rows[0][0][:shared]
            self._kept = prefix, self._keys_of(prefix)

    def _encode_all(self, texts: Sequence[str], bos: str | None) -> dict[str, list[int]]:
        """What ``tok_encode`` gives for each text, many in one call."""
        special = {} if self.add_bos_token is None else {"add_special_tokens": self.add_bos_token}
        ids: dict[str, list[int]] = {}
        for has_bos in (False, True):
            chosen = [text for text in texts if bool(has_bos_prefix(text, bos)) is has_bos]
            flags = {"add_special_tokens": False} if has_bos else special
            for start in range(0, len(chosen), SLICE):  # tokenizers keep more than the ids
                part = chosen[start : start + SLICE]
                ids |= zip(part, self.tokenizer(part, **flags)["input_ids"], strict=True)
        return ids

    def _loglikelihood_tokens(
        self,
        requests: list[Request],
        disable_tqdm: bool = False,
        override_bs: int | None = None,
    ) -> list[tuple[float, bool]]:
        fast = [0 < len(k) <= LONGEST_LABEL and self.uses_head_positions for *_, k in requests]
        others = [request for request, is_fast in zip(requests, fast, strict=True) if not is_fast]
        theirs = super()._loglikelihood_tokens(others, disable_tqdm, override_bs) if others else []
        chosen = [request for request, is_fast in zip(requests, fast, strict=True) if is_fast]
        waiting = iter(theirs), iter(self._score_labels(chosen, disable_tqdm) if chosen else [])
        return [next(waiting[is_fast]) for is_fast in fast]

    def _score_labels(
        self, requests: Sequence[Request], disable_tqdm: bool
    ) -> list[tuple[float, bool]]:
        """Log-likelihood and is-greedy of short continuations."""
        scores: list[tuple[float, bool]] = [(math.nan, False)] * len(requests)
        bar = self._bar("loglikelihood", len(requests), disable_tqdm)
        whole = [(c + k)[:-1] for _, c, k in requests]
        ids = [self._cut_on_the_left(row, self.max_length) for row in whole]
        longest = max(len(continuation) for *_, continuation in requests)
        known = {n for n, (pair, *_) in enumerate(requests) if pair in self._known}
        groups = [
            group
            for group in in_groups(self._plan(ids, longest), HEAD_BATCHES, HEAD_PROMPTS)
            if not all(n in known for batch in group for n in batch.numbers)
        ]
        ready = self._with_keys([batch for group in groups for batch in group])
        for group in groups:
            batches = islice(ready, len(group))
            for number, score in self._score(batches, len(group), requests):
                scores[number] = score
                if requests[number][0] is not None:
                    self.cache_hook.add_partial("loglikelihood", requests[number][0], score)
                bar.update()
        bar.close()
        return scores

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Write greedy answers up to the first stop string, as lm-eval's ``hf`` does."""
        plans: list[dict[str, Any]] = [
            dict(normalize_gen_kwargs(request.args[1], self.max_gen_toks)) for request in requests
        ]
        known = {"until", "max_gen_toks", "do_sample", "temperature"}
        is_greedy = self.writes_greedily and not any(
            plan["do_sample"]
            or plan.get("temperature")
            or plan.keys() - known
            or "" in plan["until"]
            for plan in plans
        )
        prompts = [request.args[0] for request in requests] if is_greedy else []
        ids = self._encode_all(prompts, self.tokenizer.bos_token)
        if not is_greedy or not all(ids.values()):
            return super().generate_until(requests, disable_tqdm)  # pyright: ignore[reportCallIssue]
        groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for number, plan in enumerate(plans):
            groups[(plan["max_gen_toks"], *plan["until"])].append(number)
        answers = [""] * len(requests)
        bar = self._bar("generate_until", len(requests), disable_tqdm)
        for (n_new, *until), numbers in groups.items():
            room = self.max_length - n_new
            if room < 1:
                raise InputError(
                    f"max_gen_toks: got {n_new}, expected less than the model's length "
                    f"{self.max_length}"
                )
            prompts = [self._cut_on_the_left(ids[requests[n].args[0]], room) for n in numbers]
            for answer in self.write_greedily(prompts, until, n_new):
                for number in (numbers[i] for i in answer.numbers):
                    answers[number] = answer.text
                    self.cache_hook.add_partial(
                        "generate_until", requests[number].args, answer.text
                    )
                    bar.update()
        bar.close()
        return answers

    def _bar(self, kind: str, n_requests: int, disable: bool) -> Any:
        hidden = disable or self.rank != 0
        return tqdm(total=n_requests, disable=hidden, desc=f"Running {kind} requests")

    def _cut_on_the_left(self, ids: list[int], room: int) -> list[int]:
        if len(ids) > room and not self._warned_of_truncation:
            log.warning(
                f"a prompt of {len(ids)} tokens is cut on the left to the {room} that the model "
                "has room for, as lm-eval's hf does; shown once"
            )
            self._warned_of_truncation = True
        return ids[-room:]

    def pool_tokens(self) -> int:
        """Number of tokens whose keys and values fit in memory at a time, padding included."""
        free = _free_bytes(self.device) // (2 * COPIES * self.bytes_per_token)
        return max(1, min(POOL * self.batch_tokens, free))

    def write_greedily(
        self, prompts: Sequence[Sequence[int]], until: Sequence[str], n_new: int
    ) -> Iterator[Written]:
        """Yield every greedy answer as soon as it is finished.

        Args:
            prompts: Token ids. Equal prompts are answered once.
            until: An answer ends before the first of these strings, or at the model's end token.
            n_new: Maximum number of new tokens.
        """
        own_end = self.tok_decode([self.eot_token_id], skip_special_tokens=False)
        stops = handle_stop_sequences(list(until), eos=own_end)
        ends = self.model.generation_config.eos_token_id
        ends = {self.eot_token_id, *(ends if isinstance(ends, list) else [ends])}

        def is_done(drafts: list[list[int]]) -> list[bool]:
            # with special tokens: a stop string may be one
            texts = self.tokenizer.batch_decode(drafts)
            return [
                tokens[-1] in ends or any(stop and stop in text for stop in stops)
                for tokens, text in zip(drafts, texts, strict=True)
            ]

        batches = self._with_keys(self._plan(prompts, 1, n_new))
        pool_tokens = self.pool_tokens()
        written = generate(batches, self._forward, is_done, n_new, pool_tokens, self.device)
        for numbers, tokens in written:
            text = postprocess_generated_text(self.tok_decode(tokens), stops, None)
            yield Written(numbers, text, tokens, is_done([tokens])[0])

    def _plan(self, ids: Sequence[Sequence[int]], kept: int, n_new: int = 0) -> list[Batch]:
        """The batches of prompts.

        Args:
            ids: Token ids.
            kept: The last positions of every row, which are no part of a shared beginning, since
                they are read.
            n_new: Tokens that are to come.
        """
        found = clusters(ids)
        is_few = sum(map(len, found)) < FEWEST_ROWS
        batches: list[Batch] = []
        for rows in found:
            if is_few and self._begin_as_kept(rows, kept):
                prefix = self._kept[0]
            else:
                prefix = self._shared(rows, kept)
            # the repeated prefix is memory too
            held = self.pool_tokens() // (max(len(ids) for ids, _ in rows) + n_new)
            parts = cut(rows, len(prefix), self.batch_tokens, max(1, held))
            batches += [Batch(part, prefix) for part in parts]
        return batches

    def _shared(self, rows: Sequence[Prompt], kept: int) -> tuple[int, ...]:
        """The ids that all rows begin with; none where they are few, or the rows are."""
        shared = min(n_shared(rows), min(len(ids) for ids, _ in rows) - kept)
        if shared < SHORTEST_PREFIX or len(rows) < FEWEST_ROWS:
            return ()
        return rows[0][0][:shared]

    def _begin_as_kept(self, rows: Sequence[Prompt], kept: int) -> bool:
        """Whether all rows begin with the kept ids, and are longer by what is read of them."""
        ids = self._kept[0]
        return all(row[: len(ids)] == ids and len(row) >= len(ids) + kept for row, _ in rows)

    def _keys_of(self, prefix: tuple[int, ...]) -> DynamicCache:
        """The model's keys and values for a beginning."""
        if prefix == self._kept[0]:
            return self._kept[1]
        cache = DynamicCache()
        self._forward(torch.tensor([prefix], device=self.device), [], cache, later=True)
        return cache

    def _with_keys(self, batches: Sequence[Batch]) -> Iterator[WithKeys]:
        """The batches, ready for the model; a beginning is computed once for batches in a row."""
        prefix, keys = (), DynamicCache()
        for batch in batches:
            if batch.prefix != prefix:
                prefix = batch.prefix
                keys = self._keys_of(prefix) if prefix else DynamicCache()
            cache = copy.deepcopy(keys)
            cache.batch_repeat_interleave(len(batch.rows))
            yield batch.rows, len(prefix), cache

    def _forward(
        self,
        ids_BT: torch.Tensor,
        read: Sequence[tuple[int, int]],
        cache: DynamicCache | None,
        mask_BS: torch.Tensor | None = None,
        positions_BT: torch.Tensor | None = None,
        later: bool = False,
    ) -> torch.Tensor:
        """Logits where (row, position) is read, shape (N, V); a cache is read and extended.

        With ``later``, there are none yet: they come first in those of the next call without it.
        """
        given = {self.cache_argument: cache} if cache is not None else {}
        if mask_BS is not None:
            given |= {"attention_mask": mask_BS, "position_ids": positions_BT}
        self.tokens_computed += ids_BT.numel()
        read_N2 = torch.tensor(read, dtype=torch.long, device=self.device).view(-1, 2)
        rows_N, positions_N = read_N2.T
        with (
            torch.inference_mode(),
            torch.autocast(
                device_type=self.device.type,
                dtype=self.mixed_precision_dtype,
                enabled=self.mixed_precision_dtype is not None,
            ),
            self.positions.only(rows_N, positions_N, ids_BT.shape, later),
        ):
            return self.model(ids_BT, use_cache=cache is not None, **given).logits[0]

    def _score(
        self, batches: Iterator[WithKeys], n: int, requests: Sequence[Request]
    ) -> Iterator[tuple[int, tuple[float, bool]]]:
        """Log-likelihood and is-greedy of every request of n batches, with one call of the head."""
        places: dict[tuple[int, int, int], int] = {}  # batch, row and position -> row of the logits
        asked: list[tuple[int, int, int, int]] = []  # batch, row, first position, request
        with self.positions.together():
            for i, (rows, n_prefix, cache) in enumerate(batches):
                ids = [torch.tensor(row[n_prefix:]) for row, _ in rows]
                # padded on the right: a causal model looks at no later position
                ids_BT = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True).to(self.device)
                of_batch = [
                    (i, b, len(ids[b]) - len(requests[number][2]), number)
                    for b, (_, numbers) in enumerate(rows)
                    for number in numbers
                ]
                read = sorted(
                    {(b, t) for _, b, start, _ in of_batch for t in range(start, len(ids[b]))}
                )
                logits_NV = self._forward(
                    ids_BT, read, cache if n_prefix else None, later=i < n - 1
                )
                places |= {(i, *position): len(places) + k for k, position in enumerate(read)}
                asked += of_batch
        assert len(logits_NV) == len(places)
        best_N = logits_NV.argmax(-1).tolist()
        dtype = self.softmax_dtype or torch.float32
        wide = torch.promote_types(dtype, torch.float32)  # the difference of two large numbers
        parts = logits_NV.split(SUMMED)
        sum_N = torch.cat([part.to(wide).logsumexp(-1) for part in parts])
        for i, b, start, number in asked:
            label = requests[number][2]
            read = slice(first := places[i, b, start], first + len(label))
            logits_L = logits_NV[read][range(len(label)), label].to(wide)
            log_p_L = (logits_L - sum_N[read]).to(dtype)
            yield number, (sum(log_p_L.tolist()), best_N[read] == label)


def load_model(pretrained: str, **arguments: Any) -> SentiBenchLM:
    """Load a model as ``--model sentibench-hf`` does, on the GPU if there is one.

    Args:
        pretrained: A folder, or a name on the Hugging Face hub.
        arguments: Other arguments of ``--model_args``.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return cast(Any, SentiBenchLM)(pretrained=pretrained, device=device, **arguments)


def _move_spaces(context: str, continuation: str) -> tuple[str, str]:
    """Spaces at the end of a context belong to the continuation, as in lm-eval."""
    bare = context.rstrip()
    return bare, context[len(bare) :] + continuation


def _free_bytes(device: Any) -> int:
    """Memory that is left on a device; on a CPU, of the computer."""
    device = torch.device(device)
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    return psutil.virtual_memory().available

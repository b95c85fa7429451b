"""A local teacher run by vLLM (an optional installation), for models that need several GPUs."""

# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
# vLLM carries no types that would hold, and is not installed where this is checked.

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from distill import config
from distill.checkpoints import loading
from distill.teachers import identity, refuse_open_reasoning
from sentibench.errors import TeacherError
from sentibench.remote.reasoning import open_mark
from sentibench.remote.records import Answer, Decoding, Failure, Request

CHUNK = 512  # prompts handed to the engine at once, whose answers are written down together


class VllmTeacher:
    """A checkpoint that vLLM serves in this process.

    Raises:
        TeacherError: If vLLM is not installed or cannot load the model.
    """

    def __init__(self, settings: config.VllmTeacher) -> None:
        # here, since workers of a cluster do not have the environment of the driver
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        try:
            from vllm import LLM
        except ImportError:
            raise TeacherError(
                "teacher.backend: the package vllm is not installed; run: pip install vllm, or set "
                "teacher.backend to hf, or to openai with the address of a vLLM server"
            ) from None
        with loading("teacher.model", settings.model, TeacherError):
            self.engine = LLM(
                settings.model,
                dtype=settings.dtype,
                tensor_parallel_size=settings.tensor_parallel,
                max_model_len=settings.max_length,
                enable_prefix_caching=True,
                trust_remote_code=settings.trust_remote_code,
            )
        self.name, self.revision = identity(settings)
        self.chat, self.template_args = settings.chat, dict(settings.chat_template_args)

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Answer | Failure]]:
        """Score label words, write the rest, chunk by chunk; see ``Teacher``."""
        from vllm import SamplingParams

        scored = [request for request in requests if request.choices]
        for start in range(0, len(scored), CHUNK):
            yield from self._score(scored[start : start + CHUNK])
        groups: dict[Decoding, list[Request]] = defaultdict(list)
        for request in requests:
            if not request.choices:
                groups[request.decoding].append(request)
        for decoding, group in groups.items():
            sampling = SamplingParams(
                max_tokens=decoding.max_new_tokens,
                temperature=decoding.temperature,
                top_p=decoding.top_p,
                stop=None if self.chat else list(decoding.stop) or None,
                seed=decoding.seed,
                # where a family's marks of reasoning are special tokens, they are found
                skip_special_tokens=not self.chat,
            )
            room = self.engine.llm_engine.model_config.max_model_len - decoding.max_new_tokens
            fit: list[Request] = []
            for request in group:
                n_prompt = self._length(request)
                if n_prompt > room:  # vLLM would refuse the whole call
                    yield (
                        request,
                        Failure("too long", f"{n_prompt} tokens; expected at most {room}", 1),
                    )
                else:
                    fit.append(request)
            for start in range(0, len(fit), CHUNK):
                chunk = fit[start : start + CHUNK]
                if self.chat:
                    turns = [request.turns for request in chunk]
                    outputs = self.engine.chat(
                        turns, sampling, chat_template_kwargs=self.template_args
                    )
                else:
                    outputs = self.engine.generate([r.prompt for r in chunk], sampling)
                for request, output in zip(chunk, outputs, strict=True):
                    best = output.outputs[0]
                    finish = "length" if best.finish_reason == "length" else "stop"
                    n_prompt = len(output.prompt_token_ids or ())
                    text = self._text(request, best.text) if self.chat else best.text
                    yield request, Answer(text, finish, n_prompt, len(best.token_ids))

    def _score(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Answer | Failure]]:
        """Log-likelihoods of label words: of their tokens, as the end of a prompt.

        The parameters are those with which lm-eval's ``vllm`` asks for log-likelihoods.
        """
        from vllm import SamplingParams

        if self.chat:
            refuse_open_reasoning(self._chat_prompt(requests[0], tokenize=False))
        room = self.engine.llm_engine.model_config.max_model_len - 1  # vLLM writes one token
        rows: list[list[int]] = []
        n_prompts: dict[str, int] = {}
        for request in requests:
            prompt = self._chat_prompt(request, tokenize=False) if self.chat else request.prompt
            space = "" if self.chat else " "
            words = [self._encode(prompt + space + choice) for choice in request.choices]
            if (longest := max(map(len, words))) > room:
                yield request, Failure("too long", f"{longest} tokens; expected at most {room}", 1)
                continue
            n_prompts[request.id] = len(self._encode(prompt))
            rows += words
        asked = SamplingParams(temperature=0, prompt_logprobs=1, max_tokens=1, detokenize=False)
        outputs = self.engine.generate([{"prompt_token_ids": row} for row in rows], asked)
        scores = iter(zip(rows, outputs, strict=True))
        for request in requests:
            if request.id not in n_prompts:
                continue
            n_prompt, found = n_prompts[request.id], list[float]()
            for row, output in islice(scores, len(request.choices)):
                of_words = zip(row[n_prompt:], output.prompt_logprobs[n_prompt:], strict=True)
                found.append(sum(known[token].logprob for token, known in of_words))
            best = request.choices[max(range(len(found)), key=found.__getitem__)]
            yield request, Answer(best, "choice", n_prompt, 0, tuple(found))

    def _encode(self, text: str) -> list[int]:
        """Token ids; a chat template has written the special ones already."""
        return self.engine.get_tokenizer().encode(text, add_special_tokens=not self.chat)

    def _length(self, request: Request) -> int:
        """Tokens of the prompt."""
        if self.chat:
            return len(self._chat_prompt(request, tokenize=True))
        return len(self.engine.get_tokenizer().encode(request.prompt))

    def _text(self, request: Request, written: str) -> str:
        """What was written, behind the mark of reasoning that its prompt leaves open."""
        mark = open_mark(self._chat_prompt(request, tokenize=False))
        return mark + written.removesuffix(self.engine.get_tokenizer().eos_token or "")

    def _chat_prompt(self, request: Request, *, tokenize: bool) -> Any:
        """The prompt as the engine makes it, as token ids or as text."""
        whole = {"add_generation_prompt": True, "return_dict": False, "tokenize": tokenize}
        template = self.engine.get_tokenizer().apply_chat_template
        return template(request.turns, **whole, **self.template_args)

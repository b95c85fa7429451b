"""A local teacher: the harness's fast model, so prompts share what they begin with.

Answers over label words are scored by likelihood, everything else is written: greedily in a pool
of rows, or sampled by transformers where the temperature is above zero.
"""

# pyright: basic
# lm-eval and transformers carry no types that would hold: their unknowns end in this module.

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from distill import config
from distill.checkpoints import loading
from distill.teachers import identity, refuse_open_reasoning
from sentibench.errors import TeacherError
from sentibench.remote.reasoning import is_mark, open_mark
from sentibench.remote.records import Answer, Decoding, Failure, Request

CHUNK = 64  # prompts whose labels are scored before their answers are handed over


class HfTeacher:
    """A checkpoint folder, or a name that ``transformers`` finds.

    Raises:
        TeacherError: If the model cannot be loaded.
    """

    def __init__(self, settings: config.HfTeacher) -> None:
        from sentibench.fast.model import load_model

        self.name, self.revision = identity(settings)
        self.chat = settings.chat
        given = {"dtype": settings.dtype, "batch_tokens": settings.batch_tokens}
        given["chat_template_args"] = settings.chat_template_args
        given["trust_remote_code"] = settings.trust_remote_code
        with loading("teacher.model", settings.model, TeacherError):
            self.lm: Any = load_model(settings.model, **given)
        added = self.lm.tokenizer.added_tokens_decoder
        # where a family's marks of reasoning are special tokens, they are kept to be found
        self._unseen = {
            n for n, token in added.items() if token.special and not is_mark(str(token))
        }

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Answer | Failure]]:
        """Score label words in chunks, write the rest; see ``Teacher``."""
        scored = [request for request in requests if request.choices]
        scored.sort(key=lambda request: sum(len(m.content) for m in request.messages))
        for start in range(0, len(scored), CHUNK):
            yield from self._score(scored[start : start + CHUNK])
        written: dict[Decoding, list[Request]] = defaultdict(list)
        for request in requests:
            if not request.choices:
                written[request.decoding].append(request)
        for decoding, group in written.items():
            yield from self._write(group, decoding)

    def prompt_of(self, request: Request) -> str:
        """The prompt as the model reads it."""
        if self.chat:
            return self.lm.apply_chat_template(request.turns, add_generation_prompt=True)
        return request.prompt

    def _text(self, request: Request, tokens: Sequence[int]) -> str:
        """What a chat model wrote, behind the mark of reasoning that its prompt leaves open."""
        seen = [token for token in tokens if token not in self._unseen]
        return open_mark(self.prompt_of(request)) + self.lm.tok_decode(
            seen, skip_special_tokens=False
        )

    def _score(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Answer]]:
        refuse_open_reasoning(self.prompt_of(requests[0]))
        space = "" if self.chat else " "
        pairs = [
            (self.prompt_of(request), space + choice)
            for request in requests
            for choice in request.choices
        ]
        scores = iter(self.lm.log_likelihoods(pairs))
        for request in requests:
            found = tuple(next(scores) for _ in request.choices)
            best = request.choices[max(range(len(found)), key=found.__getitem__)]
            n_tokens = len(self.lm.tok_encode(self.prompt_of(request)))
            yield request, Answer(best, "choice", n_tokens, 0, found)

    def _write(
        self, requests: Sequence[Request], decoding: Decoding
    ) -> Iterator[tuple[Request, Answer | Failure]]:
        lm = self.lm
        room = lm.max_length - decoding.max_new_tokens
        if room < 1:
            raise TeacherError(
                f"teacher: got {decoding.max_new_tokens} new tokens for an answer, expected fewer "
                f"than the {lm.max_length} tokens that the model reads and writes; lower "
                "response_tokens or label_tokens of knowdist or icldist"
            )
        fit: list[Request] = []
        prompts: list[list[int]] = []
        for request in requests:
            prompt = list(lm.tok_encode(self.prompt_of(request)))
            if len(prompt) > room:  # cut, it would lose what is asked
                yield (
                    request,
                    Failure("too long", f"{len(prompt)} tokens; expected at most {room}", 1),
                )
            else:
                fit.append(request)
                prompts.append(prompt)
        if decoding.temperature == 0 and lm.writes_greedily:
            stops = () if self.chat else decoding.stop
            for written in lm.write_greedily(prompts, stops, decoding.max_new_tokens):
                finish = "stop" if written.ended else "length"
                for number in written.numbers:
                    request, n_prompt = fit[number], len(prompts[number])
                    text = self._text(request, written.tokens) if self.chat else written.text
                    yield request, Answer(text, finish, n_prompt, len(written.tokens))
            return
        for request, prompt in zip(fit, prompts, strict=True):
            yield request, self._sample(request, prompt, decoding)

    def _sample(self, request: Request, prompt: list[int], decoding: Decoding) -> Answer:
        """One answer of transformers' own generate; its seed depends on the request alone."""
        import torch

        torch.manual_seed(int(request.key(self.name, self.revision)[:15], 16))
        is_drawn = decoding.temperature > 0
        ids = torch.tensor([prompt], device=self.lm.device)
        with torch.inference_mode():
            out = self.lm.model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=decoding.max_new_tokens,
                pad_token_id=self.lm.tokenizer.pad_token_id,
                stop_strings=None if self.chat else list(decoding.stop) or None,
                tokenizer=self.lm.tokenizer,
                do_sample=is_drawn,
                temperature=decoding.temperature if is_drawn else None,
                top_p=decoding.top_p if is_drawn else None,
            )
        new = out[0, len(prompt) :].tolist()
        finish = "length" if len(new) == decoding.max_new_tokens else "stop"
        if self.chat:
            return Answer(self._text(request, new), finish, len(prompt), len(new))
        text = self.lm.tok_decode(new)
        for stop in decoding.stop:
            text = text.split(stop)[0]
        return Answer(text, finish, len(prompt), len(new))

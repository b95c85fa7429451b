"""A local teacher run by vLLM (an optional installation), for models that need several GPUs."""

# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
# vLLM carries no types that would hold, and is not installed where this is checked.

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from distill import config
from distill.checkpoints import loading
from distill.errors import TeacherError
from distill.records import Answer, Decoding, Failure, Request
from distill.teachers import identity

CHUNK = 512  # prompts handed to the engine at once, whose answers are written down together


class VllmTeacher:
    """A checkpoint that vLLM serves in this process.

    Raises:
        TeacherError: If vLLM is not installed or cannot load the model.
    """

    def __init__(self, settings: config.VllmTeacher) -> None:
        try:
            from vllm import LLM
        except ImportError:
            raise TeacherError(
                "teacher.backend: vllm is not installed; pip install vllm, or use backend hf or "
                "a vLLM server with backend openai"
            ) from None
        with loading("teacher.model", settings.model, TeacherError):
            self.engine = LLM(
                settings.model,
                dtype=settings.dtype,
                tensor_parallel_size=settings.tensor_parallel,
                max_model_len=settings.max_length,
                enable_prefix_caching=True,
            )
        self.name, self.revision = identity(settings)
        self.chat = settings.chat

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Answer | Failure]]:
        """Write every answer, chunk by chunk; see ``Teacher``."""
        from vllm import SamplingParams

        groups: dict[Decoding, list[Request]] = defaultdict(list)
        for request in requests:
            groups[request.decoding].append(request)
        for decoding, group in groups.items():
            sampling = SamplingParams(
                max_tokens=decoding.max_new_tokens,
                temperature=decoding.temperature,
                top_p=decoding.top_p,
                stop=list(decoding.stop) or None,
                seed=decoding.seed,
            )
            room = self.engine.llm_engine.model_config.max_model_len - decoding.max_new_tokens
            fit: list[Request] = []
            for request in group:
                n_prompt = self._length(request)
                if n_prompt > room:  # vLLM would refuse the whole call
                    yield request, Failure("too long", f"{n_prompt} tokens; expected {room}", 1)
                else:
                    fit.append(request)
            for start in range(0, len(fit), CHUNK):
                chunk = fit[start : start + CHUNK]
                if self.chat:
                    outputs = self.engine.chat([request.turns for request in chunk], sampling)
                else:
                    outputs = self.engine.generate([r.prompt for r in chunk], sampling)
                for request, output in zip(chunk, outputs, strict=True):
                    best = output.outputs[0]
                    finish = "length" if best.finish_reason == "length" else "stop"
                    n_prompt = len(output.prompt_token_ids or ())
                    yield request, Answer(best.text, finish, n_prompt, len(best.token_ids))

    def _length(self, request: Request) -> int:
        """Tokens of the prompt."""
        tokenizer = self.engine.get_tokenizer()
        if not self.chat:
            return len(tokenizer.encode(request.prompt))
        whole = {"add_generation_prompt": True, "return_dict": False}
        return len(tokenizer.apply_chat_template(request.turns, **whole))

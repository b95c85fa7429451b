"""A dry run: what would be asked and trained, how much of it, and what it looks like.

No teacher is loaded or called, and nothing is written.
"""

# pyright: basic
# Tokenizers carry no types that would hold: their unknowns end in this module.

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distill.config import Training
from distill.distillation import Distillation
from distill.errors import InputError
from distill.examples import encode_samples
from distill.icldist import coverage, demonstration_requests, gold_demonstrations, load_taxonomies
from distill.pipeline import sample_of
from distill.records import Request
from distill.store import Store
from distill.texts import Text, draw_texts

MEASURED = 2_000  # requests of a stage whose tokens are counted, evenly spaced; the rest is scaled
EXAMPLES = 3
SHOWN = 700  # characters of an example, the middle left out beyond
BARS, WIDTH = 8, 40


@dataclass(frozen=True, slots=True)
class Rates:
    """What the user knows of the teacher: tokens per second, US dollars per million tokens."""

    tokens_per_second: float | None = None
    usd_per_million_input: float | None = None
    usd_per_million_output: float | None = None


@dataclass(frozen=True, slots=True)
class StagePlan:
    """What a stage would ask.

    Attributes:
        stage: ``demonstrations``, ``knowdist`` or ``icldist``.
        axes: Number of requests per value of each axis.
        answered: Requests that the store answers already.
        n_requests: All of them.
        lengths: Tokens of the prompts that were counted, shape (M,), in the student's tokenizer.
        answer_tokens: Of one answer: the mean of the store's, or the most there may be.
        is_bound: Whether ``answer_tokens`` is the most there may be.
        shortened: Share of the prompts that lose demonstrations to fit.
        left_out: Share of the prompts that do not fit at all.
        examples: Rendered prompts by family.
    """

    stage: str
    axes: Mapping[str, Counter[str]]
    answered: int
    n_requests: int
    lengths: np.ndarray
    answer_tokens: float
    is_bound: bool
    shortened: float
    left_out: float
    examples: Mapping[str, Sequence[str]]


class Plan:
    """Everything that ``python -m distill plan`` shows.

    Args:
        distillation: The run; its teacher is not touched.

    Raises:
        InputError: If texts or the student's tokenizer cannot be read.
    """

    def __init__(self, distillation: Distillation) -> None:
        self.distillation = distillation
        self.texts, self.left_out = self._draw()
        self.placeholders = False
        self._tokenizer = load_tokenizer(distillation.run.student)
        self.stages = list(self._stages())

    def _draw(self) -> tuple[list[Text], list[Any]]:
        run, step = self.distillation.run, self.distillation.texts
        record = step.record()
        if step.state()[0] == "done" and record:
            return self.distillation.load_texts(), record["summary"]["left_out"]
        draw = draw_texts(run.texts, run.seed, self.distillation.tests)
        return list(draw.texts), [[*key, n] for key, n in sorted(draw.left_out.items())]

    def _stages(self) -> Iterator[StagePlan]:
        run = self.distillation.run
        if run.knowdist:
            requests = self.distillation.build("knowdist", self.texts, {})
            yield self._plan("knowdist", requests, run.knowdist.training)
        if run.icldist:
            asked = demonstration_requests(self.texts, run.icldist, run.seed)
            if asked:
                yield self._plan("demonstrations", asked, None)
            requests = self.distillation.build("icldist", self.texts, self._labels(asked))
            yield self._plan("icldist", requests, run.icldist.training)

    def _labels(self, asked: Sequence[Request]) -> Mapping[tuple[str, str], str]:
        """Labels of the demonstrations: gold, the teacher's, or drawn where it has not answered."""
        stage, seed = self.distillation.run.icldist, self.distillation.run.seed
        assert stage is not None
        if stage.demonstrations == "gold":
            return gold_demonstrations(self.texts, stage, seed)
        if self.distillation.demonstrations.state()[0] == "done":
            return self.distillation.labels()
        self.placeholders = True
        taxonomies = load_taxonomies()
        return {
            (r.meta["taxonomy"], r.meta["text"]): random.Random(f"{seed}/{r.id}").choice(
                taxonomies[r.meta["taxonomy"]].classes
            )
            for r in asked
        }

    def _plan(
        self, stage: str, requests: Sequence[Request], training: Training | None
    ) -> StagePlan:
        answered, mean_tokens = self._answered(requests)
        measured = requests[:: max(1, len(requests) // MEASURED)]
        lengths = self._lengths([request.prompt for request in measured])
        bound = max(0 if r.choices else r.decoding.max_new_tokens for r in requests)
        shortened, left_out = 0, 0
        if training:
            room = training.max_length - 1
            over = [
                request
                for request, length in zip(measured, lengths, strict=True)
                if length + self._response_tokens(request) > room
            ]
            shortened, left_out = self._truncated(over, training)
        axes = ("family", "perspective") if stage == "knowdist" else ("taxonomy",)
        return StagePlan(
            stage,
            coverage(requests) if stage == "icldist" else count(requests, axes),
            answered,
            len(requests),
            np.array(lengths),
            bound if mean_tokens is None else mean_tokens,
            mean_tokens is None,
            shortened / len(measured),
            left_out / len(measured),
            {} if stage == "demonstrations" else examples(requests),
        )

    def _answered(self, requests: Sequence[Request]) -> tuple[int, float | None]:
        """How many requests the store answers, and the mean tokens of these answers."""
        folder = self.distillation.answers
        if not folder.is_dir():
            return 0, None
        with Store.read(folder) as store:
            keys = [request.key(*self.distillation.identity) for request in requests]
            tokens = [found.completion_tokens for key in keys if (found := store.get(key))]
        return len(tokens), float(np.mean(tokens)) if any(tokens) else None

    def _lengths(self, texts: Sequence[str]) -> list[int]:
        found: list[int] = []
        for start in range(0, len(texts), 256):
            batch = list(texts[start : start + 256])
            found += map(len, self._tokenizer(batch)["input_ids"])
        return found

    def _response_tokens(self, request: Request) -> int:
        if request.choices:
            return max(self._lengths(request.choices))
        return request.decoding.max_new_tokens

    def _truncated(self, over: Sequence[Request], training: Training) -> tuple[int, int]:
        """Of prompts that are too long with their longest answer: shortened, left out."""
        stand_in = " a"  # one token in nearly every vocabulary
        samples = [
            sample_of(
                r, max(r.choices, key=len) if r.choices else stand_in * r.decoding.max_new_tokens
            )
            for r in over
        ]
        if not samples:
            return 0, 0
        try:
            encoding = encode_samples(samples, self._tokenizer, training.max_length)
        except InputError:  # none of them fits
            return 0, len(samples)
        return encoding.shortened, len(encoding.too_long)


def load_tokenizer(checkpoint: str) -> Any:
    """The student's tokenizer.

    Raises:
        InputError: If it is not found.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(checkpoint)
    except (OSError, ValueError) as error:
        why = " ".join(str(error).split())[:200]
        raise InputError(f"student: no tokenizer of {checkpoint!r}; {why}") from None


def count(requests: Sequence[Request], axes: Sequence[str]) -> dict[str, Counter[str]]:
    """Number of requests per value of each axis."""
    return {axis: Counter(str(r.meta.get(axis) or "none") for r in requests) for axis in axes}


def examples(requests: Sequence[Request]) -> dict[str, list[str]]:
    """The first prompts of every family, as they are sent."""
    found: dict[str, list[str]] = defaultdict(list)
    for request in requests:
        if len(found[request.meta["family"]]) < EXAMPLES:
            found[request.meta["family"]].append(request.prompt)
    return dict(found)


def render(plan: Plan, rates: Rates) -> Iterator[str]:
    """The plan in lines."""
    run = plan.distillation.run
    yield f"run {run.name}: student {run.student}, teacher {plan.distillation.identity[0]}"
    yield "\nSteps"
    for step in plan.distillation.all_steps():
        state, why = step.state()
        yield f"  {state:6} {step.name:22} {why}".rstrip()
    yield "\nTexts"
    for source, n in Counter(text.source for text in plan.texts).items():
        out = [f"{k} {why}" for name, why, k in plan.left_out if name == source]
        yield f"  {source:14} {n:8,}" + (f"   left out: {', '.join(out)}" if out else "")
    for stage in plan.stages:
        yield from _stage_lines(stage, rates)
    if plan.placeholders:
        yield "\nLabels of demonstrations are placeholders here until the teacher has given them."
    yield "\nTraining (before the filters drop anything)"
    for name in plan.distillation.stages:
        yield f"  {name:10} {_training_line(plan, name)}"
    for stage in plan.stages:
        for family, prompts in stage.examples.items():
            for number, prompt in enumerate(prompts, 1):
                yield f"\n--- {stage.stage}, {family}, example {number} of {len(prompts)}"
                yield safe(prompt)


def _stage_lines(stage: StagePlan, rates: Rates) -> Iterator[str]:
    yield f"\nRequests of {stage.stage}: {stage.n_requests:,}, answered already {stage.answered:,}"
    for axis, values in stage.axes.items():
        shown = [f"{value} {n:,}" for value, n in sorted(values.items(), key=lambda v: -v[1])[:12]]
        more = f", {len(values) - 12} more" if len(values) > 12 else ""
        yield f"  {axis:12} {', '.join(shown)}{more}"
    quantiles = np.percentile(stage.lengths, [0, 50, 90, 100]).astype(int)
    yield "  prompt tokens, the student's: least {}, median {}, 90% {}, most {}".format(*quantiles)
    yield from (f"    {line}" for line in histogram(stage.lengths))
    if stage.stage != "demonstrations":
        yield (
            f"  too long for training: {stage.shortened:.1%} lose demonstrations, "
            f"{stage.left_out:.1%} are left out"
        )
    waiting = stage.n_requests - stage.answered
    prompt_tokens = float(stage.lengths.mean()) * waiting
    answer_tokens = stage.answer_tokens * waiting
    most = "at most " if stage.is_bound else ""
    yield (
        f"  to ask: {waiting:,}; about {prompt_tokens:,.0f} prompt tokens, "
        f"{most}{answer_tokens:,.0f} answer tokens"
    )
    yield f"  time: {_time(prompt_tokens + answer_tokens, rates)}"
    yield f"  cost: {_cost(prompt_tokens, answer_tokens, rates)}"


def _time(tokens: float, rates: Rates) -> str:
    if rates.tokens_per_second is None:
        return "unknown; give --tokens-per-second, the teacher's prompt and answer tokens together"
    minutes = tokens / rates.tokens_per_second / 60
    return f"{minutes:,.1f} minutes at {rates.tokens_per_second:g} tokens per second"


def _cost(prompt_tokens: float, answer_tokens: float, rates: Rates) -> str:
    given = (rates.usd_per_million_input, rates.usd_per_million_output)
    if given[0] is None or given[1] is None:
        return "unknown; give --usd-per-million-input and --usd-per-million-output"
    return f"{(prompt_tokens * given[0] + answer_tokens * given[1]) / 1e6:,.2f} US dollars"


def _training_line(plan: Plan, name: str) -> str:
    sources = plan.distillation.sources(name)
    stages = [stage for stage in plan.stages if stage.stage in sources]
    training = plan.distillation.training(name)
    n = sum(stage.n_requests for stage in stages)
    n_steps = math.ceil(math.ceil(n / training.batch_size) * training.epochs)
    prompt = sum(float(stage.lengths.mean()) * stage.n_requests for stage in stages)
    return (
        f"{n:,} samples, {training.method}, {training.epochs:g} epochs, {n_steps:,} steps of "
        f"{training.batch_size}, about {training.epochs * prompt:,.0f} prompt tokens"
    )


def histogram(lengths: np.ndarray) -> Iterator[str]:
    """Bars over ranges of lengths."""
    counts, edges = np.histogram(lengths, bins=BARS)
    for n, low, high in zip(counts, edges, edges[1:], strict=False):
        bar = "█" * round(WIDTH * n / counts.max())
        yield f"{low:6.0f} to {high:6.0f} {n:6} {bar}".rstrip()


def safe(text: str) -> str:
    """A text for a terminal: control characters escaped, the middle of a long one left out."""
    if len(text) > SHOWN:
        gone = len(text) - SHOWN
        text = f"{text[: SHOWN // 2]} [... {gone} characters ...] {text[-SHOWN // 2 :]}"
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )

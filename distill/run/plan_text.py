"""A plan in lines for a terminal, with time and price where the user knows the teacher's."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np

from distill.errors import InputError
from distill.run.plan import FREE, Cost, Plan, StagePlan

SHOWN = 900  # characters of an example, the middle left out beyond
BARS, BAR_WIDTH = 8, 40
VALUES, VALUE_WIDTH, LINE_WIDTH = 12, 40, 100
QUANTILES = {"least": 0.0, "median": 0.5, "90%": 0.9, "99%": 0.99, "most": 1.0}


@dataclass(frozen=True, slots=True)
class Rates:
    """What the user knows of the teacher.

    Attributes:
        tokens_per_second: Prompt and answer tokens together.
        usd_per_million_input: US dollars for a million prompt tokens.
        usd_per_million_output: US dollars for a million answer tokens.
    """

    tokens_per_second: float | None = None
    usd_per_million_input: float | None = None
    usd_per_million_output: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            is_speed = field.name == "tokens_per_second"
            if value is None or (0 <= value < math.inf and not (is_speed and value == 0)):
                continue
            raise InputError(
                f"--{field.name.replace('_', '-')}: got {value:g}; expected a number "
                f"{'above 0' if is_speed else 'of at least 0'}"
            )


def render(plan: Plan, rates: Rates) -> Iterator[str]:
    """The plan in lines, without anything that a terminal would obey."""
    for line in _lines(plan, rates):
        yield safe(line)


def _lines(plan: Plan, rates: Rates) -> Iterator[str]:
    run = plan.run
    teachers = dict.fromkeys(plan.teacher_of(stage.stage).name for stage in plan.stages)
    yield f"run {run.name}: student {run.student}, teacher {', '.join(teachers)}"
    stages = (_stage_lines(stage, plan, rates) for stage in plan.stages)
    totals = (_total_lines(plan, rates), _training_lines(plan), *_examples(plan))
    for section in (_step_lines(plan), _text_lines(plan), *stages, *totals):
        yield ""
        yield from section


def _step_lines(plan: Plan) -> Iterator[str]:
    yield "Steps"
    for name, (state, why) in plan.states.items():
        yield f"  {state:6} {name:22} {why}".rstrip()


def _text_lines(plan: Plan) -> Iterator[str]:
    yield f"Texts: {len(plan.texts):,}"
    drawn = Counter(text.source for text in plan.texts)
    for source in drawn:
        out = [f"{n:,} {why}" for name, why, n in plan.left_out if name == source]
        yield f"  {source:14} {drawn[source]:9,}   left out: {', '.join(out) or 'none'}"


def _stage_lines(stage: StagePlan, plan: Plan, rates: Rates) -> Iterator[str]:
    yield f"Requests of {stage.stage}: {stage.n_requests:,}"
    for axis, values in stage.axes.items():
        yield from _axis_lines(axis, values)
    guessed = stage.stage == "icldist" and plan.gold + plan.placeholders
    failed = f", {stage.failed:,} failed before (--retry-failed)" if stage.failed else ""
    yield (
        f"  answered in the store: {'at least ' if guessed else ''}{stage.answered:,}{failed}; "
        f"to ask: {'at most ' if guessed else ''}{stage.waiting:,}"
    )
    if guessed:
        yield (
            "  demonstration labels are placeholders until the teacher has answered: "
            f"{plan.gold:,} gold, {plan.placeholders:,} drawn at random"
        )
    backend = plan.teacher_of(stage.stage).config.backend
    if stage.unanswerable:
        what = "gold label" if backend == "gold" else "recorded answer"
        yield f"  {stage.unanswerable:,} of these have no {what} and would fail"
    yield from _token_lines(stage)
    if stage.waiting and backend not in FREE:
        yield f"  teacher: {_tokens(stage.cost)} ({stage.cost_basis})"
        yield from _price_lines(stage.cost, rates)


def _token_lines(stage: StagePlan) -> Iterator[str]:
    n = len(stage.prompt_tokens)
    of = f" of {n:,} requests drawn at random" if n < stage.n_requests else ""
    marks = ", ".join(f"{k} {quantile(stage.prompt_tokens, q):,}" for k, q in QUANTILES.items())
    yield f"  prompt tokens by the student's tokenizer{of}: {marks}"
    yield from (f"    {line}" for line in histogram(stage.prompt_tokens))
    if stage.stage != "demonstrations":
        yield (
            f"  responses to learn: about {stage.response_tokens:,.0f} tokens "
            f"({stage.response_basis})"
        )
        yield (
            f"  too long for training: {stage.shortened:,} of {n:,} lose demonstrations "
            f"({stage.shortened / n:.1%}), {stage.left_out:,} are left out "
            f"({stage.left_out / n:.1%})"
        )


def _axis_lines(axis: str, values: Counter[str]) -> list[str]:
    shown = [f"{_short(value)} {n:,}" for value, n in values.most_common(VALUES)]
    more = [f"{len(values) - VALUES:,} more"] if len(values) > VALUES else []
    # a value does not break where it has blanks
    line = ", ".join(text.replace(" ", "\0") for text in [*shown, *more])
    head = f"  {axis:19} "
    wrapped = textwrap.wrap(
        line, LINE_WIDTH - len(head), break_long_words=False, break_on_hyphens=False
    )
    indent = " " * len(head)
    return [(indent if i else head) + part.replace("\0", " ") for i, part in enumerate(wrapped)]


def _short(value: str) -> str:
    line = " ".join(value.split())
    return line if len(line) <= VALUE_WIDTH else f"{line[: VALUE_WIDTH - 1]}…"


def _tokens(cost: Cost) -> str:
    return f"about {cost.prompt_tokens:,.0f} prompt and {cost.answer_tokens:,.0f} answer tokens"


def _price_lines(cost: Cost, rates: Rates) -> Iterator[str]:
    """Time and price, where the user gave what they rest on."""
    if rates.tokens_per_second is not None:
        seconds = (cost.prompt_tokens + cost.answer_tokens) / rates.tokens_per_second
        yield f"  time: {_duration(seconds)} at {rates.tokens_per_second:,g} tokens per second"
    into, out = rates.usd_per_million_input, rates.usd_per_million_output
    if into is not None and out is not None:
        dollars = (cost.prompt_tokens * into + cost.answer_tokens * out) / 1e6
        yield f"  cost: {dollars:,.2f} US dollars"


def _hint_lines(rates: Rates) -> Iterator[str]:
    """Which options would give what is not known."""
    if rates.tokens_per_second is None:
        yield "  time: unknown; give --tokens-per-second N, prompt and answer tokens together"
    missing = ["--usd-per-million-input X"] if rates.usd_per_million_input is None else []
    missing += ["--usd-per-million-output Y"] if rates.usd_per_million_output is None else []
    if missing:
        yield f"  cost: unknown; give {' and '.join(missing)}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:,.0f} seconds"
    return f"{seconds / 60:,.0f} minutes" if seconds < 7200 else f"{seconds / 3600:,.1f} hours"


def _total_lines(plan: Plan, rates: Rates) -> Iterator[str]:
    waiting = sum(stage.waiting for stage in plan.stages)
    total = Cost(*map(sum, zip(*(stage.cost for stage in plan.stages), strict=True)))
    yield f"Teacher, all stages: to ask {waiting:,}"
    if not waiting:
        return
    if all(plan.teacher_of(s.stage).config.backend in FREE for s in plan.stages):
        yield "  time and cost: none, no model is asked"
        return
    yield f"  {_tokens(total)}"
    yield from _price_lines(total, rates)
    yield from _hint_lines(rates)


def _training_lines(plan: Plan) -> Iterator[str]:
    yield "Training"
    for one in plan.trainings:
        training = one.training
        yield (
            f"  {one.stage:9} {one.n_samples:,} samples ({one.basis}), {training.method}, "
            f"epochs {training.epochs:g}: {one.n_steps:,} steps of {training.batch_size}"
        )
        yield (
            f"  {'':9} about {one.supervised_tokens:,.0f} supervised of {one.tokens:,.0f} tokens, "
            "with responses as above"
        )


def _examples(plan: Plan) -> Iterator[list[str]]:
    """The lines of each example."""
    for stage in plan.stages:
        numbers: Counter[str] = Counter()
        for family, kind, prompt in stage.examples:
            numbers[family] += 1
            head = f"Example {numbers[family]} of {stage.stage}, {family} ({kind})"
            yield [head, *(f"  | {line}" for line in shortened(prompt).split("\n"))]


def quantile(values: Sequence[int], share: float) -> int:
    """The smallest value that at least this share of all values does not exceed.

    Args:
        values: At least one, in any order.
        share: In [0, 1].
    """
    return int(np.quantile(values, share, method="inverted_cdf"))


def histogram(values: Sequence[int]) -> Iterator[str]:
    """Bars over ranges of equal width; the longest bar fills its column."""
    low, high = min(values), max(values)
    width = max(1, math.ceil((high - low + 1) / BARS))
    counts = Counter((value - low) // width for value in values)
    for number in range((high - low) // width + 1):
        start, n = low + number * width, counts[number]
        bar = "#" * math.ceil(BAR_WIDTH * n / max(counts.values()))
        yield f"{start:7,} to {min(high, start + width - 1):7,} {n:9,} {bar}".rstrip()


def shortened(text: str) -> str:
    """A text without the middle of a long one."""
    gone = len(text) - SHOWN
    if gone <= 0:
        return text
    return f"{text[: SHOWN // 2]} [... {gone:,} characters ...] {text[-(SHOWN // 2) :]}"


def safe(line: str) -> str:
    """A line for a terminal: control characters, line ends among them, are shown escaped."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in line
    )

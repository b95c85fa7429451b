"""A plan in lines for a terminal, with time and price where the user knows the teacher's."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from distill.config import TeacherConfig
from distill.run.plan import FREE, Cost, Plan
from sentibench.errors import InputError
from sentibench.pages.environment import template_environment

SHOWN = 900  # characters of an example, the middle left out beyond
BARS, BAR_WIDTH = 8, 40
VALUES, VALUE_WIDTH, LINE_WIDTH = 12, 40, 100
QUANTILES = {"least": 0.0, "median": 0.5, "90%": 0.9, "99%": 0.99, "most": 1.0}


@dataclass(frozen=True, slots=True)
class Rates:
    """What the user knows of the teacher.

    Attributes:
        tokens_per_second: Of one machine, prompt and answer tokens together.
        usd_per_million_input: US dollars for a million prompt tokens.
        usd_per_million_output: US dollars for a million answer tokens.
        machines: That answer side by side; None for one.
        usd_per_machine_hour: US dollars for an hour of one.
    """

    tokens_per_second: float | None = None
    usd_per_million_input: float | None = None
    usd_per_million_output: float | None = None
    machines: float | None = None
    usd_per_machine_hour: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            divides = field.name in ("tokens_per_second", "machines")
            if value is None or (0 <= value < math.inf and not (divides and value == 0)):
                continue
            raise InputError(
                f"--{field.name.replace('_', '-')}: got {value:g}; expected a number "
                f"{'above 0' if divides else 'of at least 0'}"
            )

    def of(self, teacher: TeacherConfig) -> Rates:
        """With the prices of the teacher's settings, where the user gave none."""
        prices = ("usd_per_million_input", "usd_per_million_output")
        given = {key: getattr(self, key) for key in prices}
        return replace(
            self,
            **{k: getattr(teacher, k, None) if v is None else v for k, v in given.items()},
        )

    def usd(self, cost: Cost) -> float | None:
        """Price in US dollars; None where a price is not known."""
        into, out = self.usd_per_million_input, self.usd_per_million_output
        if into is None or out is None:
            return None
        return (cost.prompt_tokens * into + cost.answer_tokens * out) / 1e6


def render(plan: Plan, rates: Rates) -> list[str]:
    """The plan in lines, without anything that a terminal would obey."""
    teachers = [plan.teacher_of(stage.stage) for stage in plan.stages]
    asked = [
        (stage.cost, rates.of(teacher.config))
        for stage, teacher in zip(plan.stages, teachers, strict=True)
        if stage.waiting and teacher.config.backend not in FREE
    ]
    template = template_environment(Path(__file__).parent / "templates", safe).get_template(
        "plan.txt.jinja"
    )
    shown = template.render(
        plan=plan,
        rates=rates,
        teachers=dict.fromkeys(teacher.name for teacher in teachers),
        drawn=plan.n_texts,
        asked=asked,
        unpriced=[of_stage for cost, of_stage in asked if of_stage.usd(cost) is None],
        free=FREE,
        quantiles=QUANTILES,
        n="{:,.0f}".format,
        axis_lines=_axis_lines,
        total=_total,
        price_lines=_price_lines,
        quantile=quantile,
        histogram=histogram,
        shortened=shortened,
    )
    return shown.rstrip("\n").split("\n")


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


def _total(asked: Sequence[tuple[Cost, Rates]]) -> Cost:
    return Cost(*map(sum, zip(*(cost for cost, _ in asked), strict=True)))


def _price_lines(asked: Sequence[tuple[Cost, Rates]]) -> Iterator[str]:
    """Time and price, where it is known what they rest on."""
    known_of_all = asked[0][1]
    speed, n_machines = known_of_all.tokens_per_second, known_of_all.machines or 1.0
    if speed is not None:
        seconds = sum(_total(asked)) / speed / n_machines
        side_by_side = f" on each of {n_machines:g} machines" if n_machines != 1 else ""
        yield f"time: {_duration(seconds)} at {speed:,g} tokens per second{side_by_side}"
        if (price := known_of_all.usd_per_machine_hour) is not None:
            rent = seconds / 3600 * n_machines * price
            yield f"cost of machines: {rent:,.2f} US dollars at {price:g} for an hour of one"
    dollars = [rates.usd(cost) for cost, rates in asked]
    known = [one for one in dollars if one is not None]
    if len(known) == len(asked):
        prices = {(of.usd_per_million_input, of.usd_per_million_output) for _, of in asked}
        for_one = " at {:g} for a million prompt tokens, {:g} for a million answer tokens"
        told = for_one.format(*prices.pop()) if len(prices) == 1 else ""
        yield f"cost: {sum(known):,.2f} US dollars{told}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:,.0f} seconds"
    return f"{seconds / 60:,.0f} minutes" if seconds < 7200 else f"{seconds / 3600:,.1f} hours"


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


def safe(value: object) -> str:
    """A value for a terminal: control characters, line ends among them, are shown escaped."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode()
        for c in str(value)
    )

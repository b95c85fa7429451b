"""A loss is loud: a step that loses more answers than it may stops the run, and says why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from distill.config import FilterConfig
from distill.errors import LossError
from distill.filters.funnel import DroppedAnswer, Funnel
from distill.reasons import REASONS, Reason

SHOWN = 3  # reasons, the most frequent first
DROPPED: Mapping[Reason, str] = {
    "only reasoning": "raise that, to 1024 or more where the model thinks aloud, or switch its "
    "thinking off in teacher.extra_body or teacher.chat_template_args",
    "empty": "see teacher.chat or teacher.style",
    "run-on": "see filters.run_on",
    "refusal": "see filters.refusal_words",
    "cut off": "raise that, or see filters.cut_off",
    "only a label": "see knowdist.few_shot, knowdist.templates",
    "JSON": "see teacher.extra_body, knowdist.templates",
    "copied input": "see filters.copied_share, filters.example_share",
    "repetition": "see filters.repetition_share",
    "outside the taxonomy": "see teacher.response_format: label, icldist.score_choices",
    "span not in the text": "see filters.skip, if aspects need not be words of the text",
    "too short": "see filters.min_words",
    "too long": "see filters.max_words",
    "contaminated": "see texts",
    "near-duplicate": "see filters.near_duplicate_similarity",
}
"""What governs how many answers are dropped for a reason."""
FAILED: Mapping[str, str] = {
    "connection": "see teacher.base_url",
    "malformed": "see teacher.base_url",
    "no gold label": "see texts.label_column, texts.labels",
    "not recorded": "see teacher.store",
    "rate limit": "see teacher.requests_per_minute, teacher.tokens_per_minute",
    "refused": "see teacher.model, teacher.extra_body",
    "server": "see teacher.base_url, teacher.concurrency",
    "timeout": "see teacher.timeout_s",
    "too long": "see texts, teacher.max_length",
}
"""The same for failures; ``Failure`` has the reasons."""


def check_losses(step: str, funnel: Funnel, config: FilterConfig, file: Path | None = None) -> None:
    """Refuse to go on where too little is left of what was asked.

    Args:
        step: Name of the step.
        funnel: What became of its requests.
        config: The share that has to be left.
        file: Where the funnel was written.

    Raises:
        LossError: One line with the most frequent reasons, an example of each, and the setting
            that governs it. Also where nothing is left, whatever the settings allow.
    """
    asked, kept = funnel.total("asked"), funnel.total("kept")
    is_enough = config.allow_loss or kept >= config.min_kept * asked
    if not asked or (kept and is_enough):
        return
    met = sorted(_losses(funnel), key=lambda loss: -loss[0])[:SHOWN]
    ways = ["--retry-failed asks the failed requests again"] if funnel.failures else []
    ways += [f"{file} has all counts"] if file else []
    ways += ["filters.allow_loss=true continues with what is left"] if kept else []
    raise LossError(
        f"{step}: too few answers are left; got {kept} of {asked}, expected at least "
        f"{config.min_kept:.0%} (filters.min_kept); "
        f"{'; '.join([*(text for _, text in met), *ways])}"
    )


def _losses(funnel: Funnel) -> Iterator[tuple[int, str]]:
    """Number and description of each loss."""
    for reason in REASONS:
        if n := funnel.total(reason):
            yield n, _described(n, reason, funnel.examples[reason][0], DROPPED[reason])
    for reason, n in funnel.failures.items():
        governs = FAILED.get(reason, "see teacher")
        yield n, _described(n, reason, funnel.failure_examples[reason][0], governs)


def _described(n: int, reason: str, example: DroppedAnswer, governs: str) -> str:
    detail = "".join(c if c.isprintable() else " " for c in example.detail)
    shown = [repr(example.excerpt)] if example.excerpt else []
    shown += [detail] if detail else []
    return f"{n} {reason}, such as {': '.join(shown) or example.id} ({governs})"

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
    "empty": "set teacher.chat or teacher.style to the kind of the model, chat or not",
    "run-on": "set filters.run_on: cut, to keep what comes before",
    "refusal": "lower filters.refusal_words: longer answers are kept",
    "cut off": "raise that, or set filters.cut_off: last sentence",
    "only a label": "set knowdist.few_shot: true, change the prompts in knowdist.templates, or "
    "leave this stage out with knowdist=null",
    "JSON": "remove what asks for JSON from teacher.extra_body or knowdist.templates",
    "copied input": "raise filters.copied_share or filters.example_share",
    "repetition": "raise filters.repetition_share",
    "outside the taxonomy": "set teacher.response_format: label for a server, or "
    "icldist.score_choices: true for a teacher that scores labels",
    "span not in the text": "add this reason to filters.skip, if aspects need not be words of the "
    "text",
    "too short": "lower filters.min_words",
    "too long": "raise filters.max_words",
    "contaminated": "give other texts, which are in no test set",
    "near-duplicate": "raise filters.near_duplicate_similarity, or give more different texts",
}
"""How fewer answers are dropped for a reason."""
FAILED: Mapping[str, str] = {
    "connection": "check teacher.base_url, and whether the server runs",
    "malformed": "check that teacher.backend fits the server at teacher.base_url",
    "no gold label": "correct texts.label_column or texts.labels",
    "not recorded": "set teacher.store to a recording that has these requests",
    "rate limit": "lower teacher.requests_per_minute or teacher.tokens_per_minute",
    "refused": "correct teacher.model or teacher.extra_body",
    "server": "read the log of the server at teacher.base_url, or lower teacher.concurrency",
    "timeout": "raise teacher.timeout_s",
    "too long": "give shorter texts, or raise teacher.max_length",
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
        LossError: One line with the most frequent reasons, an example of each, and a
            remedy. Also where nothing is left, whatever the settings allow.
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
        remedy = FAILED.get(reason, "check the settings of teacher")
        yield n, _described(n, reason, funnel.failure_examples[reason][0], remedy)


def _described(n: int, reason: str, example: DroppedAnswer, remedy: str) -> str:
    detail = "".join(c if c.isprintable() else " " for c in example.detail)
    shown = [repr(example.excerpt)] if example.excerpt else []
    shown += [detail] if detail else []
    return f"{n} {reason}, such as {': '.join(shown) or example.id} ({remedy})"

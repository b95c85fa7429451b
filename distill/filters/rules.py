"""The checks that one answer goes through: it is kept, mended or dropped for one counted reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from distill.config import OF_KNOWDIST, FilterConfig
from distill.filters import checks
from distill.filters.funnel import Drop
from distill.filters.reading import (
    Reading,
    in_the_texts_spelling,
    is_json,
    is_list,
    label_alone,
    label_of,
    list_like,
    read_tuples,
    tuples_of,
    written,
)
from distill.reasons import Reason
from distill.texts.decontamination import Contamination
from sentibench.remote.records import Answer, Finish, Request

RULES_VERSION = 4
"""Of the checks; raised when one judges otherwise, so that samples filtered before are stale."""
OTHER = "other"  # family of ICLDist's questions that are not about sentiment


@dataclass(frozen=True, slots=True)
class Draft:
    """An answer on its way through the checks."""

    request: Request
    text: str
    finish: Finish
    labels: tuple[str, ...]
    label_words: Sequence[str] = ()
    gold: str = ""
    has_reasoning: bool = False
    notes: tuple[str, ...] = ()

    @property
    def is_prose(self) -> bool:
        """Whether what was asked for is neither a label nor a list."""
        return not (self.labels or self.request.elements or self.lists)

    @property
    def lists(self) -> bool:
        """Whether another task asks for a list."""
        return self.request.meta.get("family") == OTHER and is_list(self.gold)

    def mended(self, text: str, note: str) -> Draft:
        """Return the answer with another text, which is complete."""
        return replace(self, text=text.strip(), finish="stop", notes=(*self.notes, note))


def judge_one(
    request: Request,
    answer: Answer,
    reading: Reading,
    config: FilterConfig,
    test_grams: Contamination | None,
    label_words: Sequence[str],
) -> Draft | Drop:
    """Check one answer by itself."""
    gold = _gold(request)
    words, has_reasoning = tuple(filter(None, (*label_words, gold))), bool(reading.reasoning)
    draft = Draft(request, reading.text, reading.finish, request.labels, words, gold, has_reasoning)
    for reason, check in _CHECKS.items():
        if reason not in config.skip:
            mended = check(draft, config)
            if mended is None:
                details = (budget(request),) if reason in OUT_OF_TOKENS else ()
                return Drop(request, answer.text or answer.reasoning, reason, details)
            draft = mended
    if test_grams is not None and "contaminated" not in config.skip:
        tests = _overlaps(draft, test_grams)
        if tests:
            return Drop(request, answer.text, "contaminated", tests)
    return draft


def budget(request: Request) -> str:
    """The setting that limits an answer, and its value."""
    if request.meta.get("family") in OF_KNOWDIST:
        setting = "knowdist.response_tokens"
    else:
        setting = "icldist.label_tokens" if request.labels else "icldist.response_tokens"
    return f"{setting} is {request.decoding.max_new_tokens}"


def _gold(request: Request) -> str:
    gold = request.meta.get("gold")
    return gold if isinstance(gold, str) else ""


def _only_reasoning(draft: Draft, config: FilterConfig) -> Draft | None:
    # some servers count the tokens of reasoning that they do not show
    thought = draft.has_reasoning or draft.finish == "length"
    return None if thought and not draft.text else draft


def _empty(draft: Draft, config: FilterConfig) -> Draft | None:
    # a label may be a mark, such as "+"; a list may be empty
    return None if _is_nothing(draft) else draft


def _is_nothing(draft: Draft, end: int | None = None) -> bool:
    text = draft.text[:end]
    return checks.is_blank(text) if draft.is_prose else not text.strip()


def _run_on(draft: Draft, config: FilterConfig) -> Draft | None:
    start = checks.run_on_start(draft.text, draft.request, config.run_on_markers)
    if start is None:
        return draft
    if config.run_on == "drop" or _is_nothing(draft, start):
        return None
    return draft.mended(draft.text[:start], "run-on cut")


def _cut_off(draft: Draft, config: FilterConfig) -> Draft | None:
    if draft.finish != "length" or label_alone(draft.text, draft.labels):
        return draft
    complete = draft.text[: checks.last_sentence_end(draft.text)]
    if config.cut_off == "drop" or not draft.is_prose or checks.is_blank(complete):
        return None
    return draft.mended(complete, "cut to the last sentence")


def _outside_the_taxonomy(draft: Draft, config: FilterConfig) -> Draft | None:
    if draft.request.elements:
        usual, note = tuples_of(draft.text, draft.request), "tuples put in their usual form"
    elif draft.labels:
        usual, note = label_of(draft.text, draft.labels), "label put in its usual form"
    elif draft.lists:
        usual, note = list_like(draft.text, draft.gold), "list put in its usual form"
    else:
        return draft
    if not usual or usual == draft.text:
        return draft if usual else None
    return draft.mended(usual, note)


def _invented_span(draft: Draft, config: FilterConfig) -> Draft | None:
    tuples = read_tuples(draft.text, draft.request) if draft.request.elements else None
    if tuples is None:
        return draft
    spelled = in_the_texts_spelling(tuples, draft.request)
    if spelled is None or spelled == tuples:
        return None if spelled is None else draft
    return draft.mended(written(spelled, draft.request), "spans spelled as in the text")


OUT_OF_TOKENS: tuple[Reason, ...] = ("only reasoning", "cut off")
"""Reasons whose details say the limit of tokens."""

Check = Callable[[Draft, FilterConfig], Draft | None]
"""Gives the answer, perhaps mended; None if it is dropped."""


def _free(is_unfit: Callable[[Draft, FilterConfig], bool]) -> Check:
    """The check of prose by a question; labels and lists pass."""

    def check(draft: Draft, config: FilterConfig) -> Draft | None:
        return None if draft.is_prose and is_unfit(draft, config) else draft

    return check


def _is_refusal(draft: Draft, config: FilterConfig) -> bool:
    if len(draft.text.split()) > config.refusal_words or not checks.is_refusal(draft.text):
        return False
    return not checks.is_refusal(draft.request.text)  # a restated refusal is none


def _is_label(draft: Draft, config: FilterConfig) -> bool:
    return _asks_for_prose(draft) and bool(label_alone(draft.text, draft.label_words))


def _is_json(draft: Draft, config: FilterConfig) -> bool:
    return _asks_for_prose(draft) and is_json(draft.text)


def _asks_for_prose(draft: Draft) -> bool:
    """Whether it is KnowDist's; a free answer of another task may well be one word, or JSON."""
    return draft.request.meta.get("family") in OF_KNOWDIST


def _is_copy(draft: Draft, config: FilterConfig) -> bool:
    text = draft.request.text
    if checks.is_bare_copy(draft.text, text):
        return True
    around = draft.request.prompt.replace(text, "\n") if text else draft.request.prompt
    return (
        checks.copied_share(draft.text, text) >= config.copied_share
        or checks.copied_share(draft.text, around) >= config.example_share
    )


def _is_repetition(draft: Draft, config: FilterConfig) -> bool:
    share = checks.repeated_share(draft.text, config.repetition_words)
    repeated_line = checks.has_repeated_line(draft.text, config.repeated_lines)
    return share >= config.repetition_share or repeated_line


def _repetition(draft: Draft, config: FilterConfig) -> Draft | None:
    is_checked = draft.is_prose or draft.lists
    return None if is_checked and _is_repetition(draft, config) else draft


_CHECKS: Mapping[Reason, Check] = {
    "only reasoning": _only_reasoning,
    "empty": _empty,
    "run-on": _run_on,
    "refusal": _free(_is_refusal),
    "cut off": _cut_off,
    "only a label": _free(_is_label),
    "JSON": _free(_is_json),
    "copied input": _free(_is_copy),
    "repetition": _repetition,
    "outside the taxonomy": _outside_the_taxonomy,
    "span not in the text": _invented_span,
    "too short": _free(lambda draft, config: len(draft.text.split()) < config.min_words),
    "too long": _free(lambda draft, config: len(draft.text.split()) > config.max_words),
}


def _overlaps(draft: Draft, test_grams: Contamination) -> tuple[str, ...]:
    """The tests that the user text, the prompt with its demonstrations, or the answer overlap."""
    texts = [draft.request.text, *(message.content for message in draft.request.messages)]
    if not draft.labels:  # "positive" may well be a whole test text
        texts.append(draft.text)
    found = {name for text in texts for name in test_grams.overlaps(text)}
    return tuple(name for name in test_grams.names if name in found)

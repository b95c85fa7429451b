"""What a run finds out on the user's own tasks: confusions, agreement, what 1,000 texts take."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from pydantic import Field, ValidationError

from distill.config import ServerTeacherConfig
from distill.report.manifest import Agreement, Cost, Differing, Record
from sentibench.data.cards import load_tasks
from sentibench.scoring.metrics import confusion
from sentibench.scoring.samples import (
    Samples,
    Unusable,
    newest_samples,
    read_samples,
    results_beside,
)
from sentibench.scoring.statistics import Estimate, wilson

FILE = "agreement.json"
MOST_PAIRS, MOST_EXAMPLES = 5, 3
PER = 1000
Matrix = tuple[tuple[int, ...], ...]
CountTokens = Callable[[Sequence[str]], int]


class Usage(Record):
    """What answers to the prompts of a task took of a teacher that is asked.

    Attributes:
        texts: That were answered.
        prompt_tokens: Of these, as the teacher counts; 0 if it does not say.
        answer_tokens: The same.
        asked: Requests that were sent; the other answers were in the store.
        seconds: Wall time of sending these.
    """

    texts: int = Field(ge=0)
    prompt_tokens: int = Field(ge=0)
    answer_tokens: int = Field(ge=0)
    asked: int = Field(ge=0)
    seconds: float = Field(ge=0)


class BothAnswers(NamedTuple):
    """What teacher and student answered to a text; None for what could not be read."""

    text: str
    teacher: str | None
    student: str | None


class Asked(Record):
    """The file of the step that asks teacher and student about the same texts.

    Attributes:
        answers: Task -> answers to each text.
        usage: Task -> what the teacher's answers took.
        reason: Why a task is not there.
    """

    answers: dict[str, tuple[BothAnswers, ...]]
    usage: dict[str, Usage]
    reason: str


def read_asked(folder: Path) -> Asked:
    """Read that file; without one, or with another in its place, nothing was asked."""
    try:
        return Asked.model_validate_json((folder / FILE).read_bytes())
    except (OSError, ValidationError):
        return Asked(answers={}, usage={}, reason="")


# Agreement


def agreement(answers: Sequence[BothAnswers], reason: str) -> Agreement:
    """Compare the answers of teacher and student.

    Args:
        answers: To any number of texts. An unreadable answer is like no other.
        reason: Why there are none, where there are none.
    """
    n = len(answers)
    if not n:
        return Agreement(reason=reason)
    n_equal = sum(_are_equal(both) for both in answers)
    pairs = Counter((b.teacher, b.student) for b in answers if not _are_equal(b))
    return Agreement(
        n=n,
        equal=Estimate(n_equal / n, *wilson(n_equal / n, n)),
        differing=tuple(
            Differing(teacher=teacher, student=student, n=count)
            for (teacher, student), count in pairs.most_common(MOST_PAIRS)
        ),
    )


def _are_equal(both: BothAnswers) -> bool:
    return both.teacher is not None and both.teacher == both.student


def examples(answers: Sequence[BothAnswers], pair: Differing) -> list[str]:
    """The first texts with these two answers."""
    alike = (b.text for b in answers if (b.teacher, b.student) == (pair.teacher, pair.student))
    return list(islice(alike, MOST_EXAMPLES))


# What was measured on held-out items


def own_results(results: Mapping[str, Path]) -> dict[str, dict[str, Path]]:
    """The sample files of own tasks, of their first seed, where they can be used.

    Args:
        results: Model -> folder with the results of lm-eval, samples logged.

    Returns:
        Task -> model -> file.
    """
    found: dict[str, dict[str, Path]] = {}
    for model, folder in results.items():
        for task, by_seed in newest_samples(folder).items():
            path = next(iter(by_seed.values()))
            if load_tasks()[task].source == "own" and _samples(path, task):
                found.setdefault(task, {})[model] = path
    return found


def _samples(path: Path, task: str, *, with_texts: bool = False) -> Samples | None:
    """The comparison of the models says why a file cannot be used."""
    try:
        return read_samples(path, load_tasks()[task], with_texts=with_texts)
    except Unusable:
        return None


def confusions(files: Mapping[str, Path], task: str) -> dict[str, Matrix]:
    """Model -> gold labels by answers; none for a task without labels."""
    if not load_tasks()[task].card.is_label_task:
        return {}
    read = {model: _samples(path, task) for model, path in files.items()}
    return {
        model: tuple(map(tuple, confusion(samples.statistics["official"])))
        for model, samples in read.items()
        if samples
    }


def measured_cost(path: Path, task: str, count_tokens: CountTokens) -> Cost | None:
    """What 1,000 texts take of a model on this machine, from its evaluation.

    Args:
        path: Sample file, with lm-eval's results beside it.
        task: Its task.
        count_tokens: Tokens of some texts together, by the model's tokenizer.
    """
    samples = _samples(path, task, with_texts=True)
    if samples is None:
        return None
    each = PER / samples.n_items
    return Cost(
        seconds=_times(_seconds(results_beside(path)), each),
        prompt_tokens=each * count_tokens([text.prompt for text in samples.texts]),
        answer_tokens=each * count_tokens([text.answer for text in samples.texts]),
        usd=None,
        basis=f"its evaluation on {samples.n_items:,} held-out texts, on this machine",
    )


def _seconds(results: Path) -> float | None:
    """What the evaluation took, without loading the model; None where it is not said."""
    try:
        found = json.loads(results.read_text(encoding="utf-8"))
        return float(found["total_evaluation_time_seconds"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def asked_cost(usages: Sequence[Usage], teacher: ServerTeacherConfig) -> Cost | None:
    """What 1,000 texts take of a teacher behind a server; None where it answered nothing."""
    total = {key: sum(getattr(one, key) for one in usages) for key in Usage.model_fields}
    texts, asked = total["texts"], total["asked"]
    if not texts:
        return None
    prompt, answer = (
        _times(total[key] or None, PER / texts) for key in ("prompt_tokens", "answer_tokens")
    )
    basis = f"{texts:,} answers"
    if asked:
        basis += f"; seconds of {asked:,} requests, {teacher.concurrency} at once"
    else:
        basis += " from the store; seconds not measured, as nothing was asked"
    return Cost(
        seconds=PER * total["seconds"] / asked if asked else None,
        prompt_tokens=prompt,
        answer_tokens=answer,
        usd=None if prompt is None or answer is None else teacher.usd(prompt, answer),
        basis=basis,
    )


def _times(number: float | None, factor: float) -> float | None:
    return None if number is None else factor * number

"""``lm_eval --model sentibench-decisions``: the twelve tasks on a server that gives probabilities.

Label tasks are asked as questions, extraction tasks as chats. Every answer is written down as it
comes, so a run that was killed asks only what is missing.
"""

# pyright: basic
# lm-eval carries no types that would hold: its unknowns end in this module.

from __future__ import annotations

import math
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any

from sentibench.data.fetch import data_home
from sentibench.decisions.dialects import OFF_ONE
from sentibench.decisions.server import DecisionsServer, identity
from sentibench.decisions.settings import PREFIX, Settings, read_settings
from sentibench.errors import InputError, TeacherError
from sentibench.harness.answered import AnsweredModel, LabelAnswer, Question
from sentibench.prompts.few_shot import generation_settings
from sentibench.remote.asking import ask
from sentibench.remote.chat import RATE_LIMIT
from sentibench.remote.reasoning import without_reasoning
from sentibench.remote.records import UNREACHED, Answer, Decoding, Failure, Message, Request
from sentibench.remote.store import Store

PASSING = (UNREACHED, "connection", "timeout", RATE_LIMIT, "server", "malformed")
"""Failures that say nothing of the question: it is asked again in the next run."""
AGAIN = "run again: what was answered is not asked again"


class DecisionsModel(AnsweredModel):
    """A model behind a server, for lm-eval.

    Args:
        base_url: See ``Settings``, as for all others.
        model: As the server calls it.
        dialect: ``systemone``, ``decisions``, ``sglang`` or ``chat``. It has no default, so that
            results name it: with each the prompt is another one.
        others: The other settings, and what lm-eval gives to every model.

    Raises:
        InputError: If an argument is missing, unknown or wrong.
    """

    tasks_setting = "--tasks"
    sleep = staticmethod(time.sleep)
    give_up_after = 20  # failures in a row

    def __init__(self, **others: Any) -> None:
        super().__init__(self._answer_labels, self._answer_tuples)
        self.settings = read_settings(others)
        self._server = DecisionsServer(
            self.settings,
            prefix=PREFIX,
            again=AGAIN,
            give_up_after=self.give_up_after,
            sleep=self.sleep,
        )
        self.folder = self.settings.store or default_store(self.settings)

    @property
    def tokenizer_name(self) -> str:
        """Asked for with ``--apply_chat_template`` alone, which is refused."""
        raise InputError("--apply_chat_template: the server applies its own template; leave it out")

    def _answer_labels(self, questions: Sequence[Question]) -> list[LabelAnswer]:
        answers: list[LabelAnswer] = []
        for task, of_task in groupby(questions, lambda question: question.task):
            asked = self._ask(task, list(of_task))
            n_off = sum(off_by_rounding(one) for one in asked)
            if n_off and self.settings.dialect != "chat":
                say(
                    f"{task}: the probabilities of {n_off} of {len(asked)} answers do not sum to "
                    "1; they were normalised"
                )
            n_bounded = sum(isinstance(one, Answer) and one.n_bounds > 0 for one in asked)
            if n_bounded:
                say(
                    f"{task}: {n_bounded} of {len(asked)} answers do not list every label; the "
                    "probability of one that is not listed is an upper bound"
                )
            answers += [normalised(one) for one in asked]
        return answers

    def _answer_tuples(self, questions: Sequence[Question]) -> list[str]:
        answers: list[str] = []
        for task, of_task in groupby(questions, lambda question: question.task):
            answers += [written(one) for one in self._ask(task, list(of_task))]
        return answers

    def _ask(self, task: str, questions: Sequence[Question]) -> list[Answer | Failure]:
        """Outcomes of the questions of one task, from the store or the server."""
        requests = [request_of(question) for question in questions]
        # one task after another: what a server refuses of one it may answer of the next
        with Store.open(self.folder, *identity_at(self.settings)) as store:
            n_known = sum(store.key_of(request) in store for request in requests)
            if n_known:
                say(f"{task}: {n_known} of {len(requests)} answers are from {self.folder}")
            outcomes = ask(
                requests,
                lambda: self._server,
                store,
                # where nothing was answered the server was wrong, not the items
                retry_failed=self.settings.retry_failed or not n_known,
                passing=PASSING,
                accepted=set(PASSING) - {UNREACHED} if self.settings.accept_lost else (),
                what=task,
            )
        failures = [one for _, one in outcomes if isinstance(one, Failure)]
        if failures:
            reasons = Counter(f"{failure.reason}: {failure.detail}" for failure in failures)
            line = (
                f"{len(failures)} of {len(requests)} have no answer; {reasons.most_common(1)[0][0]}"
            )
            if len(failures) == len(outcomes):
                raise TeacherError(f"{PREFIX.strip()}: {task}: {line}")
            say(f"{task}: {line}; they count as invalid; retry_failed=true asks again")
        return [outcome for _, outcome in outcomes]


def default_store(settings: Settings) -> Path:
    """A folder for each server, model and dialect."""
    name, revision = identity_at(settings)
    known = sha256(f"{name}\n{revision}".encode()).hexdigest()[:12]
    readable = re.sub(r"[^\w.-]+", "-", settings.model)[-60:]
    return data_home() / "answers" / f"{readable}-{settings.dialect}-{known}"


def identity_at(settings: Settings) -> tuple[str, str]:
    """Name and revision, with the address: servers share names such as ``default``."""
    name, revision = identity(settings)
    return name, f"{revision}@{settings.base_url.rstrip('/')}"


def request_of(question: Question) -> Request:
    """The request for a question."""
    return Request(
        id=question.id,
        messages=(Message("user", question.prompt),),
        text=question.sentence,
        source=question.task,
        choices=question.labels,
        decoding=Decoding(question.max_tokens or 1),
    )


def off_by_rounding(outcome: Answer | Failure) -> bool:
    """Whether probabilities were given whose sum is not 1."""
    if isinstance(outcome, Failure):
        return False
    return abs(sum(map(math.exp, outcome.log_likelihoods)) - 1) > OFF_ONE


def normalised(outcome: Answer | Failure) -> LabelAnswer:
    """Log-probabilities of the labels that sum to one, in nats; None without an answer."""
    if isinstance(outcome, Failure):
        return None
    log_total = math.log(sum(map(math.exp, outcome.log_likelihoods)))
    return [value - log_total for value in outcome.log_likelihoods]


def written(outcome: Answer | Failure) -> str:
    """What was written, without reasoning, up to the stop strings of the task; else empty."""
    if isinstance(outcome, Failure):
        return ""
    text, reasoning, _ = without_reasoning(outcome.text)
    text = text if reasoning else outcome.text
    for stop in generation_settings()["until"]:
        text = text.partition(stop)[0]
    return text


def say(line: str) -> None:
    """One line for the user."""
    print(f"sentibench-decisions: {line}", file=sys.stderr)

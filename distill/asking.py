"""Requests to answers: what is not in the store is asked, and written down as it comes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tqdm import tqdm

from distill.errors import TeacherError
from distill.records import Answer, Failure, Request, Teacher
from distill.store import Store


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of a list of requests.

    Attributes:
        answered: (request, answer) in the order of the requests.
        failed: (request, failure) in the order of the requests.
        fresh: How many of the answers were not in the store before.
        prompt_tokens: Of the fresh answers.
        completion_tokens: Of the fresh answers.
    """

    answered: tuple[tuple[Request, Answer], ...]
    failed: tuple[tuple[Request, Failure], ...]
    fresh: int
    prompt_tokens: int
    completion_tokens: int


def ask(
    requests: Sequence[Request],
    teacher: Teacher,
    store: Store,
    *,
    retry_failed: bool = False,
    what: str = "requests",
) -> Asked:
    """Ask the teacher whatever the store does not hold; may be killed and called again.

    Args:
        requests: Twins (equal keys) are asked once.
        teacher: Whose answers the store holds.
        store: Open for writing.
        retry_failed: Ask again what failed in an earlier call.
        what: Name of the bar.

    Raises:
        TeacherError: If not a single request has an answer.
        StoreError: If an answer cannot be written.
    """
    waiting = store.waiting(requests, retry_failed)
    tokens: Counter[str] = Counter()
    fresh = 0
    with tqdm(total=len(waiting), desc=what, unit="request", disable=None) as bar:
        for request, outcome in teacher.answer(waiting):
            if isinstance(outcome, Failure):
                store.fail(request, outcome)
            else:
                store.add(request, outcome)
                fresh += 1
                tokens["prompt"] += outcome.prompt_tokens
                tokens["completion"] += outcome.completion_tokens
            bar.update()
    answered: list[tuple[Request, Answer]] = []
    failed: list[tuple[Request, Failure]] = []
    for request in requests:
        key = request.key(teacher.name, teacher.revision)
        answer = store.get(key)
        if answer is not None:
            answered.append((request, answer))
        else:
            failure = store.failure(key) or Failure("not answered", "the teacher said nothing", 0)
            failed.append((request, failure))
    if requests and not answered:
        reasons = Counter(failure.reason for _, failure in failed)
        raise TeacherError(
            f"teacher {teacher.name}: none of {len(requests)} requests has an answer; "
            f"{dict(reasons)}, for instance: {failed[0][1].detail}; mend the teacher and call "
            "again with --retry-failed"
        )
    return Asked(tuple(answered), tuple(failed), fresh, tokens["prompt"], tokens["completion"])

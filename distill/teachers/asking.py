"""Requests to answers: what is not in the store is asked, and written down as it comes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from distill.errors import TeacherError
from distill.progress import progress
from distill.records import UNKNOWN, UNREACHED, Answer, Failure, Request, Teacher
from distill.teachers.store import Store

UNSAID = Failure("not answered", "the teacher said nothing", 0)


def ask(
    requests: Sequence[Request],
    teacher: Callable[[], Teacher],
    store: Store,
    *,
    retry_failed: bool = False,
    what: str = "requests",
) -> list[tuple[Request, Answer | Failure]]:
    """Ask the teacher whatever the store does not hold; may be killed and called again.

    Args:
        requests: Twins (equal keys) are asked once.
        teacher: Loads the teacher whose answers the store holds; not called where nothing waits.
        store: Open for writing.
        retry_failed: Ask again what failed in an earlier call.
        what: Name of the bar.

    Returns:
        (request, answer or failure) in the order of the requests.

    Raises:
        TeacherError: If some requests never reached the teacher.
        StoreError: If an answer cannot be written.
    """
    waiting = store.waiting(requests, retry_failed)
    unknown: dict[str, Failure] = {}
    with progress(what, "request", len(waiting)) as bar:
        for request, outcome in teacher().answer(waiting) if waiting else ():
            if isinstance(outcome, Answer):
                store.add(request, outcome)
            elif outcome.reason in UNKNOWN:
                unknown[store.key_of(request)] = outcome
            else:
                store.fail(request, outcome)
            bar.update()
    unreached = [f for f in unknown.values() if f.reason == UNREACHED]
    if unreached:
        raise TeacherError(
            f"teacher {store.teacher}: {len(unreached)} of {len(waiting)} requests did not reach "
            f"it, for instance: {unreached[0].detail}; what was answered is kept, call again"
        )
    outcomes: list[tuple[Request, Answer | Failure]] = []
    for request in requests:
        key = store.key_of(request)
        outcome = store.get(key) or store.failure(key) or unknown.get(key) or UNSAID
        outcomes.append((request, outcome))
    return outcomes

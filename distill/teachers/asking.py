"""Requests to answers: what is not in the store is asked, and written down as it comes."""

from __future__ import annotations

from collections import Counter
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
) -> list[tuple[Request, Answer]]:
    """Ask the teacher whatever the store does not hold; may be killed and called again.

    Args:
        requests: Twins (equal keys) are asked once.
        teacher: Loads the teacher whose answers the store holds; not called where nothing waits.
        store: Open for writing.
        retry_failed: Ask again what failed in an earlier call.
        what: Name of the bar.

    Returns:
        (request, answer) in the order of the requests; the store knows why others failed.

    Raises:
        TeacherError: If not a single request has an answer, or some never reached the teacher.
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
    outcomes = [(request, store.get(store.key_of(request))) for request in requests]
    answered = [(request, answer) for request, answer in outcomes if answer]
    if requests and not answered:
        keys = map(store.key_of, requests)
        failed = [store.failure(key) or unknown.get(key) or UNSAID for key in keys]
        reasons = Counter(failure.reason for failure in failed)
        raise TeacherError(
            f"teacher {store.teacher}: none of {len(requests)} requests has an answer; "
            f"{dict(reasons)}, for instance: {failed[0].detail}; mend the teacher and call "
            "again with --retry-failed"
        )
    return answered

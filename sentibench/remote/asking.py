"""Requests to answers: what is not in the store is asked, and written down as it comes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from sentibench.errors import TeacherError
from sentibench.progress import progress
from sentibench.remote.records import UNKNOWN, UNREACHED, Answer, Failure, Request, Teacher
from sentibench.remote.shards import take_shards
from sentibench.remote.store import Store

UNSAID = Failure("not answered", "the teacher gave no answer", 0)


@runtime_checkable
class Server(Protocol):
    """A teacher that judges what it refuses by whether it has ever answered; ``ChatServer``."""

    has_answered: bool


def ask(
    requests: Sequence[Request],
    teacher: Callable[[], Teacher],
    store: Store,
    *,
    retry_failed: bool = False,
    passing: Collection[str] = (UNREACHED,),
    accepted: Collection[str] = (),
    what: str = "requests",
) -> list[tuple[Request, Answer | Failure]]:
    """Ask what waits; see :func:`ask_waiting`.

    Returns:
        (request, answer or failure) in the order of the requests.
    """
    given: Any = {"retry_failed": retry_failed, "passing": passing, "accepted": accepted}
    unknown = ask_waiting(requests, teacher, store, **given, what=what)
    return list(outcomes(requests, store, unknown))


def ask_waiting(
    requests: Sequence[Request],
    teacher: Callable[[], Teacher],
    store: Store,
    *,
    retry_failed: bool = False,
    passing: Collection[str] = (UNREACHED,),
    accepted: Collection[str] = (),
    what: str = "requests",
) -> dict[str, Failure]:
    """Ask the teacher whatever the store does not hold; may be killed and called again.

    What workers of an earlier call left in shards of the store is taken first, and what workers of
    this call leave there, last.

    Args:
        requests: Those with equal keys are asked once. They may stay on the disk until then.
        teacher: Loads the teacher whose answers the store holds; not called where nothing waits.
        store: Open for writing.
        retry_failed: Ask again what failed in an earlier call.
        passing: Reasons of failures that are not written down and end the call: they say nothing
            of the request, which is asked again in the next call.
        accepted: Those of them that do not end the call.
        what: Name of the bar.

    Returns:
        Failures that are not written down, by key.

    Raises:
        TeacherError: If some requests failed for a passing reason.
        StoreError: If an answer cannot be written.
    """
    take_shards(store)
    # what failed before comes last: a server whose first words are refusals looks wrong
    waiting = store.waiting(requests, retry_failed)
    if len(store) and len(waiting) < len(requests):
        told = f"{len(waiting):,} of {len(requests):,} requests are sent"
        print(f"{what}: {told}; the others have answers in {store.folder}", file=sys.stderr)
    asked = teacher() if waiting else None
    # of an empty store no request need be read
    if isinstance(asked, Server) and len(store):
        asked.has_answered |= any(store.key_of(one) in store for one in requests)
    unknown: dict[str, Failure] = {}
    with progress(what, "request", len(waiting)) as bar:
        try:
            for request, outcome in asked.answer(waiting) if asked else ():
                if isinstance(outcome, Answer):
                    store.add(request, outcome)
                elif outcome.reason in (*UNKNOWN, *passing):
                    unknown[store.key_of(request)] = outcome
                else:
                    store.fail(request, outcome)
                bar.update()
        except KeyboardInterrupt:
            raise KeyboardInterrupt("all answers so far are kept; run again") from None
        finally:
            take_shards(store)
    lost = [f for f in unknown.values() if f.reason in passing and f.reason not in accepted]
    if lost:
        raise TeacherError(
            f"{store.teacher}: {len(lost)} of {len(waiting)} requests "
            + ("did not reach the server" if lost[0].reason == UNREACHED else "have no answer")
            + f", for example: {lost[0].detail}; all answers so far are kept; run again"
        )
    return unknown


def outcomes(
    requests: Iterable[Request], store: Store, unknown: Mapping[str, Failure]
) -> Iterator[tuple[Request, Answer | Failure]]:
    """What became of requests that were asked; ``unknown`` is what :func:`ask_waiting` gave."""
    for request in requests:
        key = store.key_of(request)
        yield request, store.get(key) or store.failure(key) or unknown.get(key) or UNSAID

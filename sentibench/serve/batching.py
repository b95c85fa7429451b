"""Requests that wait, and the thread that answers what arrived together.

A request stays whole: alone in its batch it gets, to the last digit, what one call of the
classifier gives.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from sentibench.serve.answering import Answer, Item
from sentibench.serve.refusals import Refused

RETRY_AFTER_S = 1
MOST_WAITING_CHARACTERS = 4 << 20  # of texts and prompts
PATIENCE = 0.02  # of the time of a batch: as long may its clients take to ask again

Answers = list[Answer]
IsWanted = Callable[[], bool]


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """A request. Its future can be cancelled until the answers are there."""

    items: Sequence[Item]
    n_characters: int
    future: Future[Answers] = field(default_factory=lambda: Future[Answers]())


class Batcher:
    """A bounded queue before a model that does one thing at a time.

    Clients that were answered together ask again together, one a little before the others. So a
    batch is not begun by the first of them: it waits for as many requests as the last one had, for
    2% of the last one's time at most.

    Args:
        answer: The model; called in one thread. The function that it is given says whether
            anybody still waits.
        max_queue: Items that may wait, those in work not counted.
        max_batch: Items that are answered together; a single request may hold more.
        on_batch: Told the number of items of every batch.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Item], IsWanted], Answers],
        *,
        max_queue: int,
        max_batch: int,
        on_batch: Callable[[int], object] = lambda _: None,
    ) -> None:
        self._answer, self._on_batch = answer, on_batch
        self.max_queue, self.max_batch = max_queue, max_batch
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self.n_waiting = self._n_characters = 0
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether requests are taken."""
        return self._thread.is_alive() and not self._is_closed

    def ask(self, items: Sequence[Item]) -> Future[Answers]:
        """Queue the items of a request.

        Returns:
            The answers to come. Whoever wants them no longer cancels it.

        Raises:
            Refused: If there is no room for them, or the server ends.
        """
        job = _Job(items, sum(map(len, items)))
        with self._changed:
            if self._is_closed:
                raise Refused(503, "closing", "the server is shutting down")
            if len(items) > self.max_queue:
                raise Refused(
                    413,
                    "too_large",
                    f"got {len(items)} texts or questions, expected at most {self.max_queue}; send "
                    "fewer at a time",
                )
            n_characters = self._n_characters + job.n_characters
            is_full = self.n_waiting + len(items) > self.max_queue
            if is_full or n_characters > MOST_WAITING_CHARACTERS:
                raise Refused(
                    503,
                    "overloaded",
                    f"{self.n_waiting} texts or questions, of {self._n_characters:,} characters, "
                    "wait already; try again in a second",
                    retry_after_s=RETRY_AFTER_S,
                )
            self._jobs.append(job)
            self._count(job, 1)
            self._changed.notify()
        job.future.add_done_callback(lambda _: self._forget(job))
        return job.future

    def close(self) -> None:
        """Take nothing more, answer what waits, and end the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _count(self, job: _Job, sign: int) -> None:
        self.n_waiting += sign * len(job.items)
        self._n_characters += sign * job.n_characters

    def _forget(self, job: _Job) -> None:
        """Make room where a client went away before its turn."""
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)
                self._count(job, -1)

    def _work(self) -> None:
        n_expected, deadline_s = 0, 0.0
        while jobs := self._next_batch(n_expected, deadline_s):
            self._on_batch(sum(len(job.items) for job in jobs))
            start = time.monotonic()
            try:
                self._settle(jobs)
            except Exception:  # one request must not be another's failure: each alone
                for job in jobs:
                    try:
                        self._settle([job])
                    except Exception as error:
                        if job.future.set_running_or_notify_cancel():
                            job.future.set_exception(error)
            end = time.monotonic()
            n_expected, deadline_s = len(jobs), end + PATIENCE * (end - start)

    def _next_batch(self, n_expected: int, deadline_s: float) -> list[_Job]:
        """Whole requests in their order, one at least; none when the work is over."""

        def is_something() -> bool:
            return bool(self._jobs) or self._is_closed

        def is_enough() -> bool:
            is_full = self.n_waiting >= self.max_batch
            return is_full or len(self._jobs) >= n_expected or self._is_closed

        with self._changed:
            self._changed.wait_for(is_something)
            self._changed.wait_for(is_enough, max(0.0, deadline_s - time.monotonic()))
            self._changed.wait_for(is_something)  # whoever asked may have gone away
            jobs: list[_Job] = []
            n_items = 0
            while self._jobs and (not jobs or n_items + len(self._jobs[0].items) <= self.max_batch):
                jobs.append(self._jobs.popleft())
                n_items += len(jobs[-1].items)
                self._count(jobs[-1], -1)
        return jobs

    def _settle(self, jobs: Sequence[_Job]) -> None:
        jobs = [job for job in jobs if not job.future.cancelled()]
        if not jobs:
            return

        def is_wanted() -> bool:
            return not all(job.future.cancelled() for job in jobs)

        answers = iter(self._answer([item for job in jobs for item in job.items], is_wanted))
        shares = [[next(answers) for _ in job.items] for job in jobs]
        for job, share in zip(jobs, shares, strict=True):
            if job.future.set_running_or_notify_cancel():
                job.future.set_result(share)

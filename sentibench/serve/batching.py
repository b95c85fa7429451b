"""Requests that wait, and the thread that answers what arrived together.

A request stays whole: alone in its batch it gets, to the last digit, what one call of the
classifier gives.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from sentibench.serve.answering import Answer, Item
from sentibench.serve.refusals import Refused

RETRY_AFTER_S = 1

Answers = list[Answer]


@dataclass(frozen=True, slots=True)
class _Job:
    items: Sequence[Item]
    future: Future[Answers] = field(default_factory=lambda: Future[Answers]())


class Batcher:
    """A bounded queue before a model that does one thing at a time.

    Args:
        answer: The model; called in one thread.
        max_queue: Items that may wait, those in work not counted.
        max_batch: Items that are answered together; a single request may hold more.
        on_batch: Told the number of items of every batch.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Item]], Answers],
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
        self.n_waiting = 0
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether requests are taken."""
        return self._thread.is_alive() and not self._is_closed

    def ask(self, items: Sequence[Item]) -> Future[Answers]:
        """Queue the items of a request.

        Raises:
            Refused: If there is no room for them, or the server ends.
        """
        with self._changed:
            if self._is_closed:
                raise Refused(503, "closing", "the server ends")
            if len(items) > self.max_queue:
                raise Refused(
                    413,
                    "too_large",
                    f"got {len(items)} texts or questions, expected at most {self.max_queue}",
                )
            if self.n_waiting + len(items) > self.max_queue:
                raise Refused(
                    503,
                    "overloaded",
                    f"{self.n_waiting} texts or questions wait already; try again",
                    retry_after_s=RETRY_AFTER_S,
                )
            job = _Job(items)
            self._jobs.append(job)
            self.n_waiting += len(items)
            self._changed.notify()
        return job.future

    def close(self) -> None:
        """Take nothing more, answer what waits, and end the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while jobs := self._next_batch():
            # a client that went away has cancelled its request
            jobs = [job for job in jobs if job.future.set_running_or_notify_cancel()]
            if not jobs:
                continue
            self._on_batch(sum(len(job.items) for job in jobs))
            try:
                self._settle(jobs)
            except Exception:  # one request must not be another's failure: each alone
                for job in jobs:
                    try:
                        self._settle([job])
                    except Exception as error:
                        job.future.set_exception(error)

    def _next_batch(self) -> list[_Job]:
        """Whole requests in their order, one at least; none when the work is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._is_closed)
            jobs: list[_Job] = []
            n_items = 0
            while self._jobs and (not jobs or n_items + len(self._jobs[0].items) <= self.max_batch):
                jobs.append(self._jobs.popleft())
                n_items += len(jobs[-1].items)
            self.n_waiting -= n_items
        return jobs

    def _settle(self, jobs: Sequence[_Job]) -> None:
        answers = iter(self._answer([item for job in jobs for item in job.items]))
        shares = [[next(answers) for _ in job.items] for job in jobs]
        for job, share in zip(jobs, shares, strict=True):
            job.future.set_result(share)

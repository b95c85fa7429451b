"""Much work of one kind, shared between the cores of this machine.

Those who have such work take a :class:`Share`, so that other machines can do it instead.
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_all_start_methods, get_context
from threading import Thread
from typing import Any, Protocol, TypeVar

from distill.errors import ProcessLostError

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK = 500  # items that a process does at once
FEWEST = 4_000  # items for which processes are started
WATCH_S = 0.5
AHEAD = 3  # chunks for each process that wait or are done

_work: Callable[[range], Any] | None = None  # of this process, which was forked off for it


class Share(Protocol):
    """Do work on items 0 to n - 1, somewhere; yield the results in their order.

    Args:
        read: Gives a range of items; called on this machine.
        work: Gives the results of some items. It may be sent to another machine, with what it
            knows, and changes nothing that others see.
        n: Number of items.
        chunk: Items that are done at once; None for ``CHUNK``.
    """

    def __call__(
        self,
        read: Callable[[range], Sequence[Item]],
        work: Callable[[Sequence[Item]], Sequence[Result]],
        n: int,
        chunk: int | None = None,
    ) -> Iterator[Result]:
        """See above."""
        ...


def by_processes(
    read: Callable[[range], Sequence[Item]],
    work: Callable[[Sequence[Item]], Sequence[Result]],
    n: int,
    chunk: int | None = None,
) -> Iterator[Result]:
    """Do work on the cores of this machine; see :class:`Share`."""
    return shared(lambda rows: work(read(rows)), n, chunk)


def shared(
    work: Callable[[range], Sequence[Result]], n: int, chunk: int | None = None
) -> Iterator[Result]:
    """Do work on items 0 to n - 1; yield the results in their order.

    Processes are forked off, so they see what this one has, and only results are sent. Where a
    system has no fork, or there is little to do, this process does it.

    Args:
        work: Gives the results of a range of items. It changes nothing that others see.
        n: Number of items.
        chunk: Items that a process does at once; None for ``CHUNK``.

    Raises:
        ProcessLostError: If a process was killed, for want of memory say.
    """
    chunks = iter(chunked(n, chunk))
    n_workers = _n_cores()
    if n < FEWEST or n_workers < 2 or "fork" not in get_all_start_methods():
        for rows in chunks:
            yield from work(rows)
        return
    pool = ProcessPoolExecutor(n_workers, get_context("fork"), _take, (work, os.getpid()))
    try:
        waiting: deque[Future[Sequence[Result]]] = deque()
        for rows in islice(chunks, AHEAD * n_workers):
            waiting.append(pool.submit(_do, rows))
        while waiting:
            yield from waiting.popleft().result()
            for rows in islice(chunks, 1):
                waiting.append(pool.submit(_do, rows))
    except BrokenProcessPool:
        raise ProcessLostError(
            "a worker process was killed, probably because memory was short; expected memory for "
            f"{n_workers} of them; close other programs and run again"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def chunked(n: int, chunk: int | None = None) -> list[range]:
    """Items 0 to n - 1 as the ranges that are done at once."""
    size = chunk or CHUNK
    return [range(start, min(start + size, n)) for start in range(0, n, size)]


def _n_cores() -> int:
    """Cores of this machine for this process: torchrun starts several that do the same."""
    n = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return n // int(os.environ.get("LOCAL_WORLD_SIZE") or 1)


def _take(work: Callable[[range], Any], parent: int) -> None:
    """Begin as a process that was forked off: Ctrl-C is the parent's, and its end is ours."""
    global _work
    _work = work
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # there is a process for each core
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: int) -> None:
    """End once the parent was killed: a lock that it held is held by those that it forked off."""
    while os.getppid() == parent:
        time.sleep(WATCH_S)
    os._exit(1)


def _do(rows: range) -> Any:
    assert _work is not None
    return _work(rows)

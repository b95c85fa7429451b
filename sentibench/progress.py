"""Progress of long work: a bar in a terminal, elsewhere a line every half minute."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

from tqdm import tqdm

EVERY_S = 30.0
LINE = "{desc}: {n_fmt} of {total_fmt} {unit}s after {elapsed}, about {remaining} left{postfix}"


@contextmanager
def progress(what: str, unit: str, total: int, initial: int = 0) -> Generator[tqdm[Any]]:
    """Show how far the work within is.

    Args:
        what: Name of the work.
        unit: What is counted, in the singular.
        total: How many there are.
        initial: How many were done before.

    Yields:
        tqdm's bar, to be updated.
    """
    given: dict[str, Any] = {
        "desc": what,
        "unit": unit,
        "total": total,
        "initial": initial,
        "smoothing": 0,
    }
    if sys.stderr.isatty():
        with tqdm(**given) as bar:
            yield bar
        return
    with Path(os.devnull).open("w") as nowhere, tqdm(**given, file=nowhere, bar_format=LINE) as bar:
        done = Event()

        def say() -> None:
            while not done.wait(EVERY_S):
                print(bar, file=sys.stderr, flush=True)

        thread = Thread(target=say, daemon=True)
        thread.start()
        try:
            yield bar
        finally:
            done.set()
            thread.join()

"""One bar per step, with rate and time left: redrawn on a terminal, now and then in a log."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

LOG_S = 30.0  # between two lines where nobody watches


def progress(total: int, what: str, unit: str, done: int = 0) -> tqdm[Any]:
    """A bar on stderr; close it, or use it in a ``with``.

    Args:
        total: Pieces of work.
        what: Name of the bar.
        unit: What a piece is called.
        done: Pieces that an earlier call has done.
    """
    every_s = 0.1 if sys.stderr.isatty() else LOG_S
    return tqdm(
        total=total,
        desc=what,
        unit=unit,
        initial=done,
        mininterval=every_s,
        maxinterval=2 * every_s,
    )

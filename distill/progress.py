"""One bar per step, with rate and time left: redrawn on a terminal, now and then in a log."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

LOG_S = 30.0  # between two lines where nobody watches


def progress(total: int, what: str, unit: str) -> tqdm[Any]:
    """A bar on stderr; close it, or use it in a ``with``."""
    every_s = 0.1 if sys.stderr.isatty() else LOG_S
    return tqdm(total=total, desc=what, unit=unit, mininterval=every_s, maxinterval=2 * every_s)

"""Why an answer of a teacher is dropped."""

from __future__ import annotations

from typing import Literal, get_args

Reason = Literal[
    "only reasoning",
    "empty",
    "run-on",
    "refusal",
    "cut off",
    "only a label",
    "JSON",
    "copied input",
    "repetition",
    "outside the taxonomy",
    "span not in the text",
    "too short",
    "too long",
    "contaminated",
    "near-duplicate",
]
REASONS: tuple[Reason, ...] = get_args(Reason)
"""In the order in which they are checked; the first that applies is the one that counts.

A run-on comes before the reasons that its invented part would cause (an invented review is usually
cut off, and is in no taxonomy). Near-duplicates come last: no answer is dropped in favour of one
that is dropped itself.
"""

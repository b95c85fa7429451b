"""What the teacher is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from distill.files import digest
from sentibench.prompts.few_shot import template_sources

Kind = Literal["knowdist", "knowdist_few_shot", "attributes", "demonstrations", "icldist"]

VERSION = 4
"""Of the code that makes requests; a test on fixed texts says when to raise it."""

HERE = Path(__file__).parent
OTHER_TASKS = (HERE / "other_tasks.jsonl", HERE / "structured_tasks.jsonl")
FILES: dict[Kind, tuple[Path, ...]] = {
    "knowdist": (HERE / "templates" / "knowdist",),
    "knowdist_few_shot": (HERE / "templates" / "knowdist_few_shot",),
    "attributes": (HERE / "templates" / "attributes",),
    "demonstrations": (HERE / "taxonomies.yaml", HERE / "aspects.yaml"),
    "icldist": (HERE / "taxonomies.yaml", HERE / "aspects.yaml", *OTHER_TASKS),
}


def fingerprints(kind: Kind) -> dict[str, Any]:
    """Version and hashes of what the package's own prompts of a kind are made of."""
    known: dict[str, Any] = {"version": VERSION}
    known |= {path.name: digest(path)[:16] for path in FILES[kind]}
    if kind in ("demonstrations", "icldist"):
        known["few_shot"] = template_sources()
    return known

"""What the teacher is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from distill.files import digest
from sentibench.data.cards import tasks_folder

Kind = Literal["knowdist", "knowdist_few_shot", "demonstrations", "icldist"]

VERSION = 1
"""Of the code that makes requests; a test on fixed texts says when to raise it."""

HERE = Path(__file__).parent
FILES: dict[Kind, tuple[Path, ...]] = {
    "knowdist": (HERE / "templates" / "knowdist",),
    "knowdist_few_shot": (HERE / "templates" / "knowdist_few_shot",),
    "demonstrations": (HERE / "taxonomies.yaml", tasks_folder() / "_label_task"),
    "icldist": (
        *(HERE / "taxonomies.yaml", HERE / "other_tasks.jsonl"),
        tasks_folder() / "_label_task",  # whose templates render the few-shot prompts
    ),
}


def fingerprints(kind: Kind) -> dict[str, Any]:
    """Version and hashes of what the package's own prompts of a kind are made of."""
    return {"version": VERSION} | {path.name: digest(path)[:16] for path in FILES[kind]}

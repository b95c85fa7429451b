"""The limits of a server are those that docs/serve.md tells."""

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("uvicorn")

from sentibench.serve import shapes
from sentibench.serve.app import MOST_BYTES
from sentibench.serve.batching import MOST_WAITING_CHARACTERS

PAGE = (Path(__file__).parents[3] / "docs" / "serve.md").read_text(encoding="utf-8")


def test_the_limits_are_those_of_the_page() -> None:
    for row in (
        f"| body | {MOST_BYTES >> 20} MiB,",
        f"| texts or questions of a request | {shapes.MOST_TEXTS} |",
        f"instructions, and description of an option | {shapes.MOST_CHARACTERS:,} char",
        f"| options of a question | {shapes.MOST_OPTIONS} |",
        f"| name of an option | {shapes.MOST_NAME_CHARACTERS} characters |",
        f"| {shapes.MOST_PROMPT_CHARACTERS:,} characters |",
        f"{MOST_WAITING_CHARACTERS:,} characters",
    ):
        assert row in PAGE

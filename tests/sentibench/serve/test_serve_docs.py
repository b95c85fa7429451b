"""The examples of docs/serve.md run against a real server."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("uvicorn")

from sentibench.serve import shapes
from sentibench.serve.app import MOST_BYTES
from sentibench.serve.batching import MOST_WAITING_CHARACTERS

PAGE = (Path(__file__).parents[3] / "docs" / "serve.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8000"


def examples(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)


def test_python_examples_print_answers(port: int) -> None:
    found = examples("python")
    assert len(found) == 2
    for example in found:
        code = example.replace(ADDRESS, f"http://127.0.0.1:{port}")
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert said.returncode == 0, said.stderr
        assert re.search(r"0\.\d+", said.stdout)


def test_shell_examples_print_answers(port: int, tmp_path: Path) -> None:
    if not shutil.which("curl") or not shutil.which("bash"):
        pytest.skip("needs curl and bash")
    found = examples("bash")
    assert len(found) == 3
    for example in found:
        code = example.replace(ADDRESS, f"http://127.0.0.1:{port}")
        said = subprocess.run(["bash", "-ec", code], capture_output=True, text=True)
        assert said.returncode == 0, said.stderr
        assert said.stdout
        assert "error" not in said.stdout


def test_the_limits_are_those_of_the_page() -> None:
    for row in (
        f"| body | {MOST_BYTES >> 20} MiB,",
        f"| texts or questions of a request | {shapes.MOST_TEXTS} |",
        f"| text, state, instructions | {shapes.MOST_CHARACTERS:,} characters |",
        f"| options of a question | {shapes.MOST_OPTIONS} |",
        f"| {shapes.MOST_PROMPT_CHARACTERS:,} characters |",
        f"{MOST_WAITING_CHARACTERS:,} characters",
    ):
        assert row in PAGE

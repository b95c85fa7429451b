"""Fixtures that several test files share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the real datasets, laid out like the root of the upstream repository."""
    default = Path(__file__).parents[2] / "shared" / "data" / "sentibench"
    folder = Path(os.environ.get("SENTIBENCH_TEST_DATA") or default)
    if not (folder / "datasets").is_dir():
        pytest.skip(f"no real datasets in {folder}; set SENTIBENCH_TEST_DATA to a folder with them")
    return folder

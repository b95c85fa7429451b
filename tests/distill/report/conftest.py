"""The ``run.json`` of a small run."""

from typing import Any

import pytest
from small_manifest import run_json


@pytest.fixture
def raw() -> dict[str, Any]:
    """To be changed and read as a manifest."""
    return run_json()

"""The settings that the documentation shows are settings that the programs take."""

from pathlib import Path

import pytest
import yaml
from documented import PAGES, blocks_of

from distill.config import Run, load_config
from leaderboard.runs.models import load_models
from sentibench.many.plan import Many

BLOCKS = [block for page in PAGES for block in blocks_of(page) if block.language == "yaml"]
OTHERS = {  # first key of a file of another program -> that program
    "num_nodes": "SkyPilot",
    "apiVersion": "Kubernetes",
}
BASE = {
    "name": "documented",
    "student": "student",
    "teacher": {"backend": "openai", "model": "teacher", "base_url": "http://localhost/v1"},
    "texts": [{"file": "texts.jsonl"}],
    "knowdist": {"samples": 8},
    "icldist": {"samples": 8},
}


def entries(text: str) -> list[tuple[str, object]]:
    """The top level of a block; a key may be there more than once, for one choice each."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    read = yaml.SafeLoader("")
    return [(key.value, read.construct_document(value)) for key, value in node.value]


def test_yaml_blocks_are_found() -> None:
    assert len(BLOCKS) >= 13
    keys = {key for block in BLOCKS for key, _ in entries(block.text)}
    assert keys >= {"asking", "models", "teacher", "texts", *OTHERS}


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.where)
def test_yaml_block_is_taken(block, tmp_path: Path) -> None:
    found = entries(block.text)
    first = found[0][0]
    if first in OTHERS:
        return
    if first == "models":
        Many.model_validate(dict(found))
    elif first in Run.model_fields:
        for key, value in found:
            config = tmp_path / "run.yaml"
            content = {**BASE, key: value}
            if value == {"backend": "gold"}:  # of which the page says what it needs
                del content["knowdist"]
                content["icldist"] = {"samples": 8, "demonstrations": "gold"}
                content["texts"] = [{"dataset": "sst2", "count": 8}]
            config.write_text(yaml.safe_dump(content))
            load_config(config, [])
    else:
        path = tmp_path / "models.yaml"
        path.write_text(block.text)
        assert load_models(path)

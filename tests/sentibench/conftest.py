"""A small random checkpoint, as a folder."""

from pathlib import Path

import pytest

from sentibench.data.cards import load_tasks
from sentibench.data.read import load_split


@pytest.fixture(scope="session")
def checkpoint(train_tokenizer, save_llama, tmp_path_factory) -> Path:
    examples = load_split(load_tasks()["sentibench_mini_sst2"], "train").examples
    tokenizer = train_tokenizer([example.sentence for example in examples], 500)
    folder = tmp_path_factory.mktemp("predict") / "tiny"
    return save_llama(tokenizer, folder, max_position_embeddings=2048, initializer_range=0.3)

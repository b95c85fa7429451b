"""A small random checkpoint, as a folder."""

from pathlib import Path

import pytest

from sentibench.data.cards import load_tasks
from sentibench.data.read import load_split


@pytest.fixture(scope="session")
def checkpoint(train_tokenizer, tmp_path_factory) -> Path:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    examples = load_split(load_tasks()["sentibench_mini_sst2"], "train").examples
    tokenizer = train_tokenizer([example.sentence for example in examples], 500)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=1,
    )
    folder = tmp_path_factory.mktemp("predict") / "tiny"
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder

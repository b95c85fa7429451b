"""A checkpoint so small that every test can load it."""

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory, train_tokenizer) -> str:
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = train_tokenizer(["positive negative neutral text 0: "] * 50, 300, pad_token="</s>")
    torch.manual_seed(0)
    sizes = {"vocab_size": 300, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128}
    config = transformers.LlamaConfig(**sizes, initializer_range=0.2)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)

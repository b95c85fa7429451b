"""Fixtures that several test files share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sentibench.data import cards

# two processes test side by side, so each leaves the other a core
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def no_own_tasks_of_others(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Own tasks of one test are none of another's: commands name their folders to lm-eval."""
    monkeypatch.setenv("SENTIBENCH_TASKS", "")
    yield
    cards._given.clear()
    cards.forget_own_tasks()


@pytest.fixture(autouse=True)
def no_data_by_itself(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test that needs the real data asks for ``real_home``; no other fetches it by accident."""
    nothing = tmp_path_factory.getbasetemp() / "no-data"
    monkeypatch.setenv("SENTIBENCH_MIRROR", str(nothing / "mirror"))
    monkeypatch.setenv("SENTIBENCH_HOME", str(nothing / "home"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the real datasets, laid out like the root of the upstream repository."""
    default = Path(__file__).parents[2] / "shared" / "data" / "sentibench"
    folder = Path(os.environ.get("SENTIBENCH_TEST_DATA") or default)
    if not (folder / "datasets").is_dir():
        pytest.skip(f"no real datasets in {folder}; set SENTIBENCH_TEST_DATA to a folder with them")
    return folder


@pytest.fixture
def real_home(real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty data home that is filled from the real datasets on first use."""
    from sentibench.data.read import load_split

    monkeypatch.setenv("SENTIBENCH_MIRROR", str(real_data))
    monkeypatch.setenv("SENTIBENCH_HOME", str(tmp_path / "home"))
    load_split.cache_clear()
    yield tmp_path / "home"
    load_split.cache_clear()


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, for own tasks."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def save_llama():
    """Saves a small random Llama with a tokenizer: tokenizer, new folder, other settings."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")

    def save(tokenizer, folder: Path, **settings: float) -> Path:
        torch.manual_seed(0)
        config = transformers.LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            bos_token_id=0,
            eos_token_id=1,
            **settings,
        )
        transformers.LlamaForCausalLM(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return save


@pytest.fixture(scope="session")
def train_tokenizer():
    """Trains a small byte-level tokenizer: texts, vocabulary size, special tokens by role."""
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    def train(texts, vocab_size: int, **special: str):
        bare = Tokenizer(models.BPE())
        bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        bare.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=["<s>", "</s>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )
        bare.train_from_iterator(texts, trainer)
        return transformers.PreTrainedTokenizerFast(
            tokenizer_object=bare, bos_token="<s>", eos_token="</s>", **special
        )

    return train

"""A small tokenizer and a small random model, made in the test."""

from pathlib import Path

import pytest

from distill.texts.decontamination import load_tests
from sentibench.data.cards import load_tasks
from sentibench.data.read import load_split


@pytest.fixture(scope="session")
def tiny_tokenizer(train_tokenizer):
    task = load_tasks()["sentibench_mini_sst2"]
    texts = [example.sentence for example in load_split(task, "train").examples]
    return train_tokenizer(texts, 500)


@pytest.fixture(scope="session")
def tiny_student(tiny_tokenizer, save_llama, tmp_path_factory) -> Path:
    """A checkpoint folder of a random Llama."""
    folder = tmp_path_factory.mktemp("student") / "tiny"
    return save_llama(tiny_tokenizer, folder, max_position_embeddings=1024)


@pytest.fixture
def small_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts from files are compared with the package's own test texts, not with the real ones."""
    monkeypatch.setattr("distill.run.data.load_tests", lambda *_: load_tests("mini"))
    monkeypatch.setattr("distill.run.checks.datasets_of", lambda _run: [])

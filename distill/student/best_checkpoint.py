"""The best of a training's checkpoints, by lm-eval on validation items."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

from distill.config import BestCheckpoint
from distill.files import copy_folder, write_json
from distill.student.evaluation import evaluate
from sentibench.errors import InputError


def choose_best(
    checkpoint: str,
    trained: Path,
    choice: BestCheckpoint,
    folder: Path,
    *,
    trust_remote_code: bool = False,
) -> dict[str, Any]:
    """Copy the weights with the highest mean score to ``folder / "weights"``.

    The later of equals wins. What was measured before a kill is not measured again.

    Args:
        checkpoint: What was trained.
        trained: The training's folder, with ``candidates`` and ``weights``.
        choice: The tasks, their validation items.
        folder: For results, ``development.json`` and the chosen weights.
        trust_remote_code: Whether code that comes with the checkpoint is run.

    Returns:
        The scores of every candidate and which was chosen.

    Raises:
        InputError: If the results lack a score.
    """
    scores: dict[str, float] = {}
    candidates = [*sorted((trained / "candidates").glob("step-*")), trained / "weights"]
    for weights in candidates:
        is_adapter = (weights / "adapter_config.json").is_file()
        results = evaluate(
            checkpoint if is_adapter else str(weights),
            choice.tasks,
            folder / "results" / weights.name,
            limit=choice.limit,
            adapter=weights if is_adapter else None,
            split="val",
            trust_remote_code=trust_remote_code,
        )
        missing = [name for name in choice.tasks if "score,none" not in results.get(name, {})]
        if missing:
            raise InputError(
                f"training.choose: lm-eval gave no score of {', '.join(missing)} for {weights}; "
                "name other tasks in training.choose.tasks"
            )
        scores[weights.name] = fmean(results[name]["score,none"] for name in choice.tasks)
    best = max(candidates, key=lambda weights: (scores[weights.name], weights.name))
    copy_folder(best, folder / "weights")
    write_json(folder / "development.json", {"scores": scores, "chosen": best.name})
    return {"chosen": best.name, "scores": scores}

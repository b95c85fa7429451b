"""Adapter and student to one checkpoint that plain transformers and lm-eval load, checked."""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
# transformers and peft carry no types that would hold: their unknowns end in this module.

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from distill.files import replace_folder
from distill.student.training import load_student
from sentibench.errors import SentiBenchError

TOLERANCE = 1e-3  # of a logit in float32; the sums of a merged layer are taken in another order


class MergeError(SentiBenchError):
    """The merged weights do not compute what the adapter computed."""


def merge(
    checkpoint: str,
    weights: Path,
    out: Path,
    probes: Sequence[str],
    *,
    trust_remote_code: bool = False,
) -> float:
    """Write the merged checkpoint, beside and renamed into place.

    Args:
        checkpoint: What the adapter was trained on.
        weights: The adapter, or whole weights after full fine-tuning, which are copied.
        out: The new folder; replaced if it is there.
        probes: Texts on which logits are compared, at least one.
        trust_remote_code: Whether code that comes with the checkpoint is run.

    Returns:
        The largest difference of a logit between the adapter's model and the merged checkpoint as
        it was read back.

    Raises:
        MergeError: If it is above ``TOLERANCE``; the folder is then not written.
    """
    unfinished = out.with_name(out.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    if (weights / "adapter_config.json").is_file():
        from peft import PeftModel

        tokenizer, base = load_student(checkpoint, trust_remote_code=trust_remote_code)
        model: Any = PeftModel.from_pretrained(base, str(weights)).eval()
    else:
        tokenizer, model = load_student(str(weights), trust_remote_code=trust_remote_code)
        model = model.eval()
    before = [_logits(model, tokenizer, probe) for probe in probes]
    merged = model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
    merged.save_pretrained(unfinished)
    tokenizer.save_pretrained(unfinished)
    del model, merged
    _, again = load_student(str(unfinished), trust_remote_code=trust_remote_code)
    after = [_logits(again.eval(), tokenizer, probe) for probe in probes]
    gap = max(float((a - b).abs().max()) for a, b in zip(before, after, strict=True))
    if not gap <= TOLERANCE:
        shutil.rmtree(unfinished)
        raise MergeError(
            f"merge of {weights}: the logits before and after differ by {gap:.2g}; expected at "
            f"most {TOLERANCE}; the adapter may belong to another checkpoint, or its layers cannot "
            "be merged; train again, or set method: full"
        )
    replace_folder(unfinished, out)
    return gap


def _logits(model: Any, tokenizer: Any, text: str) -> torch.Tensor:
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    with torch.inference_mode():
        return model(ids).logits[0].float()

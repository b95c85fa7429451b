"""How hard the samples of a stage are for a small model, measured on the model."""

# pyright: basic
# transformers carries no types that would hold: its unknowns end in this module.

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from distill.selection.difficulty import token_difficulty
from distill.student.samples import Encoded, Sample, encode_samples
from distill.student.training import load_student
from sentibench.fast.head_positions import HeadPositions
from sentibench.progress import progress
from sentibench.prompts.few_shot import TARGET_DELIMITER
from sentibench.scoring import calibration


def measure_difficulty(
    samples: Sequence[Sample],
    checkpoint: str,
    max_length: int,
    batch_tokens: int,
    *,
    trust_remote_code: bool = False,
) -> dict[str, float]:
    """Sample id -> difficulty of its response under the model, in [0, 1].

    The end of the text is no token of the teacher's and is not counted.

    Args:
        samples: Ids must differ; what does not fit has no difficulty.
        checkpoint: The small model.
        max_length: Tokens of a sample at most, as in training.
        batch_tokens: Tokens of a batch, padding included.
        trust_remote_code: Whether code that comes with the checkpoint is run.
    """
    tokenizer, model = load_student(checkpoint, trust_remote_code=trust_remote_code)
    model = model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
    positions = HeadPositions(model)
    examples = encode_samples(samples, tokenizer, max_length).examples
    order = np.argsort(-examples.lengths_N, kind="stable").tolist()
    found: dict[str, float] = {}
    with progress("difficulty", "sample", len(order)) as bar:
        start = 0
        while start < len(order):
            longest = len(examples[order[start]].ids)
            batch = order[start : start + max(1, batch_tokens // longest)]
            found |= _measure([examples[n] for n in batch], model, positions)
            start += len(batch)
            bar.update(len(batch))
    return found


def measure_confidence(
    samples: Iterable[Sample], checkpoint: str, *, trust_remote_code: bool = False
) -> dict[str, float]:
    """Sample id -> how much likelier the teacher finds its label than a small model, in (-1, 1).

    Args:
        samples: Those without a distribution of the teacher have none.
        checkpoint: The small model.
        trust_remote_code: Whether code that comes with the checkpoint is run.
    """
    from sentibench.fast.model import load_model

    scored = [sample for sample in samples if sample.target]
    if not scored:
        return {}
    given = {"dtype": "float32", "softmax_dtype": "float32"}
    given |= {"trust_remote_code": True} if trust_remote_code else {}
    model = load_model(checkpoint, **given)
    pairs = [(s.prompt, TARGET_DELIMITER + label) for s in scored for label in s.labels]
    scores = iter(model.log_likelihoods(pairs))
    found: dict[str, float] = {}
    for sample in scored:
        said_1K = np.array([[next(scores) for _ in sample.labels]])
        label = int(np.argmax(sample.target))
        of_student = calibration.probabilities(said_1K)[0, label]
        found[sample.id] = sample.target[label] - float(of_student)
    return found


def _measure(batch: Sequence[Encoded], model, positions: HeadPositions) -> dict[str, float]:
    ids = [torch.tensor(example.ids) for example in batch]
    ids_BT = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True).to(model.device)
    # position t predicts token t + 1; the last token is the end of the text
    read = [
        (row, position)
        for row, example in enumerate(batch)
        for position in range(example.n_prompt - 1, len(example.ids) - 2)
    ]
    rows_N, positions_N = torch.tensor(read, device=ids_BT.device).T
    with torch.inference_mode(), positions.only(rows_N, positions_N, ids_BT.shape):
        log_p_NV = model(ids_BT, use_cache=False).logits[0].float().log_softmax(-1)
    targets_N = ids_BT[rows_N, positions_N + 1]
    return {
        example.id: token_difficulty(
            log_p_NV[rows_N == row].cpu().numpy(), targets_N[rows_N == row].cpu().numpy()
        )
        for row, example in enumerate(batch)
    }

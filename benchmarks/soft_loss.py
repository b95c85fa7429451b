"""What the loss on distributions costs: training steps with each loss in turn, on the same batches.

python benchmarks/soft_loss.py CHECKPOINT SAMPLES [STEPS [BATCH]], with SAMPLES the
``samples.jsonl`` of an ICLDist stage whose teacher scored labels. Each step of each loss sees the
same samples; the order of losses changes from step to step, so that what else the machine does
falls on all. Shown is the sum over the steps against that of the hard loss, by wall clock and by
processor time.
"""

# pyright: basic, reportPrivateUsage=false

import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import torch

from distill.config import ICLDistTraining
from distill.student.adapters import add_adapter
from distill.student.samples import SampleFiles, encode_samples
from distill.student.soft_loss import SoftLoss
from distill.student.training import (
    StudentTrainer,
    _arguments,
    _collate,
    _row,
    attend_fast,
    load_student,
)
from distill.student.words import has_long_word, takes_branches
from sentibench.fast.head_positions import HeadPositions

WARM_UP = 2
LOSSES = {"hard": None, "soft": SoftLoss(1.0, 1.0), "mixed": SoftLoss(0.5, 1.0)}


def main(checkpoint: str, samples: str, steps: str = "20", batch: str = "8") -> None:
    """Print the cost of each loss."""
    tokenizer, model = load_student(checkpoint)
    n_steps, size = int(steps) + WARM_UP, int(batch)
    training = ICLDistTraining(batch_size=size)
    chosen = list(islice(SampleFiles(Path(samples)), n_steps * size))
    examples = encode_samples(chosen, tokenizer, training.max_length).examples
    attend_fast(model, training.batch_tokens, int(examples.lengths_N.max()))
    positions, has_branches = HeadPositions(model), takes_branches(model)
    model = add_adapter(model, training.lora)
    spent = {name: [0.0, 0.0] for name in LOSSES}
    n_soft = n_long = 0
    with tempfile.TemporaryDirectory() as folder:
        arguments = _arguments(training, len(examples), Path(folder), 1)
        trainer = StudentTrainer(
            model,
            arguments,
            positions=positions,
            batch_tokens=training.batch_tokens,
            has_branches=has_branches,
        )
        for number in range(len(examples) // size):
            rows = list(map(_row, examples[number * size : (number + 1) * size]))
            order = list(LOSSES.items())
            for name, loss in order[number % 3 :] + order[: number % 3]:
                trainer.soft = loss
                inputs = (_collate if loss is None else loss.collate(_collate))(rows)
                start = time.perf_counter(), time.process_time()
                trainer.training_step(model, inputs)
                model.zero_grad()
                if number >= WARM_UP:
                    spent[name][0] += time.perf_counter() - start[0]
                    spent[name][1] += time.process_time() - start[1]
                if number >= WARM_UP and name == "soft":
                    n_soft += int((inputs["target"].sum(dim=1) > 0).sum())
                    n_long += int(has_long_word(inputs["words"]).sum())
    n = (len(examples) // size - WARM_UP) * size
    print(
        f"{Path(checkpoint).name}: {n} samples in batches of {size}, {n_soft} with a distribution, "
        f"{n_long} with words of several tokens, {torch.get_num_threads()} threads"
    )
    for name, (wall, processor) in spent.items():
        of_hard = [one / hard for one, hard in zip((wall, processor), spent["hard"], strict=True)]
        print(
            f"{name:5} {wall:6.1f} s, {of_hard[0]:.3f} of hard; processor {processor:6.1f} s, "
            f"{of_hard[1]:.3f} of hard"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])

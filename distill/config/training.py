"""How a student is trained, and which samples and checkpoints are kept."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from distill.config.section import BelowOne, Count, Fraction, NotNegative, Positive, Section
from sentibench.data.cards import load_tasks
from sentibench.errors import nearest

Schedule = Literal["cosine", "linear", "constant"]


class Lora(Section):
    """Low-rank adapters (Hu et al. 2021).

    Attributes:
        r: Rank of the adapters.
        alpha: The output of an adapter is multiplied by ``alpha / r``.
        dropout: Share of an adapter's inputs that are dropped in training.
        target_modules: Names of layers, as in peft. ``all-linear``: all linear layers but the
            output layer.
    """

    r: Count = 16
    alpha: Count = 32
    dropout: BelowOne = 0.0
    target_modules: str | list[str] = "all-linear"


class BestCheckpoint(Section):
    """Choose among checkpoints of a training by lm-eval on validation items, never on test items.

    Attributes:
        checkpoints: Number of checkpoints, evenly spaced. The last is the end of the training.
        tasks: Tasks with a validation split. The checkpoint with the highest mean score is used.
        limit: Items of each task, from its first one; ``null`` for all.
    """

    checkpoints: int = Field(default=3, ge=2)
    tasks: tuple[str, ...] = Field(default=("sentibench_sst2",), min_length=1)
    limit: Count | None = 100

    @model_validator(mode="after")
    def _have_validation_items(self) -> BestCheckpoint:
        usable = [
            name
            for name, task in load_tasks().items()
            if task.source != "mini" and "val" in task.card.splits
        ]
        for name in self.tasks:
            if name not in usable:
                raise ValueError(
                    f"tasks: {name!r} has no validation split; {nearest(name, usable)}"
                )
        return self


class Difficulty(Section):
    """Keep the samples that are hard for a small model (CompEffDist, arXiv 2510.24425).

    Attributes:
        keep: Fraction of the samples.
        by: What is hard. ``difficulty``: the small model ranks the tokens of the answer low.
            ``confidence``: the teacher is surer of its label than the small model (after LLKD,
            arXiv 2411.08028). With ``confidence``, samples whose labels the teacher did not score
            are all kept. ``random``: a random share, without a model.
        model: The small model; ``null`` for the student.
    """

    keep: Fraction
    by: Literal["difficulty", "confidence", "random"] = "difficulty"
    model: str | None = None


class Training(Section):
    """What both stages set; each has defaults of its own for the rest.

    Attributes:
        method: ``lora``: LoRA. ``qlora``: LoRA on a base held in 4 bits (needs bitsandbytes).
            ``full``: all weights are trained.
        lora: Adapters of the methods ``lora`` and ``qlora``.
        learning_rate: The highest learning rate. Adapters need a higher one than ``full``.
        epochs: Passes over the samples.
        batch_size: Samples of an optimizer step, over all processes.
        batch_tokens: Tokens that go through a model at once, padding included. Not counted: the
            additional tokens that are needed if a label word consists of several tokens.
        max_length: Largest number of tokens of a sample. A longer one loses demonstrations. If it
            is still too long, it is left out.
        schedule: How the learning rate falls after the warm-up.
        warmup_share: Share of the steps in which the learning rate rises.
        weight_decay: Weight decay of AdamW.
        betas: Betas of AdamW.
        precision: Type of the forward pass; trained weights and optimizer stay in float32.
            ``auto``: bfloat16 if the device supports it, else float32.
        choose: Chooses the best checkpoint of the training; ``null`` for its end.
        report_to: Services that get each step, through callbacks of transformers.
    """

    method: Literal["lora", "qlora", "full"] = "lora"
    lora: Lora = Lora()
    choose: BestCheckpoint | None = None
    learning_rate: Positive
    epochs: Positive = 1
    batch_size: Count = 16
    batch_tokens: Count = 2048
    max_length: int = Field(default=1024, ge=8)
    schedule: Schedule
    warmup_share: BelowOne
    weight_decay: NotNegative
    betas: tuple[BelowOne, BelowOne]
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    report_to: tuple[Literal["trackio", "tensorboard", "wandb"], ...] = ()

    def n_steps(self, n_samples: int) -> int:
        """Optimizer steps; the last batch of an epoch may not be full."""
        return math.ceil(math.ceil(n_samples / self.batch_size) * self.epochs)


class KnowDistTraining(Training):
    """KnowDist's schedule (Zhang et al. 2025, appendix): cosine, 1% warm-up, decay 0.1."""

    learning_rate: Positive = 2e-4
    schedule: Schedule = "cosine"
    warmup_share: BelowOne = 0.01
    weight_decay: NotNegative = 0.1
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.95)


SOFT = ("soft_weight", "soft_temperature")


class ICLDistTraining(Training):
    """ICLDist's schedule (Zhang et al. 2025, appendix): linear, 2% warm-up, decay 0.01.

    Attributes:
        loss: What the student learns if the teacher scored the labels. ``hard``: the likeliest
            label. ``soft``: the teacher's distribution over the labels. ``mixed``: both. Other
            answers are learned as they were written.
        soft_weight: Weight of the distribution in a mixed loss; ``null`` for a half.
        soft_temperature: The log-probabilities of both models are first divided by it; ``null`` for
            1.
    """

    loss: Literal["hard", "soft", "mixed"] = "mixed"
    soft_weight: Fraction | None = None
    soft_temperature: Positive | None = None

    learning_rate: Positive = 3e-4
    schedule: Schedule = "linear"
    warmup_share: BelowOne = 0.02
    weight_decay: NotNegative = 0.01
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.999)

    @model_validator(mode="after")
    def _uses_what_is_set(self) -> ICLDistTraining:
        used = {"hard": (), "soft": ("soft_temperature",)}.get(self.loss, SOFT)
        for name in SOFT:
            if getattr(self, name) is not None and name not in used:
                raise ValueError(f"{name}: the {self.loss} loss does not use it; remove it")
        return self

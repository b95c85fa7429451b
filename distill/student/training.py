"""Fine-tuning of the student: transformers' Trainer, peft's LoRA, the head where it is supervised.

A step takes one batch of samples, sorted by length and cut by a token budget; the gradient is that
of the mean over all supervised tokens of the batch, however it was cut.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
# transformers and peft carry no types that would hold: their unknowns end in this module.

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from distill.checkpoints import load_tokenizer, loading
from distill.config import ICLDistTraining, Training
from distill.files import replace_folder, write_json
from distill.student.adapters import add_adapter
from distill.student.samples import Encoded, Encoding, Sample, encode_samples
from distill.student.soft_loss import SoftLoss
from distill.student.words import branch, has_long_word, read_whole, takes_branches
from sentibench.errors import InputError
from sentibench.fast.attention import attend_in_blocks
from sentibench.fast.dtypes import cpu_dtype
from sentibench.fast.head_positions import HeadPositions
from sentibench.progress import progress

UNSUPERVISED = -100  # torch's ignore_index
WEIGHTS = 2**25  # of attention that a layer keeps: half of them, 64 MiB in float32


def train(
    checkpoint: str,
    samples: Sequence[Sample],
    training: Training,
    folder: Path,
    *,
    seed: int,
    save_every_s: float = 120,
    trust_remote_code: bool = False,
) -> dict[str, Any]:
    """Train a student and write its weights (LoRA: the adapter) to ``folder / "weights"``.

    A killed training goes on from its last whole checkpoint, with the same loss curve.

    Args:
        checkpoint: The student before this stage.
        samples: What it learns from.
        training: The stage's settings.
        folder: Of the stage; holds checkpoints, ``log.jsonl`` and ``training.json``.
        seed: Of the order of samples and the adapters' first weights.
        save_every_s: Seconds between checkpoints.
        trust_remote_code: Whether code that comes with the checkpoint is run.

    Returns:
        What ``training.json`` holds: steps, tokens, losses, samples left out.

    Raises:
        InputError: If the checkpoint cannot be loaded, or no sample can be supervised.
    """
    torch.manual_seed(seed)
    four_bits = training.method == "qlora"
    given = {"four_bits": four_bits, "trust_remote_code": trust_remote_code}
    tokenizer, model = load_student(checkpoint, **given)
    encoding = encode_samples(samples, tokenizer, training.max_length)
    attend_fast(model, training.batch_tokens, int(encoding.examples.lengths_N.max()))
    soft = soft_loss_of(training)
    positions, has_branches = HeadPositions(model), soft is not None and takes_branches(model)
    if training.method != "full":
        model = add_adapter(model, training.lora)
    arguments = _arguments(training, len(encoding.examples), folder, seed)
    bar = Bar(folder.name)
    trainer = StudentTrainer(
        model,
        arguments,
        positions=positions,
        batch_tokens=training.batch_tokens,
        soft=soft,
        has_branches=has_branches,
        train_dataset=Rows(encoding.examples, training.batch_size),
        data_collator=_collate if soft is None else soft.collate(_collate),
        callbacks=[bar, Log(folder / "log.jsonl"), SaveByTime(save_every_s)],
    )
    for prints_every_step in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(prints_every_step)
    if training.choose:
        n = training.choose.checkpoints
        trainer.add_callback(Candidates(trainer, tokenizer, folder / "candidates", n))
    with bar.shown:
        trainer.train(resume_from_checkpoint=last_checkpoint(folder / "checkpoints"))
    summary = _summary(encoding, trainer, training.epochs)
    _save_weights(trainer, tokenizer, folder / "weights")
    if trainer.is_world_process_zero():  # the others wait for the step's record
        write_json(folder / "training.json", summary)  # last: it says that the weights are whole
    return summary


def soft_loss_of(training: Training) -> SoftLoss | None:
    """The loss on the teacher's distributions, where one is wanted."""
    if not isinstance(training, ICLDistTraining) or training.loss == "hard":
        return None
    weight = 1.0 if training.loss == "soft" else training.soft_weight or 0.5
    return SoftLoss(weight, training.soft_temperature or 1.0)


def load_student(
    checkpoint: str, *, four_bits: bool = False, trust_remote_code: bool = False
) -> tuple[Any, Any]:
    """Tokenizer and model in float32.

    Args:
        checkpoint: A folder, or a name that transformers finds.
        four_bits: Hold the linear layers as 4-bit normal floats (Dettmers et al. 2023, QLoRA).
        trust_remote_code: Whether code that comes with the checkpoint is run.

    Raises:
        InputError: If the folder holds no weights, the name is not found, or a package is
            missing: bitsandbytes, or one that the model needs.
    """
    given: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    if four_bits:
        given["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16 if torch.cuda.is_available() else torch.float32,
        )
        rank = int(os.environ.get("LOCAL_RANK", "0"))
        given["device_map"] = {"": f"cuda:{rank}" if torch.cuda.is_available() else "cpu"}
    try:
        with loading("student", checkpoint):
            model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32, **given)
    except ImportError as error:
        said = " ".join(str(error).split())
        if not four_bits:
            raise InputError(
                f"student: {checkpoint!r} needs a package that is not installed; got {said}; "
                "install that package"
            ) from None
        raise InputError(
            f"training.method: qlora needs the package bitsandbytes; got {said}; run: pip install "
            "bitsandbytes"
        ) from None
    tokenizer = load_tokenizer(checkpoint, trust_remote_code=trust_remote_code)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token  # padding is masked by position, not by id
    return tokenizer, model


def attend_fast(model: Any, batch_tokens: int, longest: int) -> None:
    """Compute attention in blocks where that is faster and its weights take little memory.

    They are kept for the gradient, which torch's own attention computes anew. A model of quantised
    weights is left alone: a first pass without gradients may pack them for ever.

    Args:
        model: Of ``transformers``, without adapters around it.
        batch_tokens: Tokens that go through it at once.
        longest: Tokens of the longest sample.
    """
    n_heads = getattr(model.config.get_text_config(), "num_attention_heads", None)
    if torch.cuda.is_available() or getattr(model, "is_quantized", False) or not n_heads:
        return
    if n_heads * max(batch_tokens, longest) * longest <= WEIGHTS:
        attend_in_blocks(model)


class StudentTrainer(Trainer):
    """A Trainer whose loss sees the supervised positions alone.

    Args:
        positions: Of the student, made before adapters were added.
        batch_tokens: Tokens, padding included, that go through the model at once; label words of
            several tokens are not counted.
        soft: The loss on the teacher's distributions; None to learn its answers alone.
        has_branches: Whether words of several tokens go through the student as branches of rows.
        kwargs: All of ``Trainer``'s.
    """

    def __init__(
        self,
        *args: Any,
        positions: HeadPositions,
        batch_tokens: int,
        soft: SoftLoss | None = None,
        has_branches: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.positions, self.batch_tokens, self.soft = positions, batch_tokens, soft
        self.has_branches = has_branches

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        """Backward over the parts of a batch; one exchange between processes, at the last."""
        del num_items_in_batch  # transformers counts for some models only
        model.train()
        inputs = {key: value.to(self.args.device) for key, value in inputs.items()}
        n_tokens = (inputs["labels"][:, 1:] != UNSUPERVISED).sum()
        n_tokens = self.accelerator.reduce(n_tokens, "sum")  # of all processes
        parts = self._in_step(list(cut_by_tokens(inputs, self.batch_tokens)))
        total = torch.zeros((), device=self.args.device)
        for number, part in enumerate(parts, 1):
            # gradients of sharded weights are exchanged at once: whole ones would not fit
            last = number == len(parts) or self.is_fsdp_enabled
            with contextlib.nullcontext() if last else self.accelerator.no_sync(model):
                with self.compute_loss_context_manager():
                    loss = self.compute_loss(model, part, num_items_in_batch=n_tokens)
                self.accelerator.backward(loss)
            total += loss.detach()
        return total

    def _in_step(self, parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Parts, and where weights are sharded fillers, so that all processes have as many.

        They gather the weights together for every part; one with fewer would keep them waiting.
        """
        if not self.is_fsdp_enabled:
            return parts
        if self.soft is not None and not self.has_branches:  # their forwards differ in number
            raise InputError(
                "training.loss: got mixed or soft, which cannot be trained with sharded weights "
                "(FSDP) unless the student's attention is sdpa; set loss: hard, or train without "
                "FSDP"
            )
        n = torch.tensor(len(parts), device=self.args.device)
        torch.distributed.all_reduce(n, torch.distributed.ReduceOp.MAX)
        last = parts[-1]
        filler = last | {
            "labels": torch.full_like(last["labels"], UNSUPERVISED),
            **({"target": torch.zeros_like(last["target"])} if "target" in last else {}),
        }
        return parts + [filler] * (int(n) - len(parts))

    def compute_loss(
        self,
        model: Any,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Mean negative log-likelihood of the supervised tokens, in nats; see ``SoftLoss`` too."""
        ids_BT, labels_BT = inputs["input_ids"], inputs["labels"]
        # position t predicts token t + 1
        rows_N, positions_N = (labels_BT[:, 1:] != UNSUPERVISED).nonzero(as_tuple=True)
        targets_N = labels_BT[rows_N, positions_N + 1]
        # padding is on the right, where no earlier position looks
        if self.soft is None:
            logits_NV = self._forward(model, ids_BT, rows_N, positions_N)
            summed = torch.nn.functional.cross_entropy(logits_NV, targets_N, reduction="sum")
        else:
            read = rows_N, positions_N
            logits_NV, rest_BK = self._read_words(model, inputs, *read)
            summed = self.soft(logits_NV, read, inputs, rest_BK)
        n_tokens = len(targets_N) if num_items_in_batch is None else num_items_in_batch
        return summed / n_tokens * self.accelerator.num_processes

    def _forward(
        self,
        model: Any,
        ids_BT: torch.Tensor,
        rows_N: torch.Tensor,
        positions_N: torch.Tensor,
        **given: Any,
    ) -> torch.Tensor:
        """Logits at some positions, shape (N, V); in float32 for the loss."""
        with self.positions.only(rows_N, positions_N, ids_BT.shape):
            return model(input_ids=ids_BT, use_cache=False, **given).logits[0].float()

    def _read_words(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        rows_N: torch.Tensor,
        positions_N: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (N, V) at supervised positions; of words (B, K) what is behind the first token."""
        ids_BT, words_BKL = inputs["input_ids"], inputs["words"]
        rows_R = (has_long_word(words_BKL) & (inputs["target"].sum(1) > 0)).nonzero()[:, 0]
        if not len(rows_R):
            logits_NV = self._forward(model, ids_BT, rows_N, positions_N)
            return logits_NV, logits_NV.new_zeros(words_BKL.shape[:2])
        empty_B = rows_N.new_zeros(len(ids_BT))
        extremes = (
            empty_B.scatter_reduce(0, rows_N, positions_N, kind, include_self=False)
            for kind in ("amin", "amax")
        )
        firsts_B, lasts_B = extremes  # a row ends with a supervised token
        if not self.has_branches:
            logits_NV = self._forward(model, ids_BT, rows_N, positions_N)
            forward = partial(self._forward, model)
            return logits_NV, read_whole(forward, ids_BT, words_BKL, rows_R, firsts_B + 1)
        branches = branch(ids_BT, words_BKL, rows_R, firsts_B + 1, lasts_B + 2)
        read = map(torch.cat, zip((rows_N, positions_N), branches.read_N, strict=True))
        student: Any = self.model
        with branches.attended(student.config.get_text_config()):
            logits_MV = self._forward(
                model, branches.ids_BX, *read, position_ids=branches.positions_BX
            )
        n = len(rows_N)
        return logits_MV[:n], branches.sum_words(logits_MV[n:], words_BKL.shape[:2])


def cut_by_tokens(inputs: dict[str, torch.Tensor], batch_tokens: int) -> Iterator[dict[str, Any]]:
    """Parts of a batch, longest rows first, each without more padding than it needs."""
    order = inputs["lengths"].argsort(descending=True, stable=True)
    start = 0
    while start < len(order):
        longest = int(inputs["lengths"][order[start]])
        rows = order[start : start + max(1, batch_tokens // longest)]
        yield {
            key: value[rows, :longest] if key in ("input_ids", "labels") else value[rows]
            for key, value in inputs.items()
            if key != "lengths"
        }
        start += len(rows)


class Rows(torch.utils.data.Dataset):
    """Samples as they are needed, and rows without a label up to whole batches.

    Several processes would fill the last batch of an epoch with samples of its beginning, and one
    process would not: their curves would differ.
    """

    def __init__(self, examples: Sequence[Encoded], batch_size: int) -> None:
        self.examples, self.batch_size = examples, batch_size

    def __len__(self) -> int:
        return -(-len(self.examples) // self.batch_size) * self.batch_size

    def __getitem__(self, number: int) -> dict[str, list[Any]]:
        if number >= len(self.examples):
            return {"ids": [0], "labels": [UNSUPERVISED], "words": [], "target": []}
        return _row(self.examples[number])


def _row(example: Encoded) -> dict[str, list[Any]]:
    supervised = list(example.ids[example.n_prompt :])
    labels = [UNSUPERVISED] * example.n_prompt + supervised
    soft = {"words": list(map(list, example.words)), "target": list(example.target)}
    return {"ids": list(example.ids), "labels": labels, **soft}


def _collate(rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
    def pad(key: str, value: int) -> torch.Tensor:
        tensors = [torch.tensor(row[key]) for row in rows]
        return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=value)

    lengths = torch.tensor([len(row["ids"]) for row in rows])
    return {"input_ids": pad("ids", 0), "labels": pad("labels", UNSUPERVISED), "lengths": lengths}


def _arguments(training: Training, n_examples: int, folder: Path, seed: int) -> TrainingArguments:
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if training.batch_size % world:
        raise InputError(
            f"training.batch_size: got {training.batch_size} for {world} processes; expected a "
            f"multiple of {world}"
        )
    n_steps = training.n_steps(n_examples)
    if training.choose and training.choose.checkpoints > n_steps:
        raise InputError(
            f"training.choose.checkpoints: got {training.choose.checkpoints} for {n_steps} "
            f"step(s) of {n_examples} samples; expected at most {n_steps}; lower it, or give more "
            "samples"
        )
    return TrainingArguments(
        output_dir=str(folder / "checkpoints"),
        per_device_train_batch_size=training.batch_size // world,
        max_steps=n_steps,
        learning_rate=training.learning_rate,
        lr_scheduler_type=training.schedule.replace("constant", "constant_with_warmup"),
        # the first step of a warm-up has rate 0: a training of a few steps has none
        warmup_steps=int(training.warmup_share * n_steps),
        weight_decay=training.weight_decay,
        adam_beta1=training.betas[0],
        adam_beta2=training.betas[1],
        bf16=precision_of(training) == "bfloat16",
        logging_steps=1,
        save_strategy="no",  # SaveByTime decides
        save_total_limit=2,
        report_to=list(training.report_to) or "none",
        project="sentibench",
        run_name=f"{folder.parent.name}-{folder.name}",
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        use_cpu=not torch.cuda.is_available(),
        seed=seed,
        data_seed=seed,
        ddp_find_unused_parameters=False,
    )


def precision_of(training: Training) -> str:
    """``float32`` or ``bfloat16``: what the forward pass computes in on this machine."""
    if training.precision != "auto":
        return training.precision
    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return cpu_dtype()


class Bar(TrainerCallback):
    """The progress of a training, with the loss of the last step, until ``shown`` is closed."""

    def __init__(self, what: str) -> None:
        self.what, self.bar, self.shown = what, None, contextlib.ExitStack()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Begin at the step that training goes on from."""
        if state.is_world_process_zero:
            begun = progress(self.what, "step", state.max_steps, state.global_step)
            self.bar = self.shown.enter_context(begun)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Count a step."""
        if self.bar is not None and logs and "loss" in logs:
            self.bar.set_postfix(loss=f"{logs['loss']:.3f}", refresh=False)
            self.bar.update()


class Log(TrainerCallback):
    """One JSON line per step; what a killed training logged beyond its checkpoint is dropped."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write the lines up to the step that training goes on from, as its checkpoint has them."""
        self._write("w", state, state.log_history)

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Append a line."""
        self._write("a", state, state.log_history[-1:])

    def _write(self, mode: str, state: Any, entries: Sequence[dict[str, Any]]) -> None:
        if not state.is_world_process_zero:
            return
        with self.path.open(mode, encoding="utf-8") as file:
            for entry in entries:
                if "loss" not in entry:
                    continue
                line = {
                    "step": entry["step"],
                    "steps": state.max_steps,
                    "epoch": round(entry["epoch"], 4),
                    "loss_nats_per_token": entry["loss"],
                    "learning_rate": entry["learning_rate"],
                    "gradient_norm": float(entry.get("grad_norm", math.nan)),
                }
                file.write(json.dumps(line) + "\n")


class SaveByTime(TrainerCallback):
    """Saves when the last checkpoint is old enough: the price of a kill is known in seconds."""

    def __init__(self, every_s: float) -> None:
        self.every_s, self.last = every_s, time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask for a checkpoint, in all processes at the same step."""
        is_due = torch.tensor(int(time.monotonic() - self.last >= self.every_s))
        if torch.distributed.is_initialized():
            is_due = is_due.to(args.device)
            torch.distributed.broadcast(is_due, 0)
        if is_due and state.global_step < state.max_steps:
            self.last, control.should_save = time.monotonic(), True


class Candidates(TrainerCallback):
    """Writes weights to choose from, evenly spaced over the steps, without the last.

    Args:
        trainer: Whose student is written.
        tokenizer: Written beside it.
        folder: Where ``step-000123`` will lie.
        n: Their number, the end of the training included.
    """

    def __init__(self, trainer: Trainer, tokenizer: Any, folder: Path, n: int) -> None:
        self.trainer, self.tokenizer, self.folder, self.n = trainer, tokenizer, folder, n

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write where a part of the steps is through."""
        parts = [round(state.max_steps * i / self.n) for i in range(1, self.n)]
        if state.global_step in parts:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"step-{state.global_step:06d}"
            _save_weights(self.trainer, self.tokenizer, path)


def last_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end; the state is the last file of one."""
    whole = [path.parent for path in folder.glob("checkpoint-*/trainer_state.json")]
    newest = max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
    return None if newest is None else str(newest)


def _summary(encoding: Encoding, trainer: Trainer, epochs: float) -> dict[str, Any]:
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    tenth = max(1, len(losses) // 10)
    return {
        "samples": len(encoding.examples),
        "left_out_too_long": len(encoding.too_long),
        "lost_demonstrations": encoding.shortened,
        "steps": trainer.state.global_step,
        "processes": trainer.args.world_size,
        "precision": "bfloat16" if trainer.args.bf16 else "float32",
        "supervised_tokens": round(epochs * encoding.examples.n_supervised),
        "tokens": round(epochs * int(encoding.examples.lengths_N.sum())),
        "first_loss_nats_per_token": sum(losses[:tenth]) / tenth if losses else None,
        "last_loss_nats_per_token": sum(losses[-tenth:]) / tenth if losses else None,
    }


def _save_weights(trainer: Trainer, tokenizer: Any, path: Path) -> None:
    """Write weights and tokenizer from the first process; the others give their shards."""
    student = trainer.accelerator.unwrap_model(trainer.model)
    sharded = trainer.is_fsdp_enabled
    weights = trainer.accelerator.get_state_dict(trainer.model) if sharded else None
    if not trainer.is_world_process_zero():
        return
    unfinished = path.with_name(path.name + ".unfinished")
    student.save_pretrained(unfinished, state_dict=weights)
    tokenizer.save_pretrained(unfinished)
    replace_folder(unfinished, path)

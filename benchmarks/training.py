"""One training stage of distill and of trl's SFTTrainer in turn: speed, memory, loss.

python benchmarks/training.py CHECKPOINT [PROMPTS [ROUNDS [PRECISION [OTHER]]]], by default 64 2
float32 and this Python. The same model, LoRA, samples, order, batches of 8 prompts, learning
rate and loss (of the response alone, end of text included); each in a process of its own.
OTHER is the Python of an environment with trl, so that trl is no dependency (`make bench-training`
makes one), or `sdpa`: then distill with torch's own attention takes the place of trl. Samples are
the training sentences of SST2 after four demonstrations, with gold labels.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BATCH, RATE, RANK, SEED = 8, 3e-4, 16, 7


def samples_of(n: int) -> list:
    """Few-shot prompts of the training split, with the gold label as response."""
    import random

    from distill.student.samples import Sample
    from sentibench.data.cards import load_tasks
    from sentibench.data.read import load_split
    from sentibench.prompts.few_shot import render_few_shot

    examples = load_split(load_tasks()["sentibench_sst2"], "train").examples
    rng = random.Random(SEED)
    instruction = "Say whether the feeling of the sentence is negative or positive.\n\n"
    samples = []
    for number in range(n):
        query, *shown = rng.sample(list(examples), 5)
        pairs = [(e.sentence, e.label) for e in shown]
        prompt = render_few_shot(instruction, pairs, query.sentence)
        samples.append(Sample(f"{number:06d}", prompt, query.label, query.sentence))
    return samples


def ours(checkpoint: str, rows: Path, precision: str) -> dict:
    from distill.config import ICLDistTraining, Lora
    from distill.student.samples import SampleFiles
    from distill.student.training import train

    training = ICLDistTraining(
        lora=Lora(r=RANK, alpha=2 * RANK),
        learning_rate=RATE,
        schedule="constant",
        warmup_share=0,
        weight_decay=0,
        batch_size=BATCH,
        precision=precision,
    )
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        train(checkpoint, list(SampleFiles(rows)), training, Path(folder), seed=SEED)
        seconds = time.perf_counter() - start
        lines = (Path(folder) / "log.jsonl").read_text().splitlines()
    return {"losses": [json.loads(line)["loss_nats_per_token"] for line in lines], "all": seconds}


def trl(checkpoint: str, rows: Path, precision: str) -> dict:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    given = [json.loads(line) for line in rows.read_text().splitlines()]
    pairs = [{"prompt": row["prompt"], "completion": " " + row["response"]} for row in given]
    with tempfile.TemporaryDirectory() as folder:
        arguments = SFTConfig(
            output_dir=folder,
            per_device_train_batch_size=BATCH,
            max_steps=-(-len(pairs) // BATCH),
            learning_rate=RATE,
            lr_scheduler_type="constant",
            weight_decay=0.0,
            completion_only_loss=True,
            max_length=1024,
            bf16=precision == "bfloat16",
            gradient_checkpointing=False,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            use_cpu=not torch.cuda.is_available(),
            seed=SEED,
            data_seed=SEED,
        )
        lora = LoraConfig(
            r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        trainer = SFTTrainer(
            model,
            args=arguments,
            train_dataset=Dataset.from_list(pairs),
            processing_class=tokenizer,
            peft_config=lora,
        )
        start = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - start
    history = trainer.state.log_history
    return {"losses": [float(row["loss"]) for row in history if "loss" in row], "all": seconds}


def contestant(name: str, checkpoint: str, rows: str, precision: str) -> None:
    from contestants import memory
    from transformers import AutoTokenizer

    if name == "trl":
        from trl import SFTTrainer as Kind
    else:
        from distill.student import training
        from distill.student.training import StudentTrainer as Kind

        if name == "sdpa":
            training.attend_fast = lambda *given: None
    plain, steps = Kind.training_step, []

    def timed(self, *given, **named):
        start = time.perf_counter()
        loss = plain(self, *given, **named)
        steps.append(time.perf_counter() - start)
        return loss

    Kind.training_step = timed
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    given = [json.loads(line) for line in Path(rows).read_text().splitlines()]
    n_tokens = sum(
        len(tokenizer(f"{row['prompt']} {row['response']}")["input_ids"]) + 1 for row in given
    )
    figures = (trl if name == "trl" else ours)(checkpoint, Path(rows), precision)
    per_step = n_tokens / len(steps)
    # the first step warms up
    rate = per_step / statistics.mean(steps[1:])
    figures |= {"rate": rate, "peak": memory("VmHWM"), "tokens": n_tokens}
    print(json.dumps(figures))


def main(checkpoint: str, n_prompts: str, n_rounds: str, precision: str, other: str) -> None:
    from distill.student.samples import write_samples

    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "samples.jsonl"
        write_samples(samples_of(int(n_prompts)), rows)
        this = sys.executable
        theirs, python_of = ("sdpa", this) if other == "sdpa" else ("trl", other)
        runs: dict[str, list[dict]] = {theirs: [], "ours": []}
        for _ in range(int(n_rounds)):
            for name, python in ((theirs, python_of), ("ours", this)):
                command = [python, __file__, "--contestant", name, checkpoint, str(rows), precision]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    sys.exit(f"{name}: {done.stderr[-2000:]}")
                runs[name].append(json.loads(done.stdout.splitlines()[-1]))
    tokens = runs["ours"][0]["tokens"]
    print(
        f"{Path(checkpoint).name} {precision}: {n_prompts} prompts, {tokens} tokens, batches of "
        f"{BATCH}, LoRA r={RANK}, {n_rounds} rounds"
    )
    rates = {name: statistics.median(r["rate"] for r in given) for name, given in runs.items()}
    for name, given in runs.items():
        memory = statistics.median(r["peak"] for r in given) / 2**20
        curve = given[0]["losses"]
        print(
            f"{name:5} {rates[name]:7.0f} tokens/s, peak {memory:6.0f} MiB, "
            f"loss {curve[0]:.4f} at first, {statistics.fmean(curve[-3:]):.4f} in the last 3 steps"
        )
    gaps = [
        abs(a - b)
        for a, b in zip(runs["ours"][0]["losses"], runs[theirs][0]["losses"], strict=True)
    ]
    print(
        f"ours : {theirs} {rates['ours'] / rates[theirs]:.2f}; "
        f"losses differ by at most {max(gaps):.4f}"
    )


if __name__ == "__main__":
    if sys.argv[1] == "--contestant":
        contestant(*sys.argv[2:])
    else:
        rest = ["64", "2", "float32", sys.executable]
        main(*sys.argv[1:], *rest[len(sys.argv) - 2 :])

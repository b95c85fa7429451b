"""One contestant of a speed comparison on one task, in a process of its own, as one JSON line.

python benchmarks/contestants.py NAME CHECKPOINT TASK ITEMS DTYPE, NAME one of authors, hf,
sentibench-hf. Seconds are those of the answers alone, after loading and two items to warm up;
memory is the peak while answering above what the loaded model holds.
"""

import json
import os
import sys
import time
from pathlib import Path

import torch
from lm_eval.api.registry import get_model

from sentibench.data.cards import load_cards
from sentibench.harness import task_manager

CPU = not torch.cuda.is_available()
AUTHORS_BATCH = 4
HF_BATCH = int(os.environ.get("HF_BATCH", "4"))


def requests_of(task: str, n_items: int, shots: int = 4) -> list:
    """The requests that lm-eval makes of the first items of a task."""
    made = task_manager().load([task])["tasks"][task]
    made.set_config(key="num_fewshot", value=shots)
    made.build_all_requests(limit=n_items, rank=0, world_size=1)
    return made.instances


def product_rate(dtype: torch.dtype) -> float:
    """Floating point operations per second of a large matrix product."""
    rows, size = (1024, 2048) if CPU else (8192, 8192)
    device = "cpu" if CPU else "cuda"
    a, b = (torch.randn(n, size, dtype=dtype, device=device) for n in (rows, size))
    rates = []
    for _ in range(10):
        start = now()
        a @ b.T
        rates.append(2 * rows * size * size / (now() - start))
    return max(rates)


def predictions(answers: list, n_choices: int, *, scored: bool) -> list:
    """The likeliest choice of every item, or the text where answers are written."""
    if not scored:
        return answers
    rows = [answers[i : i + n_choices] for i in range(0, len(answers), n_choices)]
    return [max(range(n_choices), key=lambda i, row=row: row[i][0]) for row in rows]


def now() -> float:
    """Seconds, with the device's work done."""
    if not CPU:
        torch.cuda.synchronize()
    return time.perf_counter()


class Authors:
    """The authors' procedure (protocol): batch 4, file order, left padding, generate().

    Labels: two new tokens with the scores of the whole vocabulary, of which the first new
    position's scores of the labels' first tokens are read. Extraction: 150 new tokens.
    """

    def __init__(self, checkpoint: str, dtype: str) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(checkpoint, padding_side="left")
        self.tokenizer.pad_token = self.tokenizer.pad_token or self.tokenizer.eos_token
        self.model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=dtype).eval()
        self.model.to("cpu" if CPU else "cuda")

    def _generate(self, prompts: list[str], **given):
        for start in range(0, len(prompts), AUTHORS_BATCH):
            batch = self.tokenizer(
                prompts[start : start + AUTHORS_BATCH], padding=True, return_tensors="pt"
            ).to(self.model.device)
            with torch.inference_mode():
                yield (
                    batch["input_ids"].shape[1],
                    self.model.generate(
                        **batch,
                        do_sample=False,
                        pad_token_id=self.tokenizer.pad_token_id,
                        **given,
                    ),
                )

    def loglikelihood(self, requests: list, **_) -> list[tuple[float, bool]]:
        prompts = list(dict.fromkeys(request.args[0] for request in requests))
        labels = list(dict.fromkeys(request.args[1] for request in requests))
        firsts = [
            self.tokenizer(label, add_special_tokens=False)["input_ids"][0] for label in labels
        ]
        given = {"max_new_tokens": 2, "output_scores": True, "return_dict_in_generate": True}
        log_p: dict[tuple[str, str], float] = {}
        rows = [
            row
            for _, out in self._generate(prompts, **given)
            for row in out.scores[0].float().log_softmax(-1)[:, firsts].tolist()
        ]
        for prompt, row in zip(prompts, rows, strict=True):
            log_p |= {(prompt, label): s for label, s in zip(labels, row, strict=True)}
        return [(log_p[request.args], False) for request in requests]

    def generate_until(self, requests: list, **_) -> list[str]:
        prompts = [request.args[0] for request in requests]
        texts = []
        for n_prompt, out in self._generate(prompts, max_new_tokens=150):
            texts += self.tokenizer.batch_decode(out[:, n_prompt:], skip_special_tokens=True)
        return [text.split("Sentence:")[0] for text in texts]


def load(name: str, checkpoint: str, dtype: str):
    """The contestant, with its model loaded."""
    if name == "authors":
        return Authors(checkpoint, dtype)
    given = {"pretrained": checkpoint, "dtype": dtype, "softmax_dtype": "float32"}
    given["device"] = "cpu" if CPU else "cuda"
    if os.environ.get("BATCH_TOKENS"):
        given["batch_tokens"] = int(os.environ["BATCH_TOKENS"])
    return get_model(name)(**given, **({"batch_size": HF_BATCH} if name == "hf" else {}))


def memory(field: str) -> int:
    """Bytes of this process on the CPU, of the device otherwise; field VmRSS or VmHWM."""
    if not CPU:
        return (
            torch.cuda.memory_allocated() if field == "VmRSS" else torch.cuda.max_memory_allocated()
        )
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024


def main(name: str, checkpoint: str, task: str, n_items: str, dtype: str) -> None:
    card = load_cards()[task.removeprefix("sentibench_").removeprefix("mini_")]
    requests = requests_of(task, int(n_items))
    model = load(name, checkpoint, dtype)
    answer = model.loglikelihood if card.is_label_task else model.generate_until
    n_choices = len(card.labels) if card.is_label_task else 1
    answer(requests[: 2 * n_choices], disable_tqdm=True)
    if CPU:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    else:
        torch.cuda.reset_peak_memory_stats()
    held, start = memory("VmRSS"), now()
    if name == "sentibench-hf":
        model.tokens_computed = 0
    answers = answer(requests, disable_tqdm=True)
    seconds = now() - start
    peak = memory("VmHWM") - held
    scored = card.is_label_task
    tokenizer, module = model.tokenizer, model.model
    prompts = list(dict.fromkeys(request.args[0] for request in requests))
    last = f"layers.{module.config.get_text_config().num_hidden_layers - 1}.mlp"
    skipped = ("embed", "lm_head", last)  # looked up, or computed at read positions only
    body = sum(p.numel() for n, p in module.named_parameters() if not any(s in n for s in skipped))
    picks = predictions(answers, n_choices, scored=scored)
    print(
        json.dumps(
            {
                "seconds": seconds,
                "peak": peak,
                "prompt_tokens": sum(len(ids) for ids in tokenizer(prompts)["input_ids"]),
                "tokens_computed": getattr(model, "tokens_computed", None),
                "body_parameters": body,
                "items": len(picks),
                "product_rate": product_rate(
                    torch.bfloat16 if dtype == "int8" else getattr(torch, dtype)
                ),
                "log_likelihoods": [s for s, _ in answers] if scored else None,
                "predictions": picks,
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

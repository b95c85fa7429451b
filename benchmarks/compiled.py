"""Whether torch.compile makes `sentibench-hf` faster on a CPU: norms and MLPs as compiled code.

    python benchmarks/compiled.py CHECKPOINT [DTYPE [TASK [ITEMS]]]

The elementwise operations of a norm or an MLP become one loop each. It needs a C++ compiler. The
time is that of the label scores of ITEMS items, the better of two; lengths of batches differ.
"""

import sys
import time
from typing import Any

import torch
from contestants import load, requests_of

from sentibench.fast.model import SentiBenchLM

WARM_UP = 16  # items before the measured ones


def scores(model: SentiBenchLM, requests: list[Any]) -> tuple[float, list[float]]:
    """Seconds, and the log-likelihood of each request."""
    start = time.perf_counter()
    found = [score for score, _ in model.loglikelihood(requests, disable_tqdm=True)]
    return time.perf_counter() - start, found


def main(
    checkpoint: str, dtype: str = "bfloat16", task: str = "sentibench_sst2", items: str = "64"
) -> None:
    """Print the seconds of both ways, their ratio and the largest difference of a score."""
    model = load("sentibench-hf", checkpoint, dtype)
    requests = requests_of(task, WARM_UP + int(items))
    n_first = WARM_UP * len(requests) // (WARM_UP + int(items))
    first, requests = requests[:n_first], requests[n_first:]
    scores(model, first)
    plain_s, plain = min(scores(model, requests) for _ in range(2))
    *layers, last = model.model.get_decoder().layers
    mlps = [layer.mlp for layer in layers]  # that of the last layer is computed at few positions
    norms = [n for x in (*layers, last) for n in (x.input_layernorm, x.post_attention_layernorm)]
    for part in (*mlps, *norms):
        part.forward = torch.compile(part.forward, dynamic=True)
    compiling_s, _ = scores(model, first)
    compiled_s, compiled = min(scores(model, requests) for _ in range(2))
    largest = max(abs(a - b) for a, b in zip(plain, compiled, strict=True))
    print(
        f"{dtype}: as it is {plain_s:.2f} s, compiled {compiled_s:.2f} s, "
        f"{plain_s / compiled_s:.2f} times as fast; the first {WARM_UP} items took "
        f"{compiling_s:.0f} s; largest difference of a log-likelihood {largest:.2g}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Whether torch.compile makes the forward pass of a decoder faster, on a CPU.

    python benchmarks/compiled.py CHECKPOINT [DTYPE [BATCH [LENGTH]]]

Seconds of one forward pass of BATCH random prompts of LENGTH tokens (medians of 8): as it is,
compiled, and compiled with frozen weights, which inductor may pack once. It needs a C++ compiler.
"""

import sys
import time
from collections.abc import Callable
from statistics import median

import torch
from torch._inductor import config
from transformers import AutoModelForCausalLM

ROUNDS = 8


def seconds(work: Callable[[torch.Tensor], torch.Tensor], ids_BT: torch.Tensor) -> float:
    """Median time of a pass, after a first one."""
    work(ids_BT)
    found: list[float] = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work(ids_BT)
        found.append(time.perf_counter() - start)
    return median(found)


def main(checkpoint: str, dtype: str = "float32", batch: str = "5", length: str = "205") -> None:
    """Print one line for each way."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=getattr(torch, dtype))
    decoder = model.eval().get_decoder()
    ids_BT = torch.randint(1_000, 20_000, (int(batch), int(length)))

    def forward(ids_BT: torch.Tensor) -> torch.Tensor:
        return decoder(input_ids=ids_BT, use_cache=False).last_hidden_state

    with torch.no_grad():
        plain_s = seconds(forward, ids_BT)
        print(f"as it is: {plain_s:.3f} s", flush=True)
        for is_frozen in (False, True):
            torch.compiler.reset()
            config.freezing = is_frozen
            start = time.perf_counter()
            compiled = torch.compile(forward)
            compiled(ids_BT)
            compiling_s = time.perf_counter() - start
            found_s = seconds(compiled, ids_BT)
            print(
                f"compiled, {'frozen' if is_frozen else 'not frozen'}: {found_s:.3f} s, "
                f"{plain_s / found_s:.2f} times as fast; compiling took {compiling_s:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main(*sys.argv[1:])

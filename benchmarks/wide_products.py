"""Whether products that share their input are faster as one: q, k and v; gate and up.

python benchmarks/wide_products.py [TOKENS] [ROUNDS]

Times the linear layers of one block of SmolLM2-135M and of Gemma-3-270M with one thread, in
processor time, the best of some rounds; beside them the product of two square matrices.
"""

import sys
import time
from collections.abc import Callable

import torch
from torch.nn.functional import linear

# hidden, queries, keys, intermediate
SHAPES = {"SmolLM2-135M": (576, 576, 192, 1536), "Gemma-3-270M": (640, 1024, 256, 2048)}
SQUARE = 2048


def seconds(work: Callable[[], object], rounds: int) -> float:
    """Processor time of the fastest round."""
    work()
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def main(n_tokens: int = 1024, rounds: int = 30) -> None:
    """Print, for each type and model, milliseconds apart and as one, and the rates."""
    torch.set_num_threads(1)
    print("| type | model | q, k, v apart | as one | gate, up apart | as one | all, of the rate |")
    print("|---" * 7 + "|")
    for dtype in (torch.float32, torch.bfloat16):
        square = torch.randn(SQUARE, SQUARE, dtype=dtype)
        rate = 2 * SQUARE**3 / seconds(lambda m=square: m @ m, rounds)
        for name, (hidden, q, kv, inner) in SHAPES.items():
            sizes = {"in": hidden, "mid": inner, "heads": q}
            x = {key: torch.randn(n_tokens, size, dtype=dtype) for key, size in sizes.items()}
            q_k_v = [torch.randn(n, hidden, dtype=dtype) for n in (q, kv, kv)]
            gate_up = [torch.randn(inner, hidden, dtype=dtype) for _ in range(2)]
            down, out = torch.randn(hidden, inner, dtype=dtype), torch.randn(hidden, q, dtype=dtype)

            def apart(weights: list[torch.Tensor], given: torch.Tensor = x["in"]) -> float:
                return seconds(lambda: [linear(given, weight) for weight in weights], rounds)

            times = [apart(q_k_v), apart([torch.cat(q_k_v)])]
            times += [apart(gate_up), apart([torch.cat(gate_up)])]
            rest = apart([down], x["mid"]) + apart([out], x["heads"])
            weights = hidden * (q + 2 * kv + 2 * inner) + inner * hidden + q * hidden
            shares = [
                2 * n_tokens * weights / (times[n] + times[n + 2] + rest) / rate for n in (0, 1)
            ]
            cells = [f"{1000 * value:.1f} ms" for value in times]
            kind = str(dtype).removeprefix("torch.")
            print(f"| {kind} | {name} |", " | ".join(cells), end=" | ")
            print(f"{shares[0]:.2f}, as one {shares[1]:.2f} |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

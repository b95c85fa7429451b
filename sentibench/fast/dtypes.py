"""What a processor computes fast in."""

from __future__ import annotations

from typing import Any

import torch


def cpu_dtype() -> str:
    """``bfloat16`` where the processor multiplies it, else ``float32``.

    Where it is emulated, bfloat16 takes more than ten times as long.
    """
    looks: Any = torch.cpu
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return "bfloat16" if any(getattr(looks, name, bool)() for name in names) else "float32"


def resolved(dtype: str) -> str:
    """What ``auto`` is on this machine; other names, and ``auto`` on a GPU, as they are."""
    return cpu_dtype() if dtype == "auto" and not torch.cuda.is_available() else dtype

"""What tells two checkpoints apart."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

from sentibench.predict import temperatures

BLOCK, BLOCKS = 1 << 20, 64  # bytes and number of the pieces of a file in its fingerprint
WEIGHTS = (".safetensors", ".bin", ".gguf")


def fingerprint(model: str, *settings: Any) -> str:
    """What tells two local checkpoints apart: names, sizes and samples of their files.

    The whole of a 70B checkpoint would take minutes to hash at every start, so large files are
    read at ``BLOCKS`` places, evenly spaced; a name on a hub is its own fingerprint.
    """
    folder = Path(model)
    known = sha256(repr(settings).encode())
    if not folder.is_dir():
        known.update(model.encode())
        return known.hexdigest()[:16]
    for path in sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")):
        if path.suffix not in (*WEIGHTS, ".json", ".model", ".jinja"):
            continue
        if path.name == temperatures.FILE:  # written after the weights, and often
            continue
        size = path.stat().st_size
        known.update(f"{path.name}/{size}/".encode())
        stride = max(BLOCK, (size - BLOCK) // (BLOCKS - 1))
        with path.open("rb") as file:
            for start in range(0, size, stride):
                file.seek(start)
                known.update(file.read(BLOCK))
    return known.hexdigest()[:16]

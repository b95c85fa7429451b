"""LoRA adapters: where they are put, and where they cannot be."""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
# transformers and peft carry no types that would hold: their unknowns end in this module.

from __future__ import annotations

import re
import warnings
from typing import Any

from distill.config import Lora
from sentibench.errors import InputError

SHARED = "the embedding, which shares its weights with the output layer,"


def add_adapter(model: Any, lora: Lora) -> Any:
    """Freeze the model and add LoRA weights."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():  # it asks transformers by a name that has become another
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
        adapted = get_peft_model(model, config)
    if isinstance(config.target_modules, set):  # written in an order that differs by process
        config.target_modules = sorted(config.target_modules)
    return adapted


def check_targets(
    key: str, checkpoint: str, lora: Lora, *, trust_remote_code: bool = False
) -> None:
    """Refuse, before any work, adapters that could not be trained or merged.

    The layers are looked up in the model without its weights. The output layer cannot have an
    adapter: it is computed at the supervised positions alone, past the adapter. Neither can an
    embedding whose weights are the output layer's too: merging would change both.

    Args:
        key: Of the setting, ``icldist.training.lora``.
        checkpoint: The student; one that ``check_checkpoint`` accepts.
        lora: The settings.
        trust_remote_code: Whether code that comes with the checkpoint is run.

    Raises:
        InputError: If a target names no layer, a layer that LoRA does not know, or one of those.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    where = f"{key}.target_modules"
    trust = {"trust_remote_code": trust_remote_code}
    with torch.device("meta"):
        config = AutoConfig.from_pretrained(checkpoint, **trust)
        model = AutoModelForCausalLM.from_config(config, **trust)
    output, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    tied = bool(model.config.get_text_config().tie_word_embeddings)
    names = {module: name for name, module in model.named_modules()}
    given = lora.target_modules
    if isinstance(given, list):
        for target in given:
            if not any(f".{name}".endswith(f".{target}") for name in names.values()):
                raise InputError(
                    f"{where}: no layer {target!r} in {checkpoint}; remove it, or set all-linear"
                )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            adapted = add_adapter(model, lora)
    except (ValueError, re.error) as error:
        why = " ".join(str(error).split()).split(". ")[0]
        raise InputError(
            f"{where}: got {given!r}, which peft refuses: {why}; name linear layers, or set "
            "all-linear"
        ) from None
    layers = {module.base_layer for module in adapted.modules() if hasattr(module, "lora_A")}
    for layer, why in ((output, "the output layer"), (embedding if tied else None, SHARED)):
        if layer is not None and layer in layers:
            raise InputError(
                f"{where}: {names[layer]!r} is {why} and cannot have an adapter; remove it, or "
                "train all weights with method: full"
            )

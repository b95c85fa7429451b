"""Checkpoint folders: their names, and whether they can be loaded."""

# pyright: basic
# transformers carries no types that would hold: its unknowns end in this module.

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

from sentibench.errors import InputError, SentiBenchError
from sentibench.predict.checkpoints import WEIGHTS

CHECK = "check the folder or the name"
BROUGHT_BY = {
    ".demo/SmolLM2-135M-Instruct": "make demo",
    ".demo/gemma-3-270m": "make .demo/gemma-3-270m",
    ".demo/qwen-1.5b": "make .demo/qwen-1.5b",
}


def checkpoint_name(model: str) -> str:
    """What stores, result folders and the leaderboard call a checkpoint.

    The last part of its path, but for a student of a run of ours: run and stage.
    """
    folder = Path(model)
    stage = folder.parent.name.removesuffix("-merge")
    if folder.name == "student" and stage != folder.parent.name:
        return f"{folder.parent.parent.name}-{stage}"
    return folder.name


def parameters_of(checkpoint: str) -> int | None:
    """Parameters of a local checkpoint in safetensors; None for any other."""
    from safetensors import safe_open

    n = 0
    for path in Path(checkpoint).glob("*.safetensors"):
        with safe_open(path, "pt") as weights:
            names = weights.keys()
            n += sum(prod(weights.get_slice(name).get_shape()) for name in names)
    return n or None


def loading_errors() -> tuple[type[Exception], ...]:
    """What transformers raises where a checkpoint is missing, damaged or of an unknown kind."""
    from safetensors import SafetensorError

    return OSError, ValueError, KeyError, SafetensorError


@contextmanager
def loading(where: str, model: str, kind: type[SentiBenchError] = InputError) -> Generator[None]:
    """Say in one line what cannot be loaded.

    Args:
        where: The setting or the work that names it.
        model: Folder or name.
        kind: Of the error that is raised.
    """
    try:
        yield
    except loading_errors() as error:
        raise kind(f"{where}: {model!r} cannot be loaded; {_why(error, CHECK)}") from None


def check_checkpoint(key: str, checkpoint: str, *, trust_remote_code: bool = False) -> None:
    """Refuse, before any work is done, what could not be loaded at its end.

    Args:
        key: Of the setting that names it.
        checkpoint: A folder, or a name that transformers finds.
        trust_remote_code: Whether code that comes with it is run.

    Raises:
        InputError: If configuration or weights are missing or damaged, or it needs code of its own
            that nobody allowed.
    """
    from safetensors import safe_open
    from transformers import AutoConfig

    folder = Path(checkpoint)
    if not folder.exists() and checkpoint.startswith((".", "/", "~")):
        hint = {
            "/": "",
            "~": "; ~ is not replaced by your home folder, write the whole path",
            ".": f" in {Path.cwd()}",
        }[checkpoint[0]]
        if checkpoint in BROUGHT_BY:
            hint += f"; in a clone of this project, `{BROUGHT_BY[checkpoint]}` makes it"
        raise InputError(
            f"{key}: {checkpoint}: no such folder{hint}; expected a checkpoint; check the path"
        )
    weights = [p for p in folder.iterdir() if p.suffix in WEIGHTS] if folder.is_dir() else []
    if folder.is_dir() and not weights:
        raise InputError(
            f"{key}: {checkpoint}: no weights; expected config.json and .safetensors in it; name "
            "another folder"
        )
    try:
        AutoConfig.from_pretrained(checkpoint, trust_remote_code=trust_remote_code)
        for path in weights:
            if path.suffix == ".safetensors":
                with safe_open(path, "pt"):  # reads the head and compares it with the length
                    pass
    except loading_errors() as error:
        here = "" if folder.exists() else f"no such folder in {Path.cwd()}; "
        raise InputError(
            f"{key}: transformers cannot load {checkpoint!r}; {here}{_why(error, CHECK)}"
        ) from None


def _why(error: Exception, remedy: str) -> str:
    """The first sentence of a message that may go on for pages, and a remedy."""
    if "trust_remote_code" in str(error):
        return (
            "it needs code that comes with it; read that code, then set trust_remote_code: true, "
            "beside student, or in the section of the teacher"
        )
    return f"got: {' '.join(str(error).split()).split('. ')[0][:200]}; {remedy}"


def load_tokenizer(checkpoint: str, *, trust_remote_code: bool = False) -> Any:
    """The student's tokenizer.

    Raises:
        InputError: If it is not found, or knows no end of the text.
    """
    from transformers import AutoTokenizer

    try:
        given = {"trust_remote_code": trust_remote_code}
        tokenizer: Any = AutoTokenizer.from_pretrained(checkpoint, **given)
    except (OSError, ValueError, ImportError) as error:
        raise InputError(
            f"student: no tokenizer in {checkpoint!r}; "
            f"{_why(error, 'name a folder with a tokenizer')}"
        ) from None
    if tokenizer.eos_token_id is None:
        raise InputError(
            f"student: the tokenizer of {checkpoint!r} has no end-of-text token. Without it a "
            "student cannot learn to stop; choose another student"
        )
    return tokenizer

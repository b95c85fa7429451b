"""A checkpoint on the Hugging Face hub, with its model card and what it is asked."""

# pyright: basic
# huggingface_hub publishes no complete types: its unknowns end in this module.

from __future__ import annotations

import sys
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import validate_repo_id

from sentibench.errors import InputError, refuse_missing
from sentibench.predict import temperatures
from sentibench.predict.recipe import FILE, WEIGHTS

MODELS = (*WEIGHTS, "*.gguf", "*.onnx", "*.onnx.data")
# what belongs to a model; whatever else lies in the folder stays here
PUBLISHED = (*MODELS, FILE, temperatures.FILE, "*config.json", "*.index.json")
PUBLISHED += ("*tokenizer*.json", "added_tokens.json", "special_tokens_map.json", "vocab.json")
PUBLISHED += ("chat_template.json", "*.jinja", "*.model", "merges.txt", "vocab.txt", "Modelfile")
PUBLISHED += ("README.md", "LICENSE*")
WANTED = {"README.md": "no model card", FILE: "nothing says which task the model is for"}


# with the errors of the hub's HTTP library, which is another one in other versions of it
REFUSALS: Any = (OSError, ValueError, *HfHubHTTPError.__bases__)


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a folder: those that are published, those that stay, by name."""

    published: tuple[Path, ...]
    left_out: tuple[Path, ...]


def files_of(checkpoint: Path) -> Files:
    """Sort the files of a checkpoint's folder.

    Raises:
        InputError: If there is no such folder, or no weights in it.
    """
    refuse_missing(checkpoint, "the folder of a checkpoint")
    if not checkpoint.is_dir():
        raise InputError(f"{checkpoint}: got a file, expected the folder of a checkpoint")
    files = sorted(path for path in checkpoint.iterdir() if path.is_file())
    published = tuple(path for path in files if _matches(path, PUBLISHED))
    if not any(_matches(path, MODELS) for path in published):
        raise InputError(
            f"{checkpoint}: no weights; expected a folder with one of {', '.join(MODELS)}; "
            "name another folder"
        )
    return Files(published, tuple(path for path in files if path not in published))


def _matches(path: Path, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(path.name, pattern) for pattern in patterns)


def push(
    checkpoint: Path, repo: str, *, dry_run: bool, private: bool, api: Any = None
) -> str | None:
    """Upload a checkpoint; say on stdout what is published, on stderr what is not.

    Args:
        checkpoint: A folder; its files are uploaded, not the folders in it.
        repo: ``owner/name``.
        dry_run: Only list the files; no network is used.
        private: Whether a new repository is hidden from others.
        api: In place of the hub's, for tests.

    Returns:
        Where it is now; None after a dry run.

    Raises:
        InputError: If the folder is no checkpoint, the name is none, or the hub refuses.
    """
    found = files_of(checkpoint)
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise InputError(
            f"{repo}: not a name of a repository; {_line(error)}; expected OWNER/NAME"
        ) from None
    if repo.count("/") != 1:
        raise InputError(f"got {repo!r} as the repository, expected OWNER/NAME")
    for path in found.published:
        print(f"{path.stat().st_size:>15,} bytes  {path.name}")
    for path in found.left_out:
        print(f"not uploaded: {path.name}", file=sys.stderr)
    names = [path.name for path in found.published]
    for name, lack in WANTED.items():
        if name not in names:
            print(f"{checkpoint}: no {name}: {lack}", file=sys.stderr)
    if dry_run:
        return None
    api = api or HfApi()
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        return str(
            api.upload_folder(
                repo_id=repo,
                folder_path=checkpoint,
                allow_patterns=names,
                commit_message="Upload a checkpoint with sentibench",
            )
        )
    except REFUSALS as error:
        raise InputError(
            f"{repo}: the hub refused; {_line(error)}; log in with `hf auth login`, or set HF_TOKEN"
        ) from None


def _line(error: Exception) -> str:
    """An error in one line, without the user's token."""
    text, token = " ".join(str(error).split())[:300], get_token()
    return text.replace(token, "***") if token else text

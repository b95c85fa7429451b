"""The authors' instructions: data that is fetched like the texts, never stored in this package.

They lie beside the datasets either as ``instructions.json`` (upstream folder -> string) or as the
authors' two scripts, of which the literal named ``prompts`` is read and nothing is executed.
"""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from sentibench.data.cards import UPSTREAM_COMMIT, Card, hash_problem
from sentibench.errors import DataError

INSTRUCTIONS_JSON = "instructions.json"

# sha256 of the files at the pinned upstream commit.
SCRIPTS = {
    "icl_multifaced.py": "beca48749daf5233ce9b88f4dafbf3b9876fb5cd496b8dac2b67165ff36ce35c",
    "fsa.py": "171613534b4df59c779e8a7d43b4f9e1a017737a79a5c61fcc58f3f09b5b482b",
}


def load_instructions(home: Path) -> dict[str, str]:
    """Load the instructions of all datasets.

    Args:
        home: Folder laid out like the root of the upstream repository.

    Returns:
        Instruction by upstream folder, with its ``%s`` where a target is filled in.

    Raises:
        DataError: If there is neither ``instructions.json`` nor both scripts, or if what is there
            cannot be read or is not what the pinned commit holds.
    """
    path = home / INSTRUCTIONS_JSON
    if path.is_file():
        try:
            return read_instructions_json(_read_bytes(path))
        except ValueError as exc:
            raise _unusable(f"{path}: {exc}") from None
    strings: dict[str, str] = {}
    for name, sha256 in SCRIPTS.items():
        script = home / name
        if not script.is_file():
            raise _unusable(
                f"{home}: no instructions; got no {INSTRUCTIONS_JSON} and no {name}, expected "
                f"{INSTRUCTIONS_JSON} or {' and '.join(SCRIPTS)}"
            )
        content = _read_bytes(script)
        if problem := hash_problem(content, sha256):
            raise _unusable(f"{script}: differs from upstream commit {UPSTREAM_COMMIT}; {problem}")
        strings |= read_script_prompts(content.decode("utf-8"))
    return strings


def load_instruction(card: Card, home: Path) -> str:
    """Load the instruction of one dataset and check it against its card.

    Args:
        card: The dataset.
        home: Folder laid out like the root of the upstream repository.

    Returns:
        The authors' string, with its ``%s`` where a target is filled in.

    Raises:
        DataError: If it is missing, unreadable or not the string of the pinned commit.
    """
    strings = load_instructions(home)
    if problem := instruction_problem(card, strings):
        raise _unusable(f"{home}: {problem}", card.name)
    return strings[card.folder]


def instruction_problem(card: Card, strings: Mapping[str, str]) -> str | None:
    """Say how the instruction of a dataset is not the one that its card expects, or None."""
    folder = card.folder
    if folder not in strings:
        got = ", ".join(strings) or "nothing"
        return f"no instruction for {folder}; got {got}, expected {folder}"
    content = strings[folder].encode("utf-8", "surrogatepass")
    if problem := hash_problem(content, card.instruction_sha256):
        commit = f"upstream commit {UPSTREAM_COMMIT}"
        return f"the instruction of {folder} differs from {commit}; {problem}"
    return None


def json_problem(card: Card, content: bytes) -> str | None:
    """Say how the text of an ``instructions.json`` is not what a card expects, or None."""
    try:
        return instruction_problem(card, read_instructions_json(content))
    except ValueError as exc:
        return str(exc)


def read_instructions_json(content: bytes) -> dict[str, str]:
    """Read the text of an ``instructions.json``.

    Args:
        content: The file; UTF-8, a byte-order mark is allowed.

    Returns:
        Instruction by upstream folder.

    Raises:
        ValueError: If it is not JSON or not an object of strings; says what it is.
    """
    expected = "expected a JSON object of strings"
    try:
        value: object = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as exc:
        # A parser's own message may quote the file, over several lines.
        kind = f"{type(exc).__name__}: {exc}".splitlines()[0][:120]
        raise ValueError(f"not readable; got {kind}, {expected}") from exc
    if not isinstance(value, dict):
        raise ValueError(f"not instructions; got {type(value).__name__}, {expected}")
    for folder, text in cast(dict[str, object], value).items():
        if not isinstance(text, str):
            kind = type(text).__name__
            raise ValueError(f"not instructions; got {kind} for {folder!r}, {expected}")
    return cast(dict[str, str], value)


def read_script_prompts(source: str) -> dict[str, str]:
    """Read the literal dicts named ``prompts`` from the text of a script, without executing it.

    Args:
        source: Of one of ``SCRIPTS``, whose hash was checked: what it holds is known, and each
            instruction in it is compared with its card.

    Returns:
        Instruction by upstream folder.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in a script that is not ours
        tree = ast.parse(source)
    prompts: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Dict):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            # A name has an ``id``, an attribute an ``attr``.
            names = [getattr(t, "id", None) or getattr(t, "attr", None) for t in targets]
            if "prompts" in names:
                prompts |= ast.literal_eval(node.value)
    return prompts


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise _unusable(f"{path}: not readable; got {exc.strerror}, expected a file") from exc


def _unusable(problem: str, *tasks: str) -> DataError:
    return DataError(f"{problem}; run `{' '.join(['sentibench fetch', *tasks])}`")

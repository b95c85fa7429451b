"""The authors' instructions: data that is fetched like the texts, never stored in this package.

They lie beside the datasets either as ``instructions.json`` (upstream folder -> string) or as the
authors' two scripts, of which the literal named ``prompts`` is read and nothing is executed.
"""

from __future__ import annotations

import ast
import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from sentibench.data.cards import UPSTREAM_COMMIT, Card
from sentibench.errors import DataError

INSTRUCTIONS_JSON = "instructions.json"

# sha256 of the files at the pinned upstream commit.
SCRIPTS = {
    "icl_multifaced.py": "beca48749daf5233ce9b88f4dafbf3b9876fb5cd496b8dac2b67165ff36ce35c",
    "fsa.py": "171613534b4df59c779e8a7d43b4f9e1a017737a79a5c61fcc58f3f09b5b482b",
}

# What the two parsers raise on hostile text: the last two on deep nesting.
_UNREADABLE = (ValueError, TypeError, SyntaxError, RecursionError, MemoryError)


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
        return read_instructions_json(_read_bytes(path), str(path))
    strings: dict[str, str] = {}
    for name, expected in SCRIPTS.items():
        script = home / name
        if not script.is_file():
            raise DataError(
                f"{home}: no instructions; got no {INSTRUCTIONS_JSON} and no {name}, expected "
                f"{INSTRUCTIONS_JSON} or {' and '.join(SCRIPTS)}; run `sentibench fetch`"
            )
        content = _read_bytes(script)
        got = hashlib.sha256(content).hexdigest()
        if got != expected:
            raise DataError(
                f"{script}: differs from upstream commit {UPSTREAM_COMMIT}; got sha256 {got}, "
                f"expected {expected}; run `sentibench fetch`"
            )
        strings.update(read_script_prompts(content.decode("utf-8"), str(script)))
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
    return check_instruction(card, load_instructions(home), str(home))


def check_instruction(card: Card, strings: Mapping[str, str], where: str) -> str:
    """Pick the instruction of one dataset and compare its hash with the card's.

    Args:
        card: The dataset.
        strings: Instruction by upstream folder.
        where: Where the strings come from, for the error.

    Returns:
        The instruction.

    Raises:
        DataError: If it is missing or not the string of the pinned commit.
    """
    if card.folder not in strings:
        raise DataError(
            f"{where}: no instruction for {card.folder}; got {', '.join(strings) or 'nothing'}, "
            f"expected {card.folder}; run `sentibench fetch {card.name}`"
        )
    instruction = strings[card.folder]
    got = hashlib.sha256(instruction.encode("utf-8", "surrogatepass")).hexdigest()
    if got != card.instruction_sha256:
        raise DataError(
            f"{where}: the instruction of {card.folder} differs from upstream commit "
            f"{UPSTREAM_COMMIT}; got sha256 {got}, expected {card.instruction_sha256}; "
            f"run `sentibench fetch {card.name}`"
        )
    return instruction


def read_instructions_json(content: bytes, where: str) -> dict[str, str]:
    """Read the text of an ``instructions.json``.

    Args:
        content: The file; UTF-8, a byte-order mark is allowed.
        where: Name of the file, for the error.

    Returns:
        Instruction by upstream folder.

    Raises:
        DataError: If it is not JSON or not an object of strings.
    """
    try:
        value: object = json.loads(content.decode("utf-8-sig"))
    except _UNREADABLE as exc:
        raise DataError(
            f"{where}: not readable; got {_kind(exc)}, expected a JSON object of strings; "
            "run `sentibench fetch`"
        ) from exc
    return _strings(value, where)


def read_script_prompts(source: str, where: str) -> dict[str, str]:
    """Read the literal dict named ``prompts`` from the text of a script, without executing it.

    Args:
        source: Python source text that assigns a dict to ``prompts`` or to ``<name>.prompts``.
            Values of that name that are no dict are something else and skipped.
        where: Name of the script, for the error.

    Returns:
        Instruction by upstream folder.

    Raises:
        DataError: If the text is not Python, holds no such dict, or the dict is not made of
            literal strings only.
    """
    prompts: dict[str, str] = {}
    found = 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in a script that is not ours
            tree = ast.parse(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign):
                targets = node.targets
            elif isinstance(node, ast.AnnAssign):
                targets = [node.target]
            else:
                continue
            if isinstance(node.value, ast.Dict) and any(map(_is_prompts, targets)):
                found += 1
                for folder, text in _strings(ast.literal_eval(node.value), where).items():
                    if prompts.setdefault(folder, text) != text:
                        raise DataError(
                            f"{where}: two instructions for {folder}; got different strings, "
                            "expected one; run `sentibench fetch`"
                        )
    except _UNREADABLE as exc:
        raise DataError(
            f"{where}: not readable; got {_kind(exc)}, expected Python source with a dict of "
            "literal strings named prompts; run `sentibench fetch`"
        ) from exc
    if not found:
        raise DataError(
            f"{where}: no instructions; got no dict named prompts, expected one; "
            "run `sentibench fetch`"
        )
    return prompts


def _is_prompts(target: ast.expr) -> bool:
    if isinstance(target, ast.Name):
        return target.id == "prompts"
    return isinstance(target, ast.Attribute) and target.attr == "prompts"


def _strings(value: object, where: str) -> dict[str, str]:
    expected = "expected a dict of strings; run `sentibench fetch`"
    if not isinstance(value, dict):
        raise DataError(f"{where}: not instructions; got {type(value).__name__}, {expected}")
    strings: dict[str, str] = {}
    for key, text in cast(dict[object, object], value).items():
        if not isinstance(key, str) or not isinstance(text, str):
            kinds = f"{type(key).__name__} -> {type(text).__name__}"
            raise DataError(f"{where}: not instructions; got an entry {kinds}, {expected}")
        strings[key] = text
    return strings


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise DataError(
            f"{path}: not readable; got {exc.strerror}, expected a file; run `sentibench fetch`"
        ) from exc


def _kind(exc: BaseException) -> str:
    # A parser's own message may quote the file, over several lines.
    return f"{type(exc).__name__}: {exc}".splitlines()[0][:120]

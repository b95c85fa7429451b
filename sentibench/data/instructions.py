"""The authors' instructions: data that is fetched like the texts, never stored in this package.

They lie beside the datasets either as ``instructions.json`` (upstream folder -> string) or as the
authors' two scripts, of which the literal named ``prompts`` is read and nothing is executed.
"""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Iterator, Mapping
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
    folder = card.folder
    if folder not in strings:
        got = ", ".join(strings) or "nothing"
        problem = f"no instruction for {folder}; got {got}, expected {folder}"
        raise _unusable(f"{where}: {problem}", card.name)
    content = strings[folder].encode("utf-8", "surrogatepass")
    if problem := hash_problem(content, card.instruction_sha256):
        differs = f"the instruction of {folder} differs from upstream commit {UPSTREAM_COMMIT}"
        raise _unusable(f"{where}: {differs}; {problem}", card.name)
    return strings[folder]


def instruction_problem(card: Card, content: bytes) -> str | None:
    """Say how the text of an ``instructions.json`` is not what a card expects, or None."""
    try:
        check_instruction(card, read_instructions_json(content, INSTRUCTIONS_JSON), "")
    except DataError as exc:  # without its place and its remedy
        return str(exc).partition(": ")[2].rpartition("; ")[0]
    return None


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
        raise _unusable(
            f"{where}: not readable; got {_kind(exc)}, expected a JSON object of strings"
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
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in a script that is not ours
            tree = ast.parse(source)
        found = [ast.literal_eval(value) for value in _dicts_named_prompts(tree)]
    except _UNREADABLE as exc:
        raise _unusable(
            f"{where}: not readable; got {_kind(exc)}, expected Python source with a dict of "
            "literal strings named prompts"
        ) from exc
    if not found:
        raise _unusable(f"{where}: no instructions; got no dict named prompts, expected one")
    prompts: dict[str, str] = {}
    for value in found:
        for folder, text in _strings(value, where).items():
            if prompts.setdefault(folder, text) != text:
                raise _unusable(
                    f"{where}: two instructions for {folder}; got different strings, expected one"
                )
    return prompts


def _dicts_named_prompts(tree: ast.AST) -> Iterator[ast.Dict]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Dict):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            # A name has an ``id``, an attribute an ``attr``.
            names = [getattr(t, "id", None) or getattr(t, "attr", None) for t in targets]
            if "prompts" in names:
                yield node.value


def _strings(value: object, where: str) -> dict[str, str]:
    expected = "expected a dict of strings"
    if not isinstance(value, dict):
        raise _unusable(f"{where}: not instructions; got {type(value).__name__}, {expected}")
    for entry in cast(dict[object, object], value).items():
        if not all(isinstance(part, str) for part in entry):
            kinds = " -> ".join(type(part).__name__ for part in entry)
            raise _unusable(f"{where}: not instructions; got an entry {kinds}, {expected}")
    return cast(dict[str, str], value)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise _unusable(f"{path}: not readable; got {exc.strerror}, expected a file") from exc


def _unusable(problem: str, *tasks: str) -> DataError:
    return DataError(f"{problem}; run `{' '.join(['sentibench fetch', *tasks])}`")


def _kind(exc: BaseException) -> str:
    # A parser's own message may quote the file, over several lines.
    return f"{type(exc).__name__}: {exc}".splitlines()[0][:120]

"""The commands that the documentation shows, and what their blocks say about running them.

A block of code has a language. A comment above it says what to do with it, where it cannot run:
``<!-- parsed only: takes hours -->`` or ``<!-- not run: needs another program -->``.
"""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
CODE = ("bash", "python")
OTHER = ("text", "json", "yaml")

Treatment = Literal["run", "parsed only", "not run"]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
STEP = re.compile(r"^ *- run: ([^#\n]+)", re.M)  # of a workflow
COMMENT = re.compile(r"<!-- (parsed only|not run): ([^\n]*) -->\n+\Z")

# Bash finds no program, so it hands each one with its arguments to this function. Loops,
# variables, quotes and line breaks are read as a user's shell reads them.
RECORD = r"""
set -e
PATH=/nowhere
command_not_found_handle() {
  local input=
  [[ " $* " == *" - "* ]] && input=$(</dev/stdin)
  printf '%s\0' "$#" "$@" "$input" >&2
}
"""
END_OF_BLOCK = "\nprintf '%s\\0' end >&2\n"


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of code.

    Attributes:
        where: Page and line.
        language: As the fence names it, or nothing.
        text: The code.
        treatment: What the test does with it.
        reason: Why it does not run; empty if it runs.
    """

    where: str
    language: str
    text: str
    treatment: Treatment
    reason: str


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a block.

    Attributes:
        words: The program and its arguments, as the shell passes them.
        input: What it reads from standard input, if one of the arguments is ``-``.
    """

    words: tuple[str, ...]
    input: str


def blocks_of(page: Path) -> list[Block]:
    """All blocks of a page, in their order."""
    text = page.read_text(encoding="utf-8")
    found: list[Block] = []
    for fence in FENCE.finditer(text):
        line = text.count("\n", 0, fence.start()) + 1
        comment = COMMENT.search(text, 0, fence.start())
        treatment, reason = comment.groups() if comment else ("run", "")
        language, code = fence.groups()
        if language == "yaml" and (steps := STEP.findall(code)):
            language, code = "bash", "\n".join(steps)
        found.append(Block(f"{page.name}:{line}", language, code, treatment, reason))
    return found


def commands_of(blocks: Sequence[Block], folder: Path) -> list[list[Command]]:
    """The commands of each block; a variable that one block sets is known to the next.

    Args:
        blocks: Of one page, in bash.
        folder: The current folder of the shell. Redirections read and write files in it.
    """
    script = RECORD + "".join(block.text + END_OF_BLOCK for block in blocks)
    call = ["/bin/bash", "-c", script]
    shell = subprocess.run(call, cwd=folder, capture_output=True, text=True)
    assert shell.returncode == 0, shell.stderr
    found: list[list[Command]] = [[]]
    fields = iter(shell.stderr.split("\0")[:-1])
    for field in fields:
        if field == "end":
            found.append([])
            continue
        words = tuple(next(fields) for _ in range(int(field)))
        found[-1].append(Command(words, next(fields)))
    return found[:-1]

"""The tree of packages and rooms in CONTRIBUTING.md, made from their docstrings.

python docs/source_tree.py writes it between its two marks; a test compares.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- tree: python docs/source_tree.py -->", "<!-- end of tree -->"
PACKAGES = ("sentibench", "distill", "leaderboard")
BESIDE = {
    "tasks_yaml/": "What lm-eval reads: a file for every task and group.",
    "tests/": "The same rooms, tested.",
    "benchmarks/": "Programs that measure: speed, distillation, intervals, other methods.",
    "docs/": "How to, results with the commands that made them, decisions.",
}


def first_sentence(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    assert text, f"{path}: no docstring"
    return text.split("\n\n")[0].replace("\n", " ")


def lines() -> Iterator[str]:
    for package in PACKAGES:
        yield f"{package + '/':22}{first_sentence(ROOT / package / '__init__.py')}"
        rooms = sorted(p.parent for p in (ROOT / package).glob("*/__init__.py"))
        modules = sorted(p for p in (ROOT / package).glob("*.py") if p.name != "__init__.py")
        for room in rooms:
            yield f"  {room.name + '/':20}{first_sentence(room / '__init__.py')}"
        for module in modules:
            yield f"  {module.name:20}{first_sentence(module)}"
    for name, what in BESIDE.items():
        yield f"{name:22}{what}"


def with_tree(readme: str) -> str:
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    tree = "\n".join(line.rstrip() for line in lines())
    return f"{before}{BEGIN}\n```text\n{tree}\n```\n{END}{after}"


if __name__ == "__main__":
    path = ROOT / "CONTRIBUTING.md"
    path.write_text(with_tree(path.read_text(encoding="utf-8")), encoding="utf-8")

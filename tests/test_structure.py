"""Which module may import what."""

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "sentibench"
HEAVY = {"lm_eval", "datasets", "torch", "transformers", "evaluate"}
# the boundaries to lm-eval (tasks; model) and to evaluate, and the demonstration's checkpoint
BOUNDARIES = {
    "harness.py": {"lm_eval", "datasets"},
    "lm_eval_command.py": {"lm_eval"},
    "evaluate_metrics.py": {"datasets", "evaluate"},
    "demo_model.py": {"torch", "transformers"},
    "fast_generation.py": {"torch", "transformers"},
    "read_positions.py": {"torch"},
    "fast_model.py": {"lm_eval", "torch", "transformers"},
}


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").split(".")[0])
    return names


def test_only_the_boundary_modules_import_heavy_libraries() -> None:
    modules = [path for path in PACKAGE.rglob("*.py") if "startup" not in path.parts]
    assert len(modules) >= 15
    for path in modules:
        assert imported(path) & HEAVY == BOUNDARIES.get(path.name, set()), path.name
        assert not imported(path) & {"distill", "leaderboard"}, path.name


def test_the_start_up_hook_uses_the_standard_library_alone() -> None:
    hook = PACKAGE / "startup" / "_sentibench_autoload.py"
    assert imported(hook) <= set(sys.stdlib_module_names)
    top = ast.parse(hook.read_text(encoding="utf-8")).body
    at_start = {a.name for node in top if isinstance(node, ast.Import) for a in node.names}
    assert at_start == {"os", "sys"}


def test_importing_sentibench_loads_no_heavy_library() -> None:
    code = f"import sys, sentibench; print(sorted({HEAVY!r} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert shown.stdout.strip() == "[]", shown.stderr

"""Which room may import which, in all three packages."""

import ast
import importlib.util
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from imports import imported

ROOT = Path(__file__).parents[1]
HEAVY = {"lm_eval", "datasets", "torch", "transformers", "evaluate"}
MODULES_OF_A_ROOM = 8
HOOK = ROOT / "sentibench" / "harness" / "startup" / "_sentibench_autoload.py"

# A room is a folder of a package, or a module beside the folders. Behind each stands what it
# imports, rooms of its own package without that package's name. A new arrow is a decision: it is
# written here, and no arrow closes a circle.
TABLE = """
sentibench                 predict versions
sentibench.__main__        sentibench command_line data errors export harness many new_task
                           peers predict progress prompts scoring serve
sentibench.command_line    errors
sentibench.data            errors versions
sentibench.decisions       data errors harness prompts remote
sentibench.errors
sentibench.evaluate_metrics data scoring
sentibench.export          command_line data errors fast files predict progress prompts
sentibench.fast            errors versions
sentibench.files
sentibench.harness         data errors prompts scoring versions
sentibench.many            data errors fast files harness predict progress prompts
sentibench.new_task        data errors files prompts
sentibench.pages           scoring
sentibench.peers           data errors files scoring
sentibench.predict         data errors fast files prompts scoring
sentibench.prompts         data errors
sentibench.progress
sentibench.remote          errors files progress
sentibench.scoring         data errors prompts
sentibench.serve           data errors predict prompts
sentibench.versions        errors
distill
distill.__main__           config presets report run steps sentibench.command_line
                           sentibench.errors sentibench.remote
distill.checkpoints        sentibench.errors sentibench.predict
distill.config             errors reasons sentibench.data sentibench.decisions sentibench.errors
                           sentibench.files sentibench.remote
distill.errors             sentibench.errors
distill.files              sentibench.files
distill.filters            config errors files forms reasons texts workers sentibench.data
                           sentibench.remote sentibench.scoring
distill.forms              sentibench.scoring
distill.presets            errors sentibench.data sentibench.decisions sentibench.errors
distill.prompts            config errors files forms texts sentibench.data sentibench.errors
                           sentibench.prompts sentibench.remote sentibench.scoring
distill.reasons
distill.report             config filters texts sentibench.data sentibench.errors
                           sentibench.files sentibench.pages sentibench.prompts
                           sentibench.scoring
distill.run                checkpoints config errors files filters prompts reasons report
                           selection steps student teachers texts workers sentibench.data
                           sentibench.errors sentibench.files sentibench.harness
                           sentibench.pages sentibench.predict sentibench.progress
                           sentibench.prompts sentibench.remote sentibench.scoring
distill.selection          student sentibench.fast sentibench.progress sentibench.prompts
                           sentibench.scoring
distill.steps              files sentibench.errors
distill.student            checkpoints config files workers sentibench.errors
                           sentibench.fast sentibench.files sentibench.harness
                           sentibench.progress sentibench.prompts sentibench.scoring
distill.teachers           checkpoints config workers sentibench.decisions sentibench.errors
                           sentibench.fast sentibench.predict sentibench.remote
distill.texts              config files workers sentibench.data sentibench.errors
distill.workers            errors
leaderboard
leaderboard.__main__       board build exports items page previous runs
                           sentibench.command_line sentibench.data sentibench.errors
                           sentibench.pages sentibench.scoring
leaderboard.board          runs sentibench.data sentibench.scoring
leaderboard.build          board calibration ranking runs sentibench.data sentibench.prompts
                           sentibench.scoring
leaderboard.calibration    runs sentibench.scoring
leaderboard.exports        board items page sentibench.pages
leaderboard.items          runs sentibench.data sentibench.scoring
leaderboard.page           board items sentibench.pages sentibench.scoring
leaderboard.previous       board sentibench.data sentibench.pages sentibench.scoring
leaderboard.ranking        board runs sentibench.data sentibench.scoring
leaderboard.runs           sentibench.data sentibench.errors sentibench.pages sentibench.peers
                           sentibench.prompts sentibench.scoring
"""


def read_table(table: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    room = ""
    for line in table.strip().splitlines():
        words = line.split()
        if not line.startswith(" "):
            room, *words = words
            found[room] = set()
        package = room.split(".")[0]
        found[room] |= {w if "." in w or w == package else f"{package}.{w}" for w in words}
    return found


ARROWS = read_table(TABLE)
# Where heavy libraries may be imported, inside functions too.
HEAVY_ROOMS = {
    "sentibench.data": {"datasets"},  # in the function that reads its folders
    "sentibench.harness": {"lm_eval", "datasets"},
    "sentibench.fast": {"lm_eval", "torch", "transformers"},
    "sentibench.export": {"torch", "transformers"},
    "sentibench.evaluate_metrics": {"datasets", "evaluate"},
    "distill.checkpoints": {"transformers"},
    "distill.teachers": {"torch"},
    "distill.selection": {"torch"},
    "distill.student": {"torch", "transformers"},
}


def rooms() -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = defaultdict(list)
    for package in ("sentibench", "distill", "leaderboard"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if HOOK.parent in path.parents:
                continue
            first = path.relative_to(ROOT / package).parts[0].removesuffix(".py")
            found[package if first == "__init__" else f"{package}.{first}"].append(path)
    return dict(found)


def room_of(name: str, known: dict[str, list[Path]]) -> str | None:
    """The room that holds an imported name; None for another project's."""
    parts = name.split(".")
    if parts[0] not in ("sentibench", "distill", "leaderboard"):
        return None
    room = ".".join(parts[:2])
    return room if room in known else parts[0]


def arrows() -> dict[str, set[str]]:
    known = rooms()
    return {
        room: {
            target
            for path in paths
            for name in imported(path)
            if (target := room_of(name, known)) not in (None, room)
        }
        for room, paths in known.items()
    }


def test_rooms_import_what_the_table_allows_and_nothing_else() -> None:
    found = arrows()
    assert len(found) >= 20
    assert found == ARROWS


def test_imports_between_rooms_go_one_way() -> None:
    above: dict[str, set[str]] = {}

    def visit(room: str, path: tuple[str, ...]) -> set[str]:
        assert room not in path, " -> ".join((*path, room))
        if room not in above:
            above[room] = {room}.union(*(visit(r, (*path, room)) for r in ARROWS[room]))
        return above[room]

    for room in ARROWS:
        visit(room, ())


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    paths = [path for room in rooms().values() for path in room]
    names = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in paths
    }
    assert len(names) >= 90
    imports = {
        name: {
            known
            for full in imported(path)
            for known in (full, full.rpartition(".")[0])
            if known in names and known != name and not name.startswith(f"{known}.")
        }
        for name, path in names.items()
    }
    through: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name not in through:
            for target in imports[name]:
                visit(target, (*path, name))
            through.add(name)

    for name in imports:
        visit(name, ())


def test_packages_know_only_the_packages_below_them() -> None:
    below = {"sentibench": set(), "distill": {"sentibench"}, "leaderboard": {"sentibench"}}
    for room, targets in ARROWS.items():
        package = room.split(".")[0]
        assert {target.split(".")[0] for target in targets} <= {package, *below[package]}, room


def test_a_room_has_few_modules() -> None:
    counts: Counter[str] = Counter()
    for room, paths in rooms().items():
        for path in paths:
            loose = path.parent.parent == ROOT  # beside the folders of its package
            counts[room.split(".")[0] if loose else room] += path.name != "__init__.py"
    assert {room: n for room, n in counts.items() if n > MODULES_OF_A_ROOM} == {}


def test_only_the_rooms_of_the_table_import_heavy_libraries() -> None:
    found = {
        room: libraries
        for room, paths in rooms().items()
        if (libraries := {n.split(".")[0] for path in paths for n in imported(path)} & HEAVY)
    }
    assert found == HEAVY_ROOMS


def test_test_files_have_names_of_their_own() -> None:
    """Two of one name cannot be collected in one run."""
    counts = Counter(path.name for path in (ROOT / "tests").rglob("*.py"))
    counts -= Counter({"conftest.py": counts["conftest.py"]})
    assert [name for name, n in counts.items() if n > 1] == []


def test_the_start_up_hook_uses_the_standard_library_alone() -> None:
    # our own package is imported where one of our tasks is about to run
    allowed = {*sys.stdlib_module_names, "sentibench"}
    assert {name.split(".")[0] for name in imported(HOOK)} <= allowed
    top = ast.parse(HOOK.read_text(encoding="utf-8")).body
    at_start = {a.name for node in top if isinstance(node, ast.Import) for a in node.names}
    assert at_start == {"os", "sys"}


@pytest.mark.parametrize("package", ["sentibench", "leaderboard.__main__"])
def test_importing_a_package_loads_no_heavy_library(package: str) -> None:
    code = f"import sys, {package}; print(sorted({HEAVY!r} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert shown.stdout.strip() == "[]", shown.stderr


def test_the_tree_is_shown_as_it_is() -> None:
    spec = importlib.util.spec_from_file_location("source_tree", ROOT / "docs" / "source_tree.py")
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    readme = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert readme.count("\n  ") > len(rooms()) / 2
    assert program.with_tree(readme) == readme, "run python docs/source_tree.py"

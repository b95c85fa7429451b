"""What is used of lm-eval and transformers beyond their documentation: listed, and kept apart."""

import ast
import importlib
import importlib.util
import inspect
import re
import sys
from pathlib import Path

import pytest
from imports import imported

from sentibench import versions
from sentibench.versions import MissingPartError, parts_of, require

ROOT = Path(__file__).parents[3]
ROOMS = [ROOT / "sentibench" / "harness", ROOT / "sentibench" / "fast"]
LIBRARIES = {"lm_eval", "transformers", "peft", "accelerate"}
# what their documentation shows is no private part
DOCUMENTED = {"lm_eval.simple_evaluate", "transformers.utils.logging"}


def table() -> dict[str, list[str]]:
    """Modules and classes of the table -> the names that are used of them."""
    found: dict[str, list[str]] = {}
    for line in (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8").splitlines():
        cells = line.split(" | ")
        if line.startswith("| `") and len(cells) == 4:
            names = re.findall(r"`([^`]+)`", cells[0])
            owner = [name for name in names if "." in name]
            for name in owner[:-1]:
                found[name] = []
            found.setdefault(owner[-1], []).extend(names[len(owner) :])
    return found


TABLE = table()


def resolve(name: str):
    """The module or class of a dotted name."""
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:n]))
        except ModuleNotFoundError:
            continue
        for part in parts[n:]:
            found = getattr(found, part)
        return found
    raise AssertionError(name)


def has(owner, name: str) -> bool:
    """Whether a class or module has an attribute, or its instances, or a method an argument."""
    method, _, argument = name.rstrip(")").partition("(")
    if argument:
        return argument in inspect.signature(getattr(owner, method)).parameters
    fields = getattr(owner, "__dataclass_fields__", {})
    return hasattr(owner, name) or name in fields or hasattr(owner(), name)


@pytest.mark.parametrize("owner", TABLE)
def test_all_that_the_table_names_is_there_in_the_installed_versions(owner: str) -> None:
    found = resolve(owner)
    for name in TABLE[owner]:
        assert has(found, name), f"{owner}: {name}"


def test_the_table_was_read() -> None:
    assert len(TABLE) >= 20
    assert sum(map(len, TABLE.values())) >= 50
    assert "_loglikelihood_tokens(override_bs)" in TABLE["lm_eval.models.huggingface.HFLM"]


def modules(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in sorted(folder.rglob("*.py"))]


def of_libraries(path: Path) -> set[str]:
    return {name for name in imported(path) if name.split(".")[0] in LIBRARIES}


def test_what_the_two_rooms_import_stands_in_the_table_or_is_documented() -> None:
    listed = {*TABLE, *(f"{owner}.{n.split('(')[0]}" for owner, ns in TABLE.items() for n in ns)}
    n_seen = 0
    for path in modules(*ROOMS):
        for name in of_libraries(path) - DOCUMENTED:
            is_top_level = name.split(".")[0] == "transformers" and name.count(".") < 2
            known = any(entry == name or entry.startswith(f"{name}.") for entry in listed)
            assert is_top_level or known, f"{path}: {name}"
            n_seen += known
    assert n_seen >= 12


def test_what_is_required_at_import_stands_in_the_table(monkeypatch) -> None:
    required: list[tuple[type, str]] = []
    monkeypatch.setattr(
        versions, "require", lambda owner, *names: required.extend((owner, n) for n in names)
    )
    for path in modules(*ROOMS):
        if "require(" in path.read_text(encoding="utf-8"):
            spec = importlib.util.spec_from_file_location(f"again_{path.stem}", path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            monkeypatch.setitem(sys.modules, spec.name, module)
            spec.loader.exec_module(module)
    assert len(required) >= 35
    listed = {(resolve(owner), name) for owner, names in TABLE.items() for name in names}
    assert set(required) <= listed


def test_no_other_room_touches_private_parts() -> None:
    ours = modules(*(ROOT / package for package in ("sentibench", "distill", "leaderboard")))
    trees = {path: list(ast.walk(ast.parse(path.read_text(encoding="utf-8")))) for path in ours}
    own = {"_replace", "_exit"}  # documented: of a named tuple, of os
    for nodes in trees.values():
        own |= {n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef)}
        own |= {n.id for n in nodes if isinstance(n, ast.Name)}
        own |= {
            n.attr for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)
        }
    others = [path for path in ours if not any(room in path.parents for room in ROOMS)]
    assert len(others) >= 50
    for path in others:
        for name in of_libraries(path):
            assert not name.startswith("lm_eval"), f"{path}: {name}"
            assert name.count(".") == 1, f"{path}: {name} is not of a top level"
        attributes = {n.attr for n in trees[path] if isinstance(n, ast.Attribute)}
        private = {attribute for attribute in attributes if re.match("_[a-z]", attribute)}
        assert private <= own, f"{path}: {sorted(private - own)}"


def test_a_missing_part_is_named_with_what_is_installed_and_what_was_tested() -> None:
    class Owner:
        def method(self, there): ...

    require(Owner, "method", "method(there)")
    owner = Owner()
    owner.setting = None  # type: ignore[attr-defined]
    require(owner, "setting", "method")
    for name in ("gone", "method(gone)"):
        with pytest.raises(MissingPartError) as caught, parts_of("lm-eval"):
            require(Owner, name)
        message = str(caught.value)
        assert re.match(r"a part is missing in lm-eval \d+\.\d+.*: ", message)
        assert message.endswith(f"Owner.{name}; tested with {versions.tested_versions()}")
    gone = pytest.raises(MissingPartError, match="cannot import name 'gone' from 'lm_eval")
    with gone, parts_of("lm-eval"):
        from lm_eval.tasks import gone


def test_a_library_that_is_not_installed_is_named_with_its_remedy() -> None:
    remedy = pytest.raises(MissingPartError, match="torch is not installed: pip install")
    with remedy, parts_of("lm-eval"):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")


def test_the_tested_versions_are_within_the_bounds_of_the_distribution() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for name, tested in versions.TESTED.items():
        (bounds,) = re.findall(rf'"{name}>=([\d.]+),<([\d.]+)"', text)
        low, high, number = ([int(n) for n in v.split(".")] for v in (*bounds, tested))
        assert low <= number < high
        if name == "transformers":  # no bound beyond what was tested
            assert high == [number[0], number[1] + 1]

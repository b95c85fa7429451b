"""Wheel and sdist in an environment of their own: the tasks appear, and nothing stays behind."""

import ast
import os
import re
import subprocess
import sys
import sysconfig
import venv
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("sentibench", "distill", "leaderboard")
SHOW = (
    "from lm_eval.tasks import TaskManager as T; import sys;"
    "t = T(include_path=sys.argv[1:] or None);"
    "print(len([n for n in t.all_tasks if n.startswith('sentibench')]));"
    "print(getattr(t.task_index.get('sentibench_sst2'), 'yaml_path', None))"
)


def run(*command: object, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **environment},
        cwd=environment.get("PWD"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def installed(python: Path) -> set[str]:
    """The files of the installed package that are of use, in any order."""
    show = run(python, "-m", "pip", "show", "--files", "sentibench").partition("Files:")[2]
    files = {line.strip() for line in show.splitlines() if "__pycache__" not in line}
    return {file for file in files if not file.endswith("direct_url.json")}


@pytest.mark.install
@pytest.mark.slow
def test_wheel_and_sdist_show_the_tasks_to_plain_lm_eval_and_leave_nothing_behind(
    tmp_path: Path,
) -> None:
    pytest.importorskip("hatchling", reason="builds without network need hatchling installed")
    # without --wheel, the sdist is built first, and the wheel from the sdist
    run(sys.executable, "-m", "build", "--no-isolation", "-o", tmp_path / "dist", ROOT)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    (sdist,) = (tmp_path / "dist").glob("*.tar.gz")
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    # lm-eval and the rest come from the environment that runs the tests, one layer below
    (site / "zz_below.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    run(python, "-m", "pip", "install", "--no-deps", "--no-index", wheel)

    elsewhere = str(tmp_path)
    count, path = run(python, "-c", SHOW, PWD=elsewhere).split()
    n_tasks, n_groups, n_tags = 24 + 16, 5 + 2, 1  # 16 and 2 are those of robustness
    assert int(count) == n_tasks + n_groups + n_tags
    assert Path(path).is_relative_to(site)
    show = (
        "from importlib.metadata import entry_points as e; print(e(group='lm_eval.models').names)"
    )
    assert "sentibench-hf" in run(python, "-c", show, PWD=elsewhere)
    hidden = run(python, "-c", SHOW, PWD=elsewhere, SENTIBENCH_NO_AUTOLOAD="1").split()
    assert hidden == ["0", "None"]

    # files that are no code, too
    packages = [ROOT / name for name in PACKAGES]
    files = [path for package in packages for path in package.rglob("*.*") if path.is_file()]
    files = [path for path in files if not {"__pycache__", "startup"} & {*path.parts}]
    assert len({path.suffix for path in files}) > 5
    assert [path for path in files if not (site / path.relative_to(ROOT)).is_file()] == []
    assert "build" in run(python, "-m", "leaderboard", "--help", PWD=elsewhere)

    assert "sentibench_sst2" in run(tmp_path / "env" / "bin" / "sentibench", "list", PWD=elsewhere)

    own = tmp_path / "own"
    own.mkdir()
    (own / "mine.yaml").write_text("task: sentibench_sst2\ndataset_path: x\n", encoding="utf-8")
    assert run(python, "-c", SHOW, own, PWD=elsewhere).split()[1] == str(own / "mine.yaml")

    from_wheel = installed(python)
    run(python, "-m", "pip", "uninstall", "--yes", "sentibench")
    assert not [p for p in (tmp_path / "env").rglob("*") if "sentibench" in p.name]

    run(python, "-m", "pip", "install", "--no-deps", "--no-index", "--no-build-isolation", sdist)
    assert installed(python) == from_wheel
    assert "sentibench_sst2" in run(tmp_path / "env" / "bin" / "sentibench", "list", PWD=elsewhere)


def test_what_is_imported_is_declared() -> None:
    """The environment above has more than what is declared; so the imports are compared."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    declared = {
        re.sub(r"[-_.]+", "-", name).lower() for name in re.findall(r'"([\w.-]+)\W', project)
    }
    known, missing = packages_distributions(), set[tuple[str, str]]()
    chosen = {"vllm", "llama_cpp"}  # people install them for their machine; the pages say so
    for path in (path for name in PACKAGES for path in (ROOT / name).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names = [node.module]
            for top in {name.partition(".")[0] for name in names} - {*PACKAGES, *chosen}:
                of = {re.sub(r"[-_.]+", "-", name).lower() for name in known.get(top, ())}
                if top not in sys.stdlib_module_names and not of & declared:
                    missing.add((path.relative_to(ROOT).as_posix(), top))
    assert sorted(missing) == []

"""Wheel and sdist in an environment of their own: the tasks appear, and nothing stays behind."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
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
    packages = [ROOT / name for name in ("sentibench", "distill", "leaderboard")]
    files = [path for package in packages for path in package.rglob("*.*") if path.is_file()]
    files = [path for path in files if not {"__pycache__", "startup"} & {*path.parts}]
    assert len({path.suffix for path in files}) > 5
    assert [path for path in files if not (site / path.relative_to(ROOT)).is_file()] == []
    assert "build" in run(python, "-m", "leaderboard", "--help", PWD=elsewhere)

    own = tmp_path / "own"
    own.mkdir()
    (own / "mine.yaml").write_text("task: sentibench_sst2\ndataset_path: x\n", encoding="utf-8")
    assert run(python, "-c", SHOW, own, PWD=elsewhere).split()[1] == str(own / "mine.yaml")

    from_wheel = installed(python)
    run(python, "-m", "pip", "uninstall", "--yes", "sentibench")
    assert not [p for p in (tmp_path / "env").rglob("*") if "sentibench" in p.name]

    run(python, "-m", "pip", "install", "--no-deps", "--no-index", "--no-build-isolation", sdist)
    assert installed(python) == from_wheel

"""An evaluation from Python: what it writes beside lm-eval's own results."""

import subprocess
from pathlib import Path

from sentibench.harness.evaluation import commit_here


def test_the_commit_is_that_of_the_working_directory_and_git_says_nothing(
    tmp_path: Path, monkeypatch, capfd
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit_here() is None
    person = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(["git", *person, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    assert len(commit_here() or "") >= 7
    monkeypatch.setenv("PATH", "")
    assert commit_here() is None
    assert capfd.readouterr().err == ""

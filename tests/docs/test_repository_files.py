"""Files that other services read: what they name is there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def load(name: str):
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_workflows_run_what_there_is() -> None:
    commands = [
        step["run"]
        for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))
        for job in load(path)["jobs"].values()
        for step in job["steps"]
        if "run" in step
    ]
    assert {".ci/run", "make check", "make docs", "make test-latest"} <= set(commands)
    for command in commands:
        target = command.removeprefix("make ")
        is_there = re.search(rf"^{re.escape(target)}:", MAKEFILE, re.M) or (ROOT / target).is_file()
        assert is_there, command


def test_the_site_is_published_from_main_after_all_checks() -> None:
    jobs = load(".github/workflows/ci.yml")["jobs"]
    publish = jobs["publish"]
    assert [step["uses"].partition("@")[0] for step in publish["steps"]] == ["actions/deploy-pages"]
    assert publish["environment"]["name"] == "github-pages"  # GitHub refuses another
    assert publish["if"] == "github.ref == 'refs/heads/main'"
    assert set(publish["needs"]) == set(jobs) - {"publish"}
    uploaded = [step.get("with", {}).get("path") for step in jobs["docs"]["steps"]]
    assert "build/docs" in uploaded


def test_before_a_commit_the_tools_of_make_check_run() -> None:
    [repository] = load(".pre-commit-config.yaml")["repos"]
    tools = [re.sub(r"^\.venv/bin/", "", hook["entry"]) for hook in repository["hooks"]]
    checked = re.search(r"^check:.*\n((?:\t.*\n)+)", MAKEFILE, re.M)
    assert checked
    lines = [line.strip() for line in checked[1].replace("$(BIN)/", "").splitlines()]
    wanted = [line.replace(" --check .", "").removesuffix(" .") for line in lines]
    assert [tool.replace(".venv/bin/", "") for tool in tools] == wanted


def test_the_citation_names_the_version_and_the_licence() -> None:
    cited = load("CITATION.cff")
    assert f'version = "{cited["version"]}"' in PROJECT
    assert f'license = "{cited["license"]}' in PROJECT
    assert cited["references"][0]["url"].rpartition("/")[2] in (ROOT / "README.md").read_text()


def test_templates_ask_for_what_is_needed() -> None:
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"):
        asked = [part["attributes"]["label"] for part in load(path)["body"]]
        assert "Versions" in asked, path


def test_what_is_mutated_is_there() -> None:
    section = PROJECT.partition("[tool.mutmut]")[2].partition("\n[tool.")[0]
    paths = re.findall(r'"((?:sentibench|distill|leaderboard|tests)/[\w/.]+)"', section)
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_link_of_the_documentation_leads_somewhere(tmp_path: Path) -> None:
    """``make docs``, elsewhere: a missing page, file or anchor is an error."""
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "-d", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "api" / "index.html").read_text(encoding="utf-8")
    assert "sentibench.predict.classifier.Classifier" in page
    contributing = (tmp_path / "contributing" / "index.html").read_text(encoding="utf-8")
    assert "Where code belongs" in contributing
    loaded = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?:[^"]+)"', page)
    assert loaded == []  # nothing from elsewhere


def test_every_link_between_our_files_leads_somewhere() -> None:
    broken = [
        f"{path.relative_to(ROOT)}: {target}"
        for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
        if not target.startswith(("http:", "https:")) and not (path.parent / target).exists()
    ]
    assert broken == []

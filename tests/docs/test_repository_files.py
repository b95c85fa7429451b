"""Files that other services read: what they name is there."""

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
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


def built(root: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(out)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)


def dead_links(page: Path) -> list[str]:
    """Links of a page of the built site to files or places that are not there."""
    dead: list[str] = []
    for link in re.findall(r'(?:href|src)="([^"]+)"', page.read_text(encoding="utf-8")):
        parts = urlsplit(link)
        if parts.scheme or not parts.path or parts.path.startswith("/"):
            continue
        target = (page.parent / unquote(parts.path)).resolve()
        target = target / "index.html" if target.is_dir() else target
        place = f'id="{parts.fragment}"' if parts.fragment and target.suffix == ".html" else ""
        if not target.exists() or place not in target.read_text(encoding="utf-8", errors="replace"):
            dead.append(f"{page}: {link}")
    return dead


@pytest.mark.parametrize("link", ["nowhere.md", "index.md#nowhere", "index.md"])
def test_a_link_that_leads_nowhere_is_an_error(link: str, tmp_path: Path) -> None:
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    checks = "validation:" + settings.partition("validation:")[2].partition("nav:")[0]
    (tmp_path / "mkdocs.yml").write_text(f"site_name: x\n{checks}", encoding="utf-8")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# A\n\n[here]({link})\n", encoding="utf-8")
    assert built(tmp_path, tmp_path / "site").returncode == int(link != "index.md")
    assert "--strict" in MAKEFILE
    assert "--quiet --strict" not in MAKEFILE


def test_every_link_of_the_documentation_leads_somewhere(tmp_path: Path) -> None:
    """``make docs``, elsewhere: a missing page, file or anchor is an error."""
    done = built(ROOT, tmp_path)
    assert done.returncode == 0, done.stderr
    assert [found for page in tmp_path.rglob("*.html") for found in dead_links(page)] == []
    flat = re.compile(r"<p>(?:(?!</p>).)*^(?:\*|\d{1,2}\.) ", re.M | re.S)  # a list that is none
    pages = [
        page
        for page in tmp_path.rglob("*.html")
        if not {"distillation_page", "peers_page"} & {*page.parts}
    ]
    assert [page for page in pages if flat.search(page.read_text(encoding="utf-8"))] == []
    page = (tmp_path / "api" / "index.html").read_text(encoding="utf-8")
    assert "sentibench.predict.classifier.Classifier" in page
    contributing = (tmp_path / "contributing" / "index.html").read_text(encoding="utf-8")
    assert "Where code belongs" in contributing
    loaded = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?:[^"]+)"', page)
    assert loaded == []  # nothing from elsewhere


def test_sentences_are_short() -> None:
    """At most 25 words; code counts as one."""
    long: list[str] = []
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        if page.name in ("settings.md", "decisions.md"):  # generated; for developers
            continue
        text = re.sub(r"```.*?```|<!--.*?-->", "", page.read_text(encoding="utf-8"), flags=re.S)
        for block in re.split(r"\n\s*\n|\n(?=\s*(?:[*+-]|\d+\.)\s)|\n(?=[|#])|(?<= )\|", text):
            plain = re.sub(r"`[^`]*`", "code", re.sub(r"\]\([^)]*\)", "]", block))
            for sentence in re.split(r"(?<=[.:;?!])\)?\s+", " ".join(plain.split())):
                if len(re.findall(r"\S*\w\S*", sentence)) > 25:
                    long.append(f"{page.name}: {sentence}")
    assert long == []


def test_every_link_between_our_files_leads_somewhere() -> None:
    broken = [
        f"{path.relative_to(ROOT)}: {target}"
        for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
        if not target.startswith(("http:", "https:")) and not (path.parent / target).exists()
    ]
    assert broken == []

"""What mkdocs does to the pages before they are built.

Links to files outside docs/, to folders and to programs work where the repository is looked at. On
the site these are named instead. The tutorial, a script with cells, becomes a page. So do
CONTRIBUTING.md and CHANGELOG.md, which are beside docs/.
"""

import re
from pathlib import Path
from shutil import copy
from typing import Any, cast

import jupytext
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
BESIDE = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(r"\[([^\]]+)\]\(([^)#\s]+)(?:#[^)]*)?\)")
TUTORIAL = Path(__file__).with_name("tutorial.py")


def on_files(files: Any, config: Any) -> None:
    cells: Any = cast(Any, jupytext).read(TUTORIAL).cells
    parts = [
        cell.source if cell.cell_type == "markdown" else f"```python\n{cell.source}\n```"
        for cell in cells
    ]
    files.append(File.generated(config, "tutorial.md", content="\n\n".join(parts)))
    for name, page in BESIDE.items():
        text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
        text = text.replace("](tutorial.py)", "](tutorial.md)")
        files.append(File.generated(config, page, content=text))


def on_post_build(config: Any) -> None:
    """A results page links to its table in Markdown as a file; mkdocs would make it a page."""
    for page in ("distillation_page", "peers_page"):
        table = Path(page, "leaderboard.md")
        copy(Path(__file__).parent / table, Path(config["site_dir"]) / table)


def on_page_markdown(markdown: str, **_: Any) -> str:
    for name, page in {**BESIDE, "docs/tutorial.py": "tutorial.md"}.items():
        markdown = markdown.replace(f"](../{name}", f"]({page}")
    return LINK.sub(_named, markdown)


def _named(link: re.Match[str]) -> str:
    """A link as it is, or the name of what is no file of the site."""
    text, target = link[1], link[2]
    is_folder = (Path(__file__).parent / target).is_dir()
    is_absent = target.startswith("../") or is_folder or target.endswith(".py")
    if not is_absent or "://" in target:
        return link[0]
    name = target.removeprefix("../")
    return f"`{name}`" if text.strip("`") == name else f"{text} (`{name}`)"

"""What mkdocs does to the pages before they are built.

Links to files outside docs/ work where the repository is looked at. On the site such a file is
named instead. The tutorial, a script with cells, becomes a page. So do CONTRIBUTING.md and
CHANGELOG.md, which are beside docs/.
"""

import re
from pathlib import Path
from shutil import copy
from typing import Any, cast

import jupytext
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
BESIDE = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
OUTSIDE = re.compile(r"\[([^\]]+)\]\((\.\./[^)#]+)(?:#[^)]*)?\)")
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
        files.append(File.generated(config, page, content=text))


def on_post_build(config: Any) -> None:
    """The results page links to its table in Markdown as a file; mkdocs would make it a page."""
    table = Path("distillation_page", "leaderboard.md")
    copy(Path(__file__).parent / table, Path(config["site_dir"]) / table)


def on_page_markdown(markdown: str, **_: Any) -> str:
    for name, page in BESIDE.items():
        markdown = markdown.replace(f"](../{name}", f"]({page}")
    return OUTSIDE.sub(lambda link: f"{link[1]} (`{link[2].removeprefix('../')}`)", markdown)

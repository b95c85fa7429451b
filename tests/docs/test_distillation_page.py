"""The committed results page and the table beside it have the same figures."""

import json
import re
from pathlib import Path

import pytest
from documented import ROOT

from sentibench.data.cards import load_tasks

PAGE = ROOT / "docs" / "distillation_page"
PEERS = ROOT / "docs" / "peers_page"
NAMES = {
    "base": "SmolLM2-135M-Instruct",
    "KnowDist": "KnowDist",
    "ICLDist": "ICLDist",
    "mixed": "one mixed stage",
    "two-stage": "two stages",
}


TITLES = {t.card.title: name for name, t in load_tasks().items() if t.source == "real"}


def scores_of(folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Row -> task -> its official score and number of items."""
    board = json.loads((folder / "leaderboard.json").read_text(encoding="utf-8"))
    return {row["name"]: row["scores"]["official"] for row in board["rows"]}


def test_the_page_has_the_scores_of_the_table() -> None:
    text = (ROOT / "docs" / "distillation_results.md").read_text(encoding="utf-8")
    table = text.partition("## SmolLM2-135M-Instruct")[2].partition("| task |")[2]
    header, _, *rows = table.split("\n")
    columns = [cell.strip() for cell in header.split("|")][1:-1]
    scores = scores_of(PAGE)
    compared = 0
    for line in rows[: len(TITLES)]:
        title, n_items, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        task = TITLES[title.removesuffix(", seen")]
        for column, cell in zip(columns, cells, strict=True):
            found = scores[NAMES[column]][task]
            assert (f"{100 * found['value']:.1f}", found["n"]) == (cell, int(n_items)), (
                task,
                column,
            )
            compared += 1
    assert compared == 12 * len(NAMES)


def test_the_figures_of_the_readme_are_those_of_the_table() -> None:
    text = (ROOT / "docs" / "distillation_results.md").read_text(encoding="utf-8")
    text = text.partition("## SmolLM2-135M-Instruct")[2].partition("\n## ")[0]
    (row,) = (line for line in text.split("\n") if line.startswith("| two-stage minus base | **+8"))
    figures = re.findall(r"\*\*\+([\d.]+) \(\+([\d.]+) to \+([\d.]+)\)", row)[:2]
    readme = (ROOT / "README.md").read_text(encoding="utf-8").partition("What a student gains:")[2]
    readme = readme.partition("\n\n")[0].replace("95% interval ", "")
    assert (
        re.findall(r"([\d.]+) (?:points )?on the \w+ [^(]*\(([\d.]+) to ([\d.]+)\)", readme)
        == figures
    )
    (means,) = (line for line in text.split("\n") if line.startswith("| mean of all | | **32"))
    base, *_, two_stage = re.findall(r"\*\*([\d.]+)\*\*", means)
    assert f"from {base} to {two_stage} of 100" in readme


def test_the_page_of_peers_has_the_scores_of_its_table() -> None:
    text = (ROOT / "docs" / "peers.md").read_text(encoding="utf-8").partition("### The same")[2]
    header, _, *rows = text.partition("| dataset |")[2].split("\n")
    columns = [cell.strip() for cell in header.split("|")][:-1]
    names = {
        "base": "base",
        "soft": "two-stage-soft",
        "majority": "Majority",
        "VADER": "VADER",
        "probe, teacher's labels": "Probe, labels of a teacher",
        "probe, equally many gold labels": "Probe, as few gold labels",
        "probe, 1,000 gold labels": "Probe, gold labels",
    }
    assert set(columns) == {"items", "two-stage", *names}
    scores = scores_of(PEERS)
    compared = 0
    for line in rows[:8]:
        title, n_items, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        for column, cell in zip(columns[1:], cells, strict=True):
            # the page has the mean of three seeds for base and two-stage
            if cell and column not in ("base", "two-stage"):
                found = scores[names[column]][TITLES[title]]
                assert (f"{100 * found['value']:.1f}", found["n"]) == (cell, int(n_items))
                compared += 1
    assert compared == 38


@pytest.mark.parametrize("folder", [PAGE, PEERS], ids=lambda folder: folder.name)
def test_the_page_has_no_text_of_a_dataset_and_no_folder_of_a_machine(folder: Path) -> None:
    pages = sorted(folder.iterdir())
    assert len(pages) == 7
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"(/|__)(tmp|work|home|root|mnt)(/|__)", text), page.name
    board = json.loads((folder / "leaderboard.json").read_text(encoding="utf-8"))
    assert '"text"' not in json.dumps(board)

"""The tutorial and the demonstration that it uses: recorded answers to all of their requests."""

from pathlib import Path

import pytest

from distill.__main__ import main
from sentibench.remote.store import Store

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "docs" / "distill_demo"


def test_every_answer_of_the_recording_is_asked_for_and_none_is_missing(
    tiny_student, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(ROOT)
    config = str(DEMO / "demo.yaml")
    settings = [f"student={tiny_student}", f"out={tmp_path}"]
    assert main(["generate", config, *settings]) == 0
    said = capsys.readouterr()
    assert "not recorded" not in said.out + said.err
    with Store.read(DEMO / "answers") as recorded:
        n_recorded = len(recorded)
    (copied,) = (tmp_path / "answers").iterdir()
    with Store.read(copied) as asked:
        assert len(asked) == n_recorded


@pytest.mark.slow
def test_the_tutorial_runs_from_texts_to_a_page(tiny_student, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    source = (ROOT / "docs" / "tutorial.py").read_text(encoding="utf-8")
    for line, other in (
        ('STUDENT = ".demo/SmolLM2-135M-Instruct"', f"STUDENT = {str(tiny_student)!r}"),
        ('OUT = Path(".demo/tutorial")', f"OUT = Path({str(tmp_path)!r})"),
    ):
        assert line in source
        source = source.replace(line, other)
    exec(compile(source, "tutorial.py", "exec"), {"__name__": "__main__"})
    said = capsys.readouterr().out
    assert "icldist-filter: " in said
    assert (tmp_path / "site" / "index.html").is_file()
    assert (tmp_path / "demo" / "report.html").is_file()
    assert "probability" in said.partition("sentibench_mini_irony18")[2]  # of the two sentences

"""Two runs side by side: settings, and scores on the items that both answered."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from test_comparison import ERRORS, GOLD, labels, with_errors, write

from distill.__main__ import main
from distill.report.two_runs import compare_runs
from sentibench.errors import InputError

TASKS = ("sentibench_sst2", "sentibench_irony18")


def run_folder(folder: Path, raw: dict[str, Any], n: int = 200, first: int = 0) -> Path:
    """A run whose stages answered n items; the share of errors is that of ``ERRORS``."""
    results = folder / "results"
    names = {"base": "tiny-base", "teacher": "large"}
    raw["models"] = {"org/large": {"name": "large", "role": "teacher"}}
    raw["models"]["org/tiny-base"] = {"name": "tiny-base"}
    for stage in raw["stages"]:
        names[stage] = f"{raw['name']}-{stage}"
        raw["models"][f"/x/{stage}"] = {"name": names[stage], "role": "student"}
    for model, name in names.items():
        for task in TASKS:
            rows = labels(task, GOLD, with_errors(GOLD, ERRORS[model]))[first : first + n]
            write(results / name, task, rows)
    (results / "run.json").write_text(json.dumps(raw), encoding="utf-8")
    return folder


def test_settings_and_paired_differences_are_shown(tmp_path: Path, raw: dict[str, Any]) -> None:
    a = run_folder(tmp_path / "a", raw)
    raw["stages"] = ["knowdist"]
    raw["scores"].pop("icldist")
    raw["config"]["icldist"] = None
    raw["config"]["seed"] = 7
    b = run_folder(tmp_path / "b", raw)
    lines = list(compare_runs(a, b))
    assert any(line.split() == ["seed", "42", "->", "7"] for line in lines)
    assert any(line.startswith("  icldist.samples ") for line in lines)
    assert not any(line.startswith("  name ") for line in lines)
    # by hand: ICLDist errs on 50 of 200 items, KnowDist on 75; both labels alike
    last = [line for line in lines if line.startswith("  KnowDist - ICLDist")]
    assert [line.split()[3] for line in last] == ["SST2", "Irony18", "mean"]
    found = re.search(
        r"mean of 2 tasks +400 items +75.0 +62.5 +\[−12.5 \(−(.+) to −(.+)\)\]", last[2]
    )
    assert found
    assert float(found[1]) > 12.5 > float(found[2]) > 5
    same = [line for line in lines if line.startswith("  Base ")]
    assert len(same) == 3
    assert all(line.endswith("[+0.0 (+0.0 to +0.0)]") for line in same)


def test_only_items_that_both_answered_count(tmp_path: Path, raw: dict[str, Any]) -> None:
    a = run_folder(tmp_path / "a", raw, n=120)
    b = run_folder(tmp_path / "b", raw, first=80, n=120)
    lines = list(compare_runs(a / "results", b))
    of_base = [line for line in lines if line.startswith("  Base ")]
    assert [line.split("items")[0].split()[-1] for line in of_base] == ["40", "40", "80"]
    assert "  none" in lines


def test_runs_without_a_shared_item_are_refused(tmp_path: Path, raw, capsys) -> None:
    a = run_folder(tmp_path / "a", raw, n=50)
    b = run_folder(tmp_path / "b", raw, first=100, n=50)
    assert main(["compare", str(a), str(b)]) == 2
    shown = capsys.readouterr()
    assert "no two models of them answered the same items" in shown.err
    assert (shown.out, shown.err.count("\n")) == ("", 1)


def test_a_folder_that_is_no_run_is_named(tmp_path: Path, raw: dict[str, Any]) -> None:
    a = run_folder(tmp_path / "a", raw)
    with pytest.raises(InputError, match=r"none: no results of a run; expected run\.json"):
        list(compare_runs(a, tmp_path / "none"))
    (a / "earlier" / "0123456789ab").mkdir(parents=True)
    with pytest.raises(InputError, match="did you mean '0123456789ab'"):
        list(compare_runs(a, a / "earlier" / "0123456789ac"))


def test_a_hostile_manifest_reads_no_other_folder_and_obeys_no_terminal(
    tmp_path: Path, raw: dict[str, Any], capsys
) -> None:
    a = run_folder(tmp_path / "a", raw)
    raw["models"] = {"x": {"name": "../../a/results/tiny-base"}}
    (tmp_path / "b" / "results").mkdir(parents=True)
    (tmp_path / "b" / "results" / "run.json").write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(InputError, match="no two models"):
        list(compare_runs(a, tmp_path / "b"))
    raw = json.loads((a / "results" / "run.json").read_text())
    raw["config"]["student"] = "\x1b[31mred\u202e"
    c = run_folder(tmp_path / "c", raw)
    assert main(["compare", str(a), str(c)]) == 0
    shown = capsys.readouterr().out
    assert "red" in shown
    assert not {"\x1b", "\u202e"} & set(shown)

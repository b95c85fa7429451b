"""Every preset is a configuration, the paper's holds the published numbers."""

from pathlib import Path
from typing import Any

import pytest

from distill.__main__ import main
from distill.config import load_config
from distill.presets import ABLATIONS, descriptions, write_preset


def loaded(name: str, folder: Path):
    write_preset(name, folder / f"{name}.yaml")
    return load_config(folder / f"{name}.yaml")


@pytest.mark.parametrize("name", descriptions())
def test_every_preset_is_a_configuration(name: str, tmp_path: Path) -> None:
    assert loaded(name, tmp_path).name == name


def test_the_paper_preset_holds_the_published_settings(tmp_path: Path) -> None:
    run = loaded("paper", tmp_path)
    assert run.knowdist
    assert run.icldist
    assert run.knowdist.samples == 1_000_000
    assert run.icldist.samples * run.icldist.other_tasks == 100_000
    assert run.icldist.samples * (1 - run.icldist.other_tasks) == 400_000
    published = {
        "knowdist": (128, 5e-6, 4, "cosine", 0.01, 0.1, (0.9, 0.95)),
        "icldist": (128, 1e-5, 4, "linear", 0.02, 0.01, (0.9, 0.999)),
    }
    for stage, expected in published.items():
        t = getattr(run, stage).training
        assert t.method == "full"
        found = (t.batch_size, t.learning_rate, t.epochs, t.schedule, t.warmup_share)
        assert (*found, t.weight_decay, t.betas) == expected


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_differs_from_cpu_in_what_it_says(name: str, tmp_path: Path) -> None:
    def flat(value: Any, where: str = "") -> dict[str, Any]:
        if not isinstance(value, dict):
            return {where: value}
        return {
            key: found
            for name, below in value.items()
            for key, found in flat(below, f"{where}.{name}".lstrip(".")).items()
        }

    cpu, other = (flat(loaded(n, tmp_path).model_dump(mode="json")) for n in ("cpu", name))
    differing = {key for key in cpu.keys() | other.keys() if cpu.get(key) != other.get(key)}
    changed = tuple(ABLATIONS[name][1])
    assert all(key == "name" or key.startswith(changed) for key in differing)
    assert all(any(key.startswith(change) for key in differing) for change in changed)


def test_init_writes_a_new_file_and_never_another(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "cpu"]) == 0
    assert load_config(tmp_path / "cpu.yaml").student.endswith("SmolLM2-135M-Instruct")
    (tmp_path / "cpu.yaml").write_text("mine")
    assert main(["init", "cpu"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "cpu.yaml").read_text() == "mine"
    assert main(["init", "cpuu", str(tmp_path / "x.yaml")]) == 2
    assert "did you mean 'cpu'?" in capsys.readouterr().err
    assert not (tmp_path / "x.yaml").exists()
    assert main(["init"]) == 0
    shown = capsys.readouterr().out
    assert all(f"{name} " in shown for name in descriptions())

"""Every preset is a configuration, the paper's holds the published numbers."""

from importlib import resources
from pathlib import Path

import pytest
from pydantic import TypeAdapter
from whole_lists import build_requests

from distill.__main__ import main
from distill.config import TeacherConfig, load_config
from distill.errors import ConfigError
from distill.presets import ABLATIONS, descriptions, preset, teacher_named, write_preset
from distill.prompts.icldist import coverage
from distill.run.data import read_texts
from distill.run.graph import build_steps
from distill.run.stages import StageName


def loaded(name: str, folder: Path):
    write_preset(name, folder / f"{name}.yaml")
    return load_config(folder / f"{name}.yaml")


@pytest.mark.parametrize("name", [name for name in descriptions() if name != "own"])
def test_every_preset_is_a_configuration(name: str, tmp_path: Path) -> None:
    assert loaded(name, tmp_path).name == name


def test_the_documentation_has_every_preset() -> None:
    page = Path(__file__).parents[2] / "docs" / "distillation.md"
    recipes = page.read_text(encoding="utf-8").partition("### Recipes")[2].partition("\n### ")[0]
    assert [name for name in descriptions() if f"`{name}`" not in recipes] == []


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


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("ablation-knowdist-only", ["icldist=null"]),
        ("ablation-icldist-only", ["knowdist=null"]),
        ("ablation-mixed", ["mixed=true"]),
        ("ablation-no-perspectives", ["knowdist.perspectives=[]"]),
        (
            "ablation-no-diversification",
            [
                "icldist.label_words=false",
                "icldist.taxonomies=false",
                "icldist.instructions=[full]",
                "icldist.other_tasks=0",
            ],
        ),
    ],
)
def test_an_ablation_differs_from_cpu_in_what_it_says(
    name: str, changes: list[str], tmp_path: Path
) -> None:
    assert name in ABLATIONS
    ablation, cpu = loaded(name, tmp_path), loaded("cpu", tmp_path)
    assert ablation == load_config(tmp_path / "cpu.yaml", [f"name={name}", *changes])
    for change in changes:  # none of them is in cpu already
        assert load_config(tmp_path / "cpu.yaml", [change]) != cpu
    first = (tmp_path / f"{name}.yaml").read_text().split("\n", 1)[0]
    assert first == f"# The preset cpu, but {ABLATIONS[name]['what']}."


@pytest.mark.parametrize("name", ["cpu", *ABLATIONS])
def test_every_question_of_an_ablation_can_be_asked(name: str, tmp_path: Path) -> None:
    write_preset(name, tmp_path / "run.yaml")
    texts = "texts=[{dataset: sst2, mini: true}, {dataset: emotion20, mini: true}]"
    run = load_config(tmp_path / "run.yaml", [texts, f"out={tmp_path / 'runs'}"])
    steps = build_steps(run)
    steps["texts"].do()
    stages: list[StageName] = [s for s in ("knowdist", "icldist") if getattr(run, s)]
    texts = read_texts(steps["texts"].folder)
    requests = [request for stage in stages for request in build_requests(run, stage, texts, None)]
    assert len(requests) > 100
    if name == "ablation-no-perspectives":
        views = {r.meta["perspective"] for r in requests if "perspective" in r.meta}
        assert views == {""}
    if name == "ablation-no-diversification":
        axes = coverage(r for r in requests if "taxonomy" in r.meta)
        assert set(axes["taxonomy"]) <= {"sentiment_3", "emotion_4"}
        assert set(axes["instruction"]) == {"full"}
        assert set(axes["family"]) <= {"sentiment", "emotion"}


def test_the_presets_are_in_the_package() -> None:
    shipped = {path.name for path in resources.files("distill.presets").iterdir()}
    assert {"cpu.yaml", "paper.yaml", "single-gpu-lora.yaml"} <= shipped
    assert len(descriptions()) == 4 + len(ABLATIONS) == 9
    assert all("\n" not in line and len(line) < 120 for line in descriptions().values())


def test_what_the_paper_leaves_open_is_marked() -> None:
    lines = preset("paper").splitlines()
    marked = {line.split(":")[0].strip() for line in lines if "not published" in line}
    ours = {"response_tokens", "temperature", "precision", "max_length", "batch_tokens", "shots"}
    assert ours <= marked
    published = {"batch_size", "learning_rate", "epochs", "schedule", "warmup_share"}
    assert not marked & (published | {"weight_decay", "betas", "samples"})


def test_the_gpu_preset_is_lora_in_bfloat16(tmp_path: Path) -> None:
    run = loaded("single-gpu-lora", tmp_path)
    assert run.knowdist
    assert run.icldist
    for training in (run.knowdist.training, run.icldist.training):
        assert (training.method, training.lora.r, training.precision) == ("lora", 16, "bfloat16")
        assert 1e-4 <= training.learning_rate <= 3e-4


def test_init_writes_a_new_file_and_never_another(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "cpu"]) == 0
    assert load_config(tmp_path / "cpu.yaml").student.endswith("SmolLM2-135M-Instruct")
    (tmp_path / "cpu.yaml").write_text("mine")
    assert main(["init", "cpu"]) == 2
    assert "already exists" in capsys.readouterr().err
    assert (tmp_path / "cpu.yaml").read_text() == "mine"
    assert main(["init", "cpuu", str(tmp_path / "x.yaml")]) == 2
    assert "did you mean 'cpu'?" in capsys.readouterr().err
    assert not (tmp_path / "x.yaml").exists()
    for arguments in (["init"], ["init", "--list"], ["init", "cpu", "--list"]):
        assert main(arguments) == 0
        shown = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in shown] == list(descriptions())
    assert main(["init", "cpu", str(tmp_path / "no" / "folder.yaml")]) == 2
    error = capsys.readouterr().err
    assert "cannot be written" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "given", [["--teacher", "openai:m@http://h/v1"], ["--task", "mine"], ["--texts", "t.csv"]]
)
def test_what_a_preset_would_not_use_is_refused(given, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "cpu", "cpu.yaml", *given]) == 2
    assert f"init {given[0]}: got the preset cpu, expected own" in capsys.readouterr().err
    assert not (tmp_path / "cpu.yaml").exists()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("openai:a/m@http://h:1/v1", {"backend": "openai", "model": "a/m"}),
        ("systemone:m@http://h:1/v1", {"backend": "decisions", "dialect": "systemone"}),
        ("decisions:m@http://h:1/v1", {"backend": "decisions", "dialect": "decisions"}),
        ("hf:folder", {"backend": "hf", "model": "folder"}),
        ("replay:store", {"backend": "replay", "store": Path("store")}),
    ],
)
def test_a_teacher_is_named_in_one_word(said: str, expected: dict) -> None:
    teacher = TypeAdapter(TeacherConfig).validate_python(teacher_named(said), strict=False)
    assert expected.items() <= teacher.model_dump().items()


@pytest.mark.parametrize("said", ["systemone:m", "decision:m@http://h", "openai:@http://h", "hf:"])
def test_a_teacher_in_no_such_form_is_refused(said: str) -> None:
    with pytest.raises(ConfigError, match="or DIALECT:MODEL@URL with one of systemone, decisions"):
        teacher_named(said)


def test_init_own_names_own_tasks_or_how_one_is_made(desk, capsys) -> None:
    assert main(["init", "own", "--task", "nosuch", "--texts", "t.csv"]) == 2
    said = capsys.readouterr().err
    assert "no card in ./sentibench_tasks or SENTIBENCH_TASKS" in said
    assert "sentibench task new NAME --test TABLE" in said
    assert "sentibench_sst2" not in said

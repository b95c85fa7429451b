"""What models.yaml asks for."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from sentibench.errors import InputError
from sentibench.many.plan import DONE, Many, Model, read_plan, units_of
from sentibench.many.run import _write_name

TASK = "sentibench_mini_sst2"


def written(folder: Path, **content) -> Path:
    path = folder / "models.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({}, "models"),
        ({"models": []}, "models"),
        ({"models": ["a"], "seed": [1]}, "seed: unknown key; known: models, tasks, seeds"),
        ({"models": [{"pretrained": "a"}]}, "models.0.pretrained: unknown key; known: name, model"),
        ({"models": ["x/a", "y/a"]}, "got the name 'a' twice"),
        ({"models": [{"name": "../a"}]}, "models.0.name"),
        ({"models": [".."]}, "models.0.name"),
        ({"models": ["."]}, "models.0.name"),
        ({"models": [{"adapters": ["../.."]}]}, "name"),
        ({"models": [{"args": "pretrained=a,dtype=float32"}]}, "models.0.args"),
        ({"models": [{"name": "b", "adapters": ["a"]}]}, "named after their folders"),
        ({"models": ["a"], "seeds": [1, 2, 1]}, "seeds: got [1, 2, 1], expected each seed once"),
        ({"models": ["a"], "limit": 0}, "limit: "),
        ({"models": ["a"], "workers": 0}, "workers: "),
    ],
)
def test_a_wrong_plan_is_one_clear_line(content, told, tmp_path) -> None:
    path = written(tmp_path, **content)
    with pytest.raises(InputError) as error:
        read_plan(path)
    assert str(path) in str(error.value)
    assert told in str(error.value)
    assert ("known" in str(error.value)) == ("known" in told)
    assert "\n" not in str(error.value)


def test_options_override_the_plan_and_are_checked_like_it(tmp_path) -> None:
    path = written(tmp_path, models=["a"], workers=3)
    assert read_plan(path, {"workers": 2, "out": tmp_path}).n_workers == 2
    with pytest.raises(InputError, match="workers"):
        read_plan(path, {"workers": 0})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"models: [", "not a YAML file"),
        (b"\xff\xfe\x00", "not a YAML file"),
        (b"- a", "got no keys, expected some of models, tasks"),
        (b"models: [a]\nmodels: [b]", "occurs twice"),
        (b"models: [a]\nseeds: [!!int b]", "got 'b', expected a YAML int"),
    ],
)
def test_a_file_that_is_no_plan_is_refused(content, told, tmp_path) -> None:
    path = tmp_path / "models.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"models\.yaml: .*{told}"):
        read_plan(path)


def test_a_plan_that_is_not_there_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_plan(tmp_path / "models.yaml")


def test_a_model_is_called_after_its_checkpoint() -> None:
    given = ["a/b", {"model": "openai", "args": {"model": "gpt"}}, {"name": "c", "model": "hf"}]
    many = Many.model_validate({"models": given})
    assert [model.name for model in many.models] == ["b", "gpt", "c"]
    assert [model.model for model in many.models] == ["sentibench-hf", "openai", "hf"]


def test_each_adapter_of_a_base_is_a_model() -> None:
    given = {"args": {"pretrained": "x/base", "dtype": "bfloat16"}, "adapters": ["y/a", "y/b"]}
    many = Many.model_validate({"models": [given, "x/base"]})
    assert [model.name for model in many.models] == ["a", "b", "base"]
    assert [model.args.get("peft") for model in many.models] == ["y/a", "y/b", None]
    first, second, base = many.models
    assert first.base == second.base != base.base


def test_units_are_every_model_task_and_seed(tmp_path) -> None:
    many = Many(models=("a", "b"), tasks=("sentibench_mini",), seeds=(1, 2), limit=3,
                limits={TASK: 2}, out=tmp_path)  # fmt: skip
    units = units_of(many)
    assert len(units) == 2 * 12 * 2
    assert len({unit.folder for unit in units}) == len(units)
    assert {unit.limit for unit in units if unit.task == TASK} == {2}
    assert {unit.limit for unit in units if unit.task != TASK} == {3}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"tasks": ("sst2",)}, "unknown sst2"),
        ({"limits": {"sentibench_imdb": 2}}, "sentibench_imdb is not a task of this plan"),
        ({"models": ("./nothing",)}, "run-many: nothing: nothing: no such file"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_any_work(wrong, told) -> None:
    given = {"models": ("a",), "tasks": (TASK,)} | wrong
    with pytest.raises(InputError, match=told):
        units_of(Many(**given))


def test_other_settings_or_weights_are_another_measurement(
    checkpoint, tmp_path, monkeypatch
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    multiplies = torch.cpu._is_avx512_bf16_supported()
    copy = tmp_path / "model"
    shutil.copytree(checkpoint, copy)

    def unit(**changed):
        given = {"models": (str(copy),), "tasks": (TASK,), "out": tmp_path / "out"}
        return units_of(Many(**given | changed))[0]

    first = unit()
    assert not first.is_done
    first.folder.mkdir(parents=True)
    (first.folder / DONE).write_text(first.identity)
    assert unit().is_done
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: not multiplies)
    assert not unit().is_done  # auto is another type there
    monkeypatch.undo()
    assert not unit(limit=2).is_done
    half = {"name": "model", "args": {"pretrained": str(copy), "dtype": "bfloat16"}}
    assert not unit(models=(half,)).is_done
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert not unit().is_done


@pytest.mark.parametrize(
    "args",
    [
        {"pretrained": "base"},
        {"pretrained": "base", "peft": "adapter"},
        {"pretrained": "base", "delta": "delta", "peft": "adapter"},
        {"model": "served", "base_url": "http://localhost"},
        {"path": "nemo"},
        {"engine": "engine"},
    ],
)
def test_a_model_is_known_as_lm_eval_calls_it(args: dict[str, str]) -> None:
    from lm_eval.loggers.evaluation_tracker import GeneralConfigTracker

    model = Model(name="shown", args=args)
    assert model.known_as == GeneralConfigTracker._get_model_name(args)


def test_facts_in_run_json_are_kept_and_a_broken_one_is_told(tmp_path: Path) -> None:
    model, path = Model(name="shown", args={"pretrained": "m"}), tmp_path / "shown" / "run.json"
    _write_name(path.parent, model)
    assert json.loads(path.read_text()) == {"models": {"m": {"name": "shown"}}}
    facts = {"models": {"m": {"name": "mine", "role": "student"}}, "other": 1}
    path.write_text(json.dumps(facts))
    _write_name(path.parent, model)
    assert json.loads(path.read_text()) == facts
    for broken in ("[]", "{", '{"models": 1}'):
        path.write_text(broken)
        with pytest.raises(InputError, match="expected a JSON object"):
            _write_name(path.parent, model)

"""``run.json``: one form, which is written, described by a schema, and read."""

import json
from pathlib import Path
from typing import Any

import pytest
from small_manifest import manifest, step

from distill.__main__ import main
from distill.files import write_json
from distill.report.manifest import ModelFacts, Summary, load_manifest
from sentibench.errors import InputError

SCHEMA = Path(__file__).parents[3] / "docs" / "run.schema.json"


def test_the_schema_in_the_documentation_is_that_of_the_code(capsys) -> None:
    assert main(["schema"]) == 0
    assert SCHEMA.read_text(encoding="utf-8") == capsys.readouterr().out


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path, raw: dict[str, Any]) -> None:
    written = manifest(raw)
    write_json(tmp_path / "run.json", written.model_dump(mode="json"))
    assert load_manifest(tmp_path / "run.json") == written
    content = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert list(content) == list(json.loads(SCHEMA.read_text(encoding="utf-8"))["properties"])
    assert content["scores"] == raw["scores"]
    assert content["config"]["seed"] == 42  # every default is filled in


def test_a_manifest_fits_the_schema(raw: dict[str, Any]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    content = manifest(raw).model_dump(mode="json")
    assert [error.message for error in validator.iter_errors(content)] == []
    del content["teacher"]["name"]
    assert len(list(validator.iter_errors(content))) == 1


def test_steps_and_models_are_written_without_what_they_lack() -> None:
    assert Summary(kept=3, of=4).model_dump() == {"kept": 3, "of": 4}
    given = {"kept": None, "own": [1], "steps": 2}
    assert Summary.model_validate(given).model_dump() == given
    assert Summary.model_validate(given).figures() == {"kept": None, "steps": 2}
    assert ModelFacts(name="m", role="teacher").model_dump() == {"name": "m", "role": "teacher"}


@pytest.mark.parametrize("unknown", ["N/A", None, float("nan"), float("inf")])
def test_a_standard_error_that_is_no_number_is_none(raw: dict[str, Any], unknown: Any) -> None:
    raw["scores"]["base"]["sentibench_sst2"] = [0.5, unknown]
    score = manifest(raw).scores["base"]["sentibench_sst2"]
    assert score == (0.5, None)


@pytest.mark.parametrize("losses", [(None, 2.0), (3.0, float("nan")), (3.0, None)])
def test_losses_are_known_together_or_not_at_all(losses: tuple[Any, Any]) -> None:
    first, last = losses
    given = Summary(first_loss_nats_per_token=first, last_loss_nats_per_token=last)
    assert given.losses is None


def test_the_filtered_stages_of_a_mixed_run_are_both(raw: dict[str, Any]) -> None:
    assert manifest(raw).sources == ("knowdist", "icldist")
    raw["stages"] = ["icldist"]
    raw["scores"] = {"base": {}}
    assert manifest(raw).sources == ("icldist",)
    raw["stages"] = ["mixed"]
    assert manifest(raw).sources == ("knowdist", "icldist")


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda m: m.pop("teacher"), "teacher: Field required"),
        (lambda m: m.update(stages=["knowdist", "first"]), "stages.1: Input should be 'knowdist'"),
        (lambda m: m.update(stages=[]), "stages: Tuple should have at least 1 item"),
        (lambda m: m["steps"].update(texts=step(texts="many")), "steps.texts.summary.texts: "),
        (lambda m: m.update(comparison=7), "comparison: Input should be an object"),
        (lambda m: m["config"].update(sampels=3), "config: unknown key"),
        (lambda m: m["config"].update({"two\nlines": 3}), "config: unknown key"),
        (lambda m: m["scores"].update(other={}), "scores: other: no model of this run"),
    ],
)
def test_a_file_of_another_form_is_one_clear_error(
    tmp_path: Path, raw: dict[str, Any], change, place: str
) -> None:
    change(raw)
    path = tmp_path / "run.json"
    path.write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(InputError) as error:
        load_manifest(path)
    message = str(error.value)
    assert message.startswith(f"{path}: no manifest of a run; ")
    assert place in message
    assert "\n" not in message


def test_a_file_that_is_torn_or_not_there_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    with pytest.raises(InputError, match="cannot be read; No such file"):
        load_manifest(path)
    path.write_text('{"name": "small"', encoding="utf-8")
    with pytest.raises(InputError, match="no manifest of a run; the file: Invalid JSON"):
        load_manifest(path)

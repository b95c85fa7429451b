"""A configuration is refused with one line that names the place and the remedy."""

from pathlib import Path

import pytest

from distill.config import load_config, save_config
from distill.errors import ConfigError

GOOD = """
name: small
student: some/student
teacher: {backend: hf, model: some/teacher}
texts: [{dataset: sst2}]
icldist: {samples: 10}
"""

MISTAKES = [
    (
        "icldist.training.lerning_rate=0.1",
        "'icldist.training.lerning_rate=0.1': icldist.training: unknown key 'lerning_rate'",
    ),
    ("icldist.training.lerning_rate=0.1", "did you mean 'learning_rate'?"),
    ("icldist.training.learning_rate='1e-4x'", "icldist.training.learning_rate: input should be"),
    ("icldist.training.learning_rate='0,1e-4'", "valid number; got '0,1e-4' (text)"),
    ("icldist.training.learning_rate='0.1'", "valid number; got '0.1' (text)"),
    (
        "icldist.training.learning_rate=.nan",
        "icldist.training.learning_rate: input should be a f",
    ),
    (
        "icldist.training.learning_rate=true",
        "icldist.training.learning_rate: input should be a v",
    ),
    ("icldist.samples='12'", "icldist.samples: input should be a valid integer; got '12' (text)"),
    ("icldist.samples=12.0", "icldist.samples: input should be a valid integer; got 12.0"),
    ("icldist.samples=1e2", "icldist.samples: input should be a valid integer; got '1e2' (text)"),
    ("mixed='no'", "mixed: input should be a valid boolean; got 'no' (text)"),
    ("mixed=0", "mixed: input should be a valid boolean; got 0"),
    ("student=12", "'student=12': student: input should be a valid string; got 12; put it in"),
    ("evaluation.tasks=sentibench", "evaluation.tasks: input should be a valid array"),
    ("evaluation={2024-01-01: 3}", "a value that no setting can have; got keys must be"),
    ("name=2026-01-01", "a value that no setting can have; got Object of type date"),
    ("student=!!binary aGk=", "a value that no setting can have; got Object of type bytes"),
    ("texts=[{file: a.csv, label_column: l, labels: {no: negative}}]", "key 'no' is read as"),
    ("texts=&a [*a]", "a value that no setting can have; got Circular"),
    ("icldist.training.learning_rate=-1", "greater than 0; got -1"),
    (
        "teacher.backend=gpt",
        "'teacher.backend=gpt': teacher.backend: unknown name 'gpt'; known: hf",
    ),
    ("teacher.backend=opeanai", "unknown name 'opeanai'; did you mean 'openai'? known: hf, vllm"),
    (
        "teacher={bakend: hf}",
        "backend: field required; unknown key 'bakend'; did you mean 'backend'?",
    ),
    ("teacher.modell=x", "teacher: unknown key 'modell'; did you mean 'model'?"),
    ("texts=[]", "texts: tuple should have at least 1 item"),
    ("texts=[{dataset: sst3}]", "texts.0: dataset: unknown name 'sst3'; did you mean 'sst2'?"),
    (
        "texts=[{dataset: sst2, file: a.txt}]",
        "exactly one of dataset, file, folder, hub; got dataset and file",
    ),
    ("texts=[{dataset: sst2}, {dataset: sst2}]", "texts: got the name sst2 for more than one"),
    ("texts=[{}]", "exactly one of dataset, file, folder, hub; got none"),
    ("icldist=null", "nothing to do; add a section knowdist, icldist or both"),
    ("name=../up", "name: string should match pattern"),
    ("knowdist.families=[praising]", "knowdist.families.0: input should be 'analysing'"),
    ("icldist.samples=many", "icldist.samples: input should be a valid integer"),
    ("seed", "got 'seed', expected section.key=value"),
    ("seed=-1", "seed: input should be greater than or equal to 0"),
    ("icldist.shots=[]", "icldist.shots: tuple should have at least 1 item"),
    ("icldist.shots=[-1]", "icldist.shots.0: input should be greater than or equal to 0"),
    ("icldist.training.betas=[0.9, 2]", "betas.1: input should be less than 1"),
    ("hf=1", "'hf=1': unknown key 'hf'"),
    ("texts=[{file: a.jsonl, mini: true}]", "mini: got no dataset, which mini needs"),
    (
        "teacher={backend: openai, model: m, base_url: 'http://u:p@h/v1'}",
        "teacher.base_url: expected http(s)://host/v1 without user, password and query",
    ),
    (
        "teacher={backend: openai, model: m, base_url: 'http://h/v1?key=SECRET'}",
        "teacher.base_url: expected http(s)://host/v1 without user, password and query",
    ),
    *(
        (
            f"teacher={{backend: openai, model: m, base_url: '{base_url}'}}",
            "teacher.base_url: expected http(s)://host/v1",
        )
        for base_url in (
            *("", "localhost:8000/v1", "ftp://host/v1", "http:///v1"),
            *("http://h:p/v1", "http://[::1/v1", "http://host/v1#part", "http://ho st/v1"),
        )
    ),
    ("texts=[{dataset: sst2, count: 1, count: 2}]", "key 'count' occurs twice"),
    ("texts=[{file: a.csv, labels: {5: positive}}]", "labels: got no label_column"),
    ("texts=[{file: a.csv, column: ''}]", "texts.0.column: string should have at least 1"),
    ("texts=[{hub: '../up'}]", "texts.0.hub: string should match pattern"),
    ("texts=[{hub: a/b, delimiter: ';'}]", "texts.0: delimiter: not used with hub"),
    ("mixed=true", "mixed: got true for one stage"),
    ("seed=2024-13-45", "got '2024-13-45', expected a YAML timestamp (month must be in 1..12)"),
    ("seed=!!int 'abc'", "got 'abc', expected a YAML int (invalid literal"),
    ("seed=!!bool abc", "the value is not valid YAML; got 'abc', expected a YAML bool in"),
    ("seed=!!timestamp [1]", "the value is not valid YAML; expected a scalar node"),
    ("seed=" + "[" * 5000, "the value is not valid YAML; nested too deeply"),
    ("texts=[{dataset: sst2, split: test}]", "texts.0: split: not used with dataset"),
    ("texts=[{dataset: sst2, label_column: l}]", "texts.0: label_column: not used with dataset"),
    ("texts=[{file: a.csv, split: test}]", "texts.0: split: not used with file"),
    ("seed=[", "'seed=[': the value is not valid YAML"),
    ("student.size=3", "got the value 'some/student' for student, expected a section"),
    (
        "asking={engine: ray, workers: [4, 1]}",
        "asking: workers: got [4, 1]; expected the smaller number first",
    ),
    ("asking.engine=spark", "asking.engine: input should be 'local' or 'ray'; got 'spark'"),
    (
        "asking.address=ray://head:10001",
        "asking.address: got 'ray://head:10001'; expected HOST:PORT, auto or local; an address",
    ),
]


def written(folder: Path, text: str = GOOD) -> Path:
    path = folder / "small.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(("override", "message"), MISTAKES)
def test_a_mistake_is_named_with_its_place(override: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config(written(tmp_path), [override])
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_mistake_is_blamed_on_the_file_or_on_the_override_that_made_it(tmp_path: Path) -> None:
    def message(text: str, *overrides: str) -> str:
        with pytest.raises(ConfigError) as refused:
            load_config(written(tmp_path, text), overrides)
        return str(refused.value)

    broken = GOOD.replace("samples: 10", "samples: 0")
    assert message(GOOD, "seed=3", "icldist.samples=0").startswith("'icldist.samples=0': icldist.")
    assert message(broken, "seed=3").startswith("small.yaml: icldist.samples: ")
    assert message(broken, "icldist.samples=-1").startswith("'icldist.samples=-1': ")
    # a mistake of the file that an override takes back is none
    assert load_config(written(tmp_path, broken), ["icldist.samples=5"]).icldist


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("student:", "studnet:", "student: field required; unknown key 'studnet'"),
        ("student:", "studnet:", "; did you mean 'student'?"),
        ("model:", "modle:", "teacher.model: field required; unknown key 'modle'; did you"),
        ("name: small", "colour: red", "name: field required; unknown key 'colour'"),
        ("name: small", "", "small.yaml: name: field required"),
    ],
)
def test_a_misspelt_key_that_is_required_is_shown_with_what_it_should_be(
    right: str, wrong: str, message: str, tmp_path: Path
) -> None:
    assert right in GOOD
    with pytest.raises(ConfigError) as refused:
        load_config(written(tmp_path, GOOD.replace(right, wrong)))
    assert message in str(refused.value)
    assert ("did you mean" in str(refused.value)) == (wrong in ("studnet:", "modle:"))


def test_an_override_of_one_value_leaves_the_rest_of_its_stage_alone(tmp_path: Path) -> None:
    run = load_config(written(tmp_path), ["icldist.training.epochs=3", "knowdist={}"])
    assert run.icldist is not None
    assert run.knowdist is not None
    assert run.icldist.training.epochs == 3
    assert run.icldist.training.learning_rate == 3e-4
    assert (run.icldist.training.schedule, run.knowdist.training.schedule) == ("linear", "cosine")


@pytest.mark.parametrize("text", ["1e-4", "1E-4", "1.0e-4", "+1.e-04", "0.0001"])
def test_a_rate_may_be_written_with_an_exponent(text: str, tmp_path: Path) -> None:
    run = load_config(written(tmp_path), [f"icldist.training.learning_rate={text}"])
    assert run.icldist is not None
    assert run.icldist.training.learning_rate == 1e-4


def test_yamls_own_truth_values_and_keys_are_understood(tmp_path: Path) -> None:
    settings = [
        "knowdist={few_shot: yes}",
        "texts=[{file: a.csv, label_column: stars, labels: {5: positive, 1: negative}}]",
    ]
    run = load_config(written(tmp_path), settings)
    assert run.knowdist is not None
    assert run.knowdist.few_shot is True
    assert run.texts[0].labels == {"5": "positive", "1": "negative"}


def test_a_saved_configuration_reads_back_as_the_same(tmp_path: Path) -> None:
    run = load_config(written(tmp_path), ["icldist.shots=[0, 2]", "filters.max_words=99"])
    save_config(run, tmp_path / "resolved.yaml")
    assert load_config(tmp_path / "resolved.yaml") == run


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- a\n", "expected settings as"),
        ("a: [", "not valid YAML"),
        ("", "expected settings as"),
        (
            "name: a\nseed: !!timestamp abc",
            "small.yaml: not valid YAML; got 'abc', expected a YAML timestamp in line 2, column 7",
        ),
        (f"{GOOD}icldist: {{samples: 20}}", "key 'icldist' occurs twice; remove one"),
        ("texts: [{dataset: sst2, count: 1, count: 2}]", "key 'count' occurs twice"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(content, message, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(written(tmp_path, content))


def test_gold_demonstrations_need_labels(tmp_path: Path) -> None:
    given = ["icldist.demonstrations=gold", "texts=[{file: reviews.txt}]"]
    with pytest.raises(ConfigError, match="no source of texts has labels"):
        load_config(written(tmp_path), given)


def test_workers_need_the_gpus_that_a_teacher_shares(tmp_path: Path) -> None:
    overrides = [
        "teacher={backend: vllm, model: org/large, tensor_parallel: 4}",
        "asking={engine: ray, gpus: 4}",
    ]
    assert load_config(written(tmp_path), overrides).asking.gpus == 4
    with pytest.raises(ConfigError, match=r"asking.gpus: got 2; expected at least 4, .*tensor_par"):
        load_config(written(tmp_path), [*overrides, "asking.gpus=2"])

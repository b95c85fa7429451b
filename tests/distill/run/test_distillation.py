"""The whole graph on a random student, a scripted teacher and the package's own texts."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("peft")

from filelock import FileLock
from small_runs import (
    Scripted,
    config,
    do,
    do_all_before,
    launch_two,
    samples_of,
    steps_of,
    store_of,
)
from store_contents import answers, failures

from distill.__main__ import main
from distill.checkpoints import check_checkpoint
from distill.config import load_config
from distill.errors import LossError
from distill.report.manifest import load_manifest
from distill.run.checks import check_run, datasets_of, missing_datasets
from distill.run.data import read_texts
from distill.run.stages import training_stages
from distill.steps import Step, states
from sentibench.data.cards import load_tasks
from sentibench.data.read import load_split
from sentibench.errors import InputError, TeacherError
from sentibench.predict.recipe import choose_recipe, load_recipes
from sentibench.remote.records import Answer, Failure, Message, Request
from sentibench.remote.store import Store

ROOT = Path(__file__).parents[3]


def data_steps(steps: dict[str, Step]):
    return [steps["knowdist-filter"], steps["icldist-filter"]]


def test_answers_become_samples_and_are_asked_for_once(tiny_student: Path, tmp_path: Path) -> None:
    run = load_config(config(tmp_path, tiny_student))
    teacher = Scripted()
    steps = steps_of(run, teacher)
    do(steps, "texts", "ask", "filter", "demonstrations")
    n_asked = teacher.n_asked
    assert n_asked > 16 + 20
    knowdist, icldist = (samples_of(steps, f"{s}-filter") for s in ("knowdist", "icldist"))
    assert len(knowdist) > 10
    assert len(icldist) > 15
    labels = {sample.response for sample in icldist}
    assert len(labels) > 5
    again = steps_of(
        load_config(config(tmp_path, tiny_student), ["filters.max_words=500"]), teacher
    )
    assert again["icldist-ask"].state()[0] == "done"
    assert again["icldist-filter"].state() == (
        "stale",
        "settings.filters.max_words: 1024 -> 500",
    )
    again["icldist-filter"].do()
    assert teacher.n_asked == n_asked


RUN = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from small_runs import Scripted, do, steps_of
from distill.config import load_config  # noqa: E402
steps = steps_of(load_config(Path({config!r})), Scripted(0.002))
do(steps, "texts", "ask", "filter", "demonstrations")
"""


def outcome(steps: dict[str, Step]):
    with Store.read(store_of(steps)) as store:
        answered = dict(answers(store))
    return answered, [step.record()["outputs"] for step in data_steps(steps)]  # type: ignore[index]


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_equals_an_undisturbed_one(
    tiny_student: Path, tmp_path: Path
) -> None:
    outcomes = []
    for name, kills in (("calm", 0), ("killed", 4)):
        folder = tmp_path / name
        folder.mkdir()
        path = config(folder, tiny_student)
        code = RUN.format(tests=str(Path(__file__).parents[1]), config=str(path))
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        steps = steps_of(load_config(path), Scripted())
        for number in range(kills):
            child = subprocess.Popen(
                [sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL
            )
            file = store_of(steps) / "answers.jsonl"
            wanted = 10 + 37 * number
            while child.poll() is None:
                if file.is_file() and file.read_bytes().count(b"\n") >= wanted:
                    break
                time.sleep(0.005)
            child.send_signal(signal.SIGKILL)
            child.wait()
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        outcomes.append(outcome(steps))
    assert outcomes[0][0] == outcomes[1][0]
    assert outcomes[0][1] == outcomes[1][1]


def test_hard_samples_alone_are_trained_on_where_that_is_asked(tiny_student, tmp_path) -> None:
    run = load_config(
        config(tmp_path, tiny_student),
        ["knowdist.difficulty={keep: 0.5}", "icldist.difficulty={keep: 0.5}", "mixed=true"],
    )
    steps = steps_of(run, Scripted())
    assert training_stages(run) == ["mixed"]
    names = list(steps)
    assert names.index("knowdist-select") < names.index("mixed-train")
    assert [step.name for step in steps["mixed-train"].after] == [
        "knowdist-select",
        "icldist-select",
    ]
    do_all_before(steps["mixed-merge"])
    for stage in ("knowdist", "icldist"):
        record = steps[f"{stage}-select"].record()
        assert record is not None
        kept, of = record["summary"]["kept"], record["summary"]["of"]
        assert 0 < kept < of
        assert len(samples_of(steps, f"{stage}-select")) == kept
    summary = steps["mixed-train"].record()["summary"]  # type: ignore[index]
    assert summary["samples"] == sum(
        len(samples_of(steps, f"{s}-select")) for s in ("knowdist", "icldist")
    )
    student = steps["mixed-merge"].folder / "student"
    assert (student / "model.safetensors").is_file()
    task, recipe = choose_recipe(str(student), None)  # what it is asked lies beside it
    assert (task, recipe.shots, recipe.trained_shots) == ("sentibench_mini_sst2", 2, (1, 2))


def test_a_teacher_that_answers_only_errors_is_one_clear_error(
    tiny_student: Path, tmp_path: Path
) -> None:
    class Silent(Scripted):
        def answer(self, requests):
            for request in requests:
                yield request, Failure("server", "HTTP 500", 6)

    run = load_config(config(tmp_path, tiny_student))
    steps = steps_of(run, Silent())
    steps["texts"].do()
    with pytest.raises(LossError, match=r"^demonstrations: too few .*got 0 of \d+, .*HTTP 500"):
        steps["demonstrations"].do()
    # the failures are kept apart, and asked again only on demand
    with pytest.raises(LossError, match="--retry-failed"):
        steps["demonstrations"].do()
    patient = steps_of(run, Scripted(), retry_failed=True)
    assert patient["demonstrations"].do()["labelled"] > 0


@pytest.mark.slow
def test_one_command_goes_from_texts_to_a_manifest_that_the_leaderboard_reads(
    tiny_student: Path, tmp_path: Path, capsys
) -> None:
    path = recorded(tmp_path, tiny_student)
    assert main(["run", str(path)]) == 0
    results = tmp_path / "runs" / "small" / "results"
    manifest = load_manifest(results / "run.json")
    assert [facts.name for facts in manifest.models.values()] == [
        "tiny",
        "small-knowdist",
        "small-icldist",
    ]
    assert manifest.steps["icldist-train"].summary.supervised_tokens > 0  # type: ignore[operator]
    assert set(manifest.scores) == {"base", "knowdist", "icldist"}
    assert manifest.packages["sentibench"]
    page = (results.parent / "report.html").read_text()
    assert "small-icldist" in page.split("<pre")[0]
    shots = {"knowdist": (), "icldist": (1, 2)}  # KnowDist trains without demonstrations
    for stage in ("knowdist", "icldist"):
        card = (results.parent / f"{stage}-merge" / "student" / "README.md").read_text()
        assert "base_model" in card
        trained = load_recipes(str(results.parent / f"{stage}-merge" / "student"))
        assert [recipe.trained_shots for recipe in trained.values()] == [shots[stage]]
    capsys.readouterr()
    assert main(["status", str(path)]) == 0
    states = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert set(states) == {"done"}
    assert len(states) >= 12

    def results_of(model: str) -> list[str]:
        return [path.name for path in (results / model).rglob("results_*.json")]

    before = {model: results_of(model) for model in ("tiny", "small-knowdist", "small-icldist")}
    assert main(["run", str(path), "icldist.training.epochs=2"]) == 0
    after = {model: results_of(model) for model in before}
    assert all(len(names) == 1 for names in after.values())
    assert {m for m in before if before[m] != after[m]} == {"small-icldist"}
    (earlier,) = (results.parent / "earlier").iterdir()
    assert load_manifest(earlier / "run.json") == manifest
    assert {path.name for path in earlier.iterdir()} == {*before, "run.json", "report.html"}
    capsys.readouterr()
    assert main(["compare", str(earlier), str(results.parent)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines if "->" in line] == [
        ["icldist.training.epochs", "1.0", "->", "2.0"]
    ]
    assert sum("4 items" in line for line in lines) == 3
    from leaderboard.__main__ import main as leaderboard

    assert {path.name for path in results.iterdir()} == {*before, "run.json"}
    assert leaderboard(["build", str(results), "--out", str(tmp_path / "site")]) == 0
    page = (tmp_path / "site" / "index.html").read_text()
    assert "small-icldist" in page


def test_a_configuration_that_is_not_there_is_told_with_what_is(
    tiny_student: Path, tmp_path: Path, capsys
) -> None:
    path = config(tmp_path, tiny_student)
    for command in ("plan", "run", "status"):
        assert main([command, str(path.with_name("smal.yaml"))]) == 2
        error = capsys.readouterr().err
        assert (
            "smal.yaml: no such file or folder; expected a configuration, as python -m dis" in error
        )
        assert error.endswith(f"did you mean {str(path)!r}?\n")


def test_a_mistake_is_one_line_and_exit_code_2(tiny_student: Path, tmp_path: Path, capsys) -> None:
    path = config(tmp_path, tiny_student)
    assert main(["run", str(path), "icldist.sampels=3"]) == 2
    assert "did you mean 'samples'?" in capsys.readouterr().err
    assert main(["run", str(path)]) == 2  # the recording is not there
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "Traceback" not in error


def test_a_setting_may_stand_behind_an_option(tiny_student: Path, tmp_path: Path, capsys) -> None:
    path = str(config(tmp_path, tiny_student))
    assert main(["run", path, "--retry-failed", "icldist.sampels=3"]) == 2
    assert "did you mean 'samples'?" in capsys.readouterr().err
    assert main(["run", path, "--retries=3"]) == 2
    assert "unknown option --retries; did you mean '--retry-failed'?" in capsys.readouterr().err


def test_a_reader_that_stops_early_is_no_mistake(tiny_student: Path, tmp_path: Path) -> None:
    path = config(tmp_path, tiny_student)
    server = "teacher={backend: openai, model: m, base_url: 'http://127.0.0.1:9/v1'}"
    command = (
        f'{sys.executable} -m distill status {path} "{server}" | true; echo ${{PIPESTATUS[0]}}'
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
    assert done.stderr == ""
    command = f"{sys.executable} -m distill run {recorded(tmp_path, tiny_student)} 2>&1 | true"
    command += "; echo ${PIPESTATUS[0]}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"  # whoever goes on would go on without the students


def test_stores_of_several_machines_become_one(tmp_path: Path, capsys) -> None:
    requests = [
        Request(f"r/{n}", (Message("user", f"Question {n}?"),), "text", "mine") for n in range(3)
    ]
    for name, of in (("a", requests[:2]), ("b", requests[1:])):
        with Store.open(tmp_path / name, "scripted/one", "1") as store:
            for request in of:
                store.add(request, Answer("yes", "stop"))
    out = tmp_path / "both"
    assert main(["merge-answers", f"{tmp_path / 'a'}", f"{tmp_path / 'b'}", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: 3 answers; 1 duplicates left out\n"
    with Store.read(out) as merged:
        assert len(merged) == 3


def test_what_failed_is_asked_again_on_demand_and_reaches_the_samples(
    tiny_student: Path, tmp_path: Path
) -> None:
    class Dying(Scripted):
        def answer(self, requests):
            for number, (request, answer) in enumerate(super().answer(requests)):
                yield request, answer if number % 3 else Failure("server", "HTTP 503", 6)

    run = load_config(config(tmp_path, tiny_student))
    first = steps_of(run, Dying())
    do_all_before(first["knowdist-filter"])
    n_before = len(samples_of(first, "knowdist-filter"))
    second = steps_of(run, Scripted(), retry_failed=True)
    second["knowdist-ask"].do()
    assert second["knowdist-filter"].state()[0] == "done"  # not asked again by itself
    second["knowdist-ask"].do(again=True)
    assert second["knowdist-filter"].state()[0] == "stale"
    second["knowdist-filter"].do()
    assert len(samples_of(second, "knowdist-filter")) > n_before


def test_a_recording_leaves_what_it_lacks_to_the_teacher(
    tiny_student: Path, tmp_path: Path
) -> None:
    class Forgetful(Scripted):
        def answer(self, requests):
            for number, (request, answer) in enumerate(super().answer(requests)):
                missing = Failure("not recorded", "the recording holds no answer")
                yield request, missing if number % 2 else answer

    run = load_config(config(tmp_path, tiny_student))
    replayed = steps_of(run, Forgetful())
    replayed["texts"].do()
    replayed["knowdist-ask"].do()
    with Store.read(store_of(replayed)) as store:
        assert failures(store) == []
    teacher = Scripted()
    sibling = run.model_copy(update={"name": "sibling"})
    asked = steps_of(sibling, teacher)
    asked["texts"].do()
    asked["knowdist-ask"].do()
    assert teacher.n_asked == 8


def test_an_edited_template_makes_the_answers_stale(tiny_student: Path, tmp_path: Path) -> None:
    templates = tmp_path / "own"
    templates.mkdir()
    (templates / "analysing_target.jinja").write_text("Judge this. {{ text }}")
    overrides = [f"knowdist.templates={templates}"]
    run = load_config(config(tmp_path, tiny_student), overrides)
    steps = steps_of(run, Scripted())
    do_all_before(steps["knowdist-filter"])
    (templates / "analysing_target.jinja").write_text("Judge that. {{ text }}")
    state, why = steps_of(run, Scripted())["knowdist-ask"].state()
    assert state == "stale"
    assert "own" in why


MISTAKES = {
    "a student that is not there": (
        "student=no/where",
        "student: transformers cannot load 'no/where'",
    ),
    "a folder without weights": ("student={empty}", "no weights; expected config.json"),
    "another teacher of a stage": (
        "knowdist.teacher={{backend: hf, model: /no/t}}",
        "knowdist.teacher.model: /no/t: no such folder",
    ),
    "damaged weights": ("student={damaged}", "transformers cannot load"),
    "an unknown task": ("evaluation.tasks=[sentibench_mini_sst3]", "'sentibench_mini_sst2'?"),
    "a package that is missing": (
        "icldist.training.report_to=[wandb]",
        "icldist.training.report_to: the package wandb is not installed; run: pip install wandb",
    ),
    "a step that waits": ("--only=icldist-train", "icldist-train: cannot begin, as it waits for"),
    "an unknown step": ("--only=icldist-trian", "unknown step"),
    "a test set as texts": ("texts=[{{file: {leak}}}]", "are items of test sets (sentibench_"),
    "a template that asks for more": (
        "knowdist.templates={templates}",
        "expected {{{{ text }}}} as the only variable",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_of_the_user_is_one_line(
    name: str, tiny_student: Path, tmp_path: Path, capsys, small_tests, monkeypatch
) -> None:
    given, expected = MISTAKES[name]
    places = {key: tmp_path / key for key in ("empty", "damaged", "leak", "templates")}
    for key in ("empty", "damaged", "templates"):
        places[key].mkdir()
    shutil.copy(tiny_student / "config.json", places["empty"])
    for file in tiny_student.iterdir():
        shutil.copy(file, places["damaged"])
    weights = places["damaged"] / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    (places["templates"] / "rewriting_target.jinja").write_text("{{ text }} {{ title }}")
    places["leak"] = tmp_path / "leak.jsonl"
    task = load_tasks()["sentibench_mini_sst2"]
    rows = [{"text": example.sentence} for example in load_split(task, "test").examples]
    places["leak"].write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = recorded(tmp_path, tiny_student)
    monkeypatch.setattr("distill.run.checks.find_spec", lambda name: None)
    assert main(["run", str(path), given.format(**places)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert expected.format() in error


@pytest.mark.parametrize("command", ["plan", "run"])
def test_an_unknown_task_is_named_before_anything_else(
    command: str, tiny_student: Path, tmp_path: Path, capsys
) -> None:
    wrong = [
        "teacher={backend: hf, model: gone}",
        "student=no/where",
        "texts=[{dataset: sst2}]",
        "evaluation.tasks=[sentibench_sst3]",
    ]
    assert main([command, str(config(tmp_path, tiny_student)), *wrong]) == 2
    shown = capsys.readouterr()
    assert "did you mean 'sentibench_sst2'?" in shown.err
    assert (shown.out, shown.err.count("\n")) == ("", 1)


@pytest.mark.parametrize("command", ["plan", "run"])
def test_labels_that_no_task_asks_for_are_refused_before_any_work(
    command: str, tiny_student: Path, tmp_path: Path, capsys
) -> None:
    texts = "texts=[{file: gone.csv, label_column: kind}]"
    assert main([command, str(config(tmp_path, tiny_student)), texts, "icldist=null"]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: texts.gone.label_column: got 'kind', expected none: ")
    assert "remove label_column" in shown.err
    assert (shown.out, shown.err.count("\n")) == ("", 1)


@pytest.mark.parametrize("command", ["status", "plan", "run"])
def test_datasets_that_are_not_here_are_named_with_the_ways_out(
    command: str, tiny_student: Path, tmp_path: Path, capsys
) -> None:
    path = str(config(tmp_path, tiny_student))
    teacher = "teacher={backend: openai, model: m, base_url: 'http://127.0.0.1:9/v1'}"
    real = [teacher, "texts=[{dataset: sst2}]", "filters.skip=[contaminated]"]
    ways = ("`sentibench fetch sst2 irony18`", "mini: true", "evaluation.tasks=[sentibench_mini]")
    code = main([command, path, *real, "evaluation.tasks=[sentibench_irony18]"])
    shown = capsys.readouterr()
    assert code == (0 if command == "status" else 2)
    said = (shown.out if command == "status" else shown.err).splitlines()[-1]
    assert all(way in said for way in ways)
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").glob("*/texts*"))


@pytest.mark.parametrize(
    ("overrides", "needed"),
    [
        ([], 0),
        (["evaluation.tasks=[sentibench_basic]"], 4),
        (["texts=[{dataset: sst2}]"], 12),  # all test sets must not be trained on
        (["texts=[{file: own.txt}]"], 12),
        (["texts=[{file: own.txt}]", "filters.skip=[contaminated]"], 0),
    ],
)
def test_a_run_reads_the_datasets_of_its_texts_tests_and_tasks(
    overrides: list[str], needed: int, tmp_path: Path, monkeypatch, real_data: Path
) -> None:
    run = load_config(config(tmp_path, tmp_path), overrides)
    assert len(datasets_of(run)) == needed
    assert bool(missing_datasets(run)) == bool(needed)
    assert ("for texts of your own, set filters.skip" in missing_datasets(run)) == (
        "own" in str(overrides[:1]) and needed > 0
    )
    monkeypatch.setenv("SENTIBENCH_HOME", str(real_data))
    assert not missing_datasets(run)


@pytest.mark.parametrize(
    ("checkpoint", "way"),
    [
        (".demo/gemma-3-270m", "`make .demo/gemma-3-270m` makes it"),
        (".demo/qwen-1.5b", "`make .demo/qwen-1.5b` makes it"),
        (".demo/SmolLM2-135M-Instruct", "`make demo` makes it"),
        ("./own", "no such folder in "),
    ],
)
def test_a_missing_checkpoint_of_the_demo_is_told_with_what_brings_it(
    checkpoint: str, way: str, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"student: {checkpoint}: no such folder in ") as refused:
        check_checkpoint("student", checkpoint)
    assert way in str(refused.value)
    assert ("make" in str(refused.value)) == ("make" in way)
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    for target in re.findall("make ([^`]+)", way):
        assert any(target in line.split(":")[0].split() for line in lines)


def test_two_processes_do_not_work_on_one_run(tiny_student: Path, tmp_path: Path, capsys) -> None:
    path = recorded(tmp_path, tiny_student)
    folder = tmp_path / "runs" / "small"
    folder.mkdir(parents=True)
    with FileLock(folder / "run.lock"):
        assert main(["run", str(path)]) == 2
    assert "another process is working on this run" in capsys.readouterr().err
    assert not (folder / "config.yaml").exists()  # it would be that of a run which never was


def test_what_failed_is_not_asked_again_under_a_launcher(
    tiny_student: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    path = config(tmp_path, tiny_student)
    assert main(["run", str(path), "--retry-failed"]) == 2
    assert "run `generate --retry-failed` without a launcher" in capsys.readouterr().err


def test_a_setting_that_changes_no_weight_makes_no_training_stale(tiny_student, tmp_path) -> None:
    path = config(tmp_path, tiny_student)

    def parts(*overrides: str) -> list[str]:
        given = [f"icldist.training.choose={{{overrides[0]}}}", *overrides[1:]]
        run = steps_of(load_config(path, given), Scripted())
        steps = run["icldist-train"], run["icldist-choose"], run["icldist-ask"]
        return [json.dumps(step.settings) for step in steps]

    train, choose, ask = parts("checkpoints: 2, limit: 9")
    assert parts("checkpoints: 2, limit: 8")[0] == train
    assert parts("checkpoints: 2, limit: 8")[1] != choose
    assert parts("checkpoints: 3, limit: 9")[0] != train
    assert parts("checkpoints: 2", "icldist.difficulty={keep: 0.5}")[2] == ask


def test_a_server_that_went_away_leaves_the_step_open(tiny_student, tmp_path) -> None:
    class Leaving(Scripted):
        def answer(self, requests):
            for number, (request, answer) in enumerate(super().answer(requests)):
                lost = Failure("unreachable", "[Errno 111] Connection refused", 6)
                yield request, lost if number > 3 else answer

    run = load_config(config(tmp_path, tiny_student))
    first = steps_of(run, Leaving())
    first["texts"].do()
    with pytest.raises(
        TeacherError, match=r"12 of 16 requests did not reach the server.*run again$"
    ):
        first["knowdist-ask"].do()
    teacher = Scripted()
    second = steps_of(run, teacher)
    assert second["knowdist-ask"].state()[0] == "new"
    assert second["knowdist-ask"].do()["answered"] == 16
    assert teacher.n_asked == 12


def test_two_models_of_one_name_are_refused(tiny_student: Path, tmp_path: Path, capsys) -> None:
    twin = tmp_path / "other" / tiny_student.name
    shutil.copytree(tiny_student, twin)
    path = config(tmp_path, tiny_student)
    assert main(["run", str(path), f"teacher={{backend: hf, model: {twin}}}"]) == 2
    assert "got the name 'tiny' for two models of this run" in capsys.readouterr().err


def test_gold_labels_can_be_the_teacher(tiny_student, tmp_path) -> None:
    path = config(tmp_path, tiny_student)
    gold = ["teacher={backend: gold}", "knowdist=null", "icldist.demonstrations=gold"]
    plain = ["icldist.taxonomies=false", "icldist.other_tasks=0", "icldist.label_words=false"]
    steps = steps_of(load_config(path, [*gold, *plain]))
    do_all_before(steps["icldist-filter"])
    samples = samples_of(steps, "icldist-filter")
    labels = {text.text: text.label for text in read_texts(steps["texts"].folder)}
    assert len(samples) > 15
    assert all(sample.response == labels[sample.text] for sample in samples)
    assert main(["status", str(path), *gold[:1]]) == 2


def recorded(folder: Path, student: Path) -> Path:
    """A configuration whose teacher is a recording."""
    folder.mkdir(exist_ok=True)
    path = config(folder, student)
    recording = steps_of(load_config(path), Scripted())
    do(recording, "texts", "ask", "filter", "demonstrations")
    store_of(recording).rename(folder / "recorded")
    shutil.rmtree(folder / "runs")
    return path


def curves(steps: dict[str, Step]) -> list[list[float]]:
    folders = [step.folder for name, step in steps.items() if name.endswith("-train")]
    assert len(folders) == 2
    lines = [(folder / "log.jsonl").read_text().splitlines() for folder in folders]
    return [[json.loads(line)["loss_nats_per_token"] for line in own] for own in lines]


def scores(steps: dict[str, Step]) -> list[dict[str, object]]:
    folders = [step.folder for name, step in steps.items() if name.startswith("evaluate-")]
    assert len(folders) == 3
    return [json.loads((folder / "scores.json").read_text()) for folder in folders]


@pytest.mark.slow
def test_a_run_killed_in_every_step_equals_an_undisturbed_one(tiny_student, tmp_path) -> None:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    calm = recorded(tmp_path / "calm", tiny_student)
    assert main(["run", str(calm)]) == 0
    path = recorded(tmp_path / "killed", tiny_student)
    steps = steps_of(load_config(path))
    command = [sys.executable, "-m", "distill", "run", str(path)]
    moments = random.Random(time.time_ns())
    n_killed = 0
    for step in steps.values():
        if step.state()[0] == "done":
            continue
        child = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        while child.poll() is None and not (step.folder / "inputs.json").exists():
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.3))
        child.send_signal(signal.SIGKILL)
        n_killed += child.wait() == -signal.SIGKILL
    assert n_killed >= 5
    subprocess.run(command, env=environment, check=True, capture_output=True)
    undisturbed = steps_of(load_config(calm))
    assert outcome(steps) == outcome(undisturbed)
    for one, other in zip(curves(steps), curves(undisturbed), strict=True):
        assert one == pytest.approx(other, rel=1e-3)
    assert scores(steps) == scores(undisturbed)
    assert {state for state, _ in states(steps.values()).values()} == {"done"}


@pytest.mark.slow
def test_a_launch_of_two_processes_gives_the_run_of_one(tiny_student, tmp_path) -> None:
    alone = recorded(tmp_path / "alone", tiny_student)
    assert main(["run", str(alone)]) == 0
    path = recorded(tmp_path / "launched", tiny_student)
    launch_two("-m", "distill", "run", str(path))
    one, two = (steps_of(load_config(p)) for p in (alone, path))
    for run, n_processes in ((one, 1), (two, 2)):
        told = json.loads((run["icldist-train"].folder / "training.json").read_text())
        assert told["processes"] == n_processes
    assert outcome(one) == outcome(two)
    for own, other in zip(curves(one), curves(two), strict=True):
        assert own == pytest.approx(other, rel=1e-3)
    assert scores(one) == scores(two)


SECRET = "I ponder quietly"  # what the thinking teacher thinks


class Thinking(Scripted):
    """Thinks aloud, answers in fenced JSON, and writes prose where that is asked."""

    def answer(self, requests):
        for number, (request, answer) in enumerate(super().answer(requests)):
            rng = random.Random(request.id)
            text = answer.text
            if request.labels:
                label = rng.choice(request.labels).upper()
                text = f'```json\n{{"label": "{label}"}}\n```'
            mark = ("<think>\n", "[THINK]", "")[number % 3]
            closing = {"<think>\n": "\n</think>\n\n", "[THINK]": "[/THINK]", "": "</think>"}[mark]
            yield request, Answer(f"{mark}{SECRET}: or not?{closing}{text}", "stop", 5, 5)


def test_no_training_file_holds_the_reasoning_of_a_teacher_that_thinks_aloud(
    tiny_student, tmp_path
) -> None:
    overrides = ["icldist.score_choices=false", "icldist.label_tokens=1024"]
    run = load_config(config(tmp_path, tiny_student), overrides)
    steps = steps_of(run, Thinking())
    do_all_before(steps["icldist-merge"])
    labels = json.loads((steps["demonstrations"].folder / "labels.json").read_text())
    funnel = json.loads((steps["demonstrations"].folder / "funnel.json").read_text())
    assert len(labels) == funnel["table"][-1]["kept"] == funnel["table"][-1]["asked"] > 50
    for stage, least in (("knowdist", 10), ("icldist", 15)):
        assert len(samples_of(steps, f"{stage}-filter")) > least
    assert all("{" not in s.response for s in samples_of(steps, "icldist-filter"))
    with Store.read(store_of(steps)) as store:
        assert all(SECRET in answer.text for _, answer in answers(store))
    read = [path for path in run.folder.rglob("*") if path.suffix in (".jsonl", ".json")]
    assert len(read) > 10
    for path in read:
        if path.name != "funnel.json":  # which quotes what was dropped
            text = path.read_text(encoding="utf-8")
            assert not any(word in text for word in (SECRET, "think>", "THINK]", "```")), path


def test_unreadable_demonstrations_stop_the_run_and_are_quoted(
    tiny_student, tmp_path, capsys
) -> None:
    class Chatty(Scripted):
        def answer(self, requests):
            for number, (request, _) in enumerate(super().answer(requests)):
                text = request.choices[0] if number < 9 else "It is hard to say, honestly."
                yield request, Answer(text, "stop")

    run = load_config(config(tmp_path, tiny_student))
    steps = steps_of(run, Chatty())
    steps["texts"].do()
    with pytest.raises(LossError) as caught:
        steps["demonstrations"].do()
    said = str(caught.value)
    assert said.startswith("demonstrations: too few answers are left; got 9 of ")
    assert "outside the taxonomy, such as 'It is hard to say, honestly.'" in said
    assert "texts" not in said.replace(str(tmp_path), "")
    assert steps["demonstrations"].state()[0] == "new"
    assert not (steps["demonstrations"].folder / "labels.json").exists()
    lossy = load_config(config(tmp_path, tiny_student), ["filters.allow_loss=true"])
    assert steps_of(lossy, Chatty())["demonstrations"].do()["labelled"] == 9


def test_a_recording_that_lost_too_much_is_one_line_and_exit_code_2(
    tiny_student, tmp_path, capsys
) -> None:
    path = recorded(tmp_path, tiny_student)
    store = tmp_path / "recorded" / "answers.jsonl"
    lines = store.read_text(encoding="utf-8").splitlines(keepends=True)
    store.write_text("".join(lines[:7]), encoding="utf-8")
    assert main(["generate", str(path)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert "not recorded, such as " in error
    assert "(set teacher.store to a recording that has these requests)" in error


OWN_CODE = """
from transformers import LlamaConfig, LlamaForCausalLM

class OwnConfig(LlamaConfig):
    model_type = "own-llama"

class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
"""


def test_a_student_with_code_of_its_own_is_run_only_where_that_is_allowed(
    tiny_student, tmp_path, capsys, monkeypatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path / "modules")  # taken back afterwards
    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules")
    )
    own = tmp_path / "own"
    shutil.copytree(tiny_student, own)
    (own / "own_code.py").write_text(OWN_CODE, encoding="utf-8")
    settings = json.loads((own / "config.json").read_text(encoding="utf-8"))
    settings |= {"model_type": "own-llama", "architectures": ["OwnModel"]}
    names = {"AutoConfig": "OwnConfig", "AutoModelForCausalLM": "OwnModel"}
    settings["auto_map"] = {auto: f"own_code.{name}" for auto, name in names.items()}
    (own / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    path = recorded(tmp_path / "refused", tiny_student)
    assert main(["run", str(path), f"student={own}", "knowdist=null"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: student: ")
    assert error.endswith(
        "set trust_remote_code: true, beside student, or in the section of the teacher"
    )
    overrides = ["trust_remote_code=true", f"student={own}", "knowdist=null"]
    run = load_config(config(tmp_path, tiny_student), overrides)
    check_run(run)
    steps = steps_of(run, Scripted())
    do_all_before(steps["evaluate-icldist"])
    student = steps["icldist-merge"].folder / "student"
    assert (student / "own_code.py").is_file()
    assert steps["evaluate-icldist"].summary()["scores"]

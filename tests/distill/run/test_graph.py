"""The graph of a run: which steps a changed prompt makes stale, and what is read by later ones."""

import json
import shutil
from collections import Counter
from hashlib import sha256
from pathlib import Path

import pytest
from small_runs import Scripted, config, do, requests_of, samples_of, steps_of

import distill.filters.rules
import distill.run.graph
import sentibench.predict.checkpoints
from distill import prompts
from distill.__main__ import main
from distill.config import load_config
from distill.filters.rules import RULES_VERSION
from distill.prompts import icldist, knowdist, taxonomies
from distill.selection import difficulty_of_samples
from distill.steps import Step, states

pytestmark = pytest.mark.usefixtures("small_tests")
ASKED = ("texts", "demonstrations", "ask")


@pytest.fixture
def own_prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The package's prompt data in a folder where a test may edit it, as an upgrade would."""
    here = tmp_path / "package"
    shutil.copytree(prompts.HERE, here)
    moved = {
        kind: tuple(
            here / path.relative_to(prompts.HERE) if path.is_relative_to(prompts.HERE) else path
            for path in paths
        )
        for kind, paths in prompts.FILES.items()
    }
    monkeypatch.setattr(prompts, "FILES", moved)
    monkeypatch.setattr(knowdist, "TEMPLATES", here / "templates")
    monkeypatch.setattr(icldist, "OTHER_TASKS", [here / path.name for path in prompts.OTHER_TASKS])
    monkeypatch.setattr(taxonomies, "HERE", here)
    taxonomies.load_taxonomies.cache_clear()
    yield here
    taxonomies.load_taxonomies.cache_clear()


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def edit_template(here: Path, monkeypatch) -> None:
    path = here / "templates" / "knowdist" / "analysing_target.jinja"
    path.write_text("Say what is judged. {{ text }}", encoding="utf-8")


def edit_taxonomies(here: Path, monkeypatch) -> None:
    with (here / "taxonomies.yaml").open("a", encoding="utf-8") as file:
        file.write("# another edition\n")
    taxonomies.load_taxonomies.cache_clear()


def edit_other_tasks(here: Path, monkeypatch) -> None:
    lines = (here / "other_tasks.jsonl").read_text(encoding="utf-8").splitlines()
    (here / "other_tasks.jsonl").write_text("\n".join(lines[::-1]), encoding="utf-8")


def raise_version(here: Path, monkeypatch) -> None:
    monkeypatch.setattr(prompts, "VERSION", prompts.VERSION + 1)


UPGRADES = {
    "a template": (edit_template, {"knowdist-ask": "settings.prompts.knowdist: "}),
    "the taxonomies": (
        edit_taxonomies,
        {
            "demonstrations": "settings.prompts.taxonomies.yaml: ",
            "icldist-ask": "for demonstrations",
        },
    ),
    "the other tasks": (edit_other_tasks, {"icldist-ask": "settings.prompts.other_tasks.jsonl: "}),
    "the code of the prompts": (
        raise_version,
        {
            "knowdist-ask": "settings.prompts.version: 4 -> 5",
            "demonstrations": "settings.prompts.version: 4 -> 5",
            "icldist-ask": "for demonstrations",
        },
    ),
}


@pytest.mark.parametrize("name", UPGRADES)
def test_an_upgrade_of_the_prompts_names_the_steps_that_it_makes_stale(
    name: str, tiny_student, tmp_path, own_prompts, monkeypatch
) -> None:
    upgrade, expected = UPGRADES[name]
    run = load_config(config(tmp_path, tiny_student))
    do(steps_of(run, Scripted()), *ASKED, "filter")
    upgrade(own_prompts, monkeypatch)
    found = states(steps_of(run, Scripted()).values())
    asking = [n for n in found if n == "demonstrations" or n.endswith("-ask")]
    assert len(asking) == 3
    changed = {n: found[n][1] for n in asking if found[n][0] != "done"}
    assert changed.keys() == expected.keys()
    for step, reason in expected.items():
        assert changed[step].startswith(reason)
    for stage in ("knowdist", "icldist"):
        waits = "waits" if f"{stage}-ask" in expected else "done"
        assert found[f"{stage}-filter"][0] == waits


def test_an_answer_is_found_again_where_the_rendered_request_is_the_same(
    tiny_student, tmp_path, own_prompts, monkeypatch
) -> None:
    run = load_config(config(tmp_path, tiny_student))
    before = do(steps_of(run, Scripted()), *ASKED)
    prompts_before = {request.prompt for request in requests_of(before, "knowdist")}
    edit_template(own_prompts, monkeypatch)
    teacher = Scripted()
    after = do(steps_of(run, teacher), *ASKED)
    new = [r for r in requests_of(after, "knowdist") if r.prompt not in prompts_before]
    assert teacher.n_asked == len(new) == 2  # of 16 requests over eight templates
    raise_version(own_prompts, monkeypatch)
    again = Scripted()
    do(steps_of(run, again), *ASKED)
    assert again.n_asked == 0


def test_later_steps_read_what_was_asked_and_not_what_would_be_asked_now(
    tiny_student, tmp_path, own_prompts, monkeypatch
) -> None:
    run = load_config(config(tmp_path, tiny_student), ["knowdist.difficulty={keep: 0.5}"])
    steps = do(steps_of(run, Scripted()), *ASKED)
    asked = {request.id: request.prompt for request in requests_of(steps, "knowdist")}
    edit_template(own_prompts, monkeypatch)  # while the run is under way
    do(steps, "filter", "difficulty", "select")
    funnel = json.loads((steps["knowdist-filter"].folder / "funnel.json").read_text())
    assert funnel["failures"] == {}
    samples = samples_of(steps, "knowdist-filter")
    assert len(samples) > 10
    assert all(sample.prompt == asked[sample.id] for sample in samples)
    assert 0 < len(samples_of(steps, "knowdist-select")) < len(samples)


def test_another_share_of_hard_samples_needs_no_new_measurement(
    tiny_student, tmp_path, monkeypatch
) -> None:
    def steps_with(keep: float) -> dict[str, Step]:
        given = [f"knowdist.difficulty={{keep: {keep}}}"]
        return steps_of(load_config(config(tmp_path, tiny_student), given), Scripted())

    steps = do(steps_with(0.5), *ASKED, "filter", "difficulty", "select")
    half = set(samples_of(steps, "knowdist-select"))
    assert len(half) < len(samples_of(steps, "knowdist-filter"))
    monkeypatch.setattr(difficulty_of_samples, "measure_difficulty", None)  # calling it fails
    again = steps_with(0.8)
    assert again["knowdist-difficulty"].state()[0] == "done"
    assert again["knowdist-select"].state() == ("stale", "settings.keep: 0.5 -> 0.8")
    do(again, "select")
    assert half < set(samples_of(again, "knowdist-select"))


def test_a_random_share_is_kept_without_a_model(tiny_student, tmp_path, monkeypatch) -> None:
    for name in ("measure_difficulty", "measure_confidence"):  # calling them fails
        monkeypatch.setattr(difficulty_of_samples, name, None)
    found = []
    for name in ("one", "two"):
        given = ["knowdist.difficulty={keep: 0.5, by: random}", f"name={name}"]
        steps = steps_of(load_config(config(tmp_path, tiny_student), given), Scripted())
        assert "knowdist-difficulty" not in steps
        do(steps, *ASKED, "filter", "select")
        kept, of = (samples_of(steps, f"knowdist-{name}") for name in ("select", "filter"))
        assert 0 < len(kept) < len(of)
        found.append([sample.id for sample in kept])
    assert found[0] == found[1]


def test_a_new_rule_of_the_filters_makes_their_samples_stale(
    tiny_student, tmp_path, monkeypatch
) -> None:
    run = load_config(config(tmp_path, tiny_student))
    do(steps_of(run, Scripted()), *ASKED, "filter")
    monkeypatch.setattr(distill.run.graph, "RULES_VERSION", 99)
    steps = steps_of(run, Scripted())
    for name in ("knowdist-filter", "demonstrations"):  # both read answers
        assert steps[name].state() == ("stale", f"settings.rules: {RULES_VERSION} -> 99")


def test_requests_are_those_of_their_version(tiny_student, tmp_path) -> None:
    """Where this fails: note the new hash, and raise VERSION if no file of prompts was changed."""
    run = load_config(config(tmp_path, tiny_student))
    steps = do(steps_of(run, Scripted()), *ASKED)
    known = sha256()
    for stage in ("knowdist", "icldist"):
        for request in requests_of(steps, stage):
            known.update(request.key("scripted/one", "1").encode())
    assert (prompts.VERSION, known.hexdigest()[:16]) == (4, "eb113bbc95b9c94a")


def test_a_command_fingerprints_each_checkpoint_once(
    tiny_student, tmp_path, monkeypatch, capsys
) -> None:
    looked_at: Counter[str] = Counter()
    fingerprint = sentibench.predict.checkpoints.fingerprint

    def counting(model: str, *settings) -> str:
        looked_at[model] += 1
        return fingerprint(model, *settings)

    monkeypatch.setattr(distill.run.graph, "fingerprint", counting)
    path = config(tmp_path, tiny_student)
    server = "teacher={backend: openai, model: m, base_url: 'http://127.0.0.1:9/v1'}"
    more = ["knowdist.difficulty={keep: 0.5}", "icldist.difficulty={keep: 0.5}"]
    assert main(["status", str(path), server, *more]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 20
    assert looked_at == {str(tiny_student): 1}


def test_from_where_a_teacher_is_asked_makes_no_step_stale(tiny_student, tmp_path) -> None:
    path = config(tmp_path, tiny_student)
    here, there = (
        steps_of(load_config(path, overrides), Scripted())
        for overrides in ([], ["asking={engine: ray, workers: [1, 9], filters: true}"])
    )
    assert {name: step.settings for name, step in here.items()} == {
        name: step.settings for name, step in there.items()
    }

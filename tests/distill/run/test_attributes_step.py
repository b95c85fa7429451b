"""The step in which the teacher lists attributes, in a whole run."""

import json
import re

import pytest
from small_runs import Scripted, config, do, do_all_before, requests_of, samples_of, steps_of

pytest.importorskip("peft")

from distill.config import load_config
from distill.errors import ConfigError
from distill.run.plan import Plan
from distill.run.plan_text import Rates, render
from distill.run.stages import teachers_of
from distill.steps import states
from sentibench.remote.records import Answer

pytestmark = pytest.mark.usefixtures("small_tests")
SET = "knowdist={samples: 24, attributes: {texts: 8, min_texts: 2}}"


class Lister(Scripted):
    """Lists two attributes, and answers all else like its base."""

    def answer(self, requests):
        for number, (request, answer) in enumerate(super().answer(requests)):
            if request.id.startswith("attributes/"):
                tone = ("sarcastic", "warm")[number % 2]
                answer = Answer(
                    f"tone: {tone}\nintensity: {('mild', 'strong')[number % 2]}", "stop"
                )
            yield request, answer


def run_of(folder, student, *more):
    return load_config(config(folder, student), [SET, *more])


def test_what_the_teacher_lists_is_asked_about(tmp_path, tiny_student) -> None:
    run = run_of(tmp_path, tiny_student)
    steps = steps_of(run, Lister())
    do(steps, "texts")
    text = "\n".join(render(Plan(run, steps, teachers_of(run, Lister())), Rates()))
    assert "Requests of attributes: 8" in text
    assert "attributes are placeholders until the teacher has answered" in text
    do_all_before(steps["knowdist-filter"])
    found = json.loads((steps["attributes"].folder / "attributes.json").read_text())
    assert [one["name"] for one in found] == ["tone", "intensity"]
    asked = requests_of(steps, "knowdist")
    composed = [r for r in asked if r.meta["family"] == "attributes"]
    assert 4 < len(composed) < 20
    assert len(asked) == 24
    assert any("sarcastic" in r.prompt for r in composed)
    kept = {sample.id for sample in samples_of(steps, "knowdist-filter")}
    assert kept & {r.id for r in composed}
    text = "\n".join(render(Plan(run, steps, teachers_of(run, Lister())), Rates()))
    assert "placeholders until" not in text.split("Requests of demonstrations")[0]


def test_attributes_are_listed_anew_where_their_settings_change(tmp_path, tiny_student) -> None:
    do_all_before(steps_of(run_of(tmp_path, tiny_student), Lister())["knowdist-filter"])
    other = run_of(tmp_path, tiny_student, "knowdist.attributes.min_texts=3")
    found = states(steps_of(other, Lister()).values())
    assert found["attributes"][0] == "stale"
    assert re.search("min_texts: 2 -> 3", found["attributes"][1])
    share = run_of(tmp_path, tiny_student, "knowdist.attributes.share=0.9")
    found = states(steps_of(share, Lister()).values())
    assert (found["attributes"][0], found["knowdist-ask"][0]) == ("done", "stale")


def test_a_teacher_that_lists_nothing_is_one_clear_error(tmp_path, tiny_student) -> None:
    steps = steps_of(run_of(tmp_path, tiny_student), Scripted())
    do(steps, "texts")
    with pytest.raises(ConfigError, match=r"no attribute for at least 2 of 8 texts; got 'It says "):
        steps["attributes"].do()

"""The dry run: what it counts, that it calls nobody and writes nothing."""

import math
from pathlib import Path

import pytest
from test_distillation import Scripted, config

pytest.importorskip("peft")

from distill.__main__ import main
from distill.config import load_config
from distill.distillation import Distillation
from distill.errors import InputError
from distill.examples import encode_samples
from distill.pipeline import sample_of
from distill.plan import Plan, Rates, load_tokenizer, render, safe


class Forbidden(Scripted):
    def answer(self, requests):
        raise AssertionError("a plan asks nobody")


def planned(folder: Path, student: Path, *overrides: str) -> Plan:
    run = load_config(config(folder, student), overrides)
    return Plan(Distillation(run, teacher=Forbidden()))


def test_a_plan_counts_what_a_run_asks_and_writes_nothing(tiny_student, tmp_path) -> None:
    plan = planned(tmp_path, tiny_student)
    before = set(tmp_path.rglob("*"))
    text = "\n".join(render(plan, Rates()))
    assert set(tmp_path.rglob("*")) == before
    assert "placeholders" in text
    assert "new    knowdist-ask" not in text  # it waits for the texts
    assert "new    texts" in text
    by_stage = {stage.stage: stage for stage in plan.stages}
    assert (by_stage["knowdist"].n_requests, by_stage["icldist"].n_requests) == (16, 20)
    teacher = Scripted()
    pipeline = Distillation(plan.distillation.run, teacher=teacher)
    for step in pipeline.all_steps():
        if step.name.split("-")[-1] in ("texts", "ask", "demonstrations"):
            step.do()
    asked = {name: len(pipeline.requests(name)) for name in ("knowdist", "icldist")}
    assert asked == {"knowdist": 16, "icldist": 20}
    again = planned(tmp_path, tiny_student)
    assert not again.placeholders
    done = {stage.stage: stage for stage in again.stages}
    assert done["knowdist"].answered == 16
    assert done["icldist"].answered == done["icldist"].n_requests
    # with the teacher's labels the plan's prompts are those of the run
    tokenizer = load_tokenizer(str(tiny_student))
    prompts = [request.prompt for request in pipeline.requests("icldist")]
    assert sorted(done["icldist"].lengths) == sorted(map(len, tokenizer(prompts)["input_ids"]))
    assert sum(n for n in done["icldist"].axes["taxonomy"].values()) == 20


def test_every_family_shows_three_prompts_and_rates_give_time_and_cost(
    tiny_student, tmp_path
) -> None:
    plan = planned(tmp_path, tiny_student, "knowdist.samples=40", "icldist.samples=60")
    found = {family: len(p) for stage in plan.stages for family, p in stage.examples.items()}
    assert found == dict.fromkeys(("analysing", "rewriting", "sentiment", "emotion", "other"), 3)
    lines = list(render(plan, Rates(100.0, 2.0, 4.0)))
    knowdist = plan.stages[0]
    prompt_tokens = float(knowdist.lengths.mean()) * 40
    answers = knowdist.answer_tokens * 40
    assert knowdist.is_bound
    assert answers == 40 * 160
    dollars = (2 * prompt_tokens + 4 * answers) / 1e6
    assert f"  cost: {dollars:,.2f} US dollars" in lines
    minutes = (prompt_tokens + answers) / 100 / 60
    assert f"  time: {minutes:,.1f} minutes at 100 tokens per second" in lines
    steps = math.ceil(60 / 4)
    assert any(f"{steps} steps of 4" in line and "60 samples" in line for line in lines)


def test_prompts_cannot_write_to_the_terminal() -> None:
    assert safe("a\x1b[31mred\nb") == "a\\x1b[31mred\nb"
    long = safe("x" * 5_000)
    assert len(long) < 800
    assert "4300 characters" in long


def test_plan_is_a_command_and_a_missing_student_is_one_line(tiny_student, tmp_path, capsys):
    path = str(config(tmp_path, tiny_student))
    teacher = "teacher={backend: hf, model: somewhere}"
    assert main(["plan", path, teacher, "--tokens-per-second", "50"]) == 0
    assert "minutes at 50 tokens per second" in capsys.readouterr().out
    assert main(["plan", path, teacher, f"student={tmp_path / 'nothing'}"]) == 2
    assert capsys.readouterr().err.startswith("error: student: no tokenizer of")
    with pytest.raises(InputError):
        load_tokenizer(str(tmp_path))


def test_shortened_samples_of_a_plan_are_those_of_the_encoder(tiny_student, tmp_path) -> None:
    run = load_config(
        config(tmp_path, tiny_student),
        ["icldist.training.max_length=150", "icldist.shots=[4]", "icldist.other_tasks=0"],
    )
    pipeline = Distillation(run, teacher=Scripted())
    for step in pipeline.all_steps():
        if step.name in ("texts", "demonstrations"):
            step.do()
    requests = pipeline.requests("icldist")
    tokenizer = load_tokenizer(str(tiny_student))
    longest = [
        sample_of(r, max(r.choices, key=lambda c: len(tokenizer(c)["input_ids"]))) for r in requests
    ]
    encoding = encode_samples(longest, tokenizer, 150)
    stage = Plan(Distillation(run, teacher=Forbidden())).stages[-1]
    assert round(stage.shortened * len(requests)) == pytest.approx(encoding.shortened, abs=1)
    assert round(stage.left_out * len(requests)) == pytest.approx(len(encoding.too_long), abs=1)
    assert encoding.shortened > 0

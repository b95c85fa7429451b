"""The dry run: what it counts, that it calls nobody and writes nothing."""

import io
import json
import math
import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import pytest
from small_runs import Scripted, built, config, do, plan_of, requests_of, steps_of, store_of

pytest.importorskip("peft")

from whole_lists import build_requests

import distill.run.plan
from distill.__main__ import main
from distill.checkpoints import load_tokenizer
from distill.config import load_config
from distill.errors import LossError
from distill.prompts.taxonomies import load_taxonomies
from distill.run.data import read_texts, sample_of
from distill.run.plan import Plan, StagePlan
from distill.run.plan_text import Rates, histogram, quantile, render, safe, shortened
from distill.student.samples import encode_samples
from sentibench.errors import InputError
from sentibench.remote.records import Answer

HF = "teacher={backend: hf, model: somewhere}"
OPENAI = "teacher={backend: openai, model: m, base_url: 'http://127.0.0.1:9/v1'}"


pytestmark = pytest.mark.usefixtures("small_tests")


class Forbidden(Scripted):
    def answer(self, requests):
        raise AssertionError("a plan asks nobody")


class Verbose(Scripted):
    """Says how many tokens it read and wrote: thrice a constant, seven a free answer."""

    def answer(self, requests):
        for request, answer in super().answer(requests):
            written = 0 if request.choices else 7
            yield request, Answer(answer.text, answer.finish, 300, written)


def planned(folder: Path, student: Path, *overrides: str) -> Plan:
    run = load_config(config(folder, student), overrides)
    return plan_of(run, Forbidden())


def by_stage(plan: Plan) -> dict[str, StagePlan]:
    return {stage.stage: stage for stage in plan.stages}


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_plan_counts_what_a_run_asks_and_writes_nothing(tiny_student, tmp_path) -> None:
    plan = planned(tmp_path, tiny_student)
    before = files(tmp_path)
    lines = list(render(plan, Rates()))
    assert files(tmp_path) == before
    assert "  new    texts" in lines
    assert "  waits  knowdist-ask           for texts" in lines
    stages = by_stage(plan)
    assert (stages["knowdist"].n_requests, stages["icldist"].n_requests) == (16, 20)
    assert stages["knowdist"].axes["family/perspective"]["analysing/emotion"] == 2  # 16 over 8
    steps = do(steps_of(plan.run, Scripted()), "texts", "demonstrations", "ask")
    assert len(plan.texts) == len(read_texts(steps["texts"].folder))
    done = by_stage(planned(tmp_path, tiny_student))
    for name in ("knowdist", "icldist"):
        requests = requests_of(steps, name)
        assert done[name].answered == done[name].n_requests == len(requests)
        assert done[name].waiting == 0
        # with the teacher's labels the plan's prompts are those of the run
        tokens = load_tokenizer(str(tiny_student))([r.prompt for r in requests])["input_ids"]
        assert sorted(done[name].prompt_tokens) == sorted(map(len, tokens))
    assert sum(done["icldist"].axes["shots"].values()) == 20


def test_demonstrations_carry_gold_or_placeholders_until_the_teacher_has_answered(
    tiny_student, tmp_path
) -> None:
    plan = planned(tmp_path, tiny_student, "icldist.pool=64")
    asked = sum(r.n_requests for r in plan.stages if r.stage == "demonstrations")
    classes = {name: taxonomy.classes for name, taxonomy in load_taxonomies().items()}
    assert plan.gold + plan.placeholders == asked
    assert plan.gold == sum(
        text.label in classes[name] for text in plan.texts for name in classes
    )  # every mini text is in every pool: 64 of a source at most
    assert plan.placeholders > 0
    said = "  demonstration labels are placeholders until the teacher has answered: "
    said += f"{plan.gold:,} gold, {plan.placeholders:,} drawn at random"
    assert said in list(render(plan, Rates()))
    again = planned(tmp_path, tiny_student, "icldist.pool=64")
    assert again.stages[-1].prompt_tokens == plan.stages[-1].prompt_tokens
    do(steps_of(plan.run, Scripted()), "texts", "demonstrations")
    done = planned(tmp_path, tiny_student, "icldist.pool=64")
    assert (done.gold, done.placeholders) == (0, 0)
    assert not any("placeholders" in line for line in render(done, Rates()))


def test_every_family_shows_three_prompts_that_a_run_would_ask(tiny_student, tmp_path) -> None:
    plan = planned(tmp_path, tiny_student, "knowdist.samples=40", "icldist.samples=60")
    shown = [example for stage in plan.stages for example in stage.examples]
    families = ("analysing", "rewriting", "sentiment", "emotion", "other")
    assert Counter(family for family, _, _ in shown) == dict.fromkeys(families, 3)
    asked = build_requests(plan.run, "knowdist", plan.texts, None)
    assert {prompt for _, _, prompt in plan.stages[0].examples} <= {r.prompt for r in asked}
    lines = list(render(plan, Rates()))
    assert sum(line.startswith("Example ") for line in lines) == 15


def test_rates_give_time_and_cost_and_without_them_the_option_is_named(
    tiny_student, tmp_path
) -> None:
    path = config(tmp_path, tiny_student)
    plan = plan_of(load_config(path, [HF, "icldist=null"]))
    knowdist = plan.stages[0]
    prompts, answers = sum(knowdist.prompt_tokens), 16 * 160  # response_tokens of 160 is a bound
    assert (knowdist.cost.prompt_tokens, knowdist.cost.answer_tokens) == pytest.approx(
        (prompts, answers)
    )
    assert "bound" in knowdist.cost_basis
    lines = list(render(plan, Rates(100.0, 2.0, 4.0)))
    price = f"  cost: {(2 * prompts + 4 * answers) / 1e6:,.2f} US dollars"
    price += " at 2 for a million prompt tokens, 4 for a million answer tokens"
    assert lines.count(price) == 2  # of the stage, and of all
    seconds = (prompts + answers) / 100
    assert f"  time: {seconds:,.0f} seconds at 100 tokens per second" in lines
    unknown = [line for line in render(plan, Rates(usd_per_million_input=1.0)) if "unknown" in line]
    assert unknown == [
        "  time: unknown; give --tokens-per-second N, prompt and answer tokens together",
        "  cost: unknown; give --usd-per-million-output Y, or teacher.usd_per_million_input and "
        "_output",
    ]


def test_machines_share_the_time_and_cost_the_same(tiny_student, tmp_path) -> None:
    on_ray = "asking={engine: ray, address: auto, workers: [2, 9]}"
    plan = plan_of(load_config(config(tmp_path, tiny_student), [HF, "icldist=null", on_ray]))
    knowdist = plan.stages[0]
    hours = sum(knowdist.cost) / 0.05 / 3600
    one = list(render(plan, Rates(0.05, usd_per_machine_hour=3.0)))
    four = list(render(plan, Rates(0.05, machines=4, usd_per_machine_hour=3.0)))
    rent = f"  cost of machines: {hours * 3:,.2f} US dollars at 3 for an hour of one"
    assert one.count(rent) == four.count(rent) == 2  # of the stage, and of all
    at = "hours at 0.05 tokens per second"
    assert f"  time: {hours:,.1f} {at}" in one
    assert f"  time: {hours / 4:,.1f} {at} on each of 4 machines" in four
    assert not any("unknown" in line for line in one)
    assert one[1].startswith("asked by 2 to 9 workers of a Ray cluster (auto), each with 1 CPUs")
    with pytest.raises(InputError, match="--machines: got 0; expected a number above 0"):
        Rates(machines=0)


def test_the_prices_of_the_settings_give_the_cost_of_each_teacher(tiny_student, tmp_path) -> None:
    dear = OPENAI[:-1] + ", usd_per_million_input: 1000, usd_per_million_output: 2000}"
    own = f"knowdist.{dear.replace('1000', '3000').replace('model: m', 'model: n')}"
    one, two = (
        plan_of(load_config(config(tmp_path, tiny_student), [*g])) for g in ([dear], [dear, own])
    )
    dollars = [1e-3 * (s.cost.prompt_tokens + 2 * s.cost.answer_tokens) for s in one.stages]
    at = "US dollars at 1000 for a million prompt tokens, 2000 for a million answer tokens"
    assert f"  cost: {sum(dollars):,.2f} {at}" in render(one, Rates())
    assert f"  cost: {dollars[0]:,.2f} {at}" in render(one, Rates())
    more = 2e-3 * two.stages[0].cost.prompt_tokens
    assert f"  cost: {sum(dollars) + more:,.2f} US dollars" in render(two, Rates())
    what_if = [line for line in render(two, Rates(None, 0.0, 0.0)) if "US dollars" in line]
    assert {line.split(": ")[1].split()[0] for line in what_if} == {"0.00"}
    free = render(
        planned(
            tmp_path,
            tiny_student,
            "teacher={backend: gold}",
            "knowdist=null",
            "icldist.demonstrations=gold",
        ),
        Rates(),
    )
    assert "  time and cost: none, no model is asked" in free


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--tokens-per-second", "0", "--tokens-per-second: got 0; expected a number above 0"),
        ("--tokens-per-second", "nan", "--tokens-per-second: got nan; expected"),
        ("--usd-per-million-input", "inf", "--usd-per-million-input: got inf; expected"),
        ("--usd-per-million-output", "-1", "got -1; expected a number of at least 0"),
    ],
)
def test_an_impossible_rate_is_one_line(
    option, value, message, tiny_student, tmp_path, capsys
) -> None:
    path = str(config(tmp_path, tiny_student))
    assert main(["plan", path, HF, f"{option}={value}"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_what_run_would_refuse_is_said_after_the_plan(tiny_student, tmp_path, capsys) -> None:
    path = str(config(tmp_path, tiny_student))
    missing = f"teacher={{backend: hf, model: {tmp_path / 'nothing'}}}"
    assert main(["plan", path, missing]) == 2
    shown = capsys.readouterr()
    assert "Requests of knowdist: 16" in shown.out
    assert shown.err.startswith("error: teacher.model: ")
    assert "no such folder" in shown.err
    assert main(["plan", path, OPENAI, "evaluation.limits={sentibench_mini_imdb: 3}"]) == 2
    assert "evaluation.limits: sentibench_mini_imdb is not evaluated" in capsys.readouterr().err
    assert main(["plan", path, OPENAI]) == 0
    assert capsys.readouterr().err == ""


def test_a_teacher_that_cannot_score_label_words_writes_them(tiny_student, tmp_path) -> None:
    path = config(tmp_path, tiny_student)
    settings = ["knowdist=null", "icldist.demonstrations=gold", "icldist.other_tasks=0"]
    scored, written = (
        by_stage(plan_of(load_config(path, [teacher, *settings])))["icldist"]
        for teacher in (HF, OPENAI)
    )
    assert scored.cost.answer_tokens == 0
    assert written.cost.answer_tokens == 20 * 64  # label_tokens each
    assert written.response_tokens == scored.response_tokens  # the student learns a label


def test_the_stores_answers_say_how_long_answers_are(tiny_student, tmp_path) -> None:
    run = load_config(config(tmp_path, tiny_student), ["icldist=null"])
    steps = do(steps_of(run, Verbose()), "texts", "ask")
    more = planned(tmp_path, tiny_student, "icldist=null", "knowdist.samples=24").stages[0]
    assert (more.answered, more.waiting) == (16, 8)
    requests = requests_of(steps, "knowdist")
    tokenizer = load_tokenizer(str(tiny_student))
    own = sum(len(tokenizer(request.prompt)["input_ids"]) for request in requests)
    # 300 tokens each by the teacher's tokenizer, where the student's counted `own` for 16
    assert more.cost.prompt_tokens == pytest.approx(
        8 * fmean(more.prompt_tokens) * (16 * 300) / own
    )
    assert more.cost.answer_tokens == 8 * 7
    assert more.cost_basis == "mean of 16 answers in the store"
    assert more.response_basis == "16 known, 8 as the longest answer allowed"


def test_failures_and_answers_missing_in_a_recording_are_told(tiny_student, tmp_path) -> None:
    path = config(tmp_path, tiny_student)
    steps = do(steps_of(load_config(path), Scripted()), "texts", "demonstrations")
    steps["knowdist-ask"].do()
    store_of(steps).rename(tmp_path / "recorded")
    lines = list(render(plan_of(load_config(path, ["knowdist.samples=20"])), Rates()))
    assert "  answered in the store: 0; to ask: 20" in lines
    assert "  4 of these have no recorded answer and would fail" in lines
    assert "  time and cost: none, no model is asked" in lines
    run = load_config(path, ["knowdist.samples=20"])
    with pytest.raises(LossError, match="not recorded"):  # none of ICLDist's is recorded
        do(steps_of(run), "texts", "demonstrations", "ask")
    knowdist = plan_of(run).stages[0]
    assert (knowdist.answered, knowdist.failed, knowdist.waiting) == (16, 0, 4)


@pytest.mark.slow
def test_training_lines_are_the_trainings_own_numbers(tiny_student, tmp_path) -> None:
    settings = ["knowdist.training.epochs=2", "filters.skip=[near-duplicate]"]
    run = load_config(config(tmp_path, tiny_student), settings)
    steps = do(steps_of(run, Scripted()), "texts", "demonstrations", "ask", "filter")
    steps["knowdist-train"].do()
    summary = steps["knowdist-train"].record()["summary"]  # type: ignore[index]
    plan = plan_of(run, Forbidden())
    knowdist = plan.trainings[0]
    assert knowdist.basis == "after the filters"
    assert (knowdist.n_samples, knowdist.n_steps) == (summary["samples"], summary["steps"])
    # the plan's mean is over answers, the training's over those kept
    n_answers = plan.stages[0].answered
    kept = summary["samples"]
    assert kept == n_answers
    assert knowdist.supervised_tokens == pytest.approx(summary["supervised_tokens"])
    assert knowdist.tokens == pytest.approx(summary["tokens"])


def test_a_mixed_stage_trains_all_samples_with_icldists_settings(tiny_student, tmp_path) -> None:
    limits = ["knowdist.training.max_length=1024", "icldist.training.max_length=16"]
    apart = planned(tmp_path, tiny_student, *limits, "icldist.training.batch_size=8")
    assert by_stage(apart)["knowdist"].left_out == 0
    assert by_stage(apart)["icldist"].left_out == 20
    mixed = planned(
        tmp_path, tiny_student, "mixed=true", "icldist.training.batch_size=8", limits[0]
    )
    (training,) = mixed.trainings
    assert (training.n_samples, training.n_steps) == (36, math.ceil(36 / 8))
    short = planned(tmp_path, tiny_student, "mixed=true", *limits)
    assert by_stage(short)["knowdist"].left_out == 16
    assert short.trainings[0].n_samples == short.trainings[0].n_steps == 0


def test_hard_samples_alone_are_counted(tiny_student, tmp_path) -> None:
    plan = planned(tmp_path, tiny_student, "knowdist.difficulty={keep: 0.25}")
    assert plan.trainings[0].n_samples == 4


def test_shortened_and_left_out_samples_are_those_of_the_encoder(tiny_student, tmp_path) -> None:
    settings = ["icldist.samples=60", "icldist.shots=[1, 4]", "icldist.other_tasks=0"]
    run = load_config(
        config(tmp_path, tiny_student), [*settings, "icldist.training.max_length=100"]
    )
    steps = do(steps_of(run, Scripted()), "texts", "demonstrations")
    longest = [sample_of(r, max(r.choices, key=len)) for r in built(run, steps, "icldist")]
    encoding = encode_samples(longest, load_tokenizer(str(tiny_student)), 100)
    stage = plan_of(run, Forbidden()).stages[-1]
    assert (stage.shortened, stage.left_out) == (encoding.shortened, len(encoding.too_long))
    assert stage.shortened > 0
    assert stage.left_out > 0


def test_a_free_answer_counts_at_its_longest_until_it_is_known(tiny_student, tmp_path) -> None:
    longest = max(planned(tmp_path, tiny_student, "icldist=null").stages[0].prompt_tokens)
    # with 160 tokens more the longest does not fit, with a scripted answer of about 100 it does
    limit = f"knowdist.training.max_length={longest + 150}"
    plan = planned(tmp_path, tiny_student, "icldist=null", limit)
    assert plan.stages[0].left_out > 0
    assert plan.stages[0].response_tokens == 160 + 1
    run = plan.run
    do(steps_of(run, Scripted()), "texts", "ask")
    known = planned(tmp_path, tiny_student, "icldist=null", limit).stages[0]
    assert known.left_out == 0
    assert known.response_basis == "16 known"


def test_counted_requests_meet_every_kind_of_prompt(tiny_student, tmp_path, monkeypatch) -> None:
    rows = [json.dumps({"text": f"review number {i} is fine"}) for i in range(640)]
    (tmp_path / "many.jsonl").write_text("\n".join(rows))
    monkeypatch.setattr(distill.run.plan, "COUNTED", 80)
    texts = f"texts=[{{file: {tmp_path / 'many.jsonl'}}}]"
    settings = [texts, "icldist=null", "knowdist.samples=640"]
    plan = planned(tmp_path, tiny_student, *settings)
    assert len(plan.stages[0].prompt_tokens) == 80
    # a stride of 8 would meet one of the eight prompts 80 times
    assert len(set(plan.stages[0].prompt_tokens)) > 4
    assert any("of 80 requests drawn at random" in line for line in render(plan, Rates()))


def test_of_many_texts_and_requests_a_plan_makes_some_and_says_so(
    tiny_student, tmp_path, monkeypatch
) -> None:
    rows = [json.dumps({"text": f"review number {i % 600} is fine"}) for i in range(640)]
    (tmp_path / "many.jsonl").write_text("\n".join(rows))
    texts = f"texts=[{{file: {tmp_path / 'many.jsonl'}}}]"
    settings = [texts, "knowdist.samples=5000", "icldist.samples=300"]
    whole = by_stage(planned(tmp_path, tiny_student, *settings))
    monkeypatch.setattr(distill.run.plan, "MADE", 120)
    monkeypatch.setattr(distill.run.plan, "LOOKED_AT", 320)
    plan = planned(tmp_path, tiny_student, *settings)
    some = by_stage(plan)
    assert plan.is_sampled
    assert 600 <= plan.n_texts["many"] <= 640
    assert some["knowdist"].n_requests == 8 * plan.n_texts["many"]
    for stage, n_made in (("knowdist", 120), ("icldist", 120)):
        assert (some[stage].n_made, whole[stage].n_made) == (n_made, whole[stage].n_requests)
        assert some[stage].waiting == some[stage].n_requests
        for axis, counts in some[stage].axes.items():
            assert abs(counts.total() - some[stage].n_requests) <= len(counts)
            assert set(counts) <= set(whole[stage].axes[axis])
    shown = "\n".join(render(plan, Rates()))
    assert "Texts: about" in shown
    assert "Requests of icldist: 300, counted on 120 drawn at random" in shown


def test_disk_space_is_that_of_the_students(tiny_student, tmp_path) -> None:
    from transformers import AutoModelForCausalLM

    # a merged student of each stage in float32; of all weights seven more copies
    size = 4 * AutoModelForCausalLM.from_pretrained(tiny_student).num_parameters()
    lora = planned(tmp_path, tiny_student)
    assert lora.disk()[0] == 2 * size
    full = planned(tmp_path, tiny_student, "icldist.training.method=full")
    assert full.disk()[0] == 9 * size
    said = [line for line in render(full, Rates()) if line.startswith("  disk")]
    assert len(said) == 1
    assert said[0].endswith(" GB free")


def test_texts_left_out_are_told_by_source_and_reason(tiny_student, tmp_path) -> None:
    rows = ["good one", "good one", " ", "bad<br>one", "5/5"]
    content = "".join(json.dumps({"text": text}) + "\n" for text in rows)
    (tmp_path / "own.jsonl").write_text(content)
    plan = planned(
        tmp_path,
        tiny_student,
        f"texts=[{{file: {tmp_path / 'own.jsonl'}}}]",
        "icldist=null",
    )
    lines = list(render(plan, Rates()))
    at = next(n for n, line in enumerate(lines) if line.startswith("  own "))
    told = " ".join(lines[at].split())
    assert told == "own 2 left out: 1 duplicate, 1 empty, 1 no words"
    assert lines[at + 1].split() == ["cleaned:", "1", "markup"]
    do(steps_of(plan.run, Scripted()), "texts")
    again = plan_of(plan.run, Scripted())
    assert (again.left_out, again.changed) == (plan.left_out, plan.changed)


def test_nothing_of_a_text_or_a_name_reaches_the_terminal_as_a_command(
    tiny_student, tmp_path
) -> None:
    evil = "\x1b[31mred\u202e \x07\nTraining\n  knowdist  9 samples"
    rows = [json.dumps({"text": f"{evil} {i}"}) for i in range(12)]
    (tmp_path / "own.jsonl").write_text("\n".join(rows))
    tasks = [
        {"task": f"t\x1b[2J{i}", "instruction": "Do.", "input": f"x{k}", "output": f"\x1b\n{k % 2}"}
        for i in range(3)
        for k in range(6)
    ]
    (tmp_path / "tasks.jsonl").write_text("\n".join(map(json.dumps, tasks)))
    plan = planned(
        tmp_path,
        tiny_student,
        "texts=" + json.dumps([{"file": str(tmp_path / "own.jsonl"), "name": "own\x1b[0m"}]),
        f"icldist.other_files=[{tmp_path / 'tasks.jsonl'}]",
        "icldist.other_tasks=0.7",
    )
    lines = list(render(plan, Rates()))
    assert all(line.isprintable() for line in lines)
    assert any("\\x1b[31mred\\u202e" in line for line in lines)
    assert any("own\\x1b[0m" in line for line in lines)
    assert lines.count("Training") == 1  # a text's own lines are marked as such


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a\x1b[31mred", "a\\x1b[31mred"),
        ("a\nb\u2028c", "a\\nb\\u2028c"),
        ("\ud83d alone", "\\ud83d alone"),
        ("größer ✓", "größer ✓"),
    ],
)
def test_a_line_is_shown_escaped(given, expected) -> None:
    assert safe(given) == expected


def test_the_middle_of_a_long_text_is_left_out() -> None:
    assert shortened("x" * 900) == "x" * 900
    long = shortened("a" * 2_500 + "b" * 2_500)
    assert long == "a" * 450 + " [... 4,100 characters ...] " + "b" * 450


def test_quantiles_and_bars() -> None:
    assert [quantile([3, 1, 2, 4], q) for q in (0, 0.5, 0.9, 1)] == [1, 2, 4, 4]  # by hand
    rng = random.Random(0)
    for size in (1, 2, 9, 300):
        values: Sequence[int] = [rng.randrange(1000) for _ in range(size)]
        lines = list(histogram(values))
        assert 1 <= len(lines) <= 8
        assert sum(int(line.split()[3].replace(",", "")) for line in lines) == size
        assert max(line.count("#") for line in lines) == 40
    assert list(histogram([5, 5, 5])) == [f"{5:7,} to {5:7,} {3:9,} {'#' * 40}"]


def test_plan_is_a_command_and_a_missing_student_is_one_line(
    tiny_student, tmp_path, capsys, monkeypatch
) -> None:
    path = str(config(tmp_path, tiny_student))
    assert main(["plan", path, OPENAI, "--tokens-per-second", "50"]) == 0
    assert "at 50 tokens per second" in capsys.readouterr().out
    assert main(["plan", path, HF, f"student={tmp_path / 'nothing'}"]) == 2
    error = capsys.readouterr().err
    where = f"error: student: {tmp_path / 'nothing'}"
    assert error == f"{where}: no such folder; expected a checkpoint; check the path\n"
    assert error.count("\n") == 1
    with pytest.raises(InputError):
        load_tokenizer(str(tmp_path))
    assert not (tmp_path / "runs").exists()
    (tmp_path / "own.txt").write_text("fine \U0001f600 day\n" * 3, encoding="utf-8")
    plain = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", plain)
    texts = f"texts=[{{file: {tmp_path / 'own.txt'}}}]"
    assert main(["plan", path, OPENAI, texts, "icldist=null"]) == 0
    plain.flush()
    assert b"fine \\U0001f600 day" in plain.buffer.getvalue()  # type: ignore[attr-defined]

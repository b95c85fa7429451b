"""Gap closed: paired by item, over the same tasks, and none where it has no meaning."""

import json
import random
import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill.report import comparison
from distill.report.manifest import Comparison, LeftOut, TaskFacts
from leaderboard.__main__ import main as leaderboard
from sentibench.data.cards import load_tasks
from sentibench.scoring import statistics
from sentibench.scoring.metrics import tuple_f1
from sentibench.scoring.statistics import Estimate

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "leaderboard_build.py"
STAMP = "2025-01-02T03-04-05.678901"


def row(task: str, index: int, score: Sequence[float]) -> dict[str, Any]:
    """A line of lm-eval: of a label task with the gold label in the document, else four counts."""
    labels = load_tasks()[task].card.labels
    gold = {"label": labels[int(score[0])]} if labels else {"answer": "[]"}
    doc = {"index": index, "sentence": f"text {index}", **gold}
    counts = {} if labels else {"official_f1": list(score), "strict_f1": list(score)}
    return {"filter": "none", "doc": doc, "prompt_hash": "", "score": list(score), **counts}


def write(
    folder: Path, task: str, rows: Sequence[dict[str, Any]], stamp: str = STAMP, seed: int = 42
) -> None:
    below = folder / "model"
    below.mkdir(parents=True, exist_ok=True)
    content = {"configs": {task: {"metadata": {"demo_seed": seed}}}}
    (below / f"results_{stamp}.json").write_text(json.dumps(content), encoding="utf-8")
    lines = "".join(json.dumps(r) + "\n" for r in rows)
    (below / f"samples_{task}_{stamp}.jsonl").write_text(lines, encoding="utf-8")


def labels(task: str, gold: Sequence[int], predicted: Sequence[int]) -> list[dict[str, Any]]:
    n_labels = len(load_tasks()[task].card.labels)
    pairs = enumerate(zip(gold, predicted, strict=True))
    return [row(task, index, (g, p, n_labels)) for index, (g, p) in pairs]


def with_errors(gold: Sequence[int], wrong: Sequence[int]) -> list[int]:
    return [1 - g if index in wrong else g for index, g in enumerate(gold)]


GOLD = [0, 1] * 100
ERRORS = {  # of 200 items; the smaller sets lie inside the larger ones
    "base": range(100),
    "knowdist": range(75),
    "icldist": range(50),
    "teacher": range(10),
}


@pytest.fixture
def results(tmp_path: Path) -> dict[str, Path]:
    for model, wrong in ERRORS.items():
        for task in ("sentibench_sst2", "sentibench_irony18"):
            write(tmp_path / model, task, labels(task, GOLD, with_errors(GOLD, wrong)))
    return {model: tmp_path / model for model in ERRORS}


def compare(results: dict[str, Path], teacher: str | None = "teacher"):
    found = comparison.compare(results, "base", ["knowdist", "icldist"], teacher)
    text = json.dumps(found.model_dump(mode="json"), allow_nan=False)
    assert Comparison.model_validate_json(text) == found
    return found


def test_a_score_is_the_mean_over_the_demonstration_seeds(tmp_path: Path) -> None:
    task, later = "sentibench_sst2", "2025-01-02T03-04-06.000000"
    wrong = {"base": (range(100), range(80)), "student": (range(50), range(60))}
    for model, of_seeds in wrong.items():
        for seed, items in zip((42, 52), of_seeds, strict=True):
            rows = labels(task, GOLD, with_errors(GOLD, items))
            write(tmp_path / model, task, rows, STAMP if seed == 42 else later, seed)
    results = {model: tmp_path / model for model in wrong}
    found = comparison.compare(results, "base", ["student"], None)
    assert found.tasks[task] == TaskFacts(n=200, seen=True, seeds=(42, 52))
    gain = found.students["student"].tasks[task].difference
    assert gain.value == pytest.approx((0.75 + 0.7) / 2 - (0.5 + 0.6) / 2, abs=0.003)
    # a seed that the base lacks, and other items under another seed
    (tmp_path / "base" / "model" / f"results_{later}.json").unlink()
    (reason,) = comparison.compare(results, "base", ["student"], None).left_out
    assert reason.reason == "other demonstration seeds than the base's"
    write(tmp_path / "student", task, labels(task, GOLD[:100], GOLD[:100]), later, 52)
    reasons = [r.reason for r in comparison.compare(results, "base", ["student"], None).left_out]
    assert "its demonstration seeds were measured on different items" in reasons


def test_differences_and_gap_are_those_counted_by_hand(results: dict[str, Path]) -> None:
    # both labels are hit alike, so macro-F1 is the accuracy: 0.5, 0.625, 0.75, 0.95
    found = compare(results)
    assert list(found.students) == ["knowdist", "icldist"]
    for student, difference, closed in (
        ("knowdist", 0.125, 0.125 / 0.45),
        ("icldist", 0.25, 0.25 / 0.45),
    ):
        cells = found.students[student]
        for scope in (cells.all, cells.seen, cells.unseen, *cells.tasks.values()):
            assert scope.difference.value == pytest.approx(difference, abs=0.003)
            assert scope.gap_closed.value == pytest.approx(closed, abs=0.01)
            for interval in (scope.difference, scope.gap_closed):
                assert interval.low < interval.value < interval.high
        assert (cells.all.n_tasks, cells.all.n_items) == (2, 400)
    assert found.means["base"].all.value == pytest.approx(0.5)
    assert found.means["teacher"].seen.value == pytest.approx(0.95)
    assert found.lead.all.value == pytest.approx(0.45)
    assert found.tasks == {
        "sentibench_sst2": TaskFacts(n=200, seen=True),
        "sentibench_irony18": TaskFacts(n=200, seen=False),
    }
    assert found.left_out == ()


def test_gap_closed_is_that_of_a_bootstrap_written_out(tmp_path: Path) -> None:
    """The same draws, scored item by item by macro-F1 in plain Python."""

    def macro_f1(gold: Sequence[int], predicted: Sequence[int]) -> float:
        scores: list[float] = []
        for label in (0, 1):
            hits = sum(g == p == label for g, p in zip(gold, predicted, strict=True))
            asked = gold.count(label) + predicted.count(label)
            scores.append(2 * hits / asked if asked else 0.0)
        return sum(scores) / 2

    task, gold = "sentibench_sst2", GOLD[:20]
    answers = {"base": range(12), "student": range(6), "teacher": range(1)}
    answers = {model: with_errors(gold, wrong) for model, wrong in answers.items()}
    for model, predicted in answers.items():
        write(tmp_path / model, task, labels(task, gold, predicted))
    folders = {model: tmp_path / model for model in answers}
    found = comparison.compare(folders, "base", ["student"], "teacher")
    drawer = np.random.default_rng(statistics.task_seed(load_tasks()[task].card))
    ratios: list[float] = []
    for _ in range(statistics.REPLICATES // statistics.CHUNK):
        for drawn in drawer.integers(0, 20, size=(statistics.CHUNK, 20)).tolist():
            student, base, teacher = (
                macro_f1([gold[i] for i in drawn], [answers[model][i] for i in drawn])
                for model in ("student", "base", "teacher")
            )
            ratios.append((student - base) / (teacher - base))
    cell = found.students["student"].tasks[task].gap_closed
    low, high = np.quantile(ratios, (0.025, 0.975))
    assert (cell.low, cell.high) == (pytest.approx(low), pytest.approx(high))


def test_report_card_and_leaderboard_show_the_same_figures(tmp_path: Path) -> None:
    write_results = runpy.run_path(str(BENCHMARK))["write_results"]
    for seed, (model, skill) in enumerate((("base", 0.3), ("student", 0.6), ("teacher", 0.95))):
        write_results(tmp_path / "results" / model, model, skill, seed=seed, source="mini")
    folders = {model: tmp_path / "results" / model for model in ("base", "student", "teacher")}
    found = comparison.compare(folders, "base", ["student"], "teacher")
    declared = "student: {name: student, base: base, teacher: teacher}"
    (tmp_path / "results" / "models.yaml").write_text(declared, encoding="utf-8")
    options = ["--source", "mini", "--out", str(tmp_path / "site")]
    assert leaderboard(["build", str(tmp_path / "results"), *options]) == 0
    board = json.loads((tmp_path / "site" / "leaderboard.json").read_text(encoding="utf-8"))
    rows = {row["name"]: row for row in board["rows"]}
    assert len(rows) == 3
    assert found.students["student"].all.n_tasks == 12
    figures = found.model_dump(mode="json")
    shown, own = rows["student"]["gap"]["official"], figures["students"]["student"]["all"]
    for end in ("value", "low", "high"):  # the board keeps nine digits
        assert shown[end] == float(f"{own['gap_closed'][end]:.9g}")
    keys = {rows["student"]["key"], rows["base"]["key"]}
    pairs = [pair for pair in board["comparisons"] if pair["metric"] == "official"]
    (pair,) = [pair for pair in pairs if {pair["a"], pair["b"]} == keys]
    assert pair["a"] == rows["student"]["key"]  # the better one first
    for theirs, end in (("difference", "value"), ("low", "low"), ("high", "high")):
        assert pair[theirs] == float(f"{own['difference'][end]:.9g}")
    for model, row in rows.items():
        for scope, column in (("all", "overall"), ("seen", "seen"), ("unseen", "unseen")):
            mean = figures["means"][model][scope]["value"]
            assert row["scores"]["official"][column]["value"] == float(f"{mean:.9g}")
        for metric, of in row["calibration"].items():
            for end, value in figures["calibration"]["models"][model][metric].items():
                assert of["overall"][end] == float(f"{value:.9g}")
    assert len(figures["calibration"]["tasks"]) == 8
    assert set(rows["base"]["calibration"]) == {"ece", "brier", "nll", "coverage_at_5"}


def test_calibration_is_that_of_the_tasks_that_base_and_students_saved(tmp_path: Path) -> None:
    write_results = runpy.run_path(str(BENCHMARK))["write_results"]
    tasks = {"base": ("imdb", "sst2"), "student": ("imdb", "sst2"), "teacher": ("imdb",)}
    for seed, (model, cards) in enumerate(tasks.items()):
        write_results(tmp_path / model, model, 0.6, seed=seed, source="mini", cards=cards)
    folders = {model: tmp_path / model for model in tasks}

    def calibration() -> Any:
        return comparison.compare(folders, "base", ["student"], "teacher").calibration

    imdb, sst2 = "sentibench_mini_imdb", "sentibench_mini_sst2"
    assert (calibration().tasks, list(calibration().models)) == ((imdb, sst2), ["base", "student"])
    without_answers(tmp_path / "student", sst2)
    assert calibration().tasks == (imdb,)
    assert list(calibration().models) == ["base", "student", "teacher"]
    without_answers(tmp_path / "base", imdb)
    assert calibration() is None


def without_answers(folder: Path, task: str) -> None:
    (path,) = folder.rglob(f"samples_{task}_*")
    kept = [{k: v for k, v in json.loads(r).items() if k != "resps"} for r in path.open()]
    path.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")


def test_a_student_that_is_its_base_differs_by_nothing_in_every_resampling(
    results: dict[str, Path],
) -> None:
    results["icldist"] = results["base"]
    cell = compare(results).students["icldist"].all
    assert cell.difference == Estimate(0.0, 0.0, 0.0)
    assert cell.gap_closed == Estimate(0.0, 0.0, 0.0)
    results["icldist"] = results["teacher"]
    cell = compare(results).students["icldist"].all
    assert cell.gap_closed == Estimate(1.0, 1.0, 1.0)


def test_items_are_joined_by_position_and_never_by_line(results: dict[str, Path]) -> None:
    before = compare(results)
    for path in results["icldist"].rglob("samples_*.jsonl"):
        lines = path.read_text(encoding="utf-8").splitlines()
        random.Random(1).shuffle(lines)
        filtered = [line.replace('"none"', '"other"') for line in lines]  # once per filter
        path.write_text("\n".join(lines + filtered), encoding="utf-8")
    assert compare(results) == before


def test_tuples_are_scored_by_their_f1(tmp_path: Path) -> None:
    task = "sentibench_asqp_rest16"
    counts = {"base": (0.0, 1.0, 0.0, 2.0), "student": (1.0, 2.0, 1.0, 2.0)}
    for model, score in counts.items():
        write(tmp_path / model, task, [row(task, index, score) for index in range(20)])
    found = comparison.compare({m: tmp_path / m for m in counts}, "base", ["student"], None)
    cell = found.students["student"].unseen
    assert cell.difference.value == pytest.approx(0.5) == tuple_f1(np.array(counts["student"]))
    assert found.students["student"].seen is None
    assert found.means["base"].seen is None


def test_no_gap_without_a_measured_teacher_and_the_reason_is_given(
    results: dict[str, Path], tmp_path: Path
) -> None:
    for teacher, folder in ((None, results["teacher"]), ("teacher", tmp_path / "nowhere")):
        given = compare({**results, "teacher": folder}, teacher)
        cell = given.students["icldist"].all
        assert cell.difference.value == pytest.approx(0.25, abs=0.003)
        assert (cell.gap_closed, cell.reason) == (None, "the teacher was not measured")
        assert given.lead.all is None
    for path in results["teacher"].rglob("samples_sentibench_irony18_*"):
        path.unlink()
    cells = compare(results).students["icldist"]
    assert cells.seen.gap_closed.value == pytest.approx(0.25 / 0.45, abs=0.01)
    assert cells.unseen.reason == "the teacher was not measured"
    assert cells.all.gap_closed is None
    assert cells.all.reason == "the teacher was not measured on 1 of 2 tasks"


def test_no_gap_where_the_teacher_may_not_be_better_than_the_base(
    results: dict[str, Path],
) -> None:
    for wrong, reason in (
        (range(1, 101), "teacher minus base is +0.0 points (95% interval −1.0"),
        (range(150), "the teacher is worse than the base"),
    ):
        for task in ("sentibench_sst2", "sentibench_irony18"):
            rows = labels(task, GOLD, with_errors(GOLD, wrong))
            write(results["teacher"], task, rows)
        cell = compare(results).students["icldist"].all
        assert cell.gap_closed is None
        assert cell.reason.startswith(reason)
        assert "95% interval" in cell.reason


def test_gap_closed_needs_the_teacher_ahead_in_every_replicate() -> None:
    lead_B = np.full(1000, 0.1)
    lead_B[:5] = -0.01  # the interval is above 0, five ratios have another sign
    draws = np.stack([np.full(1000, 0.05), np.zeros(1000), lead_B])
    closed, reason = statistics.gap_closed((0.05, 0.0, 0.1), draws)
    assert closed is None
    assert "it is not above 0 in 5 of 1,000 replicates" in reason
    closed, reason = statistics.gap_closed((0.05, 0.0, 0.1), np.abs(draws))
    assert closed is not None
    assert (closed.value, reason) == (0.5, "")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda rows: rows[:50], "other items than the base's (50, 200)"),
        (
            lambda rows: [{**r, "doc": {**r["doc"], "sentence": "x"}} for r in rows],
            "other items than the base's (200, 2",
        ),
        (lambda rows: [], "the sample file has no row"),
        (lambda rows: rows[:1], "resampling says nothing about one item"),
        (lambda rows: [*rows, rows[0]], "an item occurs twice"),
        (lambda rows: [{**r, "score": [0, 2, 2]} for r in rows], "scores that no run of ours"),
        (lambda rows: [{**r, "score": [0, 1, 3]} for r in rows], "scores that no run of ours"),
        (lambda rows: [{**r, "doc": None} for r in rows], "samples_sentibench_sst2_2025"),
        (lambda rows: ["<b>"], "samples_sentibench_sst2_2025"),
    ],
)
def test_a_task_with_other_or_broken_items_is_left_out_with_the_reason(
    results: dict[str, Path], change, reason: str
) -> None:
    task = "sentibench_sst2"
    rows = labels(task, GOLD, with_errors(GOLD, ERRORS["icldist"]))
    write(results["icldist"], task, change(rows))
    found = compare(results)
    assert list(found.tasks) == ["sentibench_irony18"]
    reasons = [
        left.reason for left in found.left_out if (left.model, left.task) == ("icldist", task)
    ]
    assert any(text.startswith(reason) for text in reasons)
    assert found.students["icldist"].all.n_tasks == 1


def test_a_student_without_results_takes_no_task_from_the_others(
    results: dict[str, Path], tmp_path: Path
) -> None:
    found = compare({**results, "icldist": tmp_path / "nowhere"})
    assert list(found.students) == ["knowdist"]
    assert len(found.tasks) == 2
    reason = "no samples of SentiBench tasks"
    assert found.left_out == (LeftOut(model="icldist", task="", reason=reason),)
    nothing = compare({**results, "base": tmp_path / "nowhere"})
    assert nothing.students == nothing.tasks == nothing.means == {}
    assert {left.model for left in nothing.left_out} == {"base"}


def test_the_newest_finished_evaluation_counts(results: dict[str, Path]) -> None:
    before = compare(results)
    for task in ("sentibench_sst2", "sentibench_irony18"):
        rows = labels(task, GOLD, with_errors(GOLD, range(200)))
        write(results["icldist"], task, rows, stamp="2024-12-31T00-00-00.000000")
        write(results["icldist"], task, rows, stamp="2026-01-01T00-00-00.000000")
    (results["icldist"] / "model" / "results_2026-01-01T00-00-00.000000.json").unlink()
    assert compare(results) == before


def test_draws_of_a_task_depend_on_no_other_model_or_task(results: dict[str, Path]) -> None:
    alone = comparison.compare(results, "base", ["icldist"], "teacher").students["icldist"]
    assert alone == compare(results).students["icldist"]
    for model in ERRORS:
        for path in results[model].rglob("samples_sentibench_sst2_*"):
            path.unlink()
    task = "sentibench_irony18"
    assert compare(results).students["icldist"].tasks[task] == alone.tasks[task]

"""Results -> board: what is ranked and why not, and the statistics against independent code."""

import base64
import importlib.util
import json
import re
import zlib
from collections import Counter
from dataclasses import fields
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from scipy import stats as scipy_stats
from small_entries import MINI

from leaderboard.__main__ import main
from leaderboard.board import Board, Row, to_json
from leaderboard.build import build_board
from leaderboard.exports import to_csv, to_hardest, to_latex, to_markdown
from leaderboard.items import build_items, hardest_items
from leaderboard.previous import changes, read_previous
from leaderboard.ranking import rank_entries
from leaderboard.runs.entries import collect_entries
from leaderboard.runs.models import Declared, ModelInfo, load_declared, load_models
from leaderboard.runs.results import load_results
from sentibench.errors import InputError
from sentibench.scoring.statistics import holm


@cache
def synthetic():
    path = Path(__file__).parents[2] / "benchmarks" / "leaderboard_build.py"
    spec = importlib.util.spec_from_file_location("synthetic_results", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.write_results


def view_of(folder: Path, replicates: int = 500):
    runs, problems = load_results(folder)
    models = folder / "models.yaml"
    declared = Declared(load_models(models)) if models.is_file() else Declared()
    return build_board(collect_entries(runs, declared, MINI), problems, MINI, replicates)


SENTENCE = "Hardly a false note in it."  # of the small SST2


def mini(folder: Path, model: str, skill: float, **options) -> Path:
    return synthetic()(folder, model, skill, source="mini", **options)


def test_better_models_rank_higher_and_averages_are_means_of_tasks(tmp_path: Path) -> None:
    for number, skill in enumerate((0.3, 0.9, 0.6)):
        mini(tmp_path, f"m{skill}", skill, seed=number)
    board = view_of(tmp_path)
    ranked = [row for row in board.rows if row.ranked]
    assert [row.name for row in ranked] == ["m0.9", "m0.6", "m0.3"]
    for row in ranked:
        scores = row.scores["official"]
        tasks = [task.name for task in board.tasks]
        assert len(tasks) == 12
        mean = np.mean([scores[task].value for task in tasks])
        assert scores["overall"].value == pytest.approx(mean)
        assert all(c.low <= c.value <= c.high for c in scores.values())
    assert ranked[0].rank["official"].low == 1


@pytest.mark.parametrize("is_alone", [True, False])
def test_results_of_sentibench_robust_are_said_to_be_left_out(
    is_alone: bool, tmp_path: Path, capsys
) -> None:
    mini(tmp_path / "results", "m", 0.6, cards=("sst2",))
    (path,) = (tmp_path / "results" / "m").glob("results_*.json")
    content = json.loads(path.read_text())
    task, robust = "sentibench_mini_sst2", "sentibench_mini_robust_sst2"
    for part in ("results", "configs", "n-samples"):
        content[part][robust] = content[part][task]
        if is_alone:
            del content[part][task]
    path.write_text(json.dumps(content))
    arguments = ["build", str(tmp_path / "results"), "--out", str(tmp_path / "site")]
    assert main([*arguments, "--replicates", "100"]) == (2 if is_alone else 0)
    said = capsys.readouterr().err
    assert "1 task of sentibench_robust: never ranked or shown here" in said
    assert ("no results in it that a page can show" in said) is is_alone


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"limit": 5}, "limited run"),
        ({"shots": 0}, "other protocol: shots is 0"),
        ({"cards": ("imdb", "sst2")}, "2/12 tasks"),
    ],
)
def test_an_incomparable_run_is_shown_but_not_ranked(tmp_path: Path, options, reason) -> None:
    mini(tmp_path, "good", 0.8)
    mini(tmp_path, "other", 0.9, **options)
    board = view_of(tmp_path)
    rows = {row.name: row for row in board.rows}
    assert rows["good"].ranked
    assert not rows["other"].ranked
    assert rows["other"].rank is None
    assert any(reason in text for text in rows["other"].reasons)
    overall = rows["other"].scores["official"].get("overall")
    assert (overall is not None) == ("shots" in options)  # all tasks on all items


def test_the_newest_run_wins_and_the_older_is_history(tmp_path: Path) -> None:
    mini(tmp_path, "m", 0.2, date=1_790_000_001.0)
    mini(tmp_path, "m", 1.0, date=1_790_000_002.0)
    (row,) = view_of(tmp_path).rows
    assert row.scores["official"]["sentibench_mini_sst2"].value == 1.0
    assert len(row.history) == 12


def test_seeds_are_averaged_per_item(tmp_path: Path) -> None:
    for number, seed in enumerate((42, 52, 62)):
        mini(tmp_path, "m", 0.7, seed=number, demo_seed=seed)
    (row,) = view_of(tmp_path).rows
    assert row.ranked
    assert row.seeds == (42, 52, 62)
    assert np.sum(row.confusion["sentibench_mini_sst2"]) == 3 * 24


def test_other_data_is_not_ranked(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        mini(tmp_path, name, 0.7)
    (samples,) = (tmp_path / "c").glob("samples_sentibench_mini_sst2_*")
    text = samples.read_text(encoding="utf-8").replace(
        '"sentence": "Hardly a', '"sentence": "Barely a'
    )
    samples.write_text(text, encoding="utf-8")
    rows = {row.name: row for row in view_of(tmp_path).rows}
    assert rows["c"].reasons == ("other data: sentibench_mini_sst2",)
    assert rows["a"].ranked


def test_broken_files_are_listed_and_stop_nothing(tmp_path: Path) -> None:
    mini(tmp_path, "good", 0.8)
    (tmp_path / "results_broken.json").write_text("{", encoding="utf-8")
    (tmp_path / "foreign.json").write_text("[1]", encoding="utf-8")
    (tmp_path / "results_binary.json").write_bytes(b"\xff\xfe\x00")
    bad = mini(tmp_path, "partial", 0.8)
    next(bad.parent.glob("samples_sentibench_mini_imdb_*")).unlink()
    samples = next(bad.parent.glob("samples_sentibench_mini_sst2_*"))
    samples.write_text('{"doc": 3}\n', encoding="utf-8")
    board = view_of(tmp_path)
    files = " ".join(problem.file for problem in board.report)
    assert len(board.report) == 4
    (tmp_path / "samples_sentibench_mini_sst2_2026.jsonl").write_text("", encoding="utf-8")
    assert "cut off" in view_of(tmp_path, 100).report[-1].reason
    assert all(name in files for name in ("broken", "binary", "imdb", "sst2"))
    assert "foreign" not in files  # has not the name of a results file
    assert {row.name for row in board.rows} == {"good", "partial"}


def test_the_command_shows_neither_secrets_nor_folders(tmp_path: Path) -> None:
    mini(tmp_path, "/home/somebody/models/m", 0.8)
    board = to_json(view_of(tmp_path))
    assert "synthetic-secret" not in board
    assert "/home/somebody" not in board
    for samples in tmp_path.rglob("samples_sentibench_mini_sst2_*"):
        samples.unlink()
    board = view_of(tmp_path)
    assert board.report[0].file.startswith("m/results_")
    assert "somebody" not in to_json(board)


def test_comparisons_carry_mcnemar_of_the_label_tasks(tmp_path: Path) -> None:
    for number, skill in enumerate((0.9, 0.2)):
        mini(tmp_path, f"m{number}", skill, seed=number)
    runs, problems = load_results(tmp_path)
    rows = collect_entries(runs, Declared(), MINI)
    board = build_board(rows, problems, MINI, 200)
    comparison = board.comparisons[0]
    kinds = Counter(test.test for test in comparison.tests.values())
    assert kinds == {"McNemar": 8, "sign-flip": 4}
    (first, second) = build_items(rows, MINI)["sentibench_mini_sst2"].right.values()
    a, b = np.array(list(first)) == "1", np.array(list(second)) == "1"
    n_a, n_b = int((a & ~b).sum()), int((b & ~a).sum())
    expected = scipy_stats.binomtest(n_a, n_a + n_b).pvalue
    assert comparison.tests["sentibench_mini_sst2"].p == pytest.approx(expected)
    everything = list(comparison.tests.values())
    assert [t.adjusted for t in everything] == pytest.approx(holm([t.p for t in everything]))


def test_means_over_two_seeds_are_tested_by_the_bootstrap(tmp_path: Path) -> None:
    for seed in (42, 52):
        mini(tmp_path, "a", 0.9, seed=seed, demo_seed=seed)
        mini(tmp_path, "b", 0.1, seed=seed + 1, demo_seed=seed)
    (comparison,) = [c for c in view_of(tmp_path).comparisons if c.metric == "official"]
    assert {test.test for test in comparison.tests.values()} == {"bootstrap"}
    assert comparison.tests["sentibench_mini_sst2"].p < 0.01


def test_seen_and_unseen_average_their_datasets(tmp_path: Path) -> None:
    mini(tmp_path, "m", 0.6)
    scores = view_of(tmp_path).rows[0].scores["strict"]
    names = ("imdb", "yelp2", "sst2", "twitter17", "emotion20")
    seen = [scores[f"sentibench_mini_{name}"].value for name in names]
    assert scores["seen"].value == pytest.approx(sum(seen) / 5)
    assert scores["unseen"].value == pytest.approx((12 * scores["overall"].value - sum(seen)) / 7)


def test_hardest_items_are_those_that_no_run_got_right(tmp_path: Path) -> None:
    for number in range(2):
        mini(tmp_path, f"m{number}", 0.5, seed=number)
    rows = collect_entries(load_results(tmp_path)[0], Declared(), MINI)
    hardest = hardest_items(rows, MINI)
    samples = build_items(rows, MINI)["sentibench_mini_sst2"]
    wrong = [
        item.index
        for item, *marks in zip(samples.items, *samples.right.values(), strict=True)
        if set(marks) == {"0"}
    ]
    assert wrong
    assert [i.index for i in hardest if i.task == "sentibench_mini_sst2"] == wrong
    sentences = {item.index: item.sentence for item in samples.items}
    assert sentences[wrong[0]].replace('"', '""') in to_hardest(hardest)
    without = collect_entries(load_results(tmp_path, with_texts=False)[0], Declared(), MINI)
    assert to_hardest(hardest_items(without, MINI)).splitlines()[0] == '"task","index","runs"'


def test_check_names_declared_models_without_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mini(tmp_path, "m", 0.6)
    (tmp_path / "models.yaml").write_text("m: {}\nn: {}\n", encoding="utf-8")
    assert main(["check", str(tmp_path)]) == 0
    assert "note: models.yaml: no run has the name 'n'" in capsys.readouterr().out


MODELS = [
    ("m: {famly: x}", "m: unknown name 'famly'; did you mean 'family'? known: name, family, "),
    ("m: {7: x}", "m: unknown name '7'; known: name"),
    ("m: {parameters: 1B}", "m.parameters: got '1B', expected a whole number"),
    ("m: {parameters: true}", "m.parameters: got 'True', expected a whole number"),
    ("m: {parameters: 7.5}", "m.parameters: got '7.5', expected a whole number"),
    ("m: {parameters: 0}", "m.parameters: got '0', expected a whole number"),
    ("m: {role: studnt}", "m.role: unknown name 'studnt'; did you mean 'student'? known: teacher"),
    ("m: {link: 'javascript:x'}", "m.link: got 'javascript:x', expected an http or https address"),
    ("m: {trained_on: sst2}", "m.trained_on: got 'sst2', expected a list of datasets"),
    ("m: 7", "m: got a int, expected keys and values"),
    ("[m]", "got a list, expected a mapping of models"),
    ("", "got a NoneType, expected a mapping of models"),
    ("m: {", ", line 1, column 5: cannot be read as YAML: "),
]


@pytest.mark.parametrize(("text", "message"), MODELS, ids=[text for text, _ in MODELS])
def test_a_mistake_in_models_yaml_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_models(file)
    start = f"{file}{message}" if message.startswith(",") else f"{file}: {message}"
    assert str(caught.value).startswith(start)
    assert "\n" not in str(caught.value)
    manifest = tmp_path / "run" / "run.json"  # the same mistake there is a line of the report
    manifest.parent.mkdir()
    manifest.write_text(json.dumps({"models": {"m": {"parameters": "1B"}}}), encoding="utf-8")
    declared, (problem,) = load_declared(tmp_path, tmp_path / "none.yaml", [])
    assert declared.manifests == {}
    assert problem.file == "run/run.json"
    assert problem.reason.startswith("m.parameters: got '1B', expected")


def test_values_in_models_yaml_are_read_as_texts(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(
        "org/m: {name: Good, parameters: 7, role: student}\n"
        "7: {licence: 2.0, family: null, role: null, trained_on: null}\n"
        "org/x: {trained_on: [sst2, 17], link: 'https://example.org'}\n",
        encoding="utf-8",
    )
    assert load_models(file) == {
        "org/m": ModelInfo("Good", parameters=7, role="student"),
        "7": ModelInfo(licence="2.0"),
        "org/x": ModelInfo(trained_on=("sst2", "17"), link="https://example.org"),
    }
    assert load_models(tmp_path / "none.yaml") == {}


def test_a_manifest_describes_students_and_models_yaml_has_the_last_word(tmp_path: Path) -> None:
    results = tmp_path / "results"
    mini(results, "m", 0.5)
    manifest = {"models": {"m": {"name": "Student", "role": "student", "base": "b"}}}
    (results / "run.json").write_text(json.dumps(manifest), encoding="utf-8")
    declared, problems = load_declared(results, results / "models.yaml", load_results(results)[0])
    assert problems == []
    student = ModelInfo("Student", role="student", base="b")
    assert declared == Declared({}, {".": {"m": student}})
    assert (
        main(["build", str(results), "--out", str(tmp_path / "site"), "--replicates", "100"]) == 0
    )
    board = json.loads((tmp_path / "site" / "leaderboard.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in board["rows"]] == ["Student"]
    assert board["report"] == []


def with_what_is_packed(content: bytes) -> bytes:
    """A file and, of a page, the texts that lie compressed in it."""
    packed = re.findall(rb'class="packed"[^>]*>([^<]*)<', content)
    return content + b"".join(zlib.decompress(base64.b64decode(text)) for text in packed)


def test_a_build_is_byte_identical_and_no_text_holds_no_text(tmp_path: Path) -> None:
    for number in range(3):
        mini(tmp_path / "results", f"m{number}", 0.3 * number, seed=number)
    pages = []
    for name, flags in (("a", []), ("b", []), ("c", ["--no-text"])):
        out = tmp_path / name
        command = ["build", str(tmp_path / "results"), "--out", str(out), "--replicates", "200"]
        assert main([*command, *flags]) == 0
        pages.append({file.name: file.read_bytes() for file in out.iterdir()})
    assert set(pages[0]) == {
        "index.html",
        "hardest_items.csv",
        "intervals_official.svg",
        "intervals_strict.svg",
        *(f"leaderboard.{e}" for e in ("json", "csv", "md", "tex")),
    }
    assert pages[0] == pages[1]
    assert SENTENCE.encode() in with_what_is_packed(pages[0]["index.html"])
    whole = map(with_what_is_packed, pages[2].values())
    assert not any(SENTENCE.encode() in content for content in whole)
    assert (
        main(["build", str(tmp_path / "results"), "--out", str(tmp_path / "a")]) == 0
    )  # ours: again


def test_the_schema_in_the_documentation_is_that_of_the_board(
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = Path(__file__).parents[2] / "docs" / "leaderboard.schema.json"
    assert main(["schema"]) == 0
    printed = capsys.readouterr().out
    assert printed == file.read_text(encoding="utf-8"), "python -m leaderboard schema"
    schema = json.loads(printed)
    records = [schema, *(d for d in schema["$defs"].values() if d["type"] == "object")]
    assert len(records) > 10
    for record in records:
        assert record["description"], record["title"]
        assert record["additionalProperties"] is False, record["title"]
        assert set(record["required"]) == set(record["properties"]), record["title"]
    assert set(schema["required"]) == {field.name for field in fields(Board)}
    about = {name: of["description"] for name, of in schema["$defs"]["Row"]["properties"].items()
             if "description" in of}  # fmt: skip
    assert about["teacher"] == "Name of the model it learned from."
    assert about["lineage"].startswith("From the first ancestor to the row itself")


def test_leaderboard_json_follows_the_schema_and_gives_the_board_back(tmp_path: Path) -> None:
    for number, skill in enumerate((0.4, 0.8)):
        mini(tmp_path, f"m{number}", skill, seed=number)
    mini(tmp_path, "short", 0.5, limit=3)
    board, reader = view_of(tmp_path, 100), TypeAdapter(Board)
    text = to_json(board)
    assert to_json(reader.validate_json(text, strict=True)) == text
    content = json.loads(text)
    assert set(content["rows"][0]) == {field.name for field in fields(Row)}
    place = content["rows"][0]["rank"]["official"]
    for damage in ({"position": "1"}, {"p_above": 1.5}, {"place": 1}):
        content["rows"][0]["rank"]["official"] = place | damage
        with pytest.raises(ValidationError):
            reader.validate_json(json.dumps(content), strict=True)


def test_tuples_of_an_answer_are_marked(tmp_path: Path) -> None:
    mini(tmp_path, "right", 1.0)
    mini(tmp_path, "wrong", 0.0)
    runs, _ = load_results(tmp_path)
    items = build_items(collect_entries(runs, Declared(), MINI), MINI)
    by_model = items["sentibench_mini_atsa_rest16"].marks.values()
    first, second = (of_model[0] for of_model in by_model)
    right, wrong = (first, second) if len(first) < len(second) else (second, first)
    assert {mark for _, mark in right} == {"found"}
    assert wrong == [*((text, "missed") for text, _ in right), ("wrong, wrong", "invented")]


HOSTILE = (
    '</script><script>alert(1)</script>"><img src=x onerror=alert(1)>\u2028\u202e=1+1|&%$#_{}~^\\'
)


def test_exports_carry_hostile_names_as_text(tmp_path: Path) -> None:
    mini(tmp_path, "plain", 0.8)
    runs, problems = load_results(tmp_path)
    rows = collect_entries(runs, Declared({"plain": ModelInfo("=" + HOSTILE)}), MINI)
    board = build_board(rows, problems, MINI, 200)
    assert "'=" in to_csv(board)
    assert "<script>" not in to_markdown(board)
    latex = to_latex(board)
    assert r"\&\%\$\#\_\{\}\textasciitilde{}\textasciicircum{}\textbackslash{}" in latex
    assert build_items(rows, MINI)["sentibench_mini_sst2"].items


def test_changes_since_an_older_board_are_named(tmp_path: Path) -> None:
    def board(name: str, **skills: float):
        for number, (model, skill) in enumerate(skills.items()):
            cards = ("sst2",) if model.startswith("short") else ()
            model = model.removeprefix("short_")
            mini(tmp_path / name, model, skill, seed=number, cards=cards)
        return view_of(tmp_path / name, 100)

    def changed(old, new):
        path = tmp_path / "leaderboard.json"
        path.write_text(to_json(old), encoding="utf-8")
        return changes(read_previous(path), new)

    old = board("old", a=0.9, b=0.3, c=0.5, d=0.4)
    new = board("new", a=0.9, b=1.0, short_c=0.5, e=0.1)
    assert changed(old, old) == ([], [])
    findings, notes = changed(old, new)
    assert findings[:2] == ["d: the row is missing now", "c: had a rank and has none now"]
    assert all(", " in found for found in findings[2:-1])
    (of_b,) = [found for found in findings if found.startswith("b: other")]
    (of_c,) = [found for found in findings if found.startswith("c: other")]
    assert of_b.startswith("b: other scores: Overall ")
    assert "-> 100.0, " in of_b
    assert of_c.startswith("c: other scores: Overall ")
    assert "-> –" in of_c
    assert findings[-1] == "a: was above b, is now below"
    assert notes == ["e: a new row"]


def test_the_gap_closed_is_a_ratio_with_an_interval_and_hidden_without_a_gap(
    tmp_path: Path,
) -> None:
    for number, (name, skill) in enumerate((("base", 0.3), ("student", 0.6), ("teacher", 0.95))):
        mini(tmp_path, name, skill, seed=number)
    runs, problems = load_results(tmp_path)
    student = ModelInfo("student", base="base", teacher="teacher")
    rows = {
        r.name: r
        for r in build_board(
            collect_entries(runs, Declared({"student": student}), MINI), problems, MINI, 500
        ).rows
    }
    gap = rows["student"].gap["official"]
    overall = {name: row.scores["official"]["overall"].value for name, row in rows.items()}
    expected = (overall["student"] - overall["base"]) / (overall["teacher"] - overall["base"])
    assert gap.value == pytest.approx(expected)
    assert gap.low < expected < gap.high
    assert rows["base"].gap["official"] is None
    none = ModelInfo("student", base="base", teacher="base")
    hidden = build_board(
        collect_entries(runs, Declared({"student": none}), MINI), problems, MINI, 500
    )
    assert all(row.gap["official"] is None for row in hidden.rows)


@pytest.mark.parametrize(
    ("options", "limit", "shared"),
    [
        ({}, None, None),
        ({"cards": ("imdb", "sst2")}, None, ["imdb", "sst2"]),
        ({"limit": 5}, 5, None),
        ({"limit": 5}, None, []),  # other items than the base
        ({"shots": 0}, None, []),  # another protocol
        ({"demo_seed": 52}, None, []),
    ],
)
def test_a_lineage_compares_what_all_of_it_answered(tmp_path: Path, options, limit, shared) -> None:
    mini(tmp_path, "base", 0.4, limit=limit)
    mini(tmp_path, "student", 0.8, seed=1, **options)
    runs, problems = load_results(tmp_path)
    student = {"student": ModelInfo("student", base="base")}
    board = build_board(collect_entries(runs, Declared(student), MINI), problems, MINI, 200)
    rows = {row.name: row for row in board.rows}
    assert rows["base"].lineage == ()
    tasks = [task.name for task in board.tasks]
    if shared is not None:
        tasks = [f"sentibench_mini_{name}" for name in shared]
    lineage = rows["student"].lineage
    assert [link.name for link in lineage] == ["base", "student"]
    for link in lineage:
        assert link.n_tasks == len(tasks)
        scores = rows[link.name].scores["official"]
        mean = np.mean([scores[task].value for task in tasks]) if tasks else None
        assert link.mean == (mean if mean is None else pytest.approx(mean))


def test_a_limited_student_has_the_limited_run_of_its_base(tmp_path: Path) -> None:
    mini(tmp_path, "base", 0.4)
    mini(tmp_path, "base", 0.4, limit=5, seed=3)
    mini(tmp_path, "student", 0.8, seed=1, limit=5)
    runs, problems = load_results(tmp_path)
    student = {"student": ModelInfo("student", base="base")}
    rows = build_board(collect_entries(runs, Declared(student), MINI), problems, MINI, 200).rows
    (lineage,) = [row.lineage for row in rows if row.name == "student"]
    (short,) = [row for row in rows if row.name == "base (limited)"]
    scores = [
        cell.value
        for name, cell in short.scores["official"].items()
        if name.startswith("sentibench_") and cell
    ]
    assert lineage[0].n_tasks == 12
    assert lineage[0].mean == pytest.approx(np.mean(scores))


def test_order_of_runs_and_of_files_does_not_matter(tmp_path: Path) -> None:
    for number, skill in enumerate((0.4, 0.8)):
        mini(tmp_path, f"m{number}", skill, seed=number)
    runs, _ = load_results(tmp_path)
    first = rank_entries(collect_entries(runs, Declared(), MINI), MINI, 200)["official"]
    second = rank_entries(collect_entries(runs[::-1], Declared(), MINI)[::-1], MINI, 200)[
        "official"
    ]
    assert first.cells == second.cells
    assert [entry.key for entry in first.entries] == [entry.key for entry in second.entries]


def damaged(folder: Path, change) -> None:
    """Write a good model and one whose results or samples were changed."""
    mini(folder, "good", 0.8)
    change(mini(folder, "bad", 0.9))


def in_summary(**values):
    def change(path: Path) -> None:
        summary = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps({**summary, **values}), encoding="utf-8")

    return change


def in_samples(task: str, **values):
    def change(path: Path) -> None:
        (file,) = path.parent.glob(f"samples_sentibench_mini_{task}_*")
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        text = "".join(json.dumps({**row, **values}) + "\n" for row in rows)
        file.write_text(text, encoding="utf-8")

    return change


DAMAGE = {
    "configs null": in_summary(configs=None),
    "configs list": in_summary(configs=[1]),
    "foreign task": in_summary(configs={"a/b::sentibench_mini_sst2": {}}),
    "date": in_summary(date=1e300),
    "date nan": in_summary(date=float("nan")),
    "too good": in_samples("atsa_rest16", official_f1=[9, 1, 9, 1]),
    "nan": in_samples("atsa_rest16", strict_f1=[float("nan")] * 4),
    "eight": in_samples("opener", official_f1=[1.0] * 8),
    "label": in_samples("sst2", score=[0, 3, 2]),
    "gold": in_samples("sst2", score=[0, 0, 2]),
    "invalid": in_samples("sst2", invalid_rate=float("nan")),
}


@pytest.mark.parametrize("change", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_model_is_reported_and_never_ranked(change, tmp_path: Path) -> None:
    damaged(tmp_path, change)
    board = view_of(tmp_path, 100)
    assert board.report
    assert [row.name for row in board.rows if row.ranked] == ["good"]
    assert json.loads(to_json(board))["report"]


def test_models_of_one_last_part_stay_apart_and_other_seeds_have_no_rank(tmp_path: Path) -> None:
    mini(tmp_path, "orgA/m", 0.9)
    mini(tmp_path, "orgB/m", 0.3)
    mini(tmp_path, "lucky", 1.0, demo_seed=7)
    runs, _ = load_results(tmp_path)
    rows = collect_entries(runs, Declared({"m": ModelInfo("m")}), MINI)
    assert sorted(row.info.name for row in rows) == ["lucky", "orgA/m", "orgB/m"]
    assert [row.info.name for row in rows if row.reasons] == ["lucky"]


def test_a_row_of_several_seeds_has_a_command_for_each(tmp_path: Path) -> None:
    for seed in (42, 52):
        mini(tmp_path, "m", 0.5, demo_seed=seed)
    (row,) = view_of(tmp_path, 100).rows
    first, second = row.command.splitlines()
    assert "demo_seed" not in first
    assert "demo_seed=52" in second
    mini(tmp_path / "few", "n", 0.5, cards=("sst2", "imdb"))
    mini(tmp_path / "few", "n", 0.5, cards=("sst2",), demo_seed=52)
    (row,) = view_of(tmp_path / "few", 100).rows
    first, second = row.command.splitlines()
    assert "--tasks sentibench_mini_imdb,sentibench_mini_sst2 --" in first
    assert "--tasks sentibench_mini_sst2 --metadata demo_seed=52 --" in second


def test_a_row_of_several_limits_has_a_command_for_each(tmp_path: Path) -> None:
    mini(tmp_path / "results" / "a", "m", 0.5, cards=("sst2", "mint"))
    mini(tmp_path / "results" / "b", "m", 0.5, cards=("imdb",), limit=5)
    (row,) = view_of(tmp_path / "results", 100).rows
    first, second = row.command.splitlines()
    assert "--limit" not in first
    assert "sentibench_mini_imdb" not in first
    assert "--tasks sentibench_mini_imdb " in second
    assert "--limit 5" in second


@pytest.mark.parametrize(("given", "shown"), [(16, "--batch_size 16 "), (None, "")])
def test_a_command_names_the_batch_size_where_the_run_had_one(
    given: int | None, shown: str, tmp_path: Path
) -> None:
    mini(tmp_path, "m", 0.5)
    for path in tmp_path.rglob("results_*.json"):
        summary = json.loads(path.read_text())
        summary["config"]["batch_size"] = given
        path.write_text(json.dumps(summary))
    (row,) = view_of(tmp_path, 100).rows
    assert f" {shown}--output_path results --log_samples" in row.command
    assert row.command.count("--batch_size") == (given is not None)


MISTAKES = [
    (["build", "nowhere", "--out", "site"], "nowhere: no such file or folder in "),
    (["build", "empty", "--out", "site"], "no results in it that a page can show"),
    (["build", "good", "--out", "foreign"], "got a folder with other files"),
    (["build", "good", "--out", "file.txt"], "got a file, expected a folder"),
    (["build", "good", "--out", "good/site"], "is in the results folder"),
    (
        ["build", "good", "--out", "site", "--models", "none.yaml"],
        "--models none.yaml: no such file or folder in",
    ),
    (["build", "good", "--out", "site", "--source", "real"], "no such results"),
    (["build", "good", "--out", "site", "--replicates", "5"], "expected at least 100"),
    (["build", "good"], "required: --out"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=[m[1][:20] for m in MISTAKES])
def test_a_mistake_is_one_line_and_nothing_is_written(
    arguments, message: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    mini(tmp_path / "good", "m", 0.5)
    (tmp_path / "file.txt").write_text("x", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("mine", encoding="utf-8")
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert not (tmp_path / "site").exists()
    assert [p.name for p in (tmp_path / "foreign").iterdir()] == ["thesis.tex"]


def test_check_lists_findings_and_fails(tmp_path: Path, capsys) -> None:
    mini(tmp_path, "good", 0.8)
    assert main(["check", str(tmp_path), "--replicates", "100"]) == 0
    mini(tmp_path, "short", 0.8, limit=3)
    assert main(["check", str(tmp_path), "--replicates", "100"]) == 2
    shown = capsys.readouterr()
    assert "short: limited run" in shown.out
    assert "error: check: 1 finding, expected none" in shown.err


def test_check_compares_with_a_board_of_before(tmp_path: Path, capsys) -> None:
    def board(name: str, **skills: float) -> Path:
        for number, (model, skill) in enumerate(skills.items()):
            mini(tmp_path / name, model, skill, seed=number)
        out = str(tmp_path / f"{name}-site")
        assert main(["build", str(tmp_path / name), "--out", out, "--replicates", "100"]) == 0
        return tmp_path / f"{name}-site" / "leaderboard.json"

    def check(previous: Path) -> tuple[int, str, str]:
        options = ["--previous", str(previous), "--replicates", "100"]
        code = main(["check", str(tmp_path / "new"), *options])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    old, new = board("old", a=0.3, b=0.9, c=0.5), board("new", a=0.9, b=0.3)
    capsys.readouterr()
    assert check(new)[0] == 0
    code, out, _ = check(old)
    assert code == 2
    lines = out.splitlines()
    assert lines[0] == "c: the row is missing now"
    assert lines[-1] == "b: was above a, is now below"
    changed = sorted(line[:24] for line in lines[1:-1])
    assert changed == ["a: other scores: Overall", "b: other scores: Overall"]
    content = json.loads(new.read_text(encoding="utf-8"))
    for damage, message in (
        ({"schema": 2}, "not a leaderboard.json of this program"),
        ({"schema": True}, "not a leaderboard.json of this program"),
        ({"rows": 3}, "not a leaderboard.json of this program"),
        ({"rows": [{"name": "a", "rank": 3}]}, "not a leaderboard.json of this program"),
        ({"source": "real"}, "got a board of 'real' results, expected 'mini'"),
    ):
        new.write_text(json.dumps({**content, **damage}), encoding="utf-8")
        code, _, error = check(new)
        assert (code, message in error, error.count("\n")) == (2, True, 1), damage
    new.write_text(json.dumps({**content, "of a later version": 1}), encoding="utf-8")
    assert check(new)[0] == 0


def test_names_of_groups_before_task_names_are_read(tmp_path: Path) -> None:
    """lm-eval 0.5 writes ``group::task`` in results and in file names."""
    path = mini(tmp_path, "m", 0.7)
    plain = to_json(view_of(tmp_path, 100))
    summary = json.loads(path.read_text(encoding="utf-8"))
    for part in ("configs", "versions", "n-shot", "n-samples", "results"):
        summary[part] = {f"sentibench_mini::{name}": of for name, of in summary[part].items()}
    path.write_text(json.dumps(summary), encoding="utf-8")
    for file in list(path.parent.glob("samples_*")):
        name = file.name.replace("samples_", "samples_sentibench_mini::", 1)
        file.rename(file.with_name(name))
    assert to_json(view_of(tmp_path, 100)) == plain

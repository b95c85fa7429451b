"""Result folders that are wrong, hostile or somebody else's: named, never followed, never fatal."""

import copy
import json
import os
import random
import runpy
import subprocess
from pathlib import Path
from typing import Any

import pytest
from small_entries import MINI

from leaderboard.__main__ import main
from leaderboard.build import build_board
from leaderboard.items import build_items, hardest_items
from leaderboard.page.render import render_page
from leaderboard.runs.entries import collect_entries
from leaderboard.runs.models import Declared, load_declared, load_models
from leaderboard.runs.results import MAX_DEPTH, depth, load_results
from sentibench.data.cards import load_tasks
from sentibench.errors import InputError

WRITER = Path(__file__).parents[2] / "benchmarks" / "leaderboard_build.py"
module = runpy.run_path(str(WRITER))
write_results, scores_of = module["write_results"], module["scores_of"]


def mini(folder: Path, model: str, skill: float = 0.8, **options: Any) -> Path:
    return write_results(folder, model, skill, source="mini", **options)


def change(path: Path, **values: Any) -> None:
    """Change values of a results file; a name with dots is a place inside."""
    content = json.loads(path.read_text(encoding="utf-8"))
    for name, value in values.items():
        *places, last = name.split("__")
        part = content
        for place in places:
            part = part[place]
        part[last] = value
    path.write_text(json.dumps(content), encoding="utf-8")


def reasons_of(folder: Path) -> list[str]:
    return [problem.reason for problem in load_results(folder)[1]]


# What a file says of itself


def test_counts_and_scores_have_to_be_those_of_the_samples(tmp_path: Path) -> None:
    sst2 = "sentibench_mini_sst2"
    for number, (place, value, reason) in enumerate(
        [
            (f"n-samples__{sst2}__effective", 23, "n-samples says 23 of 24 items"),
            (f"n-samples__{sst2}__original", 25, "n-samples says 24 of 25 items"),
            (f"n-samples__{sst2}", {}, "not in lm-eval's format: original"),
            (f"results__{sst2}__score,none", 0.999, "it says score 0.999000, its samples give"),
            (f"results__{sst2}__score,none", "high", "it says score no number, its samples"),
            (f"results__{sst2}__invalid_rate,none", 0.5, "it says invalid_rate 0.500000"),
            (
                f"results__{sst2}",
                {"acc,none": 1.0, "acc_norm,none": 1.0},
                "lack the key 'score,none'; they have: acc,none, acc_norm,none",
            ),
            (f"n-shot__{sst2}", -1, "its number of demonstrations cannot be read"),
            (f"configs__{sst2}__metadata__split", "val", "measured on another split"),
        ]
    ):
        home = tmp_path / str(number)
        change(mini(home, "m", cards=("sst2", "imdb")), **{place: value})
        (found,) = reasons_of(home)
        assert reason in found
        assert [run.task.card.name for run in load_results(home)[0]] == ["imdb"]


def test_versions_and_dates_that_cannot_be_are_named(tmp_path: Path) -> None:
    for number, (place, value, reason) in enumerate(
        [
            ("lm_eval_version", "new", "lm-eval's version cannot be read"),
            ("date", 4_000_000_000.0, "its date is in the future"),
            ("date", -1, "not in lm-eval's format: date"),
            ("date", "today", "not in lm-eval's format: date"),
            ("config__limit", float("nan"), "not in lm-eval's format: config.limit"),
            ("config__model_args", [1], "not in lm-eval's format: config.model_args"),
            ("config__gen_kwargs", 7, "not in lm-eval's format: config.gen_kwargs"),
            ("config__peak_memory_bytes", 1e308, "config.peak_memory_bytes"),
            ("model_name", {"a": 1}, "not in lm-eval's format: model_name"),
            ("model_name", "m" * 1_000, "not in lm-eval's format: model_name"),
            ("configs", {}, "no task of SentiBench in it"),
        ]
    ):
        home = tmp_path / str(number)
        change(mini(home, "m", cards=("sst2",)), **{place: value})
        (found,) = reasons_of(home)
        assert reason in found


def test_settings_that_are_no_numbers_stay_texts(tmp_path: Path) -> None:
    path = mini(tmp_path, "m")
    given = {"max_length": float("inf"), "x": [float("nan")], "dtype": None, "n": 2.0, "b": True}
    change(path, config__model_args=given, config__gen_kwargs={"top_p": float("nan")})
    (run, *_), problems = load_results(tmp_path)
    assert problems == []
    expected = {"b": "true", "max_length": "Infinity", "n": "2", "x": "[NaN]"}
    assert run.facts.model_args == expected
    assert run.protocol.gen_kwargs == {"top_p": "NaN"}
    change(path, config__model_args="pretrained=m,add_bos_token=True,trust_remote_code= True ")
    (run, *_), _ = load_results(tmp_path)
    expected = {"add_bos_token": "true", "pretrained": "m", "trust_remote_code": "true"}
    assert run.facts.model_args == expected


def rewritten(path: Path, change_row: Any) -> None:
    """Change every line of a whole run, and make its results file agree with the lines again."""
    content = json.loads(path.read_text(encoding="utf-8"))
    for file in sorted(path.parent.glob("samples_*.jsonl")):
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        rows = [row for row in map(change_row, rows) if row is not None]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        name = file.stem.removeprefix("samples_").rpartition("_")[0]
        content["results"][name] = scores_of(load_tasks()[name].card, rows)
    path.write_text(json.dumps(content), encoding="utf-8")


def all_right(row: dict[str, Any]) -> dict[str, Any]:
    if "label" in row["doc"]:
        gold, _, k = row["score"]
        return row | {"score": [gold, gold, k]}
    n = float(max(len(row["doc"]["opinions"]), 1))
    return row | {"official_f1": [n] * 4, "strict_f1": [n] * 4}


def kept_choices(row: dict[str, Any], value: Any) -> dict[str, Any]:
    arguments = {name: {**of, "arg_0": value} for name, of in row["arguments"].items()}
    return row | {"arguments": arguments}


def other_context(row: dict[str, Any]) -> dict[str, Any]:
    last = list(row["arguments"])[-1]
    if last == "gen_args_0":
        return row
    return row | {"arguments": {**row["arguments"], last: {"arg_0": "x", "arg_1": ""}}}


def endlessly_sure(row: dict[str, Any]) -> dict[str, Any]:
    if "label" not in row["doc"]:
        return row
    chosen = row["score"][1]
    answers = [[["inf", "True"]] if n == chosen else of for n, of in enumerate(row["resps"])]
    return row | {"resps": answers}


CHEATS = {
    "other predictions": all_right,
    "no answers": lambda row: all_right(row) | {"resps": []},
    "empty answers": lambda row: all_right(row) | {"resps": [[] for _ in row["resps"]]},
    "answers missing": lambda row: {k: v for k, v in all_right(row).items() if k != "resps"},
    "an endless log-likelihood": endlessly_sure,
    "one answer less": lambda row: row | {"resps": row["resps"][:-1]},
    "no prompts": lambda row: row | {"arguments": {}},
    "empty prompts": lambda row: kept_choices(row, ""),
    "other prompts": lambda row: kept_choices(row, "Answer: positive"),
    "another context": other_context,
    "all unreadable": lambda row: row | {"invalid_rate": 1.0},
    "items left out": lambda row: row if row["doc"]["index"] % 2 else None,
    "one item only": lambda row: row | {"doc": row["doc"] | {"index": 0}},
    "easier gold": lambda row: row | {"doc": row["doc"] | {"sentence": "Wonderful!"}},
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_an_edited_run_never_has_a_rank(cheat: str, tmp_path: Path) -> None:
    mini(tmp_path, "honest", 0.8)
    path = mini(tmp_path, "edited", 0.5)
    rewritten(path, lambda row: row)  # the writer's own figures: still ranked
    runs, problems = load_results(tmp_path)
    entries = collect_entries(runs, Declared(), MINI)
    assert (problems, [entry.reasons for entry in entries]) == ([], [(), ()])
    rewritten(path, CHEATS[cheat])
    runs, problems = load_results(tmp_path)
    board = build_board(collect_entries(runs, Declared(), MINI), problems, MINI, 100)
    assert [row.name for row in board.rows if row.ranked] == ["honest"]
    edited = [row.reasons for row in board.rows if row.name == "edited"]
    assert problems or edited[0]


def test_what_is_shown_of_items_is_that_of_the_benchmark(tmp_path: Path) -> None:
    def poisoned(row: dict[str, Any]) -> dict[str, Any]:
        return row | {"doc": row["doc"] | {"sentence": "Buy pills"}}

    mini(tmp_path, "honest", 0.8)
    rewritten(mini(tmp_path, "a limited one", 0.5, limit=5), poisoned)
    rewritten(mini(tmp_path, "a whole one", 0.5), poisoned)
    runs, problems = load_results(tmp_path)
    entries = collect_entries(runs, Declared(), MINI)
    assert len(entries) == 3
    items = build_items(entries, MINI)
    assert len(items) == 12
    for of_task in items.values():
        assert not any("Buy pills" in item.sentence for item in of_task.items)
    hardest = hardest_items(entries, MINI)
    assert not any(item.text and "Buy pills" in item.text.sentence for item in hardest)
    facts = {task.name: task for task in build_board(entries, problems, MINI, 100).tasks}
    assert sum(count.count for count in facts["sentibench_mini_sst2"].distribution) == 24


# What ended in a traceback, or took minutes


def built(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """Build and check end without a traceback; what they printed."""
    out = ["--out", str(folder.parent / "site"), "--replicates", "100"]
    assert main(["build", str(folder), *out]) in (0, 2)
    build = capsys.readouterr()
    assert main(["check", str(folder), "--allow-unranked", "--replicates", "100"]) in (0, 2)
    check = capsys.readouterr()
    return build.out + build.err, check.out + check.err


@pytest.mark.parametrize("name", ["   ", "/", "\u200b", "\u3164", "\x00", "..."])
def test_a_model_without_a_name_is_listed(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mini(tmp_path / "results", "good")
    change(mini(tmp_path / "results", "bad"), model_name=name, config__model=name)
    build, check = built(tmp_path / "results", capsys)
    assert "its model has no name" in build
    assert "its model has no name" in check


def test_characters_that_readers_do_not_see_are_shown(tmp_path: Path) -> None:
    change(mini(tmp_path, "a"), model_name="evil/\u202egnp.live\x1b[2J\nfake: nothing")
    (run, *_), _ = load_results(tmp_path)
    assert run.model == "evil/\ufffdgnp.live\ufffd[2J fake: nothing"
    change(mini(tmp_path, "b"), lm_eval_version="0.4 or so; buy at evil.example")
    assert "lm-eval's version cannot be read; expected a number such as 0.4.13" in reasons_of(
        tmp_path
    )


def test_limited_seeds_hours_without_end_and_deep_folders_stop_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    mini(results, "m", limit=5)
    mini(results, "m", limit=7, demo_seed=52)
    change(mini(results, "slow"), total_evaluation_time_seconds=1e308)
    change(mini(results, "slower"), total_evaluation_time_seconds=9e8)
    many = json.loads(mini(results, "many", cards=("sst2",)).read_text(encoding="utf-8"))
    many["configs"] = {f"a{n}::sentibench_mini_sst2": {} for n in range(1_000)}
    (results / "many" / "results_2026.json").write_text(json.dumps(many), encoding="utf-8")
    (results / "models.yaml").write_text("m: {base: m}\nslower: {base: slower}", encoding="utf-8")
    deep = results
    for _ in range(1_200):
        deep = deep / "d"
        try:
            deep.mkdir()
        except OSError:  # the name of the folder is too long for the system
            break
    build, check = built(results, capsys)
    subprocess.run(["rm", "-rf", str(results / "d")], check=True)  # too deep for Python to remove
    for printed in (build, check):
        assert "total_evaluation_time_seconds" in printed
        assert "names 1,000 tasks of ours, expected at most 100" in printed
    assert "4 rows" in build


def test_a_row_from_several_folders_is_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mini(tmp_path / "results" / "first", "m")
    mini(tmp_path / "results" / "second", "m", cards=("sst2",), date=1_795_000_000.0)
    mini(tmp_path / "results" / "third", "m", cards=("imdb",), demo_seed=52)
    _, check = built(tmp_path / "results", capsys)
    assert "note: m: its runs are in first/m, second/m" in check
    assert "note: m: seed 52 was not run on all tasks: left out" in check


def test_a_row_whose_runs_lie_in_the_folder_of_one_run_is_not_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mini(tmp_path / "results" / "m" / "sst2", "m", cards=("sst2",))
    mini(tmp_path / "results" / "m" / "imdb", "m", cards=("imdb",))
    (tmp_path / "results" / "m" / "run.json").write_text('{"models": {"m": {"name": "n"}}}')
    _, check = built(tmp_path / "results", capsys)
    assert "1 row" in check
    assert "its runs are in" not in check
    (tmp_path / "results" / "m" / "run.json").unlink()
    assert "its runs are in" in built(tmp_path / "results", capsys)[1]


# As other versions and other models of lm-eval write
FORMS: dict[str, tuple[dict[str, Any], str, dict[str, str]]] = {
    "vllm": (
        {
            "config": {
                "model": "vllm",
                "model_args": "pretrained=org/m,tensor_parallel_size=2,dtype=auto,max_model_len=9",
                "batch_size": "auto",
                "limit": None,
                "gen_kwargs": None,
            }
        },
        "org/m",
        {"backend": "vllm", "dtype": "auto", "max_model_len": "9"},
    ),
    "an API": (
        {
            "config": {
                "model": "local-chat-completions",
                "model_args": {
                    "model": "gpt-x",
                    "base_url": "http://localhost:8000/v1",
                    "num_concurrent": 4,
                    "max_gen_toks": 256,
                },
                "batch_size": 1,
                "limit": None,
                "gen_kwargs": "temperature=0",
            },
            "model_name": "gpt-x",
        },
        "gpt-x",
        {
            "backend": "local-chat-completions",
            "base_url": "http://localhost:8000/v1",
            "max_gen_toks": "256",
        },
    ),
    "lm-eval 0.4.9": (
        {
            "lm_eval_version": None,
            "n-shot": None,
            "total_evaluation_time_seconds": "12.5",
            "config": {"model": "hf", "model_args": "pretrained=org/m", "batch_sizes": []},
        },
        "org/m",
        {"backend": "hf"},
    ),
    "a hub commit": (
        {
            "config": {
                "model": "hf",
                "model_args": {"pretrained": "org/m", "revision": "main", "dtype": "auto"},
                "model_dtype": "torch.bfloat16",
                "model_sha": "0123abc",
                "model_num_parameters": 10,
                "limit": None,
            }
        },
        "org/m",
        {"backend": "hf", "dtype": "bfloat16", "revision": "0123abc"},
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_other_forms_of_results_are_read(name: str, tmp_path: Path) -> None:
    values, model, arguments = FORMS[name]
    path = mini(tmp_path, "org/m", cards=("sst2",))
    content = json.loads(path.read_text(encoding="utf-8")) | values
    content = {key: value for key, value in content.items() if value is not None}
    content["configs"]["sentibench_mini_sst2"]["num_fewshot"] = 4
    path.write_text(json.dumps(content), encoding="utf-8")
    (run,), problems = load_results(tmp_path)
    assert problems == []
    assert (run.model, run.protocol.shots) == (model, 4)
    (entry,) = collect_entries([run], Declared(), MINI)
    assert entry.arguments == arguments
    row = build_board([entry], [], MINI, 100).rows[0]
    assert "localhost" not in row.command
    assert not any("localhost" in value for value in row.arguments.values())


# Whose file it is


def test_a_copy_of_a_run_counts_once_and_is_named(tmp_path: Path) -> None:
    for home in ("a", "b"):
        mini(tmp_path / home, "m", cards=("sst2",))
    runs, (copy_of,) = load_results(tmp_path)
    assert len(runs) == 1
    assert copy_of.file.startswith("b/m/results_")
    assert copy_of.reason == f"a copy of {runs[0].file}"


def test_a_slash_at_the_end_is_no_other_model_and_a_local_folder_is_no_hub_name(
    tmp_path: Path,
) -> None:
    for number, name in enumerate(("org/model", "./org/model/", "./org/model")):
        change(mini(tmp_path / str(number), "m", date=1_790_000_000.0 + number), model_name=name)
    entries = collect_entries(load_results(tmp_path)[0], Declared(), MINI)
    names = {entry.all_runs[0].model: len(entry.history) for entry in entries}
    assert names == {"org/model": 0, "./org/model": 12}


def manifest(folder: Path, **names: str) -> None:
    models = {model: {"name": name} for model, name in names.items()}
    (folder / "run.json").write_text(json.dumps({"models": models}), encoding="utf-8")


def test_a_manifest_speaks_for_the_models_of_its_own_folder(tmp_path: Path) -> None:
    for home, model in (("one", "student"), ("two", "leader"), ("two", "plain")):
        mini(tmp_path / home, model, cards=("sst2",))
    manifest(tmp_path / "one", student="My student", leader="Renamed")
    manifest(tmp_path / "two", plain="  MY   student ")
    runs, _ = load_results(tmp_path)

    def shown() -> tuple[list[str], list[str]]:
        declared, problems = load_declared(tmp_path, tmp_path / "models.yaml", runs)
        entries = collect_entries(runs, declared, MINI)
        reasons = [f"{problem.file}: {problem.reason}" for problem in problems]
        return sorted(entry.info.name for entry in entries), reasons

    names, reasons = shown()  # one name for two models: nobody knows whose it is
    assert names == ["leader", "plain", "student"]
    assert [reason.partition(":")[0] for reason in reasons] == ["one/run.json", "two/run.json"]
    manifest(tmp_path / "two", plain="Leader")
    names, reasons = shown()
    assert names == ["My student", "leader", "plain"]
    claim = "two/run.json: models: 'plain' has the name 'Leader' of another model"
    assert reasons == [claim]
    manifest(tmp_path / "two", plain="Honest")
    assert shown() == (["Honest", "My student", "leader"], [])
    (tmp_path / "models.yaml").write_text("leader: {name: honest}", encoding="utf-8")
    names, reasons = shown()
    assert names == ["My student", "honest", "plain"]
    assert len(reasons) == 1


def test_a_name_in_models_yaml_makes_no_other_row(tmp_path: Path) -> None:
    mini(tmp_path, "org/m", cards=("sst2",))
    runs, _ = load_results(tmp_path)
    named = tmp_path / "models.yaml"
    named.write_text("m: {name: Better}", encoding="utf-8")
    declared, _ = load_declared(tmp_path, named, runs)
    (plain,), (renamed,) = (collect_entries(runs, d, MINI) for d in (Declared(), declared))
    assert (plain.key, renamed.info.name) == (renamed.key, "Better")


def test_only_models_yaml_joins_two_models_in_one_row(tmp_path: Path) -> None:
    mini(tmp_path, "a", cards=("sst2",))
    mini(tmp_path, "b", cards=("imdb",))
    manifest(tmp_path, a="Same", b="Same")
    runs, _ = load_results(tmp_path)
    declared, problems = load_declared(tmp_path, tmp_path / "none", runs)
    assert len(problems) == 2
    assert len(collect_entries(runs, declared, MINI)) == 2
    (tmp_path / "models.yaml").write_text("a: {name: Same}\nb: {name: Same}", encoding="utf-8")
    declared, _ = load_declared(tmp_path, tmp_path / "models.yaml", runs)
    assert len(collect_entries(runs, declared, MINI)) == 1


# Files that are no files


def test_pipes_devices_and_links_to_elsewhere_are_not_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "secret"
    mini(secret, "secret", 1.0)
    results = tmp_path / "results"
    path = mini(results, "m", cards=("sst2", "imdb"))
    os.mkfifo(results / "results_pipe.json")
    (results / "results_zero.json").symlink_to("/dev/zero")
    (results / "results_loop.json").symlink_to(results / "results_loop.json")
    (results / "results_linked.json").symlink_to(next(secret.rglob("results_*.json")))
    (results / "linked").symlink_to(secret)
    samples = next(path.parent.glob("samples_sentibench_mini_sst2_*"))
    samples.unlink()
    samples.symlink_to(next(secret.rglob("samples_sentibench_mini_sst2_*")))
    os.mkfifo(results / "run.json")
    runs, problems = load_results(results)
    assert [(run.model, run.task.card.name) for run in runs] == [("m", "imdb")]
    assert [problem.reason for problem in problems] == [
        f"no {samples.name} beside it: run lm_eval with --log_samples",
        "no regular file",
    ]
    declared, (problem,) = load_declared(results, results / "models.yaml", runs)
    assert (declared, problem.reason) == (Declared(), "no regular file")
    os.mkfifo(results / "models.yaml")
    with pytest.raises(InputError, match=r"models\.yaml: no regular file"):
        load_declared(results, results / "models.yaml", runs)
    (results / "models.yaml").unlink()
    (secret / "config.yaml").write_text("password: hunter2: [", encoding="utf-8")
    (results / "models.yaml").symlink_to(secret / "config.yaml")
    assert main(["check", str(results)]) == 2
    shown = capsys.readouterr()
    assert "is a link to a file outside of" in shown.err
    assert "hunter2" not in shown.err + shown.out


def test_levels_and_sizes_are_bounded(tmp_path: Path, monkeypatch) -> None:
    assert [depth(value, 5) for value in (1, [], [[]], {"a": [{}]}, [1, [2, [3]]])] == [
        *(0, 1, 2, 3, 3)
    ]
    nested: Any = 1
    for _ in range(600):
        nested = [nested]
    assert depth(nested, 5) == 6
    change(mini(tmp_path, "m", cards=("sst2",)), config__model_args={"x": nested})
    assert reasons_of(tmp_path) == [f"nested deeper than {MAX_DEPTH} levels"]
    next(tmp_path.rglob("results_*")).write_text("[" * 100_000, encoding="utf-8")
    assert reasons_of(tmp_path) == ["broken JSON (RecursionError)"]
    with monkeypatch.context() as bounds:
        bounds.setattr("sentibench.scoring.samples.MAX_LINE", 100)
        change(mini(tmp_path / "long", "m", cards=("sst2",)))
        assert reasons_of(tmp_path / "long") == ["a line of more than 100 bytes"]
    monkeypatch.setattr("leaderboard.runs.results.MAX_RESULTS_BYTES", 10)
    assert "got 100,000 bytes, expected at most 10" in reasons_of(tmp_path)
    monkeypatch.setattr("leaderboard.runs.results.MAX_FILES", 0)
    with pytest.raises(InputError, match="files, expected at most 0"):
        load_results(tmp_path)


def test_aliases_in_models_yaml_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
        for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )
    path.write_text(bomb, encoding="utf-8")
    with pytest.raises(
        InputError, match=r"line 2, column 8: cannot be read as YAML: aliases .* are not read"
    ):
        load_models(path)
    path.write_text("[" * 5_000, encoding="utf-8")
    with pytest.raises(InputError, match="cannot be read: RecursionError"):
        load_models(path)


# Whatever else may stand in a file

VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 10**400, 1e308, -1e308, float("nan"), float("inf"), 0.5, 23.5),
    *("", "x", "None", "nan", "\ud83d", "<script>alert(1)</script>", "../../etc/passwd", "0" * 999),
    *([], [[]], [None], [1, 2], ["a"] * 9, {}, {"a": 1}, {"": None}, {"index": 0}, [{"doc": {}}]),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place inside a value."""
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    found: list[tuple[Any, ...]] = []
    for key, part in parts:
        found.append((*path, key))
        if isinstance(part, dict | list):
            found += places(part, (*path, key))
    return found


def mutated(content: Any, draw: random.Random) -> Any:
    """A copy with one to three places changed, removed, doubled or put elsewhere."""
    changed = copy.deepcopy(content)
    for _ in range(draw.randint(1, 3)):
        inside = places(changed)
        if not inside:
            return draw.choice(VALUES)
        *path, key = draw.choice(inside)
        part = changed
        for step in path:
            part = part[step]
        match draw.randrange(6):
            case 0:
                del part[key]
            case 1:
                part[key] = [part[key]] * 2
            case 2:
                part[draw.choice(["x", "score", key]) if isinstance(part, dict) else 0] = part[key]
            case _:
                part[key] = copy.deepcopy(draw.choice(VALUES))
    return changed


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Name of each file of one sound run -> its content."""
    home = tmp_path_factory.mktemp("sound")
    mini(home, "sound", 0.7, cards=("sst2", "opener"), limit=4)
    return {
        path.name: [json.loads(line) for line in path.read_text().splitlines()]
        if path.suffix == ".jsonl"
        else json.loads(path.read_text())
        for path in sorted((home / "sound").iterdir())
    }


def write_mutant(folder: Path, sound: dict[str, Any], draw: random.Random) -> None:
    folder.mkdir()
    damaged = draw.choice(list(sound))
    for name, content in sound.items():
        new = mutated(content, draw) if name == damaged else content
        is_lines = name.endswith(".jsonl") and isinstance(new, list)
        parts = new if is_lines else [new]
        text = "".join(json.dumps(part) + "\n" for part in parts)
        if name == damaged and draw.random() < 0.1:
            text = text[: draw.randrange(len(text) + 1)]
        (folder / name).write_text(text, encoding="utf-8")
    if draw.random() < 0.2:
        models = {"models": {"sound": {"name": "S", "parameters": 5, "trained_on": ["a"]}}}
        (folder / "run.json").write_text(json.dumps(mutated(models, draw)), encoding="utf-8")


@pytest.mark.parametrize("part", range(4))
def test_2_000_damaged_folders_are_read_without_a_traceback(
    part: int, sound: dict[str, Any], tmp_path: Path
) -> None:
    draw = random.Random(part)
    mini(tmp_path, "good", 0.8)
    for number in range(500):
        write_mutant(tmp_path / f"mutant{number}", sound, draw)
    runs, problems = load_results(tmp_path, processes=1 + part % 2)
    declared, _ = load_declared(tmp_path, tmp_path / "models.yaml", runs)
    entries = collect_entries(runs, declared, MINI)
    board = build_board(entries, problems, MINI, 100)
    assert len(problems) > 250
    assert [row.name for row in board.rows if row.ranked] == ["good"]
    page = render_page(board, None)
    assert "<script>alert(1)" not in page
    assert str(tmp_path) not in page


def test_build_and_check_end_alike_whatever_a_whole_run_says(
    sound: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twelve whole tasks with one damaged file: never a rank for what was damaged."""
    draw = random.Random(9)
    for number in range(20):
        results = tmp_path / f"r{number}"
        mini(results, "good", 0.8)
        path = mini(results, "bad", 0.9)
        files = sorted(path.parent.iterdir())
        damaged = draw.choice(files)
        lines = damaged.read_text(encoding="utf-8").splitlines()
        if damaged.suffix == ".json":
            new = [json.dumps(mutated(json.loads(lines[0]), draw))]
        else:
            place = draw.randrange(len(lines))
            row = json.loads(lines[place])
            gone = draw.choice(
                ["doc", "prompt_hash", *(k for k in row if k.endswith(("f1", "re")))]
            )
            row[gone] = draw.choice(VALUES[:13])
            new = [*lines[:place], json.dumps(row), *lines[place + 1 :]]
        damaged.write_text("\n".join(new), encoding="utf-8")
        out = ["--out", str(tmp_path / f"site{number}"), "--replicates", "100"]
        assert main(["build", str(results), *out]) == 0
        board = json.loads((tmp_path / f"site{number}" / "leaderboard.json").read_text())
        built = capsys.readouterr().err
        assert main(["check", str(results), "--replicates", "100"]) in (0, 2)
        checked = capsys.readouterr()
        assert "Traceback" not in built + checked.err
        ranked = {row["name"] for row in board["rows"] if row["ranked"]}
        assert "good" in ranked
        if damaged.suffix == ".jsonl":
            assert ranked == {"good"}
            assert damaged.name.split("_2026")[0].removeprefix("samples_") in checked.out

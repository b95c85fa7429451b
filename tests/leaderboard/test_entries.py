"""Runs -> entries: what makes one row, and each reason why a row has no rank."""

import re

import pytest
from small_entries import N, run, runs, statistics

from leaderboard.entries import Entry, collect_entries, short_name
from leaderboard.models import ModelInfo
from leaderboard.results import Protocol
from sentibench.data.cards import load_cards


def collected(*given, models=None) -> list[Entry]:
    return collect_entries([r for some in given for r in some], models or {}, "mini")


def test_an_entry_has_the_newest_run_of_each_task_and_seed_and_the_others_are_history() -> None:
    old, new = run(date=1), run(date=2)
    second, other = run(seed=52, date=3), run(card="imdb", date=0)
    for order in ([old, new, second, other], [other, second, new, old]):
        (entry,) = collected(order)
        assert list(entry.runs) == ["sentibench_mini_imdb", "sentibench_mini_sst2"]
        assert entry.runs["sentibench_mini_sst2"] == (new, second)
        assert entry.history == (old,)
        assert entry.all_runs == [other, new, second]
    assert collect_entries([run(source="real")], {}, "mini") == []


@pytest.mark.parametrize(
    ("other", "n_entries"),
    [
        ({}, 1),
        ({"model": "n"}, 2),
        ({"protocol": Protocol(shots=0)}, 2),
        ({"right": (1,) * 5}, 2),  # a limited run
        ({"model_args": {"revision": "main"}}, 2),
        ({"model_args": {"peft": "a"}}, 2),
        ({"model_args": {"delta": "a"}}, 2),
        ({"model_args": {"dtype": "float16"}}, 2),
        ({"model_args": {"load_in_4bit": True}}, 2),
        ({"model_args": {"load_in_8bit": True}}, 2),
        ({"model_args": {"quantization": "awq"}}, 2),
        ({"model_args": {"revision": "", "batch_size": 7}}, 1),
        ({"seed": 52}, 1),
        ({"data": "other", "prompts": "other"}, 1),
    ],
)
def test_runs_of_one_model_under_one_protocol_are_one_entry(other, n_entries: int) -> None:
    entries = collected([run(date=1), run(date=2, **other)])
    assert len({entry.key for entry in entries}) == len(entries) == n_entries
    assert all(re.fullmatch("m[0-9a-f]{10}", entry.key) for entry in entries)
    assert [e.key for e in collected([run(date=2, **other), run(date=1)])] == [
        e.key for e in entries
    ]


def test_revisions_of_a_model_are_entries_of_their_own() -> None:
    given = [run(model_args={"revision": revision}) for revision in ("a", "b", "b")]
    assert [len(entry.history) for entry in collected(given)] == [0, 1]


def test_half_a_character_in_a_name_is_no_mistake() -> None:
    keys = {entry.key for entry in collected([run("m\ud83d"), run("m")])}
    assert len(keys) == 2


def test_two_names_are_one_entry_where_models_yaml_says_so() -> None:
    both = [run("a/x", date=1), run("b/y", card="imdb", date=2, parameters=5)]
    assert len(collected(both)) == 2
    declared = {"a/x": ModelInfo("One", parameters=7), "b/y": ModelInfo("One")}
    (entry,) = collected(both, models=declared)
    assert entry.info == ModelInfo("One", parameters=5)  # of the first task, where none is declared
    (entry,) = collected(both[:1], models=declared)
    assert entry.info.parameters == 7


@pytest.mark.parametrize(
    ("name", "short"), [("org/m", "m"), ("/a/b/", "b"), ("m", "m"), ("a/b/c", "c"), ("/", "/")]
)
def test_a_model_is_shown_by_the_last_part_of_its_name(name: str, short: str) -> None:
    assert short_name(name) == short
    (entry,) = collected([run(name)])
    assert entry.info.name == short


def test_models_with_the_same_last_part_are_shown_with_their_folder() -> None:
    declared = {"m": ModelInfo("Mine"), "x/b/m/": ModelInfo("Other")}
    names = {e.info.name for e in collected([run("x/a/m"), run("x/b/m/"), run("n/m2")])}
    assert names == {"a/m", "b/m", "m2"}
    names = {e.info.name for e in collected([run("x/a/m"), run("x/b/m/")], models=declared)}
    assert names == {"a/m", "Other"}  # "m" could be either
    assert collected([run("x/a/m")], models=declared)[0].info.name == "Mine"


def test_statistics_are_averaged_over_the_seeds() -> None:
    right, wrong = [1] * N, [1] * 12 + [0] * 12
    given = [run(right=right, strict=wrong), run(right=wrong, seed=52)]
    (entry,) = collected(given)
    mean = (statistics("sst2", right) + statistics("sst2", wrong)) / 2
    assert entry.statistics("sentibench_mini_sst2", "official").tolist() == mean.tolist()
    of_wrong = statistics("sst2", wrong).tolist()
    assert entry.statistics("sentibench_mini_sst2", "strict").tolist() == of_wrong


def test_twelve_whole_tasks_of_the_paper_s_seeds_are_ranked() -> None:
    for seeds in ((42,), (52, 62), (42, 52, 62)):
        given = [r for seed in seeds for r in runs("m", 0.5, seed=seed, prompts=str(seed))]
        (entry,) = collected(given)
        assert entry.reasons == ()
        assert not entry.has_other_data


@pytest.mark.parametrize(
    ("changed", "reasons"),
    [
        ({"version": "0.9"}, ["task version 0.9, not 1.0"]),
        ({"data": "other"}, ["other data: sentibench_mini_sst2"]),
        ({"prompts": "other"}, ["other prompts: sentibench_mini_sst2, seed 42"]),
        (
            {"seed": 7},
            ["seed 7, not one of the paper's 42, 52 and 62", "seeds differ between tasks"],
        ),
        ({"seed": 52}, ["seeds differ between tasks"]),
    ],
)
def test_one_task_that_differs_is_a_reason(changed, reasons: list[str]) -> None:
    given = runs("m", 0.5)
    sst2 = list(load_cards()).index("sst2")
    given[sst2] = run("m", "sst2", **changed)
    others = [r for name in "ab" for r in runs(name, 0.5)]
    found = {entry.info.name: entry for entry in collected(given, others)}
    assert found["m"].reasons == tuple(reasons)
    assert found["m"].has_other_data == ("data" in changed)
    assert found["a"].reasons == found["b"].reasons == ()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"shots": 0}, "shots is 0, not 4"),
        ({"chat_template": True}, "chat_template is true, not false"),
        ({"multiturn": True}, "multiturn is true, not false"),
        ({"system_instruction": "Be brief."}, 'system_instruction is "Be brief.", not ""'),
        ({"gen_kwargs": {"top_p": 0.5}}, 'gen_kwargs is {"top_p": 0.5}, not {}'),
        ({"gen_kwargs": {"stop": {1}}}, 'gen_kwargs is {"stop": "{1}"}, not {}'),
    ],
)
def test_every_part_of_the_protocol_is_a_reason_said_once(changed, reason: str) -> None:
    (entry,) = collected(runs("m", 0.5, protocol=Protocol(**changed)))
    assert entry.reasons == (f"other protocol: {reason}",)


def test_missing_tasks_and_items_are_reasons() -> None:
    (entry,) = collected(runs("m", 0.5)[:-2])
    assert entry.reasons == ("10/12 tasks; missing: asqp_rest16, opener",)
    (entry,) = collected([run("m", card, (1,) * 23) for card in load_cards()])
    assert entry.reasons == ("limited run: not all items",)


def test_the_data_and_prompts_that_most_entries_have_are_the_right_ones() -> None:
    def reasons_of(**votes: str) -> dict[str, tuple[str, ...]]:
        given = [r for name, data in votes.items() for r in runs(name, 0.5, data=data)]
        return {entry.info.name: entry.reasons[:1] for entry in collected(given)}

    first = "other data: sentibench_mini_acsa_rest16"
    assert reasons_of(a="x", b="y", c="y") == {"a": (first,), "b": (), "c": ()}
    assert reasons_of(a="x", b="y") == {"a": (first,), "b": (first,)}  # who knows
    assert reasons_of(a="x", b="y", c="z", d="z") == {
        **{"a": (first,), "b": (first,), "c": (), "d": ()}
    }
    # entries that are not asked as the benchmark asks have no vote, and seeds have one together
    odd = [r for n in "uv" for r in runs(n, 0.5, data="x", protocol=Protocol(shots=0))]
    seeds = [r for seed in (42, 52) for r in runs("a", 0.5, seed=seed, data="x")]
    rest = [r for n in "bc" for r in runs(n, 0.5, data="y")]
    found = {entry.info.name: entry.reasons for entry in collected(odd, seeds, rest)}
    assert found["a"][0] == first
    assert found["b"] == found["c"] == ()

"""Runs -> entries: what makes one row, and each reason why a row has no rank."""

import re
from dataclasses import replace

import pytest
from small_entries import MINI, N, run, runs, statistics

from leaderboard.runs.entries import Entry, collect_entries
from leaderboard.runs.models import Declared, ModelInfo, short_name
from leaderboard.runs.results import Protocol
from sentibench.data.cards import load_cards


def collected(*given, models=None) -> list[Entry]:
    return collect_entries([r for some in given for r in some], Declared(models or {}), MINI)


def test_an_entry_has_the_newest_run_of_each_task_and_seed_and_the_others_are_history() -> None:
    old, new = run(date=1), run(date=2)
    second, other = run(seed=52, date=3), run(card="imdb", date=0)
    for order in ([old, new, second, other], [other, second, new, old]):
        (entry,) = collected(order)
        assert list(entry.runs) == ["sentibench_mini_imdb", "sentibench_mini_sst2"]
        assert entry.runs["sentibench_mini_sst2"] == (new, second)
        assert entry.history == (old,)
        assert entry.all_runs == [other, new, second]
    assert collected([run(source="real")]) == []


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
        ({"model_args": {"max_length": "64"}}, 2),
        ({"model_args": {"add_bos_token": "true"}}, 2),
        ({"model_args": {"enable_thinking": "true"}}, 2),
        ({"model_args": {"gguf_file": "a.gguf"}}, 2),
        ({"model_args": {"subfolder": "a"}}, 2),
        ({"model_args": {"an_argument_of_next_year": "1"}}, 2),
        ({"dtype": "float16"}, 2),
        ({"commit": "abc"}, 2),
        ({"model_type": "vllm"}, 2),
        ({"model_type": "sentibench-hf"}, 1),
        ({"model_args": {"pretrained": "m/", "batch_size": "7", "device": "cpu"}}, 1),
        ({"model_args": {"api_key": "secret", "num_concurrent": "4"}}, 1),
        ({"model_args": {"concurrency": 4, "store": "here", "retry_failed": True}}, 1),
        ({"model_args": {"dialect": "chat"}}, 2),
        ({"model_args": {"base_url": "http://localhost"}}, 2),  # another server
        ({"model_args": {"load_format": "dummy"}}, 2),
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


def tasks_of(*given) -> list[list[tuple[str, int]]]:
    """Of each entry, the most runs first: task and seed of its runs."""
    entries = sorted(collected(given), key=lambda entry: -len(entry.all_runs))
    assert not any(entry.apart for entry in entries)
    return [sorted((r.task.card.name, r.seed) for r in entry.all_runs) for entry in entries]


def test_limited_runs_join_the_row_that_lacks_their_task_and_has_their_seeds() -> None:
    five, whole, limited = (1,) * 5, run(), run(card="imdb", right=(1,) * 5)
    (entry,) = collected([whole, limited])
    assert "limited run: not all items" in entry.reasons
    again = run(right=five)  # of a task that was run on all items too
    assert tasks_of(whole, limited, again) == [[("imdb", 42), ("sst2", 42)], [("sst2", 42)]]
    seeds = whole, run(seed=52)  # one small run takes no seed from them
    assert tasks_of(*seeds, limited) == [[("sst2", 42), ("sst2", 52)], [("imdb", 42)]]
    assert tasks_of(run(right=five), run(card="imdb", right=(1,) * 3)) == [
        [("imdb", 42), ("sst2", 42)]
    ]


def test_a_row_of_whole_runs_has_the_key_that_it_had_before() -> None:
    (entry,) = collected([run()])
    limited = collected([run(right=(1,) * 5)])[0]
    assert (entry.key, limited.key) == ("m4b15ff6de5", "m0c0f0bedba")


def test_a_precision_or_revision_counts_as_the_one_that_was_used() -> None:
    asked = [run(dtype=f"{torch}bfloat16", model_args=given, commit="c1") for torch, given in (
        ("torch.", {"dtype": "auto"}), ("", {"dtype": "bfloat16", "revision": "main"}), ("", {}),
    )]  # fmt: skip
    (entry,) = collected(asked)
    assert entry.arguments == {"backend": "hf", "dtype": "bfloat16", "revision": "c1"}


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


def test_hub_names_with_the_same_last_part_are_shown_whole() -> None:
    declared = {"m": ModelInfo("Mine"), "x/b/m": ModelInfo("Other")}
    names = {e.info.name for e in collected([run("a/m"), run("b/m"), run("n/m2")])}
    assert names == {"a/m", "b/m", "m2"}
    private = [run("/home/me/m"), run("./mine/m"), run("a/m")]  # folders are not shown
    assert [e.info.name for e in collected(private)].count("m") == 2
    names = {e.info.name for e in collected([run("a/m"), run("x/b/m")], models=declared)}
    assert names == {"a/m", "Other"}  # "m" could be either
    assert Declared(declared).ambiguous({"a/m", "x/b/m"}) == ["m"]
    assert Declared(declared).ambiguous({"x/a/m"}) == []
    assert collected([run("x/a/m")], models=declared)[0].info.name == "Mine"


def test_the_seeds_of_a_task_keep_their_own_statistics() -> None:
    right, wrong = [1] * N, [1] * 12 + [0] * 12
    given = [run(right=wrong, seed=52), run(right=right, strict=wrong)]
    (entry,) = collected(given)
    first, second = statistics("sst2", right), statistics("sst2", wrong)
    official = entry.statistics("sentibench_mini_sst2", "official")
    assert [of_seed.tolist() for of_seed in official] == [first.tolist(), second.tolist()]
    strict = entry.statistics("sentibench_mini_sst2", "strict")
    assert [of_seed.tolist() for of_seed in strict] == [second.tolist(), second.tolist()]


def test_twelve_whole_tasks_of_the_paper_s_seeds_are_ranked() -> None:
    for seeds in ((42,), (52, 62), (42, 52, 62)):
        given = [r for seed in seeds for r in runs("m", 0.5, seed=seed)]
        (entry,) = collected(given)
        assert entry.reasons == ()
        assert all(entry.is_pinned(task) for task in entry.runs)


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
    assert found["m"].is_pinned("sentibench_mini_sst2") == ("data" not in changed)
    assert found["a"].reasons == found["b"].reasons == ()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"shots": 0}, "shots is 0, not 4"),
        ({"chat_template": True}, "chat_template is true, not false"),
        ({"multiturn": True}, "multiturn is true, not false"),
        ({"system_instruction": "Be brief."}, 'system_instruction is "Be brief.", not ""'),
        ({"gen_kwargs": {"top_p": "0.5"}}, 'gen_kwargs is {"top_p": "0.5"}, not {}'),
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


def test_the_cards_decide_about_data_and_prompts_however_many_rows_have_others() -> None:
    odd = [r for name in "abc" for r in runs(name, 0.5, data="x", prompts="y")]
    found = {entry.info.name: entry for entry in collected(odd, runs("honest", 0.5))}
    assert found["honest"].reasons == ()
    for name in "abc":
        assert not found[name].is_pinned("sentibench_mini_sst2")
        assert "other data: sentibench_mini_sst2" in found[name].reasons
        assert "other prompts: sentibench_mini_sst2, seed 42" in found[name].reasons
    # the prompts of another protocol are others by intention, and those of a limited run are fewer
    for given in ({"protocol": Protocol(shots=0)}, {"right": (1,) * 5}):
        (entry,) = collected([run(data="x", prompts="y", **given)])
        assert not [reason for reason in entry.reasons if "other prompts" in reason]


def test_two_runs_of_one_date_are_named_whatever_their_order() -> None:
    first = run(date=5, file="a/results.json")
    second = run(date=5, file="b/results.json", right=[0] * N)
    reason = "two runs of sentibench_mini_sst2, seed 42, have one date: which is newer is not known"
    for order in ([first, second], [second, first]):
        (entry,) = collected(order)
        assert entry.reasons[0] == reason
    # what a newer run has replaced does not matter
    (entry,) = collected([first, second, run(date=6)])
    assert reason not in entry.reasons
    (entry,) = collected([run(date=4), first])
    assert reason not in entry.reasons


def test_a_seed_that_was_run_on_some_tasks_takes_no_rank_from_the_others() -> None:
    (entry,) = collected(runs("m", 0.5), runs("m", 0.9, seed=52)[:3])
    assert entry.reasons == ()
    assert {run.seed for run in entry.all_runs} == {42}
    assert [run.seed for run in entry.apart] == [52] * 3
    (entry,) = collected(runs("m", 0.5)[:3], runs("m", 0.9, seed=52)[:2])
    assert "seeds differ between tasks" in entry.reasons  # none is complete
    assert entry.apart == ()


@pytest.mark.parametrize("what", ["answers", "prompts", "official"])
def test_what_cannot_be_computed_again_has_no_rank(what: str) -> None:
    given = runs("m", 0.5)
    given[2] = replace(given[2], samples=replace(given[2].samples, unverified=frozenset([what])))
    (entry,) = collected(given)
    expected = (f"{what} were not saved, so they cannot be checked",)
    assert entry.reasons == (() if what == "official" else expected)


def test_names_in_models_yaml_join_and_other_declarations_do_not() -> None:
    both = [run("org/m", date=1), run("evil/m", date=2)]
    declared = {"org/m": ModelInfo(family="A"), "evil/m": ModelInfo(family="B")}
    found = {entry.info.name: entry.info.family for entry in collected(both, models=declared)}
    assert found == {"org/m": "A", "evil/m": "B"}


def test_limited_runs_over_other_items_are_rows_of_their_own() -> None:
    given = [run(right=(1,) * n, seed=seed, limit=float(n)) for n, seed in ((5, 42), (7, 52))]
    assert len(collected(given)) == 2
    # a limit that is a share gives each task another number of items, and is one row
    share = [run(card=card, right=(1,) * n, limit=0.2) for card, n in (("sst2", 5), ("imdb", 7))]
    assert len(collected(share)) == 1

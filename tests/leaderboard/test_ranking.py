"""Entries -> ranking and comparisons, against the statistics of each task by itself."""

import numpy as np
import pytest
from small_entries import MINI, N, run, runs, statistics

import leaderboard.ranking
from leaderboard.board import Cell, Rank, tasks_of
from leaderboard.ranking import cells_of, compare, gap_closed, rank_entries
from leaderboard.runs.entries import collect_entries
from leaderboard.runs.models import Declared, ModelInfo
from sentibench.data.cards import SEEN, load_cards, tasks_of_source
from sentibench.scoring.metrics import score_function
from sentibench.scoring.statistics import (
    estimate,
    holm,
    interval,
    mcnemar,
    p_value,
    rank_intervals,
    replicate_scores,
    sign_flip,
    tie_groups,
)

SKILLS = {"a": 0.6, "b": 0.9, "c": 0.6, "d": 0.2}
CARDS = load_cards()
TASKS = {f"sentibench_mini_{name}": card for name, card in CARDS.items()}
COLUMNS = {
    "overall": list(CARDS),
    "basic": [name for name, card in CARDS.items() if card.category == "basic"],
    "multifaceted": [name for name, card in CARDS.items() if card.category == "multifaceted"],
    "finegrained": [name for name, card in CARDS.items() if card.category == "finegrained"],
    "seen": list(SEEN),
    "unseen": [name for name in CARDS if name not in SEEN],
}


def entries_of(*given, models=None):
    found = collect_entries([r for some in given for r in some], Declared(models or {}), MINI)
    return {entry.info.name: entry for entry in found}


@pytest.fixture(scope="module")
def ranked():
    entries = entries_of(*(runs(name, skill) for name, skill in SKILLS.items()))
    # the strict metric of one extraction task turns the order of its models around
    for name, entry in entries.items():
        worse = statistics("opener", [int(name == "d")] * N)
        entry.runs["sentibench_mini_opener"][0].samples.statistics["strict"] = worse
    return entries, rank_entries(list(entries.values()), MINI, 400)


def oracle(entries, metric: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Per task and column the scores of the models a to d, and 400 draws of them."""
    found = {}
    for seed, (task, card) in enumerate(TASKS.items()):
        rows = np.stack([entries[name].statistics(task, metric)[0] for name in "abcd"])
        metric_of = score_function(card)
        draws = replicate_scores(rows, metric_of, 400, seed)
        found[task] = metric_of(rows.sum(axis=1)), draws
    for column, names in COLUMNS.items():
        members = [found[f"sentibench_mini_{name}"] for name in names]
        values, draws = zip(*members, strict=True)
        found[column] = np.mean(values, axis=0), np.mean(draws, axis=0)
    return found


@pytest.mark.parametrize("metric", ["official", "strict"])
def test_cells_and_places_are_those_of_the_tasks_by_themselves(ranked, metric: str) -> None:
    entries, ranking = ranked[0], ranked[1][metric]
    expected = oracle(entries, metric)
    assert sum(len(COLUMNS[c]) for c in ("basic", "multifaceted", "finegrained")) == 12
    for column, names in COLUMNS.items():
        assert sorted(tasks_of(column, MINI)) == sorted(f"sentibench_mini_{n}" for n in names)
        assert len(tasks_of(column, tasks_of_source("real"))) == len(names)
    for place, name in enumerate("abcd"):
        cells = ranking.cells[entries[name].key]
        assert cells.keys() == expected.keys()
        for column, (values, draws) in expected.items():
            low, high = interval(draws[:, place])
            n = N * len(COLUMNS.get(column, [column]))
            assert cells[column] == Cell(pytest.approx(values[place]), low, high, n)
    values, draws = expected["overall"]
    order = sorted(range(4), key=lambda place: -values[place])
    assert [entry.info.name for entry in ranking.entries] == ["abcd"[place] for place in order]
    drawn = draws[:, order]
    assert ranking.overall.values_M == pytest.approx(values[order])
    assert ranking.overall.draws_BM == pytest.approx(drawn)
    above = holm([p_value(drawn[:, i] - drawn[:, i + 1]) for i in range(3)])
    groups = tie_groups(4, lambda i, j: p_value(drawn[:, i] - drawn[:, j]))
    assert 1 < len(set(groups)) < 4
    for place, ((low, high), p) in enumerate(
        zip(rank_intervals(drawn), [None, *above], strict=True)
    ):
        found = ranking.rank_of(ranking.entries[place])
        assert found == Rank(place + 1, low, high, groups[place], p)


def test_equal_models_stand_in_the_order_of_their_keys() -> None:
    entries = entries_of(*([run(name, card) for card in CARDS] for name in ("x", "y", "z")))
    ranking = rank_entries(list(entries.values()), MINI, 100)["official"]
    keys = [entry.key for entry in ranking.entries]
    assert keys == sorted(keys)
    assert [rank.low for rank in ranking.ranks] == [1, 1, 1]
    assert [rank.high for rank in ranking.ranks] == [1, 1, 1]
    assert rank_entries([], MINI) == {}


@pytest.mark.parametrize("metric", ["official", "strict"])
def test_a_comparison_is_that_of_two_rows_item_by_item(ranked, metric: str) -> None:
    entries, ranking = ranked[0], ranked[1][metric]
    comparisons = compare(ranking, metric)
    names = [entry.info.name for entry in ranking.entries]
    of_key = {entry.key: name for name, entry in entries.items()}
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    assert [(of_key[c.a], of_key[c.b]) for c in comparisons] == pairs
    for found in comparisons:
        i, j = (names.index(of_key[key]) for key in (found.a, found.b))
        values, draws = ranking.overall.values_M, ranking.overall.draws_BM
        difference = estimate(values[i] - values[j], draws[:, i] - draws[:, j])
        assert (found.difference, found.low, found.high) == (
            *(difference.value, difference.low, difference.high),
        )
        assert found.metric == metric
        assert found.p == p_value(draws[:, i] - draws[:, j])
        assert list(found.tests) == list(TASKS)
        ours, theirs = (entries[of_key[key]] for key in (found.a, found.b))
        for number, (task, test) in enumerate(found.tests.items()):
            if TASKS[task].is_label_task:
                right = [entry.runs[task][0].samples.right for entry in (ours, theirs)]
                assert (test.test, test.p) == ("McNemar", mcnemar(*right))
            else:
                rows = [entry.statistics(task, metric)[0] for entry in (ours, theirs)]
                metric_of = score_function(TASKS[task])
                (p,) = sign_flip(rows[0], rows[1][None], metric_of, 2000, seed=number)
                assert (test.test, test.p) == ("sign-flip", pytest.approx(p))
        adjusted = holm([test.p for test in found.tests.values()])
        assert [test.adjusted for test in found.tests.values()] == pytest.approx(adjusted)


def test_means_over_seeds_are_compared_by_the_bootstrap_and_single_runs_by_their_answers() -> None:
    twice = [r for seed in (42, 52) for r in runs("twice", 0.9, seed=seed)]
    entries = entries_of(twice, runs("once", 0.5), runs("again", 0.2))
    ranking = rank_entries(list(entries.values()), MINI, 200)["official"]
    assert [entry.info.name for entry in ranking.entries] == ["twice", "once", "again"]
    found = compare(ranking, "official")
    kinds = [{test.test for test in comparison.tests.values()} for comparison in found]
    assert kinds == [{"bootstrap"}, {"bootstrap"}, {"McNemar", "sign-flip"}]
    draws = ranking.tasks["sentibench_mini_sst2"].draws_BM
    expected = [p_value(draws[:, 0] - draws[:, place]) for place in (1, 2)]
    assert [c.tests["sentibench_mini_sst2"].p for c in found[:2]] == expected


def test_seeds_that_lean_to_opposite_labels_do_not_hide_each_other() -> None:
    # by hand: always one of two labels, half of the gold: F1 2/3 of that label and 0 of the other
    gold = np.arange(N) % 2
    always = {
        seed: (gold == label).astype(int).tolist() for seed, label in ((42, 0), (52, 1), (62, 0))
    }
    given = [
        run("m", card, always[seed] if card == "sst2" else [1] * N, seed=seed)
        for seed in always
        for card in CARDS
    ]
    entries = entries_of(given, runs("other", 0.5))
    rankings = rank_entries(list(entries.values()), MINI, 500)
    cell = rankings["official"].cells[entries["m"].key]["sentibench_mini_sst2"]
    assert cell.value == pytest.approx(1 / 3)  # of added counts it would be 0.49
    assert cell.high < 0.45
    assert cell.spread == pytest.approx(0)
    overall = rankings["official"].cells[entries["m"].key]["overall"]
    assert overall.value == pytest.approx((11 + 1 / 3) / 12)
    assert rankings["official"].cells[entries["other"].key]["overall"].spread is None
    (unranked,) = entries_of([r for r in given if r.task.card.name == "sst2"]).values()
    of_task = cells_of(unranked, MINI)["official"]["sentibench_mini_sst2"]
    assert of_task.value == pytest.approx(1 / 3)


def test_the_spread_is_the_standard_deviation_of_the_seeds_scores() -> None:
    given = [run("m", c, [1] * N, seed=s) for s in (42, 52) for c in CARDS if c != "opener"]
    given += [run("m", "opener", [1] * k + [0] * (N - k), seed=s) for s, k in ((42, 12), (52, 18))]
    (entry,) = entries_of(given).values()
    cells = rank_entries([entry], MINI, 100)["official"].cells[entry.key]
    assert cells["sentibench_mini_opener"].value == pytest.approx((0.5 + 0.75) / 2)
    assert cells["sentibench_mini_opener"].spread == pytest.approx(0.25 / np.sqrt(2))
    assert cells["overall"].spread == pytest.approx(0.25 / np.sqrt(2) / 12)
    assert cells["basic"].spread == 0


def test_of_many_rows_neighbours_alone_are_compared_and_not_task_by_task(
    ranked, monkeypatch
) -> None:
    entries = list(ranked[0].values())
    monkeypatch.setattr(leaderboard.ranking, "MAX_TESTED", 4)
    monkeypatch.setattr(leaderboard.ranking, "EXCHANGES", 50)
    ranking = rank_entries(entries, MINI, 400)["official"]
    assert all(len(comparison.tests) == 12 for comparison in compare(ranking, "official"))
    monkeypatch.setattr(leaderboard.ranking, "MAX_TESTED", 3)
    ranking = rank_entries(entries, MINI, 400)["official"]
    found = compare(ranking, "official")
    assert len(found) == 6
    assert all(comparison.tests == {} for comparison in found)
    # with all draws, as the report of a run compares
    draws = ranking.overall.draws_BM
    assert found[0].p == p_value(draws[:, 0] - draws[:, 1])
    many = entries_of(*(runs(f"m{n}", n / 12) for n in range(13)))
    of_many = rank_entries(list(many.values()), MINI, 50)["official"]
    monkeypatch.setattr(leaderboard.ranking, "MAX_COMPARED", 13)
    assert len(compare(of_many, "official")) == 13 * 12 / 2
    monkeypatch.setattr(leaderboard.ranking, "MAX_COMPARED", 12)
    keys = [entry.key for entry in of_many.entries]
    pairs = [(keys.index(c.a), keys.index(c.b)) for c in compare(of_many, "official")]
    assert pairs == [(i, j) for i in range(13) for j in range(i + 1, min(i + 11, 13))]


def test_an_entry_without_a_rank_has_the_means_of_its_whole_categories() -> None:
    (lacking,) = entries_of([r for r in runs("m", 0.6) if r.task.card.name != "opener"]).values()
    cells = cells_of(lacking, MINI)["official"]
    assert {"basic", "multifaceted", "seen"} <= cells.keys()
    assert not {"overall", "finegrained", "unseen"} & cells.keys()
    of_tasks = [cells[f"sentibench_mini_{name}"].value for name in COLUMNS["basic"]]
    assert cells["basic"].value == pytest.approx(np.mean(of_tasks))
    assert (cells["basic"].n, cells["basic"].low < cells["basic"].value) == (4 * N, True)
    (limited,) = entries_of([run("m", card, [1] * 5) for card in CARDS]).values()
    assert len(cells_of(limited, MINI)["official"]) == 12


def test_an_entry_without_a_rank_has_a_score_for_each_task() -> None:
    given = [
        *(run("m", card, ([1, 0] * N)[:N]) for card in ("sst2", "imdb")),
        run("m", "opener", [1] * N, strict=[0] * N),
        run("m", "irony18", [1] * N),
        run("m", "irony18", [1] * 5, seed=52),
    ]
    whole = entries_of(given[:4])["m"]
    cells = cells_of(whole, MINI)
    assert [list(of_metric) for of_metric in cells.values()] == [list(whole.runs)] * 2
    assert list(cells) == ["official", "strict"]
    task = "sentibench_mini_sst2"
    rows = statistics("sst2", ([1, 0] * N)[:N])
    draws = replicate_scores(rows[None], score_function(CARDS["sst2"]), 2000, seed=2)[:, 0]
    value = score_function(CARDS["sst2"])(rows.sum(axis=0))
    expected = Cell(pytest.approx(float(value)), *interval(draws), N)
    assert cells["official"][task] == cells["strict"][task] == expected
    opener = [of_metric["sentibench_mini_opener"].value for of_metric in cells.values()]
    assert opener == [1, 0]


def test_the_gap_is_that_of_the_three_overall_scores() -> None:
    given = {"base": 0.2, "student": 0.6, "teacher": 0.95}
    models = {"student": ModelInfo("student", teacher="teacher")}
    entries = entries_of(*(runs(name, skill) for name, skill in given.items()), models=models)
    ranking = rank_entries(list(entries.values()), MINI, 300)["official"]
    student = entries["student"]
    teacher, own, base = ranking.overall.values_M
    found = gap_closed(ranking, student, "base")
    draws = ranking.overall.draws_BM.T
    low, high = interval((draws[1] - draws[2]) / (draws[0] - draws[2]))
    assert found.value == pytest.approx((own - base) / (teacher - base))
    assert (found.low, found.high, found.n) == (pytest.approx(low), pytest.approx(high), 12 * N)
    assert gap_closed(ranking, student, "nobody") is None
    assert gap_closed(ranking, entries["base"], "base") is None  # has no teacher
    assert gap_closed(ranking, student, "teacher") is None  # no way to go
    (unranked,) = entries_of(runs("student", 0.6)[:3], models=models).values()
    assert gap_closed(ranking, unranked, "base") is None


def test_of_two_rows_of_a_teacher_the_gap_takes_the_one_that_was_run_like_the_student() -> None:
    models = {"student": ModelInfo("student", teacher="teacher")}
    given = [runs("base", 0.2), runs("student", 0.6), runs("teacher", 0.95)]
    alone = collect_entries([r for some in given for r in some], Declared(models), MINI)
    cut = runs("teacher", 0.62, model_args={"max_length": "64"})
    both = collect_entries([r for some in [*given, cut] for r in some], Declared(models), MINI)

    def gap(entries):
        student = next(e for e in entries if e.info.name == "student")
        return gap_closed(rank_entries(entries, MINI, 300)["official"], student, "base")

    assert gap(alone) == gap(both)
    twins = [*cut, *runs("teacher", 0.7, model_args={"max_length": "32"}), *given[0], *given[1]]
    assert gap(collect_entries(twins, Declared(models), MINI)) is None  # whose lead?

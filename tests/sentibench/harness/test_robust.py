"""``sentibench_robust``: the same items under several prompts, and how much the answers move."""

import statistics
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score

from sentibench.data.cards import load_tasks, robust_names
from sentibench.data.read import load_split
from sentibench.errors import InputError
from sentibench.harness import robust, task_manager
from sentibench.harness.robust import ITEMS, VARIANTS

MINI = [name for name in robust_names() if name.startswith("sentibench_mini_robust_")]
V = len(VARIANTS)


def prompts_of(name: str, **given) -> dict[tuple[int, int], str]:
    """(item, variant) -> prompt."""
    task = task_manager().load([name])["tasks"][name]
    task.build_all_requests(**given)
    return {(r.doc["index"], r.doc["variant"]): r.args[0] for r in task.instances}


def test_the_group_asks_the_first_items_of_eight_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (len(MINI), ITEMS) == (8, 100)
    monkeypatch.setattr(robust, "ITEMS", 10)
    assert prompts_of(MINI[0]).keys() == {(i, v) for i in range(10) for v in range(V)}


@pytest.mark.realdata
def test_the_group_is_4000_prompts(real_home: Path) -> None:
    tasks = task_manager().load(["sentibench_robust"])["tasks"]
    assert len(tasks) == 8
    for task in tasks.values():
        task.build_all_requests()
    prompts = [{(r.doc["index"], r.doc["variant"]) for r in t.instances} for t in tasks.values()]
    assert sum(map(len, prompts)) == 4_000


@pytest.mark.parametrize("name", MINI)
def test_the_variants_differ_in_wording_or_in_one_order_and_in_nothing_else(name: str) -> None:
    task = load_tasks()[name.replace("_robust", "")]
    labels = task.card.labels
    prompts = prompts_of(name)
    assert len(prompts) == V * min(ITEMS, len(load_split(task, "test").examples))
    parts = [prompts[0, v].split("\n\n") for v in range(V)]
    listed = f"{', '.join(labels[:-1])} or {labels[-1]}"
    backwards = f"{', '.join(labels[:0:-1])} or {labels[0]}"
    first, second, third, reversed_labels, reversed_shots = parts
    assert len({part[0] for part in (first, second, third)}) == 3
    assert all(part[0].count(listed) == 1 for part in (first, second, third, reversed_shots))
    assert reversed_labels[0] == first[0].replace(listed, backwards)
    assert "LABELS" not in prompts[0, 0]
    assert "TARGET" not in prompts[0, 0]
    assert all(len(part) == 1 + 4 + 1 for part in parts)
    assert second[1:] == third[1:] == reversed_labels[1:] == first[1:]
    assert reversed_shots == [first[0], *first[4:0:-1], first[5]]


def test_the_text_and_demonstrations_are_those_of_the_benchmarks_task() -> None:
    name = "sentibench_mini_pstance"
    task = task_manager().load([name])["tasks"][name]
    task.build_all_requests()
    plain = {r.doc["index"]: r.args[0].partition("\n\n")[2] for r in task.instances}
    prompts = prompts_of("sentibench_mini_robust_pstance")
    assert {i: prompts[i, 0].partition("\n\n")[2] for i in plain} == plain
    target = load_split(load_tasks()[name], "test").examples[7].target
    assert target in prompts[7, 1].partition("\n\n")[0]


def test_a_limit_below_one_item_is_refused_before_a_model_runs() -> None:
    with pytest.raises(InputError, match="--limit: got 4, expected at least 5"):
        prompts_of("sentibench_mini_robust_sst2", limit=4)
    assert len(prompts_of("sentibench_mini_robust_sst2", limit=5)) == V


@pytest.mark.parametrize("shots", [0, 1])
def test_fewer_than_two_demonstrations_have_no_other_order(shots: int) -> None:
    task = task_manager().load([MINI[0]])["tasks"][MINI[0]]
    task.set_config("num_fewshot", shots)
    with pytest.raises(InputError, match=f"--num_fewshot: got {shots}, expected at least 2"):
        task.build_all_requests()
    task.set_config("num_fewshot", 2)
    task.build_all_requests()
    prompts = {(r.doc["index"], r.doc["variant"]): r.args[0] for r in task.instances}
    assert all(prompts[i, 0] != prompts[i, 4] for i in range(24))


def drawn_items(n: int, k: int, seed: int = 0) -> list[tuple[int, int, int, int, int]]:
    random = np.random.default_rng(seed)
    gold = random.integers(0, k, n)
    return [
        (
            i,
            v,
            int(gold[i]),
            int(gold[i] if random.random() < 0.4 + v / 10 else random.integers(-1, k)),
            k,
        )
        for i in range(n)
        for v in range(V)
    ]


@pytest.mark.parametrize("k", [2, 4])
def test_scores_and_agreement_are_those_counted_in_plain_python(k: int) -> None:
    items = drawn_items(60, k)
    scores = [
        f1_score(
            [g for _, v, g, _, _ in items if v == variant],
            [p for _, v, _, p, _ in items if v == variant],
            labels=range(k),
            average="macro",
            zero_division=0,
        )
        for variant in range(V)
    ]
    assert robust.score(items) == pytest.approx(statistics.mean(scores))
    assert robust.score_low(items) == pytest.approx(min(scores))
    assert robust.score_high(items) == pytest.approx(max(scores))
    assert robust.score_sd(items) == pytest.approx(statistics.stdev(scores))
    answers = defaultdict(list)
    for index, _, _, predicted, _ in items:
        answers[index].append(predicted)
    pairs = [(of[a], of[b]) for of in answers.values() for a in range(V) for b in range(a)]
    equal = sum(a == b != -1 for a, b in pairs)
    assert robust.agreement(items) == pytest.approx(equal / len(pairs))
    shuffled = [items[i] for i in np.random.default_rng(1).permutation(len(items))]
    assert robust.agreement_stderr(shuffled) == robust.agreement_stderr(items) > 0
    assert robust.score_stderr(shuffled) == robust.score_stderr(items) > 0


def test_standard_errors_draw_an_item_with_all_its_variants() -> None:
    items = drawn_items(50, 2)
    same = [(i, v, gold, items[i * V][3], 2) for i, v, gold, _, _ in items]
    assert robust.agreement_stderr([(i, v, g, max(p, 0), k) for i, v, g, p, k in same]) == 0
    # equal answers in all variants are no more than one answer: as uncertain as one variant is
    random = np.random.default_rng(5)
    one = np.array([(g, p) for i, v, g, p, _ in same if v == 0])
    again = [one[random.integers(0, 50, 50)] for _ in range(2_000)]
    spread = np.std([f1_score(o[:, 0], o[:, 1], labels=[0, 1], average="macro") for o in again])
    assert robust.score_stderr(same) == pytest.approx(spread, rel=0.1)


def test_an_item_that_was_not_asked_in_all_variants_is_left_out() -> None:
    items = drawn_items(20, 2)
    assert robust.score(items[:-1]) == robust.score(items[:-V])
    with pytest.raises(InputError, match="no item in all of its 5 variants"):
        robust.score(items[: V - 1])

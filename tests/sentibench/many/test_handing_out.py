"""Which units a worker gets, and what it does where their call fails."""

from collections.abc import Callable
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from lm_eval.models.dummy import DummyLM

from sentibench.harness import evaluation
from sentibench.many import run
from sentibench.many.plan import DONE, Many, Unit, units_of
from sentibench.many.run import SPAWN, TOGETHER, _Busy, _hand_out, run_many
from sentibench.many.worker import Worker

TASKS = ["sentibench_mini_sst2", "sentibench_mini_mint", "sentibench_mini_atsa_rest16"]
SERVER = {"name": "a", "model": "sentibench-decisions", "args": {"base_url": "http://h"}}


def units(models: list[Any], out: str | Path = "out", **more: Any) -> list[Unit]:
    given = {"models": models, "tasks": TASKS, "seeds": [42, 52], "out": out}
    return units_of(Many.model_validate(given | more))


def idle(n_workers: int) -> tuple[list[Any], list[list[Unit]]]:
    """Workers, and a list of what is sent to them."""
    sent: list[list[Unit]] = []
    workers = [
        SimpleNamespace(units=(), model=None, connection=SimpleNamespace(send=sent.append))
        for _ in range(n_workers)
    ]
    return workers, sent


def test_a_server_is_asked_by_one_worker_at_a_time() -> None:
    both = units([SERVER, "x/b"])
    waiting = both[:6]  # of the server
    workers, sent = idle(2)
    _hand_out(workers, waiting, ())
    assert [[unit.model.name for unit in group] for group in sent] == [["a"]]
    waiting += both[6:]
    _hand_out(workers, waiting, ())
    assert [[unit.model.name for unit in group] for group in sent] == [["a"], ["b"]]


def test_small_units_of_a_model_and_a_seed_go_together() -> None:
    waiting = units(["x/a", "x/b"], limit=4)
    workers, sent = idle(2)
    _hand_out(workers, waiting, ())
    assert [[(u.model.name, u.seed, u.task) for u in group] for group in sent] == [
        [(name, 42, task) for task in TASKS] for name in ("a", "b")
    ]
    assert len(waiting) == 6


@pytest.mark.parametrize(("limit", "n"), [(None, 1), (TOGETHER, 1), (TOGETHER // 2, 2), (1, 3)])
def test_units_with_many_items_go_alone(limit: int | None, n: int) -> None:
    workers, sent = idle(1)
    _hand_out(workers, units(["x/a"], limit=limit), ())
    assert [len(group) for group in sent] == [n]


def test_units_with_another_limit_and_units_that_killed_a_worker_go_alone() -> None:
    waiting = units(["x/a"], limit=4, limits={TASKS[1]: 5})
    workers, sent = idle(1)
    _hand_out(workers, waiting, ())
    assert [[unit.task for unit in group] for group in sent] == [[TASKS[0], TASKS[2]]]
    first, _, third, *_ = waiting = units(["x/a"], limit=4)
    workers, sent = idle(1)
    _hand_out(workers, waiting, {first, third})
    assert sent == [[first]]


def test_no_worker_is_idle_while_another_one_has_several_units() -> None:
    waiting = units(["x/a"], limit=4, seeds=[42])
    workers, sent = idle(3)
    _hand_out(workers, waiting, ())
    assert [len(group) for group in sent] == [1, 1, 1]


def test_where_a_task_fails_those_measured_with_it_have_results(monkeypatch, tmp_path) -> None:
    evaluate, calls = evaluation.evaluate_and_save, list[list[str]]()

    def fails_at_one(model, kind, arguments, folders, manager, **more: Any) -> None:
        calls.append(list(folders))
        evaluate(model, kind, arguments, folders, manager, **more)
        if TASKS[1] in folders:
            raise ValueError("no such column")

    monkeypatch.setattr(evaluation, "evaluate_and_save", fails_at_one)
    monkeypatch.setattr(evaluation, "load_any", lambda *_: DummyLM())
    given = {"name": "d", "model": "dummy"}
    some = units([given], tmp_path, seeds=[42], limit=2)
    outcomes = Worker(None).measure(some)
    assert calls == [TASKS, *([task] for task in TASKS)]
    assert [kind for kind, _ in outcomes] == ["done", "failed", "done"]
    assert "no such column" in outcomes[1][1]
    assert [unit.is_done for unit in some] == [True, False, True]
    left = {path.name for path in (tmp_path / "d" / "42").iterdir()}
    assert left == {TASKS[0], TASKS[2], f"{TASKS[1]}.error.txt"}
    assert (tmp_path / "d" / "42" / TASKS[0] / DONE).is_file()


def finish(unit: Unit) -> None:
    """Leave what a worker leaves when a unit is measured."""
    unit.folder.mkdir(parents=True)
    (unit.folder / DONE).write_text(unit.identity)


def measure_all(units: list[Unit]) -> list[Any]:
    for unit in units:
        finish(unit)
    return [("done", "")] * len(units)


def workers_do(monkeypatch, *what: Callable[[list[Unit]], Any]) -> list[list[str]]:
    """Replace worker processes: the n-th one does the n-th of these; gives the tasks it was sent.

    One that returns None dies without an answer.
    """
    sent: list[list[str]] = []
    left = iter(what)

    def live(there, do) -> None:
        try:
            while True:
                units = there.recv()
                sent.append([unit.task for unit in units])
                if (outcomes := do(units)) is None:
                    break
                there.send(outcomes)
        except EOFError:
            pass
        there.close()

    def start(device: str | None, n_workers: int) -> _Busy:
        here, there = SPAWN.Pipe()
        Thread(target=live, args=(there, next(left)), daemon=True).start()
        process: Any = SimpleNamespace(join=lambda: None, terminate=lambda: None)
        return _Busy(process, here)

    monkeypatch.setattr(run, "_start", start)
    return sent


def many(out: Path, **more: Any) -> Many:
    given = {"models": ["x/a"], "tasks": TASKS, "seeds": [42], "out": out, "workers": 1, "limit": 2}
    return Many.model_validate(given | more)


def test_what_a_worker_had_measured_before_it_died_is_not_measured_again(
    monkeypatch, tmp_path
) -> None:
    def dies_after_the_first(units: list[Unit]) -> None:
        finish(units[0])
        other = units[-1]
        other.folder.with_name(f"{other.task}.part-1").mkdir()

    sent = workers_do(monkeypatch, dies_after_the_first, dies_after_the_first, measure_all)
    plan = many(tmp_path)
    found = run_many(plan, units_of(plan))
    assert (found.n_done, found.lost) == (3, {})
    assert sent == [TASKS, [TASKS[1]], [TASKS[2]]]
    assert not list(tmp_path.rglob("*.part-*"))


def test_a_unit_that_kills_two_workers_is_told_and_the_others_are_measured(
    monkeypatch, tmp_path
) -> None:
    def dies_at_one(units: list[Unit]) -> list[Any] | None:
        return None if TASKS[1] in {unit.task for unit in units} else measure_all(units)

    workers_do(monkeypatch, dies_at_one, dies_at_one, dies_at_one)
    plan = many(tmp_path)
    found = run_many(plan, units_of(plan))
    assert found.n_done == 2
    ((why, lost),) = found.lost.items()
    assert "two worker processes were killed at it" in why
    assert [unit.task for unit in lost] == [TASKS[1]]


def test_a_model_at_which_two_workers_die_is_not_tried_with_other_tasks(
    monkeypatch, tmp_path
) -> None:
    sent = workers_do(monkeypatch, *[lambda units: None] * 3)
    plan = many(tmp_path)
    found = run_many(plan, units_of(plan))
    assert sent == [TASKS, [TASKS[0]]]
    ((_, lost),) = found.lost.items()
    assert sorted(unit.task for unit in lost) == sorted(TASKS)

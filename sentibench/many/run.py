"""Units to workers: what is done is left alone, what fails is told at the end."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast

from filelock import FileLock, Timeout

from sentibench.errors import InputError
from sentibench.files import write_beside
from sentibench.harness.evaluation import FAST
from sentibench.many.plan import Many, Model, Unit
from sentibench.many.worker import Outcome, work
from sentibench.progress import progress

TOGETHER = 32  # items of units that are measured in one call; a kill loses these units
SPAWN = get_context("spawn")  # a fork of a process that has threads may hang


@dataclass
class Found:
    """What a call did.

    Attributes:
        n_done: Units that were measured now.
        n_before: Units that were there.
        lost: Why there is no result -> the units that it concerns.
    """

    n_done: int = 0
    n_before: int = 0
    lost: dict[str, list[Unit]] = field(default_factory=dict[str, list[Unit]])


@dataclass
class _Busy:
    """A worker process, the units it is at, and the model it holds."""

    process: BaseProcess
    connection: Connection
    units: Sequence[Unit] = ()
    model: Model | None = None


def run_many(many: Many, units: Sequence[Unit], *, replace: bool = False) -> Found:
    """Measure what is not there yet; may be killed and called again.

    Args:
        many: The plan.
        units: Its units.
        replace: Whether results of other settings or weights may be replaced.

    Raises:
        InputError: If another process works in the folder, it cannot be written, or it has results
            of other settings.
    """
    with _alone_in(many.out):
        waiting = [unit for unit in units if not unit.is_done]
        others = [unit for unit in waiting if unit.found]
        if others and not replace:
            raise InputError(
                f"run-many: {many.out}: {len(others)} of {len(units)} units have results of other "
                f"settings or weights, such as {others[0]}; give another out, or --replace"
            )
        for model in many.models:
            _write_name(many.out / model.name, model)
        _remove_parts(waiting)  # of a killed call
        found = Found(n_before=len(units) - len(waiting))
        with progress("run-many", "unit", len(units), initial=found.n_before) as bar:
            for unit, (kind, why) in _measured(many, waiting):
                found.n_done += kind == "done"
                if kind != "done":
                    found.lost.setdefault(why, []).append(unit)
                bar.update()
    return found


def _remove_parts(units: Iterable[Unit]) -> None:
    """Remove what workers that are dead had begun to write."""
    for unit in units:
        for part in unit.folder.parent.glob(f"{unit.task}.part-*"):
            shutil.rmtree(part, ignore_errors=True)


def _write_name(folder: Path, model: Model) -> None:
    """Say what the leaderboard calls a model: many students lie in folders of one name.

    What is said of it there already is left as it is.

    Raises:
        InputError: If the file is no JSON, or cannot be written.
    """
    path = folder / "run.json"
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if model.known_as in found.setdefault("models", {}):
            return
        found["models"][model.known_as] = {"name": model.name}
        folder.mkdir(exist_ok=True)
        write_beside(path, json.dumps(found, indent=2) + "\n")
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(
            f"run-many: {path}: the name of the model cannot be written there; {error}; expected "
            "a JSON object in a folder that can be written"
        ) from None


def _measured(many: Many, waiting: list[Unit]) -> Iterator[tuple[Unit, Outcome]]:
    """Hand out units and give what became of them, in the order in which they end."""
    waiting, suspects, measured = list(waiting), set[Unit](), set[str]()
    n_workers = min(many.n_workers, len(waiting))
    devices = [
        many.devices[n % len(many.devices)] if many.devices else None for n in range(n_workers)
    ]
    workers = [_start(device, n_workers) for device in devices]
    try:
        _hand_out(workers, waiting, suspects)
        while busy := {w.connection: w for w in workers if w.units}:
            for connection in wait(list(busy)):
                worker = busy[cast(Connection, connection)]
                units, outcomes = _received(worker)
                if outcomes is None:
                    n = workers.index(worker)
                    workers[n] = _start(devices[n], n_workers)
                    found = _of_dead_worker(units, waiting, suspects, measured)
                else:
                    found = list(zip(units, outcomes, strict=True))
                for unit, outcome in found:
                    yield unit, outcome
                    if outcome[0] == "done":
                        measured.add(unit.model.name)
                    if outcome[0] == "no model":  # so it would be for its other units
                        for other in [one for one in waiting if one.model == unit.model]:
                            waiting.remove(other)
                            yield other, outcome
            _hand_out(workers, waiting, suspects)
    finally:
        for worker in workers:
            worker.connection.close()
            if worker.units:
                worker.process.terminate()
            worker.process.join()


def _of_dead_worker(
    units: Sequence[Unit], waiting: list[Unit], suspects: set[Unit], measured: Collection[str]
) -> list[tuple[Unit, Outcome]]:
    """What became of the units of a worker that died, as far as it is known.

    Args:
        units: What it was at. Those that it lost are tried again, alone, unless they were alone.
        waiting: Gets these in front.
        suspects: Gets these too.
        measured: Models that have answered something.
    """
    _remove_parts(units)
    done: list[tuple[Unit, Outcome]] = [(unit, ("done", "")) for unit in units if unit.is_done]
    lost = [unit for unit in units if not unit.is_done]
    if suspects.isdisjoint(lost):
        suspects.update(lost)
        waiting[:0] = lost
        return done
    why = "two worker processes were killed at it; is there enough memory?"
    kind = "failed" if units[0].model.name in measured else "no model"
    return [*done, *((unit, (kind, why)) for unit in lost)]


def _received(worker: _Busy) -> tuple[Sequence[Unit], list[Outcome] | None]:
    """The units that a worker was at, and what became of them; None where the worker died."""
    units, worker.units = worker.units, ()
    try:
        return units, worker.connection.recv()
    except (EOFError, OSError):  # killed, or out of memory
        worker.process.join()
        return units, None


def _hand_out(workers: Sequence[_Busy], waiting: list[Unit], suspects: Collection[Unit]) -> None:
    """Give each idle worker the units that cost it least to begin.

    These are of the model it holds; else of the same base; else of a model that no other worker
    holds. A model that is no local one, a server say, is asked by one worker at a time.

    Args:
        workers: All of them.
        waiting: What nobody works on; what is handed out leaves it.
        suspects: Units at which a worker died. They are handed out alone.
    """
    for worker in workers:
        if worker.units:
            continue
        others = [other.model for other in workers if other is not worker and other.units]

        def cost(
            unit: Unit, worker: _Busy = worker, others: Sequence[Model | None] = others
        ) -> tuple[bool, bool, bool]:
            has_base = worker.model is not None and unit.model.base == worker.model.base
            return unit.model != worker.model, not has_base, unit.model in others

        free = [one for one in waiting if one.model.is_local or one.model not in others]
        if not free:
            continue
        first = min(free, key=cost)
        fair = -(-len(waiting) // len(workers))
        units = _together(first, waiting, suspects)[:fair]
        for unit in units:
            waiting.remove(unit)
        worker.units, worker.model = units, first.model
        with suppress(OSError):  # it died while it was idle; that is seen when it is read
            worker.connection.send(units)


def _together(first: Unit, waiting: Sequence[Unit], suspects: Collection[Unit]) -> list[Unit]:
    """The units that are measured in one call with the first one, itself included.

    They have its model, seed and limit, and few items: then their answers are generated together,
    which takes little longer than those of one unit (sentibench.fast.generation). A suspect goes
    alone: then only that one is lost where its worker dies again.
    """
    if first in suspects:
        return [first]
    alike = [
        unit
        for unit in waiting
        if (unit.model, unit.seed, unit.limit) == (first.model, first.seed, first.limit)
        and unit not in suspects
        and unit is not first
    ]
    has_pool = first.model.model == FAST
    most = TOGETHER // first.limit if first.limit and has_pool else 1
    return [first, *alike[: max(0, most - 1)]]


def _start(device: str | None, n_workers: int) -> _Busy:
    here, there = SPAWN.Pipe()
    process = SPAWN.Process(target=work, args=(there, device), name="run-many")
    with _environment(max(1, (os.cpu_count() or 1) // n_workers)):
        process.start()
    there.close()
    return _Busy(process, here)


@contextmanager
def _environment(n_threads: int) -> Generator[None]:
    """Let processes that are started within share the cores, and show no bars of their own."""
    given = {"OMP_NUM_THREADS": str(n_threads), "TQDM_DISABLE": "1"}
    added = [name for name in given if name not in os.environ]
    os.environ.update({name: given[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


@contextmanager
def _alone_in(out: Path) -> Generator[None]:
    lock: Any = FileLock(out / "run-many.lock", timeout=0)
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise InputError(
            f"run-many: {out}: another process works in this folder; wait until it ends, or give "
            "another out"
        ) from None
    except OSError as error:
        raise InputError(
            f"run-many: {out}: cannot be written; {error.strerror or error}; give another out"
        ) from None
    try:
        yield
    finally:
        lock.release()

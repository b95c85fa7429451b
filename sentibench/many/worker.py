"""A process that measures one unit after the other; a model stays loaded for the next one."""

from __future__ import annotations

import os
import shutil
import threading
import traceback
from collections.abc import Sequence
from functools import cache
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from sentibench.errors import InputError, SentiBenchError
from sentibench.files import write_beside
from sentibench.harness import task_manager
from sentibench.many.plan import DONE, Model, Unit

Outcome = tuple[Literal["done", "no model", "failed"], str]
"""What became of a unit, and why it has no result."""


class Worker:
    """Measures units.

    Args:
        device: As after ``--device``; None leaves it to the model.
    """

    def __init__(self, device: str | None) -> None:
        self._device = device
        self._loaded: tuple[Model | None, Any] = (None, None)

    def measure(self, units: Sequence[Unit]) -> list[Outcome]:
        """Measure units of one model, seed and limit in one call, each into its folder.

        Whatever goes wrong is told, and is no exception. Where the call fails, each unit gets one
        of its own, so that a task that fails leaves the others alone.
        """
        try:
            model = self._load(units[0].model)
        except Exception as error:
            return [("no model", _told(error, units[0]))] * len(units)
        try:
            self._save(units, model)
        except Exception as error:
            if len(units) == 1:
                return [("failed", _told(error, units[0]))]
        else:
            for unit in units:
                unit.error_file.unlink(missing_ok=True)
            return [("done", "")] * len(units)
        # outside the except: there the memory of the call that failed would still be held
        found: list[Outcome] = []
        for unit in units:
            found.extend([("done", "")] if unit.is_done else self.measure([unit]))
        return found

    def _load(self, model: Model) -> Any:
        from sentibench.harness.evaluation import load_any

        held, loaded = self._loaded
        if held == model:
            return loaded
        self._loaded = (None, None)
        adapter = model.args.get("peft")
        is_kept = held is not None and adapter and held.base == model.base
        if not is_kept or not hasattr(loaded, "use_adapter") or not loaded.use_adapter(adapter):
            loaded = held = None  # the memory of one before the other is there
            on = {"device": self._device} if self._device else {}
            loaded = load_any(model.model, model.args, model.batch_size, **on)
        self._loaded = (model, loaded)
        return loaded

    def _save(self, units: Sequence[Unit], model: Any) -> None:
        from sentibench.harness.evaluation import evaluate_and_save

        parts = {
            unit.task: unit.folder.with_name(f"{unit.task}.part-{os.getpid()}") for unit in units
        }
        first = units[0]
        try:
            evaluate_and_save(
                model,
                first.model.model,
                first.model.args,
                parts,
                _manager(first.seed),
                limit=first.limit,
            )
            for unit in units:
                _complete(unit, parts[unit.task])
        finally:
            for part in parts.values():
                shutil.rmtree(part, ignore_errors=True)


def _complete(unit: Unit, part: Path) -> None:
    """Make the folder that was written beside a unit's own one the unit's."""
    if not list(part.rglob("results_*.json")):
        raise InputError(
            f"{unit.folder}: the results could not be saved; check the free space and whether you "
            "may write there"
        )
    write_beside(part / DONE, unit.identity)
    (unit.folder / DONE).unlink(missing_ok=True)  # half a folder is no result
    shutil.rmtree(unit.folder, ignore_errors=True)
    part.rename(unit.folder)


@cache
def _manager(seed: int) -> Any:
    return task_manager(demo_seed=seed)


def _told(error: Exception, unit: Unit) -> str:
    """One line; the traceback goes into a file beside the results."""
    said = str(error) if isinstance(error, SentiBenchError) else f"{type(error).__name__}: {error}"
    said, path = " ".join(said.split())[:300], unit.error_file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_beside(path, "".join(traceback.format_exception(error)))
    except OSError:  # a full disk, which may be the error itself
        return said
    return f"{said}; more in {path}"


def work(connection: Connection, device: str | None) -> None:
    """Measure the units that come through a connection until it is closed; the main of a process.

    A worker ends with the process that started it, even where that was killed.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    worker = Worker(device)
    while True:
        try:
            units: Sequence[Unit] = connection.recv()
        except EOFError:
            return
        connection.send(worker.measure(units))


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)

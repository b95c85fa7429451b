"""A process that measures one unit after the other; a model stays loaded for the next one."""

from __future__ import annotations

import os
import shutil
import threading
import traceback
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

    def measure(self, unit: Unit) -> Outcome:
        """Measure a unit, into its folder; whatever goes wrong is told, and is no exception."""
        error_file = unit.folder.with_name(f"{unit.task}.error.txt")
        try:
            model = self._load(unit.model)
        except Exception as error:
            return "no model", _told(error, error_file)
        try:
            self._save(unit, model)
            error_file.unlink(missing_ok=True)
        except Exception as error:
            return "failed", _told(error, error_file)
        return "done", ""

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

    def _save(self, unit: Unit, model: Any) -> None:
        from sentibench.harness.evaluation import evaluate_and_save

        part = unit.folder.with_name(f"{unit.task}.part-{os.getpid()}")
        shutil.rmtree(part, ignore_errors=True)
        try:
            evaluate_and_save(
                model,
                unit.model.model,
                unit.model.args,
                unit.task,
                _manager(unit.seed),
                part,
                limit=unit.limit,
            )
            if not list(part.rglob("results_*.json")):
                raise InputError(
                    f"{unit.folder}: the results could not be saved; check the free space and "
                    "whether you may write there"
                )
            write_beside(part / DONE, unit.identity)
            (unit.folder / DONE).unlink(missing_ok=True)  # half a folder is no result
            shutil.rmtree(unit.folder, ignore_errors=True)
            part.rename(unit.folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)


@cache
def _manager(seed: int) -> Any:
    return task_manager(demo_seed=seed)


def _told(error: Exception, path: Path) -> str:
    """One line; the traceback goes into a file beside the results."""
    said = str(error) if isinstance(error, SentiBenchError) else f"{type(error).__name__}: {error}"
    said = " ".join(said.split())[:300]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_beside(path, "".join(traceback.format_exception(error)))
    except OSError:  # a full disk, which may be the error itself
        return said
    return f"{said}; more in {path}"


def work(connection: Connection, device: str | None) -> None:
    """Measure what comes through a connection until it is closed; the main of a process.

    A worker ends with the process that started it, even where that was killed.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    worker = Worker(device)
    while True:
        try:
            unit: Unit = connection.recv()
        except EOFError:
            return
        connection.send(worker.measure(unit))


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)

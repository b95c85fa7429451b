"""Whether a step of a run is done, or stale and why: what went into it is compared by hash.

A step has a folder and, once it is through, a ``step.json`` with its inputs (settings, hashes of
files) and the hashes of its outputs, which are inputs of the next. Nothing is done again that is
done, and whatever is done again says which input changed.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from distill.files import digest, write_json
from sentibench.errors import InputError, StoreError

WAIT_S = 0.5
REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room on this disk"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "get the permission for it"),
    errno.EROFS: "set `out` to a folder that can be written",
    errno.ENOENT: "put the file back",
    errno.EMFILE: "allow more open files (ulimit -n)",
}
"""Number of an error of the system -> what to do."""
State = Literal["done", "stale", "new", "waits"]
Work = Callable[[Path], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Step:
    """A piece of work with a folder of its own.

    Attributes:
        name: Such as ``knowdist-train``.
        folder: Where its outputs and ``step.json`` lie.
        settings: What it depends on besides other steps; JSON values.
        after: The steps whose outputs it reads.
        outputs: Files and folders, relative to ``folder``, whose content is hashed.
        work: Does it in ``folder`` and returns a summary for people; must bear being killed and
            called again.
    """

    name: str
    folder: Path
    settings: Mapping[str, Any]
    after: tuple[Step, ...]
    outputs: tuple[str, ...]
    work: Work
    by_all: bool = False
    """Whether all processes of a launch take part; otherwise the first does it alone."""
    asks: bool = False
    """Whether a teacher answers, of whom what failed may be asked again."""

    def record(self) -> dict[str, Any] | None:
        """What ``step.json`` says, or None."""
        found = _read(self.folder / "step.json")
        return cast("dict[str, Any]", found) if isinstance(found, dict) else None

    def summary(self) -> dict[str, Any]:
        """What its work returned; empty where it is not through."""
        return (self.record() or {}).get("summary", {})

    def _inputs(self) -> dict[str, Any]:
        """Settings and the hashes of what it reads; all steps before it must be done."""
        known: dict[str, Any] = {"settings": json.loads(json.dumps(self.settings))}
        for step in self.after:
            known[step.name] = cast("dict[str, Any]", step.record())["outputs"]
        return known

    def state(self) -> tuple[State, str]:
        """Whether it is done, and otherwise why not."""
        return states(in_order([self]))[self.name]

    def state_after(self, before: Mapping[str, tuple[State, str]]) -> tuple[State, str]:
        """The same, where the states of the steps before it are known."""
        behind = [step.name for step in self.after if before[step.name][0] != "done"]
        if behind:
            return "waits", f"for {', '.join(behind)}"
        record, inputs = self.record(), self._inputs()
        if record is None:
            begun = _read(self.folder / "inputs.json")
            if begun is None:
                return "new", ""
            return "new", "goes on where it was" if begun == inputs else "never finished"
        changes = list(_changes(record.get("inputs"), inputs))
        if changes:
            return "stale", "; ".join(changes[:4])
        missing = [name for name in self.outputs if not (self.folder / name).exists()]
        return ("stale", f"missing: {', '.join(missing)}") if missing else ("done", "")

    def do(self, *, again: bool = False) -> dict[str, Any]:
        """Do the work unless it is done; returns the summary.

        Args:
            again: Do it although it is done, on what it left; its work must bear that.

        Under ``accelerate launch`` the first process keeps the records, and the others join in
        where the work is ``by_all`` and otherwise wait for the step to be done.

        Raises:
            InputError: If a step before it has to be done first.
            StoreError: If the outputs cannot be written.
        """
        if int(os.environ.get("RANK", "0")):
            return self._join_in()
        state, why = self.state()
        if state == "waits":
            raise InputError(f"{self.name}: cannot begin, as it waits {why}; do that first")
        if state == "done" and not again:
            return self.summary()
        inputs = self._inputs()
        try:
            if not self._is_begun(inputs):
                shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self.folder / "inputs.json", inputs)
            start = time.monotonic()
            summary = self.work(self.folder)
            record = {
                "inputs": inputs,
                "outputs": {name: digest(self.folder / name) for name in self.outputs},
                "summary": summary,
                "seconds": round(time.monotonic() - start, 1),
                "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            }
            write_json(self.folder / "step.json", record)
        except Exception as error:
            if not _is_of_a_disk(error):
                raise
            of_network = isinstance(error, ConnectionError | TimeoutError)
            where = "the network" if of_network else self.folder
            where = getattr(error, "filename", None) or where
            why = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
            remedy = REMEDIES.get(getattr(error, "errno", None) or 0, "correct this")
            remedy = "check the connection" if of_network else remedy
            raise StoreError(
                f"{self.name}: {where}: got {why}; finished work is kept; {remedy}, then run the "
                "command again"
            ) from None
        return summary

    def _join_in(self) -> dict[str, Any]:
        joined = False
        while (state := self.state()[0]) != "done":
            may_join = self.by_all and not joined and state != "waits"
            if may_join and self._is_begun(self._inputs()):
                self.work(self.folder)
                joined = True
            time.sleep(WAIT_S)
        return self.summary()

    def _is_begun(self, inputs: Mapping[str, Any]) -> bool:
        """Whether it was begun with these inputs by a killed process or the first of several."""
        return _read(self.folder / "inputs.json") == inputs


def _is_of_a_disk(error: Exception) -> bool:
    """Whether a file could not be written: safetensors and torch have errors of their own."""
    words = ("PytorchStreamWriter", "iostream error")
    is_torchs = isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    return isinstance(error, OSError) or is_torchs or type(error).__name__ == "SafetensorError"


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def states(steps: Iterable[Step]) -> dict[str, tuple[State, str]]:
    """State and reason of every step by name; each comes after what it depends on."""
    found: dict[str, tuple[State, str]] = {}
    for step in steps:
        found[step.name] = step.state_after(found)
    return found


def in_order(last: Iterable[Step]) -> list[Step]:
    """The steps and all they depend on, each after what it depends on."""
    ordered: dict[str, Step] = {}

    def visit(step: Step) -> None:
        for before in step.after:
            visit(before)
        ordered.setdefault(step.name, step)

    for step in last:
        visit(step)
    return list(ordered.values())


def _changes(old: Any, new: Any, where: str = "") -> Any:
    """Yield one line per difference, ``settings.learning_rate: 0.1 -> 0.2``."""
    if isinstance(new, dict) and (old is None or isinstance(old, dict)):
        before, after = cast("dict[str, Any]", old or {}), cast("dict[str, Any]", new)
        for key in sorted({*before, *after}):
            yield from _changes(before.get(key), after.get(key), f"{where}.{key}".lstrip("."))
    elif old != new:
        yield f"{where}: {_short(old)} -> {_short(new)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 24 else text[:10] + "..." + text[-6:]

"""Shards of a store: what workers on other machines have answered, each in a folder of its own.

A shard is a store in the folder ``shards`` of the store that it belongs to, on a file system that
all machines share. Whoever holds the store takes what its shards hold, by the key of the request,
so an answer that is in two shards, or in the store already, does no harm.
"""

from __future__ import annotations

import json
import shutil
import time
from contextlib import suppress
from pathlib import Path

from sentibench.errors import StoreInUseError
from sentibench.remote.store import Store, disk_errors

FOLDER = "shards"


def open_shard(
    store: Path, worker: str, teacher: str, revision: str, *, patience_s: float = 10.0
) -> Store:
    """Open the shard of a worker for adding; one that was restarted finds what it had answered.

    Args:
        store: Folder of the store that the shard belongs to.
        worker: Name of the worker, which a restart does not change.
        teacher: Whose answers these are.
        revision: Of the teacher.
        patience_s: Seconds to wait for an earlier life of the worker to end. Behind that the
            shard gets another name: on a machine that is cut off, it may live on.

    Raises:
        StoreError: If the folder cannot be written.
    """
    folder = store / FOLDER / worker
    try:
        return Store.open(folder, teacher, revision, patience_s=patience_s)
    except StoreInUseError:
        again = folder.with_name(f"{worker}-{time.time_ns():x}")
        return Store.open(again, teacher, revision)


def lives_without_an_answer(shard: Store) -> int:
    """Count a life of the worker that has just opened its shard.

    Returns:
        How many in a row, this one included, began with as many answers in the shard.
    """
    path = shard.folder / "lives.json"
    try:
        n_answers, lives = json.loads(path.read_text())
    except (OSError, ValueError, TypeError):
        n_answers, lives = -1, 0
    lives = lives + 1 if n_answers == len(shard) else 1
    with disk_errors(path):
        path.write_text(json.dumps([len(shard), lives]))
    return lives


def take_shards(store: Store, *, patience_s: float = 10.0) -> None:
    """Copy into a store what its shards hold, and remove the shards that nobody writes to.

    Args:
        store: Open for adding.
        patience_s: Seconds to wait, for all shards together, until their workers have ended. What
            one that does not end has written so far is copied, and its shard stays.

    Raises:
        StoreError: If a shard is damaged, or an answer cannot be written.
    """
    deadline = time.monotonic() + patience_s
    for folder in sorted((store.folder / FOLDER).glob("*")):
        if not folder.is_dir():  # what a file system or a browser of files left there
            continue
        left_s = max(0.0, deadline - time.monotonic())
        try:
            shard = Store.open(folder, store.teacher, store.revision, patience_s=left_s)
        except StoreInUseError:
            with Store.read(folder, (store.teacher, store.revision)) as shard:
                store.take([shard])
            continue
        with shard:
            store.take([shard])
            store.sync()  # before the only other copy goes
            shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # not there, or a worker that still writes has its shard in it
        (store.folder / FOLDER).rmdir()

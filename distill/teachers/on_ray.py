"""A teacher that is asked by the workers of a Ray cluster, each with a shard of the store.

Ray Data hands out batches of requests, grows and shrinks the pool of workers, and gives a batch to
a worker again that died of it. A worker writes every answer into its shard before anybody else
hears of it; one that was restarted has its shard again and asks only what is not in it.
"""

# pyright: basic, reportMissingImports=false
# Ray carries no types that would hold, and is an extra: its unknowns end in this module.

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from distill.config import Asking, HfTeacher, ServerTeacherConfig, TeacherConfig, VllmTeacher
from distill.teachers import identity, load_teacher
from distill.teachers.cluster import check_machines, cluster_failed, connected, load_ray
from sentibench.errors import SentiBenchError, TeacherError
from sentibench.remote.asking import Server
from sentibench.remote.chat import warn_if_unencrypted
from sentibench.remote.exchange import read_key
from sentibench.remote.records import UNKNOWN, Answer, Failure, Request, Teacher
from sentibench.remote.shards import lives_without_an_answer, open_shard
from sentibench.remote.store import Store

LIVES = 10  # of a worker that answers nothing: a model too large for its machine ends all of them


class RayTeacher:
    """Answers of a teacher that the workers of a cluster load, or reach.

    Args:
        config: Of the teacher.
        asking: The cluster, and how many workers there are.
        store: Folder of the teacher's answers, which all machines share.

    Attributes:
        name: Of the teacher.
        revision: Of the teacher.
        has_answered: Whether a server has ever answered; see ``ChatServer``.

    Raises:
        TeacherError: If Ray is not installed.
    """

    def __init__(self, config: TeacherConfig, asking: Asking, store: Path) -> None:
        load_ray()
        self.name, self.revision = identity(config)
        self.has_answered = False
        self._config, self._asking = _with_whole_paths(config), asking
        self._store = store.resolve()

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Answer | Failure]]:
        """Yield answers and failures, batch by batch; see ``Teacher``.

        Raises:
            TeacherError: If there is no cluster, a machine of it cannot be used, or a worker finds
                what concerns all requests.
        """
        config, secret = self._config, SecretStr("")
        if isinstance(config, ServerTeacherConfig):
            secret = SecretStr(read_key(config.api_key_env))
            warn_if_unencrypted(config, secret.get_secret_value(), "teacher.")
        fewest, most = self._asking.workers
        if isinstance(config, ServerTeacherConfig):
            most = min(most, config.concurrency)
        size = max(1, min(self._asking.batch, -(-len(requests) // most)))
        most = min(most, -(-len(requests) // size))
        with connected(self._asking) as ray:
            check_machines(ray, self._asking, config, self._store)
            context = ray.data.DataContext.get_current()
            context.enable_progress_bars = context.print_on_execution_start = False
            batches = [ray.put(batch) for batch in _batches(requests, size)]  # one here at a time
            rows = ray.data.from_arrow_refs(batches).map_batches(
                Worker,
                fn_constructor_kwargs={
                    "config": _share(config, most),
                    "identity": (self.name, self.revision),
                    "store": self._store,
                    "secret": secret,
                    "has_answered": self.has_answered,
                },
                batch_size=size,  # which a block has
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(min_size=min(fewest, most), max_size=most),
                num_cpus=self._asking.cpus,
                num_gpus=self._asking.gpus,
            )
            given = {"batch_size": None, "batch_format": "pyarrow", "prefetch_batches": 0}
            try:
                for batch in rows.iter_batches(**given):
                    for row in batch.to_pylist():
                        if row["wrong"]:
                            raise TeacherError(row["wrong"])
                        yield requests[row["number"]], pickle.loads(row["outcome"])
            except ray.exceptions.RayError as error:
                raise cluster_failed(error, "all answers so far are kept") from None


class Worker:
    """Asks batches of requests from one process of the cluster.

    Args:
        config: Of the teacher, with this worker's share of its limits.
        identity: Name and revision under which the answers are stored.
        store: Folder of the answers.
        secret: The key of a server, as the driver has it; empty for this machine's own.
        has_answered: Whether a server has ever answered.
    """

    def __init__(
        self,
        config: TeacherConfig,
        identity: tuple[str, str],
        store: Path,
        secret: SecretStr,
        has_answered: bool,
    ) -> None:
        self._wrong, self._teacher, self._shard = "", None, None
        if isinstance(config, ServerTeacherConfig) and secret.get_secret_value():
            os.environ[config.api_key_env] = secret.get_secret_value()
        import ray

        context = ray.get_runtime_context()
        machine = f"asking.engine: machine {ray.util.get_node_ip_address()}"
        try:  # an error of the constructor would be shown by Ray, with its traceback
            self._shard: Store | None = open_shard(store, str(context.get_actor_id()), *identity)
            if lives_without_an_answer(self._shard) > LIVES:  # Ray would begin the next for ever
                raise TeacherError(
                    f"a worker stopped {LIVES} times before its first answer; expected enough "
                    "memory for the model and a batch; read the log of that machine, and take a "
                    "smaller model or a machine with more memory"
                )
            self._teacher: Teacher | None = load_teacher(config)
        except SentiBenchError as error:
            self._wrong = f"{machine}: {error}"
        if isinstance(self._teacher, Server):
            self._teacher.has_answered = has_answered

    def __call__(self, batch: Any) -> Any:
        """Answer a batch, an Arrow table of requests, by a table of outcomes."""
        import pyarrow

        numbers = batch.column("number").to_pylist()
        requests = [pickle.loads(one) for one in batch.column("request").to_pylist()]
        rows: list[dict[str, Any]] = []
        try:
            for at, outcome in self._outcomes(requests):
                said = pickle.dumps(outcome)
                rows.append({"number": numbers[at], "outcome": said, "wrong": ""})
        except SentiBenchError as error:
            rows.append({"number": 0, "outcome": b"", "wrong": str(error)})
        kinds = {"number": pyarrow.int64(), "outcome": pyarrow.binary(), "wrong": pyarrow.string()}
        return pyarrow.Table.from_pylist(rows, schema=pyarrow.schema(kinds))

    def _outcomes(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer | Failure]]:
        """Place in the batch and outcome: first what an earlier life of this worker has written."""
        if self._shard is None or self._teacher is None:
            raise TeacherError(self._wrong)
        waiting: list[Request] = []
        places: dict[str, int] = {}
        for at, request in enumerate(requests):
            key = self._shard.key_of(request)
            known = self._shard.get(key) or self._shard.failure(key)
            if known:
                yield at, known
            else:
                places[key] = at
                waiting.append(request)
        for request, outcome in self._teacher.answer(waiting) if waiting else ():
            if isinstance(outcome, Answer):
                self._shard.add(request, outcome)
            elif outcome.reason not in UNKNOWN:
                self._shard.fail(request, outcome)
            yield places[self._shard.key_of(request)], outcome


def _batches(requests: Sequence[Request], size: int) -> Iterator[Any]:
    """Requests as Arrow tables; pickled, as Arrow's text holds no half of a surrogate pair."""
    import pyarrow

    rows = ({"number": n, "request": pickle.dumps(one)} for n, one in enumerate(requests))
    kinds = pyarrow.schema({"number": pyarrow.int64(), "request": pyarrow.binary()})
    while part := list(islice(rows, size)):
        yield pyarrow.Table.from_pylist(part, schema=kinds)


def _share(config: TeacherConfig, workers: int) -> TeacherConfig:
    """The settings of one worker: the limits of a server hold for all of them together."""
    if not isinstance(config, ServerTeacherConfig):
        return config
    limits = ("requests_per_minute", "tokens_per_minute")
    of_one = {name: limit / workers for name in limits if (limit := getattr(config, name))}
    return config.model_copy(update=of_one | {"concurrency": config.concurrency // workers})


def _with_whole_paths(config: TeacherConfig) -> TeacherConfig:
    """The settings, with a model's folder as it is called in every working directory."""
    if isinstance(config, HfTeacher | VllmTeacher) and Path(config.model).is_dir():
        return config.model_copy(update={"model": str(Path(config.model).resolve())})
    return config

"""A Ray cluster: reach it, or start one on this machine, check its machines, and share work there.

What is wrong is said once, with the machine, before a request is sent.
"""

# pyright: basic, reportMissingImports=false
# Ray carries no types that would hold, and is an extra: its unknowns end in this module.

from __future__ import annotations

import logging
import os
import pickle
import socket
import traceback
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from importlib.metadata import version
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NamedTuple

from distill.checkpoints import check_checkpoint
from distill.config import Asking, HfTeacher, TeacherConfig, VllmTeacher
from distill.teachers import identity
from distill.workers import Item, Result, Share, by_processes, chunked
from sentibench.errors import SentiBenchError, TeacherError
from sentibench.remote.shards import FOLDER

CONNECT_S = 5.0
# of HTTP/2, which gRPC speaks: client and server both begin with their settings
FRAME, SETTINGS = 9, b"\x04"  # bytes of a frame's head, and its kind in there
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0" + SETTINGS + b"\0" * 5
CHECK_S = 120.0  # for a machine to say whether a worker could work there
AHEAD = 8  # chunks for each core that are sent at once
RETRIES = 3  # of a chunk whose process was killed; Ray Data itself would try for ever
OBJECTS_BYTES = 512 << 20  # what workers and driver share in the memory of this machine alone
# Read when Ray is imported. Nothing calls outside, and what Ray says is not said twice.
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}


def load_ray() -> Any:
    """Import Ray, quietly.

    Raises:
        TeacherError: If it is not installed.
    """
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise TeacherError(
            f"asking.engine: the package ray is not installed; got {error}; run: pip install "
            "'sentibench[ray]', or set asking.engine=local"
        ) from None
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # its errors are raised here as well
    return ray


@contextmanager
def connected(asking: Asking) -> Generator[Any]:
    """Be the driver of a cluster: that of the settings, of RAY_ADDRESS, or one of this machine.

    Yields:
        The module ``ray``. A cluster that the process is connected to already is left as it is.

    Raises:
        TeacherError: If the cluster cannot be reached, or has another version of Ray or Python.
    """
    ray = load_ray()
    if ray.is_initialized():
        yield ray
        return
    given = os.environ.get("RAY_ADDRESS", "")
    where = "asking.address" if asking.address or not given else "RAY_ADDRESS"
    address = asking.address or given or "local"
    _refuse_unreachable(ray, where, address)
    mine = {"include_dashboard": False, "object_store_memory": OBJECTS_BYTES}
    try:
        ray.init(
            address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **(mine if address == "local" else {}),
        )
    except Exception as error:  # Ray raises a plain one where its node starts too slowly
        ray.shutdown()  # it may be half connected
        raise _no_cluster(where, address, ray.__version__, error) from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _refuse_unreachable(ray: Any, where: str, address: str) -> None:
    """Ask at the address for a server of gRPC: Ray itself would try for minutes."""
    if address in ("auto", "local"):
        return
    host, _, port = address.rpartition(":")
    if "//" in address or not host or not port.isdigit():
        raise TeacherError(
            f"{where}: got {address!r}; expected HOST:PORT, auto or local; an address with :// "
            "cannot be used: run this command on a machine of the cluster"
        )
    host = host.strip("[]")
    if host in ("localhost", "127.0.0.1", "::1"):  # Ray replaces it by the machine's own address
        host = ray.util.get_node_ip_address()
    try:
        with socket.create_connection((host, int(port)), CONNECT_S) as link:
            if os.environ.get("RAY_USE_TLS", "0") == "0":
                link.sendall(HELLO)
                if link.recv(FRAME)[3:4] != SETTINGS:
                    raise ConnectionError("an answer that no Ray cluster gives")
    except (OSError, OverflowError) as error:
        raise TeacherError(
            f"{where}: no Ray cluster at {host}:{port}; got {error}; expected one that was started "
            "with `ray start --head`; start it, or remove the address: then only this machine is "
            "used"
        ) from None


def _no_cluster(where: str, address: str, own: str, error: Exception) -> TeacherError:
    said = " ".join(str(error).split())
    if said.startswith("Version mismatch"):
        return TeacherError(
            f"{where}: the cluster at {address} has another version of Ray or Python; got "
            f"{said[18:]}; expected Ray {own} and the same minor version of Python on every "
            "machine; install the same versions everywhere"
        )
    if address == "local":
        return TeacherError(
            f"{where}: no Ray cluster could be started on this machine; got {said[:300]}; expected "
            "room for its processes; close other programs, and run again"
        )
    return TeacherError(
        f"{where}: the Ray cluster at {address} cannot be used; got {said[:300]}; expected a "
        "cluster that this machine belongs to; run `ray start --head`, or `ray start --address "
        "HOST:PORT`; if the cluster wants a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN on "
        "this machine too"
    )


@contextmanager
def sharing(asking: Asking) -> Generator[Share]:
    """Who cleans texts and filters answers: this machine, or a cluster.

    Raises:
        TeacherError: If the cluster cannot be reached, a machine of it cannot be used, or it fails.
    """
    if asking.engine != "ray" or not asking.filters:
        yield by_processes
        return
    with connected(asking) as ray:
        check_machines(ray, asking.model_copy(update={"cpus": 1, "gpus": 0}))
        yield partial(_shared, ray)


def _shared(
    ray: Any,
    read: Callable[[range], Sequence[Item]],
    work: Callable[[Sequence[Item]], Sequence[Result]],
    n: int,
    chunk: int | None = None,
) -> Iterator[Result]:
    """Do work on the cores of a cluster; see :class:`Share`.

    Some chunks for each core are sent at once, so that few items are held, and few are done that
    nobody wants. The next ones are read as soon as the first of these is done.
    """
    waiting, sent = iter(chunked(n, chunk)), ray.put(work)
    given = {"batch_size": None, "batch_format": "pyarrow"}

    def send() -> list[Any]:
        most = AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
        return [ray.put(_column([read(rows)])) for rows in islice(waiting, most)]

    try:
        blocks = send()
        while blocks:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Ray 2.64 will not know max_retries
                done = ray.data.from_arrow_refs(blocks).map_batches(
                    _do, fn_kwargs={"work": [sent]}, num_cpus=1, max_retries=RETRIES, **given
                )
            done.context.enable_progress_bars = done.context.print_on_execution_start = False
            done.context.execution_options.preserve_order = True
            with closing(iter(done.iter_batches(prefetch_batches=0, **given))) as batches:
                first, blocks = next(batches), send()
                for batch in chain((first,), batches):
                    for found in map(pickle.loads, batch.column("pickled").to_pylist()):
                        if isinstance(found, _Failed):
                            raise found.error from RuntimeError(found.trace)
                        yield from found
    except ray.exceptions.RayError as error:
        raise cluster_failed(error, "finished steps are kept") from None


def _do(batch: Any, work: Sequence[Any]) -> Any:
    """Work on the chunks of a block, in a process of the cluster."""
    import ray

    do: Any = ray.get(work[0])
    results: list[Any] = []
    for items in map(pickle.loads, batch.column("pickled").to_pylist()):
        try:
            results.append(do(items))
        except Exception as error:  # which Ray would wrap, and show
            results.append(_Failed(error, traceback.format_exc()))
    return _column(results)


class _Failed(NamedTuple):
    """An error of the work, and where it was there."""

    error: Exception
    trace: str


def _column(values: Sequence[Any]) -> Any:
    """Values as an Arrow table of one column."""
    import pyarrow

    pickled = pyarrow.array(list(map(pickle.dumps, values)), pyarrow.large_binary())
    return pyarrow.table({"pickled": pickled})


def cluster_failed(error: Exception, kept: str) -> TeacherError:
    """The cluster cannot go on."""
    return TeacherError(
        f"asking.engine: the Ray cluster failed; got {' '.join(str(error).split())[-300:]}; "
        f"{kept}; check the machines of the cluster, and run again"
    )


def check_machines(
    ray: Any, asking: Asking, teacher: TeacherConfig | None = None, store: Path | None = None
) -> None:
    """Refuse a cluster of which a machine that would get workers could not do their work.

    Args:
        ray: The module, connected.
        asking: What a worker reserves.
        teacher: Whose model has to be there; None for work that needs no teacher.
        store: Folder of the answers, which all machines have to share; None where they need none.

    Raises:
        TeacherError: If no machine has room for a worker, or one of them cannot be used.
    """
    known = identity(teacher) if teacher else None
    given = (teacher, known, store, version("sentibench"))
    check = ray.remote(wrong_with_machine)
    pinned = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    fits = [
        node
        for node in ray.nodes()
        if node["Alive"]
        and node["Resources"].get("CPU", 0) >= asking.cpus
        and node["Resources"].get("GPU", 0) >= asking.gpus
    ]
    asked = [
        check.options(
            num_cpus=0, scheduling_strategy=pinned(node["NodeID"], soft=False), max_retries=0
        ).remote(*given)
        for node in fits
    ]
    late = (
        f"asking.engine: machine {{}}: got no answer within {CHECK_S:g} s, expected one; check "
        "that machine and its network, and run again"
    )
    names = [node["NodeManagerAddress"] for node in fits]
    can_be_used = [
        _refuse_wrong(ray, machine, answer, CHECK_S, late.format(machine))
        for machine, answer in zip(names, asked, strict=True)
    ]
    if any(can_be_used):
        return
    # none is there, or was killed a moment ago; a cluster that grows with what is wanted gets one
    wanted = check.options(num_cpus=asking.cpus, num_gpus=asking.gpus).remote(*given)
    has = "; ".join(
        f"{node['Resources'].get('CPU', 0):g} CPUs and {node['Resources'].get('GPU', 0):g} GPUs"
        for node in ray.nodes()
        if node["Alive"]
    )
    late = (
        f"asking.cpus, asking.gpus: no machine had enough free CPUs and GPUs for a worker within "
        f"{asking.patience_s:g} s; got {f'machines with {has}' if has else 'no machine'}; expected "
        f"{asking.cpus:g} free CPUs and {asking.gpus:g} free GPUs; lower these settings, or add a "
        "machine"
    )
    _refuse_wrong(ray, "of the cluster", wanted, asking.patience_s, late)


def _refuse_wrong(ray: Any, machine: str, answer: Any, wait_s: float, late: str) -> bool:
    """Whether a machine can be used; False where it is gone meanwhile.

    Raises:
        TeacherError: If it is there and cannot be used, or, with the words of ``late``, if it has
            not said so in time.
    """
    known = ray.exceptions
    try:
        wrong = ray.get(answer, timeout=wait_s)
    except (known.TaskUnschedulableError, known.NodeDiedError, known.WorkerCrashedError):
        return False
    except known.GetTimeoutError:
        raise TeacherError(late) from None
    except known.RayError as error:
        said = " ".join(str(error).split())
        raise TeacherError(
            f"asking.engine: machine {machine} cannot run a worker; got {said[-300:]}; expected "
            f"sentibench {version('sentibench')} on that machine, as on this one; install it there"
        ) from None
    if wrong:
        raise TeacherError(f"asking.engine: machine {machine}: {wrong}")
    return True


def wrong_with_machine(
    teacher: TeacherConfig | None,
    known: tuple[str, str] | None,
    store: Path | None,
    installed: str,
) -> str:
    """Why a worker could not work on the machine where this is called; empty if it could.

    Args:
        teacher: Whose model has to be here, if any has.
        known: Its name and revision where the run was started.
        store: Folder of the answers, if they are needed.
        installed: The version of this package where the run was started.
    """
    here = version("sentibench")
    if here != installed:
        return f"another version of sentibench; got {here}, expected {installed}; install that one"
    if store is None:
        return ""
    if not (store / "store.json").is_file():
        return (
            f"{store}: got no store.json there, expected the folder of the run; set `out` to a "
            "folder that all machines share, under the same path"
        )
    try:
        (store / FOLDER).mkdir(exist_ok=True)
        TemporaryFile(dir=store / FOLDER).close()
    except OSError as error:
        return (
            f"{store / FOLDER}: workers cannot write there; got {error.strerror}; let them write "
            "there, or set `out` to another folder that all machines share"
        )
    if not isinstance(teacher, HfTeacher | VllmTeacher):
        return ""
    try:
        check_checkpoint(
            "teacher.model", teacher.model, trust_remote_code=teacher.trust_remote_code
        )
    except SentiBenchError as error:
        return str(error)
    name, revision = identity(teacher)
    if known and (name, revision) != known:
        return (
            f"teacher.model: its files there differ from those here; got {name} {revision}, "
            f"expected {' '.join(known)}; copy the same files to that machine"
        )
    return ""

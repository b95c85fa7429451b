"""``sentibench serve``: the model is loaded once, then it answers until it is told to end."""

from __future__ import annotations

import ipaddress
import signal
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from sentibench.errors import InputError
from sentibench.predict.classifier import Classifier
from sentibench.serve.answering import Answerer
from sentibench.serve.app import About, build
from sentibench.serve.batching import Batcher
from sentibench.serve.measures import Measures

GRACE_S = 30  # for requests that wait or are in work, when the server ends


def serve(
    checkpoint: str, *, host: str, port: int, max_queue: int, max_batch: int, **use: Any
) -> None:
    """Answer requests until SIGINT or SIGTERM.

    What waits then is answered for ``GRACE_S`` seconds, or until a second SIGINT. The rest is told
    that the server ends, and the pass of the model in work is its last.

    Args:
        checkpoint: A folder, or a name of the hub.
        host: An address of this machine.
        port: 0 for any that is free.
        max_queue: Texts and questions that may wait.
        max_batch: Of these, how many are answered together.
        use: Further arguments of ``Classifier``.

    Raises:
        InputError: If one of these does not fit, or the address cannot be had.
    """
    for option, number in (("--max-queue", max_queue), ("--max-batch", max_batch)):
        if number < 1:
            raise InputError(f"{option}: got {number}, expected at least 1")
    with _bound(host, port) as bound:
        classifier = Classifier(checkpoint, **use)
        name = Path(checkpoint).resolve().name if Path(checkpoint).is_dir() else checkpoint
        about = About(name, classifier.task, classifier.recipe.labels)
        address = bound.getsockname()
        is_loopback = ipaddress.ip_address(address[0]).is_loopback
        shown = f"[{address[0]}]" if ":" in address[0] else address[0]
        hosts = ("localhost", shown, host) if is_loopback else ("*",)
        with batching(classifier, max_queue, max_batch) as (batcher, measures):
            config = uvicorn.Config(
                build(about, batcher, measures, hosts),
                log_level="warning",
                access_log=False,
                server_header=False,
                lifespan="off",
                timeout_graceful_shutdown=GRACE_S,
            )
            print(
                f"{name}: task {classifier.task}, {classifier.shots} shots: "
                f"{classifier.why_shots}; temperature {classifier.temperature:.3f}",
                file=sys.stderr,
            )
            if not is_loopback:
                print(
                    f"warning: --host {host}: other machines can reach this server, and it has no "
                    "authentication; put a proxy with TLS and keys in front of it",
                    file=sys.stderr,
                )
            server = uvicorn.Server(config)

            def end(number: int, frame: FrameType | None) -> None:
                """End a server that does not listen to signals yet, or has ended already."""
                server.should_exit = True

            # uvicorn ends cleanly, then repeats the signal, which would end us with an error
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, end)
            print(f"http://{shown}:{address[1]}", flush=True)
            server.run(sockets=[bound])


@contextmanager
def batching(
    classifier: Classifier, max_queue: int, max_batch: int
) -> Generator[tuple[Batcher, Measures]]:
    """A queue before a classifier, with its measures; what waits at the end is answered."""
    measures = Measures()
    batcher = Batcher(
        Answerer(classifier),
        max_queue=max_queue,
        max_batch=max_batch,
        on_batch=measures.batches.observe,
    )
    measures.watch_queue(lambda: batcher.n_waiting)
    try:
        yield batcher, measures
    finally:
        batcher.close()


def _bound(host: str, port: int) -> socket.socket:
    """A socket that listens: whether it can is found out before the model is loaded."""
    if not 0 <= port < 1 << 16:
        raise InputError(f"--port: got {port}, expected 0 to 65535")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address, family=family)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "no name of a machine"
        raise InputError(
            f"--host {host} --port {port}: {why}; give an address of this machine and a free "
            "port, or --port 0 for any"
        ) from None

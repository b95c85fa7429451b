"""The addresses of the server: requests in, answers or refusals out."""

from __future__ import annotations

import asyncio
import logging
import math
import time
import traceback
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sentibench.serve.answering import Answer, Item, Question, Scored
from sentibench.serve.batching import Batcher
from sentibench.serve.measures import Measures
from sentibench.serve.refusals import Refused
from sentibench.serve.shapes import Classify, Decisions, SystemOne, labelled, read

MOST_BYTES = 1 << 20  # of a body
MOST_READ_BYTES = 16 << 20  # of one that is refused: a client that still sends reads no answer
BODY_TIMEOUT_S = 30.0
OTHER = "other"  # in place of a path that we do not have: clients make no new measures
LEFT = 499  # no status of HTTP: nobody reads it, /metrics counts it

Handler = Callable[[Request], Awaitable[Response]]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class About:
    """What clients are told of the model.

    Attributes:
        name: By which it is asked for.
        task: Its own.
        labels: Of that task; none where it writes tuples.
    """

    name: str
    task: str
    labels: tuple[str, ...]


def build(
    about: About, batcher: Batcher, measures: Measures, hosts: Sequence[str] = ("*",)
) -> Starlette:
    """Make the application.

    Args:
        about: The model.
        batcher: Asks it; closed by the caller.
        measures: Shown under /metrics.
        hosts: Names by which it may be asked for. Where a page of another site makes its own name
            mean this machine, the browser asks under that name.
    """

    async def ask(request: Request, items: Sequence[Item]) -> list[Answer]:
        answered = asyncio.wrap_future(batcher.ask(items))
        left = asyncio.ensure_future(_left(request))
        try:
            await asyncio.wait((answered, left), return_when=asyncio.FIRST_COMPLETED)
            if answered.done():
                return answered.result()
            raise Refused(LEFT, "disconnected", "the client did not wait for the answer")
        finally:
            left.cancel()
            answered.cancel()  # so the model does not work for nobody

    async def classify(request: Request) -> Response:
        _, texts = read(Classify, await _body(request), about.name)
        answers = cast("list[Any]", await ask(request, texts))
        found = [labelled(answer) for answer in answers]
        return JSONResponse({"model": about.name, "task": about.task, "answers": found})

    def decide(shape: type[SystemOne] | type[Decisions]) -> Handler:
        async def run(request: Request) -> Response:
            asked, items = read(shape, await _body(request), about.name)
            questions = cast("list[Question]", items)
            scored = cast("list[Scored]", await ask(request, questions))
            if any(math.isnan(p) for answer in scored for p in answer.probabilities):
                raise Refused(500, "model_error", "the model gave no number for an option")
            answers = asked.answers(list(zip(questions, scored, strict=True)))
            usage = asked.usage(sum(answer.n_tokens for answer in scored))
            return JSONResponse({"model": about.name, "answers": answers, "usage": usage})

        return run

    async def health(_: Request) -> Response:
        is_well = batcher.is_alive
        return JSONResponse({"status": "ok" if is_well else "closing"}, 200 if is_well else 503)

    async def models(_: Request) -> Response:
        model = {"id": about.name, "object": "model", "owned_by": "sentibench"}
        model |= {"task": about.task, "labels": about.labels}
        return JSONResponse({"object": "list", "data": [model]})

    async def metrics(_: Request) -> Response:
        return Response(measures.text(), media_type=measures.content_type)

    asked_of: dict[str, Handler] = {
        "/v1/classify": classify,
        "/v1/systemone": decide(SystemOne),
        "/v1/decisions": decide(Decisions),
    }
    told = {"/health": health, "/metrics": metrics, "/v1/models": models}
    routes = [
        Route(path, _timed(path, h, measures), methods=["POST"]) for path, h in asked_of.items()
    ]
    routes += [Route(path, handler, methods=["GET"]) for path, handler in told.items()]
    paths = ", ".join([*asked_of, *told])

    async def no_such_address(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        kind = "not_found" if error.status_code == 404 else "wrong_method"
        message = f"{error.detail}; expected POST or GET of one of {paths}"
        refused = Refused(error.status_code, kind, message).response()
        refused.headers.update(error.headers or {})
        return refused

    counting = Middleware(_Counting, measures=measures, paths={*asked_of, *told})
    guard = Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)
    return Starlette(
        routes=routes,
        middleware=[counting, guard],
        exception_handlers={HTTPException: no_such_address},
    )


class _Counting:
    """Counts every answer by path and status, whoever gives it."""

    def __init__(self, app: ASGIApp, measures: Measures, paths: Collection[str]) -> None:
        self._app, self._requests, self._paths = app, measures.requests, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path")
        known = path if path in self._paths else OTHER

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._requests.labels(known, str(message["status"])).inc()
            await send(message)

        await self._app(scope, receive, counted)


def _timed(path: str, handler: Handler, measures: Measures) -> Handler:
    """A handler whose refusals and failures are answers, and whose seconds are measured."""

    async def run(request: Request) -> Response:
        began_s = time.perf_counter()
        try:
            response = await handler(request)
        except Refused as refused:
            response = refused.response()
        except asyncio.CancelledError:
            response = Refused(503, "closing", "the server is shutting down").response()
        except Exception as error:
            # without the message, which may quote the text
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error("%s: %s\n%s", path, type(error).__name__, where)
            failed = Refused(500, "server_error", f"{type(error).__name__}; the log has more")
            response = failed.response()
        measures.seconds.labels(path).observe(time.perf_counter() - began_s)
        return response

    return run


async def _body(request: Request) -> bytes:
    """The body of a request: JSON, of limited size, in limited time."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # what a page of another site can send without asking is not
        raise Refused(
            415, "wrong_type", f"Content-Type: got {kind[:80]!r}, expected application/json"
        )
    try:
        return await asyncio.wait_for(_read(request), BODY_TIMEOUT_S)
    except asyncio.TimeoutError:
        late = f"the body took longer than {BODY_TIMEOUT_S:.0f} s"
        raise Refused(408, "too_slow", late) from None
    except ClientDisconnect:
        raise Refused(
            LEFT, "disconnected", "the connection ended before the whole body arrived"
        ) from None


async def _left(request: Request) -> None:
    """Wait until the client goes away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _read(request: Request) -> bytes:
    parts: list[bytes] = []
    n_bytes = 0
    async for part in request.stream():
        n_bytes += len(part)
        if n_bytes <= MOST_BYTES:
            parts.append(part)
        elif n_bytes > MOST_READ_BYTES:
            break
    if n_bytes > MOST_BYTES:
        too_large = f"the body is larger than {MOST_BYTES:,} bytes; send fewer texts at a time"
        raise Refused(413, "too_large", too_large)
    return b"".join(parts)

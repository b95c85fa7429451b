"""One question to a server, and its reply: before a deadline, of limited size, without the key."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from threading import Lock
from typing import Any, cast
from urllib.parse import quote, urlsplit

from requests import PreparedRequest, Request, RequestException, Session
from requests.adapters import HTTPAdapter
from requests.cookies import extract_cookies_to_jar
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, Timeout
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ReadTimeoutError,
)

from sentibench.errors import TeacherError
from sentibench.remote.records import UNREACHED

CONNECT_TIMEOUT_S = 5.0
MAX_RETRY_AFTER_S = 300.0
MAX_BODY_BYTES = 16 << 20
CHUNK_BYTES = 1 << 16
DETAIL_CHARACTERS = 300
# host, port, path: no user, password or query, which would be written into results
# of an environment variable: in capitals, so that no key of the providers is taken for a name
VARIABLE = r"^[A-Z_][A-Z0-9_]*$"
ADDRESS = r"https?://(\[[\da-fA-F:.]+\]|[^\s/?#@:\[\]]+)(:\d{1,5})?(/[^\s?#@]*)?$"


class Trouble(Exception):
    """Why an attempt brought no answer, as a ``Failure`` says it; and how long to wait, if told."""

    def __init__(self, reason: str, detail: str, wait_s: float | None = None) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail, self.wait_s = reason, detail, wait_s


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, whatever the status; ``wait_s`` is what Retry-After asks for."""

    status: int
    wait_s: float | None
    body: bytes


class Pace:
    """Spreads an amount per minute evenly over all threads: a token bucket without a burst.

    Args:
        per_minute: None for no limit.
        clock: Seconds that only grow.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        per_minute: float | None,
        clock: Callable[[], float],
        sleep: Callable[[float], object],
    ) -> None:
        self._seconds_each = 60 / per_minute if per_minute else 0.0
        self._clock, self._sleep = clock, sleep
        self._free_at, self._lock = clock(), Lock()

    def take(self, amount: float) -> None:
        """Reserve an amount and sleep until its turn."""
        with self._lock:
            now = self._clock()
            turn = max(self._free_at, now)
            self._free_at = turn + amount * self._seconds_each
        if turn > now:
            self._sleep(turn - now)

    def hold(self, seconds: float) -> None:
        """Let nobody's turn come before so many seconds from now."""
        with self._lock:
            self._free_at = max(self._free_at, self._clock() + seconds)

    def correct(self, difference: float) -> None:
        """Say that more (or, negative, less) was used than had been reserved."""
        with self._lock:
            self._free_at += difference * self._seconds_each


def read_key(variable: str, prefix: str = "teacher.") -> str:
    """Return the key in an environment variable; empty if it is not set.

    Args:
        variable: Its name.
        prefix: What stands before the names of the user's settings.

    Raises:
        TeacherError: If a header cannot hold it, or it could not be found again in a reply.
    """
    key = os.environ.get(variable, "").strip()
    if not re.fullmatch(r"[!#-\[\]-~]*", key):
        raise TeacherError(
            f"{prefix}api_key_env: the value of {variable} is no key; got blanks, line breaks, "
            "quotes, backslashes or accents, expected other ASCII characters; set it again"
        )
    return key


def goes_unencrypted(base_url: str) -> bool:
    """Whether what is sent to an address can be read on the way: no https, and another machine."""
    parts = urlsplit(base_url)
    try:
        is_here = ip_address(parts.hostname or "").is_loopback
    except ValueError:
        is_here = parts.hostname == "localhost"
    return parts.scheme == "http" and not is_here


class _Adapter(HTTPAdapter):
    def route(
        self, request: PreparedRequest, verify: bool | str, proxies: dict[str, str]
    ) -> tuple[HTTPConnectionPool, str]:
        """The connections for a request, and its target: a path, or the whole URL for a proxy."""
        pool = self.get_connection_with_tls_context(request, verify, proxies)
        self.cert_verify(pool, request.url or "", verify, None)
        return pool, self.request_url(request, proxies)


class ServerSession(Session):
    """A session for one server: what is the same for every request is made once.

    A ``Session`` reads proxies and certificates from all of the environment for every request, puts
    the headers together anew, and makes objects of which nothing is used here: half of the
    processor time of a request. So ``requests`` finds the way, and urllib3 below it is asked.

    Args:
        base_url: Of the server.
        key: From :func:`read_key`; if empty, no Authorization is sent.
    """

    def __init__(self, base_url: str, key: str) -> None:
        super().__init__()
        found = self.merge_environment_settings(base_url, {}, None, None, None)
        self.proxies, self.verify = dict(found["proxies"]), found["verify"]
        self.trust_env = False  # read by now
        self.key, self._adapter = key, _Adapter()
        self.mount("http://", self._adapter)
        self.mount("https://", self._adapter)
        self._routes = dict[str, tuple[HTTPConnectionPool, str, PreparedRequest]]()

    def post_json(self, url: str, payload: Mapping[str, Any], timeout: Timeout) -> BaseHTTPResponse:
        """POST JSON, with the cookies that the server has set.

        Returns:
            The response, of which the body is not read yet. It has to be closed.
        """
        if url not in self._routes:
            empty = self.prepare_request(Request("POST", url, json={}, auth=_bearer(self.key)))
            del empty.headers["Content-Length"]
            empty.headers.pop("Cookie", None)  # those of now; there may be others later
            self._routes[url] = *self._adapter.route(empty, self.verify, self.proxies), empty
        pool, target, prepared = self._routes[url]
        if self.cookies:
            prepared = prepared.copy()
            prepared.prepare_cookies(self.cookies)
        response = pool.urlopen(
            "POST",
            target,
            body=json.dumps(payload, allow_nan=False).encode(),
            headers=cast("dict[str, str]", dict(prepared.headers)),
            timeout=timeout,
            retries=False,
            redirect=False,  # a POST would become a GET
            assert_same_host=False,  # the connection may be to a proxy
            preload_content=False,
        )
        if "Set-Cookie" in response.headers:
            extract_cookies_to_jar(self.cookies, prepared, response)
        return response


def post(
    session: ServerSession,
    url: str,
    payload: Mapping[str, Any],
    timeout_s: float,
    clock: Callable[[], float],
) -> Reply:
    """Post JSON and read the whole reply.

    Args:
        session: Of this thread; it signs with the key.
        url: Where to.
        payload: What to send.
        timeout_s: Of every silence, and of everything together once the reply has begun.
        clock: Seconds that only grow.

    Raises:
        Trouble: ``unreachable`` if the server got nothing, ``connection``, ``timeout``, or
            ``malformed`` if a reply with status 200 breaks off or is too long. No text of an
            exception that may quote the request is used.
    """
    deadline, key = clock() + timeout_s, session.key
    silence = Trouble("timeout", f"no complete answer within {timeout_s:g} s")
    timeout = Timeout(connect=min(CONNECT_TIMEOUT_S, timeout_s), read=timeout_s)
    try:
        response = session.post_json(url, payload, timeout)
    except ReadTimeoutError:
        raise silence from None
    except (HTTPError, RequestException, OSError) as error:  # the last: no file of certificates
        unreached = (ConnectTimeoutError, NewConnectionError)
        got_nothing = any(isinstance(cause, unreached) for cause in _causes(error))
        raise Trouble(UNREACHED if got_nothing else "connection", _cause(error, key)) from None
    status, wait_s = response.status, _seconds(response.headers.get("Retry-After", ""))
    try:
        return Reply(status, wait_s, _body(response, lambda: clock() > deadline, silence))
    except (HTTPError, Trouble) as error:
        if status != 200:
            return Reply(status, wait_s, b"")  # the status says enough
        if isinstance(error, Trouble):
            raise
        if isinstance(error, ReadTimeoutError):
            raise silence from None
        raise Trouble("malformed", f"the reply broke off; {_cause(error, key)}") from None
    finally:
        response.close()


def said(body: bytes, key: str) -> str:
    """The server's error message, or what else it sent, as by :func:`clean`."""
    text = body.decode("utf-8", "replace")
    try:
        reply: Any = json.loads(text)
        text = json.dumps(reply, ensure_ascii=False)  # a key may have come with \\u escapes
        text = str(reply["error"]["message"])
    except (ValueError, LookupError, TypeError, RecursionError):
        pass
    return clean(text, key)


def texts_of(content: Any) -> tuple[str | None, str]:
    """The text and the reasoning of a message's content, which may be a list of typed parts.

    Returns:
        None in place of the text where the content has another form or a part that is no text.
    """
    if isinstance(content, str):
        return content, ""
    if not isinstance(content, list):
        return None, ""
    answer: list[str] = []
    thoughts: list[str] = []
    for part in cast("list[Any]", content):
        part = cast("dict[str, Any]", part) if isinstance(part, dict) else {}
        kind = part.get("type")
        if kind in ("thinking", "reasoning"):
            inner = part.get("thinking") or part.get("reasoning") or part.get("text")
            thoughts.append(texts_of(inner)[0] or "")
        elif kind in ("text", "output_text") and isinstance(text := part.get("text"), str):
            answer.append(text)
        elif kind not in ("redacted_thinking", "redacted_reasoning"):
            return None, ""
    return "".join(answer), "".join(thoughts)


def clean(text: str, key: str) -> str:
    """One short printable line without the key, or what looks like one."""
    for secret in {key, quote(key, safe="")} - {""}:
        text = re.sub(re.escape(secret), "***", text, flags=re.IGNORECASE)
    text = re.sub(r"\bsk-[\w*.-]+", "***", text)
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= DETAIL_CHARACTERS else f"{line[:DETAIL_CHARACTERS]}..."


def _bearer(key: str) -> Callable[[PreparedRequest], PreparedRequest]:
    """Sign a request; used without a key too, or requests takes a password from ``~/.netrc``."""

    def sign(prepared: PreparedRequest) -> PreparedRequest:
        if key:
            prepared.headers["Authorization"] = f"Bearer {key}"
        return prepared

    return sign


def _body(response: BaseHTTPResponse, late: Callable[[], bool], silence: Trouble) -> bytes:
    """Read piece by piece what is there: a reply that drips never meets a read timeout."""
    body = bytearray()
    while piece := response.read1(CHUNK_BYTES, decode_content=True):
        body += piece
        if late():
            raise silence
        if len(body) > MAX_BODY_BYTES:
            raise Trouble("malformed", f"the reply is longer than {MAX_BODY_BYTES >> 20} MiB")
    return bytes(body)


def _seconds(retry_after: str) -> float | None:
    """Seconds from now; None if the header is missing or unreadable."""
    try:
        wait_s = float(retry_after)
    except ValueError:
        try:
            wait_s = parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (TypeError, ValueError, OverflowError):
            return None
    return min(max(0.0, wait_s), MAX_RETRY_AFTER_S)


def _cause(error: BaseException, key: str) -> str:
    """The innermost reason, ``[Errno 111] Connection refused``; what is around it has the URL."""
    *_, innermost = _causes(error)
    return clean(f"{type(innermost).__name__}: {innermost}", key)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it, the innermost last."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__

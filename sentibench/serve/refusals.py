"""What a client is told when a request is not answered."""

from __future__ import annotations

from starlette.responses import JSONResponse


class Refused(Exception):
    """A request that is not answered.

    Args:
        status: Of HTTP.
        kind: For programs, one word.
        message: For people, in one line.
        param: Where in the request, as ``questions.0.type``.
        retry_after_s: When it may be sent again.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        param: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(" ".join(message.split()))  # names that clients give may hold lines
        self.status, self.kind, self.param = status, kind, param
        self.retry_after_s = retry_after_s

    def response(self) -> JSONResponse:
        """As JSON: type, message and param."""
        error = {"type": self.kind, "message": str(self), "param": self.param}
        headers = {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
        return JSONResponse({"error": error}, self.status, headers)

"""A teacher that only remembers: what a store recorded, asked again without a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from sentibench.remote.records import Answer, Failure, Request
from sentibench.remote.store import Store


class ReplayTeacher:
    """The recorded answers of one teacher, under whose name and revision they are found.

    Args:
        folder: A store; it is only read, and what is added to it later is not seen.

    Attributes:
        name: Of the teacher that was recorded.
        revision: Of the teacher that was recorded.

    Raises:
        StoreError: If there is no store or it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._store = Store.read(folder)
        self.name, self.revision = self._store.teacher, self._store.revision

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Answer | Failure]]:
        """Yield what is recorded, in the order of the requests; see ``Teacher``.

        Raises:
            StoreError: If a record was damaged meanwhile.
        """
        for request in requests:
            key = self._store.key_of(request)
            yield request, self._store.get(key) or Failure("not recorded", self._missing(key))

    def _missing(self, key: str) -> str:
        detail = f"{self._folder} has no answer of {self.name} to the request {key[:12]}"
        failure = self._store.failure(key)
        return f"{detail}, only a failure: {failure.reason}" if failure else detail

"""What /metrics tells, in the text form of Prometheus. No measure holds a word of a request."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Measures:
    """The measures of one server."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "sentibench_requests",
            "Requests by path and HTTP status",
            ["path", "status"],
            registry=self._registry,
        )
        self.seconds = Histogram(
            "sentibench_request_seconds",
            "From a request's head to its answer",
            ["path"],
            registry=self._registry,
            buckets=SECONDS,
        )
        self.batches = Histogram(
            "sentibench_batch_items",
            "Texts and questions that were answered together",
            registry=self._registry,
            buckets=ITEMS,
        )
        self._waiting = Gauge(
            "sentibench_queue_items",
            "Texts and questions that wait",
            registry=self._registry,
        )

    def watch_queue(self, n_waiting: Callable[[], int]) -> None:
        """Tell the length of a queue whenever somebody asks."""
        self._waiting.set_function(n_waiting)

    def text(self) -> bytes:
        """All of them."""
        return generate_latest(self._registry)

"""What this process counts (运行指标), written in the form that Prometheus reads.

Under gunicorn every worker counts for itself, and a scrape sums them up over the files in
PROMETHEUS_MULTIPROC_DIR. What stands in the database is read at the scrape, not counted here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

_SHARED = "PROMETHEUS_MULTIPROC_DIR" in os.environ
_OWN = CollectorRegistry()
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

CALLBACKS = Counter(
    "lianjiao_callbacks",
    "Callbacks by channel and by what became of them.",
    ["channel", "result"],
    registry=None if _SHARED else _OWN,
)
REQUEST_SECONDS = Histogram(
    "lianjiao_request_seconds",
    "How long a request took.",
    ["method", "route", "status"],
    registry=None if _SHARED else _OWN,
    buckets=_BUCKETS,
)


def count_callback(channel: str, result: str) -> None:
    """Count one callback."""
    CALLBACKS.labels(channel, result).inc()


class Readings(Collector):
    """Gauges read once, for one scrape."""

    def __init__(self, families: Iterable[GaugeMetricFamily]) -> None:
        self._families = tuple(families)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Give the gauges to the registry."""
        return self._families


def render(readings: Readings) -> bytes:
    """Return what was counted and what was read, as text for Prometheus."""
    registry = CollectorRegistry()
    registry.register(readings)
    if _SHARED:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
    return generate_latest(_OWN) + generate_latest(registry)

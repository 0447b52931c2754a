"""Metrics (运行指标) for the monitoring system, which shows a token of its own."""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Sequence

from apiflask import APIBlueprint
from flask import Response, current_app
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.core import GaugeMetricFamily

from app import metrics
from app.domain.errors import NotAuthenticated
from app.domain.monitoring import Readings, Waiting, take_readings
from app.routes.guards import bearer_token, ports

blueprint = APIBlueprint("metrics", __name__, enable_openapi=False)


@blueprint.get("/metrics")
def show() -> Response:
    """Return what was counted and how things stand."""
    token = current_app.config["METRICS_TOKEN"]
    if not token or not hmac.compare_digest(bearer_token().encode(), token.encode()):
        raise NotAuthenticated
    readings = ports().read(lambda session: take_readings(session, now=ports().now()))
    text = metrics.render(metrics.Readings(_gauges(readings)))
    return Response(text, content_type=CONTENT_TYPE_LATEST)


def _gauges(readings: Readings) -> Iterator[GaugeMetricFamily]:
    yield from _waiting("orders_open", "Orders not settled", "state", readings.orders)
    yield from _waiting("refunds_open", "Refunds not settled", "state", readings.refunds)
    yield from _waiting("breaks_open", "Breaks not settled", "kind", readings.breaks)
    yield from _waiting(
        "callbacks_pending",
        "Callbacks stored and not applied yet",
        "channel",
        readings.pending_callbacks,
    )
    for name, text, value in (
        ("suspense_fen", "Money received that belongs to nobody yet, fen.", readings.suspense_fen),
        ("clearing_fen", "Money that the channels owe us, fen.", readings.clearing_fen),
        ("unsealed_days", "Business days that are over and not sealed.", readings.unsealed_days),
    ):
        yield GaugeMetricFamily(f"lianjiao_{name}", text, value=value)


def _waiting(
    name: str, text: str, label: str, waiting: Sequence[Waiting]
) -> Iterator[GaugeMetricFamily]:
    counts = GaugeMetricFamily(f"lianjiao_{name}", f"{text}, by {label}.", labels=[label])
    ages = GaugeMetricFamily(
        f"lianjiao_{name}_oldest_seconds", f"{text}: age of the oldest.", labels=[label]
    )
    for each in waiting:
        counts.add_metric([each.kind], each.count)
        ages.add_metric([each.kind], each.oldest_seconds)
    yield from (counts, ages)

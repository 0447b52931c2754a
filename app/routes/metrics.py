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
    yield from _waiting("debits_open", "Debits sent and not settled", "state", readings.debits)
    yield from _waiting("refunds_open", "Refunds not settled", "state", readings.refunds)
    yield from _waiting("mandates_open", "Mandates not settled", "state", readings.mandates)
    yield from _waiting("breaks_open", "Breaks not settled", "kind", readings.breaks)
    yield from _waiting(
        "callbacks_pending",
        "Callbacks stored and not applied yet",
        "channel",
        readings.pending_callbacks,
    )
    yield from _waiting("messages_waiting", "Messages not sent yet", "topic", readings.messages)
    yield from _scheduler(readings)
    for name, text, value in (
        ("suspense_fen", "Money received that belongs to nobody yet, fen.", readings.suspense_fen),
        ("clearing_fen", "Money that the channels owe us, fen.", readings.clearing_fen),
        ("unsealed_days", "Business days that are over and not sealed.", readings.unsealed_days),
        ("calendar_days", "Days from today on whose holidays are known.", readings.calendar_days),
    ):
        yield GaugeMetricFamily(f"lianjiao_{name}", text, value=value)


def _scheduler(readings: Readings) -> Iterator[GaugeMetricFamily]:
    ages = GaugeMetricFamily(
        "lianjiao_job_success_age_seconds",
        "Since a job last succeeded by the timetable, or since it was first tried.",
        labels=["job"],
    )
    failures = GaugeMetricFamily(
        "lianjiao_job_failures", "How often a job has failed since it succeeded.", labels=["job"]
    )
    for reading in readings.jobs:
        ages.add_metric([reading.job], reading.success_age_seconds)
        failures.add_metric([reading.job], reading.failures)
    yield from (ages, failures)
    if readings.lease_age_seconds is not None:
        yield GaugeMetricFamily(
            "lianjiao_scheduler_lease_age_seconds",
            "Since the active scheduler last renewed its lease.",
            value=readings.lease_age_seconds,
        )


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

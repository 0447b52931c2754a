"""What a monitoring system reads, and that nobody else does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import date
from functools import partial
from pathlib import Path

import pytest
from apiflask import APIFlask
from prometheus_client.parser import text_string_to_metric_families

from app.domain.outbox.operations import enqueue, send_messages
from app.domain.ports import Ports
from app.domain.ports.messages import MessageTopic
from app.domain.scheduling.operations import (
    begin_run,
    record_failure,
    record_success,
    take_lease,
)
from tests.conftest import MovableClock
from tests.routes.callers import Doors
from tests.routes.debited import Debited
from tests.simulated_channel import SimulatedChannel

TOKEN = "a-token-of-the-monitoring-system"


@pytest.fixture
def app(app: APIFlask) -> APIFlask:
    app.config["METRICS_TOKEN"] = TOKEN
    return app


def scrape(doors: Doors) -> dict[tuple[str, ...], float]:
    """Return value by name and labels."""
    answer = doors.client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], f"{TOKEN}x", "令牌"])
def test_without_the_token_nothing_is_shown(doors: Doors, token: str) -> None:
    header = f"Bearer {token}".encode().decode("latin-1")
    answer = doors.client.get("/metrics", headers={"Authorization": header})
    assert (answer.status_code, answer.json["code"]) == (401, "not_authenticated")


def test_an_installation_without_a_token_shows_nothing(app: APIFlask, doors: Doors) -> None:
    app.config["METRICS_TOKEN"] = ""
    for header in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer"}):
        assert doors.client.get("/metrics", headers=header).status_code == 401


def test_what_waits_is_shown_with_its_age(
    doors: Doors, clock: MovableClock, channel: SimulatedChannel
) -> None:
    order_no = doors.enrolled("rider").deposit(50_000).json["order_no"]
    clock.advance(seconds=90)
    readings = scrape(doors)
    assert readings["lianjiao_orders_open", "awaiting_payment"] == 1
    assert readings["lianjiao_orders_open_oldest_seconds", "awaiting_payment"] == 90
    assert readings["lianjiao_clearing_fen",] == 0

    channel.pay(order_no)
    body = channel.callback(order_no)
    doors.client.post("/callbacks/wechat/payment", data=body, content_type="text/plain")
    wrong = channel.callback(order_no, number="D" + "9" * 31, amount_fen=700)
    doors.client.post("/callbacks/wechat/payment", data=wrong, content_type="text/plain")
    clock.advance(days=2)
    readings = scrape(doors)
    assert ("lianjiao_orders_open", "awaiting_payment") not in readings
    assert readings["lianjiao_clearing_fen",] == 50_700
    assert readings["lianjiao_suspense_fen",] == 700
    assert readings["lianjiao_breaks_open", "unknown_order"] == 1
    assert readings["lianjiao_breaks_open_oldest_seconds", "unknown_order"] == 172_800
    assert readings["lianjiao_unsealed_days",] == 1


def test_messages_that_wait_are_shown_and_those_sent_are_not(
    doors: Doors, ports: Ports, clock: MovableClock
) -> None:
    doors.enrolled("rider")
    fields = {"reason": "余额不足"}
    for number in range(2):
        ports.transact(
            partial(
                enqueue,
                account_id=1,
                topic=MessageTopic.DEBIT_FAILED,
                event_key=f"debit:{number}",
                fields=fields,
                at=ports.now(),
            )
        )
        clock.advance(minutes=10)
    readings = scrape(doors)
    assert readings["lianjiao_messages_waiting", "debit_failed"] == 2
    assert readings["lianjiao_messages_waiting_oldest_seconds", "debit_failed"] == 1_200
    # Nobody brings messages here, so they are given up.
    assert send_messages(ports) == {"given_up": 2}
    assert ("lianjiao_messages_waiting", "debit_failed") not in scrape(doors)


def test_a_debit_under_way_is_shown_apart_from_what_people_are_to_pay(
    doors: Doors, debited: Debited
) -> None:
    debited.announced("a")
    debited.debit("accepted")
    debited.clock.advance(hours=3)
    readings = scrape(doors)
    assert readings["lianjiao_debits_open", "awaiting_payment"] == 1
    assert readings["lianjiao_debits_open_oldest_seconds", "awaiting_payment"] == 10_800
    assert ("lianjiao_orders_open", "awaiting_payment") not in readings


def test_the_scheduler_and_its_jobs_are_shown(
    doors: Doors, ports: Ports, clock: MovableClock
) -> None:
    assert ("lianjiao_scheduler_lease_age_seconds",) not in scrape(doors)
    grip = take_lease(ports, holder="a")
    assert grip is not None
    fine = begin_run(ports, job="seal-days", on=date(2026, 11, 24), grip=grip, holder="a")
    record_success(ports, fine, counts={}, done_through=date(2026, 11, 24))
    clock.advance(minutes=30)
    for _ in range(2):
        broken = begin_run(ports, job="plan", on=date(2026, 11, 24), grip=grip, holder="a")
        record_failure(ports, broken, error="ValueError")
        clock.advance(minutes=30)
    readings = scrape(doors)
    assert readings["lianjiao_job_success_age_seconds", "seal-days"] == 5_400
    assert readings["lianjiao_job_failures", "seal-days"] == 0
    # Since it was first tried: it never succeeded.
    assert readings["lianjiao_job_success_age_seconds", "plan"] == 3_600
    assert readings["lianjiao_job_failures", "plan"] == 2
    assert readings["lianjiao_scheduler_lease_age_seconds",] < 60


def test_how_far_ahead_holidays_are_known_is_shown(doors: Doors, clock: MovableClock) -> None:
    # 24 November to 31 December, both counted: 7 + 31.
    assert scrape(doors)["lianjiao_calendar_days",] == 38
    clock.advance(days=38)
    assert scrape(doors)["lianjiao_calendar_days",] == 0


def test_every_callback_and_request_is_counted(doors: Doors, channel: SimulatedChannel) -> None:
    def counted(readings: dict[tuple[str, ...], float], result: str) -> float:
        return readings.get(("lianjiao_callbacks_total", "wechat", result), 0)

    before = scrape(doors)
    order_no = doors.enrolled("rider").deposit(50_000).json["order_no"]
    channel.pay(order_no)
    for body in (
        channel.callback(order_no),
        channel.callback(order_no),
        channel.callback(order_no, forged=True),
    ):
        doors.client.post("/callbacks/wechat/payment", data=body, content_type="text/plain")
    after = scrape(doors)
    for result in ("credited", "duplicate", "rejected_signature"):
        assert counted(after, result) - counted(before, result) == 1
    key = ("lianjiao_request_seconds_count", "POST", "/callbacks/<channel>/<endpoint>", "200")
    assert after[key] - before.get(key, 0) == 3


def test_what_several_processes_count_is_summed_up(tmp_path: Path, repository_root: Path) -> None:
    count = "from app import metrics; metrics.count_callback('wechat', 'credited')"
    read = (
        "import json; from app import metrics; "
        "print(json.dumps(metrics.render(metrics.Readings([])).decode()))"
    )
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}

    def run(program: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", program],
            cwd=repository_root,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    run(count)
    run(count)
    assert 'lianjiao_callbacks_total{channel="wechat",result="credited"} 2.0' in json.loads(
        run(read)
    )

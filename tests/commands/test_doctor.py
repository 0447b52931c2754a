"""`flask doctor`: how it sees the calendar and the scheduler."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from types import SimpleNamespace

import pytest
from flask import Flask
from sqlalchemy import delete, update

from app.commands import doctor
from app.domain.bank_calendar.models import CalendarDay
from app.domain.base import table_of
from app.domain.ports import Channels, Ports
from app.domain.ports.debits import AnswerList, DebitNotice, FileServerTrouble, NoticeWindow
from app.domain.ports.mandates import MandateLimits
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.domain.scheduling.models import SchedulerLease
from app.domain.scheduling.operations import release_lease, take_lease
from tests.conftest import MovableClock


def findings(ports: Ports, check) -> list[tuple[bool, str, str]]:  # type: ignore[no-untyped-def]
    flask_app = Flask("test")
    flask_app.extensions["lianjiao"] = ports
    with flask_app.app_context():
        return [(f.ok, f.subject, f.advice) for f in check(None)]  # they look at no setting


def test_the_calendar_is_covered_and_from_november_the_next_year_is_asked_for(
    ports: Ports, clock: MovableClock
) -> None:
    clock.instant = datetime(2026, 10, 31, 4, 0, tzinfo=UTC)
    known = (True, "银行日历已录入至 2026-12-31")
    assert findings(ports, doctor._calendar) == [(*known, "")]
    clock.instant = datetime(2026, 11, 1, 4, 0, tzinfo=UTC)
    assert findings(ports, doctor._calendar) == [(*known, "2027 年的通知一经公布即请录入")]


def test_a_year_without_data_is_a_failure(ports: Ports, clock: MovableClock) -> None:
    clock.instant = datetime(2026, 12, 31, 15, 59, tzinfo=UTC)
    assert [ok for ok, *_ in findings(ports, doctor._calendar)] == [True]
    clock.instant = datetime(2026, 12, 31, 16, 0, tzinfo=UTC)  # midnight in Shanghai
    ((ok, subject, advice),) = findings(ports, doctor._calendar)
    assert (ok, subject) == (False, "银行日历")
    assert advice.startswith("2027 年的节假日尚未录入，暂按周末推算")


def test_an_empty_calendar_is_a_failure(ports: Ports) -> None:
    ports.transact(lambda session: session.execute(delete(table_of(CalendarDay))))
    assert [ok for ok, *_ in findings(ports, doctor._calendar)] == [False]


def test_a_scheduler_that_never_ran_is_said_and_one_that_is_gone_is_a_failure(
    ports: Ports,
) -> None:
    assert findings(ports, doctor._scheduler) == [(True, "调度进程", "尚未启动过")]
    grip = take_lease(ports, holder="machine-1:7")
    assert grip is not None
    assert findings(ports, doctor._scheduler) == [(True, "调度进程 machine-1:7", "")]
    release_lease(ports, grip)
    long_ago = datetime(2026, 1, 1, tzinfo=UTC)
    lease = table_of(SchedulerLease)
    ports.transact(lambda session: session.execute(update(lease).values(renewed_at=long_ago)))
    ((ok, subject, advice),) = findings(ports, doctor._scheduler)
    assert (ok, subject) == (False, "调度进程 无")
    assert advice.endswith("请启动 flask scheduler")


@pytest.mark.parametrize("reason", [Reason.NOT_FOUND, Reason.NO_ANSWER, Reason.OUR_FAULT])
def test_a_bank_is_asked_for_a_debit_that_nobody_made(ports: Ports, reason: Reason) -> None:
    def answer(number: str) -> Outcome:
        return Outcome(kind=OutcomeKind.UNKNOWN, reason=reason, number=number)

    bank = SimpleNamespace(query_debit=answer)
    with_bank = replace(ports, channels=Channels(debiting={"bank": bank}))

    ((ok, subject, _),) = findings(with_bank, doctor._bank)

    assert (ok, subject) == (reason is Reason.NOT_FOUND, "银行网关可连接，签名互认")
    assert findings(ports, doctor._bank) == []


@pytest.mark.parametrize(
    ("cap_fen_max", "expected"),
    [
        (None, []),
        (500_000, [(True, "支付宝单笔扣款上限 5,000.00 元", "")]),
        (12_150, [(True, "支付宝单笔扣款上限 121.50 元", "")]),
        (
            10_000,
            [
                (
                    False,
                    "支付宝单笔扣款上限 100.00 元",
                    "低于月最低缴存额 121.50 元，无人能够签约",
                )
            ],
        ),
    ],
)
def test_a_channel_that_may_debit_less_than_a_month_needs_is_a_failure(
    ports: Ports, cap_fen_max: int | None, expected: list[tuple[bool, str, str]]
) -> None:
    limits = MandateLimits(cap_fen_max=cap_fen_max, cycles=frozenset(), needs_card=False)
    mandating = {"alipay": SimpleNamespace(limits=limits)}
    offered = replace(ports, channels=Channels(mandating=mandating))

    assert findings(offered, doctor._mandates) == expected


@pytest.mark.parametrize("is_there", [True, False])
def test_the_banks_file_server_is_logged_in_to(ports: Ports, is_there: bool) -> None:
    def list_answers() -> AnswerList:
        if not is_there:
            raise FileServerTrouble("银行文件服务器的主机密钥不符，已拒绝连接")
        return AnswerList(ready=(), odd=())

    found = Outcome(kind=OutcomeKind.FAILED, reason=Reason.NOT_FOUND, number="")
    channels = Channels(
        debiting={"bank": SimpleNamespace(query_debit=lambda _number: found)},
        batching={"bank": SimpleNamespace(list_answers=list_answers)},
    )

    _, (ok, _, advice) = findings(replace(ports, channels=channels), doctor._bank)

    assert ok == is_there
    assert ("主机密钥不符" in advice) != is_there


@pytest.mark.parametrize(
    ("reason", "code", "is_ok"),
    [
        (Reason.NO_MANDATE, "NOT_FOUND", True),
        (Reason.OUR_FAULT, "INVALID_REQUEST", True),  # refused, and by a signed answer
        (Reason.OUR_FAULT, "SIGN_ERROR", False),
        (Reason.OUR_FAULT, "NO_AUTH", False),
        (Reason.BAD_ANSWER, "signature", False),
        (Reason.NO_ANSWER, "ConnectionError", False),
        (Reason.NOT_SUPPORTED, "", True),  # by night nothing is sent
    ],
)
def test_wechats_v3_is_tried_under_a_contract_that_is_nobodys(
    ports: Ports, clock: MovableClock, reason: Reason, code: str, is_ok: bool
) -> None:
    asked = []

    def announce(notice: DebitNotice) -> Outcome:
        asked.append(notice)
        return Outcome(
            kind=OutcomeKind.UNKNOWN, reason=reason, number=notice.order_no, raw_code=code
        )

    wechat = SimpleNamespace(
        notice_window=NoticeWindow(latest_days=2, valid_days=3), announce_debit=announce
    )
    announcing = replace(ports, channels=Channels(announcing={"wechat": wechat}))

    ((ok, subject, advice),) = findings(announcing, doctor._wechat_v3)

    assert (ok, subject) == (is_ok, "微信支付 APIv3 可连接，签名互认")
    assert is_ok or code in advice
    assert [notice.due_on for notice in asked] == [date(2026, 11, 26)]
    assert findings(ports, doctor._wechat_v3) == []

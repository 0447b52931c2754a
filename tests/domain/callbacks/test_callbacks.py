"""Receiving callbacks: what is kept, what is answered, and what is applied again later."""

from __future__ import annotations

import json
import logging

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from app.domain.callbacks import operations
from app.domain.callbacks.models import ChannelCallback
from app.domain.callbacks.operations import EVIDENCE, apply_pending_callbacks
from app.domain.inquiries.operations import resolve_refunds
from app.domain.payment_orders.models import OrderState
from app.domain.refunds.models import RefundState
from tests.builders import an_account
from tests.fund import Fund, changed


@pytest.fixture
def account_id(fund: Fund) -> int:
    return an_account(fund.ports)


def refund_notice(refund_no: str, *, kind: str, amount_fen: int = 20_000) -> bytes:
    return json.dumps(
        {
            "topic": "refund",
            "kind": kind,
            "number": refund_no,
            "amount_fen": amount_fen,
            "reference": "W-refund-1",
            "at": "2026-11-24T02:00:00+00:00",
        }
    ).encode()


def break_settlement(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr("app.domain.callbacks.operations.apply_payment", fail)


# -- genuine ones ----------------------------------------------------------------------------------


def test_a_callback_is_applied_and_kept_as_sealed_evidence(fund: Fund, account_id: int) -> None:
    order_no = fund.start(account_id, 50_000).order_no
    body = fund.wechat.pay(order_no)
    assert fund.notify(body) == "ok"
    assert fund.money(account_id) == (70_000, 0)

    kept = fund.ports.read(lambda session: session.scalars(select(ChannelCallback)).one())
    assert (kept.channel, kept.endpoint, kept.number) == ("wechat", "payment", order_no)
    assert kept.result.value == "credited"
    assert kept.received_at == fund.clock.now()
    assert kept.key_id == "k1"
    assert body not in kept.body
    assert fund.ports.vault.open_bytes(kept.body, context=EVIDENCE) == body


def test_each_delivery_is_kept_with_what_it_did(fund: Fund, account_id: int) -> None:
    order_no = fund.deposit(account_id, 50_000)
    fund.notify(fund.wechat.callback(order_no))
    fund.notify(fund.wechat.callback(order_no, amount_fen=1))
    fund.notify(fund.wechat.callback(order_no, number="D-not-ours", reference="T-stray"))
    fund.notify(fund.wechat.callback(order_no, kind="accepted"))
    fund.notify(b'{"topic": "platform"}')
    assert fund.callback_results() == [
        "credited",
        "duplicate",
        "mismatch",
        "suspense",
        "ignored",
        "ignored",
    ]
    assert fund.money(account_id) == (70_000, 0)


def test_notices_may_come_in_any_order_and_any_number(fund: Fund) -> None:
    accounts = [an_account(fund.ports) for _ in range(3)]
    orders = [fund.start(account_id, 50_000).order_no for account_id in accounts]
    notices = [fund.wechat.pay(order_no) for order_no in orders]
    for notice in [*reversed(notices), *notices, notices[1]]:
        assert fund.notify(notice) == "ok"
    assert [fund.money(account_id) for account_id in accounts] == [(70_000, 0)] * 3
    assert sorted(fund.callback_results()) == ["credited"] * 3 + ["duplicate"] * 4
    assert fund.offences() == []


def test_a_very_late_notice_still_counts(fund: Fund, account_id: int) -> None:
    order_no = fund.start(account_id, 50_000).order_no
    notice = fund.wechat.pay(order_no)
    fund.clock.advance(days=3)
    assert fund.notify(notice) == "ok"
    assert fund.order(order_no).state is OrderState.SUCCEEDED


# -- others ----------------------------------------------------------------------------------------


def test_a_forged_callback_stores_nothing_and_is_told_to_come_again(
    fund: Fund, account_id: int, caplog: pytest.LogCaptureFixture
) -> None:
    order_no = fund.start(account_id, 50_000).order_no
    forged = changed(fund.wechat.callback(order_no), forged=True)
    with caplog.at_level(logging.WARNING):
        assert fund.notify(forged) == "again"
    assert fund.count(ChannelCallback) == 0
    assert fund.breaks() == []
    assert fund.order(order_no).state is OrderState.AWAITING_PAYMENT
    record = next(r for r in caplog.records if r.message == "callback rejected")
    assert (record.reason, record.channel) == ("signature", "wechat")  # type: ignore[attr-defined]
    assert order_no not in caplog.text


# -- trouble of our own ----------------------------------------------------------------------------


def test_a_callback_that_cannot_be_applied_is_kept_and_applied_by_the_job(
    fund: Fund, account_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_no = fund.start(account_id, 50_000).order_no
    with monkeypatch.context() as broken:
        break_settlement(broken)
        assert fund.notify(fund.wechat.pay(order_no)) == "ok"
        assert fund.callback_results() == ["pending"]
        assert apply_pending_callbacks(fund.ports) == (0, 1)
    assert fund.money(account_id) == (0, 0)
    assert apply_pending_callbacks(fund.ports) == (1, 0)
    assert fund.callback_results() == ["credited"]
    assert fund.money(account_id) == (70_000, 0)
    assert apply_pending_callbacks(fund.ports) == (0, 0)
    assert fund.offences() == []


def test_what_came_in_another_way_meanwhile_is_a_duplicate(
    fund: Fund, account_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_no = fund.start(account_id, 50_000).order_no
    with monkeypatch.context() as broken:
        break_settlement(broken)
        notice = fund.wechat.pay(order_no)
        fund.notify(notice)
    fund.notify(notice)
    assert apply_pending_callbacks(fund.ports) == (1, 0)
    assert fund.callback_results() == ["duplicate", "credited"]
    assert fund.money(account_id) == (70_000, 0)


def test_a_kept_callback_says_that_its_headers_are_gone(
    fund: Fund, account_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[bool] = []
    read = fund.wechat.read_callback

    def noting(raw):  # type: ignore[no-untyped-def]
        kept.append(raw.is_kept)
        return read(raw)

    fund.wechat.read_callback = noting  # type: ignore[method-assign]
    with monkeypatch.context() as broken:
        break_settlement(broken)
        fund.notify(fund.wechat.pay(fund.start(account_id, 50_000).order_no))
    assert apply_pending_callbacks(fund.ports) == (1, 0)
    assert kept == [False, True]


def test_two_jobs_at_one_callback_leave_the_result_of_the_first(
    fund: Fund, account_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_no = fund.start(account_id, 50_000).order_no
    with monkeypatch.context() as broken:
        break_settlement(broken)
        fund.notify(fund.wechat.pay(order_no))
    read = fund.wechat.read_callback
    others: list[tuple[int, int]] = []

    def another_job_is_faster(raw):  # type: ignore[no-untyped-def]
        fund.wechat.read_callback = read  # type: ignore[method-assign]
        others.append(apply_pending_callbacks(fund.ports))
        return read(raw)

    fund.wechat.read_callback = another_job_is_faster  # type: ignore[method-assign]
    assert apply_pending_callbacks(fund.ports) == (1, 0)
    assert others == [(1, 0)]
    assert fund.callback_results() == ["credited"]
    assert fund.money(account_id) == (70_000, 0)


def test_one_that_never_applies_does_not_hold_up_those_behind_it(
    fund: Fund, account_id: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    order_no = fund.start(account_id, 50_000).order_no
    notice = fund.wechat.pay(order_no)
    with monkeypatch.context() as broken:
        break_settlement(broken)
        # Genuine when it came; the key that verified it is gone when the job reads it again.
        fund.notify(changed(notice, number="D-old"))
        fund.notify(notice)
    read = fund.wechat.read_callback

    def with_another_key(raw):  # type: ignore[no-untyped-def]
        if b"D-old" in raw.body:
            raise ValueError("cannot be read any more")
        return read(raw)

    fund.wechat.read_callback = with_another_key  # type: ignore[method-assign]
    assert apply_pending_callbacks(fund.ports, limit=1) == (1, 1)
    assert fund.callback_results() == ["pending", "credited"]
    assert fund.money(account_id) == (70_000, 0)
    assert "pending callback failed again" in caplog.text


def test_with_the_database_gone_the_channel_is_told_to_come_again(
    fund: Fund, account_id: int
) -> None:
    order_no = fund.start(account_id, 50_000).order_no
    notice = fund.wechat.pay(order_no)
    transact = fund.ports.transact

    def gone(work):  # type: ignore[no-untyped-def]
        raise OperationalError("COMMIT", {}, Exception("server has gone away"))

    object.__setattr__(fund.ports, "transact", gone)
    assert fund.notify(notice) == "again"
    object.__setattr__(fund.ports, "transact", transact)
    assert fund.count(ChannelCallback) == 0
    assert fund.notify(notice) == "ok"
    assert fund.money(account_id) == (70_000, 0)


def test_a_vault_that_cannot_seal_means_come_again(
    fund: Fund, account_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_no = fund.start(account_id, 50_000).order_no
    notice = fund.wechat.pay(order_no)

    def fail(*args: object, **kwargs: object) -> bytes:
        raise RuntimeError("no key")

    with monkeypatch.context() as broken:
        broken.setattr("app.domain.pii.Vault.seal", fail)
        assert fund.notify(notice) == "again"
    assert fund.money(account_id) == (0, 0)
    assert fund.notify(notice) == "ok"


def test_the_evidence_and_the_credit_are_one_transaction(
    fund: Fund, account_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash after the credit and before the evidence leaves neither."""
    order_no = fund.start(account_id, 50_000).order_no
    notice = fund.wechat.pay(order_no)
    apply = operations._apply

    def dies_after_it(session, **what):  # type: ignore[no-untyped-def]
        apply(session, **what)
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(operations, "_apply", dies_after_it)
        with pytest.raises(KeyboardInterrupt):
            fund.notify(notice)
    assert fund.count(ChannelCallback) == 0
    assert fund.money(account_id) == (0, 0)
    assert fund.posting_keys() == []
    assert fund.notify(notice) == "ok"
    assert fund.money(account_id) == (70_000, 0)


# -- about refunds ---------------------------------------------------------------------------------


@pytest.fixture
def refund_no(fund: Fund, account_id: int) -> str:
    """A refund of 200.00 under way, out of a deposit of 500.00."""
    number = fund.ask_back(fund.deposit(account_id, 50_000), 20_000)
    fund.release(number)
    return number


def test_a_refund_callback_settles_the_refund(fund: Fund, account_id: int, refund_no: str) -> None:
    assert fund.notify(refund_notice(refund_no, kind="succeeded"), endpoint="refund") == "ok"
    assert fund.notify(refund_notice(refund_no, kind="succeeded"), endpoint="refund") == "ok"
    assert fund.callback_results() == ["credited", "refund_noted", "duplicate"]
    assert fund.money(account_id) == (50_000, 0)
    assert fund.offences() == []


def test_a_failed_refund_is_noted_and_shown(fund: Fund, account_id: int, refund_no: str) -> None:
    fund.notify(refund_notice(refund_no, kind="failed"), endpoint="refund")
    assert fund.callback_results()[-1] == "refund_noted"
    assert fund.breaks() == [("refund_failed", refund_no, 20_000, 20_000)]
    assert fund.money(account_id) == (70_000, 0)


def test_a_callback_that_only_says_something_happened_makes_us_ask_at_once(
    fund: Fund, account_id: int, refund_no: str
) -> None:
    assert fund.refund(refund_no).next_query_at > fund.clock.now()
    fund.notify(refund_notice(refund_no, kind="accepted"))
    assert fund.refund(refund_no).next_query_at == fund.clock.now()
    assert fund.refund(refund_no).state is RefundState.PROCESSING
    assert fund.callback_results()[-1] == "refund_noted"
    assert resolve_refunds(fund.ports) == {"refunded": 1}
    assert fund.money(account_id) == (50_000, 0)

    # Said again after the end, it moves nothing.
    fund.notify(refund_notice(refund_no, kind="accepted"))
    assert fund.callback_results()[-1] == "ignored"
    assert fund.refund(refund_no).state is RefundState.SUCCEEDED


@pytest.mark.parametrize("kind", ["succeeded", "accepted", "failed"])
def test_a_callback_about_a_refund_that_we_never_made_is_shown_to_staff(
    fund: Fund, kind: str
) -> None:
    fund.notify(refund_notice("R-by-hand", kind=kind))
    assert fund.callback_results() == ["mismatch"]
    assert fund.breaks() == [("unknown_refund", "R-by-hand", None, 20_000)]

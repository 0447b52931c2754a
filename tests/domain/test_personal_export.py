"""A person gets everything that the fund holds on them, and nothing of anybody else."""

from __future__ import annotations

import json

from app.domain.inquiries.operations import resolve_refunds
from app.domain.outbox.operations import enqueue
from app.domain.personal_export import export_person
from app.domain.ports.messages import MessageTopic
from tests.builders import an_account
from tests.fund import Fund


def test_the_export_tells_deposits_refunds_subsidies_and_movements(fund: Fund) -> None:
    account_id, other = an_account(fund.ports), an_account(fund.ports)
    order_no = fund.deposit(account_id, 50_000)
    unpaid = fund.start(account_id, 30_000, channel="alipay").order_no
    refund_no = fund.ask_back(order_no, 20_000)
    fund.release(refund_no)
    fund.clock.advance(minutes=1)
    resolve_refunds(fund.ports)
    others_order = fund.deposit(other, 77_700)
    for told in (account_id, other):
        tell(fund, told)
    person = fund.person(account_id)

    exported = fund.ports.read(
        lambda session: export_person(
            session, fund.ports.vault, contributor_id=person.id, account_id=account_id
        )
    )
    assert exported["deposits"] == [
        {
            "order_no": unpaid,
            "channel": "alipay",
            "amount_fen": 30_000,
            "refunded_fen": 0,
            "state": "awaiting_payment",
            "created_at": "2026-11-24T10:00:00+08:00",
            "paid_at": None,
            "contribution_month": None,
        },
        {
            "order_no": order_no,
            "channel": "wechat",
            "amount_fen": 50_000,
            "refunded_fen": 20_000,
            "state": "succeeded",
            "created_at": "2026-11-24T10:00:00+08:00",
            "paid_at": "2026-11-24T10:00:00+08:00",
            "contribution_month": "2026-11",
        },
    ]
    assert exported["refunds"] == [
        {
            "refund_no": refund_no,
            "amount_fen": 20_000,
            "state": "succeeded",
            "reason": "duplicate",
            "note": "重复缴存",
            "requested_at": "2026-11-24T10:00:00+08:00",
        }
    ]
    assert [(grant["kind"], grant["paid_fen"]) for grant in exported["subsidies"]] == [
        ("opening", 20_000)
    ]
    assert exported["subsidies"][0]["working"]["tier"] == "basic"
    assert exported["subsidies"][0]["reversed_on"] is None
    assert [(e["kind"], e["amount_fen"], e["balance_fen"]) for e in exported["entries"]] == [
        ("deposit_refund", -20_000, 50_000),
        ("opening_subsidy", 20_000, 70_000),
        ("deposit", 50_000, 50_000),
    ]
    assert exported["messages"] == [
        {
            "topic": "debit_failed",
            "title": "扣款失败",
            "text": f"扣款未成功：账户{account_id}余额不足。",
            "created_at": "2026-11-24T10:01:00+08:00",
            "state": "waiting",
            "platform": None,
            "sent_at": None,
        }
    ]
    text = json.dumps(exported, ensure_ascii=False)  # plain JSON, as the route sends it
    assert "测试用户" in text
    assert others_order not in text
    assert "77700" not in text
    assert "staff:" not in text


def tell(fund: Fund, account_id: int) -> None:
    """Store a message for an account."""
    fund.ports.transact(
        lambda session: enqueue(
            session,
            account_id=account_id,
            topic=MessageTopic.DEBIT_FAILED,
            event_key=f"told:{account_id}",
            fields={"reason": f"账户{account_id}余额不足"},
            at=fund.ports.now(),
        )
    )

"""What a person is told of a debit: each event once, in the transaction of the event."""

from __future__ import annotations

from app.domain.outbox.queries import list_messages
from app.domain.ports.outcomes import Reason
from tests.domain.agreements.conftest import terms
from tests.domain.debits.conftest import Debiting


def told(debiting: Debiting) -> list[tuple[str, str]]:
    """Return topic and text of all messages, oldest first."""
    found = debiting.ports.read(
        lambda session: list_messages(session, account_id=debiting.account_id)
    )
    return [(message.topic.value, message.text) for message in reversed(found)]


def test_the_day_before_and_the_result(debiting: Debiting) -> None:
    debiting.sign()
    debiting.live(12, 9)
    debiting.plan()
    debiting.live(12, 10)
    assert told(debiting) == [
        (
            "debit_due",
            "将于2026年12月10日通过微信支付扣划住房公积金缴存款500.00元，请保证余额充足。"
            "如需调整，请在扣款日前办理变更或暂停。",
        ),
        ("debit_succeeded", "2026年12月缴存款500.00元已扣款成功并计入您的账户。"),
    ]


def test_a_failure_says_why_and_when_again_and_at_last_how_to_pay(debiting: Debiting) -> None:
    debiting.sign()
    debiting.wallet.trouble["submit"] = [Reason.INSUFFICIENT_FUNDS, Reason.ACCOUNT_FROZEN]
    debiting.live(12, 9)
    debiting.live(12, 10)
    debiting.live(12, 11)
    assert told(debiting)[1:] == [
        (
            "debit_failed",
            "2026年12月缴存款500.00元扣款未成功：余额不足。"
            "将于2026年12月11日再次扣款，请在此之前备足款项。",
        ),
        (
            "debit_missed",
            "2026年12月缴存款扣款未成功（银行卡或支付账户目前不能扣款，可向银行或支付平台咨询），"
            "本期不再扣款。可在小程序“扣款记录”中补缴。",
        ),
    ]


def test_one_that_is_not_sent_for_the_cap_says_so_and_one_paid_by_hand_says_nothing(
    debiting: Debiting,
) -> None:
    debiting.sign(terms(amount_fen=5_000_000))
    debiting.live(12, 9)
    debiting.fund.deposit(debiting.account_id, 4_500_000, channel="alipay")
    debiting.live(12, 10)
    assert told(debiting)[1:] == [
        (
            "debit_failed",
            "2026年12月缴存款扣款未成功：扣款后将超过本年度缴存上限，本期不扣款。",
        )
    ]


def test_suspended_after_three_missed(
    debiting: Debiting, limits_known_from_2025_to_2027: None
) -> None:
    debiting.sign()
    debiting.wallet.trouble["submit"] = [Reason.ACCOUNT_FROZEN] * 3
    for month, year in ((12, 2026), (1, 2027), (2, 2027)):
        for day in (9, 10, 11):
            debiting.live(month, day, year=year)
    assert told(debiting)[-1] == (
        "agreement_suspended",
        "您已连续3期未缴存，缴存协议暂停，不再自动扣款。备足款项后可在小程序恢复协议。",
    )

"""Which moves of a mandate a person is told of, in what words; and that telling never stops one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from app.domain.contributors.models import Platform
from app.domain.mandates import telling
from app.domain.outbox.models import OutboxMessage
from app.domain.outbox.rules import text_of
from app.domain.ports.mandates import EndedBy, MandateStanding
from tests.domain.mandates.conftest import Signing
from tests.domain.outbox.conftest import Messenger, Post
from tests.mandate_channel import answer_of

ACTIVE_BANK = "银行卡（尾号0128）扣款签约已生效，每笔最多扣划500.00元，有效期至2031年10月31日。"
ACTIVE_WECHAT = "微信支付扣款签约已生效，每笔最多扣划500.00元，有效期至2031年10月31日。"


def told(signing: Signing) -> list[tuple[str, str]]:
    """Return topic and text of every message, oldest first."""
    query = select(OutboxMessage).order_by(OutboxMessage.id)
    rows = signing.ports.read(lambda session: session.scalars(query).all())
    assert {row.account_id for row in rows} <= {signing.account_id}
    return [(row.topic.value, text_of(row.topic, row.fields)) for row in rows]


def ended(who: str, channel: str = "银行卡（尾号0128）") -> tuple[str, str]:
    text = f"{channel}扣款签约已终止（{who}）。不再自动扣款，如需继续请重新签约。"
    return "mandate_ended", text


def test_signing_is_not_told_and_its_success_is(signing: Signing) -> None:
    mandate_no = signing.start()
    assert told(signing) == []
    signing.confirm(mandate_no)
    assert told(signing) == [("mandate_active", ACTIVE_BANK)]
    [row] = signing.ports.read(lambda session: session.scalars(select(OutboxMessage)).all())
    assert row.event_key == f"mandate:{mandate_no}:3"
    assert "6222" not in str(row.fields)


def test_the_persons_own_end_is_told_once(signing: Signing) -> None:
    mandate_no = signing.active()
    signing.end(mandate_no)
    signing.resolve(minutes=5)
    assert signing.state(mandate_no) == "ended"
    assert told(signing)[1:] == [ended("您本人解约")]


@pytest.mark.parametrize(
    ("by", "who"),
    [
        (EndedBy.CONTRIBUTOR, "您本人解约"),
        (EndedBy.CHANNEL, "渠道解约"),
        (EndedBy.EXPIRY, "有效期已满"),
    ],
)
def test_an_end_at_the_channel_is_told_with_who_did_it(
    signing: Signing, by: EndedBy, who: str
) -> None:
    mandate_no = signing.active("wechat")
    signing.wechat.unsign(mandate_no, by)
    signing.compare()
    assert signing.state(mandate_no) == "ended"
    assert told(signing) == [("mandate_active", ACTIVE_WECHAT), ended(who, "微信支付")]


def test_a_mandate_that_runs_out_here_is_told(signing: Signing) -> None:
    mandate_no = signing.active()
    signing.fund.clock.advance(days=5 * 366)
    signing.compare()
    signing.resolve(minutes=5)
    assert signing.state(mandate_no) == "ended"
    assert told(signing)[1:] == [ended("有效期已满")]


def test_one_that_a_newer_one_replaces_is_not_told(signing: Signing) -> None:
    first = signing.active()
    second = signing.active()
    signing.resolve(minutes=5)
    assert [signing.state(number) for number in (first, second)] == ["ended", "active"]
    assert [topic for topic, _ in told(signing)] == ["mandate_active", "mandate_active"]


def test_one_that_was_called_off_or_refused_is_not_told(signing: Signing) -> None:
    signing.end(signing.start())
    signing.bank.trouble["start"] = ["refused"]
    signing.start()
    signing.resolve(minutes=5)
    assert told(signing) == []


def test_a_pause_by_the_channel_and_its_end_are_told(signing: Signing) -> None:
    mandate_no = signing.active("wechat")
    for standing in (MandateStanding.SUSPENDED, MandateStanding.ACTIVE):
        signing.wechat.kept[mandate_no].standing = standing
        signing.compare()
    assert told(signing) == [
        ("mandate_active", ACTIVE_WECHAT),
        (
            "mandate_suspended",
            "微信支付扣款签约已被渠道暂停。恢复前不自动扣款，可自行缴存。",
        ),
        ("mandate_active", ACTIVE_WECHAT),
    ]


def test_one_signed_by_somebody_else_is_told_as_such(signing: Signing) -> None:
    mandate_no = signing.start("wechat")
    signing.wechat.sign(mandate_no, payer_ref="somebody-else")
    signing.resolve(minutes=5)
    signing.resolve(minutes=5)
    assert signing.state(mandate_no) == "ended"
    assert told(signing) == [
        (
            "mandate_ended",
            "微信支付扣款签约已终止（签约账户不是您本人的账户）。请用本人账户重新签约。",
        )
    ]


def test_a_late_signature_is_told(signing: Signing) -> None:
    mandate_no = signing.start("wechat")
    signing.resolve(minutes=31)
    assert signing.state(mandate_no) == "failed"
    signing.wechat.sign(mandate_no)
    signing.resolve(days=1)
    assert told(signing) == [("mandate_active", ACTIVE_WECHAT)]


def test_a_notice_that_comes_often_is_told_once(signing: Signing) -> None:
    mandate_no = signing.active("wechat")
    for _ in range(3):
        signing.notify(signing.wechat.notice(mandate_no))
    assert len(told(signing)) == 1


def test_no_text_is_longer_than_a_line_of_the_phone() -> None:
    for text in (
        *telling._ENDED_BY_TEXTS.values(),
        *(telling._NOT_OWN_ACCOUNT, telling._SIGN_AGAIN),
        *(telling._SIGN_WITH_OWN, telling._PAY_BY_HAND),
        "银行卡（尾号0128）",
    ):
        assert len(text) <= 20


def test_a_broken_platform_keeps_no_mandate_from_moving(signing: Signing) -> None:
    broken = Messenger([ZeroDivisionError()])
    fund = signing.fund
    fund.ports = replace(fund.ports, messengers={"wechat": broken})
    post = Post(fund.ports, fund.clock, broken, broken, signing.account_id)
    post.link(Platform.WECHAT)
    mandate_no = signing.active()
    assert post.send() == {"error": 1}
    signing.end(mandate_no)
    assert post.send(minutes=2) == {"error": 2}
    assert signing.state(mandate_no) == "ended"


def test_a_mistake_in_a_message_keeps_no_mandate_from_moving(
    signing: Signing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "day_text", lambda _day: "")
    mandate_no = signing.active()
    assert (signing.state(mandate_no), told(signing)) == ("active", [])


def test_an_answer_that_moves_nothing_is_not_told(signing: Signing) -> None:
    mandate_no = signing.active()
    signing.bank.trouble["query"] = [answer_of(mandate_no, MandateStanding.UNKNOWN)]
    signing.compare()
    signing.compare()
    assert len(told(signing)) == 1

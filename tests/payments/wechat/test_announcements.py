"""预扣费通知: told by API v3 before it is taken; what is not certainly told is UNKNOWN."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from tests.payments.sides import TROUBLES
from tests.payments.wechat.purse import Purse

NOTIFY = "v3/papay/contracts/notify"


@pytest.fixture
def announced(purse: Purse) -> Purse:
    """A plan with pre-notice, by day."""
    purse.gateway.control("plans/change", mode="PRE_NOTICE")
    purse.wait_for_day(1)
    return purse


@pytest.fixture
def reference(announced: Purse) -> str:
    """A contract that was signed longer ago than a first debit may take."""
    _, reference = announced.signed()
    announced.wait_for_day(1)
    return reference


@pytest.fixture
def skewed(announced: Purse) -> Iterator[Purse]:
    """Our clock is ten minutes fast."""
    client = announced.announcing._client
    now = announced.gateway.clock.now
    client._now = lambda: now() + timedelta(minutes=10)
    yield announced
    client._now = now


def kind_and_reason(outcome: Outcome) -> tuple[OutcomeKind, Reason]:
    return outcome.kind, outcome.reason


def result_of(purse: Purse, reference: str, amount_fen: int) -> tuple[OutcomeKind, Reason]:
    """Debit, and ask what became of it."""
    request = purse.debit(reference, amount_fen)
    purse.channel.submit_debit(request)
    return kind_and_reason(purse.channel.query_debit(request.order_no))


TAKEN = (OutcomeKind.SUCCEEDED, Reason.OK)
NEVER_CAME = (OutcomeKind.FAILED, Reason.NOT_FOUND)


def test_what_was_announced_can_be_taken_and_not_more(announced: Purse, reference: str) -> None:
    window = announced.announcing.notice_window
    assert (window.latest_days, window.earliest_days, window.valid_days) == (2, 4, 3)
    notice = announced.notice(reference, 50_000)

    outcome = announced.announcing.announce_debit(notice)

    assert (outcome.kind, outcome.number) == (OutcomeKind.ACCEPTED, notice.order_no)
    [booked] = announced.booked("announcements", "contract_id", reference)
    assert booked["amount_fen"] == 50_000
    assert booked["first_day"] == f"{notice.due_on:%Y%m%d}"
    assert booked["last_day"] == f"{notice.due_on + timedelta(days=2):%Y%m%d}"
    assert result_of(announced, reference, 50_000) == NEVER_CAME  # it is too early
    announced.wait_for_day(2)
    assert result_of(announced, reference, 50_001) == NEVER_CAME
    assert result_of(announced, reference, 50_000) == TAKEN
    assert result_of(announced, reference, 50_000) == NEVER_CAME  # good for one only


def test_a_debit_that_should_have_been_announced_is_not_taken(
    announced: Purse, reference: str
) -> None:
    request = announced.debit(reference)

    outcome = announced.channel.submit_debit(request)

    # The code says only that the request is invalid, so that the question has to tell.
    assert kind_and_reason(outcome) == (OutcomeKind.UNKNOWN, Reason.OUR_FAULT)
    assert outcome.raw_message == "需要先下发扣费前通知才能扣费"
    assert kind_and_reason(announced.channel.query_debit(request.order_no)) == NEVER_CAME


@pytest.mark.parametrize("days", [2, 3, 4])
def test_every_day_of_the_window_covers_the_debit(
    announced: Purse, reference: str, days: int
) -> None:
    notice = announced.notice(reference, days=days)
    assert announced.announcing.announce_debit(notice).kind is OutcomeKind.ACCEPTED
    announced.wait_for_day(days)

    assert result_of(announced, reference, 50_000) == TAKEN


@pytest.mark.parametrize(("days", "hour"), [(-1, 10), (0, 10), (1, 10), (5, 10), (2, 6), (2, 22)])
def test_what_would_not_cover_the_debit_is_not_sent(
    announced: Purse, reference: str, days: int, hour: int
) -> None:
    announced.wait_for_day(1, hour=hour)

    outcome = announced.announcing.announce_debit(announced.notice(reference, days=days))

    assert kind_and_reason(outcome) == (OutcomeKind.FAILED, Reason.NOT_SUPPORTED)
    assert announced.booked("announcements", "contract_id", reference) == []


@pytest.mark.parametrize("hour", [7, 21])
def test_the_hours_of_the_window(announced: Purse, reference: str, hour: int) -> None:
    announced.wait_for_day(1, hour=hour)

    outcome = announced.announcing.announce_debit(announced.notice(reference))

    assert outcome.kind is OutcomeKind.ACCEPTED


def test_a_contract_that_is_nobodys(announced: Purse) -> None:
    outcome = announced.announcing.announce_debit(announced.notice("202611240000000000"))

    assert kind_and_reason(outcome) == (OutcomeKind.FAILED, Reason.NO_MANDATE)


def test_what_wechat_refuses_with_one_code_for_all_is_unknown(
    announced: Purse, reference: str
) -> None:
    too_much = announced.announcing.announce_debit(announced.notice(reference, 500_001))
    first, again = (
        announced.announcing.announce_debit(announced.notice(reference)) for _ in range(2)
    )
    number, ended = announced.signed()
    announced.gateway.control("contracts/change", contract_code=number, by="user")
    over = announced.announcing.announce_debit(announced.notice(ended))

    assert first.kind is OutcomeKind.ACCEPTED
    for outcome in (too_much, again, over):
        assert kind_and_reason(outcome) == (OutcomeKind.UNKNOWN, Reason.OUR_FAULT)
        assert outcome.raw_code == "INVALID_REQUEST"
        assert outcome.raw_message
    assert len(announced.booked("announcements", "contract_id", reference)) == 1


def test_nothing_to_announce_is_refused(announced: Purse, reference: str) -> None:
    notice = replace(announced.notice(reference), amount_fen=0)

    outcome = announced.announcing.announce_debit(notice)

    assert kind_and_reason(outcome) == (OutcomeKind.FAILED, Reason.OUR_FAULT)
    assert outcome.raw_code == "PARAM_ERROR"


@pytest.mark.parametrize("kind", TROUBLES)
def test_trouble_on_the_way_is_unknown_and_announcing_again_is_safe(
    announced: Purse, reference: str, kind: str
) -> None:
    code = {"code": "SYSTEM_ERROR"} if kind.startswith("error") else {}
    hasty = announced.trouble(NOTIFY, kind, **code)
    notice = announced.notice(reference)
    channel = announced.hasty_announcing if hasty else announced.announcing

    outcome = channel.announce_debit(notice)

    assert outcome.kind is OutcomeKind.UNKNOWN
    assert outcome.number == notice.order_no
    again = announced.announcing.announce_debit(notice)
    assert again.kind is (OutcomeKind.UNKNOWN if TROUBLES[kind] else OutcomeKind.ACCEPTED)
    assert len(announced.booked("announcements", "contract_id", reference)) == 1
    announced.wait_for_day(2)
    assert result_of(announced, reference, 50_000) == TAKEN


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        ("NO_AUTH", OutcomeKind.FAILED, Reason.OUR_FAULT),
        ("SIGN_ERROR", OutcomeKind.UNKNOWN, Reason.OUR_FAULT),
        ("RATELIMIT_EXCEEDED", OutcomeKind.UNKNOWN, Reason.BUSY),
        ("SYSTEM_ERROR", OutcomeKind.UNKNOWN, Reason.BUSY),
        ("NEVER_HEARD_OF", OutcomeKind.UNKNOWN, Reason.UNLISTED),
    ],
)
def test_other_codes_of_v3(
    announced: Purse, reference: str, code: str, kind: OutcomeKind, reason: Reason
) -> None:
    announced.trouble(NOTIFY, "error", code=code)

    outcome = announced.announcing.announce_debit(announced.notice(reference))

    assert (outcome.kind, outcome.reason, outcome.raw_code) == (kind, reason, code)


def test_a_clock_that_is_off_gets_nothing_but_unknown(skewed: Purse, reference: str) -> None:
    outcome = skewed.announcing.announce_debit(skewed.notice(reference))

    # WeChat refuses the message, and its answer is stale by our clock.
    assert kind_and_reason(outcome) == (OutcomeKind.UNKNOWN, Reason.BAD_ANSWER)
    assert outcome.raw_code == "stale"

"""A channel that takes announced debits only: announced, then debited, within its window."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from app.domain.debit_runs.announcing import announce_debits
from app.domain.ports.debits import DebitNotice, NoticeWindow
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from tests.domain.debits.conftest import Debiting, on


@dataclass
class Announcing:
    """Takes announcements two days before, good for three days, by day alone."""

    notices: list[DebitNotice] = field(default_factory=list)
    trouble: list[tuple[OutcomeKind, Reason]] = field(default_factory=list)

    @property
    def notice_window(self) -> NoticeWindow:
        return NoticeWindow(latest_days=2, valid_days=3, from_hour=7, until_hour=22)

    def announce_debit(self, notice: DebitNotice) -> Outcome:
        kind, reason = self.trouble.pop(0) if self.trouble else (OutcomeKind.ACCEPTED, Reason.OK)
        if kind is OutcomeKind.ACCEPTED:
            self.notices.append(notice)
        return Outcome(kind=kind, reason=reason, number=notice.order_no)


@pytest.fixture
def announcing(debiting: Debiting) -> Announcing:
    channel = Announcing()
    channels = replace(debiting.ports.channels, announcing={"wechat": channel})
    debiting.fund.ports = replace(debiting.ports, channels=channels)
    debiting.sign()
    debiting.at(12, 9)
    assert debiting.plan() == 1
    # The notice of the 9th is too late for the 10th.
    assert debiting.state() == ("scheduled", on(12, 11))
    return channel


def test_it_is_announced_once_and_debited_on_the_first_day_that_allows_it(
    debiting: Debiting, announcing: Announcing
) -> None:
    assert announce_debits(debiting.ports) == {"announced": 1}
    assert announce_debits(debiting.ports) == {}
    (notice,) = announcing.notices
    assert (notice.amount_fen, notice.due_on) == (50_000, on(12, 11))
    assert debiting.live(12, 10) == {}
    assert debiting.live(12, 11) == {"credited": 1}


def test_unannounced_nothing_is_sent_and_a_late_announcement_moves_the_debit(
    debiting: Debiting, announcing: Announcing
) -> None:
    debiting.at(12, 11)
    assert debiting.submit() == {"wait": 1}
    assert announce_debits(debiting.ports) == {"announced": 1}
    assert debiting.state() == ("scheduled", on(12, 13))
    assert debiting.live(12, 12) == {}
    assert debiting.live(12, 13) == {"credited": 1}


def test_a_retry_within_the_window_needs_no_other_one_and_a_later_one_does(
    debiting: Debiting, announcing: Announcing
) -> None:
    debiting.wallet.trouble["submit"] = [Reason.INSUFFICIENT_FUNDS] * 2
    announce_debits(debiting.ports)
    assert debiting.live(12, 11) == {"debit_failed": 1}
    # T+1 of Friday the 11th is Monday the 14th, past the 13th.
    assert debiting.state() == ("scheduled", on(12, 14))
    debiting.at(12, 11, 11)
    assert announce_debits(debiting.ports) == {"announced": 1}
    assert debiting.live(12, 14) == {"debit_failed": 1}
    assert debiting.state() == ("scheduled", on(12, 16))
    assert announce_debits(debiting.ports) == {"announced": 1}
    assert debiting.live(12, 16) == {"credited": 1}
    assert [notice.due_on.day for notice in announcing.notices] == [11, 14, 16]


def test_one_without_an_answer_is_sent_again_and_a_refusal_counts_as_a_try(
    debiting: Debiting, announcing: Announcing
) -> None:
    announcing.trouble = [
        (OutcomeKind.UNKNOWN, Reason.NO_ANSWER),
        (OutcomeKind.FAILED, Reason.NO_MANDATE),
    ]
    assert announce_debits(debiting.ports) == {"unknown": 1}
    assert debiting.state() == ("scheduled", on(12, 11))
    assert announce_debits(debiting.ports) == {"refused": 1}
    assert debiting.state() == ("missed", None)
    assert debiting.wallet.calls == []


def test_nobody_is_woken_and_nothing_that_was_ended_is_announced(
    debiting: Debiting, announcing: Announcing
) -> None:
    debiting.at(12, 9, 23)
    assert announce_debits(debiting.ports) == {}
    debiting.at(12, 10)
    debiting.desk.end()
    assert announce_debits(debiting.ports) == {}
    debiting.at(12, 11)
    assert debiting.submit() == {"cancel": 1}

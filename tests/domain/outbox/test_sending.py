"""Sending: once, again after trouble, to the other platform, and at last not at all."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.domain.contributors.models import Platform
from app.domain.outbox.operations import remove_old_messages, send_messages
from app.domain.outbox.queries import count_due_messages, count_old_messages, export_messages
from app.domain.outbox.rules import MessageState
from app.domain.ports.messages import MessageReason, MessageTopic
from tests.builders import an_account
from tests.domain.outbox.conftest import BUSY, FIELDS, LOST, REFUSED, SENT, Post
from tests.domain.people import at_once


def test_a_message_is_sent_once(post: Post) -> None:
    post.store()
    assert post.send(seconds=5) == {"sent": 1}
    assert post.wechat.taken == [
        (f"wechat-of-{post.account_id}", MessageTopic.MANDATE_ACTIVE, FIELDS)
    ]
    row = post.row()
    assert (row.state, row.platform, row.reason) == (
        MessageState.SENT,
        Platform.WECHAT,
        MessageReason.OK,
    )
    assert (row.sent_at, row.next_attempt_at) == (post.clock.now(), None)
    assert post.send(days=9) == {}
    assert len(post.wechat.taken) == 1


def test_what_is_not_taken_is_tried_again_with_growing_waits(post: Post) -> None:
    post.wechat.will(BUSY, LOST, SENT)
    post.store()
    assert post.send() == {"try_again": 1}
    assert (post.row().reason, post.row().raw_code) == (MessageReason.BUSY, "-1")
    assert post.send(seconds=119) == {}
    assert post.send(seconds=1) == {"try_again": 1}
    assert post.send(seconds=299) == {}
    assert post.send(seconds=1) == {"sent": 1}
    assert (post.row().attempts, post.row().raw_code) == (3, None)


def test_after_three_days_it_is_given_up_and_stays_in_the_list(post: Post) -> None:
    post.wechat.will(BUSY)
    post.store()
    began = post.clock.now()
    while post.row().state is MessageState.WAITING:
        counts = post.send(minutes=30)
    assert counts == {"given_up": 1}
    ended = post.clock.now() - began
    assert timedelta(days=3) <= ended <= timedelta(days=3, hours=6, minutes=30)
    row = post.row()
    assert (row.reason, row.next_attempt_at, row.sent_at) == (MessageReason.BUSY, None, None)
    assert 10 < len(post.wechat.taken) < 20
    exported = post.ports.read(lambda s: export_messages(s, account_id=post.account_id))
    assert [(each["state"], each["title"], each["sent_at"]) for each in exported] == [
        ("given_up", "扣款签约生效", None)
    ]


def test_what_no_scheduler_has_tried_has_its_one_try(post: Post) -> None:
    post.store()
    assert post.send(days=30) == {"sent": 1}


def test_a_refusal_for_good_ends_it_at_once(post: Post) -> None:
    post.wechat.will(REFUSED)
    post.store()
    assert post.send() == {"given_up": 1}
    row = post.row()
    assert (row.reason, row.raw_code, row.refused_by) == (
        MessageReason.PERSON_REFUSED,
        "43101",
        ["wechat"],
    )
    assert post.send(days=1) == {}
    assert len(post.wechat.taken) == 1
    assert post.alipay.taken == []


def test_a_refusal_for_good_sends_it_to_the_persons_other_platform(post: Post) -> None:
    post.link(Platform.ALIPAY)
    post.wechat.will(REFUSED)
    post.store()
    assert post.send() == {"refused": 1}
    assert post.send(seconds=15) == {"sent": 1}
    assert post.alipay.taken == [
        (f"alipay-of-{post.account_id}", MessageTopic.MANDATE_ACTIVE, FIELDS)
    ]
    assert (post.row().platform, post.row().refused_by) == (Platform.ALIPAY, ["wechat"])
    assert len(post.wechat.taken) == 1


def test_refused_by_both_it_is_given_up(post: Post) -> None:
    post.link(Platform.ALIPAY)
    post.wechat.will(REFUSED)
    post.alipay.will(BUSY, REFUSED)
    post.store()
    assert [post.send(), post.send(), post.send(minutes=5)] == [
        {"refused": 1},
        {"try_again": 1},
        {"given_up": 1},
    ]
    assert post.row().refused_by == ["wechat", "alipay"]


def test_trouble_does_not_send_it_to_the_other_platform(post: Post) -> None:
    """It may have been taken: the person would have it twice."""
    post.link(Platform.ALIPAY)
    post.wechat.will(LOST, SENT)
    post.store()
    post.send()
    assert post.send(minutes=2) == {"sent": 1}
    assert (len(post.wechat.taken), len(post.alipay.taken)) == (2, 0)


def test_a_platform_that_is_not_there_is_passed_over(post: Post) -> None:
    post.ports = replace(post.ports, messengers={"alipay": post.alipay})
    post.store()
    assert post.send() == {"given_up": 1}
    assert post.row().reason is MessageReason.NOT_OFFERED
    post.link(Platform.ALIPAY)
    post.store()
    assert [post.send(), post.send()] == [{"refused": 1}, {"sent": 1}]


def test_a_person_whom_no_platform_knows_reads_the_list_only(post: Post) -> None:
    post.store(account_id=an_account(post.ports))
    assert post.send() == {"given_up": 1}
    assert post.row().reason is MessageReason.PERSON_UNKNOWN


def test_an_error_of_ours_keeps_nobody_else_waiting_and_is_tried_again(post: Post) -> None:
    post.wechat.will(ZeroDivisionError(), SENT)
    post.store("first")
    post.store("second")
    assert post.send() == {"error": 1, "sent": 1}
    assert [row.state.value for row in post.rows()] == ["waiting", "sent"]
    assert post.send(minutes=2) == {"sent": 1}


def test_a_platform_that_is_away_is_left_in_peace_and_the_other_goes_on(post: Post) -> None:
    post.wechat.will(LOST)
    rider = an_account(post.ports)
    post.link(Platform.ALIPAY, account_id=rider)
    for number in range(6):
        post.store(f"w{number}")
        post.store(f"a{number}", account_id=rider)
    assert post.send() == {"try_again": 6, "sent": 6}
    assert len(post.wechat.taken) == 3
    reasons = [row.reason for row in post.rows() if row.account_id == post.account_id]
    assert reasons == [MessageReason.NO_ANSWER] * 3 + [MessageReason.RESTING] * 3
    post.wechat.will(SENT)
    assert post.send(minutes=2) == {"sent": 6}


def test_refusals_are_answers_and_no_reason_to_rest(post: Post) -> None:
    post.wechat.will(REFUSED)
    for _ in range(6):
        post.store()
    assert post.send() == {"given_up": 6}
    assert len(post.wechat.taken) == 6


def test_two_senders_at_once_send_each_message_once(post: Post) -> None:
    for number in range(10):
        post.store(f"event:{number}", fields={**FIELDS, "cap": f"{number}.00"})
    results = at_once(3, lambda _: send_messages(post.ports))
    assert sum(counts.get("sent", 0) for counts in results) == 10
    assert sorted(fields["cap"] for _, _, fields in post.wechat.taken) == [
        f"{number}.00" for number in range(10)
    ]


def test_killed_between_platform_and_record_it_is_sent_again(post: Post) -> None:
    """At least once, and documented so: the platform has it, we do not know."""
    post.wechat.meanwhile = lambda: (_ for _ in ()).throw(SystemExit)
    post.store()
    with pytest.raises(SystemExit):
        post.send()
    row = post.row()
    assert (row.state, row.attempts) == (MessageState.WAITING, 1)
    post.wechat.meanwhile = lambda: None
    assert post.send(seconds=60) == {}
    assert post.send(seconds=60) == {"sent": 1}
    assert len(post.wechat.taken) == 2


def test_a_late_answer_of_trouble_does_not_undo_a_success(post: Post) -> None:
    """The first sender slept for so long that a second one has sent meanwhile."""
    post.store()
    post.wechat.will(SENT, REFUSED)

    def overtake() -> None:
        post.wechat.meanwhile = lambda: None
        assert post.send(minutes=3) == {"sent": 1}

    post.wechat.meanwhile = overtake
    assert post.send() == {"given_up": 1}
    row = post.row()
    assert (row.state, row.reason, row.refused_by) == (MessageState.SENT, MessageReason.OK, [])


def test_a_late_success_counts_though_others_failed_since(post: Post) -> None:
    post.store()
    post.wechat.will(BUSY, SENT)

    def overtake() -> None:
        post.wechat.meanwhile = lambda: None
        assert post.send(minutes=3) == {"try_again": 1}

    post.wechat.meanwhile = overtake
    assert post.send() == {"sent": 1}
    assert (post.row().state, post.row().next_attempt_at) == (MessageState.SENT, None)


def test_no_transaction_is_open_while_the_platform_is_asked(post: Post) -> None:
    """Another one can write meanwhile, on SQLite too, which lets in one writer."""
    post.store("first")
    post.wechat.meanwhile = lambda: post.store("meanwhile")
    post.send()
    assert [row.event_key for row in post.rows()] == ["first", "meanwhile"]


def test_a_round_that_is_told_to_stop_claims_nothing_more(post: Post) -> None:
    class Stop(BaseException):
        pass

    def fence(_session: Any) -> None:
        if post.wechat.taken:
            raise Stop

    post.store("first")
    post.store("second")
    post.ports = replace(post.ports, fence=fence)
    with pytest.raises(Stop):
        post.send()
    assert [(row.state.value, row.attempts) for row in post.rows()] == [("sent", 1), ("waiting", 0)]


def test_what_is_due_is_counted(post: Post) -> None:
    post.wechat.will(BUSY)
    post.store()

    def due() -> int:
        return post.ports.read(lambda s: count_due_messages(s, now=post.clock.now()))

    assert due() == 1
    post.send()
    assert due() == 0
    post.clock.advance(minutes=2)
    assert due() == 1


def test_what_is_over_is_removed_after_four_hundred_days(post: Post) -> None:
    post.store("sent")
    post.send()
    post.wechat.will(REFUSED)
    post.store("given-up")
    post.send()
    post.store("waiting")
    post.clock.advance(days=400)

    def old() -> int:
        return post.ports.read(lambda s: count_old_messages(s, now=post.clock.now()))

    assert (old(), remove_old_messages(post.ports)) == (0, 0)
    post.clock.advance(seconds=1)
    post.store("fresh")
    assert old() == 2
    assert remove_old_messages(post.ports, batch_size=1) == 2
    assert [row.event_key for row in post.rows()] == ["waiting", "fresh"]

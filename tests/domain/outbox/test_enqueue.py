"""A message is stored with its event: once, cheaply, and never against it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from sqlalchemy import event, update

from app.domain.base import table_of
from app.domain.contributors.models import Account
from app.domain.outbox.queries import list_messages
from app.domain.outbox.rules import MessageState
from app.domain.ports.messages import MessageTopic
from tests.builders import an_account
from tests.domain.outbox.conftest import FIELDS, Post
from tests.domain.people import at_once

ACCOUNT = table_of(Account)


def paid(session: Any, account_id: int) -> None:
    """Stands for an event that moves money."""
    session.execute(
        update(ACCOUNT)
        .where(ACCOUNT.c.id == account_id)
        .values(order_count=ACCOUNT.c.order_count + 1)
    )


def payments(post: Post) -> int:
    return int(post.ports.read(lambda session: session.get(Account, post.account_id)).order_count)


def test_a_message_waits_to_be_sent_at_once(post: Post) -> None:
    post.store("mandate:M1:3")
    row = post.row()
    assert (row.account_id, row.event_key, row.topic) == (
        post.account_id,
        "mandate:M1:3",
        MessageTopic.MANDATE_ACTIVE,
    )
    assert row.fields == FIELDS
    assert (row.state, row.attempts, row.refused_by) == (MessageState.WAITING, 0, [])
    assert row.created_at == row.next_attempt_at == post.clock.now()
    assert (row.platform, row.reason, row.raw_code, row.sent_at) == (None, None, None, None)


def test_an_event_that_is_met_again_is_told_once(post: Post) -> None:
    for _ in range(3):
        post.store("the-same")
    post.ports.transact(
        lambda s: [post.enqueue(s, "twice-in-one"), post.enqueue(s, "twice-in-one")]
    )
    assert [row.event_key for row in post.rows()] == ["the-same", "twice-in-one"]


def test_a_second_telling_changes_nothing_of_the_first(post: Post) -> None:
    post.store("the-same")
    post.send()
    before = post.row()
    post.clock.advance(days=1)
    post.store("the-same", topic=MessageTopic.DEBIT_FAILED, fields={"reason": "余额不足"})
    assert post.row() == before


def test_an_event_that_is_rolled_back_is_not_told(post: Post) -> None:
    def work(session: Any) -> None:
        post.enqueue(session, "undone")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        post.ports.transact(work)
    assert post.rows() == []


def test_it_costs_one_statement(post: Post) -> None:
    seen: list[str] = []

    def work(session: Any) -> None:
        def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
            if not statement.startswith("BEGIN"):
                seen.append(statement)

        event.listen(session.get_bind(), "before_cursor_execute", note)
        post.enqueue(session)
        event.remove(session.get_bind(), "before_cursor_execute", note)

    post.ports.transact(work)
    [statement] = seen
    assert statement.startswith("INSERT")


@pytest.mark.parametrize(
    "changed",
    [
        {"fields": {}},
        {"fields": {**FIELDS, "card_no": "6222021234567890128"}},
        {"event_key": "x" * 101},
        {"topic": MessageTopic.DEBIT_DUE},
    ],
    ids=["too few fields", "one too many", "an endless key", "another topic"],
)
def test_a_mistake_of_ours_is_logged_and_the_money_moves(
    post: Post, caplog: pytest.LogCaptureFixture, changed: dict[str, Any]
) -> None:
    def work(session: Any) -> None:
        paid(session, post.account_id)
        post.enqueue(session, **changed)

    post.ports.transact(work)
    assert payments(post) == 1
    assert post.rows() == []
    [record] = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert record.getMessage() == "message not stored"
    assert "6222" not in str(vars(record))


@pytest.mark.parametrize("engine", ["mariadb"], indirect=True)
def test_an_account_that_is_not_there_does_not_stop_the_event(post: Post) -> None:
    """Not so on SQLite, which is for demos: there a foreign key refuses the whole event."""

    def work(session: Any) -> None:
        paid(session, post.account_id)
        post.enqueue(session, account_id=999_999)

    post.ports.transact(work)
    assert (payments(post), post.rows()) == (1, [])


def test_a_long_field_is_cut(post: Post) -> None:
    post.store(topic=MessageTopic.DEBIT_FAILED, fields={"reason": "因" * 300})
    assert post.row().fields == {"reason": "因" * 100}


def test_events_of_many_threads_are_told_once_and_none_is_undone(post: Post) -> None:
    def meet(_position: int) -> None:
        def work(session: Any) -> None:
            # The message first: nothing but its own key is waited for.
            post.enqueue(session, "race")
            paid(session, post.account_id)

        post.ports.transact(work)

    assert at_once(8, meet) == [None] * 8
    assert payments(post) == 8
    assert [row.event_key for row in post.rows()] == ["race"]


def test_everybody_lists_their_own_newest_first_in_pages(post: Post) -> None:
    other = an_account(post.ports)
    for number in range(5):
        post.store(f"own:{number}", fields={**FIELDS, "cap": f"{number}.00"})
        post.store(f"other:{number}", account_id=other)
    post.send()

    def page(before_id: int | None = None) -> list[Any]:
        return post.ports.read(
            lambda session: list_messages(
                session, account_id=post.account_id, before_id=before_id, limit=3
            )
        )

    first = page()
    second = page(first[-1].id)
    assert [view.text for view in (*first, *second)] == [
        f"银行卡（尾号0128）扣款签约已生效，每笔最多扣划{number}.00元，有效期至2031年10月31日。"
        for number in (4, 3, 2, 1, 0)
    ]
    assert page(second[-1].id) == []
    assert {view.title for view in first} == {"扣款签约生效"}
    assert {(view.platform, view.sent_at) for view in first} == {("wechat", post.clock.now())}

"""Bugs put into the product on purpose: a simulation that does not find them is worth nothing."""

from __future__ import annotations

import itertools
import re
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from sqlalchemy import URL, Engine, create_engine, event, select
from sqlalchemy.orm import Session

from app.domain.agreements import drafting
from app.domain.agreements.rules import period_of
from app.domain.base import rows_changed
from app.domain.callbacks import operations as callbacks
from app.domain.deposits import operations as deposits
from app.domain.deposits import queries as deposit_queries
from app.domain.inquiries import operations as inquiries
from app.domain.ledger import operations as ledger
from app.domain.ledger.models import Code, EntryKind
from app.domain.ledger.rules import Line
from app.domain.payment_orders.models import OPEN_STATES, OrderState
from app.domain.periods import Period
from app.domain.ports import Ports
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.domain.refunds import operations as refund_requests
from app.domain.settlement import Effect, payments, refunds
from app.domain.subsidies import operations as subsidies
from app.jobs import apply_callbacks, resolve_orders
from tests.simulation import town

Mutation = Callable[[pytest.MonkeyPatch], None]


def a_repeated_success_credits_again(patch: pytest.MonkeyPatch) -> None:
    real = payments.apply_payment

    def apply(session: Session, *, channel: str, outcome: Any, now: Any) -> Effect:
        effect = real(session, channel=channel, outcome=outcome, now=now)
        if effect is Effect.DUPLICATE:
            again = f"deposit:{outcome.number}:{now:%H%M%S%f}"
            account_id = session.scalar(
                select(payments.ORDER.c.account_id).where(
                    payments.ORDER.c.order_no == outcome.number
                )
            )
            if account_id is None:
                return effect
            lines = [
                Line(Code.CHANNEL_CLEARING, outcome.amount_fen, channel=channel),
                Line(Code.CONTRIBUTORS, -outcome.amount_fen, account_id=account_id),
            ]
            kind = EntryKind.DEPOSIT
            ledger.post(session, posting_key=again, kind=kind, memo="", lines=lines, now=now)
        return effect

    patch.setattr(callbacks, "apply_payment", apply)
    patch.setattr(inquiries, "apply_payment", apply)


def the_amount_is_not_checked(patch: pytest.MonkeyPatch) -> None:
    real = payments._receive_payment

    def receive(session: Session, order: Any, outcome: Any, *, now: Any) -> Effect:
        outcome = replace(outcome, amount_fen=order.amount_fen)
        return real(session, order, outcome, now=now)

    patch.setattr(payments, "_receive_payment", receive)


def a_success_after_the_close_is_ignored(patch: pytest.MonkeyPatch) -> None:
    real = payments._receive_payment

    def receive(session: Session, order: Any, outcome: Any, *, now: Any) -> Effect:
        if order.state in {OrderState.CLOSED, OrderState.FAILED}:
            return Effect.DUPLICATE
        return real(session, order, outcome, now=now)

    patch.setattr(payments, "_receive_payment", receive)


def an_unknown_answer_to_an_order_counts_as_failed(patch: pytest.MonkeyPatch) -> None:
    real = deposits.record_prepared

    def record(session: Session, *, order_no: str, outcome: Any, now: Any) -> None:
        if outcome.kind is OutcomeKind.UNKNOWN:
            outcome = replace(outcome, kind=OutcomeKind.FAILED, reason=Reason.OUR_FAULT)
        real(session, order_no=order_no, outcome=outcome, now=now)

    patch.setattr(deposits, "record_prepared", record)


def an_unknown_answer_to_a_refund_counts_as_failed(patch: pytest.MonkeyPatch) -> None:
    real = refunds.apply_refund

    def apply(session: Session, *, channel: str, outcome: Any, now: Any) -> Effect:
        if outcome.kind is OutcomeKind.UNKNOWN:
            outcome = replace(outcome, kind=OutcomeKind.FAILED, reason=Reason.OUR_FAULT)
        return real(session, channel=channel, outcome=outcome, now=now)

    patch.setattr(inquiries, "apply_refund", apply)


def an_answer_is_ignored_when_a_notice_came_first(patch: pytest.MonkeyPatch) -> None:
    """Where the notice did not settle it (a wrong amount, «ask me»), nothing ever does."""

    def unless_told(real: Callable[..., Effect]) -> Callable[..., Effect]:
        def apply(session: Session, *, channel: str, outcome: Any, now: Any) -> Effect:
            told = select(callbacks.CALLBACK.c.id).where(
                callbacks.CALLBACK.c.number == outcome.number
            )
            if session.execute(told).first() is not None:
                return Effect.NOTHING
            return real(session, channel=channel, outcome=outcome, now=now)

        return apply

    patch.setattr(inquiries, "apply_payment", unless_told(inquiries.apply_payment))
    patch.setattr(inquiries, "apply_refund", unless_told(inquiries.apply_refund))


def a_hold_is_not_released(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(refunds, "release_hold", lambda session, *, hold_key: None)


def a_refund_reserves_nothing_of_its_deposit(patch: pytest.MonkeyPatch) -> None:
    """Two of them may then ask for the same money."""
    real = rows_changed

    def changed(session: Session, statement: Any) -> int:
        return 1 if "refund_reserved_fen" in str(statement) else real(session, statement)

    patch.setattr(refund_requests, "rows_changed", changed)
    patch.setattr(refunds, "rows_changed", changed)


def a_refund_is_posted_twice(patch: pytest.MonkeyPatch) -> None:
    real = refunds._finish

    def finish(session: Session, refund: Any, outcome: Any, *, now: Any) -> Effect:
        effect = real(session, refund, outcome, now=now)
        if effect is Effect.REFUNDED:
            key = f"refund:{refund.refund_no}:again"
            lines = [
                Line(Code.CONTRIBUTORS, 1, account_id=refund.account_id),
                Line(Code.CHANNEL_CLEARING, -1, channel=refund.channel),
            ]
            kind = EntryKind.DEPOSIT_REFUND
            ledger.post(session, posting_key=key, kind=kind, memo="", lines=lines, now=now)
        return effect

    patch.setattr(refunds, "_finish", finish)


def a_refund_is_sent_under_a_new_number_each_time(patch: pytest.MonkeyPatch) -> None:
    real = inquiries.RefundRequest
    serial = itertools.count(1)

    def request(**fields: Any) -> Any:
        return real(**{**fields, "refund_no": f"R{next(serial):031d}"})

    patch.setattr(inquiries, "RefundRequest", request)


def half_a_posting_is_committed(patch: pytest.MonkeyPatch) -> None:
    """The journal is committed before the balance moves."""
    _commit_early(patch, after=re.compile(r"INSERT INTO journal_line"))


def an_order_moves_in_a_transaction_of_its_own(patch: pytest.MonkeyPatch) -> None:
    """That it is paid is committed before it is credited."""
    _commit_early(patch, after=re.compile(r"UPDATE payment_order SET .*credited_on"))


def _commit_early(patch: pytest.MonkeyPatch, *, after: re.Pattern[str]) -> None:
    def commit(_connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if after.match(statement):
            sqlite = isinstance(cursor, sqlite3.Cursor)
            cursor.connection.cursor().execute("COMMIT")
            cursor.connection.cursor().execute("BEGIN IMMEDIATE" if sqlite else "BEGIN")

    def create(url: URL) -> Engine:
        engine = create_engine(url)
        event.listen(engine, "after_cursor_execute", commit)
        return engine

    patch.setattr(town, "create_engine", create)


def a_sealed_day_takes_entries(patch: pytest.MonkeyPatch) -> None:
    """The database's own lock on a sealed day is gone."""

    def unlocked(url: URL) -> Engine:
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP TRIGGER IF EXISTS journal_entry_open_day")
        return engine

    patch.setattr(town, "create_engine", unlocked)


def no_break_is_opened(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(payments, "open_break", lambda *_, **__: True)


def no_break_is_opened_for_a_refund(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(refunds, "open_break", lambda *_, **__: True)


def a_notice_is_acknowledged_but_not_stored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(callbacks, "_store_pending", lambda *_, **__: True)


def a_notice_kept_for_later_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(apply_callbacks, "apply_pending_callbacks", lambda ports: (0, 0))


def a_request_key_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    real = deposits._place_order

    def place(session: Session, request: Any, *, order_no: str, now: Any) -> Any:
        request = replace(request, request_key=order_no)
        return real(session, request, order_no=order_no, now=now)

    patch.setattr(deposits, "_place_order", place)


def a_subsidy_outlives_the_deposit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(refunds, "reverse_opening", lambda *_, **__: True)


def every_subsidy_is_paid_twofold(patch: pytest.MonkeyPatch) -> None:
    real = subsidies.quote_opening_subsidy

    def quote(*args: Any, **kwargs: Any) -> Any:
        quoted = real(*args, **kwargs)
        return replace(quoted, due_fen=2 * quoted.due_fen, paid_fen=2 * quoted.paid_fen)

    patch.setattr(subsidies, "quote_opening_subsidy", quote)


def open_orders_take_no_room(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        deposits,
        "used_this_year_fen",
        lambda session, *, account_id, today: 0,
    )


def orders_of_unknown_outcome_take_no_room(patch: pytest.MonkeyPatch) -> None:
    known = tuple(state for state in OPEN_STATES if state is not OrderState.UNKNOWN)
    patch.setattr(deposit_queries, "OPEN_STATES", known)


def an_order_is_closed_without_the_channel(patch: pytest.MonkeyPatch) -> None:
    closed = Outcome(kind=OutcomeKind.SUCCEEDED, reason=Reason.CLOSED, number="")

    def close(ports: Ports, order: Any, channel: Any) -> Effect:
        said = replace(closed, number=order.order_no)
        return ports.transact(
            lambda session: inquiries.apply_close(
                session, channel=order.channel, outcome=said, now=ports.now()
            )
        )

    patch.setattr(inquiries, "_close_order", close)


def nobody_asks_about_orders(patch: pytest.MonkeyPatch) -> None:
    def resolve(ports: Ports, *, limit: int = 200) -> dict[str, int]:
        return {}

    patch.setattr(resolve_orders, "resolve_orders", resolve)


def a_change_of_an_agreement_applies_at_once(patch: pytest.MonkeyPatch) -> None:
    def current(terms: Any, *, on: date, **_: Any) -> Period:
        return period_of(terms.frequency, on)

    patch.setattr(drafting, "next_open_period", current)


BUGS: tuple[Mutation, ...] = (
    a_repeated_success_credits_again,
    the_amount_is_not_checked,
    a_success_after_the_close_is_ignored,
    an_unknown_answer_to_an_order_counts_as_failed,
    an_unknown_answer_to_a_refund_counts_as_failed,
    an_answer_is_ignored_when_a_notice_came_first,
    a_hold_is_not_released,
    a_refund_reserves_nothing_of_its_deposit,
    a_refund_is_posted_twice,
    a_refund_is_sent_under_a_new_number_each_time,
    half_a_posting_is_committed,
    an_order_moves_in_a_transaction_of_its_own,
    a_sealed_day_takes_entries,
    no_break_is_opened,
    no_break_is_opened_for_a_refund,
    a_notice_is_acknowledged_but_not_stored,
    a_notice_kept_for_later_is_forgotten,
    a_request_key_is_forgotten,
    a_subsidy_outlives_the_deposit,
    every_subsidy_is_paid_twofold,
    open_orders_take_no_room,
    orders_of_unknown_outcome_take_no_room,
    an_order_is_closed_without_the_channel,
    nobody_asks_about_orders,
    a_change_of_an_agreement_applies_at_once,
)

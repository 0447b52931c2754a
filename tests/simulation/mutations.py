"""Bugs put into the product on purpose: a simulation that does not find them is worth nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.orm import Session

from app.domain.callbacks import operations as callbacks
from app.domain.deposits import operations as deposits
from app.domain.inquiries import operations as inquiries
from app.domain.ledger import operations as ledger
from app.domain.ledger.models import Code, EntryKind
from app.domain.ledger.rules import Line
from app.domain.ports import Outcome, OutcomeKind, Ports, Reason
from app.domain.settlement import Effect, payments, refunds
from app.domain.subsidies import operations as subsidies

Mutation = Callable[[pytest.MonkeyPatch], None]


def a_repeated_success_credits_again(patch: pytest.MonkeyPatch) -> None:
    real = payments.apply_payment

    def apply(session: Session, *, channel: str, outcome: Any, now: Any) -> Effect:
        effect = real(session, channel=channel, outcome=outcome, now=now)
        if effect is Effect.DUPLICATE:
            again = f"deposit:{outcome.number}:{now:%H%M%S%f}"
            account_id = (
                session.execute(
                    payments._ORDER_AND_ACCOUNT.where(payments.ORDER.c.order_no == outcome.number)
                )
                .one()
                .account_id
            )
            lines = [
                Line(Code.CHANNEL_CLEARING, outcome.amount_fen, channel=channel),
                Line(Code.CONTRIBUTORS, -outcome.amount_fen, account_id=account_id),
            ]
            kind = EntryKind.DEPOSIT
            ledger.post(session, posting_key=again, kind=kind, memo="", lines=lines, now=now)
        return effect

    patch.setattr(callbacks, "apply_payment", apply)
    patch.setattr(inquiries, "apply_payment", apply)


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


def the_amount_is_not_checked(patch: pytest.MonkeyPatch) -> None:
    real = payments._receive_payment

    def receive(session: Session, order: Any, outcome: Any, *, now: Any) -> Effect:
        outcome = replace(outcome, amount_fen=order.amount_fen)
        return real(session, order, outcome, now=now)

    patch.setattr(payments, "_receive_payment", receive)


def a_hold_is_not_released(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(refunds, "release_hold", lambda session, *, hold_key: None)


def a_refund_is_sent_under_a_new_number_each_time(patch: pytest.MonkeyPatch) -> None:
    real = inquiries.RefundRequest
    serial = itertools.count(1)

    def request(**fields: Any) -> Any:
        return real(**{**fields, "refund_no": f"R{next(serial):031d}"})

    patch.setattr(inquiries, "RefundRequest", request)


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


def half_a_posting_is_committed(patch: pytest.MonkeyPatch) -> None:
    """The journal is committed before the balance moves."""
    real = ledger._move_balance

    def move(session: Session, account_id: int, change_fen: int) -> None:
        connection = session.connection()
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        real(session, account_id, change_fen)

    patch.setattr(ledger, "_move_balance", move)


def a_notice_is_acknowledged_but_not_stored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(callbacks, "_store_pending", lambda *_, **__: True)


def a_request_key_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    real = deposits._place_order

    def place(session: Session, request: Any, *, order_no: str, now: Any) -> Any:
        request = replace(request, request_key=order_no)
        return real(session, request, order_no=order_no, now=now)

    patch.setattr(deposits, "_place_order", place)


def a_subsidy_outlives_the_deposit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(refunds, "reverse_opening", lambda *_, **__: True)


def open_orders_take_no_room(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        deposits,
        "used_this_year_fen",
        lambda session, *, account_id, today: 0,
    )


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

    from app.jobs import resolve_orders

    patch.setattr(resolve_orders, "resolve_orders", resolve)


def every_subsidy_is_paid_twofold(patch: pytest.MonkeyPatch) -> None:
    real = subsidies.quote_opening_subsidy

    def quote(*args: Any, **kwargs: Any) -> Any:
        quoted = real(*args, **kwargs)
        return replace(quoted, due_fen=2 * quoted.due_fen, paid_fen=2 * quoted.paid_fen)

    patch.setattr(subsidies, "quote_opening_subsidy", quote)

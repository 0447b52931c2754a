"""Bugs put into the debits on purpose: a year that does not find them proves nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any

import pytest
from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from app.domain.agreements.models import AgreementTerms
from app.domain.base import table_of
from app.domain.breaks.models import BreakKind
from app.domain.debit_runs import claiming, submitting
from app.domain.debits import moves, planning
from app.domain.debits.rules import SEND, Decision, EndReason, Standing
from app.domain.deposits import queries
from app.domain.inquiries import debits as inquiries
from app.domain.inquiries import operations
from app.domain.payment_orders.models import OrderState
from app.domain.ports import Ports
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.domain.settlement import Effect, payments
from app.domain.settlement.payments import apply_payment
from tests.simulation.mutations import a_repeated_success_credits_again

Mutation = Callable[[pytest.MonkeyPatch], None]

TERMS = table_of(AgreementTerms)


def a_debit_of_unknown_outcome_is_tried_under_a_new_number(patch: pytest.MonkeyPatch) -> None:
    def note(session: Session, outcome: Outcome, *, now: datetime, **_: Any) -> Effect:
        if outcome.kind is not OutcomeKind.UNKNOWN:
            return real(session, outcome, now=now)
        channel = session.scalar(
            select(payments.ORDER.c.channel).where(payments.ORDER.c.order_no == outcome.number)
        )
        failed = replace(outcome, kind=OutcomeKind.FAILED, reason=Reason.BUSY)
        return apply_payment(session, channel=str(channel), outcome=failed, now=now)

    real = submitting.note_submitted
    patch.setattr(submitting, "note_submitted", note)


def what_was_paid_by_hand_is_debited_all_the_same(patch: pytest.MonkeyPatch) -> None:
    def decide(amount_fen: int, standing: Standing) -> Decision:
        decision = real(amount_fen, standing)
        return SEND if decision.end_reason is EndReason.PAID_BY_HAND else decision

    real = claiming.decide
    patch.setattr(claiming, "decide", decide)


def what_was_ended_is_debited_all_the_same(patch: pytest.MonkeyPatch) -> None:
    real = claiming.decide
    patch.setattr(
        claiming,
        "decide",
        lambda amount_fen, standing: real(amount_fen, replace(standing, agreement_ended=False)),
    )


def a_quarter_counts_for_its_first_month_alone(patch: pytest.MonkeyPatch) -> None:
    """The whole sum stands for one month, and the other two are missing."""
    real = queries.spread_periods

    def spread(net_by_period: dict[str, int], **kwargs: Any) -> Any:
        months = {
            f"{key[:4]}-{int(key[-1]) * 3 - 2:02d}" if "Q" in key else key: fen
            for key, fen in net_by_period.items()
        }
        return real(months, **kwargs)

    patch.setattr(queries, "spread_periods", spread)


def an_order_asks_for_what_is_agreed_on_now(patch: pytest.MonkeyPatch) -> None:
    """Not for what was announced: a change after the notice should change nothing."""
    real = claiming.store_attempts

    def store(
        session: Session, sending: Sequence[tuple[Any, Any]], **kwargs: Any
    ) -> list[claiming.Attempt]:
        return real(session, [(_Newest(session, row), to) for row, to in sending], **kwargs)

    patch.setattr(claiming, "store_attempts", store)


class _Newest:
    """An instruction with the amount of its agreement's newest terms."""

    def __init__(self, session: Session, row: Row[Any]) -> None:
        query = (
            select(TERMS.c.amount_fen)
            .where(TERMS.c.agreement_id == row.agreement_id)
            .order_by(TERMS.c.version.desc())
        )
        self._row = row
        self.amount_fen = session.scalars(query).first() or row.amount_fen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._row, name)


def money_after_a_refusal_is_dropped(patch: pytest.MonkeyPatch) -> None:
    real = payments._receive_payment

    def receive(session: Session, order: Any, outcome: Outcome, *, now: datetime) -> Effect:
        if order.state is OrderState.FAILED and order.mandate_id is not None:
            return Effect.DUPLICATE
        return real(session, order, outcome, now=now)

    patch.setattr(payments, "_receive_payment", receive)


def no_break_tells_of_a_second_debit(patch: pytest.MonkeyPatch) -> None:
    real = moves.open_break

    def open_break(session: Session, *, kind: BreakKind, **kwargs: Any) -> bool:
        return kind is not BreakKind.DEBITED_TWICE and real(session, kind=kind, **kwargs)

    patch.setattr(moves, "open_break", open_break)


def nobody_asks_about_debits(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(operations, "resolve_debit", lambda _ports, _order: Effect.NOTHING)


def what_is_not_known_yet_counts_as_refused(patch: pytest.MonkeyPatch) -> None:
    """Under way, or the answer was lost: it may still take the money."""
    real = inquiries.resolve_debit

    def resolve(ports: Ports, order: Row[Any]) -> Effect:
        effect = real(ports, order)
        channel = ports.channels.debiting[order.channel]
        if channel.query_debit(order.order_no).kind is OutcomeKind.SUCCEEDED:
            return effect
        failed = Outcome(kind=OutcomeKind.FAILED, reason=Reason.BUSY, number=order.order_no)
        return ports.transact(
            lambda session: apply_payment(
                session, channel=order.channel, outcome=failed, now=ports.now()
            )
        )

    patch.setattr(operations, "resolve_debit", resolve)


def a_debit_is_sent_on_the_day_it_is_announced(patch: pytest.MonkeyPatch) -> None:
    def first(due: Any, *, planned_on: date, **_: Any) -> date:
        return max(due.due_on - planning.LOOK_BACK, planned_on)

    patch.setattr(planning, "first_attempt_on", first)


BUGS: tuple[Mutation, ...] = (
    a_repeated_success_credits_again,
    a_debit_of_unknown_outcome_is_tried_under_a_new_number,
    what_was_paid_by_hand_is_debited_all_the_same,
    what_was_ended_is_debited_all_the_same,
    a_quarter_counts_for_its_first_month_alone,
    an_order_asks_for_what_is_agreed_on_now,
    money_after_a_refusal_is_dropped,
    no_break_tells_of_a_second_debit,
    nobody_asks_about_debits,
    what_is_not_known_yet_counts_as_refused,
    a_debit_is_sent_on_the_day_it_is_announced,
)

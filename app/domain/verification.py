"""The invariants check over all subjects: the ledger by itself, then what must agree with it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    String,
    case,
    func,
    literal,
    null,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.orm import Session

from app.domain.base import table_of
from app.domain.contributors.models import Contributor
from app.domain.debit_batches.models import DebitBatch
from app.domain.debit_batches.rules import BatchState
from app.domain.debits.verify import verify_debits
from app.domain.ledger.models import Code, EntryKind, Hold, JournalEntry, JournalLine
from app.domain.ledger.verify import Offence, verify_ledger
from app.domain.mandates.models import Mandate, MandateStateChange
from app.domain.payment_orders.models import OPEN_STATES, OrderState, PaymentOrder
from app.domain.refunds.models import Refund, RefundState
from app.domain.subsidies.models import SubsidyGrant

BATCH = table_of(DebitBatch)
CONTRIBUTOR = table_of(Contributor)
ENTRY = table_of(JournalEntry)
GRANT = table_of(SubsidyGrant)
HOLD = table_of(Hold)
MANDATE = table_of(Mandate)
MANDATE_CHANGE = table_of(MandateStateChange)
LINE = table_of(JournalLine)
ORDER = table_of(PaymentOrder)
REFUND = table_of(Refund)

_ENDED_UNPAID = (RefundState.REJECTED, RefundState.FAILED)


def verify_books(session: Session, *, chart: Collection[str]) -> Iterator[Offence]:
    """Yield every contradiction, the ledger's own first."""
    yield from verify_ledger(session, chart=chart)
    yield from _entries_have_their_lines(session)
    for kind, causes in _CAUSES.items():
        entries = _entries(kind)
        yield from _causes_are_posted(session, kind, causes.subquery(), entries)
        if kind is not EntryKind.SUSPENSE_RECEIPT:
            # Money under a number that is not ours waits in suspense too, and has no order.
            yield from _entries_have_causes(session, kind, causes.subquery(), entries)
    yield from _orders_know_their_refunds(session)
    yield from _open_refunds_hold_their_money(session)
    yield from _people_know_their_subsidies(session)
    yield from _mandates_agree_with_their_history(session)
    yield from _batches_agree_with_their_debits(session)
    yield from verify_debits(session)


def _cause(
    prefix: str,
    number: ColumnElement[str],
    suffix: str,
    account_id: ColumnElement[Any],
    amount_fen: ColumnElement[int],
) -> Select[Any]:
    key = literal(prefix) + number + literal(suffix)
    return select(
        key.label("posting_key"),
        account_id.label("account_id"),
        amount_fen.label("amount_fen"),
    )


_CAUSES: dict[EntryKind, Select[Any]] = {
    EntryKind.DEPOSIT: _cause(
        "deposit:", ORDER.c.order_no, "", ORDER.c.account_id, ORDER.c.amount_fen
    ).where(ORDER.c.state == OrderState.SUCCEEDED),
    EntryKind.SUSPENSE_RECEIPT: _cause(
        "suspense:", ORDER.c.order_no, "", null(), ORDER.c.amount_fen
    ).where(ORDER.c.state == OrderState.IN_SUSPENSE),
    EntryKind.DEPOSIT_REFUND: _cause(
        "refund:", REFUND.c.refund_no, "", REFUND.c.account_id, REFUND.c.amount_fen
    ).where(REFUND.c.state == RefundState.SUCCEEDED),
    EntryKind.OPENING_SUBSIDY: _cause(
        "", GRANT.c.grant_key, "", GRANT.c.account_id, GRANT.c.paid_fen
    ).where(GRANT.c.paid_fen > 0),
    EntryKind.OPENING_SUBSIDY_REVERSAL: _cause(
        "", GRANT.c.grant_key, ":reversal", GRANT.c.account_id, GRANT.c.paid_fen
    ).where(GRANT.c.paid_fen > 0, GRANT.c.reversed_on.is_not(None)),
}
"""What each kind of entry must come from: its posting key, its account, its amount."""


_SIDES: dict[EntryKind, tuple[Code, Code]] = {
    EntryKind.DEPOSIT: (Code.CHANNEL_CLEARING, Code.CONTRIBUTORS),
    EntryKind.SUSPENSE_RECEIPT: (Code.CHANNEL_CLEARING, Code.SUSPENSE_RECEIPTS),
    EntryKind.DEPOSIT_REFUND: (Code.CONTRIBUTORS, Code.CHANNEL_CLEARING),
    EntryKind.OPENING_SUBSIDY: (Code.OPENING_SUBSIDY_EXPENSE, Code.CONTRIBUTORS),
    EntryKind.OPENING_SUBSIDY_REVERSAL: (Code.CONTRIBUTORS, Code.OPENING_SUBSIDY_EXPENSE),
}
"""What each kind of entry debits and credits, by one line each."""


def _entries_have_their_lines(session: Session) -> Iterator[Offence]:
    """Without this, money could be credited under a kind that needs no cause, or to two people."""
    fits = or_(
        *(
            (ENTRY.c.kind == kind)
            & (LINE.c.code == case((LINE.c.amount_fen > 0, debit), else_=credit))
            for kind, (debit, credit) in _SIDES.items()
        )
    )
    fitting = func.sum(case((fits, 1), else_=0))
    wrong = (
        # As text: a kind that does not exist must be named, and not fail to be read.
        select(ENTRY.c.posting_key, type_coerce(ENTRY.c.kind, String), fitting, func.count())
        .join_from(ENTRY, LINE, LINE.c.entry_id == ENTRY.c.id)
        .group_by(ENTRY.c.id, ENTRY.c.posting_key, ENTRY.c.kind)
        .having(or_(func.count() != 2, fitting != 2))
        .order_by(ENTRY.c.id)
    )
    for posting_key, kind, found, count in session.execute(wrong):
        yield Offence(f"{kind}_with_other_lines", posting_key, "2/2", f"{found}/{count}")


def _entries(kind: EntryKind) -> FromClause:
    debit_fen = func.sum(case((LINE.c.amount_fen > 0, LINE.c.amount_fen), else_=0))
    return (
        select(
            ENTRY.c.posting_key,
            func.max(LINE.c.account_id).label("account_id"),
            debit_fen.label("amount_fen"),
        )
        .join_from(ENTRY, LINE, LINE.c.entry_id == ENTRY.c.id)
        .where(ENTRY.c.kind == kind)
        .group_by(ENTRY.c.posting_key)
        .subquery()
    )


def _causes_are_posted(
    session: Session, kind: EntryKind, cause: FromClause, entry: FromClause
) -> Iterator[Offence]:
    wrong = (
        select(cause, entry.c.account_id.label("found_id"), entry.c.amount_fen.label("found_fen"))
        .join_from(cause, entry, entry.c.posting_key == cause.c.posting_key, isouter=True)
        .where(
            or_(
                entry.c.amount_fen.is_(None),
                entry.c.amount_fen != cause.c.amount_fen,
                entry.c.account_id.is_distinct_from(cause.c.account_id),
            )
        )
    )
    for row in session.execute(wrong):
        yield Offence(
            f"{kind}_not_posted_once",
            row.posting_key,
            f"{row.amount_fen} #{row.account_id}",
            f"{row.found_fen} #{row.found_id}",
        )


def _entries_have_causes(
    session: Session, kind: EntryKind, cause: FromClause, entry: FromClause
) -> Iterator[Offence]:
    # Not a join, which MariaDB would make by comparing every entry with every cause.
    uncaused = select(entry.c.posting_key, entry.c.amount_fen).where(
        entry.c.posting_key.not_in(select(cause.c.posting_key))
    )
    for posting_key, found in session.execute(uncaused):
        yield Offence(f"{kind}_without_cause", posting_key, "none", str(found))


def _orders_know_their_refunds(session: Session) -> Iterator[Offence]:
    def total(*states: RefundState) -> ColumnElement[int]:
        return func.sum(case((REFUND.c.state.in_(states), REFUND.c.amount_fen), else_=0))

    reserving = tuple(state for state in RefundState if state not in _ENDED_UNPAID)
    wrong = (
        select(
            ORDER.c.order_no,
            ORDER.c.refunded_fen,
            ORDER.c.refund_reserved_fen,
            total(RefundState.SUCCEEDED).label("refunded"),
            total(*reserving).label("reserved"),
        )
        .join_from(ORDER, REFUND, REFUND.c.order_id == ORDER.c.id, isouter=True)
        .group_by(ORDER.c.id, ORDER.c.order_no, ORDER.c.refunded_fen, ORDER.c.refund_reserved_fen)
        .having(
            or_(
                ORDER.c.refunded_fen != total(RefundState.SUCCEEDED),
                ORDER.c.refund_reserved_fen != total(*reserving),
            )
        )
    )
    for row in session.execute(wrong):
        yield Offence(
            "order_differs_from_refunds",
            row.order_no,
            f"{row.refunded}/{row.reserved}",
            f"{row.refunded_fen}/{row.refund_reserved_fen}",
        )


def _open_refunds_hold_their_money(session: Session) -> Iterator[Offence]:
    ended = (*_ENDED_UNPAID, RefundState.SUCCEEDED)
    wrong = (
        select(
            REFUND.c.refund_no,
            type_coerce(REFUND.c.state, String),
            REFUND.c.amount_fen,
            HOLD.c.amount_fen,
        )
        .join_from(
            REFUND,
            HOLD,
            (HOLD.c.hold_key == literal("refund:") + REFUND.c.refund_no)
            & (HOLD.c.account_id == REFUND.c.account_id),
            isouter=True,
        )
        .where(
            or_(
                REFUND.c.state.in_(ended) & HOLD.c.id.is_not(None),
                REFUND.c.state.not_in(ended) & HOLD.c.id.is_(None),
                HOLD.c.amount_fen != REFUND.c.amount_fen,
            )
        )
    )
    for refund_no, state, amount_fen, held_fen in session.execute(wrong):
        yield Offence("refund_differs_from_hold", refund_no, f"{state} {amount_fen}", str(held_fen))


def _people_know_their_subsidies(session: Session) -> Iterator[Offence]:
    live = GRANT.c.id.is_not(None) & GRANT.c.reversed_on.is_(None)
    total = func.sum(case((live, GRANT.c.paid_fen), else_=0))
    wrong = (
        select(CONTRIBUTOR.c.id, CONTRIBUTOR.c.subsidy_paid_fen, total)
        .join_from(CONTRIBUTOR, GRANT, GRANT.c.contributor_id == CONTRIBUTOR.c.id, isouter=True)
        .group_by(CONTRIBUTOR.c.id, CONTRIBUTOR.c.subsidy_paid_fen)
        .having(CONTRIBUTOR.c.subsidy_paid_fen != total)
    )
    for person_id, stored, found in session.execute(wrong):
        yield Offence(
            "subsidies_differ_from_grants", f"contributor #{person_id}", str(found), str(stored)
        )


def _mandates_agree_with_their_history(session: Session) -> Iterator[Offence]:
    """A mandate in force is a permission to take money: each must say how it came to be."""
    change = MANDATE_CHANGE
    changes = (
        select(
            change.c.mandate_id,
            func.count().label("count"),
            func.max(change.c.number).label("last"),
        )
        .group_by(change.c.mandate_id)
        .subquery()
    )
    wrong = (
        select(
            MANDATE.c.mandate_no,
            type_coerce(MANDATE.c.state, String),
            MANDATE.c.move_count,
            type_coerce(change.c.to_state, String),
            changes.c.count,
        )
        .join_from(MANDATE, changes, changes.c.mandate_id == MANDATE.c.id, isouter=True)
        .join(
            change,
            (change.c.mandate_id == MANDATE.c.id) & (change.c.number == changes.c.last),
            isouter=True,
        )
        .where(
            or_(
                change.c.to_state.is_(None),
                change.c.to_state != MANDATE.c.state,
                changes.c.count != MANDATE.c.move_count,
                changes.c.last != changes.c.count,
            )
        )
        .order_by(MANDATE.c.id)
    )
    for mandate_no, state, moves, told, count in session.execute(wrong):
        yield Offence(
            "mandate_differs_from_history", mandate_no, f"{told} {count}", f"{state} {moves}"
        )


def _batches_agree_with_their_debits(session: Session) -> Iterator[Offence]:
    """What the bank was told in a file is what the orders say, and a closed file is closed."""
    count, sum_fen = func.count(ORDER.c.id), func.coalesce(func.sum(ORDER.c.amount_fen), 0)
    last = func.coalesce(func.max(ORDER.c.batch_place), 0)
    still_open = func.sum(case((ORDER.c.state.in_(OPEN_STATES), 1), else_=0))
    state = type_coerce(BATCH.c.state, String)
    wrong = (
        select(BATCH.c.id, state, BATCH.c.line_count, BATCH.c.sum_fen, count, sum_fen, still_open)
        .join_from(BATCH, ORDER, ORDER.c.batch_id == BATCH.c.id, isouter=True)
        .group_by(BATCH.c.id, BATCH.c.state, BATCH.c.line_count, BATCH.c.sum_fen)
        .having(
            or_(
                BATCH.c.line_count != count,
                BATCH.c.line_count != last,
                BATCH.c.sum_fen != sum_fen,
                BATCH.c.state.in_((BatchState.SETTLED, BatchState.REJECTED)) & (still_open > 0),
            )
        )
        .order_by(BATCH.c.id)
    )
    for batch_id, stands, line_count, total_fen, found, found_fen, opens in session.execute(wrong):
        yield Offence(
            "batch_differs_from_debits",
            f"debit batch #{batch_id}",
            f"{found} {found_fen} open {opens or 0}",
            f"{line_count} {total_fen} {stands}",
        )

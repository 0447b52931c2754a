"""What a mandate that is asked for will be: its caps by the agreement, its payer, what stops it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.agreements.rules import DebitChannel, dues_between
from app.domain.agreements.timelines import find_live, read_spans, suspension_of, yearly_cap_of
from app.domain.agreements.wording import CHANNEL_TEXTS
from app.domain.calendar import day_bounds
from app.domain.mandates.models import Mandate, Slot
from app.domain.mandates.payers import CardGiven, Payer, check_own_card
from app.domain.mandates.rules import (
    CLAUSE,
    CardNotTaken,
    CardRequired,
    MandateBeingSigned,
    MandateState,
    MandateUndecided,
    NothingToDebit,
    TooManyStarts,
    check_cap,
    needed_cap_fen,
)
from app.domain.pii import Vault
from app.domain.ports.mandates import Cycle, MandateLimits

DUE_AHEAD = timedelta(days=800)
"""Beyond the first debit of any agreement that can be signed today."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MandateWish:
    """A mandate that a contributor asks for.

    Attributes:
        payer_ref: their id at a wallet; None for a bank.
        cap_fen: the most for one debit; None for what the agreement needs.
    """

    account_id: int
    contributor_id: int
    channel: DebitChannel
    request_key: str
    payer_ref: str | None = field(default=None, repr=False)
    card: CardGiven | None = None
    cap_fen: int | None = None


def fit_to_agreement(
    session: Session, wish: MandateWish, *, limits: MandateLimits, on: date
) -> tuple[int, Cycle, date]:
    """Return cap, cycle and first debit for the live agreement, if the channel can debit them.

    Raises:
        NothingToDebit: no agreement, or one without debits.
        Everything that `check_cap` raises.
    """
    agreement = find_live(session, wish.account_id)
    if agreement is None:
        raise NothingToDebit("请先签订按月或按季的缴存协议，再办理自动扣款签约", clause=CLAUSE)
    spans = read_spans(session, agreement.id)
    needed_fen, cycle = needed_cap_fen(spans, on=on)
    cap_fen = needed_fen if wish.cap_fen is None else wish.cap_fen
    check_cap(
        cap_fen,
        needed_fen=needed_fen,
        cycle=cycle,
        limits=limits,
        yearly_cap_fen=yearly_cap_of(session, on.year),
        channel_text=CHANNEL_TEXTS[wish.channel],
    )
    suspension = suspension_of(agreement)
    due_days = [
        due.due_on
        for due in dues_between(spans, first=on, last=on + DUE_AHEAD)
        if suspension is None or not suspension.covers(due.due_on)
    ]
    if not due_days:
        raise NothingToDebit("缴存协议近期没有扣款，无需签约", clause=CLAUSE)
    return cap_fen, cycle, due_days[0]


def payer_of(
    session: Session, vault: Vault, wish: MandateWish, *, limits: MandateLimits, on: date
) -> Payer:
    """Return whom the channel will debit.

    Raises:
        CardRequired, CardNotTaken: the channel debits cards, or none.
        Everything that `check_own_card` raises.
    """
    if not limits.needs_card:
        if wish.card is not None:
            raise CardNotTaken(field="card")
        return Payer(payer_ref=wish.payer_ref)
    if wish.card is None:
        raise CardRequired(field="card")
    return Payer(
        card=check_own_card(session, vault, account_id=wish.account_id, card=wish.card, on=on)
    )


def check_starts(session: Session, wish: MandateWish, *, on: date, starts_max: int) -> None:
    """Refuse a person one more card on a day: whose cards exist is not to be found out here.

    Raises:
        TooManyStarts: so many were checked already.
    """
    begins, ends = day_bounds(on)
    today = session.scalar(
        select(func.count()).where(
            Mandate.account_id == wish.account_id,
            Mandate.card_tail.is_not(None),
            Mandate.created_at >= begins,
            Mandate.created_at < ends,
        )
    )
    if (today or 0) >= starts_max:
        raise TooManyStarts


def check_nothing_being_signed(session: Session, wish: MandateWish) -> None:
    """Refuse to sign a second mandate at a channel while one is being signed.

    Raises:
        MandateBeingSigned: it waits for the person.
        MandateUndecided: it waits for the channel.
    """
    signing = session.scalars(
        select(Mandate.state).where(
            Mandate.account_id == wish.account_id,
            Mandate.channel == wish.channel,
            Mandate.slot == Slot.SIGNING,
        )
    ).one_or_none()
    if signing is None:
        return
    raise MandateBeingSigned if signing is MandateState.AWAITING else MandateUndecided


def digest_wish(vault: Vault, wish: MandateWish) -> bytes:
    """Return the fingerprint by which a repeated request is told from a reused key."""
    card = wish.card
    fields = [wish.channel, str(wish.cap_fen)]
    if card is not None:
        fields += [card.card_no, card.holder_name, card.phone]
        fields += [card.document_kind or "", card.document_no or ""]
    return vault.blind_index("\n".join(fields), context="mandate.request")

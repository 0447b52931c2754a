"""Signing and ending a mandate (签约、解约): store, call the channel, store its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.agreements.rules import DebitChannel
from app.domain.agreements.wording import CHANNEL_TEXTS
from app.domain.calendar import business_day
from app.domain.contributors.models import Account, AccountStatus
from app.domain.deposits.rules import AccountNotUsable, IdempotencyKeyReused
from app.domain.errors import Conflict, NotFound
from app.domain.mandates.drafting import (
    MandateWish,
    check_nothing_being_signed,
    check_starts,
    digest_wish,
    fit_to_agreement,
    payer_of,
)
from app.domain.mandates.models import Mandate, Slot
from app.domain.mandates.moves import NOT_FOUND, end, lock, write_state_down
from app.domain.mandates.operations import MandateEffect, apply_mandate_answer
from app.domain.mandates.payers import CONTEXT, open_payer
from app.domain.mandates.rules import (
    IN_FORCE,
    SIGNABLE_FOR,
    EndReason,
    Hearing,
    MandatesNotOffered,
    MandateState,
    MandateUndecided,
    SigningExpired,
    TooManyCodes,
    WrongCode,
)
from app.domain.payment_orders.rules import FIRST_QUERY_AFTER
from app.domain.periods import add_months
from app.domain.pii import Vault
from app.domain.policy.queries import Policy
from app.domain.ports import Ports
from app.domain.ports.mandates import (
    EndedBy,
    MandateAnswer,
    MandateLimits,
    MandateRequest,
    Mandates,
    MandateStanding,
)
from app.domain.ports.outcomes import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    mandate_no: str
    must_send: bool
    """The channel has not answered the start yet, as far as we know."""
    move_count: int
    request: MandateRequest


def mandating_channel(ports: Ports, channel: DebitChannel) -> Mandates:
    """Return the channel, if mandates can be signed there.

    Raises:
        MandatesNotOffered: it cannot debit, or is not configured.
    """
    found = ports.channels.mandating.get(channel)
    if found is None:
        raise MandatesNotOffered(
            f"{CHANNEL_TEXTS[channel]}暂未开通自动扣款签约，请选择其他渠道", field="channel"
        )
    return found


def start_mandate(ports: Ports, *, wish: MandateWish) -> str:
    """Begin to sign a mandate for the live agreement's debits.

    Source: 试点方案 第二条. The same request key again returns the same mandate, and begins it
    again at the channel (under the same number) if the first answer was lost.

    Returns: the mandate_no.
    Raises:
        MandatesNotOffered, CapTooLow, CapTooHigh: the channel's product or the rules refuse.
        NothingToDebit: no agreement, or one without debits.
        CardRequired, CardNotTaken and what `check_own_card` raises.
        MandateBeingSigned: another one is being signed at this channel.
        TooManyStarts: no further card is checked for this person today.
        AccountNotUsable, ProgrammeNotInForce, NoPolicyValue: nothing is debited for them now.
        IdempotencyKeyReused: the key came before with another content.
    """
    channel = mandating_channel(ports, wish.channel)
    mandate_no = ports.new_number("M")
    stored = ports.transact(
        lambda session: _store(session, ports, wish, limits=channel.limits, mandate_no=mandate_no)
    )
    if stored.must_send:
        answer = channel.start_mandate(stored.request)
        _apply(ports, wish.channel, answer, asked_at_move=stored.move_count)
    return stored.mandate_no


def signing_action(ports: Ports, *, account_id: int, mandate_no: str) -> Mapping[str, str]:
    """Return what the phone hands to the wallet; empty where there is nothing to sign there.

    Raises:
        NotFound: no such mandate of this account.
    """

    def look(session: Session) -> tuple[str, MandateRequest | None]:
        mandate = _own(session, account_id, mandate_no)
        waits = mandate.state is MandateState.AWAITING and ports.now() < mandate.expires_at
        request = _stored(session, ports.vault, mandate).request if waits else None
        return mandate.channel, request

    channel_name, request = ports.read(look)
    channel = ports.channels.mandating.get(channel_name)
    return {} if request is None or channel is None else channel.signing_action(request)


def confirm_mandate(ports: Ports, *, account_id: int, mandate_no: str, code: str) -> None:
    """Show the channel the code that the person got; every try counts, right or wrong.

    Does nothing to a mandate that is in force already.

    Raises:
        NotFound: no such mandate of this account.
        WrongCode: says how many tries are left.
        TooManyCodes: none is taken any more; the channel is not asked.
        SigningExpired, MandateUndecided, Conflict: nothing can be confirmed.
    """
    claimed = ports.transact(
        lambda session: _claim_try(session, account_id, mandate_no, now=ports.now())
    )
    if claimed is None:
        return
    channel_name, start_reference, move_count, tries_left = claimed
    channel = mandating_channel(ports, channel_name)
    answer = channel.confirm_mandate(
        mandate_no=mandate_no, start_reference=start_reference, code=code
    )
    _apply(ports, channel_name, answer, asked_at_move=move_count)
    refused = answer.standing is MandateStanding.AWAITING
    if refused and (answer.reason is Reason.TOO_MANY_TRIES or tries_left == 0):
        raise TooManyCodes
    if refused:
        raise WrongCode(
            f"验证码不正确，还可尝试 {tries_left} 次", field="code", tries_left=tries_left
        )


def end_mandate(ports: Ports, *, account_id: int, contributor_id: int, mandate_no: str) -> None:
    """End one's own mandate, or call its signing off; a second time changes nothing.

    It is over for us at once. If the channel does not answer, a job goes on telling it.

    Raises:
        NotFound: no such mandate of this account.
        MandateUndecided: it is not known yet whether it was signed.
    """

    def work(session: Session) -> tuple[DebitChannel, str | None, int] | None:
        mandate = _own(session, account_id, mandate_no, locked=True)
        if mandate.state in {MandateState.SENDING, MandateState.UNKNOWN}:
            raise MandateUndecided
        if mandate.state not in {MandateState.AWAITING, *IN_FORCE}:
            return None
        end(
            session,
            mandate,
            ended_by=EndedBy.CONTRIBUTOR,
            end_reason=EndReason.ASKED,
            by=f"contributor:{contributor_id}",
            because="缴存人申请解约",
            at=ports.now(),
        )
        return DebitChannel(mandate.channel), mandate.reference, mandate.move_count

    ended = ports.transact(work)
    if ended is None:
        return
    channel_name, reference, move_count = ended
    channel = ports.channels.mandating.get(channel_name)
    if channel is not None:
        answer = channel.end_mandate(mandate_no=mandate_no, reference=reference)
        _apply(ports, channel_name, answer, asked_at_move=move_count)


def _apply(
    ports: Ports, channel: DebitChannel, answer: MandateAnswer, *, asked_at_move: int
) -> MandateEffect:
    return ports.transact(
        lambda session: apply_mandate_answer(
            session,
            ports.vault,
            channel=channel,
            answer=answer,
            hearing=Hearing.CALL,
            asked_at_move=asked_at_move,
            now=ports.now(),
        )
    )


def _store(
    session: Session, ports: Ports, wish: MandateWish, *, limits: MandateLimits, mandate_no: str
) -> _Stored:
    # Two requests of one person wait for each other; where they can't, the keys below decide.
    account = session.get_one(
        Account, wish.account_id, with_for_update=True, populate_existing=True
    )
    now, vault = ports.now(), ports.vault
    earlier = _find_earlier(session, vault, wish)
    if earlier is not None:
        return _stored(session, vault, earlier)
    today = business_day(now)
    policy = Policy.on(session, today)
    if account.status is not AccountStatus.NORMAL:
        raise AccountNotUsable
    policy.programme.check_open()
    cap_fen, cycle, first_due_on = fit_to_agreement(session, wish, limits=limits, on=today)
    payer = payer_of(session, vault, wish, limits=limits, on=today)
    if payer.card is not None:
        check_starts(session, wish, on=today, starts_max=policy.mandate.starts_per_day_max)
    check_nothing_being_signed(session, wish)
    validity = policy.mandate.validity_months
    mandate = Mandate(
        mandate_no=mandate_no,
        account_id=wish.account_id,
        channel=wish.channel,
        state=MandateState.SENDING,
        slot=Slot.SIGNING,
        cap_fen=cap_fen,
        period_cap_fen=cap_fen,
        cycle=cycle,
        first_due_on=first_due_on,
        valid_from=today,
        valid_to=add_months(today.replace(day=1), validity) - timedelta(days=1),
        payer=vault.seal(payer.write(), context=CONTEXT),
        key_id=vault.active_key_id,
        card_tail=payer.card_tail,
        request_key=wish.request_key,
        request_digest=digest_wish(vault, wish),
        created_at=now,
        expires_at=now + SIGNABLE_FOR,
        changed_at=now,
        move_count=0,
        next_query_at=now + FIRST_QUERY_AFTER,
    )
    session.add(mandate)
    session.flush()
    write_state_down(
        session,
        mandate,
        None,
        by=f"contributor:{wish.contributor_id}",
        because="缴存人申请签约",
        at=now,
    )
    return _stored(session, vault, mandate)


def _find_earlier(session: Session, vault: Vault, wish: MandateWish) -> Mandate | None:
    earlier = session.scalars(
        select(Mandate).where(
            Mandate.account_id == wish.account_id, Mandate.request_key == wish.request_key
        )
    ).one_or_none()
    if earlier is not None and earlier.request_digest != digest_wish(vault, wish):
        raise IdempotencyKeyReused
    return earlier


def _claim_try(
    session: Session, account_id: int, mandate_no: str, *, now: datetime
) -> tuple[DebitChannel, str, int, int] | None:
    """Count one try before it is made, and return channel, serial, move count and tries left."""
    mandate = _own(session, account_id, mandate_no, locked=True)
    if mandate.state in IN_FORCE:
        return None
    if mandate.state in {MandateState.SENDING, MandateState.UNKNOWN}:
        raise MandateUndecided
    if mandate.state is not MandateState.AWAITING or mandate.start_reference is None:
        raise Conflict("该签约无需验证码或已结束")
    if now >= mandate.expires_at:
        raise SigningExpired
    tries_max = Policy.on(session, business_day(now)).mandate.code_tries_max
    if mandate.confirm_count >= tries_max:
        raise TooManyCodes
    mandate.confirm_count += 1
    session.flush()
    return (
        DebitChannel(mandate.channel),
        mandate.start_reference,
        mandate.move_count,
        tries_max - mandate.confirm_count,
    )


def _own(session: Session, account_id: int, mandate_no: str, *, locked: bool = False) -> Mandate:
    own = select(Mandate).where(Mandate.mandate_no == mandate_no)
    found = lock(session, mandate_no) if locked else session.scalars(own).one_or_none()
    if found is None or found.account_id != account_id:
        raise NotFound(NOT_FOUND)
    return found


def _stored(session: Session, vault: Vault, mandate: Mandate) -> _Stored:
    account_no = session.scalars(
        select(Account.account_no).where(Account.id == mandate.account_id)
    ).one()
    payer = open_payer(vault, mandate.payer)
    return _Stored(
        mandate_no=mandate.mandate_no,
        must_send=mandate.state is MandateState.SENDING
        or (mandate.state is MandateState.UNKNOWN and mandate.confirm_count == 0),
        move_count=mandate.move_count,
        request=MandateRequest(
            mandate_no=mandate.mandate_no,
            cap_fen=mandate.cap_fen,
            period_cap_fen=mandate.period_cap_fen,
            cycle=mandate.cycle,
            first_due_on=mandate.first_due_on,
            valid_from=mandate.valid_from,
            valid_to=mandate.valid_to,
            display_name=f"公积金账户尾号{account_no[-4:]}",
            payer_ref=payer.payer_ref,
            card=payer.card,
        ),
    )

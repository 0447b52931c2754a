"""Misfortunes: what chance alone would bring about once in a thousand lives, arranged on purpose.

Each befalls a newcomer in the midst of all the others. Chance spares them; a flow's `fate` names
the faults that strike it next, in order, each where it can. What the others do stays with chance,
so that a misfortune may still come to nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from app.domain.inquiries.operations import release_refund
from app.domain.refunds import operations as refunds
from tests.simulation import people
from tests.simulation.agreements import sign_and_change
from tests.simulation.channel import Trade
from tests.simulation.database import CAP_FEN
from tests.simulation.people import STAFF, Person
from tests.simulation.world import LAST_LEAP, NoAnswer

if TYPE_CHECKING:
    from tests.simulation.town import Town

Misfortune = Callable[["Town", Person], None]

AMOUNT_FEN = 20_000


def an_unknown_order_is_paid_in_silence(town: Town, person: Person) -> None:
    """The first answer is lost, and so is every notice of the payment: only asking can tell."""
    order = _order(town, person, AMOUNT_FEN, "answer lost")
    if order is not None:
        _pay(town, person, order)
        _silence(town, person, order.order_no)


def the_cap_is_asked_for_twice(town: Town, person: Person) -> None:
    """All that a year takes is ordered again while nobody knows what became of the first order."""
    first = _order(town, person, CAP_FEN[town.year], "answer lost")
    second = _order(town, person, CAP_FEN[town.year])
    for trade in (first, second):
        if trade is not None:
            _pay(town, person, trade)


def an_order_is_sent_again(town: Town, person: Person) -> None:
    """The same request comes once more, under the same key, although it was answered."""
    if _order(town, person, AMOUNT_FEN) is not None:
        people.order(town, person, AMOUNT_FEN, next(reversed(person.orders)), pays=False)


def somebody_pays_after_the_end(town: Town, person: Person) -> None:
    """The order has expired and was asked about; the channel takes money unless it was closed."""
    order = _order(town, person, AMOUNT_FEN)
    if order is None:
        return
    town.world.sleep(1_860)
    town.run_job("resolve-orders")
    _pay(town, person, order)


def a_closed_order_is_paid_all_the_same(town: Town, person: Person) -> None:
    """The channel has said that it is closed, and takes money for it later."""
    order = _order(town, person, AMOUNT_FEN)
    if order is None:
        return
    town.world.sleep(1_860)
    town.run_job("resolve-orders")
    if order.state == "closed":
        town.channels[person.platform].pay_although_closed(order)


def a_refund_goes_out_in_the_dark(town: Town, person: Person) -> None:
    """Neither the answer to the refund nor the one to the question after it arrives."""
    order = _deposit(town, person)
    refund_no = order and _ask_back(town, person, order)
    if not refund_no:
        return
    town.world.doom("answer lost")
    _release(town, refund_no)
    town.world.sleep(60)
    town.world.doom("request lost")
    town.run_job("resolve-refunds")


def two_refunds_of_one_deposit(town: Town, person: Person) -> None:
    """Somebody asks for all of a deposit twice, under two keys, with money of another one there."""
    order = _deposit(town, person)
    if order is not None and _deposit(town, person) is not None:
        for _ in range(2):
            refund_no = _ask_back(town, person, order)
            if refund_no:
                _release(town, refund_no)


def the_only_deposit_is_given_back(town: Town, person: Person) -> None:
    """The opening subsidy goes with it, as the next deposit is a first one again."""
    order = _deposit(town, person)
    refund_no = order and _ask_back(town, person, order)
    if refund_no:
        _release(town, refund_no)
        refund = town.refund_of(refund_no)
        if refund is not None and refund.state == "processing":
            town.channels[person.platform].end_refund(refund, "done")


def a_notice_is_kept_but_not_applied(town: Town, person: Person) -> None:
    """The disk is full when it is applied, but not when it is stored; perhaps we die just then."""
    order = _order(town, person, AMOUNT_FEN)
    if order is not None:
        _pay(town, person, order)
        fate = town.random.choice([1, 1, 2]) * ["disk full"]
        _deliver(town, person, order, *fate, *town.random.choice([[], ["crash after COMMIT"]]))
        town.world.doom("crash before COMMIT")
        town.run_job("apply-callbacks")


def a_notice_is_half_applied(town: Town, person: Person) -> None:
    """The process dies before the COMMIT of a first deposit, and its repeat is a day late."""
    order = _order(town, person, AMOUNT_FEN)
    if order is not None:
        _pay(town, person, order)
        _deliver(town, person, order, "crash before COMMIT")


def money_comes_on_a_day_that_is_sealed(town: Town, person: Person) -> None:
    """Midnight, the seal, and then a clock that runs behind dates a payment on the day before."""
    order = _order(town, person, AMOUNT_FEN)
    if order is None or town.night or town.world.now >= LAST_LEAP:
        return
    town.night = True
    _pay(town, person, order)
    after = town.world.now.replace(hour=16, minute=11, second=0)
    town.world.now = after if after > town.world.now else after + timedelta(days=1)
    for _ in range(2):
        town.run_job("seal-days")
    town.set_the_clock_back()
    _deliver(town, person, order)
    town.night = False


def an_agreement_is_changed_at_once(town: Town, person: Person) -> None:
    """Terms of the running period stand, whatever is signed in the midst of it."""
    if people.come_in(town, person):
        sign_and_change(town, person)


# -- the pieces ------------------------------------------------------------------------------------


def _order(town: Town, person: Person, amount_fen: int, *fate: str) -> Trade | None:
    """Order until the channel knows of it; None when it does not come to that."""
    if not person.account_id and not people.come_in(town, person):
        return None
    key = f"key-{next(town.serial):06d}"
    person.attempts_fen[key] = amount_fen
    town.world.doom(*fate)
    people.order(town, person, amount_fen, key, pays=False)
    number = person.orders.get(key)
    return town.trade_of(number) if number else None


def _pay(town: Town, person: Person, order: Trade) -> None:
    """Pay, however late it has become meanwhile: nobody has closed the order yet, or it fails."""
    town.channels[person.platform].pay(order.order_no, patience=timedelta(days=365))


def _deposit(town: Town, person: Person) -> Trade | None:
    order = _order(town, person, AMOUNT_FEN)
    if order is not None:
        _pay(town, person, order)
        _deliver(town, person, order)
    return order


def _deliver(town: Town, person: Person, order: Trade, *fate: str) -> None:
    """Have one notice of a payment delivered now, with this fate."""
    channel = town.channels[person.platform]
    for notice in [n for n in channel.notices if n.number == order.order_no][:1]:
        channel.notices.remove(notice)
        town.world.doom(*fate)
        people.deliver(town, channel, notice)


def _silence(town: Town, person: Person, number: str) -> None:
    """Lose every notice about a number that the channel is not bound to repeat."""
    channel = town.channels[person.platform]
    channel.notices = [n for n in channel.notices if n.sure or n.number != number]


def _ask_back(town: Town, person: Person, order: Trade) -> str | None:
    application = refunds.RefundApplication(
        order_no=order.order_no,
        account_id=person.account_id,
        amount_fen=order.amount_fen,
        reason=refunds.RefundReason.DUPLICATE,
        note="重复缴存",
        maker=f"contributor:{person.contributor_id}",
        request_key=f"key-{next(town.serial):06d}",
    )
    try:
        return town.insist(partial(refunds.request_refund, application=application))
    except (refunds.NotRefundable, refunds.AccountFrozen):
        return None


def _release(town: Town, refund_no: str) -> None:
    try:
        town.request(
            partial(release_refund, refund_no=refund_no, checker_id=STAFF[0], note="已核对")
        )
    except (NoAnswer, people.Conflict, refunds.AccountFrozen):
        return


MISFORTUNES: tuple[Misfortune, ...] = (
    an_unknown_order_is_paid_in_silence,
    the_cap_is_asked_for_twice,
    an_order_is_sent_again,
    somebody_pays_after_the_end,
    a_closed_order_is_paid_all_the_same,
    a_refund_goes_out_in_the_dark,
    two_refunds_of_one_deposit,
    the_only_deposit_is_given_back,
    a_notice_is_kept_but_not_applied,
    a_notice_is_half_applied,
    money_comes_on_a_day_that_is_sealed,
    an_agreement_is_changed_at_once,
)

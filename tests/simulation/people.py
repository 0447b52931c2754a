"""What people do: enrol, pay in, ask for money back, decide on it; and what a forger tries."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import update

from app.domain.account_overview import account_overview
from app.domain.base import table_of
from app.domain.callbacks.operations import receive_callback
from app.domain.contributors.facts import Children, DeclaredFacts, Degree, DegreeLevel
from app.domain.contributors.models import Account, AccountStatus
from app.domain.contributors.operations import IdentityAlreadyBound, declare_facts, enrol
from app.domain.deposits.operations import DepositRequest, start_deposit
from app.domain.deposits.queries import DepositView
from app.domain.deposits.rules import AccountNotUsable, IdempotencyKeyReused, YearlyCapExceeded
from app.domain.errors import Conflict
from app.domain.inquiries.operations import release_refund
from app.domain.payment_orders.models import OrderState
from app.domain.ports import Ports
from app.domain.ports.callbacks import RawCallback
from app.domain.refunds import operations as refunds
from app.domain.refunds.models import RefundReason, RefundState
from app.domain.refunds.queries import list_refunds
from app.domain.sessions.operations import AccountFrozen, log_in
from app.domain.sessions.queries import Caller, authenticate
from tests.domain.people import an_application
from tests.simulation.agreements import arrange
from tests.simulation.channel import Channel, Notice, Trade
from tests.simulation.database import CAP_FEN, MINIMUM_FEN
from tests.simulation.world import NoAnswer, Violation

if TYPE_CHECKING:
    from tests.simulation.town import Town

T = TypeVar("T")

ACCOUNT = table_of(Account)

AMOUNTS_FEN = (12_150, 20_000, 50_001, 300_000)
STAFF = (1, 2, 3)
DAY = 86_400
FIRST_BIRTHDAY = date(1960, 1, 1)

TWO_CHILDREN = DeclaredFacts(children=Children(count=2, minor_count=1, evidence="户口簿"))
BACHELOR = DeclaredFacts(degree=Degree(level=DegreeLevel.BACHELOR, evidence="学历证书"))
SUBSIDY_FEN = {"none": 20_000, "children": 30_000, "degree": 40_000}


@dataclass(eq=False)
class Person:
    """A contributor with their phone. `attempts_fen` has every amount ever asked for, by key."""

    number: int
    platform: str
    account_id: int = 0
    contributor_id: int = 0
    known: Caller | None = None
    token: str = ""
    subsidies_fen: set[int] = field(default_factory=lambda: {SUBSIDY_FEN["none"]})
    """What the opening subsidy may be, by all that was declared so far."""
    attempts_fen: dict[str, int] = field(default_factory=dict)
    orders: dict[str, str] = field(default_factory=dict)
    refunds: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"person-{self.number}"

    @property
    def payer_ref(self) -> str:
        return f"{self.platform}-{self.number}"


def live(town: Town, person: Person) -> None:
    """Enrol, then do a few things, with hours and weeks in between."""
    if not come_in(town, person):
        return
    for _ in range(town.random.randint(3, 14)):
        town.world.sleep(town.random.choice([1, 10, 60, 300, 300, 4_000, DAY]))
        if town.closing:
            return
        deeds = [pay_in, ask_back, arrange, declare, look]
        deed = town.random.choices(deeds, [50, 32, 12, 5, 4])[0]
        deed(town, person)


def come_in(town: Town, person: Person) -> bool:
    """Log in and enrol; False when they give up."""
    born = FIRST_BIRTHDAY + timedelta(days=person.number % 10_000)
    application = an_application(serial=f"{person.number // 10_000 + 1:03d}", born=born)

    def request(ports: Ports, caller: Caller) -> bool:
        if caller.account_id is None:
            enrol(ports, identity_id=caller.identity_id, application=application)
            return False
        assert caller.contributor_id is not None
        person.account_id, person.contributor_id = caller.account_id, caller.contributor_id
        person.known = caller
        town.person_of[person.account_id] = person
        return True

    for _ in range(4):
        try:
            if town.insist(lambda ports: as_person(ports, town, person, request)):
                return True
        except IdentityAlreadyBound:
            continue
    return False


def as_person(ports: Ports, town: Town, person: Person, work: Callable[[Ports, Caller], T]) -> T:
    """Run a request as this person, who logs in again where the token is no good any more.

    Most requests of somebody who is known go without that, for the sake of more money a step.
    """
    if person.known and town.world.happens(0.9):
        return work(ports, person.known)

    def who() -> Caller | None:
        now = ports.now()
        return ports.read(lambda session: authenticate(session, person.token, now=now))

    caller = who()
    if caller is None:
        code = f"code-of-{person.payer_ref}#{next(town.serial)}"
        person.token = log_in(ports, platform=person.platform, code=code).token
        caller = who()
    if caller is None:
        raise NoAnswer
    return work(ports, caller)


# -- paying in -------------------------------------------------------------------------------------


def pay_in(town: Town, person: Person) -> None:
    """Order a deposit, sometimes with a double click, sometimes two at once."""
    for _ in range(_once_or_twice(town)):
        key, amount_fen = f"key-{next(town.serial):06d}", _choose_amount_fen(town, person)
        person.attempts_fen[key] = amount_fen
        flow = partial(order, town, person, amount_fen, key)
        for _ in range(_once_or_twice(town)):
            town.world.spawn(person.name, flow)


def _choose_amount_fen(town: Town, person: Person) -> int:
    """Every second person pays as much as they may: all that is left of the year, or a half."""
    cap_fen = CAP_FEN[town.year]
    left_fen = cap_fen - town.books.used_fen(person.account_id, town.year)
    large_fen = [fen for fen in (cap_fen, left_fen, left_fen // 2) if fen >= MINIMUM_FEN]
    return town.random.choice(AMOUNTS_FEN if person.number % 2 else large_fen)


def _once_or_twice(town: Town) -> int:
    return 2 if town.world.happens(0.3) else 1


def order(town: Town, person: Person, amount_fen: int, key: str, *, pays: bool = True) -> None:
    """Order a deposit until there is an answer, and pay it, sometimes late, sometimes not."""
    asked_fen = amount_fen + 1 if town.world.happens(0.01) else amount_fen
    try:
        view = town.insist(lambda ports: _start(ports, town, person, asked_fen, key))
    except IdempotencyKeyReused:
        return
    except YearlyCapExceeded:
        town.books.check_cap_refusal(person, asked_fen)
        return
    except (AccountNotUsable, AccountFrozen):
        town.books.check_status_refusal(person)
        return
    if view is None:
        return
    if person.orders.setdefault(key, view.order_no) != view.order_no:
        raise Violation(f"two orders for one key: {person.orders[key]} and {view.order_no}")
    if not pays:
        return
    if view.state is OrderState.UNKNOWN and town.world.happens(0.7):
        town.world.sleep(town.random.choice([1, 30, 300]))
        order(town, person, amount_fen, key)
    elif view.payment and town.world.happens(0.85):
        town.world.sleep(town.random.choice([1, 2, 5, 60, 900, 1_795, 2_200, 5_000]))
        town.world.turn(f"pays {view.order_no}")
        town.channels[person.platform].pay(view.payment["prepay"].removeprefix("P-"))


def _start(ports: Ports, town: Town, person: Person, amount_fen: int, key: str) -> DepositView:
    def request(ports: Ports, caller: Caller) -> DepositView:
        assert caller.account_id is not None
        deposit = DepositRequest(
            account_id=caller.account_id,
            channel=person.platform,
            amount_fen=amount_fen,
            payer_ref=person.payer_ref,
            client_ip="127.0.0.1",
            request_key=key,
        )
        return start_deposit(ports, request=deposit)

    return as_person(ports, town, person, request)


# -- asking back -----------------------------------------------------------------------------------


def ask_back(town: Town, person: Person) -> None:
    """Ask for all or part of one deposit back, sometimes with a double click."""
    _ask(town, person, f"contributor:{person.contributor_id}", person.account_id)


def ask_back_at_the_desk(town: Town) -> None:
    """A clerk finds a mistaken deposit."""
    person = town.somebody()
    if person is not None:
        _ask(town, person, f"staff:{town.random.choice(STAFF)}", None)


def _ask(town: Town, person: Person, maker: str, account_id: int | None) -> None:
    trades = [trade for trade in map(town.trade_of, person.orders.values()) if trade]
    paid = [trade for trade in trades if trade.kept_fen] or trades
    if not paid:
        return
    fresh = [trade for trade in paid if trade.order_no not in town.asked_back]
    trade = town.random.choice(fresh if fresh and town.world.happens(0.8) else paid)
    town.asked_back.add(trade.order_no)
    for _ in range(_once_or_twice(town)):
        _ask_for(town, person, trade, maker, account_id)


def _ask_for(town: Town, person: Person, trade: Trade, maker: str, account_id: int | None) -> None:
    key = f"key-{next(town.serial):06d}"
    application = refunds.RefundApplication(
        order_no=trade.order_no,
        account_id=account_id,
        amount_fen=trade.amount_fen // town.random.choice([1, 1, 2, 3]),
        reason=RefundReason.DUPLICATE,
        note="重复缴存",
        maker=maker,
        request_key=key,
    )

    def flow() -> None:
        try:
            refund_no = town.insist(
                lambda ports: refunds.request_refund(ports, application=application)
            )
        except refunds.NotRefundable:
            return
        except refunds.AccountFrozen:
            town.books.check_status_refusal(person)
            return
        if refund_no and person.refunds.setdefault(key, refund_no) != refund_no:
            raise Violation(f"two refunds for one key: {person.refunds[key]} and {refund_no}")

    for _ in range(_once_or_twice(town)):
        town.world.spawn(maker, flow)


def decide(town: Town) -> None:
    """Staff decide on one of the refunds that wait, sometimes two of them at once."""
    waiting = town.look(lambda session: list_refunds(session, state=RefundState.REQUESTED))
    if not waiting:
        return
    refund = town.random.choice(waiting)
    for _ in range(_once_or_twice(town)):
        staff_id = town.random.choice(STAFF)
        town.world.spawn(f"staff-{staff_id}", partial(_decide, town, refund, staff_id))


def _decide(town: Town, refund: Any, staff_id: int) -> None:
    said = {"refund_no": refund.refund_no, "checker_id": staff_id, "note": "已核对"}
    verb: Callable[..., Any] = release_refund if town.world.happens(0.75) else refunds.reject_refund
    own = refund.maker == f"staff:{staff_id}"
    try:
        answer = town.request(lambda ports: verb(ports, **said))
    except (NoAnswer, Conflict):
        return
    except refunds.SamePersonTwice:
        if not own:
            raise
        return
    except refunds.AccountFrozen:
        return
    if own:
        raise Violation(f"{refund.refund_no} was decided by its maker: {answer}")


# -- the rest of a life ----------------------------------------------------------------------------


def declare(town: Town, person: Person) -> None:
    """Declare children or a degree; the opening subsidy may then be another one."""
    kind, facts = town.random.choice([("children", TWO_CHILDREN), ("degree", BACHELOR)])
    person.subsidies_fen.add(SUBSIDY_FEN[kind])
    town.insist(
        lambda ports: declare_facts(ports, contributor_id=person.contributor_id, facts=facts),
    )


def look(town: Town, person: Person) -> None:
    """Look at the home screen: it shows what the witness knows."""

    def request(ports: Ports) -> None:
        now = ports.now()
        seen = ports.read(
            lambda session: account_overview(session, account_id=person.account_id, now=now)
        )
        town.books.check_overview(person, seen)

    town.insist(request)


def change_status(town: Town) -> None:
    """The counter freezes or unfreezes an account, or closes one that is empty."""
    person = town.somebody()
    if person is None:
        return
    status = town.random.choice(
        [AccountStatus.FROZEN, *4 * [AccountStatus.NORMAL], AccountStatus.CLOSED]
    )
    if status is not AccountStatus.NORMAL:
        town.books.restricted.add(person.account_id)
    change = update(ACCOUNT).where(
        ACCOUNT.c.id == person.account_id, ACCOUNT.c.status != AccountStatus.CLOSED
    )
    if status is AccountStatus.CLOSED:
        change = change.where(ACCOUNT.c.balance_fen == 0, ACCOUNT.c.held_fen == 0)
    town.insist(
        lambda ports: ports.transact(lambda session: session.execute(change.values(status=status))),
    )


# -- messages from outside -------------------------------------------------------------------------


def deliver(town: Town, channel: Channel, notice: Notice) -> None:
    """Deliver a notice; one that is not taken comes again, unless the channel tires of it."""
    raw = RawCallback(
        endpoint=notice.topic, content_type="application/json", headers={}, body=notice.body
    )
    try:
        taken = town.request(lambda ports: receive_callback(ports, channel=channel.name, raw=raw))
    except NoAnswer:
        taken = None
    if taken is not None and taken.body == "ok":
        town.look(partial(town.books.check_stored, channel=channel, notice=notice))
        if notice.misquote:
            channel.misquotes_taken.add(notice.misquote)
        return
    notice.tries += 1
    if notice.sure or notice.tries < 6:
        wait = town.random.choice([5, 180, 3_600])
        notice.due_at = town.world.now + timedelta(seconds=wait)
        channel.notices.append(notice)


def forge(town: Town, channel: Channel, trade: Trade | None) -> None:
    """Somebody without the key tells us of money: nothing may come of it."""
    number = trade.order_no if trade else "D" + 31 * "0"
    amount_fen = trade.amount_fen if trade else 100_000
    content = {"topic": "payment", "number": number, "amount_fen": amount_fen, "reference": "F"}
    content |= {"kind": "succeeded", "reason": "ok", "at": town.world.now.isoformat()}
    body = town.random.choice(
        [
            json.dumps({"content": content, "mac": ""}),
            json.dumps({"content": content, "mac": 64 * "0"}),
            json.dumps({"content": content}),
            json.dumps([content]),
            "<xml/>",
        ]
    )
    raw = RawCallback(endpoint="payment", content_type="", headers={}, body=body.encode())
    before = town.count_stored()
    reply = receive_callback(town.webs[0].memory, channel=channel.name, raw=raw)
    if reply.body != "again" or town.count_stored() != before:
        raise Violation(f"a forged notice was taken: {body}")

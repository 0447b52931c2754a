"""People, their agreements and their days; what they agreed to is kept beside the books."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from typing import Any

from sqlalchemy import select

from app.domain.agreements.models import Agreement
from app.domain.agreements.queries import AgreementView, list_agreements
from app.domain.agreements.rules import DebitChannel, Frequency, Terms
from app.domain.base import table_of
from app.domain.calendar import SHANGHAI
from app.domain.debits.making_up import MakeUpRequest, make_up
from app.domain.debits.models import DebitInstruction
from app.domain.debits.rules import InstructionState
from app.domain.deposits.rules import DebitUnderWay
from app.domain.errors import FundError
from app.domain.mandates.models import Mandate
from app.domain.mandates.rules import MandateState
from app.domain.periods import Period
from app.domain.ports import Channels, Ports
from app.domain.refunds.models import Refund, RefundState
from app.jobs import Counts, Daily, Job
from app.jobs.running import Term, run_due
from app.jobs.timetable import JOBS
from tests.builders import a_mandate, an_account
from tests.conftest import MovableClock
from tests.domain.agreements.conftest import Desk
from tests.fund import Fund
from tests.jobs.conftest import take
from tests.year.channel import YearChannel

AGREEMENT, INSTRUCTION = table_of(Agreement), table_of(DebitInstruction)
MANDATE, REFUND = table_of(Mandate), table_of(Refund)

JOB = {job.name: job for job in JOBS}
NAMES = ("wechat", "alipay", "bank")
BY_HAND = ("wechat", "alipay")
SLOTS = (time(9, 0), time(9, 3), time(11, 0), time(20, 30))
PEOPLE_WAKE_AT = time(11, 0)
AMOUNTS = (12_150, 20_000, 50_000, 50_000, 80_000, 150_000, 900_000)
DEEDS, DEEDS_ON_THE_EVE = 0.006, 0.2
"""How likely a person does something on a day; the eve of their debit is when it matters most."""


Deed = Callable[["Person"], None]


@dataclass(frozen=True)
class Owed:
    """A period as it was agreed on when its notice came."""

    amount_fen: int
    channel: str
    due_on: date


@dataclass
class Person:
    """One person, with all that they have agreed to."""

    account_id: int
    desk: Desk
    random: random.Random
    agreement: AgreementView | None = None
    owed: dict[str, Owed] = field(default_factory=dict)
    warned: int = 0

    @property
    def months(self) -> set[str]:
        """The months that their periods cover."""
        return {month for key in self.owed for month in Period.parse(key).months}

    def is_on_the_eve(self, day: date) -> bool:
        """Whether a debit of theirs was announced for tomorrow."""
        return any(owed.due_on == day + timedelta(days=1) for owed in self.owed.values())

    def expect(self, due_on: date) -> None:
        """Write down what is owed by the agreement on a debit day."""
        view = self.agreement
        if view is None or view.ended_at is not None:
            return
        if view.suspension is not None and view.suspension.covers(due_on):
            return
        for version in view.versions:
            terms, first = version.terms, version.first_day
            if terms.debit_day != due_on.day or first is None or due_on < first:
                continue
            if version.last_day is not None and due_on > version.last_day:
                continue
            quarterly = terms.frequency is Frequency.QUARTERLY
            if quarterly and due_on.month % 3 != 1:
                continue
            period = Period.quarter_of(due_on) if quarterly else Period.month_of(due_on)
            if self.months.isdisjoint(period.months):
                assert terms.amount_fen is not None
                assert terms.channel is not None
                self.owed[period.key] = Owed(terms.amount_fen, terms.channel.value, due_on)


class Year:
    """What lives in a year; `live` is one day of it."""

    def __init__(self, ports: Ports, clock: MovableClock, *, seed: int, people: int) -> None:
        self.seed, self.clock = seed, clock
        self.random = random.Random(seed)
        self.channels = {name: YearChannel(clock.now, name=name, seed=seed) for name in NAMES}
        self.fund = Fund.around(ports, clock)
        everywhere: dict[str, Any] = dict(self.channels)
        self.fund.ports = replace(
            ports,
            channels=Channels(
                paying={name: self.channels[name] for name in BY_HAND},
                refunding=everywhere,
                calling_back=everywhere,
                mandating=everywhere,
                debiting=everywhere,
            ),
        )
        self.term = Term(self.fund.ports, take(self.fund.ports, "year:1"))
        self.asleep: set[date] = set()
        self.begun_to_settle = date.max
        self.deeds: dict[str, int] = {}
        self.people = [self._person(number) for number in range(people)]

    def _person(self, number: int) -> Person:
        account_id = an_account(self.fund.ports)
        return Person(
            account_id,
            Desk(self.fund, account_id),
            random.Random(f"{self.seed}:person:{number}"),
        )

    # -- a day ---------------------------------------------------------------------------------

    def at(self, day: date, hour: time) -> None:
        self.clock.instant = datetime.combine(day, hour, SHANGHAI)
        for channel in self.channels.values():
            channel.live_on()
        self._deliver()

    def live(self, day: date, *, with_deeds: bool = True) -> None:
        """Live one day; while the schedulers are asleep, the channels and people are not."""
        awake = day not in self.asleep
        self.at(day, time(0, 30))
        if awake:
            self._night(day)
        for person in self.people:
            person.expect(day + timedelta(days=1))
        self.at(day, time(8, 40))
        if awake:
            self._daily("plan-debits")
        for slot in SLOTS:
            self.at(day, slot)
            if awake:
                self._work()
                if slot == PEOPLE_WAKE_AT and with_deeds:
                    self._let_people_act(day)
        if awake:
            self._evening()

    def _night(self, day: date) -> None:
        self._daily("resume-agreements", "seal-days")
        suspended = select(AGREEMENT.c.account_id).where(AGREEMENT.c.suspended_through >= day)
        accounts = set(self.fund.ports.read(lambda session: session.scalars(suspended).all()))
        for person in self.people:
            if person.account_id in accounts:
                self._look(person)  # After too many misses the system suspends.
        if day.day == 20:
            self._run("compare-mandates")

    def _work(self) -> None:
        self._run("submit-debits")
        self._run("resolve-orders")

    def _evening(self) -> None:
        for name in ("apply-callbacks", "propose-refunds", "resolve-refunds", "resolve-mandates"):
            self._run(name)
        self._release()

    def _daily(self, *names: str) -> None:
        for name in names:
            job = JOB[name]
            assert isinstance(job.when, Daily)
            run_due(job, self.term)

    def _run(self, name: str) -> Counts:
        job: Job = JOB[name]
        counts = job.run(self.fund.ports, on=self.today)
        assert not counts.get("error"), f"{name}: {counts}"
        return counts

    @property
    def today(self) -> date:
        return self.clock.instant.astimezone(SHANGHAI).date()

    def _deliver(self) -> None:
        for name, channel in self.channels.items():
            for body in channel.due_notices():
                assert self.fund.notify(body, channel=name) == "ok"

    def _release(self) -> None:
        """A second person agrees to what the system has proposed."""
        asked = select(REFUND.c.refund_no).where(
            REFUND.c.state == RefundState.REQUESTED, REFUND.c.maker == "system"
        )
        for refund_no in self.fund.ports.read(lambda session: session.scalars(asked).all()):
            self.fund.release(refund_no)

    # -- what people do ------------------------------------------------------------------------

    def _let_people_act(self, day: date) -> None:
        at_any_time: dict[Deed, int] = {
            self._agree: 15,
            self._pay: 20,
            self._make_up: 30,
            self._change: 5,
            self._suspend: 5,
            self._resume: 5,
            self._end: 2,
            self._end_mandate: 4,
            self._sign_mandate: 6,
        }
        on_the_eve: dict[Deed, int] = {
            self._pay: 40,
            self._change: 15,
            self._suspend: 8,
            self._end: 10,
            self._end_mandate: 12,
            self._make_up: 10,
        }
        for person in self.people:
            eve = person.is_on_the_eve(day)
            if person.random.random() < (DEEDS_ON_THE_EVE if eve else DEEDS):
                deeds = on_the_eve if eve else at_any_time
                self._do(person, person.random.choices(list(deeds), list(deeds.values()))[0])

    def _do(self, person: Person, deed: Deed) -> None:
        try:
            deed(person)
        except DebitUnderWay:
            person.warned += 1
        except FundError:
            self._count(f"{deed.__name__}, refused")
        else:
            self._count(deed.__name__)
        self._look(person)

    def _count(self, name: str) -> None:
        self.deeds[name] = self.deeds.get(name, 0) + 1

    def _look(self, person: Person) -> None:
        ports = self.fund.ports
        views = ports.read(
            lambda session: list_agreements(session, account_id=person.account_id, now=ports.now())
        )
        person.agreement = views[0] if views else None

    def sign_everybody(self, day: date) -> None:
        """On the first day most people sign an agreement and a mandate."""
        self.at(day, time(10, 0))
        for person in self.people:
            self._agree(person)
            self._look(person)

    def _wish(self, person: Person) -> Terms:
        quarterly = person.random.random() < 0.3
        return Terms(
            frequency=Frequency.QUARTERLY if quarterly else Frequency.MONTHLY,
            amount_fen=person.random.choice(AMOUNTS) * (3 if quarterly else 1),
            debit_day=person.random.randint(1, 28),
            channel=DebitChannel(person.random.choice(NAMES)),
        )

    def _agree(self, person: Person) -> None:
        wish = self._wish(person)
        person.desk.sign(wish)
        assert wish.channel is not None
        self._sign_mandate(person, wish.channel.value)

    def _change(self, person: Person) -> None:
        wish = self._wish(person)
        person.desk.change(wish)
        assert wish.channel is not None
        self._sign_mandate(person, wish.channel.value)

    def _suspend(self, person: Person) -> None:
        person.desk.suspend(person.random.randint(1, 3))

    def _resume(self, person: Person) -> None:
        person.desk.resume()

    def _end(self, person: Person) -> None:
        person.desk.end()

    def _mandates(self, person: Person) -> dict[str, tuple[str, str]]:
        """Return state and reference of the mandates that hold a place, by channel."""
        query = select(MANDATE.c.channel, MANDATE.c.state, MANDATE.c.reference).where(
            MANDATE.c.account_id == person.account_id, MANDATE.c.slot.is_not(None)
        )
        rows = self.fund.ports.read(lambda session: session.execute(query).all())
        return {row.channel: (row.state.value, row.reference) for row in rows}

    def _sign_mandate(self, person: Person, channel: str | None = None) -> None:
        channel = channel or person.random.choice(NAMES)
        if channel not in self._mandates(person):
            low = person.random.random() < 0.05
            cap_fen = 10_000 if low else 3_000_000
            a_mandate(self.fund.ports, person.account_id, channel=channel, cap_fen=cap_fen)

    def _end_mandate(self, person: Person) -> None:
        """End one in the channel's own app; nobody tells us."""
        for channel, (state, reference) in sorted(self._mandates(person).items()):
            if state == MandateState.ACTIVE:
                self.channels[channel].ended_mandates.add(reference)
                return

    def _pay(self, person: Person) -> None:
        """Pay by hand what the next debit would take, or any other sum; some never finish."""
        name = person.random.choice(BY_HAND)
        owed = [owed.amount_fen for owed in person.owed.values()][-1:] or [50_000]
        amount_fen = person.random.choice([owed[0], owed[0], 30_000])
        despite = person.random.random() < 0.3
        view = self.fund.start(person.account_id, amount_fen, channel=name, despite_debit=despite)
        self._confirm(person, name, view.order_no)

    def _make_up(self, person: Person) -> None:
        query = select(INSTRUCTION.c.period).where(
            INSTRUCTION.c.account_id == person.account_id,
            INSTRUCTION.c.state.in_((InstructionState.MISSED, InstructionState.SCHEDULED)),
        )
        periods = self.fund.ports.read(lambda session: session.scalars(query).all())
        if not periods:
            return
        name = person.random.choice(BY_HAND)
        view = make_up(
            self.fund.ports,
            request=MakeUpRequest(
                account_id=person.account_id,
                period=person.random.choice(sorted(periods)),
                channel=name,
                payer_ref="payer",
                client_ip="127.0.0.1",
                request_key=self.fund.ports.new_number("K"),
            ),
        )
        self._confirm(person, name, view.order_no)

    def _confirm(self, person: Person, name: str, order_no: str) -> None:
        if person.random.random() < 0.85:
            body = self.channels[name].pay(order_no)
            if person.random.random() < 0.9:
                assert self.fund.notify(body, channel=name) == "ok"

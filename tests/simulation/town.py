"""A town: people, two channels, our processes on one database, and all that may befall them."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import TypeVar

from sqlalchemy import URL, Engine, create_engine, func, select
from sqlalchemy.orm import Session

from app.db import CommitUnconfirmed, make_read, make_transact, prepare_engine
from app.domain.base import table_of
from app.domain.calendar import business_day
from app.domain.callbacks.models import CallbackResult, ChannelCallback
from app.domain.contributors.models import Account
from app.domain.key_rotation import count_rows_by_key, rotate_keys
from app.domain.ledger.models import BusinessDay, DailySeal, JournalEntry
from app.domain.payment_orders.models import OPEN_STATES, PaymentOrder
from app.domain.pii import Vault
from app.domain.ports import Channels, Ports
from app.domain.refunds.models import IN_FLIGHT, Refund
from app.domain.verification import verify_books
from app.jobs.timetable import JOBS
from config.agreement_text_files import load_agreement_texts
from config.chart import load_chart
from tests.domain.people import FakeLogin
from tests.simulation import agreements, people
from tests.simulation.agreements import AgreementWitness
from tests.simulation.books import Books, must
from tests.simulation.channel import Channel, Returned, Trade
from tests.simulation.comparison import compare
from tests.simulation.database import faulty, watch_writes
from tests.simulation.happenings import DEEDS, KEYS, time_goes_by
from tests.simulation.misfortunes import Misfortune
from tests.simulation.people import Person
from tests.simulation.world import ERA, NoAnswer, Process, Trouble, World

T = TypeVar("T")

ACCOUNT, CALLBACK, DAY = table_of(Account), table_of(ChannelCallback), table_of(BusinessDay)
ENTRY, ORDER, REFUND = table_of(JournalEntry), table_of(PaymentOrder), table_of(Refund)

AT_ONCE = 12
"""How many flows may be under way for something new to begin."""
VERIFY_EVERY = 300
REST_EVERY = 600
"""After so many steps everything is settled and compared, and other people come."""
HOUR = timedelta(hours=1)
AGREEMENT_TEXTS = load_agreement_texts()
FOLLOWED = {ACCOUNT.name, ENTRY.name, DAY.name}


class Town:
    """Everything of one seed. `run` is the whole story."""

    def __init__(self, world: World, url: URL) -> None:
        self.world, self.random, self.url = world, world.random, url
        self.serial = itertools.count(1)
        self.closing = False
        self.key_number = 1
        self.next_era = 0
        self.night = False
        self.surprises: list[str] = []
        self.running_jobs: set[tuple[str, str]] = set()
        self.people: list[Person] = []
        self.asked_back: set[str] = set()
        self.misfortunes: list[Misfortune] = []
        """Those that are still to come before all come again."""
        self.person_of: dict[int, Person] = {}
        self.channels = {name: Channel(name, world) for name in ("wechat", "alipay")}
        self.logins = {name: FakeLogin() for name in self.channels}
        self.books = Books(self)
        self.agreements = AgreementWitness()
        self.engines: dict[str, Engine] = {}
        self.webs = [self._process("web-1"), self._process("web-2")]
        self.schedulers = [self._process("jobs-1"), self._process("jobs-2")]
        self.engines["witness"] = prepare_engine(create_engine(url))
        self.look = make_read(self.engines["witness"])
        self.jobs = {job.name: job for job in JOBS}
        self.weights = list(DEEDS.values())

    # -- the story -----------------------------------------------------------------------------

    def run(self, steps: int) -> None:
        """Let things happen for so many steps; come to rest and compare the books now and then."""
        with self._watched():
            while self.world.step < steps:
                self._live(until=min(steps, self.world.step + REST_EVERY))
                self._rest()

    def _live(self, *, until: int) -> None:
        self.world.faults, self.closing = True, False
        self.world.struck.clear()
        while self.world.step < until:
            if self.world.step >= self.next_era:
                self._begin_era()
            time_goes_by(self)
            if len(self.world.ready) < AT_ONCE:
                self.random.choices(list(DEEDS), self.weights)[0](self)
            self._advance()

    def _rest(self) -> None:
        self.world.faults, self.closing = False, True
        self.world.note("comes to rest")
        while self._advance():
            pass
        self._ask_until_nothing_is_open()
        self._compare()

    def _begin_era(self) -> None:
        """Change the weather and what people do, so that no seed is bound to miss anything."""
        self.next_era += ERA
        self.world.change_the_weather()
        self.weights = [w * self.random.choice([0.3, 1, 1, 3]) for w in DEEDS.values()]

    def _advance(self) -> bool:
        moved = self.world.advance()
        written = set(self.world.written)
        self.world.written.clear()
        if written & FOLLOWED:
            self.look(self.books.follow)
        if written & agreements.FOLLOWED:
            self.look(self.agreements.follow)
        must(not self.surprises, "\n".join(self.surprises))
        if moved and self.world.step % VERIFY_EVERY == 0:
            self._verify()
        return moved

    def _verify(self) -> None:
        offences = self.look(lambda session: list(verify_books(session, chart=load_chart())))
        must(not offences, f"the invariants check found {offences}")

    def _ask_until_nothing_is_open(self) -> None:
        a_week_later = self.world.now + timedelta(days=7)
        while left := self._left_open():
            must(self.world.now < a_week_later, f"after a week still open: {left}")
            self.world.now += timedelta(hours=3)
            for channel in self.channels.values():
                channel.down_until = None
                for refund in channel.under_way():
                    channel.end_refund(refund, "done")
                notices, channel.notices = channel.notices, []
                for notice in notices:
                    people.deliver(self, channel, notice)
                must(not channel.notices, "a genuine notice is not taken")
            self.look(self.books.follow)
            self._run_every_job()

    def _left_open(self) -> list[str]:
        """What is undecided, but for payments of a wrong amount: these wait for people."""
        queries = (
            select(ORDER.c.order_no).where(ORDER.c.state.in_(OPEN_STATES)),
            select(REFUND.c.refund_no).where(REFUND.c.state.in_(IN_FLIGHT)),
            select(CALLBACK.c.number).where(CALLBACK.c.result == CallbackResult.PENDING),
        )
        found = self.look(lambda session: [n for q in queries for n in session.scalars(q)])
        notices = [notice.topic for channel in self.channels.values() for notice in channel.notices]
        odd = {n for c in self.channels.values() for n, trade in c.trades.items() if trade.is_odd}
        return [number for number in found if number not in odd] + notices

    def _run_every_job(self) -> None:
        for job in JOBS:
            counts = job.run(self.schedulers[0].memory, on=business_day(self.world.now))
            must("error" not in counts, f"{job.name} failed: {counts} {self.surprises}")
            self.look(self.books.follow)

    def _compare(self) -> None:
        self.key_number = min(self.key_number + 1, len(KEYS))
        self.world.kill(self.schedulers[0])
        rotation = rotate_keys(self.schedulers[0].memory)
        must(not rotation.unreadable, f"unreadable: {rotation.unreadable}")
        self.world.now += timedelta(days=2)
        self._run_every_job()
        self._verify()
        self.look(partial(compare, books=self.books))
        today = business_day(self.world.now)
        self.look(partial(self.agreements.compare, town=self, today=today))
        self.look(self._check_rest)

    def _check_rest(self, session: Session) -> None:
        """Every day but the last ones is sealed, every row has the new key, everybody sees it."""
        today = business_day(self.world.now)
        unsealed = session.scalars(
            select(DAY.c.day).where(DAY.c.sealed_at.is_(None), DAY.c.day < today)
        ).all()
        must(not unsealed, f"not sealed: {unsealed}")
        for table, keys in count_rows_by_key(session).items():
            must(set(keys) <= {f"k{self.key_number}"}, f"{table} has rows of {dict(keys)}")
        for person in self.person_of.values():
            self.books.check_final(session, person, now=self.world.now)
        seal = session.scalar(select(DailySeal.hash).order_by(DailySeal.day.desc()).limit(1))
        self.world.note(f"the last seal is {seal.hex() if seal else None}")

    # -- the pieces ----------------------------------------------------------------------------

    @property
    def year(self) -> int:
        return business_day(self.world.now).year

    def set_the_clock_back(self) -> None:
        """By an hour; not into the year before, by whose cap nothing new was measured."""
        if business_day(self.world.now - HOUR).year == self.year:
            self.world.now -= HOUR
            self.world.note("the clock goes back an hour")

    def request(self, work: Callable[[Ports], T]) -> T:
        """Have one of the web processes do something, as a client on a bad line sees it.

        Raises:
            NoAnswer: the process died, the database failed it, or its reply was lost.
        """
        answer = self.world.ask(self.random.choice(self.webs), work)
        if self.world.draw({"the reply is lost": 0.01}, at="") != "none":
            raise NoAnswer
        return answer

    def insist(self, work: Callable[[Ports], T]) -> T | None:
        """Repeat a request until it is answered; None when the person gives up."""
        for _ in range(5):
            try:
                return self.request(work)
            except NoAnswer:
                self.world.sleep(self.random.choice([1, 30, 4_000]))
        return None

    def newcomer(self) -> Person:
        person = Person(len(self.people) + 1, self.random.choice(sorted(self.channels)))
        self.people.append(person)
        return person

    def run_job(self, name: str) -> None:
        """Have a scheduler run a job, one that is not at it already."""
        free = [p for p in self.schedulers if (name, p.name) not in self.running_jobs]
        if not free:
            return
        process = self.random.choice(free)
        self.running_jobs.add((name, process.name))
        run = partial(self.jobs[name].run, on=business_day(self.world.now))
        with suppress(NoAnswer):
            self.world.ask(process, run)
        self.running_jobs.remove((name, process.name))

    def somebody(self) -> Person | None:
        enrolled = list(self.person_of.values())
        return self.random.choice(enrolled) if enrolled else None

    def trade_of(self, order_no: str) -> Trade | None:
        found = (channel.trades.get(order_no) for channel in self.channels.values())
        return next((trade for trade in found if trade is not None), None)

    def refund_of(self, refund_no: str) -> Returned | None:
        found = (channel.refunds.get(refund_no) for channel in self.channels.values())
        return next((refund for refund in found if refund is not None), None)

    def payer_of(self, trade: Trade) -> Person:
        return self.people[int(trade.payer_ref.rpartition("-")[2]) - 1]

    def odd_trades_of(self, person: Person) -> list[Trade]:
        trades = (t for channel in self.channels.values() for t in channel.trades.values())
        return [t for t in trades if t.is_odd and self.payer_of(t) is person]

    def count_stored(self) -> int:
        """How many rows a forged notice might have added to."""
        counts = [select(func.count()).select_from(table) for table in (CALLBACK, ENTRY)]
        return self.look(lambda session: sum(session.scalar(count) or 0 for count in counts))

    def close(self) -> None:
        for engine in self.engines.values():
            engine.dispose()

    def some_channel(self) -> Channel:
        return self.channels[self.random.choice(sorted(self.channels))]

    def _process(self, name: str) -> Process:
        boot = partial(self._boot, name)
        return Process(name, boot, boot())

    def _boot(self, name: str) -> Ports:
        if name in self.engines:
            self.engines[name].dispose()
        world = self.world
        engine = prepare_engine(watch_writes(world, create_engine(self.url)))
        self.engines[name] = engine
        return Ports(
            transact=faulty(world, make_transact(engine), "commits"),
            read=faulty(world, make_read(engine), "reads"),
            now=lambda: world.now,
            new_number=world.new_number,
            vault=Vault(KEYS, active=f"k{self.key_number}", index_key=bytes(32)),
            channels=Channels(
                paying=self.channels, refunding=self.channels, calling_back=self.channels
            ),
            logins=self.logins,
            agreement_texts=AGREEMENT_TEXTS,
        )

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Collect the errors that the product catches and logs; only ours may be among them."""
        logger, watch = logging.getLogger("app"), _Watch(self.surprises)
        before = logger.propagate, logger.level
        logger.addHandler(watch)
        logger.propagate, logger.level = False, logging.ERROR
        try:
            yield
        finally:
            logger.removeHandler(watch)
            logger.propagate, logger.level = before


class _Watch(logging.Handler):
    def __init__(self, surprises: list[str]) -> None:
        super().__init__(logging.ERROR)
        self.surprises = surprises

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        # A clock that went back over midnight dates an entry on a day that is sealed already.
        simulated = isinstance(error, Trouble | CommitUnconfirmed)
        if not simulated and "business day is sealed" not in str(error):
            self.surprises.append(f"{record.getMessage()}: {error!r}")

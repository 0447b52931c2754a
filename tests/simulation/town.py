"""A town: people, two channels, our processes on one database, and all that may befall them."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

from sqlalchemy import URL, Engine, create_engine, func, select
from sqlalchemy.orm import Session

from app.db import CommitUnconfirmed, make_read, make_transact, prepare_engine
from app.domain.base import table_of
from app.domain.calendar import business_day
from app.domain.callbacks.models import CallbackResult, ChannelCallback
from app.domain.key_rotation import count_rows_by_key, rotate_keys
from app.domain.ledger.models import BusinessDay, DailySeal, JournalEntry
from app.domain.payment_orders.models import OPEN_STATES, PaymentOrder
from app.domain.pii import Vault
from app.domain.ports import Channels, Ports
from app.domain.refunds.models import IN_FLIGHT, Refund
from app.domain.verification import verify_books
from app.jobs.timetable import JOBS
from config.chart import load_chart
from tests.domain.people import FakeLogin
from tests.simulation import people
from tests.simulation.books import Books, must
from tests.simulation.channel import Channel, Returned, Trade
from tests.simulation.database import faulty
from tests.simulation.people import Person
from tests.simulation.world import NoAnswer, Process, Trouble, World

T = TypeVar("T")

CALLBACK, DAY, ENTRY = table_of(ChannelCallback), table_of(BusinessDay), table_of(JournalEntry)
ORDER, REFUND = table_of(PaymentOrder), table_of(Refund)

AT_ONCE = 12
"""How many flows may be under way for something new to begin."""
VERIFY_EVERY = 500
JOB_WEIGHTS = {
    "resolve-orders": 4,
    "resolve-refunds": 6,
    "apply-callbacks": 2,
    "seal-days": 1,
    "remove-expired": 1,
}
"""The jobs that are simulated, and how often each is woken."""
HOUR = timedelta(hours=1)
LAST_LEAP = datetime(2027, 10, 1, tzinfo=UTC)
"""The programme ends with 2027; a long story slows down before."""
KEYS = {f"k{number}": bytes([number]) * 32 for number in range(1, 10)}


class Town:
    """Everything of one seed. `run` is the whole story."""

    def __init__(self, world: World, url: URL) -> None:
        self.world, self.random, self.url = world, world.random, url
        self.serial = itertools.count(1)
        self.closing = False
        self.key_number = 1
        self.surprises: list[str] = []
        self.commits_seen = 0
        self.running_jobs: set[tuple[str, str]] = set()
        self.people: list[Person] = []
        self.person_of: dict[int, Person] = {}
        self.channels = {name: Channel(name, world) for name in ("wechat", "alipay")}
        self.logins = {name: FakeLogin() for name in self.channels}
        self.books = Books(self)
        self.engines: dict[str, Engine] = {}
        self.webs = [self._process("web-1"), self._process("web-2")]
        self.schedulers = [self._process("jobs-1"), self._process("jobs-2")]
        self.engines["witness"] = prepare_engine(create_engine(url))
        self.look = make_read(self.engines["witness"])
        deeds = {
            self._somebody_comes: 3,
            self._a_notice_arrives: 30,
            self._a_job_runs: 10,
            self._staff_decide: 6,
            self._a_clerk_asks_back: 3,
            self._a_refund_ends: 8,
            self._somebody_forges: 3,
            self._a_channel_is_rogue: 3,
            self._a_channel_is_down: 0.3,
            self._a_process_is_killed: 1,
            self._the_key_is_changed: 0.2,
            self._the_counter_restricts: 0.7,
        }
        self.deeds = list(deeds)
        self.jobs = [next(job for job in JOBS if job.name == name) for name in JOB_WEIGHTS]
        self.weights = [weight * self.random.choice([0.3, 1, 1, 2]) for weight in deeds.values()]

    # -- the story -----------------------------------------------------------------------------

    def run(self, steps: int) -> None:
        """Let things happen for so many steps, come to rest, and compare the books."""
        with self._watched():
            while self.world.step < steps:
                self._time_goes_by()
                if len(self.world.ready) < AT_ONCE:
                    self.random.choices(self.deeds, self.weights)[0]()
                self._advance()
            self.world.faults, self.closing = False, True
            self.world.note("comes to rest")
            while self._advance():
                pass
            self._ask_until_nothing_is_open()
            self._compare()

    def _advance(self) -> bool:
        moved = self.world.advance()
        if self.world.commits > self.commits_seen:
            self.commits_seen = self.world.commits
            self.look(self.books.follow)
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
        self.key_number += 1
        self.world.kill(self.schedulers[0])
        rotation = rotate_keys(self.schedulers[0].memory)
        must(not rotation.unreadable, f"unreadable: {rotation.unreadable}")
        self.world.now += timedelta(days=2)
        self._run_every_job()
        self._verify()
        self.look(self.books.compare)
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

    # -- what may happen -----------------------------------------------------------------------

    def _time_goes_by(self) -> None:
        world, random = self.world, self.random
        world.now += timedelta(seconds=random.choice([0, 0, 0, 1, 2, 5]))
        if world.happens(0.02) and world.next_wake is not None and world.now < LAST_LEAP:
            world.now = max(world.now, world.next_wake - timedelta(seconds=random.choice([0, 5])))
        elif world.happens(0.0005) and world.now < LAST_LEAP:
            world.now += timedelta(seconds=random.choice([600, 2_000, 20_000, 200_000]))
        elif world.happens(0.0005):
            # On to ten seconds before midnight in Shanghai.
            world.now = max(world.now, world.now.replace(hour=15, minute=59, second=50))
        elif world.happens(0.0005) and business_day(world.now - HOUR).year == self.year:
            # Not into the year before: what is credited then was measured by the cap of the next.
            world.now -= HOUR
            world.note("the clock goes back an hour")

    def _somebody_comes(self) -> None:
        person = Person(len(self.people) + 1, self.random.choice(sorted(self.channels)))
        self.people.append(person)
        self.world.spawn(person.name, partial(people.live, self, person))

    def _a_notice_arrives(self) -> None:
        channel = self._some_channel()
        due = [n for n in channel.notices if n.due_at <= self.world.now]
        if due:
            notice = self.random.choice(due)
            channel.notices.remove(notice)
            self.world.spawn("notice", partial(people.deliver, self, channel, notice))

    def _a_job_runs(self) -> None:
        job = self.random.choices(self.jobs, list(JOB_WEIGHTS.values()))[0]
        process = self.random.choice(self.schedulers)
        if (job.name, process.name) in self.running_jobs:
            return
        self.running_jobs.add((job.name, process.name))

        def flow() -> None:
            with suppress(NoAnswer):
                self.world.ask(process, partial(job.run, on=business_day(self.world.now)))
            self.running_jobs.remove((job.name, process.name))

        self.world.spawn(job.name, flow)

    def _staff_decide(self) -> None:
        self.world.spawn("staff", partial(people.decide, self))

    def _a_clerk_asks_back(self) -> None:
        people.ask_back_at_the_desk(self)

    def _a_refund_ends(self) -> None:
        channel = self._some_channel()
        if under_way := channel.under_way():
            state = "done" if self.world.happens(0.9) else "failed"
            channel.end_refund(self.random.choice(under_way), state)

    def _somebody_forges(self) -> None:
        channel = self._some_channel()
        trades = list(channel.trades.values())
        trade = self.random.choice(trades) if trades and self.world.happens(0.7) else None
        people.forge(self, channel, trade)

    def _a_channel_is_rogue(self) -> None:
        channel = self._some_channel()
        channel.break_a_promise()

    def _a_channel_is_down(self) -> None:
        channel, seconds = self._some_channel(), self.random.choice([60, 3_600, 20_000])
        channel.down_until = self.world.now + timedelta(seconds=seconds)
        self.world.note(f"{channel.name} is down for {seconds} s")

    def _a_process_is_killed(self) -> None:
        self.world.kill(self.random.choice([*self.webs, *self.schedulers]))

    def _the_key_is_changed(self) -> None:
        if self.key_number == len(KEYS) - 1:
            return
        self.key_number += 1

        def flow() -> None:
            for process in [*self.webs, *self.schedulers]:
                self.world.sleep(self.random.choice([1, 60]))
                self.world.kill(process)
            with suppress(NoAnswer):
                self.world.ask(self.schedulers[1], partial(rotate_keys, batch_size=20))

        self.world.spawn("administrator", flow)

    def _the_counter_restricts(self) -> None:
        self.world.spawn("counter", partial(people.change_status, self))

    # -- the pieces ----------------------------------------------------------------------------

    @property
    def year(self) -> int:
        return business_day(self.world.now).year

    def request(self, work: Callable[[Ports], T]) -> T:
        """Have one of the web processes do something, as a client on a bad line sees it.

        Raises:
            NoAnswer: the process died, the database failed it, or its reply was lost.
        """
        answer = self.world.ask(self.random.choice(self.webs), work)
        if self.world.draw({"the reply is lost": 0.01}) != "none":
            raise NoAnswer
        return answer

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

    def _some_channel(self) -> Channel:
        return self.channels[self.random.choice(sorted(self.channels))]

    def _process(self, name: str) -> Process:
        boot = partial(self._boot, name)
        return Process(name, boot, boot())

    def _boot(self, name: str) -> Ports:
        if name in self.engines:
            self.engines[name].dispose()
        engine = self.engines[name] = prepare_engine(create_engine(self.url))
        world = self.world
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

"""Running a year, or a part of it, and looking at it on every day."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path

from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session

from app.db import make_read, make_transact, prepare_engine
from app.domain.debits.verify import verify_debits
from app.domain.ledger.models import Code
from app.domain.ledger.verify import Offence
from app.domain.pii import Vault
from app.domain.ports import Channels, Ports
from app.domain.verification import verify_books
from config.agreement_text_files import load_agreement_texts
from tests.conftest import (
    MovableClock,
    Numbers,
    load_baseline_policy,
    load_calendar,
    migrate_to_head,
)
from tests.year.comparison import Books, compare
from tests.year.life import Year

FIRST_DAY, LAST_DAY = date(2026, 1, 2), date(2026, 12, 31)
LOOK_AT_ALL_EVERY = 10
"""On so many days of a month all invariants are checked: a seal is read again each time. Those of
debits are on each day."""
SETTLING = timedelta(days=12)
"""How long nothing goes wrong any more before the books are compared."""


class Failure(AssertionError):
    """The books are wrong; says how to see it again."""


@dataclass(frozen=True)
class Result:
    """What a year was like."""

    ends: Counter[str]
    attempts: int
    faults: Counter[str]
    breaks: Counter[str]
    deeds: dict[str, int]


@contextmanager
def template() -> Iterator[Path]:
    """A migrated SQLite database with policy and calendar; in memory where that can be."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="lianjiao-year-", dir=memory) as folder:
        path = Path(folder) / "template.sqlite"
        engine = prepare_engine(create_engine(f"sqlite:///{path}"))
        migrate_to_head(engine)
        load_baseline_policy(engine)
        load_calendar(engine)
        engine.dispose()
        yield path


def live(made: Path, *, seed: int, people: int = 300, last_day: date = LAST_DAY) -> Result:
    """Live from the year's first day to `last_day`, and compare all books at its end.

    Raises:
        Failure: something is wrong.
    """
    path = made.with_name("year.sqlite")
    for old in made.parent.glob("year.sqlite*"):
        old.unlink()
    shutil.copy(made, path)
    engine = prepare_engine(create_engine(f"sqlite:///{path}"))
    try:
        return _live(engine, seed, people, last_day)
    except Failure as failure:
        how = f"See it again: make year SEED={seed} PEOPLE={people}"
        raise Failure(f"seed {seed}: {failure}\n{how}") from None
    finally:
        engine.dispose()


def _live(engine: Engine, seed: int, people: int, last_day: date) -> Result:
    clock = MovableClock()
    clock.instant = clock.instant.replace(year=2026, month=1, day=1)
    ports = Ports(
        transact=make_transact(engine),
        read=make_read(engine),
        now=clock.now,
        new_number=Numbers().new,
        vault=Vault({"k1": bytes(32)}, active="k1", index_key=bytes(32)),
        channels=Channels(),
        logins={},
        agreement_texts=load_agreement_texts(),
    )
    year = Year(ports, clock, seed=seed, people=people)
    year.begun_to_settle = last_day
    for month in year.random.choices(range(1, last_day.month + 1), k=3):
        begins = date(2026, month, year.random.randint(5, 15))
        year.asleep |= {begins + timedelta(days=n) for n in range(year.random.randint(1, 4))}
    year.sign_everybody(FIRST_DAY)
    day = FIRST_DAY
    while day < last_day:
        day += timedelta(days=1)
        _live_day(year, day, with_deeds=True)
    for channel in year.channels.values():
        channel.behaves = True
    while day < last_day + SETTLING:
        day += timedelta(days=1)
        _live_day(year, day, with_deeds=False)
    wrong = [*compare(year)]
    if wrong:
        raise Failure("\n".join([f"{len(wrong)} differences", *wrong[:20]]))
    books = Books(year)
    faults: Counter[str] = Counter()
    for channel in year.channels.values():
        faults.update(channel.faults)
    return Result(
        ends=Counter(row.end_reason or row.state.value for row in books.instructions),
        attempts=len(books.debits),
        faults=faults,
        breaks=Counter(row.kind.value for row in books.breaks),
        deeds=year.deeds,
    )


def _live_day(year: Year, day: date, *, with_deeds: bool) -> None:
    try:
        year.live(day, with_deeds=with_deeds)
    except Exception as error:
        raise Failure(f"{day}: {type(error).__name__}: {error}") from error
    offences = year.fund.ports.read(partial(_look, whole=day.day % LOOK_AT_ALL_EVERY == 0))
    if offences:
        raise Failure(f"{day}: {offences[:5]}")


def _look(session: Session, *, whole: bool) -> list[Offence]:
    return list(verify_books(session, chart=tuple(Code)) if whole else verify_debits(session))

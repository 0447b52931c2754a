"""Posting, holding, sealing, and what the database refuses."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from app.domain.contributors.models import Account
from app.domain.ledger.models import Code, DailySeal, EntryKind, JournalEntry, JournalLine
from app.domain.ledger.operations import (
    BalanceTooLow,
    DayNotOver,
    place_hold,
    post,
    release_hold,
    seal_days,
)
from app.domain.ledger.queries import statement, trial_balance
from app.domain.ledger.rules import Line, Unbalanced
from app.domain.ledger.verify import Offence, verify_ledger
from app.domain.ports import Ports
from tests.builders import an_account
from tests.conftest import MovableClock

CHART = tuple(Code)


def deposit(ports: Ports, account_id: int, amount_fen: int, key: str) -> int:
    return ports.transact(
        lambda session: post(
            session,
            posting_key=key,
            kind=EntryKind.DEPOSIT,
            memo="灵活缴存",
            lines=[
                Line(Code.CHANNEL_CLEARING, amount_fen, channel="wechat"),
                Line(Code.CONTRIBUTORS, -amount_fen, account_id=account_id),
            ],
            now=ports.now(),
        )
    )


def take_out(ports: Ports, account_id: int, amount_fen: int, key: str) -> int:
    return ports.transact(
        lambda session: post(
            session,
            posting_key=key,
            kind=EntryKind.DEPOSIT_REFUND,
            memo="缴存退款",
            lines=[
                Line(Code.CONTRIBUTORS, amount_fen, account_id=account_id),
                Line(Code.CHANNEL_CLEARING, -amount_fen, channel="wechat"),
            ],
            now=ports.now(),
        )
    )


def balance(ports: Ports, account_id: int) -> tuple[int, int]:
    return ports.read(
        lambda session: tuple(
            session.execute(
                select(Account.balance_fen, Account.held_fen).where(Account.id == account_id)
            ).one()
        )
    )


def offences(ports: Ports) -> list[Offence]:
    return ports.read(lambda session: list(verify_ledger(session, chart=CHART)))


def test_a_posting_moves_the_balance_by_exactly_its_lines(ports: Ports) -> None:
    account_id = an_account(ports)
    deposit(ports, account_id, 12_150, "deposit:1")
    deposit(ports, account_id, 1, "deposit:2")
    assert balance(ports, account_id) == (12_151, 0)
    assert offences(ports) == []


def test_the_same_cause_posts_once(ports: Ports) -> None:
    account_id = an_account(ports)
    deposit(ports, account_id, 12_150, "deposit:1")
    with pytest.raises(IntegrityError):
        deposit(ports, account_id, 12_150, "deposit:1")
    assert balance(ports, account_id) == (12_150, 0)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [Line(Code.CHANNEL_CLEARING, 100)],
        [Line(Code.CHANNEL_CLEARING, 100), Line(Code.SUSPENSE_RECEIPTS, -99)],
        [Line(Code.CHANNEL_CLEARING, 0), Line(Code.SUSPENSE_RECEIPTS, 0)],
        [Line(Code.CHANNEL_CLEARING, True), Line(Code.SUSPENSE_RECEIPTS, -1)],
        [Line(Code.CHANNEL_CLEARING, 1.0), Line(Code.SUSPENSE_RECEIPTS, -1)],  # type: ignore[arg-type]
    ],
)
def test_an_unbalanced_entry_is_refused_and_nothing_is_written(
    ports: Ports, lines: list[Line]
) -> None:
    with pytest.raises(Unbalanced):
        ports.transact(
            lambda session: post(
                session,
                posting_key="k",
                kind=EntryKind.DEPOSIT,
                memo="",
                lines=lines,
                now=ports.now(),
            )
        )
    assert ports.read(lambda s: s.scalar(select(func.count()).select_from(JournalEntry))) == 0


def test_a_balance_never_turns_negative(ports: Ports) -> None:
    account_id = an_account(ports)
    deposit(ports, account_id, 100, "deposit:1")
    with pytest.raises(BalanceTooLow):
        take_out(ports, account_id, 101, "refund:1")
    assert balance(ports, account_id) == (100, 0)
    take_out(ports, account_id, 100, "refund:2")
    assert balance(ports, account_id) == (0, 0)
    assert offences(ports) == []


def test_held_money_cannot_be_spent_and_is_free_again_after_release(ports: Ports) -> None:
    account_id = an_account(ports)
    deposit(ports, account_id, 100, "deposit:1")
    ports.transact(
        lambda s: place_hold(
            s, hold_key="h1", account_id=account_id, amount_fen=60, now=ports.now()
        )
    )
    with pytest.raises(BalanceTooLow):
        take_out(ports, account_id, 41, "refund:1")
    with pytest.raises(BalanceTooLow):
        ports.transact(
            lambda s: place_hold(
                s, hold_key="h2", account_id=account_id, amount_fen=41, now=ports.now()
            )
        )
    assert offences(ports) == []
    ports.transact(lambda s: release_hold(s, hold_key="h1"))
    assert balance(ports, account_id) == (100, 0)


def test_a_hundred_parallel_withdrawals_of_the_whole_balance_leave_one_winner(
    ports: Ports,
) -> None:
    account_id = an_account(ports)
    deposit(ports, account_id, 5_000, "deposit:1")

    def attempt(number: int) -> bool:
        try:
            take_out(ports, account_id, 5_000, f"refund:{number}")
        except BalanceTooLow:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = sum(pool.map(attempt, range(100)))
    assert won == 1
    assert balance(ports, account_id) == (0, 0)
    assert offences(ports) == []


@pytest.mark.parametrize("table", ["journal_entry", "journal_line", "daily_seal"])
@pytest.mark.parametrize("statement_text", ["UPDATE {} SET {}", "DELETE FROM {}"])
def test_the_journal_is_append_only_in_the_database(
    ports: Ports, clock: MovableClock, table: str, statement_text: str
) -> None:
    account_id = an_account(ports)
    deposit(ports, account_id, 100, "deposit:1")
    clock.advance(days=1)
    seal_days(ports, through=date(2026, 11, 24))
    column = {
        "journal_entry": "memo = 'x'",
        "journal_line": "amount_fen = amount_fen + 1",
        "daily_seal": "entry_count = 0",
    }[table]
    with pytest.raises(DBAPIError, match="append-only"):
        ports.transact(lambda s: s.execute(text(statement_text.format(table, column))))
    assert offences(ports) == []


def test_a_sealed_day_takes_no_entry(ports: Ports, clock: MovableClock) -> None:
    account_id = an_account(ports)
    deposit(ports, account_id, 100, "deposit:1")
    clock.advance(days=1)
    assert seal_days(ports, through=date(2026, 11, 24)) == [date(2026, 11, 24)]
    clock.advance(days=-1)
    with pytest.raises(DBAPIError, match="sealed"):
        deposit(ports, account_id, 100, "deposit:2")
    assert balance(ports, account_id) == (100, 0)


def test_today_cannot_be_sealed(ports: Ports) -> None:
    with pytest.raises(DayNotOver):
        seal_days(ports, through=date(2026, 11, 24))


def test_seals_chain_day_to_day_and_sealing_twice_does_nothing(
    ports: Ports, clock: MovableClock
) -> None:
    account_id = an_account(ports)
    for day in range(3):
        deposit(ports, account_id, 100 + day, f"deposit:{day}")
        clock.advance(days=1)
    last = date(2026, 11, 26)
    assert seal_days(ports, through=last) == [date(2026, 11, d) for d in (24, 25, 26)]
    assert seal_days(ports, through=last) == []
    seals = ports.read(lambda s: s.scalars(select(DailySeal).order_by(DailySeal.day)).all())
    assert [seal.previous_hash for seal in seals[1:]] == [seal.hash for seal in seals[:-1]]
    # 100 + 101 + 102
    assert seals[-1].trial_balance["11901"] == [102, 0, 303]
    assert seals[-1].trial_balance["20102"] == [0, 102, -303]
    assert offences(ports) == []


SEAL_AND_TOTALS = {"seal_hash_differs", "seal_totals_differ"}


@pytest.mark.parametrize(
    ("tampering", "kinds"),
    [
        (
            "UPDATE journal_line SET amount_fen = amount_fen + 1 WHERE line_no = 1",
            {"entry_unbalanced", *SEAL_AND_TOTALS},
        ),
        (
            "UPDATE journal_line SET amount_fen = amount_fen * 2",
            {"balance_differs_from_lines", *SEAL_AND_TOTALS},
        ),
        (
            "DELETE FROM journal_line",
            {
                "entry_unbalanced",
                "balance_differs_from_lines",
                "seal_hash_differs",
                "seal_totals_differ",
            },
        ),
        ("UPDATE journal_entry SET memo = 'x'", {"seal_hash_differs"}),
        ("UPDATE journal_entry SET posting_key = 'x'", {"seal_hash_differs"}),
        ("UPDATE account SET balance_fen = balance_fen + 1", {"balance_differs_from_lines"}),
        ("UPDATE account SET held_fen = 1", {"held_differs_from_holds"}),
        (
            "UPDATE journal_line SET code = '999' WHERE line_no = 1",
            {"line_misplaced", *SEAL_AND_TOTALS},
        ),
        (
            "UPDATE journal_line SET account_id = account_id + 1 WHERE line_no = 2",
            {"balance_differs_from_lines", "lines_of_unknown_account", "seal_hash_differs"},
        ),
        ("UPDATE daily_seal SET entry_count = 2", {"seal_totals_differ"}),
        ("DELETE FROM daily_seal", {"day_and_seal_differ"}),
        ("UPDATE business_day SET sealed_at = NULL", {"day_and_seal_differ"}),
    ],
)
def test_verify_names_what_an_administrator_changed(
    unguarded: Ports, clock: MovableClock, tampering: str, kinds: set[str]
) -> None:
    account_id = an_account(unguarded)
    deposit(unguarded, account_id, 100, "deposit:1")
    clock.advance(days=1)
    seal_days(unguarded, through=date(2026, 11, 24))
    assert offences(unguarded) == []
    unguarded.transact(lambda s: s.execute(text(tampering)))
    assert {offence.kind for offence in offences(unguarded)} == kinds


def test_a_balanced_pair_slipped_into_a_sealed_day_breaks_the_seal(
    unguarded: Ports, clock: MovableClock
) -> None:
    account_id = an_account(unguarded)
    deposit(unguarded, account_id, 100, "deposit:1")
    clock.advance(days=1)
    seal_days(unguarded, through=date(2026, 11, 24))
    clock.advance(days=-1)
    deposit(unguarded, account_id, 100, "deposit:2")
    assert {o.kind for o in offences(unguarded)} == SEAL_AND_TOTALS


def test_the_trial_balance_opens_where_the_day_before_closed(
    ports: Ports, clock: MovableClock
) -> None:
    account_id = an_account(ports)
    deposit(ports, account_id, 100, "deposit:1")
    clock.advance(days=1)
    seal_days(ports, through=date(2026, 11, 24))
    deposit(ports, account_id, 30, "deposit:2")
    clock.advance(days=1)
    take_out(ports, account_id, 50, "refund:1")
    rows = ports.read(lambda s: trial_balance(s, first=date(2026, 11, 26), last=date(2026, 11, 26)))
    assert [(r.code, r.opening_fen, r.debit_fen, r.credit_fen, r.closing_fen) for r in rows] == [
        ("11901", 130, 0, 50, 80),
        ("20102", -130, 50, 0, -80),
    ]
    month = ports.read(lambda s: trial_balance(s, first=date(2026, 11, 1), last=date(2026, 11, 30)))
    assert [(r.code, r.opening_fen, r.debit_fen, r.credit_fen, r.closing_fen) for r in month] == [
        ("11901", 0, 130, 50, 80),
        ("20102", 0, 50, 130, -80),
    ]


def test_the_statement_runs_newest_first_with_the_balance_after_each(
    ports: Ports, clock: MovableClock
) -> None:
    account_id, other = an_account(ports), an_account(ports)
    deposit(ports, account_id, 100, "deposit:1")
    deposit(ports, other, 999, "deposit:2")
    clock.advance(days=10)
    deposit(ports, account_id, 30, "deposit:3")
    take_out(ports, account_id, 50, "refund:1")

    lines = ports.read(lambda s: statement(s, account_id=account_id))
    assert [(line.amount_fen, line.balance_fen) for line in lines] == [
        (-50, 80),
        (30, 130),
        (100, 100),
    ]
    december = ports.read(
        lambda s: statement(
            s, account_id=account_id, first=date(2026, 12, 1), last=date(2026, 12, 31)
        )
    )
    assert [line.balance_fen for line in december] == [80, 130]
    page = ports.read(
        lambda s: statement(s, account_id=account_id, before_entry=lines[0].entry_id, limit=1)
    )
    assert [line.balance_fen for line in page] == [130]


def test_every_line_belongs_to_its_entry(ports: Ports) -> None:
    account_id = an_account(ports)
    entry_id = deposit(ports, account_id, 100, "deposit:1")
    lines = ports.read(
        lambda s: s.execute(
            select(JournalLine.line_no, JournalLine.code, JournalLine.amount_fen).where(
                JournalLine.entry_id == entry_id
            )
        ).all()
    )
    assert sorted(map(tuple, lines)) == [(1, "11901", 100), (2, "20102", -100)]

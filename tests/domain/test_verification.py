"""Each kind of damage to the database has its name in the invariants check."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from sqlalchemy import text

from app.domain.inquiries.operations import resolve_orders, resolve_refunds
from app.domain.ports.outcomes import Reason
from tests.builders import a_mandate, an_account
from tests.domain.agreements.conftest import Desk, terms
from tests.domain.debits.conftest import Debiting, a_debiting
from tests.fund import Fund


@dataclass(frozen=True)
class Town:
    """Books with everything in them: credited, given back, asked back, closed, in suspense."""

    account_id: int
    other_id: int


@pytest.fixture
def town(fund: Fund) -> Town:
    account_id, other_id = an_account(fund.ports), an_account(fund.ports)
    order_no = fund.deposit(account_id, 50_000)
    done = fund.ask_back(order_no, 20_000)
    fund.release(done)
    fund.ask_back(order_no, 10_000)
    late = fund.start(other_id, 33_300, channel="alipay").order_no
    fund.start(other_id, 44_400)
    fund.clock.advance(minutes=30)
    resolve_orders(fund.ports)
    resolve_refunds(fund.ports)
    fund.alipay.trades[late].state = "open"
    fund.notify(fund.alipay.pay(late), channel="alipay")
    fund.notify(fund.wechat.callback(order_no, number="D-not-ours", reference="T-stray"))
    gone = fund.deposit(other_id, 20_000)
    fund.release(fund.ask_back(gone, 20_000))
    fund.clock.advance(minutes=1)
    resolve_refunds(fund.ports)
    return Town(account_id=account_id, other_id=other_id)


def kinds(fund: Fund) -> set[str]:
    return {offence.kind for offence in fund.offences()}


def test_books_with_everything_in_them_are_clean(fund: Fund, town: Town) -> None:
    assert fund.offences() == []
    assert fund.money(town.account_id) == (50_000, 10_000)  # 500.00 − 200.00 + 200.00
    assert fund.money(town.other_id) == (0, 0)
    assert [kind for kind, *_ in fund.breaks()] == ["late_payment", "unknown_order"]
    assert [is_reversed for *_, is_reversed in fund.grants()] == [False, True]


CREDITED = "state = 'succeeded' AND account_id = :account_id"


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (
            f"UPDATE payment_order SET state = 'awaiting_payment' WHERE {CREDITED}",
            {"deposit_without_cause"},
        ),
        (
            f"UPDATE payment_order SET amount_fen = amount_fen + 1 WHERE {CREDITED}",
            {"deposit_not_posted_once"},
        ),
        (
            f"UPDATE payment_order SET account_id = :other_id WHERE {CREDITED}",
            {"deposit_not_posted_once"},
        ),
        (
            "UPDATE payment_order SET state = 'succeeded' WHERE state = 'closed'",
            {"deposit_not_posted_once"},
        ),
        (
            "UPDATE payment_order SET state = 'in_suspense' WHERE state = 'closed'",
            {"suspense_receipt_not_posted_once"},
        ),
        (
            "UPDATE payment_order SET amount_fen = 1 WHERE state = 'in_suspense'",
            {"suspense_receipt_not_posted_once"},
        ),
        (
            f"UPDATE payment_order SET refunded_fen = 0 WHERE {CREDITED}",
            {"order_differs_from_refunds"},
        ),
        (
            f"UPDATE payment_order SET refund_reserved_fen = refunded_fen WHERE {CREDITED}",
            {"order_differs_from_refunds"},
        ),
        (
            "UPDATE refund SET state = 'failed' WHERE state = 'succeeded'",
            {"deposit_refund_without_cause", "order_differs_from_refunds"},
        ),
        (
            "UPDATE refund SET amount_fen = amount_fen + 1 WHERE state = 'succeeded'",
            {"deposit_refund_not_posted_once", "order_differs_from_refunds"},
        ),
        (
            "UPDATE refund SET account_id = :other_id"
            " WHERE state = 'succeeded' AND account_id = :account_id",
            {"deposit_refund_not_posted_once"},
        ),
        (
            "UPDATE refund SET state = 'succeeded', checker = 'staff:9' WHERE state = 'requested'",
            {
                "deposit_refund_not_posted_once",
                "order_differs_from_refunds",
                "refund_differs_from_hold",
            },
        ),
        (
            "UPDATE refund SET amount_fen = amount_fen - 1 WHERE state = 'requested'",
            {"order_differs_from_refunds", "refund_differs_from_hold"},
        ),
        ("DELETE FROM hold", {"held_differs_from_holds", "refund_differs_from_hold"}),
        (
            "UPDATE hold SET amount_fen = amount_fen - 1",
            {"held_differs_from_holds", "refund_differs_from_hold"},
        ),
        (
            "UPDATE hold SET hold_key = 'another'",
            {"refund_differs_from_hold"},
        ),
        (
            "UPDATE contributor SET subsidy_paid_fen = subsidy_paid_fen + 1",
            {"subsidies_differ_from_grants"},
        ),
        (
            "DELETE FROM subsidy_grant WHERE account_id = :account_id",
            {"opening_subsidy_without_cause", "subsidies_differ_from_grants"},
        ),
        (
            "UPDATE subsidy_grant SET paid_fen = paid_fen - 1 WHERE account_id = :account_id",
            {"opening_subsidy_not_posted_once", "subsidies_differ_from_grants"},
        ),
        (
            "UPDATE subsidy_grant SET reversed_on = '2026-11-24' WHERE account_id = :account_id",
            {"opening_subsidy_reversal_not_posted_once", "subsidies_differ_from_grants"},
        ),
        (
            "UPDATE subsidy_grant SET reversed_on = NULL WHERE account_id = :other_id",
            {"opening_subsidy_reversal_without_cause", "subsidies_differ_from_grants"},
        ),
        (
            "UPDATE account SET balance_fen = balance_fen + 1 WHERE id = :account_id",
            {"balance_differs_from_lines"},
        ),
        (
            "UPDATE account SET held_fen = held_fen - 1 WHERE id = :account_id",
            {"held_differs_from_holds"},
        ),
        (
            "UPDATE journal_line SET account_id = :other_id"
            " WHERE amount_fen = -50000 AND code = '20102'",
            {"balance_differs_from_lines", "deposit_not_posted_once"},
        ),
        (
            "UPDATE journal_line SET amount_fen = amount_fen * 2"
            " WHERE amount_fen IN (50000, -50000)",
            {"balance_differs_from_lines", "deposit_not_posted_once"},
        ),
        (
            "UPDATE journal_line SET amount_fen = 50001 WHERE amount_fen = 50000",
            {"entry_unbalanced", "deposit_not_posted_once"},
        ),
        (
            "DELETE FROM journal_line WHERE amount_fen IN (50000, -50000)",
            {"entry_unbalanced", "balance_differs_from_lines", "deposit_not_posted_once"},
        ),
        (
            "UPDATE journal_entry SET kind = 'deposit' WHERE kind = 'suspense_receipt'",
            {
                "deposit_with_other_lines",
                "deposit_without_cause",
                "suspense_receipt_not_posted_once",
            },
        ),
        (
            "UPDATE journal_line SET code = '77777' WHERE amount_fen = 50000",
            {
                "line_misplaced",
                "deposit_with_other_lines",
                "suspense_receipt_with_other_lines",
            },
        ),
    ],
)
@pytest.mark.usefixtures("unguarded")
def test_damage_is_named(fund: Fund, town: Town, damage: str, expected: set[str]) -> None:
    names = {"account_id": town.account_id, "other_id": town.other_id}
    used = {name: value for name, value in names.items() if f":{name}" in damage}
    done = fund.ports.transact(lambda session: session.execute(text(damage), used))
    assert done.rowcount > 0  # type: ignore[attr-defined]
    assert kinds(fund) == expected


@pytest.mark.usefixtures("unguarded")
def test_an_entry_that_nobody_caused_is_named_although_it_balances(fund: Fund, town: Town) -> None:
    """A thief with the database's password pays a «refund» out and keeps the balances right."""
    for statement in (
        "INSERT INTO journal_entry"
        " (id, posting_key, kind, business_date, value_date, posted_at, memo)"
        " VALUES (9999, 'refund:R-invented', 'deposit_refund', '2026-11-24', '2026-11-24',"
        " '2026-11-24 02:00:00', 'x')",
        "INSERT INTO journal_line (entry_id, line_no, code, account_id, channel, amount_fen)"
        f" VALUES (9999, 1, '20102', {town.account_id}, NULL, 40000)",
        "INSERT INTO journal_line (entry_id, line_no, code, account_id, channel, amount_fen)"
        " VALUES (9999, 2, '11901', NULL, 'wechat', -40000)",
        f"UPDATE account SET balance_fen = balance_fen - 40000 WHERE id = {town.account_id}",
    ):
        fund.ports.transact(lambda session, s=statement: session.execute(text(s)))
    assert [(o.kind, o.where, o.found) for o in fund.offences()] == [
        ("deposit_refund_without_cause", "refund:R-invented", "40000")
    ]


@pytest.mark.usefixtures("unguarded")
def test_money_credited_under_a_kind_that_has_no_cause_is_named(fund: Fund, town: Town) -> None:
    """Money under a number that is not ours needs no order; but it is nobody's."""
    for statement in (
        "INSERT INTO journal_entry"
        " (id, posting_key, kind, business_date, value_date, posted_at, memo)"
        " VALUES (9999, 'suspense:wechat:T-invented', 'suspense_receipt', '2026-11-24',"
        " '2026-11-24', '2026-11-24 02:00:00', 'x')",
        "INSERT INTO journal_line (entry_id, line_no, code, account_id, channel, amount_fen)"
        " VALUES (9999, 1, '11901', NULL, 'wechat', 40000)",
        "INSERT INTO journal_line (entry_id, line_no, code, account_id, channel, amount_fen)"
        f" VALUES (9999, 2, '20102', {town.account_id}, NULL, -40000)",
        f"UPDATE account SET balance_fen = balance_fen + 40000 WHERE id = {town.account_id}",
    ):
        fund.ports.transact(lambda session, s=statement: session.execute(text(s)))
    assert [(o.kind, o.where) for o in fund.offences()] == [
        ("suspense_receipt_with_other_lines", "suspense:wechat:T-invented")
    ]


@pytest.mark.usefixtures("unguarded")
def test_a_deposit_shared_out_to_another_account_is_named(fund: Fund, town: Town) -> None:
    """Every sum stays right: of the entry, of the deposit, and of both accounts."""
    key = f"deposit:{fund.deposit(town.other_id, 23_456)}"
    for statement in (
        "UPDATE journal_line SET amount_fen = -23455 WHERE amount_fen = -23456",
        "INSERT INTO journal_line (entry_id, line_no, code, account_id, channel, amount_fen)"
        f" SELECT entry_id, 3, '20102', {town.account_id}, NULL, -1"
        " FROM journal_line WHERE amount_fen = -23455",
        f"UPDATE account SET balance_fen = balance_fen + 1 WHERE id = {town.account_id}",
        f"UPDATE account SET balance_fen = balance_fen - 1 WHERE id = {town.other_id}",
    ):
        fund.ports.transact(lambda session, s=statement: session.execute(text(s)))
    assert [(o.kind, o.where) for o in fund.offences()] == [("deposit_with_other_lines", key)]


@pytest.mark.usefixtures("unguarded")
def test_an_offence_says_where_what_was_expected_and_what_was_found(fund: Fund, town: Town) -> None:
    fund.ports.transact(
        lambda session: session.execute(
            text("UPDATE account SET balance_fen = 50001 WHERE id = :id"),
            {"id": town.account_id},
        )
    )
    (offence,) = fund.offences()
    assert offence.where == fund.account(town.account_id).account_no
    assert (offence.expected, offence.found) == ("50000", "50001")


# -- debits -----------------------------------------------------------------------------------


@pytest.fixture
def debits(fund: Fund) -> Debiting:
    """One period each of people whose debit succeeded, was taken twice, is open, missed, retried.

    Their instructions are 1 to 5 by the day of the debit.
    """
    debiting = a_debiting(fund)
    desks = [debiting.desk]
    while len(desks) < 5:
        desks.append(Desk(fund, an_account(fund.ports)))
        a_mandate(fund.ports, desks[-1].account_id)
    for desk, day in zip(desks, (2, 3, 8, 9, 10), strict=True):
        desk.sign(terms(day=day))
    for day in (1, 2):
        debiting.live(12, day)
    debiting.wallet.trouble["submit"] = [Reason.INSUFFICIENT_FUNDS]
    debiting.live(12, 3)
    refused = debiting.last_order()
    assert debiting.live(12, 4) == {"credited": 1}
    debiting.notify(debiting.wallet.finish(refused))
    debiting.wallet.trouble["submit"] = [
        "accepted",
        Reason.ACCOUNT_INVALID,
        Reason.INSUFFICIENT_FUNDS,
    ]
    for day in range(7, 11):
        debiting.live(12, day)
    return debiting


def test_debits_of_every_kind_are_clean(fund: Fund, debits: Debiting) -> None:
    rows = fund.ports.read(
        lambda session: session.execute(
            text("SELECT id, state FROM debit_instruction ORDER BY id")
        ).all()
    )
    assert [tuple(row) for row in rows] == [
        (1, "succeeded"),
        (2, "succeeded"),
        (3, "attempting"),
        (4, "missed"),
        (5, "scheduled"),
    ]
    assert [kind for kind, *_ in fund.breaks()] == ["debited_twice"]
    assert fund.offences() == []


PAID_1 = "order_no = (SELECT paid_order_no FROM debit_instruction WHERE id = 1)"
WITHOUT_ITS_ORDER = "debit_succeeded_without_its_order"
DIFFERS = "order_differs_from_instruction"
NOT_POSTED = "deposit_not_posted_once"
OPEN = "open_debits_differ_from_instruction"


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (
            "UPDATE debit_instruction SET paid_order_no = 'A-invented' WHERE id = 1",
            {WITHOUT_ITS_ORDER, "debit_taken_twice_without_break"},
        ),
        (
            f"UPDATE payment_order SET state = 'failed' WHERE {PAID_1}",
            {WITHOUT_ITS_ORDER, "deposit_without_cause"},
        ),
        (
            f"UPDATE payment_order SET mandate_id = NULL WHERE {PAID_1}",
            {WITHOUT_ITS_ORDER},
        ),
        (
            f"UPDATE payment_order SET mandate_id = NULL, instruction_id = NULL WHERE {PAID_1}",
            {WITHOUT_ITS_ORDER},
        ),
        (
            f"UPDATE payment_order SET mandate_id = mandate_id + 1 WHERE {PAID_1}",
            {DIFFERS},
        ),
        (
            f"UPDATE payment_order SET account_id = account_id + 1 WHERE {PAID_1}",
            {DIFFERS, NOT_POSTED},
        ),
        (
            f"UPDATE payment_order SET amount_fen = amount_fen + 1 WHERE {PAID_1}",
            {DIFFERS, NOT_POSTED},
        ),
        (
            f"UPDATE payment_order SET contribution_month = '2026-11' WHERE {PAID_1}",
            {DIFFERS},
        ),
        (
            f"UPDATE payment_order SET contribution_month = NULL WHERE {PAID_1}",
            {DIFFERS},
        ),
        (
            f"UPDATE payment_order SET channel = 'alipay' WHERE {PAID_1}",
            {DIFFERS},
        ),
        (
            "UPDATE debit_instruction SET amount_fen = amount_fen - 1 WHERE id = 4",
            {DIFFERS},
        ),
        (
            "UPDATE debit_instruction SET period = '2027-01' WHERE id = 5",
            {DIFFERS},
        ),
        (
            "UPDATE debit_instruction SET account_id = account_id + 1, period = '2027-01'"
            " WHERE id = 4",
            {DIFFERS},
        ),
        (
            "UPDATE debit_instruction SET state = 'missed', reason = 'busy', ended_at = created_at"
            " WHERE id = 3",
            {OPEN},
        ),
        (
            "UPDATE debit_instruction SET state = 'scheduled', next_attempt_on = due_on"
            " WHERE id = 3",
            {OPEN},
        ),
        (
            "UPDATE debit_instruction SET state = 'cancelled', ended_at = created_at,"
            " end_reason = 'agreement_ended' WHERE id = 3",
            {OPEN},
        ),
        (
            "UPDATE payment_order SET state = 'failed' WHERE state = 'awaiting_payment'",
            {OPEN},
        ),
        (
            "UPDATE debit_instruction SET state = 'attempting', next_attempt_on = NULL"
            " WHERE id = 5",
            {OPEN},
        ),
        (
            "UPDATE payment_order SET state = 'awaiting_payment' WHERE instruction_id = 5",
            {OPEN},
        ),
        (
            "UPDATE debit_instruction SET state = 'scheduled', paid_order_no = NULL,"
            " ended_at = NULL, next_attempt_on = due_on WHERE id = 1",
            {"debit_without_effect"},
        ),
        (
            "UPDATE debit_instruction SET state = 'skipped', paid_order_no = NULL,"
            " end_reason = 'paid_by_hand' WHERE id = 2",
            {"debit_without_effect"},
        ),
        (
            "DELETE FROM settlement_break",
            {"debit_taken_twice_without_break"},
        ),
        (
            "UPDATE settlement_break SET number = 'A-another'",
            {"debit_taken_twice_without_break"},
        ),
        (
            "UPDATE settlement_break SET kind = 'late_debit'",
            {"debit_taken_twice_without_break"},
        ),
    ],
)
@pytest.mark.usefixtures("unguarded", "debits")
def test_damage_to_debits_is_named(fund: Fund, damage: str, expected: set[str]) -> None:
    done = fund.ports.transact(lambda session: session.execute(text(damage)))
    assert done.rowcount > 0  # type: ignore[attr-defined]
    assert kinds(fund) == expected


def test_a_retry_that_late_money_overtook_is_no_contradiction(fund: Fund) -> None:
    """The first attempt had succeeded after all while the second one is still open."""
    debiting = a_debiting(fund)
    debiting.sign()
    debiting.wallet.trouble["submit"] = [Reason.INSUFFICIENT_FUNDS, "accepted"]
    for day in (9, 10):
        debiting.live(12, day)
    first = debiting.last_order()
    debiting.live(12, 11)
    second = debiting.last_order()
    debiting.notify(debiting.wallet.finish(first))
    assert debiting.attempts() == ["succeeded", "awaiting_payment"]
    assert fund.offences() == []
    debiting.notify(debiting.wallet.finish(second))
    assert [kind for kind, *_ in fund.breaks()] == ["late_debit", "debited_twice"]
    assert fund.offences() == []

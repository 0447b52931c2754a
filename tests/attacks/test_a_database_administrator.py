"""Whoever holds the database: triggers refuse, and past the triggers `ledger verify` names the row.

What is asked is the command line as it is run every night, with its exit code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from apiflask import APIFlask
from click.testing import Result
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from tests.attacks.siege import OPENING_FEN, PAID_FEN, Siege
from tests.routes.callers import on_sqlite_only

CLEAN = "账务核验通过：分录平衡，余额等于明细，冻结在余额之内，封账链完整。\n"
YESTERDAY = "2026-11-24"


@dataclass(frozen=True)
class Books:
    """A day that is sealed, with a deposit of the rider, and today, with one of each of two."""

    siege: Siege
    run: Callable[..., Result]
    names: dict[str, str]

    def write(self, *statements: str) -> None:
        """Write past the product, with its names filled in."""
        with self.siege.witness.engine.begin() as connection:
            for statement in statements:
                done = connection.execute(text(statement.format(**self.names)))
                assert done.rowcount > 0, statement

    def refused(self, statement: str) -> str:
        """Return how the database itself refuses a statement."""
        with self.siege.witness.engine.connect() as connection:
            with pytest.raises(DBAPIError) as caught:
                connection.execute(text(statement.format(**self.names)))
            connection.rollback()
        return str(caught.value.orig)

    def verified(self) -> tuple[int, str]:
        """Return exit code and words of `flask ledger verify`."""
        ran = self.run(args=["ledger", "verify"])
        return ran.exit_code, ran.output


@pytest.fixture
def books(app: APIFlask, siege: Siege) -> Books:
    runner = app.test_cli_runner()
    old = siege.paid()
    siege.clock.advance(days=1)
    sealed = runner.invoke(args=["ledger", "seal"])
    assert (sealed.exit_code, sealed.output) == (0, f"{YESTERDAY} 已封账\n")
    siege.asked_back(old, 10_000)
    new = siege.order()
    siege.channels["wechat"].pay(new)
    answer = siege.deliver("wechat", siege.notice("wechat", new, transaction_id="42000002"))
    assert "SUCCESS" in answer.text
    siege.person("other")
    names = {"old": old, "new": new, "account_no": siege.person().account_no}
    return Books(siege, runner.invoke, names)


ENTRY = "(SELECT id FROM journal_entry WHERE posting_key = 'deposit:{old}')"
FIXED = {
    "a line changed": ("UPDATE journal_line SET amount_fen = 1", "journal_line is append-only"),
    "a line moved": ("UPDATE journal_line SET account_id = 2", "journal_line is append-only"),
    "a line deleted": ("DELETE FROM journal_line", "journal_line is append-only"),
    "an entry changed": ("UPDATE journal_entry SET memo = 'x'", "journal_entry is append-only"),
    "an entry deleted": ("DELETE FROM journal_entry", "journal_entry is append-only"),
    "an entry of a day that is sealed": (
        "INSERT INTO journal_entry (posting_key, kind, business_date, value_date, posted_at, memo)"
        f" VALUES ('deposit:x', 'deposit', '{YESTERDAY}', '{YESTERDAY}', '{YESTERDAY}', 'x')",
        "business day is sealed",
    ),
    "a line replaced": (
        "REPLACE INTO journal_line (entry_id, line_no, code, account_id, channel, amount_fen)"
        " SELECT entry_id, line_no, code, account_id, channel, 1 FROM journal_line",
        "journal_line is append-only",
    ),
    "a seal changed": ("UPDATE daily_seal SET entry_count = 9", "daily_seal is append-only"),
    "a seal deleted": ("DELETE FROM daily_seal", "daily_seal is append-only"),
    "a figure changed": ("UPDATE policy_value SET source = 'x'", "policy_value is append-only"),
    "a figure deleted": ("DELETE FROM policy_value", "policy_value is append-only"),
}


def test_what_is_written_down_cannot_be_changed_where_it_stands(books: Books) -> None:
    books.siege.witness.look()
    for name, (statement, message) in FIXED.items():
        assert message in books.refused(statement), name
    assert books.siege.witness.changes() == {}
    assert books.verified() == (0, CLEAN)
    assert books.siege.witness.events() == []


NONSENSE = {
    "a balance below zero": "UPDATE account SET balance_fen = -1",
    "more held than there is": "UPDATE account SET held_fen = balance_fen + 1",
    "a hold of nothing": "UPDATE hold SET amount_fen = 0",
    "an order of nothing": "UPDATE payment_order SET amount_fen = 0",
    "more given back than came": "UPDATE payment_order SET refunded_fen = amount_fen + 1",
    "an entry of no day": "INSERT INTO journal_entry (posting_key, kind, business_date, value_date,"
    " posted_at, memo) VALUES ('x', 'deposit', '2030-01-01', '2030-01-01', '2030-01-01', 'x')",
    "a cause posted twice": "INSERT INTO journal_entry (posting_key, kind, business_date,"
    " value_date, posted_at, memo) SELECT posting_key, kind, '2026-11-25', value_date, posted_at,"
    " memo FROM journal_entry WHERE posting_key = 'deposit:{new}'",
}


def test_what_makes_no_sense_is_refused_by_the_tables_themselves(books: Books) -> None:
    books.siege.witness.look()
    for name, statement in NONSENSE.items():
        assert books.refused(statement), name
    assert books.siege.witness.changes() == {}
    assert books.verified() == (0, CLEAN)


DAMAGE: dict[str, tuple[list[str], str]] = {
    "a line changed": (
        [
            "UPDATE journal_line SET amount_fen = 50001 WHERE amount_fen = 50000 AND entry_id = "
            + ENTRY
        ],
        "entry_unbalanced deposit:{old}",
    ),
    "a line deleted": (
        [f"DELETE FROM journal_line WHERE line_no = 2 AND entry_id = {ENTRY}"],
        "entry_unbalanced deposit:{old}",
    ),
    "an entry of a sealed day told otherwise": (
        ["UPDATE journal_entry SET memo = 'x' WHERE posting_key = 'deposit:{old}'"],
        f"seal_hash_differs {YESTERDAY}",
    ),
    "an entry moved to another day": (
        [
            "UPDATE journal_entry SET business_date = '2026-11-25'"
            " WHERE posting_key = 'deposit:{old}'"
        ],
        f"seal_totals_differ {YESTERDAY}",
    ),
    "a balanced pair": (
        [
            "INSERT INTO journal_entry (id, posting_key, kind, business_date, value_date,"
            " posted_at, memo) VALUES (9999, 'deposit:invented', 'deposit', '2026-11-25',"
            " '2026-11-25', '2026-11-25', 'x')",
            "INSERT INTO journal_line (entry_id, line_no, code, account_id, channel, amount_fen)"
            " VALUES (9999, 1, '11901', NULL, 'wechat', 99900)",
            "INSERT INTO journal_line (entry_id, line_no, code, account_id, channel, amount_fen)"
            " SELECT 9999, 2, '20102', id, NULL, -99900 FROM account"
            " WHERE account_no = '{account_no}'",
            "UPDATE account SET balance_fen = balance_fen + 99900"
            " WHERE account_no = '{account_no}'",
        ],
        "deposit_without_cause deposit:invented",
    ),
    "a pair of a kind that does not exist": (
        [
            "INSERT INTO journal_entry (id, posting_key, kind, business_date, value_date,"
            " posted_at, memo) VALUES (9999, 'gift:1', 'gift', '2026-11-25', '2026-11-25',"
            " '2026-11-25', 'x')",
            "INSERT INTO journal_line (entry_id, line_no, code, account_id, channel, amount_fen)"
            " VALUES (9999, 1, '11901', NULL, 'wechat', 99900)",
            "INSERT INTO journal_line (entry_id, line_no, code, account_id, channel, amount_fen)"
            " SELECT 9999, 2, '20102', id, NULL, -99900 FROM account"
            " WHERE account_no = '{account_no}'",
            "UPDATE account SET balance_fen = balance_fen + 99900"
            " WHERE account_no = '{account_no}'",
        ],
        "gift_with_other_lines gift:1",
    ),
    "a kind that does not exist, on a day that is sealed": (
        ["UPDATE journal_entry SET kind = 'gift' WHERE posting_key = 'deposit:{old}'"],
        f"seal_hash_differs {YESTERDAY}",
    ),
    "a state that does not exist": (
        ["UPDATE refund SET state = 'done', checker = 'staff:9'"],
        "order_differs_from_refunds {old}",
    ),
    "a balance": (
        ["UPDATE account SET balance_fen = balance_fen + 1 WHERE account_no = '{account_no}'"],
        "balance_differs_from_lines {account_no}",
    ),
    "a hold made smaller": (
        ["UPDATE hold SET amount_fen = 1"],
        "held_differs_from_holds {account_no}",
    ),
    "a hold lifted": (
        ["DELETE FROM hold", "UPDATE account SET held_fen = 0 WHERE account_no = '{account_no}'"],
        "refund_differs_from_hold R",
    ),
    "an order taken back": (
        [
            "UPDATE payment_order SET state = 'closed', credited_on = NULL,"
            " contribution_month = NULL WHERE order_no = '{new}'"
        ],
        "deposit_without_cause deposit:{new}",
    ),
    "an order of more": (
        ["UPDATE payment_order SET amount_fen = 99900 WHERE order_no = '{new}'"],
        "deposit_not_posted_once deposit:{new}",
    ),
    "a refund released by nobody": (
        ["UPDATE refund SET state = 'succeeded', checker = 'staff:9'"],
        "deposit_refund_not_posted_once refund:R",
    ),
    "a seal": (
        ["UPDATE daily_seal SET entry_count = entry_count + 1"],
        f"seal_totals_differ {YESTERDAY}",
    ),
    "a seal deleted": (["DELETE FROM daily_seal"], f"day_and_seal_differ {YESTERDAY}"),
    "a day opened again": (
        ["UPDATE business_day SET sealed_at = NULL WHERE sealed_at IS NOT NULL"],
        f"day_and_seal_differ {YESTERDAY}",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
@pytest.mark.usefixtures("unguarded")
@on_sqlite_only
def test_past_the_triggers_the_nightly_check_names_the_row(books: Books, name: str) -> None:
    statements, offence = DAMAGE[name]
    books.write(*statements)
    books.siege.witness.look()
    code, output = books.verified()
    assert code == 1
    first = output.splitlines()[0]
    assert first.startswith(f"账务核验未通过，首个问题：{offence.format(**books.names)}"), output
    # It tells, and repairs nothing.
    assert books.siege.witness.changes() == {}
    assert books.siege.witness.events() == []


@pytest.mark.usefixtures("unguarded")
def test_on_either_database_a_changed_line_and_its_balance_are_named(books: Books) -> None:
    """Balance and line agree with each other, and with nothing else."""
    books.write(
        f"UPDATE journal_line SET amount_fen = amount_fen * 2 WHERE entry_id = {ENTRY}",
        f"UPDATE account SET balance_fen = balance_fen + {PAID_FEN}"
        " WHERE account_no = '{account_no}'",
    )
    code, output = books.verified()
    assert code == 1
    assert f"deposit_not_posted_once deposit:{books.names['old']}" in output
    assert f"seal_hash_differs {YESTERDAY}" in output
    assert books.siege.balance_fen() == 3 * PAID_FEN + OPENING_FEN


@pytest.mark.usefixtures("unguarded")
@on_sqlite_only
def test_a_seal_made_anew_over_changed_entries_breaks_the_chain(books: Books) -> None:
    """One day alone cannot be sealed again; all that follow can, and a copy outside tells."""
    books.siege.clock.advance(days=1)
    assert books.run(args=["ledger", "seal"]).output == "2026-11-25 已封账\n"
    books.write(
        "UPDATE journal_entry SET memo = 'x' WHERE posting_key = 'deposit:{old}'",
        "UPDATE daily_seal SET hash = X'" + "00" * 32 + f"' WHERE day = '{YESTERDAY}'",
    )
    code, output = books.verified()
    assert code == 1
    assert f"seal_hash_differs {YESTERDAY}" in output
    assert "seal_chain_broken 2026-11-25" in output


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (
            "UPDATE policy_value SET value = '1' WHERE name = 'deposit.minimum_wage_fen'",
            "与参数文件不一致",
        ),
        (
            "INSERT INTO policy_value (name, title, unit, value, effective_from, source, status,"
            " loaded_at) SELECT name, title, unit, value, '2030-01-01', source, status, loaded_at"
            " FROM policy_value WHERE name = 'loan.gate_months'",
            "在参数文件中已不存在",
        ),
    ],
    ids=["changed", "added"],
)
@pytest.mark.usefixtures("unguarded")
@on_sqlite_only
def test_a_figure_that_is_not_the_reviewed_one_is_named(
    books: Books, statement: str, message: str
) -> None:
    books.write(statement)
    ran = books.run(args=["policy", "check"])
    assert ran.exit_code == 1
    assert message in ran.output


RIGHTS = "SELECT, INSERT, UPDATE, DELETE"
FORBIDDEN = (
    "DROP TRIGGER journal_line_no_update",
    "DROP TRIGGER journal_entry_open_day",
    "TRUNCATE TABLE journal_line",
    "DROP TABLE daily_seal",
    "ALTER TABLE account DROP COLUMN held_fen",
    "RENAME TABLE journal_line TO old_line",
    "SET GLOBAL innodb_flush_log_at_trx_commit = 0",
    "SET SESSION sql_log_bin = 0",
    "SELECT * FROM mysql.user",
    "SELECT LOAD_FILE('/etc/passwd') INTO OUTFILE '/tmp/lianjiao-attack'",
)


@pytest.mark.parametrize("engine", ["mariadb"], indirect=True)
def test_the_products_own_user_cannot_go_round_the_triggers(engine: Engine, books: Books) -> None:
    """With the rights that docs/operations.md gives it, for a thief who has its password."""
    moment = datetime.now(UTC).strftime("%H%M%S%f")
    user = f"'thief{moment}'@'127.0.0.1'"
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE USER {user} IDENTIFIED BY 'Tongguan-2026'")
        connection.exec_driver_sql(f"GRANT {RIGHTS} ON {engine.url.database}.* TO {user}")
    url = engine.url.set(username=f"thief{moment}", password="Tongguan-2026")
    thief = create_engine(url)
    books.siege.witness.look()
    try:
        with thief.connect() as connection:
            assert connection.execute(text("SELECT COUNT(*) FROM account")).scalar() == 2
            for statement in FORBIDDEN:
                with pytest.raises(DBAPIError) as caught:
                    connection.exec_driver_sql(statement)
                assert caught.value.orig.args[0] in {1142, 1227, 1044, 1045}, statement
    finally:
        thief.dispose()
        with engine.connect() as connection:
            connection.exec_driver_sql(f"DROP USER {user}")
    assert books.siege.witness.changes() == {}
    assert books.verified() == (0, CLEAN)

"""Triggers that keep what must never change, whoever writes to the database.

A migration that creates a table of the journal or of the policy calls these. A later one that
rebuilds such a table must call them again: the triggers go with the old table.
"""

from __future__ import annotations

from alembic import op


def refuse_changes(table: str) -> None:
    """Make a table append-only: UPDATE and DELETE fail."""
    for event in ("UPDATE", "DELETE"):
        message = f"{table} is append-only"
        if _is_sqlite():
            body = f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
        else:
            body = f"FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{message}'"
        op.execute(f"CREATE TRIGGER {table}_no_{event.lower()} BEFORE {event} ON {table} {body}")


def refuse_entries_of_sealed_days() -> None:
    """Make a sealed business day take no further entry."""
    op.execute(_SEALED_SQLITE if _is_sqlite() else _SEALED_MARIADB)


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


_SEALED_SQLITE = """
CREATE TRIGGER journal_entry_open_day BEFORE INSERT ON journal_entry
WHEN (SELECT sealed_at FROM business_day WHERE day = NEW.business_date) IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'business day is sealed'); END
"""

# The shared lock makes sealing wait for postings of the day, and postings wait for a seal.
_SEALED_MARIADB = """
CREATE TRIGGER journal_entry_open_day BEFORE INSERT ON journal_entry FOR EACH ROW
IF (SELECT sealed_at FROM business_day WHERE day = NEW.business_date LOCK IN SHARE MODE) IS NOT NULL
THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'business day is sealed';
END IF
"""

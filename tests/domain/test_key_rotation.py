"""Changing the key at rest: complete, restartable after a kill, harmless beside writers."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest
from sqlalchemy import event, select, update

import app.domain.tables  # noqa: F401  every table
from app.domain.base import Base, table_of
from app.domain.contributors.models import LoginIdentity
from app.domain.key_rotation import SEALED_TABLES, count_rows_by_key, rotate_keys
from app.domain.pii import Vault
from tests.domain.people import an_identity, at_once

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
INDEX = b"i" * 32
IDENTITY = table_of(LoginIdentity)


@pytest.fixture
def both(ports):
    """The same world after the new key was put first."""
    return replace(ports, vault=Vault({"k2": NEW, "k1": OLD}, active="k2", index_key=INDEX))


@pytest.fixture
def only_new():
    return Vault({"k2": NEW}, active="k2", index_key=INDEX)


def fill(ports, count: int) -> None:
    for number in range(count):
        an_identity(ports, f"openid-{number}")


def keys_of(ports):
    return dict(ports.read(count_rows_by_key)["login_identity"])


def subjects(ports, vault) -> list[str]:
    rows = ports.read(
        lambda session: session.scalars(
            select(LoginIdentity.subject).order_by(LoginIdentity.id)
        ).all()
    )
    return [vault.open(row, context="login_identity.subject") for row in rows]


def test_every_table_with_a_key_id_is_rotated():
    with_key = {table.name for table in Base.metadata.sorted_tables if "key_id" in table.c}
    assert with_key == {sealed.name for sealed in SEALED_TABLES}


def test_every_sealed_column_exists():
    for sealed in SEALED_TABLES:
        assert set(sealed.columns) <= set(sealed.table.c.keys())


def test_after_rotation_the_new_key_alone_opens_everything(ports, both, only_new):
    fill(ports, 7)
    seen = []
    result = rotate_keys(both, batch_size=3, progress=lambda *step: seen.append(step))
    assert (result.rotated, result.unreadable) == (7, ())
    assert keys_of(ports) == {"k2": 7}
    assert subjects(ports, only_new) == [f"openid-{number}" for number in range(7)]
    assert seen == [(3, 7), (6, 7), (7, 7)]


def test_a_second_run_has_nothing_to_do(ports, both):
    fill(ports, 3)
    rotate_keys(both)
    before = ports.read(lambda session: session.scalars(select(LoginIdentity.subject)).all())
    assert rotate_keys(both).rotated == 0
    after = ports.read(lambda session: session.scalars(select(LoginIdentity.subject)).all())
    assert before == after


def test_blind_indices_stay(ports, both):
    fill(ports, 2)
    before = ports.read(lambda session: session.scalars(select(IDENTITY.c.subject_index)).all())
    rotate_keys(both)
    assert before == ports.read(
        lambda session: session.scalars(select(IDENTITY.c.subject_index)).all()
    )


def test_each_batch_is_a_transaction_of_its_own(ports, both):
    fill(ports, 7)

    class Stopped(BaseException):
        pass

    def stop(seen: int, _total: int) -> None:
        if seen >= 3:
            raise Stopped

    with pytest.raises(Stopped):
        rotate_keys(both, batch_size=3, progress=stop)
    assert keys_of(ports) == {"k1": 4, "k2": 3}
    assert rotate_keys(both, batch_size=3).rotated == 4


def test_a_run_killed_inside_a_batch_is_taken_up_again(ports, both, only_new, engine):
    fill(ports, 9)
    script = f"""
        import os, signal
        from datetime import UTC, datetime
        from sqlalchemy import create_engine
        from app.db import make_read, make_transact, prepare_engine
        from app.domain.key_rotation import rotate_keys
        from app.domain.pii import Vault
        from app.domain.ports import Channels, Ports

        class Mortal(Vault):
            sealed = 0
            def seal(self, value, *, context):
                self.sealed += 1
                if self.sealed > 6:
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().seal(value, context=context)

        engine = prepare_engine(create_engine(
            {engine.url.render_as_string(hide_password=False)!r}))
        vault = Mortal({{"k2": {NEW!r}, "k1": {OLD!r}}}, active="k2", index_key={INDEX!r})
        rotate_keys(
            Ports(transact=make_transact(engine), read=make_read(engine),
                  now=lambda: datetime.now(UTC), new_number=str, vault=vault,
                  channels=Channels(), logins={{}}),
            batch_size=4,
        )
    """
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert killed.returncode == -9, killed.stderr.decode()
    # The batch of four before the kill stands; the one under way left nothing.
    assert keys_of(ports) == {"k1": 5, "k2": 4}
    assert subjects(ports, both.vault) == [f"openid-{number}" for number in range(9)]
    assert rotate_keys(both, batch_size=4).rotated == 5
    assert subjects(ports, only_new) == [f"openid-{number}" for number in range(9)]


def test_a_row_that_changes_meanwhile_keeps_the_change(ports, both, engine):
    """What another process writes between our reading and our writing must not be undone."""
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite lets nobody write between a transaction's reading and writing")
    fill(ports, 1)
    fresh = ports.vault.seal("changed", context="login_identity.subject")
    meddled = []

    def meddle(_connection, _cursor, statement, *_rest):
        if statement.startswith("UPDATE login_identity") and not meddled:
            meddled.append(1)
            ports.transact(lambda session: session.execute(update(IDENTITY).values(subject=fresh)))

    event.listen(engine, "before_cursor_execute", meddle)
    try:
        first = rotate_keys(both)
    finally:
        event.remove(engine, "before_cursor_execute", meddle)
    assert meddled
    assert first.rotated == 0
    assert rotate_keys(both).rotated == 1
    assert subjects(ports, both.vault) == ["changed"]


def test_three_runs_at_once_rotate_each_row_once(ports, both, only_new):
    fill(ports, 12)
    results = at_once(3, lambda _: rotate_keys(both, batch_size=2))
    assert not any(isinstance(result, Exception) for result in results), results
    assert sum(result.rotated for result in results) == 12
    assert subjects(ports, only_new) == [f"openid-{number}" for number in range(12)]


def test_a_spoilt_row_is_named_and_does_not_stop_the_others(ports, both):
    fill(ports, 5)
    spoilt = ports.read(
        lambda session: session.scalars(select(IDENTITY.c.id).order_by(IDENTITY.c.id)).all()
    )[1]
    ports.transact(
        lambda session: session.execute(
            update(IDENTITY).where(IDENTITY.c.id == spoilt).values(subject=b"\x01\x02k1rubbish")
        )
    )
    result = rotate_keys(both, batch_size=1)
    assert result.rotated == 4
    assert [(row.table, row.row_id) for row in result.unreadable] == [("login_identity", spoilt)]
    assert keys_of(ports) == {"k1": 1, "k2": 4}


def test_rotation_moves_to_another_cipher(ports):
    fill(ports, 2)
    national = Vault({"k2": NEW, "k1": OLD}, active="k2", index_key=INDEX, cipher="sm4-gcm")
    rotate_keys(replace(ports, vault=national))
    stored = ports.read(lambda session: session.scalars(select(LoginIdentity.subject)).all())
    assert {Vault.cipher_of(value) for value in stored} == {"sm4-gcm"}
    assert subjects(ports, Vault({"k2": NEW}, active="k2", index_key=INDEX)) == [
        "openid-0",
        "openid-1",
    ]

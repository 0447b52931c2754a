"""Logging in, and who a token stands for."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import event, func, select, update

from app.domain.base import table_of
from app.domain.contributors.models import Account, AccountStatus, LoginIdentity, Platform
from app.domain.contributors.operations import enrol
from app.domain.ports.logins import LoginRefused
from app.domain.sessions.models import LinkAttempt, SessionToken
from app.domain.sessions.operations import (
    AccountFrozen,
    LoggedIn,
    UnknownPlatform,
    log_in,
    log_out,
    remove_expired,
    revoke_all,
)
from app.domain.sessions.queries import PlatformNotLinked, authenticate, openid_of
from tests.domain.people import FakeLogin, an_application, at_once


@pytest.fixture
def logins():
    return {"wechat": FakeLogin(), "alipay": FakeLogin(), "other": FakeLogin()}


def who(ports, token):
    return ports.read(lambda session: authenticate(session, token, now=ports.now()))


def freeze(ports) -> None:
    ports.transact(
        lambda session: session.execute(update(Account).values(status=AccountStatus.FROZEN))
    )


def test_a_first_log_in_is_somebody_without_an_account(ports):
    logged_in = log_in(ports, platform="wechat", code="code-of-a")
    caller = who(ports, logged_in.token)
    assert not logged_in.enrolled
    assert caller.platform is Platform.WECHAT
    assert (caller.contributor_id, caller.account_id) == (None, None)
    assert logged_in.expires_at == ports.now() + timedelta(days=7)


def test_after_enrolling_the_same_token_stands_for_the_account(ports):
    logged_in = log_in(ports, platform="wechat", code="code-of-a")
    identity_id = who(ports, logged_in.token).identity_id
    enrolled = enrol(ports, identity_id=identity_id, application=an_application())
    caller = who(ports, logged_in.token)
    assert caller.contributor_id == enrolled.contributor_id
    assert caller.account_id == enrolled.account_id
    assert log_in(ports, platform="wechat", code="code-of-a#2").enrolled


def test_the_same_person_keeps_one_identity_a_platform(ports):
    first = log_in(ports, platform="wechat", code="code-of-a")
    second = log_in(ports, platform="wechat", code="code-of-a#2")
    elsewhere = log_in(ports, platform="alipay", code="code-of-a")
    assert first.token != second.token
    assert who(ports, first.token) == who(ports, second.token)
    assert who(ports, elsewhere.token).identity_id != who(ports, first.token).identity_id


def test_eight_first_log_ins_at_once_make_one_identity(ports):
    results = at_once(
        8, lambda number: log_in(ports, platform="wechat", code=f"code-of-a#{number}")
    )
    assert all(isinstance(result, LoggedIn) for result in results), results
    count = ports.read(
        lambda session: session.scalar(select(func.count()).select_from(LoginIdentity))
    )
    assert count == 1


def test_a_code_that_the_platform_refuses_stores_nothing(ports):
    with pytest.raises(LoginRefused):
        log_in(ports, platform="wechat", code="nonsense")
    log_in(ports, platform="wechat", code="code-of-a")
    with pytest.raises(LoginRefused):
        log_in(ports, platform="wechat", code="code-of-a")
    assert ports.read(lambda session: len(session.scalars(select(SessionToken)).all())) == 1


@pytest.mark.parametrize("platform", ["", "qq", "other", "WECHAT"])
def test_an_unknown_platform_is_refused(ports, platform):
    with pytest.raises(UnknownPlatform):
        log_in(ports, platform=platform, code="code-of-a")


def test_the_platform_is_asked_outside_any_transaction(ports, engine, logins):
    open_transactions = []
    event.listen(engine, "begin", lambda _: open_transactions.append(1))

    class Watching(FakeLogin):
        def subject_of(self, code):
            assert not open_transactions
            return super().subject_of(code)

    logins["wechat"] = Watching()
    log_in(ports, platform="wechat", code="code-of-a")
    assert open_transactions


def test_only_the_hash_of_a_token_is_stored(ports):
    token = log_in(ports, platform="wechat", code="code-of-a").token
    row = ports.read(lambda session: session.execute(select(table_of(SessionToken))).one())
    assert len(token) == 43  # 32 bytes in URL-safe Base64
    assert token not in repr(row)
    assert len(row.token_hash) == 32


def test_no_token_shows_in_a_repr(ports):
    logged_in = log_in(ports, platform="wechat", code="code-of-a")
    assert logged_in.token not in repr(logged_in)


def test_the_openid_is_sealed(ports):
    log_in(ports, platform="wechat", code="code-of-openid-secret")
    row = ports.read(lambda session: session.execute(select(table_of(LoginIdentity))).one())
    assert b"openid-secret" not in row.subject
    assert row.key_id == "k1"


@pytest.mark.parametrize("token", ["", "x", "x" * 10_000, "令牌", "\x00", "\ud800", "' OR 1=1 --"])
def test_a_wrong_token_is_nobody(ports, token):
    log_in(ports, platform="wechat", code="code-of-a")
    assert who(ports, token) is None


def test_a_token_ends_on_its_second(ports, clock):
    token = log_in(ports, platform="wechat", code="code-of-a", lifetime=timedelta(hours=1)).token
    clock.advance(minutes=59, seconds=59)
    assert who(ports, token) is not None
    clock.advance(seconds=1)
    assert who(ports, token) is None


def test_a_token_after_log_out_is_nobody(ports):
    token = log_in(ports, platform="wechat", code="code-of-a").token
    other = log_in(ports, platform="wechat", code="code-of-a#2").token
    log_out(ports, token=token)
    log_out(ports, token=token)
    log_out(ports, token="never issued")
    assert who(ports, token) is None
    assert who(ports, other) is not None


def test_revoking_all_ends_every_session_of_the_person_alone(ports):
    mine = [log_in(ports, platform="wechat", code=f"code-of-a#{number}") for number in range(3)]
    theirs = log_in(ports, platform="wechat", code="code-of-b")
    for token, serial in ((mine[0].token, "002"), (theirs.token, "003")):
        enrol(
            ports,
            identity_id=who(ports, token).identity_id,
            application=an_application(serial=serial),
        )
    contributor_id = who(ports, mine[0].token).contributor_id
    assert revoke_all(ports, contributor_id=contributor_id) == 3
    assert [who(ports, session.token) for session in mine] == [None, None, None]
    assert who(ports, theirs.token) is not None


def test_a_frozen_account_has_no_sessions_and_gets_none(ports):
    token = log_in(ports, platform="wechat", code="code-of-a").token
    enrol(ports, identity_id=who(ports, token).identity_id, application=an_application())
    freeze(ports)
    assert who(ports, token) is None
    with pytest.raises(AccountFrozen):
        log_in(ports, platform="wechat", code="code-of-a#2")


def test_authenticating_is_one_select(ports, engine):
    token = log_in(ports, platform="wechat", code="code-of-a").token
    statements = []

    def note(_connection, _cursor, statement, *_rest):
        statements.append(statement)

    with engine.connect() as connection:
        event.listen(connection, "before_cursor_execute", note)
        from sqlalchemy.orm import Session

        with Session(connection) as session:
            assert authenticate(session, token, now=ports.now()) is not None
    begun = {"BEGIN IMMEDIATE"}  # what every SQLite transaction starts with
    assert [s.split()[0] for s in statements if s not in begun] == ["SELECT"]


def test_the_openid_is_found_for_the_right_platform_only(ports):
    token = log_in(ports, platform="wechat", code="code-of-openid-a").token
    enrol(ports, identity_id=who(ports, token).identity_id, application=an_application())
    contributor_id = who(ports, token).contributor_id

    def ask(platform):
        return ports.read(lambda session: openid_of(session, ports.vault, contributor_id, platform))

    assert ask("wechat") == ask(Platform.WECHAT) == "openid-a"
    with pytest.raises(PlatformNotLinked):
        ask("alipay")


def test_what_is_over_is_removed_in_batches_and_nothing_else(ports, clock):
    old = [log_in(ports, platform="wechat", code=f"code-of-a#{number}") for number in range(5)]
    clock.advance(days=6)
    revoked = log_in(ports, platform="wechat", code="code-of-a#r").token
    log_out(ports, token=revoked)
    fresh = log_in(ports, platform="wechat", code="code-of-a#f").token
    identity_id = who(ports, fresh).identity_id
    ports.transact(
        lambda session: session.add(
            LinkAttempt(
                identity_id=identity_id,
                number=1,
                attempted_at=ports.now() - timedelta(minutes=10),
            )
        )
    )
    clock.advance(days=1)
    assert remove_expired(ports, batch_size=2) == len(old) + 2
    assert remove_expired(ports) == 0
    assert who(ports, fresh) is not None

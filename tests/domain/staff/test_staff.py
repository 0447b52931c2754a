"""Staff log-in: one answer for every refusal, a lock after five, eight hours and no more."""

from __future__ import annotations

from datetime import timedelta
from statistics import median
from time import perf_counter

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select, update

from app.domain.base import table_of
from app.domain.errors import NotAuthenticated, NotFound
from app.domain.staff import passwords
from app.domain.staff.models import (
    LoginResult,
    Role,
    StaffLoginAttempt,
    StaffMember,
    StaffSession,
)
from app.domain.staff.operations import (
    StaffLoggedIn,
    StaffLoginRefused,
    UsernameTaken,
    add_staff_member,
    disable_staff_member,
    log_in_staff,
    log_out_staff,
)
from app.domain.staff.queries import authenticate_staff, list_staff
from app.domain.staff.rules import (
    DisplayNameInvalid,
    PasswordTooWeak,
    UsernameInvalid,
    check_password,
)
from tests.domain.people import at_once

RIGHT = "Correct-Horse-7"
WRONG = "Wrong-Horse-77"


@pytest.fixture(autouse=True)
def _quick_hashes(monkeypatch):
    monkeypatch.setattr(
        passwords, "_HASHER", PasswordHasher(time_cost=1, memory_cost=256, parallelism=1)
    )
    passwords._nobody.cache_clear()
    yield
    passwords._nobody.cache_clear()


@pytest.fixture
def clerk(ports) -> int:
    return add_staff_member(
        ports, username="clerk1", display_name="测试经办", role=Role.CLERK, password=RIGHT
    )


def who(ports, token):
    return ports.read(lambda session: authenticate_staff(session, token, now=ports.now()))


def fail(ports, *, username="clerk1", password=WRONG) -> StaffLoginRefused:
    with pytest.raises(StaffLoginRefused) as refused:
        log_in_staff(ports, username=username, password=password)
    return refused.value


def test_a_member_of_staff_logs_in(ports, clerk):
    logged_in = log_in_staff(ports, username=" Clerk1 ", password=RIGHT)
    caller = who(ports, logged_in.token)
    assert (caller.staff_id, caller.role) == (clerk, Role.CLERK)
    assert caller.display_name == "测试经办"
    assert logged_in.expires_at == ports.now() + timedelta(hours=8)
    assert logged_in.token not in repr(logged_in)


def test_neither_token_nor_password_is_stored(ports, clerk):
    token = log_in_staff(ports, username="clerk1", password=RIGHT).token
    session_row, member_row = ports.read(
        lambda session: (
            session.execute(select(table_of(StaffSession))).one(),
            session.execute(select(table_of(StaffMember))).one(),
        )
    )
    assert token not in repr(session_row)
    assert RIGHT not in repr(member_row)
    assert member_row.password_hash.startswith("$argon2id$")


def test_every_refusal_looks_the_same(ports, clerk):
    add_staff_member(ports, username="gone", display_name="测试", role=Role.CLERK, password=RIGHT)
    disable_staff_member(ports, username="gone")
    answers = [
        fail(ports),
        fail(ports, username="nobody"),
        fail(ports, username="gone", password=RIGHT),
        fail(ports, username=""),
        fail(ports, username="x" * 10_000),
        fail(ports, username="' OR 1=1 --"),
        fail(ports, username="\ud800"),
        fail(ports, username="clérk1"),
        fail(ports, password=""),
    ]
    fail(ports)
    fail(ports)
    fail(ports)  # the fifth wrong password of clerk1, counting the empty one
    answers.append(fail(ports, password=RIGHT))
    assert len({(a.code, a.message, str(a.detail)) for a in answers}) == 1
    assert isinstance(answers[0], NotAuthenticated)


def test_an_unknown_name_costs_the_same_work(ports, clerk, monkeypatch):
    verified = []
    real = passwords._HASHER

    class Counting:
        def verify(self, stored, typed):
            verified.append(stored)
            return real.verify(stored, typed)

        def __getattr__(self, name):
            return getattr(real, name)

    monkeypatch.setattr(passwords, "_HASHER", Counting())
    fail(ports)
    fail(ports, username="nobody")
    assert len(verified) == 2
    parameters = {stored.rsplit("$", 2)[0] for stored in verified}
    assert len(parameters) == 1
    attempts = ports.read(
        lambda session: session.scalars(
            select(StaffLoginAttempt.result).order_by(StaffLoginAttempt.id)
        ).all()
    )
    assert attempts == [LoginResult.TRIED, LoginResult.UNKNOWN]


def test_an_unknown_name_takes_as_long(ports, clerk, monkeypatch):
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=3, memory_cost=32_768))
    passwords._nobody.cache_clear()
    add_staff_member(ports, username="slow", display_name="测试", role=Role.CLERK, password=RIGHT)

    def seconds(username: str) -> float:
        begin = perf_counter()
        fail(ports, username=username)
        return perf_counter() - begin

    fail(ports, username="nobody")  # makes the hash of nobody
    known = median(seconds("slow") for _ in range(4))
    unknown = median(seconds("nobody") for _ in range(4))
    assert 1 / 3 < known / unknown < 3


def test_a_hostile_password_is_only_wrong(ports, clerk):
    for password in ("\x00", "\ud800", "密" * 100_000, RIGHT + "\x00"):
        fail(ports, password=password)


def test_five_failures_lock_for_fifteen_minutes(ports, clock, clerk):
    for _ in range(5):
        fail(ports)
    fail(ports, password=RIGHT)
    clock.advance(minutes=14, seconds=59)
    fail(ports, password=RIGHT)
    clock.advance(seconds=1)
    assert log_in_staff(ports, username="clerk1", password=RIGHT)


def test_after_the_lock_there_are_five_tries_again(ports, clock, clerk):
    for _ in range(5):
        fail(ports)
    clock.advance(minutes=15)
    for _ in range(4):
        fail(ports)
    assert log_in_staff(ports, username="clerk1", password=RIGHT)


def test_tries_during_the_lock_do_not_make_it_longer(ports, clock, clerk):
    for _ in range(5):
        fail(ports)
    clock.advance(minutes=14)
    for _ in range(20):
        fail(ports)
    clock.advance(minutes=1)
    assert log_in_staff(ports, username="clerk1", password=RIGHT)


def test_a_success_begins_the_count_anew(ports, clerk):
    for _ in range(3):
        for _ in range(4):
            fail(ports)
        assert log_in_staff(ports, username="clerk1", password=RIGHT)


def test_the_lock_is_one_persons_own(ports, clerk):
    add_staff_member(
        ports, username="other", display_name="测试", role=Role.REVIEWER, password=RIGHT
    )
    for _ in range(5):
        fail(ports)
    assert log_in_staff(ports, username="other", password=RIGHT)


def test_twenty_guesses_at_once_are_at_most_five_guesses(ports, clerk):
    at_once(20, lambda _: log_in_staff(ports, username="clerk1", password=WRONG))
    results = ports.read(lambda session: session.scalars(select(StaffLoginAttempt.result)).all())
    assert results.count(LoginResult.TRIED) == 5
    assert results.count(LoginResult.LOCKED) == 15
    fail(ports, password=RIGHT)


def test_two_right_log_ins_at_once_both_succeed(ports, clerk):
    results = at_once(2, lambda _: log_in_staff(ports, username="clerk1", password=RIGHT))
    assert all(isinstance(result, StaffLoggedIn) for result in results), results


def test_a_session_ends_after_eight_hours(ports, clock, clerk):
    token = log_in_staff(ports, username="clerk1", password=RIGHT).token
    clock.advance(hours=7, minutes=59, seconds=59)
    assert who(ports, token) is not None
    clock.advance(seconds=1)
    assert who(ports, token) is None


def test_a_session_after_log_out_is_nobody(ports, clerk):
    token = log_in_staff(ports, username="clerk1", password=RIGHT).token
    other = log_in_staff(ports, username="clerk1", password=RIGHT).token
    log_out_staff(ports, token=token)
    log_out_staff(ports, token="never issued")
    assert who(ports, token) is None
    assert who(ports, other) is not None


@pytest.mark.parametrize("token", ["", "x" * 10_000, "\x00", "\ud800"])
def test_a_wrong_token_is_nobody(ports, clerk, token):
    assert who(ports, token) is None


def test_disabling_ends_sessions_and_bars_log_in(ports, clerk):
    token = log_in_staff(ports, username="clerk1", password=RIGHT).token
    disable_staff_member(ports, username="clerk1")
    assert who(ports, token) is None
    fail(ports, password=RIGHT)
    with pytest.raises(NotFound):
        disable_staff_member(ports, username="nobody")


def test_someone_disabled_behind_our_back_is_nobody_at_once(ports, clerk):
    token = log_in_staff(ports, username="clerk1", password=RIGHT).token
    ports.transact(lambda session: session.execute(update(StaffMember).values(active=False)))
    assert who(ports, token) is None


def test_a_contributors_token_is_no_staff_token(ports, clerk):
    from app.domain.sessions.queries import authenticate

    token = log_in_staff(ports, username="clerk1", password=RIGHT).token
    now = ports.now()
    assert ports.read(lambda session: authenticate(session, token, now=now)) is None


def test_a_hash_of_weaker_days_is_made_anew(ports, clerk, monkeypatch):
    stronger = PasswordHasher(time_cost=2, memory_cost=512, parallelism=1)
    monkeypatch.setattr(passwords, "_HASHER", stronger)
    log_in_staff(ports, username="clerk1", password=RIGHT)
    stored = ports.read(lambda session: session.get_one(StaffMember, clerk).password_hash)
    assert "m=512,t=2,p=1" in stored
    assert log_in_staff(ports, username="clerk1", password=RIGHT)


def test_a_name_is_given_once_for_ever(ports, clerk):
    disable_staff_member(ports, username="clerk1")
    with pytest.raises(UsernameTaken):
        add_staff_member(
            ports, username="CLERK1", display_name="测试", role=Role.AUDITOR, password=RIGHT
        )


def test_the_list_shows_everybody(ports, clerk):
    add_staff_member(
        ports, username="admin", display_name="测试管理", role=Role.ADMINISTRATOR, password=RIGHT
    )
    disable_staff_member(ports, username="clerk1")
    listed = ports.read(list_staff)
    assert [(m.username, m.role, m.active) for m in listed] == [
        ("admin", Role.ADMINISTRATOR, True),
        ("clerk1", Role.CLERK, False),
    ]


@pytest.mark.parametrize("username", ["", "ab", "1abc", "a b c", "管理员", "a" * 33, "<abc>"])
def test_other_names_are_refused(ports, username):
    with pytest.raises(UsernameInvalid):
        add_staff_member(
            ports, username=username, display_name="测试", role=Role.CLERK, password=RIGHT
        )


@pytest.mark.parametrize("name", ["", "  ", "测" * 31, "<b>测</b>", "测\u202e试", "测\n试"])
def test_other_display_names_are_refused(ports, name):
    with pytest.raises(DisplayNameInvalid):
        add_staff_member(
            ports, username="clerk1", display_name=name, role=Role.CLERK, password=RIGHT
        )


@pytest.mark.parametrize(
    "password",
    [
        "",
        "Aa1-aaaaa",
        "alllowercaseletters",
        "lowercase123456",
        "Clerk1-2026-xx",
        "Aa1-" + "x" * 125,
        "Aa1-aaaaaa\n",
        "Aa1-aaaaa\ud800",
    ],
)
def test_weak_passwords_are_refused_without_being_repeated(password):
    with pytest.raises(PasswordTooWeak) as refused:
        check_password(password, username="clerk1")
    assert not password or password not in refused.value.message


@pytest.mark.parametrize("password", [RIGHT, "密码很长Abcdef1", "lower123 & so", "Aa1-aaaaaa"])
def test_good_passwords_are_accepted(password):
    check_password(password, username="clerk1")

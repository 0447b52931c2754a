"""The lease: one holder, a number that only grows, and the database's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from app.domain.base import table_of
from app.domain.ports import Ports
from app.domain.scheduling.models import RunState, SchedulerLease
from app.domain.scheduling.operations import (
    Deposed,
    Grip,
    abandon_runs,
    begin_run,
    check_lease,
    record_failure,
    record_success,
    release_lease,
    renew_lease,
    take_lease,
)
from app.domain.scheduling.queries import find_lease, list_runs
from tests.conftest import MovableClock


def take(ports: Ports, holder: str) -> Grip:
    grip = take_lease(ports, holder=holder)
    assert grip is not None
    return grip


def let_expire(ports: Ports) -> None:
    past = datetime(2026, 1, 1, tzinfo=UTC)
    lease = table_of(SchedulerLease)
    ports.transact(lambda session: session.execute(update(lease).values(expires_at=past)))


def lease_of(ports: Ports) -> SchedulerLease:
    return ports.read(lambda session: session.scalars(select(SchedulerLease)).one())


def test_the_first_who_asks_has_it_and_others_wait(ports: Ports) -> None:
    assert ports.read(find_lease) is None
    assert take(ports, "a") == Grip(holder="a", term=1)
    assert take_lease(ports, holder="b") is None
    assert take_lease(ports, holder="a") is None  # not even a process of the same name
    lease = lease_of(ports)
    assert (lease.holder, lease.term) == ("a", 1)
    assert lease.expires_at - lease.renewed_at == timedelta(seconds=20)


def test_who_takes_an_expired_lease_gets_a_higher_number(ports: Ports) -> None:
    old = take(ports, "a")
    let_expire(ports)
    assert take(ports, "b") == Grip(holder="b", term=2)
    with pytest.raises(Deposed):
        renew_lease(ports, old)
    with pytest.raises(Deposed):
        ports.transact(lambda session: check_lease(session, old))
    assert lease_of(ports).holder == "b"


def test_a_lease_renewed_late_is_kept_if_nobody_took_it(ports: Ports) -> None:
    grip = take(ports, "a")
    let_expire(ports)
    renew_lease(ports, grip)
    assert take_lease(ports, holder="b") is None
    ports.transact(lambda session: check_lease(session, grip))


def test_a_lease_given_back_is_free_at_once(ports: Ports) -> None:
    release_lease(ports, take(ports, "a"))
    assert lease_of(ports).holder is None
    assert take(ports, "b").term == 2


def test_who_lost_the_lease_can_not_give_it_back(ports: Ports) -> None:
    old = take(ports, "a")
    let_expire(ports)
    take(ports, "b")
    release_lease(ports, old)
    assert lease_of(ports).holder == "b"
    assert take_lease(ports, holder="c") is None


def test_a_machine_with_a_wrong_clock_neither_steals_nor_hoards(
    ports: Ports, clock: MovableClock
) -> None:
    clock.advance(days=3)
    grip = take(ports, "ahead")
    clock.advance(days=-6)
    assert take_lease(ports, holder="behind") is None
    clock.advance(days=100)
    assert take_lease(ports, holder="far ahead") is None
    renew_lease(ports, grip)
    age = ports.read(find_lease)
    assert age is not None
    assert age.age_seconds < 60


def test_a_new_holder_ends_what_the_dead_one_left_under_way(
    ports: Ports, clock: MovableClock
) -> None:
    today = clock.now().date()
    old = take(ports, "a")
    left = begin_run(ports, job="plan", on=today, grip=old, holder="a")
    by_hand = begin_run(ports, job="plan", on=today, grip=None, holder="desk")
    let_expire(ports)
    new = take(ports, "b")
    own = begin_run(ports, job="plan", on=today, grip=new, holder="b")
    assert abandon_runs(ports, new) == 1
    states = {run.id: run.state for run in ports.read(list_runs)}
    assert states == {
        left.id: RunState.ABANDONED,
        by_hand.id: RunState.RUNNING,
        own.id: RunState.RUNNING,
    }
    for record in (
        lambda: record_success(ports, left, counts={"sent": 1}, done_through=today),
        lambda: record_failure(ports, left, error="late"),
        lambda: begin_run(ports, job="plan", on=today, grip=old, holder="a"),
        lambda: abandon_runs(ports, old),
    ):
        with pytest.raises(Deposed):
            record()
    assert {run.id: run.state for run in ports.read(list_runs)} == states

"""Loading the baseline: lines are added once, and never changed or removed afterwards."""

from __future__ import annotations

from datetime import date

import pytest
from sqlalchemy import delete, event, func, select, text
from sqlalchemy.exc import DBAPIError

from app.domain.contributors.operations import enrol
from app.domain.errors import Conflict
from app.domain.policy.models import PolicyStatus, PolicyValue
from app.domain.policy.operations import LoadReport, PolicyLineFixed, check_policy, load_policy
from app.domain.policy.queries import Policy
from app.domain.policy.rules import NoPolicyValue, ProgrammeNotInForce
from tests.conftest import BASELINE_POLICY
from tests.domain.people import an_application, an_identity, at_once

NEXT_BASE_LIMIT = {
    "name": "deposit.base_limit_fen",
    "title": "月缴存基数上限",
    "unit": "fen",
    "value": 3_200_000,
    "effective_from": date(2027, 1, 1),
    "until": date(2027, 12, 31),
    "source": "测试",
    "status": "reported",
}


def count(ports) -> int:
    return ports.read(lambda session: session.scalar(select(func.count()).select_from(PolicyValue)))


def figures_on(ports, day: date) -> Policy:
    return ports.read(lambda session: Policy.on(session, day))


def test_the_table_gives_back_what_the_files_say(ports):
    policy = figures_on(ports, date(2026, 11, 24))
    assert policy.deposit.monthly_minimum_fen == 12_150
    assert policy.deposit.yearly_cap_fen == 9_084_960
    assert policy.loan.first_home_rate["long"].as_tuple().digits == (2, 6, 0)
    assert policy.debit.retry_days == (1, 3, 5)
    row = ports.read(lambda s: s.get_one(PolicyValue, ("loan.gate_months", date(2025, 6, 9))))
    assert (row.value, row.unit, row.until) == ("6", "months", None)
    assert (row.source, row.status) == ("试点方案 第五条", PolicyStatus.CONFIRMED)
    assert row.loaded_at == ports.now()


def test_loading_again_adds_nothing(ports):
    before = count(ports)
    assert before == len(BASELINE_POLICY)
    assert load_policy(ports, BASELINE_POLICY) == LoadReport(added=0, unchanged=before)
    assert count(ports) == before


def test_a_new_line_is_added_and_holds_from_its_day(ports):
    before = count(ports)
    report = load_policy(ports, [*BASELINE_POLICY, NEXT_BASE_LIMIT])
    assert report == LoadReport(added=1, unchanged=before)
    # 32,000 × 24 % × 12
    assert figures_on(ports, date(2027, 1, 1)).deposit.yearly_cap_fen == 9_216_000
    assert figures_on(ports, date(2026, 12, 31)).deposit.yearly_cap_fen == 9_084_960
    with pytest.raises(NoPolicyValue):
        _ = figures_on(ports, date(2028, 1, 1)).deposit.yearly_cap_fen


@pytest.mark.parametrize(
    "change",
    [
        {"value": 7},
        {"value": "6"},
        {"until": date(2099, 12, 31)},
        {"unit": "days"},
        {"title": "别名"},
        {"source": "另一出处"},
        {"status": "assumed"},
    ],
)
def test_a_loaded_line_cannot_be_changed(ports, change):
    gate = next(line for line in BASELINE_POLICY if line["name"] == "loan.gate_months")
    others = [line for line in BASELINE_POLICY if line is not gate]
    before = count(ports)
    with pytest.raises(PolicyLineFixed) as refused:
        load_policy(ports, [NEXT_BASE_LIMIT, *others, {**gate, **change}])
    assert isinstance(refused.value, Conflict)
    assert "loan.gate_months，2025-06-09 起）与参数文件不一致" in refused.value.message
    assert refused.value.detail == {
        "parameter": "loan.gate_months",
        "effective_from": "2025-06-09",
    }
    assert count(ports) == before
    assert figures_on(ports, date(2026, 11, 24)).loan.gate_months == 6


def test_a_loaded_line_cannot_be_removed(ports):
    others = [line for line in BASELINE_POLICY if line["name"] != "loan.gate_months"]
    with pytest.raises(PolicyLineFixed, match="在参数文件中已不存在"):
        load_policy(ports, others)


def test_checking_names_what_is_not_loaded_and_writes_nothing(ports):
    before = count(ports)

    def check(session):
        return check_policy(session, [*BASELINE_POLICY, NEXT_BASE_LIMIT])

    assert [line.effective_from for line in ports.read(check)] == [date(2027, 1, 1)]
    assert count(ports) == before


def test_two_loads_at_once_add_a_line_once(ports):
    before = count(ports)
    reports = at_once(4, lambda _: load_policy(ports, [*BASELINE_POLICY, NEXT_BASE_LIMIT]))
    assert sorted(report.added for report in reports) == [0, 0, 0, 1]
    assert count(ports) == before + 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE policy_value SET value = '7' WHERE name = 'loan.gate_months'",
        "UPDATE policy_value SET until = '2026-11-23' WHERE name = 'loan.gate_months'",
        "UPDATE policy_value SET status = 'confirmed'",
        "DELETE FROM policy_value WHERE name = 'loan.gate_months'",
        "DELETE FROM policy_value",
    ],
)
def test_the_database_refuses_to_change_or_remove_a_line(ports, statement):
    before = count(ports)
    with pytest.raises(DBAPIError, match="policy_value is append-only"):
        ports.transact(lambda session: session.execute(text(statement)))
    assert count(ports) == before
    assert figures_on(ports, date(2026, 11, 24)).loan.gate_months == 6


@pytest.mark.parametrize(
    ("begins", "refusal"),
    [
        (date(2027, 1, 1), "UNIQUE constraint failed|Duplicate entry"),
        (date(2028, 1, 1), "ck_policy_value_ends_after_it_begins"),
    ],
)
def test_the_database_refuses_a_second_line_of_a_day_and_one_that_ends_before_it_begins(
    ports, begins, refusal
):
    load_policy(ports, [*BASELINE_POLICY, NEXT_BASE_LIMIT])
    row = {**NEXT_BASE_LIMIT, "value": "1", "effective_from": begins, "loaded_at": ports.now()}
    with pytest.raises(DBAPIError, match=refusal):
        ports.transact(lambda session: session.add(PolicyValue(**row)))


def test_a_transaction_reads_the_policy_once_however_often_it_asks(ports):
    statements = []

    def ask(session):
        event.listen(
            session.connection(),
            "before_cursor_execute",
            lambda _connection, _cursor, statement, *_rest: statements.append(statement),
        )
        for month in range(1, 13):
            _ = Policy.on(session, date(2026, month, 1)).deposit.monthly_minimum_fen

    ports.read(ask)
    assert len(statements) == 1
    assert statements[0].startswith("SELECT policy_value.name")


def test_the_next_transaction_sees_what_was_loaded_meanwhile(ports):
    with pytest.raises(NoPolicyValue):
        _ = figures_on(ports, date(2027, 1, 1)).deposit.base_limit_fen
    load_policy(ports, [*BASELINE_POLICY, NEXT_BASE_LIMIT])
    assert figures_on(ports, date(2027, 1, 1)).deposit.base_limit_fen == 3_200_000


def test_an_empty_table_has_no_figure_and_can_be_filled(unguarded):
    unguarded.transact(lambda session: session.execute(delete(PolicyValue)))
    with pytest.raises(NoPolicyValue, match="programme.validity"):
        figures_on(unguarded, date(2026, 11, 24)).programme.check_open()
    report = load_policy(unguarded, BASELINE_POLICY)
    assert report == LoadReport(added=len(BASELINE_POLICY), unchanged=0)
    figures_on(unguarded, date(2026, 11, 24)).programme.check_open()


def test_nobody_enrols_once_the_pilot_is_over(ports, clock):
    identity_id = an_identity(ports, "openid-1")
    clock.advance(days=402)  # 2026-11-24 to 2027-12-31
    enrol(ports, identity_id=identity_id, application=an_application())
    clock.advance(days=1)
    with pytest.raises(ProgrammeNotInForce, match="试点已于 2027-12-31 结束，不再受理"):
        enrol(
            ports,
            identity_id=an_identity(ports, "openid-2"),
            application=an_application(serial="003"),
        )

"""Machine-made requests against our own description: no 5xx, no answer that it does not tell."""

from __future__ import annotations

import re

import pytest
import schemathesis
from apiflask import APIFlask
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi import checks

from app.domain.staff.models import Role
from tests.routes.callers import API, Doors, on_sqlite_only
from tests.routes.debited import Debited
from tests.routes.test_who_may_call import WHO_MAY_CALL

pytestmark = on_sqlite_only

REFUND = {"amount_fen": 100, "reason": "other"}
OPERATIONS = [
    (method, re.sub("<(.*?)>", "{\\1}", rule))
    for method, rule in WHO_MAY_CALL
    if "/api/v1/" in rule
]


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=[" ".join(o) for o in OPERATIONS])
def test_every_answer_is_one_that_the_description_tells(
    app: APIFlask,
    doors: Doors,
    debited: Debited,
    method: str,
    path: str,
    mode: GenerationMode,
) -> None:
    person, order_no = doors.with_deposit("a")
    asked = person.post(f"{API}/deposits/{order_no}/refunds", json=REFUND)
    callers = {"CitizenToken": person, "StaffToken": doors.staff(Role.SUPERVISOR)}
    things = {"order_no": order_no, "refund_no": asked.json["refund_no"]}
    if "{mandate_no}" in path:
        things["mandate_no"] = doors.with_mandate(person)
    if "/debits" in path:
        callers["CitizenToken"] = debited.refused("b")
        things["period"] = "2026-12"
    operation = schemathesis.openapi.from_wsgi("/openapi.json", app)[path][method]
    (scheme,) = operation.definition.raw.get("security", [{"": []}])[0]
    headers = {"Authorization": f"Bearer {callers[scheme].token}"} if scheme else {}
    real = {name: things[name] for name in re.findall("{(.*?)}", path)}
    cases = operation.as_strategy(
        generation_mode=mode,
        path_parameters=real if mode is GenerationMode.POSITIVE else None,
    )

    @settings(
        max_examples=20,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def check(case: Case) -> None:
        # A rule of the fund may well refuse what is well formed.
        case.call_and_validate(headers=headers, excluded_checks=[checks.positive_data_acceptance])

    check()

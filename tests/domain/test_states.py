"""What a table of moves answers, and what the money relies on in the two tables there are."""

from __future__ import annotations

from enum import StrEnum

import pytest

from app.domain.payment_orders.models import OPEN_STATES, ORDER_STATES, OrderState
from app.domain.refunds.models import IN_FLIGHT, REFUND_STATES, RefundState
from app.domain.states import IllegalMove, StateMachine


class Light(StrEnum):
    RED = "red"
    GREEN = "green"
    DARK = "dark"


LIGHTS = StateMachine(
    "light",
    {
        Light.RED: frozenset({Light.GREEN, Light.DARK}),
        Light.GREEN: frozenset({Light.RED, Light.DARK}),
        Light.DARK: frozenset(),
    },
)


def test_a_move_of_the_table_is_allowed() -> None:
    LIGHTS.check(Light.RED, Light.GREEN)


@pytest.mark.parametrize(("current", "target"), [(Light.RED, Light.RED), (Light.DARK, Light.RED)])
def test_any_other_is_refused_and_named(current: Light, target: Light) -> None:
    with pytest.raises(IllegalMove) as refusal:
        LIGHTS.check(current, target)
    assert refusal.value.detail == {"thing": "light", "current": current, "target": target}


def test_the_sources_of_a_state_are_those_that_lead_to_it() -> None:
    assert set(LIGHTS.sources_of(Light.DARK)) == {Light.RED, Light.GREEN}
    assert LIGHTS.sources_of(Light.RED) == (Light.GREEN,)


def test_money_can_still_come_for_every_open_order_and_for_no_other() -> None:
    late = {OrderState.FAILED}
    assert {*OPEN_STATES, *late} == set(ORDER_STATES.sources_of(OrderState.SUCCEEDED))


def test_an_order_that_had_ended_unpaid_takes_late_money_to_suspense_unless_it_was_debited() -> (
    None
):
    assert ORDER_STATES.moves[OrderState.CLOSED] == {OrderState.IN_SUSPENSE}
    assert ORDER_STATES.moves[OrderState.FAILED] == {OrderState.IN_SUSPENSE, OrderState.SUCCEEDED}


def test_only_a_request_can_be_sent_and_all_that_is_under_way_can_end_either_way() -> None:
    assert REFUND_STATES.sources_of(RefundState.SENDING) == (RefundState.REQUESTED,)
    for state in IN_FLIGHT:
        assert {RefundState.SUCCEEDED, RefundState.FAILED} <= REFUND_STATES.moves[state]

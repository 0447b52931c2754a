"""State machines: complete, connected, and final where they are meant to be."""

from __future__ import annotations

import importlib
import pkgutil
from enum import StrEnum
from typing import Any

import pytest

import app.domain
from app.domain.agreements.models import AGREEMENT_STATES, AgreementState
from app.domain.debit_batches.models import BATCH_STATES
from app.domain.debit_batches.rules import BatchState
from app.domain.debits.models import INSTRUCTION_STATES
from app.domain.debits.rules import InstructionState
from app.domain.mandates.models import MANDATE_STATES
from app.domain.mandates.rules import MandateState
from app.domain.outbox.models import MESSAGE_STATES
from app.domain.outbox.rules import MessageState
from app.domain.payment_orders.models import ORDER_STATES, OrderState
from app.domain.refunds.models import REFUND_STATES, RefundState
from app.domain.scheduling.models import RUN_STATES, RunState
from app.domain.states import IllegalMove, StateMachine

MACHINES: list[tuple[StateMachine[Any], type[StrEnum], StrEnum, set[StrEnum]]] = [
    (ORDER_STATES, OrderState, OrderState.SENDING, {OrderState.SUCCEEDED, OrderState.IN_SUSPENSE}),
    (
        REFUND_STATES,
        RefundState,
        RefundState.REQUESTED,
        {RefundState.REJECTED, RefundState.SUCCEEDED, RefundState.FAILED},
    ),
    (AGREEMENT_STATES, AgreementState, AgreementState.DRAFT, {AgreementState.ENDED}),
    (MANDATE_STATES, MandateState, MandateState.SENDING, {MandateState.ENDED}),
    (
        INSTRUCTION_STATES,
        InstructionState,
        InstructionState.SCHEDULED,
        {InstructionState.SUCCEEDED},
    ),
    (
        MESSAGE_STATES,
        MessageState,
        MessageState.WAITING,
        {MessageState.SENT, MessageState.GIVEN_UP},
    ),
    (
        BATCH_STATES,
        BatchState,
        BatchState.COLLECTING,
        {BatchState.REJECTED, BatchState.SETTLED},
    ),
    (
        RUN_STATES,
        RunState,
        RunState.RUNNING,
        {RunState.SUCCEEDED, RunState.FAILED, RunState.ABANDONED},
    ),
]
every_machine = pytest.mark.parametrize(
    ("machine", "states", "first", "final"), MACHINES, ids=[m[0].name for m in MACHINES]
)


def test_every_machine_of_the_domain_is_checked_here() -> None:
    found = {
        id(value): value
        for module in pkgutil.walk_packages(app.domain.__path__, "app.domain.")
        for value in vars(importlib.import_module(module.name)).values()
        if isinstance(value, StateMachine)
    }
    assert {machine.name for machine in found.values()} == {m[0].name for m in MACHINES}


@every_machine
def test_every_state_has_its_line(
    machine: StateMachine[Any], states: type[StrEnum], first: StrEnum, final: set[StrEnum]
) -> None:
    assert set(machine.moves) == set(states)
    assert set().union(*machine.moves.values()) <= set(states)


@every_machine
def test_every_state_can_be_reached(
    machine: StateMachine[Any], states: type[StrEnum], first: StrEnum, final: set[StrEnum]
) -> None:
    reached, waiting = {first}, [first]
    while waiting:
        for target in machine.moves[waiting.pop()] - reached:
            reached.add(target)
            waiting.append(target)
    assert reached == set(states)


@every_machine
def test_the_final_states_are_these_and_every_other_leads_to_one(
    machine: StateMachine[Any], states: type[StrEnum], first: StrEnum, final: set[StrEnum]
) -> None:
    assert {state for state, targets in machine.moves.items() if not targets} == final
    ends = set(final)
    while grown := {s for s, targets in machine.moves.items() if targets & ends} - ends:
        ends |= grown
    assert ends == set(states)


@every_machine
def test_a_move_is_allowed_if_and_only_if_the_table_holds_it(
    machine: StateMachine[Any], states: type[StrEnum], first: StrEnum, final: set[StrEnum]
) -> None:
    for current in states:
        for target in states:
            if target in machine.moves[current]:
                machine.check(current, target)
            else:
                with pytest.raises(IllegalMove):
                    machine.check(current, target)
        assert set(machine.sources_of(current)) == {
            state for state in states if current in machine.moves[state]
        }


@every_machine
def test_no_state_leads_to_itself(
    machine: StateMachine[Any], states: type[StrEnum], first: StrEnum, final: set[StrEnum]
) -> None:
    assert not [state for state, targets in machine.moves.items() if state in targets]

"""A process that debits, killed -9 at each statement, each side of COMMIT and of each message."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from app.domain.ledger.models import Code
from app.domain.verification import verify_books
from tests.conftest import MovableClock
from tests.crashes.debitor import in_a_process, ports_on, run_job, submit_and_die
from tests.crashes.till import Till
from tests.debits_due import debits_due
from tests.fund import Fund

AMOUNT_FEN = 50_000
SUBSIDY_FEN = 20_000
SIGKILL = -9


@pytest.mark.parametrize("newcomers", [0, 1], ids=["later debit", "first debit"])
def test_one_debit_whenever_the_process_dies(
    engine: Engine, clock: MovableClock, till: Till, newcomers: int
) -> None:
    """Whoever comes next ends it: with the same number, and with the money taken once."""
    ports = ports_on(engine, till, clock.now)
    address = engine.url.render_as_string(hide_password=False)
    deaths = 0
    while True:
        (account_id,) = debits_due(ports, 1, newcomers=newcomers)
        code = in_a_process(submit_and_die, address, till.port, clock.now(), deaths + 1)
        assert code in {0, SIGKILL}
        if code == 0:
            break
        deaths += 1
        for _ in range(2):
            # Another process, a minute later: what was sent is asked about.
            run_job("submit-debits", ports)
            clock.advance(seconds=60)
            run_job("resolve-orders", ports)
        check_once(Fund.around(ports, clock), account_id, newcomers)
    # Claim, record of the run, send, record: with the opening subsidy some more.
    assert deaths > (35 if newcomers else 25)
    taken = till.books()
    assert len(taken) == deaths + 1
    assert len({debit["reference"] for debit in taken}) == deaths + 1
    assert clearing_fen(Fund.around(ports, clock)) == sum(debit["amount_fen"] for debit in taken)
    assert [*ports.read(lambda session: list(verify_books(session, chart=tuple(Code))))] == []
    # Some died between storing and sending, some between the channel's booking and our record.
    handed_in = till.asked()
    assert set(handed_in.values()) == {1}


def check_once(fund: Fund, account_id: int, newcomers: int) -> None:
    assert fund.money(account_id) == (AMOUNT_FEN + SUBSIDY_FEN * newcomers, 0)


def clearing_fen(fund: Fund) -> int:
    return sum(lines.get(Code.CHANNEL_CLEARING.value, 0) for _, lines in fund.entries())

"""A rider's card is debited by file: from the agreement to the bank's books, and ours."""

from __future__ import annotations

from app.domain.calendar import business_day
from app.domain.debit_batches.answers import fetch_bank_answers
from app.domain.debit_batches.sending import send_debit_batches
from app.domain.debits.planning import plan_debits
from tests.sandbox.gateways import RunningGateway
from tests.stories.test_agreements import DAY
from tests.stories.test_mandates import bank, rider, sign  # noqa: F401  fixtures
from tests.stories.town import Phone, Town

FIFTEEN_DAYS = 15 * DAY
HOUR = 3600
AMOUNT_FEN, SUBSIDY_FEN = 50_000, 20_000


def run_jobs(town: Town) -> None:
    """What the scheduler does about debits, in its order."""
    plan_debits(town.ports, on=business_day(town.clock.now()))
    send_debit_batches(town.ports)
    assert town.bank is not None
    town.bank.look("health")
    fetch_bank_answers(town.ports)
    town.run_jobs()


def booked(bank: RunningGateway) -> list[tuple[str, int]]:  # noqa: F811
    """Return kind and fen of every entry of the centre's account at the bank."""
    return [(entry["kind"], entry["amount_fen"]) for entry in bank.look("books")["entries"]]


def batches(bank: RunningGateway) -> list[str]:  # noqa: F811
    """Return the names of the files that the bank took in."""
    return [batch["name"] for batch in bank.look("books")["batches"]]


def test_a_month_is_debited_by_file(
    town_with_bank: Town,
    rider: Phone,  # noqa: F811
    bank: RunningGateway,  # noqa: F811
) -> None:
    town = town_with_bank
    sign(rider, bank)
    town.advance(FIFTEEN_DAYS)  # 9 December: the rider is told
    run_jobs(town)
    assert batches(bank) == []
    town.advance(DAY)  # 10 December, a bank day
    run_jobs(town)
    [batch] = batches(bank)
    rider.log_in()
    assert rider.balance() == 0
    town.advance(3 * HOUR)
    run_jobs(town)
    assert rider.balance() == AMOUNT_FEN + SUBSIDY_FEN
    assert booked(bank) == [("BATCH", AMOUNT_FEN)]
    assert town.clearing_fen("bank") == AMOUNT_FEN
    for _ in range(2):
        town.advance(DAY)
        run_jobs(town)
    assert batches(bank) == [batch]
    assert booked(bank) == [("BATCH", AMOUNT_FEN)]
    assert town.breaks() == []


def test_a_month_without_money_is_tried_again_in_the_next_days_file(
    town_with_bank: Town,
    rider: Phone,  # noqa: F811
    bank: RunningGateway,  # noqa: F811
) -> None:
    town = town_with_bank
    sign(rider, bank)
    bank.control("troubles", at="file/line", kind="refuse", code="64")
    for seconds in (FIFTEEN_DAYS, DAY, 3 * HOUR):
        town.advance(seconds)
        run_jobs(town)
    rider.log_in()
    assert (rider.balance(), booked(bank)) == (0, [])
    for seconds in (21 * HOUR, 3 * HOUR):  # 11 December, a Friday
        town.advance(seconds)
        run_jobs(town)
    rider.log_in()
    assert rider.balance() == AMOUNT_FEN + SUBSIDY_FEN
    assert booked(bank) == [("BATCH", AMOUNT_FEN)]
    assert town.clearing_fen("bank") == AMOUNT_FEN
    assert len(batches(bank)) == 2

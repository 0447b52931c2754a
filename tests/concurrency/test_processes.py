"""Several processes at the same rows of one MariaDB: each thing happens once."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from sqlalchemy import URL

from app.domain.inquiries.operations import release_refund, resolve_orders
from app.domain.ledger.operations import seal_days
from app.domain.payment_orders.models import PaymentOrder
from app.domain.refunds.models import Refund, RefundState
from app.domain.refunds.operations import reject_refund
from tests.builders import an_account
from tests.concurrency.processes import at_once
from tests.fund import CHECKER, Fund
from tests.simulated_channel import Trade

CAP_FEN = 9_084_960


def deliver(fund: Fund, what: tuple[int, list[bytes]]) -> Counter[str]:
    """Deliver every notice once, in an order of one's own; count the replies."""
    seed, notices = what
    random.Random(seed).shuffle(notices)
    return Counter(fund.notify(notice) for notice in notices)


def test_eight_processes_with_the_same_two_hundred_notices_make_two_hundred_credits(
    fund: Fund, mariadb_url: URL
) -> None:
    accounts = [an_account(fund.ports) for _ in range(20)]
    notices = []
    for number in range(200):
        order_no = fund.start(accounts[number % 20], 20_000 + number).order_no
        notices.append(fund.wechat.pay(order_no))

    replies = at_once(mariadb_url, deliver, [(seed, notices) for seed in range(8)])
    assert replies == [Counter(ok=200)] * 8

    assert Counter(fund.callback_results()) == {"credited": 200, "duplicate": 1_400}
    kinds = Counter(key.split(":")[0] for key in fund.posting_keys())
    assert kinds == {"deposit": 200, "opening-subsidy": 20}
    assert fund.grants() == [(20_000, 20_000, False)] * 20
    # Account k has the orders k, k + 20, … k + 180: ten times 200.00 and k + … = 10 k + 900 fen.
    assert [fund.money(account_id) for account_id in accounts] == [
        (200_000 + 10 * k + 900 + 20_000, 0) for k in range(20)
    ]
    assert fund.breaks() == []
    assert fund.offences() == []


def place(fund: Fund, what: tuple[int, int, str | None]) -> str:
    account_id, amount_fen, key = what
    return fund.start(account_id, amount_fen, key=key).order_no


def test_the_last_room_under_the_cap_is_given_once(fund: Fund, mariadb_url: URL) -> None:
    account_id = an_account(fund.ports)
    fund.deposit(account_id, 9_000_000)
    results = at_once(mariadb_url, place, [(account_id, 84_960, f"process-{n}") for n in range(4)])
    assert Counter(results)["YearlyCapExceeded"] == 3
    assert fund.count(PaymentOrder) == 2


def test_a_double_click_on_two_servers_is_one_order(fund: Fund, mariadb_url: URL) -> None:
    account_id = an_account(fund.ports)
    results = at_once(mariadb_url, place, [(account_id, 50_000, "the-same-key")] * 4)
    assert len(set(results)) == 1
    assert fund.count(PaymentOrder) == 1


def ask_back(fund: Fund, what: tuple[str, int, str]) -> str:
    order_no, amount_fen, key = what
    return fund.ask_back(order_no, amount_fen, key=key)


def test_the_same_money_is_asked_back_once(fund: Fund, mariadb_url: URL) -> None:
    account_id = an_account(fund.ports)
    order_no = fund.deposit(account_id, 50_000)
    results = at_once(mariadb_url, ask_back, [(order_no, 50_000, f"key-{n}") for n in range(4)])
    assert Counter(results)["NotRefundable"] == 3
    assert fund.money(account_id) == (70_000, 50_000)
    assert fund.offences() == []


def test_a_double_click_on_a_refund_is_one_refund(fund: Fund, mariadb_url: URL) -> None:
    account_id = an_account(fund.ports)
    order_no = fund.deposit(account_id, 50_000)
    results = at_once(mariadb_url, ask_back, [(order_no, 50_000, "the-same-key")] * 4)
    assert len(set(results)) == 1
    assert results[0].startswith("R")
    assert fund.count(Refund) == 1
    assert fund.money(account_id) == (70_000, 50_000)


def decide(fund: Fund, what: tuple[str, str, str, int]) -> str:
    decision, refund_no, order_no, checker_id = what
    fund.wechat.trades[order_no] = Trade(order_no, 50_000, "T00000001", state="paid")
    if decision == "reject":
        reject_refund(fund.ports, refund_no=refund_no, checker_id=checker_id, note="不同意")
    else:
        release_refund(fund.ports, refund_no=refund_no, checker_id=checker_id, note="同意")
    return decision


def test_released_and_rejected_at_once_is_one_of_the_two(fund: Fund, mariadb_url: URL) -> None:
    account_id = an_account(fund.ports)
    order_no = fund.deposit(account_id, 50_000)
    refund_no = fund.ask_back(order_no, 50_000)
    results = at_once(
        mariadb_url,
        decide,
        [
            ("release", refund_no, order_no, CHECKER),
            ("reject", refund_no, order_no, CHECKER),
            ("release", refund_no, order_no, CHECKER + 1),
            ("reject", refund_no, order_no, CHECKER + 1),
        ],
    )
    assert Counter(results)["Conflict"] == 3
    (decision,) = set(results) - {"Conflict"}
    state, held_fen = {
        "release": (RefundState.PROCESSING, 50_000),
        "reject": (RefundState.REJECTED, 0),
    }[decision]
    assert fund.refund(refund_no).state is state
    assert fund.money(account_id) == (70_000, held_fen)
    assert fund.offences() == []


def resolve(fund: Fund, trades: list[Trade]) -> dict[str, int]:
    fund.wechat.trades = {trade.order_no: trade for trade in trades}
    fund.clock.advance(seconds=20)
    return {str(effect): count for effect, count in resolve_orders(fund.ports).items()}


def test_four_schedulers_share_the_orders_and_credit_each_once(
    fund: Fund, mariadb_url: URL
) -> None:
    accounts = [an_account(fund.ports) for _ in range(40)]
    for account_id in accounts:
        fund.wechat.pay(fund.start(account_id, 50_000).order_no)
    results = at_once(mariadb_url, resolve, [list(fund.wechat.trades.values())] * 4)
    assert sum((Counter(result) for result in results), Counter()) == {"credited": 40}
    assert {fund.money(account_id) for account_id in accounts} == {(70_000, 0)}
    assert fund.offences() == []


def pay_or_seal(fund: Fund, what: tuple[str, Any]) -> Any:
    task, argument = what
    if task == "pay":
        return deliver(fund, argument)
    fund.clock.advance(days=1)
    return [day.isoformat() for day in seal_days(fund.ports, through=argument)]


def test_a_day_that_is_sealed_while_payments_come_in_holds_all_of_its_entries(
    fund: Fund, mariadb_url: URL
) -> None:
    accounts = [an_account(fund.ports) for _ in range(60)]
    notices = [fund.wechat.pay(fund.start(account_id, 50_000).order_no) for account_id in accounts]
    fund.notify(notices[0])  # the day exists
    today = fund.clock.now().date()
    results = at_once(
        mariadb_url,
        pay_or_seal,
        [
            ("pay", (1, notices)),
            ("pay", (2, notices)),
            ("seal", today),
            ("seal", today),
        ],
    )
    assert results[:2] == [Counter(ok=60)] * 2
    assert sorted(map(len, results[2:])) == [0, 1]  # one of them sealed it
    # What came too late for the day is kept, and nothing of it is half done.
    late = Counter(fund.callback_results())["pending"]
    credited = sum(fund.money(account_id) == (70_000, 0) for account_id in accounts)
    assert sum(fund.money(account_id) == (0, 0) for account_id in accounts) == 60 - credited
    assert (late > 0) == (credited < 60)
    assert fund.offences() == []

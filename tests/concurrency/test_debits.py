"""Debits, with two threads at everything: each on MariaDB and on SQLite."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, select

from app.domain.base import table_of
from app.domain.debit_runs.submitting import record_answers, submit_debits
from app.domain.debits.making_up import MakeUpRequest, NothingToMakeUp, make_up
from app.domain.debits.models import DebitInstruction
from app.domain.debits.planning import plan_debits
from app.domain.deposits.rules import DebitUnderWay
from app.domain.errors import FundError
from app.domain.inquiries.operations import resolve_orders
from app.domain.mandates.models import Mandate
from app.domain.mandates.moves import end as end_mandate
from app.domain.mandates.moves import lock
from app.domain.mandates.rules import EndReason
from app.domain.payment_orders.models import PaymentOrder
from app.domain.ports.debits import DebitRequest
from app.domain.ports.mandates import EndedBy
from app.domain.ports.outcomes import Outcome, Reason
from tests.builders import an_account
from tests.concurrency.processes import open_fund
from tests.debit_channel import DebitChannel
from tests.debits_due import debits_due
from tests.domain.agreements.conftest import Desk, terms
from tests.fund import Fund, in_shanghai

AMOUNT_FEN = 50_000
ROUNDS = 8
"""How often a race between two is run: whoever wins, it must come out right."""

INSTRUCTION = table_of(DebitInstruction)
MANDATE = table_of(Mandate)
ORDER = table_of(PaymentOrder)


@pytest.fixture
def fund(engine: Engine) -> Fund:
    fund = open_fund(engine)
    fund.clock.instant = in_shanghai(2026, 12, 10, 10)
    return fund


@pytest.fixture
def wallet(fund: Fund) -> DebitChannel:
    wallet = DebitChannel(fund.clock.now)
    channels = fund.ports.channels
    calling_back = {**channels.calling_back, "wechat": wallet}
    channels = replace(channels, debiting={"wechat": wallet}, calling_back=calling_back)
    fund.ports = replace(fund.ports, channels=channels)
    return wallet


def together(*works: Callable[[], Any]) -> list[Any]:
    """Run all at the same moment; return what each returned, or the error that refused it."""
    gate = threading.Barrier(len(works))

    def run(work: Callable[[], Any]) -> Any:
        gate.wait(30)
        try:
            return work()
        except FundError as error:
            return error

    with ThreadPoolExecutor(len(works)) as threads:
        return [done.result(120) for done in [threads.submit(run, work) for work in works]]


def states(fund: Fund) -> Counter[str]:
    rows = fund.ports.read(lambda session: session.scalars(select(INSTRUCTION.c.state)).all())
    return Counter(state.value for state in rows)


def orders(fund: Fund) -> list[tuple[str, str, int]]:
    """Return number, state and account of every order, oldest first."""
    rows = fund.ports.read(
        lambda session: session.execute(
            select(ORDER.c.order_no, ORDER.c.state, ORDER.c.account_id).order_by(ORDER.c.id)
        ).all()
    )
    return [(order_no, state.value, account_id) for order_no, state, account_id in rows]


def settle(fund: Fund) -> None:
    """Ask until nothing is open."""
    for _ in range(3):
        fund.clock.advance(minutes=35)
        resolve_orders(fund.ports)


def test_planned_twice_at_once_each_period_is_planned_once(
    fund: Fund, wallet: DebitChannel
) -> None:
    fund.clock.instant = in_shanghai(2026, 11, 24, 10)
    for _ in range(6):
        Desk(fund, an_account(fund.ports)).sign(terms())
    fund.clock.instant = in_shanghai(2026, 12, 9, 10)

    def plan() -> int:
        return plan_debits(fund.ports, on=fund.clock.now().date())["planned"]

    assert sorted(together(plan, plan, plan)) == [0, 0, 6]
    assert states(fund) == {"scheduled": 6}


def test_sent_by_three_at_once_each_debit_is_sent_once(fund: Fund, wallet: DebitChannel) -> None:
    accounts = debits_due(fund.ports, 250, newcomers=20)
    results = together(*[lambda: submit_debits(fund.ports)] * 3)
    assert sum(map(Counter, results), Counter()) == {"credited": 250}
    assert len(wallet.debits) == len(wallet.calls) == 250
    assert wallet.taken_fen() == 250 * AMOUNT_FEN
    assert states(fund) == {"succeeded": 250}
    assert sum(fund.money(account)[0] for account in accounts) == 250 * AMOUNT_FEN + 20 * 20_000
    assert fund.breaks() == []
    assert fund.offences() == []


@pytest.mark.parametrize("newcomers", [0, ROUNDS], ids=["later debits", "first debits"])
def test_a_notice_that_races_the_answer_credits_once(
    fund: Fund, wallet: DebitChannel, newcomers: int
) -> None:
    debits_due(fund.ports, ROUNDS, newcomers=newcomers)
    wallet.trouble["submit"] = ["lost_after"] * ROUNDS
    assert submit_debits(fund.ports) == {"open": ROUNDS}
    for order_no in wallet.debits:
        answer = wallet.query_debit(order_no)
        notice = wallet.notice(order_no)
        record, reply, _ = together(
            lambda answer=answer: record_answers(fund.ports, [("wechat", answer)]),
            lambda notice=notice: fund.notify(notice),
            lambda answer=answer: record_answers(fund.ports, [("wechat", answer)]),
        )
        assert "error" not in record
        assert reply == "ok"
    assert states(fund) == {"succeeded": ROUNDS}
    assert sum(key.startswith("deposit:") for key in fund.posting_keys()) == ROUNDS
    assert set(fund.callback_results()) <= {"credited", "duplicate"}
    assert fund.breaks() == []
    assert fund.offences() == []


def test_a_payment_by_hand_that_races_the_debit_is_never_paid_unawares(
    fund: Fund, wallet: DebitChannel
) -> None:
    """Either its debit waits and is skipped, or the person is told that one is under way."""
    accounts = debits_due(fund.ports, ROUNDS)
    wallet.trouble["submit"] = ["accepted"] * ROUNDS
    results = together(
        lambda: submit_debits(fund.ports),
        *[lambda account=account: fund.start(account, AMOUNT_FEN) for account in accounts],
    )
    warned = [isinstance(result, DebitUnderWay) for result in results[1:]]
    for view in results[1:]:
        if not isinstance(view, DebitUnderWay):
            body = fund.wechat.pay(view.order_no)
            raw = replace(fund, ports=_paid_by_phone(fund))
            assert raw.notify(body) == "ok"
    for order_no in list(wallet.debits):
        wallet.finish(order_no)
    settle(fund)
    submit_debits(fund.ports)
    assert states(fund) == Counter(succeeded=sum(warned), skipped=ROUNDS - sum(warned)) - Counter()
    assert [fund.money(account)[0] for account in accounts] == [AMOUNT_FEN] * ROUNDS
    assert fund.offences() == []


def _paid_by_phone(fund: Fund) -> Any:
    channels = fund.ports.channels
    calling_back = {**channels.calling_back, "wechat": fund.wechat}
    return replace(fund.ports, channels=replace(channels, calling_back=calling_back))


def test_a_period_that_is_made_up_while_its_retry_is_sent_is_paid_once(
    fund: Fund, wallet: DebitChannel
) -> None:
    accounts = debits_due(fund.ports, ROUNDS)
    wallet.trouble["submit"] = [Reason.INSUFFICIENT_FUNDS] * ROUNDS
    assert submit_debits(fund.ports) == {"debit_failed": ROUNDS}
    fund.clock.advance(days=1)
    wallet.trouble["submit"] = ["accepted"] * ROUNDS

    def by_hand(account_id: int) -> Any:
        request = MakeUpRequest(
            account_id=account_id,
            period="2026-12",
            channel="alipay",
            payer_ref="payer",
            client_ip="127.0.0.1",
            request_key=f"make-up-{account_id}",
        )
        return make_up(fund.ports, request=request)

    results = together(
        lambda: submit_debits(fund.ports),
        *[lambda account=account: by_hand(account) for account in accounts],
    )
    for view in results[1:]:
        if not isinstance(view, (DebitUnderWay, NothingToMakeUp)):
            assert fund.notify(fund.alipay.pay(view.order_no), channel="alipay") == "ok"
    for order_no, debit in wallet.debits.items():
        if debit.state == "open":
            wallet.finish(order_no)
    settle(fund)
    assert set(states(fund)) <= {"succeeded", "skipped"}
    assert [fund.money(account)[0] for account in accounts] == [AMOUNT_FEN] * ROUNDS
    assert fund.breaks() == []
    assert fund.offences() == []


def test_an_agreement_that_ends_while_its_debit_is_sent(fund: Fund, wallet: DebitChannel) -> None:
    """It is sent or cancelled, and the books and the channel agree on which."""
    accounts = debits_due(fund.ports, ROUNDS)
    together(
        lambda: submit_debits(fund.ports),
        *[lambda account=account: Desk(fund, account).end() for account in accounts],
    )
    submit_debits(fund.ports)
    check_sent_or(fund, wallet, "cancelled", accounts)


def test_a_mandate_that_ends_while_its_debit_is_sent(fund: Fund, wallet: DebitChannel) -> None:
    accounts = debits_due(fund.ports, ROUNDS)

    def end_it(account_id: int) -> None:
        def work(session: Any) -> None:
            number = session.scalar(
                select(MANDATE.c.mandate_no).where(MANDATE.c.account_id == account_id)
            )
            mandate = lock(session, number)
            assert mandate is not None
            end_mandate(
                session,
                mandate,
                ended_by=EndedBy.CHANNEL,
                end_reason=EndReason.ENDED_AT_CHANNEL,
                by="system",
                because="测试",
                at=fund.clock.now(),
            )

        fund.ports.transact(work)

    together(
        lambda: submit_debits(fund.ports),
        *[lambda account=account: end_it(account) for account in accounts],
    )
    check_sent_or(fund, wallet, "missed", accounts)


def check_sent_or(fund: Fund, wallet: DebitChannel, other: str, accounts: list[int]) -> None:
    found = states(fund)
    assert set(found) <= {"succeeded", other}
    assert found["succeeded"] == len(wallet.debits) == len(orders(fund))
    paid = sorted(fund.money(account)[0] for account in accounts)
    assert paid == [0] * found[other] + [AMOUNT_FEN] * found["succeeded"]
    assert fund.offences() == []


class SlowWallet(DebitChannel):
    """Answers a submission only after others have asked about it."""

    def __init__(self, fund: Fund) -> None:
        super().__init__(fund.clock.now)
        self.asked, self.fund = threading.Event(), fund

    def submit_debit(self, request: DebitRequest) -> Outcome:
        outcome = super().submit_debit(request)
        assert self.asked.wait(60)
        return outcome


def test_a_late_answer_that_races_the_question_about_it(
    fund: Fund, wallet: DebitChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scheduler asks while the run still waits: by then the channel has it, or has refused."""
    accounts = debits_due(fund.ports, ROUNDS, newcomers=2)
    slow = SlowWallet(fund)
    slow.trouble["submit"] = [Reason.INSUFFICIENT_FUNDS, "lost_after"]
    channels = replace(fund.ports.channels, debiting={"wechat": slow})
    fund.ports = replace(fund.ports, channels=channels)
    with ThreadPoolExecutor(1) as thread:
        sending = thread.submit(submit_debits, fund.ports)
        while len(slow.debits) < ROUNDS:
            threading.Event().wait(0.01)
        fund.clock.advance(minutes=1)
        slow.asked.set()
        together(*[lambda: resolve_orders(fund.ports)] * 2)
        sending.result(60)
    settle(fund)
    assert states(fund) == {"succeeded": ROUNDS - 1, "scheduled": 1}
    assert len(slow.debits) == ROUNDS
    assert Counter(fund.money(account)[0] for account in accounts)[0] == 1
    assert fund.breaks() == []
    assert fund.offences() == []

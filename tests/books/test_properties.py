"""Whatever comes, in whatever order and however often: the books hold, and agree with the channels.

Hypothesis tells the story: people place orders and pay, notices come, come twice, late or never,
answers are lost, refunds are asked for, released, refused, days end. After every step the
invariants check is clean. In the end, when everything has been asked about, the books agree with
what the channels themselves have booked, and every balance with a sum that is made here, without
the ledger.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import URL, Engine, create_engine, func, select

from app.db import make_read, make_transact, prepare_engine
from app.domain.calendar import business_day
from app.domain.errors import Conflict, RuleViolation
from app.domain.ledger.models import Code, JournalEntry, JournalLine
from app.domain.payment_orders.models import OPEN_STATES, OrderState, PaymentOrder
from app.domain.pii import Vault
from app.domain.policy.rules import NoPolicyValue
from app.domain.ports import Channels, Ports
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.domain.ports.payments import RefundRequest
from app.domain.refunds.models import RefundState
from app.domain.refunds.operations import reject_refund
from app.jobs.timetable import JOBS
from tests.builders import an_account
from tests.conftest import MovableClock, Numbers, empty_tables, load_baseline_policy
from tests.fund import CHECKER, Fund

SUBSIDY_FEN = 20_000
CHANNELS = ("wechat", "alipay")

amounts = st.sampled_from([12_150, 20_000, 50_001, 3_000_000])
channels = st.sampled_from(CHANNELS)
losses = st.sampled_from(["lost_before", "lost_after"])


@dataclass
class Town:
    """A database of its own, and how to throw it away."""

    engine: Engine
    leave: Callable[[], None] = field(default=lambda: None)

    def fund(self) -> Fund:
        clock = MovableClock()
        ports = Ports(
            transact=make_transact(self.engine),
            read=make_read(self.engine),
            now=clock.now,
            new_number=Numbers().new,
            vault=Vault({"k1": bytes(32)}, active="k1", index_key=bytes(32)),
            channels=Channels(),
            logins={},
        )
        return Fund.around(ports, clock)


class Books(RuleBasedStateMachine):
    """One story. `open_town` is put in by the tests below."""

    open_town: Callable[[], Town]

    orders = Bundle("orders")
    paid = Bundle("paid")
    refunds = Bundle("refunds")

    def __init__(self) -> None:
        super().__init__()
        self.town = type(self).open_town()
        self.fund = self.town.fund()
        self.channel_of: dict[str, str] = {}
        self.stray_fen = dict.fromkeys(CHANNELS, 0)

    @initialize()
    def people(self) -> None:
        self.accounts = [an_account(self.fund.ports) for _ in range(2)]

    # -- what happens ------------------------------------------------------------------------

    @rule(target=orders, who=st.integers(0, 1), amount_fen=amounts, channel=channels)
    def place(self, who: int, amount_fen: int, channel: str) -> object:
        try:
            view = self.fund.start(self.accounts[who], amount_fen, channel=channel)
        except (RuleViolation, NoPolicyValue):
            return multiple()
        self.channel_of[view.order_no] = channel
        return view.order_no

    @rule(target=paid, order_no=orders)
    def pay(self, order_no: str) -> object:
        trades = self.fund.channel(self.channel_of[order_no]).trades
        if order_no not in trades or trades[order_no].state != "open":
            return multiple()
        self.fund.channel(self.channel_of[order_no]).pay(order_no)
        return order_no

    @rule(order_no=paid)
    def notify(self, order_no: str) -> None:
        channel = self.channel_of[order_no]
        assert self.fund.notify(self.fund.channel(channel).callback(order_no), channel=channel)

    @rule(order_no=paid, amount_fen=amounts)
    def notify_of_another_amount(self, order_no: str, amount_fen: int) -> None:
        channel = self.channel_of[order_no]
        wrong = self.fund.channel(channel).callback(order_no, amount_fen=amount_fen + 1)
        self.fund.notify(wrong, channel=channel)

    @rule(channel=channels, number=st.integers(1, 2), again=st.integers(1, 2))
    def money_under_a_strange_number(self, channel: str, number: int, again: int) -> None:
        before = self.fund.count(JournalEntry)
        body = (
            f'{{"topic": "payment", "number": "X{number}", "amount_fen": {number},'
            f' "reference": "T-stray-{number}", "at": "2026-11-24T02:00:00+00:00"}}'
        )
        for _ in range(again):
            self.fund.notify(body.encode(), channel=channel)
        if self.fund.count(JournalEntry) > before:
            self.stray_fen[channel] += number

    @rule(order_no=paid)
    def the_channel_pays_although_it_had_closed(self, order_no: str) -> None:
        """Already paid here; a closed one becomes payable again, against all promises."""
        for number, channel in self.channel_of.items():
            trade = self.fund.channel(channel).trades.get(number)
            if trade and trade.state == "closed":
                trade.state = "open"
                self.fund.channel(channel).pay(number)
                self.fund.notify(self.fund.channel(channel).callback(number), channel=channel)
                return

    @rule(
        target=refunds,
        order_no=paid,
        share=st.sampled_from([1, 2, 3]),
        maker=st.sampled_from(["staff:1", "contributor:1"]),
    )
    def ask_back(self, order_no: str, share: int, maker: str) -> object:
        amount_fen = self.fund.order(order_no).amount_fen // share
        try:
            return self.fund.ask_back(order_no, amount_fen, maker=maker)
        except RuleViolation:
            return multiple()

    @rule(refund_no=consumes(refunds))
    def release(self, refund_no: str) -> None:
        try:
            self.fund.release(refund_no)
        except Conflict:
            assert self.fund.refund(refund_no).state is not RefundState.REQUESTED

    @rule(refund_no=consumes(refunds))
    def reject(self, refund_no: str) -> None:
        try:
            reject_refund(self.fund.ports, refund_no=refund_no, checker_id=CHECKER, note="不同意")
        except Conflict:
            assert self.fund.refund(refund_no).state is not RefundState.REQUESTED

    @rule(
        channel=channels,
        call=st.sampled_from(
            ["prepare_payment", "query_payment", "close_payment", "refund", "query_refund"]
        ),
        loss=losses,
    )
    def an_answer_will_be_lost(self, channel: str, call: str, loss: str) -> None:
        self.fund.channel(channel).trouble.setdefault(call, []).append(loss)

    @rule(channel=channels)
    def a_refund_will_be_refused(self, channel: str) -> None:
        simulated = self.fund.channel(channel)

        def refuse_once(request: RefundRequest) -> Outcome:
            del simulated.refund  # from here on the channel's own again
            if request.refund_no in simulated.refunds:
                return simulated.refund(request)
            return Outcome(
                kind=OutcomeKind.FAILED,
                reason=Reason.MERCHANT_FUNDS_SHORT,
                number=request.refund_no,
            )

        simulated.refund = refuse_once  # type: ignore[method-assign]

    @rule(seconds=st.sampled_from([20, 60, 600, 1_800, 86_400]))
    def time_goes_by(self, seconds: int) -> None:
        self.fund.clock.advance(seconds=seconds)

    @rule(job=st.sampled_from(JOBS), times=st.integers(1, 2))
    def a_job_runs(self, job, times: int) -> None:  # type: ignore[no-untyped-def]
        for _ in range(times):
            assert "error" not in job.run(self.fund.ports, on=business_day(self.fund.clock.now()))

    # -- what holds --------------------------------------------------------------------------

    @invariant()
    def the_books_hold(self) -> None:
        assert self.fund.offences() == []

    def teardown(self) -> None:
        try:
            if hasattr(self, "accounts"):
                self._until_nothing_is_open()
                self._the_channels_agree()
                self._the_balances_are_right()
        finally:
            self.town.engine.dispose()
            self.town.leave()

    def _until_nothing_is_open(self) -> None:
        for channel in CHANNELS:
            self.fund.channel(channel).trouble.clear()
        for _ in range(6):
            self.fund.clock.advance(hours=3)
            for job in JOBS:
                assert "error" not in job.run(
                    self.fund.ports, on=business_day(self.fund.clock.now())
                )
        for order_no in self.channel_of:
            assert self.fund.order(order_no).state not in OPEN_STATES
        assert not self.fund.ports.read(
            lambda session: session.scalar(
                select(func.count())
                .select_from(PaymentOrder)
                .where(PaymentOrder.next_query_at.is_not(None))
            )
        )
        assert self.fund.offences() == []

    def _the_channels_agree(self) -> None:
        """The witness: what each channel holds for us is what our books say that it holds."""
        for name in CHANNELS:
            trades = self.fund.channel(name).trades.values()
            theirs = sum(t.amount_fen - t.refunded_fen for t in trades if t.state == "paid")
            ours = self.fund.ports.read(
                lambda session, name=name: session.scalar(
                    select(func.coalesce(func.sum(JournalLine.amount_fen), 0)).where(
                        JournalLine.code == Code.CHANNEL_CLEARING, JournalLine.channel == name
                    )
                )
            )
            assert int(ours) == theirs + self.stray_fen[name]

    def _the_balances_are_right(self) -> None:
        for account_id in self.accounts:
            kept_fen = 0
            for order_no, channel in self.channel_of.items():
                order = self.fund.order(order_no)
                if order.account_id == account_id and order.state is OrderState.SUCCEEDED:
                    trade = self.fund.channel(channel).trades[order_no]
                    kept_fen += trade.amount_fen - trade.refunded_fen
            subsidy_fen = SUBSIDY_FEN if kept_fen else 0
            assert self.fund.account(account_id).balance_fen == kept_fen + subsidy_fen


HOW_LONG = settings(
    deadline=None,
    derandomize=True,
    stateful_step_count=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def test_the_books_hold_on_sqlite(sqlite_template: Path) -> None:
    def open_town() -> Town:
        folder = Path(tempfile.mkdtemp(prefix="lianjiao-books-"))
        shutil.copy(sqlite_template, folder / "town.sqlite")
        engine = prepare_engine(create_engine(f"sqlite:///{folder / 'town.sqlite'}"))
        return Town(engine, leave=lambda: shutil.rmtree(folder))

    machine = type("BooksOnSqlite", (Books,), {"open_town": staticmethod(open_town)})
    run_state_machine_as_test(machine, settings=settings(HOW_LONG, max_examples=40))


def test_the_books_hold_on_mariadb(mariadb_url: URL) -> None:
    def open_town() -> Town:
        engine = prepare_engine(create_engine(mariadb_url))
        empty_tables(engine)
        load_baseline_policy(engine)
        return Town(engine)

    machine = type("BooksOnMariaDb", (Books,), {"open_town": staticmethod(open_town)})
    run_state_machine_as_test(machine, settings=settings(HOW_LONG, max_examples=15))

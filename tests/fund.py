"""The fund with two simulated channels: what tests of the money path tell their stories with."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import Row, func, select

from app.domain.base import table_of
from app.domain.breaks.models import Break
from app.domain.callbacks.models import ChannelCallback
from app.domain.callbacks.operations import receive_callback
from app.domain.contributors.models import Account, Contributor
from app.domain.deposits.operations import DepositRequest, start_deposit
from app.domain.deposits.queries import DepositView
from app.domain.inquiries.operations import release_refund
from app.domain.ledger.models import Code, JournalEntry, JournalLine
from app.domain.ledger.verify import Offence
from app.domain.payment_orders.models import PaymentOrder
from app.domain.ports import Channels, Ports
from app.domain.ports.callbacks import RawCallback
from app.domain.refunds.models import Refund, RefundReason
from app.domain.refunds.operations import RefundApplication, request_refund
from app.domain.settlement import Effect
from app.domain.subsidies.models import SubsidyGrant
from app.domain.verification import verify_books
from tests.conftest import MovableClock
from tests.simulated_channel import SimulatedChannel

CHART = tuple(Code)

MAKER, CHECKER = 1, 2
"""Staff ids: who asks for refunds, and who releases them."""


@dataclass
class Fund:
    """Ports with a WeChat and an Alipay in memory, and the questions that tests ask."""

    ports: Ports
    clock: MovableClock
    wechat: SimulatedChannel
    alipay: SimulatedChannel
    _serial: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @classmethod
    def around(cls, ports: Ports, clock: MovableClock) -> Fund:
        """Return a fund on these ports, with fresh channels."""
        wechat, alipay = SimulatedChannel(clock.now), SimulatedChannel(clock.now)
        both = {"wechat": wechat, "alipay": alipay}
        channels = Channels(paying=both, refunding=both, calling_back=both)
        return cls(replace(ports, channels=channels), clock, wechat, alipay)

    def channel(self, name: str) -> SimulatedChannel:
        return {"wechat": self.wechat, "alipay": self.alipay}[name]

    # -- what people do ----------------------------------------------------------------------

    def start(
        self,
        account_id: int,
        amount_fen: int,
        *,
        channel: str = "wechat",
        key: str | None = None,
        despite_debit: bool = False,
    ) -> DepositView:
        """Place an order; a fresh request key unless one is given."""
        return start_deposit(
            self.ports,
            request=DepositRequest(
                account_id=account_id,
                channel=channel,
                amount_fen=amount_fen,
                payer_ref="payer",
                client_ip="127.0.0.1",
                request_key=key or f"key-{next(self._serial):08d}",
                despite_debit=despite_debit,
            ),
        )

    def notify(self, body: bytes, *, channel: str = "wechat", endpoint: str = "payment") -> str:
        """Deliver a callback; return the reply's body: «ok» or «again»."""
        raw = RawCallback(endpoint=endpoint, content_type="application/json", headers={}, body=body)
        return receive_callback(self.ports, channel=channel, raw=raw).body

    def deposit(self, account_id: int, amount_fen: int, *, channel: str = "wechat") -> str:
        """Place, pay and notify; return the order's number."""
        order_no = self.start(account_id, amount_fen, channel=channel).order_no
        assert self.notify(self.channel(channel).pay(order_no), channel=channel) == "ok"
        return order_no

    def ask_back(
        self,
        order_no: str,
        amount_fen: int,
        *,
        maker: str = f"staff:{MAKER}",
        account_id: int | None = None,
        key: str | None = None,
        note: str = "重复缴存",
    ) -> str:
        """Ask for a refund; return its number."""
        return request_refund(
            self.ports,
            application=RefundApplication(
                order_no=order_no,
                account_id=account_id,
                amount_fen=amount_fen,
                reason=RefundReason.DUPLICATE,
                note=note,
                maker=maker,
                request_key=key or f"key-{next(self._serial):08d}",
            ),
        )

    def release(self, refund_no: str, *, checker_id: int = CHECKER) -> Effect:
        return release_refund(self.ports, refund_no=refund_no, checker_id=checker_id, note="同意")

    # -- what the books say ------------------------------------------------------------------

    def order(self, order_no: str) -> Row[Any]:
        return self._one(PaymentOrder, PaymentOrder.order_no == order_no)

    def refund(self, refund_no: str) -> Row[Any]:
        return self._one(Refund, Refund.refund_no == refund_no)

    def account(self, account_id: int) -> Row[Any]:
        return self._one(Account, Account.id == account_id)

    def person(self, account_id: int) -> Row[Any]:
        return self._one(Contributor, Contributor.id == self.account(account_id).contributor_id)

    def money(self, account_id: int) -> tuple[int, int]:
        """Return balance and held, in fen."""
        account = self.account(account_id)
        return account.balance_fen, account.held_fen

    def breaks(self) -> list[tuple[str, str, int | None, int | None]]:
        """Return kind, number, expected and found fen of every break, oldest first."""
        return [
            (row.kind.value, row.number, row.expected_fen, row.found_fen)
            for row in self._all(Break)
        ]

    def callback_results(self) -> list[str]:
        return [row.result.value for row in self._all(ChannelCallback)]

    def grants(self) -> list[tuple[int, int, bool]]:
        """Return due, paid (fen) and «reversed» of every subsidy granted, oldest first."""
        return [
            (row.due_fen, row.paid_fen, row.reversed_on is not None)
            for row in self._all(SubsidyGrant)
        ]

    def entries(self) -> list[tuple[str, dict[str, int]]]:
        """Return every entry as its posting key and its fen by code, debit positive."""
        lines = self.ports.read(
            lambda session: session.execute(
                select(JournalEntry.posting_key, JournalLine.code, JournalLine.amount_fen)
                .join(JournalLine, JournalLine.entry_id == JournalEntry.id)
                .order_by(JournalEntry.id, JournalLine.line_no)
            ).all()
        )
        found: dict[str, dict[str, int]] = {}
        for key, code, amount_fen in lines:
            found.setdefault(key, {})[code] = amount_fen
        return list(found.items())

    def posting_keys(self) -> list[str]:
        return [key for key, _ in self.entries()]

    def count(self, model: type[Any]) -> int:
        found = self.ports.read(
            lambda session: session.scalar(select(func.count()).select_from(model))
        )
        return int(found or 0)

    def offences(self) -> list[Offence]:
        return self.ports.read(lambda session: list(verify_books(session, chart=CHART)))

    def _one(self, model: type[Any], condition: Any) -> Row[Any]:
        table = table_of(model)
        return self.ports.read(
            lambda session: session.execute(select(table).where(condition)).one()
        )

    def _all(self, model: type[Any]) -> list[Row[Any]]:
        table = table_of(model)
        return self.ports.read(
            lambda session: list(session.execute(select(table).order_by(table.c.id)))
        )


def in_shanghai(year: int, month: int, day: int, hour: int, minute: int = 0) -> datetime:
    """Return the instant at which a clock in Shanghai shows this."""
    return datetime(year, month, day, hour, minute, tzinfo=timezone(timedelta(hours=8)))


def changed(body: bytes, **fields: object) -> bytes:
    """Return a callback with fields replaced."""
    content: Mapping[str, object] = json.loads(body)
    return json.dumps({**content, **fields}).encode()

"""A person with an agreement, a bank that signs mandates and a wallet that does."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from sqlalchemy import Row, select

from app.domain.agreements.rules import DebitChannel
from app.domain.base import table_of
from app.domain.breaks.models import Break
from app.domain.calendar import business_day
from app.domain.callbacks.models import ChannelCallback
from app.domain.callbacks.operations import receive_callback
from app.domain.mandates.asking import compare_mandates, resolve_mandates
from app.domain.mandates.drafting import MandateWish
from app.domain.mandates.models import Mandate
from app.domain.mandates.payers import CardGiven
from app.domain.mandates.queries import MandateView, get_mandate
from app.domain.mandates.signing import confirm_mandate, end_mandate, start_mandate
from app.domain.ports import Ports
from app.domain.ports.callbacks import RawCallback
from tests.builders import an_account
from tests.domain.agreements.conftest import CONTRIBUTOR, Desk, terms
from tests.fund import Fund
from tests.mandate_channel import CODE, MandateChannel

CARD_NO = "6222021234567890128"
CARD = CardGiven(card_no=CARD_NO, holder_name="测试用户", phone="13800000000")


@dataclass
class Signing:
    """One person who signs mandates, and what the books say of them."""

    fund: Fund
    account_id: int
    bank: MandateChannel
    wechat: MandateChannel
    _serial: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def ports(self) -> Ports:
        return self.fund.ports

    def wish(self, channel: str = "bank", **changed: Any) -> MandateWish:
        """What the person asks for; a fresh request key unless one is given."""
        fields: dict[str, Any] = {
            "account_id": self.account_id,
            "contributor_id": CONTRIBUTOR,
            "channel": DebitChannel(channel),
            "request_key": f"key-{next(self._serial):08d}",
            "payer_ref": None if channel == "bank" else "payer",
            "card": CARD if channel == "bank" else None,
        }
        return MandateWish(**{**fields, **changed})

    def start(self, channel: str = "bank", **changed: Any) -> str:
        return start_mandate(self.ports, wish=self.wish(channel, **changed))

    def confirm(self, mandate_no: str, code: str = CODE) -> None:
        confirm_mandate(self.ports, account_id=self.account_id, mandate_no=mandate_no, code=code)

    def active(self, channel: str = "bank") -> str:
        """A mandate in force."""
        mandate_no = self.start(channel)
        if channel == "bank":
            self.confirm(mandate_no)
        else:
            self.wechat.sign(mandate_no)
            assert self.notify(self.wechat.notice(mandate_no)) == "mandate_noted"
        assert self.state(mandate_no) == "active"
        return mandate_no

    def end(self, mandate_no: str) -> None:
        end_mandate(
            self.ports,
            account_id=self.account_id,
            contributor_id=CONTRIBUTOR,
            mandate_no=mandate_no,
        )

    def notify(self, body: bytes, *, channel: str = "wechat") -> str:
        """Deliver a notice; return what became of it."""
        raw = RawCallback(endpoint="mandate", content_type="x", headers={}, body=body)
        assert receive_callback(self.ports, channel=channel, raw=raw).body == "ok"
        table = table_of(ChannelCallback)
        last = select(table.c.result).order_by(table.c.id.desc()).limit(1)
        return str(self.ports.read(lambda session: session.scalars(last).one()).value)

    def resolve(self, **later: float) -> dict[str, int]:
        self.fund.clock.advance(**later)
        return resolve_mandates(self.ports)

    def compare(self) -> dict[str, int]:
        return compare_mandates(self.ports, on=business_day(self.ports.now()))

    def row(self, mandate_no: str) -> Row[Any]:
        table = table_of(Mandate)
        query = select(table).where(table.c.mandate_no == mandate_no)
        return self.ports.read(lambda session: session.execute(query).one())

    def state(self, mandate_no: str) -> str:
        return str(self.row(mandate_no).state.value)

    def see(self, mandate_no: str) -> MandateView:
        return self.ports.read(
            lambda session: get_mandate(
                session,
                account_id=self.account_id,
                mandate_no=mandate_no,
                now=self.ports.now(),
            )
        )

    def breaks(self) -> list[str]:
        table = table_of(Break)
        kinds = select(table.c.kind).order_by(table.c.id)
        return self.ports.read(lambda s: [kind.value for kind in s.scalars(kinds)])


@pytest.fixture
def signing(fund: Fund) -> Signing:
    """A person whose agreement debits 500.00 on the 10th of each month."""
    account_id = an_account(fund.ports)
    Desk(fund, account_id).sign(terms())
    return a_signing(fund, account_id)


def a_signing(fund: Fund, account_id: int) -> Signing:
    """Return a person at a bank and a wallet of their own."""
    bank, wechat = MandateChannel(), MandateChannel(needs_card=False)
    both = {"bank": bank, "wechat": wechat}
    channels = replace(fund.ports.channels, mandating=both, calling_back=both)
    fund.ports = replace(fund.ports, channels=channels)
    return Signing(fund, account_id, bank, wechat)

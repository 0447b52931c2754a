"""People at the doors of the product, and notices as the channels' own keys sign them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from werkzeug.test import TestResponse

from app.domain.ports import Ports
from app.domain.staff.models import Role
from tests.attacks.witness import Witness
from tests.conftest import MovableClock
from tests.payments import alipay_hand, wechat_hand
from tests.routes.callers import API, STAFF, Caller, Doors
from tests.simulated_channel import SimulatedChannel

CONTENT_TYPE = {"wechat": "text/xml", "alipay": "application/x-www-form-urlencoded"}
REFUSED = {
    "wechat": "<xml><return_code><![CDATA[FAIL]]></return_code>"
    "<return_msg><![CDATA[未受理]]></return_msg></xml>",
    "alipay": "fail",
}
TAKEN = {
    "wechat": "<xml><return_code><![CDATA[SUCCESS]]></return_code>"
    "<return_msg><![CDATA[OK]]></return_msg></xml>",
    "alipay": "success",
}

PAID_FEN = 50_000
OPENING_FEN = 20_000
"""The opening subsidy that a first deposit brings."""


@dataclass
class Siege:
    """The product, who stands before it, and the witness of what it does."""

    doors: Doors
    ports: Ports
    channels: Mapping[str, SimulatedChannel]
    clock: MovableClock
    witness: Witness
    _people: dict[str, Caller] = field(default_factory=dict)

    def person(self, name: str = "rider") -> Caller:
        """Return an enrolled contributor with both apps, the same one for the same name."""
        if name not in self._people:
            person, other = self.doors.enrolled(name), self.doors.logged_in(name, platform="alipay")
            code = person.call("POST", f"{API}/session/link-code").json["code"]
            assert other.call("POST", f"{API}/session/link", json={"code": code}).status_code == 200
            self._people[name] = person
            self.witness.secrets += [person.token, person.account_no, other.token, code]
        return self._people[name]

    def staff(self, role: Role, username: str = "") -> Caller:
        caller = self.doors.staff(role, username=username)
        self.witness.secrets.append(caller.token)
        return caller

    def order(self, channel: str = "wechat", *, name: str = "rider") -> str:
        """Return the number of a fresh order of 500.00 yuan that waits for its payment."""
        answer = self.person(name).deposit(PAID_FEN, channel=channel)
        assert (answer.status_code, answer.json["state"]) == (201, "awaiting_payment"), answer.text
        return str(answer.json["order_no"])

    def paid(self, channel: str = "wechat", *, name: str = "rider") -> str:
        """Return the number of an order that is paid and credited."""
        order_no = self.order(channel, name=name)
        self.channels[channel].pay(order_no)
        answer = self.deliver(channel, self.notice(channel, order_no))
        assert answer.text == TAKEN[channel], answer.text
        return order_no

    def asked_back(self, order_no: str, amount_fen: int = 10_000, *, name: str = "rider") -> str:
        """Return the number of a refund that waits for staff."""
        answer = self.person(name).post(
            f"{API}/deposits/{order_no}/refunds", json={"amount_fen": amount_fen, "reason": "other"}
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json["refund_no"])

    def sent_back(self, order_no: str, amount_fen: int = 10_000) -> str:
        """Return the number of a refund that staff have released and the channel works on."""
        refund_no = self.asked_back(order_no, amount_fen)
        answer = self.staff(Role.REVIEWER).post(
            f"{STAFF}/refunds/{refund_no}/release", json={"note": "属实"}
        )
        assert (answer.status_code, answer.json["state"]) == (200, "processing"), answer.text
        return refund_no

    def balance_fen(self, name: str = "rider") -> int:
        return int(self.person(name).get(f"{API}/account").json["balance_fen"])

    def state_of(self, order_no: str, name: str = "rider") -> str:
        return str(self.person(name).get(f"{API}/deposits/{order_no}").json["state"])

    def breaks(self) -> list[tuple[str, str]]:
        """Return kind and number of every break, newest first."""
        items = self.staff(Role.AUDITOR).get(f"{STAFF}/breaks").json["items"]
        return [(item["kind"], item["number"]) for item in items]

    def deliver(
        self, channel: str, body: bytes, *, endpoint: str = "payment", **kwargs: Any
    ) -> TestResponse:
        """POST a callback as anybody on the internet can."""
        kwargs.setdefault("content_type", CONTENT_TYPE[channel])
        return self.doors.client.post(f"/callbacks/{channel}/{endpoint}", data=body, **kwargs)

    def notice(self, channel: str, order_no: str, **fields: str) -> bytes:
        """Return the genuine notice of 500.00 yuan paid under an order, with fields changed."""
        if channel == "wechat":
            return wechat_hand.signed(fields_of("wechat", order_no, **fields))
        return alipay_hand.signed(fields_of("alipay", order_no, **fields))


def fields_of(channel: str, order_no: str, **fields: str) -> dict[str, str]:
    """Return the fields of a genuine notice, unsigned."""
    if channel == "wechat":
        paid = {"total_fee": "50000", "cash_fee": "50000", "out_trade_no": order_no}
        return wechat_hand.notice(**(paid | fields))
    paid = {
        "total_amount": "500.00",
        "receipt_amount": "500.00",
        "buyer_pay_amount": "500.00",
        "out_trade_no": order_no,
    }
    return alipay_hand.notice(**(paid | fields))


def assert_refused(answer: TestResponse, siege: Siege, channel: str, **logged: str) -> None:
    """Say that a callback was refused in the channel's words, left no row, and was logged."""
    assert (answer.status_code, answer.text) == (200, REFUSED[channel])
    assert siege.witness.changes() == {}
    told = {"channel": channel, "endpoint": "payment", "level": "warning", **logged}
    assert siege.witness.events() == [{"event": "callback rejected", **told}]
    assert siege.witness.requests() == [("/callbacks/<channel>/<endpoint>", 200, None)]

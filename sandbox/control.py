"""控制接口 The control API: what tests and the demo do to a gateway, outside the protocol."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Protocol

from flask import Blueprint, Response, request

from sandbox.clock import SHANGHAI, Clock
from sandbox.deliveries import Deliveries, Parcel
from sandbox.trouble import Troubles

_LOOPBACK = frozenset({"127.0.0.1", "::1", "::ffff:127.0.0.1"})
_MOST_COPIES = 100


class Refused(Exception):
    """The gateway, or the payer's wallet, says no; the message says why, in Chinese."""


class Gateway(Protocol):
    """What the control API needs of a gateway. Every method may raise `Refused`."""

    @property
    def clock(self) -> Clock: ...

    @property
    def troubles(self) -> Troubles: ...

    @property
    def deliveries(self) -> Deliveries: ...

    def books_view(self) -> Mapping[str, object]:
        """Return all trades and refunds."""

    def forge(self, out_trade_no: str, defect: str, fields: Mapping[str, str]) -> Parcel:
        """Return a payment notice with a defect."""


class WalletGateway(Gateway, Protocol):
    """A gateway whose payers hold a phone with a wallet and a mini-program in it."""

    def new_payer(self, balance_fen: int) -> str:
        """Return the openid of a new payer with so much in the wallet."""

    def new_login_code(self, payer: str) -> str:
        """Return a code as the phone gets it for the payer who opens the mini-program."""

    def pay(self, payer: str, phone: Mapping[str, object]) -> Mapping[str, object]:
        """Pay as the payer's wallet does, given what the phone was given."""

    def finish_refund(self, out_refund_no: str, state: str) -> None:
        """End a refund that is in process; `state` is success or closed."""


OwnCall = Callable[[Mapping[str, object]], Mapping[str, object]]
"""A control call that only one gateway has: given the JSON, returns what to answer."""


def control_blueprint(gateway: Gateway, own: Mapping[str, OwnCall] | None = None) -> Blueprint:
    """Return the control API of a gateway, to be registered on its app.

    Args:
        own: POST calls that only this gateway has, by their path under `/_control`.
    """
    blueprint = Blueprint("control", __name__, url_prefix="/_control")
    calls = _Calls(gateway)

    @blueprint.before_request
    def check_caller() -> Response | None:
        if request.remote_addr not in _LOOPBACK:
            return _refusal("控制接口只对本机开放", status=403)
        return None

    def on(rule: str, method: str, call: Callable[[], Mapping[str, object]]) -> None:
        def answer() -> Response:
            try:
                return _json({"ok": True, **call()})
            except (Refused, ValueError, LookupError) as refusal:
                return _refusal(str(refusal.args[0]) if refusal.args else "请求不对")

        blueprint.add_url_rule(rule, f"{method} {rule}", answer, methods=[method])

    on("/health", "GET", dict)
    on("/clock", "GET", calls.tell_time)
    on("/clock", "POST", calls.move_clock)
    on("/troubles", "POST", calls.add_trouble)
    on("/troubles", "GET", calls.list_troubles)
    on("/troubles", "DELETE", calls.clear_troubles)
    on("/books", "GET", gateway.books_view)
    on("/deliveries", "GET", calls.list_deliveries)
    on("/notices/release", "POST", calls.release)
    on("/notices/resend", "POST", calls.resend)
    on("/notices/forge", "POST", calls.forge)
    for rule, call in (own or {}).items():
        on(rule, "POST", partial(_call_with_json, call))
    return blueprint


def wallet_calls(gateway: WalletGateway) -> dict[str, OwnCall]:
    """Return the control calls of payers and their phones, as `own` of `control_blueprint`."""

    def new_payer(given: Mapping[str, object]) -> Mapping[str, object]:
        return {"payer": gateway.new_payer(read_whole(given, "balance_fen", least=0))}

    def new_login_code(given: Mapping[str, object]) -> Mapping[str, object]:
        return {"code": gateway.new_login_code(read_text(given, "payer"))}

    def pay(given: Mapping[str, object]) -> Mapping[str, object]:
        return gateway.pay(read_text(given, "payer"), read_mapping(given, "phone"))

    def finish_refund(given: Mapping[str, object]) -> Mapping[str, object]:
        state = read_text(given, "state")
        if state not in {"success", "closed"}:
            raise ValueError("state 应为 success 或 closed")
        gateway.finish_refund(read_text(given, "out_refund_no"), state)
        return {}

    return {
        "/payers": new_payer,
        "/login_codes": new_login_code,
        "/pay": pay,
        "/refunds/finish": finish_refund,
    }


def _call_with_json(call: OwnCall) -> Mapping[str, object]:
    return call(_given())


class _Calls:
    """One method a call: reads the JSON, asks the gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def tell_time(self) -> Mapping[str, object]:
        return {"now": self._gateway.clock.now().astimezone(SHANGHAI).isoformat()}

    def move_clock(self) -> Mapping[str, object]:
        given = _given()
        if "set" in given:
            self._gateway.clock.set(datetime.fromisoformat(read_text(given, "set")))
        else:
            self._gateway.clock.advance(read_whole(given, "advance_seconds"))
        return self.tell_time()

    def add_trouble(self) -> Mapping[str, object]:
        given = _given()
        at, kind = read_text(given, "at"), read_text(given, "kind")
        times = read_whole(given, "times", default=1)
        named = {"at", "kind", "times"}
        options = {name: value for name, value in given.items() if name not in named}
        self._gateway.troubles.add(at, kind, times, **options)
        return self.list_troubles()

    def list_troubles(self) -> Mapping[str, object]:
        return {"troubles": self._gateway.troubles.list()}

    def clear_troubles(self) -> Mapping[str, object]:
        self._gateway.troubles.clear()
        return {}

    def list_deliveries(self) -> Mapping[str, object]:
        return {"deliveries": self._gateway.deliveries.log()}

    def release(self) -> Mapping[str, object]:
        return {
            "released": self._gateway.deliveries.release(
                read_text(_given(), "order", default="fifo")
            )
        }

    def resend(self) -> Mapping[str, object]:
        given = _given()
        copies = read_whole(given, "copies", default=1, least=1)
        if copies > _MOST_COPIES:
            raise ValueError(f"copies 不能超过 {_MOST_COPIES}")
        replies = self._gateway.deliveries.resend(read_text(given, "out_trade_no"), copies)
        return {"replies": [{"status": status, "reply": reply} for status, reply in replies]}

    def forge(self) -> Mapping[str, object]:
        given = _given()
        fields = {name: str(value) for name, value in read_mapping(given, "fields").items()}
        number = read_text(given, "out_trade_no")
        parcel = self._gateway.forge(number, read_text(given, "defect"), fields)
        forged = {
            "url": parcel.url,
            "body": parcel.body.decode("utf-8", errors="replace"),
            "body_base64": base64.b64encode(parcel.body).decode(),
            "content_type": parcel.content_type,
            "headers": dict(parcel.headers),
        }
        if given.get("send", True) is not True:
            return forged
        status, reply = self._gateway.deliveries.post_now(parcel)
        return {**forged, "status": status, "reply": reply}


def _json(content: Mapping[str, object], status: int = 200) -> Response:
    text = json.dumps(content, ensure_ascii=False)
    return Response(text, status=status, content_type="application/json; charset=utf-8")


def _refusal(message: str, status: int = 400) -> Response:
    return _json({"ok": False, "error": message}, status)


def _given() -> dict[str, object]:
    given = request.get_json(force=True, silent=True)
    if not isinstance(given, dict):
        raise ValueError("请求体应为 JSON 对象")
    return given


def read_text(given: Mapping[str, object], name: str, default: str | None = None) -> str:
    """Return a string of the JSON; raises ValueError if it is none."""
    value = given.get(name, default)
    if not isinstance(value, str):
        raise ValueError(f"{name} 应为字符串")
    return value


def read_whole(
    given: Mapping[str, object], name: str, *, default: int | None = None, least: int | None = None
) -> int:
    """Return an integer of the JSON, not less than `least`; raises ValueError otherwise."""
    value = given.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{name} 应为整数")
    if least is not None and value < least:
        raise ValueError(f"{name} 不能小于 {least}")
    return value


def read_mapping(given: Mapping[str, object], name: str) -> dict[str, object]:
    """Return an object of the JSON, empty if missing; raises ValueError if it is none."""
    value = given.get(name, {})
    if not isinstance(value, dict):
        raise ValueError(f"{name} 应为对象")
    return value

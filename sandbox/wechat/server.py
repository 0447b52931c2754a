"""微信支付网关 The WeChat gateway: its parts put together, its addresses, its control calls."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from flask import Flask, Response, request

from sandbox.books import Books, open_books
from sandbox.clock import Clock
from sandbox.control import (
    OwnCall,
    Refused,
    control_blueprint,
    read_text,
    read_whole,
    wallet_calls,
)
from sandbox.credentials import (
    WECHAT_MERCHANT_PUBLIC_KEY,
    WECHAT_PLATFORM_PRIVATE_KEY,
    issue_credentials,
)
from sandbox.deliveries import Deliveries, Parcel
from sandbox.keys import read_private_key, read_public_key
from sandbox.trouble import Trouble, Troubles, play_transport_trouble
from sandbox.wechat import contracts, debits, messages, notices
from sandbox.wechat.accounts import (
    SCHEMA,
    Merchant,
    Rules,
    merchant_balance,
    move_merchant,
    new_number,
    seconds_now,
)
from sandbox.wechat.announcements import Announcements
from sandbox.wechat.checks import CALLS
from sandbox.wechat.contracts import Contracts, find_contract
from sandbox.wechat.debits import Debits, find_debit
from sandbox.wechat.login import Login
from sandbox.wechat.messages import Messages
from sandbox.wechat.orders import Orders, find_trade
from sandbox.wechat.protocol import PayCalls
from sandbox.wechat.refunds import Refunds
from sandbox.wechat.signing import Malformed, read_xml
from sandbox.wechat.v3 import NOTIFY, V3Calls
from sandbox.wechat.views import books_view

_LOGIN = "sns/jscode2session"


class WeChatGateway:
    """One merchant's WeChat: what the protocol and the control API can ask of it."""

    def __init__(self, books: Books, clock: Clock, merchant: Merchant, rules: Rules) -> None:
        self.clock = clock
        self.troubles = Troubles(
            {*CALLS, *messages.CALLS, _LOGIN, NOTIFY},
            {contracts.SIGN: contracts.SIGN_KINDS, debits.OUTCOME: debits.OUTCOME_KINDS},
        )
        self.deliveries = Deliveries(
            books, clock, self.troubles, notices.RETRY_SECONDS, _is_accepted
        )
        self._books = books
        self._merchant = merchant
        self._orders = Orders(books, clock, merchant, rules, self._announce_payment)
        self._refunds = Refunds(books, clock, rules, self._announce_refund)
        self._login = Login(books, clock, merchant)
        self._messages = Messages(books, clock, merchant)
        self._contracts = Contracts(books, clock, merchant, rules, self._announce_contract)
        self._debits = Debits(books, clock, self._orders, self._announce_debit)
        self._calls = PayCalls(
            books,
            clock,
            merchant,
            rules,
            orders=self._orders,
            refunds=self._refunds,
            contracts=self._contracts,
            debits=self._debits,
            debit_trouble=lambda: self.troubles.take(debits.OUTCOME),
        )
        self.v3 = V3Calls(clock, merchant, Announcements(books, clock, merchant))
        clock.when_moved(self.settle)

    def close(self) -> None:
        """Stop sending notices and close the books."""
        self.deliveries.stop()
        self._books.close()

    def settle(self) -> None:
        """Let happen what only time brings about."""
        self._contracts.settle()
        self._debits.settle()

    # Protocol

    def answer(self, call: str, body: bytes, trouble: Trouble | None) -> Response:
        """Answer one signed call."""
        return self._calls.answer(call, body, trouble)

    def answer_program(
        self, call: str, query: Mapping[str, str], body: bytes, trouble: Trouble | None
    ) -> Response:
        """Answer a call of the mini-program's: log-in or message; it is not signed."""
        kind = trouble.kind if trouble else ""
        answer: dict[str, object] = {}
        if kind != "error" and call == _LOGIN:
            answer = self._login.session(query)
        elif kind != "error":
            answer = self._messages.answer(call, query, body)
        if trouble is not None and kind in {"error", "error_after"}:
            code = trouble.text("code", "")
            message = trouble.text("message", "system error")
            answer = {"errcode": int(code) if code.isdigit() else -1, "errmsg": message}
        return Response(json.dumps(answer), content_type="text/plain")

    # Notices

    def _announce_payment(self, trade: sqlite3.Row) -> None:
        body = notices.payment_notice(trade, None, self._merchant)
        number, url = trade["out_trade_no"], trade["notify_url"]
        self.deliveries.send("payment", number, url, body, notices.CONTENT_TYPE)

    def _announce_debit(self, trade: sqlite3.Row, debit: sqlite3.Row) -> None:
        body = notices.payment_notice(trade, debit, self._merchant)
        number, url = trade["out_trade_no"], trade["notify_url"]
        self.deliveries.send("debit", number, url, body, notices.CONTENT_TYPE)

    def _announce_contract(self, contract: sqlite3.Row, change_type: str, url: str) -> None:
        now = seconds_now(self.clock)
        body = notices.contract_notice(contract, change_type, self._merchant, now)
        self.deliveries.send("contract", contract["contract_code"], url, body, notices.CONTENT_TYPE)

    def _announce_refund(self, refund: sqlite3.Row, trade: sqlite3.Row) -> None:
        if refund["notify_url"]:
            body = notices.refund_notice(refund, trade, self._merchant)
            number, url = trade["out_trade_no"], refund["notify_url"]
            self.deliveries.send("refund", number, url, body, notices.CONTENT_TYPE)

    # Control

    def new_payer(self, balance_fen: int) -> str:
        return self._login.new_payer(balance_fen)

    def new_login_code(self, payer: str) -> str:
        return self._login.new_code(payer)

    def pay(self, payer: str, phone: Mapping[str, object]) -> Mapping[str, object]:
        trade = self._orders.pay(payer, phone)
        return {"out_trade_no": trade["out_trade_no"], "reference": trade["transaction_id"]}

    def books_view(self) -> Mapping[str, object]:
        with self._books.transaction() as books:
            return books_view(books, self._orders)

    def forge(self, out_trade_no: str, defect: str, fields: Mapping[str, str]) -> Parcel:
        now = seconds_now(self.clock)
        with self._books.transaction() as books:
            trade = find_trade(books, out_trade_no)
            contract = find_contract(books, "contract_code", out_trade_no)
            debit = find_debit(books, out_trade_no)
        if trade is not None:
            url, body = (
                trade["notify_url"],
                notices.forged_payment(
                    trade, debit, self._merchant, now, defect=defect, changes=fields
                ),
            )
        elif contract is not None:
            url, body = (
                contract["notify_url"],
                notices.forged_contract(
                    contract, self._merchant, now, defect=defect, changes=fields
                ),
            )
        else:
            raise Refused("没有这个订单或签约协议")
        return Parcel(url, body, notices.CONTENT_TYPE)

    def finish_refund(self, out_refund_no: str, state: str) -> None:
        self._refunds.finish(out_refund_no, "SUCCESS" if state == "success" else "REFUNDCLOSE")

    def own_calls(self) -> dict[str, OwnCall]:
        """Return the control calls that only WeChat has."""
        return {
            "/orders/state": self._set_trade_state,
            "/merchant/payout": self._pay_out,
            "/payers/change": self._login.change_payer,
            "/contracts/sign": self._sign,
            "/contracts/change": self._contracts.change,
            "/plans/change": self._contracts.change_plan,
            "/debits/finish": self._debits.finish,
            "/messages/consent": self._messages.consent,
            "/messages/inbox": self._messages.inbox,
        }

    def _sign(self, given: Mapping[str, object]) -> Mapping[str, object]:
        return self._contracts.sign(given, lambda: self.troubles.take(contracts.SIGN))

    def _set_trade_state(self, given: Mapping[str, object]) -> Mapping[str, object]:
        """Put an unpaid order into USERPAYING, PAYERROR and the like."""
        self._orders.set_state(read_text(given, "out_trade_no"), read_text(given, "trade_state"))
        return {}

    def _pay_out(self, given: Mapping[str, object]) -> Mapping[str, object]:
        """The merchant takes money out of its account (提现)."""
        amount_fen = read_whole(given, "amount_fen", least=1)
        now = seconds_now(self.clock)
        with self._books.transaction() as books:
            left_fen = merchant_balance(books) - amount_fen
            if left_fen < 0:
                raise Refused("商户余额不足")
            number = new_number("10000", now, 28)
            move_merchant(books, now, "提现", -amount_fen, reference=number, voucher=number)
        return {"merchant_balance_fen": left_fen}


def create_gateway(data_dir: Path, clock: Clock, rules: Rules | None = None) -> Flask:
    """Return the gateway on the books in `data_dir`; credentials are issued if there are none.

    The gateway itself is `app.extensions["gateway"]`; close it when the app is done with.
    """
    books = open_books(data_dir / "wechat.sqlite", SCHEMA)
    gateway = WeChatGateway(books, clock, _read_merchant(data_dir), rules or Rules())
    app = Flask("sandbox.wechat", static_folder=None)
    app.extensions["gateway"] = gateway
    own = {
        **wallet_calls(gateway),
        **gateway.own_calls(),
    }
    app.register_blueprint(control_blueprint(gateway, own))

    @app.before_request
    def settle_before() -> None:
        gateway.settle()

    _add_addresses(app, gateway)
    return app


def _add_addresses(app: Flask, gateway: WeChatGateway) -> None:
    def answer_call() -> Response:
        call, body = request.path[1:], request.get_data()
        trouble = gateway.troubles.take(call)
        return play_transport_trouble(trouble, lambda: gateway.answer(call, body, trouble))

    def answer_program() -> Response:
        call, query, body = request.path[1:], request.args.to_dict(), request.get_data()
        trouble = gateway.troubles.take(call)
        return play_transport_trouble(
            trouble, lambda: gateway.answer_program(call, query, body, trouble)
        )

    def announce(contract_id: str) -> Response:
        trouble = gateway.troubles.take(NOTIFY)
        path, body = request.full_path.rstrip("?"), request.get_data()
        return play_transport_trouble(
            trouble,
            lambda: gateway.v3.notify(contract_id, path, request.headers, body, trouble),
        )

    for call in sorted(CALLS):
        app.add_url_rule(f"/{call}", call, answer_call, methods=["POST"])
    for call in (_LOGIN, messages.TOKEN):
        app.add_url_rule(f"/{call}", call, answer_program, methods=["GET"])
    for call in (messages.STABLE_TOKEN, messages.SEND):
        app.add_url_rule(f"/{call}", call, answer_program, methods=["POST"])
    notify = "/v3/papay/contracts/<contract_id>/notify"
    app.add_url_rule(notify, NOTIFY, announce, methods=["POST"])


def _read_merchant(data_dir: Path) -> Merchant:
    credentials = issue_credentials(data_dir)
    issued, issued_v3 = credentials.wechat, credentials.wechat_v3
    return Merchant(
        app_id=issued["LIANJIAO_WECHAT_APP_ID"],
        app_secret=issued["LIANJIAO_WECHAT_APP_SECRET"],
        merchant_id=issued["LIANJIAO_WECHAT_MERCHANT_ID"],
        api_key=issued["LIANJIAO_WECHAT_API_KEY"],
        plan_id=issued["LIANJIAO_WECHAT_PLAN_ID"],
        serial_no=issued_v3["LIANJIAO_WECHAT_MERCHANT_SERIAL_NO"],
        merchant_key=read_public_key(data_dir / WECHAT_MERCHANT_PUBLIC_KEY),
        platform_key_id=issued_v3["LIANJIAO_WECHAT_PLATFORM_PUBLIC_KEY_ID"],
        platform_key=read_private_key(data_dir / WECHAT_PLATFORM_PRIVATE_KEY),
    )


def _is_accepted(status: int, body: bytes) -> bool:
    """Whether the merchant answered SUCCESS, in the XML that the protocol asks for."""
    try:
        return status == 200 and read_xml(body).get("return_code") == "SUCCESS"
    except Malformed:
        return False

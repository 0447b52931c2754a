"""微信支付网关 The WeChat gateway: its parts put together, its addresses, its control calls."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from flask import Flask, Response, request

from sandbox.books import Books, open_books
from sandbox.clock import Clock
from sandbox.control import Refused, control_blueprint, read_text, read_whole, wallet_calls
from sandbox.credentials import issue_credentials
from sandbox.deliveries import Deliveries, Parcel
from sandbox.trouble import Trouble, Troubles, play_transport_trouble
from sandbox.wechat import notices
from sandbox.wechat.accounts import (
    SCHEMA,
    Merchant,
    Rules,
    beijing,
    merchant_balance,
    move_merchant,
    new_number,
    seconds_now,
)
from sandbox.wechat.checks import CALLS, Refusal
from sandbox.wechat.login import Login
from sandbox.wechat.orders import Orders
from sandbox.wechat.protocol import PayCalls
from sandbox.wechat.refunds import Refunds
from sandbox.wechat.signing import (
    Malformed,
    read_xml,
)

_LOGIN = "sns/jscode2session"


class WeChatGateway:
    """One merchant's WeChat: what the protocol and the control API can ask of it."""

    def __init__(self, books: Books, clock: Clock, merchant: Merchant, rules: Rules) -> None:
        self.clock = clock
        self.troubles = Troubles({*CALLS, _LOGIN})
        self.deliveries = Deliveries(
            books, clock, self.troubles, notices.RETRY_SECONDS, _is_accepted
        )
        self._books = books
        self._merchant = merchant
        self._orders = Orders(books, clock, merchant, rules, self._announce_payment)
        self._refunds = Refunds(books, clock, rules, self._announce_refund)
        self._login = Login(books, clock, merchant)
        self._calls = PayCalls(books, clock, merchant, rules, self._orders, self._refunds)

    def close(self) -> None:
        """Stop sending notices and close the books."""
        self.deliveries.stop()
        self._books.close()

    # Protocol

    def answer(self, call: str, body: bytes, trouble: Trouble | None) -> Response:
        """Answer one signed call."""
        return self._calls.answer(call, body, trouble)

    def log_in(self, query: Mapping[str, str], trouble: Trouble | None) -> Response:
        """Answer `jscode2session`; it is not signed."""
        kind = trouble.kind if trouble else ""
        answer = {} if kind == "error" else self._login.session(query)
        if trouble is not None and kind in {"error", "error_after"}:
            code = trouble.text("code", "")
            message = trouble.text("message", "system error")
            answer = {"errcode": int(code) if code.isdigit() else -1, "errmsg": message}
        return Response(json.dumps(answer), content_type="text/plain")

    # Notices

    def _announce_payment(self, trade: sqlite3.Row) -> None:
        body = notices.payment_notice(trade, self._merchant)
        number, url = trade["out_trade_no"], trade["notify_url"]
        self.deliveries.send("payment", number, url, body, notices.CONTENT_TYPE)

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
            trades = books.execute(
                "SELECT *, (SELECT COALESCE(SUM(amount_fen), 0) FROM refund WHERE"
                " refund.out_trade_no = trade.out_trade_no AND refund.state = 'SUCCESS')"
                " AS refunded_fen FROM trade ORDER BY rowid"
            ).fetchall()
            refunds = books.execute("SELECT * FROM refund ORDER BY rowid").fetchall()
            payers = books.execute("SELECT * FROM payer ORDER BY rowid").fetchall()
            merchant_fen = merchant_balance(books)
            states = [self._orders.trade_state(trade) for trade in trades]
        return {
            "trades": [
                {
                    "out_trade_no": trade["out_trade_no"],
                    "reference": trade["transaction_id"],
                    "payer": trade["openid"],
                    "amount_fen": trade["amount_fen"],
                    "refunded_fen": trade["refunded_fen"],
                    "state": state,
                    "created_at": beijing(trade["created_at"]).isoformat(),
                    "paid_at": trade["paid_at"] and beijing(trade["paid_at"]).isoformat(),
                }
                for trade, state in zip(trades, states, strict=True)
            ],
            "refunds": [
                {
                    "out_refund_no": refund["out_refund_no"],
                    "out_trade_no": refund["out_trade_no"],
                    "reference": refund["refund_id"],
                    "amount_fen": refund["amount_fen"],
                    "state": refund["state"],
                }
                for refund in refunds
            ],
            "payers": [
                {"payer": payer["openid"], "balance_fen": payer["balance_fen"]} for payer in payers
            ],
            "merchant_balance_fen": merchant_fen,
        }

    def forge(self, out_trade_no: str, defect: str, fields: Mapping[str, str]) -> Parcel:
        try:
            trade = self._orders.get({"out_trade_no": out_trade_no})
        except Refusal as refusal:
            raise Refused(refusal.message) from None
        body = notices.forged_payment(
            trade, self._merchant, seconds_now(self.clock), defect=defect, changes=fields
        )
        return Parcel(trade["notify_url"], body, notices.CONTENT_TYPE)

    def finish_refund(self, out_refund_no: str, state: str) -> None:
        self._refunds.finish(out_refund_no, "SUCCESS" if state == "success" else "REFUNDCLOSE")

    def set_trade_state(self, given: Mapping[str, object]) -> Mapping[str, object]:
        """Control call: put an unpaid order into USERPAYING, PAYERROR and the like."""
        self._orders.set_state(read_text(given, "out_trade_no"), read_text(given, "trade_state"))
        return {}

    def pay_out(self, given: Mapping[str, object]) -> Mapping[str, object]:
        """Control call: the merchant takes money out of its account (提现)."""
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
    issued = issue_credentials(data_dir).wechat
    merchant = Merchant(
        app_id=issued["LIANJIAO_WECHAT_APP_ID"],
        app_secret=issued["LIANJIAO_WECHAT_APP_SECRET"],
        merchant_id=issued["LIANJIAO_WECHAT_MERCHANT_ID"],
        api_key=issued["LIANJIAO_WECHAT_API_KEY"],
    )
    books = open_books(data_dir / "wechat.sqlite", SCHEMA)
    gateway = WeChatGateway(books, clock, merchant, rules or Rules())
    app = Flask("sandbox.wechat", static_folder=None)
    app.extensions["gateway"] = gateway
    own = {
        **wallet_calls(gateway),
        "/orders/state": gateway.set_trade_state,
        "/merchant/payout": gateway.pay_out,
    }
    app.register_blueprint(control_blueprint(gateway, own))

    def answer_call() -> Response:
        call, body = request.path[1:], request.get_data()
        trouble = gateway.troubles.take(call)
        return play_transport_trouble(trouble, lambda: gateway.answer(call, body, trouble))

    def answer_login() -> Response:
        query = request.args.to_dict()
        trouble = gateway.troubles.take(_LOGIN)
        return play_transport_trouble(trouble, lambda: gateway.log_in(query, trouble))

    for call in sorted(CALLS):
        app.add_url_rule(f"/{call}", call, answer_call, methods=["POST"])
    app.add_url_rule(f"/{_LOGIN}", _LOGIN, answer_login, methods=["GET"])
    return app


def _is_accepted(status: int, body: bytes) -> bool:
    """Whether the merchant answered SUCCESS, in the XML that the protocol asks for."""
    try:
        return status == 200 and read_xml(body).get("return_code") == "SUCCESS"
    except Malformed:
        return False

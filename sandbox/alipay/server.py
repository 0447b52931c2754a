"""支付宝网关 The Alipay gateway: its parts put together, its addresses, its control calls."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path

from flask import Flask, Response, request

from sandbox.alipay import messages, notices
from sandbox.alipay.accounts import (
    SCHEMA,
    Merchant,
    Rules,
    move_seller,
    seconds_now,
    seller_balance,
)
from sandbox.alipay.agreements import Agreements, find_agreement
from sandbox.alipay.answers import Answers
from sandbox.alipay.bills import Bills
from sandbox.alipay.checks import MESSAGES, DoorRefusal, Refusal
from sandbox.alipay.debits import OUTCOME, OUTCOME_KINDS, PAY, Debits
from sandbox.alipay.door import Call, Door, Message, read_message
from sandbox.alipay.login import Login
from sandbox.alipay.messages import Messages
from sandbox.alipay.refunds import Refunds
from sandbox.alipay.trades import Trades, find_trade
from sandbox.alipay.views import books_view
from sandbox.books import Books, open_books
from sandbox.clock import Clock
from sandbox.control import OwnCall, Refused, control_blueprint, read_text, read_whole, wallet_calls
from sandbox.credentials import (
    ALIPAY_APP_PUBLIC_KEY,
    ALIPAY_GATEWAY_PRIVATE_KEY,
    issue_credentials,
)
from sandbox.deliveries import Deliveries, Parcel
from sandbox.keys import read_private_key, read_public_key
from sandbox.trouble import Trouble, Troubles, play_transport_trouble

REFUND = "alipay.trade.refund"
LOGIN = "alipay.system.oauth.token"
BILL = "alipay.data.dataservice.bill.downloadurl.query"
BILL_FILES = "bills"
"""The place `at` which troubles meet the fetching of a bill."""

_ERROR = "error_response"
_CONTENT_TYPE = "text/html;charset={}"


class AlipayGateway:
    """One seller's Alipay: what the protocol and the control API can ask of it."""

    def __init__(self, books: Books, clock: Clock, merchant: Merchant, rules: Rules) -> None:
        self.clock = clock
        self._books = books
        self._merchant = merchant
        self._rules = rules
        self._door = Door(clock, merchant, rules)
        self._answers = Answers(merchant.gateway_key, plain=rules.plain_answers)
        self._trades = Trades(books, clock, merchant, rules, self._announce)
        self._refunds = Refunds(books, clock, merchant, rules, self._trades, self._announce)
        self._agreements = Agreements(
            books, clock, merchant, rules, self._door, self._announce_agreement
        )
        self._debits = Debits(
            books, clock, rules, self._trades, lambda: self.troubles.take(OUTCOME)
        )
        self._messages = Messages(books, clock)
        self._login = Login(books, clock, merchant)
        self.bills = Bills(books, clock, merchant)
        self._calls: dict[str, Callable[[Call], dict[str, object]]] = {
            "alipay.trade.create": self._trades.create,
            PAY: self._debits.pay,
            messages.SEND: self._messages.send,
            "alipay.user.agreement.query": self._agreements.query,
            "alipay.user.agreement.unsign": self._agreements.unsign,
            "alipay.user.agreement.executionplan.modify": self._agreements.modify,
            "alipay.trade.query": self._trades.query,
            "alipay.trade.close": self._trades.close,
            "alipay.trade.cancel": self._refunds.cancel,
            REFUND: self._refunds.refund,
            "alipay.trade.fastpay.refund.query": self._refunds.query,
            BILL: self._bill_address,
            LOGIN: lambda call: self._login.token(call.fields),
        }
        self.troubles = Troubles({*self._calls, BILL_FILES}, {OUTCOME: OUTCOME_KINDS})
        self.deliveries = Deliveries(
            books, clock, self.troubles, notices.RETRY_SECONDS, _is_accepted
        )

    def close(self) -> None:
        """Stop sending notices and close the books."""
        self.deliveries.stop()
        self._books.close()

    def settle(self) -> None:
        """Let happen what only time brings about."""
        self._agreements.settle()
        self._debits.settle()
        self._trades.close_expired()

    # Protocol

    def answer(self, message: Message, trouble: Trouble | None) -> Response:
        """Answer one request, with the troubles that touch the answer itself."""
        try:
            call = self._door.let_in(message)
            if message.method not in self._calls:
                raise DoorRefusal("isv.invalid-method", "不存在的方法名")
            node = self._carry_out(call, trouble)
        except DoorRefusal as refusal:
            return self.refuse(refusal, message)
        except Refusal as refusal:
            return self._write(message, refusal.node(), trouble)
        return self._write(message, node, trouble)

    def refuse(self, refusal: DoorRefusal, message: Message | None) -> Response:
        """Answer what was not let in; `message` is None if it could not even be read."""
        is_signed = refusal.is_signed and self._rules.signs_refusals
        name = self._node_name(message.method) if message else _ERROR
        codec, charset = (message.codec, message.charset) if message else ("utf-8", "utf-8")
        body = self._answers.write(name, refusal.node(), codec, is_signed=is_signed)
        return Response(body, content_type=_CONTENT_TYPE.format(charset))

    def _node_name(self, method: str) -> str:
        known = method in self._calls and method != LOGIN
        return f"{method.replace('.', '_')}_response" if known else _ERROR

    def _carry_out(self, call: Call, trouble: Trouble | None) -> dict[str, object]:
        if trouble is not None and trouble.kind == "error":
            raise _asked_for(trouble)
        if trouble is not None and trouble.kind == "refund_pending" and call.method == REFUND:
            node = self._refunds.refund(call, pending=True)
        else:
            node = self._calls[call.method](call)
        if trouble is not None and trouble.kind == "error_after":
            raise _asked_for(trouble)
        if call.method == LOGIN:
            return node
        return {"code": "10000", "msg": MESSAGES["10000"], **node}

    def _write(
        self, message: Message, node: Mapping[str, object], trouble: Trouble | None
    ) -> Response:
        kind = trouble.kind if trouble else ""
        name = self._node_name(message.method)
        if message.method == LOGIN and "access_token" in node:
            name = "alipay_system_oauth_token_response"
        body = self._answers.write(
            name,
            node,
            message.codec,
            is_signed=kind != "unsigned",
            is_true=kind != "bad_sign",
        )
        return Response(body, content_type=_CONTENT_TYPE.format(message.charset))

    def _bill_address(self, call: Call) -> dict[str, object]:
        return {"bill_download_url": self.bills.address(call.content, request.host_url)}

    # Notices

    def _announce(
        self, books: sqlite3.Connection, trade: sqlite3.Row, refund: sqlite3.Row | None
    ) -> None:
        if not trade["notify_url"]:
            return
        now = seconds_now(self.clock)
        body = notices.trade_notice(books, trade, refund, self._merchant, now)
        topic = "refund" if refund is not None else "payment"
        if refund is None and trade["paid_at"] is None:
            topic = "closed"
        content_type = notices.content_type(trade)
        self.deliveries.send(topic, trade["out_trade_no"], trade["notify_url"], body, content_type)

    def _announce_agreement(
        self, books: sqlite3.Connection, agreement: sqlite3.Row, url: str
    ) -> None:
        if url:
            now = seconds_now(self.clock)
            body = notices.agreement_notice(books, agreement, self._merchant, now)
            number, content_type = agreement["agreement_no"], notices.content_type(agreement)
            self.deliveries.send("agreement", number, url, body, content_type)

    # Control

    def own_calls(self) -> dict[str, OwnCall]:
        """Return the control calls that only Alipay has."""
        return {
            "/merchant/payout": self.pay_out,
            "/merchant/address": self._agreements.set_application_url,
            "/bills/spoil": self.spoil_bill,
            "/payers/change": self._login.change_payer,
            "/agreements/sign": self._agreements.sign,
            "/agreements/change": self._agreements.change,
            "/debits/finish": self._debits.finish,
            "/messages/consent": self._messages.consent,
            "/messages/inbox": self._messages.inbox,
        }

    def new_payer(self, balance_fen: int) -> str:
        return self._login.new_payer(balance_fen)

    def new_login_code(self, payer: str) -> str:
        return self._login.new_code(payer)

    def pay(self, payer: str, phone: Mapping[str, object]) -> Mapping[str, object]:
        trade = self._trades.pay(payer, phone)
        return {
            "out_trade_no": trade["out_trade_no"],
            "reference": trade["trade_no"],
            "resultCode": "9000",
        }

    def books_view(self) -> Mapping[str, object]:
        with self._books.transaction() as books:
            return books_view(books, self._trades)

    def forge(self, out_trade_no: str, defect: str, fields: Mapping[str, str]) -> Parcel:
        now = seconds_now(self.clock)
        with self._books.transaction() as books:
            trade = find_trade(books, "out_trade_no", out_trade_no)
            if trade is None:
                return self._forge_agreement(books, out_trade_no, defect, fields)
            if not trade["notify_url"]:
                raise Refused("这笔交易没有 notify_url")
            body = notices.forged_payment(
                books, trade, self._merchant, now, defect=defect, changes=fields
            )
        return Parcel(trade["notify_url"], body, notices.content_type(trade))

    def _forge_agreement(
        self, books: sqlite3.Connection, number: str, defect: str, fields: Mapping[str, str]
    ) -> Parcel:
        """Return a forged notice; as a true one, an end goes to the application's address."""
        agreement = find_agreement(books, "agreement_no", number)
        agreement = agreement or find_agreement(books, "external_agreement_no", number)
        if agreement is None:
            raise Refused("没有这笔交易，也没有这份协议")
        body = notices.forged_agreement(
            books, agreement, self._merchant, seconds_now(self.clock), defect=defect, changes=fields
        )
        url = agreement["notify_url"]
        if fields.get("notify_type") != notices.SIGNED:
            url = self._agreements.application_url or url
        if not url:
            raise Refused("这份协议没有 notify_url")
        return Parcel(url, body, notices.content_type(agreement))

    def finish_refund(self, out_refund_no: str, state: str) -> None:
        self._refunds.finish(out_refund_no, success=state == "success")

    def pay_out(self, given: Mapping[str, object]) -> Mapping[str, object]:
        """Control call: the seller takes money out of the account (提现)."""
        amount_fen = read_whole(given, "amount_fen", least=1)
        with self._books.transaction() as books:
            left_fen = seller_balance(books) - amount_fen
            if left_fen < 0:
                raise Refused("商户余额不足")
            move_seller(books, self._merchant, -amount_fen)
        return {"merchant_balance_fen": left_fen}

    def spoil_bill(self, given: Mapping[str, object]) -> Mapping[str, object]:
        """Control call: the bill will not agree with the books about one payment."""
        self.bills.spoil(read_text(given, "out_trade_no"), read_text(given, "defect"))
        return {}


def create_gateway(data_dir: Path, clock: Clock, rules: Rules | None = None) -> Flask:
    """Return the gateway on the books in `data_dir`; credentials are issued if there are none.

    The gateway itself is `app.extensions["gateway"]`; close it when the app is done with.
    """
    issued = issue_credentials(data_dir).alipay
    merchant = Merchant(
        app_id=issued["LIANJIAO_ALIPAY_APP_ID"],
        seller_id=issued["LIANJIAO_ALIPAY_SELLER_ID"],
        app_key=read_public_key(data_dir / ALIPAY_APP_PUBLIC_KEY),
        gateway_key=read_private_key(data_dir / ALIPAY_GATEWAY_PRIVATE_KEY),
    )
    books = open_books(data_dir / "alipay.sqlite", SCHEMA)
    gateway = AlipayGateway(books, clock, merchant, rules or Rules())
    app = Flask("sandbox.alipay", static_folder=None)
    app.extensions["gateway"] = gateway
    own = {
        **wallet_calls(gateway),
        **gateway.own_calls(),
    }
    app.register_blueprint(control_blueprint(gateway, own))

    @app.before_request
    def settle_before() -> None:
        gateway.settle()

    @app.after_request
    def settle_after(response: Response) -> Response:
        gateway.settle()  # The request may have moved the clock.
        return response

    @app.route("/gateway.do", methods=["GET", "POST"])
    def answer_call() -> Response:
        try:
            message = read_message(
                request.method, request.query_string, request.get_data(), request.content_type or ""
            )
        except DoorRefusal as refusal:
            return gateway.refuse(refusal, None)
        trouble = gateway.troubles.take(message.method)
        return play_transport_trouble(trouble, lambda: gateway.answer(message, trouble))

    @app.get(f"/{BILL_FILES}/<name>")
    def fetch_bill(name: str) -> Response:
        return play_transport_trouble(gateway.troubles.take(BILL_FILES), lambda: _bill(name))

    def _bill(name: str) -> Response:
        if not request.headers.get("User-Agent"):
            return Response("Forbidden", status=403, content_type="text/plain")
        packed = gateway.bills.fetch(name, request.args)
        if packed is None:
            return Response("链接已失效", status=404, content_type="text/plain; charset=utf-8")
        return Response(packed, content_type="application/zip")

    return app


def _asked_for(trouble: Trouble) -> Refusal:
    """Return the refusal of a trouble: a `sub_code`, or a code of the gateway itself."""
    code = trouble.text("code", "")
    message = trouble.text("message", "系统繁忙，请稍后再试")
    if code in MESSAGES:
        return Refusal("isp.unknow-error", message, code=code)
    return Refusal(code, message)


def _is_accepted(status: int, body: bytes) -> bool:
    """Whether the merchant answered the seven letters that the protocol asks for."""
    return status == 200 and body == b"success"

"""接口协议 The calls signed with the API key: let in, carried out, answered and signed."""

from __future__ import annotations

import gzip
import secrets
import sqlite3
from collections.abc import Callable, Mapping

from flask import Response

from sandbox.books import Books
from sandbox.clock import Clock
from sandbox.trouble import Trouble
from sandbox.wechat import bills, notices
from sandbox.wechat.accounts import Merchant, Rules, seconds_now, spaced
from sandbox.wechat.checks import Fields, Refusal, Unacceptable, check_fields
from sandbox.wechat.contracts import Contracts
from sandbox.wechat.debits import Debits
from sandbox.wechat.orders import TRADE_STATES, Orders
from sandbox.wechat.refunds import Refunds
from sandbox.wechat.signing import (
    HMAC_SHA256,
    MD5,
    SIGN_TYPES,
    Malformed,
    is_signed,
    read_xml,
    sign,
    write_xml,
)

_REFUNDS_ON_A_PAGE = 10

Answer = dict[str, str] | bytes
"""The fields of an answer, or a bill."""


class PayCalls:
    """Answers the calls of one merchant."""

    def __init__(
        self,
        books: Books,
        clock: Clock,
        merchant: Merchant,
        rules: Rules,
        *,
        orders: Orders,
        refunds: Refunds,
        contracts: Contracts,
        debits: Debits,
        debit_trouble: Callable[[], Trouble | None],
    ) -> None:
        self._books = books
        self._clock = clock
        self._merchant = merchant
        self._rules = rules
        self._orders = orders
        self._refunds = refunds
        self._contracts = contracts
        self._debits = debits
        self._debit_trouble = debit_trouble

    def answer(self, call: str, body: bytes, trouble: Trouble | None) -> Response:
        """Answer one signed call, with the troubles that touch the answer itself."""
        sign_type = MD5
        try:
            fields = self._let_in(call, body)
            sign_type = fields.get("sign_type") or MD5
            answer = self._carry_out(call, fields, trouble)
        except Unacceptable as error:
            return _xml({"return_code": "FAIL", "return_msg": str(error)})
        except Refusal as refusal:
            answer = _refused(refusal.code, refusal.message)
        if isinstance(answer, bytes):
            return Response(answer, content_type="text/plain; charset=utf-8")
        if "return_code" in answer:
            return _xml(answer)
        whole = {
            "return_code": "SUCCESS",
            "return_msg": "OK",
            "appid": self._merchant.app_id,
            "mch_id": self._merchant.merchant_id,
            "nonce_str": secrets.token_hex(16),
            "result_code": "SUCCESS",
            **answer,
        }
        return self._sign_answer(whole, sign_type, trouble)

    def _let_in(self, call: str, body: bytes) -> Fields:
        """Return the fields of a message that is ours to answer.

        Raises:
            Unacceptable: not well formed, not signed with the key, not complete.
            Refusal: another merchant's mini-program.
        """
        if not body:
            raise Unacceptable("post数据为空")
        try:
            fields = read_xml(body)
        except Malformed:
            raise Unacceptable("XML格式错误") from None
        if fields.get("mch_id") != self._merchant.merchant_id:
            raise Unacceptable("商户号mch_id不存在")
        sign_type = fields.get("sign_type") or MD5
        wanted = {HMAC_SHA256} if call == "pay/downloadfundflow" else SIGN_TYPES
        signature = fields.get("sign", "")
        if sign_type not in wanted or not is_signed(
            fields, signature, self._merchant.api_key, sign_type
        ):
            raise Unacceptable("签名错误")
        if fields.get("appid") and fields["appid"] != self._merchant.app_id:
            raise Refusal("APPID_MCHID_NOT_MATCH", "appid和mch_id不匹配")
        check_fields(call, fields)
        return fields

    def _carry_out(self, call: str, fields: Fields, trouble: Trouble | None) -> Answer:
        match trouble:
            case Trouble(kind="error"):
                return _trouble_answer(call, trouble)
            case Trouble(kind="error_after"):
                self._do(call, fields, pending=False)
                return _trouble_answer(call, trouble)
        return self._do(
            call, fields, pending=trouble is not None and trouble.kind == "refund_pending"
        )

    def _do(self, call: str, fields: Fields, *, pending: bool) -> Answer:
        match call:
            case "pay/unifiedorder":
                return {"trade_type": "JSAPI", "prepay_id": self._orders.place(fields)}
            case "pay/orderquery" | "pay/paporderquery":
                return self._query(fields, is_pap=call == "pay/paporderquery")
            case "pay/closeorder":
                self._orders.close(fields)
                return {"result_msg": "OK"}
            case "secapi/pay/refund":
                return self._refund(fields, pending=pending)
            case "pay/refundquery":
                return self._query_refunds(fields)
            case "pay/downloadbill":
                return self._bill(fields)
            case "pay/pappayapply":
                self._debits.apply(fields, self._debit_trouble)
                return {}
            case "papay/querycontract":
                return self._contracts.view(self._contracts.get(fields))
            case "papay/deletecontract":
                return self._contracts.end_by_merchant(fields)
        return self._fund_flow(fields)

    def _query(self, fields: Fields, *, is_pap: bool) -> Answer:
        trade = self._orders.get(fields)
        debit = self._debits.find(trade["out_trade_no"])
        if is_pap and debit is None:
            raise Refusal("INVALID_REQUEST", "订单不是委托代扣场景")
        is_hidden = debit is not None and self._debits.is_hidden(debit)
        state = "ACCEPT" if is_hidden else self._orders.trade_state(trade)
        if is_pap and state == "PAYERROR":
            state = "PAY_FAIL"
        about = {"trade_state": state, "trade_state_desc": TRADE_STATES[state]}
        if trade["paid_at"] is not None and not is_hidden:
            return {**notices.payment_fields(trade, debit), **about}
        number, attach = trade["out_trade_no"], trade["attach"]
        amount = str(trade["amount_fen"])
        if debit is not None:
            about |= {"trade_type": "PAP", "contract_id": debit["contract_id"]}
            if not is_hidden and debit["code"]:
                about |= {"err_code": debit["code"], "err_code_des": debit["message"]}
        return {"out_trade_no": number, "attach": attach, "total_fee": amount, **about}

    def _refund(self, fields: Fields, *, pending: bool) -> Answer:
        trade = self._orders.get(fields)
        refund = self._refunds.accept(trade, fields, pending=pending)
        amount = str(refund["amount_fen"])
        return {
            "transaction_id": trade["transaction_id"],
            "out_trade_no": trade["out_trade_no"],
            "out_refund_no": refund["out_refund_no"],
            "refund_id": refund["refund_id"],
            "refund_channel": "",
            "refund_fee": amount,
            "settlement_refund_fee": amount,
            "coupon_refund_fee": "0",
            "total_fee": str(trade["amount_fen"]),
            "cash_fee": str(trade["amount_fen"]),
            "coupon_refund_count": "0",
            "cash_refund_fee": amount,
        }

    def _query_refunds(self, fields: Fields) -> Answer:
        found = self._refunds.find(fields)
        offset = int(fields.get("offset") or 0)
        page = found[offset : offset + _REFUNDS_ON_A_PAGE]
        trade = self._orders.get({"out_trade_no": found[0]["out_trade_no"]})
        answer = {
            "transaction_id": trade["transaction_id"],
            "out_trade_no": trade["out_trade_no"],
            "total_fee": str(trade["amount_fen"]),
            "fee_type": "CNY",
            "cash_fee": str(trade["amount_fen"]),
            "total_refund_count": str(len(found)),
            "refund_count": str(len(page)),
        }
        for place, refund in enumerate(page):
            answer |= {f"{name}_{place}": value for name, value in _refund_details(refund).items()}
        return answer

    def _bill(self, fields: Fields) -> Answer:
        bill_type = fields.get("bill_type") or "ALL"
        if bill_type not in bills.BILL_TYPES:
            return _no_bill("invalid bill_type", "20001")
        try:
            day = bills.open_day(fields["bill_date"], seconds_now(self._clock))
            if bill_type == "REVOKED":
                raise bills.NoBill
            with self._books.transaction() as books:
                bill = bills.write_bill(books, day, bill_type, self._merchant, self._rules)
        except bills.NoBill:
            return _no_bill("NO Bill Exist", "20002")
        except bills.NotYet:
            return _no_bill("Bill Creating", "20002")
        except ValueError:
            return _no_bill("invalid bill_date", "20001")
        return gzip.compress(bill) if fields.get("tar_type") else bill

    def _fund_flow(self, fields: Fields) -> Answer:
        try:
            day = bills.open_day(fields["bill_date"], seconds_now(self._clock))
            if fields["account_type"] not in {"Basic", "Operation", "Fees"}:
                raise Refusal("PARAM_ERROR", "account_type 参数错误")
            if fields["account_type"] != "Basic":
                raise bills.NoBill
            with self._books.transaction() as books:
                bill = bills.write_fund_flow(books, day, self._merchant)
        except bills.NoBill:
            raise Refusal("NO_BILL_EXIST", "账单不存在") from None
        except bills.NotYet:
            raise Refusal("BILL_CREATING", "账单未生成") from None
        except ValueError:
            raise Refusal("PARAM_ERROR", "bill_date 参数错误") from None
        return gzip.compress(bill) if fields.get("tar_type") else bill

    def _sign_answer(
        self, answer: dict[str, str], sign_type: str, trouble: Trouble | None
    ) -> Response:
        signature = sign(answer, self._merchant.api_key, sign_type)
        match trouble:
            case Trouble(kind="unsigned"):
                return _xml(answer)
            case Trouble(kind="bad_sign"):
                signature = sign(answer, secrets.token_hex(16), sign_type)
        return _xml({**answer, "sign": signature})


def _refund_details(refund: sqlite3.Row) -> dict[str, str]:
    amount = str(refund["amount_fen"])
    details = {
        "out_refund_no": refund["out_refund_no"],
        "refund_id": refund["refund_id"],
        "refund_channel": "ORIGINAL",
        "refund_fee": amount,
        "settlement_refund_fee": amount,
        "coupon_refund_fee": "0",
        "refund_status": refund["state"],
        "refund_account": "REFUND_SOURCE_UNSETTLED_FUNDS",
        "refund_recv_accout": "支付用户零钱",
    }
    if refund["state"] == "SUCCESS":
        details["refund_success_time"] = spaced(refund["finished_at"])
    return details


def _refused(code: str, message: str) -> dict[str, str]:
    return {"result_code": "FAIL", "err_code": code, "err_code_des": message}


def _trouble_answer(call: str, trouble: Trouble) -> dict[str, str]:
    code = trouble.text("code", "")
    if call == "pay/downloadbill":
        return _no_bill(trouble.text("message", code), code)
    return _refused(code, trouble.text("message", "系统繁忙，请稍后再试"))


def _no_bill(message: str, code: str) -> dict[str, str]:
    return {"return_code": "FAIL", "return_msg": message, "error_code": code}


def _xml(fields: Mapping[str, str]) -> Response:
    return Response(write_xml(fields), content_type="text/xml; charset=utf-8")

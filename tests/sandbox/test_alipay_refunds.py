"""Refunds and cancelling at the Alipay gateway, over real HTTP."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.sandbox.alipay_client import ORDER, REFUND, AlipayMerchant
from tests.sandbox.gateways import RunningGateway


@pytest.fixture(autouse=True)
def trade_no(alipay_merchant: AlipayMerchant, alipay_payer: str) -> str:
    """A trade of 100 yuan that is paid."""
    return alipay_merchant.create_and_pay(alipay_payer)


def balances(gateway: RunningGateway) -> tuple[int, int]:
    books = gateway.look("books")
    return books["payers"][0]["balance_fen"], books["merchant_balance_fen"]


def test_parts_until_nothing_is_left(
    alipay_gateway: RunningGateway, alipay_merchant: AlipayMerchant, trade_no: str
):
    first = alipay_merchant.refund("33.33", "R1")
    assert (first["code"], first["fund_change"], first["refund_fee"]) == ("10000", "Y", "33.33")
    assert first["trade_no"] == trade_no
    second = alipay_merchant.refund("33.33", "R2")
    assert (second["fund_change"], second["refund_fee"]) == ("Y", "66.66")
    assert alipay_merchant.query()["trade_status"] == "TRADE_SUCCESS"
    assert alipay_merchant.refund("33.35", "R3")["sub_code"] == "ACQ.REASON_TRADE_REFUND_FEE_ERR"
    last = alipay_merchant.refund("33.34", "R3")
    assert (last["fund_change"], last["refund_fee"]) == ("Y", "100.00")
    assert alipay_merchant.query()["trade_status"] == "TRADE_CLOSED"
    assert balances(alipay_gateway) == (100000, 0)
    assert alipay_merchant.refund("0.01", "R4")["sub_code"] == "ACQ.TRADE_STATUS_ERROR"
    assert alipay_merchant.refund("33.34", "R3")["fund_change"] == "N"


def test_the_same_refund_again_changes_nothing(
    alipay_gateway: RunningGateway, alipay_merchant: AlipayMerchant
):
    assert alipay_merchant.refund("30.00")["fund_change"] == "Y"
    before = balances(alipay_gateway)
    again = alipay_merchant.refund("30.00")
    assert (again["code"], again["fund_change"], again["refund_fee"]) == ("10000", "N", "30.00")
    other = alipay_merchant.refund("30.01")
    assert other["sub_code"] == "ACQ.DISCORDANT_REPEAT_REQUEST"
    assert balances(alipay_gateway) == before


def test_many_at_once_refund_once(alipay_gateway: RunningGateway, alipay_merchant: AlipayMerchant):
    with ThreadPoolExecutor(max_workers=8) as threads:
        refunds = [threads.submit(alipay_merchant.refund, "30.00") for _ in range(8)]
        others = [threads.submit(alipay_merchant.refund, "40.00", f"R{n}") for n in range(4)]
    assert sorted(refund.result()["fund_change"] for refund in refunds) == ["N"] * 7 + ["Y"]
    assert sum(other.result()["code"] == "10000" for other in others) == 1
    assert balances(alipay_gateway)[0] == 90000 + 3000 + 4000


def test_without_a_number_only_in_full(alipay_merchant: AlipayMerchant):
    part = alipay_merchant.refund("99.99", None)
    assert part["sub_code"] == "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL"
    assert alipay_merchant.refund("100.00", None)["fund_change"] == "Y"
    assert alipay_merchant.refund_query(ORDER)["refund_status"] == "REFUND_SUCCESS"


def test_an_unpaid_trade_gives_nothing_back(alipay_merchant: AlipayMerchant, alipay_payer: str):
    alipay_merchant.create(alipay_payer, out_trade_no="D2")
    content = {"out_trade_no": "D2", "refund_amount": "100.00", "out_request_no": "R1"}
    answer = alipay_merchant.ask("alipay.trade.refund", content)
    assert answer["sub_code"] == "ACQ.TRADE_STATUS_ERROR"
    content["out_trade_no"] = "D3"
    answer = alipay_merchant.ask("alipay.trade.refund", content)
    assert answer["sub_code"] == "ACQ.TRADE_NOT_EXIST"


@pytest.mark.parametrize("amount", [30, 30.0, "0", "30.001", "-1.00", ""])
def test_what_is_no_amount(alipay_merchant: AlipayMerchant, amount: object):
    assert alipay_merchant.refund(amount)["sub_code"] == "ACQ.INVALID_PARAMETER"


def test_the_seller_must_have_the_money(
    alipay_gateway: RunningGateway, alipay_merchant: AlipayMerchant
):
    assert alipay_gateway.control("merchant/payout", amount_fen=9000)["merchant_balance_fen"] == 940
    assert alipay_merchant.refund("100.00")["sub_code"] == "ACQ.SELLER_BALANCE_NOT_ENOUGH"
    assert alipay_merchant.refund("9.40")["fund_change"] == "Y"
    too_much = alipay_gateway.try_control("merchant/payout", amount_fen=9000)
    assert too_much["error"] == "商户余额不足"


def test_a_refund_query_says_success_only_when_it_is_done(
    alipay_gateway: RunningGateway, alipay_merchant: AlipayMerchant, trade_no: str
):
    unknown = alipay_merchant.refund_query()
    assert unknown["code"] == "10000"
    assert unknown.keys() == {"code", "msg"}
    alipay_gateway.control("troubles", at="alipay.trade.refund", kind="refund_pending")
    accepted = alipay_merchant.refund("30.00")
    assert (accepted["code"], accepted["fund_change"]) == ("10000", "N")
    assert accepted["refund_fee"] == "0.00"
    pending = alipay_merchant.refund_query()
    assert pending["refund_amount"] == "30.00"
    assert "refund_status" not in pending
    assert alipay_merchant.refund("30.00")["fund_change"] == "N"
    assert alipay_merchant.refund("70.01", "R2")["sub_code"] == "ACQ.REASON_TRADE_REFUND_FEE_ERR"
    assert balances(alipay_gateway) == (90000, 9940 - 3000 + 18)

    alipay_gateway.control("refunds/finish", out_refund_no=REFUND, state="success")
    done = alipay_merchant.refund_query()
    assert done["refund_status"] == "REFUND_SUCCESS"
    assert (done["trade_no"], done["total_amount"]) == (trade_no, "100.00")
    assert balances(alipay_gateway)[0] == 93000
    again = alipay_gateway.try_control("refunds/finish", out_refund_no=REFUND, state="success")
    assert again["error"] == "没有这笔处理中的退款"


def test_a_refund_that_failed_may_be_tried_again(
    alipay_gateway: RunningGateway, alipay_merchant: AlipayMerchant
):
    alipay_gateway.control("troubles", at="alipay.trade.refund", kind="refund_pending")
    alipay_merchant.refund("30.00")
    alipay_gateway.control("refunds/finish", out_refund_no=REFUND, state="closed")
    assert balances(alipay_gateway) == (90000, 9940)
    assert "refund_status" not in alipay_merchant.refund_query()
    [refund] = alipay_gateway.look("books")["refunds"]
    assert refund["state"] == "REFUND_FAIL"
    assert alipay_merchant.refund("30.00")["fund_change"] == "Y"
    assert alipay_merchant.refund_query()["refund_status"] == "REFUND_SUCCESS"


def test_cancel_closes_or_gives_back(
    alipay_gateway: RunningGateway, alipay_merchant: AlipayMerchant, alipay_payer: str
):
    def cancel(number: str) -> dict:
        return alipay_merchant.ask("alipay.trade.cancel", {"out_trade_no": number})

    assert "action" not in cancel("D9")
    assert cancel("D9")["retry_flag"] == "N"
    alipay_merchant.create(alipay_payer, out_trade_no="D2")
    assert cancel("D2")["action"] == "close"
    assert alipay_merchant.query("D2")["trade_status"] == "TRADE_CLOSED"
    assert cancel("D2")["action"] == "close"

    alipay_merchant.refund("30.00")
    cancelled = cancel(ORDER)
    assert (cancelled["code"], cancelled["action"]) == ("10000", "refund")
    assert cancel(ORDER)["action"] == "refund"
    assert alipay_merchant.query()["trade_status"] == "TRADE_CLOSED"
    assert balances(alipay_gateway) == (100000, 0)


def test_cancel_has_its_time(
    alipay_gateway: RunningGateway, alipay_merchant: AlipayMerchant, alipay_payer: str
):
    alipay_gateway.control("clock", set="2026-11-25T10:01:00+08:00")
    answer = alipay_merchant.ask(
        "alipay.trade.cancel", {"out_trade_no": ORDER}, timestamp="2026-11-25 10:01:00"
    )
    assert answer["sub_code"] == "ACQ.TRADE_CANCEL_TIME_OUT"
    assert alipay_merchant.ask("alipay.trade.cancel", {}, timestamp="2026-11-25 10:01:00")[
        "sub_code"
    ] == ("ACQ.INVALID_PARAMETER")


def test_the_books_show_refunds(
    alipay_gateway: RunningGateway, alipay_merchant: AlipayMerchant, trade_no: str
):
    alipay_merchant.refund("30.00")
    books = alipay_gateway.look("books")
    assert books["refunds"] == [
        {
            "out_refund_no": REFUND,
            "out_trade_no": ORDER,
            "reference": trade_no,
            "amount_fen": 3000,
            "state": "REFUND_SUCCESS",
        }
    ]
    assert books["trades"][0]["refunded_fen"] == 3000

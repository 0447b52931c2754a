"""The WeChat gateway's refunds over real HTTP."""

from __future__ import annotations

import base64
import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.sandbox.gateways import Inbox, RunningGateway
from tests.sandbox.wechat_client import ORDER, REFUND, WeChatMerchant, from_xml


@pytest.fixture
def paid(merchant: WeChatMerchant, payer: str, inbox: Inbox) -> str:
    return merchant.place_and_pay(payer, inbox.url)["reference"]


def open_req_info(sealed: str, key: str) -> dict[str, str]:
    secret = hashlib.md5(key.encode()).hexdigest().encode()
    opener = Cipher(algorithms.AES(secret), modes.ECB()).decryptor()
    padded = opener.update(base64.b64decode(sealed)) + opener.finalize()
    return from_xml(padded[: -padded[-1]])


def balances(gateway: RunningGateway) -> tuple[int, int]:
    books = gateway.look("books")
    return books["payers"][0]["balance_fen"], books["merchant_balance_fen"]


def test_a_refund_gives_the_money_back_once_however_often_it_is_asked_for(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant, paid: str
):
    first = merchant.refund("2500")
    again = merchant.refund("2500")

    assert first["result_code"] == "SUCCESS"
    assert first["refund_fee"] == "2500"
    assert first["total_fee"] == "10000"
    assert first["transaction_id"] == paid
    assert again["refund_id"] == first["refund_id"]
    # 90000 + 2500; 9940 - 2500 + 15 (the fee falls from 60 to 45)
    assert balances(wechat_gateway) == (92500, 7455)
    [trade] = wechat_gateway.look("books")["trades"]
    assert (trade["state"], trade["refunded_fen"]) == ("REFUND", 2500)
    assert merchant.ask("pay/orderquery", out_trade_no=ORDER)["trade_state"] == "REFUND"


def test_refunds_together_never_exceed_the_payment(merchant: WeChatMerchant, paid: str):
    assert merchant.refund("9999", "R1")["result_code"] == "SUCCESS"
    assert merchant.refund("2", "R2")["err_code"] == "INVALID_REQUEST"
    assert merchant.refund("1", "R3")["result_code"] == "SUCCESS"
    # Everything is back, the fee as well.
    assert balances(merchant.gateway) == (100000, 0)


def test_refunds_at_the_same_time_do_not_exceed_it_either(merchant: WeChatMerchant, paid: str):
    with ThreadPoolExecutor(max_workers=8) as threads:
        asked = [threads.submit(merchant.refund, "3000", f"R{number}") for number in range(8)]
    results = [refund.result()["result_code"] for refund in asked]
    assert results.count("SUCCESS") == 3  # 3 × 3000 of 10000
    assert merchant.gateway.look("books")["trades"][0]["refunded_fen"] == 9000


@pytest.mark.parametrize("changes", [{"total_fee": "9999"}, {"total_fee": "20000"}])
def test_the_total_must_be_that_of_the_order(
    merchant: WeChatMerchant, paid: str, changes: dict[str, str]
):
    assert merchant.refund("100", **changes)["err_code"] == "REFUND_FEE_MISMATCH"


def test_the_same_number_with_another_amount_is_refused(merchant: WeChatMerchant, paid: str):
    merchant.refund("100")
    assert merchant.refund("101")["err_code"] == "REFUND_FEE_MISMATCH"


def test_an_unpaid_order_and_one_paid_long_ago_are_not_refunded(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant, payer: str, paid: str
):
    order = merchant.order(payer, "http://127.0.0.1:9/x", out_trade_no="D2")
    merchant.ask("pay/unifiedorder", **order)
    assert merchant.refund("1", out_trade_no="D2")["err_code"] == "INVALID_REQUEST"
    wechat_gateway.control("clock", advance_seconds=366 * 86400)
    assert merchant.refund("1")["err_code"] == "TRADE_OVERDUE"


def test_a_merchant_that_has_taken_its_money_out_is_short(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant, paid: str
):
    wechat_gateway.control("merchant/payout", amount_fen=9000)
    assert merchant.refund("2000")["err_code"] == "NOTENOUGH"
    assert wechat_gateway.look("books")["refunds"] == []
    assert merchant.refund("900")["result_code"] == "SUCCESS"


def test_a_refund_kept_in_process_is_finished_by_hand(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant, paid: str, inbox: Inbox
):
    wechat_gateway.control("troubles", at="secapi/pay/refund", kind="refund_pending")
    notify_url = inbox.url.replace("payment", "refund")
    assert merchant.refund("2500", notify_url=notify_url)["result_code"] == "SUCCESS"
    waiting = merchant.ask("pay/refundquery", out_refund_no=REFUND)
    assert waiting["refund_status_0"] == "PROCESSING"
    assert balances(wechat_gateway) == (90000, 7455)

    wechat_gateway.control("refunds/finish", out_refund_no=REFUND, state="success")

    done = merchant.ask("pay/refundquery", out_refund_no=REFUND)
    assert done["refund_status_0"] == "SUCCESS"
    assert done["refund_success_time_0"].startswith("2026-11-24 10:")
    assert balances(wechat_gateway) == (92500, 7455)
    wechat_gateway.until(lambda log: any(entry["topic"] == "refund" for entry in log))
    notice = from_xml(inbox.bodies[-1])
    assert "sign" not in notice
    inside = open_req_info(notice["req_info"], merchant.key)
    assert inside["out_refund_no"] == REFUND
    assert inside["out_trade_no"] == ORDER
    assert inside["refund_status"] == "SUCCESS"
    assert inside["refund_fee"] == "2500"
    assert inside["total_fee"] == "10000"
    assert inside["success_time"] == done["refund_success_time_0"]
    assert not wechat_gateway.try_control("refunds/finish", out_refund_no=REFUND, state="closed")[
        "ok"
    ]


def test_a_closed_refund_gives_the_merchant_its_money_back(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant, paid: str
):
    wechat_gateway.control("troubles", at="secapi/pay/refund", kind="refund_pending")
    merchant.refund("10000", "R1")
    wechat_gateway.control("refunds/finish", out_refund_no="R1", state="closed")
    assert merchant.ask("pay/refundquery", out_refund_no="R1")["refund_status_0"] == "REFUNDCLOSE"
    assert balances(wechat_gateway) == (90000, 9940)
    assert merchant.ask("pay/orderquery", out_trade_no=ORDER)["trade_state"] == "SUCCESS"
    assert merchant.refund("10000", "R2")["result_code"] == "SUCCESS"


def test_a_query_by_order_lists_its_refunds_ten_at_a_time(merchant: WeChatMerchant, paid: str):
    for number in range(12):
        merchant.refund(str(number + 1), f"R{number}")
    first = merchant.ask("pay/refundquery", out_trade_no=ORDER)
    rest = merchant.ask("pay/refundquery", transaction_id=paid, offset="10")
    one = merchant.ask("pay/refundquery", refund_id=rest["refund_id_1"])

    assert (first["total_refund_count"], first["refund_count"]) == ("12", "10")
    assert (first["out_refund_no_0"], first["refund_fee_0"]) == ("R0", "1")
    assert rest["refund_count"] == "2"
    assert (rest["out_refund_no_1"], rest["refund_fee_1"]) == ("R11", "12")
    assert (one["refund_count"], one["out_refund_no_0"]) == ("1", "R11")
    unknown = merchant.ask("pay/refundquery", out_refund_no="R99")
    assert unknown["err_code"] == "REFUNDNOTEXIST"

"""Trades of the Alipay gateway, over real HTTP: created, asked for, paid, closed, expired."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from sandbox.alipay.server import create_gateway
from tests.sandbox.alipay_client import NOW, ORDER, AlipayMerchant
from tests.sandbox.gateways import RunningGateway, running


def status(gateway: RunningGateway, number: str = ORDER) -> str:
    [trade] = [
        trade for trade in gateway.look("books")["trades"] if trade["out_trade_no"] == number
    ]
    return trade["state"]


def test_from_create_to_payment(
    alipay_gateway: RunningGateway, alipay_merchant: AlipayMerchant, alipay_payer: str
):
    created = alipay_merchant.create(alipay_payer)
    assert created["code"] == "10000"
    assert created["out_trade_no"] == ORDER
    trade_no = created["trade_no"]
    assert len(trade_no) == 28
    assert trade_no.startswith("20261124")
    waiting = alipay_merchant.query()
    assert waiting["trade_status"] == "WAIT_BUYER_PAY"
    assert (waiting["total_amount"], waiting["receipt_amount"]) == ("100.00", "0.00")
    assert "send_pay_date" not in waiting

    paid = alipay_gateway.control("pay", payer=alipay_payer, phone={"tradeNO": trade_no})
    assert paid == {
        "ok": True,
        "out_trade_no": ORDER,
        "reference": trade_no,
        "resultCode": "9000",
    }
    answer = alipay_merchant.ask("alipay.trade.query", {"trade_no": trade_no})
    assert answer["trade_status"] == "TRADE_SUCCESS"
    assert answer["buyer_open_id"] == alipay_payer
    assert answer["receipt_amount"] == answer["buyer_pay_amount"] == "100.00"
    assert answer["send_pay_date"].startswith("2026-11-24 10:0")
    assert answer["body"] == "灵活就业人员缴存"
    books = alipay_gateway.look("books")
    assert books["payers"] == [{"payer": alipay_payer, "balance_fen": 90000}]
    assert books["merchant_balance_fen"] == 9940
    [trade] = books["trades"]
    assert trade["reference"] == trade_no
    assert trade["paid_at"].endswith("+08:00")


@pytest.mark.parametrize(
    ("changes", "sub_code"),
    [
        ({"out_trade_no": None}, "ACQ.INVALID_PARAMETER"),
        ({"out_trade_no": "D" * 65}, "ACQ.INVALID_PARAMETER"),
        ({"out_trade_no": "D-1"}, "ACQ.INVALID_PARAMETER"),
        ({"out_trade_no": 1}, "ACQ.INVALID_PARAMETER"),
        ({"total_amount": None}, "ACQ.INVALID_PARAMETER"),
        ({"total_amount": 100.0}, "ACQ.INVALID_PARAMETER"),
        ({"total_amount": 10000}, "ACQ.INVALID_PARAMETER"),
        ({"total_amount": "0.00"}, "ACQ.INVALID_PARAMETER"),
        ({"total_amount": "0.001"}, "ACQ.INVALID_PARAMETER"),
        ({"total_amount": "-1.00"}, "ACQ.INVALID_PARAMETER"),
        ({"total_amount": "1e2"}, "ACQ.INVALID_PARAMETER"),
        ({"total_amount": "１.00"}, "ACQ.INVALID_PARAMETER"),
        ({"total_amount": "100000000.01"}, "ACQ.INVALID_PARAMETER"),
        ({"subject": None}, "ACQ.INVALID_PARAMETER"),
        ({"subject": "缴" * 257}, "ACQ.INVALID_PARAMETER"),
        ({"subject": "缴存 & 测试"}, "ACQ.INVALID_PARAMETER"),
        ({"subject": "缴存/十一月"}, "ACQ.INVALID_PARAMETER"),
        ({"body": "缴" * 129}, "ACQ.INVALID_PARAMETER"),
        ({"product_code": None}, "ACQ.ACCESS_FORBIDDEN"),
        ({"product_code": "FACE_TO_FACE_PAYMENT"}, "ACQ.ACCESS_FORBIDDEN"),
        ({"op_app_id": None}, "ACQ.INVALID_PARAMETER"),
        ({"op_app_id": "2021000000000000"}, "ACQ.INVALID_PARAMETER"),
        ({"seller_id": "2088000000000000"}, "ACQ.INVALID_PARAMETER"),
        ({"buyer_open_id": None}, "ACQ.INVALID_PARAMETER"),
        ({"buyer_open_id": "074a1CcTG1LelxKe4xQC0zgNdId0nxi95b5lsN"}, "ACQ.BUYER_NOT_EXIST"),
        ({"buyer_open_id": None, "buyer_id": "2088101117955611"}, "ACQ.BUYER_NOT_EXIST"),
        ({"timeout_express": "30"}, "ACQ.INVALID_PARAMETER"),
        ({"timeout_express": "0m"}, "ACQ.INVALID_PARAMETER"),
        ({"timeout_express": "1.5h"}, "ACQ.INVALID_PARAMETER"),
        ({"timeout_express": "16d"}, "ACQ.INVALID_PARAMETER"),
        ({"time_expire": "2026-11-24T10:30:00"}, "ACQ.INVALID_PARAMETER"),
        ({"time_expire": "2026-11-24 02:30:00"}, "ACQ.INVALID_PARAMETER"),
        ({"time_expire": "2026-12-24 10:30:00"}, "ACQ.INVALID_PARAMETER"),
    ],
)
def test_what_create_refuses(
    alipay_merchant: AlipayMerchant, alipay_payer: str, changes: dict, sub_code: str
):
    answer = alipay_merchant.create(alipay_payer, **changes)
    assert (answer["code"], answer["sub_code"]) == ("40004", sub_code)
    assert alipay_merchant.query()["sub_code"] == "ACQ.TRADE_NOT_EXIST"


def test_the_seller_cannot_buy(alipay_merchant: AlipayMerchant, alipay_payer: str):
    answer = alipay_merchant.create(alipay_payer, buyer_id=alipay_merchant.seller_id)
    assert answer["sub_code"] == "ACQ.BUYER_SELLER_EQUAL"


@pytest.mark.parametrize(
    ("amount", "shown"), [("0.01", "0.01"), ("8", "8.00"), ("8.5", "8.50"), ("100000000", None)]
)
def test_amounts_are_yuan(
    alipay_merchant: AlipayMerchant, alipay_payer: str, amount: str, shown: str | None
):
    assert alipay_merchant.create(alipay_payer, total_amount=amount)["code"] == "10000"
    assert alipay_merchant.query()["total_amount"] == (shown or "100000000.00")


@pytest.mark.parametrize("url", ["ftp://merchant.example/", "merchant.example", "http://", "x y"])
def test_notices_need_a_usable_address(
    alipay_merchant: AlipayMerchant, alipay_payer: str, url: str
):
    content = alipay_merchant.order(alipay_payer)
    answer = alipay_merchant.ask("alipay.trade.create", content, notify_url=url)
    assert answer["sub_code"] == "ACQ.INVALID_PARAMETER"


def test_the_same_number_again(
    alipay_gateway: RunningGateway, alipay_merchant: AlipayMerchant, alipay_payer: str
):
    first = alipay_merchant.create(alipay_payer)
    assert alipay_merchant.create(alipay_payer)["trade_no"] == first["trade_no"]
    again = alipay_merchant.create(alipay_payer, timeout_express="29m")
    assert again["trade_no"] == first["trade_no"]
    for change in ({"total_amount": "100.01"}, {"subject": "其他"}, {"body": "其他"}):
        answer = alipay_merchant.create(alipay_payer, **change)
        assert answer["sub_code"] == "ACQ.CONTEXT_INCONSISTENT"
    other = alipay_gateway.control("payers", balance_fen=1)["payer"]
    assert alipay_merchant.create(other)["sub_code"] == "ACQ.TRADE_BUYER_NOT_MATCH"
    phone = {"tradeNO": first["trade_no"]}
    alipay_gateway.control("pay", payer=alipay_payer, phone=phone)
    assert alipay_merchant.create(alipay_payer)["sub_code"] == "ACQ.TRADE_HAS_SUCCESS"
    alipay_merchant.refund("100.00")
    assert alipay_merchant.create(alipay_payer)["sub_code"] == "ACQ.TRADE_HAS_CLOSE"


def test_many_at_once_make_one_trade(alipay_merchant: AlipayMerchant, alipay_payer: str):
    with ThreadPoolExecutor(max_workers=8) as threads:
        creates = [threads.submit(alipay_merchant.create, alipay_payer) for _ in range(8)]
    assert len({create.result()["trade_no"] for create in creates}) == 1


def test_what_the_wallet_refuses(
    alipay_gateway: RunningGateway, alipay_merchant: AlipayMerchant, alipay_payer: str
):
    trade_no = alipay_merchant.create(alipay_payer)["trade_no"]
    other = alipay_gateway.control("payers", balance_fen=100000)["payer"]

    def refused(payer: str, **phone: object) -> str:
        return alipay_gateway.try_control("pay", payer=payer, phone=phone)["error"]

    assert "tradeNO" in refused(alipay_payer, tradeNo=trade_no)
    assert "tradeNO" in refused(alipay_payer, tradeNO=1)
    assert refused(alipay_payer, tradeNO=ORDER) == "交易不存在"
    assert "买家不一致" in refused(other, tradeNO=trade_no)
    dear = alipay_merchant.create(alipay_payer, out_trade_no="D2", total_amount="1000.01")
    assert refused(alipay_payer, tradeNO=dear["trade_no"]) == "余额不足"
    alipay_gateway.control("pay", payer=alipay_payer, phone={"tradeNO": trade_no})
    assert refused(alipay_payer, tradeNO=trade_no) == "交易已支付"
    alipay_merchant.ask("alipay.trade.close", {"out_trade_no": "D2"})
    assert refused(alipay_payer, tradeNO=dear["trade_no"]) == "交易已关闭"


def test_only_an_unpaid_trade_is_closed(alipay_merchant: AlipayMerchant, alipay_payer: str):
    def close() -> dict:
        return alipay_merchant.ask("alipay.trade.close", {"out_trade_no": ORDER})

    assert close()["sub_code"] == "ACQ.TRADE_NOT_EXIST"
    trade_no = alipay_merchant.create(alipay_payer)["trade_no"]
    assert close()["trade_no"] == trade_no
    assert alipay_merchant.query()["trade_status"] == "TRADE_CLOSED"
    assert close()["sub_code"] == "ACQ.TRADE_STATUS_ERROR"
    alipay_merchant.create_and_pay(alipay_payer, out_trade_no="D2")
    answer = alipay_merchant.ask("alipay.trade.close", {"out_trade_no": "D2"})
    assert answer["sub_code"] == "ACQ.TRADE_STATUS_ERROR"


def test_pay_against_close(
    alipay_gateway: RunningGateway, alipay_merchant: AlipayMerchant, alipay_payer: str
):
    for number in range(8):
        order = f"D{number}"
        trade_no = alipay_merchant.create(alipay_payer, out_trade_no=order)["trade_no"]
        with ThreadPoolExecutor(max_workers=2) as threads:
            phone = {"tradeNO": trade_no}
            paying = threads.submit(
                alipay_gateway.try_control, "pay", payer=alipay_payer, phone=phone
            )
            content = {"out_trade_no": order}
            closing = threads.submit(alipay_merchant.ask, "alipay.trade.close", content)
        is_paid, is_closed = paying.result()["ok"], closing.result()["code"] == "10000"
        assert is_paid != is_closed
        expected = "TRADE_SUCCESS" if is_paid else "TRADE_CLOSED"
        assert status(alipay_gateway, order) == expected


@pytest.mark.parametrize(
    ("expiry", "last_moment", "too_late"),
    [
        ({"timeout_express": "30m"}, "2026-11-24T10:29:50", "2026-11-24T10:30:10"),
        ({"timeout_express": "2h"}, "2026-11-24T11:59:50", "2026-11-24T12:00:10"),
        ({"timeout_express": "15d"}, "2026-12-09T09:59:50", "2026-12-09T10:00:10"),
        ({"timeout_express": None}, "2026-12-09T09:59:50", "2026-12-09T10:00:10"),
        ({"timeout_express": "1c"}, "2026-11-24T23:59:50", "2026-11-25T00:00:10"),
        ({"time_expire": "2026-11-24 10:20:00"}, "2026-11-24T10:19:50", "2026-11-24T10:20:10"),
    ],
)
def test_a_trade_expires(
    alipay_gateway: RunningGateway,
    alipay_merchant: AlipayMerchant,
    alipay_payer: str,
    expiry: dict,
    last_moment: str,
    too_late: str,
):
    trade_no = alipay_merchant.create(alipay_payer, **expiry)["trade_no"]
    alipay_gateway.control("clock", set=f"{last_moment}+08:00")
    assert status(alipay_gateway) == "WAIT_BUYER_PAY"
    alipay_gateway.control("clock", set=f"{too_late}+08:00")
    assert status(alipay_gateway) == "TRADE_CLOSED"
    answer = alipay_gateway.try_control("pay", payer=alipay_payer, phone={"tradeNO": trade_no})
    assert answer["error"] == "交易已关闭"


def test_a_trade_is_finished_when_money_cannot_go_back(
    alipay_gateway: RunningGateway, alipay_merchant: AlipayMerchant, alipay_payer: str
):
    alipay_merchant.create_and_pay(alipay_payer)
    alipay_gateway.control("clock", set="2027-11-24T10:01:00+08:00")
    later = NOW.replace("2026", "2027")
    assert alipay_merchant.query(timestamp=later)["trade_status"] == "TRADE_FINISHED"
    assert alipay_merchant.refund("1.00", timestamp=later)["sub_code"] == "ACQ.TRADE_HAS_FINISHED"
    cancelled = alipay_merchant.ask("alipay.trade.cancel", {"out_trade_no": ORDER}, timestamp=later)
    assert cancelled["sub_code"] == "ACQ.TRADE_HAS_FINISHED"


def test_a_query_needs_a_number(alipay_merchant: AlipayMerchant, alipay_payer: str):
    trade_no = alipay_merchant.create(alipay_payer)["trade_no"]
    assert alipay_merchant.ask("alipay.trade.query", {})["sub_code"] == "ACQ.INVALID_PARAMETER"
    both = {"trade_no": trade_no, "out_trade_no": "D2"}
    assert alipay_merchant.ask("alipay.trade.query", both)["out_trade_no"] == ORDER
    both = {"trade_no": "20261124", "out_trade_no": ORDER}
    assert alipay_merchant.ask("alipay.trade.query", both)["sub_code"] == "ACQ.TRADE_NOT_EXIST"


def test_the_books_outlive_the_process(tmp_path):
    with running(create_gateway, tmp_path) as gateway:
        merchant = AlipayMerchant(gateway, "")
        payer = gateway.control("payers", balance_fen=100000)["payer"]
        trade_no = merchant.create(payer)["trade_no"]
    with running(create_gateway, tmp_path) as gateway:
        merchant = AlipayMerchant(gateway, "")
        assert merchant.query()["trade_no"] == trade_no
        assert merchant.create(payer, out_trade_no="D2")["trade_no"] > trade_no

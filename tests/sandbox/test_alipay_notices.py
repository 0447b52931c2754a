"""The Alipay gateway's notices, true and forged, over real HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from cryptography.exceptions import InvalidSignature

from sandbox.alipay.accounts import Rules
from sandbox.alipay.server import create_gateway
from tests.sandbox.alipay_client import ORDER, AlipayMerchant
from tests.sandbox.gateways import Inbox, RunningGateway, running

PAYMENT_FIELDS = {
    *("notify_time", "notify_type", "notify_id", "app_id", "auth_app_id", "charset", "version"),
    *("sign_type", "sign", "trade_no", "out_trade_no", "buyer_open_id", "buyer_logon_id"),
    *("seller_id", "seller_email", "trade_status", "total_amount", "receipt_amount"),
    *("invoice_amount", "buyer_pay_amount", "point_amount", "subject", "body", "gmt_create"),
    *("gmt_payment", "fund_bill_list"),
}


def test_a_payment_is_announced(
    alipay_gateway: RunningGateway,
    alipay_merchant: AlipayMerchant,
    alipay_payer: str,
    inbox: Inbox,
):
    trade_no = alipay_merchant.create_and_pay(alipay_payer, subject="缴存 + 测试", body=None)
    [entry] = alipay_gateway.until(lambda log: len(log) == 1)
    notice = alipay_merchant.read_notice(inbox.bodies[0])
    assert set(notice) == PAYMENT_FIELDS
    assert notice["notify_type"] == "trade_status_sync"
    assert notice["trade_status"] == "TRADE_SUCCESS"
    assert notice["app_id"] == notice["auth_app_id"] == alipay_merchant.app_id
    assert notice["seller_id"] == alipay_merchant.seller_id
    assert (notice["trade_no"], notice["out_trade_no"]) == (trade_no, ORDER)
    assert notice["total_amount"] == notice["receipt_amount"] == "100.00"
    assert notice["buyer_open_id"] == alipay_payer
    assert notice["subject"] == "缴存 + 测试"
    assert notice["body"] == ""
    assert b"&body=&" in inbox.bodies[0]
    assert json.loads(notice["fund_bill_list"]) == [
        {"amount": "100.00", "fundChannel": "ALIPAYACCOUNT"}
    ]
    assert notice["gmt_payment"].startswith("2026-11-24 10:0")
    assert inbox.content_types[0].startswith("application/x-www-form-urlencoded")
    assert (entry["topic"], entry["accepted"]) == ("payment", True)


def test_refunds_look_like_payments(
    alipay_gateway: RunningGateway,
    alipay_merchant: AlipayMerchant,
    alipay_payer: str,
    inbox: Inbox,
):
    alipay_merchant.create_and_pay(alipay_payer, passback_params="a%3D1")
    alipay_merchant.refund("30.00", "R1")
    alipay_merchant.refund("30.00", "R1")
    alipay_merchant.refund("70.00", "R2")
    log = alipay_gateway.until(lambda log: len(log) == 3)
    assert [entry["topic"] for entry in log] == ["payment", "refund", "refund"]
    paid, part, whole = map(alipay_merchant.read_notice, inbox.bodies)
    assert set(part) == PAYMENT_FIELDS | {
        *("refund_fee", "gmt_refund", "out_biz_no", "passback_params")
    }
    assert set(whole) == set(part) | {"gmt_close"}
    states = [notice["trade_status"] for notice in (paid, part, whole)]
    assert states == ["TRADE_SUCCESS", "TRADE_SUCCESS", "TRADE_CLOSED"]
    assert [part["refund_fee"], whole["refund_fee"]] == ["30.00", "100.00"]
    assert [part["out_biz_no"], whole["out_biz_no"]] == ["R1", "R2"]
    assert part["gmt_refund"].endswith(".000")
    same = ("total_amount", "receipt_amount", "trade_no", "gmt_payment", "passback_params")
    assert all(paid[name] == part[name] == whole[name] for name in same)
    assert len({notice["notify_id"] for notice in (paid, part, whole)}) == 3


def test_a_refund_is_announced_when_it_is_done(
    alipay_gateway: RunningGateway,
    alipay_merchant: AlipayMerchant,
    alipay_payer: str,
    inbox: Inbox,
):
    alipay_merchant.create_and_pay(alipay_payer)
    for number, state in (("R1", "closed"), ("R2", "success")):
        alipay_gateway.control("troubles", at="alipay.trade.refund", kind="refund_pending")
        alipay_merchant.refund("30.00", number)
        alipay_gateway.control("refunds/finish", out_refund_no=number, state=state)
    alipay_gateway.until(lambda log: len(log) == 2)
    assert alipay_merchant.read_notice(inbox.bodies[1])["out_biz_no"] == "R2"


def test_only_the_seven_letters_end_the_notices(
    alipay_gateway: RunningGateway,
    alipay_merchant: AlipayMerchant,
    alipay_payer: str,
    inbox: Inbox,
):
    waits = (240, 600, 600, 3600, 7200, 21600, 54000)
    answers = ["SUCCESS", "success\n", '"success"', "fail", "", "successful", "succes", "ok"]
    inbox.reply = answers[0]
    alipay_merchant.create_and_pay(alipay_payer)
    alipay_gateway.until(lambda log: len(log) == 1)
    for tries, (wait, reply) in enumerate(zip(waits, answers[1:], strict=True), 1):
        inbox.reply = reply
        alipay_gateway.control("clock", advance_seconds=wait - 5)
        assert len(alipay_gateway.look("deliveries")["deliveries"]) == tries
        alipay_gateway.control("clock", advance_seconds=5)
        alipay_gateway.until(lambda log, tries=tries: len(log) == tries + 1)
    alipay_gateway.control("clock", advance_seconds=10 * 86400)
    resent = alipay_gateway.control("notices/resend", out_trade_no=ORDER, copies=3)
    assert len(resent["replies"]) == 3
    log = alipay_gateway.look("deliveries")["deliveries"]
    assert len(log) == 8 + 3
    assert not any(entry["accepted"] for entry in log)
    assert len(set(inbox.bodies)) == 1


def test_success_with_another_status_is_no_success(
    alipay_gateway: RunningGateway,
    alipay_merchant: AlipayMerchant,
    alipay_payer: str,
    inbox: Inbox,
):
    inbox.status = 201
    alipay_merchant.create_and_pay(alipay_payer)
    [entry] = alipay_gateway.until(lambda log: len(log) == 1)
    assert not entry["accepted"]


def test_notices_speak_the_charset_of_the_request(
    alipay_gateway: RunningGateway,
    alipay_merchant: AlipayMerchant,
    alipay_payer: str,
    inbox: Inbox,
):
    order = alipay_merchant.order(alipay_payer)
    fields = alipay_merchant.signed("alipay.trade.create", order, charset="GBK")
    body = alipay_merchant.post(fields, "gb18030").content
    trade_no = alipay_merchant.read(body, "gb18030")["trade_no"]
    alipay_gateway.control("pay", payer=alipay_payer, phone={"tradeNO": trade_no})
    alipay_gateway.until(lambda log: len(log) == 1)
    notice = alipay_merchant.read_notice(inbox.bodies[0], "gb18030")
    assert (notice["charset"], notice["subject"]) == ("GBK", "住房公积金缴存")


def test_without_an_address_there_is_no_notice(
    alipay_gateway: RunningGateway, alipay_merchant: AlipayMerchant, alipay_payer: str
):
    alipay_merchant.notify_url = ""
    alipay_merchant.create_and_pay(alipay_payer)
    alipay_merchant.refund("1.00")
    assert alipay_gateway.look("deliveries")["deliveries"] == []
    forged = alipay_gateway.try_control("notices/forge", out_trade_no=ORDER, defect="none")
    assert not forged["ok"]


def test_closing_is_silent_unless_the_product_tells_of_it(
    alipay_gateway: RunningGateway,
    alipay_merchant: AlipayMerchant,
    alipay_payer: str,
    tmp_path: Path,
    inbox: Inbox,
):
    alipay_merchant.create(alipay_payer)
    alipay_gateway.control("clock", advance_seconds=3600)
    assert alipay_gateway.look("books")["trades"][0]["state"] == "TRADE_CLOSED"
    assert alipay_gateway.look("deliveries")["deliveries"] == []

    def telling(data_dir, clock):
        return create_gateway(data_dir, clock, Rules(announces_closing=True))

    with running(telling, tmp_path / "telling") as gateway:
        merchant = AlipayMerchant(gateway, inbox.url)
        payer = gateway.control("payers", balance_fen=100000)["payer"]
        merchant.create(payer)
        gateway.control("clock", advance_seconds=3600)
        [entry] = gateway.until(lambda log: len(log) == 1)
        notice = merchant.read_notice(inbox.bodies[0])
    assert entry["topic"] == "closed"
    assert notice["trade_status"] == "TRADE_CLOSED"
    assert notice["gmt_close"].startswith("2026-11-24 10:30:0")
    assert notice.keys().isdisjoint({"refund_fee", "gmt_refund", "gmt_payment", "receipt_amount"})


@pytest.mark.parametrize(
    ("defect", "is_signed", "seller_is_ours", "app_is_ours"),
    [
        ("none", True, True, True),
        ("other_merchant", True, False, True),
        ("other_app", True, True, False),
        ("wrong_key", False, True, True),
        ("empty_key", False, True, True),
        ("no_sign", False, True, True),
        ("tampered_after_signing", False, True, True),
    ],
)
def test_a_forged_notice_has_the_one_defect_asked_for(
    alipay_gateway: RunningGateway,
    alipay_merchant: AlipayMerchant,
    alipay_payer: str,
    inbox: Inbox,
    defect: str,
    is_signed: bool,
    seller_is_ours: bool,
    app_is_ours: bool,
):
    alipay_merchant.create(alipay_payer)
    forged = alipay_gateway.control("notices/forge", out_trade_no=ORDER, defect=defect)
    assert (forged["status"], forged["reply"]) == (200, "success")
    [body] = inbox.bodies
    assert body == forged["body"].encode()
    fields = dict(parse_qsl(body.decode(), keep_blank_values=True))
    assert (fields["seller_id"] == alipay_merchant.seller_id) == seller_is_ours
    assert (fields["app_id"] == alipay_merchant.app_id) == app_is_ours
    assert set(fields) | {"sign"} == PAYMENT_FIELDS
    assert fields["trade_status"] == "TRADE_SUCCESS"
    expected = "100.01" if defect == "tampered_after_signing" else "100.00"
    assert fields["total_amount"] == expected
    assert ("sign" in fields) == (defect != "no_sign")
    if is_signed:
        alipay_merchant.read_notice(body)
    elif "sign" in fields:
        with pytest.raises(InvalidSignature):
            alipay_merchant.read_notice(body)
    assert alipay_gateway.look("books")["trades"][0]["state"] == "WAIT_BUYER_PAY"
    assert alipay_gateway.look("deliveries")["deliveries"] == []


def test_a_forgery_says_what_it_is_told_to(
    alipay_gateway: RunningGateway,
    alipay_merchant: AlipayMerchant,
    alipay_payer: str,
    inbox: Inbox,
):
    alipay_merchant.create(alipay_payer)
    forged = alipay_gateway.control(
        "notices/forge",
        out_trade_no=ORDER,
        defect="none",
        fields={"total_amount": "0.01", "out_trade_no": "D9"},
        send=False,
    )
    assert inbox.bodies == []
    notice = alipay_merchant.read_notice(forged["body"].encode())
    assert (notice["total_amount"], notice["out_trade_no"]) == ("0.01", "D9")
    for number, defect in (("D9", "none"), (ORDER, "nonsense")):
        refused = alipay_gateway.try_control("notices/forge", out_trade_no=number, defect=defect)
        assert not refused["ok"]

"""The WeChat gateway's files, read as bytes."""

from __future__ import annotations

import gzip
from decimal import Decimal

import pytest

from tests.sandbox.gateways import Inbox, RunningGateway
from tests.sandbox.wechat_client import ORDER, REFUND, WeChatMerchant, from_xml, to_xml

HEADER = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,"
    "付款银行,货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,"
    "退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注"
)
TOTALS = (
    "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
)


def bill(merchant: WeChatMerchant, day: str = "20261124", **changes: str) -> bytes:
    return merchant.send(
        "pay/downloadbill", to_xml(merchant.signed(bill_date=day, **changes))
    ).content


def fund_flow(merchant: WeChatMerchant, day: str = "20261124", **changes: str) -> bytes:
    fields = {"bill_date": day, "account_type": "Basic", "sign_type": "HMAC-SHA256", **changes}
    return merchant.send("pay/downloadfundflow", to_xml(merchant.signed(**fields))).content


def lines_of(file: bytes) -> list[str]:
    assert file.startswith(b"\xef\xbb\xbf")
    text = file.decode("utf-8-sig")
    assert text.endswith("\r\n")
    assert text.count("\n") == text.count("\r\n")
    return text.split("\r\n")[:-1]


def cells(line: str) -> list[str]:
    assert line.startswith("`")
    return line[1:].split(",`")


@pytest.fixture
def busy_day(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant, payer: str, inbox: Inbox
) -> None:
    """On the 24th: 100.00 paid, 25.00 back. Then 40.00 paid one second before midnight."""
    merchant.place_and_pay(payer, inbox.url, body="缴存,2026-11", attach="甲`乙")
    merchant.refund("2500")
    wechat_gateway.control("clock", set="2026-11-24T23:59:58+08:00")
    merchant.place_and_pay(payer, inbox.url, out_trade_no="D2", total_fee="4000")
    wechat_gateway.control("clock", set="2026-11-25T00:00:01+08:00")
    merchant.place_and_pay(payer, inbox.url, out_trade_no="D3", total_fee="1")
    wechat_gateway.control("clock", set="2026-11-25T09:00:00+08:00")


@pytest.mark.usefixtures("busy_day")
def test_the_bill_has_the_day_and_its_sums(merchant: WeChatMerchant, payer: str):
    lines = lines_of(bill(merchant))
    assert lines[0] == HEADER
    paid, refunded, late = (cells(line) for line in lines[1:-2])
    names = HEADER.split(",")
    assert {len(paid), len(refunded), len(late)} == {len(names)}
    first = dict(zip(names, paid, strict=True))
    back = dict(zip(names, refunded, strict=True))

    assert first["交易时间"].startswith("2026-11-24 10:00")
    assert first["公众账号ID"] == merchant.app_id
    assert first["商户号"] == merchant.merchant_id
    assert first["商户订单号"] == ORDER
    assert first["用户标识"] == payer
    assert (first["交易类型"], first["交易状态"], first["货币种类"]) == ("JSAPI", "SUCCESS", "CNY")
    assert (first["应结订单金额"], first["订单金额"]) == ("100.00", "100.00")
    assert (first["手续费"], first["费率"]) == ("0.60000", "0.60%")
    assert first["商品名称"] == "缴存,2026-11"
    assert (first["微信退款单号"], first["退款金额"]) == ("0", "0.00")
    assert (back["商户订单号"], back["商户退款单号"]) == (ORDER, REFUND)
    assert back["微信订单号"] == first["微信订单号"]
    assert (back["交易状态"], back["退款类型"], back["退款状态"]) == (
        "REFUND",
        "ORIGINAL",
        "SUCCESS",
    )
    assert (back["退款金额"], back["申请退款金额"]) == ("25.00", "25.00")
    assert (back["应结订单金额"], back["手续费"]) == ("0.00", "-0.15000")
    assert dict(zip(names, late, strict=True))["商户订单号"] == "D2"
    assert lines[-2] == TOTALS
    # 100 + 40; 25; 0.60 - 0.15 + 0.24
    assert lines[-1] == "`3,`140.00,`25.00,`0.00,`0.69000,`140.00,`25.00"


@pytest.mark.usefixtures("busy_day")
def test_the_bills_of_one_kind(merchant: WeChatMerchant):
    paid = lines_of(bill(merchant, bill_type="SUCCESS"))
    refunded = lines_of(bill(merchant, bill_type="REFUND"))
    assert [len(cells(line)) for line in paid[1:-2]] == [len(paid[0].split(","))] * 2
    assert "退款" not in paid[0]
    assert paid[-1].startswith("`2,`140.00,`0.00,")
    assert [len(cells(line)) for line in refunded[1:-2]] == [len(refunded[0].split(","))]
    assert refunded[-1].startswith("`1,`0.00,`25.00,")
    assert gzip.decompress(bill(merchant, bill_type="SUCCESS", tar_type="GZIP")).endswith(b"\r\n")


@pytest.mark.usefixtures("busy_day")
def test_no_bill_before_nine(wechat_gateway: RunningGateway, merchant: WeChatMerchant):
    assert from_xml(bill(merchant, "20261125"))["return_msg"] == "NO Bill Exist"
    assert from_xml(bill(merchant, "20261001"))["return_msg"] == "NO Bill Exist"
    assert from_xml(bill(merchant, bill_type="X"))["return_msg"] == "invalid bill_type"
    assert from_xml(bill(merchant, "20261301"))["return_msg"] == "invalid bill_date"
    wechat_gateway.control("clock", set="2026-11-25T08:59:58+08:00")
    answer = from_xml(bill(merchant))
    assert answer["return_code"] == "FAIL"
    assert answer["return_msg"] == "Bill Creating"


def test_the_bill_is_the_state_of_nine_o_clock(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant, payer: str, inbox: Inbox
):
    merchant.place_and_pay(payer, inbox.url)
    wechat_gateway.control("troubles", at="secapi/pay/refund", kind="refund_pending")
    merchant.refund("2500")
    wechat_gateway.control("clock", set="2026-11-25T09:30:00+08:00")
    before = bill(merchant)
    wechat_gateway.control("refunds/finish", out_refund_no=REFUND, state="success")
    assert "`PROCESSING," in before.decode()
    assert bill(merchant) == before


@pytest.mark.usefixtures("busy_day")
def test_the_fund_flow_adds_up_line_by_line(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant
):
    lines = lines_of(fund_flow(merchant))
    rows = [cells(line) for line in lines[1:-2]]
    balance = Decimal(0)
    for row in rows:
        balance += Decimal(row[6]) if row[5] == "收入" else -Decimal(row[6])
        assert Decimal(row[7]) == balance
    # 100.00 - 0.60 - (25.00 - 0.15) + 40.00 - 0.24
    assert balance == Decimal("114.31")
    assert [row[3] for row in rows] == ["交易", "扣除交易手续费", "退款", "交易", "扣除交易手续费"]
    assert lines[-2] == "资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额"
    assert lines[-1] == "`5,`2,`140.00,`3,`25.69"


def test_the_fund_flow_asks_for_hmac_and_has_codes(merchant: WeChatMerchant):
    fields = merchant.signed(bill_date="20261123", account_type="Basic")
    md5_signed = from_xml(merchant.send("pay/downloadfundflow", to_xml(fields)).content)
    assert md5_signed["return_msg"] == "签名错误"
    assert from_xml(fund_flow(merchant, "20261123"))["err_code"] == "NO_BILL_EXIST"
    assert from_xml(fund_flow(merchant, account_type="X"))["err_code"] == "NO_BILL_EXIST"
    assert from_xml(fund_flow(merchant, "20261123", account_type="X"))["err_code"] == "PARAM_ERROR"

"""The Alipay gateway's bill: to the byte as the sample has it, and fetched over real HTTP."""

from __future__ import annotations

import csv
import http.client
import io
import zipfile
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from sandbox.alipay.bills import Line, write_bill
from sandbox.clock import SHANGHAI
from tests.sandbox.alipay_client import ORDER, REFUND, AlipayMerchant
from tests.sandbox.gateways import RunningGateway

SAMPLE = Path(__file__).parents[1] / "vectors" / "alipay-bill-sample.zip"
MORNING = "2026-11-25 09:00:00"


def entries(packed: bytes) -> dict[str, str]:
    """Return the files of a bill by name; the names are GBK without the flag for UTF-8."""
    with zipfile.ZipFile(io.BytesIO(packed), metadata_encoding="gbk") as archive:
        assert archive.testzip() is None
        assert {entry.flag_bits & 0x800 for entry in archive.infolist()} == {0}
        return {name: archive.read(name).decode("gbk") for name in archive.namelist()}


def rows(detail: str) -> list[dict[str, str]]:
    lines = [line for line in detail.split("\r\n") if line and not line.startswith("#")]
    return [
        # A comma in a subject makes one cell too many, as it does in the real file.
        {name: cell.strip() for name, cell in row.items() if name is not None}
        for row in csv.DictReader(lines, strict=True)
    ]


def when(text: str) -> int:
    return int(datetime.fromisoformat(f"{text}+08:00").timestamp())


def test_the_sample_is_reproduced_byte_for_byte():
    payer, remark = "*三(138****0000)", "公积金汇缴"
    first, second = "2026112322001400000000000001", "2026112322001400000000000002"
    nine, ten = when("2026-11-23T09:00:00"), when("2026-11-23T10:00:00")
    three = when("2026-11-23T15:00:00")
    personal = (second, "D20261123000002", "个人缴存", ten)
    lines = [
        Line(first, "D20261123000001", "单位汇缴", nine, nine + 5, payer, 123450, -741, remark),
        Line(*personal, ten + 5, payer, 50000, -300, remark),
        Line(*personal, three, payer, -10000, 60, remark, "R20261123000001"),
    ]
    day = datetime(2026, 11, 23, tzinfo=SHANGHAI)
    ours = entries(write_bill("20880000000000010156", day, lines))
    assert ours == entries(SAMPLE.read_bytes())


class Fetcher:
    def __init__(self, merchant: AlipayMerchant) -> None:
        self.merchant = merchant

    def ask(self, day: str = "2026-11-24", timestamp: str = MORNING, **changes: str) -> dict:
        content = {"bill_type": "trade", "bill_date": day, **changes}
        method = "alipay.data.dataservice.bill.downloadurl.query"
        return self.merchant.ask(method, content, timestamp=timestamp)

    def fetch(self, **asked: str) -> dict[str, str]:
        answer = requests.get(self.ask(**asked)["bill_download_url"], timeout=10)
        assert answer.status_code == 200
        return entries(answer.content)


@pytest.fixture
def fetcher(alipay_merchant: AlipayMerchant) -> Fetcher:
    return Fetcher(alipay_merchant)


def test_a_day_of_payments_and_refunds(
    alipay_gateway: RunningGateway,
    alipay_merchant: AlipayMerchant,
    alipay_payer: str,
    fetcher: Fetcher,
):
    trade_no = alipay_merchant.create_and_pay(alipay_payer, total_amount="123.45")
    alipay_merchant.create_and_pay(alipay_payer, out_trade_no="D2", subject="甲,乙", body=None)
    alipay_merchant.create(alipay_payer, out_trade_no="D3")
    alipay_merchant.refund("23.45")
    alipay_gateway.control("clock", set="2026-11-25T09:00:00+08:00")
    files = fetcher.fetch()

    start = f"{alipay_merchant.seller_id}0156_20261124_业务明细"
    assert list(files) == [f"{start}.csv", f"{start}(汇总).csv"]
    detail, summary = files.values()
    head = detail.split("\r\n")
    assert head[1] == f"#账号：[{alipay_merchant.seller_id}0156]"
    assert head[2] == ("#起始日期：[2026年11月24日 00:00:00]   终止日期：[2026年11月25日 00:00:00]")
    assert "#交易合计：2笔，商家实收共223.45元，商家优惠共0.00元" in head
    assert "#退款合计：1笔，商家实收退款共-23.45元，商家优惠退款共0.00元" in head
    assert "D2\t,交易\t,甲,乙,2026" in detail
    paid, refunded = (row for row in rows(detail) if row["商户订单号"] == ORDER)
    assert paid["支付宝交易号"] == refunded["支付宝交易号"] == trade_no
    assert (paid["业务类型"], refunded["业务类型"]) == ("交易", "退款")
    assert (paid["商家实收（元）"], refunded["商家实收（元）"]) == ("123.45", "-23.45")
    assert (paid["服务费（元）"], refunded["服务费（元）"]) == ("-0.74", "0.14")
    assert (paid["退款批次号/请求号"], refunded["退款批次号/请求号"]) == ("", REFUND)
    [total] = rows(summary)
    assert (total["交易订单总笔数"], total["退款订单总笔数"]) == ("2", "1")
    assert (total["商家实收（元）"], total["服务费（元）"]) == ("200.00", "-1.20")
    assert total["实收净额（元）"] == "198.80"
    books = alipay_gateway.look("books")
    assert books["merchant_balance_fen"] == 19880


def test_the_day_is_the_day_in_beijing_on_which_money_moved(
    alipay_gateway: RunningGateway,
    alipay_merchant: AlipayMerchant,
    alipay_payer: str,
    fetcher: Fetcher,
):
    alipay_gateway.control("clock", set="2026-11-24T23:59:50+08:00")
    late = "2026-11-24 23:59:50"
    for number in ("D1", "D2"):
        content = alipay_merchant.order(alipay_payer, out_trade_no=number)
        trade_no = alipay_merchant.ask("alipay.trade.create", content, timestamp=late)["trade_no"]
        alipay_gateway.control("pay", payer=alipay_payer, phone={"tradeNO": trade_no})
        alipay_gateway.control("clock", set="2026-11-25T00:00:10+08:00")
    alipay_gateway.control("clock", set="2026-11-26T09:00:00+08:00")
    morning = "2026-11-26 09:00:00"
    for day, number in (("2026-11-24", "D1"), ("2026-11-25", "D2")):
        detail = next(iter(fetcher.fetch(day=day, timestamp=morning).values()))
        assert [row["商户订单号"] for row in rows(detail)] == [number]


def test_a_refund_counts_when_it_is_done(
    alipay_gateway: RunningGateway,
    alipay_merchant: AlipayMerchant,
    alipay_payer: str,
    fetcher: Fetcher,
):
    alipay_merchant.create_and_pay(alipay_payer)
    alipay_gateway.control("troubles", at="alipay.trade.refund", kind="refund_pending")
    alipay_merchant.refund("30.00")
    alipay_gateway.control("clock", set="2026-11-25T10:00:00+08:00")
    alipay_gateway.control("refunds/finish", out_refund_no=REFUND, state="success")
    alipay_gateway.control("clock", set="2026-11-26T10:00:00+08:00")
    for day, kind in (("2026-11-24", "交易"), ("2026-11-25", "退款")):
        detail = next(iter(fetcher.fetch(day=day, timestamp="2026-11-26 10:00:00").values()))
        assert [row["业务类型"] for row in rows(detail)] == [kind]


def test_not_before_nine(
    alipay_gateway: RunningGateway,
    alipay_merchant: AlipayMerchant,
    alipay_payer: str,
    fetcher: Fetcher,
):
    alipay_merchant.create_and_pay(alipay_payer)
    for moment in ("2026-11-24 18:00:00", "2026-11-25 00:00:01", "2026-11-25 08:59:50"):
        alipay_gateway.control("clock", set=f"{moment.replace(' ', 'T')}+08:00")
        answer = fetcher.ask(timestamp=moment)
        assert (answer["code"], answer["sub_code"]) == ("40004", "isp.bill_not_exist")
    alipay_gateway.control("clock", set="2026-11-25T09:00:00+08:00")
    assert fetcher.ask()["code"] == "10000"


@pytest.mark.parametrize(
    ("changes", "sub_code"),
    [
        ({"day": "2026-11-23"}, "isp.bill_not_exist"),
        ({"day": "2026-11-26"}, "isv.invalid_arguments"),
        ({"day": "20261124"}, "isv.invalid_arguments"),
        ({"day": "2026-11-31"}, "isv.invalid_arguments"),
        ({"day": "2026-11"}, "isv.invalid_arguments"),
        ({"bill_type": "signcustomer"}, "isv.invalid_arguments"),
        ({"day": ""}, "ACQ.INVALID_PARAMETER"),
    ],
)
def test_what_has_no_bill(
    alipay_gateway: RunningGateway,
    alipay_merchant: AlipayMerchant,
    alipay_payer: str,
    fetcher: Fetcher,
    changes: dict[str, str],
    sub_code: str,
):
    alipay_merchant.create_and_pay(alipay_payer)
    alipay_gateway.control("clock", set="2026-11-25T09:00:00+08:00")
    assert fetcher.ask(**changes)["sub_code"] == sub_code


def test_the_address_lives_thirty_seconds(
    alipay_gateway: RunningGateway,
    alipay_merchant: AlipayMerchant,
    alipay_payer: str,
    fetcher: Fetcher,
):
    alipay_merchant.create_and_pay(alipay_payer)
    alipay_gateway.control("clock", set="2026-11-25T09:00:00+08:00")
    url = fetcher.ask()["bill_download_url"]
    assert urlsplit(url).path.endswith("_20261124.csv.zip")
    for changed in (
        url[:-1] + ("0" if url[-1] != "0" else "1"),
        url.replace("20261124", "20261123"),
        url.replace("timestamp=1", "timestamp=2"),
        url.partition("?")[0],
    ):
        assert requests.get(changed, timeout=10).status_code == 404
    alipay_gateway.control("clock", advance_seconds=25)
    assert requests.get(url, timeout=10).status_code == 200
    alipay_gateway.control("clock", advance_seconds=6)
    assert requests.get(url, timeout=10).status_code == 404


def test_whoever_has_no_name_gets_nothing(
    alipay_gateway: RunningGateway,
    alipay_merchant: AlipayMerchant,
    alipay_payer: str,
    fetcher: Fetcher,
):
    alipay_merchant.create_and_pay(alipay_payer)
    alipay_gateway.control("clock", set="2026-11-25T09:00:00+08:00")
    url = urlsplit(fetcher.ask()["bill_download_url"])
    connection = http.client.HTTPConnection(url.netloc, timeout=10)
    try:
        connection.request("GET", f"{url.path}?{url.query}")
        assert connection.getresponse().status == 403
    finally:
        connection.close()


def test_a_spoilt_bill_agrees_with_itself_but_not_with_the_books(
    alipay_gateway: RunningGateway,
    alipay_merchant: AlipayMerchant,
    alipay_payer: str,
    fetcher: Fetcher,
):
    for number, defect in (
        ("D1", "missing_row"),
        ("D2", "changed_fee"),
        ("D3", "changed_amount"),
        ("D4", None),
    ):
        alipay_merchant.create_and_pay(alipay_payer, out_trade_no=number)
        if defect:
            alipay_gateway.control("bills/spoil", out_trade_no=number, defect=defect)
    for number, defect in (("D9", "missing_row"), ("D1", "nonsense")):
        refused = alipay_gateway.try_control("bills/spoil", out_trade_no=number, defect=defect)
        assert not refused["ok"]
    alipay_gateway.control("clock", set="2026-11-25T09:00:00+08:00")
    detail, summary = fetcher.fetch().values()
    assert {
        row["商户订单号"]: (row["商家实收（元）"], row["服务费（元）"]) for row in rows(detail)
    } == {"D2": ("100.00", "-0.61"), "D3": ("100.01", "-0.60"), "D4": ("100.00", "-0.60")}
    [total] = rows(summary)
    assert (total["商家实收（元）"], total["服务费（元）"]) == ("300.01", "-1.81")
    assert "#交易合计：3笔，商家实收共300.01元" in detail


@pytest.mark.parametrize(("kind", "status"), [("http_500", 500), ("html", 200), ("truncated", 200)])
def test_troubles_while_fetching(
    alipay_gateway: RunningGateway,
    alipay_merchant: AlipayMerchant,
    alipay_payer: str,
    fetcher: Fetcher,
    kind: str,
    status: int,
):
    alipay_merchant.create_and_pay(alipay_payer)
    alipay_gateway.control("clock", set="2026-11-25T09:00:00+08:00")
    alipay_gateway.control("troubles", at="bills", kind=kind)
    url = fetcher.ask()["bill_download_url"]
    answer = requests.get(url, timeout=10)
    assert answer.status_code == status
    assert not zipfile.is_zipfile(io.BytesIO(answer.content))
    assert zipfile.is_zipfile(io.BytesIO(requests.get(url, timeout=10).content))

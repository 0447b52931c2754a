"""Agreements and debits of Alipay, driven by python-alipay-sdk over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest
from alipay import AliPay

from sandbox.alipay.accounts import Rules
from sandbox.alipay.server import create_gateway
from tests.sandbox.alipay_client import AlipayMerchant
from tests.sandbox.gateways import Inbox, RunningGateway, copy_credentials, running

SCENE = "INDUSTRY|SOCIAL_SECURITY"
DEBIT = "P2026112400000000000000000000001"


class Desk:
    """A merchant at the SDK, and one person with 1000 yuan."""

    def __init__(self, gateway: RunningGateway, inbox: Inbox) -> None:
        self.gateway = gateway
        self.inbox = inbox
        self.merchant = AlipayMerchant(gateway, inbox.url)
        self.sdk = AliPay(
            appid=self.merchant.app_id,
            app_notify_url=None,
            app_private_key_string=self.merchant.private_pem.decode(),
            alipay_public_key_string=self.merchant.alipay_pem.decode(),
        )
        self.sdk._gateway = f"{gateway.url}gateway.do"
        self.payer = gateway.control("payers", balance_fen=100000)["payer"]

    def now(self) -> str:
        return self.gateway.look("clock")["now"][:19].replace("T", " ")

    def ask(self, method: str, content: dict, **public: str) -> dict:
        return self.sdk.server_api(method, content, timestamp=self.now(), **public)

    def sign_str(self, product: str = "GENERAL_WITHHOLDING", /, **changes: object) -> str:
        content = {
            "product_code": product,
            "personal_product_code": f"{product}_P",
            "sign_scene": SCENE,
            "external_agreement_no": "M20261124000001",
            "access_params": {"channel": "ALIPAYAPP"},
            **changes,
        }
        method = "alipay.user.agreement.page.sign"
        return quote(
            self.sdk.client_api(method, content, timestamp=self.now(), notify_url=self.inbox.url),
            safe="",
        )

    def cycle(self, **changes: object) -> str:
        rule = {
            "period_type": "MONTH",
            "period": 1,
            "execute_time": "2026-11-24",
            "single_amount": "100.00",
            **changes,
        }
        return self.sign_str("CYCLE_PAY_AUTH", period_rule_params=rule)

    def sign(self, sign_str: str) -> str:
        signed = self.gateway.control("agreements/sign", payer=self.payer, signStr=sign_str)
        assert signed["resultStatus"] == "7000"
        return signed["agreement_no"]

    def debit(
        self, agreement_no: str, amount: str, number: str = DEBIT, *, is_cycle: bool = False
    ) -> dict:
        content = {
            "out_trade_no": number,
            "total_amount": amount,
            "subject": "住房公积金缴存",
            "product_code": "CYCLE_PAY_AUTH" if is_cycle else "GENERAL_WITHHOLDING",
            "agreement_params": {"agreement_no": agreement_no},
        }
        return self.ask("alipay.trade.pay", content, notify_url=self.inbox.url)

    def status(self, number: str = DEBIT) -> str:
        found = self.ask("alipay.trade.query", {"out_trade_no": number})
        return found.get("trade_status", found.get("sub_code"))

    def agreement(self, agreement_no: str) -> dict:
        return self.ask("alipay.user.agreement.query", {"agreement_no": agreement_no})

    def notices(self, count: int) -> list[dict[str, str]]:
        self.gateway.until(lambda log: len(log) == count)
        return [self.merchant.read_notice(body) for body in self.inbox.bodies]


@pytest.fixture
def desk(tmp_path: Path, issued: Path, inbox: Inbox) -> Iterator[Desk]:
    """The gateway answers in the one shape that the SDK reads."""
    copy_credentials(issued, tmp_path)
    inbox.reply = "success"
    with running(partial(create_gateway, rules=Rules(plain_answers=True)), tmp_path) as gateway:
        yield Desk(gateway, inbox)


def test_an_agreement_is_signed_told_and_debited(desk: Desk):
    agreement_no = desk.sign(desk.sign_str())
    [signed] = desk.notices(1)
    assert (signed["notify_type"], signed["status"]) == ("dut_user_sign", "NORMAL")
    assert signed["agreement_no"] == agreement_no
    assert signed["external_agreement_no"] == "M20261124000001"
    assert signed["alipay_open_id"] == desk.payer
    found = desk.agreement(agreement_no)
    assert (found["code"], found["status"]) == ("10000", "NORMAL")

    paid = desk.debit(agreement_no, "500.00")
    assert (paid["code"], paid["out_trade_no"]) == ("10000", DEBIT)
    assert desk.status() == "TRADE_SUCCESS"
    told = desk.notices(2)[1]
    assert (told["trade_status"], told["total_amount"]) == ("TRADE_SUCCESS", "500.00")
    books = desk.gateway.look("books")
    assert books["payers"] == [{"payer": desk.payer, "balance_fen": 50000}]
    assert books["debits"] == [
        {
            "out_trade_no": DEBIT,
            "agreement_no": agreement_no,
            "amount_fen": 50000,
            "state": "TRADE_SUCCESS",
        }
    ]
    assert desk.debit(agreement_no, "500.00")["sub_code"] == "ACQ.TRADE_HAS_SUCCESS"


@pytest.mark.parametrize(
    "changes",
    [
        {"external_agreement_no": "M-1"},
        {"external_agreement_no": ""},
        {"personal_product_code": "OTHER_P"},
        {"access_params": {}},
        {"sign_scene": ""},
        {"sign_validity_period": "2y"},
    ],
)
def test_a_wrong_signing_is_refused(desk: Desk, changes: dict):
    sign_str = desk.sign_str(**changes)
    refused = desk.gateway.try_control("agreements/sign", payer=desk.payer, signStr=sign_str)
    assert not refused["ok"]
    assert desk.gateway.look("books")["agreements"] == []


@pytest.mark.parametrize(
    "rule",
    [
        {"single_amount": "100.01"},
        {"execute_time": "2026-11-29"},
        {"execute_time": "2026-11-31"},
        {"period_type": "WEEK"},
        {"period_type": "DAY", "period": 6},
    ],
)
def test_a_wrong_rule_is_refused(desk: Desk, rule: dict):
    sign_str = desk.cycle(**rule)
    assert not desk.gateway.try_control("agreements/sign", payer=desk.payer, signStr=sign_str)["ok"]
    assert desk.gateway.look("books")["agreements"] == []


def test_a_changed_link_a_refusal_and_a_second_signing(desk: Desk):
    sign_str = desk.sign_str()
    tampered = sign_str.replace("M20261124000001", "M20261124000002")
    sign = partial(desk.gateway.try_control, "agreements/sign", payer=desk.payer)
    assert sign(signStr=tampered)["error"] == "无效签名"
    assert sign(signStr=sign_str, accept=False)["resultStatus"] == "6001"
    assert desk.gateway.look("books")["agreements"] == []
    desk.sign(sign_str)
    assert not sign(signStr=sign_str)["ok"]


def test_what_the_person_ends_reaches_the_application_only(desk: Desk):
    agreement_no = desk.sign(desk.sign_str())
    desk.notices(1)
    application = desk.inbox.url.replace("payment", "application")
    desk.gateway.control("merchant/address", url=application)
    desk.gateway.control("agreements/change", agreement_no=agreement_no, by="user")
    ended = desk.notices(2)[1]
    assert (ended["notify_type"], ended["status"]) == ("dut_user_unsign", "UNSIGN")
    log = desk.gateway.look("deliveries")["deliveries"]
    assert [entry["url"] for entry in log] == [desk.inbox.url, application]
    assert desk.agreement(agreement_no)["sub_code"] == "USER_AGREEMENT_NOT_EXIST"
    assert desk.debit(agreement_no, "500.00")["sub_code"] == "ACQ.AGREEMENT_NOT_EXIST"


def test_the_merchant_ends_an_agreement(desk: Desk):
    desk.sign(desk.sign_str())
    content = {
        "external_agreement_no": "M20261124000001",
        "personal_product_code": "GENERAL_WITHHOLDING_P",
        "sign_scene": SCENE,
    }
    method = "alipay.user.agreement.unsign"
    assert desk.ask(method, content, notify_url=desk.inbox.url)["code"] == "10000"
    assert desk.notices(2)[1]["notify_type"] == "dut_user_unsign"
    assert desk.ask(method, content)["sub_code"] == "USER_AGREEMENT_NOT_EXIST"


def test_an_agreement_that_runs_out_is_told_nowhere(desk: Desk):
    agreement_no = desk.sign(desk.sign_str(sign_validity_period="90d"))
    desk.notices(1)
    desk.gateway.control("clock", set="2027-02-22T10:30:00+08:00")
    assert desk.agreement(agreement_no)["sub_code"] == "USER_AGREEMENT_NOT_EXIST"
    assert desk.gateway.look("books")["agreements"][0]["state"] == "STOP"
    assert len(desk.gateway.look("deliveries")["deliveries"]) == 1


def test_a_period_is_debited_once_within_its_window(desk: Desk):
    agreement_no = desk.sign(desk.cycle(execute_time="2026-12-06"))
    debit = partial(desk.debit, agreement_no, is_cycle=True)
    assert debit("100.00")["sub_code"] == "ACQ.CYCLE_PAY_DATE_NOT_MATCH"
    desk.gateway.control("clock", set="2026-12-01T09:00:00+08:00")
    assert debit("100.01")["sub_code"] == "ACQ.CYCLE_PAY_SINGLE_FEE_EXCEED"
    assert debit("100.00")["code"] == "10000"
    assert desk.agreement(agreement_no)["next_deduct_time"] == "2027-01-06"
    assert debit("100.00", "P2")["sub_code"] == "ACQ.CYCLE_PAY_DATE_NOT_MATCH"

    desk.gateway.control("clock", set="2027-01-07T09:00:00+08:00")
    assert debit("100.00", "P3")["sub_code"] == "ACQ.CYCLE_PAY_DATE_NOT_MATCH"
    method = "alipay.user.agreement.executionplan.modify"
    put_off = {"agreement_no": agreement_no}
    for day in ("2027-01-06", "2027-01-29", "2027-01-32"):
        refused = desk.ask(method, {**put_off, "deduct_time": day})
        assert refused["sub_code"] == "ILLEGAL_EXECUTION_TIME"
    assert desk.ask(method, {**put_off, "deduct_time": "2027-01-10"})["code"] == "10000"
    assert debit("100.00", "P4")["code"] == "10000"
    assert desk.agreement(agreement_no)["next_deduct_time"] == "2027-02-10"


@pytest.mark.parametrize(
    ("rule", "sub_code"),
    [
        ({"total_amount": "150.00"}, "ACQ.CYCLE_PAY_TOTAL_FEE_EXCEED"),
        ({"total_payments": 1}, "ACQ.CYCLE_PAY_TOTAL_TIMES_EXCEED"),
    ],
)
def test_the_totals_of_a_rule_are_kept(desk: Desk, rule: dict, sub_code: str):
    agreement_no = desk.sign(desk.cycle(**rule))
    assert desk.debit(agreement_no, "100.00", is_cycle=True)["code"] == "10000"
    desk.gateway.control("clock", set="2026-12-24T09:00:00+08:00")
    again = desk.debit(agreement_no, "100.00", "P2", is_cycle=True)
    assert again["sub_code"] == sub_code
    assert desk.status("P2") == "ACQ.TRADE_NOT_EXIST"


def test_an_empty_wallet_and_a_limit(desk: Desk):
    agreement_no = desk.sign(desk.sign_str())
    assert desk.debit(agreement_no, "1000.01")["sub_code"] == "ACQ.BUYER_BALANCE_NOT_ENOUGH"
    limit = desk.debit(agreement_no, "5000.01")
    assert limit["sub_code"] == "ACQ.BUYER_PAYMENT_AMOUNT_DAY_LIMIT_ERROR"
    desk.gateway.control("payers/change", payer=desk.payer, balance_fen=100001)
    assert desk.debit(agreement_no, "1000.01")["code"] == "10000"


def test_a_debit_can_be_refused_put_off_or_left_unknown(desk: Desk):
    agreement_no = desk.sign(desk.sign_str())
    trouble = partial(desk.gateway.control, "troubles")
    trouble(at="debit/outcome", kind="refuse", code="ACQ.PAYMENT_REQUEST_HAS_RISK")
    assert desk.debit(agreement_no, "100.00")["sub_code"] == "ACQ.PAYMENT_REQUEST_HAS_RISK"

    trouble(at="debit/outcome", kind="slow", seconds=600)
    assert desk.debit(agreement_no, "100.00")["code"] == "10003"
    assert desk.debit(agreement_no, "100.00")["code"] == "10003"
    assert desk.status() == "WAIT_BUYER_PAY"
    desk.gateway.control("clock", advance_seconds=601)
    assert desk.status() == "TRADE_SUCCESS"

    trouble(at="debit/outcome", kind="slow")
    desk.debit(agreement_no, "100.00", "P2")
    desk.gateway.control("debits/finish", out_trade_no="P2", outcome="failed")
    assert desk.status("P2") == "TRADE_CLOSED"
    assert desk.debit(agreement_no, "100.00", "P2")["sub_code"] == "ACQ.TRADE_HAS_CLOSE"

    trouble(at="alipay.trade.pay", kind="error_after", code="20000")
    assert desk.debit(agreement_no, "100.00", "P3")["code"] == "20000"
    assert desk.status("P3") == "TRADE_SUCCESS"
    assert desk.gateway.look("books")["payers"][0]["balance_fen"] == 80000


def test_an_agreement_that_ends_while_a_debit_waits_stops_it(desk: Desk):
    agreement_no = desk.sign(desk.sign_str())
    desk.gateway.control("troubles", at="debit/outcome", kind="slow")
    desk.debit(agreement_no, "100.00")
    desk.gateway.control("agreements/change", agreement_no=agreement_no, by="expiry")
    desk.gateway.control("debits/finish", out_trade_no=DEBIT, outcome="rules")
    assert desk.status() == "TRADE_CLOSED"
    assert desk.gateway.look("books")["payers"][0]["balance_fen"] == 100000

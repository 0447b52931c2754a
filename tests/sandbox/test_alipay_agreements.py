"""Agreements and debits of Alipay, driven by python-alipay-sdk over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest
from alipay import AliPay
from cryptography.exceptions import InvalidSignature

from sandbox.alipay.accounts import Rules
from sandbox.alipay.server import create_gateway
from tests.sandbox.alipay_client import AlipayMerchant
from tests.sandbox.gateways import Inbox, RunningGateway, copy_credentials, running

SCENE = "INDUSTRY|SOCIAL_SECURITY"
DEBIT = "P2026112400000000000000000000001"
RULE = {
    "period_type": "MONTH",
    "period": 1,
    "execute_time": "2026-11-24",
    "single_amount": "100.00",
}


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
        return self.sign_str("CYCLE_PAY_AUTH", period_rule_params=RULE | changes)

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


@contextmanager
def open_desk(data_dir: Path, issued: Path, inbox: Inbox, **rules: object) -> Iterator[Desk]:
    """The gateway answers in the one shape that the SDK reads."""
    copy_credentials(issued, data_dir)
    inbox.reply = "success"
    create = partial(create_gateway, rules=Rules(plain_answers=True, **rules))
    with running(create, data_dir) as gateway:
        yield Desk(gateway, inbox)


@pytest.fixture
def desk(tmp_path: Path, issued: Path, inbox: Inbox) -> Iterator[Desk]:
    with open_desk(tmp_path, issued, inbox) as desk:
        yield desk


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
        {"sign_scene": "DEFAULT|DEFAULT"},
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


@pytest.mark.parametrize("shows_expired", [True, False])
def test_an_agreement_that_runs_out_is_told_nowhere(
    tmp_path: Path, issued: Path, inbox: Inbox, shows_expired: bool
):
    """Whether it can still be asked for, the documents leave open."""
    with open_desk(tmp_path, issued, inbox, shows_expired=shows_expired) as desk:
        agreement_no = desk.sign(desk.sign_str(sign_validity_period="90d"))
        desk.notices(1)
        desk.gateway.control("clock", set="2027-02-22T10:30:00+08:00")
        found = desk.agreement(agreement_no)
        if shows_expired:
            assert (found["status"], found["invalid_time"][:10]) == ("STOP", "2027-02-22")
        else:
            assert found["sub_code"] == "USER_AGREEMENT_NOT_EXIST"
        unsign = desk.ask("alipay.user.agreement.unsign", {"agreement_no": agreement_no})
        assert unsign["sub_code"] == "USER_AGREEMENT_NOT_EXIST"
        assert desk.debit(agreement_no, "1.00")["sub_code"] == "ACQ.AGREEMENT_NOT_EXIST"
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


@pytest.mark.parametrize("word", ["DAY", "MONTH"])
def test_all_rules_of_a_person_together_take_so_much_and_no_more(
    tmp_path: Path, issued: Path, inbox: Inbox, word: str
):
    limit = {f"cycle_{word.lower()}_limit_fen": 150_00}
    with open_desk(tmp_path, issued, inbox, **limit) as desk:
        desk.gateway.control("clock", set="2026-11-29T09:00:00+08:00")
        first, second = (
            desk.sign(
                desk.sign_str(
                    "CYCLE_PAY_AUTH",
                    external_agreement_no=f"M{day[-2:]}",
                    period_rule_params={
                        **RULE,
                        "period_type": "DAY",
                        "period": 7,
                        "execute_time": day,
                    },
                )
            )
            for day in ("2026-11-29", "2026-12-01")
        )
        assert desk.debit(first, "100.00", is_cycle=True)["code"] == "10000"
        debit = partial(desk.debit, second, "50.01", "P2", is_cycle=True)
        over = f"ACQ.BUYER_PAYMENT_AMOUNT_{word}_LIMIT_ERROR"
        assert debit()["sub_code"] == over
        if word == "MONTH":
            desk.gateway.control("clock", set="2026-11-30T09:00:00+08:00")
            assert debit()["sub_code"] == over
            desk.gateway.control("clock", set="2026-12-01T00:00:01+08:00")
        else:
            desk.gateway.control("clock", set="2026-11-30T00:00:01+08:00")
        assert debit()["code"] == "10000"


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


# Notices of agreements that nobody sent


def forge(desk: Desk, number: str, defect: str, **fields: str) -> dict:
    return desk.gateway.control("notices/forge", out_trade_no=number, defect=defect, fields=fields)


@pytest.mark.parametrize("defect", ["wrong_key", "no_sign", "tampered_after_signing", "empty_key"])
def test_forgeries_do_not_bear_the_platforms_signature(desk: Desk, defect: str):
    agreement_no = desk.sign(desk.sign_str())
    desk.notices(1)

    forged = forge(desk, agreement_no, defect)

    assert "dut_user_unsign" in forged["body"]
    with pytest.raises((InvalidSignature, KeyError, ValueError)):
        desk.merchant.read_notice(desk.inbox.bodies[-1])
    assert desk.agreement(agreement_no)["status"] == "NORMAL"


def test_forgeries_that_are_properly_signed(desk: Desk):
    agreement_no = desk.sign(desk.sign_str())
    desk.notices(1)
    desk.gateway.control("merchant/address", url=desk.inbox.url.replace("payment", "gateway"))

    ended = forge(desk, "M20261124000001", "none")
    signed = forge(desk, agreement_no, "none", notify_type="dut_user_sign", alipay_open_id="other")
    foreign = forge(desk, agreement_no, "other_app")

    assert ended["url"].endswith("/gateway")
    assert signed["url"] == desk.inbox.url
    told = [desk.merchant.read_notice(body) for body in desk.inbox.bodies[1:]]
    assert [(each["notify_type"], each["status"]) for each in told] == [
        ("dut_user_unsign", "UNSIGN"),
        ("dut_user_sign", "NORMAL"),
        ("dut_user_unsign", "UNSIGN"),
    ]
    assert told[1]["alipay_open_id"] == "other"
    assert told[2]["app_id"] != desk.merchant.app_id
    assert foreign["reply"] == "success"
    for number, defect in ((agreement_no, "other_merchant"), ("nobody", "none")):
        refused = desk.gateway.try_control(
            "notices/forge", out_trade_no=number, defect=defect, fields={}
        )
        assert not refused["ok"]

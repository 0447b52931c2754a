"""A whole town for a story: both gateways, the product over HTTP, one clock, a rider's phone.

Everything is real but the network between them: the adapters and SDKs of the product talk to the
sandbox over HTTP with signatures, and the sandbox's notices come back over HTTP.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from typing import Any

import requests
from pydantic import SecretStr
from sqlalchemy import Engine

from app.connectors.documents.registry import build_documents
from app.connectors.logins.registry import build_logins
from app.connectors.messages.registry import build_messengers
from app.db import make_read, make_transact
from app.domain.calendar import business_day
from app.domain.inquiries.operations import resolve_orders, resolve_refunds
from app.domain.mandates.asking import resolve_mandates
from app.domain.outbox.operations import send_messages
from app.domain.outbox.rules import FIELDS_OF
from app.domain.ports import Ports
from app.domain.staff.models import Role
from app.domain.staff.operations import add_staff_member
from app.domain.verification import verify_books
from app.factory import build_vault, create_app, new_number
from app.jobs import plan_debits, propose_refunds, submit_debits
from app.payments.registry import build_channels
from config.agreement_text_files import load_agreement_texts
from config.bank_layout_files import load_bank_layout
from config.chart import load_chart
from config.message_template_files import load_message_templates
from config.reason_files import load_reasons
from config.settings import AlipaySettings, BankSettings, Settings, WeChatSettings
from sandbox.alipay.server import create_gateway as create_alipay
from sandbox.bank.server import create_gateway as create_bank
from sandbox.wechat.server import create_gateway as create_wechat
from tests.conftest import MovableClock
from tests.sandbox.gateways import START, RunningGateway, running, serving

PASSWORD = "Tongguan-2026"
TEMPLATES = {topic: f"T-{topic}" for topic in FIELDS_OF}
"""Every message has a template on both platforms; whether it arrives is for the person."""
ENROLMENT = {
    "document_kind": "resident_id",
    "document_no": "11010519491231002X",
    "real_name": "测试用户",
    "phone": "13800000000",
    "employment_form": "new_form",
}


@dataclass
class Phone:
    """A person's phone with one platform's mini-program open."""

    town: Town
    platform: str
    payer: str
    headers: dict[str, str] = field(default_factory=dict)
    _keys: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def log_in(self) -> dict[str, Any]:
        code = self.town.gateways[self.platform].control("login_codes", payer=self.payer)["code"]
        answer = self.call("POST", "session", {"platform": self.platform, "code": code})
        self.headers = {"Authorization": f"Bearer {answer['token']}"}
        return answer

    def enrol(self, **changes: object) -> dict[str, Any]:
        return self.call("POST", "enrolment", {**ENROLMENT, **changes})

    def call(
        self, method: str, path: str, content: object = None, *, status: int | None = None
    ) -> dict[str, Any]:
        """Call the API; fails the test unless the status is the expected one."""
        answer = self.try_call(method, path, content)
        good = answer.status_code == status if status else answer.ok
        assert good, (answer.status_code, answer.text)
        return answer.json() if answer.content else {}

    def try_call(self, method: str, path: str, content: object = None) -> requests.Response:
        key = f"{self.platform}-key-{next(self._keys):06d}"
        return self._send(method, path, content, key)

    def deposit(self, amount_fen: int, *, key: str = "") -> dict[str, Any]:
        """Place an order and return it with what the wallet needs."""
        content = {"channel": self.platform, "amount_fen": amount_fen}
        key = key or f"{self.platform}-key-{next(self._keys):06d}"
        answer = self._send("POST", "deposits", content, key)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def pay(self, order: dict[str, Any]) -> None:
        """Confirm an order in the wallet."""
        gateway = self.town.gateways[self.platform]
        gateway.control("pay", payer=self.payer, phone=order["payment"])

    def pay_and_wait(self, amount_fen: int) -> str:
        """Deposit, pay, wait until the gateway's notice was accepted; return the order_no."""
        order = self.deposit(amount_fen)
        self.pay(order)
        self.town.until_accepted(self.platform, order["order_no"])
        return str(order["order_no"])

    def agree_to_messages(self, *topics: str) -> None:
        """Agree in the mini-program to messages about these topics."""
        for topic in topics:
            self.town.gateways[self.platform].control(
                "messages/consent", payer=self.payer, template_id=TEMPLATES[topic], count=9
            )

    def inbox(self) -> list[dict[str, Any]]:
        """Return the messages that have reached the phone, the last at the end."""
        gateway = self.town.gateways[self.platform]
        return list(gateway.control("messages/inbox", payer=self.payer)["messages"])

    def state_of(self, order_no: str) -> str:
        return str(self.call("GET", f"deposits/{order_no}")["state"])

    def balance(self) -> int:
        return int(self.call("GET", "account")["balance_fen"])

    def _send(self, method: str, path: str, content: object, key: str) -> requests.Response:
        return requests.request(
            method,
            f"{self.town.url}api/v1/{path}",
            json=content,
            headers={**self.headers, "Idempotency-Key": key},
            timeout=30,
        )


@dataclass
class Town:
    """What a story plays in."""

    url: str
    ports: Ports
    clock: MovableClock
    gateways: dict[str, RunningGateway]
    """The wallets."""
    bank: RunningGateway | None = None

    def phone(self, platform: str, *, balance_fen: int = 10_000_000) -> Phone:
        """Return a new person's phone, logged in."""
        payer = self.gateways[platform].control("payers", balance_fen=balance_fen)["payer"]
        phone = Phone(self, platform, payer)
        phone.log_in()
        return phone

    def staff(self, role: Role) -> Callable[..., requests.Response]:
        """Return a way to call the staff API as a new member of staff."""
        name = role.value
        add_staff_member(self.ports, username=name, display_name=name, role=role, password=PASSWORD)
        answer = requests.post(
            f"{self.url}staff/api/v1/session",
            json={"username": name, "password": PASSWORD},
            timeout=30,
        )
        headers = {"Authorization": f"Bearer {answer.json()['token']}"}

        def call(method: str, path: str, content: object = None, key: str = "staff-key-1") -> Any:
            return requests.request(
                method,
                f"{self.url}staff/api/v1/{path}",
                json=content,
                headers={**headers, "Idempotency-Key": key},
                timeout=30,
            )

        return call

    def breaks(self) -> list[tuple[str, str]]:
        """Return kind and number of every break, as a new auditor sees them."""
        items = self.staff(Role.AUDITOR)("GET", "breaks").json()["items"]
        return [(item["kind"], item["number"]) for item in items]

    def advance(self, seconds: int) -> None:
        """Let time pass everywhere."""
        self.clock.advance(seconds=seconds)
        for gateway in (*self.gateways.values(), *([self.bank] if self.bank else [])):
            gateway.control("clock", advance_seconds=seconds)

    def run_jobs(self, *, after: int = 0) -> None:
        """Let time pass, then run what the scheduler would run."""
        self.advance(after)
        today = business_day(self.clock.now())
        plan_debits.run(self.ports, on=today)
        submit_debits.run(self.ports, on=today)
        resolve_orders(self.ports)
        resolve_refunds(self.ports)
        resolve_mandates(self.ports)
        send_messages(self.ports)
        propose_refunds.run(self.ports, on=today)

    def until_accepted(self, platform: str, number: str, *, count: int = 1) -> None:
        """Wait until that many notices of an order were accepted by us."""
        self.gateways[platform].until(
            lambda log: sum(t["accepted"] and t["out_trade_no"] == number for t in log) >= count
        )

    def check_books(self) -> None:
        """Our books hold by themselves, and each gateway's books say the same to the fen."""
        offences = self.ports.read(lambda s: list(verify_books(s, chart=load_chart())))
        assert offences == []
        for platform, gateway in self.gateways.items():
            books = gateway.look("books")
            taken = sum(t["amount_fen"] for t in books["trades"] if t["paid_at"])
            refunded = sum(t["refunded_fen"] for t in books["trades"])
            assert self.clearing_fen(platform) == taken - refunded, (platform, books)
        if self.bank is not None:
            books = self.bank.look("books")
            taken = sum(d["amount_fen"] for d in books["debits"] if d["state"] == "SUCCEEDED")
            refunded = sum(refund["amount_fen"] for refund in books["refunds"])
            assert self.clearing_fen("bank") == taken - refunded, books["debits"]
            assert books["balance_fen"] == taken - refunded

    def clearing_fen(self, channel: str) -> int:
        """Return what a channel owes us by our own books."""
        from sqlalchemy import func, select

        from app.domain.ledger.models import Code, JournalLine

        return self.ports.read(
            lambda s: int(
                s.scalar(
                    select(func.coalesce(func.sum(JournalLine.amount_fen), 0)).where(
                        JournalLine.code == Code.CHANNEL_CLEARING, JournalLine.channel == channel
                    )
                )
            )
        )


@contextmanager
def open_town(
    engine: Engine,
    data_dir: Path,
    *,
    with_bank: bool = False,
    with_files: bool = True,
    **alipay: object,
) -> Iterator[Town]:
    """Start the gateways and the product on free ports of the loopback.

    Args:
        with_files: a bank takes debits by files; otherwise one by one, in real time.
        alipay: what is set otherwise than Alipay's sandbox has issued it.
    """
    clock = MovableClock(START.astimezone(UTC))
    with ExitStack() as stack:
        gateways = {
            "wechat": stack.enter_context(running(create_wechat, data_dir)),
            "alipay": stack.enter_context(running(create_alipay, data_dir)),
        }
        gateways["wechat"].control("plans/change", mode="PRE_NOTICE")
        bank = stack.enter_context(running(create_bank, data_dir)) if with_bank else None
        door: dict[str, Any] = {}
        url = stack.enter_context(serving(lambda env, start: door["app"](env, start)))
        bank_settings = _bank_settings(bank, with_files=with_files) if bank else None
        settings = _settings(url, engine, gateways, bank_settings, alipay)
        ports = Ports(
            transact=make_transact(engine),
            read=make_read(engine),
            now=clock.now,
            new_number=new_number,
            vault=build_vault(settings),
            channels=build_channels(
                settings, load_reasons=load_reasons, load_layout=load_bank_layout, now=clock.now
            ),
            logins=build_logins(settings, now=clock.now),
            agreement_texts=load_agreement_texts(),
            documents=build_documents(settings),
            messengers=build_messengers(
                settings,
                load_templates=load_message_templates,
                fields_of=FIELDS_OF,
                now=clock.now,
            ),
        )
        door["app"] = create_app(settings, ports=ports)
        application = f"{url}callbacks/alipay/gateway"
        gateways["alipay"].control("merchant/address", url=application)
        yield Town(url, ports, clock, gateways, bank)


def _settings(
    url: str,
    engine: Engine,
    gateways: dict[str, RunningGateway],
    bank: BankSettings | None,
    of_alipay: dict[str, object],
) -> Settings:
    wechat, alipay = gateways["wechat"], gateways["alipay"]
    issued = wechat.credentials
    return Settings(
        environment="test",
        database_url=engine.url.render_as_string(hide_password=False),
        public_base_url=url,
        data_keys=SecretStr(f"k1:{base64.b64encode(bytes(range(32))).decode()}"),
        index_key=SecretStr(base64.b64encode(b"i" * 32).decode()),
        channel_read_timeout_seconds=1.0,
        wechat=WeChatSettings.model_validate(
            {
                **_fields({**issued.wechat, **issued.wechat_v3}, "LIANJIAO_WECHAT_"),
                "mandate_cap_fen_max": 500_000,  # what the sandbox's plan allows
                "pay_base_url": wechat.url,
                "api_base_url": wechat.url,
                "message_templates": TEMPLATES,
            }
        ),
        alipay=AlipaySettings.model_validate(
            {
                **_fields(issued.alipay, "LIANJIAO_ALIPAY_"),
                "gateway_url": f"{alipay.url}gateway.do",
                "message_templates": TEMPLATES,
                **of_alipay,
            }
        ),
        bank=bank,
    )


def _bank_settings(bank: RunningGateway, *, with_files: bool) -> BankSettings:
    issued = _fields(bank.credentials.bank, "LIANJIAO_BANK_")
    # The sandbox also tells the number of the centre's own account.
    known = {name: value for name, value in issued.items() if name in BankSettings.model_fields}
    files = {"sftp_host": "127.0.0.1", "sftp_port": bank.control("files/port")["port"]}
    if not with_files:
        known = {name: value for name, value in known.items() if not name.startswith("sftp_")}
        files = {}
    return BankSettings.model_validate({**known, "gateway_url": f"{bank.url}gateway/", **files})


def _fields(issued: Any, prefix: str) -> dict[str, str]:
    return {name.removeprefix(prefix).lower(): value for name, value in issued.items()}

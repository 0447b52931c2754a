"""What the load is made of: people and orders through the product's models, notices already signed.

The notices are signed by the gateways' own code, which shares nothing with the product's.
"""

from __future__ import annotations

import base64
import itertools
import secrets
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import func, insert, select

from app.domain.base import table_of
from app.domain.calendar import business_day
from app.domain.callbacks.models import ChannelCallback
from app.domain.contributors.documents import DocumentKind
from app.domain.contributors.models import (
    Account,
    AccountStatus,
    Contributor,
    LoginIdentity,
    Platform,
)
from app.domain.contributors.rules import EmploymentForm
from app.domain.ledger.models import EntryKind, JournalEntry
from app.domain.payment_orders.models import OrderState, PaymentOrder
from app.domain.ports import Ports
from app.domain.ports.callbacks import RawCallback
from app.domain.sessions.models import SessionToken
from app.domain.sessions.rules import hash_token
from app.domain.verification import verify_books
from config.chart import load_chart
from sandbox.alipay.signing import notice_text
from sandbox.credentials import ALIPAY_GATEWAY_PRIVATE_KEY, Credentials
from sandbox.keys import read_private_key
from sandbox.keys import sign as sign_rsa
from sandbox.wechat.notices import CONTENT_TYPE as XML
from sandbox.wechat.signing import sign as sign_wechat
from sandbox.wechat.signing import write_xml

BEGINS_AT = datetime.fromisoformat("2026-11-24T10:00:00+08:00")
"""Business time of a run: the policy figures have dates, the machine's clock may show any."""

FORM = "application/x-www-form-urlencoded; charset=utf-8"
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Notice:
    """A placed order that somebody has paid, and what the channel says of it."""

    order_no: str
    channel: str
    account_id: int
    amount_fen: int
    reference: str
    content_type: str = ""
    body: bytes = b""

    @property
    def raw(self) -> RawCallback:
        """The notice as the product's adapters take it."""
        return RawCallback(
            endpoint="payment", content_type=self.content_type, headers={}, body=self.body
        )

    @property
    def request(self) -> bytes:
        """The notice as it goes over the wire."""
        path = f"/callbacks/{self.channel}/payment"
        return http("POST", path, self.body, f"Content-Type: {self.content_type}")


class Town:
    """People with accounts, and as many paid orders as the load asks for.

    The first `watched` people get no order but those asked for by their account.
    """

    def __init__(
        self, ports: Ports, issued: Credentials, folder: Path, *, people: int, watched: int
    ) -> None:
        self.ports = ports
        self.day = business_day(ports.now())
        self._issued, self._gateway_key = issued, folder / ALIPAY_GATEWAY_PRIVATE_KEY
        first = self._enrol(people)
        self.watched = range(first, first + watched)
        self._others = itertools.cycle(range(first + watched, first + people))
        self._left: dict[str, list[Notice]] = {"wechat": [], "alipay": []}

    def notices(self, channel: str, count: int) -> list[Notice]:
        """Return so many signed notices; say with `put_back` which were not sent."""
        have, self._left[channel] = self._left[channel], []
        return have + self.fresh_notices(channel, count - len(have), self._others)

    def put_back(self, notices: list[Notice]) -> None:
        """Keep notices that were not sent for the next time."""
        for notice in notices:
            self._left[notice.channel].append(notice)

    def fresh_notices(self, channel: str, count: int, accounts: Iterator[int]) -> list[Notice]:
        """Place so many orders, one of the next account each, and sign their notices."""
        now = self.ports.now()
        notices = [
            Notice(
                order_no=f"D{secrets.token_hex(12).upper()}",
                channel=channel,
                account_id=next(accounts),
                amount_fen=12_150 + n % 1_000,
                reference=f"42000{secrets.randbelow(10**23):023d}",
            )
            for n in range(count)
        ]
        order = {
            "channel": channel,
            "state": OrderState.AWAITING_PAYMENT,
            "request_digest": bytes(32),
            "created_at": now,
            "expires_at": now + timedelta(minutes=30),
            "next_query_at": now + timedelta(hours=1),
        }
        self._insert(
            PaymentOrder,
            [
                {
                    **order,
                    "order_no": notice.order_no,
                    "account_id": notice.account_id,
                    "amount_fen": notice.amount_fen,
                    "request_key": notice.order_no,
                    "prepay_reference": notice.reference,
                }
                for notice in notices
            ],
        )
        chunks = [notices[n : n + _CHUNK] for n in range(0, count, _CHUNK)]
        with ProcessPoolExecutor() as workers:
            keys = itertools.repeat((self._issued, self._gateway_key))
            return [notice for chunk in workers.map(_sign, chunks, keys) for notice in chunk]

    def tokens(self, count: int) -> list[str]:
        """Log so many people in."""
        now = self.ports.now()
        tokens = [secrets.token_urlsafe(32) for _ in range(count)]
        accounts = set(itertools.islice(self._others, count))
        people = self.ports.read(
            lambda s: s.scalars(
                select(Account.contributor_id).where(Account.id.in_(accounts))
            ).all()
        )
        identity = {"platform": Platform.WECHAT, "subject": b"", "key_id": "k1", "created_at": now}
        first = self._insert(
            LoginIdentity,
            [
                {**identity, "subject_index": secrets.token_bytes(32), "contributor_id": person}
                for person in people
            ],
        )
        session = {"created_at": now, "expires_at": now + timedelta(days=1)}
        self._insert(
            SessionToken,
            [
                {**session, "token_hash": hash_token(token), "identity_id": first + n}
                for n, token in enumerate(tokens)
            ],
        )
        return tokens

    def find_losses(self, credited: int) -> list[str]:
        """Return what is wrong with the books after so many payments, each credited once."""
        questions = {
            "orders": select(func.count()).where(PaymentOrder.state == OrderState.SUCCEEDED),
            "entries": select(func.count()).where(JournalEntry.kind == EntryKind.DEPOSIT),
            "callbacks": select(func.count(ChannelCallback.id)),
            "orders called back": select(func.count(func.distinct(ChannelCallback.number))),
        }

        def look(session: Any) -> list[str]:
            found = {name: session.scalar(question) for name, question in questions.items()}
            wrong = [f"{name}: {n}, not {credited}" for name, n in found.items() if n != credited]
            return wrong + [str(offence) for offence in verify_books(session, chart=load_chart())]

        return self.ports.read(look)

    def _enrol(self, count: int) -> int:
        sealed = self.ports.vault.seal("测试用户", context="contributor.real_name")
        person = {
            "document_kind": DocumentKind.RESIDENT_ID,
            **dict.fromkeys(("document_no", "real_name", "phone", "birth_date"), sealed),
            "phone_index": bytes(32),
            "key_id": self.ports.vault.active_key_id,
            "employment_form": EmploymentForm.NEW_FORM,
            "industry_tags": [],
            "declared_facts": {},
            "enrolled_at": self.ports.now(),
        }
        people = [{**person, "document_index": n.to_bytes(32)} for n in range(count)]
        first = self._insert(Contributor, people)
        # They have paid before: a first deposit would bring the opening subsidy along.
        account = {
            "status": AccountStatus.NORMAL,
            "opened_on": self.day,
            "first_deposit_on": self.day,
        }
        numbered = [
            {**account, "contributor_id": first + n, "account_no": f"{n:012d}"}
            for n in range(count)
        ]
        return self._insert(Account, numbered)

    def _insert(self, model: Any, rows: list[dict[str, Any]]) -> int:
        """Insert rows in a block and return the first one's id; nobody else inserts meanwhile."""

        def work(session: Any) -> int:
            last = session.scalar(select(func.max(model.id))) or 0
            if rows:
                session.execute(insert(table_of(model)), rows)
            return session.scalar(select(func.min(model.id)).where(model.id > last)) or 0

        return self.ports.transact(work)


def make_environment(database_url: str, issued: Credentials) -> dict[str, str]:
    """Return the product's settings."""
    offset = BEGINS_AT - datetime.now(UTC)  # noqa: TID251
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    return {
        **issued.wechat,
        **issued.alipay,
        "LIANJIAO_ENVIRONMENT": "test",
        "LIANJIAO_DATABASE_URL": database_url,
        "LIANJIAO_PUBLIC_BASE_URL": "https://fund.example",
        "LIANJIAO_DATA_KEYS": f"k1:{key}",
        "LIANJIAO_INDEX_KEY": key,
        "LIANJIAO_CLOCK_OFFSET_SECONDS": str(round(offset.total_seconds())),
    }


def http(method: str, path: str, body: bytes = b"", *headers: str) -> bytes:
    """Return a request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", "Host: fund.example", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def _sign(notices: list[Notice], keys: tuple[Credentials, Path]) -> list[Notice]:
    issued, gateway_key = keys[0], read_private_key(keys[1])
    signed = []
    for notice in notices:
        if notice.channel == "wechat":
            body = _wechat_body(notice, issued.wechat)
            signed.append(replace(notice, content_type=XML, body=body))
        else:
            fields = _alipay_fields(notice, issued.alipay)
            fields["sign"] = sign_rsa(notice_text(fields).encode(), gateway_key)
            signed.append(replace(notice, content_type=FORM, body=urlencode(fields).encode()))
    return signed


def _wechat_body(notice: Notice, merchant: Mapping[str, str]) -> bytes:
    fields = {
        **{"return_code": "SUCCESS", "result_code": "SUCCESS", "trade_type": "JSAPI"},
        **{"is_subscribe": "N", "bank_type": "OTHERS", "fee_type": "CNY", "cash_fee_type": "CNY"},
        "appid": merchant["LIANJIAO_WECHAT_APP_ID"],
        "mch_id": merchant["LIANJIAO_WECHAT_MERCHANT_ID"],
        "nonce_str": secrets.token_hex(16),
        "openid": f"o{notice.account_id:027d}",
        "total_fee": str(notice.amount_fen),
        "cash_fee": str(notice.amount_fen),
        "transaction_id": notice.reference,
        "out_trade_no": notice.order_no,
        "attach": "",
        "time_end": f"{BEGINS_AT:%Y%m%d%H%M%S}",
    }
    return write_xml({**fields, "sign": sign_wechat(fields, merchant["LIANJIAO_WECHAT_API_KEY"])})


def _alipay_fields(notice: Notice, merchant: Mapping[str, str]) -> dict[str, str]:
    amount = f"{notice.amount_fen // 100}.{notice.amount_fen % 100:02d}"
    amounts = ("total_amount", "receipt_amount", "invoice_amount", "buyer_pay_amount")
    times = ("notify_time", "gmt_create", "gmt_payment")
    return {
        **{"notify_type": "trade_status_sync", "version": "1.0", "sign_type": "RSA2"},
        **{"charset": "utf-8", "trade_status": "TRADE_SUCCESS", "point_amount": "0.00"},
        **dict.fromkeys(("app_id", "auth_app_id"), merchant["LIANJIAO_ALIPAY_APP_ID"]),
        **dict.fromkeys(("subject", "body"), "住房公积金灵活缴存"),
        **dict.fromkeys(amounts, amount),
        **dict.fromkeys(times, f"{BEGINS_AT:%Y-%m-%d %H:%M:%S}"),
        "notify_id": secrets.token_hex(17),
        "trade_no": notice.reference,
        "out_trade_no": notice.order_no,
        "buyer_open_id": f"{notice.account_id:032d}",
        "buyer_logon_id": "138******00",
        "seller_id": merchant["LIANJIAO_ALIPAY_SELLER_ID"],
        "seller_email": "fund***@sandbox.example",
        "fund_bill_list": f'[{{"amount":"{amount}","fundChannel":"ALIPAYACCOUNT"}}]',
    }

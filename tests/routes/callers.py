"""People at the doors: contributors and staff with a token, and how they make a deposit."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.domain.ports import Ports
from app.domain.staff.models import Role, StaffMember, StaffSession
from app.domain.staff.rules import hash_token
from app.routes.citizen.mandates import CARD_WISH
from tests.domain.people import eighteen
from tests.simulated_channel import SimulatedChannel

on_sqlite_only = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
"""For what no database can change."""

API = "/api/v1"
STAFF = "/staff/api/v1"

MONTHLY = {"frequency": "monthly", "amount_fen": 50_000, "debit_day": 10, "channel": "bank"}

_keys = itertools.count(1)


@dataclass
class Caller:
    """Somebody who calls the API, with a token or without."""

    client: FlaskClient
    token: str = ""
    account_no: str = ""

    def call(self, method: str, path: str, **kwargs: Any) -> TestResponse:
        """Send one request with the token."""
        headers = dict(kwargs.pop("headers", {}))
        if self.token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        return self.client.open(path, method=method, headers=headers, buffered=True, **kwargs)

    def get(self, path: str, **kwargs: Any) -> TestResponse:
        return self.call("GET", path, **kwargs)

    def post(self, path: str, *, key: str | None = None, **kwargs: Any) -> TestResponse:
        """POST with a fresh Idempotency-Key, or with `key`; an empty one sends none."""
        headers = dict(kwargs.pop("headers", {}))
        chosen = f"key-{next(_keys):08d}" if key is None else key
        if chosen:
            headers["Idempotency-Key"] = chosen
        return self.call("POST", path, headers=headers, **kwargs)

    def deposit(
        self, amount_fen: int = 50_000, *, channel: str = "wechat", key: str | None = None
    ) -> TestResponse:
        """Ask for a deposit."""
        body = {"channel": channel, "amount_fen": amount_fen}
        return self.post(f"{API}/deposits", json=body, key=key)


@dataclass
class Doors:
    """The application under test, and people who come to its doors."""

    client: FlaskClient
    ports: Ports
    channel: SimulatedChannel
    _serial: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def nobody(self) -> Caller:
        """Somebody without a token."""
        return Caller(self.client)

    def logged_in(self, person: str, *, platform: str = "wechat") -> Caller:
        """A person who logged in, enrolled or not."""
        code = f"code-of-{person}#{next(self._serial)}"
        answer = self.client.post(f"{API}/session", json={"platform": platform, "code": code})
        assert answer.status_code == 201, answer.text
        return Caller(self.client, answer.json["token"])

    def enrolled(self, person: str) -> Caller:
        """A person with an account. Every person has a document of their own."""
        caller = self.logged_in(person)
        answer = caller.call("POST", f"{API}/enrolment", json=application_of(person))
        assert answer.status_code == 201, answer.text
        caller.account_no = answer.json["account_no"]
        return caller

    def with_deposit(self, person: str, amount_fen: int = 50_000) -> tuple[Caller, str]:
        """A person with one credited deposit, and its order number."""
        caller = self.enrolled(person)
        return caller, self.credited(caller, amount_fen)

    def credited(self, caller: Caller, amount_fen: int = 50_000) -> str:
        """Make and pay a deposit; return its order number."""
        answer = caller.deposit(amount_fen)
        assert answer.status_code == 201, answer.text
        order_no: str = answer.json["order_no"]
        paid = self.client.post("/callbacks/wechat/payment", data=self.channel.pay(order_no))
        assert paid.text == "ok"
        return order_no

    def with_agreement(self, caller: Caller) -> None:
        """Agree to 500.00 on the 10th of each month."""
        draft = caller.call("POST", f"{API}/agreement/preview", json=MONTHLY).json
        body = {**MONTHLY, "device": "测试设备", "text_sha256": draft["text_sha256"]}
        answer = caller.post(f"{API}/agreement", json=body)
        assert answer.status_code == 201, answer.text

    def with_mandate(self, caller: Caller) -> str:
        """Agree, and begin to sign a mandate with a card; return its number."""
        self.with_agreement(caller)
        answer = caller.post(f"{API}/mandates", json=CARD_WISH)
        assert answer.status_code == 201, answer.text
        number: str = answer.json["mandate_no"]
        return number

    def staff(self, role: Role, *, username: str = "", lasts: timedelta | None = None) -> Caller:
        """A member of staff with a console session."""
        token = f"staff-token-{next(self._serial):08d}"
        now = self.ports.now()

        def store(session: Any) -> None:
            member = StaffMember(
                username=username or f"{role.value}{next(self._serial)}",
                display_name="测试用户",
                role=role,
                password_hash="no password fits",
                created_at=now,
            )
            session.add(member)
            session.flush()
            session.add(
                StaffSession(
                    token_hash=hash_token(token),
                    staff_id=member.id,
                    created_at=now,
                    expires_at=now + (lasts or timedelta(hours=8)),
                )
            )

        self.ports.transact(store)
        return Caller(self.client, token)


def application_of(person: str) -> dict[str, Any]:
    """Return an enrolment that every rule accepts; one person, one document."""
    serial = f"{sum(person.encode()) % 900 + 100:03d}"
    return {
        "document_kind": "resident_id",
        "document_no": eighteen("320722", "19900506", serial),
        "real_name": "测试用户",
        "phone": "13800000000",
        "employment_form": "new_form",
        "industry_tags": ["e_commerce"],
    }

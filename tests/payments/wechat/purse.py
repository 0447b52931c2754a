"""A fund centre before WeChat's sandbox, and people who sign contracts in their wallets."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, request

from app.domain.ports.callbacks import CallbackRejected, ChannelEvent, RawCallback
from app.domain.ports.debits import DebitNotice, DebitRequest
from app.domain.ports.mandates import Cycle, MandateAnswer, MandateRequest, MandateStanding
from app.payments.registry import build_channels
from config.bank_layout_files import load_bank_layout
from config.reason_files import load_reasons
from config.settings import Settings
from sandbox.clock import SHANGHAI
from sandbox.wechat.server import create_gateway
from tests.payments.sides import HASTY_SECONDS, settings_of
from tests.sandbox.gateways import RunningGateway, copy_credentials, running, serving


@dataclass
class Purse:
    """The product's channel, WeChat, and the notices that came."""

    gateway: RunningGateway
    settings: Settings
    channel: Any
    announcing: Any
    callbacks: Any
    hasty: Any
    """The same channels with little patience, for silences alone."""
    hasty_announcing: Any
    raws: list[RawCallback] = field(default_factory=list)
    events: list[ChannelEvent] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    counter: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def number(self, prefix: str) -> str:
        return f"{prefix}{next(self.counter):031d}"

    def trouble(self, at: str, kind: str, **options: object) -> bool:
        """Set a switch; whether the one who meets it should have little patience."""
        is_silence = kind.startswith("timeout")
        if is_silence:
            options["seconds"] = 1.0
        self.gateway.control("troubles", at=at, kind=kind, **options)
        return is_silence

    # Contracts

    def payer(self, balance_fen: int = 1_000_000) -> str:
        return str(self.gateway.control("payers", balance_fen=balance_fen)["payer"])

    def request(self, **changes: object) -> MandateRequest:
        plain = MandateRequest(
            mandate_no=self.number("M"),
            cap_fen=100_000,
            period_cap_fen=100_000,
            cycle=Cycle.MONTH,
            first_due_on=date(2026, 12, 10),
            valid_from=date(2026, 11, 1),
            valid_to=date(2028, 12, 31),
            display_name="公积金账户尾号1234",
            payer_ref="oSomebody",
        )
        return replace(plain, **changes)

    def sign(self, request: MandateRequest, payer: str, **options: object) -> dict[str, Any]:
        """A person opens the page that the phone was given the parameters for."""
        action = dict(self.channel.signing_action(request))
        return self.gateway.control("contracts/sign", payer=payer, extra_data=action, **options)

    def signed(self, payer: str = "", **changes: object) -> tuple[str, str]:
        """Sign a contract; return our number and WeChat's."""
        request = self.request(**changes)
        return request.mandate_no, self.sign(request, payer or self.payer())["contract_id"]

    def asked(self, mandate_no: str, reference: str | None = None) -> MandateAnswer:
        answer = self.channel.query_mandate(mandate_no=mandate_no, reference=reference)
        assert isinstance(answer, MandateAnswer)
        return answer

    # Money

    def debit(self, reference: str, amount_fen: int = 50_000, **changes: object) -> DebitRequest:
        plain = DebitRequest(
            order_no=self.number("D"),
            amount_fen=amount_fen,
            description="2026-11 缴存",
            mandate_reference=reference,
        )
        return replace(plain, **changes)

    def notice(self, reference: str, amount_fen: int = 50_000, *, days: int = 2) -> DebitNotice:
        return DebitNotice(
            order_no=self.number("D"),
            mandate_reference=reference,
            amount_fen=amount_fen,
            due_on=self.today() + timedelta(days=days),
        )

    def today(self) -> date:
        return self.gateway.clock.now().astimezone(SHANGHAI).date()

    def wait_for_day(self, days: int, *, hour: int = 10) -> None:
        """Let time pass until that hour of the day so many days from now."""
        day = self.today() + timedelta(days=days)
        moment = datetime(day.year, day.month, day.day, hour, tzinfo=SHANGHAI)
        self.gateway.control("clock", set=moment.isoformat())

    def booked(self, table: str, name: str, number: str) -> list[dict[str, Any]]:
        """What WeChat's own books say."""
        return [row for row in self.gateway.look("books")[table] if row[name] == number]

    def events_about(self, number: str) -> list[ChannelEvent]:
        return [
            event
            for event in self.events
            if (event.outcome and event.outcome.number == number)
            or (event.mandate and event.mandate.mandate_no == number)
        ]

    def notices_of(self, number: str, count: int = 1) -> list[ChannelEvent]:
        """Wait for so many notices about one of our numbers."""
        self.gateway.until(lambda _: len(self.events_about(number)) >= count)
        found = self.events_about(number)
        assert len(found) == count
        return found

    def forget(self) -> None:
        for heard in (self.raws, self.events, self.rejected):
            heard.clear()


def utc(moment: str) -> datetime:
    """Return the instant of a time in WeChat's books."""
    return datetime.fromisoformat(moment).astimezone(UTC)


def assert_standing(answer: MandateAnswer, standing: MandateStanding) -> None:
    assert answer.standing is standing, answer


@contextmanager
def open_purse(data_dir: Path, issued: Path) -> Iterator[Purse]:
    """Run WeChat, and our address that reads its notices."""
    copy_credentials(issued, data_dir)
    inbox, purses = Flask("inbox"), list[Purse]()

    @inbox.post("/callbacks/wechat/<endpoint>")
    def take(endpoint: str) -> Response:
        reply = _receive(purses[0], endpoint)
        return Response(reply.body, status=reply.status, content_type=reply.content_type)

    with (
        running(create_gateway, data_dir) as gateway,
        serving(inbox) as url,
        pytest.MonkeyPatch.context() as monkeypatch,
    ):
        settings = settings_of(gateway, url, monkeypatch)
        channels, hasty = (
            build_channels(
                each,
                load_reasons=load_reasons,
                load_layout=load_bank_layout,
                now=gateway.clock.now,
            )
            for each in (
                settings,
                settings.model_copy(update={"channel_read_timeout_seconds": HASTY_SECONDS}),
            )
        )
        purses.append(
            Purse(
                gateway=gateway,
                settings=settings,
                channel=channels.debiting["wechat"],
                announcing=channels.announcing["wechat"],
                callbacks=channels.calling_back["wechat"],
                hasty=hasty.debiting["wechat"],
                hasty_announcing=hasty.announcing["wechat"],
            )
        )
        assert channels.mandating["wechat"] is channels.debiting["wechat"]
        yield purses[0]


def _receive(purse: Purse, endpoint: str) -> Any:
    raw = RawCallback(
        endpoint=endpoint,
        content_type=request.content_type or "",
        headers=dict(request.headers),
        body=request.get_data(cache=False),
    )
    try:
        purse.events.append(purse.callbacks.read_callback(raw))
    except CallbackRejected as rejected:
        purse.rejected.append(rejected.reason)
        return purse.callbacks.reply(accepted=False)
    purse.raws.append(raw)
    return purse.callbacks.reply(accepted=True)

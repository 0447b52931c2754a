"""A fund centre before the bank's sandbox, put together as a process does it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, request

from app.domain.ports.callbacks import CallbackRejected, ChannelEvent, RawCallback
from app.domain.ports.debits import DebitRequest
from app.domain.ports.mandates import BankCard, Cycle, MandateRequest, MandateStanding
from app.domain.ports.payments import RefundRequest
from app.payments.registry import build_channels
from config.bank_layout_files import load_bank_layout
from config.reason_files import load_reasons
from config.settings import Settings
from sandbox.bank.server import create_gateway
from tests.payments.sides import HASTY_SECONDS, settings_of
from tests.sandbox.gateways import RunningGateway, copy_credentials, running, serving

NAME, ID_NO = "测试用户", "320722199003076011"

# To read them takes longer than to start the bank.
REASONS, LAYOUTS = cache(load_reasons), cache(load_bank_layout)


@dataclass
class Centre:
    """The product's channel, the bank, and the notices that came."""

    gateway: RunningGateway
    settings: Settings
    channel: Any
    hasty: Any
    """The same channel with little patience, for silences alone."""
    raws: list[RawCallback] = field(default_factory=list)
    events: list[ChannelEvent] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    counter: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def number(self, prefix: str) -> str:
        return f"{prefix}{next(self.counter):031d}"

    def trouble(self, at: str, kind: str, **options: object) -> Any:
        """Set a switch, and return the channel that is to meet the trouble."""
        is_silence = kind.startswith("timeout")
        if is_silence:
            options["seconds"] = 1.0
        self.gateway.control("troubles", at=at, kind=kind, **options)
        return self.hasty if is_silence else self.channel

    # Agreements

    def card(self, phone: str = "", **changes: object) -> BankCard:
        """A card with 5000 yuan, of a person who signs for the first time today."""
        holder = {
            "name": NAME,
            "id_kind": "06",
            # Like no other number here, so that a search for it finds only itself.
            "id_no": f"{73_900_000 + next(self.counter)}",
            "phone": phone or f"138{next(self.counter):08d}",
            "balance_fen": 500000,
            **changes,
        }
        kinds = {"01": "resident_id", "06": "tw_travel_permit"}
        return BankCard(
            card_no=self.gateway.control("cards", **holder)["card_no"],
            holder_name=str(holder["name"]),
            document_kind=kinds[str(holder["id_kind"])],
            document_no=str(holder["id_no"]),
            phone=str(holder["phone"]),
        )

    def request(self, card: BankCard, **changes: object) -> MandateRequest:
        plain = MandateRequest(
            mandate_no=self.number("M"),
            cap_fen=100000,
            period_cap_fen=150000,
            cycle=Cycle.MONTH,
            first_due_on=date(2026, 12, 10),
            valid_from=date(2026, 11, 1),
            valid_to=date(2028, 12, 31),
            display_name="住房公积金缴存",
            card=card,
        )
        return replace(plain, **changes)

    def code_of(self, card: BankCard) -> str:
        return self.gateway.control("sms", phone=card.phone)["messages"][-1]["code"]

    def signed(self, card: BankCard | None = None, **changes: object) -> tuple[str, str]:
        """Sign an agreement; return our number and the bank's."""
        card = card or self.card()
        request = self.request(card, **changes)
        started = self.channel.start_mandate(request)
        assert started.standing is MandateStanding.AWAITING, started
        confirmed = self.channel.confirm_mandate(
            mandate_no=request.mandate_no,
            start_reference=started.start_reference,
            code=self.code_of(card),
        )
        assert confirmed.standing is MandateStanding.ACTIVE, confirmed
        return request.mandate_no, confirmed.reference

    # Money

    def debit(self, reference: str, amount_fen: int = 50000, **changes: object) -> DebitRequest:
        plain = DebitRequest(
            order_no=self.number("D"),
            amount_fen=amount_fen,
            description="2026-11 缴存",
            mandate_reference=reference,
        )
        return replace(plain, **changes)

    def refund_of(self, debit: DebitRequest, amount_fen: int) -> RefundRequest:
        return RefundRequest(
            order_no=debit.order_no,
            refund_no=self.number("R"),
            amount_fen=amount_fen,
            total_fen=debit.amount_fen,
            reason="缴存退款",
        )

    def booked(self, table: str, name: str, number: str) -> list[dict]:
        """What the bank's own books say."""
        return [row for row in self.gateway.look("books")[table] if row[name] == number]

    def events_about(self, number: str) -> list[ChannelEvent]:
        return [
            event
            for event in self.events
            if (event.outcome and event.outcome.number == number)
            or (event.mandate and event.mandate.mandate_no == number)
        ]

    def notice_of(self, number: str) -> ChannelEvent:
        """Wait for the notice about one of our numbers."""
        self.gateway.until(lambda _: bool(self.events_about(number)))
        [event] = self.events_about(number)
        return event


def utc(beijing: str) -> datetime:
    """Return the instant of a time in the bank's books."""
    return datetime.fromisoformat(f"{beijing}+08:00").astimezone(UTC)


@contextmanager
def open_centre(data_dir: Path, issued: Path, **environment: str) -> Iterator[Centre]:
    """Run the bank, and our address that reads its notices."""
    copy_credentials(issued, data_dir)
    inbox, centres = Flask("inbox"), list[Centre]()

    @inbox.post("/callbacks/bank/<endpoint>")
    def take(endpoint: str) -> Response:
        reply = _receive(centres[0], endpoint)
        return Response(reply.body, status=reply.status, content_type=reply.content_type)

    with (
        running(create_gateway, data_dir) as gateway,
        serving(inbox) as url,
        pytest.MonkeyPatch.context() as monkeypatch,
    ):
        bank = {
            **gateway.credentials.bank,
            "LIANJIAO_BANK_GATEWAY_URL": f"{gateway.url}gateway/",
            "LIANJIAO_BANK_SFTP_HOST": "127.0.0.1",
            "LIANJIAO_BANK_SFTP_PORT": str(gateway.control("files/port")["port"]),
        }
        for name, value in {**bank, **environment}.items():
            monkeypatch.setenv(name, value)
        settings = settings_of(gateway, url, monkeypatch)
        hasty = settings.model_copy(update={"channel_read_timeout_seconds": HASTY_SECONDS})
        now = gateway.clock.now
        centres.append(
            Centre(
                gateway=gateway,
                settings=settings,
                channel=build_channels(
                    settings, load_reasons=REASONS, load_layout=LAYOUTS, now=now
                ).debiting["bank"],
                hasty=build_channels(
                    hasty, load_reasons=REASONS, load_layout=LAYOUTS, now=now
                ).debiting["bank"],
            )
        )
        yield centres[0]


def _receive(centre: Centre, endpoint: str) -> Any:
    raw = RawCallback(
        endpoint=endpoint,
        content_type=request.content_type or "",
        headers=dict(request.headers),
        body=request.get_data(cache=False),
    )
    try:
        centre.events.append(centre.channel.read_callback(raw))
    except CallbackRejected as rejected:
        centre.rejected.append(rejected.reason)
        return centre.channel.reply(accepted=False)
    centre.raws.append(raw)
    return centre.channel.reply(accepted=True)

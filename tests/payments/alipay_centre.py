"""A fund centre with a product for debits before Alipay's sandbox, put together as a process is."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask, Response, request

from app.domain.calendar import business_day
from app.domain.ports import Channels
from app.domain.ports.callbacks import CallbackRejected, ChannelEvent, RawCallback
from app.domain.ports.debits import DebitRequest
from app.domain.ports.mandates import Cycle, MandateRequest, MandateStanding
from app.domain.ports.outcomes import Outcome
from app.payments.registry import build_channels
from config.bank_layout_files import load_bank_layout
from config.reason_files import load_reasons
from sandbox.alipay.accounts import Rules
from sandbox.alipay.server import create_gateway
from tests.payments.sides import BUSY, HASTY_SECONDS, SILENCES, settings_of
from tests.sandbox.gateways import RunningGateway, running, serving

BALANCE_FEN = 1_000_000
CAPS = {"merchant_deduct": 100_000, "cycle_pay": 10_000}


@dataclass
class Centre:
    """The product's channel, Alipay, one person with a wallet, and the notices that came."""

    product: str
    gateway: RunningGateway
    channels: Channels
    hasty: Any
    """The same channel with little patience, for silences alone."""
    payer: str
    url: str
    events: list[tuple[str, ChannelEvent]] = field(default_factory=list)
    """Each with the endpoint that it came to."""
    rejected: list[str] = field(default_factory=list)
    counter: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def channel(self) -> Any:
        return self.channels.debiting["alipay"]

    def number(self, prefix: str) -> str:
        return f"{prefix}{next(self.counter):031d}"

    def forget(self) -> None:
        """Leave nothing of one test to the next."""
        troubles = f"{self.gateway.url}_control/troubles"
        requests.delete(troubles, timeout=10).raise_for_status()
        self.gateway.control("payers/change", payer=self.payer, balance_fen=BALANCE_FEN)
        self.gateway.control("merchant/address", url=f"{self.url}callbacks/alipay/gateway")
        self.events.clear()
        self.rejected.clear()

    def trouble(self, at: str, kind: str, **options: object) -> Any:
        """Set a switch, and return the channel that is to meet the trouble."""
        if kind in {"error", "error_after"}:
            options = {"code": BUSY["alipay"], **options}
        if kind in SILENCES:
            options["seconds"] = 1.0
        self.gateway.control("troubles", at=at, kind=kind, **options)
        return self.hasty if kind in SILENCES else self.channel

    # Agreements

    def request(self, **changes: object) -> MandateRequest:
        today: date = business_day(self.gateway.clock.now())
        plain = MandateRequest(
            mandate_no=self.number("M"),
            cap_fen=CAPS[self.product],
            period_cap_fen=CAPS[self.product],
            cycle=Cycle.MONTH,
            first_due_on=today,
            valid_from=today,
            valid_to=today + timedelta(days=730),
            display_name="公积金账户尾号1234",
            payer_ref=self.payer,
        )
        return replace(plain, **changes)

    def open_page(self, request: MandateRequest, **given: object) -> dict:
        """Let a person open the signing page in the wallet."""
        phone = self.channel.signing_action(request)
        asked = {"payer": self.payer, **phone, **given}
        return self.gateway.try_control("agreements/sign", **asked)

    def signed(self, **changes: object) -> tuple[str, str]:
        """Sign an agreement; return our number and Alipay's."""
        request = self.request(**changes)
        started = self.channel.start_mandate(request)
        assert started.standing is MandateStanding.AWAITING, started
        page = self.open_page(request)
        assert page.get("resultStatus") == "7000", page
        return request.mandate_no, page["agreement_no"]

    def query(self, number: str, reference: str | None = None) -> Any:
        return self.channel.query_mandate(mandate_no=number, reference=reference)

    def end(self, number: str, reference: str | None = None) -> Any:
        return self.channel.end_mandate(mandate_no=number, reference=reference)

    # Money

    def debit(self, reference: str, amount_fen: int = 10_000, **changes: object) -> DebitRequest:
        plain = DebitRequest(
            order_no=self.number("D"),
            amount_fen=amount_fen,
            description="2026-11 缴存",
            mandate_reference=reference,
        )
        return replace(plain, **changes)

    def balance_fen(self) -> int:
        """What is left in the person's wallet, by Alipay's own books."""
        payers = self.gateway.look("books")["payers"]
        return next(row["balance_fen"] for row in payers if row["payer"] == self.payer)

    # What came back

    def told(self, number: str) -> list[tuple[str, ChannelEvent]]:
        """Return what was told of one of our numbers by now, and where."""
        return [
            (endpoint, event)
            for endpoint, event in self.events
            if (event.outcome and event.outcome.number == number)
            or (event.mandate and event.mandate.mandate_no == number)
        ]

    def until_told(self, number: str, count: int = 1) -> list[tuple[str, ChannelEvent]]:
        """Wait until so much was told of one of our numbers."""
        self.gateway.until(lambda _: len(self.told(number)) >= count)
        assert len(self.told(number)) == count
        return self.told(number)

    def outcome_of(self, number: str) -> Outcome:
        """Wait for what is told of a debit."""
        [(endpoint, event)] = self.until_told(number)
        assert endpoint == "payment"
        assert event.outcome is not None
        return event.outcome


@contextmanager
def open_centre(product: str, data_dir: Path, **rules: object) -> Iterator[Centre]:
    """Run Alipay, and our addresses that read its notices."""
    inbox, centres = Flask("inbox"), list[Centre]()

    @inbox.post("/callbacks/alipay/<endpoint>")
    def take(endpoint: str) -> Response:
        reply = _receive(centres[0], endpoint)
        return Response(reply.body, status=reply.status, content_type=reply.content_type)

    with (
        running(partial(create_gateway, rules=Rules(**rules)), data_dir) as gateway,
        serving(inbox) as url,
        pytest.MonkeyPatch.context() as monkeypatch,
    ):
        settings = settings_of(gateway, url, monkeypatch)
        alipay = settings.alipay.model_copy(update={"debit_product": product})
        settings = settings.model_copy(update={"alipay": alipay})
        hasty = settings.model_copy(update={"channel_read_timeout_seconds": HASTY_SECONDS})
        build = partial(
            build_channels,
            load_reasons=load_reasons,
            load_layout=load_bank_layout,
            now=gateway.clock.now,
        )
        centres.append(
            Centre(
                product=product,
                gateway=gateway,
                channels=build(settings),
                hasty=build(hasty).debiting["alipay"],
                payer=gateway.control("payers", balance_fen=BALANCE_FEN)["payer"],
                url=url,
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
    adapter = centre.channels.calling_back["alipay"]
    try:
        centre.events.append((endpoint, adapter.read_callback(raw)))
    except CallbackRejected as rejected:
        centre.rejected.append(rejected.reason)
        return adapter.reply(accepted=False)
    return adapter.reply(accepted=True)

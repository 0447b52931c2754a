"""API v3 by hand: what is sent, and which answers to an announcement may be believed."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from app.domain.ports.debits import DebitNotice
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.payments.reasons import ReasonTable
from app.payments.wechat.announcing import WeChatAnnouncements
from config.reason_files import load_reasons
from tests.payments import wechat_hand as hand
from tests.payments.wire import Answer, Wire, cut_short, hang_up, open_wire, plain, silent

SERIAL = "3775B6A45ACD588826D15E583A95F5DD12345678"
KEY_ID = "PUB_KEY_ID_0114232134912410000000000000"
NOW = str(int(hand.NOW.timestamp()))
NONCE = "fdasflkja484w0000000000000000000"
NOTICE = DebitNotice(
    order_no=hand.ORDER,
    mandate_reference=hand.CONTRACT,
    amount_fen=4500,
    due_on=date(2026, 11, 26),  # NOW is the morning of the 24th
)


@pytest.fixture
def wire() -> Iterator[Wire]:
    with open_wire() as wire:
        yield wire


@pytest.fixture
def make(wire: Wire, issued: Path) -> Callable[..., WeChatAnnouncements]:
    """The channel over the keys of both sides."""

    def build(read_timeout: float = 2.0, **changes: object) -> WeChatAnnouncements:
        keys = {
            "pay_base_url": wire.url,
            "plan_id": hand.PLAN,
            "merchant_serial_no": SERIAL,
            "merchant_private_key_file": issued / "wechat-merchant-private.pem",
            "platform_public_key_id": KEY_ID,
            "platform_public_key_file": issued / "wechat-platform-public.pem",
        }
        return WeChatAnnouncements(
            hand.settings(**{**keys, **changes}),
            callback_base_url="https://fund.example",
            reasons=ReasonTable(load_reasons("wechat"), channel="wechat"),
            connect_timeout=1.0,
            read_timeout=read_timeout,
            now=lambda: hand.NOW,
        )

    return build


@pytest.fixture
def channel(make: Callable[..., WeChatAnnouncements]) -> WeChatAnnouncements:
    return make()


@pytest.fixture
def sealed(issued: Path) -> Callable[..., Answer]:
    """An answer as WeChat signs it, with what is to be changed about it."""

    def build(
        body: bytes = b"",
        status: int = 204,
        *,
        key: str = "wechat-platform-private.pem",
        signed_body: bytes | None = None,
        **changed: str,
    ) -> Answer:
        headers = {
            "Wechatpay-Timestamp": NOW,
            "Wechatpay-Nonce": NONCE,
            "Wechatpay-Serial": KEY_ID,
            **{f"Wechatpay-{name}": text for name, text in changed.items()},
        }
        text = f"{headers['Wechatpay-Timestamp']}\n{headers['Wechatpay-Nonce']}\n".encode()
        content = text + (body if signed_body is None else signed_body) + b"\n"
        private = load_pem_private_key((issued / key).read_bytes(), None)
        signature = private.sign(content, PKCS1v15(), SHA256())
        headers.setdefault("Wechatpay-Signature", base64.b64encode(signature).decode())
        return plain(body, status=status, headers=headers)

    return build


def refusal(code: str) -> bytes:
    return json.dumps({"code": code, "message": "不能办理"}, ensure_ascii=False).encode()


def assert_unknown(outcome: Outcome, code: str, reason: Reason = Reason.BAD_ANSWER) -> None:
    assert (outcome.kind, outcome.reason) == (OutcomeKind.UNKNOWN, reason), outcome
    assert (outcome.number, outcome.raw_code) == (hand.ORDER, code)


def test_the_announcement_as_it_is_sent(
    wire: Wire, channel: WeChatAnnouncements, sealed: Callable[..., Answer], issued: Path
) -> None:
    wire.will(sealed())

    outcomes = [channel.announce_debit(NOTICE) for _ in range(2)]

    assert {(each.kind, each.reason, each.number) for each in outcomes} == {
        (OutcomeKind.ACCEPTED, Reason.OK, hand.ORDER)
    }
    nonces = set()
    for seen in wire.seen:
        assert (seen.method, seen.path) == (
            "POST",
            f"/v3/papay/contracts/{hand.CONTRACT}/notify",
        )
        assert json.loads(seen.body) == {
            "mchid": hand.MERCHANT,
            "appid": hand.APP_ID,
            "deduct_duration": {"count": 3, "unit": "DAY"},
            "estimated_amount": {"amount": 4500, "currency": "CNY"},
        }
        assert seen.headers["Content-Type"] == seen.headers["Accept"] == "application/json"
        scheme, _, rest = seen.headers["Authorization"].partition(" ")
        given = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        assert scheme == "WECHATPAY2-SHA256-RSA2048"
        assert (given["mchid"], given["serial_no"]) == (hand.MERCHANT, SERIAL)
        assert given["timestamp"] == NOW
        text = f"POST\n{seen.path}\n{NOW}\n{given['nonce_str']}\n".encode() + seen.body + b"\n"
        public = load_pem_public_key((issued / "wechat-merchant-public.pem").read_bytes())
        public.verify(base64.b64decode(given["signature"]), text, PKCS1v15(), SHA256())
        nonces.add(given["nonce_str"])
    assert len(nonces) == 2
    assert all(len(nonce) == 32 for nonce in nonces)


def test_the_path_is_signed_as_it_is_sent(
    wire: Wire, make: Callable[..., WeChatAnnouncements], sealed: Callable[..., Answer]
) -> None:
    """Also behind a proxy's prefix, and with a number that would end the path."""
    wire.will(sealed())
    channel = make(pay_base_url=f"{wire.url}wechat/")

    channel.announce_debit(
        DebitNotice(
            order_no=hand.ORDER,
            mandate_reference="../1?a=b#c|d*@",
            amount_fen=1,
            due_on=NOTICE.due_on,
        )
    )

    [seen] = wire.seen
    assert seen.path == "/wechat/v3/papay/contracts/..%2F1%3Fa%3Db%23c%7Cd%2A%40/notify"


FORGERIES: dict[str, tuple[dict[str, object], str]] = {
    "another key": ({"key": "wechat-merchant-private.pem"}, "signature"),
    "another serial": ({"Serial": "PUB_KEY_ID_01"}, "signature"),
    "no signature": ({"Signature": ""}, "signature"),
    "no base64": ({"Signature": "签名".encode().decode("latin-1")}, "signature"),
    "a probe of WeChat's": ({"Signature": "WECHATPAY/SIGNTEST/" + "A" * 325}, "signature"),
    "a body that was not signed": ({"body": b"{}", "signed_body": b""}, "signature"),
    "six minutes old": ({"Timestamp": str(int(NOW) - 301)}, "stale"),
    "from tomorrow": ({"Timestamp": str(int(NOW) + 301)}, "stale"),
    "without a time": ({"Timestamp": ""}, "stale"),
    "with an odd time": ({"Timestamp": "soon"}, "stale"),
}


# There is no body below a 204, whoever claims so.
@pytest.mark.parametrize(
    ("forgery", "status"),
    [
        (forgery, status)
        for forgery in FORGERIES
        for status in (204, 400, 404)
        if not (status == 204 and "signed_body" in FORGERIES[forgery][0])
    ],
)
def test_an_answer_that_is_not_proven_says_nothing(
    wire: Wire,
    channel: WeChatAnnouncements,
    sealed: Callable[..., Answer],
    forgery: str,
    status: int,
) -> None:
    options, code = FORGERIES[forgery]
    body = b"" if status == 204 else refusal("NOT_FOUND")
    wire.will(sealed(**{"body": body, "status": status, **options}))

    assert_unknown(channel.announce_debit(NOTICE), code)


@pytest.mark.parametrize("age", [-300, 300])
def test_five_minutes_are_allowed(
    wire: Wire, channel: WeChatAnnouncements, sealed: Callable[..., Answer], age: int
) -> None:
    wire.will(sealed(Timestamp=str(int(NOW) + age)))

    assert channel.announce_debit(NOTICE).kind is OutcomeKind.ACCEPTED


@pytest.mark.parametrize("status", [200, 201, 202, 301, 302, 307, 405, 418, 502])
def test_other_statuses_say_nothing(
    wire: Wire, channel: WeChatAnnouncements, sealed: Callable[..., Answer], status: int
) -> None:
    wire.will(sealed(refusal("NOT_FOUND"), status))

    assert_unknown(channel.announce_debit(NOTICE), f"HTTP {status}")


@pytest.mark.parametrize(
    ("status", "code", "kind", "reason"),
    [
        (404, "NOT_FOUND", OutcomeKind.FAILED, Reason.NO_MANDATE),
        (404, "RESOURCE_NOT_EXISTS", OutcomeKind.FAILED, Reason.NO_MANDATE),
        (400, "PARAM_ERROR", OutcomeKind.FAILED, Reason.OUR_FAULT),
        (403, "NO_AUTH", OutcomeKind.FAILED, Reason.OUR_FAULT),
        (400, "INVALID_REQUEST", OutcomeKind.UNKNOWN, Reason.OUR_FAULT),
        (401, "SIGN_ERROR", OutcomeKind.UNKNOWN, Reason.OUR_FAULT),
        (429, "RATELIMIT_EXCEEDED", OutcomeKind.UNKNOWN, Reason.BUSY),
        (500, "SYSTEM_ERROR", OutcomeKind.UNKNOWN, Reason.BUSY),
        (400, "NEVER_HEARD_OF", OutcomeKind.UNKNOWN, Reason.UNLISTED),
        (400, "", OutcomeKind.UNKNOWN, Reason.UNLISTED),
    ],
)
def test_signed_refusals(
    wire: Wire,
    channel: WeChatAnnouncements,
    sealed: Callable[..., Answer],
    status: int,
    code: str,
    kind: OutcomeKind,
    reason: Reason,
) -> None:
    wire.will(sealed(refusal(code), status))

    outcome = channel.announce_debit(NOTICE)

    assert (outcome.kind, outcome.reason, outcome.raw_code) == (kind, reason, code)
    assert (outcome.number, outcome.raw_message) == (hand.ORDER, "不能办理")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"<html></html>",
        b"\xff",
        b'{"message": "x"}',
        b'{"code": 404}',
        b'{"code": "NOT_FOUND", "message": null}',
        b"[" * 30_000,
        refusal("NOT_FOUND")[:-2],
    ],
)
def test_a_refusal_that_cannot_be_read_says_nothing(
    wire: Wire, channel: WeChatAnnouncements, sealed: Callable[..., Answer], body: bytes
) -> None:
    wire.will(sealed(body, 404))

    assert_unknown(channel.announce_debit(NOTICE), "unreadable")


def test_silence_and_broken_connections_are_unknown(
    wire: Wire, make: Callable[..., WeChatAnnouncements]
) -> None:
    hasty = make(read_timeout=0.2)
    for answer in (silent(1), hang_up, cut_short(b"x")):
        wire.will(answer)
        outcome = hasty.announce_debit(NOTICE)
        assert outcome.kind is OutcomeKind.UNKNOWN
    assert len(wire.seen) == 3


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"platform_public_key_file": "wechat-merchant-public.pem"}, "our own key"),
        ({"platform_public_key_file": "nowhere.pem"}, "no PEM key file"),
        ({"merchant_private_key_file": "wechat-merchant-public.pem"}, "no private key"),
        ({"merchant_serial_no": '1",mchid="2'}, "serial number"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    make: Callable[..., WeChatAnnouncements], issued: Path, changes: dict[str, str], told: str
) -> None:
    files = {
        name: issued / value if name.endswith("_file") else value for name, value in changes.items()
    }
    with pytest.raises(ValueError, match=told):
        make(**files)


def test_the_hour_is_that_of_beijing(
    wire: Wire, channel: WeChatAnnouncements, monkeypatch: pytest.MonkeyPatch
) -> None:
    """23:30 UTC is 07:30 of the next day there."""
    monkeypatch.setattr(channel, "_now", lambda: datetime(2026, 11, 23, 22, 59, tzinfo=UTC))
    night = channel.announce_debit(NOTICE)
    monkeypatch.setattr(channel, "_now", lambda: datetime(2026, 11, 23, 23, 0, tzinfo=UTC))
    wire.will(hang_up)
    morning = channel.announce_debit(NOTICE)

    assert (night.kind, night.reason) == (OutcomeKind.FAILED, Reason.NOT_SUPPORTED)
    assert morning.kind is OutcomeKind.UNKNOWN
    assert len(wire.seen) == 1

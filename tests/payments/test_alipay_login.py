"""Alipay log-in: a code for an open_id, and no token left behind."""

from __future__ import annotations

import gc
import json
import logging
import traceback
from collections.abc import Iterator

import pytest

from app.connectors.logins.alipay import AlipayLogin
from app.domain.errors import ChannelTrouble
from app.domain.ports.logins import LoginRefused
from tests.payments import alipay_hand as hand
from tests.payments.wire import (
    Answer,
    Wire,
    cut_short,
    dripping,
    hang_up,
    open_wire,
    plain,
    silent,
)

CODE = "4b203fe6c11548bcabd8da5bb087a83b"
TOKEN = "authbseB59387397016243c2a8170ae58f0baF48"
REFRESH = "authbseB86e7da69a50646e18c38ea141ad3bC48"
NODE = "alipay_system_oauth_token_response"
ERROR = "error_response"


def told(**fields: object) -> dict[str, object]:
    """A success has no code."""
    return {
        "access_token": TOKEN,
        "auth_start": "2026-11-24 10:00:00",
        "expires_in": 1296000,
        "open_id": hand.OPEN_ID,
        "re_expires_in": 2592000,
        "refresh_token": REFRESH,
        **fields,
    }


GOOD = hand.answer(NODE, told())


@pytest.fixture
def wire() -> Iterator[Wire]:
    with open_wire() as wire:
        wire.will(plain(GOOD))
        yield wire


def login(url: str, *, read_timeout: float = 2.0) -> AlipayLogin:
    return AlipayLogin(
        hand.settings(url), now=lambda: hand.NOW, connect_timeout=1.0, read_timeout=read_timeout
    )


def test_a_code_is_exchanged_for_an_open_id(wire: Wire) -> None:
    assert login(wire.url).subject_of(CODE) == hand.OPEN_ID

    [request] = wire.seen
    # The code is in no address: addresses are written to logs on the way.
    assert (request.method, request.path) == ("POST", "/gateway.do?charset=utf-8")
    assert hand.read_sent(request.body) == {
        "app_id": hand.APP_ID,
        "method": "alipay.system.oauth.token",
        "charset": "utf-8",
        "sign_type": "RSA2",
        "timestamp": "2026-11-24 10:00:00",
        "version": "1.0",
        "biz_content": "{}",
        "grant_type": "authorization_code",
        "code": CODE,
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"open_id": None, "user_id": "2088102146225135"},
        {"open_id": "", "user_id": "2088102146225135"},
        {"open_id": None, "user_id": "2088102146225135", "alipay_user_id": "2088001780561223"},
    ],
)
def test_an_old_application_has_user_ids(wire: Wire, fields: dict[str, object]) -> None:
    wire.will(plain(hand.answer(NODE, told(**fields))))

    assert login(wire.url).subject_of(CODE) == "2088102146225135"


def test_the_open_id_goes_first(wire: Wire) -> None:
    wire.will(plain(hand.answer(NODE, told(user_id="2088102146225135"))))

    assert login(wire.url).subject_of(CODE) == hand.OPEN_ID


@pytest.mark.parametrize("name", [NODE, ERROR])
@pytest.mark.parametrize("is_signed", [True, False])
def test_a_bad_or_used_code_is_refused(wire: Wire, name: str, is_signed: bool) -> None:
    """Alipay need not sign this; to believe it costs no more than another log-in."""
    for code in ("40002", "40004"):
        text = hand.text_of(hand.refusal("isv.code-invalid", code))
        wire.will(plain(hand.envelope(name, text, hand.sign(text.encode()) if is_signed else None)))

        with pytest.raises(LoginRefused):
            login(wire.url).subject_of(CODE)


@pytest.mark.parametrize("code", ["", " ", "a b", "码", "x" * 257, "a\nb"])
def test_what_cannot_be_a_code_is_refused_without_asking(wire: Wire, code: str) -> None:
    with pytest.raises(LoginRefused):
        login(wire.url).subject_of(code)

    assert wire.seen == []


def as_error(sub_code: str, code: str = "40002") -> Answer:
    return plain(hand.answer(ERROR, hand.refusal(sub_code, code)))


ODD: dict[str, Answer] = {
    "empty": plain(""),
    "html": plain("<html>502</html>"),
    "a list": plain("[]"),
    "unsigned": plain(hand.envelope(NODE, hand.text_of(told()), None)),
    "another key": plain(
        hand.envelope(
            NODE,
            hand.text_of(told()),
            hand.sign(hand.text_of(told()).encode(), hand.another_key()),
        )
    ),
    "changed": plain(GOOD.replace(hand.OPEN_ID.encode(), b"0" * 47)),
    "a node of another call": plain(hand.answer("alipay_user_info_share_response", told())),
    "as an error": plain(hand.answer(ERROR, told())),
    "no open_id": plain(hand.answer(NODE, told(open_id=None))),
    "a number for open_id": plain(hand.answer(NODE, told(open_id=1))),
    "an odd open_id": plain(hand.answer(NODE, told(open_id="0 or 1=1"))),
    "a long open_id": plain(hand.answer(NODE, told(open_id="0" * 129))),
    "null for a code": plain(hand.answer(NODE, told(code=None))),
    "a code that refuses": plain(hand.answer(NODE, told(code="40004"))),
    "wrong grant": as_error("isv.grant-type-invalid"),
    "wrong app": as_error("isv.invalid-app-id"),
    "wrong signature": as_error("isv.invalid-signature"),
    "busy": as_error("isp.unknow-error", "20000"),
    "no reason": as_error(""),
    "500": plain(GOOD, status=500),
    "redirect": plain("", status=302, headers={"Location": "http://127.0.0.1:1/"}),
    "compressed": plain(GOOD, headers={"Content-Encoding": "gzip"}),
    "hang up": hang_up,
    "cut short": cut_short(GOOD),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_answer_is_trouble(wire: Wire, name: str) -> None:
    wire.will(ODD[name])

    with pytest.raises(ChannelTrouble):
        login(wire.url).subject_of(CODE)

    assert len(wire.seen) == 1


@pytest.mark.parametrize(
    ("answer", "told_of"), [(silent(2), "ReadTimeout"), (dripping(GOOD, pause=0.05), "too slow")]
)
def test_a_slow_answer_ends_by_our_own_clock(
    wire: Wire, caplog: pytest.LogCaptureFixture, answer: Answer, told_of: str
) -> None:
    wire.will(answer)

    with pytest.raises(ChannelTrouble):
        login(wire.url, read_timeout=0.3).subject_of(CODE)

    assert told_of in caplog.text


def test_proxies_of_the_environment_are_not_used(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/")

    assert login(wire.url).subject_of(CODE) == hand.OPEN_ID


def test_no_secret_in_any_log_or_traceback(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    def fail(url: str, read_timeout: float = 1.0) -> None:
        with pytest.raises(ChannelTrouble) as caught:
            login(url, read_timeout=read_timeout).subject_of(CODE)
        seen.append("".join(traceback.format_exception(caught.value)))
        # Nor for a collector of errors that walks the hidden chain.
        assert caught.value.__context__ is None
        assert caught.value.__cause__ is None

    seen: list[str] = []
    refused = json.dumps({ERROR: hand.refusal("isv.invalid-app-id", "40002", sub_msg=CODE)})
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "urllib3"):
        assert login(wire.url).subject_of(CODE) == hand.OPEN_ID
        fail("http://127.0.0.1:1/")
        for answer in (silent(1), hang_up, plain("no"), plain(GOOD, status=500), plain(refused)):
            wire.will(answer)
            fail(wire.url, read_timeout=0.2)

    everything = "\n".join([caplog.text, *seen])
    for secret in (TOKEN, REFRESH, CODE, hand.OPEN_ID):
        assert secret not in everything


def test_no_token_is_kept(wire: Wire) -> None:
    platform = login(wire.url)
    platform.subject_of(CODE)

    for secret, kept in ((hand.APP_ID, True), (TOKEN, False), (REFRESH, False), (CODE, False)):
        assert holds(platform, secret) is kept


def holds(start: object, secret: str) -> bool:
    """Whether anything that `start` reaches carries the secret."""
    pending, seen = [start], set[int]()
    while pending:
        value = pending.pop()
        if id(value) in seen or isinstance(value, type) or callable(value):
            continue
        seen.add(id(value))
        if isinstance(value, str) and secret in value:
            return True
        pending.extend(gc.get_referents(value))
    return False


@pytest.mark.parametrize(
    "changes",
    [
        {"app_id": ""},
        {"gateway_url": "openapi.alipay.com"},
        {"app_private_key_file": "/nowhere/app.pem"},
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        AlipayLogin(
            hand.settings(**changes), now=lambda: hand.NOW, connect_timeout=1.0, read_timeout=1.0
        )


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan")])
def test_a_timeout_must_end(seconds: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        login("http://127.0.0.1:1/", read_timeout=seconds)

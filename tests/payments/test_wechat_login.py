"""WeChat log-in: a code for an openid, and no secret left behind."""

from __future__ import annotations

import gc
import json
import logging
import time
import traceback
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from app.connectors.logins.wechat import WeChatLogin
from app.domain.errors import ChannelTrouble
from app.domain.ports.logins import LoginRefused
from tests.payments import wechat_hand as hand
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

CODE = "0a3Xyz000AbCdEf1GhI200JkLm3XyzQ-"
OPENID = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"
SESSION_KEY = "tiihtNczf5v6AKRyjwEUhQ=="
GOOD = json.dumps({"openid": OPENID, "session_key": SESSION_KEY, "unionid": "u1"})


@pytest.fixture
def wire() -> Iterator[Wire]:
    with open_wire() as wire:
        wire.will(plain(GOOD))
        yield wire


def login(url: str, *, read_timeout: float = 2.0) -> WeChatLogin:
    return WeChatLogin(hand.settings(url), connect_timeout=1.0, read_timeout=read_timeout)


def test_a_code_is_exchanged_for_an_openid(wire: Wire) -> None:
    assert login(wire.url).subject_of(CODE) == OPENID

    [request] = wire.seen
    address = urlsplit(request.path)
    # One request: no access token was fetched, and none was sent.
    assert (request.method, address.path) == ("GET", "/sns/jscode2session")
    assert parse_qs(address.query) == {
        "appid": [hand.APP_ID],
        "secret": [hand.APP_SECRET],
        "js_code": [CODE],
        "grant_type": ["authorization_code"],
    }


def test_errcode_zero_is_no_error(wire: Wire) -> None:
    wire.will(plain(json.dumps({"errcode": 0, "errmsg": "ok", "openid": OPENID})))

    assert login(wire.url).subject_of(CODE) == OPENID


@pytest.mark.parametrize("code", [40029, 40163, 41008, 40226])
def test_a_bad_or_used_code_is_refused(wire: Wire, code: int) -> None:
    wire.will(plain(json.dumps({"errcode": code, "errmsg": "invalid code"})))

    with pytest.raises(LoginRefused):
        login(wire.url).subject_of(CODE)


@pytest.mark.parametrize("code", ["", " ", "a b", "码", "x" * 257, "a\nb"])
def test_what_cannot_be_a_code_is_refused_without_asking(wire: Wire, code: str) -> None:
    with pytest.raises(LoginRefused):
        login(wire.url).subject_of(code)

    assert wire.seen == []


def test_too_often_is_trouble_with_words_for_the_person(wire: Wire) -> None:
    wire.will(plain(json.dumps({"errcode": 45011, "errmsg": "too often"})))

    with pytest.raises(ChannelTrouble, match="频繁"):
        login(wire.url).subject_of(CODE)


@pytest.mark.parametrize("code", [-1, 40013, 40125, 40001, 40014, 42001, 45009, 99999])
def test_other_errors_are_trouble_and_fetch_no_token(wire: Wire, code: int) -> None:
    wire.will(plain(json.dumps({"errcode": code, "errmsg": "some error"})))

    with pytest.raises(ChannelTrouble):
        login(wire.url).subject_of(CODE)

    # 40001, 40014 and 42001 make wechatpy fetch a token and ask again.
    assert len(wire.seen) == 1


ODD: dict[str, Answer] = {
    "empty": plain(""),
    "html": plain("<html>502</html>"),
    "a list": plain("[]"),
    "deep": plain("[" * 10_000),
    "no openid": plain(json.dumps({"session_key": SESSION_KEY})),
    "an empty openid": plain(json.dumps({"openid": ""})),
    "a number for openid": plain(json.dumps({"openid": 1})),
    "an odd openid": plain(json.dumps({"openid": "o]]>"})),
    "errcode as text": plain(json.dumps({"errcode": "0", "openid": OPENID})),
    "errcode true": plain(json.dumps({"errcode": True, "openid": OPENID})),
    "too long": plain(json.dumps({"openid": OPENID, "padding": "x" * 20_000})),
    "bad UTF-8": plain(b'{"openid": "\xff"}'),
    "500": plain(GOOD, status=500),
    "redirect": plain("", status=302, headers={"Location": "http://127.0.0.1:1/"}),
    "compressed": plain(GOOD, headers={"Content-Encoding": "gzip"}),
    "hang up": hang_up,
    "cut short": cut_short(GOOD.encode()),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_answer_is_trouble(wire: Wire, name: str) -> None:
    wire.will(ODD[name])

    with pytest.raises(ChannelTrouble):
        login(wire.url).subject_of(CODE)

    assert len(wire.seen) == 1


@pytest.mark.parametrize("answer", [silent(3), dripping(GOOD.encode(), pause=0.05)])
def test_a_slow_answer_ends_in_time(wire: Wire, answer: Answer) -> None:
    wire.will(answer)
    started = time.monotonic()

    with pytest.raises(ChannelTrouble):
        login(wire.url, read_timeout=0.3).subject_of(CODE)

    assert time.monotonic() - started < 1.5


def test_proxies_of_the_environment_are_not_used(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/")

    assert login(wire.url).subject_of(CODE) == OPENID


def test_no_secret_in_any_log_or_traceback(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    def fail(url: str, read_timeout: float = 1.0) -> None:
        with pytest.raises(ChannelTrouble) as caught:
            login(url, read_timeout=read_timeout).subject_of(CODE)
        told.append("".join(traceback.format_exception(caught.value)))
        # Nor for a collector of errors that walks the hidden chain.
        assert caught.value.__context__ is None
        assert caught.value.__cause__ is None

    told: list[str] = []
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "urllib3"):
        assert login(wire.url).subject_of(CODE) == OPENID
        fail("http://127.0.0.1:1/")
        for answer in (silent(1), hang_up, plain("no"), plain(GOOD, status=500)):
            wire.will(answer)
            fail(wire.url, read_timeout=0.2)

    everything = "\n".join([caplog.text, *told])
    for secret in (hand.APP_SECRET, SESSION_KEY, CODE, OPENID):
        assert secret not in everything


def test_the_session_key_is_not_kept(wire: Wire) -> None:
    platform = login(wire.url)
    platform.subject_of(CODE)

    for secret, kept in ((hand.APP_SECRET, True), (SESSION_KEY, False), (OPENID, False)):
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
    "changes", [{"app_secret": ""}, {"app_id": ""}, {"api_base_url": "api.weixin.qq.com"}]
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        WeChatLogin(hand.settings(**changes), connect_timeout=1.0, read_timeout=1.0)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan")])
def test_a_timeout_must_end(seconds: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        WeChatLogin(hand.settings(), connect_timeout=1.0, read_timeout=seconds)

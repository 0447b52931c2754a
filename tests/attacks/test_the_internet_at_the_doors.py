"""Anybody on the internet, with bodies, paths and headers that no channel and no phone sends."""

from __future__ import annotations

import gzip
import json
import socket
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from apiflask import APIFlask

from app.domain.ports import Ports
from app.domain.staff.models import Role
from app.metrics import REQUEST_SECONDS
from tests.attacks.siege import REFUSED, Siege, assert_refused
from tests.attacks.witness import nothing_outside
from tests.payments import alipay_hand, wechat_hand
from tests.payments.test_wechat_callbacks import HOSTILE
from tests.payments.wire import open_wire, plain
from tests.routes.callers import API, on_sqlite_only

pytestmark = on_sqlite_only

MEGABYTE = 1024 * 1024


# -- XML and forms that want more than to be read ---------------------------------------------


@pytest.mark.parametrize("endpoint", ["payment", "refund"])
def test_hostile_xml_is_turned_away_by_itself(siege: Siege, endpoint: str) -> None:
    """No file, no address, no memory: an entity, a bomb or a depth is refused as it stands."""
    siege.deliver("wechat", b"", endpoint=endpoint)
    for name, body in HOSTILE.items():
        siege.witness.look()
        with nothing_outside():
            tracemalloc.start()
            answer = siege.deliver("wechat", body, endpoint=endpoint)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert peak < MEGABYTE, name
        if len(body) > 64 * 1024:
            assert (answer.status_code, answer.json["code"]) == (413, "too_large"), name
        else:
            assert_refused(answer, siege, "wechat", endpoint=endpoint, reason="malformed")


ALIPAY = alipay_hand.signed(alipay_hand.notice())
HOSTILE_FORMS = {
    "empty": b"",
    "a field twice": ALIPAY + b"&total_amount=0.01",
    "a field twice, the name escaped": ALIPAY + b"&total%5Famount=0.01",
    "200 fields and more": b"&".join(b"a%d=1" % number for number in range(20_000))[: 60 * 1024],
    "JSON": b'{"trade_status":"TRADE_SUCCESS"}',
    "XML": wechat_hand.signed(wechat_hand.notice()),
    "broken escape": ALIPAY.replace(b"%", b"%%", 1),
    "UTF-7": ALIPAY.replace(b"charset=utf-8", b"charset=utf-7"),
    "UTF-16": ALIPAY.decode().encode("utf-16"),
    "raw bytes": ALIPAY + b"&x=\xff\x00",
    "semicolons": ALIPAY.replace(b"&", b";"),
}

# Forms by their shape, but not what Alipay signed.
_READABLE = {"UTF-7", "broken escape", "semicolons"}


def test_hostile_forms_are_turned_away_by_themselves(siege: Siege) -> None:
    siege.deliver("alipay", b"")
    for name, body in HOSTILE_FORMS.items():
        siege.witness.look()
        with nothing_outside():
            tracemalloc.start()
            answer = siege.deliver("alipay", body)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert peak < MEGABYTE, name
        [told] = siege.witness.events()
        reason = "signature" if name in _READABLE else "malformed"
        assert told["reason"] == reason, name
        assert_refused(answer, siege, "alipay", reason=reason)


@pytest.mark.parametrize("channel", ["wechat", "alipay"])
def test_ten_megabytes_are_not_read(siege: Siege, channel: str) -> None:
    siege.order(channel)

    class Unread:
        def read(self, *_: object) -> bytes:
            raise AssertionError("the body was read")

        readline = read

    siege.witness.look()
    answer = siege.deliver(
        channel,
        b"",
        environ_overrides={"wsgi.input": Unread(), "CONTENT_LENGTH": str(10 * MEGABYTE)},
    )
    assert (answer.status_code, answer.json["code"]) == (413, "too_large")
    assert siege.witness.changes() == {}
    assert siege.witness.requests() == [("/callbacks/<channel>/<endpoint>", 413, "too_large")]


@pytest.mark.parametrize("channel", ["wechat", "alipay"])
def test_a_packed_body_is_not_unpacked(siege: Siege, channel: str) -> None:
    """A bomb of 30 MB in 30 kB, and a genuine notice that comes packed."""
    order_no = siege.order(channel)
    bomb = gzip.compress(b"<xml>" + b" " * (30 * MEGABYTE) + b"</xml>")
    assert len(bomb) < 64 * 1024
    for body in (bomb, gzip.compress(siege.notice(channel, order_no))):
        siege.witness.look()
        tracemalloc.start()
        answer = siege.deliver(channel, body, headers={"Content-Encoding": "gzip"})
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < MEGABYTE
        assert_refused(answer, siege, channel, reason="malformed")


@pytest.mark.parametrize("name", ["Wechatpay-Signature", "Wechatpay-Serial"])
def test_a_notice_of_an_interface_that_we_do_not_speak(siege: Siege, name: str) -> None:
    """API v3: JSON, its signature in a header. No probe and no notice of it is answered well."""
    siege.order()
    body = json.dumps({"event_type": "TRANSACTION.SUCCESS", "resource": {"ciphertext": "AAAA"}})
    siege.witness.look()
    answer = siege.deliver(
        "wechat",
        body.encode(),
        content_type="application/json",
        headers={name: "WECHATPAY/SIGNTEST/AAAA", "Wechatpay-Timestamp": "1795485600"},
    )
    assert_refused(answer, siege, "wechat", reason="malformed")


# -- What lands in the log --------------------------------------------------------------------

# A line of one's own, a cursor moved, text turned around, a line break that only some know.
ODD_TEXT = 'x\r\n{"event":"callback applied"}\x1b[2K\x9b2K\x85\u2028\u2029\u202e\u2066\ufeff'


def test_nothing_in_a_path_writes_a_line_of_its_own(siege: Siege) -> None:
    siege.order()
    siege.witness.look()
    lines = len(siege.witness.log_lines())
    environ = {"PATH_INFO": f"/callbacks/wechat/{ODD_TEXT}".encode().decode("latin-1")}
    answer = siege.doors.client.post("/", data=b"x", environ_overrides=environ)
    assert (answer.status_code, answer.text) == (200, REFUSED["wechat"])
    assert siege.witness.changes() == {}
    [told] = siege.witness.events()
    assert (told["event"], told["endpoint"]) == ("callback rejected", ODD_TEXT)
    written = siege.witness.log_lines()[lines:]
    assert len(written) == 2
    for line in written:
        assert line.isprintable(), ascii(line)


@pytest.mark.parametrize("name", ["User-Agent", "Referer", "X-Request-Id", "X-Forwarded-For"])
def test_nothing_in_a_header_is_written(siege: Siege, name: str) -> None:
    siege.witness.look()
    key = "HTTP_" + name.upper().replace("-", "_")
    environ = {key: ODD_TEXT.encode().decode("latin-1")}
    answer = siege.doors.client.get(f"{API}/account", environ_overrides=environ)
    assert (answer.status_code, answer.json["code"]) == (401, "not_authenticated")
    assert siege.witness.changes() == {}
    assert siege.witness.requests() == [(f"{API}/account", 401, "not_authenticated")]
    [line] = siege.witness.log_lines()[-1:]
    assert line.isprintable()
    assert "callback applied" not in line
    assert not any("\r" in value or "\n" in value for _, value in answer.headers)


def test_invented_methods_are_one_method_in_the_log_and_the_metrics(siege: Siege) -> None:
    """A time series for each would fill the memory."""
    siege.witness.look()
    answer = siege.doors.client.open(f"{API}/account", method="INVENTED")
    assert (answer.status_code, answer.json["code"]) == (405, "method_not_allowed")
    [told] = siege.witness.log()
    assert (told["method"], told["status"]) == ("other", 405)
    series = [sample for metric in REQUEST_SECONDS.collect() for sample in metric.samples]
    methods = {sample.labels["method"] for sample in series}
    assert "other" in methods
    assert "INVENTED" not in methods


# -- Paths ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/static/../factory.py",
        "/static/..%2f..%2fwsgi.py",
        "/static/%2e%2e/%2e%2e/config/settings.py",
        "/static/....//....//etc/passwd",
        "/static//etc/passwd",
        "/static/docs/../../factory.py",
        "/static/..\\factory.py",
        "/static/%00",
        "/static/docs",
        "/static/",
    ],
)
def test_no_path_leads_out_of_the_static_files(siege: Siege, path: str) -> None:
    siege.witness.look()
    answer = siege.doors.client.get(path)
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")
    assert siege.witness.changes() == {}
    [(_, status, refused)] = siege.witness.requests()
    assert (status, refused) == (404, "not_found")


@pytest.mark.parametrize(
    "path",
    [
        "/CALLBACKS/wechat/payment",
        "/callbacks/WeChat/payment",
        "/callbacks/wechat/payment/",
        "/callbacks//wechat/payment",
        "//callbacks/wechat/payment",
        "/callbacks/wechat/../alipay/payment",
        "/callbacks/wechat%2fpayment",
        "/callbacks/wechat",
        "/callbacks/bank/payment",
        "/callbacks/__class__/payment",
    ],
)
def test_a_notice_is_taken_at_its_own_path_alone(siege: Siege, path: str) -> None:
    body = siege.notice("wechat", siege.order())
    siege.witness.look()
    environ = {"PATH_INFO": path.replace("%2f", "/x/y/")}
    answer = siege.doors.client.post("/", data=body, environ_overrides=environ)
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")
    assert siege.witness.changes() == {}
    [(_, status, refused)] = siege.witness.requests()
    assert (status, refused) == (404, "not_found")


@pytest.mark.parametrize("path", ["//staff/api/v1/refunds", "///staff/api/v1/session", "//docs"])
def test_no_slash_more_goes_round_a_rule_of_the_proxy(siege: Siege, path: str) -> None:
    """The proxy shows `/staff` to the office alone."""
    reviewer = siege.staff(Role.REVIEWER)
    siege.witness.look()
    for method in ("GET", "POST"):
        answer = reviewer.call(method, "/", environ_overrides={"PATH_INFO": path})
        assert (answer.status_code, answer.json["code"]) == (404, "not_found")
    assert siege.witness.changes() == {}
    assert [event["refused"] for event in siege.witness.log()] == ["not_found", "not_found"]


def test_the_method_in_a_header_or_a_field_is_not_the_method(siege: Siege) -> None:
    siege.witness.look()
    answer = siege.doors.client.get(
        "/callbacks/wechat/payment?_method=POST", headers={"X-HTTP-Method-Override": "POST"}
    )
    assert (answer.status_code, answer.json["code"]) == (405, "method_not_allowed")
    assert siege.witness.changes() == {}


# -- Requests made for somebody else ----------------------------------------------------------


@pytest.mark.parametrize("channel", ["wechat", "alipay"])
def test_no_field_of_a_notice_makes_us_ask_anybody(siege: Siege, channel: str) -> None:
    """Addresses in fields, known and unknown, of a genuine notice and of a forged one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/x.dtd"
        fields = {"attach": url, "notify_url": url, "mweb_url": url, "bill_download_url": url}
        genuine = siege.notice(channel, siege.order(channel), **fields)
        forged = siege.notice(channel, "D" + "9" * 31, app_id=url, appid=url)
        with nothing_outside():
            siege.deliver(channel, genuine)
            siege.deliver(channel, forged)
            siege.deliver(channel, genuine, headers={"X-Callback-Url": url, "Host": url})
        listener.settimeout(0)
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize("channel", ["wechat", "alipay"])
def test_no_header_decides_where_notices_are_sent(
    app: APIFlask, siege: Siege, ports: Ports, channel: str
) -> None:
    """The real adapter places the order; what it tells the channel comes from the settings."""
    person = siege.person()
    answers: dict[str, Callable[[], bytes]] = {
        "wechat": lambda: wechat_hand.signed(wechat_hand.refusal("SYSTEMERROR")),
        "alipay": lambda: alipay_hand.answer(
            alipay_hand.CREATE, alipay_hand.refusal("ACQ.SYSTEM_ERROR")
        ),
    }
    hand = {"wechat": wechat_hand, "alipay": alipay_hand}[channel]
    with open_wire() as wire:
        wire.will(plain(answers[channel]()))
        real = {channel: hand.channel(wire.url)}
        app.extensions["lianjiao"] = replace(ports, channels=replace(ports.channels, paying=real))
        answer = person.post(
            f"{API}/deposits",
            json={"channel": channel, "amount_fen": 50_000},
            headers={
                "Host": "evil.example",
                "X-Forwarded-Host": "evil.example",
                "X-Forwarded-Proto": "gopher",
                "Forwarded": "host=evil.example",
                "Origin": "https://evil.example",
            },
        )
        [seen] = wire.seen
    assert answer.status_code == 201
    sent = hand.read_sent(seen.body)
    assert sent["notify_url"] == f"https://fund.example/callbacks/{channel}/payment"
    assert b"evil" not in seen.body
    assert urlsplit(wire.url).port == int(seen.headers["Host"].rpartition(":")[2])

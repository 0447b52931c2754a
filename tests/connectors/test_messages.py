"""Messages through both platforms, tried against the sandbox gateways over real HTTP."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import requests

from app.connectors.messages.registry import build_messengers
from app.connectors.messages.templates import Templates
from app.connectors.messages.wechat import WeChatMessages
from app.domain.outbox.rules import FIELDS_OF, WORDINGS
from app.domain.ports.messages import (
    MessageOutcome,
    MessageReason,
    MessageResult,
    MessageSender,
    MessageTopic,
)
from config.message_template_files import (
    MessageTemplateError,
    TemplateFile,
    load_message_templates,
    parse_message_templates,
)
from config.settings import Settings, WeChatSettings
from tests.payments import wechat_hand
from tests.payments.sides import GATEWAYS, settings_of
from tests.payments.wire import Answer, Wire, cut_short, hang_up, open_wire, plain, silent
from tests.sandbox.gateways import RunningGateway, running

SEND = {
    "wechat": "cgi-bin/message/subscribe/send",
    "alipay": "alipay.open.app.mini.templatemessage.send",
}
TOKEN = "cgi-bin/stable_token"
TEMPLATES = {
    MessageTopic.MANDATE_ACTIVE: "T-mandate-active",
    MessageTopic.MANDATE_ENDED: "T-mandate-ended",
    MessageTopic.DEBIT_FAILED: "T-debit-failed",
}
IDS = ", ".join(f"{topic}:{template}" for topic, template in TEMPLATES.items())
ACTIVE = {"channel": "银行卡（尾号0128）", "cap": "1,500.00", "valid_to": "2031年10月31日"}
SHOWN = {
    "wechat": {
        "thing1": {"value": "银行卡（尾号0128）"},
        "amount2": {"value": "1500.00元"},
        "date3": {"value": "2031年10月31日"},
    },
    "alipay": {
        "keyword1": {"value": "银行卡（尾号0128）"},
        "keyword2": {"value": "1,500.00"},
        "keyword3": {"value": "2031年10月31日"},
    },
}

SENT = MessageOutcome(result=MessageResult.SENT, reason=MessageReason.OK)
NOT_SUBSCRIBED = {"wechat": "43101", "alipay": "USER_NOT_SUBSCRIBE"}


def messengers(settings: Settings, gateway: RunningGateway) -> Mapping[str, MessageSender]:
    return build_messengers(
        settings,
        load_templates=load_message_templates,
        fields_of=FIELDS_OF,
        now=gateway.clock.now,
    )


@dataclass
class Post:
    """One platform, as a process is put together before it, and a person on it."""

    name: str
    gateway: RunningGateway
    settings: Settings
    sender: MessageSender
    person: str

    def consents(self, topic: MessageTopic = MessageTopic.MANDATE_ACTIVE, count: int = 9) -> None:
        self.gateway.control(
            "messages/consent", payer=self.person, template_id=TEMPLATES[topic], count=count
        )

    def send(
        self,
        topic: MessageTopic = MessageTopic.MANDATE_ACTIVE,
        fields: Mapping[str, str] = ACTIVE,
        *,
        to: str = "",
    ) -> MessageOutcome:
        return self.sender.send(recipient=to or self.person, topic=topic, fields=fields)

    def trouble(self, kind: str, *, at: str = "", **options: object) -> None:
        self.gateway.control("troubles", at=at or SEND[self.name], kind=kind, **options)

    def inbox(self) -> list[dict]:
        return list(self.gateway.control("messages/inbox", payer=self.person)["messages"])


@pytest.fixture(scope="module", params=GATEWAYS)
def running_post(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Post]:
    name = request.param
    with (
        running(GATEWAYS[name], tmp_path_factory.mktemp(name)) as gateway,
        pytest.MonkeyPatch.context() as monkeypatch,
    ):
        monkeypatch.setenv("LIANJIAO_WECHAT_MESSAGE_TEMPLATES", IDS)
        monkeypatch.setenv("LIANJIAO_ALIPAY_MESSAGE_TEMPLATES", IDS)
        monkeypatch.setenv("LIANJIAO_CHANNEL_READ_TIMEOUT_SECONDS", "2")
        settings = settings_of(gateway, "https://fund.example", monkeypatch)
        yield Post(name, gateway, settings, messengers(settings, gateway)[name], "")


@pytest.fixture
def post(running_post: Post) -> Post:
    """A fresh person and no trouble left over; the process begins anew."""
    gateway, settings = running_post.gateway, running_post.settings
    requests.delete(f"{gateway.url}_control/troubles", timeout=10).raise_for_status()
    person = gateway.control("payers", balance_fen=0)["payer"]
    sender = messengers(settings, gateway)[running_post.name]
    return replace(running_post, sender=sender, person=person)


on_wechat = pytest.mark.parametrize("running_post", ["wechat"], indirect=True)
"""For what only WeChat has."""


# Both platforms


def test_a_message_reaches_the_phone_under_its_template(post: Post) -> None:
    post.consents()
    assert post.send() == SENT
    [message] = post.inbox()
    assert (message["template_id"], message["page"]) == (
        "T-mandate-active",
        "pages/messages/index",
    )
    assert message["data"] == SHOWN[post.name]


def test_a_person_who_has_not_agreed_refuses_for_good(post: Post) -> None:
    assert post.send() == MessageOutcome(
        result=MessageResult.REFUSED,
        reason=MessageReason.PERSON_REFUSED,
        raw_code=NOT_SUBSCRIBED[post.name],
    )
    assert post.inbox() == []


def test_consent_to_one_topic_is_none_to_another(post: Post) -> None:
    post.consents(MessageTopic.MANDATE_ENDED)
    assert post.send().reason is MessageReason.PERSON_REFUSED


def test_a_topic_without_a_template_is_not_offered_and_logged_once(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    fields = {"period": "2026年12月", "amount": "500.00"}
    for _ in range(3):
        outcome = post.send(MessageTopic.DEBIT_SUCCEEDED, fields)
        assert outcome == MessageOutcome(
            result=MessageResult.REFUSED, reason=MessageReason.NOT_OFFERED
        )
    assert [record.getMessage() for record in caplog.records] == ["message not offered"]


def test_what_a_message_does_not_say_is_blank_on_the_phone(post: Post) -> None:
    post.consents(MessageTopic.DEBIT_FAILED)
    assert post.send(MessageTopic.DEBIT_FAILED, {"reason": "余额不足"}) == SENT
    [message] = post.inbox()
    texts = [entry["value"] for entry in message["data"].values()]
    assert "余额不足" in texts
    assert "无" in texts
    assert "" not in texts


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("timeout_before", MessageReason.NO_ANSWER),
        ("timeout_after", MessageReason.NO_ANSWER),
        ("http_500", MessageReason.BAD_ANSWER),
        ("html", MessageReason.BAD_ANSWER),
        ("redirect", MessageReason.BAD_ANSWER),
        ("empty", MessageReason.BAD_ANSWER),
        ("truncated", MessageReason.BAD_ANSWER),
    ],
)
def test_trouble_on_the_way_is_tried_again(post: Post, kind: str, reason: MessageReason) -> None:
    post.consents()
    seconds = {"seconds": 3.0} if kind.startswith("timeout") else {}
    post.trouble(kind, **seconds)
    outcome = post.send()
    assert (outcome.result, outcome.reason) == (MessageResult.TRY_AGAIN, reason)
    assert post.send() == SENT


@pytest.mark.parametrize(
    ("codes", "reason"),
    [
        ({"wechat": "-1", "alipay": "ACQ.SYSTEM_ERROR"}, MessageReason.BUSY),
        ({"wechat": "45009", "alipay": "ACQ.SYSTEM_ERROR"}, MessageReason.BUSY),
        ({"wechat": "47003", "alipay": "ACQ.INVALID_PARAMETER"}, MessageReason.OUR_FAULT),
        ({"wechat": "99999", "alipay": "SOMETHING_NEW"}, MessageReason.UNLISTED),
    ],
    ids=["busy", "too often", "our fault", "unlisted"],
)
def test_codes_that_are_no_refusal_for_good_are_tried_again(
    post: Post,
    codes: dict[str, str],
    reason: MessageReason,
    caplog: pytest.LogCaptureFixture,
) -> None:
    post.consents()
    code = codes[post.name]
    post.trouble("error", code=code)
    outcome = post.send()
    assert outcome.result is MessageResult.TRY_AGAIN
    assert outcome.reason is reason
    assert outcome.raw_code == code
    unlisted = reason is MessageReason.UNLISTED
    [record] = [each for each in caplog.records if hasattr(each, "raw_code")]
    assert record.getMessage() == ("unlisted code" if unlisted else "message not taken")
    assert post.send() == SENT


def test_nothing_of_the_person_reaches_a_log(post: Post, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "urllib3"):
        post.send()
        post.consents()
        post.send()
        post.trouble("error", code="99999")
        post.send()
        post.trouble("http_500")
        post.send()
    assert any(record.name.startswith("urllib3") for record in caplog.records)
    secret = post.settings.wechat.app_secret.get_secret_value()
    for record in caplog.records:
        if record.name == "werkzeug":  # the gateway's own
            continue
        told = f"{record.getMessage()} {vars(record)}"
        for private in (post.person, secret, "access_token=", "尾号"):
            assert private not in told


# WeChat's token


def tokens(gateway: RunningGateway, settings: Settings, **more: object) -> str:
    """Return the token that all processes share, as another process would ask for it."""
    content = {
        "grant_type": "client_credential",
        "appid": settings.wechat.app_id,
        "secret": settings.wechat.app_secret.get_secret_value(),
        **more,
    }
    return str(
        requests.post(f"{gateway.url}{TOKEN}", json=content, timeout=10).json()["access_token"]
    )


@on_wechat
def test_one_token_serves_many_messages_and_all_processes(post: Post) -> None:
    post.consents()
    post.send()
    # Nobody could get another one now.
    post.trouble("http_500", at=TOKEN, times=0)
    assert post.send() == SENT
    requests.delete(f"{post.gateway.url}_control/troubles", timeout=10)
    other = messengers(post.settings, post.gateway)["wechat"]
    other.send(recipient=post.person, topic=MessageTopic.MANDATE_ACTIVE, fields=ACTIVE)
    assert post.send() == SENT
    assert len(post.inbox()) == 4


@on_wechat
def test_a_token_is_renewed_before_its_end(post: Post) -> None:
    post.consents()
    for _ in range(4):
        assert post.send() == SENT
        post.gateway.control("clock", advance_seconds=4_000)
    assert len(post.inbox()) == 4


@on_wechat
def test_a_token_that_another_process_has_replaced_is_fetched_anew(post: Post) -> None:
    post.consents()
    assert post.send() == SENT
    tokens(post.gateway, post.settings, force_refresh=True)
    # The old one lives on for five minutes; then only the answer tells that it is gone.
    post.gateway.control("clock", advance_seconds=301)
    assert post.send() == SENT
    assert len(post.inbox()) == 2


@on_wechat
def test_a_token_that_is_refused_twice_is_tried_again_later(post: Post) -> None:
    post.consents()
    post.trouble("error", code="42001", times=2)
    outcome = post.send()
    assert (outcome.result, outcome.raw_code) == (MessageResult.TRY_AGAIN, "42001")
    assert post.send() == SENT


@on_wechat
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("-1", MessageReason.BUSY),
        ("45011", MessageReason.BUSY),
        ("40125", MessageReason.OUR_FAULT),
        ("40164", MessageReason.OUR_FAULT),
    ],
)
def test_without_a_token_it_is_tried_again(post: Post, code: str, reason: MessageReason) -> None:
    post.consents()
    post.gateway.control("clock", advance_seconds=7_200)
    post.trouble("error", at=TOKEN, code=code)
    outcome = post.send()
    assert (outcome.result, outcome.reason) == (MessageResult.TRY_AGAIN, reason)
    assert outcome.raw_code == f"token {code}"
    assert post.send() == SENT


@on_wechat
def test_a_stranger_is_unknown_for_good(post: Post) -> None:
    outcome = post.send(to="oNobody")
    assert (outcome.result, outcome.reason) == (
        MessageResult.REFUSED,
        MessageReason.PERSON_UNKNOWN,
    )


# Answers that no decent gateway would give


GOOD_TOKEN = plain(json.dumps({"access_token": "token-1", "expires_in": 7200}))
TAKEN = plain(json.dumps({"errcode": 0, "errmsg": "ok"}))


def wechat_at(url: str, *, ids: Mapping[str, str] = {"mandate_active": "T"}) -> WeChatMessages:
    templates = Templates(
        "wechat", file=load_message_templates("wechat"), ids=ids, fields_of=FIELDS_OF
    )
    return WeChatMessages(
        wechat_hand.settings(url),
        templates,
        now=lambda: wechat_hand.NOW,
        connect_timeout=1.0,
        read_timeout=1.0,
    )


@pytest.fixture
def wire() -> Iterator[Wire]:
    with open_wire() as wire:
        yield wire


def test_the_requests_are_those_that_wechat_publishes(wire: Wire) -> None:
    wire.will(GOOD_TOKEN, TAKEN)
    outcome = wechat_at(wire.url).send(
        recipient="oUpF8", topic=MessageTopic.MANDATE_ACTIVE, fields=ACTIVE
    )
    assert outcome == SENT
    token, message = wire.seen
    assert (token.method, token.path) == ("POST", "/cgi-bin/stable_token")
    assert json.loads(token.body) == {
        "grant_type": "client_credential",
        "appid": wechat_hand.APP_ID,
        "secret": wechat_hand.APP_SECRET,
        "force_refresh": False,
    }
    assert (message.method, message.path) == (
        "POST",
        "/cgi-bin/message/subscribe/send?access_token=token-1",
    )
    assert json.loads(message.body) == {
        "touser": "oUpF8",
        "template_id": "T",
        "page": "pages/messages/index",
        "data": SHOWN["wechat"],
    }


ODD: dict[str, Answer] = {
    "a list": plain("[]"),
    "deep": plain("[" * 10_000),
    "no code": plain("{}"),
    "a code as text": plain(json.dumps({"errcode": "0"})),
    "true": plain(json.dumps({"errcode": False})),
    "too long": plain(json.dumps({"errcode": 0, "padding": "x" * 20_000})),
    "bad UTF-8": plain(b'{"errcode": 0, "x": "\xff"}'),
    "hang up": hang_up,
    "silence": silent(2),
    "cut short": cut_short(b'{"errcode": 0}'),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("at", ["token", "message"])
def test_an_odd_answer_is_never_taken_for_sent(wire: Wire, name: str, at: str) -> None:
    wire.will(*([ODD[name]] if at == "token" else [GOOD_TOKEN, ODD[name]]))
    outcome = wechat_at(wire.url).send(
        recipient="oUpF8", topic=MessageTopic.MANDATE_ACTIVE, fields=ACTIVE
    )
    assert outcome.result is MessageResult.TRY_AGAIN
    assert outcome.reason in {
        MessageReason.BAD_ANSWER,
        MessageReason.NO_ANSWER,
        MessageReason.OUR_FAULT,
    }


@pytest.mark.parametrize(
    ("token", "seconds"), [("", 7200), (1, 7200), ("a b", 7200), ("token", "7200"), ("令牌", 7200)]
)
def test_an_odd_token_is_not_used(wire: Wire, token: object, seconds: object) -> None:
    wire.will(plain(json.dumps({"access_token": token, "expires_in": seconds})))
    outcome = wechat_at(wire.url).send(
        recipient="oUpF8", topic=MessageTopic.MANDATE_ACTIVE, fields=ACTIVE
    )
    assert outcome.result is MessageResult.TRY_AGAIN
    assert len(wire.seen) == 1


def test_what_is_too_long_for_its_key_is_cut(wire: Wire) -> None:
    wire.will(GOOD_TOKEN, TAKEN)
    wechat_at(wire.url, ids={"debit_failed": "T"}).send(
        recipient="oUpF8",
        topic=MessageTopic.DEBIT_FAILED,
        fields={"reason": "因" * 21, "next_try": "期" * 20},
    )
    data = json.loads(wire.seen[1].body)["data"]
    assert data == {
        "thing1": {"value": "无"},
        "thing2": {"value": "因" * 19 + "…"},
        "thing3": {"value": "期" * 20},
    }


# Templates as data


@pytest.mark.parametrize("platform", GATEWAYS)
def test_the_files_fill_every_topic_with_fields_that_it_has(platform: str) -> None:
    file = load_message_templates(platform)
    assert set(file.topics) == set(MessageTopic)
    Templates(platform, file=file, ids=dict.fromkeys(file.topics, "T"), fields_of=FIELDS_OF)
    for topic, keys in file.topics.items():
        for key, name in keys.items():
            blank = name in WORDINGS[MessageTopic(topic)].optional
            # A blank is text, and a day or an amount takes none.
            assert not (blank and key.startswith(("date", "amount", "time", "number"))), topic


@pytest.mark.parametrize(
    ("file", "ids", "wrong"),
    [
        ({"debit_due": {"thing1": "card_no"}}, {}, "card_no"),
        ({"no_such_topic": {"thing1": "amount"}}, {}, "no_such_topic"),
        ({"debit_due": {"thing1": "amount"}}, {"debit_failed": "T"}, "debit_failed"),
    ],
)
def test_templates_that_cannot_work_stop_the_start(
    file: dict[str, dict[str, str]], ids: dict[str, str], wrong: str
) -> None:
    rows = TemplateFile(page="p", blank="无", topics=file)
    with pytest.raises(ValueError, match=wrong):
        Templates("wechat", file=rows, ids=ids, fields_of=FIELDS_OF)


def test_a_key_of_a_type_that_we_cannot_fill_stops_the_start() -> None:
    rows = TemplateFile(page="p", blank="无", topics={"debit_due": {"car_number1": "amount"}})
    templates = Templates("wechat", file=rows, ids={"debit_due": "T"}, fields_of=FIELDS_OF)
    with pytest.raises(ValueError, match="car_number1"):
        WeChatMessages(
            wechat_hand.settings(),
            templates,
            now=lambda: wechat_hand.NOW,
            connect_timeout=1.0,
            read_timeout=1.0,
        )


GOOD_FILE = 'source: "s"\npage: "p"\nblank: "无"\ntopics:\n  debit_due:\n    thing1: amount\n'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        GOOD_FILE.replace('page: "p"\n', ""),
        GOOD_FILE + "more: x\n",
        GOOD_FILE.replace('"无"', '""'),
        GOOD_FILE.replace("thing1", "thing"),
        GOOD_FILE.replace("thing1", "1"),
        GOOD_FILE.replace("amount", '"a b"'),
        GOOD_FILE.replace("amount", "[amount]"),
        GOOD_FILE + "    thing1: day\n",
        GOOD_FILE.split("  debit_due")[0],
    ],
)
def test_a_file_of_another_shape_is_refused(text: str) -> None:
    assert parse_message_templates(GOOD_FILE, where="x").topics == {
        "debit_due": {"thing1": "amount"}
    }
    with pytest.raises(MessageTemplateError):
        parse_message_templates(text, where="x")


@pytest.mark.parametrize("name", ["nobody", "../wechat", "", "WeChat"])
def test_an_unknown_file_is_refused(name: str) -> None:
    with pytest.raises(MessageTemplateError):
        load_message_templates(name)


# Settings


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", {}),
        ("debit_due:a-B_1", {"debit_due": "a-B_1"}),
        (" debit_due:a , debit_failed:b ,", {"debit_due": "a", "debit_failed": "b"}),
    ],
)
def test_ids_are_read_from_pairs(
    monkeypatch: pytest.MonkeyPatch, text: str, ids: dict[str, str]
) -> None:
    assert wechat_settings(monkeypatch, text).message_templates == ids


@pytest.mark.parametrize("text", ["debit_due", "debit_due:", ":a", "a:b:c", "a:b,a:c", "a:b c"])
def test_other_text_is_refused_without_showing_it(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    with pytest.raises(ValueError, match="topic:id") as caught:
        wechat_settings(monkeypatch, text)
    assert "a:b" not in str(caught.value)


def wechat_settings(monkeypatch: pytest.MonkeyPatch, text: str):
    for name, value in {
        "APP_ID": "wx",
        "APP_SECRET": "s",
        "MERCHANT_ID": "1",
        "API_KEY": "k",
        "MESSAGE_TEMPLATES": text,
    }.items():
        monkeypatch.setenv(f"LIANJIAO_WECHAT_{name}", value)
    return WeChatSettings()


def test_an_address_of_a_file_is_that_of_the_product(repository_root: Path) -> None:
    names = {path.stem for path in (repository_root / "config" / "messages").glob("*.yaml")}
    assert names == set(GATEWAYS)

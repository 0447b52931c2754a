"""订阅消息 Access tokens, subscribe messages, and what people have agreed to receive."""

from __future__ import annotations

import hmac
import json
import re
import secrets
import sqlite3
from collections.abc import Mapping

from sandbox.books import Books
from sandbox.clock import Clock
from sandbox.control import Refused, read_text, read_whole
from sandbox.wechat.accounts import Merchant, beijing, seconds_now

TOKEN, STABLE_TOKEN = "cgi-bin/token", "cgi-bin/stable_token"  # nosec B105  # addresses
SEND = "cgi-bin/message/subscribe/send"
CALLS = frozenset({TOKEN, STABLE_TOKEN, SEND})

SCHEMA = """
CREATE TABLE IF NOT EXISTS access_token (
    token TEXT PRIMARY KEY,
    is_stable INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS consent (       -- how many messages a person still accepts
    openid TEXT NOT NULL REFERENCES payer (openid),
    template_id TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (openid, template_id)
);
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    openid TEXT NOT NULL,
    template_id TEXT NOT NULL,
    page TEXT NOT NULL,
    data TEXT NOT NULL,                    -- JSON
    at INTEGER NOT NULL
);
"""

_TOKEN_SECONDS = 7200
_GRACE_SECONDS = 300
"""How long a token lives on when another one has been asked for."""

_KEY = re.compile(r"([a-z_]+?)[0-9]+")
_LONGEST = {"thing": 20, "character_string": 32, "phrase": 5, "number": 32, "time": 24, "date": 24}

Answer = dict[str, object]


class Messages:
    """The messages that one mini-program has sent."""

    def __init__(self, books: Books, clock: Clock, merchant: Merchant) -> None:
        self._books = books
        self._clock = clock
        self._merchant = merchant
        books.create(SCHEMA)

    def answer(self, call: str, query: Mapping[str, str], body: bytes) -> Answer:
        """Answer one of `CALLS`."""
        if call == TOKEN:
            return self._token(query, is_stable=False)
        try:
            content = json.loads(body)
        except ValueError:
            content = None
        if not isinstance(content, dict):
            return _no(47001, "data format error")
        if call == STABLE_TOKEN:
            return self._token(content, is_stable=True)
        return self._send(query.get("access_token", ""), content)

    def _token(self, given: Mapping[str, object], *, is_stable: bool) -> Answer:
        if given.get("grant_type") != "client_credential":
            return _no(40002, "invalid grant_type")
        if given.get("appid") != self._merchant.app_id:
            return _no(40013, "invalid appid")
        secret = str(given.get("secret", ""))
        if not hmac.compare_digest(secret.encode(), self._merchant.app_secret.encode()):
            return _no(40125, "invalid appsecret")
        now = seconds_now(self._clock)
        with self._books.transaction() as books:
            standing = books.execute(
                "SELECT * FROM access_token WHERE is_stable AND expires_at > ?"
                " ORDER BY expires_at DESC LIMIT 1",
                (now + _GRACE_SECONDS,),
            ).fetchone()
            if is_stable and standing is not None and given.get("force_refresh") is not True:
                expires_in = standing["expires_at"] - now
                return {"access_token": standing["token"], "expires_in": expires_in}
            books.execute(
                "UPDATE access_token SET expires_at = ? WHERE is_stable = ? AND expires_at > ?",
                (now + _GRACE_SECONDS, is_stable, now + _GRACE_SECONDS),
            )
            token = secrets.token_urlsafe(96)
            books.execute(
                "INSERT INTO access_token VALUES (?, ?, ?)",
                (token, is_stable, now + _TOKEN_SECONDS),
            )
        return {"access_token": token, "expires_in": _TOKEN_SECONDS}

    def _send(self, token: str, content: Mapping[str, object]) -> Answer:
        now = seconds_now(self._clock)
        openid, template_id = str(content.get("touser")), str(content.get("template_id", ""))
        wrong = _wrong_argument(content.get("data"))
        with self._books.transaction() as books:
            known = books.execute("SELECT expires_at FROM access_token WHERE token = ?", (token,))
            row = known.fetchone()
            if row is None or row["expires_at"] <= now:
                return _no(40001, "invalid credential, access_token is invalid or not latest")
            if not books.execute("SELECT 1 FROM payer WHERE openid = ?", (openid,)).fetchone():
                return _no(40003, "invalid openid")
            if not template_id:
                return _no(40037, "invalid template_id")
            if wrong:
                return _no(47003, f"argument invalid! {wrong}")
            accepted = books.execute(
                "UPDATE consent SET count = count - 1"
                " WHERE openid = ? AND template_id = ? AND count > 0",
                (openid, template_id),
            )
            if accepted.rowcount == 0:
                return _no(43101, "user refuse to accept the msg")
            data = json.dumps(content["data"], ensure_ascii=False)
            books.execute(
                "INSERT INTO message (openid, template_id, page, data, at) VALUES (?, ?, ?, ?, ?)",
                (openid, template_id, str(content.get("page", "")), data, now),
            )
        return {"errcode": 0, "errmsg": "ok", "msgid": secrets.randbelow(10**18)}

    def consent(self, given: Mapping[str, object]) -> Mapping[str, object]:
        """Control call: a person accepts so many messages of a template, or no more (0)."""
        row = (read_text(given, "payer"), read_text(given, "template_id"))
        count = read_whole(given, "count", default=1, least=0)
        with self._books.transaction() as books:
            if not books.execute("SELECT 1 FROM payer WHERE openid = ?", row[:1]).fetchone():
                raise Refused("没有这个用户")
            books.execute("INSERT OR REPLACE INTO consent VALUES (?, ?, ?)", (*row, count))
        return {}

    def inbox(self, given: Mapping[str, object]) -> Mapping[str, object]:
        """Control call: what has reached a person, the last at the end."""
        with self._books.transaction() as books:
            rows = books.execute(
                "SELECT * FROM message WHERE openid = ? ORDER BY id", (read_text(given, "payer"),)
            ).fetchall()
        return {"messages": [_message(row) for row in rows]}


def _message(row: sqlite3.Row) -> dict[str, object]:
    return {
        "template_id": row["template_id"],
        "page": row["page"],
        "data": json.loads(row["data"]),
        "at": beijing(row["at"]).isoformat(),
    }


def _wrong_argument(data: object) -> str:
    """Return what is wrong with the data of a message, or nothing."""
    if not isinstance(data, dict) or not data:
        return "data is empty"
    for key, entry in data.items():
        value = entry.get("value") if isinstance(entry, dict) else None
        match = _KEY.fullmatch(key)
        if match is None or not isinstance(value, str) or not value:
            return f"data.{key}.value is empty"
        if len(value) > _LONGEST.get(match[1], 20):
            return f"data.{key}.value invalid"
    return ""


def _no(code: int, message: str) -> Answer:
    return {"errcode": code, "errmsg": f"{message}, rid: {secrets.token_hex(8)}"}

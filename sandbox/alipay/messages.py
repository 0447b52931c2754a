"""小程序消息 Messages to people: `alipay.open.app.mini.templatemessage.send`, and an inbox."""

from __future__ import annotations

import json
from collections.abc import Mapping

from sandbox.alipay.accounts import beijing, seconds_now
from sandbox.alipay.checks import Refusal, invalid, read_text
from sandbox.alipay.door import Call
from sandbox.alipay.trades import find_trade
from sandbox.books import Books
from sandbox.clock import Clock
from sandbox.control import Refused, read_whole
from sandbox.control import read_text as read_given

SEND = "alipay.open.app.mini.templatemessage.send"

SCHEMA = """
CREATE TABLE IF NOT EXISTS consent (       -- how many messages a person still accepts
    open_id TEXT NOT NULL REFERENCES payer (open_id),
    template_id TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (open_id, template_id)
);
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    open_id TEXT NOT NULL,
    template_id TEXT NOT NULL,
    page TEXT NOT NULL,
    data TEXT NOT NULL,                    -- JSON
    at INTEGER NOT NULL
);
"""

_FORM_SECONDS = 7 * 86400


class Messages:
    """The messages that one mini-program has sent."""

    def __init__(self, books: Books, clock: Clock) -> None:
        self._books = books
        self._clock = clock
        books.create(SCHEMA)

    def send(self, call: Call) -> dict[str, object]:
        """`templatemessage.send`: after a payment (`form_id`), or with the person's consent."""
        content, now = call.content, seconds_now(self._clock)
        open_id = read_text(content, "to_open_id", 128, required=True)
        template_id = read_text(content, "user_template_id", 64, required=True)
        page, form_id = read_text(content, "page", 256, required=True), content.get("form_id")
        text = read_text(content, "data", 2048, required=True)
        try:
            data = json.loads(text)
        except ValueError:
            data = None
        if not isinstance(data, dict) or not all(
            isinstance(entry, dict) and isinstance(entry.get("value"), str)
            for entry in data.values()
        ):
            raise invalid('data 应为 {"keyword1":{"value":"…"}} 的 JSON 字符串')
        with self._books.transaction() as books:
            if form_id is not None:
                trade = find_trade(books, "trade_no", str(form_id))
                if trade is None or trade["open_id"] != open_id or trade["paid_at"] is None:
                    raise Refusal("FORM_ID_NOT_MATCH_APPID", "form_id 与应用不匹配")
                if now > trade["paid_at"] + _FORM_SECONDS:
                    raise Refusal("FORM_ID_OVER_TIME", "form_id 已过期")
            else:
                accepted = books.execute(
                    "UPDATE consent SET count = count - 1"
                    " WHERE open_id = ? AND template_id = ? AND count > 0",
                    (open_id, template_id),
                )
                if accepted.rowcount == 0:
                    raise Refusal("USER_NOT_SUBSCRIBE", "用户未订阅该消息")
            books.execute(
                "INSERT INTO message (open_id, template_id, page, data, at) VALUES (?, ?, ?, ?, ?)",
                (open_id, template_id, page, text, now),
            )
        return {}

    def consent(self, given: Mapping[str, object]) -> Mapping[str, object]:
        """Control call: a person accepts so many messages of a template, or no more (0)."""
        row = (read_given(given, "payer"), read_given(given, "template_id"))
        count = read_whole(given, "count", default=1, least=0)
        with self._books.transaction() as books:
            if not books.execute("SELECT 1 FROM payer WHERE open_id = ?", row[:1]).fetchone():
                raise Refused("没有这个用户")
            books.execute("INSERT OR REPLACE INTO consent VALUES (?, ?, ?)", (*row, count))
        return {}

    def inbox(self, given: Mapping[str, object]) -> Mapping[str, object]:
        """Control call: what has reached a person, the last at the end."""
        with self._books.transaction() as books:
            rows = books.execute(
                "SELECT * FROM message WHERE open_id = ? ORDER BY id",
                (read_given(given, "payer"),),
            ).fetchall()
        return {
            "messages": [
                {
                    "template_id": row["template_id"],
                    "page": row["page"],
                    "data": json.loads(row["data"]),
                    "at": beijing(row["at"]).isoformat(),
                }
                for row in rows
            ]
        }

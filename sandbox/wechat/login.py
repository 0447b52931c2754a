"""小程序登录 The mini-program log-in: codes as wx.login gives them, and `jscode2session`."""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Mapping

from sandbox.books import Books
from sandbox.clock import Clock
from sandbox.control import Refused, read_text, read_whole
from sandbox.wechat.accounts import Merchant, seconds_now

CODE_SECONDS = 300


class Login:
    """The payers, and the codes with which they log in."""

    def __init__(self, books: Books, clock: Clock, merchant: Merchant) -> None:
        self._books = books
        self._clock = clock
        self._merchant = merchant

    def new_payer(self, balance_fen: int) -> str:
        """Return the openid of a new payer with so much in the wallet."""
        openid = "o" + base64.urlsafe_b64encode(secrets.token_bytes(21)).decode()[:27]
        with self._books.transaction() as books:
            books.execute("INSERT INTO payer VALUES (?, ?)", (openid, balance_fen))
        return openid

    def change_payer(self, given: Mapping[str, object]) -> Mapping[str, object]:
        """Control call: put so much into a wallet, or leave only so much in it."""
        balance_fen = read_whole(given, "balance_fen", least=0)
        with self._books.transaction() as books:
            changed = books.execute(
                "UPDATE payer SET balance_fen = ? WHERE openid = ?",
                (balance_fen, read_text(given, "payer")),
            )
        if changed.rowcount == 0:
            raise Refused("没有这个用户")
        return {}

    def new_code(self, payer: str) -> str:
        """Return a code good for one log-in within five minutes.

        Raises:
            Refused: no such payer.
        """
        code = "0" + secrets.token_hex(16)[:31]
        with self._books.transaction() as books:
            if not books.execute("SELECT 1 FROM payer WHERE openid = ?", (payer,)).fetchone():
                raise Refused("没有这个用户")
            books.execute(
                "INSERT INTO login_code (code, openid, created_at) VALUES (?, ?, ?)",
                (code, payer, seconds_now(self._clock)),
            )
        return code

    def session(self, query: Mapping[str, str]) -> dict[str, object]:
        """Return the answer of `jscode2session`: a session, or a code that tells why not."""
        if query.get("appid") != self._merchant.app_id:
            return _no(40013, "invalid appid")
        secret = query.get("secret", "")
        if not hmac.compare_digest(secret.encode(), self._merchant.app_secret.encode()):
            return _no(40125, "invalid appsecret")
        if query.get("grant_type") != "authorization_code":
            return _no(40002, "invalid grant_type")
        if not query.get("js_code"):
            return _no(41008, "missing code")
        with self._books.transaction() as books:
            code = books.execute(
                "SELECT * FROM login_code WHERE code = ?", (query["js_code"],)
            ).fetchone()
            now = seconds_now(self._clock)
            if code is None or now >= code["created_at"] + CODE_SECONDS:
                return _no(40029, "invalid code")
            if code["is_used"]:
                return _no(40163, "code been used")
            books.execute("UPDATE login_code SET is_used = 1 WHERE code = ?", (code["code"],))
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        return {"session_key": key, "openid": code["openid"]}


def _no(code: int, message: str) -> dict[str, object]:
    return {"errcode": code, "errmsg": f"{message}, rid: {secrets.token_hex(8)}"}

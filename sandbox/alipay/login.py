"""用户与登录 Payers, codes as my.getAuthCode gives them, and `alipay.system.oauth.token`."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping

from sandbox.alipay.accounts import Merchant, next_number, seconds_now, spaced
from sandbox.alipay.checks import Refusal
from sandbox.books import Books
from sandbox.clock import Clock
from sandbox.control import Refused, read_text, read_whole

CODE_SECONDS = 180
_TOKEN_SECONDS = 15 * 86400


class Login:
    """The payers, and the codes with which they log in."""

    def __init__(self, books: Books, clock: Clock, merchant: Merchant) -> None:
        self._books = books
        self._clock = clock
        self._merchant = merchant

    def new_payer(self, balance_fen: int) -> str:
        """Return the open_id of a new payer with so much in the wallet."""
        open_id = "0" + base64.b64encode(secrets.token_bytes(36), b"-_").decode()[:46]
        with self._books.transaction() as books:
            logon_id = f"138****{next_number(books, 'payer'):04d}"
            books.execute(
                "INSERT INTO payer VALUES (?, ?, ?, ?)",
                (open_id, self._merchant.app_id, logon_id, balance_fen),
            )
        return open_id

    def change_payer(self, given: Mapping[str, object]) -> Mapping[str, object]:
        """Control call: put so much into a wallet, or leave only so much in it."""
        balance_fen = read_whole(given, "balance_fen", least=0)
        with self._books.transaction() as books:
            changed = books.execute(
                "UPDATE payer SET balance_fen = ? WHERE open_id = ?",
                (balance_fen, read_text(given, "payer")),
            )
        if changed.rowcount == 0:
            raise Refused("没有这个用户")
        return {}

    def new_code(self, payer: str) -> str:
        """Return a code good for one log-in within three minutes.

        Raises:
            Refused: no such payer.
        """
        code = secrets.token_hex(16)
        with self._books.transaction() as books:
            if not books.execute("SELECT 1 FROM payer WHERE open_id = ?", (payer,)).fetchone():
                raise Refused("没有这个用户")
            books.execute(
                "INSERT INTO login_code (code, open_id, created_at) VALUES (?, ?, ?)",
                (code, payer, seconds_now(self._clock)),
            )
        return code

    def token(self, fields: Mapping[str, str]) -> dict[str, object]:
        """Return the answer of `alipay.system.oauth.token`; a success has no `code`.

        Raises:
            Refusal: to be told as `error_response`.
        """
        if fields.get("grant_type") != "authorization_code":
            raise Refusal("isv.grant-type-invalid", "授权类型无效", code="40002")
        with self._books.transaction() as books:
            now = seconds_now(self._clock)
            used = books.execute(
                "UPDATE login_code SET is_used = 1 WHERE code = ? AND NOT is_used"
                " AND created_at > ? AND open_id IN (SELECT open_id FROM payer WHERE app_id = ?)"
                " RETURNING open_id",
                (fields.get("code", ""), now - CODE_SECONDS, self._merchant.app_id),
            ).fetchall()
        if not used:
            raise Refusal("isv.code-invalid", "授权码code无效", code="40002")
        return {
            "access_token": f"authbseB{secrets.token_hex(16)}",
            "auth_start": spaced(now),
            "expires_in": _TOKEN_SECONDS,
            "open_id": used[0]["open_id"],
            "re_expires_in": 2 * _TOKEN_SECONDS,
            "refresh_token": f"authbseB{secrets.token_hex(16)}",
        }

"""委托代扣协议 Contracts: signed by the person in the wallet, in force until someone ends them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping

from sandbox.books import Books
from sandbox.clock import Clock
from sandbox.control import Refused, read_mapping, read_text, read_whole
from sandbox.trouble import Trouble
from sandbox.wechat.accounts import Merchant, Rules, new_number, seconds_now, spaced
from sandbox.wechat.checks import SIGNING, Fields, Refusal, Unacceptable, check_named
from sandbox.wechat.signing import MD5, SIGN_TYPES, is_signed

SIGN = "contract/sign"
"""The place `at` which troubles meet a person who signs."""

SIGN_KINDS = frozenset({"refuse", "silent"})
MODES = ("AFTER_24_HOURS", "PRE_NOTICE", "AT_ONCE")

EXPIRED, BY_USER, BY_API, BY_PLATFORM, ACCOUNT_CLOSED = 1, 2, 3, 4, 5
"""`contract_termination_mode`."""

_ENDERS = {"user": BY_USER, "platform": BY_PLATFORM, "closed": ACCOUNT_CLOSED}

# When and from where the person was sent to sign is not what is agreed.
_NOT_CONTENT = frozenset(
    {"sign", "sign_type", "timestamp", "request_serial", "version", "clientip", "deviceid"}
)

Announce = Callable[[sqlite3.Row, str, str], None]
"""Told of a contract, of `ADD` or `DELETE`, and where to send the notice."""


class Contracts:
    """The contracts in the books.

    Args:
        announce: told of each that is signed or ended, inside the transaction.
    """

    def __init__(
        self, books: Books, clock: Clock, merchant: Merchant, rules: Rules, announce: Announce
    ) -> None:
        self._books = books
        self._clock = clock
        self._merchant = merchant
        self._rules = rules
        self._announce = announce
        with books.transaction() as opened:
            opened.execute(
                "INSERT OR IGNORE INTO plan VALUES (?, 'AFTER_24_HOURS', ?, '')",
                (merchant.plan_id, rules.debit_limit_fen),
            )

    def sign(
        self, given: Mapping[str, object], take: Callable[[], Trouble | None]
    ) -> Mapping[str, object]:
        """Control call: a person reads what the signing page shows, and signs or goes back.

        Raises:
            Refused: the page shows an error instead.
        """
        payer = read_text(given, "payer")
        accepts = given.get("accept", True)
        if not isinstance(accepts, bool):
            raise ValueError("accept 应为布尔值")
        fields = _read_parameters(read_mapping(given, "extra_data"))
        self._check_parameters(fields)
        with self._books.transaction() as books:
            self._check_signable(books, fields, payer)
            if not accepts:
                self._keep(books, fields, payer, "DENIED")
                return {"result": "denied"}
            trouble = take()
            if trouble is not None and trouble.kind == "refuse":
                raise Refused(f"签约失败：{trouble.text('code', '')}")
            contract_id = self._keep(books, fields, payer, "SIGNED")
            if trouble is not None:
                hidden_until = seconds_now(self._clock) + int(trouble.number("seconds", 10**9))
                books.execute(
                    "UPDATE contract SET hidden_until = ? WHERE contract_id = ?",
                    (hidden_until, contract_id),
                )
            self.settle()
        return {"result": "signed", "contract_id": contract_id}

    def _check_parameters(self, fields: Fields) -> None:
        try:
            check_named(("appid", *SIGNING), fields)
        except Unacceptable as error:
            raise Refused(str(error)) from None
        sign_type = fields.get("sign_type") or MD5
        if sign_type not in SIGN_TYPES or not is_signed(
            fields, fields["sign"], self._merchant.api_key, sign_type
        ):
            raise Refused("签名错误")
        if fields["mch_id"] != self._merchant.merchant_id:
            raise Refused("商户号mch_id不存在")
        if fields["appid"] != self._merchant.app_id:
            raise Refused("appid和mch_id不匹配")
        if any(ord(character) > 0xFFFF for character in fields["contract_display_account"]):
            raise Refused("contract_display_account 不支持四字节字符")

    def _check_signable(self, books: sqlite3.Connection, fields: Fields, payer: str) -> None:
        if not books.execute("SELECT 1 FROM payer WHERE openid = ?", (payer,)).fetchone():
            raise Refused("没有这个用户")
        if fields.get("openid") and fields["openid"] != payer:
            raise Refused("当前用户与签约用户不一致")
        if find_plan(books, fields["plan_id"]) is None:
            raise Refused("模板id不存在")
        before = find_contract(books, "contract_code", fields["contract_code"])
        if before is not None and before["content"] != _content(fields, payer):
            raise Refused("签约协议号重复")
        if before is not None and before["state"] != "DENIED":
            raise Refused("该签约协议号已签约，请勿重复签约")
        standing = books.execute(
            "SELECT 1 FROM contract WHERE plan_id = ? AND openid = ? AND state = 'SIGNED'",
            (fields["plan_id"], payer),
        ).fetchone()
        if standing is not None:
            raise Refused("您已签约该服务，请勿重复签约")

    def _keep(self, books: sqlite3.Connection, fields: Fields, payer: str, state: str) -> str:
        """Write down what the person said, and return the contract_id if it was yes."""
        now = seconds_now(self._clock)
        is_signed_now = state == "SIGNED"
        contract_id = new_number("", now, 18) if is_signed_now else None
        books.execute(
            "INSERT OR REPLACE INTO contract (contract_code, content, contract_id, plan_id, openid,"
            " display_account, request_serial, notify_url, sign_type, state, signed_at, expires_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                fields["contract_code"],
                _content(fields, payer),
                contract_id,
                fields["plan_id"],
                payer,
                fields["contract_display_account"],
                fields["request_serial"],
                fields["notify_url"],
                fields.get("sign_type") or MD5,
                state,
                now if is_signed_now else None,
                now + self._rules.contract_days * 86400 if is_signed_now else None,
            ),
        )
        return contract_id or ""

    def get(self, fields: Fields) -> sqlite3.Row:
        """Return the contract that is asked for; the contract_id goes first.

        Raises:
            Refusal: there is none that the merchant may know of.
        """
        with self._books.transaction() as books:
            if fields.get("contract_id"):
                found = find_contract(books, "contract_id", fields["contract_id"])
            elif not fields.get("plan_id"):
                raise Unacceptable("缺少参数plan_id")
            elif fields.get("contract_code"):
                found = find_contract(books, "contract_code", fields["contract_code"])
            else:
                found = books.execute(
                    "SELECT * FROM contract WHERE openid = ? AND contract_id IS NOT NULL"
                    " ORDER BY rowid DESC LIMIT 1",
                    (fields["openid"],),
                ).fetchone()
        if (
            found is None
            or found["contract_id"] is None
            or found["plan_id"] != (fields.get("plan_id") or found["plan_id"])
            or seconds_now(self._clock) < found["hidden_until"]
        ):
            raise Refusal("CONTRACT_NOT_EXIST", "签约协议不存在")
        return found

    def view(self, contract: sqlite3.Row) -> dict[str, str]:
        """Return what `querycontract` says; err_code 0 is what the real service adds."""
        about = {
            "contract_id": contract["contract_id"],
            "plan_id": contract["plan_id"],
            "openid": contract["openid"],
            "request_serial": contract["request_serial"],
            "contract_code": contract["contract_code"],
            "contract_display_account": contract["display_account"],
            "contract_state": "0" if contract["state"] == "SIGNED" else "1",
            "contract_signed_time": spaced(contract["signed_at"]),
            "contract_expired_time": spaced(contract["expires_at"]),
            "err_code": "0",
            "err_code_des": "SUCCESS",
        }
        if contract["state"] == "TERMINATED":
            about |= {
                "contract_terminated_time": spaced(contract["ended_at"]),
                "contract_termination_mode": str(contract["mode"]),
                "contract_termination_remark": contract["remark"],
            }
        return about

    def end_by_merchant(self, fields: Fields) -> dict[str, str]:
        """`papay/deletecontract`."""
        with self._books.transaction() as books:
            contract = self.get(fields)
            if contract["state"] != "SIGNED":
                raise Refusal("CONTRACTERROR", "签约协议已解约")
            remark = fields["contract_termination_remark"]
            self._end(books, contract, BY_API, remark, seconds_now(self._clock))
        return {
            "contract_id": contract["contract_id"],
            "plan_id": contract["plan_id"],
            "contract_code": contract["contract_code"],
        }

    def change(self, given: Mapping[str, object]) -> Mapping[str, object]:
        """Control call: the person or the platform ends a contract, or what was hidden shows."""
        code, by = read_text(given, "contract_code"), read_text(given, "by")
        with self._books.transaction() as books:
            contract = find_contract(books, "contract_code", code)
            if contract is None or contract["state"] != "SIGNED":
                raise Refused("没有这份生效的协议")
            if by == "release":
                books.execute(
                    "UPDATE contract SET hidden_until = 0 WHERE contract_code = ?", (code,)
                )
                self.settle()
                return {}
            if by not in _ENDERS:
                raise ValueError("by 应为 user、platform、closed 或 release")
            remark = read_text(given, "remark", default="")
            self._end(books, contract, _ENDERS[by], remark, seconds_now(self._clock))
        return {}

    def change_plan(self, given: Mapping[str, object]) -> Mapping[str, object]:
        """Control call: the mode of a plan, its limit, and where its endings are told."""
        plan_id = read_text(given, "plan_id", default=self._merchant.plan_id)
        with self._books.transaction() as books:
            plan = find_plan(books, plan_id)
            kept: Mapping[str, object] = dict(plan) if plan is not None else {}
            mode = read_text(given, "mode", default=str(kept.get("mode", MODES[0])))
            if mode not in MODES:
                raise ValueError(f"mode 应为 {'、'.join(MODES)}")
            limit_fen = kept.get("limit_fen", self._rules.debit_limit_fen)
            books.execute(
                "INSERT INTO plan VALUES (?, ?, ?, ?) ON CONFLICT (plan_id) DO UPDATE SET"
                " mode = excluded.mode, limit_fen = excluded.limit_fen,"
                " termination_url = excluded.termination_url",
                (
                    plan_id,
                    mode,
                    read_whole({"limit_fen": limit_fen, **given}, "limit_fen", least=1),
                    read_text({"termination_url": "", **kept, **given}, "termination_url"),
                ),
            )
        return {"plan_id": plan_id}

    def settle(self) -> None:
        """Tell of what was hidden, and end what has run out; it ended at its own moment."""
        now = seconds_now(self._clock)
        with self._books.transaction() as books:
            for contract in books.execute(
                "SELECT * FROM contract WHERE state = 'SIGNED' AND NOT is_told"
                " AND hidden_until <= ? ORDER BY rowid",
                (now,),
            ).fetchall():
                books.execute(
                    "UPDATE contract SET is_told = 1 WHERE contract_code = ?",
                    (contract["contract_code"],),
                )
                self._announce(contract, "ADD", contract["notify_url"])
            for contract in books.execute(
                "SELECT * FROM contract WHERE state = 'SIGNED' AND expires_at <= ? ORDER BY rowid",
                (now,),
            ).fetchall():
                self._end(books, contract, EXPIRED, "协议到期", contract["expires_at"])

    def _end(
        self, books: sqlite3.Connection, contract: sqlite3.Row, mode: int, remark: str, at: int
    ) -> None:
        code = contract["contract_code"]
        books.execute(
            "UPDATE contract SET state = 'TERMINATED', ended_at = ?, mode = ?, remark = ?,"
            " hidden_until = 0 WHERE contract_code = ?",
            (at, mode, remark, code),
        )
        ended = find_contract(books, "contract_code", code)
        plan = find_plan(books, contract["plan_id"])
        if ended is None or plan is None:
            raise LookupError(code)
        self._announce(ended, "DELETE", plan["termination_url"] or ended["notify_url"])


def find_contract(books: sqlite3.Connection, column: str, number: str) -> sqlite3.Row | None:
    found: sqlite3.Row | None = books.execute(
        f"SELECT * FROM contract WHERE {column} = ?",  # noqa: S608  # nosec B608  # a column named by us
        (number,),
    ).fetchone()
    return found


def find_plan(books: sqlite3.Connection, plan_id: str) -> sqlite3.Row | None:
    found: sqlite3.Row | None = books.execute(
        "SELECT * FROM plan WHERE plan_id = ?", (plan_id,)
    ).fetchone()
    return found


def _read_parameters(given: Mapping[str, object]) -> dict[str, str]:
    """Return the extraData of a jump as texts; the phone passes numbers on as they are."""
    fields = {}
    for name, value in given.items():
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise Refused(f"签约参数格式错误：{name}")
        fields[name] = str(value)
    return fields


def _content(fields: Fields, payer: str) -> str:
    kept = {name: value for name, value in sorted(fields.items()) if name not in _NOT_CONTENT}
    return json.dumps({**kept, "openid": payer}, ensure_ascii=False, sort_keys=True)

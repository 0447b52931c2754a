"""银行网关 The bank: its parts put together, its addresses, its control calls."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event, Thread

from flask import Flask, Response, request

from sandbox.bank import batches, debits, notices, outcomes, payouts
from sandbox.bank.accounts import (
    SCHEMA,
    Merchant,
    Rules,
    move_account,
    next_number,
    seconds_now,
)
from sandbox.bank.batches import Batches
from sandbox.bank.bills import ITEMS, STATEMENT, write_bill
from sandbox.bank.cards import Cards
from sandbox.bank.checks import Content, read_day, read_text
from sandbox.bank.codes import MESSAGES, OK, Refusal, malformed
from sandbox.bank.debits import Debits
from sandbox.bank.door import Door
from sandbox.bank.forgeries import forge
from sandbox.bank.mandates import Mandates
from sandbox.bank.payouts import Payouts
from sandbox.bank.sftp import FileServer
from sandbox.bank.signing import NONCE, SIGNATURE, signing_headers
from sandbox.bank.views import books_view
from sandbox.books import Books, open_books
from sandbox.clock import Clock
from sandbox.control import control_blueprint, read_whole
from sandbox.control import read_text as read_given
from sandbox.credentials import (
    BANK_MERCHANT_PUBLIC_KEY,
    BANK_PRIVATE_KEY,
    BANK_SFTP_CLIENT_KEY,
    BANK_SFTP_HOST_KEY,
    issue_credentials,
)
from sandbox.deliveries import Deliveries, Parcel
from sandbox.keys import read_private_key, read_public_key
from sandbox.trouble import (
    ANSWER_KINDS,
    TRANSPORT_KINDS,
    Trouble,
    Troubles,
    play_transport_trouble,
)

PREFIX = "/gateway/"

_CALL_KINDS = TRANSPORT_KINDS | ANSWER_KINDS - {"refund_pending"}
_BEAT_SECONDS = 0.2
_FILES = "bank-files"

Answer = dict[str, object] | bytes
"""The fields of an answer, or a bill."""


class BankGateway:
    """One merchant's bank: what the protocol, the files and the control API can ask of it."""

    def __init__(
        self, books: Books, clock: Clock, merchant: Merchant, rules: Rules, root: Path
    ) -> None:
        self.clock = clock
        self._books = books
        self._merchant = merchant
        self._rules = rules
        self._door = Door(books, clock, merchant, rules)
        self._mandates = Mandates(books, clock, rules, self._announce)
        self._debits = Debits(books, clock, rules, self._announce, self._announce_entry)
        self._payouts = Payouts(books, clock, merchant, rules, self._announce, self._announce_entry)
        self._calls: dict[str, Callable[[Content], Answer]] = {
            "sign/start": self._mandates.start,
            "sign/confirm": self._mandates.confirm,
            "sign/query": self._mandates.query,
            "sign/cancel": self._mandates.cancel,
            "debit": self._debit,
            "debit/query": self._debits.query,
            "refund": self._debits.refund,
            "refund/query": self._debits.query_refund,
            "payout": self._payout,
            "payout/query": self._payouts.query,
            "balance": self._payouts.balance,
            "bill": self._bill,
        }
        self.troubles = Troubles(
            self._calls,
            {
                **dict.fromkeys(self._calls, _CALL_KINDS),
                debits.OUTCOME: outcomes.OUTCOME_KINDS,
                payouts.OUTCOME: outcomes.OUTCOME_KINDS,
                **batches.PLACES,
            },
        )
        self._batches = Batches(
            books, clock, merchant, rules, self.troubles, self._debits, root, self._announce_entry
        )
        self.deliveries = Deliveries(
            books, clock, self.troubles, notices.RETRY_SECONDS, _is_accepted, self._headers_to
        )
        self.calls = frozenset(self._calls)
        self._wake, self._stopping = Event(), False
        clock.when_moved(self._wake.set)
        self._thread = Thread(target=self._run, name="bank", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the threads and close the books."""
        self._stopping = True
        self._wake.set()
        self._thread.join()
        self.deliveries.stop()
        self._books.close()

    def settle(self) -> None:
        """Let happen what only time brings about, and what lies in the inbox."""
        with self._books.transaction() as books:
            now = seconds_now(self.clock)
            outcomes.decide_due(books, self._debits, self._rules, now)
            outcomes.decide_due(books, self._payouts, self._rules, now)
        self._batches.settle()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            self.settle()
            self._wake.wait(_BEAT_SECONDS)

    # Protocol

    def answer(self, call: str, headers: Mapping[str, str], body: bytes) -> Response:
        """Answer one signed call, with the troubles that touch the answer itself."""
        trouble = self.troubles.take(call)
        return play_transport_trouble(trouble, lambda: self._answer(call, headers, body, trouble))

    def _answer(
        self, call: str, headers: Mapping[str, str], body: bytes, trouble: Trouble | None
    ) -> Response:
        kind = trouble.kind if trouble else ""
        try:
            content = self._door.let_in(PREFIX + call, headers, body)
            if trouble is not None and kind == "error":
                raise _asked_for(trouble)
            answer = self._calls[call](content)
            if trouble is not None and kind == "error_after":
                raise _asked_for(trouble)
        except Refusal as refusal:
            answer = {"code": refusal.code, "message": refusal.message}
        if isinstance(answer, bytes):
            written, content_type = answer, "text/csv; charset=gb18030"
        else:
            whole = {"code": OK, "message": MESSAGES[OK], **answer}
            written = json.dumps(whole, ensure_ascii=False).encode()
            content_type = notices.CONTENT_TYPE
        signed = self._headers(f"REPLY {headers.get(NONCE, '')}", written)
        if kind == "unsigned":
            del signed[SIGNATURE]
        elif kind == "bad_sign":
            signed[SIGNATURE] = self._headers("REPLY", written)[SIGNATURE]
        return Response(written, content_type=content_type, headers=signed)

    def _debit(self, content: Content) -> Answer:
        return self._debits.debit(content, lambda: self.troubles.take(debits.OUTCOME))

    def _payout(self, content: Content) -> Answer:
        return self._payouts.pay(content, lambda: self.troubles.take(payouts.OUTCOME))

    def _bill(self, content: Content) -> Answer:
        kind, day = read_text(content, "kind", 20), read_day(content, "date")
        if kind not in {ITEMS, STATEMENT}:
            raise malformed(f"kind 应为 {ITEMS} 或 {STATEMENT}")
        with self._books.transaction() as books:
            return write_bill(books, kind, day, seconds_now(self.clock), self._rules)

    def _headers(self, first_line: str, body: bytes) -> dict[str, str]:
        return signing_headers(
            first_line,
            body,
            merchant_id=self._merchant.merchant_id,
            now=seconds_now(self.clock),
            key_id=self._merchant.bank_key_id,
            key=self._merchant.bank_key,
        )

    # Notices

    def _headers_to(self, url: str, body: bytes) -> Mapping[str, str]:
        return self._headers(notices.first_line(url), body)

    def _announce(
        self, books: sqlite3.Connection, event: str, number: str, url: str, fields: notices.Fields
    ) -> None:
        event_id = f"N{next_number(books, 'notice'):012d}"
        now = seconds_now(self.clock)
        body = notices.write_notice(event, event_id, self._merchant, now, fields)
        self.deliveries.send(event, number, url, body, notices.CONTENT_TYPE)

    def _announce_entry(self, books: sqlite3.Connection, entry: sqlite3.Row) -> None:
        address = books.execute("SELECT url FROM address").fetchone()
        if address is not None:
            fields = notices.entry_fields(entry, self._merchant)
            self._announce(books, "account.changed", entry["reference"], address["url"], fields)

    # Control

    def books_view(self) -> Mapping[str, object]:
        with self._books.transaction() as books:
            return books_view(books, self._mandates)

    def forge(self, out_trade_no: str, defect: str, fields: Mapping[str, str]) -> Parcel:
        with self._books.transaction() as books:
            return forge(
                books, self._merchant, seconds_now(self.clock), out_trade_no, defect, fields
            )

    def own_calls(self) -> dict[str, Callable[[Mapping[str, object]], Mapping[str, object]]]:
        """Return the control calls that only a bank has."""
        cards = Cards(self._books)
        return {
            "/cards": cards.issue,
            "/cards/change": cards.change,
            "/sms": self._mandates.texts,
            "/mandates/change": self._mandates.change,
            "/debits/finish": lambda given: self._finish(self._debits, given),
            "/debits/correct": self._debits.correct,
            "/payouts/finish": lambda given: self._finish(self._payouts, given),
            "/payouts/return": self._payouts.give_back,
            "/files/finish": self._batches.finish,
            "/files/release": self._batches.release,
            "/merchant/address": self._set_address,
            "/merchant/deposit": self._pay_in,
        }

    def _finish(
        self, business: outcomes.Business, given: Mapping[str, object]
    ) -> Mapping[str, object]:
        with self._books.transaction() as books:
            outcomes.finish(books, business, given, self._rules, seconds_now(self.clock))
        return {}

    def _set_address(self, given: Mapping[str, object]) -> Mapping[str, object]:
        with self._books.transaction() as books:
            books.execute(
                "INSERT INTO address VALUES (1, ?) ON CONFLICT DO UPDATE SET url = excluded.url",
                (read_given(given, "url"),),
            )
        return {}

    def _pay_in(self, given: Mapping[str, object]) -> Mapping[str, object]:
        """Money comes into the special account from elsewhere."""
        amount_fen = read_whole(given, "amount_fen", least=1)
        with self._books.transaction() as books:
            entry = move_account(
                books,
                seconds_now(self.clock),
                "DEPOSIT",
                amount_fen,
                reference=read_given(given, "reference", default="DEPOSIT"),
                summary=read_given(given, "summary", default="转入"),
            )
            self._announce_entry(books, entry)
        return {"balance_fen": entry["balance_fen"]}


class Bank:
    """The gateway and its file server, closed together."""

    def __init__(self, gateway: BankGateway, files: FileServer) -> None:
        self.gateway = gateway
        self.files = files

    def close(self) -> None:
        self.files.stop()
        self.gateway.close()


def create_gateway(
    data_dir: Path, clock: Clock, rules: Rules | None = None, *, sftp_port: int = 0
) -> Flask:
    """Return the gateway on the books in `data_dir`; credentials are issued if there are none.

    The gateway with its file server is `app.extensions["gateway"]`; close it when the app is done
    with.
    """
    issued = issue_credentials(data_dir).bank
    merchant = Merchant(
        merchant_id=issued["LIANJIAO_BANK_MERCHANT_ID"],
        account_no=issued["LIANJIAO_BANK_ACCOUNT_NO"],
        key_id=issued["LIANJIAO_BANK_MERCHANT_KEY_ID"],
        key=read_public_key(data_dir / BANK_MERCHANT_PUBLIC_KEY),
        bank_key_id=issued["LIANJIAO_BANK_BANK_KEY_ID"],
        bank_key=read_private_key(data_dir / BANK_PRIVATE_KEY),
    )
    root = data_dir.resolve() / _FILES
    gateway = BankGateway(
        open_books(data_dir / "bank.sqlite", SCHEMA), clock, merchant, rules or Rules(), root
    )
    files = FileServer(
        root,
        host_key=data_dir / BANK_SFTP_HOST_KEY,
        user=issued["LIANJIAO_BANK_SFTP_USER"],
        client_key=data_dir / f"{BANK_SFTP_CLIENT_KEY}.pub",
        port=sftp_port,
    )
    app = Flask("sandbox.bank", static_folder=None)
    app.extensions["gateway"] = Bank(gateway, files)
    app.register_blueprint(
        control_blueprint(
            gateway, {**gateway.own_calls(), "/files/port": lambda _: {"port": files.port}}
        )
    )

    @app.before_request
    def settle_before() -> None:
        gateway.settle()

    @app.after_request
    def settle_after(response: Response) -> Response:
        gateway.settle()  # The request may have moved the clock.
        return response

    def answer_call() -> Response:
        call = request.path.removeprefix(PREFIX)
        return gateway.answer(call, dict(request.headers), request.get_data())

    for call in sorted(gateway.calls):
        app.add_url_rule(PREFIX + call, call, answer_call, methods=["POST"])
    return app


def _asked_for(trouble: Trouble) -> Refusal:
    return Refusal(trouble.text("code", ""), trouble.text("message", ""))


def _is_accepted(status: int, body: bytes) -> bool:
    """Whether the merchant answered that it has stored the notice."""
    try:
        answer = json.loads(body)
    except ValueError:
        return False
    return status == 200 and isinstance(answer, dict) and answer.get("code") == OK

"""A fund centre at the bank's sandbox by hand: signatures with `cryptography`, SFTP with asyncssh.

It shares no code with the gateway and none with the product.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path

import asyncssh
import requests
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256, SM3, Hash
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from tests.sandbox.gateways import Inbox, RunningGateway

NAME = "测试用户"
ID_NO = "320722199003076011"
PHONE = "13800000001"
SIGNED = ("X-Bank-Merchant", "X-Bank-Timestamp", "X-Bank-Nonce", "X-Bank-Key-Id")


load_key = cache(partial(load_pem_private_key, password=None))
"""Loading checks the key, which takes longer than most tests."""


def sm3(content: bytes) -> str:
    digest = Hash(SM3())
    digest.update(content)
    return digest.finalize().hex()


def debit_file(
    corp: str,
    lines: Sequence[str],
    total_fen: int,
    *,
    date: str = "20261124",
    sequence: str = "0001",
) -> bytes:
    """Return a debit file written out by hand; `lines` without mark and number."""
    head = f"H|DK|{date}|{sequence}|{len(lines)}|{total_fen}|CNY|{corp}|1.0\r\n"
    details = "".join(f"D|{at:08d}|{line}\r\n" for at, line in enumerate(lines, start=1))
    body = (head + details).encode("gb18030")
    return body + f"T|{len(lines)}|{total_fen}|{sm3(body)}\r\n".encode()


class BankMerchant:
    """Sends what it is told to, signed as it is told to; checks the bank's every signature."""

    def __init__(self, gateway: RunningGateway, inbox: Inbox) -> None:
        issued = gateway.credentials.bank
        self.gateway = gateway
        self.inbox = inbox
        self.issued = issued
        self.merchant_id = issued["LIANJIAO_BANK_MERCHANT_ID"]
        private = Path(issued["LIANJIAO_BANK_MERCHANT_PRIVATE_KEY_FILE"]).read_bytes()
        public = Path(issued["LIANJIAO_BANK_BANK_PUBLIC_KEY_FILE"]).read_bytes()
        self._key = load_key(private)
        self._bank_key = load_pem_public_key(public)

    # Messages

    def sign(self, content: bytes) -> str:
        return base64.b64encode(self._key.sign(content, PKCS1v15(), SHA256())).decode()

    def verify(self, content: bytes, signature: str) -> None:
        """Fail the test unless this is the bank's signature of exactly these bytes."""
        self._bank_key.verify(base64.b64decode(signature), content, PKCS1v15(), SHA256())

    def headers(self, call: str, body: bytes, **changes: str) -> dict[str, str]:
        """Return the headers of a request; changes come in before it is signed."""
        headers = {
            "X-Bank-Merchant": self.merchant_id,
            "X-Bank-Timestamp": str(int(self.gateway.clock.now().timestamp())),
            "X-Bank-Nonce": secrets.token_hex(16),
            "X-Bank-Key-Id": self.issued["LIANJIAO_BANK_MERCHANT_KEY_ID"],
            **changes,
        }
        lines = [f"POST /gateway/{call}", *(headers[name] for name in SIGNED)]
        text = "".join(f"{line}\n" for line in lines).encode() + body
        return {**headers, "X-Bank-Signature": self.sign(text)}

    def post(self, call: str, body: bytes, headers: dict[str, str]) -> requests.Response:
        return requests.post(
            f"{self.gateway.url}gateway/{call}",
            data=body,
            headers={**headers, "Content-Type": "application/json"},
            timeout=10,
            allow_redirects=False,
        )

    def read(self, answer: requests.Response, nonce: str) -> bytes:
        """Return the body of an answer, its signature and its question checked."""
        lines = [f"REPLY {nonce}", *(answer.headers[name] for name in SIGNED)]
        text = "".join(f"{line}\n" for line in lines).encode() + answer.content
        self.verify(text, answer.headers["X-Bank-Signature"])
        assert answer.headers["X-Bank-Key-Id"] == self.issued["LIANJIAO_BANK_BANK_KEY_ID"]
        return answer.content

    def fetch(self, call: str, **content: object) -> bytes:
        body = json.dumps(content, ensure_ascii=False).encode()
        headers = self.headers(call, body)
        return self.read(self.post(call, body, headers), headers["X-Bank-Nonce"])

    def ask(self, call: str, **content: object) -> dict:
        return json.loads(self.fetch(call, **content))

    def read_notice(self, place: int) -> dict:
        """Return a notice that came, its signature checked."""
        body, headers = self.inbox.bodies[place], self.inbox.headers[place]
        lines = ["POST /callbacks/payment", *(headers[name] for name in SIGNED)]
        self.verify(
            "".join(f"{line}\n" for line in lines).encode() + body, headers["X-Bank-Signature"]
        )
        return json.loads(body)

    # Business

    def card(self, **changes: object) -> str:
        """Return the number of a new card with 5000 yuan behind it."""
        holder = {"name": NAME, "id_kind": "01", "id_no": ID_NO, "phone": PHONE}
        card = {**holder, "balance_fen": 500000, **changes}
        return self.gateway.control("cards", **card)["card_no"]

    def terms(self, card_no: str, **changes: object) -> dict[str, object]:
        return {
            "agreement_no": "A0000000001",
            "name": NAME,
            "id_kind": "01",
            "id_no": ID_NO,
            "card_no": card_no,
            "phone": PHONE,
            "cap_fen": 100000,
            "period_cap_fen": 150000,
            "cycle": "MONTH",
            "debit_day": 10,
            "valid_from": "20261101",
            "valid_to": "20281231",
            "purpose": "住房公积金缴存",
            "notify_url": self.inbox.url,
            **changes,
        }

    def start(self, card_no: str, **changes: object) -> dict:
        return self.ask("sign/start", **self.terms(card_no, **changes))

    def code(self, phone: str = PHONE) -> str:
        return self.gateway.control("sms", phone=phone)["messages"][-1]["code"]

    def agree(self, card_no: str, **changes: object) -> str:
        """Sign an agreement and return the bank's number of it."""
        terms = self.terms(card_no, **changes)
        serial = self.ask("sign/start", **terms)["sms_serial"]
        answer = self.ask(
            "sign/confirm",
            agreement_no=terms["agreement_no"],
            sms_serial=serial,
            sms_code=self.code(str(terms["phone"])),
        )
        assert answer["state"] == "ACTIVE"
        return answer["channel_agreement_no"]

    def debit(self, agreement: str, amount_fen: int = 50000, **changes: object) -> dict:
        content = {
            "order_no": "D0000000001",
            "channel_agreement_no": agreement,
            "amount_fen": amount_fen,
            "purpose": "2026-11",
            "notify_url": self.inbox.url,
            **changes,
        }
        return self.ask("debit", **content)

    def find(self, order_no: str = "D0000000001") -> dict:
        return self.ask("debit/query", order_no=order_no)

    def pay_out(self, card_no: str, amount_fen: int = 30000, **changes: object) -> dict:
        content = {
            "payout_no": "P0000000001",
            "card_no": card_no,
            "name": NAME,
            "amount_fen": amount_fen,
            "purpose": "提取",
            "notify_url": self.inbox.url,
            **changes,
        }
        return self.ask("payout", **content)

    def balance(self) -> int:
        return self.ask("balance")["balance_fen"]

    def books(self) -> dict:
        return self.gateway.look("books")

    # Files

    def with_files(
        self, use: Callable[[asyncssh.SFTPClient], Awaitable[object]], **changes: object
    ) -> object:
        """Log in and let `use` work with the files; returns what it returns."""

        async def run() -> object:
            async with (
                asyncssh.connect("127.0.0.1", **self.login(**changes)) as connection,
                connection.start_sftp_client() as files,
            ):
                return await use(files)

        with ThreadPoolExecutor(1) as thread:  # A browser's loop may run in this one.
            return thread.submit(asyncio.run, run()).result()

    def login(self, **changes: object) -> dict[str, object]:
        port = self.gateway.control("files/port")["port"]
        host_key = Path(self.issued["LIANJIAO_BANK_SFTP_HOST_KEY_FILE"]).read_text()
        return {
            "port": port,
            "username": self.issued["LIANJIAO_BANK_SFTP_USER"],
            "client_keys": [self.issued["LIANJIAO_BANK_SFTP_PRIVATE_KEY_FILE"]],
            "known_hosts": asyncssh.import_known_hosts(f"[127.0.0.1]:{port} {host_key}"),
            "config": None,
            "agent_path": None,
            **changes,
        }

    def put(self, name: str, content: bytes) -> None:
        """Upload as the product will: under a draft's name, then renamed."""

        async def upload(files: asyncssh.SFTPClient) -> None:
            async with files.open(f"inbox/{name}.tmp", "wb") as file:
                await file.write(content)
            await files.rename(f"inbox/{name}.tmp", f"inbox/{name}")

        self.with_files(upload)

    def file_name(self, sequence: str = "0001", kind: str = "DK") -> str:
        return f"{kind}_{self.merchant_id}_20261124_{sequence}.txt"

    def hand_in(self, content: bytes, sequence: str = "0001", signature: str | None = None) -> None:
        """Upload a file, its signature and its marker, and let the bank take it in."""
        name = self.file_name(sequence)
        self.put(name, content)
        self.put(f"{name}.sig", (signature or self.sign(content)).encode())
        self.put(f"{name}.ok", b"")
        self.gateway.look("health")

    def take_all(self) -> dict[str, bytes]:
        """Return every file in the outbox by name."""
        self.gateway.look("health")

        async def download(files: asyncssh.SFTPClient) -> dict[str, bytes]:
            found = {}
            for name in sorted(await files.listdir("outbox")):
                if name not in {".", ".."}:
                    async with files.open(f"outbox/{name}", "rb") as file:
                        found[name] = await file.read()
            return found

        return self.with_files(download)

    def take(self, kind: str, sequence: str = "0001") -> list[list[str]]:
        """Return the records of an answer, its signature, marker and digest checked."""
        files, name = self.take_all(), self.file_name(sequence, kind)
        content = files[name]
        self.verify(content, files[f"{name}.sig"].decode())
        assert files[f"{name}.ok"] == b""
        lines = content.decode("gb18030").split("\r\n")
        assert lines.pop() == ""
        records = [line.split("|") for line in lines]
        last = len(f"{lines[-1]}\r\n".encode("gb18030"))
        assert records[-1][3] == sm3(content[:-last])
        return records

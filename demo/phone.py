"""手机 A person's phone, and the doors it knocks at: our API, a gateway's control API."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import requests

from demo.screen import DemoFailed

_TIMEOUT_SECONDS = 30


class Door:
    """JSON over HTTP at one address."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()
        # A proxy of the environment has no business between processes of one machine.
        self._session.trust_env = False

    def is_open(self, path: str) -> bool:
        """Tell whether somebody answers there."""
        try:
            return self._session.get(self.url + path, timeout=2).ok
        except requests.RequestException:
            return False

    def ask(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        token: str = "",
        status: int = 200,
    ) -> Any:
        """Return the JSON answered; every POST carries a fresh Idempotency-Key.

        Raises:
            DemoFailed: nobody answered, or not with this status.
        """
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if method == "POST":
            headers["Idempotency-Key"] = secrets.token_hex(16)
        try:
            answer = self._session.request(
                method, self.url + path, json=body, headers=headers, timeout=_TIMEOUT_SECONDS
            )
        except requests.RequestException as error:
            raise DemoFailed(
                f"{method} {self.url}{path} 无应答（{type(error).__name__}）"
            ) from None
        if answer.status_code != status:
            raise DemoFailed(
                f"{method} {path} 应答 {answer.status_code}，应为 {status}：{answer.text[:400]}"
            )
        return answer.json()


class Gateway(Door):
    """A gateway's control API: wallets, log-in codes, trouble, and the books it keeps itself."""

    def __init__(self, platform: str, name: str, port: int) -> None:
        super().__init__(f"http://127.0.0.1:{port}")
        self.platform = platform
        self.name = name

    def control(self, call: str, **body: Any) -> Any:
        """Make a POST call."""
        return self.ask("POST", f"/_control/{call}", body)

    def read(self, what: str) -> Any:
        """Make a GET call."""
        return self.ask("GET", f"/_control/{what}")

    def trade(self, order_no: str) -> dict[str, Any]:
        """Return what the gateway's own books say of an order.

        Raises:
            DemoFailed: they know no such order.
        """
        for trade in self.read("books")["trades"]:
            if trade["out_trade_no"] == order_no:
                return dict(trade)
        raise DemoFailed(f"{self.name}网关账簿中没有订单 {order_no}")

    def wallet_fen(self, payer: str) -> int:
        """Return what is in a payer's wallet."""
        wallets = {row["payer"]: row["balance_fen"] for row in self.read("books")["payers"]}
        return int(wallets[payer])


class Phone:
    """A person in the mini-program of one platform, with that platform's wallet."""

    def __init__(self, api: Door, gateway: Gateway, *, wallet_fen: int) -> None:
        self._api = api
        self.gateway = gateway
        self.payer: str = gateway.control("payers", balance_fen=wallet_fen)["payer"]
        self.token = ""  # nosec B105  # none yet

    def log_in(self) -> bool:
        """Log in with a fresh code and return whether the person has an account."""
        code = self.gateway.control("login_codes", payer=self.payer)["code"]
        body = {"platform": self.gateway.platform, "code": code}
        session = self._api.ask("POST", "/api/v1/session", body, status=201)
        self.token = session["token"]
        return bool(session["enrolled"])

    def get(self, path: str) -> Any:
        return self._api.ask("GET", f"/api/v1/{path}", token=self.token)

    def post(self, path: str, body: dict[str, Any] | None = None, *, status: int = 201) -> Any:
        return self._api.ask("POST", f"/api/v1/{path}", body, token=self.token, status=status)

    def order(self, amount_fen: int) -> dict[str, Any]:
        """Place the order of a deposit; `payment` is what the wallet needs."""
        body = {"channel": self.gateway.platform, "amount_fen": amount_fen}
        return dict(self.post("deposits", body))

    def pay(self, order: dict[str, Any]) -> None:
        """Confirm in the wallet."""
        self.gateway.control("pay", payer=self.payer, phone=order["payment"])

    def agree(self, terms: dict[str, Any]) -> Any:
        """Read the text of an agreement, sign it, and return the agreement."""
        draft = self.post("agreement/preview", terms, status=200)
        consent = {"text_sha256": draft["text_sha256"], "device": "演示手机"}
        return self.post("agreement", {**terms, **consent})

    def agree_to_messages(self, templates: Mapping[str, str]) -> None:
        """Allow the mini-program messages by these templates, by topic."""
        for template_id in templates.values():
            self.gateway.control(
                "messages/consent", payer=self.payer, template_id=template_id, count=9
            )

    def inbox(self, template_id: str) -> list[dict[str, Any]]:
        """Return the messages by a template that have reached the phone, oldest first."""
        messages = self.gateway.control("messages/inbox", payer=self.payer)["messages"]
        return [dict(row) for row in messages if row["template_id"] == template_id]

    def is_credited(self, order_no: str) -> bool:
        return bool(self.get(f"deposits/{order_no}")["state"] == "succeeded")

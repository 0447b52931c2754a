"""支付宝签名 The texts that requests and notices sign, written from the protocol alone."""

from __future__ import annotations

from collections.abc import Mapping


def request_text(fields: Mapping[str, str]) -> str:
    """Return what a request signs: raw values, without `sign` and without empty ones."""
    return _join({name: value for name, value in fields.items() if value and name != "sign"})


def notice_text(fields: Mapping[str, str], *, keeps_sign_type: bool = False) -> str:
    """Return what a notice signs: all fields that are sent, empty ones too, without `sign`.

    Notices of trades and agreements leave out `sign_type` as well; messages to the application's
    gateway address keep it.
    """
    left_out = {"sign"} if keeps_sign_type else {"sign", "sign_type"}
    return _join({name: value for name, value in fields.items() if name not in left_out})


def _join(fields: Mapping[str, str]) -> str:
    return "&".join(f"{name}={fields[name]}" for name in sorted(fields))

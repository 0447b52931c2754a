"""The v2 signature with the sign type that we agreed on (MD5), and a key that stays out of logs."""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Mapping

from wechatpy.pay.utils import calculate_signature

# The signed text joins fields with "&": a value like this could have been fields of their own.
_FIELDS_IN_VALUE = re.compile(r"&[A-Za-z_][A-Za-z0-9_.$-]*=")


def sign(fields: Mapping[str, str], api_key: str) -> str:
    """Return the MD5 signature over `fields`, in upper-case hex."""
    return str(calculate_signature(fields, api_key))


def is_genuine(fields: Mapping[str, str], api_key: str) -> bool:
    """Whether `fields` carry the MD5 signature made with our key over all the other fields.

    What the message itself claims in `sign_type` chooses nothing: it is one signed field more.
    """
    given = fields.get("sign", "")
    if not given or not api_key:
        return False
    others = {name: value for name, value in fields.items() if name != "sign"}
    if any(_FIELDS_IN_VALUE.search(value) for value in others.values()):
        return False
    expected = sign(others, api_key)
    return hmac.compare_digest(given.encode("utf-8"), expected.encode("utf-8"))


def _is_not_debug(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.INFO


def keep_key_out_of_logs() -> None:
    """Silence the DEBUG records of wechatpy: they hold the API key and whole messages.

    The level can be set anew by any later logging configuration; the filters stay.
    """
    top = logging.getLogger("wechatpy")
    if top.level < logging.INFO:
        top.setLevel(logging.INFO)
    for name in list(logging.root.manager.loggerDict):
        if name == "wechatpy" or name.startswith("wechatpy."):
            logger = logging.getLogger(name)
            if _is_not_debug not in logger.filters:
                logger.addFilter(_is_not_debug)

"""The WeChat gateway's signatures and XML against what the merchant documentation prints."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from sandbox.wechat.signing import Malformed, is_signed, read_xml, seal, sign, write_xml

KEY = "192006250b4c09247ec02edce69f6a2d"
FIELDS = {
    "mch_id": "10000100",
    "appid": "wxd930ea5d5a258f4f",
    "nonce_str": "ibuaiVcKdpRxkhJA",
    "device_info": "1000",
    "body": "test",
    "attach": "",
}


def test_the_published_signatures_come_out():
    assert sign(FIELDS, KEY) == "9A0A8659F005D6984697E2CA0A9CF3B7"
    assert sign(FIELDS, KEY, "HMAC-SHA256") == (
        "6A9AE1657590FD6257D693A078E1C3E4BB6BA4DC30B23E0EE2496E54170DACD6"
    )


def test_a_signature_holds_with_the_sign_in_place_and_falls_with_any_change():
    signature = sign(FIELDS, KEY)
    assert is_signed({**FIELDS, "sign": signature}, signature, KEY, "MD5")
    assert not is_signed({**FIELDS, "body": "tesu"}, signature, KEY, "MD5")
    assert not is_signed({**FIELDS, "new": "field"}, signature, KEY, "MD5")
    assert not is_signed(FIELDS, "签" * 32, KEY, "MD5")


def test_xml_comes_back_as_it_went():
    fields = {"a": "<b>&]]>", "c": "缴存,`", "d": ""}
    assert read_xml(write_xml(fields)) == fields


@pytest.mark.parametrize(
    "body",
    [
        b'<!DOCTYPE xml [<!ENTITY a "b">]><xml><c>&a;</c></xml>',
        b"<!DOCTYPE xml><xml></xml>",
        b"<xml><a>1</a><a>1</a></xml>",
        b"<xml><a><b/></a></xml>",
        b"<xml>text</xml>",
        b'<xml><a b="c">1</a></xml>',
        b"<?php x?><xml></xml>",
        b"<xml></xml><xml></xml>",
        b"<xml><a>" + b"x" * 70000 + b"</a></xml>",
    ],
)
def test_anything_but_flat_xml_is_refused(body: bytes):
    with pytest.raises(Malformed):
        read_xml(body)


def test_req_info_opens_with_the_md5_of_the_key():
    sealed = base64.b64decode(seal(b"<root></root>", KEY))
    secret = hashlib.md5(KEY.encode()).hexdigest().encode()
    opener = Cipher(algorithms.AES(secret), modes.ECB()).decryptor()
    assert opener.update(sealed) + opener.finalize() == b"<root></root>" + b"\x03" * 3

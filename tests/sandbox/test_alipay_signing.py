"""The Alipay gateway's signatures against vectors made by openssl, and the shapes of answers."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from sandbox.alipay.answers import SHAPES, Answers
from sandbox.alipay.door import read_message
from sandbox.alipay.signing import notice_text, request_text
from sandbox.keys import is_signed, sign
from tests.sandbox.alipay_client import top_level

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "alipay.json").read_text(encoding="utf-8")
)
KEYS = {
    name: (load_pem_private_key if "private" in name else load_pem_public_key)(
        pem.encode(), *([None] if "private" in name else [])
    )
    for name, pem in VECTORS["keys"].items()
}


def test_a_request_signs_as_the_vector_says():
    vector = VECTORS["request"]
    text = request_text(vector["params"])
    assert text == vector["string_to_sign"]
    assert sign(text.encode(), KEYS["app_private"]) == vector["sign"]
    assert is_signed(text.encode(), vector["sign"], KEYS["app_public"])


def test_a_request_drops_empty_values_and_its_signature():
    fields = {"b": "2", "a": "1", "empty": "", "sign": "x", "sign_type": "RSA2"}
    assert request_text(fields) == "a=1&b=2&sign_type=RSA2"


def test_a_request_is_read_from_the_wire_as_it_was_signed():
    vector = VECTORS["request"]
    message = read_message("GET", vector["urlencoded"].encode(), b"", "")
    assert request_text(message.fields) == vector["string_to_sign"]
    assert message.fields["sign"] == vector["sign"]


@pytest.mark.parametrize("vector", VECTORS["responses"])
def test_an_answer_signs_as_the_vector_says(vector: dict):
    content = vector["signed_substring"].encode()
    assert sign(content, KEYS["alipay_private"]) == vector["sign"]
    assert is_signed(content, vector["sign"], KEYS["alipay_public"])
    parts = top_level(vector["http_body"])
    assert parts[vector["node_key"]] == vector["signed_substring"]


@pytest.mark.parametrize("vector", VECTORS["notifies"].values(), ids=VECTORS["notifies"])
def test_a_notice_signs_as_the_vector_says(vector: dict):
    text = notice_text(vector["params"], keeps_sign_type=vector["rule"].startswith("V2"))
    assert text == vector["string_to_sign"]
    content = text.encode(vector["charset"])
    assert sign(content, KEYS["alipay_private"]) == vector["params"]["sign"]
    assert is_signed(content, vector["params"]["sign"], KEYS["alipay_public"])
    sent = parse_qsl(vector["form_body"], keep_blank_values=True, encoding=vector["charset"])
    assert dict(sent) == vector["params"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda signature: "",
        lambda signature: signature[:-4],
        lambda signature: signature.replace("+", " "),
        lambda signature: signature + "!",
        lambda signature: "公积金",
        lambda signature: signature[:20] + ("A" if signature[20] != "A" else "B") + signature[21:],
    ],
)
def test_anything_but_the_signature_is_refused(spoil):
    vector = VECTORS["request"]
    content = vector["string_to_sign"].encode()
    assert "+" in vector["sign"]
    assert not is_signed(content, spoil(vector["sign"]), KEYS["app_public"])
    assert not is_signed(content, vector["sign"], KEYS["alipay_public"])
    assert not is_signed(content + b" ", vector["sign"], KEYS["app_public"])


def test_every_shape_signs_exactly_the_bytes_that_are_sent():
    answers = Answers(KEYS["alipay_private"], plain=False)
    node = {"code": "10000", "msg": "Success", "body": '引号" 括号 } {', "url": "http://x/a"}
    bodies = [answers.write("a_response", node, "utf-8") for _ in range(2 * len(SHAPES))]
    assert bodies[: len(SHAPES)] == bodies[len(SHAPES) :]
    assert len(set(bodies)) == len(SHAPES)
    for body in bodies:
        parts = top_level(body.decode())
        assert is_signed(
            parts["a_response"].encode(), json.loads(parts["sign"]), KEYS["alipay_public"]
        )
        assert json.loads(parts["a_response"]) | {"msg": "Success"} == node
    assert any(b"\\/" in body for body in bodies)
    assert any(b'"http://x/a"' in body for body in bodies)
    assert any("括号".encode() in body for body in bodies)
    assert any(b"\\u62ec" in body for body in bodies)
    assert any(body.startswith(b'{"sign"') for body in bodies)
    assert any(b"alipay_cert_sn" in body for body in bodies)
    messages = [json.loads(body)["a_response"]["msg"] for body in bodies]
    assert any("}" in message for message in messages)
    assert all(one != other for one, other in pairwise(bodies))


def test_answers_with_a_bad_signature_or_none():
    answers = Answers(KEYS["alipay_private"], plain=True)
    unsigned = answers.write("a_response", {"code": "10000"}, "utf-8", is_signed=False)
    assert unsigned == b'{"a_response":{"code":"10000"}}'
    spoilt = json.loads(answers.write("a_response", {"code": "10000"}, "utf-8", is_true=False))
    assert len(spoilt["sign"]) == 344
    assert not is_signed(b'{"code":"10000"}', spoilt["sign"], KEYS["alipay_public"])


def test_the_signature_is_pkcs1_with_sha256():
    key = KEYS["alipay_private"]
    answers = Answers(key, plain=True)
    answer = json.loads(answers.write("a_response", {"code": "10000"}, "utf-8"))
    content = b'{"code":"10000"}'
    expected = base64.b64encode(key.sign(content, PKCS1v15(), SHA256())).decode()
    assert answer["sign"] == expected

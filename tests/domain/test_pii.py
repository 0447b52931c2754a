"""What the vault promises: it gives back what it was given, for that field, or says why not."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import FundError
from app.domain.pii import (
    TamperedValue,
    UnknownKey,
    Vault,
    VaultError,
    read_data_keys,
    write_data_key,
)

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
INDEX = b"i" * 32
CIPHERS = ["aes-256-gcm", "sm4-gcm"]


def a_vault(cipher="aes-256-gcm", **keys: bytes) -> Vault:
    keys = keys or {"k1": OLD}
    return Vault(keys, active=list(keys)[-1], index_key=INDEX, cipher=cipher)


@pytest.fixture(params=CIPHERS)
def either(request) -> Vault:
    return a_vault(request.param)


def test_opens_what_it_sealed(either):
    sealed = either.seal("320722199005060028", context="contributor.document_no")
    assert either.open(sealed, context="contributor.document_no") == "320722199005060028"


@given(st.binary(max_size=300))
def test_opens_any_bytes_that_it_sealed(body):
    for cipher in CIPHERS:
        vault = a_vault(cipher)
        sealed = vault.seal(body, context="channel_callback.body")
        assert vault.open_bytes(sealed, context="channel_callback.body") == body


def test_the_same_value_never_looks_alike(either):
    assert either.seal("测试用户", context="a.b") != either.seal("测试用户", context="a.b")


def test_the_plain_value_is_not_inside(either):
    assert b"13800000000" not in either.seal("13800000000", context="contributor.phone")


def test_a_value_of_another_field_does_not_open(either):
    sealed = either.seal("13800000000", context="contributor.phone")
    with pytest.raises(TamperedValue):
        either.open(sealed, context="contributor.document_no")


def test_every_flipped_bit_is_noticed(either):
    sealed = either.seal("测试用户", context="contributor.real_name")
    for position in range(len(sealed)):
        for bit in range(8):
            altered = bytearray(sealed)
            altered[position] ^= 1 << bit
            with pytest.raises(VaultError):
                either.open(bytes(altered), context="contributor.real_name")


def test_every_cut_and_every_tail_is_noticed(either):
    sealed = either.seal("测试用户", context="contributor.real_name")
    for length in range(len(sealed)):
        with pytest.raises(VaultError):
            either.open(sealed[:length], context="contributor.real_name")
    with pytest.raises(TamperedValue):
        either.open(sealed + b"\x00", context="contributor.real_name")


def test_each_cipher_opens_what_the_other_sealed():
    aes, sm4 = a_vault("aes-256-gcm"), a_vault("sm4-gcm")
    assert sm4.open(aes.seal("测试", context="a.b"), context="a.b") == "测试"
    assert aes.open(sm4.seal("测试", context="a.b"), context="a.b") == "测试"
    assert Vault.cipher_of(sm4.seal("测试", context="a.b")) == "sm4-gcm"


def test_calling_an_sm4_value_aes_does_not_open_it():
    sealed = bytearray(a_vault("sm4-gcm").seal("测试", context="a.b"))
    sealed[0] = 1
    with pytest.raises(TamperedValue):
        a_vault().open(bytes(sealed), context="a.b")


def test_a_value_names_its_key():
    assert Vault.key_id_of(a_vault(k1=OLD, k2=NEW).seal("x", context="a.b")) == "k2"


def test_an_old_key_still_opens_and_resealing_takes_the_new_one():
    sealed = a_vault(k1=OLD).seal("测试", context="a.b")
    both = a_vault(k1=OLD, k2=NEW)
    assert both.open(sealed, context="a.b") == "测试"
    fresh = both.reseal(sealed, context="a.b")
    assert a_vault(k2=NEW).open(fresh, context="a.b") == "测试"


def test_an_unknown_key_is_named_and_is_a_fund_error():
    sealed = a_vault(k1=OLD).seal("测试", context="a.b")
    with pytest.raises(UnknownKey) as refused:
        a_vault(k2=NEW).open(sealed, context="a.b")
    assert isinstance(refused.value, FundError)
    assert refused.value.code == "vault_unknown_key"
    assert "k1" in refused.value.message


def test_the_right_id_with_another_key_does_not_open():
    sealed = a_vault(k1=OLD).seal("测试", context="a.b")
    with pytest.raises(TamperedValue):
        a_vault(k1=NEW).open(sealed, context="a.b")


def test_bytes_that_are_no_text_do_not_open_as_text(either):
    with pytest.raises(TamperedValue):
        either.open(either.seal(b"\xff\xfe", context="a.b"), context="a.b")


def test_the_blind_index_finds_equal_values_of_one_field_only(either):
    phone = either.blind_index("13800000000", context="contributor.phone")
    assert phone == either.blind_index("13800000000", context="contributor.phone")
    assert phone != either.blind_index("13800000001", context="contributor.phone")
    assert phone != either.blind_index("13800000000", context="contributor.document")
    assert len(phone) == 32


def test_the_blind_index_depends_on_its_key_and_not_on_the_data_keys():
    other_index = Vault({"k1": OLD}, active="k1", index_key=b"j" * 32)
    index = a_vault(k1=OLD).blind_index("13800000000", context="a")
    assert index != other_index.blind_index("13800000000", context="a")
    assert index == a_vault(k1=OLD, k2=NEW).blind_index("13800000000", context="a")


def test_context_and_value_cannot_be_shifted_into_each_other():
    vault = a_vault()
    assert vault.blind_index("bc", context="a") != vault.blind_index("c", context="ab")


def test_sm4_brings_sm3_unless_the_old_hash_is_kept():
    sm, aes = a_vault("sm4-gcm"), a_vault("aes-256-gcm")
    kept = Vault({"k1": OLD}, active="k1", index_key=INDEX, cipher="sm4-gcm", index_hash="sha256")
    assert sm.blind_index("x", context="a") != aes.blind_index("x", context="a")
    assert kept.blind_index("x", context="a") == aes.blind_index("x", context="a")


@pytest.mark.parametrize(
    ("keys", "active", "index_key"),
    [
        ({}, "k1", INDEX),
        ({"k1": OLD}, "k2", INDEX),
        ({"k1": OLD[:16]}, "k1", INDEX),
        ({"k1": OLD}, "k1", b"short"),
        ({"k 1": OLD}, "k 1", INDEX),
        ({"钥": OLD}, "钥", INDEX),
        ({"k" * 17: OLD}, "k" * 17, INDEX),
    ],
)
def test_unusable_keys_are_refused_at_the_start(keys, active, index_key):
    with pytest.raises(VaultError):
        Vault(keys, active=active, index_key=index_key)


def test_no_key_stands_in_the_repr():
    assert repr(a_vault(k1=OLD, k2=NEW)) == "Vault(keys=['k1', 'k2'], active='k2')"


def test_data_keys_are_read_in_order():
    text = f"{write_data_key('k2', NEW)}, {write_data_key('k1', OLD)}"
    assert list(read_data_keys(text).items()) == [("k2", NEW), ("k1", OLD)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "k1",
        "k1:",
        "k1:????",
        f"k1:{base64.b64encode(OLD[:31]).decode()}",
        f":{base64.b64encode(OLD).decode()}",
        f"{write_data_key('k1', OLD)},{write_data_key('k1', NEW)}",
        f"{write_data_key('k1', OLD)},",
    ],
)
def test_bad_data_keys_are_refused_without_showing_them(text):
    with pytest.raises(VaultError) as refused:
        read_data_keys(text)
    assert base64.b64encode(OLD).decode() not in refused.value.message

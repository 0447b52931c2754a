"""No parser does anything but accept what may be accepted, or refuse in the one way it declares."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import CORPUS, TARGETS, Target, accepts, seeds_of

EVERY = [(name, seed) for name in TARGETS for seed in seeds_of(name)]

# What is done to a message: where, how much of it, and what with.
PLACES = st.integers(0, 2**20)
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["set", "cut", "double", "token", "bytes", "swap", "other"]),
        PLACES,
        st.integers(1, 64),
        st.binary(min_size=1, max_size=8),
        PLACES,
    ),
    max_size=6,
)


def changed(name: str, seed: bytes, changes: list[tuple[str, int, int, bytes, int]]) -> bytes:
    """Return a message with these changes made to it, one after another."""
    others, tokens = list(seeds_of(name).values()), TARGETS[name].tokens
    data = seed
    for kind, place, length, some, chosen in changes:
        at = place % (len(data) + 1)
        head, part, tail = data[:at], data[at : at + length], data[at + length :]
        other = others[chosen % len(others)]
        data = {
            "set": head + some[: len(part)] + data[at + len(some[: len(part)]) :],
            "cut": head + tail,
            "double": head + part + part + tail,
            "token": head + tokens[chosen % len(tokens)] + part + tail,
            "bytes": head + some + part + tail,
            "swap": head + part[::-1] + tail,
            "other": head + other[chosen % (len(other) + 1) :],
        }[kind]
    return data


@pytest.mark.parametrize(("name", "seed"), EVERY)
def test_every_message_that_is_kept(name: str, seed: str) -> None:
    """«valid-…» is accepted, «nasty-…» is refused; whatever was found once goes on being right."""
    taken = accepts(TARGETS[name], (CORPUS / name / seed).read_bytes())
    assert taken == {"valid": True, "nasty": False}.get(seed.partition("-")[0], taken)


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_holds_both_kinds(name: str) -> None:
    kinds = [seed.partition("-")[0] for seed in seeds_of(name)]
    assert kinds.count("valid") >= 2
    assert kinds.count("nasty") >= 5


@pytest.mark.parametrize("name", TARGETS)
@settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data())
def test_messages_changed_by_chance(name: str, data: st.DataObject) -> None:
    seed = data.draw(st.sampled_from(sorted(seeds_of(name))))
    changes = data.draw(CHANGES)
    accepts(TARGETS[name], changed(name, seeds_of(name)[seed], changes))


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=200, deadline=None, derandomize=True)
@given(pieces=st.lists(st.one_of(st.binary(max_size=6), st.integers(0, 99)), max_size=12))
def test_heaps_of_pieces(name: str, pieces: list[bytes | int]) -> None:
    tokens = TARGETS[name].tokens
    accepts(
        TARGETS[name],
        b"".join(p if isinstance(p, bytes) else tokens[p % len(tokens)] for p in pieces),
    )


# -- How much it costs ------------------------------------------------------------------------

# Messages that grow: by depth, by number, by length, by what must be compared with what.
GROWING: dict[str, dict[str, Callable[[int], bytes]]] = {
    "wechat_xml": {
        "elements": lambda n: (
            b"<xml>%s</xml>" % b"".join(b"<a%d>1</a%d>" % (i, i) for i in range(n))
        ),
        "depth": lambda n: b"<xml>" * n + b"</xml>" * n,
        "text": lambda n: b"<xml><a>" + b"1" * 10 * n + b"</a></xml>",
        "entities": lambda n: b"<xml><a>" + b"&amp;" * n + b"</a></xml>",
        "lines": lambda n: b"<xml><a>" + b"1\n" * n + b"</a></xml>",
        "sections": lambda n: b"<xml><a>" + b"<![CDATA[1]]>" * n + b"</a></xml>",
        "brackets": lambda n: b"<xml><a><![CDATA[" + b"]]" * n + b"]]></a></xml>",
        "no end": lambda n: b"<xml><a>" + b"<![CDATA[" * n,
    },
    "wechat_notice": {
        "fields in a value": lambda n: (
            b"<xml><return_code>SUCCESS</return_code><sign>1</sign><a>"
            + b"&amp;a" * n
            + b"</a></xml>"
        ),
        "a long name in a value": lambda n: (
            b"<xml><return_code>SUCCESS</return_code>"
            b"<sign>1</sign><a>&amp;" + b"a" * 10 * n + b"</a></xml>"
        ),
    },
    "alipay_form": {
        "fields": lambda n: b"&".join(b"a%d=1" % number for number in range(n)),
        "a value": lambda n: b"a=" + b"1" * 10 * n,
        "escapes": lambda n: b"a=" + b"%41" * n,
        "ampersands": lambda n: b"a=" + b"%26a" * n,
    },
    "alipay_answer": {
        "members": lambda n: b"{%s}" % b",".join(b'"a%d":1' % number for number in range(n)),
        "depth": lambda n: b'{"a":' + b"[" * n + b"]" * n + b"}",
        "objects in objects": lambda n: b'{"a":' * n + b"1" + b"}" * n,
        "one name again and again": lambda n: b'{"a":{%s}}' % b",".join([b'"a":1'] * n),
        "doubles in doubles": lambda n: _doubled(n.bit_length()),
        "digits": lambda n: b'{"a":' + b"1" * 10 * n + b"}",
        "quotes": lambda n: b'{"a":"' + b'\\"' * n + b'"}',
        "no end": lambda n: b'{"a":"' + b"\\" * n,
    },
    "bank_notice": {
        "members": lambda n: b"{%s}" % b",".join(b'"a%d":1' % number for number in range(n)),
        "depth": lambda n: b"[" * n + b"]" * n,
        "digits": lambda n: b'{"a":' + b"1" * 10 * n + b"}",
    },
    "bank_results": {
        "lines": lambda n: b"H|DKR|20261124|0001|1|1|CNY|898312345678|1.0\r\n" + b"D\r\n" * n,
        "one long line": lambda n: b"H|" * n,
    },
    "strict_json": {
        "members": lambda n: b"{%s}" % b",".join(b'"a%d":1' % number for number in range(n)),
        "depth": lambda n: b"[" * n + b"]" * n,
        "width": lambda n: b"[%s]" % b",".join([b"[]"] * n),
        "digits": lambda n: b"1" * 10 * n,
        "blanks": lambda n: b" " * 10 * n + b"x",
    },
}
COSTS = [(name, growth) for name, growths in GROWING.items() for growth in growths]


def _doubled(levels: int) -> bytes:
    text = b"1"
    for _ in range(levels):
        text = b'{"a":%s,"a":%s}' % (text, text)
    return b'{"a":%s}' % text


@pytest.mark.parametrize(("name", "growth"), COSTS)
def test_twice_the_message_costs_twice_and_no_more(name: str, growth: str) -> None:
    """Counted in calls and not in seconds: the machine's mood has no part in it."""
    target, make = TARGETS[name], GROWING[name][growth]
    small, large = make(1_000), make(2_000)
    _calls_of(target, small)
    assert _calls_of(target, large) <= 2.5 * _calls_of(target, small) + 200


@pytest.mark.parametrize(("name", "growth"), COSTS)
def test_no_message_takes_more_memory_than_its_length_warrants(name: str, growth: str) -> None:
    data = GROWING[name][growth](4_000)
    _calls_of(TARGETS[name], data)
    tracemalloc.start()
    _read(TARGETS[name], data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * len(data) + 256 * 1024


def _read(target: Target, data: bytes) -> None:
    try:
        target.read(data)
    except target.declared:
        return


def _calls_of(target: Target, data: bytes) -> int:
    calls = 0

    def count(_frame: object, _event: str, _argument: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    try:
        _read(target, data)
    finally:
        sys.setprofile(None)
    return calls

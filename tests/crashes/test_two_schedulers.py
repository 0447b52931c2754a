"""Two schedulers at the same work, killed with -9 at their commits and started again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.crashes.house import PLATFORMS, SEED, House, open_house, until
from tests.crashes.mariadb import APPLICATION_USER, MariaDb
from tests.crashes.processes import Group
from tests.crashes.riders import Rider, enrol_riders
from tests.crashes.wire import Fate, Rule, Wire

PASSWORD = "Tongguan-2026"
REFUND = {"wechat": "secapi/pay/refund", "alipay": "alipay.trade.refund"}
NAMES = ("scheduler-1", "scheduler-2")


@pytest.fixture
def house(group: Group, mariadb: MariaDb, wire: Wire, tmp_path: Path) -> Iterator[House]:
    with open_house(
        group,
        tmp_path,
        database=mariadb.url(APPLICATION_USER, port=wire.port),
        engine=mariadb.admin,
    ) as house:
        for gateway in house.gateways.values():
            gateway.lose_notices()
        yield house


@pytest.fixture
def reviewer(house: House) -> str:
    """A reviewer's token."""
    assert house.flask("demo", "staff", "--password", PASSWORD).returncode == 0
    person = {"username": "reviewer", "password": PASSWORD}
    answer = requests.post(f"{house.url}/staff/api/v1/session", json=person, timeout=60)
    return str(answer.json()["token"])


def ask_back(rider: Rider, reviewer: str, amount_fen: int, *, is_done: bool) -> None:
    """Leave a refund whose outcome we do not know: the channel has done it, or never got it."""
    gateway = rider.house.gateways[rider.platform]
    order_no = rider.deposit(50_000)
    gateway.deliver(order_no)
    wish = {"amount_fen": amount_fen, "reason": "duplicate"}
    refund_no = rider.insist("POST", f"deposits/{order_no}/refunds", wish)["refund_no"]
    gateway.control("troubles", at=REFUND[rider.platform], kind="http_500", done=is_done)
    released = requests.post(
        f"{rider.house.url}/staff/api/v1/refunds/{refund_no}/release",
        json={"note": "同意"},
        headers={"Authorization": f"Bearer {reviewer}"},
        timeout=60,
    )
    assert released.json()["state"] == "unknown"


def at_commit(number: int, fate: Fate) -> Rule:
    """Return a rule whose victim is the COMMIT of this number."""
    seen = 0

    def decide(_number: int, statement: str) -> Fate | int | str:
        nonlocal seen
        seen += statement == "COMMIT"
        return fate if statement == "COMMIT" and seen == number else Fate.PASS

    return decide


def test_lost_notices_and_open_refunds_end_once(house: House, wire: Wire, reviewer: str) -> None:
    chance = random.Random(SEED)
    riders = enrol_riders(house, PLATFORMS * 3)
    for number, rider in enumerate(riders):
        ask_back(rider, reviewer, 10_000, is_done=number < 4)
        for _ in range(3):
            rider.deposit(12_150)

    def all_has_ended() -> bool:
        refunds = {state for (state,) in house.rows("SELECT state FROM refund")}
        return house.everything_is_recorded() and refunds == {"succeeded"}

    caught = 0
    for ahead_seconds in (60, 120):
        # On a later clock: what was claimed by one that died is due again.
        house.keep_schedulers(*NAMES, ahead_seconds=ahead_seconds)
        fate = chance.choice([Fate.FREEZE, Fate.FREEZE_AFTER])
        wire.obey(at_commit(chance.randrange(5, 40), fate))
        until(lambda: wire.frozen.is_set() or all_has_ended(), "a scheduler is caught at a commit")
        caught += wire.frozen.is_set()
        for name in chance.choice([NAMES[:1], NAMES[1:], NAMES]):
            house.processes[name].kill()
        wire.heal()
    house.keep_schedulers(*NAMES, ahead_seconds=400)
    until(all_has_ended, "orders and refunds have ended")
    assert caught  # in the middle of the work

    for platform, gateway in house.gateways.items():
        refunds = gateway.look("books")["refunds"]
        assert [refund["amount_fen"] for refund in refunds] == [10_000] * 3, platform
    keys = [key for (key,) in house.rows("SELECT posting_key FROM journal_entry")]
    kinds = [key.partition(":")[0] for key in keys]
    # Six riders with four deposits, a subsidy and a refund each.
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "deposit": 24,
        "opening-subsidy": 6,
        "refund": 6,
    }
    house.check_books()
    # 500.00 and three times 121.50, the opening subsidy of 200.00, less 100.00 refunded.
    assert {rider.balance_fen() for rider in riders} == {50_000 + 36_450 + 20_000 - 10_000}

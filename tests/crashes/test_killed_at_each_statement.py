"""A worker killed with -9 before and after every statement of a notice's transaction."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.crashes.house import House, accepts, open_house, until
from tests.crashes.mariadb import APPLICATION_USER, MariaDb
from tests.crashes.processes import Group
from tests.crashes.riders import Rider, enrol_riders
from tests.crashes.wire import Fate, Rule, Wire, at_statement


@pytest.fixture(scope="module")
def house(
    group: Group, mariadb: MariaDb, wire: Wire, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    with open_house(
        group,
        tmp_path_factory.mktemp("house"),
        database=mariadb.url(APPLICATION_USER, port=wire.port),
        engine=mariadb.admin,
        # A worker that was killed is replaced at once, by a fork.
        web_options=("--preload",),
    ) as house:
        for gateway in house.gateways.values():
            gateway.lose_notices()
        yield house
        house.check_books()


@pytest.mark.parametrize(
    ("platform", "fate", "earlier"),
    [("wechat", Fate.FREEZE, 0), ("alipay", Fate.FREEZE_AFTER, 0), ("alipay", Fate.FREEZE, 1)],
)
def test_the_repeated_notice_is_recorded_once(
    house: House, wire: Wire, platform: str, fate: Fate, earlier: int
) -> None:
    """The statement does not arrive, or it does and its answer does not, and the worker dies.

    With an earlier deposit there is no opening subsidy: fewer statements, another way through.
    """

    def dies(number: int, *, since: str) -> bool:
        (rider,) = enrol_riders(house, [platform])
        for _ in range(earlier):
            (reply,) = house.gateways[platform].deliver(rider.deposit(12_150))
            assert accepts(reply)
        return dies_at(wire, rider, at_statement(number, fate, since=since))

    deaths = 0
    while dies(deaths + 1, since="FROM payment_order"):
        deaths += 1
    # The order, the entry, its lines, the balance, the evidence, COMMIT; and with a first deposit
    # the opening subsidy with its entry.
    assert deaths > (5 if earlier else 10)
    # A connection that knows the day asks less, so that the numbers may have left this one out.
    assert dies(1, since="COMMIT")


def dies_at(wire: Wire, rider: Rider, rule: Rule) -> bool:
    """Kill the web's workers at a statement of a notice, and let the notice be repeated.

    Returns: False if there is no such statement.
    """
    house, gateway = rider.house, rider.house.gateways[rider.platform]
    order_no = rider.deposit(50_000)
    wire.obey(rule)
    with ThreadPoolExecutor(max_workers=1) as thread:
        delivery = thread.submit(gateway.deliver, order_no)
        until(lambda: wire.frozen.is_set() or delivery.done(), "the statement comes")
        died = wire.frozen.is_set()
        if died:
            house.web.kill_children()
        wire.heal()
        (reply,) = delivery.result()
    assert accepts(reply) is not died
    until(lambda: accepts(gateway.deliver(order_no)[0]), "the notice is accepted")
    numbers = [number for number, _, _ in house.recorded(rider.platform)]
    assert numbers.count(order_no) == 1
    assert rider.balance_fen() == rider.due_fen()
    return died

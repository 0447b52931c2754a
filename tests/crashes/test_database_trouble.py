"""The database down, silent, read-only, full of connections, cut off: nothing lost, nothing twice.

While it lasts a notice is refused, so that the channel sends it again, the API says 503 in the one
error shape, and `/readyz` says 503. Afterwards the repeated notice is recorded once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import requests
from sqlalchemy import create_engine, text

from tests.crashes.house import House, accepts, is_honest_refusal, open_house, until
from tests.crashes.mariadb import APPLICATION_USER, MariaDb
from tests.crashes.processes import Group
from tests.crashes.riders import Rider, check_refusal, enrol_riders
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
        database_timeout_seconds="2",
    ) as house:
        for gateway in house.gateways.values():
            gateway.lose_notices()
        yield house
        house.check_books()


@pytest.fixture
def rider(house: House, wire: Wire) -> Iterator[Rider]:
    """A rider with an account: on which platform makes no difference to the database."""
    (rider,) = enrol_riders(house, ["wechat"])
    yield rider
    wire.heal()


def deliver(rider: Rider, order_no: str) -> tuple[int | None, str]:
    (reply,) = rider.house.gateways[rider.platform].deliver(order_no)
    return reply


def pending(house: House) -> list[tuple[int]]:
    """Return the notices that are stored and not applied."""
    return house.rows("SELECT id FROM channel_callback WHERE result = 'pending'")


def check_recorded_once(rider: Rider, order_no: str) -> None:
    """Let the channel repeat its notice until it is accepted: the money is there, once."""
    until(lambda: accepts(deliver(rider, order_no)), "the notice is accepted")
    house = rider.house
    if pending(house):
        house.flask("jobs", "run", "apply-callbacks")
    numbers = [number for number, _, _ in house.recorded(rider.platform)]
    assert numbers.count(order_no) == 1
    assert rider.balance_fen() == rider.due_fen()


Trouble = Callable[[MariaDb, Wire, ExitStack], None]
"""Begins a trouble, and says how it ends."""


# -- for a while nothing works ---------------------------------------------------------------------


def down(mariadb: MariaDb, _wire: Wire, afterwards: ExitStack) -> None:
    mariadb.kill()
    afterwards.callback(mariadb.wait_until_up)
    afterwards.callback(mariadb.start)


def read_only(mariadb: MariaDb, _wire: Wire, afterwards: ExitStack) -> None:
    mariadb.execute("SET GLOBAL read_only = 1")
    afterwards.callback(mariadb.execute, "SET GLOBAL read_only = 0")


def without_rights(mariadb: MariaDb, _wire: Wire, afterwards: ExitStack) -> None:
    mariadb.execute(f"REVOKE ALL ON lianjiao.* FROM {APPLICATION_USER}@'%'")
    mariadb.hang_up_on(APPLICATION_USER)  # Who is connected would keep the rights.
    afterwards.callback(mariadb.grant)


def full_of_connections(mariadb: MariaDb, _wire: Wire, afterwards: ExitStack) -> None:
    mariadb.execute("SET GLOBAL max_connections = 10")
    afterwards.callback(mariadb.execute, "SET GLOBAL max_connections = 100")
    mariadb.hang_up_on(APPLICATION_USER)
    others = create_engine(mariadb.url(APPLICATION_USER), pool_size=10)
    afterwards.callback(others.dispose)
    for _ in range(10):
        afterwards.enter_context(others.connect())


def cut_off(_mariadb: MariaDb, wire: Wire, afterwards: ExitStack) -> None:
    wire.obey(lambda _number, _statement: Fate.CUT)
    afterwards.callback(wire.heal)


def silent(_mariadb: MariaDb, wire: Wire, afterwards: ExitStack) -> None:
    wire.obey(lambda _number, _statement: Fate.FREEZE)
    afterwards.callback(wire.heal)


def out_of_its_cluster(_mariadb: MariaDb, wire: Wire, afterwards: ExitStack) -> None:
    wire.obey(lambda _number, _statement: 1047)  # What a node without a majority answers.
    afterwards.callback(wire.heal)


@pytest.mark.parametrize(
    "begin",
    [down, read_only, without_rights, full_of_connections, cut_off, silent, out_of_its_cluster],
)
def test_while_nothing_works_everybody_is_told_so(
    rider: Rider, mariadb: MariaDb, wire: Wire, begin: Trouble
) -> None:
    order_no, url = rider.deposit(50_000), rider.house.url
    order = {"channel": rider.platform, "amount_fen": 12_150}
    with ExitStack() as afterwards, ThreadPoolExecutor() as threads:
        begin(mariadb, wire, afterwards)
        delivery = threads.submit(deliver, rider, order_no)
        readiness = threads.submit(requests.get, f"{url}/readyz", timeout=120)
        attempt = threads.submit(rider.ask, "POST", "deposits", order)
        assert requests.get(f"{url}/healthz", timeout=60).status_code == 200
        assert is_honest_refusal(delivery.result())
        for answer in (readiness.result(), attempt.result()):
            assert answer.status_code == 503
            assert check_refusal(answer)["detail"] == {}
    check_recorded_once(rider, order_no)
    assert rider.house.is_ready()


def test_a_full_table_refuses_what_would_be_written(rider: Rider, wire: Wire) -> None:
    order_no = rider.deposit(50_000)
    wire.obey(lambda _number, text: 1114 if text.startswith("INSERT") else Fate.PASS)
    assert is_honest_refusal(deliver(rider, order_no))
    answer = rider.ask("POST", "deposits", {"channel": rider.platform, "amount_fen": 12_150})
    assert answer.status_code == 503
    assert rider.ask("GET", "account").json()["balance_fen"] == 0
    wire.heal()
    check_recorded_once(rider, order_no)


def test_a_slow_database_is_waited_for_and_the_repeated_notice_does_no_harm(
    rider: Rider, wire: Wire
) -> None:
    order_no = rider.deposit(50_000)
    wire.delay_seconds = 0.4  # A notice is some seventeen statements; the channel waits 5 seconds.
    assert is_honest_refusal(deliver(rider, order_no))
    assert rider.ask("GET", "account").status_code == 200
    wire.heal()
    check_recorded_once(rider, order_no)


# -- the line is cut once --------------------------------------------------------------------------


def test_a_notice_survives_a_cut_at_any_of_its_statements(rider: Rider, wire: Wire) -> None:
    cuts = 0
    while survives(rider, wire, at_statement(cuts + 1, Fate.CUT, since="FROM payment_order")):
        cuts += 1
    assert cuts > 5  # the order, the entry, its lines, the balance, the evidence, COMMIT
    # A connection that knows the day asks less, so that the numbers may have left this one out.
    assert survives(rider, wire, at_statement(1, Fate.CUT, since="COMMIT"))
    assert survives(rider, wire, at_statement(1, Fate.CUT_AFTER, since="COMMIT"))


def survives(rider: Rider, wire: Wire, rule: Rule) -> bool:
    """Cut the line at a statement of a notice; return False if there is no such statement."""
    order_no = rider.deposit(12_150)
    wire.obey(rule)
    reply = deliver(rider, order_no)
    struck = wire.struck
    wire.heal()
    assert accepts(reply)
    # It was run again at once. Lost at COMMIT it may be done: then it may also be kept for a job.
    assert struck == ["COMMIT"] or pending(rider.house) == []
    check_recorded_once(rider, order_no)
    return bool(struck)


def test_when_every_commit_is_lost_the_channel_is_asked_to_repeat(rider: Rider, wire: Wire) -> None:
    """What had been recorded, without anybody knowing, is not recorded again."""
    order_no = rider.deposit(50_000)
    wire.obey(lambda _number, statement: Fate.CUT_AFTER if statement == "COMMIT" else Fate.PASS)
    assert is_honest_refusal(deliver(rider, order_no))
    wire.heal()
    assert order_no in {number for number, _, _ in rider.house.recorded(rider.platform)}
    check_recorded_once(rider, order_no)


@pytest.mark.parametrize("fate", [Fate.CUT, Fate.CUT_AFTER])
def test_an_order_whose_commit_is_lost_is_unconfirmed_and_is_there_once_after_all(
    rider: Rider, wire: Wire, fate: Fate
) -> None:
    order = {"channel": rider.platform, "amount_fen": 12_150}
    wire.obey(at_commit_of("INSERT INTO payment_order", fate))
    answer = rider.ask("POST", "deposits", order, key="the-same-key")
    wire.heal()
    assert answer.status_code == 503
    assert check_refusal(answer)["code"] == "unconfirmed"
    placed = rider.ask("POST", "deposits", order, key="the-same-key")
    assert placed.status_code == 201
    again = rider.ask("POST", "deposits", order, key="the-same-key")
    assert again.json()["order_no"] == placed.json()["order_no"]
    assert len(rider.insist("GET", "deposits")["items"]) == 1


def at_commit_of(statement: str, fate: Fate) -> Rule:
    """Return a rule whose victim is the first COMMIT after this statement."""
    seen = False

    def decide(_number: int, text: str) -> Fate | int | str:
        nonlocal seen
        seen = seen or text.startswith(statement)
        if seen and text == "COMMIT":
            seen = False
            return fate
        return Fate.PASS

    return decide


def test_connections_that_died_meanwhile_cost_nobody_anything(
    rider: Rider, mariadb: MariaDb
) -> None:
    first, second = rider.deposit(50_000), rider.deposit(12_150)
    gateway = rider.house.gateways[rider.platform]
    # Enough at once that both workers have several connections.
    assert all(accepts(reply) for reply in gateway.deliver(first, copies=12))
    mariadb.kill()
    mariadb.start()
    mariadb.wait_until_up()
    assert all(accepts(reply) for reply in gateway.deliver(second, copies=12))
    assert pending(rider.house) == []
    assert rider.ask("GET", "account").status_code == 200
    check_recorded_once(rider, second)


# -- others hold the rows --------------------------------------------------------------------------


def test_a_notice_that_waited_too_long_for_a_row_runs_again(
    rider: Rider, mariadb: MariaDb, wire: Wire
) -> None:
    order_no = rider.deposit(50_000)
    wire.obey(be_impatient)
    mariadb.hang_up_on(APPLICATION_USER)  # New connections are impatient.
    with mariadb.admin.connect() as other, ThreadPoolExecutor() as threads:
        lock = text("SELECT id FROM payment_order WHERE order_no = :order_no FOR UPDATE")
        other.execute(lock, {"order_no": order_no})
        delivery = threads.submit(deliver, rider, order_no)
        until(lambda: runs_of(wire) >= 2, "the lock is waited for in vain")
        other.rollback()
        assert accepts(delivery.result())
    check_recorded_once(rider, order_no)


def be_impatient(_number: int, statement: str) -> Fate | str:
    whole = "innodb_lock_wait_timeout = 10"
    return statement.replace(whole, whole[:-1]) if whole in statement else Fate.PASS


def runs_of(wire: Wire) -> int:
    """Return how often the transaction of a notice has begun."""
    return sum("FROM payment_order" in statement for statement in list(wire.statements))


def test_a_notice_that_never_gets_the_row_is_kept_and_applied_later(
    rider: Rider, wire: Wire
) -> None:
    order_no = rider.deposit(50_000)
    wire.obey(lambda _number, text: 1205 if "FROM payment_order" in text else Fate.PASS)
    assert accepts(deliver(rider, order_no))
    assert runs_of(wire) >= 8
    wire.heal()
    rider.house.flask("jobs", "run", "apply-callbacks")
    assert rider.balance_fen() == 70_000  # 500.00 and the opening subsidy of 200.00
    check_recorded_once(rider, order_no)


def test_the_victim_of_a_deadlock_runs_again(rider: Rider, mariadb: MariaDb, wire: Wire) -> None:
    order_no = rider.deposit(50_000)
    deadlocks = count_deadlocks(mariadb)
    # The notice has its order and its account, and is about to ask for the person.
    wire.obey(at_statement(1, Fate.FREEZE, since="FROM contributor"))
    with mariadb.admin.connect() as other, ThreadPoolExecutor() as threads:
        delivery = threads.submit(deliver, rider, order_no)
        assert wire.frozen.wait(60)
        # The one that has changed more is spared.
        other.execute(text("CREATE TEMPORARY TABLE ballast (n INT PRIMARY KEY) ENGINE=InnoDB"))
        other.execute(text("INSERT INTO ballast SELECT seq FROM seq_1_to_1000"))
        other.execute(text("SELECT id FROM contributor FOR UPDATE"))
        wanting = threads.submit(other.execute, text("SELECT id FROM account FOR UPDATE"))
        until(lambda: is_waiting(mariadb), "the other one waits for the account")
        wire.thaw()
        wanting.result()
        other.rollback()
        assert accepts(delivery.result())
    assert count_deadlocks(mariadb) > deadlocks
    assert runs_of(wire) >= 2
    check_recorded_once(rider, order_no)


def count_deadlocks(mariadb: MariaDb) -> int:
    with mariadb.admin.connect() as connection:
        return int(connection.execute(text("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")).one()[1])


def is_waiting(mariadb: MariaDb) -> bool:
    query = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
    with mariadb.admin.connect() as connection:
        return bool(connection.scalar(text(query)))

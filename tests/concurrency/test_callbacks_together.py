"""Notices from many threads through two group commits, as two workers have them, on one MariaDB."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from typing import Any

from sqlalchemy import update

from app.db import GroupCommit
from app.domain.base import table_of
from app.domain.contributors.models import Account
from tests.builders import an_account
from tests.fund import Fund

ACCOUNT = table_of(Account)
THREADS, ORDERS_EACH = 8, 6


class Counting:
    """A group commit that keeps how many items each of its transactions had."""

    def __init__(self) -> None:
        self.together, self.sizes = GroupCommit(), list[int]()

    def __call__(self, item: Any, work: Callable[[Sequence[Any]], Sequence[Any]]) -> Any:
        def counted(items: Sequence[Any]) -> Sequence[Any]:
            self.sizes.append(len(items))
            return work(items)

        return self.together(item, counted)


def test_each_notice_is_credited_once_however_they_are_grouped(fund: Fund) -> None:
    """Two groups stand for two workers; each notice comes to both, from a thread each."""
    accounts = [an_account(fund.ports) for _ in range(3)]
    fund.ports.transact(
        lambda session: session.execute(update(ACCOUNT).values(first_deposit_on=date(2026, 1, 1)))
    )
    bodies = [
        fund.wechat.pay(fund.start(accounts[n % 3], 12_150).order_no)
        for n in range(THREADS * ORDERS_EACH)
    ]
    groups = [Counting(), Counting()]
    workers = [replace(fund, ports=replace(fund.ports, together=group)) for group in groups]
    gate = threading.Barrier(2 * THREADS)

    def deliver(worker: Fund, share: list[bytes]) -> list[str]:
        gate.wait(30)
        return [worker.notify(body) for body in share]

    shares = [bodies[n::THREADS] for n in range(THREADS)]
    with ThreadPoolExecutor(2 * THREADS) as threads:
        answers = [
            threads.submit(deliver, worker, share if worker is workers[0] else share[::-1])
            for worker in workers
            for share in shares
        ]
    assert [answer.result() for answer in answers] == [["ok"] * ORDERS_EACH] * (2 * THREADS)
    # 16 of the 48 orders are each account's: 16 x 121.50.
    assert [fund.money(account) for account in accounts] == [(194_400, 0)] * 3
    assert sorted(fund.callback_results()) == ["credited"] * 48 + ["duplicate"] * 48
    assert fund.offences() == []
    assert max(size for group in groups for size in group.sizes) > 1

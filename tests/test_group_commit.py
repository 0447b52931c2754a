"""Threads that wait for each other share one piece of work, and each gets its own answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from app.db import GroupCommit

PATIENCE_SECONDS = 30


def all_wait(together: GroupCommit, count: int) -> bool:
    """Tell whether so many items wait for their turn."""
    with together._changed:
        return together._changed.wait_for(lambda: len(together._waiting) == count, timeout=0.01)


def behind_one_at_work(
    together: GroupCommit,
    items: Sequence[int],
    work: Callable[[Sequence[int]], Sequence[str | None]],
) -> list[Future[str | None]]:
    """Give `items` from a thread each while another thread's work holds them up."""
    begun, go_on = threading.Event(), threading.Event()

    def hold_up(alone: Sequence[int]) -> Sequence[str | None]:
        begun.set()
        assert go_on.wait(PATIENCE_SECONDS)
        return ["first"] * len(alone)

    with ThreadPoolExecutor(max_workers=len(items) + 1) as threads:
        first = threads.submit(together, 0, hold_up)
        assert begun.wait(PATIENCE_SECONDS)
        later = []
        for count, item in enumerate(items, start=1):
            later.append(threads.submit(together, item, work))
            while not all_wait(together, count):
                pass
        assert not any(future.done() for future in (first, *later))
        go_on.set()
    assert first.result() == "first"
    return later


def test_a_lone_item_is_worked_on_at_once() -> None:
    seen: list[Sequence[int]] = []

    def work(items: Sequence[int]) -> Sequence[str]:
        seen.append(items)
        return ["done"]

    assert GroupCommit()(7, work) == "done"
    assert seen == [[7]]


def test_those_who_wait_share_the_next_work_and_each_gets_its_own_result() -> None:
    seen: list[Sequence[int]] = []

    def work(items: Sequence[int]) -> Sequence[str]:
        seen.append(items)
        return [f"item {item}" for item in items]

    answers = behind_one_at_work(GroupCommit(), [1, 2, 3], work)
    assert [answer.result() for answer in answers] == ["item 1", "item 2", "item 3"]
    assert seen == [[1, 2, 3]]


def test_an_item_without_a_result_is_left_to_its_own_thread() -> None:
    def work(items: Sequence[int]) -> Sequence[str | None]:
        return [None if item == 2 else "done" for item in items]

    answers = behind_one_at_work(GroupCommit(), [1, 2, 3], work)
    assert [answer.result() for answer in answers] == ["done", None, "done"]


def test_work_that_raises_is_done_for_nobody_and_the_next_one_still_runs() -> None:
    together = GroupCommit()

    def work(_items: Sequence[int]) -> Sequence[str]:
        raise RuntimeError("a bug of ours")

    answers = behind_one_at_work(together, [1, 2, 3], work)
    raised = [answer.exception() for answer in answers]
    assert [type(error) for error in raised if error] == [RuntimeError]
    assert [answer.result() for answer in answers if not answer.exception()] == [None, None]
    assert together(4, lambda _items: ["done"]) == "done"


@pytest.mark.parametrize("results", [[], ["one"] * 5])
def test_a_wrong_number_of_results_is_an_error_and_keeps_nobody_waiting(
    results: list[str],
) -> None:
    together = GroupCommit()
    with pytest.raises(ValueError, match="zip"):
        together(1, lambda _items: results)
    assert together(2, lambda _items: ["done"]) == "done"

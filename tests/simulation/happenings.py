"""What may happen in a town at any step, and how likely each of it is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from app.domain.key_rotation import rotate_keys
from tests.simulation import people
from tests.simulation.misfortunes import MISFORTUNES
from tests.simulation.world import LAST_LEAP, NoAnswer

if TYPE_CHECKING:
    from tests.simulation.town import Town

JOB_WEIGHTS = {
    "resolve-orders": 4,
    "resolve-refunds": 6,
    "apply-callbacks": 2,
    "resume-agreements": 1,
    "seal-days": 1,
    "remove-expired": 1,
}
"""How often each job is woken. In life a daily one is not woken twice a day; here it may be."""
KEYS = {f"k{number}": bytes([number]) * 32 for number in range(1, 50)}


def time_goes_by(town: Town) -> None:
    """Move the clock: seconds mostly, sometimes to what comes next, seldom far, seldom back."""
    world, random = town.world, town.random
    world.now += timedelta(seconds=random.choice([0, 0, 0, 1, 2, 5]))
    if world.happens(0.06) and world.next_wake is not None and world.now < LAST_LEAP:
        world.now = max(world.now, world.next_wake - timedelta(seconds=random.choice([0, 5])))
    elif world.happens(0.0005) and world.now < LAST_LEAP:
        world.now += timedelta(seconds=random.choice([600, 2_000, 20_000, 200_000]))
    elif world.happens(0.0005):
        town.set_the_clock_back()


def _a_night_falls(town: Town) -> None:
    """Ten seconds before midnight in Shanghai; later the day is sealed, and the clock errs."""
    world = town.world
    if town.night or world.now >= LAST_LEAP:
        return
    town.night = True
    world.now = max(world.now, world.now.replace(hour=15, minute=59, second=50))

    def flow() -> None:
        world.sleep(town.random.choice([15, 660, 1_200]))
        town.run_job("seal-days")
        if world.happens(0.5):
            town.set_the_clock_back()
        town.night = False

    world.spawn("night", flow)


def _somebody_comes(town: Town) -> None:
    person = town.newcomer()
    town.world.spawn(person.name, partial(people.live, town, person))


def _a_misfortune_comes(town: Town) -> None:
    """Each comes once before one comes again, in the order that the seed says."""
    if not town.misfortunes:
        town.misfortunes = town.random.sample(MISFORTUNES, len(MISFORTUNES))
    misfortune, person = town.misfortunes.pop(), town.newcomer()
    town.world.note(misfortune.__name__)
    town.world.spawn(person.name, partial(misfortune, town, person), spared=True)


def _a_notice_arrives(town: Town) -> None:
    channel = town.some_channel()
    due = [n for n in channel.notices if n.due_at <= town.world.now]
    if due:
        notice = town.random.choice(due)
        channel.notices.remove(notice)
        town.world.spawn("notice", partial(people.deliver, town, channel, notice))


def _a_job_runs(town: Town) -> None:
    name = town.random.choices(list(JOB_WEIGHTS), list(JOB_WEIGHTS.values()))[0]
    town.world.spawn(name, partial(town.run_job, name))


def _a_refund_ends(town: Town) -> None:
    channel = town.some_channel()
    if under_way := channel.under_way():
        state = "done" if town.world.happens(0.9) else "failed"
        channel.end_refund(town.random.choice(under_way), state)


def _somebody_forges(town: Town) -> None:
    channel = town.some_channel()
    trades = list(channel.trades.values())
    trade = town.random.choice(trades) if trades and town.world.happens(0.7) else None
    people.forge(town, channel, trade)


def _a_channel_is_rogue(town: Town) -> None:
    town.some_channel().break_a_promise()


def _a_channel_is_down(town: Town) -> None:
    channel, seconds = town.some_channel(), town.random.choice([60, 600, 3_600])
    channel.down_until = town.world.now + timedelta(seconds=seconds)
    town.world.note(f"{channel.name} is down for {seconds} s")


def _a_process_is_killed(town: Town) -> None:
    town.world.kill(town.random.choice([*town.webs, *town.schedulers]))


def _the_key_is_changed(town: Town) -> None:
    if town.key_number == len(KEYS):
        return
    town.key_number += 1

    def flow() -> None:
        for process in [*town.webs, *town.schedulers]:
            town.world.sleep(town.random.choice([1, 60]))
            town.world.kill(process)
        with suppress(NoAnswer):
            town.world.ask(town.schedulers[1], partial(rotate_keys, batch_size=20))

    town.world.spawn("administrator", flow)


def _the_counter_restricts(town: Town) -> None:
    town.world.spawn("counter", partial(people.change_status, town))


DEEDS: dict[Callable[[Town], None], float] = {
    _somebody_comes: 1.5,
    _a_misfortune_comes: 6,
    _a_notice_arrives: 30,
    _a_job_runs: 10,
    people.decide: 8,
    people.ask_back_at_the_desk: 2,
    _a_refund_ends: 8,
    _somebody_forges: 3,
    _a_channel_is_rogue: 5,
    _a_channel_is_down: 0.3,
    _a_process_is_killed: 1,
    _the_key_is_changed: 0.2,
    _the_counter_restricts: 0.7,
    _a_night_falls: 0.5,
}

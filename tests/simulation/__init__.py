"""A deterministic simulation of the fund: real flows, a real database, faults by the seed."""

from __future__ import annotations

from dataclasses import dataclass

from tests.simulation.database import Template
from tests.simulation.town import Town
from tests.simulation.world import World


class Failure(Exception):
    """A seed that went wrong: what it was, the last of the story, and how to see it again."""

    def __init__(self, world: World, steps: int, error: BaseException, *, on_server: bool) -> None:
        story = "\n".join(f"  {line}" for line in world.events)
        server = " DATABASE=…" if on_server else ""
        super().__init__(
            f"seed {world.seed} failed at step {world.step}: {type(error).__name__}: {error}\n"
            f"{story}\nSee it again: make simulate SEED={world.seed} STEPS={steps}{server}"
        )


@dataclass(frozen=True)
class Result:
    """What a run was like; `digest` is equal for two runs of one seed on one kind of database."""

    steps: int
    people: int
    orders: int
    refunds: int
    entries: int
    digest: str

    def __str__(self) -> str:
        return (
            f"{self.steps} steps, {self.people} people, {self.orders} orders,"
            f" {self.refunds} refunds, {self.entries} entries, {self.digest}"
        )


def simulate(template: Template, *, seed: int, steps: int) -> Result:
    """Run one seed for so many steps, let it come to rest and compare the books.

    Raises:
        Failure: something was not as it must be.
    """
    world = World(seed)
    town = Town(world, template.fresh())
    try:
        town.run(steps)
    except Exception as error:
        raise Failure(world, steps, error, on_server=template.server is not None) from error
    finally:
        town.close()
    channels = town.channels.values()
    return Result(
        steps=world.step,
        people=len(town.person_of),
        orders=sum(len(channel.trades) for channel in channels),
        refunds=sum(len(channel.refunds) for channel in channels),
        entries=len(town.books.keys),
        digest=world.digest.hexdigest(),
    )

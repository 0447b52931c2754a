"""One simulated world: its clock, its chance, and who moves next.

Every flow (a person, a delivery of a notice, a job, a clerk) is a greenlet; all of them share one
thread. A flow hands over before each transaction and each call to a channel, and the scheduler
chooses who goes on. All chance comes from one `random.Random(seed)`, so a seed replays exactly.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from greenlet import getcurrent, greenlet
from pymysql.err import OperationalError as DriverError
from sqlalchemy.exc import OperationalError

from app.db import CommitUnconfirmed

T = TypeVar("T")

BEGINNINGS = (datetime(2026, 11, 24, 2, 0, tzinfo=UTC), datetime(2026, 12, 30, 15, 0, tzinfo=UTC))
LAST_LEAP = datetime(2027, 10, 1, tzinfo=UTC)
"""The programme ends with 2027; a long story slows down before."""
EVENTS_SHOWN = 40
INTENSITIES = (0, 0.5, 1, 4)
STORM = 10
"""How many times as often as usual a fault happens in a storm of it."""
ERA = 300
"""After so many steps every fault gets another intensity, and every deed another weight."""
FRESH = 0.04
"""How likely a fault is, at the least, where it has not struck yet."""
DEADLOCK, LOST_CONNECTION, DISK_FULL = 1213, 2013, 1021


class SimulatedCrash(BaseException):
    """The process is gone. No `except Exception` of the product can outlive it."""


class Trouble(OperationalError):
    """An error of the database that the simulation made."""

    def __init__(self, code: int) -> None:
        lost = code == LOST_CONNECTION
        error = DriverError(code, "simulated")
        super().__init__("simulated", None, error, connection_invalidated=lost)


class NoAnswer(Exception):
    """What a client sees of a crash, an error 500 or a lost reply."""


class Violation(AssertionError):
    """Something that must never be."""


@dataclass
class Process:
    """One operating-system process of ours; `memory` is what a crash takes away."""

    name: str
    boot: Callable[[], Any]
    memory: Any = None
    lives: int = 0


@dataclass(eq=False)
class Flow:
    """Something under way. While a process of ours works for it, it dies with that process."""

    name: str
    greenlet: greenlet
    process: Process | None = None
    life: int = 0
    spared: bool = False
    """Chance does it no harm: only its fate does."""
    fate: deque[str] = field(default_factory=deque)
    """Faults that strike it next, in this order, each where it can."""
    wakes_at: datetime | None = None

    def check_alive(self) -> None:
        if self.process is not None and self.process.lives != self.life:
            raise SimulatedCrash


@dataclass
class World:
    """The scheduler. `faults` is off while the world comes to rest."""

    seed: int
    step: int = 0
    faults: bool = True
    written: set[str] = field(default_factory=set)
    """Tables that our processes have written to since the witness looked last."""
    struck: set[tuple[str, str]] = field(default_factory=set)
    """Points of the product with the faults that have struck there already."""
    running: Flow | None = None
    ready: list[Flow] = field(default_factory=list)
    _asleep: list[tuple[datetime, int, Flow]] = field(default_factory=list)
    _serial: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.now = self.random.choice(BEGINNINGS)
        self.events: deque[str] = deque(maxlen=EVENTS_SHOWN)
        self.digest = hashlib.sha256()
        self.intensity: dict[str, float] = {}

    # -- chance ------------------------------------------------------------------------------

    def happens(self, probability: float) -> bool:
        return self.random.random() < probability

    def draw(self, likelihood: Mapping[str, float], *, at: str, fated: bool = True) -> str:
        """Return one of the faults, each with its probability; mostly «none».

        Where it is not `fated`, a flow's fate waits: it would do no harm here.

        Every era has faults of its own that it knows not at all or far too often: a mixture that is
        always the same would always miss the same things. And a point that is seldom reached must
        not wait for a rare fault: where one has not struck yet, it is likelier.
        """
        drawn = self.random.random()
        flow = self.running
        if fated and self.faults and flow and flow.fate and flow.fate[0] in likelihood:
            self.note(flow.fate[0])
            return flow.fate.popleft()
        if self.faults and not (flow and flow.spared):
            for fault, probability in likelihood.items():
                if fault not in self.intensity:
                    self.intensity[fault] = self.random.choice(INTENSITIES)
                chance = probability * self.intensity[fault]
                if chance and (at, fault) not in self.struck:
                    chance = max(chance, FRESH)
                drawn -= chance
                if drawn < 0:
                    self.struck.add((at, fault))
                    self.note(fault)
                    return fault
        return "none"

    def doom(self, *faults: str) -> None:
        """Let these faults strike the running flow next, and nothing that it escaped before."""
        if self.running is not None:
            self.running.fate = deque(faults)

    def change_the_weather(self) -> None:
        """Draw every fault's intensity afresh; a storm has one of them and no other.

        Heavy trouble of one kind finds what an even drizzle of all kinds never does.
        """
        met = sorted(self.intensity)
        self.intensity.clear()
        if met and self.happens(0.3):
            storm = self.random.choice(met)
            self.intensity.update(dict.fromkeys(met, 0) | {storm: STORM})
            self.note(f"a storm of {storm}")

    def new_number(self, prefix: str) -> str:
        return prefix + f"{self.random.getrandbits(124):031X}"[: 32 - len(prefix)]

    @property
    def next_wake(self) -> datetime | None:
        return self._asleep[0][0] if self._asleep else None

    # -- what a flow may do --------------------------------------------------------------------

    def turn(self, what: str) -> None:
        """Let others go first, perhaps, and go on with `what`."""
        flow = self.running
        if flow is not None and getcurrent() is flow.greenlet:
            flow.greenlet.parent.switch()
            flow.check_alive()
        self.note(what)

    def sleep(self, seconds: float) -> None:
        """Wait until the clock is that much later."""
        flow = self.running
        if flow is not None and getcurrent() is flow.greenlet:
            flow.wakes_at = self.now + timedelta(seconds=seconds)
            self.turn("wakes")

    def ask(self, process: Process, work: Callable[[Any], T]) -> T:
        """Have a process do something, as its client sees it.

        Raises:
            NoAnswer: it died before it answered.
        """
        flow = self.running
        if flow is None or getcurrent() is not flow.greenlet:
            return work(process.memory)
        flow.process, flow.life = process, process.lives
        try:
            return work(process.memory)
        except (SimulatedCrash, Trouble, CommitUnconfirmed):
            raise NoAnswer from None
        finally:
            flow.process = None

    def crash(self) -> SimulatedCrash:
        """Kill the process that works for the running flow; raise what this returns."""
        assert self.running is not None
        assert self.running.process is not None
        self.kill(self.running.process)
        return SimulatedCrash()

    def kill(self, process: Process) -> None:
        """End a process and start it afresh; everything under way in it ends at its next step."""
        self.note(f"{process.name} dies")
        process.lives += 1
        process.memory = process.boot()

    # -- the scheduler -------------------------------------------------------------------------

    def spawn(self, name: str, work: Callable[[], None], *, spared: bool = False) -> None:
        """Begin a flow; its first step comes when the scheduler chooses it."""
        self.ready.append(Flow(name, greenlet(work), spared=spared))

    def advance(self) -> bool:
        """Let one flow take one step. Returns False when there is none to take."""
        while self._asleep and self._asleep[0][0] <= self.now:
            self.ready.append(heapq.heappop(self._asleep)[2])
        if not self.ready:
            if not self._asleep:
                return False
            self.now = self._asleep[0][0]
            return self.advance()
        self.step += 1
        chosen = self.random.randrange(len(self.ready))
        self.ready[chosen], self.ready[-1] = self.ready[-1], self.ready[chosen]
        flow = self.ready.pop()
        self.running, flow.wakes_at = flow, None
        flow.greenlet.parent = getcurrent()
        try:
            flow.greenlet.switch()
        finally:
            self.running = None
        if flow.wakes_at is not None:
            self._serial += 1
            heapq.heappush(self._asleep, (flow.wakes_at, self._serial, flow))
        elif not flow.greenlet.dead:
            self.ready.append(flow)
        return True

    def note(self, what: str) -> None:
        """Write a line of the story. The digest of all lines is what two runs are compared by."""
        who = self.running.name if self.running else "world"
        line = f"{self.step} {self.now:%m-%d %H:%M:%S} {who}: {what}"
        self.events.append(line)
        self.digest.update(line.encode())

"""`python -m tests.simulation --seed 7`: simulate, and say how to see a failure again."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation import Failure, simulate
from tests.simulation.database import template

STEPS = 20_000


def main() -> int:
    """Simulate one seed, or one after the other for so many seconds."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of each seed")
    parser.add_argument("--seconds", type=float, default=0, help="go on with the next seeds")
    parser.add_argument("--database", help="a MariaDB server's URL; SQLite in memory without it")
    asked = parser.parse_args()
    begun = time.monotonic()
    seed = asked.seed
    with template(asked.database) as made:
        while True:
            started = time.monotonic()
            try:
                result = simulate(made, seed=seed, steps=asked.steps)
            except Failure as failure:
                sys.stdout.write(f"{failure}\n")
                return 1
            pace = result.steps / (time.monotonic() - started)
            sys.stdout.write(f"seed {seed}: {result}, {pace:.0f} steps/s\n")
            sys.stdout.flush()
            seed += 1
            if time.monotonic() - begun >= asked.seconds:
                return 0


if __name__ == "__main__":
    sys.exit(main())

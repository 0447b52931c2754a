"""`python -m tests.year --seed 7 --people 300`: live a year, and say what it was like."""

from __future__ import annotations

import argparse
import sys
import time
from datetime import timedelta

from app.domain.periods import add_months
from tests.year.run import LAST_DAY, Failure, live, template


def main() -> int:
    """Live one year, or so many with one seed after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.year", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--people", type=int, default=300)
    parser.add_argument("--months", type=int, default=12, help="how many of them")
    asked = parser.parse_args()
    last_day = add_months(LAST_DAY.replace(month=1, day=1), asked.months) - timedelta(days=1)
    with template() as made:
        for seed in range(asked.seed, asked.seed + asked.seeds):
            begun = time.monotonic()
            try:
                result = live(made, seed=seed, people=asked.people, last_day=last_day)
            except Failure as failure:
                sys.stdout.write(f"{failure}\n")
                return 1
            sys.stdout.write(f"seed {seed}: {result}, {time.monotonic() - begun:.0f} s\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())

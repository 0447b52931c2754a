"""A whole year of debits, day by day, through the jobs as they are, at channels that misbehave.

The seed decides who signs what, what people do, and what fails: each debit draws its fate from the
seed and its own number, so that a seed replays whichever thread sends it. Nothing here knows how
the product does its work; it only knows the channels' books and what people agreed to.
"""

from __future__ import annotations

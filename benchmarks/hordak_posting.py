"""django-hordak posting two legs, in an environment of its own: requirements-bench.txt.

Started with the port of the server. Sets its tables up, says `ready`, and for every number of
seconds read from standard input posts that long and answers with postings a second.
"""

from __future__ import annotations

import random
import sys
import time

import django
import pymysql
from django.conf import settings

ACCOUNTS = 1_000


def main(port: int) -> None:
    """Set up, then post on demand."""
    pymysql.version_info = (2, 2, 7, "final", 0)  # Django asks for a mysqlclient of that age.
    pymysql.install_as_MySQLdb()
    name = "hordak_benchmark"
    with pymysql.connect(host="127.0.0.1", port=port, user="root") as server:
        server.cursor().execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    settings.configure(
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "mptt", "hordak"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.mysql",
                "HOST": "127.0.0.1",
                "PORT": port,
                "USER": "root",
                "NAME": name,
                "OPTIONS": {"isolation_level": "read committed"},
            }
        },
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        DEFAULT_CURRENCY="CNY",
        HORDAK_CURRENCIES=["CNY"],
        HORDAK_INTERNAL_CURRENCY="CNY",
    )
    django.setup()
    _serve()


def _serve() -> None:
    from django.core.management import call_command  # noqa: PLC0415 needs the settings
    from hordak.models import Account  # noqa: PLC0415
    from moneyed import Money  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    asset, liability = Account.TYPES.asset, Account.TYPES.liability
    clearing = Account.objects.create(name="clearing", type=asset, currencies=["CNY"])
    contributors = [
        Account.objects.create(name=f"contributor {n}", type=liability, currencies=["CNY"])
        for n in range(ACCOUNTS)
    ]
    amount = Money("500.00", "CNY")
    _say("ready")
    for line in sys.stdin:
        begun, count = time.perf_counter(), 0
        while time.perf_counter() - begun < float(line):
            random.choice(contributors).transfer_to(clearing, amount)  # noqa: S311
            count += 1
        _say(str(count / (time.perf_counter() - begun)))


def _say(words: str) -> None:
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))

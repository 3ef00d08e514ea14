"""A projection worker is killed; how soon another shows what is written after that."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from allocation.adapters.postgresql.database import Database
from allocation.adapters.postgresql.schema import migrate
from allocation.domain.commands import Allouer, CréerLot
from allocation.projections.projector import register
from allocation.service_layer.bootstrap import bootstrap, projection_followers
from benchmarks.contestants import Bench
from benchmarks.experiments.lag import wait_until_visible
from benchmarks.findings import Figure, Finding, Series, Unit, at_most
from benchmarks.laboratory import fetch
from benchmarks.served import ALLOCATION, POLL_S
from benchmarks.shop import PLENTY

ROUNDS = 3
LINES_BEFORE = 50

# A listener asks from time to time whether the server is still there.
_LISTENERS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND query IN ('LISTEN "allocation_journal"', 'SELECT 1')
"""
START_TIMEOUT_S = 30


def takeover(bench: Bench) -> Finding:
    """Two workers on a database of their own, of which one is killed while it works."""
    seconds = Series("until another worker has taken over", Unit.SECONDS)
    url = bench.lab.create("takeover")
    with Database(url) as database:
        migrate(database)
        register(projection_followers(database))
        bus = bootstrap(database, inline=False)
        bus.handle(CréerLot("lot-1", "LAMPE", PLENTY))
        for number in range(ROUNDS):
            bench.say(f"killing a worker, {number + 1} of {ROUNDS}")
            with _worker(url, 1) as first, _worker(url, 2):
                for line in range(LINES_BEFORE):
                    bus.handle(Allouer(f"avant-{number}-{line}", "LAMPE", 1))
                first.send_signal(signal.SIGKILL)
                began = time.perf_counter()
                position = bus.handle(Allouer(f"après-{number}", "LAMPE", 1)).position
                wait_until_visible(url, position or 0)
                seconds.values.append(time.perf_counter() - began)
    return Finding(
        key="takeover",
        title="A worker dies",
        how=f"Two projection workers; one is killed with SIGKILL right after {LINES_BEFORE} allocations. "
        "Seconds until all read models have an allocation that is committed after that.",
        series=[seconds],
        figures=[Figure("a dead worker is replaced", seconds, at_most(1, Unit.SECONDS))],
    )


@contextmanager
def _worker(url: str, number: int) -> Iterator[subprocess.Popen[bytes]]:
    """The `number`th `allocation worker`, once it listens, until the context is left. Raises TimeoutError."""
    environment = os.environ | {"ALLOCATION_DATABASE_URL": url}
    with subprocess.Popen([ALLOCATION, "worker"], env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + START_TIMEOUT_S
            while fetch(url, _LISTENERS)[0][0] < number:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"no worker has begun to listen within {START_TIMEOUT_S} s")
                time.sleep(POLL_S)
            yield process
        finally:
            process.kill()

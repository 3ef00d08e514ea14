"""`allocation rebuild`, killed again and again: what it has done is kept, and in the end nothing differs."""

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
from benchmarks.shop import SPREAD, open_shop, receive
from tests.e2e.conftest import ALLOCATION, RunAllocation
from tests.waiting import eventually

from allocation.adapters.postgresql.database import Database
from allocation.domain.commands import Allouer
from allocation.projections import rebuild as rebuilding
from allocation.service_layer.bootstrap import bootstrap

LINES = 200
KILLS = 5
THROTTLE = 8000


@pytest.fixture
def shop(database: Database, database_url: str) -> Database:
    """200 SKUs with 200 lines each, and a view that knows nothing of them."""
    open_shop(database_url, 0)
    receive(database_url, [f"{sku}-bis" for sku in SPREAD], lines=LINES)
    return database


@contextmanager
def rebuild_under_way(database_url: str, source: str) -> Iterator[psutil.Popen]:
    """The command in a process of its own, which is killed in the end."""
    command = [ALLOCATION, "rebuild", "allocations_view", "--from", source, "--throttle", str(THROTTLE)]
    environment = os.environ | {"ALLOCATION_DATABASE_URL": database_url}
    with psutil.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        yield process
        process.kill()
        process.wait()


@pytest.mark.parametrize("source", ["model", "journal"])
def test_tuée_cinq_fois_la_reconstruction_garde_ce_qu_elle_a_fait_et_se_termine(
    shop: Database, database_url: str, allocation: RunAllocation, source: str
) -> None:
    bus = bootstrap(shop, inline=False)
    done = 0
    kept: list[int] = []
    for kill in range(KILLS):
        with rebuild_under_way(database_url, source) as process:
            goal = done + random.randrange(1, LINES * len(SPREAD) // KILLS // 2)
            _wait_for_progress(shop, goal)
            assert process.poll() is None
        done = _fait(shop)
        kept.append(done)
        bus.handle(Allouer(f"entre-{kill}", SPREAD[kill], 1))

    assert kept == sorted(kept)
    assert kept[0] > 0
    finished = allocation("rebuild", "allocations_view", "--from", source)
    assert finished.returncode == 0, finished.stderr
    assert _fait(shop) >= LINES * len(SPREAD)
    verified = allocation("verify", "allocations_view")
    assert (verified.returncode, verified.stdout) == (0, "")


def _wait_for_progress(database: Database, goal: int) -> None:
    eventually(lambda: _fait(database) >= goal)


def _fait(database: Database) -> int:
    state = rebuilding.find(database, "allocations_view")
    return 0 if state is None or (not state.under_way and state.phase != "done") else state.fait

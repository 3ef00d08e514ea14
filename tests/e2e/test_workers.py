"""Several projection workers: one works on a projection at a time, and another takes over when it dies."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from tests.e2e.conftest import ALLOCATION
from tests.waiting import PATIENCE_S, eventually, wait_until_reached

from allocation.adapters.postgresql.database import Database
from allocation.adapters.write_model.postgresql_unit_of_work import PostgreSQLUnitOfWork
from allocation.domain.commands import Allouer, CréerLot
from allocation.projections.verify import verify
from allocation.service_layer.bootstrap import bootstrap, projection_followers
from allocation.service_layer.messagebus import MessageBus
from allocation.views.progress import progress

Bus = MessageBus[PostgreSQLUnitOfWork]


@pytest.fixture
def bus(database: Database) -> Bus:
    bus = bootstrap(database, inline=False)
    bus.handle(CréerLot("lot-1", "LAMPE", 10_000))
    return bus


@contextmanager
def worker(database_url: str) -> Iterator[subprocess.Popen[bytes]]:
    """`allocation worker`, once it follows the journal, until the context is left."""
    environment = os.environ | {"ALLOCATION_DATABASE_URL": database_url}
    with subprocess.Popen([ALLOCATION, "worker"], env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: _listeners(database_url) > 0)
            yield process
        finally:
            process.kill()
            process.wait(PATIENCE_S)


def test_quand_un_travailleur_est_tué_l_autre_prend_la_suite_à_chaque_fois(
    database: Database, database_url: str, bus: Bus
) -> None:
    for n in range(3):
        with worker(database_url) as first:
            acheter(database, bus, f"avant-{n}")
            with worker(database_url):
                eventually(lambda: _listeners(database_url) == 2)
                first.send_signal(signal.SIGKILL)
                acheter(database, bus, f"après-{n}")

    assert list(verify(database, projection_followers(database))) == []


def test_quand_tous_sont_tués_rien_n_est_perdu_au_retour(
    database: Database, database_url: str, bus: Bus
) -> None:
    with worker(database_url) as first, worker(database_url) as second:
        acheter(database, bus, "avant")
        for process in (first, second):
            process.send_signal(signal.SIGKILL)
        end = [bus.handle(Allouer(f"sans-{n}", "LAMPE", 1)).position for n in range(20)][-1]
        assert end is not None
    assert all(reader.position < end for reader in progress(database) if reader.kind == "projection")

    with worker(database_url):
        wait_until_reached(database, end)

    assert list(verify(database, projection_followers(database))) == []


def acheter(database: Database, bus: Bus, commande: str) -> None:
    """Allocate a line, and wait until the views have it."""
    position = bus.handle(Allouer(commande, "LAMPE", 1)).position
    assert position is not None
    wait_until_reached(database, position)


def _listeners(database_url: str) -> int:
    """How many workers listen to the journal."""
    with psycopg.connect(database_url) as connection:
        [(number,)] = connection.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query IN ('LISTEN \"allocation_journal\"', 'SELECT 1')"
        ).fetchall()
    return int(number)

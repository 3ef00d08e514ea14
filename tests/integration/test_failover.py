"""The primary dies under load, and a standby that does not keep up with it takes over."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from threading import Event as Signal

import psutil
import pytest
from sqlalchemy import make_url
from tests.postgresql_server import OtherServer, kill_all, other_server
from tests.standby import Standby, new_standby
from tests.waiting import eventually

from allocation.adapters.embedded.embedded_postgresql import DATABASE
from allocation.adapters.postgresql.database import Database, StorageUnavailable
from allocation.adapters.postgresql.schema import migrate
from allocation.domain.commands import Allouer, CréerLot
from allocation.projections.verify import verify
from allocation.service_layer.bootstrap import bootstrap
from allocation.service_layer.group_commit import GaveUp

CLIENTS = 8
ENOUGH = 60


@dataclass(frozen=True)
class Answered:
    """An order that was answered: where its allocation stands, and when it was asked for."""

    order: str
    position: int
    asked_at: float


@pytest.fixture
def primary() -> Iterator[OtherServer]:
    with other_server() as server:
        with Database(server.url) as database:
            migrate(database)
        yield server


@pytest.fixture
def standby(primary: OtherServer) -> Iterator[Standby]:
    with new_standby() as standby:
        standby.create(primary.url)
        yield standby


@pytest.mark.parametrize("_time", range(5))
def test_après_le_passage_à_une_réplique_en_retard_aucune_réponse_n_est_fausse(
    primary: OtherServer, standby: Standby, _time: int
) -> None:
    hosts = [make_url(url).query["host"] for url in (primary.url, standby.url(DATABASE))]
    with Database(f"postgresql://postgres@/{DATABASE}?host={hosts[0]},{hosts[1]}") as database:
        bus = bootstrap(database, inline=False)
        bus.handle(CréerLot("lot-1", "LAMPE", 1_000_000))
        standby.wait_until_caught_up()
        orders, over, answered = count(1), Signal(), list[Answered]()

        def allocate() -> None:
            while not over.is_set():
                order, asked_at = f"c-{next(orders)}", time.monotonic()
                with suppress(StorageUnavailable, GaveUp):
                    results = bus.handle(Allouer(order, "LAMPE", 1))
                    answered.append(Answered(order, results.position or 0, asked_at))

        with ThreadPoolExecutor(CLIENTS) as clients:
            running = [clients.submit(allocate) for _ in range(CLIENTS)]
            try:
                eventually(lambda: len(answered) >= ENOUGH)
                kill_all(psutil.Process(primary.pid))
                dead_at = time.monotonic()
                received = _last_position(standby)
                standby.promote()
                eventually(lambda: sum(each.asked_at > dead_at for each in answered) >= ENOUGH)
            finally:
                over.set()
            for client in running:
                client.result()

        kept = {each.order for each in answered if each.position <= received or each.asked_at > dead_at}
        stored = [
            row["order"] for row in database.fetch("SELECT data ->> 'id_commande' AS order FROM journal", {})
        ]
        assert kept <= set(stored)
        assert len(stored) == len(set(stored))
        assert list(verify(database, ())) == []


def _last_position(standby: Standby) -> int:
    """Up to where it has everything that it will get."""
    with Database(standby.url(DATABASE), writable=False) as database:
        last = "SELECT max(position) AS position FROM journal"
        [row] = database.fetch(last, {})
        position: int = row["position"]
    return position

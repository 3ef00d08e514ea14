"""A server that says nothing any more, and closes nothing: every statement ends, and the next one goes on."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from sqlalchemy import Connection
from tests.waiting import PATIENCE_S, eventually
from tests.wire import Wire

from allocation.adapters.journal import listener
from allocation.adapters.journal.listener import JournalListener, Waker
from allocation.adapters.postgresql import database as database_module
from allocation.adapters.postgresql.database import Database, StorageUnavailable
from allocation.domain.commands import CréerLot
from allocation.service_layer.bootstrap import bootstrap

LIMIT_S = 0.5


@pytest.fixture
def wired(database_url: str, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A database by the wire, whose answers are not waited for as long as usual."""
    for name in ("WRITE_LIMIT_S", "READ_LIMIT_S", "FOLLOW_LIMIT_S", "BACKGROUND_LIMIT_S"):
        monkeypatch.setattr(database_module, name, LIMIT_S)
    with Database(wire.url(database_url)) as database:
        yield database


def written(database: Database) -> Any:
    with database.writing() as connection:
        return connection.execute("SELECT 1").fetchone()


def asked(connected: Callable[[Database], AbstractContextManager[Connection]]) -> Callable[[Database], Any]:
    def ask(database: Database) -> Any:
        with connected(database) as connection:
            return connection.exec_driver_sql("SELECT 1").scalar()

    return ask


USES: dict[str, Callable[[Database], Any]] = {
    "writing": written,
    "reading": asked(Database.reading),
    "following": asked(Database.following),
    "working": asked(Database.working),
    "fetch": lambda database: database.fetch("SELECT 1", {}),
    "fetch_values": lambda database: database.fetch_values("SELECT $1", ""),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
def test_un_serveur_muet_est_abandonné_et_le_pool_renouvelé(
    wired: Database, wire: Wire, use: Callable[[Database], Any]
) -> None:
    use(wired)
    began = time.monotonic()

    wire.go_silent()
    with pytest.raises(StorageUnavailable):
        use(wired)
    wire.pass_on_what_is_new()

    assert use(wired)
    assert time.monotonic() - began < PATIENCE_S


@pytest.mark.parametrize("use", ["writing", "reading", "following", "working"])
def test_chaque_connexion_demande_à_libpq_de_sonder_un_hôte_qui_se_tait(database: Database, use: str) -> None:
    with getattr(database, use)() as connection:
        driver = connection if use == "writing" else connection.connection.driver_connection
        asked = driver.info.get_parameters()

    assert {name: value for name, value in asked.items() if "keepalive" in name or "tcp" in name} == {
        "keepalives": "1",
        "keepalives_idle": "5",
        "keepalives_interval": "2",
        "keepalives_count": "3",
        "tcp_user_timeout": "10000",
    }


def test_qui_était_muet_ensemble_ne_se_redécouvre_pas_un_à_un(wired: Database, wire: Wire) -> None:
    """Five connections are silent: after the first of them is given up, nobody meets the others."""
    together = threading.Barrier(5)

    def hold() -> None:
        with wired.writing():
            together.wait(PATIENCE_S)

    threads = [threading.Thread(target=hold) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    wire.go_silent()
    with pytest.raises(StorageUnavailable):
        written(wired)
    wire.pass_on_what_is_new()

    assert [written(wired) for _ in range(5)] == [(1,)] * 5


def test_qui_écoute_un_serveur_muet_se_reconnecte(
    wired: Database, database: Database, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "ASKING_INTERVAL_S", 0.1)
    monkeypatch.setattr(listener, "ANSWER_LIMIT_S", LIMIT_S)
    bus, waker = bootstrap(database, inline=False), Waker()

    with JournalListener(wired.sessions, waker):
        eventually(lambda: waker.calls)
        wire.go_silent()
        wire.pass_on_what_is_new()
        listening = waker.calls
        # It wakes the readers as soon as it listens again, and for what is committed from then on.
        eventually(lambda: waker.calls > listening)
        listening = waker.calls
        bus.handle(CréerLot("lot-1", "LAMPE", 1))
        eventually(lambda: waker.calls > listening)

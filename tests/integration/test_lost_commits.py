"""Commits whose answer is lost: who asked is told what has happened, or that it is not known, and soon."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from tests.postgresql_server import Server, running_server
from tests.waiting import PATIENCE_S, eventually
from tests.wire import Wire

from allocation.adapters.postgresql import database as database_module
from allocation.adapters.postgresql.database import Database, OutcomeUnknown, StorageUnavailable
from allocation.adapters.postgresql.schema import migrate
from allocation.adapters.write_model import lost_commits
from allocation.adapters.write_model.postgresql_unit_of_work import PostgreSQLUnitOfWork
from allocation.domain.commands import Allouer, CréerLot, ModifierQuantitéLot
from allocation.domain.events import Alloué
from allocation.domain.model import LigneDeCommande
from allocation.service_layer.bootstrap import bootstrap
from allocation.service_layer.messagebus import MessageBus

Sql = Callable[..., list[dict[str, Any]]]
Bus = MessageBus[PostgreSQLUnitOfWork]

A_LOCK = 42
HOLDS_UP_COMMITS = f"""
    CREATE FUNCTION hold_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM pg_advisory_xact_lock({A_LOCK});
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER holds_up AFTER INSERT ON journal DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION hold_up();
"""
HELD_UP = f"""
    SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = {A_LOCK}
"""


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    """A server of these tests' own, which they may let crash."""
    with running_server() as server:
        with Database(server.url) as database:
            migrate(database)
        yield server


@pytest.fixture
def crashing(own_server: Server) -> Iterator[Database]:
    """An empty database on the server of their own."""
    with Database(own_server.url) as database:
        with database.working() as connection, connection.begin():
            connection.exec_driver_sql("DROP TRIGGER IF EXISTS holds_up ON journal")
            connection.exec_driver_sql("DROP FUNCTION IF EXISTS hold_up")
            connection.exec_driver_sql(
                "TRUNCATE journal, allocations, order_lines, lots, produits, ruptures RESTART IDENTITY"
            )
        yield database


@pytest.fixture
def wired(database_url: str, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bus]:
    """A bus by the wire, which does not wait for answers as long as usual."""
    for name in ("WRITE_LIMIT_S", "READ_LIMIT_S", "FOLLOW_LIMIT_S"):
        monkeypatch.setattr(database_module, name, 0.5)
    with Database(wire.url(database_url)) as database:
        yield bootstrap(database, inline=False)


def test_un_numéro_de_transaction_redonné_après_une_panne_ne_répond_pas_pour_un_autre(
    crashing: Database, own_server: Server
) -> None:
    """The backend dies within COMMIT; after the restart, somebody else is the first to commit."""
    bus = bootstrap(crashing, inline=False)
    bus.handle(CréerLot("lot-1", "LAMPE", 10))
    with crashing.working() as connection, connection.begin():
        connection.exec_driver_sql(HOLDS_UP_COMMITS)

    with ThreadPoolExecutor() as threads, psycopg.connect(own_server.url, autocommit=True) as holder:
        holder.execute(f"SELECT pg_advisory_lock({A_LOCK})")
        answer = threads.submit(bus.handle, Allouer("c-1", "LAMPE", 4))
        [victim] = eventually(lambda: holder.execute(HELD_UP).fetchone()) or ()
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: _is_first_to_commit(own_server))
        results = answer.result(PATIENCE_S)

    assert results == ["lot-1"]
    journal = "SELECT data ->> 'id_commande' AS id_commande, position FROM journal ORDER BY position OFFSET 1"
    assert crashing.fetch(journal, {}) == [{"id_commande": "c-1", "position": results.position}]
    assert bus.handle(Allouer("c-1", "LAMPE", 4)).events == ()


def _is_first_to_commit(server: Server) -> bool:
    """Whether the server has restarted; a transaction was committed on it then."""
    try:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("SELECT pg_current_xact_id()")
    except psycopg.OperationalError:
        return False
    return True


def test_après_un_commit_connu_rien_ne_le_refait_même_si_la_lecture_suivante_échoue(
    wire: Wire, wired: Bus, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The correction has moved three lines: that is what its caller is told."""
    wired.handle(CréerLot("lot-1", "LAMPE", 10))
    for n in range(3):
        wired.handle(Allouer(f"c-{n}", "LAMPE", 2))
    wired.handle(CréerLot("lot-2", "LAMPE", 10))

    wire.cut_the_answer_to_the_next_commit()
    with failing_first(monkeypatch, "reading"), failing_first(monkeypatch, "following"):
        results = wired.handle(ModifierQuantitéLot("lot-1", 1))

    assert wire.cuts == 1
    assert results == [[LigneDeCommande(f"c-{n}", "LAMPE", 2) for n in range(3)]]
    assert [event.id_commande for event in results.events if isinstance(event, Alloué)] == [
        "c-0",
        "c-1",
        "c-2",
    ]
    assert sql("SELECT max(position) AS position FROM journal") == [{"position": results.position}]


def test_ce_dont_l_issue_ne_peut_être_connue_n_est_pas_refait(
    wire: Wire, wired: Bus, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lost_commits, "TIMEOUT_S", 0.3)
    wired.handle(CréerLot("lot-1", "LAMPE", 10))

    wire.cut_the_answer_to_the_next_commit()
    with monkeypatch.context() as patch:
        patch.setattr(Database, "following", _unavailable)
        with pytest.raises(OutcomeUnknown):
            wired.handle(Allouer("c-1", "LAMPE", 4))

    assert sql("SELECT count(*) AS events FROM journal") == [{"events": 2}]
    assert wired.handle(Allouer("c-1", "LAMPE", 4)) == ["lot-1"]


def test_un_commit_sans_réponse_est_retrouvé(wire: Wire, wired: Bus, sql: Sql) -> None:
    """The host goes silent before it answers: another connection knows."""
    wired.handle(CréerLot("lot-1", "LAMPE", 10))

    wire.withhold_the_answer_to_the_next_commit()
    results = wired.handle(Allouer("c-1", "LAMPE", 4))

    assert wire.cuts == 1
    assert (results, results.position) == (["lot-1"], 2)
    assert sql("SELECT count(*) AS events FROM journal") == [{"events": 2}]


def test_un_commit_qui_attend_une_réplique_perdue_finit_d_issue_inconnue(
    crashing: Database, own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "WRITE_LIMIT_S", 0.5)
    monkeypatch.setattr(lost_commits, "TIMEOUT_S", 0.5)
    with Database(own_server.url) as impatient, psycopg.connect(own_server.url, autocommit=True) as admin:
        bus = bootstrap(impatient, inline=False)
        bus.handle(CréerLot("lot-1", "LAMPE", 10))

        with waiting_for_a_lost_standby(admin), pytest.raises(OutcomeUnknown):
            bus.handle(Allouer("c-1", "LAMPE", 4))

        monkeypatch.undo()
        assert bootstrap(crashing, inline=False).handle(Allouer("c-1", "LAMPE", 4)).events == ()


def test_une_fin_de_commit_qui_n_arrive_pas_ne_retient_pas_les_autres(
    wire: Wire, database: Database, database_url: str, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL waits for the rest of a message, and holds nobody's lock but those of its products."""
    monkeypatch.setitem(database_module._WRITE_SETTINGS, "idle_in_transaction_session_timeout", "2s")
    other = bootstrap(database, inline=False)
    for sku in ("LAMPE", "TABLE"):
        other.handle(CréerLot(f"lot-{sku}", sku, 10))

    with Database(wire.url(database_url)) as stopped, ThreadPoolExecutor() as threads:
        bus = bootstrap(stopped, inline=False)
        wire.hold_back_the_end_of_the_next_commit()
        answer: Future[Any] = threads.submit(bus.handle, Allouer("c-1", "LAMPE", 4))
        eventually(lambda: wire.cuts)

        assert other.handle(Allouer("c-2", "TABLE", 1)) == ["lot-TABLE"]
        assert sql("SELECT sku FROM journal ORDER BY position OFFSET 2") == [{"sku": "TABLE"}]
        # The session is ended, and its command tried again.
        assert answer.result(PATIENCE_S) == ["lot-LAMPE"]

    assert sql("SELECT quantité_allouée FROM lots ORDER BY sku") == [
        {"quantité_allouée": 4},
        {"quantité_allouée": 1},
    ]


@contextmanager
def waiting_for_a_lost_standby(admin: psycopg.Connection) -> Iterator[None]:
    """Commits wait for a standby that is not there."""
    _set_standbys(admin, "absent")
    try:
        yield
    finally:
        _set_standbys(admin, "")


def _set_standbys(admin: psycopg.Connection, names: str) -> None:
    admin.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'".encode())
    admin.execute("SELECT pg_reload_conf()")
    eventually(lambda: admin.execute("SHOW synchronous_standby_names").fetchone() == (names,))


@contextmanager
def failing_first(monkeypatch: pytest.MonkeyPatch, method: str) -> Iterator[None]:
    """The next call of this method of a database fails, as while it restarts."""
    original = getattr(Database, method)
    left = [1]
    lock = threading.Lock()

    def failing(self: Database) -> Any:
        with lock:
            if left:
                left.pop()
                raise StorageUnavailable("restarting")
        return original(self)

    with monkeypatch.context() as patch:
        patch.setattr(Database, method, failing)
        yield


def _unavailable(_: Database) -> Any:
    raise StorageUnavailable("away")

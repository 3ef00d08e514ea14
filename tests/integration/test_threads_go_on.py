"""No thread dies alone: whatever is raised, it goes on afterwards, or all that depend on it hear of it."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from sqlalchemy import Connection
from tests.read_only import reading_only
from tests.waiting import eventually, wait_until_reached

from allocation.adapters.journal.checkpoint_watch import CheckpointWatch
from allocation.adapters.journal.listener import JournalListener, Waker
from allocation.adapters.postgresql.database import Database
from allocation.adapters.write_model.postgresql_unit_of_work import PostgreSQLUnitOfWork
from allocation.domain.commands import Allouer, CréerLot
from allocation.domain.events import LotCréé
from allocation.projections import rebuild as rebuilding
from allocation.projections.follower import ProjectionFollower
from allocation.projections.parked import ParkedReaders
from allocation.projections.projector import Projector, register
from allocation.projections.rebuild import Rebuilder, request
from allocation.projections.stock_view import STOCK_VIEW, mettre_à_jour_stock_vue
from allocation.projections.verify import verify
from allocation.service_layer.bootstrap import bootstrap, projection_followers
from allocation.service_layer.messagebus import MessageBus
from allocation.views.progress import progress

Bus = MessageBus[PostgreSQLUnitOfWork]
Sql = Callable[..., list[dict[str, Any]]]

TROUBLES = 5


@pytest.fixture
def bus(database: Database) -> Bus:
    register(projection_followers(database))
    bus = bootstrap(database, inline=False)
    bus.handle(CréerLot("lot-1", "LAMPE", 1000))
    return bus


def worker(database: Database) -> Projector:
    followers = projection_followers(database)
    rebuilders = [Rebuilder(database, each) for each in followers]
    return Projector(followers, Waker(), poll_interval=0.05, rebuilders=rebuilders)


@pytest.mark.parametrize("table", ["projections", "rebuilds", "journal", "stock_view", "parked"])
def test_une_table_qui_manque_un_moment_n_arrête_ni_ne_met_rien_à_part(
    database: Database, bus: Bus, sql: Sql, caplog: pytest.LogCaptureFixture, table: str
) -> None:
    end = bus.handle(Allouer("c-1", "LAMPE", 1)).position or 0
    sql(f"ALTER TABLE {table} RENAME TO elsewhere")

    with caplog.at_level(logging.WARNING), worker(database):
        eventually(lambda: _times(caplog, "is tried again") > 0)
        if table == STOCK_VIEW.name:
            eventually(lambda: "failing" in {reader.state for reader in progress(database)})
        sql(f"ALTER TABLE elsewhere RENAME TO {table}")
        wait_until_reached(database, end)
        request(database, STOCK_VIEW)
        eventually(lambda: rebuilding.get(database, STOCK_VIEW.name).phase == "done")

    assert ParkedReaders(database, []).summary() == []
    assert list(verify(database, projection_followers(database))) == []
    # Told once by each thread, not at every try.
    assert _times(caplog, "is tried again") <= 2 * 6


def test_une_base_qui_ne_fait_que_lire_un_moment_n_arrête_personne(
    database: Database, bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    end = bus.handle(Allouer("c-1", "LAMPE", 1)).position or 0
    with caplog.at_level(logging.WARNING), ExitStack() as stack:
        with reading_only(database):
            stack.enter_context(worker(database))
            eventually(lambda: _times(caplog, "read-only transaction") >= 3)
        wait_until_reached(database, end)

    assert list(verify(database, projection_followers(database))) == []


@pytest.mark.parametrize("raised", [SystemExit, GeneratorExit, MemoryError, RecursionError])
def test_ce_qu_un_gestionnaire_lève_d_inouï_ne_l_arrête_pas(
    database: Database, bus: Bus, raised: type[BaseException]
) -> None:
    calls = 0

    def handler(events: Sequence[LotCréé], connection: Connection) -> None:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise raised
        mettre_à_jour_stock_vue(events, connection)

    follower = ProjectionFollower(STOCK_VIEW, {LotCréé: handler}, database)
    others = [each for each in projection_followers(database) if each.name != STOCK_VIEW.name]

    with Projector([follower, *others], Waker(), poll_interval=0.05):
        wait_until_reached(database, 1)

    assert calls == 3
    assert ParkedReaders(database, []).summary() == []


def test_un_fil_qui_ne_peut_pas_commencer_n_en_laisse_pas_d_autres_seuls(
    database: Database, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, started = set(threading.enumerate()), threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == "rebuilds":
            raise RuntimeError("can't start new thread")
        started(thread)

    monkeypatch.setattr(threading.Thread, "start", start)

    with pytest.raises(RuntimeError, match="can't start"), worker(database):
        pass

    # Of those that were there before, some may have ended.
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("raised", [RuntimeError, SystemExit, OSError])
def test_celui_qui_écoute_le_journal_recommence_quoi_qu_il_arrive(
    database: Database, bus: Bus, raised: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    waker = Waker()
    connect, calls = type(database.sessions).connect, []

    def failing(sessions: Any, *kind: Any) -> Any:
        calls.append(1)
        if len(calls) <= TROUBLES:
            raise raised("inattendu")
        return connect(sessions, *kind)

    monkeypatch.setattr(type(database.sessions), "connect", failing)

    with JournalListener(database.sessions, waker):
        eventually(lambda: waker.calls == 1)
        bus.handle(Allouer("c-1", "LAMPE", 1))
        eventually(lambda: waker.calls > 1)

    assert len(calls) == TROUBLES + 1


def test_qui_guette_les_points_de_reprise_survit_à_tout_et_sinon_est_remplacé() -> None:
    answers: list[Any] = [
        SystemExit(),
        RuntimeError(),
        [{}],
        [{"name": "v", "position": 9, "en_pause": False}],
    ]

    def fetch(*_: object) -> list[dict[str, Any]]:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return list(answer)

    watch = CheckpointWatch(fetch)
    for _ in range(len(answers)):
        watch.wait("v", 5, time.monotonic() + 30)
    assert watch._seen["v"].position == 9

    dead = threading.Thread(target=lambda: None)
    dead.start()
    dead.join()
    watch = CheckpointWatch(fetch)
    watch._thread = dead
    watch.wait("v", 5, time.monotonic() + 30)
    assert watch._seen["v"].position == 9


def _times(caplog: pytest.LogCaptureFixture, words: str) -> int:
    return sum(words in record.getMessage() for record in caplog.records)

"""Readers of the journal: each event's effect once, one reader at a time, and one that fails fails alone."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event as Signal
from typing import Any

import pytest
from sqlalchemy import Connection, text
from tests.waiting import eventually, wait_until_reached

from allocation.adapters.journal.listener import JournalListener, Waker
from allocation.adapters.postgresql.database import Database
from allocation.adapters.write_model.postgresql_unit_of_work import PostgreSQLUnitOfWork
from allocation.domain.commands import Allouer, CréerLot
from allocation.domain.events import Alloué
from allocation.projections.allocations_view import ALLOCATIONS_VIEW, ajouter_allocation_vue
from allocation.projections.follower import MAX_TRIES, Follower, ProjectionFollower
from allocation.projections.projector import Projector, catch_up, register
from allocation.projections.verify import verify
from allocation.service_layer.bootstrap import bootstrap, projection_followers
from allocation.service_layer.messagebus import MessageBus
from allocation.views import views
from allocation.views.progress import progress

Sql = Callable[..., list[dict[str, Any]]]

LONG = 3600.0
A_MOMENT = 0.05


@pytest.fixture
def bus(database: Database) -> MessageBus[PostgreSQLUnitOfWork]:
    """A bus that leaves the views to the reader under test."""
    return bootstrap(database, inline=False)


@pytest.fixture
def followers(database: Database) -> Sequence[ProjectionFollower]:
    followers = projection_followers(database)
    register(followers)
    return followers


class CassableVue:
    """The handler of allocations_view, which fails while it is broken, after it has written."""

    def __init__(self) -> None:
        self.broken = True
        self.calls = 0
        self.failed = Signal()

    def __call__(self, events: Sequence[Alloué], connection: Connection) -> None:
        self.calls += 1
        ajouter_allocation_vue(events, connection)
        if self.broken:
            self.failed.set()
            raise ZeroDivisionError("cassé")


@contextmanager
def running(
    followers: Sequence[Follower], waker: Waker | None = None, poll_interval: float = A_MOMENT
) -> Iterator[None]:
    with Projector(followers, waker or Waker(), poll_interval=poll_interval):
        yield


def acheter(bus: MessageBus[PostgreSQLUnitOfWork], lignes: int) -> int:
    """Allocate some lines; the position of the last event."""
    bus.handle(CréerLot("lot-1", "LAMPE", 10_000))
    results = [bus.handle(Allouer(f"c-{n}", "LAMPE", 1)) for n in range(lignes)]
    assert results[-1].position is not None
    return results[-1].position


def test_plusieurs_lecteurs_de_la_même_vue_n_appliquent_chaque_événement_qu_une_fois(
    database: Database, bus: MessageBus[PostgreSQLUnitOfWork], followers: Sequence[ProjectionFollower]
) -> None:
    with running(followers), running(projection_followers(database)), running(projection_followers(database)):
        end = acheter(bus, 60)
        catch_up(followers, end)

    assert list(verify(database, followers)) == []
    assert len(views.allocations("c-59", database)) == 1


def test_ensemble_ou_un_par_un_les_lots_de_même_référence_restent_distincts(
    bus: MessageBus[PostgreSQLUnitOfWork], database: Database, followers: Sequence[ProjectionFollower]
) -> None:
    bus.handle(CréerLot("1", "LAMPE", 10))
    bus.handle(CréerLot("1", "TABLE", 20))
    position = bus.handle(Allouer("c-1", "TABLE", 3)).position

    catch_up(followers, position or 0)

    lots = [views.lot("1", database, sku=sku) for sku in ("LAMPE", "TABLE")]
    assert [lot and (lot["quantité"], lot["quantité_allouée"]) for lot in lots] == [(10, 0), (20, 3)]


def test_un_lecteur_laisse_la_vue_à_celui_qui_la_tient(
    database: Database, bus: MessageBus[PostgreSQLUnitOfWork], followers: Sequence[ProjectionFollower]
) -> None:
    acheter(bus, 1)
    with database.working() as connection, connection.begin():
        connection.execute(text("SELECT * FROM projections FOR UPDATE"))

        assert [follower.advance(wait=False) for follower in followers] == [None, None, None]

    assert [follower.advance(wait=False) for follower in followers] == [2, 2, 2]


def test_l_effet_et_le_point_de_reprise_vont_ensemble_ou_pas_du_tout(
    database: Database, bus: MessageBus[PostgreSQLUnitOfWork], followers: Sequence[ProjectionFollower]
) -> None:
    end = acheter(bus, 3)
    handler = CassableVue()
    follower = ProjectionFollower(ALLOCATIONS_VIEW, {Alloué: handler}, database)

    with pytest.raises(ZeroDivisionError):
        follower.advance(wait=True)
    assert views.allocations("c-0", database) == []

    handler.broken = False
    assert follower.advance(wait=True) == end
    assert [len(views.allocations(f"c-{n}", database)) for n in range(3)] == [1, 1, 1]


def test_un_gestionnaire_qui_échoue_est_retenté_et_ne_retient_pas_les_autres_vues(
    database: Database,
    bus: MessageBus[PostgreSQLUnitOfWork],
    followers: Sequence[ProjectionFollower],
    caplog: pytest.LogCaptureFixture,
) -> None:
    handler = CassableVue()
    broken = ProjectionFollower(ALLOCATIONS_VIEW, {Alloué: handler}, database)
    others = [each for each in followers if each.name != ALLOCATIONS_VIEW.name]
    end = acheter(bus, 2)

    with caplog.at_level(logging.ERROR), running([broken, *others]):
        catch_up(others, end)
        assert handler.failed.wait(10)
        handler.broken = False
        wait_until_reached(database, end)

    assert "allocations_view failed, and is tried again: cassé" in caplog.text
    assert [reader.erreur for reader in progress(database)] == [None, None, None]
    assert list(verify(database, followers)) == []


def test_ce_qui_reste_en_échec_se_lit_à_côté_du_point_de_reprise(
    database: Database, bus: MessageBus[PostgreSQLUnitOfWork], followers: Sequence[ProjectionFollower]
) -> None:
    handler = CassableVue()
    broken = ProjectionFollower(ALLOCATIONS_VIEW, {Alloué: handler}, database)
    acheter(bus, 2)

    with running([broken]):
        assert eventually(lambda: _erreur(database)) == "ZeroDivisionError: cassé"


def test_un_commit_réveille_les_lecteurs_sans_attendre_le_sondage(
    database: Database, bus: MessageBus[PostgreSQLUnitOfWork], followers: Sequence[ProjectionFollower]
) -> None:
    waker = Waker()
    with JournalListener(database.sessions, waker), running(followers, waker, poll_interval=LONG):
        end = acheter(bus, 5)
        wait_until_reached(database, end)


def test_sans_notification_le_sondage_suffit(
    database: Database, bus: MessageBus[PostgreSQLUnitOfWork], followers: Sequence[ProjectionFollower]
) -> None:
    with running(followers, Waker(), poll_interval=A_MOMENT):
        end = acheter(bus, 5)
        wait_until_reached(database, end)


def test_une_base_qui_coupe_les_connexions_ne_fait_que_retarder(
    database: Database,
    bus: MessageBus[PostgreSQLUnitOfWork],
    followers: Sequence[ProjectionFollower],
    sql: Sql,
) -> None:
    waker = Waker()
    with JournalListener(database.sessions, waker), running(followers, waker):
        acheter(bus, 5)
        sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        results = bus.handle(Allouer("c-après", "LAMPE", 1))
        assert results.position is not None
        wait_until_reached(database, results.position)

    assert [reader.erreur for reader in progress(database)] == [None, None, None]


def test_un_événement_sans_gestionnaire_est_passé(
    database: Database, bus: MessageBus[PostgreSQLUnitOfWork], followers: Sequence[ProjectionFollower]
) -> None:
    bus.handle(CréerLot("lot-1", "LAMPE", 1))
    end = bus.handle(Allouer("c-1", "LAMPE", 2)).position
    assert end is not None

    catch_up(followers, end)

    assert [reader.behind for reader in progress(database)] == [0, 0, 0]


def test_un_lecteur_qui_ne_peut_pas_lire_son_point_de_reprise_ne_retient_pas_une_commande(
    database: Database, sql: Sql, caplog: pytest.LogCaptureFixture
) -> None:
    """The command is committed: its caller is told so, after a few tries that are told, too."""
    bus = bootstrap(database)
    bus.handle(CréerLot("lot-1", "LAMPE", 10))
    sql("ALTER TABLE projections RENAME TO elsewhere")

    assert bus.handle(Allouer("c-1", "LAMPE", 1)) == ["lot-1"]

    assert caplog.text.count("stays behind") == 3
    assert len(caplog.records) <= 3 * MAX_TRIES
    sql("ALTER TABLE elsewhere RENAME TO projections")
    bus.handle(Allouer("c-2", "LAMPE", 1))
    assert {reader.behind for reader in progress(database)} == {0}


def _erreur(database: Database) -> str | None:
    return next(reader.erreur for reader in progress(database) if reader.name == ALLOCATIONS_VIEW.name)


@pytest.mark.parametrize("rate", [0.0, 1e-300, 1000.0])
@pytest.mark.parametrize("idle", ["50 seconds", "26 minutes", "10 years", "-26 minutes", "-1 day"])
def test_un_lecteur_longtemps_sans_travail_ou_dont_l_horloge_recule_continue(
    bus: MessageBus[PostgreSQLUnitOfWork],
    database: Database,
    followers: Sequence[ProjectionFollower],
    sql: Sql,
    idle: str,
    rate: float,
) -> None:
    catch_up(followers, acheter(bus, 1))
    sql(
        "UPDATE projections SET mis_à_jour_le = now() - CAST(:idle AS interval), débit = :rate",
        idle=idle,
        rate=rate,
    )
    end = acheter(bus, 2)

    assert {reader.behind for reader in progress(database)} == {1}
    catch_up(followers, end)
    assert {(reader.behind, reader.erreur) for reader in progress(database)} == {(0, None)}

"""A read model is built anew beside the one that serves: in steps that resume, while writes go on."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text
from tests.waiting import eventually

from allocation.adapters.configuration import Settings
from allocation.adapters.journal.archiving import JournalArchiver
from allocation.adapters.journal.listener import Waker
from allocation.adapters.postgresql.database import Database
from allocation.adapters.postgresql.metadata import metadata
from allocation.adapters.read_models.rebuilds import RebuildSource, RebuildState
from allocation.adapters.write_model.postgresql_unit_of_work import PostgreSQLUnitOfWork
from allocation.domain.commands import Allouer, CréerLot, ModifierQuantitéLot
from allocation.domain.events import Alloué
from allocation.projections import rebuild as rebuilding
from allocation.projections import standby_tables
from allocation.projections.allocations_view import ajouter_allocation_vue
from allocation.projections.follower import ProjectionFollower
from allocation.projections.parked import ParkedReaders
from allocation.projections.projector import Projector, catch_up
from allocation.projections.rebuild import Rebuilder, RebuildRefused, rebuild, request
from allocation.projections.undo import undo
from allocation.projections.verify import verify
from allocation.service_layer.bootstrap import bootstrap, journal_followers, projection_followers
from allocation.service_layer.messagebus import MessageBus
from allocation.views import views
from allocation.views.progress import progress

Bus = MessageBus[PostgreSQLUnitOfWork]
Sql = Callable[..., list[dict[str, Any]]]

SKUS = [f"SKU-{n:03}" for n in range(200)]
SOURCES: list[RebuildSource] = ["model", "journal"]

_orders = count()


@pytest.fixture
def bus(database: Database) -> Bus:
    """A bus on a shop with 200 SKUs, of which the views know everything."""
    bus = bootstrap(database)
    late = bootstrap(database, inline=False)
    for sku in SKUS:
        late.handle(CréerLot(f"lot-{sku}", sku, 100))
    acheter(late, *SKUS, *SKUS)
    bus.handle(ModifierQuantitéLot("lot-SKU-007", 1))
    return bus


@pytest.fixture
def follower(database: Database, bus: Bus) -> ProjectionFollower:
    return vue(database, "allocations_view")


def vue(database: Database, name: str) -> ProjectionFollower:
    return next(each for each in projection_followers(database) if each.name == name)


def acheter(bus: Bus, *skus: str) -> str:
    """One line of each SKU for a new order; its identifier."""
    order = f"commande-{next(_orders)}"
    for number, sku in enumerate(skus):
        bus.handle(Allouer(order, sku, 1, str(number)))
    return order


def position(database: Database, name: str) -> int:
    return next(reader.position for reader in progress(database) if reader.name == name)


def étapes(database: Database, follower: ProjectionFollower) -> Sequence[RebuildState]:
    """Carry the rebuild on to its end, each step by a process that dies after it; the states in between."""
    states = []
    while Rebuilder(database, follower).advance() is not None:
        states.append(rebuilding.get(database, follower.name))
    return states


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", ["allocations_view", "lots_view", "stock_view"])
def test_entre_toutes_les_étapes_on_écrit_on_lit_et_rien_ne_se_perd(
    database: Database, bus: Bus, name: str, source: RebuildSource
) -> None:
    follower = vue(database, name)
    request(database, follower.projection, source=source)
    orders, positions = [], []

    rebuilder = Rebuilder(database, follower)
    for n in count():
        bus.handle(CréerLot(f"lot-nouveau-{n}", f"SKU-{n:03}-bis", 5))
        orders.append(acheter(bus, f"SKU-{n:03}-bis", "SKU-000", "SKU-199"))
        bus.handle(ModifierQuantitéLot(f"lot-SKU-{n + 10:03}", 1))
        assert [len(views.allocations(order, database)) for order in orders] == [3] * len(orders)
        positions.append(position(database, name))
        if rebuilder.advance() is None:
            break

    assert rebuilding.get(database, name).phase == "done"
    assert positions == sorted(positions)
    assert len(positions) > 5
    assert list(verify(database, projection_followers(database))) == []


@pytest.mark.parametrize("source", SOURCES)
def test_ce_qu_un_processus_mort_a_fait_est_gardé_par_le_suivant(
    database: Database, follower: ProjectionFollower, source: RebuildSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standby_tables, "BATCH", 100)
    request(database, follower.projection, source=source)

    states = étapes(database, follower)

    done = [state.fait for state in states]
    assert done == sorted(done)
    filled = [state for state in states if state.phase == "filling"]
    assert len(filled) >= 4
    [[rows]] = [tuple(row.values()) for row in _sql(database, "SELECT count(*) FROM allocations_view")]
    if source == "model":
        assert states[-1].fait == rows
    else:
        # What was less than a batch away was left to catch up with.
        assert 0 <= position(database, follower.name) - states[-1].fait < 100


def test_pendant_une_étape_d_un_autre_processus_on_attend_sans_la_refaire(
    database: Database, follower: ProjectionFollower
) -> None:
    request(database, follower.projection)
    with database.working() as connection, connection.begin():
        connection.execute(text("SELECT * FROM rebuilds FOR UPDATE"))

        assert Rebuilder(database, follower).advance() == rebuilding.RETRY_S

    assert rebuilding.get(database, follower.name).fait == 0


def test_demander_deux_fois_continue_et_demander_autre_chose_recommence(
    database: Database, follower: ProjectionFollower
) -> None:
    request(database, follower.projection)
    Rebuilder(database, follower).advance()
    begun = rebuilding.get(database, follower.name)
    assert begun.fait > 0

    assert request(database, follower.projection).fait == begun.fait
    assert request(database, follower.projection, source="journal").fait == 0


def test_le_débit_est_limité_par_des_pauses(database: Database, follower: ProjectionFollower) -> None:
    request(database, follower.projection, throttle=10)

    pause = Rebuilder(database, follower).advance()

    done = rebuilding.get(database, follower.name).fait
    assert pause is not None
    assert done / 10 - 5 < pause <= done / 10
    # Another process, which would help otherwise, rests as well.
    assert Rebuilder(database, follower).advance() == pytest.approx(pause, abs=5)
    assert rebuilding.get(database, follower.name).fait == done


def test_la_table_reconstruite_a_le_schéma_que_le_code_déclare(
    database: Database, follower: ProjectionFollower
) -> None:
    for source in SOURCES:
        request(database, follower.projection, source=source)
        étapes(database, follower)
        with database.working() as connection:
            context = MigrationContext.configure(connection, opts={"compare_server_default": False})
            assert compare_metadata(context, metadata) == []


@pytest.mark.parametrize("source", ["journal", "snapshot"])
def test_ce_qui_est_archivé_est_relu_des_fichiers(
    database: Database, bus: Bus, follower: ProjectionFollower, tmp_path: Path, source: RebuildSource
) -> None:
    catch_up(journal_followers(database, Settings()), position(database, follower.name))
    report = JournalArchiver(database, tmp_path, chunk=150).archive(datetime.now(UTC), lambda *_: None)
    assert report.events > 500
    order = acheter(bus, *SKUS[:3])

    request(database, follower.projection, source=source)
    étapes(database, follower)
    rebuilt = rebuilding.get(database, follower.name)

    assert (rebuilt.phase, rebuilt.erreur) == ("done", None)
    assert len(views.allocations(order, database)) == 3
    undo(database, follower)
    assert list(verify(database, projection_followers(database))) == []


def test_la_position_ne_recule_pas_quand_la_nouvelle_table_prend_la_place(
    database: Database, bus: Bus, follower: ProjectionFollower, monkeypatch: pytest.MonkeyPatch
) -> None:
    request(database, follower.projection)
    rebuilder = Rebuilder(database, follower)
    while rebuilding.get(database, follower.name).phase != "taking over":
        rebuilder.advance()
    order = acheter(bus, *SKUS[:5])
    before = position(database, follower.name)
    monkeypatch.setattr(standby_tables, "BATCH", 1)

    rebuilder.advance()

    assert rebuilding.get(database, follower.name).phase == "done"
    assert position(database, follower.name) >= before
    assert len(views.allocations(order, database)) == 5


def test_des_lecteurs_qui_tiennent_la_table_ne_sont_pas_bloqués_et_la_reprise_se_fait_après_eux(
    database: Database, follower: ProjectionFollower
) -> None:
    request(database, follower.projection)
    rebuilder = Rebuilder(database, follower)
    while rebuilding.get(database, follower.name).phase != "taking over":
        rebuilder.advance()
    with database.working() as reader, reader.begin():
        reader.execute(text("SELECT * FROM allocations_view LIMIT 1"))

        assert rebuilder.advance() == rebuilding.BLOCKED_RETRY_S

        assert len(reader.execute(text("SELECT * FROM allocations_view")).all()) == 400 - 1
    state = rebuilding.get(database, follower.name)
    assert state.phase == "taking over"
    assert state.erreur is not None
    assert state.erreur.startswith("waits until allocations_view is free: process ")
    assert 0 < state.repos_s <= rebuilding.BLOCKED_RETRY_S

    étapes(database, follower)

    assert rebuilding.get(database, follower.name).phase == "done"


def test_une_table_qui_diffère_du_modèle_d_écriture_ne_prend_pas_la_place(
    database: Database, bus: Bus
) -> None:
    """Built from the journal by a handler that is wrong: it takes every line for one unit more."""

    def gonfler(events: Sequence[Alloué], connection: Connection) -> None:
        ajouter_allocation_vue([replace(event, quantité=event.quantité + 1) for event in events], connection)

    good = vue(database, "allocations_view")
    before = [dict(row) for row in _sql(database, "SELECT * FROM allocations_view ORDER BY id")]
    wrong = ProjectionFollower(good.projection, {Alloué: gonfler}, database)
    request(database, good.projection, source="journal")

    étapes(database, wrong)

    state = rebuilding.get(database, good.name)
    assert state.phase == "failed"
    assert state.erreur is not None
    assert state.erreur.startswith("unlike the write model: {'id_commande': 'commande-")
    assert [dict(row) for row in _sql(database, "SELECT * FROM allocations_view ORDER BY id")] == before


def test_avec_des_événements_à_part_elle_ne_prend_pas_la_place_avant_qu_ils_soient_appliqués(
    database: Database, bus: Bus, follower: ProjectionFollower
) -> None:
    poisoned = {"SKU-003"}

    def empoisonné(events: Sequence[Alloué], connection: Connection) -> None:
        if poisoned & {event.sku for event in events}:
            raise ZeroDivisionError("empoisonné")
        ajouter_allocation_vue(events, connection)

    routes = {**follower._routes, Alloué: empoisonné}
    wrong = ProjectionFollower(follower.projection, routes, database)
    request(database, follower.projection, source="journal")
    rebuilder = Rebuilder(database, wrong)
    eventually(lambda: rebuilder.advance() and rebuilding.get(database, follower.name).phase == "comparing")
    eventually(lambda: rebuilder.advance() and rebuilding.get(database, follower.name).erreur)
    state = rebuilding.get(database, follower.name)
    assert (state.phase, state.erreur) == (
        "comparing",
        "events of 1 SKUs are parked by allocations_view.building",
    )

    poisoned.clear()
    assert ParkedReaders(database, [wrong]).retry("allocations_view.building", "SKU-003") is None
    étapes(database, wrong)

    assert rebuilding.get(database, follower.name).phase == "done"
    assert list(verify(database, [follower])) == []


def test_on_revient_à_la_table_d_avant_qui_a_rattrapé_ce_qui_s_est_passé_depuis(
    database: Database, bus: Bus, follower: ProjectionFollower
) -> None:
    rebuild(database, follower)
    order = acheter(bus, *SKUS[:5])
    before = position(database, follower.name)

    undo(database, follower)

    assert position(database, follower.name) >= before
    assert len(views.allocations(order, database)) == 5
    assert list(verify(database, projection_followers(database))) == []
    undo(database, follower)
    assert list(verify(database, projection_followers(database))) == []


def test_sans_table_d_avant_ou_pendant_une_reconstruction_on_ne_revient_pas(
    database: Database, follower: ProjectionFollower
) -> None:
    with pytest.raises(RebuildRefused, match="has not been rebuilt"):
        undo(database, follower)
    rebuild(database, follower)
    request(database, follower.projection)
    with pytest.raises(RebuildRefused, match="is under way"):
        undo(database, follower)


def test_une_projection_changée_se_reconstruit_d_elle_même_et_l_ancienne_sert_en_attendant(
    database: Database, bus: Bus, follower: ProjectionFollower, sql: Sql
) -> None:
    order = acheter(bus, "SKU-000")
    sql("UPDATE projections SET version = 0 WHERE name = 'allocations_view'")
    sql("UPDATE allocations_view SET réf_lot = 'à l''ancienne'")
    late = bootstrap(database, inline=False)
    unseen = acheter(bus, "SKU-001")
    end = late.handle(Allouer("après", "SKU-002", 1)).position
    assert end is not None
    catch_up([follower], end)
    assert views.allocations(unseen, database) == []
    assert views.allocations(order, database)[0]["réf_lot"] == "à l'ancienne"

    with Projector([follower], Waker(), poll_interval=0.01, rebuilders=[Rebuilder(database, follower)]):
        eventually(lambda: len(views.allocations("après", database)) == 1)

    assert sql("SELECT version FROM projections WHERE name = 'allocations_view'") == [{"version": 1}]
    assert list(verify(database, [follower])) == []


def test_un_ancien_programme_ne_touche_pas_à_la_table_d_un_nouveau(
    database: Database, bus: Bus, follower: ProjectionFollower, sql: Sql
) -> None:
    sql("UPDATE projections SET version = 2 WHERE name = 'allocations_view'")
    before = position(database, follower.name)
    rebuilder = Rebuilder(database, follower)

    acheter(bus, "SKU-001")
    rebuilder.begin_if_changed()

    assert rebuilder.advance() is None
    assert position(database, follower.name) == before
    assert sql("SELECT * FROM rebuilds") == []


def _sql(database: Database, query: str) -> list[dict[str, Any]]:
    with database.working() as connection:
        return [dict(row) for row in connection.execute(text(query)).mappings()]

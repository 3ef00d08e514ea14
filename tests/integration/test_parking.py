"""Events that a handler can't apply: tried three times, parked with all later ones, and repaired."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import Connection

from allocation.adapters.postgresql.database import Database
from allocation.adapters.write_model.postgresql_unit_of_work import PostgreSQLUnitOfWork
from allocation.domain.commands import Allouer, CréerLot, ModifierQuantitéLot
from allocation.domain.events import Alloué, Désalloué
from allocation.projections.allocations_view import (
    ALLOCATIONS_VIEW,
    ajouter_allocation_vue,
    supprimer_allocation_vue,
)
from allocation.projections.delivery import Routes, Subscription
from allocation.projections.follower import ProjectionFollower
from allocation.projections.parked import ParkedReaders
from allocation.projections.projector import catch_up, register
from allocation.projections.subscription_follower import SubscriptionFollower
from allocation.projections.verify import verify
from allocation.service_layer.bootstrap import bootstrap, projection_followers
from allocation.service_layer.messagebus import MessageBus
from allocation.views import views
from allocation.views.progress import progress

Bus = MessageBus[PostgreSQLUnitOfWork]
Sql = Callable[..., list[dict[str, Any]]]

POISON = "POISON"


class VueEmpoisonnée:
    """The handler of allocations_view, which fails on one SKU until it is mended."""

    def __init__(self) -> None:
        self.poisoned = {POISON}
        self.batches: list[int] = []

    def __call__(self, events: Sequence[Alloué], connection: Connection) -> None:
        self.batches.append(len(events))
        ajouter_allocation_vue(events, connection)
        if self.poisoned & {event.sku for event in events}:
            raise ZeroDivisionError("empoisonné")


@pytest.fixture
def bus(database: Database) -> Bus:
    bus = bootstrap(database, inline=False)
    register(projection_followers(database))
    for sku in (POISON, "LAMPE", "TABLE"):
        bus.handle(CréerLot(f"lot-{sku}", sku, 1000))
    return bus


@pytest.fixture
def handler() -> VueEmpoisonnée:
    return VueEmpoisonnée()


@pytest.fixture
def follower(database: Database, bus: Bus, handler: VueEmpoisonnée) -> ProjectionFollower:
    routes: Routes = {Alloué: handler, Désalloué: supprimer_allocation_vue}
    return ProjectionFollower(ALLOCATIONS_VIEW, routes, database)


@pytest.fixture
def readers(database: Database, follower: ProjectionFollower) -> ParkedReaders:
    return ParkedReaders(database, [follower])


def acheter(bus: Bus, commandes: range, *skus: str) -> int:
    """Allocate a line of each SKU for each order; the last position."""
    position = None
    for n in commandes:
        for sku in skus:
            position = bus.handle(Allouer(f"c-{n}", sku, 1)).position
    assert position is not None
    return position


def lus(database: Database, commande: str) -> list[str]:
    return [row["sku"] for row in views.allocations(commande, database)]


def test_le_sku_empoisonné_est_mis_à_part_et_tous_les_autres_continuent(
    database: Database, bus: Bus, follower: ProjectionFollower, readers: ParkedReaders
) -> None:
    end = acheter(bus, range(3), "LAMPE", POISON, "TABLE")

    catch_up([follower], end)

    assert [lus(database, f"c-{n}") for n in range(3)] == [["LAMPE", "TABLE"]] * 3
    [parked] = readers.summary()
    assert (parked.lecteur, parked.sku, parked.events) == ("allocations_view", POISON, 3)
    assert parked.erreur == "ZeroDivisionError: empoisonné"
    stand = next(each for each in progress(database) if each.name == "allocations_view")
    assert (stand.position, stand.parked) == (end, 1)


def test_un_événement_est_essayé_trois_fois_avant_d_être_mis_à_part(
    bus: Bus, follower: ProjectionFollower, handler: VueEmpoisonnée
) -> None:
    end = acheter(bus, range(1), POISON)

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            follower.advance(wait=True)
    assert len(handler.batches) == 2

    assert follower.advance(wait=True) == end


def test_ce_qui_suit_du_même_sku_attend_avec_lui_même_si_c_est_applicable(
    database: Database,
    bus: Bus,
    follower: ProjectionFollower,
    handler: VueEmpoisonnée,
    readers: ParkedReaders,
) -> None:
    catch_up([follower], acheter(bus, range(2), POISON, "LAMPE"))
    handler.poisoned.clear()

    catch_up([follower], acheter(bus, range(2, 5), POISON, "LAMPE"))

    assert [lus(database, f"c-{n}") for n in range(5)] == [["LAMPE"]] * 5
    assert [each.events for each in readers.summary()] == [5]
    positions = [row.position for row in readers.events("allocations_view", POISON)]
    assert positions == sorted(positions)


def test_ce_qui_précède_le_fautif_dans_le_même_lot_d_événements_est_appliqué(
    database: Database, bus: Bus, follower: ProjectionFollower, sql: Sql, readers: ParkedReaders
) -> None:
    """An event of which the stored fields are damaged can't even be read."""
    end = acheter(bus, range(4), "LAMPE")
    sql(f"UPDATE journal SET data = data - 'réf_lot' WHERE position = {end - 1}")

    catch_up([follower], end)

    assert [lus(database, f"c-{n}") for n in range(4)] == [["LAMPE"], ["LAMPE"], [], []]
    [parked] = readers.summary()
    assert (parked.events, parked.position) == (2, end - 1)
    assert "réf_lot" in parked.erreur


def test_après_la_réparation_retry_rend_la_vue_égale_au_journal(
    database: Database,
    bus: Bus,
    follower: ProjectionFollower,
    handler: VueEmpoisonnée,
    readers: ParkedReaders,
) -> None:
    catch_up([follower], acheter(bus, range(5), POISON, "LAMPE"))
    end = bus.handle(ModifierQuantitéLot(f"lot-{POISON}", 3)).position
    assert end is not None
    catch_up([follower], end)
    handler.poisoned.clear()

    assert readers.retry("allocations_view", POISON) is None

    assert readers.summary() == []
    assert list(verify(database, [follower])) == []
    acheter(bus, range(5, 6), "LAMPE")
    catch_up([follower], bus.handle(Allouer("c-6", "TABLE", 1)).position or 0)
    assert list(verify(database, [follower])) == []


def test_un_retry_qui_échoue_ne_change_rien_et_dit_pourquoi(
    database: Database, bus: Bus, follower: ProjectionFollower, readers: ParkedReaders
) -> None:
    catch_up([follower], acheter(bus, range(2), POISON))

    error = readers.retry("allocations_view", POISON)

    assert isinstance(error, ZeroDivisionError)
    assert [each.events for each in readers.summary()] == [2]
    assert lus(database, "c-0") == []


def test_discard_renonce_et_la_suite_du_sku_est_appliquée(
    database: Database,
    bus: Bus,
    follower: ProjectionFollower,
    handler: VueEmpoisonnée,
    readers: ParkedReaders,
) -> None:
    catch_up([follower], acheter(bus, range(2), POISON))
    handler.poisoned.clear()

    assert readers.discard("allocations_view", POISON) == 2
    catch_up([follower], acheter(bus, range(2, 3), POISON))

    assert [lus(database, f"c-{n}") for n in range(3)] == [[], [], [POISON]]
    assert [each.missing for each in verify(database, [follower])] == [True, True]


def test_trop_de_skus_à_part_mettent_la_projection_en_pause_jusqu_à_la_réparation(
    database: Database, bus: Bus, handler: VueEmpoisonnée
) -> None:
    handler.poisoned = {POISON, "LAMPE"}
    follower = ProjectionFollower(ALLOCATIONS_VIEW, {Alloué: handler}, database, max_parked=2)
    readers = ParkedReaders(database, [follower])
    stopped_at = acheter(bus, range(1), POISON, "LAMPE")
    catch_up([follower], stopped_at)

    end = acheter(bus, range(1, 2), "TABLE")
    catch_up([follower], end)
    stand = next(each for each in progress(database) if each.name == "allocations_view")
    assert (stand.position, stand.state) == (stopped_at, "paused")
    assert stand.erreur == "events of 2 SKUs are parked: allocation parked list"

    handler.poisoned.clear()
    readers.retry("allocations_view", POISON)
    catch_up([follower], end)
    assert follower.advance(wait=True) == end
    stand = next(each for each in progress(database) if each.name == "allocations_view")
    assert (stand.state, stand.erreur, stand.parked) == ("following", None, 1)


def test_un_abonnement_met_aussi_à_part_ce_que_son_gestionnaire_refuse(database: Database, bus: Bus) -> None:
    sent: list[str] = []

    def send(batch: Sequence[Any], _: Connection) -> None:
        for recorded in batch:
            if recorded.event.sku == POISON:
                raise KeyError("refusé")
            sent.append(recorded.event.sku)

    follower = SubscriptionFollower(Subscription("envois"), {Alloué: send}, database)
    register([follower])

    catch_up([follower], acheter(bus, range(2), "LAMPE", POISON, "TABLE"))

    assert sent == ["LAMPE", "TABLE"] * 2
    assert [(each.lecteur, each.events) for each in ParkedReaders(database, [follower]).summary()] == [
        ("envois", 2)
    ]

"""What is told of arrivals: the next one that has something left, and those that are late."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from allocation.adapters.postgresql.database import Database
from allocation.adapters.write_model.postgresql_unit_of_work import PostgreSQLUnitOfWork
from allocation.domain.commands import Allouer, CréerLot, ModifierQuantitéLot
from allocation.projections.projector import catch_up, register
from allocation.service_layer.bootstrap import bootstrap, projection_followers
from allocation.service_layer.messagebus import MessageBus
from allocation.views import history, views
from allocation.views.staleness import ViewLate

Bus = MessageBus[PostgreSQLUnitOfWork]
Sql = Callable[..., list[dict[str, Any]]]

TODAY = datetime.now(UTC).date()
YESTERDAY, LAST_WEEK = TODAY - timedelta(1), TODAY - timedelta(7)
TOMORROW, NEXT_WEEK = TODAY + timedelta(1), TODAY + timedelta(7)


def receive(bus: Bus, *arrivals: date | None) -> None:
    """A lot of ten for each day: lot-1, lot-2, and so on."""
    for n, eta in enumerate(arrivals, start=1):
        bus.handle(CréerLot(f"lot-{n}", "LAMPE", 10, eta))


def arrivals(bus: Bus) -> tuple[date | None, date | None]:
    stock = views.stock("LAMPE", bus.uow)
    assert stock is not None
    [in_page] = views.stock_page("", 10, bus.uow)
    assert in_page == stock
    return stock["prochaine_eta"], stock["eta_dépassée"]


def test_la_prochaine_arrivée_est_à_venir_et_celles_en_retard_sont_dites_à_part(bus: Bus) -> None:
    receive(bus, NEXT_WEEK, YESTERDAY, None, TOMORROW, LAST_WEEK)

    assert arrivals(bus) == (TOMORROW, LAST_WEEK)


def test_ce_qui_arrive_aujourd_hui_n_est_pas_en_retard(bus: Bus) -> None:
    receive(bus, TODAY)

    assert arrivals(bus) == (TODAY, None)


def test_un_lot_qui_n_a_plus_rien_de_libre_n_est_pas_une_arrivée(bus: Bus) -> None:
    receive(bus, TOMORROW, NEXT_WEEK)
    bus.handle(Allouer("c-1", "LAMPE", 10))

    assert arrivals(bus) == (NEXT_WEEK, None)


def test_un_lot_corrigé_à_zéro_n_est_pas_une_arrivée_et_le_redevient(bus: Bus) -> None:
    receive(bus, TOMORROW, LAST_WEEK)
    bus.handle(ModifierQuantitéLot("lot-1", 0))
    bus.handle(ModifierQuantitéLot("lot-2", 0))
    assert arrivals(bus) == (None, None)

    bus.handle(ModifierQuantitéLot("lot-1", 1))

    assert arrivals(bus) == (TOMORROW, None)


def test_le_jour_qui_passe_se_voit_sans_événement(bus: Bus, sql: Sql) -> None:
    """An arrival of tomorrow is late the day after, though no row has been touched."""
    receive(bus, TOMORROW)

    sql("UPDATE lots_view SET eta = eta - 2")

    assert arrivals(bus) == (None, YESTERDAY)


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_le_jour_est_celui_d_utc_quel_que_soit_le_fuseau_du_serveur(
    bus: Bus, sql: Sql, database_url: str, zone: str
) -> None:
    receive(bus, TODAY, YESTERDAY)
    [row] = sql("SELECT current_database() AS name")
    sql(f"ALTER DATABASE {row['name']} SET timezone = '{zone}'")

    with Database(database_url) as elsewhere:
        stock = views.stock("LAMPE", elsewhere)

    assert stock is not None
    assert (stock["prochaine_eta"], stock["eta_dépassée"]) == (TODAY, YESTERDAY)


@pytest.mark.parametrize(("eta", "late"), [(None, False), (YESTERDAY, True), (TODAY, False)])
def test_un_lot_dit_si_son_arrivée_est_en_retard(bus: Bus, eta: date | None, *, late: bool) -> None:
    receive(bus, eta)

    lot = views.lot("lot-1", bus.uow)

    assert lot is not None
    assert (lot["eta"], lot["eta_dépassée"]) == (eta, late)


def test_le_stock_attend_la_plus_lente_des_deux_vues_qu_il_lit(database: Database) -> None:
    bus = bootstrap(database, inline=False)
    followers = {follower.name: follower for follower in projection_followers(database)}
    register(tuple(followers.values()))
    position = bus.handle(CréerLot("lot-1", "LAMPE", 10, TOMORROW)).position
    assert position is not None
    catch_up([followers["stock_view"]], position)

    with pytest.raises(ViewLate) as late:
        views.stock("LAMPE", database, after=position, wait_s=0)
    assert late.value.position == 0

    catch_up([followers["lots_view"]], position)
    stock = views.stock("LAMPE", database, after=position, wait_s=0)
    assert stock is not None
    assert stock["prochaine_eta"] == TOMORROW


def test_un_instant_passé_a_les_arrivées_qu_il_avait(bus: Bus, database: Database) -> None:
    receive(bus, YESTERDAY, TOMORROW, NEXT_WEEK)
    then = datetime.now(UTC)
    bus.handle(ModifierQuantitéLot("lot-1", 0))
    bus.handle(Allouer("c-1", "LAMPE", 10))
    bus.handle(CréerLot("lot-4", "LAMPE", 10, LAST_WEEK))
    assert arrivals(bus) == (NEXT_WEEK, LAST_WEEK)

    past = history.stock_at("LAMPE", then, database)

    assert past is not None
    assert (past["prochaine_eta"], past["eta_dépassée"]) == (TOMORROW, YESTERDAY)

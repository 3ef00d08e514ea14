"""Effects outside of the database: at least once each, mails no more than one an hour for a SKU."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from allocation.adapters.configuration import Settings
from allocation.adapters.notifications import Notification
from allocation.adapters.postgresql.database import Database
from allocation.adapters.write_model.postgresql_unit_of_work import PostgreSQLUnitOfWork
from allocation.domain.commands import Allouer, CréerLot
from allocation.domain.events import Alloué, RuptureDeStock
from allocation.projections.delivery import Subscription
from allocation.projections.outside import OutsideFollower
from allocation.projections.projector import catch_up, register
from allocation.projections.subscription_follower import SubscriptionFollower
from allocation.service_layer.bootstrap import bootstrap, journal_followers
from allocation.service_layer.handlers import (
    ALLOCATIONS_CHANNEL,
    ALLOCATIONS_PUBLICATION,
    envoyer_notification_rupture_stock,
    publier_événement_allocation,
)
from allocation.service_layer.messagebus import MessageBus
from allocation.testing import FakeNotifications
from allocation.views.progress import progress

Bus = MessageBus[PostgreSQLUnitOfWork]
Sql = Callable[..., list[dict[str, Any]]]


class PosteCapricieuse(FakeNotifications):
    """A mail server that is away while `away`."""

    away = False

    def send(self, notification: Notification) -> None:
        if self.away:
            raise ConnectionRefusedError
        super().send(notification)


@pytest.fixture
def bus(database: Database) -> Bus:
    bus = bootstrap(database, inline=False)
    bus.handle(CréerLot("lot-1", "LAMPE", 1))
    bus.handle(CréerLot("lot-2", "TABLE", 1))
    return bus


@pytest.fixture
def poste() -> PosteCapricieuse:
    return PosteCapricieuse()


@pytest.fixture
def courriels(database: Database, bus: Bus, poste: PosteCapricieuse) -> OutsideFollower:
    handler = partial(envoyer_notification_rupture_stock, notifications=poste)
    subscription = Subscription("courriels", batch=100, outside=True)
    follower = OutsideFollower(subscription, {RuptureDeStock: handler}, database)
    register([follower])
    return follower


def manquer(bus: Bus, commande: str, sku: str = "LAMPE") -> int:
    """Ask for more than there is; the position of the event."""
    position = bus.handle(Allouer(commande, sku, 2)).position
    assert position is not None
    return position


def test_une_rupture_envoie_un_courriel_qui_dit_tout(
    bus: Bus, courriels: OutsideFollower, poste: PosteCapricieuse
) -> None:
    catch_up([courriels], manquer(bus, "c-1"))

    [courriel] = poste.sent
    assert courriel.subject == "Rupture de stock : LAMPE"
    assert courriel.body == ("La commande c-1 demande 2 unités de LAMPE ; le lot le mieux fourni en a 1.")


def test_un_seul_courriel_par_sku_et_par_heure(
    bus: Bus, courriels: OutsideFollower, poste: PosteCapricieuse, sql: Sql
) -> None:
    catch_up([courriels], manquer(bus, "c-1"))
    catch_up([courriels], manquer(bus, "c-2"))
    catch_up([courriels], manquer(bus, "c-3", "TABLE"))
    assert [courriel.subject[-5:] for courriel in poste.sent] == ["LAMPE", "TABLE"]

    sql("UPDATE notifications SET envoyée_le = envoyée_le - interval '59 minutes'")
    catch_up([courriels], manquer(bus, "c-4"))
    assert len(poste.sent) == 2

    sql("UPDATE notifications SET envoyée_le = envoyée_le - interval '2 minutes'")
    catch_up([courriels], manquer(bus, "c-5"))
    assert [courriel.subject[-5:] for courriel in poste.sent] == ["LAMPE", "TABLE", "LAMPE"]


def test_un_courriel_qui_ne_part_pas_est_retenté_et_les_précédents_ne_repartent_pas(
    bus: Bus, courriels: OutsideFollower, poste: PosteCapricieuse
) -> None:
    catch_up([courriels], manquer(bus, "c-1"))
    poste.away = True
    end = manquer(bus, "c-2", "TABLE")

    with pytest.raises(ConnectionRefusedError):
        courriels.advance(wait=True)
    poste.away = False
    catch_up([courriels], end)

    assert [courriel.subject[-5:] for courriel in poste.sent] == ["LAMPE", "TABLE"]


def test_un_abonnement_nouveau_commence_maintenant(
    database: Database, bus: Bus, poste: PosteCapricieuse
) -> None:
    end = manquer(bus, "c-1")
    late = SubscriptionFollower(Subscription("tardif"), {RuptureDeStock: _must_not_be_called}, database)

    register([late])
    catch_up([late], end)

    assert [(reader.name, reader.behind) for reader in progress(database)] == [("tardif", 0)]


def test_chaque_allocation_est_publiée_à_qui_écoute(database: Database, bus: Bus) -> None:
    follower = SubscriptionFollower(ALLOCATIONS_PUBLICATION, {Alloué: publier_événement_allocation}, database)
    register([follower])

    with database.sessions.listen(ALLOCATIONS_CHANNEL) as listener:
        results = bus.handle(Allouer("c-1", "LAMPE", 1))
        assert results.position is not None
        catch_up([follower], results.position)
        [heard] = list(listener.notifies(timeout=10, stop_after=1))

    message = json.loads(heard.payload)
    assert message["position"] == results.position
    assert message["type"] == "Alloué"
    assert message["data"] == {
        "id_commande": "c-1",
        "sku": "LAMPE",
        "quantité": 1,
        "réf_lot": "lot-1",
        "ligne": "1",
    }


def test_le_plus_grand_événement_tient_dans_une_publication(database: Database) -> None:
    """NOTIFY takes less than 8,000 bytes; identifiers have 255 characters of three bytes at most."""
    bus = bootstrap(database)
    widest = "灯" * 255

    bus.handle(CréerLot(widest, widest, 1))
    bus.handle(Allouer(widest, widest, 1, widest))

    assert {reader.erreur for reader in progress(database)} == {None}
    assert {reader.behind for reader in progress(database)} == {0}


def test_sans_serveur_de_courriel_la_rupture_est_au_moins_dans_le_log(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    bus = bootstrap(database, settings=Settings())
    bus.handle(CréerLot("lot-1", "LAMPE", 1))

    manquer(bus, "c-1")

    assert "Rupture de stock : LAMPE" in caplog.text


def test_la_table_de_routage_déclare_les_abonnements_et_les_projections(database: Database) -> None:
    assert {follower.name for follower in journal_followers(database, Settings())} == {
        "allocations_view",
        "lots_view",
        "stock_view",
        "notification_rupture_stock",
        "publication_allocations",
    }


def _must_not_be_called(*_: object) -> None:
    raise AssertionError("an event from before the subscription was delivered")

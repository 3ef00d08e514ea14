"""The service says when it can't serve: a reader fails or is missed, the server only reads."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import Connection
from tests.loop_client import NewClient
from tests.read_only import reading_only
from tests.waiting import eventually
from werkzeug.test import Client

from allocation.adapters.journal.listener import Waker
from allocation.adapters.postgresql.database import Database
from allocation.domain.commands import CréerLot
from allocation.domain.events import LotCréé
from allocation.projections.delivery import Subscription
from allocation.projections.follower import ProjectionFollower
from allocation.projections.projector import Projector, register
from allocation.projections.stock_view import STOCK_VIEW, mettre_à_jour_stock_vue
from allocation.projections.subscription_follower import SubscriptionFollower
from allocation.service_layer.bootstrap import bootstrap, projection_followers
from allocation.views.progress import progress

Sql = Callable[..., list[dict[str, Any]]]

NAME = STOCK_VIEW.name


@pytest.fixture
def client(database: Database, new_client: NewClient) -> Client:
    register(projection_followers(database))
    return new_client(bootstrap(database, inline=False), database)


class Panne:
    """A handler of stock_view that something outside keeps from working."""

    def __init__(self) -> None:
        self.lasts = True

    def __call__(self, events: Sequence[LotCréé], connection: Connection) -> None:
        if self.lasts:
            raise ConnectionRefusedError("personne ne répond")
        mettre_à_jour_stock_vue(events, connection)


def prêt(client: Client) -> tuple[int, str]:
    response = client.get("/health/ready")
    assert response.json is not None
    return response.status_code, response.json["status"]


def test_une_vue_qui_échoue_encore_et_encore_rend_le_service_indisponible_jusqu_à_ce_qu_elle_aille_bien(
    database: Database, client: Client
) -> None:
    panne = Panne()
    others = [each for each in projection_followers(database) if each.name != NAME]
    failing = ProjectionFollower(STOCK_VIEW, {LotCréé: panne}, database)
    bootstrap(database, inline=False).handle(CréerLot("lot-1", "LAMPE", 10))

    with Projector([failing, *others], Waker(), poll_interval=0.05):
        assert eventually(lambda: prêt(client) == (503, "failing"))
        shown = next(each for each in progress(database) if each.name == NAME)
        assert (shown.state, shown.erreur) == ("failing", "ConnectionRefusedError: personne ne répond")
        metric = (
            f'allocation_reader_failing{{kind="projection",name="{NAME}",reason="ConnectionRefusedError"}}'
        )
        assert f"{metric} 1.0" in client.get("/metrics").text
        panne.lasts = False
        assert eventually(lambda: prêt(client) == (200, "ok"))

    assert "allocation_reader_failing{" not in client.get("/metrics").text
    assert next(each for each in progress(database) if each.name == NAME).erreur is None


def test_un_échec_seul_n_est_pas_une_panne(database: Database, client: Client) -> None:
    follower = next(each for each in projection_followers(database) if each.name == NAME)

    follower.note_failures(OSError("un hoquet"), 2)

    assert prêt(client) == (200, "ok")
    follower.note_failures(OSError("une panne"), 3)
    assert prêt(client) == (503, "failing")
    # Nothing new has happened: that it works again is told all the same.
    follower.advance(wait=False)
    assert prêt(client) == (200, "ok")


def test_un_abonnement_qui_échoue_se_voit_mais_n_empêche_pas_de_vendre(
    database: Database, client: Client
) -> None:
    follower = SubscriptionFollower(Subscription("courriels"), {}, database)
    register([follower])

    follower.note_failures(ConnectionRefusedError(), 10)

    assert prêt(client) == (200, "ok")
    assert [each.state for each in progress(database) if each.name == "courriels"] == ["failing"]
    assert (
        'kind="subscription",name="courriels",reason="ConnectionRefusedError"' in client.get("/metrics").text
    )


def test_un_lecteur_dont_le_fil_manque_rend_le_service_indisponible(
    database: Database, client: Client, sql: Sql
) -> None:
    """Without events, there is no lag that would tell."""
    with Projector(projection_followers(database), Waker(), poll_interval=0.05):
        eventually(lambda: not sql("SELECT name FROM projections WHERE attendu_avant IS NULL"))
        assert prêt(client) == (200, "ok")

    sql(
        "UPDATE projections SET attendu_avant = clock_timestamp() - interval '1 second' WHERE name = :n",
        n=NAME,
    )

    assert prêt(client) == (503, "silent")
    assert f'name="{NAME}",reason="silent"' in client.get("/metrics").text
    with Projector(projection_followers(database), Waker(), poll_interval=0.05):
        assert eventually(lambda: prêt(client) == (200, "ok"))


def test_une_base_qui_ne_fait_que_lire_rend_le_service_indisponible_et_refuse_les_demandes(
    database: Database, client: Client
) -> None:
    with reading_only(database):
        assert prêt(client) == (503, "read-only")
        refused = client.post(f"/projections/{NAME}/rebuild", json={})
        assert (refused.status_code, refused.json["type"] if refused.json else "") == (
            503,
            "urn:allocation:base-indisponible",
        )

    assert eventually(lambda: prêt(client) == (200, "ok"))
    assert eventually(lambda: client.post(f"/projections/{NAME}/rebuild", json={}).status_code == 202)


def test_une_base_qui_ne_peut_plus_rien_garder_rend_le_service_indisponible_jusqu_à_ce_qu_elle_le_puisse(
    client: Client, sql: Sql
) -> None:
    client.post("/lots", json={"réf": "lot-1", "sku": "LAMPE", "quantité": 10})
    sql("""
        CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = 'disk_full'; END $$
    """)
    sql("CREATE TRIGGER disk_full BEFORE INSERT ON allocations EXECUTE FUNCTION disk_full()")
    order = {"id_commande": "c-1", "sku": "LAMPE", "quantité": 1}

    assert client.post("/allocate", json=order).status_code == 503
    assert prêt(client) == (503, "failing")

    sql("DROP TRIGGER disk_full ON allocations")
    assert client.post("/allocate", json=order).status_code == 201
    assert prêt(client) == (200, "ok")

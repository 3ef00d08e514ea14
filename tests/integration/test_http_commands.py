"""Commands over HTTP that take long, come too late, or lose their connection: told truly by both drivers."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from tests.loop_client import NewClient
from tests.waiting import wait_until_blocked

from allocation.adapters.postgresql.database import Database
from allocation.adapters.write_model.postgresql_unit_of_work import PostgreSQLUnitOfWork
from allocation.service_layer import bootstrap as wiring
from allocation.service_layer import handlers
from allocation.service_layer.limits import DEFAULT_LIMITS
from allocation.service_layer.messagebus import MessageBus

Bus = MessageBus[PostgreSQLUnitOfWork]


def line(id_commande: str, sku: str = "LAMPE") -> dict[str, object]:
    return {"id_commande": id_commande, "sku": sku, "quantité": 1}


def test_ce_qui_attend_trop_longtemps_est_refusé_et_n_est_jamais_exécuté(
    database: Database, new_client: NewClient, monkeypatch: pytest.MonkeyPatch, sql: Callable[..., object]
) -> None:
    limits = replace(DEFAULT_LIMITS, waiting_s=0.05)
    monkeypatch.setattr(wiring, "Limits", lambda **given: replace(limits, **given))
    client = new_client(wiring.bootstrap(database), database)
    assert client.post("/lots", json={"réf": "lot-1", "sku": "LAMPE", "quantité": 9}).status_code == 201
    with ThreadPoolExecutor(1) as other, database.working() as holder, holder.begin():
        holder.exec_driver_sql("LOCK TABLE journal IN SHARE MODE")
        first = other.submit(client.post, "/allocate", json=line("c-1"))
        wait_until_blocked(database)
        late = client.post("/allocate", json=line("c-2"))
        holder.rollback()

        assert late.status_code == 503
        assert late.json is not None
        assert late.json["type"] == "urn:allocation:attente-trop-longue"
        assert late.headers["Retry-After"] == "1"
        assert first.result().status_code == 201
    # By then, everything that was queued before it has been looked at.
    assert client.post("/allocate", json=line("c-3")).status_code == 201
    assert sql("SELECT id_commande FROM order_lines ORDER BY 1") == [
        {"id_commande": "c-1"},
        {"id_commande": "c-3"},
    ]


def test_une_correction_en_plusieurs_étapes_dit_ce_qui_est_advenu_de_chaque_ligne(
    bus: Bus, database: Database, new_client: NewClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "LIGNES_PAR_ÉTAPE", 2)
    client = new_client(bus, database)
    for réf, quantité in (("lot-1", 9), ("lot-2", 3)):
        lot = {"réf": réf, "sku": "LAMPE", "quantité": quantité}
        assert client.post("/lots", json=lot).status_code == 201
    orders = [f"c-{n}" for n in range(1, 8)]
    for order in orders:
        assert client.post("/allocate", json=line(order)).status_code == 201

    corrected = client.patch("/lots/lot-1", json={"quantité": 0})

    assert corrected.status_code == 200
    assert corrected.json is not None
    assert [each["id_commande"] for each in corrected.json["réallouées"]] == orders[:3]
    assert [each["id_commande"] for each in corrected.json["sans_lot"]] == orders[3:]
    read = client.get("/lots/lot-1", headers={"Consistency-Token": corrected.headers["Consistency-Token"]})
    assert read.json is not None
    assert (read.json["quantité"], read.json["quantité_allouée"]) == (0, 0)

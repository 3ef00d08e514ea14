"""Commands over HTTP that take long, come too late, or lose their connection: told truly by both drivers."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, NoReturn

import pytest
from tests.loop_client import DrivenClient, NewClient
from tests.waiting import wait_until_blocked
from tests.wire import Wire

from allocation.adapters.journal.tokens import mark_of
from allocation.adapters.postgresql.database import Database, StorageUnavailable
from allocation.adapters.write_model import lost_commits
from allocation.adapters.write_model.postgresql_unit_of_work import PostgreSQLUnitOfWork
from allocation.service_layer import handlers
from allocation.service_layer.bootstrap import bootstrap
from allocation.service_layer.messagebus import MessageBus

Bus = MessageBus[PostgreSQLUnitOfWork]
Sql = Callable[..., list[dict[str, Any]]]

LAMPE = {"réf": "lot-1", "sku": "LAMPE", "quantité": 99}
LINES_GIVEN = "SELECT id_commande FROM journal WHERE type = 'Alloué' ORDER BY position"


def line(id_commande: str, sku: str = "LAMPE") -> dict[str, object]:
    return {"id_commande": id_commande, "sku": sku, "quantité": 1}


def test_ce_qui_attend_trop_longtemps_est_refusé_et_n_est_jamais_exécuté(
    bus: Bus, database: Database, new_client: NewClient, monkeypatch: pytest.MonkeyPatch, sql: Sql
) -> None:
    client = new_client(bus, database)
    assert client.post("/lots", json=LAMPE).status_code == 201
    impatient = replace(bus._group_commit._limits, waiting_s=0.05)
    with ThreadPoolExecutor(1) as other, database.working() as holder, holder.begin():
        holder.exec_driver_sql("LOCK TABLE journal IN SHARE MODE")
        first = other.submit(client.post, "/allocate", json=line("c-1"))
        wait_until_blocked(database)
        with monkeypatch.context() as patch:
            patch.setattr(bus._group_commit, "_limits", impatient)
            late = client.post("/allocate", json=line("c-2"))
        holder.rollback()

        assert late.status_code == 503
        assert late.json is not None
        assert late.json["type"] == "urn:allocation:attente-trop-longue"
        assert late.headers["Retry-After"] == "1"
        assert first.result().status_code == 201
    # By then, everything that was queued before it has been looked at.
    assert client.post("/allocate", json=line("c-3")).status_code == 201
    assert client.get("/allocations/c-2").status_code == 404
    assert sql(LINES_GIVEN) == [{"id_commande": "c-1"}, {"id_commande": "c-3"}]


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


class TestCommitPerdu:
    @pytest.fixture
    def client(self, wired_database: Database, new_client: NewClient) -> DrivenClient:
        """A client of a program that reaches its database by the wire, and has a lot there."""
        client = new_client(bootstrap(wired_database, inline=False), wired_database)
        assert client.post("/lots", json=LAMPE).status_code == 201
        return client

    def test_ce_qui_est_fait_est_dit_fait_et_ne_l_est_qu_une_fois(
        self, wire: Wire, client: DrivenClient, sql: Sql
    ) -> None:
        wire.cut_the_answer_to_the_next_commit()

        first, again = (client.post("/allocate", json=line("c-1")) for _ in range(2))

        assert wire.cuts == 1
        assert (first.status_code, first.json) == (201, {"réf_lot": "lot-1"})
        assert (again.status_code, again.json) == (200, {"réf_lot": "lot-1"})
        assert first.headers["Consistency-Token"] == again.headers["Consistency-Token"]
        assert sql(LINES_GIVEN) == [{"id_commande": "c-1"}]

    def test_ceux_qui_attendent_ensemble_reçoivent_chacun_sa_vraie_réponse(
        self, wire: Wire, client: DrivenClient, sql: Sql
    ) -> None:
        orders = [f"c-{n}" for n in range(20)]
        wire.cut_the_answer_to_the_next_commit()
        with ThreadPoolExecutor(len(orders)) as shoppers:
            answers = list(shoppers.map(lambda order: client.post("/allocate", json=line(order)), orders))

        assert wire.cuts == 1
        assert [answer.status_code for answer in answers] == [201] * len(orders)
        assert sorted(row["id_commande"] for row in sql(LINES_GIVEN)) == sorted(orders)
        marks = sql("SELECT id_commande, cause FROM journal WHERE id_commande IS NOT NULL")
        told = {
            order: answer.headers["Consistency-Token"] for order, answer in zip(orders, answers, strict=True)
        }
        assert {row["id_commande"]: mark_of(row["cause"]) for row in marks} == {
            order: token.partition("-")[2] for order, token in told.items()
        }

    def test_ce_que_personne_ne_sait_est_dit_inconnu_et_répété_se_sait(
        self, wire: Wire, client: DrivenClient, sql: Sql, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away(_: Database) -> NoReturn:
            raise StorageUnavailable("away")

        wire.cut_the_answer_to_the_next_commit()
        with monkeypatch.context() as patch:
            patch.setattr(lost_commits, "TIMEOUT_S", 0.3)
            patch.setattr(Database, "following", away)
            unknown = client.post("/allocate", json=line("c-1"))

        assert (unknown.status_code, unknown.headers["Retry-After"]) == (503, "1")
        assert unknown.json is not None
        assert unknown.json["type"] == "urn:allocation:issue-inconnue"
        assert "Consistency-Token" not in unknown.headers
        again = client.post("/allocate", json=line("c-1"))
        assert (again.status_code, again.json) == (200, {"réf_lot": "lot-1"})
        assert sql(LINES_GIVEN) == [{"id_commande": "c-1"}]


def test_ce_qu_une_coupure_pendant_le_commit_a_défait_est_refait(
    bus: Bus,
    database: Database,
    new_client: NewClient,
    sql: Sql,
    end_the_first_commit: Callable[[], None],
) -> None:
    client = new_client(bus, database)
    client.post("/lots", json=LAMPE)
    end_the_first_commit()

    answer = client.post("/allocate", json=line("c-1"))

    assert (answer.status_code, answer.json) == (201, {"réf_lot": "lot-1"})
    assert sql("SELECT last_value FROM attempts") == [{"last_value": 2}]
    assert sql(LINES_GIVEN) == [{"id_commande": "c-1"}]

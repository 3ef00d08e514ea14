"""Clocks that go wrong, and are put right: instants in the journal only grow, and lead to one state each.

An event that is dated into the future is what a clock that was fast leaves behind, or one that is set back.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.loop_client import NewClient
from werkzeug.test import Client

from allocation.adapters.journal.archiving import JournalArchiver
from allocation.adapters.postgresql.database import Database
from allocation.adapters.write_model.postgresql_unit_of_work import PostgreSQLUnitOfWork
from allocation.domain.commands import Allouer, CréerLot, ModifierQuantitéLot
from allocation.service_layer.messagebus import MessageBus
from allocation.views import history
from allocation.views.progress import progress

Bus = MessageBus[PostgreSQLUnitOfWork]
Sql = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def reculée(bus: Bus, sql: Sql) -> Bus:
    """The clock is set back by an hour between two events."""
    bus.handle(CréerLot("lot-1", "LAMPE", 10))
    sql("UPDATE journal SET survenu_le = survenu_le + interval '1 hour'")
    bus.handle(Allouer("c-1", "LAMPE", 4))
    return bus


def instants(sql: Sql) -> list[datetime]:
    return [row["survenu_le"] for row in sql("SELECT survenu_le FROM journal ORDER BY position")]


def test_une_horloge_reculée_ne_fait_reculer_aucun_instant(reculée: Bus, sql: Sql) -> None:
    reculée.handle(Allouer("c-2", "LAMPE", 1))

    first, second, third = instants(sql)

    assert datetime.now(UTC) < first < second < third < first + timedelta(seconds=1)


def test_l_horloge_rattrapée_date_de_nouveau_elle_même(bus: Bus, sql: Sql) -> None:
    bus.handle(CréerLot("lot-1", "LAMPE", 10))
    sql("UPDATE journal SET survenu_le = survenu_le - interval '1 hour'")

    before = datetime.now(UTC)
    bus.handle(Allouer("c-1", "LAMPE", 4))

    assert before <= instants(sql)[-1] <= datetime.now(UTC)


def test_ce_qui_devient_visible_ensemble_a_le_même_instant(bus: Bus, sql: Sql) -> None:
    """Nobody has ever seen the middle of a correction: no instant leads there."""
    bus.handle(CréerLot("lot-1", "LAMPE", 10))
    bus.handle(CréerLot("lot-2", "LAMPE", 10))
    bus.handle(Allouer("c-1", "LAMPE", 4))
    bus.handle(ModifierQuantitéLot("lot-1", 3))

    first, second, third, *correction = instants(sql)

    assert first < second < third < correction[0]
    assert len(correction) == 3
    assert len(set(correction)) == 1


def test_après_un_recul_chaque_instant_montre_l_état_qui_fut(
    reculée: Bus, database: Database, sql: Sql
) -> None:
    received, allocated = instants(sql)
    reculée.handle(ModifierQuantitéLot("lot-1", 7))

    def stock(at: datetime) -> tuple[int, int] | None:
        row = history.stock_at("LAMPE", at, database)
        return None if row is None else (row["en_stock"], row["alloué"])

    assert stock(received) == (10, 0)
    assert stock(allocated) == (10, 4)
    assert stock(instants(sql)[-1]) == (7, 4)


def test_après_un_recul_l_archive_ne_prend_rien_de_plus_jeune(
    reculée: Bus, database: Database, tmp_path: Path, sql: Sql
) -> None:
    """By the clock, both events lie in the future: nothing is older than now."""
    reculée.handle(Allouer("c-2", "LAMPE", 1))
    _, allocated, _ = instants(sql)
    archiver = JournalArchiver(database, tmp_path)

    assert archiver.archive(datetime.now(UTC), lambda done, total: None).events == 0
    assert archiver.archive(allocated, lambda done, total: None).position == 1
    assert len(instants(sql)) == 2


class TestHorlogeRemise:
    """The clock was an hour fast when everything happened, and was put right: it is earlier now."""

    @pytest.fixture
    def client(self, bus: Bus, database: Database, sql: Sql, new_client: NewClient) -> Client:
        bus.handle(CréerLot("lot-1", "LAMPE", 10))
        bus.handle(Allouer("c-1", "LAMPE", 4))
        sql("UPDATE journal SET survenu_le = survenu_le + interval '1 hour'")
        return new_client(bus, database)

    @pytest.mark.parametrize("path", ["/stock/LAMPE", "/allocations/c-1"])
    def test_ce_qui_est_n_est_pas_dit_inexistant(self, client: Client, path: str) -> None:
        """Neither is the present given for an instant of which another answer would be given later."""
        response = client.get(path, query_string={"at": datetime.now(UTC).isoformat()})

        assert response.status_code == 409
        problem = json.loads(response.data)
        assert problem["type"] == "urn:allocation:journal-en-avance"
        assert datetime.fromisoformat(problem["horloge"]) < datetime.fromisoformat(problem["suivant"])
        assert client.get(path).status_code == 200

    @pytest.mark.parametrize("path", ["/stock/LAMPE", "/allocations/c-1"])
    def test_l_état_présent_se_lit_à_l_instant_du_dernier_événement(
        self, client: Client, sql: Sql, path: str
    ) -> None:
        last = {"at": instants(sql)[-1].isoformat()}
        present = client.get(path).json

        assert client.get(path, query_string=last).json == present
        client.post("/allocate", json={"id_commande": "c-1", "sku": "LAMPE", "quantité": 1, "ligne": "2"})
        assert client.get(path, query_string=last).json == present
        assert client.get(path).json != present

    def test_ce_qui_fut_avant_l_erreur_se_lit(
        self, bus: Bus, client: Client, database: Database, sql: Sql
    ) -> None:
        sql("UPDATE journal SET survenu_le = now() - interval '1 minute' WHERE position = 1")
        sql("UPDATE journal SET survenu_le = now() - interval '30 seconds' WHERE position = 2")
        sql("UPDATE journal SET survenu_le = now() + interval '1 hour' WHERE position > 2")
        bus.handle(Allouer("c-2", "LAMPE", 1))
        bus.handle(Allouer("c-3", "LAMPE", 1))
        sql("UPDATE journal SET survenu_le = now() + interval '1 hour' WHERE position > 2")

        row = history.stock_at("LAMPE", datetime.now(UTC) - timedelta(seconds=45), database)

        assert row is not None
        assert (row["en_stock"], row["alloué"]) == (10, 0)

    def test_aucun_retard_n_est_négatif(self, client: Client, database: Database, sql: Sql) -> None:
        sql("UPDATE projections SET position = 0")

        assert [each.lag_s for each in progress(database) if each.behind] == [0.0] * 3

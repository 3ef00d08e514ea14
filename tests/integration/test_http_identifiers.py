"""Identifiers over HTTP: what differs unseen is one, what is invisible is refused, what is stored is read."""

import json
import random
import unicodedata
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urljoin

import pytest
from sqlalchemy import text
from tests.loop_client import NewClient
from werkzeug.test import Client

from allocation.adapters.brokers.postgresql import publish
from allocation.adapters.journal.journal import PostgreSQLJournal
from allocation.adapters.postgresql.database import Database
from allocation.adapters.write_model.postgresql_unit_of_work import PostgreSQLUnitOfWork
from allocation.domain.commands import Allouer, CréerLot
from allocation.domain.values import Enregistré
from allocation.service_layer.messagebus import MessageBus

Sql = Callable[..., list[dict[str, Any]]]

NFD = unicodedata.normalize("NFD", "ÉTAGÈRE")


@pytest.fixture
def client(bus: MessageBus[PostgreSQLUnitOfWork], database: Database, new_client: NewClient) -> Client:
    return new_client(bus, database)


def test_un_identifiant_décomposé_ou_entouré_de_blancs_est_le_même_partout(client: Client) -> None:
    received = client.post("/lots", json={"réf": f" {NFD}-1\u00a0", "sku": f"{NFD} ", "quantité": 10})
    allocated = client.post("/allocate", json={"id_commande": f" {NFD}", "sku": NFD, "quantité": 1})

    assert (received.status_code, received.json) == (201, {"réf": "ÉTAGÈRE-1"})
    assert (allocated.status_code, allocated.json) == (201, {"réf_lot": "ÉTAGÈRE-1"})
    assert allocated.headers["Location"] == f"/allocations/{quote('ÉTAGÈRE')}"
    for path in (f"/stock/{NFD}", "/stock/ÉTAGÈRE", f"/stock/%20{quote(NFD)}%C2%A0", f"/lots/{NFD}-1"):
        document = client.get(path).json
        assert document is not None
        assert document["sku"] == "ÉTAGÈRE"
    for path in (f"/allocations/{NFD}", f"/stock/{NFD}/histoire", f"/allocations/{NFD}/histoire"):
        assert client.get(path).status_code == 200
    corrected = client.patch(f"/lots/{NFD}-1", json={"quantité": 9})
    assert corrected.json is not None
    assert (corrected.status_code, corrected.json["réf"]) == (200, "ÉTAGÈRE-1")


@pytest.mark.parametrize("hidden", ["\u200b", "\ufeff", "\u202e", "\u2066", "\u00ad", "\ufe0f", "\u2060"])
@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/allocate", {"id_commande": "c{}1", "sku": "LAMPE", "quantité": 1}, "id_commande"),
        ("/allocate", {"id_commande": "c-1", "sku": "LAMPE{}", "quantité": 1}, "sku"),
        ("/allocate", {"id_commande": "c-1", "sku": "LAMPE", "quantité": 1, "ligne": "{}1"}, "ligne"),
        ("/lots", {"réf": "lot{}1", "sku": "LAMPE", "quantité": 1}, "réf"),
    ],
)
def test_un_caractère_invisible_est_refusé_par_son_nom(
    client: Client, hidden: str, path: str, body: dict[str, Any], field: str
) -> None:
    client.post("/lots", json={"réf": "lot-1", "sku": "LAMPE", "quantité": 10})

    response = client.post(path, json=body | {field: body[field].format(hidden)})

    assert response.status_code == 422
    reason = f"le caractère invisible U+{ord(hidden):04X} est refusé"
    assert json.loads(response.data)["champs"] == [{"champ": field, "raison": reason}]


def test_dans_une_adresse_aussi(client: Client) -> None:
    for response in (
        client.get("/stock/LAM%E2%80%8BPE"),
        client.get("/stock/LAM%E2%80%8BPE/histoire"),
        client.get("/stock/LAM%E2%80%8BPE?at=2026-01-31T10:00:00Z"),
        client.get("/lots/LAM%E2%80%8BPE"),
        client.patch("/lots/LAM%E2%80%8BPE", json={"quantité": 1}),
        client.get("/allocations/" + quote("\U0001f6cb" * 192)),
    ):
        assert response.status_code == 422
        assert json.loads(response.data)["raison"]


@pytest.mark.parametrize("name", [".", ".."])
def test_un_nom_qu_un_client_ôterait_de_l_adresse_est_refusé(client: Client, name: str) -> None:
    client.post("/lots", json={"réf": "lot-1", "sku": "LAMPE", "quantité": 10})

    refused = client.post("/allocate", json={"id_commande": name, "sku": "LAMPE", "quantité": 1})

    assert refused.status_code == 422
    assert "« . » et « .. » sont refusés" in refused.text


@pytest.mark.parametrize(
    "name", ["...", "a/../b", "/..", "../", "a/", "//", "%2e%2e", "a?b#c", "..%2F", "\\..\\"]
)
def test_l_adresse_rendue_est_la_bonne_comme_les_clients_la_comprennent(client: Client, name: str) -> None:
    client.post("/lots", json={"réf": "lot-1", "sku": "LAMPE", "quantité": 10})

    allocated = client.post("/allocate", json={"id_commande": name, "sku": "LAMPE", "quantité": 1})

    resolved = urljoin("http://localhost/allocate", allocated.headers["Location"])
    assert client.get(resolved).status_code == 200


def test_les_plus_longs_identifiants_tiennent_dans_tous_les_index(client: Client, database: Database) -> None:
    """Text at random, as PostgreSQL would compress any other: each of them takes its 765 bytes."""
    some = random.Random(0)
    order, sku, line, lot = ("".join(chr(some.randint(0x4E00, 0x9FFF)) for _ in range(255)) for _ in range(4))

    received = client.post("/lots", json={"réf": lot, "sku": sku, "quantité": 10})
    allocated = client.post(
        "/allocate", json={"id_commande": order, "sku": sku, "quantité": 5, "ligne": line}
    )
    corrected = client.patch(f"/lots/{quote(lot)}", json={"quantité": 4})

    assert (received.status_code, allocated.status_code, corrected.status_code) == (201, 201, 200)
    history = client.get(f"/allocations/{quote(order)}/histoire").json
    assert history is not None
    assert len(history["histoire"]) == 3
    with database.working() as connection, connection.begin():
        publish(connection, "allocation_test", PostgreSQLJournal(connection).read(0, 10))


def test_aucun_index_n_a_plus_de_trois_identifiants(sql: Sql) -> None:
    """Three of 765 bytes fit into a row of an index, which may have 2,704; a fourth would not."""
    indexes = sql(
        """
        SELECT indexrelid::regclass::text AS name,
               (SELECT count(*) FROM pg_attribute
                WHERE attrelid = indexrelid AND atttypid IN ('text'::regtype, 'varchar'::regtype)) AS texts
        FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
        WHERE relnamespace = current_schema()::regnamespace
        """
    )

    assert {row["name"] for row in indexes} >= {"order_lines_pkey", "journal_id_commande_idx"}
    assert [row for row in indexes if row["texts"] > 3] == []


class TestCeQuiEstEnregistréDAvantLaRègle:
    """What an older version stored as it came: decomposed, with blanks around, with what nobody sees."""

    @pytest.fixture(params=[f"{NFD}", " LAMPE ", "LAM\u200bPE", ".."])
    def old(
        self,
        request: pytest.FixtureRequest,
        bus: MessageBus[PostgreSQLUnitOfWork],
    ) -> str:
        name: str = request.param
        stored = Enregistré(name)
        bus.handle(CréerLot(stored, stored, 10))
        bus.handle(Allouer(stored, stored, 4, stored))
        return name

    def test_se_lit_comme_il_est_écrit(self, client: Client, old: str) -> None:
        path = quote(old, safe="")

        stock, lot = client.get(f"/stock/{path}").json, client.get(f"/lots/{path}").json
        assert stock is not None
        assert lot is not None
        assert (stock["sku"], stock["alloué"], lot["réf"]) == (old, 4, old)
        assert client.get(f"/allocations/{path}").json == [
            {"sku": old, "réf_lot": old, "quantité": 4, "ligne": old}
        ]
        for history in (f"/stock/{path}/histoire", f"/allocations/{path}/histoire"):
            assert client.get(history).status_code == 200

    def test_se_corrige_et_ses_lignes_avec_lui(self, client: Client, database: Database, old: str) -> None:
        with database.working() as connection, connection.begin():
            connection.execute(
                text("INSERT INTO lots VALUES (:sku, 'lot-2', 5, 5, 0, NULL, 2)"), {"sku": old}
            )

        corrected = client.patch(f"/lots/{quote(old, safe='')}", json={"quantité": 3})

        assert corrected.json == {
            "réf": old,
            "quantité": 3,
            "réallouées": [{"id_commande": old, "sku": old, "quantité": 4, "réf_lot": "lot-2", "ligne": old}],
            "sans_lot": [],
        }

    def test_se_lit_et_se_corrige_avec_le_sku_comme_il_est_écrit(
        self, client: Client, bus: MessageBus[PostgreSQLUnitOfWork], old: str
    ) -> None:
        bus.handle(CréerLot(Enregistré(old), "AUTRE", 10))
        path, query = f"/lots/{quote(old, safe='')}", {"sku": old}

        corrected = client.patch(path, json={"quantité": 9}, query_string=query)

        assert corrected.status_code == 200
        lot, other = client.get(path, query_string=query).json, client.get(f"{path}?sku=AUTRE").json
        assert lot is not None
        assert other is not None
        assert (lot["sku"], lot["quantité"], other["quantité"]) == (old, 9, 10)

"""What happened, and what was: over HTTP, and against the states that were seen at the time."""

import json
import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest
from tests.loop_client import NewClient
from tests.old_events import store_as_before
from werkzeug.test import Client, TestResponse

from allocation.adapters.postgresql.database import Database
from allocation.adapters.write_model.postgresql_unit_of_work import PostgreSQLUnitOfWork
from allocation.domain.commands import Allouer, CréerLot, ModifierQuantitéLot
from allocation.domain.events import LotCréé
from allocation.projections.projector import catch_up
from allocation.service_layer.bootstrap import bootstrap, projection_followers
from allocation.service_layer.messagebus import MessageBus
from allocation.views import history, views
from allocation.views.staleness import ViewLate

Bus = MessageBus[PostgreSQLUnitOfWork]
Sql = Callable[..., list[dict[str, Any]]]

DEMAIN = date(2027, 1, 2)

BEHIND = "SELECT name FROM projections WHERE position < (SELECT max(position) FROM journal)"


@pytest.fixture
def client(bus: Bus, database: Database, new_client: NewClient) -> Client:
    return new_client(bus, database)


def problem(response: TestResponse) -> tuple[int, str]:
    assert response.mimetype == "application/problem+json"
    return response.status_code, json.loads(response.data)["type"].removeprefix("urn:allocation:")


class TestHistoire:
    def test_elle_dit_ce_qui_est_arrivé_et_par_quelle_commande(self, bus: Bus, client: Client) -> None:
        bus.handle(CréerLot("lot-1", "LAMPE", 10))
        bus.handle(CréerLot("lot-2", "LAMPE", 10))
        bus.handle(Allouer("c-1", "LAMPE", 4))
        bus.handle(ModifierQuantitéLot("lot-1", 3))

        histoire = client.get("/stock/LAMPE/histoire").json["histoire"]  # type: ignore[index]

        assert [(each["type"], each["commande"]) for each in histoire] == [
            ("LotCréé", "CréerLot"),
            ("LotCréé", "CréerLot"),
            ("Alloué", "Allouer"),
            ("Désalloué", "ModifierQuantitéLot"),
            ("QuantitéLotModifiée", "ModifierQuantitéLot"),
            ("Alloué", "ModifierQuantitéLot"),
        ]
        assert [each["position"] for each in histoire] == [1, 2, 3, 4, 5, 6]
        assert histoire[4]["data"] == {
            "réf_lot": "lot-1",
            "sku": "LAMPE",
            "quantité": 3,
            "quantité_précédente": 10,
            "eta": None,
        }

    def test_les_événements_d_une_commande_ont_une_cause_et_ceux_d_une_autre_une_autre(
        self, bus: Bus, client: Client
    ) -> None:
        bus.handle(CréerLot("lot-1", "LAMPE", 10))
        bus.handle(Allouer("c-1", "LAMPE", 4))
        bus.handle(ModifierQuantitéLot("lot-1", 3))

        histoire = client.get("/stock/LAMPE/histoire").json["histoire"]  # type: ignore[index]

        causes = [each["cause"] for each in histoire]
        assert len(set(causes)) == 3
        assert len(set(causes[2:])) == 1

    def test_celle_d_une_commande_ne_parle_que_d_elle_ruptures_comprises(
        self, bus: Bus, client: Client
    ) -> None:
        bus.handle(CréerLot("lot-1", "LAMPE", 10))
        bus.handle(Allouer("c-1", "LAMPE", 4))
        bus.handle(Allouer("c-2", "LAMPE", 40))

        [event] = client.get("/allocations/c-2/histoire").json["histoire"]  # type: ignore[index]

        assert (event["type"], event["data"]["quantité_disponible"]) == ("RuptureDeStock", 6)
        assert client.get("/allocations/c-2").status_code == 404

    def test_les_pages_se_suivent_sans_trou_ni_répétition(self, bus: Bus, client: Client) -> None:
        bus.handle(CréerLot("lot-1", "A/B", 10))
        for n in range(4):
            bus.handle(Allouer(f"c-{n}", "A/B", 1))
            bus.handle(CréerLot(f"autre-{n}", "TABLE", 10))

        seen, path = [], "/stock/A%2FB/histoire?limit=2"
        while path:
            page = client.get(path).json
            assert page is not None
            seen += [each["position"] for each in page["histoire"]]
            path = page["suivant"]

        assert seen == [1, 2, 4, 6, 8]

    @pytest.mark.parametrize("path", ["/stock/LAMPE/histoire", "/allocations/c-1/histoire"])
    def test_de_ce_qui_est_inconnu_il_n_y_en_a_pas(self, client: Client, path: str) -> None:
        assert problem(client.get(path)) == (404, "introuvable")

    def test_derrière_son_dernier_événement_la_page_est_vide(self, bus: Bus, client: Client) -> None:
        bus.handle(CréerLot("lot-1", "LAMPE", 10))

        page = client.get("/stock/LAMPE/histoire?after=1").json

        assert page == {"histoire": [], "suivant": None, "horizon": None}

    @pytest.mark.parametrize(
        ("name", "value"),
        [("limit", "0"), ("limit", "1001"), ("after", "-1"), ("after", "x"), ("after", "9" * 30)],
    )
    def test_des_bornes_absurdes_sont_refusées(self, client: Client, name: str, value: str) -> None:
        response = client.get("/stock/LAMPE/histoire", query_string={name: value})

        assert problem(response) == (422, "champs-invalides")

    @pytest.mark.parametrize("name", ["a/b", "histoire", "/histoire/", "a/histoire"])
    def test_un_identifiant_qui_finit_par_histoire_a_la_sienne(
        self, bus: Bus, client: Client, name: str
    ) -> None:
        bus.handle(CréerLot("lot-1", name, 10))
        bus.handle(Allouer(name, name, 4))

        for kind, events in (("stock", 2), ("allocations", 1)):
            page = client.get(f"/{kind}/{quote(name, safe='')}/histoire").json
            assert page is not None
            assert len(page["histoire"]) == events

    def test_un_ancien_événement_s_y_montre_dans_sa_forme_d_aujourd_hui(
        self, bus: Bus, client: Client, sql: Sql, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bus.handle(CréerLot("lot-1", "LAMPE", 10))
        store_as_before(sql, monkeypatch, LotCréé)

        [event] = client.get("/stock/LAMPE/histoire").json["histoire"]  # type: ignore[index]

        assert event["version"] == 1
        assert event["data"] == {"réf_lot": "lot-1", "sku": "LAMPE", "quantité": 10, "eta": None}


class TestInstant:
    def test_le_stock_et_les_lignes_sont_ceux_de_l_instant(self, bus: Bus, client: Client) -> None:
        bus.handle(CréerLot("lot-1", "LAMPE", 10))
        bus.handle(Allouer("c-1", "LAMPE", 4))
        à_l_instant = {"at": datetime.now(UTC).isoformat()}
        stock, lines = client.get("/stock/LAMPE").json, client.get("/allocations/c-1").json
        bus.handle(CréerLot("lot-2", "LAMPE", 10, DEMAIN))
        bus.handle(ModifierQuantitéLot("lot-1", 3))

        assert client.get("/stock/LAMPE").json != stock
        assert client.get("/allocations/c-1").json != lines
        assert client.get("/stock/LAMPE", query_string=à_l_instant).json == stock
        assert client.get("/allocations/c-1", query_string=à_l_instant).json == lines

    def test_avant_le_premier_événement_il_n_y_a_rien(self, bus: Bus, client: Client) -> None:
        bus.handle(CréerLot("lot-1", "LAMPE", 10))
        bus.handle(Allouer("c-1", "LAMPE", 4))

        for path in ("/stock/LAMPE", "/allocations/c-1"):
            for at in ("2020-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00"):
                response = client.get(path, query_string={"at": at})
                assert problem(response) == (404, "introuvable")

    @pytest.mark.parametrize("at", ["9999-12-31T23:59:59-14:00", "2999-01-01 00:00+01:00"])
    def test_l_avenir_n_est_pas_encore(self, bus: Bus, client: Client, at: str) -> None:
        """Whatever was answered, it would be another answer later."""
        bus.handle(CréerLot("lot-1", "LAMPE", 10))
        bus.handle(Allouer("c-1", "LAMPE", 4))

        for path in ("/stock/LAMPE", "/allocations/c-1"):
            assert problem(client.get(path, query_string={"at": at})) == (422, "instant-futur")

    def test_un_signe_plus_devenu_une_espace_est_compris(self, bus: Bus, client: Client) -> None:
        bus.handle(CréerLot("lot-1", "LAMPE", 10))

        assert problem(client.get("/stock/LAMPE?at=2026-01-01 00:00+01:00")) == (404, "introuvable")

    @pytest.mark.parametrize(
        "at", ["", "hier", "2027-01-31", "2027-01-31T10:00:00", "2027-02-30T10:00:00Z", "1700000000", "\x00"]
    )
    def test_autre_chose_qu_un_instant_avec_son_décalage_est_refusé(self, client: Client, at: str) -> None:
        for path in ("/stock/LAMPE", "/allocations/c-1"):
            assert problem(client.get(path, query_string={"at": at})) == (422, "champs-invalides")

    def test_avant_ce_qui_est_archivé_il_est_dit_jusqu_où(self, bus: Bus, client: Client, sql: Sql) -> None:
        bus.handle(CréerLot("lot-1", "LAMPE", 10))
        sql(
            "INSERT INTO journal_archives (première_position, dernière_position, dernier_survenu_le,"
            " événements, chemin, sha256) VALUES (1, 1, '2026-01-01T00:00:00Z', 1, '', '')"
        )

        for path in ("/stock/LAMPE", "/allocations/c-1"):
            response = client.get(path, query_string={"at": "2025-12-31T23:59:59Z"})
            assert problem(response) == (410, "archivé")
            assert json.loads(response.data)["horizon"] == "2026-01-01T00:00:00Z"
        assert client.get("/stock/LAMPE/histoire").json["horizon"] == "2026-01-01T00:00:00Z"  # type: ignore[index]


@pytest.mark.parametrize("lagging", [None, "stock_view", "lots_view", "allocations_view"])
def test_au_hasard_chaque_état_est_celui_qui_fut_même_si_une_vue_est_en_retard(
    database: Database, sql: Sql, lagging: str | None
) -> None:
    """After each command, the present is noted; in the end, every instant gives what was noted then.

    A view that stays behind says nothing of what it has not reached. Its arrivals come from another view than
    its sums; where these are apart, they are told of different instants.
    """
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    bus, followers = bootstrap(database, inline=False), projection_followers(database)
    bootstrap(database)
    skus, orders = ["LAMPE", "TABLE"], [f"c-{n}" for n in range(6)]
    noted, lots = [], list[tuple[str, str]]()
    for n in range(60):
        position = bus.handle(_some_command(chance, n, skus, orders, lots)).position
        late = lagging is not None and n >= 40
        catch_up([each for each in followers if not (late and each.name == lagging)], position or 0)
        apart = late and lagging in {"stock_view", "lots_view"}
        behind = {row["name"] for row in sql(BEHIND)}
        noted.append((datetime.now(UTC), apart, _present(database, skus, orders, behind)))

    for at, apart, present in noted:
        past, told = _past(database, skus, orders, at), _without_arrivals if apart else list
        assert told(past) == told(present), seed


def test_un_événement_mis_de_côté_n_est_pas_défait(bus: Bus, database: Database, sql: Sql) -> None:
    """The view never had it: what was before is what the view says."""
    bus.handle(CréerLot("lot-1", "LAMPE", 10))
    before = datetime.now(UTC)
    stock = views.stock("LAMPE", database)
    bootstrap(database, inline=False).handle(Allouer("c-1", "LAMPE", 4))
    for reader in ("stock_view", "allocations_view"):
        sql("INSERT INTO parked (lecteur, sku, position, erreur) VALUES (:r, 'LAMPE', 2, 'cassé')", r=reader)
    sql("UPDATE projections SET position = 2")

    assert history.stock_at("LAMPE", before, database) == stock


def test_une_heure_entre_deux_événements_de_la_même_transaction_les_sépare(
    bus: Bus, database: Database, sql: Sql
) -> None:
    bus.handle(CréerLot("lot-1", "LAMPE", 10))
    bus.handle(Allouer("c-1", "LAMPE", 4))
    bus.handle(ModifierQuantitéLot("lot-1", 3))
    [row] = sql("SELECT survenu_le FROM journal WHERE type = 'Désalloué'")

    assert history.allocations_at("c-1", row["survenu_le"], database) == []
    [line] = history.allocations_at("c-1", row["survenu_le"] - timedelta(microseconds=1), database)
    assert line["réf_lot"] == "lot-1"


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (history._STOCK_HISTORY, "journal_sku_idx"),
        (history._STOCK_AT, "journal_sku_idx"),
        (history._ORDER_HISTORY, "journal_id_commande_idx"),
        (history._ALLOCATIONS_AT, "journal_id_commande_idx"),
    ],
)
def test_une_histoire_se_lit_par_son_index(
    bus: Bus, database: Database, sql: Sql, query: str, index: str
) -> None:
    bus.handle(CréerLot("lot-1", "LAMPE", 1_000_000))
    sql(
        "INSERT INTO journal (id, type, version, sku, id_commande, data)"
        " SELECT gen_random_uuid(), 'Alloué', 1, 'S' || n % 500, 'x-' || n,"
        " jsonb_build_object('id_commande', 'x-' || n, 'sku', 'S' || n % 500, 'réf_lot', 'l',"
        " 'ligne', '1', 'quantité', 1) FROM generate_series(1, 20000) AS n"
    )
    sql("ANALYZE journal")
    named = {"sku": "S1", "id_commande": "x-1", "after": 0, "limit": 10, "at": datetime.now(UTC), "target": 1}

    with database.reading() as connection:
        plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {query}", named).scalars())

    assert index in plan
    assert "Seq Scan on journal " not in plan


def _some_command(
    chance: random.Random, n: int, skus: list[str], orders: list[str], lots: list[tuple[str, str]]
) -> CréerLot | Allouer | ModifierQuantitéLot:
    kind = chance.random()
    if n < 2 or kind < 0.25:
        sku = skus[n] if n < 2 else chance.choice(skus)
        # Each SKU numbers its lots itself, so that both have lots of one reference.
        lots.append((f"lot-{sum(other == sku for _, other in lots)}", sku))
        # Each arrival is before all those that are known: a lot too many or too few is seen.
        eta = chance.choice([None, DEMAIN - timedelta(days=n)])
        return CréerLot(*lots[-1], chance.randint(5, 30), eta)
    if kind < 0.5:
        réf, sku = chance.choice(lots)
        return ModifierQuantitéLot(réf, chance.randint(1, 30), sku)
    return Allouer(chance.choice(orders), chance.choice(skus), 4, str(chance.randint(1, 4)))


def _present(database: Database, skus: list[str], orders: list[str], behind: set[str]) -> list[object]:
    return [
        *("en retard" if "stock_view" in behind else views.stock(sku, database) for sku in skus),
        *(
            "en retard" if "allocations_view" in behind else views.allocations(order, database)
            for order in orders
        ),
    ]


def _past(database: Database, skus: list[str], orders: list[str], at: datetime) -> list[object]:
    return [
        *(_unless_late(partial(history.stock_at, sku, at, database, wait_s=0)) for sku in skus),
        *(_unless_late(partial(history.allocations_at, order, at, database, wait_s=0)) for order in orders),
    ]


def _unless_late(ask: Callable[[], object]) -> object:
    try:
        return ask()
    except ViewLate:
        return "en retard"


def _without_arrivals(state: list[object]) -> list[object]:
    arrivals = {"prochaine_eta", "eta_dépassée"}
    return [
        {name: value for name, value in each.items() if name not in arrivals}
        if isinstance(each, dict)
        else each
        for each in state
    ]

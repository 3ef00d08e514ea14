"""What can be sold of several SKUs, asked at once: in all, from stock, and by day of arrival."""

import json
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.loop_client import DrivenClient, NewClient
from tests.waiting import eventually
from werkzeug.test import TestResponse

from allocation.adapters.postgresql.database import Database
from allocation.adapters.write_model.postgresql_unit_of_work import PostgreSQLUnitOfWork
from allocation.domain.commands import Allouer, CréerLot
from allocation.projections.projector import catch_up, register
from allocation.service_layer.bootstrap import bootstrap, projection_followers
from allocation.service_layer.messagebus import MessageBus
from allocation.views import views

Sql = Callable[..., list[dict[str, Any]]]
Bus = MessageBus[PostgreSQLUnitOfWork]

TODAY = datetime.now(UTC).date()
YESTERDAY, TOMORROW, NEXT_WEEK = TODAY - timedelta(1), TODAY + timedelta(1), TODAY + timedelta(7)


@pytest.fixture
def client(bus: Bus, database: Database, new_client: NewClient) -> DrivenClient:
    return new_client(bus, database)


def asked(client: DrivenClient, *skus: object, **headers: str) -> TestResponse:
    return client.post("/disponibilités", json={"skus": list(skus)}, headers=headers)


def found(client: DrivenClient, *skus: str) -> list[dict[str, Any]]:
    """What is said of the SKUs that are known."""
    answer = asked(client, *skus)
    assert answer.status_code == 200
    found: list[dict[str, Any]] = json.loads(answer.data)["disponibilités"]
    return found


def test_d_un_article_on_dit_ce_qui_est_à_vendre_en_tout_en_stock_et_par_jour_d_arrivée(
    client: DrivenClient, bus: Bus
) -> None:
    bus.handle(CréerLot("en-stock-1", "LAMPE", 30))
    bus.handle(CréerLot("en-stock-2", "LAMPE", 20))
    bus.handle(CréerLot("semaine", "LAMPE", 7, NEXT_WEEK))
    bus.handle(CréerLot("demain-1", "LAMPE", 5, TOMORROW))
    bus.handle(CréerLot("demain-2", "LAMPE", 6, TOMORROW))
    bus.handle(Allouer("c-1", "LAMPE", 10))

    assert found(client, "LAMPE") == [
        {
            "sku": "LAMPE",
            "disponible": 58,
            "disponible_en_stock": 40,
            "arrivées": [
                {"eta": str(TOMORROW), "disponible": 11},
                {"eta": str(NEXT_WEEK), "disponible": 7},
            ],
        }
    ]


def test_de_python_on_lit_la_même_chose_et_les_jours_sont_des_dates(bus: Bus) -> None:
    bus.handle(CréerLot("en-stock", "LAMPE", 30))
    bus.handle(CréerLot("semaine", "LAMPE", 7, NEXT_WEEK))
    bus.handle(CréerLot("lot-2", "TABLE", 1))

    assert views.disponibilités(["TABLE", "INCONNU", "LAMPE", "TABLE"], bus.uow) == [
        {"sku": "TABLE", "disponible": 1, "disponible_en_stock": 1, "arrivées": []},
        {
            "sku": "LAMPE",
            "disponible": 37,
            "disponible_en_stock": 30,
            "arrivées": [{"eta": NEXT_WEEK, "disponible": 7}],
        },
    ]
    assert views.disponibilités([], bus.uow) == []


def test_un_lot_épuisé_n_est_pas_une_arrivée_et_une_arrivée_entamée_dit_son_reste(
    client: DrivenClient, bus: Bus
) -> None:
    bus.handle(CréerLot("demain", "LAMPE", 5, TOMORROW))
    bus.handle(CréerLot("semaine", "LAMPE", 5, NEXT_WEEK))
    bus.handle(Allouer("c-1", "LAMPE", 5))
    bus.handle(Allouer("c-2", "LAMPE", 2))

    [lampe] = found(client, "LAMPE")

    assert lampe["arrivées"] == [{"eta": str(NEXT_WEEK), "disponible": 3}]
    assert (lampe["disponible"], lampe["disponible_en_stock"]) == (3, 0)


def test_une_arrivée_en_retard_reste_une_arrivée(client: DrivenClient, bus: Bus) -> None:
    bus.handle(CréerLot("hier", "LAMPE", 5, YESTERDAY))

    [lampe] = found(client, "LAMPE")

    assert lampe["arrivées"] == [{"eta": str(YESTERDAY), "disponible": 5}]
    assert lampe["disponible_en_stock"] == 0


def test_un_article_épuisé_est_connu_et_n_a_rien_à_vendre(client: DrivenClient, bus: Bus) -> None:
    bus.handle(CréerLot("lot-1", "LAMPE", 5))
    bus.handle(Allouer("c-1", "LAMPE", 5))

    assert asked(client, "LAMPE").json == {
        "disponibilités": [{"sku": "LAMPE", "disponible": 0, "disponible_en_stock": 0, "arrivées": []}],
        "inconnus": [],
    }


def test_les_articles_viennent_dans_l_ordre_demandé_et_les_répétés_une_seule_fois(
    client: DrivenClient, bus: Bus
) -> None:
    for sku, units in [("CHAISE", 1), ("LAMPE", 2), ("TABLE", 3)]:
        bus.handle(CréerLot(f"lot-{sku}", sku, units))

    answer = asked(client, "TABLE", "X", "CHAISE", "TABLE", "A", "LAMPE", "X", "CHAISE").json

    assert answer is not None
    assert [(each["sku"], each["disponible"]) for each in answer["disponibilités"]] == [
        ("TABLE", 3),
        ("CHAISE", 1),
        ("LAMPE", 2),
    ]
    assert answer["inconnus"] == ["X", "A"]


def test_tous_inconnus_ce_n_est_pas_un_refus(client: DrivenClient) -> None:
    answer = asked(client, "X", "Y")

    assert (answer.status_code, answer.json) == (200, {"disponibilités": [], "inconnus": ["X", "Y"]})


def test_cent_articles_sont_répondus_d_un_coup(client: DrivenClient, bus: Bus) -> None:
    skus = [f"SKU-{number}" for number in range(100)]
    for sku in skus[::2]:
        bus.handle(CréerLot(f"lot-{sku}", sku, 1))

    answer = asked(client, *skus).json

    assert answer is not None
    assert [each["sku"] for each in answer["disponibilités"]] == skus[::2]
    assert answer["inconnus"] == skus[1::2]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"skus": []}, "skus"),
        ({"skus": [f"SKU-{number}" for number in range(101)]}, "skus"),
        ({}, "skus"),
        ({"skus": "LAMPE"}, "skus"),
        ({"skus": ["LAMPE", ""]}, "skus.1"),
        ({"skus": ["LAMPE", 7]}, "skus.1"),
        ({"skus": ["LAMPE"], "jour": "demain"}, "jour"),
    ],
)
def test_une_demande_mal_faite_est_refusée_et_le_champ_nommé(
    client: DrivenClient, body: dict[str, object], field: str
) -> None:
    answer = client.post("/disponibilités", json=body)

    assert (answer.status_code, answer.mimetype) == (422, "application/problem+json")
    assert [each["champ"] for each in json.loads(answer.data)["champs"]] == [field]


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("wanted", ["NFC", "NFD"])
def test_un_sku_accentué_se_trouve_sous_ses_deux_formes(
    client: DrivenClient, stored: Any, wanted: Any
) -> None:
    lot = {"réf": "lot-1", "sku": unicodedata.normalize(stored, "CANAPÉ"), "quantité": 4}
    assert client.post("/lots", json=lot).status_code == 201

    [canapé] = found(client, unicodedata.normalize(wanted, "CANAPÉ"))

    assert canapé["disponible"] == 4


class TestFraîcheur:
    @pytest.fixture
    def bus(self, database: Database) -> Bus:
        """A bus that leaves the views to a worker, which does not run before the test wants it to."""
        register(projection_followers(database))
        return bootstrap(database, inline=False)

    @pytest.fixture
    def token(self, client: DrivenClient) -> str:
        """The token of a write that the views do not reflect yet."""
        created = client.post("/lots", json={"réf": "lot-1", "sku": "LAMPE", "quantité": 4})
        return created.headers["Consistency-Token"]

    def test_avec_un_jeton_la_réponse_reflète_l_écriture(
        self, client: DrivenClient, database: Database, token: str
    ) -> None:
        catch_up(projection_followers(database), 1)

        answer = asked(client, "LAMPE", **{"Consistency-Token": token, "Prefer": "wait=2"})

        assert answer.status_code == 200
        assert answer.json is not None
        assert answer.json["disponibilités"][0]["disponible"] == 4
        assert answer.headers["Projection-Position"] == "1"

    def test_ce_que_la_vue_n_a_pas_encore_est_refusé(self, client: DrivenClient, token: str) -> None:
        answer = asked(client, "LAMPE", **{"Consistency-Token": token, "Prefer": "wait=0"})

        assert answer.status_code == 503
        assert json.loads(answer.data)["type"] == "urn:allocation:vue-en-retard"
        assert int(answer.headers["Retry-After"]) >= 1

    def test_qui_s_en_contente_reçoit_ce_qu_il_y_a(self, client: DrivenClient, token: str) -> None:
        answer = asked(client, "LAMPE", **{"Consistency-Token": token, "Prefer": "wait=0, handling=lenient"})

        assert (answer.status_code, answer.json) == (200, {"disponibilités": [], "inconnus": ["LAMPE"]})
        assert answer.headers["Projection-Position"] == "0"

    def test_qui_attend_est_répondu_dès_que_la_vue_y_est(
        self, client: DrivenClient, database: Database, token: str
    ) -> None:
        with ThreadPoolExecutor(1) as other:
            waiting = other.submit(
                asked, client, "LAMPE", **{"Consistency-Token": token, "Prefer": "wait=30"}
            )
            eventually(lambda: client.waiting)
            catch_up(projection_followers(database), 1)

            assert json.loads(waiting.result().data)["disponibilités"][0]["disponible"] == 4

    @pytest.mark.parametrize(
        ("wrong", "status", "slug"),
        [("999", 412, "jeton-inconnu"), ("1-0f3c9a1b", 412, "jeton-inconnu"), ("x", 422, "champs-invalides")],
    )
    def test_un_jeton_inconnu_ou_malformé_est_refusé_sur_le_champ(
        self, client: DrivenClient, token: str, wrong: str, status: int, slug: str
    ) -> None:
        answer = asked(client, "LAMPE", **{"Consistency-Token": wrong, "Prefer": "wait=30"})

        assert wrong != token
        assert answer.status_code == status
        assert json.loads(answer.data)["type"] == f"urn:allocation:{slug}"

    def test_une_vue_en_pause_se_dit_sur_le_champ(self, client: DrivenClient, sql: Sql, token: str) -> None:
        sql("UPDATE projections SET en_pause = true, erreur = 'trop tard'")

        answer = asked(client, "LAMPE", **{"Consistency-Token": token, "Prefer": "wait=30"})

        assert answer.status_code == 503
        assert json.loads(answer.data)["type"] == "urn:allocation:projection-en-pause"


def test_sans_base_une_demande_se_réessaie_plus_tard(
    absent_database: Database, new_client: NewClient
) -> None:
    client = new_client(bootstrap(absent_database, inline=False), absent_database)

    for headers in ({}, {"Consistency-Token": "1", "Prefer": "wait=0, handling=lenient"}):
        answer = asked(client, "LAMPE", **headers)

        assert answer.status_code == 503
        assert json.loads(answer.data)["type"] == "urn:allocation:base-indisponible"
        assert int(answer.headers["Retry-After"]) >= 1


def test_la_documentation_en_promet_autant(client: DrivenClient) -> None:
    document = json.loads(client.get("/openapi.json").data)

    operation = document["paths"]["/disponibilités"]["post"]

    assert {"200", "413", "415", "422", "503"} <= set(operation["responses"])
    assert "Consistency-Token" in {each["name"] for each in operation["parameters"]}


def test_sans_projection_inscrite_tout_article_est_inconnu(client: DrivenClient, sql: Sql) -> None:
    sql("DELETE FROM projections")

    answer = asked(client, "LAMPE", "CHAISE")

    assert answer.status_code == 200
    assert json.loads(answer.data) == {"disponibilités": [], "inconnus": ["LAMPE", "CHAISE"]}

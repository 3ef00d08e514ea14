"""The HTTP interface, request by request: what succeeds, what is refused, and how it is said."""

import json
import re
import unicodedata
from collections.abc import Callable
from typing import Any, NoReturn
from urllib.parse import quote

import pytest
from sqlalchemy import text
from tests.loop_client import NewClient
from werkzeug.test import Client, TestResponse

from allocation.adapters.postgresql.database import Database, Locked, OutcomeUnknown, ValueRefused
from allocation.adapters.write_model.postgresql_unit_of_work import PostgreSQLUnitOfWork
from allocation.domain.commands import Allouer
from allocation.projections.rebuild import Rebuilder, run
from allocation.service_layer.bootstrap import bootstrap, projection_followers
from allocation.service_layer.group_commit import QueueFull
from allocation.service_layer.messagebus import MessageBus

Sql = Callable[..., list[dict[str, Any]]]

LAMPE = {"réf": "lot-1", "sku": "LAMPE", "quantité": 100}
LIGNE = {"id_commande": "c-1", "sku": "LAMPE", "quantité": 10}


@pytest.fixture
def client(bus: MessageBus[PostgreSQLUnitOfWork], database: Database, new_client: NewClient) -> Client:
    return new_client(bus, database)


@pytest.fixture
def stocked(client: Client) -> Client:
    """The shop with a hundred lamps."""
    client.post("/lots", json=LAMPE)
    return client


def refusal(response: TestResponse) -> tuple[int, str]:
    """Status and last part of the type of a refusal, after a look at its form."""
    assert response.mimetype == "application/problem+json"
    problem = json.loads(response.data)
    assert problem["status"] == response.status_code
    assert problem["title"]
    assert problem["detail"]
    assert "Traceback" not in response.text
    return response.status_code, problem["type"].removeprefix("urn:allocation:")


class TestAllouer:
    def test_une_ligne_nouvelle_est_créée_et_l_on_sait_où_la_lire(self, stocked: Client) -> None:
        response = stocked.post("/allocate", json=LIGNE)

        assert (response.status_code, response.json) == (201, {"réf_lot": "lot-1"})
        assert response.headers["Location"] == "/allocations/c-1"
        assert stocked.get(response.headers["Location"]).status_code == 200

    def test_répétée_elle_rend_le_même_lot_avec_200(self, stocked: Client) -> None:
        stocked.post("/allocate", json=LIGNE)

        again = stocked.post("/allocate", json=LIGNE)

        assert (again.status_code, again.json) == (200, {"réf_lot": "lot-1"})
        assert again.headers["Location"] == "/allocations/c-1"

    def test_les_lignes_d_un_même_sku_se_distinguent_par_leur_numéro(self, stocked: Client) -> None:
        for ligne in ("1", "2"):
            assert stocked.post("/allocate", json=LIGNE | {"ligne": ligne}).status_code == 201

        rows = stocked.get("/allocations/c-1").json
        assert rows is not None
        assert [row["ligne"] for row in rows] == ["1", "2"]

    def test_les_lignes_se_lisent_comme_on_compte(self, stocked: Client) -> None:
        as_counted = ["1", "2", "010", "10", "11", "A-2", "A-10", "B", "L1.2", "L1.10"]
        for ligne in sorted(as_counted):
            stocked.post("/allocate", json=LIGNE | {"ligne": ligne, "quantité": 1})

        rows = stocked.get("/allocations/c-1").json
        assert rows is not None
        assert [row["ligne"] for row in rows] == as_counted

    @pytest.mark.parametrize(
        "body",
        [
            {"orderid": "c-1", "sku": "LAMPE", "qty": 10},
            {"id_commande": "c-1", "sku": "LAMPE", "quantite": 10},
            {"id_commande": "c-1", "sku": "LAMPE", unicodedata.normalize("NFD", "quantité"): 10},
        ],
    )
    def test_les_autres_noms_des_champs_sont_acceptés(self, stocked: Client, body: dict[str, object]) -> None:
        assert stocked.post("/allocate", json=body).status_code == 201

    def test_un_nombre_entier_peut_s_écrire_avec_un_point(self, stocked: Client) -> None:
        body = b'{"id_commande": "c-1", "sku": "LAMPE", "qty": 10.0}'

        assert stocked.post("/allocate", data=body, content_type="application/json").status_code == 201

    def test_un_sku_inconnu_est_refusé(self, client: Client) -> None:
        response = client.post("/allocate", json=LIGNE)

        assert refusal(response) == (400, "sku-inconnu")
        assert json.loads(response.data)["sku"] == "LAMPE"

    def test_une_rupture_dit_combien_est_demandé_et_combien_reste(self, stocked: Client) -> None:
        response = stocked.post("/allocate", json=LIGNE | {"quantité": 101})

        assert refusal(response) == (409, "rupture-de-stock")
        problem = json.loads(response.data)
        assert (problem["quantité_demandée"], problem["quantité_disponible"]) == (101, 100)
        assert stocked.get("/allocations/c-1").status_code == 404

    def test_une_rupture_répétée_répond_la_même_chose_et_n_inscrit_rien(
        self, stocked: Client, sql: Sql
    ) -> None:
        first, again = (stocked.post("/allocate", json=LIGNE | {"quantité": 101}) for _ in range(2))

        assert again.json == first.json
        assert again.headers["Consistency-Token"] == first.headers["Consistency-Token"]
        assert sql("SELECT count(*) AS events FROM journal WHERE type = 'RuptureDeStock'") == [{"events": 1}]

    def test_une_ligne_connue_avec_une_autre_quantité_est_refusée(self, stocked: Client) -> None:
        stocked.post("/allocate", json=LIGNE)

        response = stocked.post("/allocate", json=LIGNE | {"quantité": 11})

        assert refusal(response) == (409, "ligne-modifiée")
        problem = json.loads(response.data)
        assert (problem["quantité_connue"], problem["quantité_demandée"]) == (10, 11)


class TestLots:
    @pytest.mark.parametrize("path", ["/lots", "/add_batch"])
    def test_un_lot_nouveau_est_créé_et_répété_il_ne_change_rien(self, client: Client, path: str) -> None:
        first, again = client.post(path, json=LAMPE), client.post(path, json=LAMPE)

        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json == again.json == {"réf": "lot-1"}
        assert first.headers["Location"] == again.headers["Location"] == "/lots/lot-1?sku=LAMPE"

    def test_un_autre_lot_sous_la_même_référence_est_refusé(self, stocked: Client) -> None:
        response = stocked.post("/lots", json=LAMPE | {"quantité": 99})

        assert refusal(response) == (409, "lot-existant")
        assert json.loads(response.data)["réf_lot"] == "lot-1"
        assert json.loads(response.data)["sku"] == "LAMPE"

    def test_une_référence_d_un_autre_sku_est_libre(self, stocked: Client) -> None:
        response = stocked.post("/lots", json=LAMPE | {"sku": "TABLE & CO", "quantité": 99})

        assert response.status_code == 201
        lots = [stocked.get(path).json for path in (response.headers["Location"], "/lots/lot-1?sku=LAMPE")]
        assert [lot and (lot["sku"], lot["quantité"]) for lot in lots] == [("TABLE & CO", 99), ("LAMPE", 100)]

    def test_une_référence_que_plusieurs_sku_portent_se_lit_et_se_corrige_avec_le_sku(
        self, stocked: Client
    ) -> None:
        stocked.post("/lots", json=LAMPE | {"sku": "TABLE"})

        ambiguous = (stocked.get("/lots/lot-1"), stocked.patch("/lots/lot-1", json={"quantité": 7}))
        corrected = stocked.patch("/lots/lot-1?sku=TABLE", json={"quantité": 7})

        for response in ambiguous:
            assert refusal(response) == (409, "référence-ambiguë")
            assert json.loads(response.data)["skus"] == ["LAMPE", "TABLE"]
        assert corrected.status_code == 200
        lots = [stocked.get(f"/lots/lot-1?sku={sku}").json for sku in ("LAMPE", "TABLE")]
        assert [lot and lot["quantité"] for lot in lots] == [100, 7]

    def test_un_lot_ne_se_lit_ni_ne_se_corrige_sous_un_autre_sku(self, stocked: Client) -> None:
        stocked.post("/lots", json={"réf": "lot-2", "sku": "TABLE", "quantité": 1})

        assert refusal(stocked.get("/lots/lot-1?sku=TABLE")) == (404, "introuvable")
        assert refusal(stocked.patch("/lots/lot-1?sku=TABLE", json={"quantité": 4})) == (404, "lot-inconnu")
        assert refusal(stocked.get("/lots/lot-1?sku=")) == (422, "valeur-invalide")

    def test_un_lot_corrigé_à_zéro_rend_toutes_ses_lignes(self, stocked: Client) -> None:
        stocked.post("/allocate", json=LIGNE)

        response = stocked.patch("/lots/lot-1", json={"quantité": 0})

        assert response.status_code == 200
        assert response.json is not None
        assert [line["id_commande"] for line in response.json["sans_lot"]] == ["c-1"]
        lot, stock = stocked.get("/lots/lot-1").json, stocked.get("/stock/LAMPE").json
        assert lot is not None
        assert stock is not None
        assert (lot["quantité"], lot["quantité_allouée"]) == (0, 0)
        assert (stock["en_stock"], stock["alloué"], stock["disponible"]) == (0, 0, 0)

    def test_un_lot_se_lit_avec_ce_qui_en_est_pris(self, client: Client) -> None:
        client.post("/lots", json={"ref": "lot-1", "sku": "LAMPE", "qty": 100, "eta": "2027-01-31"})
        client.post("/allocate", json=LIGNE)

        assert client.get("/lots/lot-1").json == {
            "réf": "lot-1",
            "sku": "LAMPE",
            "quantité": 100,
            "quantité_allouée": 10,
            "eta": "2027-01-31",
            "eta_dépassée": False,
        }

    def test_une_correction_dit_ce_qui_est_réalloué_et_ce_qui_reste_sans_lot(self, stocked: Client) -> None:
        stocked.post("/allocate", json=LIGNE | {"quantité": 40})
        stocked.post("/allocate", json=LIGNE | {"id_commande": "c-2", "quantité": 30})
        stocked.post("/allocate", json=LIGNE | {"id_commande": "c-3", "quantité": 20})
        stocked.post("/lots", json={"réf": "lot-2", "sku": "LAMPE", "quantité": 25})

        response = stocked.patch("/lots/lot-1", json={"quantité": 45})

        assert response.status_code == 200
        assert response.json == {
            "réf": "lot-1",
            "quantité": 45,
            "réallouées": [
                {"id_commande": "c-3", "sku": "LAMPE", "quantité": 20, "réf_lot": "lot-2", "ligne": "1"}
            ],
            "sans_lot": [{"id_commande": "c-2", "sku": "LAMPE", "quantité": 30, "ligne": "1"}],
        }

    def test_un_lot_inconnu_ne_se_lit_ni_ne_se_corrige(self, client: Client) -> None:
        assert refusal(client.get("/lots/lot-1")) == (404, "introuvable")
        assert refusal(client.patch("/lots/lot-1", json={"quantité": 4})) == (404, "lot-inconnu")


class TestStock:
    def test_le_stock_d_un_sku(self, stocked: Client) -> None:
        stocked.post("/allocate", json=LIGNE)

        assert stocked.get("/stock/LAMPE").json == {
            "sku": "LAMPE",
            "en_stock": 100,
            "en_transit": 0,
            "alloué": 10,
            "disponible": 90,
            "prochaine_eta": None,
            "eta_dépassée": None,
        }

    def test_un_sku_inconnu(self, client: Client) -> None:
        assert refusal(client.get("/stock/LAMPE")) == (404, "introuvable")

    def test_les_pages_se_suivent_sans_trou_ni_répétition(self, client: Client) -> None:
        skus = ["A/B", "Z", "a&b", "a=c", "é", "🛋"]
        for n, sku in enumerate(skus):
            client.post("/lots", json={"réf": f"lot-{n}", "sku": sku, "quantité": 1})

        seen, path = [], "/stock?limit=2"
        while path:
            page = client.get(path).json
            assert page is not None
            seen += [row["sku"] for row in page["stock"]]
            path = page["suivant"]

        assert seen == skus

    @pytest.mark.parametrize("limit", ["0", "-1", "1001", "x", "1.0", "1_0", "", "9" * 30])
    def test_une_taille_de_page_hors_des_bornes_est_refusée(self, client: Client, limit: str) -> None:
        response = client.get("/stock", query_string={"limit": limit})

        assert refusal(response) == (422, "champs-invalides")
        assert [each["champ"] for each in json.loads(response.data)["champs"]] == ["limit"]

    @pytest.mark.parametrize("after", ["\x00", "x" * 256])
    def test_une_page_derrière_un_sku_impossible_est_refusée(self, client: Client, after: str) -> None:
        assert refusal(client.get("/stock", query_string={"after": after})) == (422, "champs-invalides")


class TestIdentifiants:
    @pytest.mark.parametrize(
        "name", ["a/b", "/a", "a/", "a//b", "?", "#", "%2F", "é", "🛋", "a b", "a+b", "..."]
    )
    def test_tout_identifiant_se_lit_à_l_adresse_qui_est_rendue(self, client: Client, name: str) -> None:
        client.post("/lots", json={"réf": name, "sku": name, "quantité": 10})

        allocated = client.post("/allocate", json={"id_commande": name, "sku": name, "quantité": 1})

        assert client.get(allocated.headers["Location"]).json == [
            {"sku": name, "réf_lot": name, "quantité": 1, "ligne": "1"}
        ]
        assert client.get(f"/lots/{quote(name, safe='')}").json is not None
        assert client.get(f"/stock/{quote(name, safe='')}").json is not None

    @pytest.mark.parametrize("path", ["/allocations/%00", "/lots/%0A", "/stock/%7F", f"/stock/{'x' * 256}"])
    def test_un_identifiant_impossible_est_refusé(self, client: Client, path: str) -> None:
        response = client.get(path)

        assert refusal(response) == (422, "valeur-invalide")
        assert json.loads(response.data)["raison"]


class TestRefus:
    @pytest.mark.parametrize(
        "body", [b"", b"{", b"{'a': 1}", b"\xff", b'{"sku": "\\ud800"}', b"[" * 60_000, b"nul", b"{} {}"]
    )
    def test_un_json_malformé(self, client: Client, body: bytes) -> None:
        response = client.post("/allocate", data=body, content_type="application/json")

        assert refusal(response) == (400, "json-malformé")

    def test_tous_les_champs_fautifs_sont_nommés_d_un_coup(self, client: Client) -> None:
        response = client.post("/allocate", json={"sku": "", "qty": "3", "ligne": "a\n", "couleur": "rouge"})

        assert refusal(response) == (422, "champs-invalides")
        assert json.loads(response.data)["champs"] == [
            {"champ": "id_commande", "raison": "le champ manque"},
            {"champ": "sku", "raison": "au moins 1 caractère est attendu"},
            {"champ": "qty", "raison": "un nombre entier est attendu"},
            {"champ": "ligne", "raison": "les caractères de contrôle sont refusés"},
            {"champ": "couleur", "raison": "ce champ n'existe pas"},
        ]

    @pytest.mark.parametrize("quantité", [-1, 1_000_000_001, 10**30, 1.5, True, "1", None, [], {}])
    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [("POST", "/allocate", LIGNE), ("POST", "/lots", LAMPE), ("PATCH", "/lots/lot-1", {})],
    )
    def test_une_mauvaise_quantité(
        self, stocked: Client, method: str, path: str, body: dict[str, object], quantité: object
    ) -> None:
        response = stocked.open(path, method=method, json=body | {"quantité": quantité})

        assert refusal(response) == (422, "champs-invalides")
        assert [each["champ"] for each in json.loads(response.data)["champs"]] == ["quantité"]

    @pytest.mark.parametrize("quantité", [0, 0.0])
    @pytest.mark.parametrize(("path", "body"), [("/allocate", LIGNE), ("/lots", LAMPE)])
    def test_zéro_unité_ne_se_demande_ni_ne_se_reçoit(
        self, stocked: Client, path: str, body: dict[str, object], quantité: float
    ) -> None:
        response = stocked.post(path, json=body | {"quantité": quantité})

        assert refusal(response) == (422, "champs-invalides")

    @pytest.mark.parametrize(
        "eta", ["31/01/2027", "2027-02-30", "2027-01-31T10:00:00", 20270131, "demain", ""]
    )
    def test_une_mauvaise_date(self, client: Client, eta: object) -> None:
        assert refusal(client.post("/lots", json=LAMPE | {"eta": eta})) == (422, "champs-invalides")

    @pytest.mark.parametrize("body", [[], "texte", 3, None, [LIGNE]])
    def test_autre_chose_qu_un_objet(self, client: Client, body: object) -> None:
        response = client.post("/allocate", data=json.dumps(body), content_type="application/json")

        assert refusal(response) == (422, "champs-invalides")

    def test_un_champ_donné_sous_deux_noms(self, stocked: Client) -> None:
        assert refusal(stocked.post("/allocate", json=LIGNE | {"qty": 2})) == (422, "champs-invalides")

    @pytest.mark.parametrize(
        ("body", "name"),
        [
            (b'{"id_commande": "c-1", "sku": "A", "sku": "LAMPE", "qty": 1}', "sku"),
            (b'{"id_commande": "c-1", "sku": "LAMPE", "qty": 1, "qty": 1}', "qty"),
            (b'{"id_commande": "c-1", "s\\u006bu": "A", "sku": "LAMPE", "qty": 1}', "sku"),
        ],
    )
    def test_un_champ_donné_deux_fois(self, stocked: Client, body: bytes, name: str) -> None:
        response = stocked.post("/allocate", data=body, content_type="application/json")

        assert refusal(response) == (422, "champs-invalides")
        assert json.loads(response.data)["champs"] == [
            {"champ": name, "raison": "ce champ est donné plusieurs fois"}
        ]
        assert stocked.get("/allocations/c-1").status_code == 404

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            *(("GET", path) for path in ("/stock", "/stock/LAMPE", "/lots/lot-1", "/allocations/c-1")),
            *(("GET", path) for path in ("/stock/LAMPE/histoire", "/allocations/c-1/histoire")),
            *(("GET", path) for path in ("/health/live", "/projections/stock_view/rebuild")),
            *(("POST", path) for path in ("/allocate", "/lots", "/add_batch")),
            ("PATCH", "/lots/lot-1"),
        ],
    )
    def test_un_paramètre_inconnu(self, stocked: Client, method: str, path: str) -> None:
        response = stocked.open(f"{path}?autre=LAMPE", method=method, json={} if method != "GET" else None)

        assert refusal(response) == (422, "champs-invalides")
        assert json.loads(response.data)["champs"] == [{"champ": "autre", "raison": "ce champ n'existe pas"}]

    @pytest.mark.parametrize("query", ["limit=1&limit=2", "after=A&limit=1&after=A", "limit=1&&%6Cimit=1"])
    def test_un_paramètre_donné_deux_fois(self, stocked: Client, query: str) -> None:
        response = stocked.get(f"/stock?{query}")

        assert refusal(response) == (422, "champs-invalides")
        assert "plusieurs fois" in response.text

    @pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
    def test_un_autre_type_de_contenu(self, client: Client, content_type: str) -> None:
        response = client.post("/allocate", data=b"{}", content_type=content_type)

        assert refusal(response) == (415, "type-de-contenu-refusé")

    def test_un_corps_de_64_kio_passe_et_un_octet_de_plus_est_refusé(self, stocked: Client) -> None:
        body = json.dumps(LIGNE).encode()
        padded = body + b" " * (64 * 1024 - len(body))

        accepted = stocked.post("/allocate", data=padded, content_type="application/json")
        refused = stocked.post("/allocate", data=padded + b" ", content_type="application/json")

        assert accepted.status_code == 201
        assert refusal(refused) == (413, "corps-trop-grand")

    @pytest.mark.parametrize("method", ["DELETE", "GET", "BREW"])
    def test_une_autre_méthode_dit_lesquelles_sont_permises(self, client: Client, method: str) -> None:
        response = client.open("/allocate", method=method)

        assert refusal(response) == (405, "méthode-refusée")
        assert "POST" in response.headers["Allow"]

    @pytest.mark.parametrize("path", ["/inconnu", "/allocations/", "/stock/", "/allocate/"])
    def test_une_adresse_inconnue(self, client: Client, path: str) -> None:
        assert refusal(client.get(path)) == (404, "introuvable")

    def test_une_erreur_imprévue_ne_montre_rien_d_elle_même(
        self,
        client: Client,
        monkeypatch: pytest.MonkeyPatch,
        bus: MessageBus[PostgreSQLUnitOfWork],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        def explode(*_: object) -> None:
            raise ZeroDivisionError("secret")

        monkeypatch.setattr(bus, "handled", explode)

        response = client.post("/allocate", json=LIGNE)

        assert refusal(response) == (500, "erreur-interne")
        assert "secret" not in response.text
        assert "secret" in caplog.text


class TestBaseAbsente:
    @pytest.fixture
    def client(self, absent_database: Database, new_client: NewClient) -> Client:
        return new_client(bootstrap(absent_database, inline=False), absent_database)

    @pytest.mark.parametrize("path", ["/allocations/c-1", "/lots/lot-1", "/stock/LAMPE", "/stock"])
    def test_une_lecture_se_réessaie_plus_tard(self, client: Client, path: str) -> None:
        response = client.get(path)

        assert refusal(response) == (503, "base-indisponible")
        assert int(response.headers["Retry-After"]) >= 1

    def test_une_écriture_se_réessaie_plus_tard(self, client: Client) -> None:
        response = client.post("/allocate", json=LIGNE)

        assert refusal(response) == (503, "base-indisponible")
        assert int(response.headers["Retry-After"]) >= 1

    def test_le_service_vit_mais_n_est_pas_prêt(self, client: Client) -> None:
        ready = client.get("/health/ready")

        assert client.get("/health/live").status_code == 200
        assert ready.status_code == 503
        assert ready.json is not None
        assert ready.json["database"] == "unavailable"

    def test_les_métriques_le_disent(self, client: Client) -> None:
        assert "allocation_database_up 0.0" in client.get("/metrics").text

    def test_le_mot_de_passe_n_est_dans_aucun_log(
        self, client: Client, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level("DEBUG"):
            client.post("/allocate", json=LIGNE)
            client.get("/health/ready")

        assert "motdepasse" not in caplog.text


class TestSanté:
    def test_le_service_est_prêt_et_dit_où_en_sont_les_lecteurs(self, stocked: Client) -> None:
        ready = stocked.get("/health/ready")

        assert ready.status_code == 200
        assert ready.json is not None
        assert (ready.json["database"], ready.json["migrations"]) == ("ok", "ok")
        assert {reader["name"]: reader["behind"] for reader in ready.json["readers"]} == {
            "allocations_view": 0,
            "lots_view": 0,
            "stock_view": 0,
            "notification_rupture_stock": 0,
            "publication_allocations": 0,
        }

    def test_une_projection_trop_en_retard_rend_le_service_indisponible(
        self, stocked: Client, database: Database, sql: Sql
    ) -> None:
        bootstrap(database, inline=False).handle(Allouer("c-1", "LAMPE", 1))
        sql("UPDATE journal SET survenu_le = survenu_le - interval '61 seconds'")

        ready = stocked.get("/health/ready")

        assert ready.status_code == 503
        assert ready.json is not None
        assert ready.json["status"] == "late"

    def test_un_schéma_qui_n_est_pas_à_jour_rend_le_service_indisponible(
        self, client: Client, sql: Sql
    ) -> None:
        sql("UPDATE alembic_version SET version_num = '0001'")

        ready = client.get("/health/ready")

        assert ready.status_code == 503
        assert ready.json is not None
        assert ready.json["migrations"] == "pending"

    def test_les_métriques_comptent_les_requêtes_et_le_retard(self, stocked: Client) -> None:
        stocked.post("/allocate", json=LIGNE)
        stocked.post("/allocate", json=LIGNE | {"quantité": 7})

        text = stocked.get("/metrics").text
        route = 'method="POST",route="/allocate"'
        assert f'allocation_http_requests_total{{{route},status="201"}} 1.0' in text
        assert f'allocation_http_requests_total{{{route},status="409"}} 1.0' in text
        assert f"allocation_http_request_duration_seconds_count{{{route}}} 2.0" in text
        assert 'allocation_reader_behind{kind="projection",name="allocations_view"} 0.0' in text
        assert "allocation_database_up 1.0" in text

    def test_ce_qu_un_client_invente_ne_fait_pas_grossir_les_métriques(self, client: Client) -> None:
        for method, path in (
            ("BREW", "/stock"),
            ("BREW", "/inconnu"),
            ("GET", "/inconnu"),
            ("GET", "/metrics"),
        ):
            client.open(path, method=method)
        before = client.get("/metrics").text.count("\n")

        for n in range(50):
            client.open("/stock", method=f"BREW{n}")
            client.open(f"/inconnu/{n}", method=f"BREW{n}")
            client.get(f"/inconnu/{n}?a={n}", headers={f"X-{n}": "1"})

        assert client.get("/metrics").text.count("\n") == before


class TestPageDAccueil:
    def test_la_racine_dit_ce_que_c_est_et_ses_liens_mènent_quelque_part(self, client: Client) -> None:
        page = client.get("/")

        assert (page.status_code, page.mimetype) == (200, "text/html")
        links = re.findall(r'href="([^"]+)"', page.text)
        assert {"/docs", "/openapi.json", "/health/ready", "/metrics"} <= set(links)
        for link in links:
            assert client.get(link).status_code == 200, link
        assert "http://" not in page.text + "".join(page.headers.values())

    def test_elle_se_lit_en_anglais_aussi(self, client: Client) -> None:
        page = client.get("/", headers={"Accept-Language": "en-GB,en;q=0.9"})

        assert '<html lang="en">' in page.text
        assert "Every order line" in page.text

    @pytest.mark.parametrize("path", ["/", "/stock", "/health/live"])
    def test_head_et_options_répondent_sans_corps(self, client: Client, path: str) -> None:
        head, options = client.head(path), client.options(path)

        assert (head.status_code, head.data) == (200, b"")
        assert (options.status_code, options.data) == (200, b"")
        assert {"GET", "HEAD", "OPTIONS"} <= options.allow

    def test_head_d_une_adresse_inconnue_est_un_problème(self, client: Client) -> None:
        response = client.head("/inconnu")

        assert (response.status_code, response.mimetype) == (404, "application/problem+json")


def test_le_texte_est_en_utf_8_sans_échappement(stocked: Client) -> None:
    response = stocked.post("/allocate", json=LIGNE)

    assert response.data.strip() == '{"réf_lot":"lot-1"}'.encode()


def test_une_connexion_morte_du_réservoir_n_est_pas_une_panne(stocked: Client, database: Database) -> None:
    """After a restart of the database, pooled connections are dead, and nobody should notice."""
    stocked.get("/stock/LAMPE")
    with database.working() as connection, connection.begin():
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )

    assert stocked.get("/stock/LAMPE").status_code == 200
    assert stocked.post("/allocate", json=LIGNE).status_code == 201


class TestReconstructions:
    def test_une_reconstruction_demandée_se_suit_et_se_termine(
        self, stocked: Client, database: Database
    ) -> None:
        path = "/projections/stock_view/rebuild"
        assert refusal(stocked.get(path)) == (404, "introuvable")

        asked = stocked.post(path, json={"source": "journal", "débit_max": 100000})
        assert (asked.status_code, asked.headers["Location"]) == (202, path)
        assert asked.json is not None
        assert (asked.json["phase"], asked.json["source"], asked.json["total"]) == ("filling", "journal", 1)

        [follower] = [each for each in projection_followers(database) if each.name == "stock_view"]
        run(Rebuilder(database, follower), lambda: None)
        watched = stocked.get(path)
        assert watched.json is not None
        assert (watched.json["phase"], watched.json["fait"], watched.json["erreur"]) == ("done", 1, None)

    def test_une_projection_inconnue_ou_un_champ_faux_sont_refusés(self, client: Client) -> None:
        assert refusal(client.post("/projections/rien/rebuild", json={})) == (404, "introuvable")
        too_much = client.post("/projections/stock_view/rebuild", json={"débit_max": 10**12})
        assert refusal(too_much) == (422, "champs-invalides")
        wrong = client.post("/projections/stock_view/rebuild", json={"source": "rien", "débit_max": 0})
        assert refusal(wrong) == (422, "champs-invalides")
        assert wrong.json is not None
        assert {each["champ"] for each in wrong.json["champs"]} == {"source", "débit_max"}


def test_quand_rien_ne_peut_plus_être_accepté_un_corps_n_est_pas_même_lu(
    stocked: Client, bus: MessageBus[PostgreSQLUnitOfWork], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> NoReturn:
        raise QueueFull("too many")

    monkeypatch.setattr(bus, "check_room", refuse)
    for answer in (
        stocked.post("/allocate", data=b"this is no JSON", content_type="application/json"),
        stocked.post("/lots", data=b"this is no JSON", content_type="application/json"),
        stocked.patch("/lots/lot-1", data=b"this is no JSON", content_type="application/json"),
    ):
        assert refusal(answer) == (503, "file-pleine")
        assert answer.headers["Retry-After"] == "1"
    assert stocked.get("/stock/LAMPE").status_code == 200


@pytest.mark.parametrize(
    ("error", "status", "slug"),
    [
        (ValueRefused("too long for its index"), 422, "valeur-refusée"),
        (Locked("by somebody"), 503, "verrou-tenu"),
        (OutcomeUnknown("no answer"), 503, "issue-inconnue"),
    ],
)
def test_ce_que_dit_la_base_d_une_commande_a_son_propre_type(
    stocked: Client, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, slug: str
) -> None:
    def refuse(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr(MessageBus, "handled", refuse)

    response = stocked.post("/allocate", json={"id_commande": "c-1", "sku": "LAMPE", "quantité": 1})

    assert refusal(response) == (status, slug)
    assert ("Retry-After" in response.headers) == (status == 503)

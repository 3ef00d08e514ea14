"""Reading what one has written: a read that sends the token of a write back reflects it, or is refused."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from tests.histories import forked
from tests.loop_client import DrivenClient, NewClient
from tests.requests import request_with
from tests.waiting import eventually
from werkzeug.test import Client, TestResponse

from allocation.adapters.postgresql import read_servers
from allocation.adapters.postgresql.database import Database
from allocation.adapters.write_model.postgresql_unit_of_work import PostgreSQLUnitOfWork
from allocation.domain.commands import Allouer, CréerLot
from allocation.entrypoints.http import freshness
from allocation.projections.projector import catch_up, register
from allocation.service_layer.bootstrap import bootstrap, projection_followers
from allocation.service_layer.messagebus import MessageBus
from allocation.views import views
from allocation.views.staleness import JetonInconnu, ProjectionPaused, ViewLate

Sql = Callable[..., list[dict[str, Any]]]
Bus = MessageBus[PostgreSQLUnitOfWork]

LAMPE = {"réf": "lot-1", "sku": "LAMPE", "quantité": 100}
LIGNE = {"id_commande": "c-1", "sku": "LAMPE", "quantité": 10}

READS = ["/allocations/c-1", "/lots/lot-1", "/stock/LAMPE", "/stock"]

TRANSACTIONS_OF_OTHERS = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND state LIKE '%in transaction%'
"""
ACTIVE = """
    SELECT query FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'
"""


@pytest.fixture
def bus(database: Database) -> Bus:
    """A bus that leaves the views to a worker, which does not run before the test wants it to."""
    register(projection_followers(database))
    return bootstrap(database, inline=False)


@pytest.fixture
def client(bus: Bus, database: Database, new_client: NewClient) -> DrivenClient:
    return new_client(bus, database)


@pytest.fixture
def worked(database: Database) -> Callable[[], None]:
    """Brings the views up to date."""

    def work() -> None:
        catch_up(projection_followers(database), 1)

    return work


def token(response: TestResponse) -> str:
    return response.headers["Consistency-Token"]


def position(response: TestResponse) -> int:
    """The part of the token before its mark."""
    number, _, mark = token(response).partition("-")
    assert len(mark) == 8
    return int(number)


def read(client: DrivenClient, path: str, token: object, prefer: str = "wait=0") -> TestResponse:
    return client.get(path, headers={"Consistency-Token": str(token), "Prefer": prefer})


def refusal(response: TestResponse) -> tuple[int, str, int, int]:
    problem = json.loads(response.data)
    assert response.mimetype == "application/problem+json"
    assert int(response.headers["Retry-After"]) >= 1
    assert response.headers["Projection-Position"] == str(problem["position"])
    assert position(response) == problem["position_attendue"]
    slug = problem["type"].removeprefix("urn:allocation:")
    return response.status_code, slug, problem["position"], problem["position_attendue"]


class TestÉcrire:
    def test_chaque_écriture_dit_sa_position(self, client: DrivenClient) -> None:
        answers = [
            client.post("/lots", json=LAMPE),
            client.post("/add_batch", json=LAMPE | {"réf": "lot-2", "quantité": 1}),
            client.post("/allocate", json=LIGNE),
            client.post("/allocate", json=LIGNE | {"id_commande": "c-2", "quantité": 1000}),
            client.patch("/lots/lot-1", json={"quantité": 9}),
        ]

        assert [answer.status_code for answer in answers] == [201, 201, 201, 409, 200]
        assert [position(answer) for answer in answers] == [1, 2, 3, 4, 7]
        assert len({token(answer).partition("-")[2] for answer in answers}) == 5

    def test_répétée_elle_dit_sa_première_position(self, client: DrivenClient) -> None:
        def write() -> list[TestResponse]:
            return [
                client.post("/lots", json=LAMPE),
                client.post("/allocate", json=LIGNE),
                client.patch("/lots/lot-1", json={"quantité": 90}),
            ]

        first, again = write(), write()

        assert [answer.status_code for answer in again] == [200, 200, 200]
        assert [token(answer) for answer in again] == [token(answer) for answer in first]
        assert [position(answer) for answer in again] == [1, 2, 3]

    def test_un_refus_qui_n_écrit_rien_n_en_a_pas(self, client: DrivenClient) -> None:
        assert "Consistency-Token" not in client.post("/allocate", json=LIGNE).headers

    def test_ce_que_le_journal_n_a_plus_a_sa_fin_pour_position(self, client: DrivenClient, sql: Sql) -> None:
        client.post("/lots", json=LAMPE)
        client.post("/allocate", json=LIGNE)
        client.post("/allocate", json=LIGNE | {"id_commande": "c-2"})
        sql("DELETE FROM journal WHERE position <= 2")

        assert position(client.post("/allocate", json=LIGNE)) == 3


class TestLire:
    @pytest.mark.parametrize("path", READS)
    def test_une_lecture_sans_jeton_dit_jusqu_où_elle_a_vu(
        self, client: DrivenClient, worked: Callable[[], None], path: str
    ) -> None:
        client.post("/lots", json=LAMPE)
        before = client.get(path)
        client.post("/allocate", json=LIGNE)
        worked()

        after = client.get(path)

        assert (before.headers["Projection-Position"], after.headers["Projection-Position"]) == ("0", "2")
        assert after.status_code == 200
        assert "Projection-Stale" not in after.headers
        assert "Served-By" not in after.headers

    @pytest.mark.parametrize("path", READS)
    def test_le_jeton_s_attend_et_la_réponse_montre_l_écriture(
        self, client: DrivenClient, database: Database, worked: Callable[[], None], path: str
    ) -> None:
        client.post("/lots", json=LAMPE)
        wanted = token(client.post("/allocate", json=LIGNE))

        with ThreadPoolExecutor(1) as reader:
            response: Future[TestResponse] = reader.submit(read, client, path, wanted, "wait=30")
            eventually(lambda: client.waiting == 1)
            worked()

            assert response.result().status_code == 200
        assert response.result().headers["Projection-Position"] == wanted.partition("-")[0]
        assert client.get(path).data == response.result().data

    @pytest.mark.parametrize("path", READS)
    def test_une_vue_en_retard_se_dit_avec_les_deux_positions(self, client: DrivenClient, path: str) -> None:
        client.post("/lots", json=LAMPE)
        wanted = token(client.post("/allocate", json=LIGNE))

        assert refusal(read(client, path, wanted)) == (503, "vue-en-retard", 0, 2)

    def test_un_404_dit_aussi_jusqu_où_il_a_vu(
        self, client: DrivenClient, worked: Callable[[], None]
    ) -> None:
        wanted = token(client.post("/lots", json=LAMPE))
        worked()

        missing = read(client, "/allocations/c-1", wanted)

        assert (missing.status_code, missing.headers["Projection-Position"]) == (404, "1")

    @pytest.mark.parametrize(("path", "status"), list(zip(READS, [404, 404, 404, 200], strict=True)))
    def test_l_indulgent_reçoit_ce_qui_est_là_marqué_comme_ancien(
        self, client: DrivenClient, path: str, status: int
    ) -> None:
        client.post("/lots", json=LAMPE)
        wanted = token(client.post("/allocate", json=LIGNE))

        response = read(client, path, wanted, "wait=0, handling=lenient")

        assert response.status_code == status
        assert response.headers["Projection-Position"] == "0"
        assert response.headers["Projection-Stale"] == "true"
        assert response.headers["Preference-Applied"] == "handling=lenient"

    def test_l_indulgent_servi_à_temps_n_a_aucune_marque(
        self, client: DrivenClient, worked: Callable[[], None]
    ) -> None:
        wanted = token(client.post("/lots", json=LAMPE))
        worked()

        response = read(client, "/lots/lot-1", wanted, "handling=lenient")

        assert response.status_code == 200
        assert not {"Projection-Stale", "Preference-Applied"} & {name for name, _ in response.headers}

    @pytest.mark.parametrize(
        "bad", ["", "x", "-1", "1.0", "1, 2", "٣", str(2**63), "9" * 5000, "4-", "4-0f3c", "4-0F3C9A1B"]
    )
    def test_un_jeton_malformé_est_refusé_par_son_nom(self, client: DrivenClient, bad: str) -> None:
        response = read(client, "/lots/lot-1", bad)

        assert response.status_code == 422
        problem = json.loads(response.data)
        assert problem["type"] == "urn:allocation:champs-invalides"
        assert [each["champ"] for each in problem["champs"]] == ["Consistency-Token"]

    @pytest.mark.parametrize(
        ("prefer", "wait_s"),
        [
            ("", 2),
            ("wait=1", 1),
            ("wait=31", 30),
            ("wait=" + "9" * 5000, 30),
            ("wait=x", 2),
            ("wait=-1", 2),
        ],
    )
    def test_l_attente_est_de_deux_secondes_ou_de_ce_qui_est_préféré_et_bornée(
        self, prefer: str, wait_s: float
    ) -> None:
        headers = {"consistency-token": "1", "prefer": prefer}

        assert freshness.wanted_freshness(request_with(headers)).wait_s == wait_s

    def test_une_projection_en_pause_se_dit_sur_le_champ_avec_sa_raison(
        self, client: DrivenClient, sql: Sql, worked: Callable[[], None]
    ) -> None:
        client.post("/lots", json=LAMPE)
        worked()
        wanted = token(client.post("/allocate", json=LIGNE))
        sql("UPDATE projections SET en_pause = true, erreur = 'trop d''événements parqués'")

        response = read(client, "/stock/LAMPE", wanted, "wait=30")

        assert refusal(response) == (503, "projection-en-pause", 1, 2)
        assert "trop d'événements parqués" in json.loads(response.data)["detail"]
        assert json.loads(response.data)["raison"] == "trop d'événements parqués"
        assert read(client, "/stock/LAMPE", 1).status_code == 200
        assert client.get("/stock/LAMPE").status_code == 200

    def test_trop_de_lectures_en_attente_sont_refusées(
        self, client: DrivenClient, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(client.reads, "waiting", read_servers.Slots(0, read_servers.TooManyWaiting))
        wanted = token(client.post("/lots", json=LAMPE))

        response = read(client, "/stock", wanted, "wait=30")

        assert response.status_code == 503
        assert json.loads(response.data)["type"] == "urn:allocation:trop-de-lectures-en-attente"
        assert int(response.headers["Retry-After"]) >= 1
        assert read(client, "/stock", 0, "wait=30").status_code == 200

    def test_attendre_ne_tient_ni_transaction_ni_connexion(
        self, client: DrivenClient, database: Database, sql: Sql, worked: Callable[[], None]
    ) -> None:
        """Many more wait than there are connections, and others read meanwhile."""
        wanted = token(client.post("/lots", json=LAMPE))
        with ThreadPoolExecutor(read_servers.MAX_WAITING) as readers:
            waiting = [
                readers.submit(read, client, "/lots/lot-1", wanted, "wait=30")
                for _ in range(read_servers.MAX_WAITING)
            ]
            eventually(lambda: client.waiting == read_servers.MAX_WAITING)

            assert sql(TRANSACTIONS_OF_OTHERS) == []
            # No more than the look that all of them share.
            assert len(sql(ACTIVE)) <= 1
            assert client.get("/lots/lot-1").status_code == 404
            worked()
            assert {each.result().status_code for each in waiting} == {200}


class TestJetonInconnu:
    """Of another history of the database, or of none: nobody waits for what will not come."""

    @pytest.fixture
    def no_waiting(self, client: DrivenClient, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever would wait is refused, with another refusal."""
        monkeypatch.setattr(client.reads, "waiting", read_servers.Slots(0, read_servers.TooManyWaiting))

    @pytest.fixture
    def other_history(
        self, database_url: str, client: DrivenClient, new_client: NewClient
    ) -> Iterator[Client]:
        """A copy of the database as it is after one write, which goes on by itself."""
        client.post("/lots", json=LAMPE)
        with forked(database_url) as url, Database(url) as other:
            yield new_client(bootstrap(other), other)

    @pytest.mark.usefixtures("no_waiting")
    @pytest.mark.parametrize("path", READS)
    @pytest.mark.parametrize("unknown", ["2", "2-0f3c9a1b", "9" * 18])
    def test_au_delà_du_journal_il_est_refusé_sur_le_champ(
        self, client: DrivenClient, path: str, unknown: str
    ) -> None:
        client.post("/lots", json=LAMPE)

        response = read(client, path, unknown, "wait=30")

        assert response.status_code == 412
        problem = json.loads(response.data)
        assert (problem["type"], problem["jeton"]) == ("urn:allocation:jeton-inconnu", unknown)

    @pytest.mark.parametrize("path", READS)
    def test_celui_d_une_autre_histoire_n_est_jamais_atteint(
        self, client: DrivenClient, other_history: DrivenClient, worked: Callable[[], None], path: str
    ) -> None:
        """After a restore to a point in time, the journal has another event at the same position."""
        shared = token(client.post("/lots", json=LAMPE))
        lost = token(client.post("/allocate", json=LIGNE))
        kept = token(other_history.post("/allocate", json=LIGNE | {"id_commande": "c-2"}))
        worked()

        assert lost.partition("-")[0] == kept.partition("-")[0]
        assert read(other_history, path, lost, "wait=30").status_code == 412
        assert read(client, path, kept, "wait=30").status_code == 412
        assert read(other_history, path, shared).status_code != 412
        assert read(other_history, path, kept).status_code != 412
        assert read(client, path, lost).status_code == 200

    def test_où_le_journal_n_a_plus_d_événement_il_n_y_a_que_l_archive_qui_le_croie(
        self, client: DrivenClient, sql: Sql, worked: Callable[[], None]
    ) -> None:
        wanted = token(client.post("/lots", json=LAMPE))
        client.post("/allocate", json=LIGNE)
        worked()
        sql("DELETE FROM journal WHERE position = 1")
        never_there = read(client, "/stock", wanted)
        sql(
            "INSERT INTO journal_archives (première_position, dernière_position, dernier_survenu_le,"
            " événements, chemin, sha256) VALUES (1, 1, now(), 1, '', '')"
        )

        assert never_there.status_code == 412
        assert read(client, "/stock", wanted).status_code == 200

    @pytest.mark.usefixtures("no_waiting")
    def test_l_indulgent_reçoit_ce_qui_est_là(self, client: DrivenClient) -> None:
        response = read(client, "/stock", "57", "handling=lenient, wait=30")

        assert (response.status_code, response.headers["Projection-Stale"]) == (200, "true")

    def test_une_position_sans_marque_reste_un_jeton(
        self, client: DrivenClient, worked: Callable[[], None]
    ) -> None:
        number = position(client.post("/lots", json=LAMPE))
        worked()

        assert read(client, "/lots/lot-1", number).status_code == 200

    def test_en_python_c_est_une_erreur_qui_le_porte(self, bus: Bus) -> None:
        with pytest.raises(JetonInconnu) as refus:
            views.lot("lot-1", bus.uow, after=57, wait_s=30)

        assert refus.value.jeton == "57"


class TestPython:
    def test_la_position_d_une_écriture_se_rend_à_la_vue(
        self, bus: Bus, database: Database, worked: Callable[[], None]
    ) -> None:
        bus.handle(CréerLot("lot-1", "LAMPE", 100))
        position = bus.handle(Allouer("c-1", "LAMPE", 10)).position
        worker = threading.Thread(target=worked)

        assert views.allocations("c-1", bus.uow) == []
        worker.start()
        assert len(views.allocations("c-1", bus.uow, after=position, wait_s=30)) == 1
        worker.join()
        assert views.lot("lot-1", database, after=position) is not None
        assert views.stock("LAMPE", database, after=position) is not None
        assert len(views.stock_page("", 10, database, after=position)) == 1

    def test_une_vue_en_retard_est_une_erreur_qui_porte_les_positions(self, bus: Bus) -> None:
        position = bus.handle(CréerLot("lot-1", "LAMPE", 100)).position

        with pytest.raises(ViewLate) as refus:
            views.lot("lot-1", bus.uow, after=position, wait_s=0.02)

        assert (refus.value.projection, refus.value.position) == ("lots_view", 0)
        assert refus.value.position_attendue == position

    def test_une_projection_en_pause_aussi(self, bus: Bus, sql: Sql) -> None:
        position = bus.handle(CréerLot("lot-1", "LAMPE", 100)).position
        sql("UPDATE projections SET en_pause = true, erreur = 'panne'")

        with pytest.raises(ProjectionPaused) as refus:
            views.lot("lot-1", bus.uow, after=position, wait_s=30)

        assert (refus.value.position, refus.value.raison) == (0, "panne")

    def test_un_bus_qui_tient_ses_vues_à_jour_le_fait_aussi_pour_une_répétition(
        self, bus: Bus, database: Database
    ) -> None:
        """Whoever was first may have died between its commit and the views."""
        bus.handle(CréerLot("lot-1", "LAMPE", 100))

        again = bootstrap(database).handle(CréerLot("lot-1", "LAMPE", 100))

        assert again.events == ()
        assert views.lot("lot-1", database, after=again.position, wait_s=0) is not None


def test_sans_projection_enregistrée_rien_n_est_encore_vu(database: Database, new_client: NewClient) -> None:
    client = new_client(bootstrap(database, inline=False), database)

    response = client.get("/stock")

    assert (response.json, response.headers["Projection-Position"]) == ({"stock": [], "suivant": None}, "0")
    assert client.get("/allocations/c-1").headers["Projection-Position"] == "0"

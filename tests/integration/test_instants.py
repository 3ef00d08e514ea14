"""An answer about an instant is the last word on it, waits for its view, and says how far it is."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any

import pytest
from tests.loop_client import DrivenClient, NewClient
from tests.waiting import eventually, wait_until_blocked
from werkzeug.test import TestResponse

from allocation.adapters.journal.journal import PostgreSQLJournal
from allocation.adapters.postgresql import read_servers
from allocation.adapters.postgresql.database import Database
from allocation.domain.events import Alloué
from allocation.projections.projector import catch_up, register
from allocation.service_layer.bootstrap import bootstrap, projection_followers

Sql = Callable[..., list[dict[str, Any]]]

LAMPE = {"réf": "lot-1", "sku": "LAMPE", "quantité": 100}
LIGNE = {"id_commande": "c-1", "sku": "LAMPE", "quantité": 10}

PAST = ["/stock/LAMPE", "/allocations/c-1"]
HISTORIES = ["/stock/LAMPE/histoire", "/allocations/c-1/histoire"]


@pytest.fixture
def client(database: Database, new_client: NewClient) -> DrivenClient:
    """The app, whose views are left to a worker that does not run before the test wants it to."""
    register(projection_followers(database))
    return new_client(bootstrap(database, inline=False), database)


@pytest.fixture
def worked(database: Database) -> Callable[[], None]:
    """Brings the views up to date."""

    def work() -> None:
        catch_up(projection_followers(database), 1)

    return work


def now() -> str:
    return datetime.now(UTC).isoformat()


def ask(client: DrivenClient, path: str, at: str | None, prefer: str = "", token: str = "") -> TestResponse:
    headers = {"Prefer": prefer} | ({"Consistency-Token": token} if token else {})
    return client.get(path, query_string={} if at is None else {"at": at}, headers=headers)


def problem(response: TestResponse) -> tuple[int, str]:
    return response.status_code, json.loads(response.data)["type"].removeprefix("urn:allocation:")


@pytest.mark.parametrize("path", PAST)
class TestDernierMot:
    def test_une_vue_en_retard_ne_répond_pas_pour_un_instant_qu_elle_n_a_pas_atteint(
        self, client: DrivenClient, worked: Callable[[], None], path: str
    ) -> None:
        client.post("/lots", json=LAMPE)
        client.post("/allocate", json=LIGNE)
        at = now()

        early = ask(client, path, at, "wait=0")
        worked()
        answer = ask(client, path, at, "wait=0")

        assert problem(early) == (503, "vue-en-retard")
        assert early.headers["Projection-Position"] == "0"
        assert (answer.status_code, answer.headers["Projection-Position"]) == (200, "2")

    def test_elle_s_attend(
        self, client: DrivenClient, database: Database, worked: Callable[[], None], path: str
    ) -> None:
        client.post("/lots", json=LAMPE)
        client.post("/allocate", json=LIGNE)

        with ThreadPoolExecutor(1) as reader:
            response = reader.submit(ask, client, path, now(), "wait=30")
            eventually(lambda: client.waiting == 1)
            worked()

            assert response.result().status_code == 200

    def test_ce_qui_s_écrit_à_cet_instant_s_attend(
        self, client: DrivenClient, database: Database, worked: Callable[[], None], path: str
    ) -> None:
        """An event is dated before the instant that is asked for, and becomes visible after it."""
        client.post("/lots", json=LAMPE)
        client.post("/allocate", json=LIGNE)
        worked()
        with ThreadPoolExecutor(1) as reader:
            with database.working() as writer, writer.begin():
                PostgreSQLJournal(writer).append([Alloué("c-1", "LAMPE", 1, "lot-1", "2")])
                at = now()
                first = reader.submit(ask, client, path, at, "wait=30")
                wait_until_blocked(database)
            eventually(lambda: client.waiting == 1)
            worked()

        assert first.result().status_code == 200
        assert ask(client, path, at).data == first.result().data
        assert first.result().json == client.get(path).json

    def test_le_même_instant_donne_la_même_réponse_pendant_que_l_on_écrit(
        self, client: DrivenClient, database: Database, path: str, new_client: NewClient
    ) -> None:
        client.post("/lots", json=LAMPE)
        client.post("/allocate", json=LIGNE)
        writer = Thread(target=_write_many, args=[new_client(bootstrap(database), database)])
        writer.start()
        told = []
        while writer.is_alive():
            at = now()
            told.append((at, ask(client, path, at, "wait=30").data))
        writer.join()

        assert len({data for _, data in told}) > 2
        assert [(at, ask(client, path, at, "wait=30").data) for at, _ in told] == told

    def test_l_instant_tout_proche_s_attend_et_l_autre_est_refusé(
        self, client: DrivenClient, worked: Callable[[], None], path: str
    ) -> None:
        """The clock of a client is never quite that of the database."""
        client.post("/lots", json=LAMPE)
        client.post("/allocate", json=LIGNE)
        worked()
        soon, later = (
            (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat() for seconds in (0.5, 3600)
        )

        assert ask(client, path, soon, "wait=20").status_code == 200
        assert now() >= soon
        assert problem(ask(client, path, later, "wait=20, handling=lenient")) == (422, "instant-futur")

    def test_un_jeton_s_y_attend_comme_ailleurs(
        self, client: DrivenClient, worked: Callable[[], None], path: str
    ) -> None:
        client.post("/lots", json=LAMPE)
        client.post("/allocate", json=LIGNE)
        worked()
        at = now()
        token = client.post("/allocate", json=LIGNE | {"ligne": "2"}).headers["Consistency-Token"]

        late = ask(client, path, at, "wait=0", token)
        lenient = ask(client, path, at, "wait=0, handling=lenient", token)
        worked()
        reached = ask(client, path, at, "wait=0", token)

        assert problem(late) == (503, "vue-en-retard")
        assert late.headers["Consistency-Token"] == token
        assert (lenient.status_code, lenient.headers["Projection-Stale"]) == (200, "true")
        assert (reached.status_code, reached.headers["Projection-Position"]) == (200, "3")
        assert reached.data == lenient.data


@pytest.mark.parametrize("path", HISTORIES)
class TestHistoires:
    def test_elles_disent_jusqu_où_elles_ont_vu_sans_attendre_de_vue(
        self, client: DrivenClient, path: str
    ) -> None:
        client.post("/lots", json=LAMPE)
        token = client.post("/allocate", json=LIGNE).headers["Consistency-Token"]

        response = ask(client, path, None, "wait=0", token)

        assert (response.status_code, response.headers["Projection-Position"]) == (200, "2")
        assert response.json is not None
        assert response.json["histoire"][-1]["position"] == 2

    def test_de_ce_qui_est_inconnu_aussi(self, client: DrivenClient, path: str) -> None:
        client.post("/lots", json={"réf": "lot-t", "sku": "TABLE", "quantité": 1})

        response = client.get(path)

        assert (response.status_code, response.headers["Projection-Position"]) == (404, "1")


@pytest.mark.parametrize("path", [*PAST, *HISTORIES])
def test_un_jeton_inconnu_y_est_refusé_sur_le_champ(
    client: DrivenClient, database: Database, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(client.reads, "waiting", read_servers.Slots(0, read_servers.TooManyWaiting))
    client.post("/lots", json=LAMPE)
    at = now() if path in PAST else None

    assert problem(ask(client, path, at, "wait=30", "57-0f3c9a1b")) == (412, "jeton-inconnu")


def _write_many(client: DrivenClient) -> None:
    for n in range(30):
        client.post("/allocate", json=LIGNE | {"quantité": 1, "ligne": f"l-{n}"})

"""Reads from a real standby: never older than a token, marked by their position without one, never gone."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import make_url
from tests.loop_client import DrivenClient, NewClient
from tests.postgresql_server import Server
from tests.standby import Standby, new_standby
from tests.waiting import eventually
from werkzeug.test import TestResponse

from allocation.adapters.postgresql import read_servers
from allocation.adapters.postgresql.database import Database
from allocation.service_layer.bootstrap import bootstrap

LAMPE = {"réf": "lot-1", "sku": "LAMPE", "quantité": 1000}


@pytest.fixture(scope="module")
def standby(server: Server, template: str) -> Iterator[Standby]:
    with new_standby() as standby:
        standby.create(server.url)
        yield standby


@pytest.fixture
def database(database_url: str, standby: Standby) -> Iterator[Database]:
    """The test's database, which the standby has as well."""
    name = make_url(database_url).database or ""
    standby.wait_until_caught_up()
    with Database(database_url, read_url=standby.url(name)) as database:
        yield database
    standby.resume_replay()


@pytest.fixture
def client(database: Database, standby: Standby, new_client: NewClient) -> DrivenClient:
    """The app, whose bus brings the views of the primary up to date, with a hundred lamps in it."""
    client = new_client(bootstrap(database), database)
    client.post("/lots", json=LAMPE)
    standby.wait_until_caught_up()
    return client


def allocate(client: DrivenClient, commande: str = "c-1") -> str:
    """Allocate a line; the token."""
    response = client.post("/allocate", json={"id_commande": commande, "sku": "LAMPE", "quantité": 1})
    assert response.status_code == 201
    return response.headers["Consistency-Token"]


def read(client: DrivenClient, token: str, prefer: str, path: str = "/allocations/c-1") -> TestResponse:
    return client.get(path, headers={"Consistency-Token": token, "Prefer": prefer})


def fall_backs(client: DrivenClient, reason: str) -> float:
    name = f'allocation_read_fall_backs_total{{reason="{reason}"}} '
    lines = [line for line in client.get("/metrics").text.splitlines() if line.startswith(name)]
    return float(lines[0].removeprefix(name)) if lines else 0.0


def test_une_lecture_sans_jeton_vient_de_la_réplique_et_dit_sa_position(
    client: DrivenClient, standby: Standby
) -> None:
    standby.pause_replay()
    allocate(client)

    late = client.get("/stock/LAMPE")
    missing = client.get("/allocations/c-1")
    standby.resume_replay()
    standby.wait_until_caught_up()
    caught_up = client.get("/stock/LAMPE")

    assert [each.headers["Served-By"] for each in (late, missing, caught_up)] == ["replica"] * 3
    assert [each.headers["Projection-Position"] for each in (late, missing, caught_up)] == ["1", "1", "2"]
    assert late.json is not None
    assert caught_up.json is not None
    assert (late.json["alloué"], missing.status_code, caught_up.json["alloué"]) == (0, 404, 1)


def test_un_jeton_que_la_réplique_n_atteint_pas_est_servi_par_la_base(
    client: DrivenClient, standby: Standby
) -> None:
    standby.pause_replay()
    token = allocate(client)

    response = read(client, token, "wait=0")

    assert (response.status_code, response.headers["Served-By"]) == (200, "primary")
    assert response.headers["Projection-Position"] == token.partition("-")[0]
    assert fall_backs(client, "late") == 1


def test_un_jeton_que_la_réplique_atteint_à_temps_est_servi_par_elle(
    client: DrivenClient, standby: Standby
) -> None:
    standby.pause_replay()
    token = allocate(client)

    with ThreadPoolExecutor(1) as reader:
        response = reader.submit(read, client, token, "wait=30")
        eventually(lambda: client.waiting == 1)
        standby.resume_replay()

        assert (response.result().status_code, response.result().headers["Served-By"]) == (200, "replica")
    assert response.result().headers["Projection-Position"] == token.partition("-")[0]
    assert fall_backs(client, "late") == 0


def test_l_indulgent_reçoit_ce_que_la_réplique_a(client: DrivenClient, standby: Standby) -> None:
    standby.pause_replay()
    token = allocate(client)

    response = read(client, token, "wait=0, handling=lenient", "/lots/lot-1")

    assert (response.status_code, response.headers["Served-By"]) == (200, "replica")
    assert (response.headers["Projection-Position"], response.headers["Projection-Stale"]) == ("1", "true")


def test_jamais_une_lecture_n_est_plus_ancienne_que_son_jeton(client: DrivenClient, standby: Standby) -> None:
    """While the standby stops and goes on, each of four clients reads what it has just written."""
    over = threading.Event()

    def stop_and_go() -> None:
        while not over.is_set():
            standby.pause_replay()
            standby.resume_replay()

    def write_and_read(client_number: int) -> list[str]:
        servers = []
        for n in range(25):
            order = f"c-{client_number}-{n}"
            token = allocate(client, order)
            response = read(client, token, f"wait={n % 2}", f"/allocations/{order}")
            assert response.status_code == 200
            assert int(response.headers["Projection-Position"]) >= int(token.partition("-")[0])
            servers.append(response.headers["Served-By"])
        return servers

    disturber = threading.Thread(target=stop_and_go)
    disturber.start()
    with ThreadPoolExecutor(4) as clients:
        served = [server for servers in clients.map(write_and_read, range(4)) for server in servers]
    over.set()
    disturber.join()

    assert set(served) == {"primary", "replica"}


def test_une_réplique_morte_laisse_la_place_à_la_base_puis_la_reprend(
    client: DrivenClient, standby: Standby
) -> None:
    token = allocate(client)
    client.get("/stock/LAMPE")
    standby.kill()

    answers = [client.get("/stock/LAMPE"), read(client, token, "wait=2"), client.get("/allocations/autre")]

    assert [answer.status_code for answer in answers] == [200, 200, 404]
    assert [answer.headers["Served-By"] for answer in answers] == ["primary"] * 3
    assert [answer.headers["Projection-Position"] for answer in answers] == ["2"] * 3
    assert fall_backs(client, "away") == 3
    assert client.get("/health/ready").status_code == 200

    standby.start()
    eventually(lambda: client.get("/stock/LAMPE").headers["Served-By"] == "replica")


def test_une_réplique_morte_pendant_l_attente_la_laisse_finir_à_la_base(
    client: DrivenClient, standby: Standby
) -> None:
    standby.pause_replay()
    token = allocate(client)

    with ThreadPoolExecutor(1) as reader:
        response = reader.submit(read, client, token, "wait=30")
        eventually(lambda: client.waiting == 1)
        standby.kill()

        assert (response.result().status_code, response.result().headers["Served-By"]) == (200, "primary")
    standby.start()


def test_quand_trop_de_lectures_se_replient_les_autres_sont_refusées(
    server: Server, database_url: str, monkeypatch: pytest.MonkeyPatch, new_client: NewClient
) -> None:
    with Database(database_url, read_url=server.url) as database:
        client = new_client(bootstrap(database), database)
        monkeypatch.setattr(
            client.reads, "falling_back", read_servers.Slots(0, read_servers.TooManyFallBacks)
        )

        response = client.get("/stock")

        assert response.status_code == 503
        assert json.loads(response.data)["type"] == "urn:allocation:trop-de-lectures-repliées"
        assert int(response.headers["Retry-After"]) >= 1


def test_une_réplique_sans_notre_schéma_ne_sert_à_rien(
    server: Server, database_url: str, new_client: NewClient
) -> None:
    """A standby may still be at a point before the migration that the program needs."""
    with Database(database_url, read_url=server.url) as database:
        client = new_client(bootstrap(database), database)
        client.post("/lots", json=LAMPE)

        for path in ("/lots/lot-1", "/allocations/c-1"):
            assert client.get(path).headers["Served-By"] == "primary"

"""The peers that the benchmarks compare with are correct: they allocate what there is, once."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import count

import httpx
import pytest
from benchmarks.http_messages import order
from benchmarks.laboratory import Laboratory, fetch
from benchmarks.load import drive
from benchmarks.peers.tables import create_tables
from benchmarks.served import Served, granian_peer, uvicorn_peer
from tests.postgresql_server import Server

CLIENTS = 32
UNITS = 100

_numbers = count(1)


@pytest.fixture(scope="module")
def url(server: Server) -> Iterator[str]:
    lab = Laboratory(server.url)
    url = lab.create("peer")
    create_tables(url)
    yield url
    lab.drop_all()


@pytest.fixture(scope="module", params=[uvicorn_peer, granian_peer])
def served(request: pytest.FixtureRequest, url: str) -> Iterator[Served]:
    serve: Callable[[str], AbstractContextManager[Served]] = request.param
    with serve(url) as running:
        yield running


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    host, port = served.address
    with httpx.Client(base_url=f"http://{host}:{port}") as client:
        yield client


@pytest.fixture
def sku() -> str:
    """A SKU that no other test knows."""
    return f"LAMPE-{next(_numbers)}"


def test_cent_unités_ne_sont_jamais_vendues_deux_fois(
    client: httpx.Client, served: Served, url: str, sku: str
) -> None:
    for number in (1, 2):
        client.post("/lots", json={"réf": f"lot-{number}", "sku": sku, "quantité": UNITS // 2})
    orders = [order(served.address, sku, f"c-{number}") for number in range(2 * UNITS)]

    load = drive(served.address, orders, connections=CLIENTS)

    assert load.statuses == {201: UNITS, 409: UNITS}
    assert fetch(url, f"SELECT sum(quantité) FROM allocations WHERE sku = '{sku}'") == [(UNITS,)]
    assert fetch(url, f"SELECT quantité_allouée FROM lots WHERE sku = '{sku}'") == [(UNITS // 2,)] * 2
    assert fetch(url, f"SELECT count(*) FROM journal WHERE type = 'Alloué' AND sku = '{sku}'") == [(UNITS,)]


def test_une_ligne_demandée_par_trente_deux_clients_est_allouée_une_fois(
    client: httpx.Client, served: Served, url: str, sku: str
) -> None:
    client.post("/lots", json={"réf": "lot-1", "sku": sku, "quantité": UNITS})

    load = drive(served.address, [order(served.address, sku, "c-1")] * CLIENTS, connections=CLIENTS)

    assert load.statuses == {201: 1, 200: CLIENTS - 1}
    assert fetch(url, f"SELECT quantité_allouée FROM lots WHERE sku = '{sku}'") == [(1,)]


def test_une_ligne_allouée_se_lit_et_ne_change_plus(client: httpx.Client, sku: str) -> None:
    client.post("/lots", json={"réf": "lot-2", "sku": sku, "quantité": 10, "eta": "2030-01-01"})
    client.post("/lots", json={"réf": "lot-1", "sku": sku, "quantité": 10})
    line = {"id_commande": f"c-{sku}", "sku": sku, "quantité": 4}

    answers = [client.post("/allocate", json=each) for each in (line, line, {**line, "quantité": 5})]

    assert [answer.status_code for answer in answers] == [201, 200, 409]
    assert [answer.json().get("réf_lot") for answer in answers] == ["lot-1", "lot-1", None]
    assert client.get(f"/allocations/c-{sku}").json() == [{"sku": sku, "réf_lot": "lot-1", "quantité": 4}]


def test_un_lot_ne_se_reçoit_qu_une_fois(client: httpx.Client, sku: str) -> None:
    lot = {"réf": "lot-1", "sku": sku, "quantité": 10}

    assert [client.post("/lots", json=lot).status_code for _ in range(2)] == [201, 409]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"sku": "RIEN"}, 400),
        ({"quantité": 11}, 409),
        ({"quantité": 0}, 422),
        ({"id_commande": ""}, 422),
    ],
)
def test_ce_qui_ne_va_pas_est_refusé(
    client: httpx.Client, sku: str, change: dict[str, object], status: int
) -> None:
    client.post("/lots", json={"réf": "lot-1", "sku": sku, "quantité": 10})
    line = {"id_commande": f"c-{sku}", "sku": sku, "quantité": 1}

    assert client.post("/allocate", json=line | change).status_code == status
    assert client.get(f"/allocations/c-{sku}").status_code == 404

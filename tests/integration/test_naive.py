"""The naive implementation that the benchmarks compare with does work, as far as the chapter goes."""

from collections.abc import Iterator

import pytest
from benchmarks.laboratory import Laboratory, sqlalchemy_url
from benchmarks.naive.flask_app import create_app, create_tables
from flask.testing import FlaskClient
from sqlalchemy import create_engine
from tests.postgresql_server import Server


@pytest.fixture
def client(server: Server) -> Iterator[FlaskClient]:
    lab = Laboratory(server.url)
    url = sqlalchemy_url(lab.create("naive"))
    create_tables(url)
    engine = create_engine(url)
    yield create_app(engine).test_client()
    engine.dispose()
    lab.drop_all()


def test_une_ligne_allouée_paraît_dans_la_vue(client: FlaskClient) -> None:
    client.post("/lots", json={"réf": "lot-1", "sku": "LAMPE", "quantité": 10})

    answer = client.post("/allocate", json={"id_commande": "c-1", "sku": "LAMPE", "quantité": 4})

    assert answer.status_code == 202
    assert client.get("/allocations/c-1").json == [{"sku": "LAMPE", "réf_lot": "lot-1"}]


def test_un_lot_ne_donne_que_ce_qu_il_a(client: FlaskClient) -> None:
    client.post("/lots", json={"réf": "lot-1", "sku": "LAMPE", "quantité": 10})
    client.post("/lots", json={"réf": "lot-2", "sku": "LAMPE", "quantité": 10})

    for number in range(5):
        client.post("/allocate", json={"id_commande": f"c-{number}", "sku": "LAMPE", "quantité": 4})

    for number, réf_lot in enumerate(["lot-1", "lot-1", "lot-2", "lot-2"]):
        assert client.get(f"/allocations/c-{number}").json == [{"sku": "LAMPE", "réf_lot": réf_lot}]
    assert client.get("/allocations/c-4").status_code == 404


def test_un_article_inconnu_est_refusé(client: FlaskClient) -> None:
    answer = client.post("/allocate", json={"id_commande": "c-1", "sku": "RIEN", "quantité": 4})

    assert answer.status_code == 400

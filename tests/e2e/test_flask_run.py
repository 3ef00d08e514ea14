"""The app as the chapter starts it: `flask run`, with no database named."""

import httpx
import pytest

pytestmark = pytest.mark.embedded


def test_flask_run_sert_le_chapitre_sur_la_base_embarquée(flask_shop: httpx.Client) -> None:
    early = {"réf": "lot-tôt", "sku": "LAMPE", "quantité": 100, "eta": "2011-01-01"}
    late = {"réf": "lot-tard", "sku": "LAMPE", "quantité": 100, "eta": "2011-01-02"}
    other = {"réf": "lot-autre", "sku": "TABLE", "quantité": 100}
    for lot in (late, early, other):
        assert flask_shop.post("/add_batch", json=lot).status_code == 201

    for sku in ("LAMPE", "TABLE"):
        allocated = flask_shop.post("/allocate", json={"id_commande": "c-1", "sku": sku, "quantité": 3})
        assert allocated.status_code == 201

    read = flask_shop.get("/allocations/c-1")
    assert read.status_code == 200
    assert [(line["sku"], line["réf_lot"]) for line in read.json()] == [
        ("LAMPE", "lot-tôt"),
        ("TABLE", "lot-autre"),
    ]


def test_flask_run_refuse_comme_le_chapitre(flask_shop: httpx.Client) -> None:
    refused = flask_shop.post("/allocate", json={"id_commande": "c-1", "sku": "INCONNU", "quantité": 20})

    assert refused.status_code == 400
    assert "INCONNU" in refused.json()["detail"]
    assert flask_shop.get("/allocations/c-1").status_code == 404

"""Histories and instants, through the served program; archiving, while it serves."""

from datetime import UTC, datetime
from pathlib import Path

import httpx
from tests.e2e.conftest import Service


def test_ce_qui_fut_se_lit_encore_après_que_le_journal_est_archivé(
    own_service: Service, tmp_path: Path
) -> None:
    def post(path: str, **body: object) -> None:
        assert httpx.post(f"{own_service.url}{path}", json=body).status_code == 201

    post("/lots", réf="lot-1", sku="LAMPE", quantité=10)
    post("/lots", réf="lot-2", sku="LAMPE", quantité=10)
    post("/allocate", id_commande="c-1", sku="LAMPE", quantité=4)
    own_service.wait_until_caught_up()
    at = {"at": datetime.now(UTC).isoformat()}
    lines = httpx.get(f"{own_service.url}/allocations/c-1").json()
    assert httpx.patch(f"{own_service.url}/lots/lot-1", json={"quantité": 1}).status_code == 200
    own_service.wait_until_caught_up()

    archived = own_service.run("journal", "archive", "--before", at["at"], "--dir", str(tmp_path))

    assert "3 events moved" in archived.stdout, archived.stderr
    histoire = httpx.get(f"{own_service.url}/allocations/c-1/histoire").json()
    assert [each["type"] for each in histoire["histoire"]] == ["Désalloué", "Alloué"]
    assert {each["commande"] for each in histoire["histoire"]} == {"ModifierQuantitéLot"}
    assert histoire["horizon"] is not None
    assert httpx.get(f"{own_service.url}/allocations/c-1", params=at).json() == lines
    assert httpx.get(f"{own_service.url}/allocations/c-1").json() != lines
    refused = httpx.get(f"{own_service.url}/stock/LAMPE", params={"at": "2020-01-01T00:00:00Z"})
    assert (refused.status_code, refused.json()["type"]) == (410, "urn:allocation:archivé")
    assert own_service.run("verify").returncode == 0

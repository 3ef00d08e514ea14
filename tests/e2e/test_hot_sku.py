"""Many buyers after one lot, over HTTP: exactly what it holds is sold, every time."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from tests.e2e.conftest import Service


@pytest.mark.parametrize("time", range(1, 6))
def test_cent_unités_pour_quatre_cents_demandes_de_trente_deux_clients(
    service: Service, sku: str, time: int
) -> None:
    lot = {"réf": f"lot-{sku}", "sku": sku, "quantité": 100}
    httpx.post(f"{service.url}/lots", json=lot).raise_for_status()

    # A pool that keeps fewer connections than there are buyers may close one that was just taken.
    limits = httpx.Limits(max_connections=32, max_keepalive_connections=32)
    with (
        httpx.Client(base_url=service.url, timeout=60, limits=limits) as client,
        ThreadPoolExecutor(32) as buyers,
    ):

        def buy(n: int) -> int:
            body = {"id_commande": f"{sku}-{n}", "sku": sku, "quantité": 1}
            return client.post("/allocate", json=body).status_code

        statuses = Counter(buyers.map(buy, range(400)))

    assert statuses == {201: 100, 409: 300}
    verified = service.run("verify")
    assert (verified.returncode, verified.stdout) == (0, "")

"""The served program, through its own processes: who sends a token back reads what was written."""

from concurrent.futures import ThreadPoolExecutor

import httpx
from tests.e2e.conftest import Service, running_service
from tests.standby import new_standby
from tests.waiting import PATIENCE_S, eventually


def receive(service: Service, sku: str) -> None:
    lot = {"réf": f"lot-{sku}", "sku": sku, "quantité": 1_000_000}
    httpx.post(f"{service.url}/lots", json=lot).raise_for_status()


def allocate(client: httpx.Client, sku: str, order: str) -> httpx.Response:
    response = client.post("/allocate", json={"id_commande": order, "sku": sku, "quantité": 1})
    assert response.status_code == 201
    return response


def read(client: httpx.Client, written: httpx.Response, prefer: str = "wait=20") -> httpx.Response:
    headers = {"Consistency-Token": written.headers["Consistency-Token"], "Prefer": prefer}
    return client.get(written.headers["Location"], headers=headers)


def position(written: httpx.Response) -> int:
    return int(written.headers["Consistency-Token"].partition("-")[0])


def client_of(service: Service) -> httpx.Client:
    return httpx.Client(base_url=service.url, timeout=PATIENCE_S)


def test_chacun_lit_toujours_ce_qu_il_vient_d_écrire(service: Service, sku: str) -> None:
    """Eight clients, on any of the API processes, none of which keeps the views up to date itself."""
    receive(service, sku)

    def write_and_read(client_number: int) -> None:
        with client_of(service) as client:
            for n in range(20):
                written = allocate(client, sku, f"{sku}-{client_number}-{n}")
                answer = read(client, written)
                assert answer.status_code == 200, answer.text
                assert int(answer.headers["Projection-Position"]) >= position(written)

    with ThreadPoolExecutor(8) as clients:
        list(clients.map(write_and_read, range(8)))


def test_les_lectures_vont_à_la_réplique_et_reviennent_à_la_base_quand_elle_meurt() -> None:
    """A standby that is created while the service runs, is held back, dies, and comes back."""
    with (
        new_standby() as standby,
        running_service("--workers", "2", ALLOCATION_READ_DATABASE_URL=standby.url("allocation")) as service,
        client_of(service) as client,
    ):
        receive(service, "LAMPE")
        before = read(client, allocate(client, "LAMPE", "c-1"))
        standby.create(service.database_url)
        eventually(lambda: served_by(client) == "replica")

        standby.pause_replay()
        written = allocate(client, "LAMPE", "c-2")
        ready = read(client, written, "wait=1")
        stale = read(client, written, "wait=0, handling=lenient")
        standby.resume_replay()
        caught_up = read(client, written)

        standby.kill()
        without = [read(client, allocate(client, "LAMPE", f"c-{n}")) for n in range(3, 9)]
        standby.start()
        eventually(lambda: served_by(client) == "replica")
        metrics = client.get("/metrics").text

    assert [each.status_code for each in (before, ready, stale, caught_up)] == [200, 200, 404, 200]
    assert [each.headers["Served-By"] for each in (before, ready, stale)] == ["primary", "primary", "replica"]
    assert int(stale.headers["Projection-Position"]) < position(written)
    assert {(each.status_code, each.headers["Served-By"]) for each in without} == {(200, "primary")}
    for reason in ("away", "late"):
        assert f'allocation_read_fall_backs_total{{reason="{reason}"}}' in metrics


def served_by(client: httpx.Client) -> str:
    return client.get("/stock").headers["Served-By"]

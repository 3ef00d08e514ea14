"""More is asked of the served shop than it can do."""

from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import psycopg
from tests.e2e.conftest import Service, running_service
from tests.waiting import PATIENCE_S, SOMEONE_WAITS_FOR_A_LOCK, eventually

QUEUE = 20
CLIENTS = 60


def _allocate(service: Service, n: int) -> httpx.Response:
    body = {"id_commande": f"c-{n}", "sku": "LAMPE", "quantité": 1}
    return httpx.post(f"{service.url}/allocate", json=body, timeout=PATIENCE_S)


def _statuses(answers: list[Future[httpx.Response]]) -> list[int]:
    return [each.result().status_code for each in answers if each.done()]


def test_ce_qui_ne_tient_pas_dans_la_file_est_refusé_aussitôt_et_le_reste_est_servi() -> None:
    """While the journal is held, one command is under way, and as many as the queue takes wait for it."""
    with (
        running_service("--workers", "1", ALLOCATION_QUEUE_SIZE=str(QUEUE)) as service,
        ThreadPoolExecutor(CLIENTS) as clients,
    ):
        lot = {"réf": "lot-1", "sku": "LAMPE", "quantité": 1000}
        httpx.post(f"{service.url}/lots", json=lot).raise_for_status()
        with psycopg.connect(service.database_url) as holder:
            holder.execute("LOCK TABLE journal IN SHARE MODE")
            answers = [clients.submit(_allocate, service, 0)]
            eventually(lambda: service.query(SOMEONE_WAITS_FOR_A_LOCK))
            answers += [clients.submit(_allocate, service, n) for n in range(1, CLIENTS)]
            eventually(lambda: len(_statuses(answers)) >= CLIENTS - QUEUE - 1)
            refused = {n for n, each in enumerate(answers) if each.done()}
            retry = {answers[n].result().headers.get("Retry-After") for n in refused}
            types = {answers[n].result().json()["type"] for n in refused}
            holder.rollback()
        served = {n for n, each in enumerate(answers) if each.result().status_code == 201}
        lines = service.query("SELECT id_commande FROM order_lines")

    assert len(refused) == CLIENTS - QUEUE - 1
    assert (types, retry) == ({"urn:allocation:file-pleine"}, {"1"})
    assert served == set(range(CLIENTS)) - refused
    assert {line for (line,) in lines} == {f"c-{n}" for n in served}

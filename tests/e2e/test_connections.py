"""Many API processes on a server that takes few connections."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx
import psycopg
from tests.e2e.conftest import Service, running_service
from tests.e2e.own_server import own_server, server_directory
from tests.waiting import PATIENCE_S, eventually

WORKERS = 16
CLIENTS = 48
# Several for each process at once.
READERS = 8 * WORKERS

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ILIKE '%journal%'"


def _allocate(service: Service, sku: str, n: int) -> int:
    body = {"id_commande": f"c-{n}", "sku": sku, "quantité": 1}
    return httpx.post(f"{service.url}/allocate", json=body, timeout=PATIENCE_S).status_code


def _history(service: Service, sku: str) -> int:
    return httpx.get(f"{service.url}/stock/{sku}/histoire", timeout=PATIENCE_S).status_code


def _all_at_once(service: Service, sku: str, server_url: str) -> set[int]:
    """The answers to reads that all wait until there are as many as the pools let wait."""
    with (
        ThreadPoolExecutor(READERS) as readers,
        psycopg.connect(server_url) as other,
        psycopg.connect(server_url, autocommit=True) as watch,
    ):
        other.execute("LOCK TABLE journal IN ACCESS EXCLUSIVE MODE")
        answers = [readers.submit(_history, service, sku) for _ in range(READERS)]
        eventually(lambda: (watch.execute(WAITING).fetchone() or [0])[0] >= WORKERS // 2)
        other.rollback()
        return {each.result() for each in answers}


def test_seize_processus_sur_cent_connexions_ne_refusent_rien_et_laissent_entrer_psql() -> None:
    sku = f"SKU-{uuid4()}"
    with server_directory() as directory, own_server(directory) as server:
        server.configure({"max_connections": "100"})
        server.stop()
        server.start()
        with running_service("--workers", str(WORKERS), ALLOCATION_DATABASE_URL=server.url()) as service:
            lot = {"réf": f"lot-{sku}", "sku": sku, "quantité": 1000}
            assert httpx.post(f"{service.url}/lots", json=lot).status_code == 201
            with ThreadPoolExecutor(CLIENTS) as clients:
                answers = list(clients.map(lambda n: _allocate(service, sku, n), range(600)))
                psycopg.connect(server.url()).close()
            histories = _all_at_once(service, sku, server.url())
            log = service.log.read_text()

    assert set(answers) == {201}
    assert histories == {200}
    assert "the server has 97 connections for 16 API processes, which therefore get pools of 1" in log

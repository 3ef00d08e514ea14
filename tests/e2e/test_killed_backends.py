"""Single processes of PostgreSQL are killed, as a kernel short of memory does: what was answered is kept."""

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from threading import Event as Signal

import httpx
import psutil
from tests.e2e.conftest import Service
from tests.waiting import eventually

KILLS = 20
CLIENTS = 16
ANSWERS_BETWEEN_KILLS = 20


class Clients:
    """Many who allocate without pause; `answered` are the orders that got 201."""

    def __init__(self, service: Service, skus: Sequence[str]) -> None:
        self._url = service.url
        self._skus = skus
        self._orders = count(1)
        self.over = Signal()
        self.answered: list[str] = []
        self.statuses: set[int] = set()

    def wait_for_answers(self, more: int) -> None:
        enough = len(self.answered) + more
        eventually(lambda: len(self.answered) >= enough)

    def allocate(self) -> None:
        with httpx.Client(base_url=self._url, timeout=30) as client:
            while not self.over.is_set():
                number = next(self._orders)
                body = {"id_commande": f"c-{number}", "sku": self._skus[number % 4], "quantité": 1}
                status = client.post("/allocate", json=body).status_code
                self.statuses.add(status)
                if status == 201:
                    self.answered.append(f"c-{number}")


def test_après_la_mort_de_processus_isolés_de_la_base_ce_qui_a_été_répondu_est_là(
    own_service: Service, sku: str
) -> None:
    skus = [f"{sku}-{n}" for n in range(4)]
    for each in skus:
        lot = {"réf": f"lot-{each}", "sku": each, "quantité": 1_000_000}
        httpx.post(f"{own_service.url}/lots", json=lot).raise_for_status()
    clients = Clients(own_service, skus)

    with ThreadPoolExecutor(CLIENTS) as threads:
        running = [threads.submit(clients.allocate) for _ in range(CLIENTS)]
        try:
            for _ in range(KILLS):
                clients.wait_for_answers(ANSWERS_BETWEEN_KILLS)
                _kill_one(own_service)
        finally:
            clients.over.set()
        for thread in running:
            thread.result()

    assert clients.statuses <= {201, 503}
    assert len(clients.answered) >= KILLS * ANSWERS_BETWEEN_KILLS
    own_service.wait_until_ready()
    stored = [order for [order] in own_service.query("SELECT data ->> 'id_commande' FROM journal OFFSET 4")]
    assert set(clients.answered) <= set(stored)
    assert len(stored) == len(set(stored))
    own_service.wait_until_caught_up()
    verified = own_service.run("verify")
    assert (verified.returncode, verified.stdout) == (0, "")


def _kill_one(service: Service) -> None:
    """SIGKILL to any one process of the database but its first."""
    with suppress(psutil.NoSuchProcess, IndexError):
        random.choice(psutil.Process(service.postmaster_pid).children()).kill()

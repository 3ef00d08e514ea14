"""The whole service, its database included, killed again and again under load: what was answered is kept."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Event as Signal

import httpx
from tests.e2e.conftest import Service
from tests.waiting import PATIENCE_S

KILLS = 10
CLIENTS = 8
ANSWERS_BEFORE_A_KILL = 60


class Load:
    """Clients that allocate without pause; `answered` are the orders that got 201."""

    def __init__(self, service: Service, sku: str) -> None:
        self._url = service.url
        self._sku = sku
        self._orders = count(1)
        self.answered: list[str] = []

    def run_until_killed(self, service: Service) -> None:
        enough, over = Signal(), Signal()
        before = len(self.answered)
        with ThreadPoolExecutor(CLIENTS) as clients:
            for _ in range(CLIENTS):
                clients.submit(self._allocate, enough, over, before + ANSWERS_BEFORE_A_KILL)
            assert enough.wait(PATIENCE_S)
            service.kill_everything()
            over.set()

    def _allocate(self, enough: Signal, over: Signal, target: int) -> None:
        with httpx.Client(base_url=self._url, timeout=10) as client:
            while not over.is_set():
                order = f"c-{next(self._orders)}"
                try:
                    body = {"id_commande": order, "sku": self._sku, "quantité": 1}
                    response = client.post("/allocate", json=body)
                except httpx.TransportError:
                    continue
                if response.status_code == 201:
                    self.answered.append(order)
                if len(self.answered) >= target:
                    enough.set()


def test_après_chaque_arrêt_brutal_ce_qui_a_été_répondu_est_là_une_fois(
    own_service: Service, sku: str
) -> None:
    service = own_service
    lot = {"réf": f"lot-{sku}", "sku": sku, "quantité": 1_000_000}
    httpx.post(f"{service.url}/lots", json=lot).raise_for_status()
    load = Load(service, sku)

    for _ in range(KILLS):
        load.run_until_killed(service)
        service.start()

        answered = set(load.answered)
        for where, orders in _orders(service):
            assert len(orders) == len(set(orders)), where
            assert answered <= set(orders), where
        verified = service.run("verify")
        assert (verified.returncode, verified.stdout) == (0, "")

    assert len(load.answered) >= KILLS * ANSWERS_BEFORE_A_KILL


def _orders(service: Service) -> Iterator[tuple[str, list[str]]]:
    """The allocated orders that the write model, the journal and, once it has caught up, the view hold."""
    for where, query in (
        ("write model", "SELECT id_commande FROM order_lines JOIN allocations USING (sku, rang)"),
        ("journal", "SELECT data ->> 'id_commande' FROM journal WHERE type = 'Alloué'"),
    ):
        yield where, [order for [order] in service.query(query)]
    service.wait_until_caught_up()
    yield "view", [order for [order] in service.query("SELECT id_commande FROM allocations_view")]

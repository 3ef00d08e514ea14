"""Clients of a served shop, who go on whatever happens to it, and remember what they were promised."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from random import Random

import httpx

# Refusals by the domain: unknown, out of stock, changed.
REFUSALS = {400, 404, 409}
AWAY = 503
# Longer than the service may take to say that it does not know.
ANSWER_TIMEOUT_S = 60


class Shoppers:
    """Any number of clients, each of which asks for one thing after another.

    `promised` maps each order that was answered 201 to its SKU, `surprises` counts the answers that nobody
    should get, `ready` the statuses of `/health/ready`.
    """

    def __init__(self, url: str, skus: int, seed: int) -> None:
        self._url = url
        self._skus = [f"ARTICLE-{n}" for n in range(skus)]
        self._seed = seed
        self._orders = count(1)
        self.promised: dict[str, str] = {}
        self.answers: Counter[int] = Counter()
        self.surprises: Counter[str] = Counter()
        self.ready: Counter[int] = Counter()

    def receive_lots(self) -> None:
        """Have stock of everything."""
        for sku in self._skus:
            lot = {"réf": f"lot-{sku}", "sku": sku, "quantité": 1_000_000}
            httpx.post(f"{self._url}/lots", json=lot, timeout=ANSWER_TIMEOUT_S).raise_for_status()

    @contextmanager
    def shopping(self, clients: int) -> Iterator[None]:
        """While the context is open, so many clients are there, and somebody who asks how the shop is."""
        over = threading.Event()
        threads = [
            threading.Thread(target=self._shop, args=(over, Random(self._seed + n))) for n in range(clients)
        ]
        threads.append(threading.Thread(target=self._ask_how_it_is, args=(over,)))
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def _shop(self, over: threading.Event, chance: Random) -> None:
        with httpx.Client(base_url=self._url, timeout=ANSWER_TIMEOUT_S) as client:
            while not over.is_set():
                sku = chance.choice(self._skus)
                match chance.randrange(10):
                    case 0:
                        self._ask(client, "GET", f"/stock/{sku}")
                    case 1:
                        quantité = chance.randrange(900_000, 1_000_000)
                        self._ask(client, "PATCH", f"/lots/lot-{sku}", {"quantité": quantité})
                    case 2:
                        lot = f"lot-{next(self._orders)}"
                        self._ask(client, "POST", "/lots", {"réf": lot, "sku": sku, "quantité": 10})
                    case _:
                        self._order(client, sku)

    def _order(self, client: httpx.Client, sku: str) -> None:
        order = f"commande-{next(self._orders)}"
        body = {"id_commande": order, "sku": sku, "quantité": 1}
        if self._ask(client, "POST", "/allocate", body) == httpx.codes.CREATED:
            self.promised[order] = sku

    def _ask(
        self, client: httpx.Client, method: str, path: str, body: Mapping[str, object] | None = None
    ) -> int | None:
        try:
            response = client.request(method, path, json=body)
        except httpx.TransportError as error:
            self.surprises[f"{method} {path}: {error!r}"] += 1
            return None
        status = response.status_code
        self.answers[status] += 1
        if not (response.is_success or status in REFUSALS or status == AWAY):
            self.surprises[f"{method} {path}: {status} {response.text}"] += 1
        return status

    def _ask_how_it_is(self, over: threading.Event) -> None:
        with httpx.Client(base_url=self._url, timeout=ANSWER_TIMEOUT_S) as client:
            while not over.wait(0.25):
                self.ready[client.get("/health/ready").status_code] += 1

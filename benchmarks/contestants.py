"""Who is measured: programs that take orders over HTTP, and plain SQL on a database with the same rows."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.message import Message
from itertools import count, cycle, islice
from urllib.request import Request, urlopen

from benchmarks import http_messages
from benchmarks.laboratory import Laboratory
from benchmarks.load import drive
from benchmarks.load_result import LoadResult
from benchmarks.pgbench import pgbench
from benchmarks.served import Served
from benchmarks.shop import PLENTY
from benchmarks.sizes import Sizes

# Lots come in as fast as they can, not one after the other.
RECEIVERS = 32


@dataclass
class HttpShop:
    """A program that takes orders over HTTP, its database, and how many lines it says it has allocated.

    `accepted` over HTTP, `imported` from files.
    """

    name: str
    served: Served
    url: str
    accepted: int = 0
    imported: int = 0
    _prefixes: "count[int]" = field(default_factory=count)

    def receive(self, sku: str, *, réf: str | None = None) -> str:
        """The SKU, of which there is now a lot of plenty."""
        self._ask("POST", "/lots", {"réf": réf or f"lot-{sku}", "sku": sku, "quantité": PLENTY})
        return sku

    def receive_many(self, sku: str, lots: int) -> LoadResult:
        """Receive so many lots of the SKU."""
        requests = islice(http_messages.receipts(self.served.address, sku), lots)
        return drive(self.served.address, requests, connections=RECEIVERS)

    def correct(self, réf: str, units: int) -> None:
        """Correct what the lot holds, and wait until its lines have moved. Raises HTTPError."""
        self._ask("PATCH", f"/lots/{réf}", {"quantité": units})

    def allocate(
        self,
        *skus: str,
        clients: int,
        seconds: float = 3600,
        lines: int | None = None,
        rate: float | None = None,
    ) -> LoadResult:
        """Allocate order lines of one unit, for so many seconds, or so many lines."""
        requests = http_messages.allocations(self.served.address, skus, f"http{next(self._prefixes)}")
        load = drive(
            self.served.address, islice(requests, lines), connections=clients, seconds=seconds, rate=rate
        )
        self.accepted += load.succeeded
        return load

    def allocate_one(self, sku: str) -> tuple[str, str]:
        """Allocate an order line of one unit; its order, and the token with which a read must show it."""
        id_commande = f"http{next(self._prefixes)}-1"
        headers = self._ask("POST", "/allocate", {"id_commande": id_commande, "sku": sku, "quantité": 1})
        self.accepted += 1
        return id_commande, headers["Consistency-Token"]

    def allocate_in_turn(self, *skus: str, lines: int) -> LoadResult:
        """Allocate so many order lines of one unit, one after the other; the SKUs take turns."""
        prefix = f"http{next(self._prefixes)}"
        orders = [
            http_messages.order(self.served.address, sku, f"{prefix}-{number}")
            for number, sku in enumerate(islice(cycle(skus), lines))
        ]
        load = drive(self.served.address, orders, connections=1)
        self.accepted += load.succeeded
        return load

    def _ask(self, method: str, path: str, body: dict[str, object]) -> Message:
        """Have it done by one request; the headers of the answer. Raises HTTPError."""
        host, port = self.served.address
        content = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = Request(f"http://{host}:{port}{path}", content, headers, method=method)
        with urlopen(request) as answer:  # noqa: S310 - our own address
            answer.read()
            told: Message = answer.headers
        return told

    def read_orders(self, orders: int, *, clients: int, seconds: float) -> LoadResult:
        """Read random ones of the orders `c-1` to `c-<orders>`."""
        requests = http_messages.order_reads(self.served.address, orders)
        return drive(self.served.address, requests, connections=clients, seconds=seconds)


@dataclass(frozen=True)
class PlainSql:
    """A copy of the shop's database, and pgbench as its client."""

    name: str
    url: str

    def allocate(self, family: str, *, articles: int, clients: int, seconds: float) -> float:
        """Allocations a second of the SKUs `<family>-1` to `<family>-<articles>`, at random."""
        return pgbench(
            self.url, "allocate.sql", clients=clients, seconds=seconds, family=family, articles=articles
        )


@dataclass(frozen=True)
class Bench:
    """Everything that an experiment needs. `bare` is the SQL on tables with primary keys and nothing else."""

    sizes: Sizes
    lab: Laboratory
    shop: HttpShop
    peers: Sequence[HttpShop]
    naive: HttpShop
    sql: PlainSql
    bare: PlainSql
    say: Callable[[str], None]

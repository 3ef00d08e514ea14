"""What may be asked. Each view is one indexed SELECT on a read model; none knows the domain model.

With `after`, the position of a write (`bus.handle(…).position`), the answer reflects that write: it is waited
for, `wait_s` seconds at most. Then every view raises ViewLate, or at once ProjectionPaused, TooManyWaiting or
TooManyFallBacks; and StorageUnavailable, with or without it.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from sqlalchemy import Connection

from allocation.adapters.database import Row
from allocation.adapters.read_servers import ReadServers
from allocation.views.freshness import DEFAULT_WAIT_S, Freshness
from allocation.views.view import View

_STOCK_COLUMNS = "SELECT sku, en_stock, en_transit, alloué, disponible, prochaine_eta FROM stock_view"

ALLOCATIONS = View(
    "allocations_view",
    "SELECT sku, réf_lot, quantité, ligne FROM allocations_view WHERE id_commande = {id_commande}",
    parameters=["id_commande"],
    order="sku, ligne",
)
LOT = View(
    "lots_view",
    "SELECT réf, sku, quantité, quantité_allouée, eta FROM lots_view WHERE réf = {réf}",
    parameters=["réf"],
    order="réf",
)
STOCK = View("stock_view", f"{_STOCK_COLUMNS} WHERE sku = {{sku}}", parameters=["sku"], order="sku")
STOCK_PAGE = View(
    "stock_view",
    f"{_STOCK_COLUMNS} WHERE sku > {{after}} ORDER BY sku LIMIT {{limit}}",
    parameters=["after", "limit"],
    order="sku",
)


class ReadSource(Protocol):
    """What views read from: a unit of work, or the database itself."""

    @property
    def reads(self) -> ReadServers:
        """The servers that views are asked of: a replica, if there is one, and this database."""

    def fetch(self, query: str, parameters: Mapping[str, object]) -> list[Row]:
        """The rows of a SELECT, which is prepared, from the primary. Raises StorageUnavailable."""

    def reading(self) -> AbstractContextManager[Connection]:
        """A read-only autocommit connection to the primary. Raises StorageUnavailable."""


def allocations(
    id_commande: str, uow: ReadSource, *, after: int | None = None, wait_s: float = DEFAULT_WAIT_S
) -> list[Row]:
    """The allocated lines of an order: sku, réf_lot, quantité, ligne; empty when there are none."""
    return ALLOCATIONS.rows({"id_commande": id_commande}, uow.reads, _reached(after, wait_s)).value


def lot(réf: str, uow: ReadSource, *, after: int | None = None, wait_s: float = DEFAULT_WAIT_S) -> Row | None:
    """A lot: réf, sku, quantité, quantité_allouée, eta; None when there is none of this reference."""
    return LOT.row({"réf": réf}, uow.reads, _reached(after, wait_s)).value


def stock(
    sku: str, uow: ReadSource, *, after: int | None = None, wait_s: float = DEFAULT_WAIT_S
) -> Row | None:
    """The stock of one SKU in units: en_stock, en_transit, alloué, disponible; and prochaine_eta."""
    return STOCK.row({"sku": sku}, uow.reads, _reached(after, wait_s)).value


def stock_page(
    behind: str, limit: int, uow: ReadSource, *, after: int | None = None, wait_s: float = DEFAULT_WAIT_S
) -> list[Row]:
    """The stock of at most `limit` SKUs behind the SKU `behind`, in the order of their code points."""
    return STOCK_PAGE.rows({"after": behind, "limit": limit}, uow.reads, _reached(after, wait_s)).value


def _reached(after: int | None, wait_s: float) -> Freshness:
    return Freshness(after or 0, wait_s)

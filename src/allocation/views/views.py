"""What may be asked. Each view is one indexed SELECT on a read model; none knows the domain model."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias

from sqlalchemy import Connection, Executable, bindparam, select

from allocation.adapters.database import StorageUnavailable
from allocation.adapters.read_tables import allocations_view, lots_view, stock_view

Row: TypeAlias = dict[str, Any]

_ALLOCATIONS = (
    select(*(allocations_view.c[name] for name in ("sku", "réf_lot", "quantité", "ligne")))
    .where(allocations_view.c.id_commande == bindparam("id_commande"))
    .order_by(allocations_view.c.sku, allocations_view.c.ligne)
)
_LOT = select(lots_view).where(lots_view.c.réf == bindparam("réf"))
_STOCK = select(stock_view).where(stock_view.c.sku == bindparam("sku"))
_STOCK_PAGE = (
    select(stock_view)
    .where(stock_view.c.sku > bindparam("after"))
    .order_by(stock_view.c.sku)
    .limit(bindparam("limit"))
)


class ReadSource(Protocol):
    """What views read from: a unit of work, or the database itself."""

    def reading(self) -> AbstractContextManager[Connection]:
        """A read-only autocommit connection."""


def allocations(id_commande: str, uow: ReadSource) -> list[Row]:
    """The allocated lines of an order: sku, réf_lot, quantité, ligne; empty when there are none."""
    return fetch(uow, _ALLOCATIONS, id_commande=id_commande)


def lot(réf: str, uow: ReadSource) -> Row | None:
    """A lot: réf, sku, quantité, quantité_allouée, eta; None when there is none of this reference."""
    return next(iter(fetch(uow, _LOT, réf=réf)), None)


def stock(sku: str, uow: ReadSource) -> Row | None:
    """The stock of one SKU in units: en_stock, en_transit, alloué, disponible; and prochaine_eta."""
    return next(iter(fetch(uow, _STOCK, sku=sku)), None)


def stock_page(after: str, limit: int, uow: ReadSource) -> list[Row]:
    """The stock of at most `limit` SKUs behind `after`, in the order of their code points."""
    return fetch(uow, _STOCK_PAGE, after=after, limit=limit)


def fetch(source: ReadSource, query: Executable, **parameters: object) -> list[Row]:
    """The rows that the query gives. Raises StorageUnavailable."""
    try:
        return _fetch_once(source, query, parameters)
    except StorageUnavailable:
        # A pooled connection may have outlived a restart of the database; then the pool is fresh by now.
        return _fetch_once(source, query, parameters)


def _fetch_once(source: ReadSource, query: Executable, parameters: Mapping[str, object]) -> list[Row]:
    with source.reading() as connection:
        return [dict(row) for row in connection.execute(query, parameters).mappings()]

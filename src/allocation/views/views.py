"""What may be asked. Each view is one indexed SELECT on a read model; none knows the domain model."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from sqlalchemy import Connection

from allocation.adapters.database import Row

_ALLOCATIONS = """
    SELECT sku, réf_lot, quantité, ligne FROM allocations_view
    WHERE id_commande = {id_commande} ORDER BY sku, ligne
"""
_LOT = "SELECT réf, sku, quantité, quantité_allouée, eta FROM lots_view WHERE réf = %(réf)s"
_STOCK_COLUMNS = "SELECT sku, en_stock, en_transit, alloué, disponible, prochaine_eta FROM stock_view"
_STOCK = f"{_STOCK_COLUMNS} WHERE sku = %(sku)s"
_STOCK_PAGE = f"{_STOCK_COLUMNS} WHERE sku > %(after)s ORDER BY sku LIMIT %(limit)s"

_ALLOCATIONS_ROWS = _ALLOCATIONS.format(id_commande="%(id_commande)s")
_ALLOCATIONS_JSON = f"""
    SELECT json_agg(line) FROM ({_ALLOCATIONS.format(id_commande="$1")}) AS line
"""  # noqa: S608 - our own text


class ReadSource(Protocol):
    """What views read from: a unit of work, or the database itself."""

    def fetch(self, query: str, parameters: Mapping[str, object]) -> list[Row]:
        """The rows of a SELECT, which is prepared. Raises StorageUnavailable."""

    def fetch_value(self, query: str, parameter: str) -> bytes | None:
        """The first value of a prepared SELECT for `$1`, as PostgreSQL writes it; None for NULL or no row.

        Raises StorageUnavailable.
        """

    def reading(self) -> AbstractContextManager[Connection]:
        """A read-only autocommit connection. Raises StorageUnavailable."""


def allocations(id_commande: str, uow: ReadSource) -> list[Row]:
    """The allocated lines of an order: sku, réf_lot, quantité, ligne; empty when there are none."""
    return uow.fetch(_ALLOCATIONS_ROWS, {"id_commande": id_commande})


def allocations_json(id_commande: str, uow: ReadSource) -> bytes | None:
    """The same as a JSON document, which PostgreSQL writes; None when there are no lines."""
    return uow.fetch_value(_ALLOCATIONS_JSON, id_commande)


def lot(réf: str, uow: ReadSource) -> Row | None:
    """A lot: réf, sku, quantité, quantité_allouée, eta; None when there is none of this reference."""
    return next(iter(uow.fetch(_LOT, {"réf": réf})), None)


def stock(sku: str, uow: ReadSource) -> Row | None:
    """The stock of one SKU in units: en_stock, en_transit, alloué, disponible; and prochaine_eta."""
    return next(iter(uow.fetch(_STOCK, {"sku": sku})), None)


def stock_page(after: str, limit: int, uow: ReadSource) -> list[Row]:
    """The stock of at most `limit` SKUs behind `after`, in the order of their code points."""
    return uow.fetch(_STOCK_PAGE, {"after": after, "limit": limit})

"""What the database already knows of the lots and lines in an imported file, by one indexed SELECT each."""

from dataclasses import dataclass
from datetime import date

from allocation.adapters.postgresql.database import Database

# Lines that found no stock have their numbers in `ruptures`, and old ones of these only in the journal.
_LAST_NUMBER = """
    SELECT coalesce(max(ligne::bigint), 0) AS last FROM (
        SELECT ligne FROM order_lines WHERE id_commande = %(id_commande)s AND sku = %(sku)s
        UNION ALL
        SELECT ligne FROM ruptures WHERE id_commande = %(id_commande)s AND sku = %(sku)s
        UNION ALL
        SELECT ligne FROM journal WHERE id_commande = %(id_commande)s AND sku = %(sku)s
    ) AS known
    WHERE ligne ~ '^[0-9]{1,18}$'
"""
_LOT = "SELECT eta FROM lots WHERE sku = %(sku)s AND référence = %(réf)s"


@dataclass(frozen=True)
class KnownLot:
    """What never changes in a lot."""

    eta: date | None


class KnownStock:
    """Answers from committed data."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def last_number(self, id_commande: str, sku: str) -> int:
        """The greatest number among an order's lines of a SKU, 0 if none. Raises StorageUnavailable."""
        [row] = self._database.fetch(_LAST_NUMBER, {"id_commande": id_commande, "sku": sku})
        last: int = row["last"]
        return last

    def lot(self, sku: str, réf: str) -> KnownLot | None:
        """The SKU's lot of this reference, if there is one. Raises StorageUnavailable."""
        rows = self._database.fetch(_LOT, {"sku": sku, "réf": réf})
        return KnownLot(rows[0]["eta"]) if rows else None

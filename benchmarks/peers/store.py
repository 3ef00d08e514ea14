"""What the service does in the database: one transaction for each change, one SELECT for a read."""

from datetime import date
from typing import NamedTuple

from asyncpg import Pool, Record

_LOCK = "SELECT FROM produits WHERE sku = $1 FOR UPDATE"
# A statement of its own after the lock: so it sees what the one who had it before has committed.
_KNOWN = """
    SELECT line.réf_lot, line.quantité, candidate.référence AS candidat
    FROM (VALUES (1)) AS always
    LEFT JOIN allocations AS line ON line.id_commande = $1 AND line.sku = $2
    LEFT JOIN LATERAL (
        SELECT référence FROM lots
        WHERE lots.sku = $2 AND quantité - quantité_allouée >= $3
        ORDER BY eta NULLS FIRST, référence LIMIT 1
    ) AS candidate ON true
"""
_ALLOCATE = """
    WITH line AS (
        INSERT INTO allocations (id_commande, sku, quantité, réf_lot) VALUES ($1, $2, $3, $4)
    ), lot AS (
        UPDATE lots SET quantité_allouée = quantité_allouée + $3 WHERE sku = $2 AND référence = $4
    )
    INSERT INTO journal (type, sku, data)
    VALUES ('Alloué', $2,
            jsonb_build_object('id_commande', $1::text, 'quantité', $3::integer, 'réf_lot', $4::text))
"""
_RECEIVE_PRODUCT = "INSERT INTO produits (sku) VALUES ($1) ON CONFLICT DO NOTHING"
_RECEIVE_LOT = """
    WITH lot AS (
        INSERT INTO lots (sku, référence, quantité, eta) VALUES ($1, $2, $3, $4)
    )
    INSERT INTO journal (type, sku, data)
    VALUES ('LotCréé', $1,
            jsonb_build_object('réf_lot', $2::text, 'quantité', $3::integer, 'eta', $4::date))
"""
_ORDER = """
    SELECT sku, réf_lot, quantité FROM allocations WHERE id_commande = $1 ORDER BY sku
"""


class UnknownSku(Exception):
    """No lot of this SKU was ever received."""


class LineChanged(Exception):
    """The line is allocated already, with another quantity."""


class OutOfStock(Exception):
    """No lot has enough units left for the whole line."""


class Allocation(NamedTuple):
    """The lot that serves a line, and whether it does so since now."""

    réf_lot: str
    new: bool


async def allocate(pool: Pool, id_commande: str, sku: str, quantité: int) -> Allocation:
    """Tie the line to a lot; a repeated line gets its lot again.

    Raises UnknownSku, LineChanged or OutOfStock.
    """
    async with pool.acquire() as connection, connection.transaction():
        if await connection.fetchrow(_LOCK, sku) is None:
            raise UnknownSku(sku)
        [known] = await connection.fetch(_KNOWN, id_commande, sku, quantité)
        if known["réf_lot"] is not None:
            if known["quantité"] != quantité:
                raise LineChanged(id_commande)
            return Allocation(known["réf_lot"], new=False)
        if known["candidat"] is None:
            raise OutOfStock(sku)
        await connection.execute(_ALLOCATE, id_commande, sku, quantité, known["candidat"])
        return Allocation(known["candidat"], new=True)


async def receive(pool: Pool, réf: str, sku: str, quantité: int, eta: date | None) -> None:
    """Add a lot of the SKU. Raises asyncpg.UniqueViolationError if it is there already."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(_RECEIVE_PRODUCT, sku)
        await connection.execute(_RECEIVE_LOT, sku, réf, quantité, eta)


async def lines_of(pool: Pool, id_commande: str) -> list[Record]:
    """The allocated lines of the order, by SKU."""
    lines: list[Record] = await pool.fetch(_ORDER, id_commande)
    return lines

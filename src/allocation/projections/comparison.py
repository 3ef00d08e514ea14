"""Comparing a read model with what it should contain according to the write model."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, text

from allocation.domain.values import LONGUEUR_MAX
from allocation.projections.delivery import Projection

# The range of all possible SKUs: after the first bound, up to the second.
ALL_SKUS: Mapping[str, str] = {"after": "", "until": "\U0010ffff" * LONGUEUR_MAX}


def fill(connection: Connection, projection: Projection, table: str, after: str, until: str) -> int:
    """Fill a table with the rows it should have for SKUs after `after` up to `until`; return their number."""
    columns = ", ".join(projection.columns)
    insert = text(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM ({projection.truth}) AS truth")
    return connection.execute(insert, {"after": after, "until": until}).rowcount


def first_difference(connection: Connection, projection: Projection, table: str) -> dict[str, Any] | None:
    """A row in which the table differs from the write model; None if there is none, or no `truth`."""
    if projection.truth is None:
        return None
    columns = ", ".join(projection.columns)
    actual = f"SELECT {columns} FROM {table}"
    expected = f"SELECT {columns} FROM ({projection.truth}) AS truth"
    if _checksum(connection, actual) == _checksum(connection, expected):
        return None
    query = f"({actual} EXCEPT ALL {expected}) UNION ALL ({expected} EXCEPT ALL {actual}) LIMIT 1"
    row = connection.execute(text(query), ALL_SKUS).mappings().one_or_none()
    return None if row is None else dict(row)


def _checksum(connection: Connection, query: str) -> tuple[Any, ...]:
    """The number of rows and an order-independent checksum, computed in one pass without storing anything."""
    checksum = f"SELECT count(*), sum(hashtextextended(each::text, 0)) FROM ({query}) AS each"
    return tuple(connection.execute(text(checksum), ALL_SKUS).one())

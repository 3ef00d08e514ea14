"""What a read model should hold according to the write model, and whether it does."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, text

from allocation.domain.values import LONGUEUR_MAX
from allocation.projections.delivery import Projection

# Behind the first and up to the last SKU that there can be.
ALL_SKUS: Mapping[str, str] = {"after": "", "until": "\U0010ffff" * LONGUEUR_MAX}


def fill(connection: Connection, projection: Projection, table: str, after: str, until: str) -> int:
    """Fill a table with what it should hold of the SKUs behind `after` up to `until`; the number of rows."""
    columns = ", ".join(projection.columns)
    insert = text(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM ({projection.truth}) AS truth")
    return connection.execute(insert, {"after": after, "until": until}).rowcount


def first_difference(connection: Connection, projection: Projection, table: str) -> dict[str, Any] | None:
    """A row in which the table differs from the write model; None if there is none, or no way to tell."""
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
    """The number of rows, and a sum over them that does not depend on their order: one pass, nothing kept."""
    checksum = f"SELECT count(*), sum(hashtextextended(each::text, 0)) FROM ({query}) AS each"
    return tuple(connection.execute(text(checksum), ALL_SKUS).one())

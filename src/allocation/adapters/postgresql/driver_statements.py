"""Statements for the driver within a transaction of SQLAlchemy's, which takes several times as long."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

import psycopg
from sqlalchemy import Connection

from allocation.adapters.postgresql.database_errors import conflicts_translated

Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any]


def executed(connection: Connection, statement: str, parameters: Parameters) -> psycopg.Cursor:
    """The cursor of a statement that has been executed.

    Raises VersionConflict or StorageUnavailable, or the driver's errors that mean neither.
    """
    driver = cast(psycopg.Connection, connection.connection.driver_connection)
    try:
        with conflicts_translated():
            return driver.execute(statement, parameters)
    finally:
        if driver.closed:
            # SQLAlchemy, which has not seen it, would roll back on it.
            connection.invalidate()

"""Single statements that are so short that taking a connection from a pool would cost about as much.

They go below psycopg's cursors, to connections that are kept from the pool of an engine.
"""

import threading
from collections import deque
from typing import TypeAlias, cast

import psycopg
from psycopg.pq import DiagnosticField, ExecStatus
from psycopg.pq.abc import PGresult
from sqlalchemy import Engine, PoolProxiedConnection

# The names of the statements that are prepared on a connection.
Prepared: TypeAlias = dict[str, bytes]


class Lookups:
    """Asks on at most `size` connections of an engine, the last used one first, outside of transactions."""

    def __init__(self, engine: Engine, size: int, timeout_s: float) -> None:
        self._engine = engine
        self._timeout_s = timeout_s
        self._idle: deque[PoolProxiedConnection] = deque()
        self._allowed = threading.Semaphore(size)

    def first_row(self, query: str, parameter: str) -> list[bytes | None]:
        """As the function of this name. Raises TimeoutError when all connections are in use for long."""
        if not self._allowed.acquire(timeout=self._timeout_s):
            raise TimeoutError("no connection became free in time")
        try:
            return self._first_row(query, parameter)
        finally:
            self._allowed.release()

    def close(self) -> None:
        """Close all connections that nobody uses."""
        while (kept := self._last_used()) is not None:
            kept.invalidate()
        self._engine.dispose()

    def _first_row(self, query: str, parameter: str) -> list[bytes | None]:
        kept = self._last_used() or self._engine.raw_connection()
        try:
            connection = cast(psycopg.Connection, kept.driver_connection)
            row = first_row(connection, kept.info, query, parameter)
        except BaseException:
            kept.invalidate()
            raise
        self._idle.append(kept)
        return row

    def _last_used(self) -> PoolProxiedConnection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None


def first_row(
    connection: psycopg.Connection, prepared: Prepared, query: str, parameter: str
) -> list[bytes | None]:
    """The first row that a SELECT for `$1` gives, as PostgreSQL writes it; nothing without a row.

    It is prepared when it comes for the first time. Raises the driver's errors.
    """
    name = prepared.get(query)
    if name is None:
        name = prepared[query] = b"lookup_%d" % len(prepared)
        _checked(connection.pgconn.prepare(name, query.encode()), ExecStatus.COMMAND_OK)
    result = connection.pgconn.exec_prepared(name, [parameter.encode()])
    _checked(result, ExecStatus.TUPLES_OK)
    return [result.get_value(0, column) for column in range(result.nfields)] if result.ntuples else []


def _checked(result: PGresult, expected: ExecStatus) -> None:
    """Raises the driver's error for what PostgreSQL says instead of a result of this kind."""
    if result.status == expected:
        return
    if result.error_field(DiagnosticField.SQLSTATE) is None:
        # It is not PostgreSQL that says so: nothing came from there.
        raise psycopg.OperationalError(result.get_error_message())
    raise psycopg.errors.error_from_result(result)

"""Statements so short that taking a connection from a pool would cost about as much as running them.

They bypass psycopg's cursors, on connections that are taken from an engine's pool once and kept.
"""

from queue import Empty, SimpleQueue
from typing import TypeAlias, cast

import psycopg
from psycopg.generators import execute
from psycopg.pq import DiagnosticField, ExecStatus
from psycopg.pq.abc import PGresult
from sqlalchemy import Engine, PoolProxiedConnection

# The names of the statements that are prepared on a connection.
Prepared: TypeAlias = dict[str, bytes]


class Lookups:
    """Runs lookups on at most `size` connections of an engine, outside transactions."""

    def __init__(self, engine: Engine, size: int, timeout_s: float) -> None:
        self._engine = engine
        self._timeout_s = timeout_s
        # A queue in C: with a semaphore in Python, waiting for a connection costs as much as using it.
        self._places: SimpleQueue[PoolProxiedConnection | None] = SimpleQueue()
        for _ in range(size):
            self._places.put(None)

    def first_row(self, query: str, parameter: str) -> list[bytes | None]:
        """Like the function `first_row`. Raises TimeoutError if no connection becomes free in time."""
        try:
            kept = self._places.get(timeout=self._timeout_s)
        except Empty:
            raise TimeoutError("no connection became free in time") from None
        try:
            kept = kept or self._engine.raw_connection()
            return first_row(cast(psycopg.Connection, kept.driver_connection), kept.info, query, parameter)
        except BaseException:
            if kept is not None:
                if cast(psycopg.Connection, kept.driver_connection).closed:
                    # The others were probably lost together with this one.
                    self._let_go()
                kept.invalidate()
                kept = None
            raise
        finally:
            self._places.put(kept)

    def close(self) -> None:
        """Close all connections that are not in use."""
        self._let_go()
        self._engine.dispose()

    def _let_go(self) -> None:
        for _ in range(self._places.qsize()):
            try:
                kept = self._places.get_nowait()
            except Empty:
                return
            if kept is not None:
                kept.invalidate()
            self._places.put(None)


def first_row(
    connection: psycopg.Connection, prepared: Prepared, query: str, parameter: str
) -> list[bytes | None]:
    """The first row of a SELECT with the parameter `$1`, as raw text; an empty list without a row.

    The statement is prepared on first use. Raises the driver's errors.
    """
    name = prepared.get(query)
    if name is None:
        name = b"lookup_%d" % len(prepared)
        connection.pgconn.send_prepare(name, query.encode())
        _result(connection, ExecStatus.COMMAND_OK)
        prepared[query] = name
    connection.pgconn.send_query_prepared(name, [parameter.encode()])
    result = _result(connection, ExecStatus.TUPLES_OK)
    return [result.get_value(0, column) for column in range(result.nfields)] if result.ntuples else []


def _result(connection: psycopg.Connection, expected: ExecStatus) -> PGresult:
    """What PostgreSQL answers. Raises the driver's error for any other kind of result."""
    results: list[PGresult] = connection.wait(execute(connection.pgconn))
    result = results[-1]
    if result.status == expected:
        return result
    if result.error_field(DiagnosticField.SQLSTATE) is None:
        # Without a result, the error is not from PostgreSQL: nothing arrived.
        raise psycopg.OperationalError(result.get_error_message())
    raise psycopg.errors.error_from_result(result)

"""Statements so short that psycopg's cursors would cost about as much as running them."""

from typing import TypeAlias

import psycopg
from psycopg.generators import execute
from psycopg.pq import DiagnosticField, ExecStatus
from psycopg.pq.abc import PGresult

# The names of the statements that are prepared on a connection.
Prepared: TypeAlias = dict[str, bytes]


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
    results: list[PGresult] = connection.wait(execute(connection.pgconn))
    return checked(results[-1], expected)


def checked(result: PGresult, expected: ExecStatus) -> PGresult:
    """This result of a statement. Raises the driver's error for any other kind than is expected."""
    if result.status == expected:
        return result
    if result.error_field(DiagnosticField.SQLSTATE) is None:
        # Without a result, the error is not from PostgreSQL: nothing arrived.
        raise psycopg.OperationalError(result.get_error_message())
    raise psycopg.errors.error_from_result(result)

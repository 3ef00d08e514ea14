"""Copying rows of one column out of PostgreSQL and back, streamed as lines."""

from collections.abc import Iterable, Iterator, Mapping
from typing import cast

import psycopg
from sqlalchemy import Connection

# CSV with control characters as quote and separator: these don't occur in JSON, so its lines pass unchanged.
_AS_IT_IS = r"(FORMAT csv, DELIMITER E'\x02', QUOTE E'\x01')"


def copy_out(connection: Connection, query: str, parameters: Mapping[str, object]) -> Iterator[bytes]:
    """The result of a SELECT of one JSON column as lines with their line ends, in blocks of any length."""
    with _cursor(connection).copy(f"COPY ({query}) TO STDOUT {_AS_IT_IS}".encode(), parameters) as copy:
        for block in copy:
            yield bytes(block)


def copy_in(connection: Connection, table: str, lines: Iterable[bytes]) -> None:
    """Add a row to a table of one column for each line of JSON."""
    with _cursor(connection).copy(f"COPY {table} FROM STDIN {_AS_IT_IS}".encode()) as copy:
        for line in lines:
            copy.write(line)


def _cursor(connection: Connection) -> psycopg.Cursor:
    return cast(psycopg.Connection, connection.connection.driver_connection).cursor()

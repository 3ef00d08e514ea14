"""Rows of one column out of PostgreSQL and back, as lines, without any of them waiting in memory."""

from collections.abc import Iterable, Iterator, Mapping
from typing import cast

import psycopg
from sqlalchemy import Connection

# As CSV whose quotes and separators don't occur in JSON, which has no control characters: its lines go
# through as they are.
_AS_IT_IS = r"(FORMAT csv, DELIMITER E'\x02', QUOTE E'\x01')"


def copy_out(connection: Connection, query: str, parameters: Mapping[str, object]) -> Iterator[bytes]:
    """The lines, with their ends, that a SELECT of one column of JSON gives; in blocks of any length."""
    with _cursor(connection).copy(f"COPY ({query}) TO STDOUT {_AS_IT_IS}".encode(), parameters) as copy:
        for block in copy:
            yield bytes(block)


def copy_in(connection: Connection, table: str, lines: Iterable[bytes]) -> None:
    """Add a row for each line of JSON to a table of one column."""
    with _cursor(connection).copy(f"COPY {table} FROM STDIN {_AS_IT_IS}".encode()) as copy:
        for line in lines:
            copy.write(line)


def _cursor(connection: Connection) -> psycopg.Cursor:
    return cast(psycopg.Connection, connection.connection.driver_connection).cursor()

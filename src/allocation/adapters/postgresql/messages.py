"""Several statements that go to PostgreSQL as one message, and their rows, which come back together.

PostgreSQL starts on a message only once it has all of it. A pipeline it carries out as it arrives, and if the
rest does not come, it waits without limit while holding locks: no idle timeout applies within a message.

A message is SQL as text: a statement with parameters is prepared once per connection, then executed by name.
"""

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from psycopg import sql
from psycopg.pq import TransactionStatus

from allocation.adapters.postgresql.bounded_connection import BoundedConnection

Statement: TypeAlias = tuple[str, Sequence[Any] | Mapping[str, Any]]
Rows: TypeAlias = list[tuple[Any, ...]]

_PLACEHOLDER = re.compile(r"%(?:\((\w+)\))?s")


class Messages:
    """Sends statements on a connection in autocommit mode. Raises the driver's errors."""

    def __init__(self, connection: BoundedConnection) -> None:
        self._connection = connection
        # The driver's own prepared statements: when one rolls back, it lets go of all, and of ours with them.
        connection.prepare_threshold = None

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._connection.info.transaction_status != TransactionStatus.IDLE

    def send(self, *statements: Statement) -> list[Rows]:
        """The rows of each statement. The first failure ends the message and rolls back its transaction."""
        message = "; ".join([self._text(*statement) for statement in statements])
        cursor = self._connection.execute(message.encode(), prepare=False)
        return [result.fetchall() if result.description else [] for result in cursor.results()]

    def rows(self, *statement: *Statement) -> Rows:
        """The rows of one statement."""
        [rows] = self.send(statement)
        return rows

    def _text(self, statement: str, parameters: Sequence[Any] | Mapping[str, Any]) -> str:
        if not parameters:
            return statement
        names = _numbered(statement)[1]
        values = [parameters[name] for name in names] if isinstance(parameters, Mapping) else parameters
        literals = ", ".join([sql.Literal(value).as_string(self._connection) for value in values])
        return f"EXECUTE {self._prepared(statement)} ({literals})"

    def _prepared(self, statement: str) -> str:
        """The name of the prepared statement, which is prepared on first use."""
        prepared = self._connection.prepared
        if statement not in prepared:
            name = f"message_{len(prepared)}"
            self._connection.execute(f"PREPARE {name} AS {_numbered(statement)[0]}".encode(), prepare=False)
            prepared[statement] = name
        return prepared[statement]


@functools.cache
def _numbered(statement: str) -> tuple[str, Sequence[str]]:
    """The statement with PostgreSQL's numbered parameters ($1, …), and their names in that order."""
    names: dict[str, int] = {}
    unnamed: Iterator[int] = iter(range(1000))

    def number(placeholder: re.Match[str]) -> str:
        name = placeholder[1] or f"{next(unnamed)}"
        return f"${names.setdefault(name, len(names) + 1)}"

    return _PLACEHOLDER.sub(number, statement), tuple(names)

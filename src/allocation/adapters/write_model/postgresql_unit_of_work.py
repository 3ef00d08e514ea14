"""A transaction on PostgreSQL, with the changes to products, their events and the commit in one message."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self
from uuid import UUID

import psycopg
from sqlalchemy import Connection

from allocation.adapters.journal.journal import append_statements, new_ids
from allocation.adapters.journal.rows import Cause
from allocation.adapters.journal.sequence import mend_sequence, shows_lag
from allocation.adapters.postgresql.database import Database, VersionConflict, write_errors_translated
from allocation.adapters.postgresql.fetching import Row
from allocation.adapters.postgresql.messages import Messages, Statement
from allocation.adapters.postgresql.read_servers import ReadServers
from allocation.adapters.write_model.lost_commits import position_if_committed
from allocation.adapters.write_model.postgresql_repository import PostgreSQLRepository
from allocation.adapters.write_model.unit_of_work import JournalledUnitOfWork
from allocation.domain.events import Event

# A lock timeout means that somebody holds what this one command needs. Everybody needs the journal's lock, so
# the wait for it is ended by the statement timeout instead.
_NO_LOCK_TIMEOUT: Statement = ("SET LOCAL lock_timeout = 0", ())
_COMMIT: Statement = ("COMMIT", ())


class PostgreSQLUnitOfWork(JournalledUnitOfWork):
    """A transaction on PostgreSQL. Views can read from it too, which they do outside the transaction."""

    produits: PostgreSQLRepository

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> Self:
        self._borrowed = self._database.writing()
        self._connection = self._borrowed.__enter__()
        self.produits = self._new_repository()
        return super().__enter__()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._borrowed.__exit__(exc_type, exc, tb)

    def fetch(self, query: str, parameters: Mapping[str, object]) -> list[Row]:
        """The rows of a SELECT on committed data."""
        return self._database.fetch(query, parameters)

    @property
    def reads(self) -> ReadServers:
        """The servers that answer views."""
        return self._database.reads

    def reading(self) -> AbstractContextManager[Connection]:
        """A read-only connection that sees committed data."""
        return self._database.reading()

    def rollback(self) -> None:
        self._connection.rollback()
        self.produits = self._new_repository()

    @write_errors_translated()
    def _commit(self, events: Sequence[Event], causes: Sequence[Cause]) -> int | None:
        ids = new_ids(events)
        self.produits.begin()
        try:
            position = self._send_all(events, causes, ids)
        except psycopg.Error as error:
            return self._position_in_spite_of(error, ids)
        self.produits = self._new_repository()
        return position

    def _send_all(self, events: Sequence[Event], causes: Sequence[Cause], ids: Sequence[UUID]) -> int | None:
        """Send the changes, the events under the journal's lock, and the commit, in one round trip."""
        changes = self.produits.changes()
        if not events:
            self._messages.send(*changes, _COMMIT)
            return None
        append = append_statements(events, causes, ids)
        *_, appended, _ = self._messages.send(*changes, _NO_LOCK_TIMEOUT, *append, _COMMIT)
        position: int = appended[0][0]
        return position

    def _position_in_spite_of(self, error: psycopg.Error, ids: Sequence[UUID]) -> int:
        """The position of the last event, if only the answer to the commit was lost, not the commit itself.

        Raises OutcomeUnknown if that can't be found out, or the error that prevented the commit.
        """
        if self._connection.closed and ids:
            position = position_if_committed(self._database, self.produits.trace, ids[-1])
            if position is not None:
                return position
        if shows_lag(error):
            self._mend_sequence()
            raise VersionConflict("the journal's sequence was behind its table") from error
        raise error

    def _new_repository(self) -> PostgreSQLRepository:
        self._messages = Messages(self._connection)
        return PostgreSQLRepository(self._messages)

    def _mend_sequence(self) -> None:
        """Roll back, releasing all locks, and let the journal's sequence continue after its end."""
        self._connection.rollback()
        with self._database.working() as connection, connection.begin():
            mend_sequence(connection)

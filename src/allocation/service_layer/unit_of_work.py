"""The unit of work: the changes to products and the events about them, committed together or not at all."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self
from uuid import UUID

import psycopg
from sqlalchemy import Connection

from allocation.adapters.database import Database, Row, VersionConflict, write_errors_translated
from allocation.adapters.journal import append_statements, new_ids
from allocation.adapters.journal_rows import NO_CAUSE, Cause
from allocation.adapters.journal_sequence import is_behind, mend_sequence
from allocation.adapters.lost_commits import position_if_committed
from allocation.adapters.messages import Messages, Statement
from allocation.adapters.postgresql_repository import PostgreSQLRepository
from allocation.adapters.read_servers import ReadServers
from allocation.adapters.repository import AbstractRepository
from allocation.domain.events import Event
from allocation.domain.model import Produit

# Whoever waits for the journal's lock waits for everybody's, not for that of one command: the time-out of the
# statement ends that, and means something else.
_NO_LOCK_TIMEOUT: Statement = ("SET LOCAL lock_timeout = 0", ())
_COMMIT: Statement = ("COMMIT", ())


class AbstractUnitOfWork(ABC):
    """Port, as handlers see it: `with uow:` opens, `commit` agrees, leaving without it undoes."""

    produits: AbstractRepository

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.rollback()

    @abstractmethod
    def commit(self) -> None:
        """Make the changes and their events durable. Raises VersionConflict or StorageUnavailable."""

    @abstractmethod
    def rollback(self) -> None:
        """Forget everything since the last commit."""


class JournalledUnitOfWork(AbstractUnitOfWork):
    """Port, as the bus sees it: a transaction of its own, whose commit writes state and facts together.

    After a commit, `events` is what was committed since `with uow:`, and `position` the journal's position of
    the last of them. `cause` is what the events that are collected next follow from. An instance serves one
    thread, and one `with` after another.
    """

    events: list[Event]
    position: int | None
    cause: Cause

    def __enter__(self) -> Self:
        self._new: list[Event] = []
        self._causes: list[Cause] = []
        self.cause = NO_CAUSE
        self.events = []
        self.position = None
        return self

    def collect_new_events(self) -> list[Event]:
        """What products handed out since the last call have emitted; it is kept for the commit."""
        emitted = _take_events(self.produits.seen)
        self.produits.seen.clear()
        self._add(emitted)
        return emitted

    def collect_recalled_events(self) -> tuple[Event, ...]:
        """What products handed out since the last call of `collect_new_events` have recalled."""
        recalled = tuple(event for produit in self.produits.seen.values() for event in produit.rappels)
        for produit in self.produits.seen.values():
            produit.rappels.clear()
        return recalled

    def commit(self) -> None:
        self._add(_take_events(self.produits.known))
        self.position = self._commit(self._new, self._causes) or self.position
        self.events += self._new
        self._new, self._causes = [], []

    def _add(self, emitted: list[Event]) -> None:
        self._new += emitted
        self._causes += [self.cause] * len(emitted)

    @abstractmethod
    def _commit(self, events: Sequence[Event], causes: Sequence[Cause]) -> int | None:
        """Store the products, append the events last; the position of the last one, None without any."""


def _take_events(produits: Mapping[str, Produit]) -> list[Event]:
    emitted: list[Event] = []
    for produit in produits.values():
        emitted += produit.events
        produit.events.clear()
    return emitted


class PostgreSQLUnitOfWork(JournalledUnitOfWork):
    """A transaction on PostgreSQL; also a source for views, which read outside of it."""

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
        """The rows of a SELECT, as it sees what is committed."""
        return self._database.fetch(query, parameters)

    @property
    def reads(self) -> ReadServers:
        """The servers that views are asked of."""
        return self._database.reads

    def reading(self) -> AbstractContextManager[Connection]:
        """A read-only connection that sees what is committed."""
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
        """The changes, the events under the journal's lock, and the commit, in one round trip."""
        changes = self.produits.changes()
        if not events:
            self._messages.send(*changes, _COMMIT)
            return None
        append = append_statements(events, causes, ids)
        *_, appended, _ = self._messages.send(*changes, _NO_LOCK_TIMEOUT, *append, _COMMIT)
        position: int = appended[0][0]
        return position

    def _position_in_spite_of(self, error: psycopg.Error, ids: Sequence[UUID]) -> int:
        """The position of the last event, where the answer to the commit was lost, but not the commit.

        Raises OutcomeUnknown, if that can't be found out, or what kept it from being committed.
        """
        if self._connection.closed and ids:
            position = position_if_committed(self._database, self.produits.trace, ids[-1])
            if position is not None:
                return position
        if is_behind(error):
            self._mend_sequence()
            raise VersionConflict("the journal's sequence was behind its table") from error
        raise error

    def _new_repository(self) -> PostgreSQLRepository:
        self._messages = Messages(self._connection)
        return PostgreSQLRepository(self._messages)

    def _mend_sequence(self) -> None:
        """Let the journal go on behind its end: nothing of this transaction is kept, not even its locks."""
        self._connection.rollback()
        with self._database.working() as connection, connection.begin():
            mend_sequence(connection)


class JoinedUnitOfWork(AbstractUnitOfWork):
    """What the bus hands to a handler: the transaction under way, in which a commit is a vote.

    So a handler reads as if the transaction was its own, while its causes and its reactions share it.
    """

    def __init__(self, outer: AbstractUnitOfWork) -> None:
        self.produits = outer.produits
        self.agreed = True

    def __enter__(self) -> Self:
        self.agreed = False
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Leave the transaction to the bus."""

    def commit(self) -> None:
        self.agreed = True

    def rollback(self) -> None:
        self.agreed = False

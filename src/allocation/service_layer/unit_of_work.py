"""The unit of work: the changes to products and the events about them, committed together or not at all."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

import psycopg
from sqlalchemy import Connection

from allocation.adapters.database import Database, Row, VersionConflict, write_errors_translated
from allocation.adapters.journal import SqlAlchemyJournal, append_statements
from allocation.adapters.journal_rows import NO_CAUSE, Cause
from allocation.adapters.journal_sequence import is_behind, mend_sequence
from allocation.adapters.read_servers import ReadServers
from allocation.adapters.repository import AbstractRepository, PostgreSQLRepository
from allocation.domain.events import Event
from allocation.domain.model import Produit


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
        recalled: tuple[Event, ...] = ()
        for produit in self.produits.seen.values():
            if produit.rappels:
                recalled += tuple(produit.rappels)
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
        self.produits = PostgreSQLRepository(self._connection)
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
        self.produits = PostgreSQLRepository(self._connection)

    @write_errors_translated()
    def _commit(self, events: Sequence[Event], causes: Sequence[Cause]) -> int | None:
        try:
            position = self._send_all(events, causes)
        except psycopg.OperationalError:
            if not self._is_committed_nevertheless():
                raise
            # The events are somewhere before the journal's present end.
            with self.reading() as connection:
                position = SqlAlchemyJournal(connection).last_position() if events else None
        except psycopg.Error as error:
            if not is_behind(error):
                raise
            self._mend_sequence()
            raise VersionConflict("the journal's sequence was behind its table") from error
        else:
            self.produits = PostgreSQLRepository(self._connection)
        return position

    def _send_all(self, events: Sequence[Event], causes: Sequence[Cause]) -> int | None:
        """The changes, the events under the journal's lock, and the commit, in one round trip."""
        with self._connection.pipeline():
            self.produits.send_changes()
            appended = None
            for statement, parameters in append_statements(events, causes) if events else ():
                appended = self._connection.execute(statement, parameters, prepare=True)
            self._connection.execute("COMMIT")
        return None if appended is None else next(appended)[0]

    def _mend_sequence(self) -> None:
        """Let the journal go on behind its end: nothing of this transaction is kept, not even its locks."""
        self._connection.rollback()
        with self._database.working() as connection, connection.begin():
            mend_sequence(connection)

    def _is_committed_nevertheless(self) -> bool:
        """Whether a commit has happened whose answer was lost together with the connection."""
        transaction_id = self.produits.transaction_id
        return (
            self._connection.closed
            and transaction_id is not None
            and self._database.has_committed(transaction_id)
        )


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

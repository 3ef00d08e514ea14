"""The unit of work: the changes to products and the events about them, committed together or not at all."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from sqlalchemy import Connection

from allocation.adapters.database import Database
from allocation.adapters.journal import SqlAlchemyJournal
from allocation.adapters.repository import AbstractRepository, SqlAlchemyRepository
from allocation.domain.events import Event


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
    the last of them. An instance serves one thread, and one `with` after another.
    """

    events: list[Event]
    position: int | None

    def __enter__(self) -> Self:
        self._new: list[Event] = []
        self.events = []
        self.position = None
        return self

    def collect_new_events(self) -> list[Event]:
        """What the products have emitted since the last call; it is kept for the commit."""
        emitted: list[Event] = []
        for produit in self.produits.seen.values():
            emitted += produit.events
            produit.events.clear()
        self._new += emitted
        return emitted

    def commit(self) -> None:
        self.collect_new_events()
        self.position = self._commit(self._new) or self.position
        self.events += self._new
        self._new = []

    @abstractmethod
    def _commit(self, events: Sequence[Event]) -> int | None:
        """Store the products, append the events last; the position of the last one, None without any."""


class SqlAlchemyUnitOfWork(JournalledUnitOfWork):
    """A transaction on PostgreSQL; also a source for views, which read outside of it."""

    produits: SqlAlchemyRepository

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> Self:
        self._borrowed = self._database.writing()
        self._connection = self._borrowed.__enter__()
        self.produits = SqlAlchemyRepository(self._connection)
        return super().__enter__()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        super().__exit__(exc_type, exc, tb)
        self._borrowed.__exit__(exc_type, exc, tb)

    def reading(self) -> AbstractContextManager[Connection]:
        """A read-only connection that sees what is committed."""
        return self._database.reading()

    def rollback(self) -> None:
        self._connection.rollback()
        self.produits = SqlAlchemyRepository(self._connection)

    def _commit(self, events: Sequence[Event]) -> int | None:
        self.produits.flush()
        position = SqlAlchemyJournal(self._connection).append(events) if events else None
        self._connection.commit()
        self.produits = SqlAlchemyRepository(self._connection)
        return position


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
